//! The torture messages: RFC 4475, RFC 5118 and our own, each with what must become of it; and all other messages we have,
//! which must not hurt us.

mod wire;

use std::net::SocketAddr;

use sip::{Framing, HeaderName, Message, MessageWriter, Method, NameAddr, ParseError, StatusCode, Uri, Via};
use wire::{Sample, find, own, shared, table, text};

/// What the message layer makes of one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    /// To be answered with that status, or dropped if it is a response.
    Refused(StatusCode),
    NotSip,
}

#[test]
fn our_own_odd_messages_are_taken_or_refused_as_their_table_says() {
    let samples = own("sip");
    let expected = table(text(find(&samples, "expected.tsv")));

    assert!(expected.len() > 50);
    for row in expected {
        let expected = match row[1] {
            "ok" => Outcome::Accepted,
            "not-sip" => Outcome::NotSip,
            code => Outcome::Refused(StatusCode::new(code.parse().unwrap()).unwrap()),
        };
        let sample = find(&samples, row[0]);
        assert_eq!(
            outcome(sample),
            expected,
            "{}: {:?}",
            row[0],
            parse(sample).map(|message| message.check())
        );
    }
}

/// The column "parser outcome"; what an endpoint does then (415, 420 …) is not ours.
#[test]
fn the_torture_messages_of_rfc_4475_are_taken_or_refused_as_the_rfc_says() {
    let samples = shared("rfc4475");
    let Some(expected) = samples.iter().find(|sample| sample.name == "expected.tsv") else { return };

    let rows = table(text(expected));
    assert_eq!(rows.len(), 49);
    for row in rows {
        let sample = find(&samples, row[0]);
        let outcome = outcome(sample);
        let as_expected = match row[3] {
            "accept" | "accept-then-420" | "accept-then-415" | "accept-then-406" | "accept-then-drop" => {
                outcome == Outcome::Accepted
            }
            "accept-then-400" => outcome == Outcome::Refused(StatusCode::BAD_REQUEST),
            "accept-then-416" => outcome == Outcome::Refused(StatusCode::UNSUPPORTED_URI_SCHEME),
            "accept-then-505" => outcome == Outcome::Refused(StatusCode::VERSION_NOT_SUPPORTED),
            "reject" if row[0] == "bigcode.dat" => outcome == Outcome::NotSip,
            "reject" => outcome == Outcome::Refused(StatusCode::BAD_REQUEST),
            // We have no use for Date, so we ignore it.
            "reject-or-ignore" => outcome == Outcome::Accepted,
            other => panic!("{}: no such outcome: {other}", row[0]),
        };
        assert!(
            as_expected,
            "{}: {} expected, {outcome:?} found: {:?}",
            row[0],
            row[3],
            parse(sample).map(|m| m.check())
        );
    }
}

#[test]
fn the_ipv6_messages_of_rfc_5118_are_taken_or_refused_as_the_rfc_says() {
    let samples = shared("rfc5118");
    let Some(expected) = samples.iter().find(|sample| sample.name == "expected.tsv") else { return };

    let rows = table(text(expected));
    assert_eq!(rows.len(), 12);
    for row in rows {
        let accepted = outcome(find(&samples, row[0])) == Outcome::Accepted;
        assert_eq!(accepted, row[2].starts_with("accept"), "{}", row[0]);
    }
    let port = |name| {
        let uri = parse(find(&samples, name)).unwrap().request_uri().unwrap();
        (uri.host().unwrap().to_string(), uri.port())
    };
    assert_eq!(port("port-ambiguous.dat"), ("[2001:db8::10:5070]".into(), None));
    assert_eq!(port("port-unambiguous.dat"), ("[2001:db8::10]".into(), Some(5070)));
    for name in ["via-received-param-with-delim.dat", "via-received-param-no-delim.dat"] {
        let via = parse(find(&samples, name)).unwrap().via().unwrap();
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()), "{name}");
    }
}

/// RFC 4475 §3.1.1.1: nothing of this is wrong, and everything of it is unusual.
#[test]
fn the_torturous_invite_is_read_to_its_last_parameter() {
    let samples = shared("rfc4475");
    if samples.is_empty() {
        return;
    }
    let invite = parse(find(&samples, "wsinv.dat")).unwrap();

    assert_eq!(invite.request_uri().unwrap().param("unknownparam"), Some(""));
    assert_eq!(invite.to().unwrap().tag(), Some("1918181833n"));
    let from = invite.from().unwrap();
    assert_eq!((from.display(), from.tag()), (Some("J Rosenberg \\\""), Some("98asjd8")));
    assert_eq!(invite.max_forwards(), Ok(Some(68)));
    let cseq = invite.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let vias: Vec<_> = invite.vias().map(|via| via.unwrap().to_string()).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    assert_eq!(invite.header(HeaderName::Subject).unwrap(), "");
    assert_eq!(
        invite.header_named("newfangledheader").unwrap().text(),
        "newfangled value continued newfangled value"
    );
    assert_eq!(invite.routes().next().unwrap().unwrap().uri().param("unknownwith"), Some("value"));
    let contact = invite.contact().unwrap().unwrap();
    assert_eq!(contact.display(), Some("Quoted string \"\""));
    assert_eq!(contact.params().as_str(), ";newparam=newvalue;secondparam;q=0.33");
    assert_eq!(invite.body().len(), 150);
}

#[test]
fn escapes_are_kept_apart_from_what_they_stand_for() {
    let samples = shared("rfc4475");
    if samples.is_empty() {
        return;
    }
    let null = parse(find(&samples, "escnull.dat")).unwrap();
    let contacts: Vec<_> = null.contacts().map(|contact| contact.unwrap()).collect();
    assert_eq!(contacts.len(), 2);
    assert!(!contacts[0].uri().is_equivalent(contacts[1].uri()));

    let method = parse(find(&samples, "esc02.dat")).unwrap();
    assert_eq!(method.method(), Some(Method::Extension("RE%47IST%45R")));
    assert_eq!(method.contacts().count(), 2);

    let semicolon = parse(find(&samples, "semiuri.dat")).unwrap().request_uri().unwrap();
    assert_eq!((semicolon.user(), semicolon.params().count()), (Some("user;par=u%40example.net"), 0));

    let inside = parse(find(&samples, "cparam02.dat")).unwrap().contact().unwrap().unwrap();
    let outside = parse(find(&samples, "cparam01.dat")).unwrap().contact().unwrap().unwrap();
    assert!(inside.uri().param("unknownparam").is_some() && inside.params().get("unknownparam").is_none());
    assert!(outside.uri().param("unknownparam").is_none() && outside.params().get("unknownparam").is_some());
}

#[test]
fn of_two_requests_in_one_datagram_only_the_first_is_there() {
    let samples = shared("rfc4475");
    if samples.is_empty() {
        return;
    }
    let first = parse(find(&samples, "dblreq.dat")).unwrap();

    assert_eq!((first.method(), first.body().len()), (Some(Method::Register), 0));
    assert!(first.wire().ends_with(b"\r\n\r\n") && !first.wire().windows(6).any(|six| six == b"INVITE"));
}

#[test]
fn every_vendor_shaped_message_is_accepted_and_read_in_full() {
    for sample in shared("vendor-shaped") {
        let message = parse(&sample).unwrap();
        assert_eq!(message.check(), Ok(()), "{}", sample.name);
        message.request_uri().unwrap();
        assert!(message.vias().all(|via| via.is_ok()), "{}", sample.name);
        assert!(message.contacts().all(|contact| contact.is_ok()), "{}", sample.name);
        assert!(message.record_routes().all(|route| route.is_ok()), "{}", sample.name);
        assert!(message.reasons().all(|reason| reason.is_ok()), "{}", sample.name);
        assert!(
            message.asserted_identities().chain(message.diversions()).all(|one| one.is_ok()),
            "{}",
            sample.name
        );
        message.refer_to().unwrap();
        message.expires().unwrap();
        message.content_type().unwrap();
        assert_eq!(
            message.header(HeaderName::ContentLength).unwrap(),
            message.body().len().to_string().as_str()
        );
    }
}

/// Whatever comes, nothing panics, takes long, or is answered with more than it was.
#[test]
fn no_message_that_we_have_does_any_harm() {
    let mut samples = own("sip");
    for folder in
        ["rfc4475", "rfc5118", "sip-real", "vendor-shaped", "cve-shaped", "protos-c07", "fuzz-seeds"]
    {
        samples.extend(shared(folder));
    }
    for sample in samples {
        touch_everything(&sample);
    }
}

/// Messages as captured, and why some are refused: a test of an intrusion detector, or a cut in the capture.
#[test]
fn captured_messages_are_accepted_but_for_those_that_are_broken() {
    const BROKEN: [(&str, &str); 5] = [
        ("invalid-content-length-001-INVITE.sip", "Content-Length is malformed at byte 216"),
        ("invalid-content-length-002-SIP2.0-200.sip", "Content-Length is malformed at byte 210"),
        ("sip-body-large-001-INVITE.sip", "the body is shorter than Content-Length"),
        ("sip-header-multi-val-001-INVITE.sip", "To is repeated at byte 229"),
        ("sip-tcp-001-REGISTER.sip", "the headers do not end"),
    ];
    let samples = shared("sip-real/captures");
    let messages = samples.iter().filter(|sample| sample.name.ends_with(".sip"));

    let refused: Vec<_> = messages
        .filter_map(|sample| {
            let error = parse(sample).and_then(|message| message.check()).err()?;
            Some((sample.name.as_str(), error.to_string()))
        })
        .collect();

    if !samples.is_empty() {
        assert_eq!(refused, BROKEN.map(|(name, error)| (name, error.to_owned())));
    }
}

fn parse(sample: &Sample) -> Result<Message, ParseError> {
    Message::parse(sample.wire.clone(), Framing::Datagram)
}

fn outcome(sample: &Sample) -> Outcome {
    match parse(sample) {
        Err(_) => Outcome::NotSip,
        Ok(message) => match message.check() {
            Ok(()) => Outcome::Accepted,
            Err(error) => {
                let source = SocketAddr::from(([192, 0, 2, 77], 5060));
                let answer =
                    MessageWriter::response_to(&message, error.status(), source, Some("edge")).finish();
                let answer = Message::parse(answer, Framing::Stream).expect("an answer is a message");
                assert_eq!(answer.status(), Some(error.status()));
                Outcome::Refused(error.status())
            }
        },
    }
}

/// Asks a message for everything it could know.
fn touch_everything(sample: &Sample) {
    for framing in [Framing::Datagram, Framing::Stream] {
        let Ok(message) = Message::parse(sample.wire.clone(), framing) else { continue };
        let checked = message.check();
        let _ = (message.start_line(), message.method(), message.request_uri(), message.max_forwards());
        let _ = (message.vias().count(), message.routes().count(), message.record_routes().count());
        let _ = (message.from(), message.to(), message.call_id(), message.cseq(), message.contacts().count());
        let _ = (message.refer_to(), message.referred_by(), message.event(), message.subscription_state());
        let _ = (message.content_type(), message.retry_after(), message.expires(), message.body());
        let _ =
            (message.reasons().count(), message.warnings().count(), message.accept().map(Iterator::count));
        for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
            assert!(message.challenges(name).count() <= message.headers(name).count());
        }
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            assert!(message.authorizations(name).count() <= message.headers(name).count());
        }
        for (name, value) in message.all_headers() {
            assert!(!name.is_empty() && !value.text().contains(['\r', '\n']), "{}", sample.name);
            let _ = (
                Uri::parse(value.as_bytes()),
                NameAddr::parse(value.as_bytes()),
                Via::parse(value.as_bytes()),
            );
        }
        if checked.is_ok() {
            assert!(
                message.via().is_ok() && message.cseq().is_ok() && message.call_id().is_ok(),
                "{}",
                sample.name
            );
            assert!(message.from().is_ok() && message.to().is_ok(), "{}", sample.name);
            assert!(message.contacts().all(|contact| contact.is_ok()), "{}", sample.name);
        }
        let source = SocketAddr::from(([192, 0, 2, 77], 5060));
        let answer =
            MessageWriter::response_to(&message, StatusCode::BAD_REQUEST, source, Some("edge")).finish();
        // Request line and status line differ, compact names are written in full, and a stamp is added.
        assert!(answer.len() <= message.wire().len() + 512 + 16 * 256, "{}", sample.name);
        let answer = Message::parse(answer, Framing::Stream).expect("an answer is a message");
        if checked.is_ok() {
            assert_eq!(answer.check(), Ok(()), "{}", sample.name);
            assert_eq!(answer.cseq(), message.cseq());
        }
    }
}
