//! Content-Type and the elements of Accept (RFC 3261 §20.1, §20.15).

use std::fmt;

use crate::header::Params;
use crate::lex::{Cursor, Malformed};

/// `type/subtype;parameters`. Type and subtype compare without case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType {
    /// `application` of `application/sdp`.
    pub kind: String,
    /// `sdp` of `application/sdp`.
    pub subtype: String,
    /// All parameters.
    pub params: Params,
}

impl MediaType {
    /// Reads a whole value.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        let read = Self::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(read)
    }

    /// Whether this is `type/subtype`, whatever its parameters.
    pub fn is(&self, full: &str) -> bool {
        full.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// Whether this, as an element of Accept, covers `type/subtype`: `*/*` and `application/*` do.
    pub fn covers(&self, full: &str) -> bool {
        full.split_once('/').is_some_and(|(kind, subtype)| {
            (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
                && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
        })
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip_lws();
        let kind = cursor.token()?.to_owned();
        cursor.expect_spaced(b'/')?;
        let subtype = cursor.token()?.to_owned();
        Ok(Self { kind, subtype, params: Params::read(cursor)? })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.kind, self.subtype, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_parameters_do_not_change_what_it_is() {
        let mixed = MediaType::parse("Multipart / mixed;boundary=\"a b\"").unwrap();

        assert!(mixed.is("multipart/mixed"));
        assert_eq!(mixed.params.get("boundary").unwrap().value().unwrap(), "a b");
        assert_eq!(mixed.to_string(), "Multipart/mixed;boundary=\"a b\"");
        for bad in ["", "text", "text/", "/plain", "text/plain, text/html"] {
            assert!(MediaType::parse(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn an_accept_element_may_be_a_range() {
        assert!(MediaType::parse("*/*").unwrap().covers("application/sdp"));
        assert!(MediaType::parse("application/*;q=0.1").unwrap().covers("application/sdp"));
        assert!(!MediaType::parse("text/*").unwrap().covers("application/sdp"));
    }
}
