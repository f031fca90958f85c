//! What happens before and beside the answer: PRACK (RFC 3262), UPDATE (RFC 3311), forks (RFC 3261 §13.2.2.4), late offers,
//! keys by INFO, and requests that belong nowhere.

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::message::{Message, bare, sdp};
use crate::play::{ALICE, BOB, Leg, Mood, Play};
use crate::rfc5359::{hangs_up, talk};

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 3262 §3", "prack_of_the_caller", prack_of_the_caller),
    Flow::new("RFC 3262 §4", "prack_of_the_edge", prack_of_the_edge),
    Flow::new("RFC 3262 §3", "prack_switched_off", prack_switched_off)
        .over("reliable_provisionals = \"off\""),
    Flow::new("RFC 3262 §3", "prack_demanded", prack_demanded).over("reliable_provisionals = \"required\""),
    Flow::new("RFC 3311 §5.1", "update_before_the_answer", update_before_the_answer),
    Flow::new("RFC 3311 §5.2", "update_in_the_call", update_in_the_call),
    Flow::new("RFC 3960 §3", "early_media_of_the_engine", early_media_of_the_engine),
    Flow::new(
        "RFC 3264 §5",
        "late_offer_of_the_edge_is_not_answered",
        late_offer_of_the_edge_is_not_answered,
    ),
    Flow::new("RFC 3264 §6", "offer_of_nothing_we_speak", offer_of_nothing_we_speak),
    Flow::new("RFC 3261 §13.2.2.4", "two_forks_answer", two_forks_answer),
    Flow::new("RFC 3261 §13.2.2.4", "two_forks_ring", two_forks_ring),
    Flow::new("RFC 3261 §8.2.2.2", "merged_request", merged_request),
    Flow::new("RFC 6086 §4", "keys_by_info", keys_by_info),
    Flow::new("RFC 3261 §11", "options_in_and_out_of_a_call", options_in_and_out_of_a_call),
    Flow::new("RFC 3261 §12.2.2", "requests_of_no_dialog", requests_of_no_dialog),
];

fn prack_of_the_caller(play: &mut Play) {
    play.mood = Mood::Waits;
    let call = play.invite(
        ALICE,
        "+15550000",
        sdp("sendrecv").with("Require", "100rel").with("Supported", "100rel"),
    );
    let ringing = play.expect(call, "INVITE", 180);
    assert!(ringing.lists("Require", "100rel"));
    let rack = format!("{} {} INVITE", ringing.needed("RSeq"), ringing.number());
    play.request(call, "PRACK", bare().with("RAck", rack));
    play.expect(call, "PRACK", 200);

    play.engine_hears("start");
    play.engine_says(&json!({ "type": "accept" }));
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.direction(), "sendrecv");
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// Bob rings reliably and describes his session there; his 200 says no more.
fn reliably(play: &mut Play) -> (Leg, Message) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    assert!(invite.lists("Supported", "100rel"));
    play.reply(call, &invite, 183, sdp("sendrecv").with("Require", "100rel").with("RSeq", "7"));
    let prack = play.receive(call, "PRACK");
    assert_eq!(prack.needed("RAck"), format!("7 {} INVITE", invite.number()));
    play.reply(call, &prack, 200, bare());
    play.is_pracked(call, &invite);
    (call, invite)
}

fn prack_of_the_edge(play: &mut Play) {
    let (call, invite) = reliably(play);
    play.shows("/status", "early_media");
    play.reply(call, &invite, 200, bare());
    let ack = play.acked(call, &invite).expect("an ACK of its own");
    assert_eq!(ack.body, "");

    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn prack_switched_off(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv").with("Require", "100rel"));
    let refusal = play.expect(call, "INVITE", 420);
    assert!(refusal.lists("Unsupported", "100rel"));

    let call = talk(play);
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn prack_demanded(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let refusal = play.expect(call, "INVITE", 421);
    assert!(refusal.lists("Require", "100rel"));

    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    assert!(invite.lists("Require", "100rel"));
    play.reply(call, &invite, 420, bare().with("Unsupported", "100rel"));
    play.acked(call, &invite);
    play.ended("rejected", &["placed", "error"]);
}

fn update_before_the_answer(play: &mut Play) {
    let (call, invite) = reliably(play);
    play.request(call, "UPDATE", sdp("sendonly"));
    let answer = play.expect(call, "UPDATE", 200);
    assert_eq!(answer.direction(), "recvonly");
    play.reply(call, &invite, 200, bare());
    play.acked(call, &invite);

    play.engine_hears("hold");
    play.request(call, "UPDATE", sdp("sendrecv"));
    assert_eq!(play.expect(call, "UPDATE", 200).direction(), "sendrecv");
    play.engine_hears("resumed");
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn update_in_the_call(play: &mut Play) {
    let call = talk(play);

    play.request(call, "UPDATE", sdp("inactive"));
    assert_eq!(play.expect(call, "UPDATE", 200).direction(), "inactive");
    play.engine_hears("hold");
    // One that offers nothing changes nothing.
    play.request(call, "UPDATE", bare());
    assert_eq!(play.expect(call, "UPDATE", 200).body, "");
    play.request(call, "UPDATE", sdp("sendrecv"));
    assert_eq!(play.expect(call, "UPDATE", 200).direction(), "sendrecv");
    play.engine_hears("resumed");

    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn early_media_of_the_engine(play: &mut Play) {
    play.mood = Mood::Says(json!({ "type": "early_media" }));
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    if let Some(early) = play.ringing(call, 183) {
        assert_eq!(early.direction(), "sendrecv");
    }
    play.engine_hears("early_media");

    play.engine_says(&json!({ "type": "accept" }));
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.direction(), "sendrecv");
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// The ACK has to bring the answer to the offer in our 200.
fn late_offer_of_the_edge_is_not_answered(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", bare());
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "sendrecv");
    play.ack(call, bare());

    let bye = play.receive(call, "BYE");
    assert!(bye.needed("Reason").starts_with("SIP"));
    play.reply(call, &bye, 200, bare());
    play.ended("media_incompatible", &["inbound_ringing", "error"]);
}

fn offer_of_nothing_we_speak(play: &mut Play) {
    let offer = "v=0\r\no=- 7 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n\
                 a=rtpmap:18 G729/8000\r\n";
    let call = play.invite(ALICE, "+15550000", bare().body("application/sdp", offer));
    let refusal = play.expect(call, "INVITE", 488);
    assert!(refusal.needed("Warning").starts_with("30"), "{}", refusal.needed("Warning"));
    play.ended("media_incompatible", &["inbound_ringing", "error"]);

    // In a call that runs it changes nothing.
    let call = talk(play);
    play.request(call, "INVITE", bare().body("application/sdp", offer));
    play.expect(call, "INVITE", 488);
    hangs_up(play, call);
}

fn two_forks_answer(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.acked(call, &invite);
    play.engine_hears("answered");

    play.reply_as(call, &invite, 200, "otherfork", sdp("sendrecv"));
    let bye = play.receive(call, "BYE");
    assert_eq!(bye.tag("To"), Some("otherfork"), "the second answer is acknowledged and ended");
    assert!(play.is_acked_by(call, &invite, "otherfork"));
    play.reply(call, &bye, 200, bare());

    play.shows("/status", "answered");
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn two_forks_ring(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply_as(call, &invite, 180, "otherfork", bare());
    play.reply(call, &invite, 180, bare());
    play.reply(call, &invite, 200, sdp("sendrecv"));
    let ack = play.acked(call, &invite).expect("an ACK of its own");
    assert_eq!(ack.tag("To"), Some(play.tag_of(call).as_str()));

    play.engine_hears("answered");
    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");
    assert_eq!(
        bye.tag("To"),
        Some(play.tag_of(call).as_str()),
        "the fork that rang only is over with the answer"
    );
    play.reply(call, &bye, 200, bare());
    play.ended("engine_hung_up", &["placed", "answered", "ended"]);
}

/// The same INVITE by two ways: the second one is 482, and there is one call.
fn merged_request(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.invite_by_another_way(call);

    let merged = play.either(call, "482", |message| message.status() == Some(482));
    assert_eq!(merged.method(), "INVITE");
    play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    play.engine_hears("answered");
    assert_eq!(play.engines(), 1);
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn keys_by_info(play: &mut Play) {
    let call = talk(play);

    play.request(call, "INFO", bare().body("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"));
    play.expect(call, "INFO", 200);
    let key = play.engine_hears("dtmf");
    assert_eq!((&key["digit"], &key["method"]), (&json!("5"), &json!("info")));
    play.request(call, "INFO", bare().body("application/dtmf", "#"));
    play.expect(call, "INFO", 200);
    assert_eq!(play.engine_hears("dtmf")["digit"], "#");

    play.request(call, "INFO", bare().body("application/dtmf-relay", "Signal=Q\r\n"));
    play.expect(call, "INFO", 400);
    play.request(call, "INFO", bare().body("text/plain", "hello"));
    let refusal = play.expect(call, "INFO", 415);
    assert!(refusal.lists("Accept", "application/dtmf-relay"));
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn options_in_and_out_of_a_call(play: &mut Play) {
    let outside = play.ask(ALICE, "OPTIONS", "+15550000", bare());
    let told = play.expect(outside, "OPTIONS", 200);
    assert!(["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"].iter().all(|method| told.lists("Allow", method)));
    assert!(told.lists("Accept", "application/sdp"), "RFC 3261 §11.2");

    let call = talk(play);
    play.request(call, "OPTIONS", bare());
    play.expect(call, "OPTIONS", 200);
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn requests_of_no_dialog(play: &mut Play) {
    // Such an INVITE is refused without being remembered: where one way in three is lost, seven of them may be for nothing.
    let invite = (!play.loses()).then_some("INVITE");
    for method in ["BYE", "INFO", "UPDATE", "REFER", "NOTIFY"].into_iter().chain(invite) {
        let stray = play.stray(ALICE, method, "+15550000");
        play.expect(stray, method, 481);
    }
    // What is acknowledged for no reason is not answered.
    let stray = play.stray_ack(ALICE, "+15550000");
    play.quiet(stray, Duration::from_millis(500));
    assert_eq!(play.engines(), 0);
}
