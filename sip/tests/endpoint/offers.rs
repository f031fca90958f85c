//! re-INVITE and UPDATE: RFC 3261 §14, RFC 3311.

use sip::endpoint::{Event, Refusal};
use sip::simulate::Faults;
use sip::{Body, Headers, StatusCode, Transport};

use crate::owners::{ALICE, BOB, Pair, message};

#[test]
fn either_side_may_put_the_other_on_hold_and_take_it_back() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let (alice, bob) = pair.connected(transport);

        for (asker, asked, near, far) in [(ALICE, BOB, alice, bob), (BOB, ALICE, bob, alice)] {
            pair.act(asker, |endpoint, now| {
                endpoint.reinvite(now, near, Headers::new(), Some(Body::sdp("hold")));
            });
            let reinvited = pair.until(asked, "Reinvited");
            assert_eq!(message(&reinvited).body(), "hold");
            pair.act(asked, |endpoint, now| {
                endpoint.accept(now, far, Headers::new(), Some(Body::sdp("held")))
            });
            let answered = pair.until(asker, "ReinviteAnswered");
            assert_eq!(message(&answered).body(), "held");
            pair.act(asker, |endpoint, now| endpoint.acknowledge(now, near, None));
            pair.until(asked, "Acknowledged");
        }
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(pair.words(BOB).last().unwrap(), "Gone");
    }
}

#[test]
fn a_refused_offer_leaves_the_call_alone() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);

    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("video"))));
    pair.until(BOB, "Reinvited");
    pair.act(BOB, |endpoint, now| {
        endpoint.refuse(now, bob, StatusCode::NOT_ACCEPTABLE_HERE, Headers::new());
    });
    let refused = pair.until(ALICE, "ReinviteRefused");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    let Event::ReinviteRefused { refusal: Refusal::Response(response), .. } = refused else { panic!() };
    assert_eq!(response.status(), Some(StatusCode::NOT_ACCEPTABLE_HERE));
    assert!(pair.words(BOB).contains(&"HungUp".to_owned()));
}

/// RFC 3261 §14.1: both refuse with 491; the one who does not own the Call-ID tries again first.
#[test]
fn offers_that_cross_are_both_made_again_and_both_answered() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);

    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("a"))));
    pair.act(BOB, |endpoint, now| endpoint.reinvite(now, bob, Headers::new(), Some(Body::sdp("b"))));
    let reinvited = pair.until(ALICE, "Reinvited");
    let met = pair.network.elapsed();
    pair.act(ALICE, |endpoint, now| endpoint.accept(now, alice, Headers::new(), Some(Body::sdp("ab"))));
    pair.until(BOB, "ReinviteAnswered");
    pair.act(BOB, |endpoint, now| endpoint.acknowledge(now, bob, None));
    pair.until(ALICE, "Acknowledged");

    assert_eq!(message(&reinvited).body(), "b");
    assert!(met.as_millis() <= 2_100, "{met:?}");
    assert_eq!((pair.times_sent(ALICE, "491"), pair.times_sent(BOB, "491")), (1, 1));
    // Alice's own offer was written before she agreed to Bob's.
    assert!(pair.words(ALICE).contains(&"ReinviteRefused".to_owned()));
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();
}

#[test]
fn a_second_offer_waits_for_the_end_of_the_first_and_a_third_takes_its_place() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);

    pair.act(ALICE, |endpoint, now| {
        for body in ["one", "two", "three"] {
            endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp(body)));
        }
    });
    let mut bodies = Vec::new();
    for _ in 0..2 {
        bodies.push(message(&pair.until(BOB, "Reinvited")).body());
        pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
        pair.until(ALICE, "ReinviteAnswered");
        pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
    }
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!(bodies, ["one", "three"]);
    assert_eq!(pair.words(ALICE).iter().filter(|word| *word == "ReinviteRefused").count(), 1);
}

/// RFC 3261 §12.2.1.2.
#[test]
fn a_peer_that_does_not_answer_a_reinvite_has_its_call_ended() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, _) = pair.connected(Transport::Udp);
    pair.network.set_faults(Faults { loss: 1000, ..Faults::NONE });

    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("a"))));
    pair.until(ALICE, "Gone");

    assert_eq!(pair.words(ALICE), ["Answered", "ReinviteRefused", "Failed", "Gone"]);
    assert_eq!(pair.times_sent(ALICE, "BYE"), 11);
}

#[test]
fn a_bye_ends_an_offer_that_the_owner_has_not_answered() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, _) = pair.connected(Transport::Udp);

    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("a"))));
    pair.until(BOB, "Reinvited");
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    assert_eq!(pair.times_sent(BOB, "487"), 1);
    assert_eq!(pair.words(BOB), ["Invited", "Acknowledged", "Reinvited", "HungUp", "Gone"]);
}

#[test]
fn a_bye_that_overtakes_the_answer_to_an_offer_leaves_nothing_behind() {
    let mut pair = Pair::new(Faults::NONE);
    let (alice, bob) = pair.connected(Transport::Udp);

    pair.act(ALICE, |endpoint, now| endpoint.reinvite(now, alice, Headers::new(), Some(Body::sdp("a"))));
    pair.until(BOB, "Reinvited");
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), None));
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
    pair.settle();

    // The 2xx came after our BYE; it is acknowledged all the same.
    assert_eq!(pair.times_sent(ALICE, "ACK"), 2);
    assert_eq!(pair.words(ALICE), ["Answered", "Gone"]);
}
