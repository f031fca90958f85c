//! The value of one header line, as bytes and as text.

use std::borrow::Cow;
use std::fmt;

use crate::lex;

/// What stands right of the colon of one header line, without the white space at its ends.
///
/// The bytes are those of the wire, folds included. The text is for reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeaderValue<'a>(&'a [u8]);

impl<'a> HeaderValue<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value exactly as received. A folded value contains CR LF and white space (RFC 3261 §7.3.1).
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value on one line: folds, line breaks and other control characters become spaces, bytes that are not UTF-8
    /// become U+FFFD. Borrowed in the usual case.
    pub fn text(self) -> Cow<'a, str> {
        let Some(first) = self.0.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
            return lex::readable(self.0);
        };
        let mut line = self.0[..first].to_vec();
        let mut rest = &self.0[first..];
        while !rest.is_empty() {
            // A fold with the white space around it is one space (LWS of RFC 3261 §25.1).
            line.truncate(line.trim_ascii_end().len());
            line.push(b' ');
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n').unwrap_or(rest.len());
            line.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        Cow::Owned(lex::readable(&line).into_owned())
    }
}

impl fmt::Display for HeaderValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for HeaderValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), f)
    }
}

impl PartialEq<str> for HeaderValue<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for HeaderValue<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_reads_as_one_space_and_the_bytes_stay() {
        let value = HeaderValue::new(b"I know you're there, \r\n    pick up\r\n\tthe phone");

        assert_eq!(value.text(), "I know you're there, pick up the phone");
        assert!(value.as_bytes().contains(&b'\r'));
    }

    #[test]
    fn text_never_contains_a_line_break_or_a_control_character() {
        let value = HeaderValue::new(b"a\nb\rc\0d\xffe\x1b[0m");

        assert_eq!(value.text(), "a b c d\u{fffd}e [0m");
    }
}
