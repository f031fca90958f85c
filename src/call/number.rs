//! Numbers and URIs as people write them, and as SIP does.

use super::command::CommandError;
use super::destination::Forbidden;
use super::settings::Trunk;

/// Why something cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDialable {
    #[error("write an E.164 number (+16505824074), digits, or a SIP URI (sip:user@host)")]
    Syntax,
    #[error("the SIP URI is malformed: write sip:user@host or sip:user@host:port")]
    Uri,
    #[error("a number needs the trunk's `domain` or `target`")]
    NoDomain,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

impl NotDialable {
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden(_))
    }

    /// What an engine is told.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(problem) => problem.code(),
            Self::Syntax | Self::Uri | Self::NoDomain => "field.invalid",
        }
    }

    /// What the API is told of this field.
    pub(super) fn at(self, field: &'static str) -> CommandError {
        match self {
            Self::Forbidden(problem) => CommandError::DestinationForbidden { field, problem },
            Self::Syntax | Self::Uri | Self::NoDomain => {
                CommandError::Invalid { field, problem: self.to_string() }
            }
        }
    }
}

/// How the beginnings of numbers are rewritten, the first rule that fits: a trunk may write `0049…` or `089…` for what
/// is `+49…` everywhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberRules(Vec<(String, String)>);

impl NumberRules {
    /// Rules in the order in which they are tried: what begins with the one begins with the other.
    pub fn new(rules: Vec<(String, String)>) -> Self {
        Self(rules)
    }

    /// The number as the rules write it. What is no number stays as it is.
    pub fn apply(&self, number: &str) -> String {
        let digits = number.strip_prefix('+').unwrap_or(number);
        let is_number =
            !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#'));
        let mut fitting = self.0.iter().filter(|_| is_number);
        let written =
            fitting.find_map(|(from, to)| Some(format!("{to}{}", number.strip_prefix(from.as_str())?)));
        written.unwrap_or_else(|| number.to_owned())
    }
}

/// Whether a call over this trunk may say that it is from there.
pub(super) fn may_call_as(from: &str, trunk: &Trunk) -> Result<(), CommandError> {
    let Some(allowed) = &trunk.caller_ids else { return Ok(()) };
    let number = sip::Uri::parse(from).map_or_else(|_| from.to_owned(), |uri| shown(&uri));
    if allowed.iter().any(|pattern| pattern.matches(&number)) {
        return Ok(());
    }
    let problem = "is not one of the provider's `caller_ids`; write one that is, or leave it out".to_owned();
    Err(CommandError::Invalid { field: "from", problem })
}

/// [`uri`], if the trunk may dial it.
pub(super) fn destination(to: &str, trunk: &Trunk) -> Result<sip::Uri, NotDialable> {
    trunk.destinations.permit(&written(to, trunk, &NumberRules::default())?, trunk)?;
    uri(to, trunk)
}

/// The URI to request for `to`: a SIP URI as it is, a number at the trunk's domain and as the trunk wants it.
pub(super) fn uri(to: &str, trunk: &Trunk) -> Result<sip::Uri, NotDialable> {
    written(to, trunk, &trunk.numbers_out)
}

fn written(to: &str, trunk: &Trunk, rules: &NumberRules) -> Result<sip::Uri, NotDialable> {
    let scheme = to.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    if let Some("sip" | "sips") = scheme.as_deref() {
        return sip::Uri::parse(to).map_err(|_| NotDialable::Uri);
    }
    let number: String = to.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#')) {
        return Err(NotDialable::Syntax);
    }
    // `#` is not allowed in the user part of a URI as it is (RFC 3261 §25.1).
    let user = rules.apply(&number).replace('#', "%23");
    sip::Uri::parse(format!("sip:{user}@{}", domain(trunk)?)).map_err(|_| NotDialable::Uri)
}

/// Host (and port) of the URIs of a trunk's numbers.
pub(super) fn domain(trunk: &Trunk) -> Result<String, NotDialable> {
    let first = || {
        let named = trunk.names.written.first().map(|name| &name.host);
        trunk.targets.first().map(|target| &target.host).or(named)
    };
    trunk.domain.as_ref().or_else(first).cloned().ok_or(NotDialable::NoDomain)
}

/// Whether dialling `uri` reaches `whom`: the same user, at the same place or at the trunk that has brought them.
pub(super) fn reaches(uri: &sip::Uri, whom: &sip::Uri, trunk: &Trunk) -> bool {
    let place = |uri: &sip::Uri| {
        uri.host().map(|host| (host.to_string().to_ascii_lowercase(), uri.port().unwrap_or(5060)))
    };
    let at_trunk = || {
        let trunk = domain(trunk).ok().and_then(|domain| sip::Uri::parse(format!("sip:{domain}")).ok());
        trunk.is_some_and(|trunk| place(uri) == place(&trunk))
    };
    shown(uri) == shown(whom) && (place(uri) == place(whom) || at_trunk())
}

/// How a URI is shown: its number or user where it has one, else the whole.
pub(super) fn shown(uri: &sip::Uri) -> String {
    match uri.user() {
        Some(user) if !user.is_empty() => user.replace("%23", "#").replace("%2B", "+").replace("%2b", "+"),
        Some(_) | None => uri.to_string(),
    }
}
