//! UPDATE of ours: RFC 3311.

use std::time::Duration;

use sip::endpoint::{Event, Refusal};
use sip::simulate::Faults;
use sip::{Body, DialogId, Failure, HeaderName, Headers, Invite, Message, StatusCode, Transport};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, message, name, uri};

#[test]
fn a_running_call_is_changed_without_an_ack() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let (alice, bob) = pair.connected(transport);
        pair.act(ALICE, |endpoint, now| endpoint.update(now, alice, Headers::new(), Body::sdp("hold")));
        assert_eq!(message(&pair.until(BOB, "Updated")).body(), "hold");
        pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("held"))));
        assert_eq!(message(&pair.until(ALICE, "UpdateAnswered")).body(), "held");
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(pair.sent(ALICE), ["INVITE", "ACK", "UPDATE", "BYE"]);
    }
}

/// RFC 3311 §5.2: two offers that meet are both refused with 491 and made again after different times.
#[test]
fn two_updates_that_cross_are_both_made_again() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);
    pair.act(ALICE, |endpoint, now| endpoint.update(now, alice, Headers::new(), Body::sdp("a")));
    pair.act(BOB, |endpoint, now| endpoint.update(now, bob, Headers::new(), Body::sdp("b")));
    assert_eq!(message(&pair.until(ALICE, "Updated")).body(), "b");
    pair.act(ALICE, |endpoint, now| endpoint.accept(now, alice, Headers::new(), Some(Body::sdp("ab"))));
    pair.until(BOB, "UpdateAnswered");

    assert_eq!((pair.times_sent(ALICE, "491"), pair.times_sent(BOB, "491")), (1, 1));
    assert!(pair.words(ALICE).contains(&"UpdateRefused".to_owned()), "overtaken by Bob's");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();
}

#[test]
fn an_update_waits_for_a_reinvite_and_the_other_way_round() {
    let (mut bench, dialog, _) = up("UPDATE");
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), Some(Body::sdp("one")));
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("two"));
    let reinvite = bench.sent_one();
    bench.answer(&reinvite, 200, "", |_| {});
    let before_ack = firsts(&bench.sent());
    bench.endpoint.acknowledge(bench.now, dialog, None);
    let sent = bench.sent();
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), Some(Body::sdp("three")));
    assert!(bench.sent().is_empty());
    bench.answer(&sent[1], 200, "", |_| {});

    assert!(before_ack.is_empty());
    assert_eq!(firsts(&sent), ["ACK", "UPDATE"]);
    assert_eq!(firsts(&bench.sent()), ["INVITE"]);
    assert_eq!(bench.words(), ["ReinviteAnswered", "UpdateAnswered"]);
}

#[test]
fn a_peer_without_update_is_not_sent_one() {
    let (mut never, dialog, _) = up("INFO");
    never.endpoint.update(never.now, dialog, Headers::new(), Body::sdp("x"));
    let (mut liar, other, _) = up("UPDATE");
    liar.endpoint.update(liar.now, other, Headers::new(), Body::sdp("x"));
    let update = liar.sent_one();
    liar.answer(&update, 405, "", |_| {});
    liar.endpoint.update(liar.now, other, Headers::new(), Body::sdp("x"));

    assert!(never.sent().is_empty() && liar.sent().is_empty());
    let events = [never.events(), liar.events()].concat();
    let [
        Event::UpdateRefused { refusal: Refusal::Unsupported, .. },
        Event::UpdateRefused { refusal: Refusal::Response(_), .. },
        Event::UpdateRefused { refusal: Refusal::Unsupported, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
}

#[test]
fn their_new_contact_in_the_answer_is_where_we_go_next() {
    let (mut bench, dialog, _) = up("UPDATE");
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("x"));
    let update = bench.sent_one();
    bench.answer(&update, 200, "", |writer| {
        writer.header(HeaderName::Contact, "<sip:moved@192.0.2.9:5072>");
    });
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());

    assert_eq!(header(&update, HeaderName::Contact), "<sip:edge@192.0.2.1:5060>");
    assert_eq!(bench.sent_one().request_uri().unwrap().as_str(), "sip:moved@192.0.2.9:5072");
}

/// RFC 3311 §5.1 with RFC 5057: who does not answer, or knows no such dialog, is not there.
#[test]
fn an_update_without_answer_or_with_481_ends_the_call() {
    let (mut silent, dialog, _) = up("UPDATE");
    silent.endpoint.update(silent.now, dialog, Headers::new(), Body::sdp("x"));
    silent.pass(Duration::from_secs(32));
    let (mut gone, dialog, _) = up("UPDATE");
    gone.endpoint.update(gone.now, dialog, Headers::new(), Body::sdp("x"));
    let update = gone.sent_one();
    gone.answer(&update, 481, "", |_| {});

    for bench in [&mut silent, &mut gone] {
        assert_eq!(bench.words(), ["UpdateRefused", "Failed"]);
        assert_eq!(bench.sent().last().map(first), Some("BYE".to_owned()));
    }
}

#[test]
fn an_update_before_anything_is_agreed_is_not_sent() {
    let (mut bench, dialog, sent) = calling();
    bench.answer(&sent, 183, "far", |writer| {
        writer.header(HeaderName::Allow, "UPDATE").header(HeaderName::Contact, "<sip:far@192.0.2.9>");
        writer.body("application/sdp", "answer");
    });
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("x"));

    assert!(bench.sent().is_empty());
    assert_eq!(bench.words(), ["Progress", "UpdateRefused"]);
}

#[test]
fn the_caller_may_offer_again_after_a_reliable_answer_in_the_fork_that_gave_it() {
    for (status, told) in [(200, "UpdateAnswered"), (491, "UpdateRefused"), (500, "UpdateRefused")] {
        let (mut bench, dialog, sent) = calling();
        bench.answer(&sent, 183, "far", |writer| {
            writer
                .header(HeaderName::Allow, "UPDATE, PRACK")
                .header(HeaderName::Contact, "<sip:far@192.0.2.9>");
            writer.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, 1);
            writer.body("application/sdp", "answer");
        });
        bench.sent();
        bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("other"));
        bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("third"));
        let update = bench.sent_one();
        bench.answer(&update, status, "", |_| {});

        assert_eq!(update.to().unwrap().tag(), Some("far"));
        assert_eq!(update.cseq().unwrap().number, 3);
        assert_eq!(bench.words(), ["Progress", "UpdateRefused", told]);
    }
}

#[test]
fn the_callee_may_offer_again_once_its_answer_is_acknowledged() {
    let mut bench = Bench::new();
    bench.receive(&invite("Require: 100rel\nAllow: UPDATE, PRACK\n"));
    let dialog = dialog(&bench.events().remove(0));
    let answer = Some(Body::sdp("answer"));
    bench.endpoint.ring(bench.now, dialog, StatusCode::SESSION_PROGRESS, Headers::new(), answer);
    let progress = bench.sent_one();
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("too early"));
    assert!(bench.sent().is_empty());
    let rack = format!("RAck: {} 10 INVITE\n", progress.rseq().unwrap().unwrap());
    bench.receive(&within("PRACK", 11, &header(&progress, HeaderName::To), &rack, ""));
    bench.sent();
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("moved"));
    let update = bench.sent_one();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    bench.answer(&update, 200, "", |_| {});

    assert_eq!((first(&update).as_str(), update.body().len()), ("UPDATE", 5));
    assert_eq!(bench.words(), ["UpdateRefused", "Pracked", "UpdateAnswered"]);
}

#[test]
fn an_early_update_that_nobody_answers_is_told_and_the_call_goes_on() {
    let (mut bench, dialog, sent) = calling();
    bench.answer(&sent, 183, "far", |writer| {
        writer.header(HeaderName::Allow, "UPDATE").header(HeaderName::Contact, "<sip:far@192.0.2.9>");
        writer.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, 1);
        writer.body("application/sdp", "answer");
    });
    bench.endpoint.update(bench.now, dialog, Headers::new(), Body::sdp("other"));
    bench.pass(Duration::from_secs(33));
    let events = bench.events();

    assert!(matches!(
        &events[..],
        [Event::Progress { .. }, Event::UpdateRefused { refusal: Refusal::Failed(Failure::Timeout), .. }]
    ));
    bench.sent();
    bench.answer(&sent, 200, "far", |_| {});
    assert_eq!(bench.words(), ["Answered"]);
}

fn calling() -> (Bench, DialogId, Message) {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let invite = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let dialog = bench.endpoint.invite(bench.now, Invite { body: Some(Body::sdp("offer")), ..invite });
    let sent = bench.sent_one();
    (bench, dialog, sent)
}

/// Our call, up, with a peer that allows that method beside the usual ones.
fn up(allowed: &str) -> (Bench, DialogId, Message) {
    let (mut bench, dialog, sent) = calling();
    bench.answer(&sent, 200, "far", |writer| {
        writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>");
        writer.header(HeaderName::Allow, format_args!("INVITE, ACK, BYE, CANCEL, {allowed}"));
        writer.body("application/sdp", "answer");
    });
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.sent();
    bench.events();
    (bench, dialog, sent)
}
