//! RFC 5407: messages that cross on their way. Moratorium is the time between a 2xx and its ACK, mortal the time after a
//! BYE. The script acts as one who has not seen yet what came, so the daemon sees the crossing on either carrier.

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::message::{bare, sdp};
use crate::play::{ALICE, BOB, Leg, Mood, Play};
use crate::rfc5359::{hangs_up, talk};

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 5407 §3.1.1", "invite_again_in_moratorium", invite_again_in_moratorium),
    Flow::new("RFC 5407 §3.1.2", "cancel_in_moratorium", cancel_in_moratorium),
    Flow::new("RFC 5407 §3.1.2", "cancel_of_the_edge_crosses_the_200", cancel_of_the_edge_crosses_the_200),
    Flow::new("RFC 5407 §3.1.3", "early_bye_in_moratorium", early_bye_in_moratorium),
    Flow::new("RFC 5407 §3.1.4", "reinvite_in_moratorium", reinvite_in_moratorium),
    Flow::new("RFC 5407 §3.1.5", "reinvite_before_the_answer_in_ack", reinvite_before_the_answer_in_ack),
    Flow::new("RFC 5407 §3.1.6", "bye_in_moratorium", bye_in_moratorium),
    Flow::new("RFC 5407 §3.1.6", "bye_right_behind_the_200", bye_right_behind_the_200),
    Flow::new("RFC 5407 §3.2.1", "bye_crosses_bye", bye_crosses_bye),
    Flow::new("RFC 5407 §3.2.2", "reinvite_crosses_bye", reinvite_crosses_bye),
    Flow::new("RFC 5407 §3.2.3", "answered_reinvite_crosses_bye", answered_reinvite_crosses_bye)
        .in_virtual_time(),
    Flow::new("RFC 5407 §3.2.4", "ack_crosses_bye", ack_crosses_bye),
    Flow::new("RFC 5407 §3.3.1", "reinvite_crosses_reinvite", reinvite_crosses_reinvite).in_virtual_time(),
    Flow::new("RFC 5407 §3.3.2", "update_crosses_reinvite", update_crosses_reinvite).in_virtual_time(),
    Flow::new("RFC 5407 §3.3.3", "refer_crosses_bye", refer_crosses_bye),
    Flow::new("RFC 5407 App. A", "bye_of_an_early_dialog", bye_of_an_early_dialog),
    Flow::new("RFC 3261 §15", "bye_of_the_callee_waits_for_the_ack", bye_of_the_callee_waits_for_the_ack),
    Flow::new("RFC 3261 §13.3.1.4", "ack_never_comes", ack_never_comes),
];

/// The edge's 200 is there, and no ACK was sent.
fn accepted(play: &mut Play) -> Leg {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.expect(call, "INVITE", 200);
    call
}

fn invite_again_in_moratorium(play: &mut Play) {
    let call = accepted(play);

    play.invite_again(call);
    play.ack(call, bare());
    play.engine_hears("answered");

    assert_eq!(play.engines(), 1, "it is one call");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn cancel_in_moratorium(play: &mut Play) {
    let call = accepted(play);

    play.cancel(call);
    play.expect(call, "CANCEL", 200);
    play.ack(call, bare());
    play.engine_hears("answered");

    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn cancel_of_the_edge_crosses_the_200(play: &mut Play) {
    play.place(json!({ "to": "+15550123", "ring_timeout_sec": 5 }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 180, bare());
    let cancel = play.receive(call, "CANCEL");

    // Bob has answered before the CANCEL reached him.
    play.reply(call, &cancel, 200, bare());
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.acked(call, &invite);
    let bye = play.receive(call, "BYE");
    play.reply(call, &bye, 200, bare());

    play.ended("no_answer", &["placed", "no_answer"]);
}

fn early_bye_in_moratorium(play: &mut Play) {
    let call = accepted(play);

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.ack(call, bare());

    play.shows("/end_reason", "remote_hung_up");
    assert_eq!(play.view()["answered_at"], json!(null));
}

fn reinvite_in_moratorium(play: &mut Play) {
    let call = accepted(play);
    let first = play.ack_held_back(call, bare());

    play.request(call, "INVITE", sdp("sendonly"));
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.direction(), "recvonly", "offer and answer were complete");
    play.ack(call, bare());
    play.send_ack(call, first);

    play.engine_hears("answered");
    play.engine_hears("hold");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn reinvite_before_the_answer_in_ack(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", bare());
    play.expect(call, "INVITE", 200);
    let first = play.ack_held_back(call, sdp("sendrecv"));

    play.request(call, "INVITE", sdp("sendonly"));
    play.expect(call, "INVITE", 491);
    play.send_ack(call, first);
    play.engine_hears("answered");
    play.pass(Duration::from_secs(2));
    play.request(call, "INVITE", sdp("sendonly"));
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "recvonly");
    play.ack(call, bare());

    play.engine_hears("hold");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn bye_in_moratorium(play: &mut Play) {
    let call = accepted(play);
    let ack = play.ack_held_back(call, bare());

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.send_ack(call, ack);

    play.quiet(call, Duration::from_secs(2));
    play.shows("/end_reason", "remote_hung_up");
}

/// Bob answers and hangs up before our ACK can have reached him.
fn bye_right_behind_the_200(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.request(call, "BYE", bare());

    let done = play
        .either(call, "an answer to BYE", |message| message.status().is_some() && message.method() == "BYE");
    if !play.loses() {
        assert_eq!(done.status(), Some(200));
        play.acked(call, &invite);
        play.ended("remote_hung_up", &["placed", "answered", "ended"]);
        return;
    }
    // Where the 200 was lost the BYE belonged to no dialog yet.
    play.acked(call, &invite);
    if done.status() == Some(481) {
        play.engine_hears("answered");
        play.request(call, "BYE", bare());
        play.expect(call, "BYE", 200);
    }
    // Or it ended the call, and the 200 that came late found nobody who wanted it.
    play.pass(Duration::from_secs(10));
    if let Some(bye) = play.may_have(call, |message| message.status().is_none() && message.method() == "BYE")
    {
        play.reply(call, &bye, 481, bare());
    }
    play.shows("/end_reason", "remote_hung_up");
}

fn bye_crosses_bye(play: &mut Play) {
    let call = talk(play);
    play.engine_says(&json!({ "type": "hang_up" }));
    let theirs = play.receive(call, "BYE");

    play.request(call, "BYE", bare());
    let done = play
        .either(call, "an answer to BYE", |message| message.status().is_some() && message.method() == "BYE");
    assert_eq!(done.status(), Some(200));
    play.reply(call, &theirs, 200, bare());

    play.ended("engine_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn reinvite_crosses_bye(play: &mut Play) {
    let call = talk(play);
    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");

    play.request(call, "INVITE", sdp("sendonly"));
    play.expect(call, "INVITE", 481);
    play.reply(call, &bye, 200, bare());

    play.ended("engine_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn refer_crosses_bye(play: &mut Play) {
    let call = talk(play);
    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");

    play.request(call, "REFER", bare().with("Refer-To", format!("<sip:+15550199@{}>", play.address(BOB))));
    play.expect(call, "REFER", 481);
    play.reply(call, &bye, 200, bare());

    play.ended("engine_hung_up", &["inbound_ringing", "answered", "ended"]);
}

/// A call whose session the edge refreshes by re-INVITE after 300 s, since Alice has no UPDATE.
fn refreshed_by_reinvite(play: &mut Play) -> Leg {
    let offer = sdp("sendrecv").with("Supported", "timer").with("Session-Expires", "600;refresher=uas");
    let call = play.invite(ALICE, "+15550000", offer.with("Allow", "INVITE, ACK, BYE, CANCEL"));
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.needed("Session-Expires").replace(' ', ""), "600;refresher=uas");
    play.ack(call, bare());
    play.engine_hears("answered");
    call
}

fn answered_reinvite_crosses_bye(play: &mut Play) {
    let call = refreshed_by_reinvite(play);
    let reinvite = play.receive_within(call, "INVITE", Duration::from_secs(500));

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.reply(call, &reinvite, 200, sdp("sendrecv"));
    play.acked(call, &reinvite);

    play.ended("remote_hung_up", &["inbound_ringing", "answered", "ended"]);
}

/// The edge has given up waiting for the ACK, which then comes behind its BYE.
fn ack_crosses_bye(play: &mut Play) {
    let call = accepted(play);
    let ack = play.ack_held_back(call, bare());
    let bye = play.receive(call, "BYE");

    play.send_ack(call, ack);
    play.reply(call, &bye, 200, bare());

    play.shows("/end_reason", "not_acknowledged");
}

fn reinvite_crosses_reinvite(play: &mut Play) {
    let call = refreshed_by_reinvite(play);
    let theirs = play.receive_within(call, "INVITE", Duration::from_secs(500));

    play.request(call, "INVITE", sdp("sendonly"));
    play.expect(call, "INVITE", 491);
    play.reply(call, &theirs, 491, bare());
    play.acked(call, &theirs);

    // Alice owns the Call-ID: she waits for 2.1 to 4 s, the edge for 2 s at most (RFC 3261 §14.1).
    let before = play.carrier.now();
    let again = play.receive(call, "INVITE");
    let waited = play.carrier.now() - before;
    assert!(play.loses() || waited <= Duration::from_millis(2020), "{waited:?}");
    assert_eq!(again.direction(), "sendrecv");
    let timer = "600;refresher=uac";
    play.reply(call, &again, 200, sdp("sendrecv").with("Require", "timer").with("Session-Expires", timer));
    play.acked(call, &again);
    play.request(call, "INVITE", sdp("sendonly"));
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "recvonly");
    play.ack(call, bare());
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn update_crosses_reinvite(play: &mut Play) {
    let call = refreshed_by_reinvite(play);
    let theirs = play.receive_within(call, "INVITE", Duration::from_secs(500));

    play.request(call, "UPDATE", sdp("sendonly"));
    play.expect(call, "UPDATE", 491);
    play.reply(call, &theirs, 491, bare());
    play.acked(call, &theirs);

    let again = play.receive(call, "INVITE");
    let timer = "600;refresher=uac";
    play.reply(call, &again, 200, sdp("sendrecv").with("Require", "timer").with("Session-Expires", timer));
    play.acked(call, &again);
    play.request(call, "UPDATE", sdp("sendonly"));
    assert_eq!(play.expect(call, "UPDATE", 200).direction(), "recvonly");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// The caller ends an early dialog by BYE instead of CANCEL: 200, and the INVITE ends with 487.
fn bye_of_an_early_dialog(play: &mut Play) {
    play.mood = Mood::Waits;
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let ringing = play.ringing(call, 180);
    play.engine_hears("start");
    if ringing.is_none() {
        // Without its tag there is no dialog that could be ended.
        play.cancel(call);
        play.expect(call, "CANCEL", 200);
        play.expect(call, "INVITE", 487);
        return;
    }

    play.request(call, "BYE", bare());
    let both = [play.any_final(call, "BYE"), play.any_final(call, "INVITE")];
    assert_eq!(both.map(|message| message.status().unwrap()), [200, 487]);

    play.engine_hears("stop");
    play.ended("caller_cancelled", &["inbound_ringing", "no_answer"]);
}

fn bye_of_the_callee_waits_for_the_ack(play: &mut Play) {
    let call = accepted(play);
    play.engine_says(&json!({ "type": "hang_up" }));
    play.quiet(call, Duration::from_millis(400));

    play.ack(call, bare());
    let bye = play.receive(call, "BYE");
    play.reply(call, &bye, 200, bare());

    play.shows("/end_reason", "engine_hung_up");
}

fn ack_never_comes(play: &mut Play) {
    let call = accepted(play);
    let before = play.carrier.now();

    let bye = play.receive(call, "BYE");
    let waited = play.carrier.now() - before;
    assert!(
        waited > Duration::from_secs(31) && waited < Duration::from_secs(34) || play.loses(),
        "{waited:?}"
    );
    play.reply(call, &bye, 200, bare());

    play.shows("/end_reason", "not_acknowledged");
}
