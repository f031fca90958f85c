//! Names of things: calls, legs, tenants, providers, engines, events, requests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use rand::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One conversation. Written `call_` and a ULID, so that text order is the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(ulid::Ulid);

/// The text is not a call id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call id is `call_` followed by 26 characters")]
pub struct NotACallId;

impl CallId {
    /// No call's id.
    pub(super) const NOBODY: Self = Self(ulid::Ulid(0));

    /// A new id: the wall clock for the order, 80 bits of chance against guessing.
    pub fn new(wall: SystemTime, chance: &mut impl RngCore) -> Self {
        let ms = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let random = u128::from(chance.next_u64()) << 64 | u128::from(chance.next_u64());
        Self(ulid::Ulid::from_parts(u64::try_from(ms).unwrap_or(u64::MAX), random))
    }

    /// The call of that number.
    pub(super) fn from_u128(number: u128) -> Self {
        Self(ulid::Ulid(number))
    }

    /// The call's place in the order of creation, for cursors and hashing.
    pub fn as_u128(self) -> u128 {
        self.0.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ulid::ULID_LEN];
        write!(f, "call_{}", self.0.array_to_str(&mut text))
    }
}

impl FromStr for CallId {
    type Err = NotACallId;

    fn from_str(text: &str) -> Result<Self, NotACallId> {
        let ulid = text.strip_prefix("call_").ok_or(NotACallId)?;
        ulid::Ulid::from_string(ulid).map(Self).map_err(|_| NotACallId)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An event of a call: the call and the event's `seq`, so that no crash can give one event two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The call.
    pub call: CallId,
    /// Counts the call's events from 1.
    pub seq: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ulid::ULID_LEN];
        write!(f, "evt_{}_{}", self.call.0.array_to_str(&mut text), self.seq)
    }
}

impl FromStr for EventId {
    type Err = NotACallId;

    fn from_str(text: &str) -> Result<Self, NotACallId> {
        let (ulid, seq) =
            text.strip_prefix("evt_").and_then(|rest| rest.split_once('_')).ok_or(NotACallId)?;
        let call = ulid::Ulid::from_string(ulid).map(CallId).map_err(|_| NotACallId)?;
        Ok(Self { call, seq: seq.parse().map_err(|_| NotACallId)? })
    }
}

/// One side of a call: 0 is the leg the call began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u8);

/// The leg a call begins with.
pub const FIRST_LEG: LegId = LegId(0);

/// Whoever waits for the answer to a [`super::Command`]; the shell knows who that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written in the configuration.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A customer of the edge: what a token belongs to and what never sees another's calls.
    TenantId
);
name!(
    /// The `{key}` of a provider in the API's paths and in every event.
    ProviderKey
);
name!(
    /// A configured engine.
    EngineName
);

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn ids_read_back_what_they_write_and_sort_by_time() {
        let mut chance = SmallRng::seed_from_u64(7);
        let earlier = CallId::new(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10), &mut chance);
        let later = CallId::new(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(11), &mut chance);

        assert_eq!(earlier.to_string().parse(), Ok(earlier));
        assert!(earlier.to_string() < later.to_string());
        let event = EventId { call: later, seq: 12 };
        assert_eq!(event.to_string().parse(), Ok(event));
        assert!("call_".parse::<CallId>().is_err());
        assert!("evt_x_1".parse::<EventId>().is_err());
    }
}
