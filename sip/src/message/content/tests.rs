use super::*;
use crate::Framing;

fn description(headers: &str, body: &str) -> Result<Option<String>, ContentFault> {
    let head = format!("INVITE sip:a@b SIP/2.0\n{headers}\n").replace('\n', "\r\n");
    let body = body.replace('\n', "\r\n");
    let message = Message::parse(format!("{head}{body}").into(), Framing::Datagram).unwrap();
    message.session_description().map(|found| found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

fn mixed(body: &str) -> Result<Option<String>, ContentFault> {
    description("Content-Type: multipart/mixed;boundary=\"x y\"\n", body)
}

fn nested(depth: usize) -> String {
    let mut body = "v=0".to_owned();
    for level in (0..depth).rev() {
        let inner = if level + 1 == depth {
            "application/sdp".to_owned()
        } else {
            format!("multipart/mixed;boundary=b{:03}", level + 1)
        };
        body = format!("--b{level:03}\nContent-Type: {inner}\n\n{body}\n--b{level:03}--");
    }
    body
}

#[test]
fn a_body_is_a_session_description_if_it_says_so_or_says_nothing() {
    assert_eq!(description("c: Application/SDP;charset=utf-8\n", "v=0"), Ok(Some("v=0".into())));
    assert_eq!(description("", "v=0"), Ok(Some("v=0".into())));
    assert_eq!(description("c: application/sdp\n", ""), Ok(None));
    assert_eq!(description("c: text/plain\n", ""), Ok(None));
    assert_eq!(
        description("c: application/sdp\nContent-Encoding: identity\n", "v=0"),
        Ok(Some("v=0".into()))
    );
}

#[test]
fn what_is_not_understood_is_refused_unless_it_is_optional() {
    assert_eq!(description("c: text/plain\n", "hello"), Err(ContentFault::Type));
    assert_eq!(
        description("c: text/plain\nContent-Disposition: render;handling=optional\n", "hello"),
        Ok(None)
    );
    assert_eq!(description("c: application/sdp\ne: gzip\n", "v=0"), Err(ContentFault::Encoding));
    assert_eq!(description("c: application\n", "v=0"), Err(ContentFault::Malformed));
}

#[test]
fn the_first_session_description_among_the_parts_counts() {
    let body = "preamble\n--x y\nContent-Type: application/isup\n\n\u{1}\n--x y \nc:\n application/sdp\n\nv=0\n\n--x y--\nend";
    assert_eq!(mixed(body), Ok(Some("v=0\r\n".into())));
    assert_eq!(
        mixed("--x y\n\nplain text\n--x y\n--x y\nc: application/sdp\n\nv=0\n--x y--"),
        Ok(Some("v=0".into()))
    );
    let required = "--x y\nc: application/isup\nContent-Disposition: signal; handling = required\n\n\u{1}\n";
    assert_eq!(
        mixed(&format!("{required}--x y\nc: application/sdp\n\nv=0\n--x y--")),
        Err(ContentFault::Type)
    );
    assert_eq!(mixed("--x y\nc: text/plain\n\nhello\n--x y--"), Err(ContentFault::Type));
}

/// AST-2017-003 read beyond such a body.
#[test]
fn a_multipart_without_boundary_or_end_is_malformed() {
    for bad in [
        "",
        "x",
        "--x y",
        "--x y\nc: application/sdp\n\nv=0\n",
        "--x y\nc: application/sdp\n\nv=0\n--x",
        "--x yz--",
    ] {
        let expected = if bad.is_empty() { Ok(None) } else { Err(ContentFault::Malformed) };
        assert_eq!(mixed(bad), expected, "{bad:?}");
    }
    for boundary in ["", ";boundary=\"\"", &format!(";boundary={}", "x".repeat(71))] {
        let headers = format!("c: multipart/mixed{boundary}\n");
        assert_eq!(description(&headers, "--\n\n--\n----"), Err(ContentFault::Malformed), "{boundary}");
    }
}

#[test]
fn eight_levels_of_multipart_are_read_and_nine_are_not() {
    let headers = "c: multipart/mixed;boundary=b000\n";
    assert_eq!(description(headers, &nested(8)), Ok(Some("v=0".into())));
    assert_eq!(description(headers, &nested(9)), Err(ContentFault::TooDeep));
    assert_eq!(description(headers, &nested(500)), Err(ContentFault::TooDeep));
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in "(--x y|--x y--|\n|c: (application/sdp|multipart/mixed;boundary=x)| |v=0|[ -~]){0,40}") {
        let _ = mixed(&body);
    }
}

/// RFC 7866 §9.1: beside the offer, or alone in an UPDATE.
#[test]
fn the_metadata_of_a_recording_is_found_beside_the_offer_and_is_no_offer() {
    let told = |headers: &str, body: &str| {
        let text = format!("INVITE sip:a@b SIP/2.0\n{headers}\n{body}").replace('\n', "\r\n");
        let message = Message::parse(text.into(), Framing::Datagram).unwrap();
        let text = |found: Bytes| String::from_utf8(found.to_vec()).unwrap();
        (message.session_description().map(|found| found.map(text)), message.recording_metadata().map(text))
    };
    let mixed = "Content-Type: multipart/mixed;boundary=b\n";
    let sdp = "--b\nContent-Type: application/sdp\n\nv=0\n";
    let xml = "--b\nContent-Type: application/rs-metadata+xml\n\
               Content-Disposition: recording-session;handling=required\n\n<recording/>\n";

    let both = (Ok(Some("v=0".to_owned())), Some("<recording/>".to_owned()));
    assert_eq!(told(mixed, &format!("{sdp}{xml}--b--")), both);
    assert_eq!(told(mixed, &format!("{xml}{sdp}--b--")), both);
    assert_eq!(told("c: application/rs-metadata\n", "<r/>"), (Ok(None), Some("<r/>".to_owned())));
    assert_eq!(told(mixed, &format!("{sdp}--b--")), (Ok(Some("v=0".to_owned())), None));
    assert_eq!(told("c: text/plain\n", "<r/>"), (Err(ContentFault::Type), None));
}
