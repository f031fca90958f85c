//! One INVITE, several answers: RFC 3261 §13.2.2.4, §12.1.2.

use std::time::Duration;

use sip::{Body, DialogId, HeaderName, Headers, Invite, Message, Method};

use crate::bench::{Bench, first, firsts, header, is};
use crate::owners::{name, uri};

#[test]
fn the_first_2xx_wins_and_the_second_fork_is_acknowledged_and_ended() {
    let (mut bench, dialog, invite) = calling();
    ring(&mut bench, &invite, "one");
    ring(&mut bench, &invite, "two");

    accept(&mut bench, &invite, "two");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    let ack = bench.sent_one();
    accept(&mut bench, &invite, "one");
    let sent = bench.sent();

    assert_eq!(bench.words(), ["Progress", "Progress", "Answered"]);
    assert!(is(&ack, Method::Ack) && header(&ack, HeaderName::To).ends_with("tag=two"));
    assert_eq!(firsts(&sent), ["ACK", "BYE"]);
    for message in &sent {
        assert!(header(message, HeaderName::To).ends_with("tag=one"), "{message:?}");
        assert_eq!(message.request_uri().unwrap().as_str(), "sip:one@192.0.2.9:5070");
    }
    assert_eq!(sent[0].cseq().unwrap().number, 1);
    assert_eq!(sent[1].cseq().unwrap().number, 2);
}

#[test]
fn each_repeated_2xx_gets_its_own_ack_again_and_no_second_bye() {
    let (mut bench, dialog, invite) = calling();
    accept(&mut bench, &invite, "one");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    accept(&mut bench, &invite, "two");
    let byes: Vec<_> = bench.sent().into_iter().filter(|message| is(message, Method::Bye)).collect();
    bench.answer(&byes[0], 200, "", |_| {});

    accept(&mut bench, &invite, "two");
    accept(&mut bench, &invite, "one");
    let sent = bench.sent();

    assert_eq!(firsts(&sent), ["ACK", "ACK"]);
    assert!(header(&sent[0], HeaderName::To).ends_with("tag=two"));
    assert!(header(&sent[1], HeaderName::To).ends_with("tag=one"));
}

#[test]
fn a_fork_that_answers_after_the_call_has_ended_is_ended_too() {
    let (mut bench, dialog, invite) = calling();
    accept(&mut bench, &invite, "one");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent().pop().unwrap();
    bench.answer(&bye, 200, "", |_| {});
    assert_eq!(bench.words(), ["Answered", "Gone"]);

    bench.pass(Duration::from_secs(20));
    accept(&mut bench, &invite, "late");
    let sent = bench.sent();

    assert_eq!(firsts(&sent), ["ACK", "BYE"]);
    assert!(bench.words().is_empty());
    bench.answer(&sent[1], 200, "", |_| {});
    bench.pass(Duration::from_secs(40));
    bench.assert_empty();
}

/// RFC 6026 §7.2: after 64·T1 nobody answers any more.
#[test]
fn a_2xx_after_32_seconds_is_a_stray() {
    let (mut bench, dialog, invite) = calling();
    accept(&mut bench, &invite, "one");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.sent();

    bench.pass(Duration::from_secs(33));
    accept(&mut bench, &invite, "late");

    assert!(bench.sent().is_empty());
    assert_eq!(bench.endpoint.dropped().stray_responses, 1);
}

/// One INVITE of ours must not make us a cannon.
#[test]
fn the_forks_of_one_call_are_bounded() {
    let (mut bench, dialog, invite) = calling();
    accept(&mut bench, &invite, "first");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    for number in 0..100 {
        accept(&mut bench, &invite, &format!("fork{number}"));
    }

    let byes = firsts(&bench.sent()).iter().filter(|line| *line == "BYE").count();
    assert_eq!(byes, 15);
    assert_eq!(bench.endpoint.dropped().stray_responses, 85);
}

#[test]
fn the_2xx_of_a_cancelled_call_ends_with_bye_on_every_fork() {
    let (mut bench, dialog, invite) = calling();
    ring(&mut bench, &invite, "one");
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    assert_eq!(firsts(&bench.sent()), ["CANCEL"]);

    accept(&mut bench, &invite, "one");
    accept(&mut bench, &invite, "two");

    let sent = bench.sent();
    assert_eq!(firsts(&sent), ["ACK", "BYE", "ACK", "BYE"]);
    assert_eq!(bench.words(), ["Progress"]);
}

#[test]
fn requests_of_a_fork_find_their_own_early_dialog() {
    let (mut bench, _, invite) = calling();
    ring(&mut bench, &invite, "one");
    ring(&mut bench, &invite, "two");
    bench.words();

    let from_two = request_of_fork(&invite, "INFO", 1, "two");
    let from_one = request_of_fork(&invite, "INFO", 1, "one");
    let from_nobody = request_of_fork(&invite, "INFO", 1, "three");
    for request in [from_two, from_one, from_nobody] {
        bench.receive(&request);
    }

    assert_eq!(bench.words(), ["Info", "Info"]);
    assert_eq!(first(&bench.sent_one()), "481");
}

#[test]
fn a_reinvite_before_our_own_invite_is_answered_gets_491() {
    let (mut bench, _, invite) = calling();
    ring(&mut bench, &invite, "one");
    bench.words();

    bench.receive(&request_of_fork(&invite, "INVITE", 1, "one"));

    assert_eq!(firsts(&bench.sent()), ["491"]);
    assert!(bench.words().is_empty());
}

/// RFC 5407 §3.2: the 2xx is lost, and the BYE comes first.
#[test]
fn a_bye_before_any_final_response_ends_the_call() {
    for tag in ["one", "unheard"] {
        let (mut bench, _, invite) = calling();
        ring(&mut bench, &invite, "one");
        bench.words();
        bench.receive(&request_of_fork(&invite, "BYE", 1, tag));

        let sent = firsts(&bench.sent());
        assert_eq!(bench.words(), ["HungUp"]);
        assert!(sent.contains(&"200".to_owned()) && sent.contains(&"CANCEL".to_owned()), "{sent:?}");
        bench.pass(Duration::from_secs(70));
        assert_eq!(bench.words(), ["Gone"]);
        bench.sent();
        bench.assert_empty();
    }
}

#[test]
fn a_refusal_of_the_last_fork_is_the_refusal_of_the_call() {
    let (mut bench, _, invite) = calling();
    ring(&mut bench, &invite, "one");
    bench.answer(&invite, 486, "two", |_| {});
    let ack = bench.sent_one();

    assert_eq!(bench.words(), ["Progress", "Refused", "Gone"]);
    assert_eq!(header(&ack, HeaderName::To), "<sip:callee@example.com>;tag=two");
    assert_eq!(header(&ack, HeaderName::Via), header(&invite, HeaderName::Via));
    assert_eq!(header(&ack, HeaderName::CSeq), "1 ACK");
}

/// Others wait for a re-INVITE to end; 1xx and then nothing must not hold them up for ever.
#[test]
fn a_reinvite_that_only_rings_is_taken_back_after_32_seconds() {
    let (mut bench, dialog, reinvite) = reinviting();
    bench.answer(&reinvite, 183, "", |_| {});
    let log = bench.pass_noting(Duration::from_secs(32), bench.now);
    bench.answer(&reinvite, 487, "", |_| {});
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), None);

    assert_eq!(log, [(32_000, "CANCEL".to_owned())]);
    assert_eq!(bench.words(), ["ReinviteRefused"]);
    assert_eq!(firsts(&bench.sent()), ["ACK", "INVITE"]);
}

#[test]
fn a_reinvite_that_rings_when_the_call_has_ended_leaves_nothing_behind() {
    for rings_after_the_end in [false, true] {
        let (mut bench, dialog, reinvite) = reinviting();
        if !rings_after_the_end {
            bench.answer(&reinvite, 183, "", |_| {});
        }
        bench.endpoint.hang_up(bench.now, dialog, Headers::new());
        let bye = bench.sent_one();
        bench.answer(&bye, 200, "", |_| {});
        if rings_after_the_end {
            bench.answer(&reinvite, 183, "", |_| {});
        }
        bench.pass(Duration::from_secs(70));

        assert_eq!(bench.words(), ["Gone"]);
        bench.sent();
        bench.assert_empty();
    }
}

/// A call of ours that is up, and the re-INVITE we have just sent.
fn reinviting() -> (Bench, DialogId, Message) {
    let (mut bench, dialog, invite) = calling();
    accept(&mut bench, &invite, "one");
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), None);
    let sent = bench.sent();
    assert_eq!(firsts(&sent), ["ACK", "INVITE"]);
    bench.words();
    (bench, dialog, sent[1].clone())
}

fn calling() -> (Bench, DialogId, Message) {
    let mut bench = Bench::new();
    let callee = name("sip:callee@example.com");
    let mut invite =
        Invite::new(bench.target(), uri("sip:callee@example.com"), name("sip:edge@192.0.2.1"), callee);
    invite.body = Some(Body::sdp("offer"));
    let dialog = bench.endpoint.invite(bench.now, invite);
    let sent = bench.sent_one();
    (bench, dialog, sent)
}

fn ring(bench: &mut Bench, invite: &Message, tag: &str) {
    let contact = format!("<sip:{tag}@192.0.2.9:5070>");
    bench.answer(invite, 180, tag, |writer| {
        writer.header(HeaderName::Contact, &contact);
    });
}

fn accept(bench: &mut Bench, invite: &Message, tag: &str) {
    let contact = format!("<sip:{tag}@192.0.2.9:5070>");
    bench.answer(invite, 200, tag, |writer| {
        writer.header(HeaderName::Contact, &contact).body("application/sdp", "answer");
    });
}

/// A request from the called side of our INVITE.
fn request_of_fork(invite: &Message, method: &str, seq: u32, tag: &str) -> String {
    let (from, to) = (header(invite, HeaderName::From), header(invite, HeaderName::To));
    let call_id = header(invite, HeaderName::CallId);
    format!(
        "{method} sip:edge@192.0.2.1:5060 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{method}{tag}{seq};rport\n\
         From: {to};tag={tag}\nTo: {from}\nCall-ID: {call_id}\nCSeq: {seq} {method}\n\
         Max-Forwards: 70\nContent-Length: 0\n\n"
    )
}
