//! Who a caller is, beside From: what the network asserts, what the caller wants kept quiet, how the call has come.
//! ```text
//!   in    P-Asserted-Identity, Remote-Party-ID     only from a trunk that is trusted        -> asserted
//!         P-Preferred-Identity, Privacy            as they are                              -> preferred, privacy
//!         Diversion, History-Info                  the entries, the latest diversion first  -> diversion, history
//!         Identity                                 as it is: nobody here has checked it     -> stir
//!   out   From, and the header in which the trunk wants to be told who calls; `anonymous` where that was asked for
//! ```
//! RFC 3323, 3325, 5806, 7044, 8224.

use serde::{Deserialize, Serialize};

use super::number::{self, NumberRules};
use super::settings::{IdentityHeader, Provider};

/// Entries of a list that are kept; the headers of an event have them all.
const ENTRIES_MAX: usize = 16;
/// Longest text that is kept.
const TEXT_MAX: usize = 4096;

/// What an INVITE says of its caller and of its way, beside From.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Identity {
    /// Who it is, says the network: P-Asserted-Identity, else Remote-Party-ID. Empty where the provider is not trusted.
    pub asserted: Vec<Person>,
    /// Who the caller would like to be: P-Preferred-Identity. Nobody has checked it.
    pub preferred: Option<Person>,
    /// What the caller wants kept quiet: the values of Privacy, like `id`.
    pub privacy: Vec<String>,
    /// Who has sent the call on, the latest first: Diversion.
    pub diversion: Vec<Diverted>,
    /// Where the call was sent before it came here, in order: History-Info.
    pub history: Vec<Visited>,
    /// The values of Identity (STIR), unchecked.
    pub stir: Vec<String>,
}

/// Somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Person {
    /// The whole URI.
    pub uri: String,
    /// Its number or user.
    pub number: String,
    /// The name beside it.
    pub name: Option<String>,
}

/// One Diversion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diverted {
    /// By whom.
    #[serde(flatten)]
    pub by: Person,
    /// Why, like `unconditional`, `user-busy`, `no-answer`.
    pub reason: Option<String>,
    /// How often.
    pub counter: Option<u32>,
    /// Whether the one who diverted wants to be named: `full`, `off`.
    pub privacy: Option<String>,
}

/// One entry of History-Info.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Visited {
    /// Whom the request was for.
    #[serde(flatten)]
    pub target: Person,
    /// Its place in the tree, like `1.1`.
    pub index: Option<String>,
    /// Why it went on from there, like `SIP;cause=302`.
    pub reason: Option<String>,
    /// Whether it may be told further, like `history`.
    pub privacy: Option<String>,
}

impl Identity {
    /// What an INVITE says, as far as the provider that brings it is believed.
    pub(super) fn of(request: &sip::Message, provider: &Provider) -> Self {
        let trunk = &provider.trunk;
        let numbers = &trunk.numbers_in;
        let people = |name| {
            let read = request.name_addrs(name).map_while(Result::ok).take(ENTRIES_MAX);
            read.filter_map(|entry| Some((Person::of(&entry, numbers)?, entry))).collect::<Vec<_>>()
        };
        let mut asserted = Vec::new();
        let mut privacy: Vec<String> = values(request, sip::HeaderName::Privacy)
            .flat_map(|value| value.split(';').map(|one| one.trim().to_owned()).collect::<Vec<_>>())
            .filter(|one| !one.is_empty())
            .take(ENTRIES_MAX)
            .collect();
        if trunk.trust_identity {
            asserted = people(sip::HeaderName::PAssertedIdentity);
            if asserted.is_empty() {
                asserted = people(sip::HeaderName::RemotePartyId);
                asserted.retain(|(_, entry)| {
                    entry.params().token("party").is_none_or(|party| party == "calling")
                });
                let hidden =
                    |entry: &sip::NameAddr| entry.params().token("privacy").is_some_and(|how| how != "off");
                if asserted.iter().any(|(_, entry)| hidden(entry)) && !privacy.iter().any(|one| one == "id") {
                    privacy.push("id".to_owned());
                }
            }
        }
        Self {
            asserted: asserted.into_iter().map(|(person, _)| person).collect(),
            preferred: people(sip::HeaderName::PPreferredIdentity)
                .into_iter()
                .map(|(person, _)| person)
                .next(),
            privacy,
            diversion: people(sip::HeaderName::Diversion).into_iter().map(Diverted::of).collect(),
            history: people(sip::HeaderName::HistoryInfo).into_iter().map(Visited::of).collect(),
            stir: values(request, sip::HeaderName::Identity).take(ENTRIES_MAX).collect(),
        }
    }
}

impl Person {
    fn of(entry: &sip::NameAddr, numbers: &NumberRules) -> Option<Self> {
        let uri = entry.uri().without_headers();
        let number = numbers.apply(&number::shown(&uri));
        let name = entry.display().map(str::to_owned);
        let fits = uri.as_str().len() <= TEXT_MAX && name.as_ref().is_none_or(|name| name.len() <= TEXT_MAX);
        fits.then(|| Self { uri: uri.to_string(), number, name })
    }
}

impl Diverted {
    fn of((by, entry): (Person, sip::NameAddr)) -> Self {
        let text = |name: &str| parameter(&entry, name);
        let counter = text("counter").and_then(|text| text.parse().ok());
        Self { by, reason: text("reason"), counter, privacy: text("privacy") }
    }
}

impl Visited {
    fn of((target, entry): (Person, sip::NameAddr)) -> Self {
        // RFC 7044 §5.1: reason and privacy stand in the URI, as headers of it.
        let header = |name: &str| {
            let mut headers = entry.uri().headers();
            let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.into_owned()).filter(|value| value.len() <= TEXT_MAX)
        };
        Self {
            target,
            index: parameter(&entry, "index"),
            reason: header("Reason"),
            privacy: header("Privacy"),
        }
    }
}

fn parameter(entry: &sip::NameAddr, name: &str) -> Option<String> {
    let value = entry.params().get(name)?.value()?.into_owned();
    (value.len() <= TEXT_MAX).then_some(value)
}

fn values(request: &sip::Message, name: sip::HeaderName) -> impl Iterator<Item = String> {
    request.headers(name).map(|value| value.text().into_owned()).filter(|value| value.len() <= TEXT_MAX)
}

/// What is kept quiet in a call of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Nothing.
    #[default]
    None,
    /// Who calls: From is `anonymous`, and the network is told not to pass on whom it knows (RFC 3323, RFC 3325).
    Id,
}

/// How an INVITE of ours names its caller.
pub(super) struct Shown {
    pub(super) from: sip::NameAddr,
    pub(super) headers: sip::Headers,
}

/// `from` as a trunk wants to be told of it.
pub(super) fn shown(from: sip::NameAddr, privacy: Privacy, header: IdentityHeader) -> Shown {
    let is_private = match privacy {
        Privacy::None => false,
        Privacy::Id => true,
    };
    let mut headers = sip::Headers::new();
    let is_somebody = from.uri().user().is_some_and(|user| !user.eq_ignore_ascii_case("anonymous"));
    if is_somebody {
        match header {
            IdentityHeader::None => {}
            IdentityHeader::Asserted => headers.push(("P-Asserted-Identity".into(), from.to_string())),
            IdentityHeader::Preferred => headers.push(("P-Preferred-Identity".into(), from.to_string())),
            IdentityHeader::RemoteParty => {
                let how = if is_private { "full" } else { "off" };
                headers.push((
                    "Remote-Party-ID".into(),
                    format!("{from};party=calling;privacy={how};screen=yes"),
                ));
            }
        }
    }
    if !is_private {
        return Shown { from, headers };
    }
    headers.push(("Privacy".into(), "id".to_owned()));
    // RFC 3323 §4.1.1.3.
    let nobody = sip::Uri::parse("sip:anonymous@anonymous.invalid").expect("a URI of our own");
    Shown { from: sip::NameAddr::new(nobody).with_display("Anonymous"), headers }
}
