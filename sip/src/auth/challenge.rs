//! `WWW-Authenticate: Digest …` and `Proxy-Authenticate: Digest …` (RFC 3261 §20.44, §20.27; RFC 7616 §3.3).

use std::fmt;

use crate::auth::digest::{Algorithm, Input};
use crate::auth::{Authorization, Credentials};
use crate::lex::{self, Cursor, Malformed, RawParam};
use crate::message::Method;

/// A digest challenge. Texts are as between the quotes, escapes untouched: that is how they are hashed and echoed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: String,
    /// The server's random text.
    pub nonce: String,
    /// To be echoed.
    pub opaque: Option<String>,
    /// The algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// The kinds of protection offered, empty for a challenge of RFC 2069. Unknown ones are left out.
    pub qop: Vec<Qop>,
    /// The nonce is too old, the password was right: try again with this one and do not ask anybody.
    pub stale: bool,
}

/// What the response protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qop {
    /// The start line.
    Auth,
    /// The start line and the body.
    AuthInt,
}

impl Qop {
    /// The token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    pub(super) fn from_token(token: &str) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(token))
    }
}

impl Challenge {
    /// Reads a value. An error also for another scheme, for an algorithm we do not have, and where only unknown
    /// qualities of protection are offered: none of them can be answered.
    pub fn parse(value: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut algorithm, mut offered, mut stale) = (Some(Algorithm::Md5), None, false);
        let end = read_digest(value.as_ref(), |name, text| match name {
            Name::Realm => realm = Some(text),
            Name::Nonce => nonce = Some(text),
            Name::Opaque => opaque = Some(text),
            Name::Algorithm => algorithm = Algorithm::from_token(&text),
            Name::Qop => offered = Some(text),
            Name::Stale => stale = text.eq_ignore_ascii_case("true"),
            Name::Username | Name::Uri | Name::Response | Name::Cnonce | Name::NonceCount | Name::Other => {}
        })?;
        let unusable = Malformed { at: end };
        let qop: Vec<_> = offered
            .iter()
            .flat_map(|list| list.split(','))
            .filter_map(|qop| Qop::from_token(qop.trim()))
            .collect();
        if offered.is_some_and(|list| !list.trim().is_empty()) && qop.is_empty() {
            return Err(unusable);
        }
        Ok(Self {
            realm: realm.ok_or(unusable)?,
            nonce: nonce.ok_or(unusable)?,
            opaque,
            algorithm: algorithm.ok_or(unusable)?,
            qop,
            stale,
        })
    }

    /// The answer to this challenge for one request.
    ///
    /// `uri` is the Request-URI as written, `cnonce` any text of ours that is hard to guess, `nonce_count` how often this
    /// nonce has been used, this time included.
    pub fn respond(
        &self,
        credentials: &Credentials,
        method: Method<'_>,
        uri: &str,
        body: &[u8],
        cnonce: &str,
        nonce_count: u32,
    ) -> Authorization {
        // `auth` where offered: a proxy on the way may rewrite the body.
        let qop = self.qop.iter().copied().find(|&qop| qop == Qop::Auth).or(self.qop.first().copied());
        let nonce_count = format!("{nonce_count:08x}");
        let response = Input {
            algorithm: self.algorithm,
            username: &credentials.username,
            realm: &self.realm,
            password: &credentials.password,
            nonce: &self.nonce,
            cnonce,
            nonce_count: &nonce_count,
            qop,
            method: method.as_str(),
            uri,
            body,
        }
        .response();
        let needs_cnonce = qop.is_some() || self.algorithm.is_session();
        Authorization {
            username: credentials.username.clone(),
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response,
            algorithm: self.algorithm,
            opaque: self.opaque.clone(),
            cnonce: needs_cnonce.then(|| cnonce.to_owned()),
            qop,
            nonce_count: qop.map(|_| nonce_count),
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm=\"{}\", nonce=\"{}\"", Inner(&self.realm), Inner(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque=\"{}\"", Inner(opaque))?;
        }
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        if !self.qop.is_empty() {
            let offered: Vec<_> = self.qop.iter().map(|qop| qop.as_str()).collect();
            write!(f, ", qop=\"{}\"", offered.join(","))?;
        }
        if self.stale { f.write_str(", stale=true") } else { Ok(()) }
    }
}

/// A text between quotes whose escapes are already there. A quote that would end it early, and whatever may not leave
/// us, becomes a space.
pub(super) struct Inner<'a>(pub(super) &'a str);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = false;
        let last = self.0.len().saturating_sub(1);
        for (at, c) in self.0.char_indices() {
            let breaks_out = (c == '"' && !escaped) || (c == '\\' && !escaped && at == last);
            write!(f, "{}", if breaks_out || c.is_ascii_control() { ' ' } else { c })?;
            escaped = c == '\\' && !escaped;
        }
        Ok(())
    }
}

/// The parameters of a challenge or an answer that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Realm,
    Nonce,
    Opaque,
    Algorithm,
    Qop,
    Stale,
    Username,
    Uri,
    Response,
    Cnonce,
    NonceCount,
    Other,
}

impl Name {
    fn from_token(token: &str) -> Self {
        const NAMES: [(&str, Name); 11] = [
            ("realm", Name::Realm),
            ("nonce", Name::Nonce),
            ("opaque", Name::Opaque),
            ("algorithm", Name::Algorithm),
            ("qop", Name::Qop),
            ("stale", Name::Stale),
            ("username", Name::Username),
            ("uri", Name::Uri),
            ("response", Name::Response),
            ("cnonce", Name::Cnonce),
            ("nc", Name::NonceCount),
        ];
        let found = NAMES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(token));
        found.map_or(Self::Other, |(_, name)| name)
    }
}

/// Reads `Digest name=value, name="value" …` and hands every pair to `found`, quotes taken off. A parameter twice is an
/// error: two readers could take different ones. Returns where the text ends.
pub(super) fn read_digest(value: &[u8], mut found: impl FnMut(Name, String)) -> Result<usize, Malformed> {
    let mut cursor = Cursor::new(value);
    cursor.skip_lws();
    if !cursor.token()?.eq_ignore_ascii_case("Digest") || !cursor.peek().is_some_and(lex::is_lws) {
        return Err(Malformed { at: 0 });
    }
    let mut seen = Vec::new();
    loop {
        cursor.skip_lws();
        let start = cursor.malformed();
        let RawParam { name, value } = pair(&mut cursor)?;
        let name = Name::from_token(name);
        if name != Name::Other {
            if seen.contains(&name) {
                return Err(start);
            }
            seen.push(name);
        }
        let value = value.unwrap_or_default();
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        found(name, lex::readable(inner).into_owned());
        if !cursor.next_element()? {
            return Ok(cursor.at());
        }
    }
}

fn pair<'a>(cursor: &mut Cursor<'a>) -> Result<RawParam<'a>, Malformed> {
    let name = cursor.token()?;
    cursor.expect_spaced(b'=')?;
    Ok(RawParam { name, value: Some(cursor.param_value()?) })
}
