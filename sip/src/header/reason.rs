//! Headers that explain a message: Reason (RFC 3326), Warning (RFC 3261 §20.43), Retry-After (RFC 3261 §20.33).

use std::fmt;

use crate::header::Params;
use crate::lex::{self, Cursor, Malformed};

/// Why a request was sent: `Q.850;cause=16;text="Normal call clearing"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// `SIP`, `Q.850` or another protocol whose codes `cause` uses.
    pub protocol: String,
    /// All parameters.
    pub params: Params,
}

impl Reason {
    /// A reason of our own.
    pub fn new(protocol: &str, cause: u16, text: &str) -> Self {
        let mut params = Params::default();
        params.set("cause", Some(&cause.to_string()));
        params.set("text", Some(text));
        Self { protocol: protocol.to_owned(), params }
    }

    /// The code, `None` also when it is no number.
    pub fn cause(&self) -> Option<u16> {
        self.params.token("cause")?.parse().ok()
    }

    /// The explanation.
    pub fn text(&self) -> Option<String> {
        Some(self.params.get("text")?.value()?.into_owned())
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip_lws();
        let protocol = cursor.token()?.to_owned();
        Ok(Self { protocol, params: Params::read(cursor)? })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.protocol, self.params)
    }
}

/// What went not quite right, for a human: `399 edge.example.net "no route for that number"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Warning {
    /// Three digits.
    pub code: u16,
    /// Who says so: a host or a token.
    pub agent: String,
    /// The explanation, without quotes.
    pub text: String,
}

impl Warning {
    /// Any other warning (RFC 3261 §20.43).
    pub const MISCELLANEOUS: u16 = 399;

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip_lws();
        let start = cursor.malformed();
        let code = match u16::try_from(cursor.number()?) {
            Ok(code @ 100..=999) => code,
            Ok(_) | Err(_) => return Err(start),
        };
        cursor.skip_lws();
        let agent = lex::ascii(cursor.take_while(lex::is_param_value_byte)).to_owned();
        if agent.is_empty() {
            return Err(cursor.malformed());
        }
        cursor.skip_lws();
        let text = lex::unquote(cursor.quoted()?);
        Ok(Self { code, agent, text: lex::readable(&text).into_owned() })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = String::with_capacity(self.text.len() + 2);
        lex::push_quoted(&mut quoted, &self.text);
        write!(f, "{:03} {} {quoted}", self.code, self.agent)
    }
}

/// When to come back: `120 (in a meeting);duration=3600`. The comment is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RetryAfter {
    /// The delay.
    pub seconds: u32,
    /// All parameters.
    pub params: Params,
}

impl RetryAfter {
    /// Reads a whole value.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let seconds = cursor.number()?;
        cursor.skip_lws();
        if cursor.peek() == Some(b'(') {
            skip_comment(&mut cursor)?;
        }
        let params = Params::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(Self { seconds, params })
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.seconds, self.params)
    }
}

/// Comments may contain comments (RFC 3261 §25.1); counted instead of recursed, whatever their depth.
fn skip_comment(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    let start = cursor.malformed();
    let mut depth = 0_usize;
    loop {
        match cursor.peek().ok_or(start)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' if cursor.rest().len() > 1 => cursor.advance(1),
            _ => {}
        }
        cursor.advance(1);
        if depth == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_its_cause_and_text() {
        let reason =
            Reason::read(&mut Cursor::new(b"Q.850 ;cause=16 ;text=\"Normal call clearing\"")).unwrap();

        assert_eq!((reason.cause(), reason.text().as_deref()), (Some(16), Some("Normal call clearing")));
        assert_eq!(
            Reason::new("SIP", 200, "Call completed elsewhere").to_string(),
            "SIP;cause=200;text=\"Call completed elsewhere\""
        );
    }

    #[test]
    fn a_warning_needs_a_three_digit_code() {
        let read = |text: &str| Warning::read(&mut Cursor::new(text.as_bytes()));
        let warning = read("370 [2001:db8::1]:5060 \"Insufficient \\\"bandwidth\\\"\"").unwrap();

        assert_eq!((warning.code, warning.agent.as_str()), (370, "[2001:db8::1]:5060"));
        assert_eq!(read(&warning.to_string()), Ok(warning));
        assert!(read("1812 overture \"In Progress\"").is_err());
        assert!(read("399 host unquoted").is_err());
    }

    #[test]
    fn retry_after_ignores_its_comment_and_refuses_an_endless_number() {
        let retry = RetryAfter::parse("18000 (in (a \\) nested) meeting);duration=3600").unwrap();

        assert_eq!((retry.seconds, retry.params.token("duration")), (18000, Some("3600")));
        for bad in ["", "949302838503028349304023988", "5 (", "5 (()", "5 x", "Mon"] {
            assert!(RetryAfter::parse(bad).is_err(), "{bad:?} was read");
        }
    }
}
