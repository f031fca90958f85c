//! Calls that go as they should, between two endpoints.

use std::time::Duration;

use sip::endpoint::{Event, Failure};
use sip::simulate::Faults;
use sip::{Body, HeaderName, Headers, Invite, StatusCode, StatusLine, Transport};

use crate::owners::{ALICE, BOB, Pair, dialog, message, name};

#[test]
fn a_call_rings_is_answered_and_hung_up_by_the_caller() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);

        let alice = pair.call(transport);
        let bob = dialog(&pair.until(BOB, "Invited"));
        pair.act(BOB, |endpoint, now| endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None));
        pair.until(ALICE, "Progress");
        pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("answer"))));
        let answered = pair.until(ALICE, "Answered");
        pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
        pair.until(BOB, "Acknowledged");
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(message(&answered).body(), "answer");
        assert_eq!(pair.words(ALICE), ["Progress", "Answered", "Gone"]);
        assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "HungUp", "Gone"]);
        assert_eq!(pair.sent(ALICE), ["INVITE", "ACK", "BYE"]);
        assert_eq!(pair.sent(BOB), ["180", "200", "200"]);
    }
}

#[test]
fn a_call_can_be_hung_up_by_the_callee() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let (_, bob) = pair.connected(transport);

        pair.act(BOB, |endpoint, now| endpoint.hang_up(now, bob, Headers::new()));
        pair.settle();

        assert_eq!(pair.words(ALICE), ["Answered", "HungUp", "Gone"]);
        assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "Gone"]);
    }
}

#[test]
fn a_refusal_carries_its_reason_and_headers() {
    let mut pair = Pair::new(Faults::NONE);
    pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));

    let reason: Headers = vec![("Reason".into(), "Q.850;cause=17".into())];
    let busy = StatusLine::new(StatusCode::BUSY_HERE, "On another\r\ncall");
    pair.act(BOB, |endpoint, now| endpoint.refuse(now, bob, busy, reason));
    let refused = pair.until(ALICE, "Refused");
    pair.settle();

    let response = message(&refused);
    assert_eq!(response.status(), Some(StatusCode::BUSY_HERE));
    assert_eq!(response.reason_phrase().unwrap(), "On anothercall");
    assert_eq!(response.header(HeaderName::Reason).unwrap(), "Q.850;cause=17");
    assert_eq!(pair.words(ALICE), ["Refused", "Gone"]);
    assert_eq!(pair.words(BOB), ["Invited", "Gone"]);
    assert_eq!(pair.sent(ALICE), ["INVITE", "ACK"]);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut pair = Pair::new(Faults::NONE);
    let invite = Invite { body: None, ..pair.invitation(Transport::Udp) };
    let alice = pair.act(ALICE, |endpoint, now| endpoint.invite(now, invite));
    let bob = dialog(&pair.until(BOB, "Invited"));

    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("offer"))));
    pair.until(ALICE, "Answered");
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, Some(Body::sdp("answer"))));
    let acknowledged = pair.until(BOB, "Acknowledged");

    assert_eq!(message(&acknowledged).body(), "answer");
    assert_eq!(message(&acknowledged).content_type().unwrap().unwrap().to_string(), "application/sdp");
}

/// RFC 3261 §17.1.1.2: timer B, and RFC 3261 §9.1: no CANCEL without a response.
#[test]
fn a_call_to_nobody_fails_after_32_seconds_whatever_the_owner_wants() {
    for hangs_up in [false, true] {
        let mut pair = Pair::new(Faults { loss: 1000, ..Faults::NONE });
        let alice = pair.call(Transport::Udp);
        if hangs_up {
            pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        }
        pair.settle();

        assert_eq!(pair.words(ALICE), ["Failed", "Gone"]);
        assert_eq!(pair.when(ALICE, "Failed"), Some(32_000));
        assert_eq!(pair.sent(ALICE), ["INVITE"; 7]);
    }
}

#[test]
fn a_short_timer_b_tells_the_owner_early_and_still_ends_a_late_answer() {
    let mut pair = Pair::new(Faults { delay: Duration::from_millis(1500), ..Faults::NONE });
    let invite = Invite { timer_b: Some(Duration::from_secs(2)), ..pair.invitation(Transport::Udp) };
    pair.act(ALICE, |endpoint, now| endpoint.invite(now, invite));
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    pair.settle();

    assert_eq!(pair.words(ALICE), ["Failed", "Gone"]);
    assert_eq!(pair.when(ALICE, "Failed"), Some(2_000));
    assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "HungUp", "Gone"]);
}

#[test]
fn without_a_listener_for_the_way_a_call_fails_at_once() {
    let mut pair = Pair::new(Faults::NONE);

    pair.call(Transport::Tls);
    pair.settle();

    assert_eq!(pair.words(ALICE), ["Failed", "Gone"]);
    assert!(matches!(pair.told[0].2, Event::Failed { failure: Failure::Transport, .. }));
    assert!(pair.sent(ALICE).is_empty());
}

#[test]
fn commands_to_a_dialog_that_is_gone_do_nothing() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);
    pair.act(BOB, |endpoint, now| endpoint.hang_up(now, bob, Headers::new()));
    pair.settle();
    let sent = pair.network.traces().len();

    pair.act(ALICE, |endpoint, now| {
        endpoint.hang_up(now, alice, Headers::new());
        endpoint.accept(now, alice, Headers::new(), None);
        endpoint.refuse(now, alice, StatusCode::DECLINE, Headers::new());
        endpoint.acknowledge(now, alice, None);
        endpoint.reinvite(now, alice, Headers::new(), None);
    });
    pair.settle();

    assert_eq!(pair.network.traces().len(), sent);
    assert_eq!(pair.words(ALICE).iter().filter(|word| *word == "Gone").count(), 1);
}

/// RFC 3261 §13.3.1.1: a proxy on the way forgets a call that is silent for three minutes.
#[test]
fn ringing_is_repeated_every_minute() {
    let mut pair = Pair::new(Faults::NONE);
    pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None));
    pair.pass(Duration::from_secs(185));

    assert_eq!(pair.times_sent(BOB, "180"), 4);
    pair.act(BOB, |endpoint, now| endpoint.refuse(now, bob, StatusCode::BUSY_HERE, Headers::new()));
    pair.settle();
}

#[test]
fn a_100_is_told_but_makes_no_dialog() {
    let mut pair = Pair::new(Faults::NONE);
    pair.call(Transport::Udp);
    let progress = pair.until(ALICE, "Progress");

    assert_eq!(message(&progress).status(), Some(StatusCode::TRYING));
    assert_eq!(message(&progress).to().unwrap().tag(), None);
}

#[test]
fn a_notify_reaches_whoever_sent_refer_and_its_answer_is_nobodys() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);
    pair.act(ALICE, |endpoint, now| endpoint.refer(now, alice, &name("sip:carol@10.0.0.3"), Headers::new()));
    let Event::Referred { id, .. } = pair.until(BOB, "Referred") else { panic!() };
    let lines: Headers = vec![
        ("Event".into(), "refer".into()),
        ("Subscription-State".into(), "terminated;reason=noresource".into()),
    ];
    let body = Body { content_type: "message/sipfrag".into(), content: "SIP/2.0 200 OK".into() };
    pair.act(BOB, |endpoint, now| {
        endpoint.respond(now, id, StatusCode::ACCEPTED, Headers::new(), None);
        endpoint.notify(now, bob, lines, Some(body));
    });
    let Event::ReferProgress { status, terminated, .. } = pair.until(ALICE, "ReferProgress") else {
        panic!()
    };
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!((status, terminated), (Some(StatusCode::OK), true));
    assert_eq!(pair.words(ALICE), ["Answered", "ReferAccepted", "ReferProgress", "Gone"]);
    assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "Referred", "HungUp", "Gone"]);
}

/// RFC 3261 §13.3.1.
#[test]
fn an_invite_that_expires_is_ended_by_the_callee() {
    let mut pair = Pair::new(Faults::NONE);
    let invite = Invite { expires: Some(Duration::from_secs(20)), ..pair.invitation(Transport::Udp) };
    pair.act(ALICE, |endpoint, now| endpoint.invite(now, invite));
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None));
    let refused = pair.until(ALICE, "Refused");
    pair.settle();

    assert_eq!(message(&refused).status(), Some(StatusCode::REQUEST_TERMINATED));
    assert_eq!(pair.words(BOB), ["Invited", "Expired", "Gone"]);
}
