//! Keys that come as INFO, in the two ways that telephones send them.
//! ```text
//!   Content-Type: application/dtmf-relay      Content-Type: application/dtmf
//!   Signal=5                                  5
//!   Duration=160
//! ```
//! Neither was ever written down in an RFC; RFC 6086 §1 mentions the practice. What is lenient here is so because some peer
//! needs it: spaces around `=`, any case, a `Signal` of 10 and 11 for `*` and `#`, no `Duration`.

use std::time::Duration;

/// A key without a length.
const USUAL: Duration = Duration::from_millis(160);
/// What a key may take.
const LENGTHS: std::ops::RangeInclusive<u64> = 20..=8_000;

/// Why a body is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// Of another type.
    Type,
    /// Of one of the two, and not to be read.
    Malformed,
}

/// What types an INFO may have.
pub(super) const ACCEPTED: &str = "application/dtmf-relay, application/dtmf";

/// The key in the body of an INFO.
pub(super) fn key(content_type: &str, body: &[u8]) -> Result<(media::Digit, Duration), NoKey> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = std::str::from_utf8(body).map_err(|_| NoKey::Malformed)?;
    match kind.as_str() {
        "application/dtmf-relay" => relay(text),
        "application/dtmf" => Ok((digit(text.trim())?, USUAL)),
        _ => Err(NoKey::Type),
    }
}

fn relay(text: &str) -> Result<(media::Digit, Duration), NoKey> {
    let (mut signal, mut duration) = (None, USUAL);
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("signal", value) => signal = Some(digit(value)?),
            ("duration", value) => {
                let ms: u64 = value.parse().map_err(|_| NoKey::Malformed)?;
                duration = Duration::from_millis(ms.clamp(*LENGTHS.start(), *LENGTHS.end()));
            }
            (_, _) => {}
        }
    }
    signal.map(|signal| (signal, duration)).ok_or(NoKey::Malformed)
}

fn digit(text: &str) -> Result<media::Digit, NoKey> {
    let mut letters = text.chars();
    let key = match (text, letters.next(), letters.next()) {
        ("10", ..) => '*',
        ("11", ..) => '#',
        (_, Some(key), None) => key.to_ascii_uppercase(),
        (_, _, _) => return Err(NoKey::Malformed),
    };
    media::Digit::try_from(key).map_err(|_| NoKey::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<(char, u64), NoKey> {
        key(content_type, body.as_bytes())
            .map(|(digit, length)| (digit.as_char(), u64::try_from(length.as_millis()).unwrap_or(0)))
    }

    #[test]
    fn both_ways_and_their_varieties_are_read() {
        assert_eq!(read("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n"), Ok(('5', 250)));
        assert_eq!(
            read("Application/DTMF-Relay; charset=utf-8", "signal = # \nduration= 9999999"),
            Ok(('#', 8_000))
        );
        assert_eq!(read("application/dtmf-relay", "Signal=11\r\n"), Ok(('#', 160)));
        assert_eq!(read("application/dtmf", " d\r\n"), Ok(('D', 160)));
        assert_eq!(read("application/dtmf", "10"), Ok(('*', 160)));
    }

    #[test]
    fn what_is_no_key_says_which_kind_of_none() {
        assert_eq!(read("text/plain", "5"), Err(NoKey::Type));
        assert_eq!(read("application/dtmf", "55"), Err(NoKey::Malformed));
        assert_eq!(read("application/dtmf", ""), Err(NoKey::Malformed));
        assert_eq!(read("application/dtmf-relay", "Duration=100"), Err(NoKey::Malformed));
        assert_eq!(read("application/dtmf-relay", "Signal=5\r\nDuration=long"), Err(NoKey::Malformed));
        assert_eq!(key("application/dtmf", &[0xFF]), Err(NoKey::Malformed));
    }
}
