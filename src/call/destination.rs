//! Where a trunk may dial. Nothing but what the operator named: whoever holds a token, or talks an engine into a
//! transfer, must not be able to ring premium numbers at the operator's cost.
//! ```text
//!   number      the longest prefix that matches decides, `deny` where both are as long
//!   SIP URI     its host in the same way; a number before the @ has to pass as well
//!   never       who is on the trunk's do-not-call list
//!   no list     the countries of the trunk's own numbers, extensions, and the trunk's own hosts
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use super::do_not_call::DoNotCall;
use super::settings::{NumberPattern, Route, Trunk};

/// Longest number without `+` that is an extension rather than a way out of the country.
const EXTENSION_MAX: usize = 6;

/// One entry of `allow_destinations` or `deny_destinations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Everything.
    Anywhere,
    /// Numbers that begin so: `+49`, or digits as they are dialled.
    Number(String),
    /// SIP URIs of this host.
    Host(String),
    /// SIP URIs of this domain and what is below it, without the first dot.
    Below(String),
    /// SIP URIs whose host is an address in this network.
    Network(IpNet),
}

/// What a trunk may dial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    /// As written; without a list the trunk's own country and hosts.
    pub allow: Option<Vec<Place>>,
    /// Exceptions.
    pub deny: Vec<Place>,
    /// The countries of the trunk's own numbers, `+1`: what may be dialled without a list.
    pub home: Vec<String>,
    /// Who is not called whatever else is allowed.
    pub do_not_call: DoNotCall,
}

/// What may not be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The operator has not allowed it: what to write so that it may be.
    #[error("the provider may not dial {what}; where it should, write {entry} into its `allow_destinations`")]
    NotAllowed {
        /// The number, or the host of a SIP URI.
        what: String,
        /// Of `allow_destinations`.
        entry: String,
    },
    /// Whoever has this number is not to be called.
    #[error("{0} is on the provider's do-not-call list")]
    DoNotCall(String),
}

impl Forbidden {
    /// The stable code that the API answers and an engine reads.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "destination.forbidden",
            Self::DoNotCall(_) => "destination.do_not_call",
        }
    }
}

impl Destinations {
    /// Whether a call or a transfer may go to this URI over `trunk`, whose own hosts need no entry.
    pub fn permit(&self, uri: &sip::Uri, trunk: &Trunk) -> Result<(), Forbidden> {
        let number = uri.user_text().and_then(|user| number_in(&user));
        let number = number.map(|number| trunk.numbers_in.apply(&number));
        if let Some(number) = number {
            if !self.permits_number(&number) {
                return Err(Forbidden::NotAllowed { entry: entry_for(&number), what: number });
            }
            if self.do_not_call.holds(&number) {
                return Err(Forbidden::DoNotCall(number));
            }
        }
        match uri.host() {
            Some(host) if !self.permits_host(host, trunk) => {
                let entry = format!("\"sip:{host}\"");
                Err(Forbidden::NotAllowed { what: format!("SIP URIs of {host}"), entry })
            }
            Some(_) => Ok(()),
            None => {
                let entry = "\"sip:example.com\"".to_owned();
                Err(Forbidden::NotAllowed { what: uri.to_string(), entry })
            }
        }
    }

    fn permits_number(&self, number: &str) -> bool {
        let fits = |place: &Place| match place {
            Place::Anywhere => Some(0),
            Place::Number(prefix) => number.starts_with(prefix.as_str()).then_some(prefix.len()),
            Place::Host(_) | Place::Below(_) | Place::Network(_) => None,
        };
        let allowed = match &self.allow {
            Some(allow) => allow.iter().filter_map(fits).max(),
            None if number.starts_with('+') => {
                let home = self.home.iter().filter(|country| number.starts_with(country.as_str()));
                home.map(String::len).max()
            }
            None => (number.len() <= EXTENSION_MAX).then_some(0),
        };
        allowed > self.deny.iter().filter_map(fits).max()
    }

    fn permits_host(&self, host: sip::Host<'_>, trunk: &Trunk) -> bool {
        let fits = |place: &Place| fit_of_host(place, host);
        let own = is_own(host, trunk).then_some(0);
        let allowed = self.allow.iter().flatten().filter_map(fits).max().max(own);
        allowed > self.deny.iter().filter_map(fits).max()
    }
}

/// How closely a place names a host: an address or a name more than what is around it.
fn fit_of_host(place: &Place, host: sip::Host<'_>) -> Option<usize> {
    let text = host.to_string().to_ascii_lowercase();
    match place {
        Place::Anywhere => Some(0),
        Place::Number(_) => None,
        Place::Host(name) => (*name == text).then_some(usize::MAX),
        Place::Below(domain) => {
            let before = text.strip_suffix(domain.as_str())?;
            (before.is_empty() || before.ends_with('.')).then_some(domain.len())
        }
        Place::Network(network) => {
            let inside = host.ip().is_some_and(|address| network.contains(&address));
            inside.then(|| usize::from(network.prefix_len()))
        }
    }
}

/// The trunk itself: its domain, its targets, and whoever may call through it.
fn is_own(host: sip::Host<'_>, trunk: &Trunk) -> bool {
    let is_it = |own: &str| {
        let written = sip::Uri::parse(format!("sip:{own}")).ok();
        written.is_some_and(|written| written.host() == Some(host))
    };
    let by_address = |address: IpAddr| {
        trunk.peers.iter().any(|network| network.contains(&address))
            || trunk.targets.iter().any(|at| at.target.address.ip().to_canonical() == address)
    };
    trunk.domain.as_deref().is_some_and(is_it)
        || trunk.targets.iter().any(|at| is_it(&at.host))
        || trunk.names.written.iter().any(|name| is_it(&name.host))
        || host.ip().is_some_and(by_address)
}

/// The number that a user part is, without what is only there for the eye and without parameters.
fn number_in(user: &str) -> Option<String> {
    let user = user.split(';').next().unwrap_or_default();
    let number: String = user.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let dialled = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#');
    (!digits.is_empty() && digits.chars().all(dialled)).then_some(number)
}

fn entry_for(number: &str) -> String {
    let prefix = country_of(number).unwrap_or_else(|| number.chars().take(4).collect());
    format!("\"{prefix}\" or a longer prefix")
}

/// The country code of an E.164 number, with its `+` (ITU-T E.164 list of assigned codes).
pub fn country_of(number: &str) -> Option<String> {
    const OF_TWO: [u8; 43] = [
        20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57,
        58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95,
    ];
    let digits = number.strip_prefix('+')?;
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    let length = match digits.get(..2)?.parse::<u8>() {
        Ok(10..=19 | 70..=79) => 1,
        Ok(98) => 2,
        Ok(two) if OF_TWO.contains(&two) => 2,
        Ok(_) | Err(_) => 3,
    };
    digits.get(..length).map(|code| format!("+{code}"))
}

/// The countries of a trunk's own numbers: the one it calls from and those that it is called at.
pub fn home(from: Option<&str>, routes: &[Route]) -> Vec<String> {
    let numbers = routes.iter().map(|route| match &route.number {
        NumberPattern::Exact(number) | NumberPattern::Prefix(number) => number.as_str(),
    });
    let mut home: Vec<String> = numbers
        .chain(from)
        .filter_map(|number| match number {
            // A prefix may be the country alone.
            "+1" | "+7" => Some(number.to_owned()),
            number => country_of(number),
        })
        .collect();
    home.sort();
    home.dedup();
    home
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::settings::TrunkTarget;

    #[test]
    fn the_longest_prefix_decides_and_deny_where_both_are_as_long() {
        let destinations = Destinations {
            allow: Some(vec![number("+1"), number("+1900555"), number("+49"), number("2")]),
            deny: vec![number("+1900"), number("+49")],
            home: vec!["+33".into()],
            ..Destinations::default()
        };

        for (to, may) in [
            ("+16505824074", true),
            ("+19005551234", true),
            ("+19001234567", false),
            ("+4930123456", false),
            ("+33123456789", false),
            ("200", true),
            ("300", false),
        ] {
            assert_eq!(destinations.permits_number(to), may, "{to}");
        }
    }

    #[test]
    fn without_a_list_a_trunk_dials_its_own_country_and_extensions() {
        let destinations = Destinations { home: home(Some("+15550000"), &[]), ..Destinations::default() };

        for (to, may) in [
            ("sip:+16505824074@10.0.0.9", true),
            ("sip:%2B16505824074@10.0.0.9", true),
            ("sip:+37012345678@10.0.0.9", false),
            ("sip:0037012345678@10.0.0.9", false),
            ("sip:200@10.0.0.9:5070", true),
            ("sip:reception@10.0.0.77", true),
            ("sip:reception@trunk.example.com", true),
            ("sip:reception@TRUNK.example.COM:5080;transport=tcp", true),
            ("sip:reception@example.org", false),
            ("sip:+370-123.456-78@trunk.example.com", false),
            ("sip:+37012345678;phone-context=x@trunk.example.com", false),
        ] {
            assert_eq!(destinations.permit(&uri(to), &trunk()).is_ok(), may, "{to}");
        }
    }

    #[test]
    fn a_number_at_a_foreign_host_has_to_pass_as_a_number_too() {
        let destinations = Destinations {
            allow: Some(vec![Place::Below("example.org".into()), number("+49")]),
            deny: vec![
                Place::Host("bad.example.org".into()),
                Place::Network("10.0.0.77/32".parse().unwrap()),
            ],
            ..Destinations::default()
        };

        for (to, may) in [
            ("sip:alice@example.org", true),
            ("sip:alice@pbx.example.org", true),
            ("sip:alice@notexample.org", false),
            ("sip:alice@bad.example.org", false),
            ("sip:+4930123456@example.org", true),
            ("sip:+19001234567@example.org", false),
            ("sip:alice@10.0.0.77", false),
            ("sip:alice@10.0.0.78", true),
        ] {
            assert_eq!(destinations.permit(&uri(to), &trunk()).is_ok(), may, "{to}");
        }
    }

    #[test]
    fn who_is_not_to_be_called_is_not_wherever_the_trunk_may_dial() {
        let do_not_call = DoNotCall::read("+16505824074").unwrap();
        let destinations =
            Destinations { allow: Some(vec![Place::Anywhere]), do_not_call, ..Destinations::default() };

        for to in [
            "sip:+16505824074@10.0.0.9",
            "sip:+1-650-582-4074@example.org",
            "sip:%2B16505824074;x=y@a.example",
        ] {
            let refused = destinations.permit(&uri(to), &trunk()).unwrap_err();
            assert_eq!(refused.code(), "destination.do_not_call", "{to}");
        }
        assert!(destinations.permit(&uri("sip:+16505824075@10.0.0.9"), &trunk()).is_ok());
    }

    #[test]
    fn the_refusal_says_what_to_write() {
        let refused = |to: &str| Destinations::default().permit(&uri(to), &trunk()).unwrap_err().to_string();

        assert_eq!(
            refused("sip:+37012345678@10.0.0.9"),
            "the provider may not dial +37012345678; where it should, write \"+370\" or a longer prefix into its \
             `allow_destinations`"
        );
        assert!(refused("sip:alice@example.org").contains("write \"sip:example.org\" into"));
    }

    #[test]
    fn every_country_code_has_its_length() {
        for (number, country) in
            [("+16505824074", "+1"), ("+79161234567", "+7"), ("+4930123456", "+49"), ("+37012345678", "+370")]
        {
            assert_eq!(country_of(number).as_deref(), Some(country));
        }
        assert_eq!(country_of("16505824074"), None);
        assert_eq!(country_of("+1"), None);
    }

    fn number(prefix: &str) -> Place {
        Place::Number(prefix.into())
    }

    fn uri(text: &str) -> sip::Uri {
        sip::Uri::parse(text).unwrap()
    }

    fn trunk() -> Trunk {
        let target =
            sip::Target { transport: sip::Transport::Udp, address: "10.0.0.9:5060".parse().unwrap() };
        Trunk {
            peers: vec!["10.0.0.0/24".parse().unwrap()],
            domain: Some("trunk.example.com".into()),
            ..Trunk::to(vec![TrunkTarget::only(target)])
        }
    }
}
