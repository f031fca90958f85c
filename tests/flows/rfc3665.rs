//! RFC 3665: basic calls. The edge is a user agent: it registers as Bob's phone does, is called as Bob, and calls as Alice.

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::message::{bare, description, sdp};
use crate::play::{ALICE, BOB, CAROL, Mood, Play};

const REGISTERS: &str = "register = true\nusername = \"edge\"\npassword = { env = \"PASSWORD\" }";

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 3665 §2.1", "new_registration", new_registration).over(REGISTERS),
    Flow::new("RFC 3665 §2.2", "update_of_the_contact_list", update_of_the_contact_list)
        .over(REGISTERS)
        .in_virtual_time(),
    Flow::new("RFC 3665 §2.3", "contacts_of_others_in_the_list", contacts_of_others).over(REGISTERS),
    Flow::new("RFC 3665 §2.4", "cancellation_of_a_registration", cancellation_of_a_registration)
        .over(REGISTERS)
        .in_virtual_time(),
    Flow::new("RFC 3665 §2.5", "unsuccessful_registration", unsuccessful_registration).over(REGISTERS),
    Flow::new("RFC 3665 §3.1", "session_established", session_established),
    Flow::new("RFC 3665 §3.1", "session_established_by_the_edge", session_established_by_the_edge),
    Flow::new("RFC 3665 §3.2", "session_through_two_proxies", session_through_two_proxies),
    Flow::new("RFC 3665 §3.3", "session_with_proxy_authentication", session_with_proxy_authentication)
        .over("username = \"edge\"\npassword = { env = \"PASSWORD\" }"),
    Flow::new("RFC 3665 §3.4", "session_with_a_proxy_failure", session_with_a_proxy_failure)
        .over("targets = [\"sip:{bob};transport={transport}\", \"sip:{carol};transport={transport}\"]"),
    Flow::new("RFC 3665 §3.5", "session_through_an_alg", session_through_an_alg),
    Flow::new("RFC 3665 §3.6", "session_by_redirect_with_sdp_in_ack", session_by_redirect_with_sdp_in_ack)
        .over("allow_destinations = [\"sip:example.com\", \"+1\"]"),
    Flow::new("RFC 3665 §3.7", "reinvite_with_a_new_address", reinvite_with_a_new_address),
    Flow::new("RFC 3665 §3.8", "no_answer_and_cancel", no_answer_and_cancel),
    Flow::new("RFC 3665 §3.8", "no_answer_and_cancel_by_the_edge", no_answer_and_cancel_by_the_edge),
    Flow::new("RFC 3665 §3.9", "busy", busy),
    Flow::new("RFC 3665 §3.9", "busy_edge", busy_edge),
    Flow::new("RFC 3665 §3.10", "no_response", no_response).over("response_timeout_ms = 3000"),
    Flow::new("RFC 3665 §3.11", "temporarily_unavailable", temporarily_unavailable),
];

const CHALLENGE: &str = "Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn registered(play: &mut Play) {
    let request = play.asked(BOB, "REGISTER");
    assert!(request.needed("Contact").contains("sip:"));
    assert_eq!(request.header("Authorization"), None);
    play.tell(BOB, &request, 401, bare().with("WWW-Authenticate", CHALLENGE));
    let again = play.asked(BOB, "REGISTER");
    assert_eq!(again.number(), request.number() + 1);
    assert_eq!(again.needed("Call-ID"), request.needed("Call-ID"));
    let credentials = again.needed("Authorization");
    assert!(
        credentials.contains("username=\"edge\"") && credentials.contains("nonce=\"n1\""),
        "{credentials}"
    );
    play.tell(BOB, &again, 200, bare().with("Contact", format!("{};expires=600", again.needed("Contact"))));
    registration_is(play, "registered");
}

fn registration_is(play: &mut Play, state: &str) {
    play.shows_health("/registration/state", state);
}

fn new_registration(play: &mut Play) {
    registered(play);
}

fn update_of_the_contact_list(play: &mut Play) {
    registered(play);

    let before = play.carrier.now();
    let refresh = play.asked_within(BOB, "REGISTER", Duration::from_secs(600));

    let waited = play.carrier.now() - before;
    assert!(waited > Duration::from_secs(240) && waited < Duration::from_secs(590), "{waited:?}");
    play.tell(
        BOB,
        &refresh,
        200,
        bare().with("Contact", format!("{};expires=600", refresh.needed("Contact"))),
    );
    registration_is(play, "registered");
}

fn contacts_of_others(play: &mut Play) {
    let request = play.asked(BOB, "REGISTER");
    let ours = request.needed("Contact").to_owned();
    let others = format!("<sip:other@192.0.2.7>;expires=7, {ours};expires=600");

    play.tell(BOB, &request, 200, bare().with("Contact", others));

    registration_is(play, "registered");
    play.pass(Duration::from_secs(8));
    registration_is(play, "registered");
}

fn cancellation_of_a_registration(play: &mut Play) {
    registered(play);

    play.carrier.stop();
    let farewell = play.asked(BOB, "REGISTER");

    assert!(farewell.header("Expires") == Some("0") || farewell.needed("Contact").contains("expires=0"));
    play.tell(BOB, &farewell, 200, bare());
    registration_is(play, "unregistered");
}

fn unsuccessful_registration(play: &mut Play) {
    let request = play.asked(BOB, "REGISTER");
    play.tell(BOB, &request, 401, bare().with("WWW-Authenticate", CHALLENGE));
    let again = play.asked(BOB, "REGISTER");

    let other = CHALLENGE.replace("n1", "n2");
    play.tell(BOB, &again, 401, bare().with("WWW-Authenticate", other));

    registration_is(play, "failed");
    // It is tried again, and not at once.
    registered(play);
}

fn session_established(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.ringing(call, 180);
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.direction(), "sendrecv");
    assert!(answer.body.contains("m=audio 2") && answer.body.contains("telephone-event/8000"));
    assert!(answer.lists("Allow", "REFER") && answer.lists("Supported", "replaces"));
    play.ack(call, bare());
    play.engine_hears("answered");

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);

    play.engine_hears("stop");
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn session_established_by_the_edge(play: &mut Play) {
    let id = play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    assert_eq!(invite.request_uri(), format!("sip:+15550123@{}", play.address(BOB)));
    assert_eq!(invite.direction(), "sendrecv");
    assert_eq!(invite.needed("X-CallingEdge-Call-Id"), id);
    play.reply(call, &invite, 180, bare());
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.acked(call, &invite);
    play.engine_hears("answered");

    play.engine_says(&json!({ "type": "hang_up", "reason": "goodbye" }));
    let bye = play.receive(call, "BYE");
    play.reply(call, &bye, 200, bare());

    play.ended("engine_hung_up", &["placed", "answered", "ended"]);
}

fn session_through_two_proxies(play: &mut Play) {
    let (one, two) = (format!("<{};lr>", play.uri(ALICE)), "<sip:ss1.example.com;lr>".to_owned());
    let via = "SIP/2.0/UDP ss1.example.com:5060;branch=z9hG4bK-inner;received=192.0.2.111";
    let parts = sdp("sendrecv").with("Via", via).with("Record-Route", &one).with("Record-Route", &two);
    let call = play.invite(ALICE, "+15550000", parts);
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.all("Via").nth(1), Some(via), "the way back leads through both");
    assert_eq!(answer.all("Record-Route").collect::<Vec<_>>(), [one.as_str(), two.as_str()]);
    play.ack(call, bare());
    play.engine_hears("answered");

    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");

    assert_eq!(bye.all("Route").collect::<Vec<_>>(), [one.as_str(), two.as_str()]);
    assert_eq!(bye.request_uri(), play.uri(ALICE), "the far end's Contact, by way of the proxies");
    play.reply(call, &bye, 200, bare());
    play.ended("engine_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn session_with_proxy_authentication(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    let challenge = |realm: &str, nonce: &str| {
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm=MD5")
    };
    play.reply(first, &invite, 407, bare().with("Proxy-Authenticate", challenge("one.example.com", "n1")));
    play.acked(first, &invite);

    let (second, invite) = play.called(BOB);
    let credentials = invite.needed("Proxy-Authorization");
    assert!(credentials.contains("realm=\"one.example.com\""), "{credentials}");
    assert_eq!(play.call_id(second), play.call_id(first));
    play.reply(second, &invite, 407, bare().with("Proxy-Authenticate", challenge("two.example.com", "n2")));
    play.acked(second, &invite);

    let (third, invite) = play.called(BOB);
    let realms: Vec<&str> = invite.all("Proxy-Authorization").collect();
    assert!(realms.iter().any(|one| one.contains("realm=\"one.example.com\"")), "{realms:?}");
    assert!(realms.iter().any(|one| one.contains("realm=\"two.example.com\"")), "{realms:?}");
    play.reply(third, &invite, 200, sdp("sendrecv"));
    play.acked(third, &invite);
    play.engine_hears("answered");
    play.request(third, "BYE", bare());
    play.expect(third, "BYE", 200);
    play.ended("remote_hung_up", &["placed", "answered", "ended"]);
}

fn session_with_a_proxy_failure(play: &mut Play) {
    play.set_deaf(BOB);
    play.carrier.kill(BOB);
    play.place(json!({ "to": "+15550123" }));

    let (call, invite) = play.called(CAROL);
    play.reply(call, &invite, 180, bare());
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.acked(call, &invite);
    play.engine_hears("answered");

    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.ended("remote_hung_up", &["placed", "answered", "ended"]);
}

fn session_through_an_alg(play: &mut Play) {
    let inner = "SIP/2.0/UDP client.example.com:5060;branch=z9hG4bK-inner;received=192.0.2.105;rport=61234";
    let offer = bare().body("application/sdp", &description("192.0.2.128", "sendrecv"));
    let call = play.invite(ALICE, "+15550000", offer.with("Via", inner));
    let answer = play.expect(call, "INVITE", 200);
    assert_eq!(answer.all("Via").nth(1), Some(inner), "with received and rport as they came");
    assert_eq!(answer.direction(), "sendrecv");
    play.ack(call, bare());
    play.engine_hears("answered");

    play.request(call, "BYE", bare().with("Via", inner));
    let done = play.expect(call, "BYE", 200);
    assert_eq!(done.all("Via").nth(1), Some(inner));
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn session_by_redirect_with_sdp_in_ack(play: &mut Play) {
    play.mood = Mood::Says(json!({ "type": "redirect", "to": { "sip_uri": "sip:desk@example.com" } }));
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let moved = play.expect(call, "INVITE", 302);
    assert_eq!(moved.contact(), "sip:desk@example.com");

    play.mood = Mood::Says(json!({ "type": "accept" }));
    let call = play.invite(ALICE, "+15550000", bare());
    let offer = play.expect(call, "INVITE", 200);
    assert_eq!(offer.direction(), "sendrecv");
    play.ack(call, sdp("sendrecv"));
    play.engine_hears("answered");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.shows("/end_reason", "remote_hung_up");
}

fn reinvite_with_a_new_address(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let first = play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    play.engine_hears("answered");

    let moved = bare().body("application/sdp", &description("192.0.2.99", "sendrecv"));
    play.request(call, "INVITE", moved);
    let answer = play.expect(call, "INVITE", 200);
    play.ack(call, bare());

    assert_eq!(answer.direction(), "sendrecv");
    let port = |body: &str| body.lines().find(|line| line.starts_with("m=")).map(str::to_owned);
    assert_eq!(port(&answer.body), port(&first.body), "our own address stays");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "ended"]);
}

fn no_answer_and_cancel(play: &mut Play) {
    play.mood = Mood::Waits;
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    play.ringing(call, 180);
    play.engine_hears("start");

    play.cancel(call);
    play.expect(call, "CANCEL", 200);
    play.expect(call, "INVITE", 487);

    play.engine_hears("stop");
    play.ended("caller_cancelled", &["inbound_ringing", "no_answer"]);
}

fn no_answer_and_cancel_by_the_edge(play: &mut Play) {
    play.place(json!({ "to": "+15550123", "ring_timeout_sec": 5 }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 180, bare());

    let cancel = play.receive(call, "CANCEL");
    assert_eq!(cancel.branch(), invite.branch());
    assert_eq!(cancel.number(), invite.number());
    assert!(cancel.needed("Reason").starts_with("SIP"));
    play.reply(call, &cancel, 200, bare());
    play.reply(call, &invite, 487, bare());
    play.acked(call, &invite);

    play.ended("no_answer", &["placed", "no_answer"]);
}

fn busy(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 486, bare());
    play.acked(call, &invite);

    play.ended("busy", &["placed", "busy"]);
    assert_eq!(play.view()["sip"]["code"], 486);
}

fn busy_edge(play: &mut Play) {
    play.mood = Mood::Says(json!({ "type": "reject", "sip_code": 486, "reason": "Busy Here" }));
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let refusal = play.expect(call, "INVITE", 486);

    assert!(refusal.needed("Reason").contains("486"));
    play.ended("busy", &["inbound_ringing", "busy"]);
}

fn no_response(play: &mut Play) {
    play.set_deaf(BOB);
    play.place(json!({ "to": "+15550123" }));

    play.ended("unreachable", &["error"]);
    assert_eq!(play.view()["answered_at"], json!(null));
}

fn temporarily_unavailable(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 180, bare());
    play.reply(call, &invite, 480, bare());
    play.acked(call, &invite);

    play.ended("no_answer", &["placed", "no_answer"]);
    assert_eq!(play.view()["sip"]["code"], 480);
}
