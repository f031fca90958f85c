//! Where the parts of a URI lie in its text: the only place that knows their grammar (RFC 3261 §19.1.1, §25.1; RFC 3966 §3).

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::host::{self, HostAt};
use crate::lex::{self, Cursor, Malformed};

/// The longest URI that is read: what fits a header line.
const MAX_URI: usize = 8 * 1024;

/// The most parameters, and the most headers, of one URI: comparing takes the square of it.
const MAX_PARTS: usize = 64;

/// What stands before the first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`: every hop over TLS.
    Sips,
    /// `tel:`: a number without a host.
    Tel,
    /// Anything else; the whole URI is opaque.
    Other,
}

/// Where the parts of a URI lie in its text. Found without allocating, so that checking a message costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) scheme: Scheme,
    pub(super) user: Option<Span>,
    pub(super) password: Option<Span>,
    pub(super) host: Option<HostAt>,
    pub(super) host_text: Span,
    pub(super) port: Option<u16>,
    pub(super) params: Span,
    pub(crate) headers: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) start: u16,
    pub(super) end: u16,
}

impl Span {
    const EMPTY: Self = Self { start: 0, end: 0 };

    fn new(range: Range<usize>) -> Self {
        let short = |at| u16::try_from(at).expect("a URI is at most MAX_URI bytes long");
        Self { start: short(range.start), end: short(range.end) }
    }

    pub(super) fn of(self, text: &str) -> &str {
        &text[usize::from(self.start)..usize::from(self.end)]
    }
}

impl Layout {
    /// Finds the parts of a URI.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Malformed> {
        if text.len() > MAX_URI {
            return Err(Malformed { at: MAX_URI });
        }
        // One look for what may stand in no part at all; a raw URI in brackets or with a space ends here.
        if let Some(at) = text.iter().position(|&byte| is_forbidden(byte)) {
            return Err(Malformed { at });
        }
        if let Err(error) = std::str::from_utf8(text) {
            return Err(Malformed { at: error.valid_up_to() });
        }
        let colon = memchr(b':', text).ok_or(Malformed { at: text.len() })?;
        let scheme = Scheme::read(&text[..colon])?;
        let mut layout = Self {
            scheme,
            user: None,
            password: None,
            host: None,
            host_text: Span::EMPTY,
            port: None,
            params: Span::EMPTY,
            headers: None,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => layout.read_sip(text, colon + 1)?,
            Scheme::Tel => layout.read_tel(text, colon + 1)?,
            Scheme::Other if colon + 1 == text.len() => return Err(Malformed { at: colon + 1 }),
            Scheme::Other => {}
        }
        Ok(layout)
    }

    fn read_sip(&mut self, text: &[u8], start: usize) -> Result<(), Malformed> {
        let mut at = start;
        if let Some(length) = memchr(b'@', &text[start..]) {
            let end = start + length;
            let user_end = memchr(b':', &text[start..end]).map_or(end, |found| start + found);
            check_escapes(text, start..end)?;
            // Gateways without a caller's number write `sip:@host`: nobody reads that as another host.
            self.user = (user_end > start).then(|| Span::new(start..user_end));
            self.password = (user_end < end).then(|| Span::new(user_end + 1..end));
            at = end + 1;
        }
        let mut cursor = Cursor::new(text);
        cursor.advance(at);
        self.host = Some(HostAt::of(host::read(&mut cursor)?));
        self.host_text = Span::new(at..cursor.at());
        self.port = host::read_port(&mut cursor)?;
        self.read_params_and_headers(text, cursor.at())
    }

    fn read_tel(&mut self, text: &[u8], start: usize) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(text);
        cursor.advance(start);
        let number = cursor.take_while(|byte| {
            byte.is_ascii_hexdigit() || matches!(byte, b'+' | b'*' | b'#' | b'-' | b'.' | b'(' | b')')
        });
        if !number.iter().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')) {
            return Err(cursor.malformed());
        }
        self.user = Some(Span::new(start..cursor.at()));
        self.read_params_and_headers(text, cursor.at())
    }

    fn read_params_and_headers(&mut self, text: &[u8], start: usize) -> Result<(), Malformed> {
        let headers = memchr(b'?', &text[start..]).map(|found| start + found);
        let end = headers.unwrap_or(text.len());
        // A second @ would make another reader see another host.
        if let Some(found) = memchr(b'@', &text[start..]) {
            return Err(Malformed { at: start + found });
        }
        check_escapes(text, start..text.len())?;
        self.params = Span::new(start..end);
        let (mut at, mut count) = (start, 0);
        while at < end {
            count += 1;
            if text[at] != b';' || count > MAX_PARTS {
                return Err(Malformed { at });
            }
            let next = memchr(b';', &text[at + 1..end]).map_or(end, |found| at + 1 + found);
            if matches!(text[at + 1..next], [] | [b'=', ..]) {
                return Err(Malformed { at: at + 1 });
            }
            at = next;
        }
        if memchr_iter(b'&', &text[end..]).count() >= MAX_PARTS {
            return Err(Malformed { at: end });
        }
        self.headers = headers.map(|question| Span::new(question + 1..text.len()));
        Ok(())
    }
}

impl Scheme {
    fn read(text: &[u8]) -> Result<Self, Malformed> {
        if !text.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(Malformed { at: 0 });
        }
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if let Some(at) = text.iter().position(|byte| !in_scheme(byte)) {
            return Err(Malformed { at });
        }
        Ok(match text {
            text if text.eq_ignore_ascii_case(b"sip") => Self::Sip,
            text if text.eq_ignore_ascii_case(b"sips") => Self::Sips,
            text if text.eq_ignore_ascii_case(b"tel") => Self::Tel,
            _ => Self::Other,
        })
    }
}

/// What stands in no part of any URI, raw: a reader that cuts at it would see another URI than we do.
fn is_forbidden(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || matches!(byte, b'<' | b'>' | b'"')
}

fn check_escapes(text: &[u8], range: Range<usize>) -> Result<(), Malformed> {
    let mut at = range.start;
    while let Some(found) = memchr(b'%', &text[at..range.end]) {
        at += found;
        match text[at..range.end] {
            [_, high, low, ..] if lex::is_hex(high) && lex::is_hex(low) => at += 3,
            _ => return Err(Malformed { at }),
        }
    }
    Ok(())
}
