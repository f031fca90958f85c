//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966); any other scheme is kept as it is.
//!
//! ```text
//!   sip : alice : secret @ [2001:db8::1] : 5070 ; transport=tcp ? Subject=hi
//!         user    password  host           port   params          headers
//! ```
//!
//! The text is kept exactly as received; only its parts are remembered. Reading is wider than the grammar where nothing
//! can be misunderstood (`#` in a user, `_` in a host, `=` in a parameter) and strict about everything that delimits.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use memchr::memchr;

use crate::host::{self, Host, HostAt};
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

/// A URI. Clones share the text; `Display` writes it as it was read.
///
/// `==` compares the text byte by byte; ask [`Self::is_equivalent`] whether two URIs mean the same.
#[derive(Clone)]
pub struct Uri {
    text: Arc<str>,
    layout: Layout,
}

/// Where the parts of a URI lie in its text. Found without allocating, so that checking a message costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) scheme: Scheme,
    user: Option<Span>,
    password: Option<Span>,
    host: Option<HostAt>,
    host_text: Span,
    port: Option<u16>,
    params: Span,
    pub(crate) headers: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    const EMPTY: Self = Self { start: 0, end: 0 };

    fn new(range: Range<usize>) -> Self {
        let short = |at| u16::try_from(at).expect("a URI is at most MAX_URI bytes long");
        Self { start: short(range.start), end: short(range.end) }
    }

    fn of(self, text: &str) -> &str {
        &text[usize::from(self.start)..usize::from(self.end)]
    }
}

impl Uri {
    /// Reads a whole text as one URI: no angle brackets, no white space.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let bytes = text.as_ref();
        let layout = Layout::read(bytes)?;
        let text = std::str::from_utf8(bytes).expect("Layout::read has checked it");
        Ok(Self { text: text.into(), layout })
    }

    /// A `sip:` URI of its parts. The user is escaped as needed, so any text will do; the host must be one.
    pub fn sip(user: Option<&str>, host: Host<'_>, port: Option<u16>) -> Result<Self, Malformed> {
        let mut text = String::from("sip:");
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            push_escaped(&mut text, user, is_plain_user_byte);
            text.push('@');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{host}");
        if let Some(port) = port {
            let _ = write!(text, ":{port}");
        }
        Self::parse(text)
    }

    /// The whole URI as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.layout.scheme
    }

    /// The user part as written, with its escapes; the number of a `tel:` URI.
    pub fn user(&self) -> Option<&str> {
        self.layout.user.map(|span| span.of(&self.text))
    }

    /// The user part with its escapes read: `%23100` is `#100`. Bad UTF-8 behind escapes becomes U+FFFD.
    pub fn user_text(&self) -> Option<Cow<'_, str>> {
        self.user().map(unescape)
    }

    /// The password, which RFC 3261 §19.1.1 advises against.
    pub fn password(&self) -> Option<&str> {
        self.layout.password.map(|span| span.of(&self.text))
    }

    /// The host of a `sip:` or `sips:` URI.
    pub fn host(&self) -> Option<Host<'_>> {
        self.layout.host.map(|host| host.with(self.layout.host_text.of(&self.text)))
    }

    /// The port, if one is written. No port is not the same as 5060 (RFC 3261 §19.1.4).
    pub fn port(&self) -> Option<u16> {
        self.layout.port
    }

    /// The parameters in order: name and value as written.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        pairs(self.layout.params.of(&self.text), ';')
    }

    /// The value of the first parameter of that name (any case): `Some("")` for one without value, as in `;lr`.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params();
        params.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or_default())
    }

    /// The headers after `?`, unescaped: what a Refer-To wants in the request it causes. Never applied by this crate.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let text = self.layout.headers.map_or("", |span| span.of(&self.text));
        pairs(text, '&').map(|(name, value)| (unescape(name), unescape(value.unwrap_or_default())))
    }

    /// This URI with one parameter set: it stands last and replaces every one of its name. `None` writes the name alone.
    /// What may not stand in a parameter is escaped. A URI that is opaque, or has as many parameters as a URI may have, stays as it is.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Self {
        if self.scheme() == Scheme::Other {
            return self.clone();
        }
        let plain = self.without_param(name);
        let mut param = String::from(";");
        push_escaped(&mut param, name, is_plain_param_byte);
        if let Some(value) = value {
            param.push('=');
            push_escaped(&mut param, value, is_plain_param_byte);
        }
        let (before, after) = plain.text.split_at(usize::from(plain.layout.params.end));
        self.reread(&[before, &param, after].concat())
    }

    /// This URI without a parameter.
    pub fn without_param(&self, name: &str) -> Self {
        let Span { start, end } = self.layout.params;
        let mut text = self.text[..usize::from(start)].to_owned();
        for (found, value) in self.params().filter(|(found, _)| !found.eq_ignore_ascii_case(name)) {
            text.extend([";", found]);
            text.extend(value.into_iter().flat_map(|value| ["=", value]));
        }
        text.push_str(&self.text[usize::from(end)..]);
        self.reread(&text)
    }

    /// What may stand in a Request-URI (RFC 3261 §19.1.1): this URI without headers and `method` parameter.
    pub fn without_headers(&self) -> Self {
        let plain = self.without_param("method");
        match plain.layout.headers {
            Some(headers) => plain.reread(&plain.text[..usize::from(headers.start) - 1]),
            None => plain,
        }
    }

    /// Whether both mean the same (RFC 3261 §19.1.4; RFC 3966 §4 for `tel:`). Not transitive, so it is not `==`.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        if self.scheme() != other.scheme() {
            return false;
        }
        match self.scheme() {
            Scheme::Sip | Scheme::Sips => {
                same_escaped(self.user(), other.user(), Case::Matters)
                    && same_escaped(self.password(), other.password(), Case::Matters)
                    && self.host() == other.host()
                    && self.port() == other.port()
                    && self.agrees_on_params(other)
                    && other.agrees_on_params(self)
                    && self.has_headers_of(other)
                    && other.has_headers_of(self)
            }
            Scheme::Tel => same_number(self, other) && self.has_params_of(other) && other.has_params_of(self),
            Scheme::Other => self.text == other.text,
        }
    }

    /// A parameter on both sides must be equal; these may not stand on one side alone. RFC 3261's text forgets
    /// `transport`, its examples do not.
    fn agrees_on_params(&self, other: &Self) -> bool {
        const BOTH_OR_NONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        self.params().all(|(name, _)| match other.param(name) {
            // The first of a name counts, on both sides.
            Some(theirs) => same_escaped(self.param(name), Some(theirs), Case::Ignored),
            None => !BOTH_OR_NONE.iter().any(|special| special.eq_ignore_ascii_case(name)),
        })
    }

    fn has_params_of(&self, other: &Self) -> bool {
        other.params().all(|(name, _)| same_escaped(other.param(name), self.param(name), Case::Ignored))
    }

    fn has_headers_of(&self, other: &Self) -> bool {
        other.headers().all(|theirs| {
            self.headers().any(|ours| ours.0.eq_ignore_ascii_case(&theirs.0) && ours.1 == theirs.1)
        })
    }

    /// The parts were checked when they were first read, and what is added is escaped; only length can fail.
    fn reread(&self, text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| self.clone())
    }
}

impl Layout {
    /// Finds the parts of a URI; the only place that knows their grammar.
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
        if memchr::memchr_iter(b'&', &text[end..]).count() >= MAX_PARTS {
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

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl std::hash::Hash for Uri {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text)
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

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(separator).filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (part, None),
    })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

fn is_plain_user_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

fn is_plain_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

fn push_escaped(out: &mut String, text: &str, plain: fn(u8) -> bool) {
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let plain: Vec<u8> = units(text).map(|unit| unit.byte).collect();
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// One character as a comparison sees it.
struct Unit {
    byte: u8,
    escaped: bool,
}

fn units(text: &str) -> impl Iterator<Item = Unit> {
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

/// `%61` equals `a`; `%3B` does not equal `;`, because a reserved character raw has a meaning (RFC 3261 §19.1.4).
fn same_escaped(one: Option<&str>, other: Option<&str>, case: Case) -> bool {
    let normal = |unit: Unit| {
        let reserved =
            matches!(unit.byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
        let byte = if case == Case::Ignored { unit.byte.to_ascii_lowercase() } else { unit.byte };
        (byte, unit.escaped && reserved)
    };
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => units(one).map(normal).eq(units(other).map(normal)),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn same_number(one: &Uri, other: &Uri) -> bool {
    let digits = |uri: &Uri| -> String {
        let number = uri.user().unwrap_or_default();
        number
            .chars()
            .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    digits(one) == digits(other)
}

#[cfg(test)]
mod tests;
