//! Messages read back: lines, lists, framing, and what is checked.

use proptest::prelude::*;

use super::*;
use crate::write::MessageWriter;
use crate::{SubscriptionStatus, Uri};

const INVITE: &str = "INVITE sip:100@edge.example.net SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK2\r\n\
    v: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3\r\n\
    Max-Forwards: 70\r\n\
    From: Alice <sip:alice@192.0.2.1>;tag=a\r\n\
    t: <sip:100@edge.example.net>\r\n\
    i: one@192.0.2.1\r\n\
    CSeq: 7 INVITE\r\n\
    m: <sip:alice@192.0.2.1>;q=1, \"A, B\" <sip:alice@192.0.2.2>\r\n\
    Supported: timer,, 100REL ,\r\n\
    k: replaces\r\n\
    Allow: INVITE, BYE\r\n\
    X-Tenant: \u{20ac} one\r\n\
    x-tenant: two\r\n\
    User-to-User: 00FA;encoding=hex\r\n\
    c: application/sdp\r\n\
    l: 4\r\n\r\nv=0\n";

fn datagram(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), Framing::Datagram).unwrap()
}

fn with(lines: &str) -> Message {
    let text = INVITE.replace("X-Tenant: ", &format!("{lines}\r\nX-Tenant: "));
    datagram(&text)
}

#[test]
fn known_headers_are_found_in_any_form_and_extensions_in_any_case() {
    let invite = datagram(INVITE);

    assert_eq!(invite.check(), Ok(()));
    assert_eq!(invite.header(HeaderName::CallId).unwrap(), "one@192.0.2.1");
    assert_eq!(invite.header_named("call-id").unwrap(), "one@192.0.2.1");
    assert_eq!(invite.header_named("I").unwrap(), "one@192.0.2.1");
    let tenants: Vec<_> = invite.headers_named("X-TENANT").map(|value| value.text()).collect();
    assert_eq!(tenants, ["€ one", "two"]);
    assert_eq!(invite.header_named("X-Ten"), None);
    assert_eq!(invite.header_named(""), None);
    let names: Vec<_> = invite.all_headers().map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["Via", "v", "Max-Forwards"]);
    assert_eq!((names.len(), names[names.len() - 1]), (16, "l"));
}

#[test]
fn lists_join_their_lines_and_split_only_at_their_own_commas() {
    let invite = datagram(INVITE);

    let branches: Vec<_> = invite.vias().map(|via| via.unwrap().branch().unwrap().to_owned()).collect();
    assert_eq!(branches, ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]);
    let displays: Vec<_> =
        invite.contacts().map(|contact| contact.unwrap().display().map(str::to_owned)).collect();
    assert_eq!(displays, [None, Some("A, B".to_owned())]);
    let supported: Vec<_> = invite.tokens(HeaderName::Supported).collect();
    assert_eq!(supported, ["timer", "100REL", "replaces"]);
    assert!(invite.has_token(HeaderName::Supported, "100rel"));
    assert!(invite.has_token(HeaderName::Allow, "BYE"));
    assert!(!invite.has_token(HeaderName::Allow, "bye"));
}

#[test]
fn a_fault_in_a_list_ends_its_line_only() {
    let invite = with("Record-Route: <sip:a>, <sip:>, <sip:b>\r\nRecord-Route: <sip:c>");

    let routes: Vec<_> =
        invite.record_routes().map(|route| route.map(|route| route.uri().to_string())).collect();

    assert_eq!(routes.len(), 3);
    assert_eq!((&routes[0], &routes[2]), (&Ok("sip:a".into()), &Ok("sip:c".into())));
    assert!(matches!(routes[1], Err(ParseError::Header { name: HeaderName::RecordRoute, .. })));
    assert_eq!(invite.check(), routes[1].clone().map(|_| ()));
}

#[test]
fn the_place_of_a_fault_is_where_the_wire_has_it() {
    let invite = datagram(&INVITE.replace("CSeq: 7 INVITE", "CSeq: 7 IN(VITE"));

    let at = INVITE.find("7 INVITE").unwrap() + "7 IN".len();
    assert_eq!(invite.cseq().unwrap_err(), ParseError::Header { name: HeaderName::CSeq, at });
}

#[test]
fn a_request_has_no_status_and_a_response_no_method() {
    let invite = datagram(INVITE);
    assert_eq!(
        (invite.method(), invite.status(), invite.reason_phrase()),
        (Some(Method::Invite), None, None)
    );
    assert_eq!(invite.request_uri().unwrap().as_str(), "sip:100@edge.example.net");

    let busy = datagram("SIP/2.0 486 Besetzt\r\nl: 0\r\n\r\n");
    assert_eq!((busy.method(), busy.status()), (None, Some(StatusCode::BUSY_HERE)));
    assert_eq!(
        busy.start_line(),
        StartLine::Response { status: StatusCode::BUSY_HERE, reason: "Besetzt".into() }
    );
    assert!(busy.request_uri().is_err());
}

#[test]
fn a_body_ends_where_content_length_or_the_datagram_says() {
    let body = |text: &str, framing| {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()), framing).unwrap();
        (message.body().to_vec(), message.index.fault)
    };
    let head = "BYE sip:a SIP/2.0\r\n";

    let longer = format!("{head}l: 2\r\n\r\nbody");
    assert_eq!(body(&longer, Framing::Datagram), (b"bo".to_vec(), None));
    let none = format!("{head}\r\nbody");
    assert_eq!(body(&none, Framing::Datagram), (b"body".to_vec(), None));
    assert_eq!(body(&none, Framing::Stream), (vec![], Some(ParseError::Missing(HeaderName::ContentLength))));
    let shorter = format!("{head}l: 5\r\n\r\nbody");
    assert_eq!(body(&shorter, Framing::Datagram), (b"body".to_vec(), Some(ParseError::BodyTooShort)));
    let twice = format!("{head}l: 4\r\nContent-Length: 04\r\n\r\nbody");
    assert_eq!(body(&twice, Framing::Stream), (b"body".to_vec(), None));
    let conflict = format!("{head}l: 4\r\nl: 3\r\n\r\nbody");
    assert_eq!(
        body(&conflict, Framing::Datagram),
        (vec![], Some(ParseError::ContentLengthConflict { at: 25 }))
    );
}

#[test]
fn messages_share_their_bytes_instead_of_copying_them() {
    let wire = Bytes::copy_from_slice(INVITE.as_bytes());
    let message = Message::parse(wire.clone(), Framing::Datagram).unwrap();

    assert_eq!(message.clone().wire().as_ptr(), wire.as_ptr());
    assert_eq!(message.body().as_ptr(), wire[wire.len() - 4..].as_ptr());
}

#[test]
fn headers_of_events_and_of_transfer_are_read() {
    let notify = with(
        "Event: refer;id=93809824\r\nSubscription-State: terminated;reason=noresource\r\n\
         Refer-To: <sip:bob@192.0.2.9?Replaces=x%3Bto-tag%3D1>\r\nReferred-By: <sip:alice@192.0.2.1>\r\n\
         Reason: Q.850;cause=16, SIP;cause=200;text=\"elsewhere\"\r\nRetry-After: 5 (busy)\r\nExpires: 60\r\n\
         Warning: 399 edge \"no route\"\r\nP-Asserted-Identity: <sip:+1@h>, <tel:+1>\r\nDiversion: <sip:x@h>;reason=unknown",
    );

    assert_eq!(notify.event().unwrap().unwrap().id(), Some("93809824"));
    assert_eq!(notify.subscription_state().unwrap().unwrap().status, SubscriptionStatus::Terminated);
    let refer_to = notify.refer_to().unwrap().unwrap();
    assert_eq!(refer_to.uri().headers().next(), Some(("Replaces".into(), "x;to-tag=1".into())));
    assert_eq!(notify.referred_by().unwrap().unwrap().uri().user(), Some("alice"));
    let causes: Vec<_> = notify.reasons().map(|reason| reason.unwrap().cause()).collect();
    assert_eq!(causes, [Some(16), Some(200)]);
    assert_eq!(notify.retry_after().unwrap().unwrap().seconds, 5);
    assert_eq!(notify.expires(), Ok(Some(60)));
    assert_eq!(notify.warnings().next().unwrap().unwrap().text, "no route");
    assert_eq!(notify.asserted_identities().count(), 2);
    assert_eq!(notify.diversions().next().unwrap().unwrap().params().token("reason"), Some("unknown"));
    assert!(notify.content_type().unwrap().unwrap().is("application/SDP"));
    assert!(notify.accept().is_none());
    assert_eq!(with("Accept:").accept().unwrap().count(), 0);
    assert!(
        with("Accept: text/plain, application/*")
            .accept()
            .unwrap()
            .any(|range| range.unwrap().covers("application/sdp"))
    );
}

/// RFC 3261 §8.2.2: a server should ignore a malformed header that it does not need.
#[test]
fn a_malformed_header_that_we_can_do_without_refuses_nothing() {
    let invite = with(
        "Date: yesterday\r\nExpires: soon\r\nRetry-After: -1\r\nReason: ;;\r\nSession-Expires: x\r\nWarning: 1",
    );

    assert_eq!(invite.check(), Ok(()));
    assert!(invite.expires().is_err() && invite.retry_after().is_err());
    assert!(invite.reasons().all(|reason| reason.is_err()));
}

#[test]
fn the_same_header_twice_is_refused_only_where_it_says_two_things() {
    assert_eq!(with("Max-Forwards: 70").check(), Ok(()));
    let other = with("Max-Forwards: 69");
    assert!(matches!(other.check(), Err(ParseError::Repeated { name: HeaderName::MaxForwards, .. })));
    assert_eq!(other.check().unwrap_err().status(), StatusCode::BAD_REQUEST);
}

#[test]
fn debug_output_shows_neither_header_values_nor_the_body() {
    let shown = format!("{:?}", datagram(INVITE));

    assert!(shown.contains("Invite") && !shown.contains("Alice") && !shown.contains("v=0"), "{shown}");
}

proptest! {
    #[test]
    fn a_message_reads_back_as_it_was_written(
        headers in proptest::collection::vec(("[A-Za-z][A-Za-z0-9.!%*_+`'~-]{0,20}", "\\PC{0,40}"), 0..40),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let headers: Vec<_> =
            headers.into_iter().filter(|(name, _)| HeaderName::from_text(name) == HeaderName::Extension).collect();
        let mut writer = MessageWriter::request(Method::Info, &Uri::parse("sip:a@b").unwrap());
        for (name, value) in &headers {
            writer.extension_header(name, value).unwrap();
        }
        writer.body("application/octet-stream", body.clone());

        let message = Message::parse(writer.finish(), Framing::Stream).unwrap();

        let read: Vec<_> = message.all_headers().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
        let written = headers.iter().map(|(name, value)| (name.clone(), lex::trim(value.as_bytes()).to_vec()));
        let length = body.len().to_string().into_bytes();
        let written: Vec<_> = written
            .chain([("Content-Type".into(), b"application/octet-stream".to_vec()), ("Content-Length".into(), length)])
            .collect();
        prop_assert_eq!(read, written);
        prop_assert_eq!(message.body(), body);
        prop_assert_eq!(message.index.fault, None);
    }

    #[test]
    fn a_broken_message_never_panics_and_is_never_read_beyond_its_end(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        end in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (place, byte) in cuts {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        let Ok(message) = Message::parse(bytes.into(), Framing::Datagram) else { return Ok(()) };

        if message.check().is_ok() {
            prop_assert!(message.via().is_ok() && message.from().is_ok() && message.to().is_ok());
            prop_assert!(message.cseq().is_ok() && message.call_id().is_ok() && message.request_uri().is_ok());
            prop_assert!(message.vias().chain([]).all(|via| via.is_ok()));
            prop_assert!(message.contacts().all(|contact| contact.is_ok()));
        }
    }
}
