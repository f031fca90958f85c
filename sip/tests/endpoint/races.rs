//! Messages that cross on their way: every scenario of RFC 5407 §3, under its number. Moratorium is the time between a 2xx
//! and its ACK, mortal the time after a BYE.

use std::time::Duration;

use sip::endpoint::Event;
use sip::simulate::Faults;
use sip::{Body, DialogId, HeaderName, Headers, Invite, StatusCode, Transport};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, message, name, uri};

/// §3.1.1
#[test]
fn an_invite_that_comes_again_after_the_200_begins_nothing() {
    let (mut bench, _, to) = accepted();
    bench.receive(&invite(""));
    let log = bench.pass_noting(Duration::from_millis(500), bench.now);
    bench.receive(&within("ACK", 10, &to, "", ""));

    assert_eq!(log, [(500, "200".to_owned())], "the 200 is the dialog's to repeat");
    assert_eq!(bench.words(), ["Acknowledged"]);
    assert_eq!(bench.endpoint.ledger().dialogs, 1);
}

/// §3.1.2
#[test]
fn a_cancel_that_crosses_the_200_changes_nothing_and_the_caller_ends_the_call() {
    let (mut bench, _, to) = accepted();
    bench.receive(&invite("").replace("INVITE sip:", "CANCEL sip:").replace("10 INVITE", "10 CANCEL"));
    let cancel = bench.sent_one();
    bench.receive(&within("ACK", 10, &to, "", ""));
    bench.receive(&within("BYE", 11, &to, "", ""));

    assert_eq!((first(&cancel).as_str(), header(&cancel, HeaderName::CSeq).as_str()), ("200", "10 CANCEL"));
    assert_eq!(firsts(&bench.sent()), ["200"]);
    assert_eq!(bench.words(), ["Acknowledged", "HungUp", "Gone"]);
}

/// §3.1.3: the caller ended the early dialog before it saw the 200, which it still acknowledges.
#[test]
fn a_bye_of_the_early_dialog_that_crosses_the_200_ends_the_call() {
    let (mut bench, _, to) = accepted();
    bench.receive(&within("BYE", 11, &to, "", ""));
    let bye = bench.sent_one();
    bench.receive(&within("ACK", 10, &to, "", ""));
    let log = bench.pass_noting(Duration::from_secs(40), bench.now);

    assert_eq!((first(&bye).as_str(), header(&bye, HeaderName::CSeq).as_str()), ("200", "11 BYE"));
    assert_eq!(bench.words(), ["HungUp", "Gone"]);
    assert!(log.is_empty(), "the 200 is not repeated for a call that is over: {log:?}");
    bench.assert_empty();
}

/// §3.1.4: offer and answer of the INVITE are complete, so the ACK need not be waited for.
#[test]
fn a_reinvite_that_overtakes_the_ack_is_answered() {
    let (mut bench, dialog, to) = accepted();
    bench.receive(&within("INVITE", 11, &to, "", "offer"));
    assert_eq!(bench.words(), ["Reinvited"]);
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let answered = bench.sent_one();
    bench.receive(&within("ACK", 11, &to, "", ""));
    bench.receive(&within("ACK", 10, &to, "", ""));
    let log = bench.pass_noting(Duration::from_secs(40), bench.now);

    assert_eq!(
        (first(&answered).as_str(), header(&answered, HeaderName::CSeq).as_str()),
        ("200", "11 INVITE")
    );
    assert_eq!(bench.words(), ["Acknowledged", "Acknowledged"]);
    assert!(log.is_empty(), "{log:?}");
}

/// §3.1.5: the answer to our offer is in the ACK that has been overtaken.
#[test]
fn a_reinvite_that_overtakes_an_ack_with_the_answer_is_put_off_with_491() {
    let mut bench = Bench::new();
    let late_offer = invite("").replace("Content-Type: application/sdp\n", "");
    bench.receive(&late_offer.replace("Content-Length: 5\n\noffer", "Content-Length: 0\n\n"));
    let dialog = dialog(&bench.events().remove(0));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("offer")));
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("INVITE", 11, &to, "", "offer"));
    let put_off = bench.sent_one();
    bench.receive(&within("ACK", 11, &to, "", ""));
    bench.receive(&within("ACK", 10, &to, "", "answer"));
    bench.receive(&within("INVITE", 12, &to, "", "offer"));

    assert_eq!(first(&put_off), "491");
    assert_eq!(bench.words(), ["Acknowledged", "Reinvited"]);
}

/// §3.1.6: the ACK is lost or late.
#[test]
fn a_bye_that_overtakes_the_ack_ends_the_call_and_the_ack_is_nobodys() {
    let (mut bench, _, to) = accepted();
    bench.pass(Duration::from_millis(500));
    bench.sent();
    bench.receive(&within("BYE", 11, &to, "", ""));
    bench.receive(&within("ACK", 10, &to, "", ""));

    assert_eq!(firsts(&bench.sent()), ["200"]);
    assert_eq!(bench.words(), ["HungUp", "Gone"]);
    assert_eq!(bench.endpoint.dropped().stray_acks, 1);
}

/// §3.2.1
#[test]
fn a_bye_that_crosses_ours_is_answered_and_ours_too() {
    let (mut bench, dialog, to) = connected();
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let ours = bench.sent_one();
    bench.receive(&within("BYE", 11, &to, "", ""));
    let theirs = bench.sent_one();
    let told_before = bench.words();
    bench.answer(&ours, 200, "", |_| {});

    assert_eq!(first(&theirs), "200");
    assert!(told_before.is_empty(), "ours has no answer yet");
    assert_eq!(bench.words(), ["Gone"]);
}

/// §3.2.2
#[test]
fn a_reinvite_that_crosses_our_bye_finds_no_call() {
    let (mut bench, dialog, to) = connected();
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent_one();
    bench.receive(&within("INVITE", 11, &to, "", "offer"));
    let refused = bench.sent_one();
    bench.receive(&within("ACK", 11, &to, "", ""));
    bench.answer(&bye, 200, "", |_| {});
    bench.pass(Duration::from_secs(40));

    assert_eq!(first(&refused), "481");
    assert_eq!(bench.words(), ["Gone"]);
    bench.assert_empty();
}

/// §3.2.3
#[test]
fn a_200_of_a_reinvite_that_crosses_their_bye_is_still_acknowledged() {
    let (mut bench, dialog, to) = connected();
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), Some(Body::sdp("hold")));
    let reinvite = bench.sent_one();
    bench.receive(&within("BYE", 11, &to, "", ""));
    bench.sent();
    bench.answer(&reinvite, 200, "", |_| {});
    let ack = bench.sent_one();
    bench.pass(Duration::from_secs(40));

    assert_eq!(first(&ack), "ACK");
    assert_eq!(ack.cseq().unwrap().number, reinvite.cseq().unwrap().number);
    assert_eq!(bench.words(), ["HungUp", "Gone"]);
    bench.assert_empty();
}

/// §3.2.4: we have given up waiting for the ACK.
#[test]
fn an_ack_that_crosses_our_bye_is_nobodys() {
    let (mut bench, _, to) = accepted();
    bench.pass(Duration::from_secs(32));
    let bye = bench.sent().pop().unwrap();
    bench.receive(&within("ACK", 10, &to, "", ""));
    let after_ack = bench.sent();
    bench.answer(&bye, 200, "", |_| {});

    assert_eq!(first(&bye), "BYE");
    assert!(after_ack.is_empty());
    assert_eq!(bench.words(), ["AckMissing", "Gone"]);
}

/// §3.3.1
#[test]
fn two_reinvites_that_cross_are_both_refused_and_the_callees_comes_first_again() {
    let (mut bench, dialog, to) = connected();
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), Some(Body::sdp("hold")));
    let ours = bench.sent_one();
    bench.receive(&within("INVITE", 11, &to, "", "offer"));
    let theirs = bench.sent_one();
    bench.answer(&ours, 491, "", |_| {});
    let log = bench.pass_noting(Duration::from_secs(4), bench.now);

    assert_eq!(first(&theirs), "491");
    // We do not own the Call-ID: within 2 s, when they still wait.
    let again = log.iter().find(|(_, what)| what == "INVITE").unwrap();
    assert!(again.0 <= 2000, "{log:?}");
}

/// §3.3.2
#[test]
fn an_update_and_a_reinvite_that_cross_are_both_refused_and_made_again() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);
    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("a"))));
    pair.act(BOB, |endpoint, now| endpoint.update(now, bob, Headers::new(), Body::sdp("b")));
    let updated = pair.until(ALICE, "Updated");
    pair.act(ALICE, |endpoint, now| endpoint.accept(now, alice, Headers::new(), Some(Body::sdp("ab"))));
    pair.until(BOB, "UpdateAnswered");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!(message(&updated).body(), "b");
    assert_eq!((pair.times_sent(ALICE, "491"), pair.times_sent(BOB, "491")), (1, 1));
}

/// §3.3.3
#[test]
fn a_refer_that_crosses_our_bye_finds_no_call() {
    let (mut bench, dialog, to) = connected();
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent_one();
    bench.receive(&within("REFER", 11, &to, "Refer-To: <sip:x@example.com>\n", ""));
    let refused = bench.sent_one();
    bench.answer(&bye, 200, "", |_| {});

    assert_eq!(first(&refused), "481");
    assert_eq!(bench.words(), ["Gone"]);
}

/// Appendix C: a CANCEL that is faster than its INVITE finds nothing; the INVITE then rings, and its own end comes.
#[test]
fn a_cancel_that_overtakes_its_invite_finds_nothing() {
    let mut bench = Bench::new();
    bench.receive(&invite("").replace("INVITE sip:", "CANCEL sip:").replace("10 INVITE", "10 CANCEL"));
    let unknown = bench.sent_one();
    bench.receive(&invite(""));

    assert_eq!(first(&unknown), "481");
    assert_eq!(bench.words(), ["Invited"]);
}

/// A fork that has been sent PRACK, and answers after another one has: its BYE counts on from there.
#[test]
fn the_bye_of_a_late_fork_comes_after_everything_that_was_sent_to_it() {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let call = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let call_dialog = bench.endpoint.invite(bench.now, Invite { body: Some(Body::sdp("offer")), ..call });
    let sent = bench.sent_one();
    for rseq in 1..4 {
        bench.answer(&sent, 180, "late", |writer| {
            writer.header(HeaderName::Contact, "<sip:late@192.0.2.9>");
            writer.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, rseq);
        });
    }
    let last = bench.sent().pop().unwrap().cseq().unwrap().number;
    for tag in ["first", "late"] {
        bench.answer(&sent, 200, tag, |writer| {
            writer.header(HeaderName::Contact, format_args!("<sip:{tag}@192.0.2.9>"));
        });
    }
    bench.endpoint.acknowledge(bench.now, call_dialog, None);
    let byes: Vec<_> = bench.sent().into_iter().filter(|sent| first(sent) == "BYE").collect();

    assert_eq!(last, 4);
    assert_eq!(byes.len(), 1);
    assert_eq!((byes[0].to().unwrap().tag(), byes[0].cseq().unwrap().number), (Some("late"), 5));
}

/// Their call, with our 200 sent and no ACK yet.
fn accepted() -> (Bench, DialogId, String) {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let dialog = dialog(&bench.events().remove(0));
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let to = header(&bench.sent()[1], HeaderName::To);
    (bench, dialog, to)
}

fn connected() -> (Bench, DialogId, String) {
    let (mut bench, dialog, to) = accepted();
    bench.receive(&within("ACK", 10, &to, "", ""));
    let events = bench.events();
    assert!(matches!(events[..], [Event::Acknowledged { .. }]));
    (bench, dialog, to)
}
