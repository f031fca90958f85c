//! Session-Expires and Min-SE: how long a session lasts without a sign of life, and who gives it (RFC 4028 §4, §5).

use std::fmt;

use crate::header::Params;
use crate::lex::{Cursor, Malformed};

/// Which side of a transaction refreshes the session: roles of the request, not of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Whoever sends the request.
    Uac,
    /// Whoever answers it.
    Uas,
}

/// How long the session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// Seconds from the 2xx that says it.
    pub seconds: u32,
    /// Who refreshes; `None` where that is left to the other side.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a whole value. A refresher that is neither `uac` nor `uas` is none.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let (seconds, params) = seconds_with_params(text.as_ref())?;
        let refresher = match params.token("refresher") {
            Some(role) if role.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(role) if role.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) | None => None,
        };
        Ok(Self { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refresher {
            Some(Refresher::Uac) => write!(f, "{};refresher=uac", self.seconds),
            Some(Refresher::Uas) => write!(f, "{};refresher=uas", self.seconds),
            None => write!(f, "{}", self.seconds),
        }
    }
}

/// Seconds with parameters behind them, as Session-Expires and Min-SE have.
pub(crate) fn seconds_with_params(text: &[u8]) -> Result<(u32, Params), Malformed> {
    let mut cursor = Cursor::new(text);
    cursor.skip_lws();
    let seconds = cursor.number()?;
    let params = Params::read(&mut cursor)?;
    cursor.expect_end()?;
    Ok((seconds, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for refresher in [Some(Refresher::Uac), Some(Refresher::Uas), None] {
            let value = SessionExpires { seconds: 1800, refresher };

            assert_eq!(SessionExpires::parse(value.to_string()), Ok(value));
        }
    }

    #[test]
    fn case_and_unknown_parameters_do_not_matter_and_a_missing_number_does() {
        let value = SessionExpires::parse(" 90 ; x=y ; Refresher=UAS").unwrap();

        assert_eq!(value, SessionExpires { seconds: 90, refresher: Some(Refresher::Uas) });
        assert_eq!(SessionExpires::parse("90;refresher=me").unwrap().refresher, None);
        for bad in ["", "uac", "-1", "90 uac", "4294967296"] {
            assert!(SessionExpires::parse(bad).is_err(), "{bad:?}");
        }
    }
}
