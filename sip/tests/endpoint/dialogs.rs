//! Requests within a dialog, and the way they take: RFC 3261 §12, RFC 3311, RFC 6141.

use std::time::Duration;

use sip::endpoint::Event;
use sip::{Body, DialogId, HeaderName, Headers, Invite, Method, StatusCode, Transport};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{name, uri};

#[test]
fn every_message_says_who_we_are_and_where() {
    let (mut bench, dialog, _) = invited(&invite(""));
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let sent = bench.sent();

    for response in &sent {
        assert_eq!(header(response, HeaderName::Contact), "<sip:edge@192.0.2.1:5060>");
        assert_eq!(header(response, HeaderName::Server), "edge");
        assert_eq!(header(response, HeaderName::To), header(&sent[0], HeaderName::To));
        assert_eq!(
            header(response, HeaderName::Via),
            "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKinvite1;rport=5060;received=192.0.2.9"
        );
    }
    assert!(sent[1].header(HeaderName::Allow).is_some() && sent[1].header(HeaderName::AllowEvents).is_some());
    assert_eq!(
        (header(&sent[1], HeaderName::ContentType).as_str(), sent[1].body().len()),
        ("application/sdp", 6)
    );
}

#[test]
fn the_owners_headers_cannot_replace_ours() {
    let (mut bench, dialog, _) = invited(&invite(""));
    let headers: Headers = vec![
        ("Contact".into(), "<sip:evil@example.com>".into()),
        ("Content-Length".into(), "99".into()),
        ("X-CallingEdge-Call-Id".into(), "call_1\r\nVia: x".into()),
    ];
    bench.endpoint.accept(bench.now, dialog, headers, None);
    let accepted = bench.sent_one();

    assert_eq!(accepted.contacts().count(), 1);
    assert_eq!(accepted.vias().count(), 1);
    assert_eq!(accepted.header_named("X-CallingEdge-Call-Id").unwrap(), "call_1  Via: x");
}

#[test]
fn a_redirection_carries_the_owners_contact() {
    let (mut bench, dialog, _) = invited(&invite(""));
    let headers: Headers = vec![("Contact".into(), "<sip:elsewhere@example.com>".into())];
    bench.endpoint.refuse(bench.now, dialog, StatusCode::MOVED_TEMPORARILY, headers);

    assert_eq!(header(&bench.sent_one(), HeaderName::Contact), "<sip:elsewhere@example.com>");
}

/// RFC 3261 §17.2.1: the 100 comes after 200 ms, without tag and with the Timestamp.
#[test]
fn an_owner_who_thinks_is_covered_by_a_100() {
    let (mut bench, _, _) = invited(&invite("Timestamp: 54\n"));
    bench.pass(Duration::from_millis(200));
    let trying = bench.sent_one();
    bench.receive(&invite("Timestamp: 54\n"));
    let again = bench.sent_one();

    assert_eq!((first(&trying).as_str(), first(&again).as_str()), ("100", "100"));
    assert_eq!(trying.to().unwrap().tag(), None);
    assert_eq!(header(&trying, HeaderName::Timestamp), "54");
    assert!(bench.words().is_empty());
}

#[test]
fn the_callee_goes_back_along_record_routes_in_order() {
    let routes =
        "Record-Route: <sip:192.0.2.20:5080;lr>, <sip:192.0.2.30;lr>\nRecord-Route: <sip:far.example;lr>\n";
    let (mut bench, dialog, to) = confirmed(&invite(routes));
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let transmit = bench.transmits().pop().unwrap();
    let bye = crate::bench::parse(transmit.payload);

    assert_eq!(transmit.to.to_string(), "192.0.2.20:5080");
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:trunk@192.0.2.9:5060");
    assert_eq!(routes_of(&bye), ["<sip:192.0.2.20:5080;lr>", "<sip:192.0.2.30;lr>", "<sip:far.example;lr>"]);
    assert_eq!(header(&bye, HeaderName::From), to);
    assert_eq!(header(&bye, HeaderName::To), "\"Trunk\" <sip:trunk@192.0.2.9>;tag=theirs");
}

#[test]
fn responses_that_make_a_dialog_repeat_the_record_routes() {
    let routes = "Record-Route: <sip:192.0.2.20:5080;lr>\n";
    let (mut bench, dialog, _) = invited(&invite(routes));
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    let sent = bench.sent();

    for response in sent {
        assert_eq!(header(&response, HeaderName::RecordRoute), "<sip:192.0.2.20:5080;lr>");
    }
}

#[test]
fn the_caller_goes_along_record_routes_in_reverse() {
    let (mut bench, dialog, sent) = calling();
    bench.answer(&sent, 200, "far", |writer| {
        writer
            .header(HeaderName::RecordRoute, "<sip:far.example;lr>, <sip:192.0.2.30:5090;lr>")
            .header(HeaderName::Contact, "<sip:far@198.51.100.7>");
    });
    bench.endpoint.acknowledge(bench.now, dialog, None);
    let transmit = bench.transmits().pop().unwrap();
    let ack = crate::bench::parse(transmit.payload);

    assert_eq!(transmit.to.to_string(), "192.0.2.30:5090");
    assert_eq!(ack.request_uri().unwrap().as_str(), "sip:far@198.51.100.7");
    assert_eq!(routes_of(&ack), ["<sip:192.0.2.30:5090;lr>", "<sip:far.example;lr>"]);
}

/// RFC 3261 §12.2.1.1.
#[test]
fn a_strict_router_gets_itself_as_request_uri_and_the_target_as_last_route() {
    let routes = "Record-Route: <sip:192.0.2.20:5080>, <sip:192.0.2.30;lr>\n";
    let (mut bench, dialog, _) = confirmed(&invite(routes));
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let transmit = bench.transmits().pop().unwrap();
    let bye = crate::bench::parse(transmit.payload);

    assert_eq!(transmit.to.to_string(), "192.0.2.20:5080");
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:192.0.2.20:5080");
    assert_eq!(routes_of(&bye), ["<sip:192.0.2.30;lr>", "<sip:trunk@192.0.2.9:5060>"]);
}

#[test]
fn a_contact_that_cannot_be_reached_is_reached_the_way_its_messages_come() {
    for (contact, goes_to) in [
        ("sip:trunk@192.0.2.9:5070", "192.0.2.9:5070"),
        ("sip:trunk@192.0.2.9", "192.0.2.9:5060"),
        // A name: not resolved here.
        ("sip:trunk@sbc.example.com:5070", "192.0.2.9:5060"),
        // Behind its NAT.
        ("sip:trunk@192.168.1.5:5070", "192.0.2.9:5060"),
        ("sip:trunk@100.64.3.2:5070", "192.0.2.9:5060"),
    ] {
        let text =
            invite("").replace("Contact: <sip:trunk@192.0.2.9:5060>", &format!("Contact: <{contact}>"));
        let (mut bench, dialog, _) = confirmed(&text);
        bench.endpoint.hang_up(bench.now, dialog, Headers::new());
        let transmit = bench.transmits().pop().unwrap();

        assert_eq!(transmit.to.to_string(), goes_to, "{contact}");
        assert_eq!(crate::bench::parse(transmit.payload).request_uri().unwrap().as_str(), contact);
    }
}

#[test]
fn the_target_moves_with_an_accepted_reinvite_only() {
    let (mut bench, dialog, to) = confirmed(&invite(""));
    let reinvite = |seq, contact: &str| {
        within(
            "INVITE",
            seq,
            &to,
            &format!("Contact: <sip:{contact}>\nContent-Type: application/sdp\n"),
            "offer",
        )
    };
    bench.receive(&reinvite(11, "refused@192.0.2.9:5071"));
    bench.endpoint.refuse(bench.now, dialog, StatusCode::NOT_ACCEPTABLE_HERE, Headers::new());
    bench.receive(&within("ACK", 11, &to, "", ""));
    bench.sent();
    bench.endpoint.info(bench.now, dialog, Headers::new(), None);
    let before = bench.sent_one();
    bench.receive(&reinvite(12, "moved@192.0.2.9:5072"));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    bench.receive(&within("ACK", 12, &to, "", ""));
    bench.sent();
    bench.endpoint.info(bench.now, dialog, Headers::new(), None);
    let after = bench.sent_one();

    assert_eq!(before.request_uri().unwrap().as_str(), "sip:trunk@192.0.2.9:5060");
    assert_eq!(after.request_uri().unwrap().as_str(), "sip:moved@192.0.2.9:5072");
}

/// RFC 3261 §12.2.2.
#[test]
fn a_lower_cseq_is_refused_and_a_gap_is_not() {
    let (mut bench, _, to) = confirmed(&invite(""));
    bench.receive(&within("INFO", 20, &to, "", ""));
    bench.receive(&within("INFO", 19, &to, "", ""));

    assert_eq!(bench.words(), ["Info"]);
    let refused = bench.sent_one();
    assert_eq!(first(&refused), "500");
    assert!(refused.retry_after().unwrap().unwrap().seconds <= 10);
}

#[test]
fn requests_within_a_dialog_that_mean_nothing_to_us_are_answered() {
    let (mut bench, _, to) = confirmed(&invite(""));
    for (seq, (method, status)) in (11..).zip([
        ("OPTIONS", "200"),
        ("PRACK", "400"),
        ("MESSAGE", "405"),
        ("SUBSCRIBE", "405"),
        ("FOO", "501"),
        ("UPDATE", "200"),
    ]) {
        bench.receive(&within(method, seq, &to, "", ""));
        assert_eq!(first(&bench.sent_one()), status, "{method}");
    }
    bench.receive(&within("INFO", 30, &to, "Require: info-package-x\n", ""));
    assert_eq!(first(&bench.sent_one()), "420");
    assert!(bench.words().is_empty());
}

#[test]
fn a_repeated_request_is_told_once_and_answered_twice() {
    let (mut bench, _, to) = confirmed(&invite(""));
    let info = within("INFO", 11, &to, "", "");
    bench.receive(&info);
    let events = bench.events();
    let [Event::Info { id, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.respond(bench.now, *id, StatusCode::OK, Headers::new(), None);
    bench.receive(&info);

    assert_eq!(firsts(&bench.sent()), ["200", "200"]);
    assert!(bench.words().is_empty());
}

/// RFC 3261 §15.1.2.
#[test]
fn requests_that_the_owner_left_open_are_ended_with_the_call() {
    let (mut bench, _, to) = confirmed(&invite(""));
    bench.receive(&within("REFER", 11, &to, "Refer-To: <sip:x@y>\n", ""));
    bench.receive(&within("INFO", 12, &to, "", ""));
    bench.receive(&within("BYE", 13, &to, "", ""));
    let sent = bench.sent();

    let answers: Vec<_> = sent.iter().map(|sent| (sent.cseq().unwrap().number, first(sent))).collect();
    assert_eq!(answers, [(11, "487".into()), (12, "487".into()), (13, "200".into())]);
}

#[test]
fn one_dialog_cannot_flood_its_owner() {
    let (mut bench, _, to) = confirmed(&invite(""));
    for seq in 11..60 {
        bench.receive(&within("INFO", seq, &to, "", ""));
    }

    assert_eq!(bench.words().len(), 16);
    assert!(bench.sent().iter().all(|answer| first(answer) == "500"));
}

/// RFC 3261 §14.2.
#[test]
fn a_second_offer_before_the_first_is_answered_is_put_off() {
    let (mut bench, dialog, to) = confirmed(&invite(""));
    bench.receive(&within("INVITE", 11, &to, "", "offer"));
    bench.receive(&within("INVITE", 12, &to, "", "offer"));
    bench.receive(&within("UPDATE", 13, &to, "", "offer"));
    let sent = bench.sent();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);

    assert_eq!(firsts(&sent), ["500", "500"]);
    assert!(sent.iter().all(|answer| answer.retry_after().unwrap().is_some()));
    assert_eq!(firsts(&bench.sent()), ["200"]);
    assert_eq!(bench.words(), ["Reinvited"]);
}

#[test]
fn an_update_with_an_offer_is_the_owners_and_one_without_is_not() {
    let (mut bench, dialog, to) = confirmed(&invite(""));
    bench.receive(&within("UPDATE", 11, &to, "Contact: <sip:moved@192.0.2.9:5072>\n", ""));
    bench.receive(&within("UPDATE", 12, &to, "Contact: <sip:moved@192.0.2.9:5072>\n", "offer"));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    bench.endpoint.info(bench.now, dialog, Headers::new(), None);
    let sent = bench.sent();

    assert_eq!(bench.words(), ["Updated"]);
    assert_eq!(firsts(&sent), ["200", "200", "INFO"]);
    assert_eq!((sent[0].body().len(), sent[1].body().len()), (0, 6));
    assert_eq!(sent[2].request_uri().unwrap().as_str(), "sip:moved@192.0.2.9:5072");
}

#[test]
fn a_cancelled_reinvite_ends_the_offer_and_not_the_call() {
    let (mut bench, dialog, to) = confirmed(&invite(""));
    let reinvite = within("INVITE", 11, &to, "", "offer");
    bench.receive(&reinvite);
    bench.receive(&reinvite.replace("INVITE sip:", "CANCEL sip:").replace("11 INVITE", "11 CANCEL"));
    let sent = bench.sent();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);

    assert_eq!(firsts(&sent), ["200", "487"]);
    assert_eq!(bench.words(), ["Reinvited", "ReinviteCancelled"]);
    assert!(bench.sent().is_empty());
}

#[test]
fn a_cancel_after_the_2xx_changes_nothing() {
    let (mut bench, dialog, _) = invited(&invite(""));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    bench.receive(&invite("").replace("INVITE sip:", "CANCEL sip:").replace("10 INVITE", "10 CANCEL"));

    assert_eq!(firsts(&bench.sent()), ["200", "200"]);
    assert!(bench.words().is_empty());
}

/// RFC 3261 §9.2: the answer to the CANCEL has the tag of the answer to the INVITE.
#[test]
fn a_cancel_is_answered_with_the_tag_of_its_invite() {
    let (mut bench, _, _) = invited(&invite(""));
    bench.receive(&invite("").replace("INVITE sip:", "CANCEL sip:").replace("10 INVITE", "10 CANCEL"));
    let sent = bench.sent();

    assert_eq!(firsts(&sent), ["200", "487"]);
    assert_eq!(header(&sent[0], HeaderName::To), header(&sent[1], HeaderName::To));
    assert_eq!(header(&sent[0], HeaderName::CSeq), "10 CANCEL");
    assert_eq!(bench.words(), ["Cancelled", "Gone"]);
}

/// RFC 3261 §15: the caller may end an early dialog with BYE.
#[test]
fn a_bye_on_a_ringing_call_ends_it() {
    let (mut bench, dialog, _) = invited(&invite(""));
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("BYE", 11, &to, "", ""));
    let mut sent = firsts(&bench.sent());
    sent.sort();

    assert_eq!(sent, ["200", "487"]);
    assert_eq!(bench.words(), ["HungUp", "Gone"]);
}

/// RFC 3261 §17.2.3 for peers of RFC 2543, whose branches mean nothing.
#[test]
fn peers_without_branches_are_recognised_by_the_rest_of_the_request() {
    for via in [
        "Via: SIP/2.0/UDP 192.0.2.9:5060\n",
        "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=1\n",
        "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK\n",
    ] {
        let old =
            |text: &str| text.replace("Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKinvite1;rport\n", via);
        let (mut bench, dialog, _) = invited(&old(&invite("")));
        bench.receive(&old(&invite("")));
        assert!(bench.words().is_empty());
        bench.endpoint.refuse(bench.now, dialog, StatusCode::BUSY_HERE, Headers::new());
        let refused = bench.sent().pop().unwrap();
        let to = header(&refused, HeaderName::To);
        let ack = old(&invite(""))
            .replace("INVITE", "ACK")
            .replace("To: <sip:edge@192.0.2.1>", &format!("To: {to}"));
        bench.receive(&ack);
        let log = bench.pass_noting(Duration::from_secs(60), bench.now);

        // Acknowledged, so it is not sent again.
        assert!(log.is_empty(), "{log:?} {via}");
        bench.events();
        bench.assert_empty();
    }
}

#[test]
fn an_ack_with_the_branch_of_its_invite_still_acknowledges_the_2xx() {
    let (mut bench, dialog, _) = invited(&invite(""));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", "").replace("z9hG4bKACK10", "z9hG4bKinvite1"));

    assert_eq!(bench.words(), ["Acknowledged"]);
}

#[test]
fn responses_go_where_rport_or_the_via_says() {
    for (via, goes_to) in [
        ("192.0.2.9:5060;branch=z9hG4bK1;rport", "192.0.2.9:33333"),
        ("192.0.2.9:5065;branch=z9hG4bK1", "192.0.2.9:5065"),
        ("10.1.1.1:5065;branch=z9hG4bK1", "192.0.2.9:5065"),
        ("10.1.1.1;branch=z9hG4bK1;maddr=203.0.113.1", "192.0.2.9:5060"),
    ] {
        let mut bench = Bench::new();
        bench.flow.peer = "192.0.2.9:33333".parse().unwrap();
        bench.receive(&invite("Require: x\n").replace("192.0.2.9:5060;branch=z9hG4bKinvite1;rport", via));

        assert_eq!(bench.transmits()[0].to.to_string(), goes_to, "{via}");
    }
}

#[test]
fn on_a_stream_everything_uses_the_callers_connection_until_it_is_lost() {
    let mut bench = Bench::on(Transport::Tcp);
    bench.flow.peer = "192.0.2.9:40000".parse().unwrap();
    bench.receive(&invite("").replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.accept(bench.now, *dialog, Headers::new(), None);
    let before = bench.transmits().remove(0);
    bench.endpoint.handle_connection_lost(bench.now, bench.flow.connection.unwrap());
    bench.pass(Duration::from_millis(500));
    let after = bench.transmits().remove(0);

    assert_eq!((before.connection, before.to), (bench.flow.connection, bench.flow.peer));
    // RFC 3261 §18.2.2: a new connection to the address seen and the port of the Via.
    assert_eq!((after.connection, after.to.to_string()), (None, "192.0.2.9:5060".to_owned()));
    assert_eq!(before.payload, after.payload);
}

#[test]
fn a_bye_lost_with_its_connection_is_sent_over_another() {
    let mut bench = Bench::on(Transport::Tcp);
    bench.flow.peer = "192.0.2.9:40000".parse().unwrap();
    bench.receive(&invite("").replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.accept(bench.now, *dialog, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", "").replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    bench.endpoint.hang_up(bench.now, *dialog, Headers::new());
    let first_bye = bench.transmits().remove(0);
    bench.endpoint.handle_connection_lost(bench.now, bench.flow.connection.unwrap());
    let second_bye = bench.transmits().remove(0);
    let told = bench.words();
    bench.endpoint.handle_send_failure(bench.now, second_bye.transport, second_bye.to);

    assert_eq!((first_bye.connection, second_bye.connection), (bench.flow.connection, None));
    assert_eq!(second_bye.to.to_string(), "192.0.2.9:5060");
    assert_eq!((told, bench.words()), (vec!["Acknowledged".to_owned()], vec!["Gone".to_owned()]));
}

#[test]
fn a_call_over_a_connection_that_breaks_while_it_rings_fails_and_is_cancelled() {
    let mut bench = Bench::on(Transport::Tcp);
    let target = bench.target();
    let invite =
        Invite::new(target, uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), name("sip:far@192.0.2.9"));
    bench.endpoint.invite(bench.now, invite);
    let sent = bench.sent_one();
    bench.answer(&sent, 180, "far", |_| {});
    bench.endpoint.handle_send_failure(bench.now, Transport::Tcp, target.address);

    assert_eq!(bench.words(), ["Progress", "Failed"]);
    assert_eq!(firsts(&bench.sent()), ["CANCEL"]);
    bench.pass(Duration::from_secs(40));
    assert_eq!(bench.words(), ["Gone"]);
    bench.sent();
    bench.assert_empty();
}

#[test]
fn a_call_that_cannot_be_sent_fails_at_once() {
    let mut bench = Bench::on(Transport::Tcp);
    let target = bench.target();
    let invite =
        Invite::new(target, uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), name("sip:far@192.0.2.9"));
    bench.endpoint.invite(bench.now, invite);
    bench.sent();
    bench.endpoint.handle_send_failure(bench.now, Transport::Tcp, target.address);

    assert_eq!(bench.words(), ["Failed", "Gone"]);
    bench.assert_empty();
}

#[test]
fn an_offer_that_the_owner_leaves_alone_is_refused_for_it_and_the_next_one_is_not() {
    for method in ["INVITE", "UPDATE"] {
        let (mut bench, dialog, to) = confirmed(&invite(""));
        bench.receive(&within(method, 11, &to, "", "offer"));
        let log = bench.pass_noting(Duration::from_secs(21), bench.now);
        bench.receive(&within("ACK", 11, &to, "", ""));
        bench.events();
        bench.receive(&within(method, 12, &to, "", "offer"));
        bench.endpoint.accept(bench.now, dialog, Headers::new(), None);

        assert!(log.contains(&(20_000, "500".to_owned())), "{log:?}");
        assert_eq!(bench.words().len(), 1);
        assert_eq!(firsts(&bench.sent()), ["200"]);
    }
}

#[test]
fn a_contact_on_a_transport_that_we_do_not_have_is_answered_on_theirs() {
    let text = invite("").replace("<sip:trunk@192.0.2.9:5060>", "<sip:trunk@192.0.2.9:5061;transport=tls>");
    let (mut bench, dialog, _) = confirmed(&text);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let transmit = bench.transmits().pop().unwrap();

    assert_eq!((transmit.transport, transmit.to.to_string()), (Transport::Udp, "192.0.2.9:5060".to_owned()));
}

#[test]
fn a_contact_on_tcp_is_called_on_tcp() {
    let text = invite("").replace("<sip:trunk@192.0.2.9:5060>", "<sip:trunk@192.0.2.9;transport=TCP>");
    let (mut bench, dialog, _) = confirmed(&text);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let transmit = bench.transmits().pop().unwrap();

    assert_eq!((transmit.transport, transmit.connection), (Transport::Tcp, None));
    assert!(
        crate::bench::parse(transmit.payload)
            .via()
            .unwrap()
            .to_string()
            .starts_with("SIP/2.0/TCP 192.0.2.1:5060")
    );
}

#[test]
fn the_user_that_was_called_is_the_user_of_our_contact_however_it_is_written() {
    let (mut bench, dialog, _) =
        invited(&invite("").replace("sip:edge@192.0.2.1 SIP", "sip:%23100%40x@192.0.2.1 SIP"));
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    let contact = bench.sent_one().contact().unwrap().unwrap();

    assert_eq!(contact.uri().user_text().unwrap(), "#100@x");
}

#[test]
fn only_provisional_responses_ring_and_only_final_ones_refuse() {
    let (mut bench, dialog, _) = invited(&invite(""));
    bench.endpoint.ring(bench.now, dialog, StatusCode::OK, Headers::new(), None);
    bench.endpoint.ring(bench.now, dialog, StatusCode::TRYING, Headers::new(), None);
    assert!(bench.sent().is_empty());
    bench.endpoint.refuse(bench.now, dialog, StatusCode::OK, Headers::new());

    assert_eq!(firsts(&bench.sent()), ["480"]);
}

fn routes_of(message: &sip::Message) -> Vec<String> {
    message.routes().map(|route| route.unwrap().to_string()).collect()
}

fn calling() -> (Bench, DialogId, sip::Message) {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let invite = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let dialog = bench.endpoint.invite(bench.now, invite);
    let sent = bench.sent_one();
    assert_eq!(sent.method(), Some(Method::Invite));
    (bench, dialog, sent)
}

fn invited(text: &str) -> (Bench, DialogId, Event) {
    let mut bench = Bench::new();
    bench.receive(text);
    let mut events = bench.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    let dialog = crate::owners::dialog(&event);
    (bench, dialog, event)
}

/// A call from the peer that is up, and our To with its tag.
fn confirmed(text: &str) -> (Bench, DialogId, String) {
    let (mut bench, dialog, _) = invited(text);
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", ""));
    assert_eq!(bench.words(), ["Acknowledged"]);
    (bench, dialog, to)
}
