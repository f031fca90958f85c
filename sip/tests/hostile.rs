//! Messages of the largest size, each made to cost as much as it can. RFC 3261 has no limits, so ours must hold.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::{Framing, HeaderName, MAX_MESSAGE, Message, MessageWriter, Side, StatusCode, StreamFramer};

/// What one message may take here, without optimisation and on a busy machine. With it, the bench `hostile` shows less
/// than a twentieth. Anything quadratic takes seconds.
const LIMIT: Duration = Duration::from_millis(150);

#[test]
fn the_time_a_message_takes_grows_with_its_length_only() {
    for (name, message) in hostile_messages() {
        assert!(
            message.len() <= MAX_MESSAGE && message.len() > MAX_MESSAGE - 9000,
            "{name}: {}",
            message.len()
        );
        let start = now();
        read_everything(message);
        let took = start.elapsed();
        assert!(took < LIMIT, "{name} took {took:?}");
    }
}

#[test]
fn a_stream_that_comes_byte_by_byte_costs_no_more_than_its_length() {
    let start = now();
    let mut framer = StreamFramer::new(Side::Accepted);
    for byte in std::iter::repeat_n(b'\r', MAX_MESSAGE + 2) {
        framer.push(&[byte]);
        let _ = framer.next();
    }

    assert!(start.elapsed() < LIMIT);
}

fn read_everything(wire: Bytes) {
    let Ok(message) = Message::parse(wire, Framing::Datagram) else { return };
    let _ = message.check();
    let _ = (message.vias().count(), message.contacts().count(), message.routes().count());
    let _ = (message.from(), message.to(), message.cseq(), message.request_uri(), message.content_type());
    let _ = (message.reasons().count(), message.warnings().count(), message.retry_after());
    let _ = message.tokens(HeaderName::Supported).count();
    let _ = message.authorizations(HeaderName::Authorization).count();
    if let Ok(uri) = message.request_uri() {
        assert!(uri.is_equivalent(&uri.clone()));
    }
    let source = SocketAddr::from(([192, 0, 2, 1], 5060));
    let _ = MessageWriter::response_to(&message, StatusCode::BAD_REQUEST, source, Some("tag")).finish();
    let _: usize = message.all_headers().map(|(_, value)| value.text().len()).sum();
}

fn hostile_messages() -> Vec<(&'static str, Bytes)> {
    let line = |name: &str, piece: &str| format!("{name}: {}\r\n", piece.repeat(8000 / piece.len()));
    let mut messages = Vec::new();
    for (name, lines) in [
        ("one endless header", format!("Subject: {}\r\n", "a".repeat(65_000))),
        ("folds", format!("Subject: {}\r\n", "a\r\n ".repeat(16_250))),
        ("lone line feeds", format!("Subject: {}\r\n", "\n".repeat(65_000))),
        ("lone carriage returns", format!("Subject: {}\r\n", "\r".repeat(65_000))),
        ("colons", format!("{}\r\n", ":".repeat(65_000))),
        ("empty lines of white space", "X:\r\n \r\n".repeat(8_100)),
        ("escaped quotes", line("From", "\\\"").repeat(8)),
        ("open quotes", line("Contact", "\"").repeat(8)),
        ("commas", line("Via", ",").repeat(8)),
        ("hops", line("Via", "SIP/2.0/UDP a,").repeat(8)),
        ("addresses", line("Contact", "<sip:a>,").repeat(8)),
        ("brackets", line("Route", "<").repeat(8)),
        ("parameters", line("Via", "SIP/2.0/UDP a;a=b;c").repeat(8)),
        ("parameters of one hop", format!("Via: SIP/2.0/UDP a{}\r\n", ";a".repeat(3990)).repeat(8)),
        ("tokens", line("Supported", "a,").repeat(8)),
        ("comments", line("Retry-After", "(").repeat(8)),
        ("digest parameters", line("Authorization", "Digest a=b,").repeat(8)),
        ("lengths", "l: 1\r\n".repeat(10_000)),
    ] {
        let head =
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:a>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n";
        messages.push((name, format!("{head}{lines}\r\n")));
    }
    let mut uri = String::from("OPTIONS sip:a@b");
    for index in 0..62 {
        let _ = write!(uri, ";p{index}={}", "%41".repeat(38));
    }
    messages.push(("a request uri of parameters", format!("{uri} SIP/2.0\r\n\r\n{}", "x".repeat(57_000))));
    messages
        .push(("a body of line ends", format!("OPTIONS sip:a@b SIP/2.0\r\n\r\n{}", "\r\n".repeat(32_700))));
    messages.push(("nothing but line ends", "\r\n".repeat(32_700)));
    messages.into_iter().map(|(name, text)| (name, text.into())).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is measured here is time")]
fn now() -> Instant {
    Instant::now()
}
