//! What a trunk does with calls of ours besides answering: it sends them elsewhere (RFC 3261 §8.1.3.4), wants to know who
//! we are (RFC 8760), is not there (RFC 3263), or has enough of them (RFC 3261 §21.5.4). And what we do with theirs.

use std::time::Duration;

use serde_json::json;

use crate::Flow;
use crate::carrier::Order;
use crate::digest;
use crate::message::{Message, bare, sdp};
use crate::play::{ALICE, BOB, CAROL, Leg, Play};
use crate::rfc5359::{answers, hangs_up, let_go, talk};

const KNOWN: &str = "username = \"edge\"\npassword = { env = \"PASSWORD\" }";
const ASKS_WHO: &str = "inbound_username = \"alice\"\ninbound_password = { env = \"PASSWORD\" }";
const TWO: &str = "targets = [\"sip:{bob};transport={transport};priority=1\", \
                   \"sip:{carol};transport={transport};priority=2\"]";
const BY_NAME: &str = "target = \"sip:flow{run}.test;transport={transport}\"\ndomain = \"example.com\"";
const WITH_DENIAL: &str = "deny_destinations = [\"+1900\"]";

pub(crate) const FLOWS: &[Flow] = &[
    Flow::new("RFC 3261 §8.1.3.4", "redirect_is_followed", redirect_is_followed),
    Flow::new("RFC 3261 §21.3.1", "redirect_to_several", redirect_to_several),
    Flow::new("RFC 3261 §21.3.1", "redirect_to_somebody_who_is_gone", redirect_to_somebody_who_is_gone)
        .over("response_timeout_ms = 3000"),
    Flow::new("RFC 3261 §8.1.3.4", "redirect_in_a_circle", redirect_in_a_circle),
    Flow::new("RFC 3261 §8.1.3.4", "redirect_without_end", redirect_without_end),
    Flow::new("RFC 3261 §8.1.3.4", "redirect_to_where_nobody_may_dial", redirect_to_where_nobody_may_dial)
        .over(WITH_DENIAL),
    Flow::new("RFC 3261 §8.1.3.4", "redirect_is_not_followed", redirect_is_not_followed)
        .over("follow_redirects = false"),
    Flow::new("RFC 3261 §8.1.3.4", "redirect_of_a_human", redirect_of_a_human),
    Flow::new("RFC 8760 §2.4", "challenge_with_sha_256", challenge_with_sha_256).over(KNOWN),
    Flow::new("RFC 7616 §3.3", "challenge_with_a_stale_nonce", challenge_with_a_stale_nonce).over(KNOWN),
    Flow::new("RFC 7616 §3.3", "challenge_that_is_never_satisfied", challenge_that_is_never_satisfied)
        .over(KNOWN),
    Flow::new("RFC 3261 §22.2", "challenge_of_the_bye", challenge_of_the_bye).over(KNOWN),
    Flow::new("RFC 8760 §2.6", "challenge_of_the_edge", challenge_of_the_edge).over(ASKS_WHO),
    Flow::new("RFC 3263 §4.2", "srv_failover", srv_failover).over(BY_NAME),
    Flow::new("RFC 3261 §21.5.4", "service_unavailable_with_retry_after", service_unavailable).over(TWO),
    Flow::new("RFC 3261 §21.5.4", "service_unavailable_everywhere", service_unavailable_everywhere).over(TWO),
    Flow::new("RFC 3261 §21.5.4", "edge_is_full", edge_is_full).over("max_calls = 1"),
];

fn contact(play: &Play, phone: usize, user: &str) -> String {
    format!("sip:{user}@{};transport={}", play.address(phone), play.weather.transport())
}

/// Bob's 302 to an INVITE.
fn moved(play: &mut Play, contacts: &str) -> (Leg, Message) {
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 302, bare().with("Contact", contacts));
    play.acked(call, &invite);
    (call, invite)
}

fn redirect_is_followed(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let carols = contact(play, CAROL, "carol");
    let (_, first) = moved(play, &format!("<{carols}>"));

    let (call, invite) = play.called(CAROL);
    assert_eq!(invite.request_uri(), carols);
    assert_eq!(invite.needed("To"), first.needed("To"), "RFC 3261 §8.1.3.4");
    play.reply(call, &invite, 180, bare());
    play.reply(call, &invite, 200, sdp("sendrecv"));
    play.acked(call, &invite);
    play.engine_hears("answered");
    assert_eq!(play.engines(), 1);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

/// The best first; who is busy gives way to the next.
fn redirect_to_several(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let contacts =
        format!("<{}>;q=0.2, <{}>;q=0.9", contact(play, CAROL, "second"), contact(play, CAROL, "first"));
    let (call, invite) = play.called(BOB);
    play.reply(call, &invite, 300, bare().with("Contact", contacts));
    play.acked(call, &invite);

    let (first, invite) = play.called(CAROL);
    assert!(invite.request_uri().starts_with("sip:first@"));
    play.reply(first, &invite, 486, bare());
    play.acked(first, &invite);
    let (second, invite) = play.called(CAROL);
    assert!(invite.request_uri().starts_with("sip:second@"));
    play.reply(second, &invite, 486, bare());
    play.acked(second, &invite);

    play.ended("busy", &["placed", "busy"]);
}

fn redirect_to_somebody_who_is_gone(play: &mut Play) {
    play.set_deaf(CAROL);
    play.carrier.kill(CAROL);
    play.place(json!({ "to": "+15550123" }));
    let (gone, there) = (contact(play, CAROL, "carol"), contact(play, BOB, "other"));
    moved(play, &format!("<{gone}>;q=0.9, <{there}>;q=0.2"));

    let (call, invite) = play.called(BOB);
    assert_eq!(invite.request_uri(), there);
    answered(play, call, &invite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn redirect_in_a_circle(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let carols = contact(play, CAROL, "carol");
    let (_, first) = moved(play, &format!("<{carols}>"));
    let back = first.request_uri().to_owned();

    let (call, invite) = play.called(CAROL);
    play.reply(call, &invite, 302, bare().with("Contact", format!("<{back}>, <{carols}>")));
    play.acked(call, &invite);

    play.ended("rejected", &["placed", "error"]);
    assert_eq!(play.view()["sip"]["code"], 302);
}

fn redirect_without_end(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    for number in 0..=5 {
        let (call, invite) = play.called(BOB);
        let next = contact(play, BOB, &format!("place{number}"));
        play.reply(call, &invite, 302, bare().with("Contact", format!("<{next}>")));
        play.acked(call, &invite);
    }

    play.ended("rejected", &["placed", "error"]);
    play.pass(Duration::from_secs(1));
}

fn redirect_to_where_nobody_may_dial(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let premium = contact(play, CAROL, "+19005550123");
    moved(play, &format!("<{premium}>, <sip:+15550199@evil.example.com>, <tel:+19005550123>"));

    play.ended("rejected", &["placed", "error"]);
    play.pass(Duration::from_secs(1));
}

fn redirect_is_not_followed(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let carols = contact(play, CAROL, "carol");
    moved(play, &format!("<{carols}>"));

    play.ended("rejected", &["placed", "error"]);
    play.pass(Duration::from_secs(1));
}

fn redirect_of_a_human(play: &mut Play) {
    let call = talk(play);
    let id = play.call();
    let transfer = json!({ "call_id": id, "to": { "number": "+15550199" }, "style": "bridge" });
    play.accepted(Order::Transfer(transfer));
    let carols = contact(play, CAROL, "carol");
    moved(play, &format!("<{carols}>"));

    let (human, invite) = answers(play, CAROL);
    assert_eq!(invite.request_uri(), carols);
    play.shows("/mode", "routing");
    play.request(call, "BYE", bare());
    play.expect(call, "BYE", 200);
    let_go(play, human);
    play.ended("remote_hung_up", &["inbound_ringing", "answered", "transferred", "ended"]);
}

/// A 401 to an INVITE; the next one answers it.
fn challenged(play: &mut Play, leg: Leg, invite: &Message, challenges: &[&str]) -> (Leg, Message) {
    let parts = challenges.iter().fold(bare(), |parts, one| parts.with("WWW-Authenticate", *one));
    play.reply(leg, invite, 401, parts);
    play.acked(leg, invite);
    play.called(BOB)
}

fn sha_256(nonce: &str, stale: bool) -> String {
    format!("Digest realm=\"example.com\", nonce=\"{nonce}\", qop=\"auth\", algorithm=SHA-256, stale={stale}")
}

fn answered(play: &mut Play, call: Leg, invite: &Message) {
    play.reply(call, invite, 200, sdp("sendrecv"));
    play.acked(call, invite);
    play.engine_hears("answered");
}

fn challenge_with_sha_256(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    let (sha, md5) = (sha_256("n1", false), sha_256("n1", false).replace("SHA-256", "MD5"));
    let (call, invite) = challenged(play, first, &invite, &[&sha, &md5]);

    let credentials = invite.needed("Authorization");
    assert_eq!(invite.all("Authorization").count(), 1);
    assert_eq!(digest::field(credentials, "algorithm").as_deref(), Some("SHA-256"));
    assert_eq!(digest::field(credentials, "nc").as_deref(), Some("00000001"));
    assert!(digest::is_right(credentials, "INVITE", "open sesame"), "{credentials}");
    answered(play, call, &invite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn challenge_with_a_stale_nonce(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    let (second, invite) = challenged(play, first, &invite, &[&sha_256("old", false)]);
    let (call, invite) = challenged(play, second, &invite, &[&sha_256("new", true)]);

    let credentials = invite.needed("Authorization");
    assert_eq!(digest::field(credentials, "nonce").as_deref(), Some("new"));
    assert!(digest::is_right(credentials, "INVITE", "open sesame"), "{credentials}");
    answered(play, call, &invite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);
}

fn challenge_that_is_never_satisfied(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    let (second, invite) = challenged(play, first, &invite, &[&sha_256("n1", false)]);
    play.reply(second, &invite, 401, bare().with("WWW-Authenticate", sha_256("n2", false)));
    play.acked(second, &invite);

    play.ended("rejected", &["placed", "error"]);
    play.pass(Duration::from_secs(1));
}

/// What was learnt with the INVITE is good for the BYE; one that is challenged all the same is sent again.
fn challenge_of_the_bye(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    let (call, invite) = challenged(play, first, &invite, &[&sha_256("n1", false)]);
    answered(play, call, &invite);

    play.engine_says(&json!({ "type": "hang_up" }));
    let bye = play.receive(call, "BYE");
    let credentials = bye.needed("Authorization");
    assert!(digest::is_right(credentials, "BYE", "open sesame"), "{credentials}");
    assert_eq!(digest::field(credentials, "nc").as_deref(), Some("00000002"), "counted on");
    play.reply(call, &bye, 401, bare().with("WWW-Authenticate", sha_256("n2", true)));
    let again = play.receive(call, "BYE");
    assert_eq!(digest::field(again.needed("Authorization"), "nonce").as_deref(), Some("n2"));
    play.reply(call, &again, 200, bare());
    play.ended("engine_hung_up", &["placed", "answered", "ended"]);
}

fn challenge_of_the_edge(play: &mut Play) {
    let call = play.invite(ALICE, "+15550000", sdp("sendrecv"));
    let refusal = play.expect(call, "INVITE", 401);
    let challenge = refusal.all("WWW-Authenticate").find(|one| one.contains("SHA-256")).unwrap().to_owned();
    let uri = play.target(call);
    let wrong = digest::answer(&challenge, "alice", "let me in", "INVITE", &uri, 1);
    play.request(call, "INVITE", sdp("sendrecv").with("Authorization", wrong));
    let refusal = play.expect(call, "INVITE", 401);
    assert!(!refusal.needed("WWW-Authenticate").contains("stale=true"), "a wrong password is not stale");

    let challenge = refusal.all("WWW-Authenticate").find(|one| one.contains("SHA-256")).unwrap().to_owned();
    let right = digest::answer(&challenge, "alice", "open sesame", "INVITE", &uri, 1);
    play.request(call, "INVITE", sdp("sendrecv").with("Authorization", right.as_str()));
    play.expect(call, "INVITE", 200);
    play.ack(call, bare());
    play.engine_hears("answered");
    hangs_up(play, call);

    // Whoever has read it cannot use it: a count is good once.
    let replay = play.invite(ALICE, "+15550000", sdp("sendrecv").with("Authorization", right));
    let refusal = play.expect(replay, "INVITE", 401);
    assert!(refusal.needed("WWW-Authenticate").contains("stale=true"));
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}

/// The name leads to Bob, and where he is not there, to Carol.
fn srv_failover(play: &mut Play) {
    play.set_deaf(BOB);
    play.carrier.kill(BOB);
    play.place(json!({ "to": "+15550123" }));

    let (call, invite) = play.called(CAROL);
    assert_eq!(invite.request_uri(), "sip:+15550123@example.com");
    answered(play, call, &invite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);

    // It is known now, and not waited for again.
    play.place(json!({ "to": "+15550124" }));
    let before = play.carrier.now();
    let (call, invite) = play.called(CAROL);
    assert!(play.loses() || play.carrier.now() - before < Duration::from_secs(2));
    play.reply(call, &invite, 486, bare());
    play.acked(call, &invite);
    play.shows("/end_reason", "busy");
}

fn service_unavailable(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    let (first, invite) = play.called(BOB);
    play.reply(first, &invite, 503, bare().with("Retry-After", "60"));
    play.acked(first, &invite);
    let (call, invite) = play.called(CAROL);
    answered(play, call, &invite);
    hangs_up(play, call);
    play.told_events(&["placed", "answered", "ended"]);

    // Bob has asked to be left alone.
    play.place(json!({ "to": "+15550124" }));
    let (call, invite) = play.called(CAROL);
    play.reply(call, &invite, 486, bare());
    play.acked(call, &invite);
    play.shows("/end_reason", "busy");
}

fn service_unavailable_everywhere(play: &mut Play) {
    play.place(json!({ "to": "+15550123" }));
    for phone in [BOB, CAROL] {
        let (call, invite) = play.called(phone);
        play.reply(call, &invite, 503, bare());
        play.acked(call, &invite);
    }

    play.ended("rejected", &["placed", "error"]);
    assert_eq!(play.view()["sip"]["code"], 503);
}

fn edge_is_full(play: &mut Play) {
    let call = talk(play);

    let other = play.invite(BOB, "+15550000", sdp("sendrecv"));
    let refusal = play.expect(other, "INVITE", 503);

    assert!(refusal.needed("Retry-After").parse::<u32>().is_ok());
    hangs_up(play, call);
    play.told_events(&["inbound_ringing", "answered", "ended"]);
}
