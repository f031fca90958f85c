//! Calls that last: session timers (RFC 4028) in both roles, and hold in every direction (RFC 3264 §8.4).

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::carrier::Order;
use crate::message::{bare, description, sdp};
use crate::play::{ALICE, BOB, Leg, Play};
use crate::rfc5359::{hangs_up, let_go, talk};

const ASKS: &str = "session_timers = \"ask\"\nsession_expires_sec = 600";

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 4028 §9", "session_interval_too_small", session_interval_too_small),
    Flow::new("RFC 4028 §7.4", "session_interval_made_longer", session_interval_made_longer).over(ASKS),
    Flow::new("RFC 4028 §7.4", "session_refreshed_by_update", session_refreshed_by_update)
        .over(ASKS)
        .in_virtual_time(),
    Flow::new("RFC 4028 §7.4", "session_refreshed_by_reinvite", session_refreshed_by_reinvite)
        .over(ASKS)
        .in_virtual_time(),
    Flow::new("RFC 4028 §10", "session_refreshed_by_the_far_end", session_refreshed_by_the_far_end)
        .in_virtual_time(),
    Flow::new("RFC 4028 §10", "session_expires", session_expires).in_virtual_time(),
    Flow::new("RFC 4028 §5", "session_timers_switched_off", session_timers_switched_off)
        .over("session_timers = \"off\""),
    Flow::new("RFC 3264 §8.4", "hold_in_every_direction", hold_in_every_direction),
    Flow::new("RFC 3264 §8.4", "hold_by_address_zero", hold_by_address_zero),
    Flow::new("RFC 3264 §8.4", "hold_of_a_placed_call", hold_of_a_placed_call),
    Flow::new("RFC 3264 §8.4", "hold_of_a_human", hold_of_a_human),
    Flow::new("RFC 3264 §8.4", "hold_by_the_api", hold_by_the_api),
    Flow::new("RFC 3326 §2", "end_by_the_api", end_by_the_api),
    Flow::new("RFC 3326 §2", "engine_dies_in_the_call", engine_dies_in_the_call),
    Flow::new("RFC 3261 §18.1.1", "stream_is_lost_in_the_call", stream_is_lost_in_the_call),
];

fn session_interval_too_small(play: &mut Play) {
    let offer = || sdp("sendrecv").with("Supported", "timer");
    let call = play.invite(ALICE, "+15550000", offer().with("Session-Expires", "30"));
    let refusal = play.expect(call, "INVITE", 422);
    assert_eq!(refusal.needed("Min-SE"), "90");

    play.request(call, "INVITE", offer().with("Session-Expires", "90;refresher=uac").with("Min-SE", "90"));
    let answer = play.expect(call, "INVITE", 200);
    assert!(answer.needed("Session-Expires").starts_with("90"));
    assert!(answer.lists("Require", "timer"), "the caller is to refresh");
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn session_interval_made_longer(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    assert!(invite.needed("Session-Expires").starts_with("600"));
    play.reply(first, &invite, 422, bare().with("Min-SE", "900"));
    play.acked(first, &invite);

    let (call, invite) = play.called(BOB);
    assert!(invite.needed("Session-Expires").starts_with("900"));
    assert_eq!(invite.needed("Min-SE"), "900");
    let timer = "900;refresher=uac";
    play.reply(call, &invite, 200, sdp("sendrecv").with("Require", "timer").with("Session-Expires", timer));
    play.acked(call, &invite);
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

/// Bob answers a call whose session the edge is to refresh.
fn timed(play: &mut Play, allow: &str) -> Leg {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    let timer = sdp("sendrecv").with("Require", "timer").with("Session-Expires", "600;refresher=uac");
    play.reply(call, &invite, 200, timer.with("Allow", allow));
    play.acked(call, &invite);
    play.engine_hears("answered");
    call
}

fn session_refreshed_by_update(play: &mut Play) {
    let call = timed(play, "INVITE, ACK, BYE, CANCEL, UPDATE");
    for _ in 0..3 {
        let before = play.carrier.now();
        let update = play.receive_within(call, "UPDATE", Duration::from_secs(500));
        let waited = (play.carrier.now() - before).as_secs();
        assert!((290..310).contains(&waited) || play.loses(), "after {waited} s");
        assert_eq!(update.body, "", "nothing is offered anew");
        play.reply(
            call,
            &update,
            200,
            bare().with("Require", "timer").with("Session-Expires", "600;refresher=uac"),
        );
    }
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn session_refreshed_by_reinvite(play: &mut Play) {
    let call = timed(play, "INVITE, ACK, BYE, CANCEL");
    let reinvite = play.receive_within(call, "INVITE", Duration::from_secs(500));
    assert_eq!(reinvite.direction(), "sendrecv");
    let timer = "600;refresher=uac";
    play.reply(call, &reinvite, 200, sdp("sendrecv").with("Require", "timer").with("Session-Expires", timer));
    play.acked(call, &reinvite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

/// Alice refreshes; her call goes on past the first interval.
fn alices(play: &mut Play, timer: &str) -> Leg {
    let offer = sdp("sendrecv").with("Supported", "timer").with("Session-Expires", timer);
    let call = play.invite(ALICE, "+15550000", offer);
    assert!(play.expect(call, "INVITE", 200).needed("Session-Expires").contains("uac"));
    play.ack(call, bare());
    play.engine_hears("answered");
    call
}

fn session_refreshed_by_the_far_end(play: &mut Play) {
    let call = alices(play, "600;refresher=uac");
    for _ in 0..3 {
        play.quiet(call, Duration::from_secs(300));
        let refresh = bare().with("Supported", "timer").with("Session-Expires", "600;refresher=uac");
        play.request(call, "UPDATE", refresh);
        assert!(play.expect(call, "UPDATE", 200).needed("Session-Expires").starts_with("600"));
    }
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn session_expires(play: &mut Play) {
    let call = alices(play, "90;refresher=uac");
    let before = play.carrier.now();

    let bye = play.receive_within(call, "BYE", Duration::from_secs(100));

    let waited = (play.carrier.now() - before).as_secs();
    assert!((55..90).contains(&waited) || play.loses(), "after {waited} s");
    assert!(bye.needed("Reason").contains("408"));
    play.reply(call, &bye, 200, bare());
    play.ended("unreachable", &["inbound_ringing", "answered", "ended"]);
}

fn session_timers_switched_off(play: &mut Play) {
    let demand = sdp("sendrecv").with("Require", "timer").with("Session-Expires", "90");
    let call = play.invite(ALICE, "+15550000", demand);
    assert!(play.expect(call, "INVITE", 420).lists("Unsupported", "timer"));

    let wish = sdp("sendrecv").with("Supported", "timer").with("Session-Expires", "90");
    let call = play.invite(ALICE, "+15550000", wish);
    assert_eq!(play.expect(call, "INVITE", 200).header("Session-Expires"), None);
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// Every direction behind every other one: sixteen changes, by re-INVITE and UPDATE in turn.
fn hold_in_every_direction(play: &mut Play) {
    let answers = [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ];
    let call = talk(play);
    for (before, _) in answers {
        for (after, _) in answers {
            for (offer, method) in [(before, "INVITE"), (after, "UPDATE")] {
                let wanted = answers.iter().find(|(one, _)| *one == offer).map(|(_, answer)| *answer);
                play.request(call, method, sdp(offer));
                let answer = play.expect(call, method, 200);
                assert_eq!(Some(answer.direction()), wanted, "to {offer} from {before} to {after}");
                if method == "INVITE" {
                    play.ack(call, bare());
                }
            }
        }
    }
    play.shows("/status", "held");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// RFC 2543's way.
fn hold_by_address_zero(play: &mut Play) {
    let call = talk(play);
    play.request(call, "INVITE", bare().body("application/sdp", &description("0.0.0.0", "sendrecv")));
    let answer = play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    assert!(!answer.body.contains("c=IN IP4 0.0.0.0"), "we say where we are");
    play.engine_hears("hold");
    play.shows("/status", "held");

    play.request(call, "INVITE", sdp("sendrecv"));
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "sendrecv");
    play.ack(call, bare());
    play.engine_hears("resumed");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn hold_of_a_placed_call(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 200, sdp("sendonly"));
    play.acked(call, &invite);
    play.engine_hears("hold");
    play.shows("/status", "held");

    play.request(call, "INVITE", sdp("sendrecv"));
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "sendrecv");
    play.ack(call, bare());
    play.engine_hears("resumed");
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn hold_of_a_human(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    let transfer = json!({ "call_id": id, "to": { "number": "+15550199" }, "style": "bridge" });
    play.accepted(Order::Transfer(transfer));
    let (bob, _) = crate::rfc5359::answers(play, BOB);
    play.shows("/mode", "routing");

    play.request(bob, "INVITE", sdp("sendonly"));
    assert_eq!(play.expect(bob, "INVITE", 200).direction(), "recvonly");
    play.ack(bob, bare());
    play.request(bob, "INVITE", sdp("sendrecv"));
    assert_eq!(play.expect(bob, "INVITE", 200).direction(), "sendrecv");
    play.ack(bob, bare());
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, bob);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// The edge lets the caller wait by itself: music in the place of the engine, and nothing on the wire.
fn hold_by_the_api(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Hold(id.clone()));
    play.shows("/status", "held");
    play.quiet(call, Duration::from_millis(500));

    play.accepted(Order::Resume(id));
    play.shows("/status", "answered");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

fn end_by_the_api(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::WrapUp(json!({ "call_id": id, "disposition": "sold" })));

    let bye = play.receive(call, "BYE");
    assert!(bye.needed("Reason").starts_with("SIP"), "{}", bye.needed("Reason"));
    play.reply(call, &bye, 200, bare());
    play.ended("api_hung_up", &["inbound_ringing", "answered", "ended"]);
    assert_eq!(play.view()["disposition"], "sold");
}

/// The caller hears that something is wrong, and then the BYE comes.
fn engine_dies_in_the_call(play: &mut Play) {
    let call = talk(play);
    play.engine_dies();

    let bye = play.receive(call, "BYE");
    assert!(bye.needed("Reason").starts_with("SIP"), "{}", bye.needed("Reason"));
    play.reply(call, &bye, 200, bare());
    play.ended("engine_lost", &["inbound_ringing", "answered", "ended"]);
}

/// The call goes on without it, and the next request opens another one to Alice's Contact.
fn stream_is_lost_in_the_call(play: &mut Play) {
    let call = talk(play);
    play.cut(call);
    play.quiet(call, Duration::from_millis(500));
    play.shows("/status", "answered");

    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");
    assert_eq!(bye.request_uri(), play.uri(ALICE));
    play.reply(call, &bye, 200, bare());
    play.ended("engine_hung_up", &["inbound_ringing", "answered", "ended"]);
}
