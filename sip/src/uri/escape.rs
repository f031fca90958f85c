//! `%HH` in URIs: what needs it, writing it, reading it (RFC 3261 §19.1.2).

use std::borrow::Cow;
use std::fmt::Write as _;

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

pub(super) fn is_plain_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

pub(super) fn is_plain_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

pub(super) fn push_escaped(out: &mut String, text: &str, plain: fn(u8) -> bool) {
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let plain: Vec<u8> = units(text).map(|unit| unit.byte).collect();
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// One character as a comparison sees it.
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) escaped: bool,
}

pub(super) fn units(text: &str) -> impl Iterator<Item = Unit> {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        let mut ahead = bytes.clone();
        if byte == b'%'
            && let (Some(high), Some(low)) = (ahead.next().and_then(hex), ahead.next().and_then(hex))
        {
            bytes = ahead;
            return Some(Unit { byte: high << 4 | low, escaped: true });
        }
        Some(Unit { byte, escaped: false })
    })
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
