//! The few lexical rules that every SIP header shares (RFC 3261 §25.1): token, quoted-string, number, LWS, parameters.
//!
//! Everything works on the bytes of one header value. CR and LF count as white space here: the message index lets them
//! through only as folds, and a text from elsewhere thereby cannot smuggle a line break into a value.

use std::borrow::Cow;

use memchr::memchr2;

/// A text does not follow its grammar; `at` is the byte where reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed at byte {at}")]
pub struct Malformed {
    /// Offset from the beginning of the text that was read.
    pub at: usize,
}

const TOKEN: u8 = 1;
const LWS: u8 = 2;
const HOST: u8 = 4;
const PARAM_VALUE: u8 = 8;
const HEX: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "index < 256")]
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            class |= TOKEN;
        }
        if matches!(byte, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            class |= LWS;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>') {
            class |= PARAM_VALUE;
        }
        table[index] = class;
        index += 1;
    }
    table
}

/// `token` of RFC 3261 §25.1.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// True when `text` is one non-empty token.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Space, tab, and the line breaks of a fold.
pub(crate) fn is_lws(byte: u8) -> bool {
    CLASS[usize::from(byte)] & LWS != 0
}

/// Letters, digits, `-`, `.`, and `_`, which no host name may have and many do.
pub(crate) fn is_host_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HOST != 0
}

/// A digit of base 16.
pub(crate) fn is_hex(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HEX != 0
}

/// What a parameter may have as its value without quotes. Wider than the grammar (`token / host`): base64, `@` and `/`
/// are common there and mislead nobody.
pub(crate) fn is_param_value_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & PARAM_VALUE != 0
}

/// `text` without white space at both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_lws(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_lws(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Text of bytes that a class above has already shown to be ASCII.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the byte classes of this module are ASCII")
}

/// Readable text of any bytes: bad UTF-8 becomes U+FFFD, control characters become spaces.
pub(crate) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Cow::Owned(text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect());
    }
    text
}

/// The content of a quoted-string (with its quotes), `\x` read as `x`. Anything else is returned as it is.
pub(crate) fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = text else { return Cow::Borrowed(text) };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { *bytes.next().unwrap_or(&b'\\') } else { byte });
    }
    Cow::Owned(plain)
}

/// Appends `text` as a quoted-string. Control characters become spaces: none of them may leave us.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A place in the bytes of one header value.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        debug_assert!(self.at <= self.bytes.len());
    }

    pub(crate) fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    pub(crate) fn skip_lws(&mut self) {
        while self.peek().is_some_and(is_lws) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.eat(byte) { Ok(()) } else { Err(self.malformed()) }
    }

    /// Takes `byte` with any white space around it: SLASH, EQUAL, COLON of the grammar.
    pub(crate) fn expect_spaced(&mut self, byte: u8) -> Result<(), Malformed> {
        self.skip_lws();
        self.expect(byte)?;
        self.skip_lws();
        Ok(())
    }

    /// Only white space may be left.
    pub(crate) fn expect_end(&mut self) -> Result<(), Malformed> {
        self.skip_lws();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.malformed()) }
    }

    pub(crate) fn take_while(&mut self, mut class: impl FnMut(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !class(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    pub(crate) fn token(&mut self) -> Result<&'a str, Malformed> {
        let token = self.take_while(is_token_byte);
        if token.is_empty() { Err(self.malformed()) } else { Ok(ascii(token)) }
    }

    /// A quoted-string with its quotes.
    pub(crate) fn quoted(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let Some(found) = memchr2(b'"', b'\\', self.rest()) else { return Err(Malformed { at: start }) };
            self.at += found;
            if self.eat(b'"') {
                return Ok(&self.bytes[start..self.at]);
            }
            self.at += 2;
            if self.at >= self.bytes.len() {
                return Err(Malformed { at: start });
            }
        }
    }

    /// One or more digits, at most `u32::MAX`: never wraps, never saturates.
    pub(crate) fn number(&mut self) -> Result<u32, Malformed> {
        let start = self.at;
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let add = |sum: u32, &digit: &u8| sum.checked_mul(10)?.checked_add(u32::from(digit - b'0'));
        if digits.is_empty() {
            return Err(Malformed { at: start });
        }
        digits.iter().try_fold(0, add).ok_or(Malformed { at: start })
    }

    /// The next `;name[=value]`, or `None` when no semicolon follows.
    pub(crate) fn param(&mut self) -> Result<Option<RawParam<'a>>, Malformed> {
        self.skip_lws();
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip_lws();
        let name = self.token()?;
        self.skip_lws();
        if !self.eat(b'=') {
            return Ok(Some(RawParam { name, value: None }));
        }
        self.skip_lws();
        Ok(Some(RawParam { name, value: Some(self.param_value()?) }))
    }

    /// What stands right of a parameter's `=`: a quoted-string with its quotes, or a run of plain characters.
    pub(crate) fn param_value(&mut self) -> Result<&'a [u8], Malformed> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let value = self.take_while(is_param_value_byte);
        if value.is_empty() { Err(self.malformed()) } else { Ok(value) }
    }

    /// Between elements of a comma list: true after a comma, false at the end, an error at anything else.
    pub(crate) fn next_element(&mut self) -> Result<bool, Malformed> {
        self.skip_lws();
        match self.peek() {
            None => Ok(false),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.malformed()),
        }
    }
}

/// One parameter as it stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawParam<'a> {
    pub(crate) name: &'a str,
    /// With its quotes, if it has them.
    pub(crate) value: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_ends_at_its_own_quote_and_never_beyond_the_text() {
        assert_eq!(Cursor::new(br#""a \" b" c"#).quoted(), Ok(&br#""a \" b""#[..]));
        assert_eq!(Cursor::new(br#""a \"#).quoted(), Err(Malformed { at: 0 }));
        assert_eq!(Cursor::new(br#""a \""#).quoted(), Err(Malformed { at: 0 }));
        assert_eq!(unquote(br#""a \" \\ b""#).as_ref(), br#"a " \ b"#);
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_instead_of_wrapped() {
        assert_eq!(Cursor::new(b"0004294967295").number(), Ok(u32::MAX));
        assert_eq!(Cursor::new(b"4294967296").number(), Err(Malformed { at: 0 }));
        assert_eq!(Cursor::new(b"-1").number(), Err(Malformed { at: 0 }));
    }

    #[test]
    fn a_parameter_needs_a_name_and_a_value_after_its_equal_sign() {
        let mut cursor = Cursor::new(b" ; tag\r\n = \"x\" ;lr;");
        let tag = cursor.param().unwrap().unwrap();

        assert_eq!((tag.name, tag.value), ("tag", Some(&b"\"x\""[..])));
        assert!(cursor.param().unwrap().unwrap().value.is_none());
        assert!(cursor.param().is_err());
        assert!(Cursor::new(b";a=;b").param().is_err());
    }
}
