//! 401 and 407: RFC 3261 §22, RFC 7616, RFC 8760.

use std::time::Duration;

use sip::auth::{Authorization, Challenge, Credentials};
use sip::endpoint::Event;
use sip::{DialogId, HeaderName, Headers, Invite, Message, Method, OutOfDialog};

use crate::bench::{Bench, first, firsts, header};
use crate::owners::{name, uri};

#[test]
fn a_challenged_invite_is_sent_again_with_the_right_answer() {
    for (status, challenge, answer) in [
        (401, HeaderName::WwwAuthenticate, HeaderName::Authorization),
        (407, HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
    ] {
        let (mut bench, _, invite) = calling();
        challenge_with(&mut bench, &invite, status, challenge, &nonce("n1"));
        let sent = bench.sent();
        let again = &sent[1];

        assert_eq!(firsts(&sent), ["ACK", "INVITE"]);
        assert_eq!(header(again, HeaderName::CallId), header(&invite, HeaderName::CallId));
        assert_eq!(header(again, HeaderName::From), header(&invite, HeaderName::From));
        assert_eq!(header(again, HeaderName::CSeq), "2 INVITE");
        assert_ne!(again.via().unwrap().branch(), invite.via().unwrap().branch());
        let given = again.authorizations(answer).next().unwrap();
        assert_eq!((given.realm.as_str(), given.nonce.as_str(), given.count()), ("trunk", "n1", Some(1)));
        assert_eq!(given.uri, "sip:callee@example.com");
        assert!(given.verify(&credentials(), Method::Invite, b""));
        assert!(bench.words().is_empty());
    }
}

#[test]
fn a_second_refusal_ends_the_game() {
    let (mut bench, _, invite) = calling();
    challenge(&mut bench, &invite, "n1", false);
    let again = bench.sent().pop().unwrap();
    challenge(&mut bench, &again, "n2", false);

    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Refused", "Gone"]);
}

#[test]
fn a_stale_nonce_is_replaced_once_and_not_for_ever() {
    let (mut bench, _, invite) = calling();
    challenge(&mut bench, &invite, "n1", false);
    let second = bench.sent().pop().unwrap();
    challenge(&mut bench, &second, "n2", true);
    let third = bench.sent().pop().unwrap();
    challenge(&mut bench, &third, "n3", true);

    assert_eq!(answer_of(&third).nonce, "n2");
    assert_eq!(header(&third, HeaderName::CSeq), "3 INVITE");
    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Refused", "Gone"]);
}

#[test]
fn a_proxy_and_the_server_behind_it_may_both_ask() {
    let (mut bench, _, invite) = calling();
    challenge_with(&mut bench, &invite, 407, HeaderName::ProxyAuthenticate, &nonce("p1"));
    let second = bench.sent().pop().unwrap();
    challenge_with(&mut bench, &second, 401, HeaderName::WwwAuthenticate, &nonce("s1"));
    let third = bench.sent().pop().unwrap();

    let proxy = third.authorizations(HeaderName::ProxyAuthorization).next().unwrap();
    let server = third.authorizations(HeaderName::Authorization).next().unwrap();
    assert_eq!((proxy.nonce.as_str(), proxy.count()), ("p1", Some(2)));
    assert_eq!((server.nonce.as_str(), server.count()), ("s1", Some(1)));
}

#[test]
fn of_several_algorithms_the_first_we_have_is_taken() {
    let (mut bench, _, invite) = calling();
    bench.answer(&invite, 401, "x", |writer| {
        writer
            .header(HeaderName::WwwAuthenticate, "Digest realm=\"trunk\", nonce=\"n\", algorithm=SHA3-512")
            .header(
                HeaderName::WwwAuthenticate,
                "Digest realm=\"trunk\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"",
            )
            .header(
                HeaderName::WwwAuthenticate,
                "Digest realm=\"trunk\", nonce=\"n\", algorithm=MD5, qop=\"auth\"",
            );
    });
    let again = bench.sent().pop().unwrap();

    assert_eq!(again.authorizations(HeaderName::Authorization).count(), 1);
    assert_eq!(answer_of(&again).algorithm.as_str(), "SHA-256");
}

#[test]
fn a_challenge_that_nobody_can_answer_is_a_refusal() {
    for value in ["Digest realm=\"trunk\", nonce=\"n\", algorithm=SHA3-512", "Basic realm=\"trunk\"", ""] {
        let (mut bench, _, invite) = calling();
        bench.answer(&invite, 401, "x", |writer| {
            writer.header(HeaderName::WwwAuthenticate, value);
        });

        assert_eq!(bench.words(), ["Refused", "Gone"], "{value}");
    }
}

#[test]
fn without_credentials_a_challenge_is_a_refusal() {
    let mut bench = Bench::new();
    bench.endpoint.invite(bench.now, invitation(&bench, None));
    let invite = bench.sent_one();
    challenge(&mut bench, &invite, "n1", false);

    assert_eq!(bench.words(), ["Refused", "Gone"]);
}

#[test]
fn a_call_that_is_hung_up_answers_no_challenge() {
    let (mut bench, dialog, invite) = calling();
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    challenge(&mut bench, &invite, "n1", false);

    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Refused", "Gone"]);
}

/// RFC 3261 §22.1, §22.3: the ACK repeats the answer of its INVITE, later requests count the nonce on.
#[test]
fn the_rest_of_the_dialog_answers_before_it_is_asked() {
    let (mut bench, dialog, invite) = calling();
    challenge(&mut bench, &invite, "n1", false);
    let again = bench.sent().pop().unwrap();
    bench.answer(&again, 200, "far", |writer| {
        writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>");
    });
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let sent = bench.sent();

    assert_eq!(firsts(&sent), ["ACK", "BYE"]);
    assert_eq!(header(&sent[0], HeaderName::Authorization), header(&again, HeaderName::Authorization));
    let bye = answer_of(&sent[1]);
    assert_eq!(bye.count(), Some(2));
    assert!(bye.verify(&credentials(), Method::Bye, b""));
}

#[test]
fn a_challenged_bye_is_sent_again_and_then_the_dialog_is_gone() {
    let (mut bench, dialog, invite) = calling();
    bench.answer(&invite, 200, "far", |writer| {
        writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>");
    });
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent().pop().unwrap();
    challenge(&mut bench, &bye, "n1", false);
    let again = bench.sent_one();
    let before = bench.words();
    bench.answer(&again, 200, "", |_| {});

    assert_eq!(header(&again, HeaderName::CSeq), "3 BYE");
    assert_eq!((before, bench.words()), (vec!["Answered".to_owned()], vec!["Gone".to_owned()]));
}

#[test]
fn a_request_outside_of_a_dialog_answers_a_challenge_once() {
    let mut bench = Bench::new();
    let id = bench.endpoint.request(bench.now, options(&bench));
    let first_try = bench.sent_one();
    challenge(&mut bench, &first_try, "n1", false);
    let second_try = bench.sent_one();
    challenge(&mut bench, &second_try, "n2", false);

    assert_eq!(header(&second_try, HeaderName::CSeq), "2 OPTIONS");
    assert!(answer_of(&second_try).verify(&credentials(), Method::Options, b""));
    let events = bench.events();
    assert!(matches!(&events[..], [Event::RequestAnswered { id: told, .. }] if *told == id), "{events:?}");
    bench.pass(Duration::from_secs(6));
    bench.assert_empty();
}

#[test]
fn a_request_outside_of_a_dialog_times_out_when_its_owner_says() {
    let mut bench = Bench::new();
    let request = OutOfDialog { timeout: Some(Duration::from_secs(3)), ..options(&bench) };
    bench.endpoint.request(bench.now, request);
    let log = bench.pass_noting(Duration::from_secs(10), bench.now);

    assert_eq!(log.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 500, 1500]);
    assert_eq!(bench.words(), ["RequestFailed"]);
    bench.assert_empty();
}

fn options(bench: &Bench) -> OutOfDialog {
    OutOfDialog {
        target: bench.target(),
        method: Method::Options,
        request_uri: uri("sip:192.0.2.9"),
        from: name("sip:edge@192.0.2.1"),
        to: name("sip:192.0.2.9"),
        credentials: Some(credentials()),
        headers: Headers::new(),
        body: None,
        timeout: None,
    }
}

fn calling() -> (Bench, DialogId, Message) {
    let mut bench = Bench::new();
    let dialog = bench.endpoint.invite(bench.now, invitation(&bench, Some(credentials())));
    let invite = bench.sent_one();
    assert_eq!(first(&invite), "INVITE");
    (bench, dialog, invite)
}

fn invitation(bench: &Bench, credentials: Option<Credentials>) -> Invite {
    let callee = name("sip:callee@example.com");
    let invite =
        Invite::new(bench.target(), uri("sip:callee@example.com"), name("sip:edge@192.0.2.1"), callee);
    Invite { credentials, ..invite }
}

fn credentials() -> Credentials {
    Credentials { username: "edge".into(), password: "secret".into() }
}

fn nonce(nonce: &str) -> String {
    format!("Digest realm=\"trunk\", nonce=\"{nonce}\", qop=\"auth\"")
}

fn challenge(bench: &mut Bench, request: &Message, fresh: &str, stale: bool) {
    let value = if stale { format!("{}, stale=true", nonce(fresh)) } else { nonce(fresh) };
    assert!(Challenge::parse(&value).is_ok());
    challenge_with(bench, request, 401, HeaderName::WwwAuthenticate, &value);
}

fn challenge_with(bench: &mut Bench, request: &Message, status: u16, name: HeaderName, value: &str) {
    bench.answer(request, status, "asker", |writer| {
        writer.header(name, value);
    });
}

fn answer_of(request: &Message) -> Authorization {
    request.authorizations(HeaderName::Authorization).next().unwrap()
}
