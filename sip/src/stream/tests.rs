//! Streams cut at every place, and faults that end them.

use proptest::prelude::*;

use super::*;
use crate::message::{Framing, Message, Method};

const BYE: &[u8] = b"BYE sip:a SIP/2.0\r\nVia: x\r\nl: 0\r\n\r\n";
const INFO: &[u8] = b"INFO sip:a SIP/2.0\r\nContent-Length : 6\r\n\r\n\r\n\r\nab";

fn all(framer: &mut StreamFramer) -> Vec<Result<Framed, FramingError>> {
    std::iter::from_fn(|| framer.next()).collect()
}

fn message(bytes: &'static [u8]) -> Result<Framed, FramingError> {
    Ok(Framed::Message(Bytes::from_static(bytes)))
}

fn fault(stream: &str) -> FramingError {
    let mut framer = StreamFramer::new(Side::Accepted);
    framer.push(stream.as_bytes());
    let error = framer.next().unwrap().unwrap_err();

    framer.push(BYE);
    assert_eq!(framer.next(), None, "a broken stream goes on");
    error
}

#[test]
fn messages_are_the_same_however_the_stream_is_cut() {
    let stream = [BYE, INFO, b"\r\n\r\n", BYE].concat();
    for size in 1..=stream.len() {
        let mut framer = StreamFramer::new(Side::Accepted);
        let mut found = Vec::new();
        for chunk in stream.chunks(size) {
            framer.push(chunk);
            found.extend(all(&mut framer));
        }
        assert_eq!(found, [message(BYE), message(INFO), Ok(Framed::Ping), message(BYE)], "{size}");
        assert!(!framer.is_within_message());
    }
}

/// RFC 5626 §3.5.1: CRLF CRLF is a ping, CRLF its answer.
#[test]
fn one_crlf_is_half_a_ping_from_who_dialled_and_a_pong_from_who_was_dialled() {
    let mut accepted = StreamFramer::new(Side::Accepted);
    accepted.push(b"\r\n");
    assert_eq!(accepted.next(), None);
    assert!(!accepted.is_within_message());
    accepted.push(b"\r\n");
    assert_eq!(all(&mut accepted), [Ok(Framed::Ping)]);

    let mut dialled = StreamFramer::new(Side::Dialled);
    dialled.push(b"\r\n");
    assert_eq!(all(&mut dialled), [Ok(Framed::Pong)]);
    dialled.push(b"\r\n\r\n\r\n");
    assert_eq!(all(&mut dialled), [Ok(Framed::Ping), Ok(Framed::Pong)]);
}

#[test]
fn an_empty_line_before_a_message_does_not_hide_it() {
    let mut framer = StreamFramer::new(Side::Accepted);
    framer.push(&[b"\r\n", BYE].concat());

    assert_eq!(all(&mut framer), [Ok(Framed::Pong), message(BYE)]);
}

#[test]
fn a_message_that_has_begun_can_be_given_a_deadline() {
    let mut framer = StreamFramer::new(Side::Accepted);
    framer.push(b"B");
    assert!(framer.is_within_message());
    framer.push(&INFO[..INFO.len() - 1]);
    assert_eq!(framer.next(), None);
    assert!(framer.is_within_message());
}

#[test]
fn a_length_that_cannot_be_trusted_ends_the_stream() {
    let head = "BYE sip:a SIP/2.0\r\n";
    for (lines, expected) in [
        ("Via: x\r\n\r\n", ParseError::Missing(HeaderName::ContentLength)),
        ("l: -1\r\n\r\n", ParseError::Header { name: HeaderName::ContentLength, at: 22 }),
        ("l: 1\r\nl: 2\r\n\r\n", ParseError::ContentLengthConflict { at: 25 }),
        ("l: 65536\r\n\r\n", ParseError::TooLarge),
        ("l: 99999999999999999999\r\n\r\n", ParseError::TooLarge),
        ("X: a\nl: 0\r\nl: 0\r\n\r\n", ParseError::LoneLineBreak { at: 23 }),
    ] {
        let error = fault(&format!("{head}{lines}"));
        assert_eq!(error.error, expected, "{lines:?}");
        let refused = Message::parse(error.head, Framing::Stream).unwrap();
        assert_eq!(refused.method(), Some(Method::Bye));
    }
    assert_eq!(fault("GET / HTTP/1.1\r\n\r\n").error, ParseError::NotSip { at: 4 });
}

#[test]
fn headers_without_end_are_cut_off_at_the_limit() {
    let mut framer = StreamFramer::new(Side::Accepted);
    let line = [b'a'; 1000];
    for _ in 0..65 {
        framer.push(&line);
        assert_eq!(framer.next(), None);
    }
    framer.push(&line);
    let Some(Err(FramingError { error: ParseError::TooLarge, head })) = framer.next() else { panic!() };
    assert_eq!(head.len(), MAX_MESSAGE);
    assert_eq!(framer.buffer.capacity(), 0);
}

#[test]
fn a_fault_that_does_not_concern_the_length_is_left_to_the_check() {
    let mut framer = StreamFramer::new(Side::Accepted);
    let strange = b"BYE sip:a SIP/7.0\r\nNo header\r\nl: 0\r\n\r\n";
    framer.push(strange);

    assert_eq!(all(&mut framer), [message(strange)]);
}

proptest! {
    #[test]
    fn no_stream_panics_or_repeats_itself(bytes in "(\r\n|BYE sip:a SIP/2.0\r\n|l: [0-9]\r\n|[ -~]){0,40}", cut in 1..20_usize) {
        for side in [Side::Accepted, Side::Dialled] {
            let mut framer = StreamFramer::new(side);
            let mut taken = 0;
            for chunk in bytes.as_bytes().chunks(cut) {
                framer.push(chunk);
                for framed in all(&mut framer) {
                    taken += match framed {
                        Ok(Framed::Message(message)) => message.len(),
                        Ok(Framed::Ping) => 4,
                        Ok(Framed::Pong) => 2,
                        Err(_) => 0,
                    };
                }
            }
            prop_assert!(taken <= bytes.len());
        }
    }
}
