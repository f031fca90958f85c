//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966); any other scheme is kept as it is.
//!
//! ```text
//!   sip : alice : secret @ [2001:db8::1] : 5070 ; transport=tcp ? Subject=hi
//!         user    password  host           port   params          headers
//! ```
//!
//! The text is kept exactly as received; only its parts are remembered. Reading is wider than the grammar where nothing
//! can be misunderstood (`#` in a user, `_` in a host, `=` in a parameter) and strict about everything that delimits.

mod equivalence;
mod escape;
mod layout;

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use crate::host::Host;
use crate::lex::Malformed;
use escape::{is_plain_param_byte, is_plain_user_byte, push_escaped, unescape};
pub(crate) use layout::Layout;
pub use layout::Scheme;

/// A URI. Clones share the text; `Display` writes it as it was read.
///
/// `==` compares the text byte by byte; ask [`Self::is_equivalent`] whether two URIs mean the same.
#[derive(Clone)]
pub struct Uri {
    text: Arc<str>,
    layout: Layout,
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
        let uri = Self::parse(&text)?;
        // A "host" with more in it than a host would have become a port or parameters.
        let is_whole = uri.host() == Some(host) && uri.port() == port && uri.params().next().is_none();
        if is_whole && uri.layout.headers.is_none() { Ok(uri) } else { Err(Malformed { at: text.len() }) }
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
        let (start, end) = (self.layout.params.start, self.layout.params.end);
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

    /// The parts were checked when they were first read, and what is added is escaped; only length can fail.
    fn reread(&self, text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| self.clone())
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

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(separator).filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (part, None),
    })
}

#[cfg(test)]
mod tests;
