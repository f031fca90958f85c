//! Digest of inbound calls (RFC 3261 §22, RFC 7616, RFC 8760): who is taken, who is challenged again, and with what.

use std::time::Duration;

use callingedge::call::{EventKind, InboundAuth, InboundDigest, Output, UnknownSources};
use sip::Method;
use sip::auth::{Algorithm, Challenge, Credentials};

use crate::line::{EDGE, FAR, Line, SDP, flow};
use crate::policy::changed;

/// An address that nobody claims.
const AWAY: &str = "192.0.2.77:5060";
const CALLED: &str = "sip:+15550000@10.0.0.1";

#[test]
fn a_call_without_credentials_is_challenged_sha_256_first_and_begins_nothing() {
    let mut line = guarded();

    let challenges = challenged(&mut line, Vec::new());

    let algorithms: Vec<_> = challenges.iter().map(|challenge| challenge.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert!(challenges.iter().all(|challenge| !challenge.stale && challenge.qop == [sip::auth::Qop::Auth]));
    assert!(line.events.is_empty() && line.dialled.is_empty());
    assert_eq!(tally(&line), (1, 0, 0));
}

#[test]
fn the_right_answer_is_taken_with_either_algorithm() {
    for algorithm in 0..2 {
        let mut line = guarded();
        let challenge = challenged(&mut line, Vec::new()).remove(algorithm);

        assert!(call(&mut line, CALLED, answer(&challenge, "trunk", "secret", 1)).is_none());

        assert_eq!(line.kinds(), [EventKind::InboundRinging], "{:?}", challenge.algorithm);
        assert_eq!(tally(&line), (1, 0, 1));
    }
}

#[test]
fn a_telephone_that_knows_the_password_gets_through_by_itself() {
    let mut line = guarded();
    let uri = sip::Uri::parse(CALLED).unwrap();
    let from = sip::NameAddr::new(sip::Uri::parse("sip:+15550123@10.0.0.9").unwrap());
    let target = sip::Target { transport: sip::Transport::Udp, address: EDGE.parse().unwrap() };
    let invite = sip::Invite {
        body: Some(sip::Body::sdp(SDP.to_owned())),
        credentials: Some(credentials("trunk", "secret")),
        ..sip::Invite::new(target, uri.clone(), from, sip::NameAddr::new(uri))
    };

    line.far.invite(line.now, invite);
    line.settle();

    assert_eq!(line.kinds(), [EventKind::InboundRinging]);
    assert_eq!(tally(&line), (1, 0, 1));
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let mut line = guarded();
    let mut shown = Vec::new();
    for (user, password) in [("trunk", "guess"), ("nobody", "secret"), ("nobody", "guess")] {
        let challenge = challenged(&mut line, Vec::new()).remove(0);
        let again = challenged(&mut line, answer(&challenge, user, password, 1));
        assert!(again.iter().all(|challenge| !challenge.stale));
        shown.push(
            again.into_iter().map(|again| Challenge { nonce: String::new(), ..again }).collect::<Vec<_>>(),
        );
    }

    assert_eq!(shown[0], shown[1]);
    assert_eq!(shown[1], shown[2]);
    assert!(line.events.is_empty());
    assert_eq!(tally(&line), (6, 3, 0));
}

#[test]
fn a_count_that_was_used_is_refused_and_the_next_one_is_good() {
    let mut line = guarded();
    let challenge = challenged(&mut line, Vec::new()).remove(0);
    assert!(call(&mut line, CALLED, answer(&challenge, "trunk", "secret", 1)).is_none());

    let again = challenged(&mut line, answer(&challenge, "trunk", "secret", 1));
    assert!(again.iter().all(|again| again.stale && again.nonce != challenge.nonce));
    assert_eq!(tally(&line), (2, 0, 1));

    assert!(call(&mut line, CALLED, answer(&challenge, "trunk", "secret", 2)).is_none());
    assert_eq!(tally(&line), (2, 0, 2));
}

#[test]
fn an_old_nonce_and_one_that_is_not_ours_are_stale_only_for_who_knows_the_password() {
    let mut line = guarded();
    let old = challenged(&mut line, Vec::new()).remove(0);
    line.pass(Duration::from_secs(300));
    let foreign = Challenge { nonce: "made up".into(), ..old.clone() };

    for challenge in [old, foreign] {
        let right = challenged(&mut line, answer(&challenge, "trunk", "secret", 1));
        let wrong = challenged(&mut line, answer(&challenge, "trunk", "guess", 1));

        assert!(right.iter().all(|again| again.stale));
        assert!(wrong.iter().all(|again| !again.stale));
        assert!(call(&mut line, CALLED, answer(&right[0], "trunk", "secret", 1)).is_none());
    }
    assert_eq!(tally(&line), (5, 2, 2));
}

#[test]
fn an_answer_for_another_number_or_method_is_wrong() {
    let mut line = guarded();
    let challenge = challenged(&mut line, Vec::new()).remove(0);
    let made = |method, uri| {
        let trunk = credentials("trunk", "secret");
        let answer = challenge.respond(&trunk, method, uri, b"", "0123456789", 1);
        vec![("Authorization".into(), answer.to_string())]
    };

    challenged(&mut line, made(Method::Invite, "sip:+15559999@10.0.0.1"));
    challenged(&mut line, made(Method::Register, CALLED));
    challenged(&mut line, vec![("Authorization".into(), "Digest rubbish".to_owned())]);

    assert_eq!(tally(&line), (4, 3, 0));
}

#[test]
fn a_number_without_a_route_is_told_from_others_only_to_who_knows_the_password() {
    let mut line = guarded();
    let unrouted = "sip:+15557777@10.0.0.1";

    assert!(call(&mut line, unrouted, Vec::new()).is_some());
    assert_eq!(tally(&line), (1, 0, 0));
}

#[test]
fn the_order_of_the_offers_is_that_of_the_configuration_and_nothing_else_is_taken() {
    let strict = [Algorithm::Sha512t256, Algorithm::Sha256];
    let mut line = Line::with(changed(|provider| {
        let digest = InboundDigest { algorithms: strict.to_vec(), ..digest("trunk", "secret") };
        provider.trunk.inbound_auth = InboundAuth::Both(digest);
    }));

    let challenges = challenged(&mut line, Vec::new());
    let algorithms: Vec<_> = challenges.iter().map(|challenge| challenge.algorithm).collect();
    let weak = Challenge { algorithm: Algorithm::Md5, ..challenges[0].clone() };
    challenged(&mut line, answer(&weak, "trunk", "secret", 1));

    assert_eq!(algorithms, strict);
    assert_eq!(tally(&line), (2, 1, 0));
    assert!(call(&mut line, CALLED, answer(&challenges[0], "trunk", "secret", 1)).is_none());
}

#[test]
fn a_trunk_that_is_known_by_its_password_alone_calls_from_anywhere() {
    let mut line = open();
    let challenge = challenged_at(&mut line, AWAY, Vec::new()).remove(0);

    assert!(call_from(&mut line, AWAY, CALLED, answer(&challenge, "trunk", "secret", 1)).is_none());

    assert_eq!(line.kinds(), [EventKind::InboundRinging]);
    assert_eq!(tally(&line), (1, 0, 1));
    assert_eq!(line.exchange.tally().unknown, 0);
}

#[test]
fn the_password_is_asked_for_also_where_such_a_trunk_is_at_home() {
    let mut line = open();

    challenged(&mut line, Vec::new());

    assert!(line.events.is_empty());
}

#[test]
fn a_stranger_without_the_password_leaves_nothing_behind_and_learns_no_name() {
    let mut line = open();
    let mut shown = Vec::new();
    for (user, password) in [("trunk", "guess"), ("nobody", "secret")] {
        let challenge = challenged_at(&mut line, AWAY, Vec::new()).remove(0);
        let again = challenged_at(&mut line, AWAY, answer(&challenge, user, password, 1));
        shown.push(
            again.into_iter().map(|again| Challenge { nonce: String::new(), ..again }).collect::<Vec<_>>(),
        );
    }

    assert_eq!(shown[0], shown[1]);
    assert!(shown[0].iter().all(|challenge| !challenge.stale));
    assert_eq!(line.exchange.tally().sip.server_transactions, 0);
    assert_eq!(tally(&line), (4, 2, 0));
}

#[test]
fn a_repeated_invite_of_a_stranger_is_no_second_answer() {
    let mut line = open();
    let challenge = challenged_at(&mut line, AWAY, Vec::new()).remove(0);
    let invite = invite(AWAY, CALLED, 7, answer(&challenge, "trunk", "secret", 1));

    let first = send(&mut line, AWAY, invite.clone());
    let again = send(&mut line, AWAY, invite);

    assert!(first.is_none() && again.is_none());
    assert_eq!(tally(&line), (1, 0, 1));
}

#[test]
fn a_replayed_answer_of_a_stranger_is_stale() {
    let mut line = open();
    let challenge = challenged_at(&mut line, AWAY, Vec::new()).remove(0);
    assert!(call_from(&mut line, AWAY, CALLED, answer(&challenge, "trunk", "secret", 1)).is_none());

    let replayed = challenged_at(&mut line, AWAY, answer(&challenge, "trunk", "secret", 1));

    assert!(replayed.iter().all(|again| again.stale));
    assert_eq!(tally(&line), (2, 0, 1));
}

#[test]
fn an_answer_for_another_realm_is_no_answer() {
    let mut line = open();
    let challenge = challenged_at(&mut line, AWAY, Vec::new()).remove(0);
    let elsewhere = Challenge { realm: "elsewhere".into(), ..challenge };

    let again = challenged_at(&mut line, AWAY, answer(&elsewhere, "trunk", "secret", 1));

    assert!(again.iter().all(|again| !again.stale));
    assert_eq!(tally(&line), (2, 0, 0));
}

#[test]
fn strangers_may_call_and_nothing_else() {
    let mut line = open();
    let options = String::from_utf8(crate::line::options_request().to_vec()).unwrap();

    line.settle();
    line.exchange.handle_sip(line.now, flow(EDGE, AWAY), options.into());

    assert!(line.exchange.poll_output().is_none());
    assert_eq!(line.exchange.tally().unknown, 1);
}

fn open() -> Line {
    let mut settings = changed(|provider| {
        provider.trunk.inbound_auth = InboundAuth::Digest(digest("trunk", "secret"));
    });
    settings.unknown_sources = UnknownSources::Drop;
    Line::with(settings)
}

fn guarded() -> Line {
    Line::with(changed(|provider| {
        provider.trunk.inbound_auth = InboundAuth::Both(digest("trunk", "secret"));
    }))
}

fn digest(username: &str, password: &str) -> InboundDigest {
    InboundDigest { credentials: credentials(username, password), algorithms: InboundDigest::USUAL.to_vec() }
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.into(), password: password.into() }
}

fn answer(challenge: &Challenge, user: &str, password: &str, count: u32) -> sip::Headers {
    let answer =
        challenge.respond(&credentials(user, password), Method::Invite, CALLED, b"", "0123456789", count);
    vec![("Authorization".into(), answer.to_string())]
}

/// Calls, and reads the 401.
fn challenged(line: &mut Line, headers: sip::Headers) -> Vec<Challenge> {
    challenged_at(line, FAR, headers)
}

fn challenged_at(line: &mut Line, from: &str, headers: sip::Headers) -> Vec<Challenge> {
    let response = call_from(line, from, CALLED, headers).expect("a 401");
    let challenges: Vec<_> = response.challenges(sip::HeaderName::WwwAuthenticate).collect();
    assert_eq!(challenges.len(), 2);
    challenges
}

/// An INVITE as written here; the 401 to it, if that is the answer.
fn call(line: &mut Line, uri: &str, headers: sip::Headers) -> Option<sip::Message> {
    call_from(line, FAR, uri, headers)
}

fn call_from(line: &mut Line, from: &str, uri: &str, headers: sip::Headers) -> Option<sip::Message> {
    let tally = line.exchange.tally();
    let invite = invite(from, uri, tally.challenged + tally.admitted, headers);
    send(line, from, invite)
}

fn invite(from: &str, uri: &str, id: u64, headers: sip::Headers) -> String {
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\n\
         From: <sip:+15550123@10.0.0.9>;tag={id}\r\nTo: <{uri}>\r\nCall-ID: digest{id}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:{from}>\r\n{extra}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

fn send(line: &mut Line, from: &str, invite: String) -> Option<sip::Message> {
    line.exchange.handle_sip(line.now, flow(EDGE, from), invite.into());
    let mut refused = None;
    while let Some(output) = line.exchange.poll_output() {
        if let Output::Transmit(transmit) = &output
            && transmit.payload.starts_with(b"SIP/2.0 401 ")
        {
            let payload = transmit.payload.clone();
            refused = Some(sip::Message::parse(payload, sip::Framing::Datagram).unwrap());
        }
        line.note(output);
    }
    refused
}

/// Challenged, answered wrongly, admitted.
fn tally(line: &Line) -> (u64, u64, u64) {
    let tally = line.exchange.tally();
    (tally.challenged, tally.unproven, tally.admitted)
}
