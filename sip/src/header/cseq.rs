//! CSeq: the place of a request in its dialog (RFC 3261 §20.16).

use std::fmt;

use crate::lex::{Cursor, Malformed};
use crate::message::Method;

/// A sequence number and the method it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CSeq<'a> {
    /// Grows by one with each new request of a dialog, except ACK and CANCEL.
    pub number: u32,
    /// The method of the request, also in its responses.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads a whole value. A number beyond 32 bits is an error; one beyond 2³¹ is not, although nobody should send it.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(text: &'a T) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let number = cursor.number()?;
        let gap = cursor.at();
        cursor.skip_lws();
        let method = cursor.token()?;
        if gap + method.len() == cursor.at() {
            return Err(Malformed { at: gap });
        }
        cursor.expect_end()?;
        Ok(Self { number, method: Method::from_token(method) })
    }
}

impl fmt::Display for CSeq<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_and_folds_do_not_matter() {
        assert_eq!(CSeq::parse("0009\r\n  INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse("1 x").unwrap().to_string(), "1 x");
    }

    #[test]
    fn a_number_without_method_or_beyond_32_bits_is_refused() {
        for bad in [
            "",
            "1",
            "1INVITE",
            "INVITE 1",
            "1 INVITE x",
            "36893488147419103232 REGISTER",
            "-1 INVITE",
            "1 IN/VITE",
        ] {
            assert!(CSeq::parse(bad).is_err(), "{bad:?} was read");
        }
    }
}
