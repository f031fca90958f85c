//! Ends that meet half-way, and messages that get lost: RFC 3261 §9, §13, §15 and RFC 5407.

use std::time::Duration;

use sip::simulate::Faults;
use sip::{Headers, StatusCode, Transport};

use crate::owners::{ALICE, BOB, Pair, dialog};

const LOST: Faults = Faults { loss: 1000, ..Faults::NONE };

#[test]
fn a_ringing_call_is_cancelled() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let alice = pair.call(transport);
        let bob = dialog(&pair.until(BOB, "Invited"));
        pair.act(BOB, |endpoint, now| endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None));
        pair.until(ALICE, "Progress");

        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(pair.words(ALICE), ["Progress", "Refused", "Gone"]);
        assert_eq!(pair.words(BOB), ["Invited", "Cancelled", "Gone"]);
        assert_eq!(pair.sent(ALICE), ["INVITE", "CANCEL", "ACK"]);
        assert_eq!(pair.sent(BOB), ["180", "200", "487"]);
    }
}

/// RFC 3261 §9.1.
#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut pair = Pair::new(Faults::NONE);
    let alice = pair.call(Transport::Udp);
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!(pair.sent(ALICE), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(pair.sent(BOB), ["100", "200", "487"]);
    assert_eq!(pair.words(BOB), ["Invited", "Cancelled", "Gone"]);
    assert_eq!(pair.words(ALICE), ["Refused", "Gone"]);
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let alice = pair.call(transport);
        let bob = dialog(&pair.until(BOB, "Invited"));
        pair.act(BOB, |endpoint, now| endpoint.ring(now, bob, StatusCode::RINGING, Headers::new(), None));
        pair.until(ALICE, "Progress");

        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
        pair.settle();

        assert_eq!(pair.sent(ALICE), ["INVITE", "CANCEL", "ACK", "BYE"]);
        assert_eq!(pair.words(ALICE), ["Progress", "Gone"]);
        assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "HungUp", "Gone"]);
    }
}

#[test]
fn two_byes_that_cross_are_both_answered_and_told_to_nobody() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let (alice, bob) = pair.connected(transport);

        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.act(BOB, |endpoint, now| endpoint.hang_up(now, bob, Headers::new()));
        pair.settle();

        assert_eq!(pair.words(ALICE), ["Answered", "Gone"]);
        assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "Gone"]);
        assert_eq!((pair.times_sent(ALICE, "200"), pair.times_sent(BOB, "200")), (1, 2));
    }
}

#[test]
fn a_lost_200_is_repeated_and_every_copy_acknowledged() {
    let mut pair = Pair::new(Faults::NONE);
    let alice = pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.network.set_faults(LOST);
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    pair.pass(Duration::from_millis(1600));
    pair.network.set_faults(Faults::NONE);
    pair.until(ALICE, "Answered");
    let sent_before_ack = pair.times_sent(BOB, "200");
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
    pair.until(BOB, "Acknowledged");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    // 0, 500, 1500 were lost; 3500 arrived.
    assert_eq!(sent_before_ack, 4);
    assert_eq!(pair.times_sent(ALICE, "ACK"), 1);
    assert_eq!(pair.words(ALICE), ["Answered", "Gone"]);
}

#[test]
fn a_lost_ack_is_sent_again_without_asking_the_owner() {
    let mut pair = Pair::new(Faults::NONE);
    let alice = pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    pair.until(ALICE, "Answered");
    pair.network.set_faults(LOST);
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
    pair.pass(Duration::from_millis(100));
    pair.network.set_faults(Faults::NONE);
    pair.until(BOB, "Acknowledged");
    pair.act(BOB, |endpoint, now| endpoint.hang_up(now, bob, Headers::new()));
    pair.settle();

    assert_eq!(pair.times_sent(ALICE, "ACK"), 2);
    assert_eq!(pair.words(ALICE), ["Answered", "HungUp", "Gone"]);
}

/// RFC 3261 §13.3.1.4.
#[test]
fn without_any_ack_the_callee_hangs_up_after_32_seconds() {
    let mut pair = Pair::new(Faults::NONE);
    pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    let accepted = pair.network.elapsed().as_millis();
    pair.settle();

    assert_eq!(pair.words(BOB), ["Invited", "AckMissing", "Gone"]);
    assert_eq!(pair.when(BOB, "AckMissing"), Some(accepted + 32_000));
    assert_eq!(pair.times_sent(BOB, "200"), 11);
    assert_eq!(pair.times_sent(BOB, "BYE"), 1);
    // The caller's owner never acknowledged; the BYE ends its call.
    assert_eq!(pair.words(ALICE), ["Answered", "HungUp", "Gone"]);
}

/// RFC 3261 §15: the callee may not send BYE before the ACK.
#[test]
fn a_callee_who_hangs_up_before_the_ack_waits_for_it() {
    let mut pair = Pair::new(Faults::NONE);
    let alice = pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| {
        endpoint.accept(now, bob, Headers::new(), None);
        endpoint.hang_up(now, bob, Headers::new());
        endpoint.hang_up(now, bob, Headers::new());
    });
    pair.until(ALICE, "Answered");
    let byes_before_ack = pair.times_sent(BOB, "BYE");
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
    pair.settle();

    assert_eq!(byes_before_ack, 0);
    assert_eq!(pair.times_sent(BOB, "BYE"), 1);
    assert_eq!(pair.words(ALICE), ["Answered", "HungUp", "Gone"]);
    assert_eq!(pair.words(BOB), ["Invited", "Gone"]);
}

#[test]
fn a_caller_who_hangs_up_before_acknowledging_sends_the_ack_first() {
    let mut pair = Pair::new(Faults::NONE);
    let alice = pair.call(Transport::Udp);
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    pair.until(ALICE, "Answered");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!(pair.sent(ALICE), ["INVITE", "ACK", "BYE"]);
    assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "HungUp", "Gone"]);
}

#[test]
fn a_bye_that_nobody_answers_ends_after_32_seconds() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, _) = pair.connected(Transport::Udp);
    pair.network.set_faults(LOST);
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    let began = pair.network.elapsed().as_millis();
    pair.pass(Duration::from_secs(40));

    assert_eq!(pair.when(ALICE, "Gone"), Some(began + 32_000));
    assert_eq!(pair.times_sent(ALICE, "BYE"), 11);
}
