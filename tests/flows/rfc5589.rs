//! RFC 5589: transfers. The edge is the transferor, with Alice as transferee and Bob as target; where it is referred, the
//! transferee.

use serde_json::json;

use crate::Flow;
use crate::carrier::Order;
use crate::message::{Message, bare, bracketed, sdp};
use crate::play::{BOB, Leg, Play};
use crate::rfc5359::{answers, hangs_up, last_notify, let_go, notified, talk};

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 5589 §6.1", "successful_transfer", successful_transfer),
    Flow::new("RFC 5589 §6.2", "transfer_with_dialog_reuse", transfer_with_dialog_reuse),
    Flow::new("RFC 5589 §6.3.1", "target_busy", target_busy),
    Flow::new("RFC 5589 §6.3.2", "target_does_not_answer", target_does_not_answer),
    Flow::new("RFC 5589 §7.2", "protecting_the_target", protecting_the_target),
    Flow::new("RFC 5589 §7.3", "attended_transfer_by_the_edge", attended_transfer_by_the_edge),
    Flow::new("RFC 5589 §7.4", "refer_is_not_supported", refer_is_not_supported),
    Flow::new("RFC 5589 §7.6", "semi_attended_transfer", semi_attended_transfer),
    Flow::new("RFC 5589 §7.7", "fallback_from_attended_transfer", fallback_from_attended_transfer),
    Flow::new("RFC 5589 §8", "transfer_with_referred_by", transfer_with_referred_by),
    Flow::new("RFC 5589 §9", "transfer_as_an_ad_hoc_conference", transfer_as_an_ad_hoc_conference),
    Flow::new("RFC 5589 §10", "transfer_of_a_transferred_party", transfer_of_a_transferred_party),
    Flow::new("RFC 4488 §4", "refer_without_subscription", refer_without_subscription),
];

/// The engine wants its caller to speak with somebody else; REFER comes to Alice.
fn refers(play: &mut Play, style: &str) -> (Leg, Message) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(json!({ "call_id": id, "to": { "number": "+15550199" }, "style": style })));
    let refer = play.receive(call, "REFER");
    assert!(bracketed(refer.needed("Refer-To")).starts_with("sip:+15550199@"), "{refer:?}");
    (call, refer)
}

/// Alice tells how her own call goes.
fn notifies(play: &mut Play, call: Leg, line: &str, state: &str) {
    let notify = bare().with("Event", "refer").with("Subscription-State", state);
    play.request(call, "NOTIFY", notify.body("message/sipfrag;version=2.0", &format!("SIP/2.0 {line}\r\n")));
    play.expect(call, "NOTIFY", 200);
}

const OVER: &str = "terminated;reason=noresource";
const GOES_ON: &str = "active;expires=60";

fn successful_transfer(play: &mut Play) {
    let (call, refer) = refers(play, "blind");
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "100 Trying", GOES_ON);
    notifies(play, call, "200 OK", OVER);

    let_go(play, call);

    play.ended("transferred", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// REFER comes in the call's own dialog, which stays as it is until the outcome is known.
fn transfer_with_dialog_reuse(play: &mut Play) {
    let (call, refer) = refers(play, "blind");
    assert_eq!(refer.needed("Call-ID"), play.call_id(call));
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "100 Trying", GOES_ON);

    play.request(call, "INVITE", sdp("sendonly"));
    assert_eq!(play.expect(call, "INVITE", 200).direction(), "recvonly");
    play.ack(call, bare());
    notifies(play, call, "200 OK", OVER);
    let_go(play, call);

    play.ended("transferred", &["inbound_ringing", "answered", "transferred", "ended"]);
}

fn target_busy(play: &mut Play) {
    let (call, refer) = refers(play, "blind");
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "100 Trying", GOES_ON);
    notifies(play, call, "486 Busy Here", OVER);

    play.told_events(&["inbound_ringing", "answered", "error"]);
    play.shows("/status", "answered");
    hangs_up(play, call);
}

fn target_does_not_answer(play: &mut Play) {
    let (call, refer) = refers(play, "blind");
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "180 Ringing", GOES_ON);
    notifies(play, call, "487 Request Terminated", OVER);

    play.told_events(&["inbound_ringing", "answered", "error"]);
    play.shows("/status", "answered");
    hangs_up(play, call);
}

/// The target is spoken to by the edge alone: Alice never learns where it is.
fn protecting_the_target(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(
        json!({ "call_id": id, "to": { "number": "+15550199" }, "style": "bridge" }),
    ));
    let (bob, _) = answers(play, BOB);
    play.shows("/mode", "routing");
    assert!(!play.waits(call, |message| message.method() == "REFER"));

    play.request(bob, "BYE", bare());
    play.expect(bob, "BYE", 200);
    play.shows("/mode", "ai_first");
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "transferred", "transferred", "ended"]);
}

/// What Alice is asked to call, and which dialog she is to replace there.
fn replaces(play: &Play, refer: &Message, bob: Leg) {
    let refer_to = bracketed(refer.needed("Refer-To"));
    let (_, headers) = refer_to.split_once('?').expect("Refer-To has headers");
    let headers = headers
        .replace("%40", "@")
        .replace("%3B", ";")
        .replace("%3D", "=")
        .replace("%3b", ";")
        .replace("%3d", "=");
    assert!(headers.starts_with(&format!("Replaces={}", play.call_id(bob))), "{headers}");
    // From Bob's point of view, since it is Bob who will look it up.
    assert!(headers.contains(&format!("to-tag={}", play.tag_of(bob))), "{headers}");
    assert!(headers.contains(&format!("from-tag={}", play.tag_of_edge(bob))), "{headers}");
}

/// Bob has been called, and Alice is asked to take the edge's place.
fn asked_to_replace(play: &mut Play) -> (Leg, Leg, Message) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(json!({
        "call_id": id, "to": { "number": "+15550199" }, "style": "attended",
    })));
    let (bob, _) = answers(play, BOB);
    let refer = play.receive(call, "REFER");
    replaces(play, &refer, bob);
    (call, bob, refer)
}

fn attended_transfer_by_the_edge(play: &mut Play) {
    let (call, bob, refer) = asked_to_replace(play);
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "100 Trying", GOES_ON);
    // Bob has been replaced in his dialog with us.
    play.request(bob, "BYE", bare());
    play.expect(bob, "BYE", 200);
    notifies(play, call, "200 OK", OVER);

    let_go(play, call);

    play.ended("transferred", &["inbound_ringing", "answered", "transferred", "ended"]);
}

fn refer_is_not_supported(play: &mut Play) {
    let (call, refer) = refers(play, "auto");
    play.reply(call, &refer, 501, bare());

    let (bob, _) = answers(play, BOB);

    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, bob);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// The transferor leaves while the target still rings: REFER to the edge, which calls Bob, and Alice hangs up.
fn semi_attended_transfer(play: &mut Play) {
    let call = talk(play);
    play.request(call, "REFER", bare().with("Refer-To", format!("<sip:+15550199@{}>", play.address(BOB))));
    play.expect(call, "REFER", 202);
    notified(play, call, "100");
    let (bob, invite) = play.called(BOB);
    play.reply(bob, &invite, 180, bare());
    if !play.loses() {
        notified(play, call, "180");
    }

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let cancel = play.receive(bob, "CANCEL");
    play.reply(bob, &cancel, 200, bare());
    play.reply(bob, &invite, 487, bare());
    play.acked(bob, &invite);
    // The subscription outlives the call until its last word.
    last_notify(play, call, "487");
    play.shows("/end_reason", "remote_hung_up");
}

/// Bob does not know the dialog that is to be replaced: the edge joins the two itself.
fn fallback_from_attended_transfer(play: &mut Play) {
    let (call, bob, refer) = asked_to_replace(play);
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "100 Trying", GOES_ON);
    notifies(play, call, "481 Call/Transaction Does Not Exist", OVER);

    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, bob);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

fn transfer_with_referred_by(play: &mut Play) {
    let (call, refer) = refers(play, "blind");
    let referred_by = bracketed(refer.needed("Referred-By"));
    assert_eq!(referred_by, bracketed(refer.needed("Contact")), "RFC 3892 §2.1");
    play.reply(call, &refer, 202, bare());
    notifies(play, call, "200 OK", OVER);
    let_go(play, call);
    play.ended("transferred", &["inbound_ringing", "answered", "transferred", "ended"]);
}

fn transfer_as_an_ad_hoc_conference(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(json!({
        "call_id": id, "to": { "number": "+15550199" }, "style": "bridge", "assist_after": true,
    })));
    let (bob, _) = answers(play, BOB);
    play.shows("/mode", "assist");

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, bob);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// Alice has been handed to Bob, and Bob hands her on: his REFER puts somebody else in his place.
fn transfer_of_a_transferred_party(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    play.accepted(Order::Transfer(
        json!({ "call_id": id, "to": { "number": "+15550199" }, "style": "bridge" }),
    ));
    let (bob, _) = answers(play, BOB);
    play.shows("/mode", "routing");

    play.request(bob, "REFER", bare().with("Refer-To", format!("<sip:+15550198@{}>", play.address(BOB))));
    play.expect(bob, "REFER", 202);
    notified(play, bob, "100");
    let (other, invite) = play.called(BOB);
    assert!(invite.request_uri().starts_with("sip:+15550198@"));
    play.reply(other, &invite, 200, sdp("sendrecv"));
    play.acked(other, &invite);
    last_notify(play, bob, "200");
    let_go(play, bob);

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, other);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "transferred", "ended"]);
}

fn refer_without_subscription(play: &mut Play) {
    let call = talk(play);
    let refer_to = format!("<sip:+15550199@{}>", play.address(BOB));
    play.request(
        call,
        "REFER",
        bare().with("Refer-To", refer_to).with("Refer-Sub", "false").with("Require", "norefersub"),
    );
    let accepted = play.any_final(call, "REFER");
    assert!([200, 202].contains(&accepted.status().unwrap()));
    assert_eq!(accepted.header("Refer-Sub"), Some("false"));

    let (bob, _) = answers(play, BOB);
    let_go(play, call);

    assert!(!play.waits(call, |message| message.method() == "NOTIFY"), "none was wanted");
    hangs_up(play, bob);
    play.told_events(&["inbound_ringing", "answered", "transferred", "ended"]);
}
