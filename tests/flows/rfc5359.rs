//! RFC 5359: services. The edge is the telephone at which they are used, or the switchboard that offers them.

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::carrier::{Order, Said};
use crate::message::{bare, sdp};
use crate::play::{ALICE, BOB, Leg, Mood, Play};

const FINDS_ME: &str = "workflow = \"w{run}\"\n[workflows.w{run}]\nengine = \"e{run}\"\nmode = \"routing\"\n\
                        humans = [\"+15550201\", \"+15550202\"]\nring = \"parallel\"\nhuman_ring_sec = 20";

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 5359 §2.1", "call_hold", call_hold),
    Flow::new("RFC 5359 §2.2", "consultation_hold", consultation_hold),
    Flow::new("RFC 5359 §2.3", "music_on_hold", music_on_hold),
    Flow::new("RFC 5359 §2.4", "unattended_transfer", unattended_transfer),
    Flow::new("RFC 5359 §2.5", "attended_transfer", attended_transfer),
    Flow::new("RFC 5359 §2.6", "transfer_to_an_instant_message", transfer_to_an_instant_message),
    Flow::new("RFC 5359 §2.7", "forwarded_unconditionally", forwarded_unconditionally),
    Flow::new("RFC 5359 §2.8", "forwarded_when_busy", forwarded_when_busy),
    Flow::new("RFC 5359 §2.9", "forwarded_when_not_answered", forwarded_when_not_answered),
    Flow::new("RFC 5359 §2.10", "third_party_is_added", third_party_is_added),
    Flow::new("RFC 5359 §2.11", "third_party_joins", third_party_joins),
    Flow::new("RFC 5359 §2.12", "find_me", find_me).over(FINDS_ME),
    Flow::new("RFC 5359 §2.13", "incoming_call_screening", incoming_call_screening)
        .over("trust_identity = true\n"),
    Flow::new("RFC 5359 §2.14", "outgoing_call_screening", outgoing_call_screening)
        .over("deny_destinations = [\"+1900\"]"),
    Flow::new("RFC 5359 §2.15", "call_park_and_retrieval", call_park_and_retrieval),
    Flow::new("RFC 5359 §2.16", "call_pickup", call_pickup),
    Flow::new("RFC 5359 §2.17", "automatic_redial", automatic_redial),
    Flow::new("RFC 5359 §2.18", "click_to_dial", click_to_dial),
];

/// Alice has called, and the engine has her.
pub(crate) fn talk(play: &mut Play) -> Leg {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    play.engine_hears("answered");
    call
}

/// She hangs up, and that is the end of it.
pub(crate) fn hangs_up(play: &mut Play, call: Leg) {
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.shows("/end_reason", "remote_hung_up");
}

/// A phone answers what it is called with.
pub(crate) fn answers(play: &mut Play, phone: usize) -> (Leg, crate::message::Message) {
    let (leg, invite) = play.called(phone);
    play.reply(leg, &invite, 180, bare());
    play.reply(leg, &invite, 200, sdp("sendrecv"));
    play.acked(leg, &invite);
    (leg, invite)
}

/// NOTIFY with this status line comes and is answered.
pub(crate) fn notified(play: &mut Play, leg: Leg, status: &str) {
    let notify = play.receive(leg, "NOTIFY");
    assert_eq!(notify.needed("Event").split(';').next(), Some("refer"));
    assert!(notify.body.starts_with(&format!("SIP/2.0 {status}")), "{}", notify.body);
    assert!(notify.needed("Content-Type").starts_with("message/sipfrag"));
    let is_last = !status.starts_with('1');
    assert_eq!(notify.needed("Subscription-State").starts_with("terminated"), is_last);
    play.reply(leg, &notify, 200, bare());
}

/// BYE comes and is answered.
pub(crate) fn let_go(play: &mut Play, leg: Leg) {
    let bye = play.receive(leg, "BYE");
    play.reply(leg, &bye, 200, bare());
}

fn call_hold(play: &mut Play) {
    let call = talk(play);

    play.request(call, "INVITE", sdp("sendonly"));
    let answer = play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    assert_eq!(answer.direction(), "recvonly");
    play.engine_hears("hold");
    play.shows("/status", "held");

    play.request(call, "INVITE", sdp("sendrecv"));
    let answer = play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    assert_eq!(answer.direction(), "sendrecv");
    play.engine_hears("resumed");
    play.shows("/status", "answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn consultation_hold(play: &mut Play) {
    let first = talk(play);
    play.request(first, "INVITE", sdp("sendonly"));
    assert_eq!(play.expect(first, "INVITE", 200).direction(), "recvonly");
    play.ack(first, bare());
    play.engine_hears("hold");

    let second = talk(play);
    assert_eq!(play.engines(), 2, "the consultation is a call of its own");
    hangs_up(play, second);

    play.request(first, "INVITE", sdp("sendrecv"));
    assert_eq!(play.expect(first, "INVITE", 200).direction(), "sendrecv");
    play.ack(first, bare());
    play.request(first, "BYE", bare());
    play.expect(first, "BYE", 200);
    play.told_events(&["inbound_ringing", "answered", "inbound_ringing", "answered", "ended", "ended"]);
}

/// The music server takes Alice's place in the session: an INVITE without an offer, answered by the server in the ACK.
fn music_on_hold(play: &mut Play) {
    let call = talk(play);

    play.request(call, "INVITE", bare());
    let offer = play.expect(call, "INVITE", 200);
    assert_eq!(offer.direction(), "sendrecv");
    let music = crate::message::description("192.0.2.66", "sendonly");
    play.ack(call, bare().body("application/sdp", &music));
    play.engine_hears("hold");

    play.request(call, "INVITE", bare());
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "sendrecv");
    play.ack(call, sdp("sendrecv"));
    play.engine_hears("resumed");
    hangs_up(play, call);
}

fn unattended_transfer(play: &mut Play) {
    let call = talk(play);
    let refer_to = format!("<sip:+15550199@{}>", play.address(BOB));
    let refer = bare().with("Refer-To", refer_to).with("Referred-By", "<sip:alice@example.com>");
    play.request(call, "REFER", refer);
    play.expect(call, "REFER", 202);
    notified(play, call, "100");

    let (bob, invite) = play.called(BOB);
    assert!(invite.request_uri().starts_with("sip:+15550199@"));
    assert_eq!(invite.header("Referred-By"), Some("<sip:alice@example.com>"), "RFC 3892 §2.2");
    play.reply(bob, &invite, 180, bare());
    if !play.loses() {
        notified(play, call, "180");
    }
    play.reply(bob, &invite, 200, sdp("sendrecv"));
    play.acked(bob, &invite);
    last_notify(play, call, "200");
    let_go(play, call);

    play.shows("/status", "answered");
    hangs_up(play, bob);
    play.told_events(&["inbound_ringing", "answered", "transferred", "ended"]);
}

/// The last NOTIFY. Our BYE may overtake it: a subscription outlives the call of its dialog (RFC 5057 §4.1). Where messages
/// are lost the one before may come late.
pub(crate) fn last_notify(play: &mut Play, leg: Leg, status: &str) {
    loop {
        let notify = play.either(leg, "NOTIFY", |message| message.method() == "NOTIFY");
        play.reply(leg, &notify, 200, bare());
        if notify.needed("Subscription-State").starts_with("terminated") {
            assert!(notify.body.starts_with(&format!("SIP/2.0 {status}")), "{}", notify.body);
            return;
        }
        assert!(play.loses(), "{}", notify.body);
    }
}

fn attended_transfer(play: &mut Play) {
    let call = talk(play);
    let replaces = "Replaces=42%40example.com%3Bto-tag%3D1%3Bfrom-tag%3D2";
    let refer_to = format!("<sip:+15550199@{}?{replaces}>", play.address(BOB));
    play.request(call, "REFER", bare().with("Refer-To", refer_to));
    play.expect(call, "REFER", 202);
    notified(play, call, "100");

    let (bob, invite) = play.called(BOB);
    let replaces = invite.needed("Replaces");
    assert!(replaces.starts_with("42@example.com;"), "{replaces}");
    assert!(replaces.contains("to-tag=1") && replaces.contains("from-tag=2"), "{replaces}");
    play.reply(bob, &invite, 200, sdp("sendrecv"));
    play.acked(bob, &invite);
    last_notify(play, call, "200");
    let_go(play, call);
    hangs_up(play, bob);
    play.told_events(&["inbound_ringing", "answered", "transferred", "ended"]);
}

fn transfer_to_an_instant_message(play: &mut Play) {
    let call = talk(play);

    play.request(call, "REFER", bare().with("Refer-To", "<im:bob@example.com>"));
    let refusal = play.expect(call, "REFER", 416);
    assert!(refusal.header("Warning").is_some());
    play.request(call, "MESSAGE", bare().body("text/plain", "hello"));
    let refusal = play.expect(call, "MESSAGE", 405);
    assert!(refusal.lists("Allow", "INVITE") && !refusal.lists("Allow", "MESSAGE"));

    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// The proxy before us forwards our call: 181, and whoever answers is somebody else.
fn forwarded_unconditionally(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 181, bare());
    play.reply(call, &invite, 180, bare());
    let other = format!("<sip:forwarded@{};transport={}>", play.address(BOB), play.weather.transport());
    play.reply(call, &invite, 200, sdp("sendrecv").with("Contact", other.as_str()));
    let ack = play.acked(call, &invite).expect("an ACK of its own");
    assert!(other.contains(ack.request_uri()), "{}", ack.start);
    play.engine_hears("answered");

    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");
    assert!(other.contains(bye.request_uri()));
    play.reply(call, &bye, 200, bare());
    play.ended("engine_hung_up", &["placed", "answered", "ended"]);
}

/// The edge forwards: its first target is busy, the next one answers.
fn forwarded_when_busy(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(json!({
        "call_id": id, "to": { "number": "+15550201" }, "then": [{ "number": "+15550202" }], "style": "bridge",
    })));

    let (first, invite) = play.called(BOB);
    assert!(invite.request_uri().starts_with("sip:+15550201@"));
    play.reply(first, &invite, 486, bare());
    play.acked(first, &invite);
    let (second, invite) = answers(play, BOB);
    assert!(invite.request_uri().starts_with("sip:+15550202@"));

    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, second);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// The edge forwards: nobody answers at the first target for its time.
fn forwarded_when_not_answered(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(json!({
        "call_id": id, "to": { "number": "+15550201" }, "then": [{ "number": "+15550202" }], "style": "bridge",
    })));

    let (first, invite) = play.called(BOB);
    play.reply(first, &invite, 180, bare());
    let cancel = play.receive(first, "CANCEL");
    play.reply(first, &cancel, 200, bare());
    play.reply(first, &invite, 487, bare());
    play.acked(first, &invite);
    let (second, invite) = answers(play, BOB);
    assert!(invite.request_uri().starts_with("sip:+15550202@"));

    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, second);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// Alice, Bob and the engine in one conversation, mixed by the edge.
fn third_party_is_added(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Mode(id, json!({ "mode": "assist", "to": { "number": "+15550201" } })));
    let (bob, _) = answers(play, BOB);
    play.shows("/mode", "assist");
    assert_eq!(play.view()["legs"].as_array().map(Vec::len), Some(2));

    play.request(bob, "BYE", bare());
    play.expect(bob, "BYE", 200);
    play.shows("/mode", "ai_first");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "transferred", "ended"]);
}

/// Nobody mixes himself into a call of ours: Join (RFC 3911) is not what we support, and says so when it is required.
fn third_party_joins(play: &mut Play) {
    let call = talk(play);
    let (from, to) = (play.tag_of(call), play.tag_of_edge(call));
    let join = format!("{};to-tag={to};from-tag={from}", play.call_id(call));

    let other = play.invite(BOB, "+15550000", sdp("sendrecv").with("Join", join).with("Require", "join"));
    let refusal = play.expect(other, "INVITE", 420);

    assert!(refusal.lists("Unsupported", "join"));
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// Everywhere at once; whoever answers first has the call.
fn find_me(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    let (first, at_desk) = play.called(BOB);
    let (second, mobile) = play.called(BOB);
    assert_ne!(at_desk.request_uri(), mobile.request_uri());
    play.reply(first, &at_desk, 180, bare());
    play.reply(second, &mobile, 180, bare());
    play.reply(second, &mobile, 200, sdp("sendrecv"));
    play.acked(second, &mobile);

    let cancel = play.receive(first, "CANCEL");
    assert!(cancel.needed("Reason").contains("elsewhere"), "{}", cancel.needed("Reason"));
    play.reply(first, &cancel, 200, bare());
    play.reply(first, &at_desk, 487, bare());
    play.acked(first, &at_desk);
    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, second);
    play.shows("/end_reason", "remote_hung_up");
}

fn incoming_call_screening(play: &mut Play) {
    play.mood = Mood::Waits;
    let identity = "<sip:+15550666@example.com>";
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv").with("P-Asserted-Identity", identity));
    let start = play.engine_hears("start");
    let headers = start["sip"]["headers"].to_string();
    assert!(headers.contains("+15550666"), "{headers}");
    assert_eq!(start["identity"]["asserted"][0]["number"], "+15550666");

    play.engine_says(&json!({ "type": "reject", "sip_code": 603, "reason": "Decline" }));
    let refusal = play.expect(call, "INVITE", 603);
    assert!(refusal.needed("Reason").contains("603"));
    play.ended("engine_refused", &["inbound_ringing", "error"]);
}

fn outgoing_call_screening(play: &mut Play) {
    match play.order(Order::Place(json!({ "to": "+19005550123" }))) {
        Said::Refused(code) => assert_eq!(code, "destination.forbidden"),
        said @ (Said::Placed(_) | Said::Accepted) => panic!("{said:?}"),
    }
    play.pass(Duration::from_secs(2));

    // Others may be called; nothing came before this one.
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    assert!(invite.request_uri().starts_with("sip:+15550123@"));
    play.reply(call, &invite, 486, bare());
    play.acked(call, &invite);
    play.ended("busy", &["placed", "busy"]);
}

/// The parked call is retrieved from another telephone: INVITE with Replaces (RFC 3891).
fn call_park_and_retrieval(play: &mut Play) {
    let call = talk(play);
    let (from, to) = (play.tag_of(call), play.tag_of_edge(call));
    let replaces = format!("{};to-tag={to};from-tag={from}", play.call_id(call));

    let other = play.invite(BOB, "+15550000", sdp("sendrecv").with("Replaces", replaces));
    let answer = play.expect(other, "INVITE", 200);
    assert_eq!(answer.direction(), "sendrecv");
    play.ack(other, bare());
    let_go(play, call);

    play.shows("/status", "answered");
    hangs_up(play, other);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// A call that still rings here is not picked up by Replaces: we are not its caller (RFC 3891 §3).
fn call_pickup(play: &mut Play) {
    play.mood = Mood::Waits;
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.engine_hears("start");
    let to = play.ringing(call, 180).and_then(|ringing| ringing.tag("To").map(str::to_owned));
    let to = to.unwrap_or_else(|| "lost".to_owned());
    let replaces = format!("{};to-tag={to};from-tag={};early-only", play.call_id(call), play.tag_of(call));

    let other = play.invite(BOB, "+15550000", sdp("sendrecv").with("Replaces", replaces));
    play.expect(other, "INVITE", 481);

    play.engine_says(&json!({ "type": "accept" }));
    play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// We tell nobody the state of our dialogs: whoever wants to redial when we are free is refused at once.
fn automatic_redial(play: &mut Play) {
    play.mood = Mood::Says(json!({ "type": "reject", "sip_code": 486, "reason": "Busy Here" }));
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.expect(call, "INVITE", 486);
    play.ended("busy", &["inbound_ringing", "busy"]);

    let asked =
        play.ask(ALICE, "SUBSCRIBE", "+15550000", bare().with("Event", "dialog").with("Expires", "600"));
    let refusal = play.any_final(asked, "SUBSCRIBE");
    assert!([405, 489].contains(&refusal.status().unwrap()), "{}", refusal.start);
}

/// The edge calls one, then the other, and joins them (RFC 3725).
fn click_to_dial(play: &mut Play) {
    let id = play.place(json!({ "to": "+15550123" }));
    let (first, _) = answers(play, BOB);
    play.engine_hears("answered");
    play.accepted(Order::Transfer(
        json!({ "call_id": id, "to": { "number": "+15550201" }, "style": "bridge" }),
    ));
    let (second, invite) = answers(play, BOB);
    assert_eq!(invite.needed("X-CallingEdge-Call-Id"), id);
    play.shows("/mode", "routing");

    play.request(first, "BYE", bare());
    play.expect(first, "BYE", 200);
    let_go(play, second);
    play.ended("remote_hung_up", &["placed", "answered", "transferred", "ended"]);
}
