//! Event and Subscription-State: what a NOTIFY reports and whether more will come (RFC 6665 §8.2).

use std::fmt;

use crate::header::Params;
use crate::lex::{Cursor, Malformed};

/// The event package of a subscription, with the `id` that tells two subscriptions of one dialog apart: for REFER the
/// CSeq number of the REFER (RFC 3515 §2.4.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The package: `refer`, `dialog`, `presence.winfo` …
    pub package: String,
    /// All parameters.
    pub params: Params,
}

impl Event {
    /// Reads a whole value.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let package = cursor.token()?.to_owned();
        let params = Params::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(Self { package, params })
    }

    /// Whether this is the package of that name.
    pub fn is(&self, package: &str) -> bool {
        self.package.eq_ignore_ascii_case(package)
    }

    /// The `id` parameter.
    pub fn id(&self) -> Option<&str> {
        self.params.token("id")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.package, self.params)
    }
}

/// How a subscription stands after a NOTIFY.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionState {
    /// The state itself.
    pub status: SubscriptionStatus,
    /// All parameters.
    pub params: Params,
}

/// The states of RFC 6665 §4.1.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubscriptionStatus {
    /// Accepted; notifications follow.
    Active,
    /// Received; not yet decided.
    Pending,
    /// Over. No further NOTIFY will come.
    Terminated,
    /// An extension; to be treated as active.
    Other(String),
}

impl SubscriptionState {
    /// Reads a whole value.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(text.as_ref());
        cursor.skip_lws();
        let status = match cursor.token()? {
            token if token.eq_ignore_ascii_case("active") => SubscriptionStatus::Active,
            token if token.eq_ignore_ascii_case("pending") => SubscriptionStatus::Pending,
            token if token.eq_ignore_ascii_case("terminated") => SubscriptionStatus::Terminated,
            token => SubscriptionStatus::Other(token.to_owned()),
        };
        let params = Params::read(&mut cursor)?;
        cursor.expect_end()?;
        Ok(Self { status, params })
    }

    /// Why it ended: `noresource`, `timeout`, `deactivated` …
    pub fn reason(&self) -> Option<&str> {
        self.params.token("reason")
    }

    /// Seconds until it ends by itself; `None` also when the value is no number.
    pub fn expires(&self) -> Option<u32> {
        self.params.token("expires")?.parse().ok()
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match &self.status {
            SubscriptionStatus::Active => "active",
            SubscriptionStatus::Pending => "pending",
            SubscriptionStatus::Terminated => "terminated",
            SubscriptionStatus::Other(token) => token,
        };
        write!(f, "{status}{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refer_subscription_is_told_apart_by_its_id() {
        let event = Event::parse("Refer ; id=93809824").unwrap();

        assert!(event.is("refer"));
        assert_eq!((event.id(), event.to_string().as_str()), (Some("93809824"), "Refer;id=93809824"));
        assert!(Event::parse(";id=1").is_err());
    }

    #[test]
    fn the_end_of_a_subscription_says_why() {
        let state = SubscriptionState::parse("Terminated;reason=noresource;expires=0").unwrap();

        assert_eq!((&state.status, state.reason()), (&SubscriptionStatus::Terminated, Some("noresource")));
        assert_eq!(
            (state.expires(), state.to_string().as_str()),
            (Some(0), "terminated;reason=noresource;expires=0")
        );
        assert!(SubscriptionState::parse("").is_err());
    }
}
