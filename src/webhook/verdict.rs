//! What the answer to a POST means, and what to call a failure. Pure.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::guard::Refusal;
use super::receiver::NotAReceiver;
use crate::call::Timestamp;

/// However long a receiver asks us to wait, no longer than this: it may be a mistake, and the events are waiting.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A 2xx: the receiver has it.
    Acknowledged(StatusCode),
    /// Anything else.
    Failed {
        /// Why.
        failure: Failure,
        /// Not before that long.
        retry_after: Option<Duration>,
    },
    /// The delivery was no longer pending when its turn came: its call was retired, or it was replayed meanwhile.
    Obsolete,
    /// Our own disk did not give the body: nothing was tried.
    NotRead,
}

/// Why an attempt did not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not a 2xx. Redirects are among them: they are not followed.
    #[error("HTTP {}", .0.as_u16())]
    Status(StatusCode),
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] NotAReceiver),
    /// The tenant has no secret to sign with.
    #[error("the tenant has no signing secret")]
    NoSecret,
    /// The name does not resolve.
    #[error("the name does not resolve: {0}")]
    Dns(String),
    /// The guard says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No TCP connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// No TLS session.
    #[error("no TLS session: {0}")]
    Tls(String),
    /// No response in time.
    #[error("timed out")]
    TimedOut,
    /// The connection ended, or what came was not HTTP.
    #[error("no response: {0}")]
    Broken(String),
}

impl Failure {
    /// The word that metrics are counted under.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Status(status) if status.is_redirection() => "redirect",
            Self::Status(status) if status.is_client_error() => "client_error",
            Self::Status(_) => "server_error",
            Self::Url(_) => "url",
            Self::NoSecret => "no_secret",
            Self::Dns(_) => "dns",
            Self::Refused(_) => "refused_address",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::TimedOut => "timeout",
            Self::Broken(_) => "broken",
        }
    }

    /// It will not be any different next time: the address may not be reached, or is none.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Url(_) | Self::Refused(_) => true,
            Self::Status(_)
            | Self::NoSecret
            | Self::Dns(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::TimedOut
            | Self::Broken(_) => false,
        }
    }

    /// Says something of the receiver as a whole when it comes with `Retry-After` (RFC 9110 §15.6.4, RFC 6585 §4).
    pub(super) fn speaks_for_the_receiver(&self) -> bool {
        match self {
            Self::Status(status) => {
                *status == StatusCode::SERVICE_UNAVAILABLE || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Url(_)
            | Self::NoSecret
            | Self::Dns(_)
            | Self::Refused(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::TimedOut
            | Self::Broken(_) => false,
        }
    }
}

impl Verdict {
    /// What a response's head means. `now` is for a `Retry-After` that is a date.
    pub fn of(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        if status.is_success() {
            return Self::Acknowledged(status);
        }
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self::Failed {
            failure: Failure::Status(status),
            retry_after: retry_after.and_then(|text| retry_after_delay(text, now)),
        }
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self::Failed { failure, retry_after: None }
    }
}

/// RFC 9110 §10.2.3: seconds, or one of the three date formats of §5.6.7. What is neither is ignored.
fn retry_after_delay(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) => LONGEST_RETRY_AFTER,
        Err(_) => now.until(httpdate::parse_http_date(text).ok()?.into()),
    };
    Some(delay.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-20T17:31:04Z.
    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_779_298_264_000)
    }

    #[test]
    fn every_2xx_acknowledges_and_nothing_else_does() {
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).unwrap();

            let verdict = Verdict::of(status, &HeaderMap::new(), now());

            assert_eq!(verdict == Verdict::Acknowledged(status), (200..300).contains(&code), "{code}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Wed, 20 May 2026 17:33:04 GMT", Some(120)),
            ("Wednesday, 20-May-26 17:33:04 GMT", Some(120)),
            ("Wed May 20 17:33:04 2026", Some(120)),
            ("Wed, 20 May 2026 17:00:00 GMT", Some(0)),
            ("Thu, 20 May 2027 17:33:04 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after_delay(text, now()), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
