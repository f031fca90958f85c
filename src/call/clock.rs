//! Wall-clock time for those who read events. Deadlines never use it: they run on `Instant`.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// A moment for people and other systems: RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

impl Timestamp {
    /// Whole milliseconds since 1970.
    pub fn unix_ms(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }

    /// The moment `ms` milliseconds after 1970.
    pub fn from_unix_ms(ms: i64) -> Self {
        let nanos = i128::from(ms) * 1_000_000;
        Self(OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// As mail and Twilio write it: `Mon, 30 Nov 2026 21:24:19 +0000`.
    pub fn to_rfc2822(self) -> String {
        self.0.format(&Rfc2822).unwrap_or_default()
    }

    /// From `self` to `later`, nothing when `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        (later.0 - self.0).try_into().unwrap_or_default()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let ms = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        Self::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| std::fmt::Error)?)
    }
}

/// Turns the monotonic time of the pure layers into wall-clock time. The shell sets it anew now and
/// then, so a corrected system clock is followed.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    anchor: Instant,
    wall: SystemTime,
}

impl WallClock {
    /// The wall clock showed `wall` at `now`.
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        Self { anchor: now, wall }
    }

    /// What the wall clock shows at `now`.
    pub fn at(&self, now: Instant) -> SystemTime {
        match now.checked_duration_since(self.anchor) {
            Some(later) => self.wall + later,
            None => self.wall - self.anchor.duration_since(now),
        }
    }

    /// [`Self::at`] as it is written.
    pub fn timestamp(&self, now: Instant) -> Timestamp {
        self.at(now).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339_in_utc_with_milliseconds() {
        let timestamp = Timestamp::from_unix_ms(1_779_298_264_120);

        assert_eq!(timestamp.to_string(), "2026-05-20T17:31:04.12Z");
        assert_eq!(serde_json::to_string(&timestamp).unwrap(), "\"2026-05-20T17:31:04.12Z\"");
        assert_eq!(timestamp.unix_ms(), 1_779_298_264_120);
    }
}
