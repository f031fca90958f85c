//! REFERs of theirs that are taken up: RFC 3515, RFC 4488.

use std::time::Duration;

use sip::endpoint::Event;
use sip::simulate::Faults;
use sip::{DialogId, HeaderName, Headers, Message, RequestId, StatusCode, StatusLine, Transport};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, name};

#[test]
fn what_becomes_of_a_refer_is_told_from_trying_to_the_end() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let sent = bench.sent();
    assert_eq!(firsts(&sent), ["202", "NOTIFY"]);
    settle(&mut bench, &sent[1]);
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::RINGING);
    let ringing = bench.sent_one();
    settle(&mut bench, &ringing);
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);
    let last = bench.sent_one();
    settle(&mut bench, &last);
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::BUSY_HERE);

    assert_eq!(told(&sent[1]), ("refer".into(), "active;expires=180".into(), "SIP/2.0 100 Trying".into()));
    assert_eq!(told(&ringing).2, "SIP/2.0 180 Ringing");
    assert_eq!(told(&last), ("refer".into(), "terminated;reason=noresource".into(), "SIP/2.0 200 OK".into()));
    assert_eq!(header(&last, HeaderName::ContentType), "message/sipfrag;version=2.0");
    assert_eq!(header(&last, HeaderName::Contact), "<sip:edge@192.0.2.1:5060>");
    assert!(bench.sent().is_empty(), "after the last word there is none");
}

/// RFC 3515 §2.4.6.
#[test]
fn a_second_refer_has_an_id_in_its_event() {
    let (mut bench, _, to) = connected();
    let ids = [11, 12].map(|seq| referred(&mut bench, seq, &to, ""));
    for id in ids {
        bench.endpoint.accept_refer(bench.now, id);
    }
    let sent = bench.sent();
    let events: Vec<_> =
        sent.iter().filter(|sent| first(sent) == "NOTIFY").map(|notify| told(notify).0).collect();

    assert_eq!(events, ["refer", "refer;id=12"]);
}

/// RFC 4488 §4.
#[test]
fn who_wants_no_subscription_gets_none() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "Refer-Sub: false\n");
    bench.endpoint.accept_refer(bench.now, id);
    let accepted = bench.sent_one();
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);

    assert_eq!(
        (first(&accepted).as_str(), header(&accepted, HeaderName::ReferSub).as_str()),
        ("202", "false")
    );
    assert!(bench.sent().is_empty());
}

#[test]
fn what_happens_while_a_notify_is_under_way_is_told_by_the_next_one_as_it_stands_then() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    for status in [StatusCode::RINGING, StatusCode::SESSION_PROGRESS] {
        bench.endpoint.refer_progress(bench.now, dialog, id, status);
    }
    bench.endpoint.refer_progress(
        bench.now,
        dialog,
        id,
        StatusLine::new(StatusCode::BUSY_HERE, "On\r\nleave"),
    );
    let meanwhile = firsts(&bench.sent());
    settle(&mut bench, &trying);

    assert!(meanwhile.is_empty(), "{meanwhile:?}");
    let last = bench.sent_one();
    assert_eq!(told(&last).2, "SIP/2.0 486 Onleave");
    assert_eq!(told(&last).1, "terminated;reason=noresource");
}

#[test]
fn a_refer_that_leads_to_nothing_in_time_is_ended() {
    let (mut bench, _, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    settle(&mut bench, &trying);
    bench.pass(Duration::from_secs(180));

    let last = bench.sent_one();
    assert_eq!(told(&last).1, "terminated;reason=timeout");
    assert_eq!(told(&last).2, "SIP/2.0 100 Trying");
}

#[test]
fn a_subscriber_who_is_gone_is_told_nothing_more() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    bench.answer(&trying, 481, "", |_| {});
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);

    assert!(bench.sent().is_empty());
    assert!(bench.words().is_empty(), "the call itself goes on");
}

/// PJSIP forgets the subscription of a REFER with its call, and its user never learns that it succeeded.
#[test]
fn a_bye_waits_until_the_outcome_of_their_refer_is_told() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let before = bench.sent();
    settle(&mut bench, &trying);
    let last = bench.sent_one();
    settle(&mut bench, &last);

    assert!(before.is_empty(), "{:?}", firsts(&before));
    assert_eq!(told(&last).2, "SIP/2.0 200 OK");
    assert_eq!(firsts(&bench.sent()), ["BYE"]);
}

#[test]
fn a_bye_does_not_wait_for_long_for_who_does_not_answer_a_notify() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    bench.pass(Duration::from_millis(1999));
    let before = firsts(&bench.sent()).contains(&"BYE".to_owned());
    bench.pass(Duration::from_millis(1));

    assert!(!before);
    assert!(firsts(&bench.sent()).contains(&"BYE".to_owned()));
}

/// RFC 5057 §4: the subscription outlives the call that it was made in, but not for ever.
#[test]
fn the_outcome_is_told_after_the_call_has_ended() {
    let (mut bench, dialog, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    settle(&mut bench, &trying);
    bench.receive(&within("BYE", 12, &to, "", ""));
    bench.sent();
    let told_before = bench.words();
    bench.endpoint.refer_progress(bench.now, dialog, id, StatusCode::OK);
    let last = bench.sent_one();
    settle(&mut bench, &last);

    assert_eq!(told_before, ["HungUp"]);
    assert_eq!(told(&last).2, "SIP/2.0 200 OK");
    assert_eq!(bench.words(), ["Gone"]);
}

#[test]
fn an_owner_who_forgets_a_refer_after_the_call_leaves_nothing_behind() {
    let (mut bench, _, to) = connected();
    let id = referred(&mut bench, 11, &to, "");
    bench.endpoint.accept_refer(bench.now, id);
    let trying = bench.sent().remove(1);
    settle(&mut bench, &trying);
    bench.receive(&within("BYE", 12, &to, "", ""));
    bench.sent();
    bench.pass(Duration::from_secs(200));

    assert_eq!(bench.words(), ["HungUp", "Gone"]);
    assert!(bench.sent().iter().all(|sent| first(sent) == "NOTIFY"));
    bench.assert_empty();
}

#[test]
fn a_refer_without_exactly_one_target_is_400_and_one_that_is_refused_has_no_subscription() {
    let (mut bench, _, to) = connected();
    for (seq, lines) in [(11, ""), (12, "Refer-To: <sip:a@b>\nRefer-To: <sip:c@d>\n"), (13, "Refer-To: <\n")]
    {
        bench.receive(&within("REFER", seq, &to, lines, ""));
        assert_eq!(first(&bench.sent_one()), "400", "{lines}");
    }
    let id = referred(&mut bench, 14, &to, "");
    bench.endpoint.respond(bench.now, id, StatusCode::DECLINE, Headers::new(), None);
    bench.endpoint.accept_refer(bench.now, id);

    assert_eq!(firsts(&bench.sent()), ["603"]);
}

#[test]
fn refers_of_one_call_are_bounded() {
    let (mut bench, _, to) = connected();
    for seq in 11..20 {
        let id = referred(&mut bench, seq, &to, "");
        bench.endpoint.accept_refer(bench.now, id);
    }
    let sent = firsts(&bench.sent());

    assert_eq!(sent.iter().filter(|sent| *sent == "202").count(), 4);
    assert_eq!(sent.iter().filter(|sent| *sent == "500").count(), 5);
}

#[test]
fn two_endpoints_transfer_over_a_line_that_loses() {
    for seed in 0..20 {
        let lossy = Faults { loss: 250, doubling: 100, ..Faults::NONE };
        let mut pair = Pair::seeded(seed, lossy);
        let (alice, bob) = pair.connected(Transport::Udp);
        pair.act(ALICE, |endpoint, now| {
            endpoint.refer(now, alice, &name("sip:human@example.com"), Headers::new());
        });
        let Event::Referred { id, .. } = pair.until(BOB, "Referred") else { panic!() };
        pair.act(BOB, |endpoint, now| {
            endpoint.accept_refer(now, id);
            endpoint.refer_progress(now, bob, id, StatusCode::RINGING);
            endpoint.refer_progress(now, bob, id, StatusCode::OK);
        });
        let last = loop {
            if let Event::ReferProgress { terminated: true, status, .. } = pair.until(ALICE, "ReferProgress")
            {
                break status;
            }
        };
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(last, Some(StatusCode::OK), "seed {seed}");
    }
}

fn connected() -> (Bench, DialogId, String) {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let dialog = dialog(&bench.events().remove(0));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    let to = header(&bench.sent_one(), HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", ""));
    bench.events();
    (bench, dialog, to)
}

fn referred(bench: &mut Bench, seq: u32, to: &str, lines: &str) -> RequestId {
    bench.receive(&within("REFER", seq, to, &format!("Refer-To: <sip:human@example.com>\n{lines}"), ""));
    let events = bench.events();
    let [Event::Referred { id, .. }] = &events[..] else { panic!("{events:?}") };
    *id
}

fn settle(bench: &mut Bench, notify: &Message) {
    bench.answer(notify, 200, "", |_| {});
}

/// Event, state and status line of a NOTIFY.
fn told(notify: &Message) -> (String, String, String) {
    let body = String::from_utf8(notify.body().to_vec()).unwrap();
    let state = header(notify, HeaderName::SubscriptionState);
    (header(notify, HeaderName::Event), state, body.trim_end().to_owned())
}
