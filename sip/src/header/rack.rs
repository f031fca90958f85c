//! RAck: which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2).

use std::fmt;

use crate::header::CSeq;
use crate::lex::{Cursor, Malformed};
use crate::message::Method;

/// RSeq of the response, and number and method of the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RAck<'a> {
    /// RSeq of the response.
    pub rseq: u32,
    /// CSeq of the request, an INVITE.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    /// Reads a whole value.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(text: &'a T) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let rseq = cursor.number()?;
        let gap = cursor.at();
        cursor.skip_lws();
        if gap == cursor.at() {
            return Err(cursor.malformed());
        }
        let number = cursor.number()?;
        let gap = cursor.at();
        cursor.skip_lws();
        if gap == cursor.at() {
            return Err(cursor.malformed());
        }
        let method = Method::from_token(cursor.token()?);
        cursor.expect_end()?;
        Ok(Self { rseq, cseq: CSeq { number, method } })
    }
}

impl fmt::Display for RAck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = RAck { rseq: 776_656, cseq: CSeq { number: 1, method: Method::Invite } };

        assert_eq!(value.to_string(), "776656 1 INVITE");
        assert_eq!(RAck::parse(&value.to_string()), Ok(value));
        assert_eq!(RAck::parse(" 776656  1\tINVITE "), Ok(value));
    }

    #[test]
    fn two_numbers_and_a_method_are_needed() {
        for bad in ["", "1", "1 2", "1 INVITE", "1 2INVITE", "1 2 INVITE x", "4294967296 1 INVITE"] {
            assert!(RAck::parse(bad).is_err(), "{bad:?}");
        }
    }
}
