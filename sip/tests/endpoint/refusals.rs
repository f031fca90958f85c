//! Requests that get no further: RFC 3261 §8.2, §16.3, RFC 4475 in spirit. Each is refused with the reason, or dropped.

use std::time::Duration;

use sip::endpoint::Event;
use sip::{Framing, HeaderName, Headers, Message, StatusCode, Transport};

use crate::bench::{Bench, first, firsts, header, invite, within};

#[test]
fn a_malformed_request_is_told_what_is_wrong_with_it() {
    for (wrong, right, status, word) in [
        ("CSeq: 10 INVITE", "CSeq: 10 OPTIONS", 400, "CSeq"),
        ("To: <sip:edge@192.0.2.1>", "X: y", 400, "To"),
        ("Call-ID: call-1@192.0.2.9\n", "", 400, "Call-ID"),
        ("<sip:trunk@192.0.2.9:5060>", "<sip:trunk@192.0.2.9:99999>", 400, "Contact"),
        ("sip:edge@192.0.2.1 SIP/2.0", "sip:edge@192.0.2.1 SIP/3.0", 505, "version"),
        ("INVITE sip:edge@192.0.2.1 ", "INVITE mailto:edge@192.0.2.1 ", 416, "scheme"),
        ("Max-Forwards: 70", "Max-Forwards: 70\nRequire: 100 rel", 400, "Require"),
        ("Content-Length: 5", "Content-Length: 50", 400, "body"),
        ("Content-Length: 5", "Content-Length: 5\nContent-Length: 4", 400, "Content-Length"),
    ] {
        let mut bench = Bench::new();
        let text = invite("");
        assert!(text.contains(wrong), "{wrong}");
        bench.receive(&text.replace(wrong, right));

        // What the request lacks, its answer lacks too.
        let answer = Message::parse(bench.transmits().remove(0).payload, Framing::Datagram).unwrap();
        assert_eq!(first(&answer), status.to_string(), "{right}");
        assert!(header(&answer, HeaderName::Warning).contains(word), "{answer:?} {right}");
        assert!(bench.events().is_empty());
        bench.assert_empty();
    }
}

#[test]
fn what_cannot_be_answered_is_dropped_and_counted() {
    let bad_response = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\n\n";
    let ack = with_via("SIP/2.0/UDP ;;").replace("INVITE", "ACK");
    for garbage in ["GET / HTTP/1.1\n\n", "\u{1}\u{2}\u{3}", &ack, bad_response] {
        let mut bench = Bench::new();
        bench.receive(garbage);

        assert!(bench.transmits().is_empty(), "{garbage}");
        assert_eq!(bench.endpoint.dropped().malformed, 1, "{garbage}");
    }
}

/// RFC 4475 §3.1.2.1 and §3.1.2.16: nobody knows the way back, but for the address it came from.
#[test]
fn a_request_whose_way_cannot_be_read_is_answered_where_it_came_from() {
    for (via, status) in [
        ("SIP/2.0/UDP 192.0.2.15;;,;,,", "400"),
        ("SIP/7.0/UDP c.example.com;branch=z9hG4bKx", "505"),
        ("", "400"),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut bench = Bench::configured(transport, |_| {});
            let version = if status == "505" { "SIP/7.0" } else { "SIP/2.0" };
            let request = with_via(via).replace("192.0.2.1 SIP/2.0", &format!("192.0.2.1 {version}"));
            bench.receive(&request);
            let transmit = bench.transmits().remove(0);

            let answer = Message::parse(transmit.payload, Framing::Datagram).unwrap();
            assert_eq!(first(&answer), status, "{via}");
            assert_eq!((transmit.to, transmit.connection), (bench.flow.peer, bench.flow.connection));
            assert_eq!(
                answer.header(HeaderName::Via).map(|via| via.text().into_owned()).unwrap_or_default(),
                via
            );
            assert_eq!(header(&answer, HeaderName::CallId), "call-1@192.0.2.9");
            assert!(answer.to().unwrap().tag().is_some());
            bench.assert_empty();
        }
    }
}

#[test]
fn a_flood_of_malformed_datagrams_gets_so_many_answers_a_second() {
    let malformed = invite("").replace("CSeq: 10 INVITE", "CSeq: 10 OPTIONS");
    for (transport, answers) in [(Transport::Udp, [3, 0, 3]), (Transport::Tcp, [10, 10, 10])] {
        let mut bench = Bench::configured(transport, |config| config.limits.malformed_answers = 3);
        let answered = [0, 900, 100].map(|millis| {
            bench.pass(Duration::from_millis(millis));
            (0..10).for_each(|_| bench.receive(&malformed));
            bench.transmits().len()
        });

        assert_eq!(answered, answers, "{transport:?}");
        assert_eq!(bench.endpoint.dropped().unanswered, 30 - answered.iter().sum::<usize>() as u64);
    }
}

#[test]
fn keep_alives_are_no_messages() {
    let mut bench = Bench::new();
    for keep_alive in ["\r\n\r\n", "\r\n", "", "\0", "\0\0\0\0"] {
        bench.receive_wire(keep_alive.into());
    }

    assert_eq!(bench.endpoint.dropped(), sip::endpoint::Dropped::default());
    assert!(bench.transmits().is_empty());
}

/// RFC 3261 §17: whatever is wrong with it.
#[test]
fn an_ack_never_gets_a_response() {
    let mut bench = Bench::new();
    let ack = invite("").replace("INVITE", "ACK");
    bench.receive(&ack);
    bench.receive(&ack.replace("Call-ID: call-1@192.0.2.9\n", ""));
    bench.receive(&ack.replace("To: <sip:edge@192.0.2.1>", "To: <sip:edge@192.0.2.1>;tag=none"));
    bench.receive(&ack.replace("sip:edge@192.0.2.1 ", "mailto:x "));

    assert!(bench.transmits().is_empty());
    assert_eq!(bench.endpoint.dropped().stray_acks, 2);
}

#[test]
fn methods_that_we_do_not_have_are_refused_with_those_we_have() {
    for (method, status) in [
        ("REGISTER", "405"),
        ("SUBSCRIBE", "405"),
        ("MESSAGE", "405"),
        ("PUBLISH", "405"),
        ("NEWMETHOD", "501"),
        ("invite", "501"),
        ("REFER", "403"),
        ("BYE", "481"),
        ("INFO", "481"),
        ("NOTIFY", "481"),
        ("UPDATE", "481"),
        ("PRACK", "481"),
        ("CANCEL", "481"),
    ] {
        let mut bench = Bench::new();
        bench.receive(&invite("").replace("INVITE", method));
        let answer = bench.sent_one();

        assert_eq!(first(&answer), status, "{method}");
        assert_eq!(answer.header(HeaderName::Allow).is_some(), matches!(status, "405" | "501"), "{method}");
        assert!(answer.to().unwrap().tag().is_some());
        bench.assert_empty();
    }
}

/// RFC 3261 §8.2.2.3.
#[test]
fn an_extension_that_is_required_but_unknown_is_named() {
    let mut bench = Bench::new();
    bench.receive(&invite("Require: 100rel, x-other, precondition\n"));
    let answer = bench.sent_one();

    assert_eq!(first(&answer), "420");
    assert_eq!(header(&answer, HeaderName::Unsupported), "x-other, precondition");
}

#[test]
fn supported_extensions_are_no_reason_to_refuse() {
    let mut bench = Bench::new();
    bench.receive(&invite("Supported: 100rel, timer\nProxy-Require: foo\n"));

    assert_eq!(bench.words(), ["Invited"]);
}

#[test]
fn a_call_without_hops_left_or_without_contact_is_refused() {
    for (wrong, right, status) in [
        ("Max-Forwards: 70", "Max-Forwards: 0", "483"),
        ("Contact: <sip:trunk@192.0.2.9:5060>\n", "", "400"),
        ("Contact: <sip:trunk", "Contact: <mailto:trunk", "400"),
        ("Max-Forwards: 70", "Max-Forwards: 70\nRecord-Route: <http://proxy>", "400"),
        ("INVITE sip:edge", "INVITE sips:edge", "416"),
    ] {
        let mut bench = Bench::new();
        bench.receive(&invite("").replace(wrong, right));

        assert_eq!(first(&bench.sent_one()), status, "{right}");
        bench.assert_empty();
    }
}

/// RFC 3261 §8.2.2.2.
#[test]
fn the_same_call_by_another_way_is_refused_with_482() {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    bench.receive(&invite("").replace("z9hG4bKinvite1", "z9hG4bKother"));

    assert_eq!(bench.words(), ["Invited"]);
    assert_eq!(first(&bench.sent_one()), "482");
}

#[test]
fn a_proxy_may_try_us_again_after_we_refused() {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.refuse(bench.now, *dialog, StatusCode::BUSY_HERE, Headers::new());
    bench.receive(&invite("").replace("z9hG4bKinvite1", "z9hG4bKother"));

    assert_eq!(bench.words(), ["Gone", "Invited"]);
}

#[test]
fn a_dialog_that_we_do_not_know_does_not_exist() {
    let mut bench = Bench::new();
    for (seq, method) in (11..).zip(["BYE", "INVITE", "INFO", "OPTIONS", "REFER", "NOTIFY", "UPDATE"]) {
        bench.receive(&within(method, seq, "<sip:edge@192.0.2.1>;tag=none", "", ""));
        assert_eq!(first(&bench.sent_one()), "481", "{method}");
    }
    bench.assert_empty();
}

#[test]
fn a_dialog_needs_call_id_and_both_tags_to_be_found() {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.ring(bench.now, *dialog, StatusCode::RINGING, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    let info = within("INFO", 11, &to, "", "");

    bench.receive(&info.replace("Call-ID: call-1", "Call-ID: call-2"));
    bench.receive(&info.replace("tag=theirs", "tag=others").replace("z9hG4bK", "z9hG4bKx"));

    assert_eq!(firsts(&bench.sent()), ["481", "481"]);
    assert!(bench.words().is_empty());
}

/// RFC 3261 §8.2.7: who does not remember has to say the same again.
#[test]
fn a_repeated_refusal_is_the_same_to_the_byte() {
    let mut bench = Bench::new();
    bench.receive(&invite("Require: x\n"));
    bench.receive(&invite("Require: x\n"));
    let transmits = bench.transmits();

    assert_eq!(transmits[0], transmits[1]);
}

#[test]
fn beyond_the_limit_new_requests_are_put_off_and_running_calls_can_end() {
    let mut bench = Bench::configured(Transport::Udp, |config| config.limits.server_transactions = 2);
    bench.receive(&invite(""));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.accept(bench.now, *dialog, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&other_call(1));
    assert_eq!(bench.words(), ["Invited"]);

    bench.receive(&other_call(2));
    let refused = bench.sent_one();
    bench.receive(&within("ACK", 10, &to, "", ""));
    bench.receive(&within("BYE", 11, &to, "", ""));

    assert_eq!((first(&refused).as_str(), header(&refused, HeaderName::RetryAfter).as_str()), ("503", "10"));
    assert_eq!(bench.words(), ["Acknowledged", "HungUp", "Gone"]);
    assert_eq!(bench.endpoint.dropped().overload, 1);
}

#[test]
fn options_are_the_owners_to_answer_and_answered_500_if_it_does_not() {
    let mut bench = Bench::new();
    bench.receive(&invite("").replace("INVITE", "OPTIONS"));
    let events = bench.events();
    let [Event::Request { id, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.respond(bench.now, *id, StatusCode::OK, Headers::new(), None);
    let answer = bench.sent_one();
    bench.endpoint.respond(bench.now, *id, StatusCode::DECLINE, Headers::new(), None);
    assert_eq!(first(&answer), "200");
    assert!(answer.header(HeaderName::Allow).is_some());
    assert!(bench.sent().is_empty());

    bench.receive(
        &invite("")
            .replace("INVITE", "OPTIONS")
            .replace("z9hG4bKinvite1", "z9hG4bK2")
            .replace("CSeq: 10", "CSeq: 11"),
    );
    let log = bench.pass_noting(Duration::from_secs(60), bench.now);
    assert_eq!(log, [(20_000, "500".to_owned())]);
    bench.pass(Duration::from_secs(60));
    bench.events();
    bench.assert_empty();
}

#[test]
fn a_discarded_request_gets_no_answer_and_leaves_nothing() {
    let mut bench = Bench::new();
    bench.receive(&invite("").replace("INVITE", "OPTIONS"));
    let events = bench.events();
    let [Event::Request { id, .. }] = &events[..] else { panic!("{events:?}") };

    bench.endpoint.discard(*id);

    assert!(bench.sent().is_empty());
    bench.assert_empty();
}

fn other_call(number: u32) -> String {
    invite("")
        .replace("z9hG4bKinvite1", &format!("z9hG4bKother{number}"))
        .replace("call-1@", &format!("other-{number}@"))
}

/// The INVITE with another Via, or none.
fn with_via(via: &str) -> String {
    let line = "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKinvite1;rport\n";
    let other = if via.is_empty() { String::new() } else { format!("Via: {via}\n") };
    assert!(invite("").contains(line));
    invite("").replace(line, &other)
}
