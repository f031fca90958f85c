//! Provisional responses that are acknowledged: RFC 3262, and the offers that this allows before the answer (RFC 3311).

use std::time::Duration;

use sip::endpoint::Event;
use sip::simulate::Faults;
use sip::{
    Body, DialogId, HeaderName, Headers, Invite, Message, Policy, ReliableProvisionals, StatusCode, Transport,
};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, name, uri};

const REQUIRED: &str = "Require: 100rel\n";

// ---- the caller

#[test]
fn a_reliable_response_is_acknowledged_once_and_told_once() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "far", 7, "");
    let prack = bench.sent_one();
    ring(&mut bench, &sent, 180, "far", 7, "");
    ring(&mut bench, &sent, 180, "far", 6, "");

    assert_eq!(first(&prack), "PRACK");
    assert_eq!(header(&prack, HeaderName::RAck), "7 1 INVITE");
    assert_eq!(prack.cseq().unwrap().number, 2);
    assert_eq!(prack.to().unwrap().tag(), Some("far"));
    assert_eq!(prack.request_uri().unwrap().as_str(), "sip:far@192.0.2.9");
    assert!(bench.sent().is_empty());
    assert_eq!(bench.words(), ["Progress"]);
}

/// RFC 3262 §4: what comes out of order is neither acknowledged nor looked at.
#[test]
fn a_response_that_overtakes_another_waits_for_its_repetition() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "far", 7, "");
    ring(&mut bench, &sent, 183, "far", 9, "answer");
    assert_eq!((firsts(&bench.sent()), bench.words().len()), (vec!["PRACK".to_owned()], 1));
    ring(&mut bench, &sent, 182, "far", 8, "");
    ring(&mut bench, &sent, 183, "far", 9, "answer");

    let racks: Vec<_> = bench.sent().iter().map(|prack| header(prack, HeaderName::RAck)).collect();
    assert_eq!(racks, ["8 1 INVITE", "9 1 INVITE"]);
    assert_eq!(bench.words().len(), 2);
}

#[test]
fn each_fork_counts_for_itself() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "one", 7, "");
    ring(&mut bench, &sent, 180, "two", 1, "");
    ring(&mut bench, &sent, 183, "two", 2, "answer");
    ring(&mut bench, &sent, 183, "one", 8, "answer");

    let seen: Vec<_> = bench
        .sent()
        .iter()
        .map(|prack| {
            let tag = prack.to().unwrap().tag().unwrap().to_owned();
            (tag, header(prack, HeaderName::RAck), prack.cseq().unwrap().number)
        })
        .collect();
    let expected = [("one", "7", 2), ("two", "1", 2), ("two", "2", 3), ("one", "8", 3)];
    assert_eq!(seen, expected.map(|(tag, rseq, seq)| (tag.to_owned(), format!("{rseq} 1 INVITE"), seq)));
}

#[test]
fn without_rseq_or_without_require_nothing_is_acknowledged() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    bench.answer(&sent, 180, "far", |writer| {
        writer.header(HeaderName::Require, "100rel");
    });
    bench.answer(&sent, 180, "far", |writer| {
        writer.header(HeaderName::RSeq, 4);
    });

    assert!(bench.sent().is_empty());
    assert_eq!(bench.words(), ["Progress", "Progress"]);
}

/// RFC 3262 §5.
#[test]
fn an_offer_in_a_reliable_response_is_answered_in_its_prack() {
    let (mut bench, dialog, sent) = calling(None, ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 183, "far", 7, "offer");
    assert!(bench.sent().is_empty(), "the owner has to answer");
    let events = bench.events();
    let [Event::Progress { response, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.prack(bench.now, dialog, response, Some(Body::sdp("answer")));
    bench.endpoint.prack(bench.now, dialog, response, Some(Body::sdp("answer")));
    let prack = bench.sent_one();
    bench.answer(&prack, 200, "", |_| {});
    bench.answer(&sent, 200, "far", contact);
    bench.endpoint.acknowledge(bench.now, dialog, None);

    assert_eq!((header(&prack, HeaderName::RAck).as_str(), prack.body().len()), ("7 1 INVITE", 6));
    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Answered"]);
}

#[test]
fn what_the_invite_says_depends_on_the_policy() {
    for (policy, supported, required) in [
        (ReliableProvisionals::Off, false, ""),
        (ReliableProvisionals::Supported, true, ""),
        (ReliableProvisionals::Required, true, "100rel"),
    ] {
        let (_, _, sent) = calling(Some("offer"), policy);

        assert_eq!(sent.has_token(HeaderName::Supported, "100rel"), supported);
        assert_eq!(header(&sent, HeaderName::Require), required);
        assert!(sent.has_token(HeaderName::Allow, "PRACK"));
    }
}

#[test]
fn a_prack_that_nobody_answers_does_not_end_the_call() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "far", 7, "");
    bench.pass(Duration::from_secs(40));
    bench.sent();
    bench.answer(&sent, 200, "far", contact);

    assert_eq!(bench.words(), ["Progress", "Answered"]);
}

#[test]
fn numbers_at_the_end_of_their_range_harm_nobody() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "far", u32::MAX, "");
    ring(&mut bench, &sent, 180, "far", 0, "");
    ring(&mut bench, &sent, 180, "far", u32::MAX, "");

    assert_eq!(firsts(&bench.sent()), ["PRACK"]);
}

// ---- the callee

#[test]
fn ringing_is_reliable_where_the_invite_requires_it_and_the_policy_allows_it() {
    for (lines, policy, is_reliable) in [
        ("", ReliableProvisionals::Supported, false),
        ("Supported: 100rel\n", ReliableProvisionals::Supported, false),
        (REQUIRED, ReliableProvisionals::Supported, true),
        ("Supported: 100rel\n", ReliableProvisionals::Required, true),
        (REQUIRED, ReliableProvisionals::Required, true),
        ("Supported: 100rel\n", ReliableProvisionals::Off, false),
    ] {
        let (mut bench, dialog) = invited(lines);
        bench.endpoint.set_policy(bench.now, dialog, reliable(policy)).unwrap();
        bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
        let ringing = bench.sent_one();

        assert_eq!(ringing.has_token(HeaderName::Require, "100rel"), is_reliable, "{lines}{policy:?}");
        assert_eq!(ringing.rseq().unwrap().is_some(), is_reliable);
        assert_eq!(ringing.has_token(HeaderName::Allow, "UPDATE"), is_reliable);
    }
}

#[test]
fn a_policy_refuses_with_420_or_421() {
    for (lines, policy, status, header_name) in [
        (REQUIRED, ReliableProvisionals::Off, StatusCode::BAD_EXTENSION, HeaderName::Unsupported),
        ("", ReliableProvisionals::Required, StatusCode::EXTENSION_REQUIRED, HeaderName::Require),
    ] {
        let (mut bench, dialog) = invited(lines);

        assert_eq!(bench.endpoint.set_policy(bench.now, dialog, reliable(policy)), Err(status));
        assert_eq!(header(&bench.sent_one(), header_name), "100rel");
        assert_eq!(bench.words(), ["Gone"]);
    }
}

/// RFC 3262 §3: T1, doubling without limit, for 64·T1.
#[test]
fn an_unacknowledged_response_is_repeated_for_32_seconds_and_then_the_call_refused() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = Bench::on(transport);
        bench.receive(&invite(REQUIRED));
        let dialog = dialog(&bench.events().remove(0));
        bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
        let log = bench.pass_noting(Duration::from_secs(32), bench.now);

        let times: Vec<_> = log.iter().filter(|(_, what)| what == "180").map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(log.last(), Some(&(32_000, "504".to_owned())));
        assert_eq!(bench.words(), ["PrackMissing", "Gone"]);
    }
}

#[test]
fn a_prack_ends_the_repetition_and_lets_the_next_response_go() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("answer")),
    );
    let ringing = bench.sent_one();
    let to = header(&ringing, HeaderName::To);
    let rseq = ringing.rseq().unwrap().unwrap();
    bench.receive(&prack(11, &to, rseq, ""));
    let sent = bench.sent();
    let told = bench.words();
    bench.receive(&prack(12, &to, rseq + 1, ""));
    bench.sent();
    let log = bench.pass_noting(Duration::from_secs(50), bench.now);

    assert_eq!(firsts(&sent), ["200", "183"]);
    assert_eq!(sent[1].rseq().unwrap(), Some(rseq + 1));
    assert_eq!(told, ["Pracked"]);
    assert_eq!(bench.words(), ["Pracked"]);
    assert!(log.is_empty(), "{log:?}");
}

#[test]
fn a_prack_of_something_else_is_481_and_one_without_rack_400() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    let ringing = bench.sent_one();
    let to = header(&ringing, HeaderName::To);
    let rseq = ringing.rseq().unwrap().unwrap();
    let mut seq = 10;
    for (rack, status) in [
        (format!("{} 10 INVITE", rseq + 1), "481"),
        (format!("{rseq} 9 INVITE"), "481"),
        (format!("{rseq} 10 UPDATE"), "481"),
        ("x".to_owned(), "400"),
        (format!("{rseq} 10 INVITE"), "200"),
        (format!("{rseq} 10 INVITE"), "481"),
    ] {
        seq += 1;
        bench.receive(&within("PRACK", seq, &to, &format!("RAck: {rack}\n"), ""));
        assert_eq!(first(&bench.sent_one()), status, "{rack}");
    }
}

#[test]
fn a_200_waits_for_the_prack_of_a_description_and_then_carries_none() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("answer")),
    );
    let progress = bench.sent_one();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let before = firsts(&bench.sent());
    let (to, rseq) = (header(&progress, HeaderName::To), progress.rseq().unwrap().unwrap());
    bench.receive(&prack(11, &to, rseq, ""));
    let sent = bench.sent();

    assert!(before.is_empty(), "{before:?}");
    assert_eq!(firsts(&sent), ["200", "200"]);
    assert_eq!(header(&sent[0], HeaderName::CSeq), "11 PRACK");
    assert_eq!((header(&sent[1], HeaderName::CSeq).as_str(), sent[1].body().len()), ("10 INVITE", 0));
}

#[test]
fn a_200_that_waits_is_not_forgotten_when_the_caller_cancels_or_never_acknowledges() {
    let accept_early = || {
        let (mut bench, dialog) = invited(REQUIRED);
        let body = || Some(Body::sdp("answer"));
        bench.endpoint.ring(bench.now, dialog, StatusCode::SESSION_PROGRESS, Headers::new(), body());
        bench.endpoint.accept(bench.now, dialog, Headers::new(), body());
        bench.sent();
        bench
    };
    let mut cancelled = accept_early();
    cancelled
        .receive(&invite(REQUIRED).replace("INVITE sip:", "CANCEL sip:").replace("10 INVITE", "10 CANCEL"));
    let mut silent = accept_early();
    silent.pass(Duration::from_secs(32));

    assert_eq!(firsts(&cancelled.sent()), ["200", "487"]);
    assert_eq!(cancelled.words(), ["Cancelled", "Gone"]);
    assert_eq!(silent.sent().last().map(first), Some("504".to_owned()));
    assert_eq!(silent.words(), ["PrackMissing", "Gone"]);
}

#[test]
fn a_200_does_not_wait_for_a_response_without_description_and_its_prack_is_still_answered() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    let ringing = bench.sent_one();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let accepted = bench.sent_one();
    let (to, rseq) = (header(&ringing, HeaderName::To), ringing.rseq().unwrap().unwrap());
    bench.receive(&prack(11, &to, rseq, ""));
    let late = bench.sent_one();
    bench.receive(&prack(12, &to, rseq, ""));

    assert_eq!((first(&accepted).as_str(), accepted.body().len()), ("200", 6));
    assert_eq!((first(&late), first(&bench.sent_one())), ("200".to_owned(), "481".to_owned()));
}

#[test]
fn an_offer_of_ours_in_a_reliable_response_is_answered_by_the_prack() {
    let mut bench = Bench::new();
    let text = invite(REQUIRED)
        .replace("Content-Type: application/sdp\n", "")
        .replace("Content-Length: 5\n\noffer", "Content-Length: 0\n\n");
    bench.receive(&text);
    let dialog = dialog(&bench.events().remove(0));
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("offer")),
    );
    let progress = bench.sent_one();
    let (to, rseq) = (header(&progress, HeaderName::To), progress.rseq().unwrap().unwrap());
    bench.receive(&prack(11, &to, rseq, "answer"));
    let events = bench.events();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);

    let [Event::Pracked { request, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&request.body()[..], b"answer");
    assert_eq!(firsts(&bench.sent()), ["200", "200"]);
}

#[test]
fn ringing_goes_on_being_repeated_every_minute_with_new_numbers_and_without_description() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("answer")),
    );
    let progress = bench.sent_one();
    let (to, rseq) = (header(&progress, HeaderName::To), progress.rseq().unwrap().unwrap());
    bench.receive(&prack(11, &to, rseq, ""));
    bench.sent();
    bench.pass(Duration::from_secs(60));
    let again = bench.sent_one();

    assert_eq!((again.rseq().unwrap(), again.body().len()), (Some(rseq + 1), 0));
}

#[test]
fn waiting_responses_are_bounded() {
    let (mut bench, dialog) = invited(REQUIRED);
    for _ in 0..100 {
        bench.endpoint.ring(bench.now, dialog, StatusCode::RINGING, Headers::new(), None);
    }
    let first_one = bench.sent_one();
    let to = header(&first_one, HeaderName::To);
    let mut rseq = first_one.rseq().unwrap().unwrap();
    let mut rung = 1;
    for seq in 11.. {
        bench.receive(&prack(seq, &to, rseq, ""));
        let Some(next) = bench.sent().into_iter().find(|sent| first(sent) == "180") else { break };
        rseq = next.rseq().unwrap().unwrap();
        rung += 1;
    }

    assert_eq!(rung, 5);
}

// ---- offers before the answer

#[test]
fn an_offer_before_the_answer_is_taken_once_offer_and_answer_were_acknowledged() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("answer")),
    );
    let progress = bench.sent_one();
    let (to, rseq) = (header(&progress, HeaderName::To), progress.rseq().unwrap().unwrap());
    bench.receive(&within("UPDATE", 11, &to, "", "offer"));
    let early = bench.sent_one();
    bench.receive(&prack(12, &to, rseq, ""));
    bench.sent();
    bench.events();
    bench.receive(&within("UPDATE", 13, &to, "Contact: <sip:moved@192.0.2.9:5072>\n", "offer"));
    bench.receive(&within("UPDATE", 14, &to, "", "offer"));
    let second = bench.sent_one();
    let events = bench.events();
    let [Event::EarlyOffer { id, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.respond(bench.now, *id, StatusCode::OK, Headers::new(), Some(Body::sdp("other")));
    let answered = bench.sent_one();

    assert_eq!((first(&early).as_str(), early.retry_after().unwrap().is_some()), ("500", true));
    assert_eq!((first(&second).as_str(), second.retry_after().unwrap().is_some()), ("500", true));
    assert_eq!((first(&answered).as_str(), answered.body().len()), ("200", 5));
    assert_eq!(header(&answered, HeaderName::Contact), "<sip:edge@192.0.2.1:5060>");
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    bench.receive(&within("ACK", 10, &to, "", ""));
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent().pop().unwrap();
    assert_eq!(bye.request_uri().unwrap().as_str(), "sip:moved@192.0.2.9:5072");
}

#[test]
fn the_caller_takes_an_early_offer_only_from_a_fork_that_has_answered_reliably() {
    let (mut bench, _, sent) = calling(Some("offer"), ReliableProvisionals::Supported);
    ring(&mut bench, &sent, 180, "one", 1, "");
    ring(&mut bench, &sent, 183, "two", 1, "answer");
    bench.sent();
    bench.events();
    bench.receive(&of_fork(&sent, "UPDATE", "one"));
    let refused = bench.sent_one();
    bench.receive(&of_fork(&sent, "UPDATE", "two"));

    assert_eq!(first(&refused), "491");
    let events = bench.events();
    let [Event::EarlyOffer { id, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.respond(bench.now, *id, StatusCode::OK, Headers::new(), Some(Body::sdp("answer")));
    assert_eq!(firsts(&bench.sent()), ["200"]);
}

#[test]
fn a_prack_may_bring_a_new_offer_which_the_owner_answers() {
    let (mut bench, dialog) = invited(REQUIRED);
    bench.endpoint.ring(
        bench.now,
        dialog,
        StatusCode::SESSION_PROGRESS,
        Headers::new(),
        Some(Body::sdp("answer")),
    );
    let progress = bench.sent_one();
    let (to, rseq) = (header(&progress, HeaderName::To), progress.rseq().unwrap().unwrap());
    bench.receive(&prack(11, &to, rseq, "another offer"));
    assert!(bench.sent().is_empty());
    let events = bench.events();
    let [Event::Pracked { .. }, Event::EarlyOffer { id, .. }] = &events[..] else { panic!("{events:?}") };
    bench.endpoint.respond(bench.now, *id, StatusCode::OK, Headers::new(), Some(Body::sdp("answer")));

    let answered = bench.sent_one();
    assert_eq!((first(&answered).as_str(), answered.body().len()), ("200", 6));
}

// ---- both

#[test]
fn over_a_line_that_loses_reliable_ringing_arrives_and_nothing_is_left() {
    for seed in 0..30 {
        let lossy = Faults {
            loss: 250,
            doubling: 100,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(80),
        };
        let mut pair = Pair::seeded(seed, lossy);
        let call =
            Invite { policy: reliable(ReliableProvisionals::Required), ..pair.invitation(Transport::Udp) };
        let alice = pair.act(ALICE, |endpoint, now| endpoint.invite(now, call));
        let bob = dialog(&pair.until(BOB, "Invited"));
        pair.act(BOB, |endpoint, now| {
            endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None);
            endpoint.ring(now, bob, StatusCode::SESSION_PROGRESS, Headers::new(), Some(Body::sdp("answer")));
            endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("answer")));
        });
        pair.until(ALICE, "Answered");
        pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
        pair.until(BOB, "Acknowledged");
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();
    }
}

fn reliable(reliable_provisionals: ReliableProvisionals) -> Policy {
    Policy { reliable_provisionals, ..Policy::default() }
}

fn invited(lines: &str) -> (Bench, DialogId) {
    let mut bench = Bench::new();
    bench.receive(&invite(lines));
    let dialog = dialog(&bench.events().remove(0));
    (bench, dialog)
}

fn calling(body: Option<&'static str>, policy: ReliableProvisionals) -> (Bench, DialogId, Message) {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let invite = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let invite = Invite { body: body.map(Body::sdp), policy: reliable(policy), ..invite };
    let dialog = bench.endpoint.invite(bench.now, invite);
    let sent = bench.sent_one();
    (bench, dialog, sent)
}

fn contact(writer: &mut sip::MessageWriter) {
    writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>");
}

/// A reliable provisional response of one fork.
fn ring(bench: &mut Bench, invite: &Message, status: u16, tag: &str, rseq: u32, body: &'static str) {
    bench.answer(invite, status, tag, |writer| {
        contact(writer);
        writer.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, rseq);
        if !body.is_empty() {
            writer.body("application/sdp", body);
        }
    });
}

fn prack(seq: u32, to: &str, rseq: u32, body: &str) -> String {
    within("PRACK", seq, to, &format!("RAck: {rseq} 10 INVITE\n"), body)
}

/// A request with an offer of one fork of our INVITE.
fn of_fork(invite: &Message, method: &str, tag: &str) -> String {
    format!(
        "{method} sip:edge@192.0.2.1:5060 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{method}{tag}\n\
         Max-Forwards: 70\nFrom: <sip:far@192.0.2.9>;tag={tag}\nTo: {}\nCall-ID: {}\nCSeq: 1 {method}\n\
         Content-Length: 5\n\noffer",
        invite.from().unwrap(),
        invite.call_id().unwrap(),
    )
}
