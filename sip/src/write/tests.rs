//! What is written, and what cannot be written whatever one tries.

use proptest::prelude::*;

use super::*;
use crate::header::NameAddr;
use crate::message::Framing;

const INVITE: &str = "INVITE sip:100@edge SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1 ,\r\n SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK2\r\n\
    v: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bK3\r\n\
    f: \"Jos\u{fffd}\" <sip:jose@10.0.0.1>;tag=a\r\n\
    To: sip:100@edge\r\n\
    Call-ID: one\r\n\
    Record-Route: <sip:p1;lr>\r\n\
    Record-Route: <sip:p2;lr>\r\n\
    CSeq: 7 INVITE\r\n\
    l: 0\r\n\r\n";

fn source() -> SocketAddr {
    "192.0.2.9:40000".parse().unwrap()
}

fn parse(wire: impl Into<Bytes>) -> Message {
    Message::parse(wire.into(), Framing::Datagram).unwrap()
}

fn text(wire: &Bytes) -> &str {
    std::str::from_utf8(wire).unwrap()
}

/// RFC 3261 §8.2.6, §18.2.1; RFC 3581 §4.
#[test]
fn a_response_repeats_what_ties_it_to_its_request() {
    // Bytes that are not UTF-8 go back as they came.
    let invite = INVITE.as_bytes().to_vec();
    let at = INVITE.find('\u{fffd}').unwrap();
    let invite = parse([&invite[..at], b"\xe9", &invite[at + 3..]].concat());

    let ringing = MessageWriter::response_to(&invite, StatusCode::RINGING, source(), Some("edge"))
        .copy_header(&invite, HeaderName::RecordRoute)
        .finish();

    let expected = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP 10.0.0.1;rport=40000;branch=z9hG4bK1;received=192.0.2.9,   SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK2\r\n\
        Via: SIP/2.0/UDP 10.0.0.3;branch=z9hG4bK3\r\n\
        From: \"Jos?\" <sip:jose@10.0.0.1>;tag=a\r\n\
        To: sip:100@edge;tag=edge\r\n\
        Call-ID: one\r\n\
        CSeq: 7 INVITE\r\n\
        Record-Route: <sip:p1;lr>\r\n\
        Record-Route: <sip:p2;lr>\r\n\
        Content-Length: 0\r\n\r\n";
    let shown: Vec<u8> = ringing.iter().map(|&byte| if byte == 0xe9 { b'?' } else { byte }).collect();
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
}

#[test]
fn a_tag_is_added_only_where_none_is() {
    let in_dialog = parse(INVITE.replace("To: sip:100@edge", "To: <sip:100@edge>;Tag=theirs"));
    let broken = parse(INVITE.replace("To: sip:100@edge", "To: \"<sip:100@edge>"));

    for (request, to) in
        [(in_dialog, "To: <sip:100@edge>;Tag=theirs\r\n"), (broken, "To: \"<sip:100@edge>\r\n")]
    {
        let answer =
            MessageWriter::response_to(&request, StatusCode::BAD_REQUEST, source(), Some("edge")).finish();
        assert!(text(&answer).contains(to), "{answer:?}");
    }
    let trying = MessageWriter::response_to(&parse(INVITE), StatusCode::TRYING, source(), None).finish();
    assert!(text(&trying).contains("To: sip:100@edge\r\n"));
}

/// RFC 4475 §3.3.8: whoever sent two of them gets a response that is well-formed all the same.
#[test]
fn of_a_header_that_may_stand_once_the_first_goes_back() {
    let twice = parse(
        INVITE.replace("Call-ID: one", "Call-ID: one\r\nCall-ID: two\r\nTo: sip:100@edge\r\nCSeq: 8 INVITE"),
    );

    let answer = MessageWriter::response_to(&twice, StatusCode::BAD_REQUEST, source(), Some("edge")).finish();

    let answer = parse(answer);
    assert_eq!(answer.check(), Ok(()));
    assert_eq!((answer.call_id(), answer.to().unwrap().tag()), (Ok("one"), Some("edge")));
}

#[test]
fn a_request_that_lacks_everything_is_still_answered() {
    let poor = parse("INVITE sip:a SIP/2.0\r\nVia: nonsense\nX: y\r\n\r\n");

    let answer = MessageWriter::response_to(&poor, StatusCode::BAD_REQUEST, source(), Some("t")).finish();

    assert_eq!(text(&answer), "SIP/2.0 400 Bad Request\r\nVia: nonsense X: y\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn content_length_is_ours_alone_and_last() {
    let mut writer = MessageWriter::response(StatusCode::OK);
    writer.body("text/plain", "first").body("application/sdp", "v=0\r\n");
    writer.header(HeaderName::ContentLength, 99).header(HeaderName::Server, "edge");
    writer.copy_header(&parse(INVITE), HeaderName::ContentLength);
    assert_eq!(writer.extension_header("L", 99).err(), Some(InvalidName));

    assert_eq!(
        text(&writer.finish()),
        "SIP/2.0 200 OK\r\nServer: edge\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    );
}

#[test]
fn a_request_uri_loses_its_headers() {
    let uri = Uri::parse("sip:a@b;method=INVITE;lr?Route=%3Csip:x%3E").unwrap();

    let wire = MessageWriter::request(Method::Invite, &uri).finish();

    assert!(wire.starts_with(b"INVITE sip:a@b;lr SIP/2.0\r\n"));
}

#[test]
fn names_that_are_no_tokens_and_headers_that_are_ours_are_refused() {
    let mut writer = MessageWriter::response(StatusCode::OK);
    for name in [
        "",
        "X Y",
        "X:",
        "X\r\nVia",
        "Vía",
        "Via",
        "v",
        "FROM",
        "t",
        "i",
        "CSeq",
        "m",
        "Route",
        "record-route",
        "c",
    ] {
        assert_eq!(writer.extension_header(name, "x").err(), Some(InvalidName), "{name:?}");
    }
    writer.extension_header("X-Tenant", "tnt_1").unwrap().extension_header("User-to-User", "00").unwrap();

    assert_eq!(
        text(&writer.finish()),
        "SIP/2.0 200 OK\r\nX-Tenant: tnt_1\r\nUser-to-User: 00\r\nContent-Length: 0\r\n\r\n"
    );
}

proptest! {
    /// Whatever a value contains, the message has the lines we meant and no other.
    #[test]
    fn no_value_can_become_a_header(value in any::<String>(), evil in "(\r\n|\n|\r|\0|\r\n |,|;|\"|<|>|\\\\){1,3}[ -~]{0,10}") {
        let value = format!("{value}{evil}{value}");
        let uri = Uri::sip(Some(&value), crate::Host::Domain("h"), None).unwrap().with_param(&value, Some(&value));
        let from = NameAddr::new(uri.clone()).with_display(&value).with_tag(&value).with_param(&value, Some(&value));
        let via = Via::new(crate::ViaTransport::Udp, crate::Host::Domain("h"), None, &value).with_param("x", Some(&value));

        let request = MessageWriter::request(Method::Invite, &uri)
            .header(HeaderName::Via, &via)
            .header(HeaderName::From, &from)
            .header(HeaderName::To, &from)
            .header(HeaderName::Subject, &value)
            .header(HeaderName::Reason, crate::Reason::new("SIP", 200, &value))
            .body(&value, value.clone())
            .finish();
        let request = parse(request);
        let response = MessageWriter::response_to(&request, StatusCode::OK, source(), Some(&value))
            .copy_header(&request, HeaderName::Subject)
            .finish();
        let phrase = parse(MessageWriter::response_with_reason(StatusCode::OK, &value).finish());

        let names = |message: &Message| message.all_headers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        prop_assert_eq!(names(&request), ["Via", "From", "To", "Subject", "Reason", "Content-Type", "Content-Length"]);
        prop_assert_eq!(names(&parse(response)), ["Via", "From", "To", "Subject", "Content-Length"]);
        prop_assert_eq!(names(&phrase), ["Content-Length"]);
        prop_assert_eq!(request.body(), value.as_bytes());
        prop_assert_eq!(request.request_uri(), Ok(uri));
        prop_assert_eq!(request.from(), Ok(from));
        prop_assert_eq!(request.via(), Ok(via));
    }
}
