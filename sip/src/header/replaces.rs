//! Replaces: the dialog that a new one is to take the place of (RFC 3891 §6.1).

use std::fmt;

use crate::header::Params;
use crate::lex::{Cursor, Malformed};
use crate::uri::Uri;

/// A dialog as whoever gets the INVITE knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of whoever gets the INVITE.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Only while it has not been answered.
    pub early_only: bool,
}

impl Replaces {
    /// Reads a whole value. Both tags are needed; `0` stands for none (RFC 3891 §6.1).
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let call_id = cursor.take_while(|byte| byte != b';' && byte.is_ascii_graphic());
        let call_id = String::from_utf8_lossy(call_id).into_owned();
        if call_id.is_empty() {
            return Err(cursor.malformed());
        }
        let params = Params::read(&mut cursor)?;
        cursor.expect_end()?;
        let tag = |name| params.token(name).map(str::to_owned).ok_or(Malformed { at: 0 });
        let early_only = params.get("early-only").is_some();
        Ok(Self { call_id, to_tag: tag("to-tag")?, from_tag: tag("from-tag")?, early_only })
    }

    /// The one in the headers of a Refer-To (RFC 3891 §5): whoever calls that URI puts it into the INVITE.
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        let mut found = uri.headers().filter(|(name, _)| name.eq_ignore_ascii_case("Replaces"));
        let (_, value) = found.next()?;
        Self::parse(value.as_bytes()).ok()
    }

    /// A URI to refer somebody to, so that their call takes the place of this dialog.
    pub fn in_uri(&self, uri: &Uri) -> Uri {
        let mut text = uri.without_headers().as_str().to_owned();
        text.push_str("?Replaces=");
        for byte in self.to_string().bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
        Uri::parse(text).unwrap_or_else(|_| uri.clone())
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call_id, to_tag, from_tag, early_only } = self;
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}")?;
        if *early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for early_only in [false, true] {
            let value = Replaces {
                call_id: "98732@sip.example.com".to_owned(),
                to_tag: "ff87ff".to_owned(),
                from_tag: "r33th4x0r".to_owned(),
                early_only,
            };

            assert_eq!(Replaces::parse(value.to_string()), Ok(value));
        }
    }

    #[test]
    fn order_and_case_of_parameters_do_not_matter_and_a_missing_tag_does() {
        let value = Replaces::parse("12adf2f34456gs5; From-Tag=12345 ;to-tag=54321;Early-Only").unwrap();

        assert_eq!(
            (value.to_tag.as_str(), value.from_tag.as_str(), value.early_only),
            ("54321", "12345", true)
        );
        for bad in [
            "",
            ";to-tag=1;from-tag=2",
            "a",
            "a;to-tag=1",
            "a;from-tag=2",
            "a;to-tag=;from-tag=2",
            "a b;to-tag=1;from-tag=2",
        ] {
            assert!(Replaces::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refer_to_carries_it_escaped() {
        let uri = Uri::parse("sip:b@192.0.2.5?Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2").unwrap();

        let replaces = Replaces::of_uri(&uri).unwrap();
        assert_eq!(replaces.to_string(), "c@h;to-tag=1;from-tag=2");
        let again = replaces.in_uri(&Uri::parse("sip:b@192.0.2.5?Subject=x").unwrap());
        assert_eq!(Replaces::of_uri(&again), Some(replaces));
        assert_eq!(Replaces::of_uri(&Uri::parse("sip:b@192.0.2.5?Subject=x").unwrap()), None);
    }
}
