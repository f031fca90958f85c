//! What a trunk is told and believed of who calls, how it writes numbers, and which headers it wants.

use super::mistake::Problem;
use super::section::Section;
use crate::call::{IdentityHeader, NumberPattern, NumberRules};
use crate::spelling;

/// Where a trunk is told who calls.
const IDENTITY: [(&str, IdentityHeader); 4] = [
    ("none", IdentityHeader::None),
    ("pai", IdentityHeader::Asserted),
    ("ppi", IdentityHeader::Preferred),
    ("rpid", IdentityHeader::RemoteParty),
];

/// See the module.
pub(super) struct Manners {
    pub(super) trust_identity: bool,
    pub(super) identity: IdentityHeader,
    pub(super) caller_ids: Option<Vec<NumberPattern>>,
    pub(super) numbers_in: NumberRules,
    pub(super) numbers_out: NumberRules,
    pub(super) set_headers: Vec<(String, String)>,
    pub(super) remove_headers: Vec<String>,
}

pub(super) fn manners(section: &mut Section<'_>) -> Manners {
    Manners {
        trust_identity: section.flag("trust_identity").unwrap_or(false),
        identity: section.choice("identity", &IDENTITY).unwrap_or_default(),
        caller_ids: section.list("caller_ids", caller_id),
        numbers_in: NumberRules::new(section.list("numbers_in", rule).unwrap_or_default()),
        numbers_out: NumberRules::new(section.list("numbers_out", rule).unwrap_or_default()),
        set_headers: set_headers(section),
        remove_headers: section.list("remove_headers", header_of_ours).unwrap_or_default(),
    }
}

/// A number, or with `*` at its end all that begin so.
fn caller_id(text: &str) -> Result<NumberPattern, String> {
    match text.strip_suffix('*') {
        Some(prefix) if !prefix.is_empty() && is_beginning(prefix) => {
            Ok(NumberPattern::Prefix(prefix.to_owned()))
        }
        Some(_) => Err("is not the beginning of numbers; write one like +1800555*".to_owned()),
        None => Ok(spelling::number(text).map(|()| NumberPattern::Exact(text.to_owned()))?),
    }
}

/// `00=+`: what begins with the one begins with the other instead.
fn rule(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(from, to)| is_beginning(from) && is_beginning(to));
    let parts = parts.filter(|(from, to)| from != to);
    let (from, to) = parts.ok_or_else(|| {
        "is not a rule; write the beginning of numbers, `=` and what stands there instead, like \"00=+\" or \"0=+49\""
            .to_owned()
    })?;
    Ok((from.to_owned(), to.to_owned()))
}

/// Nothing is one, too: of every number.
fn is_beginning(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    text.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'))
}

fn set_headers(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in section.entries("set_headers") {
        let Some(text) = value.get_ref().as_str() else {
            section.note("set_headers", value, Problem::Conflict("write strings only".to_owned()));
            continue;
        };
        match header_of_ours(name).and_then(|_| Ok(spelling::header_value(text)?)) {
            Ok(()) => headers.push((name.to_owned(), text.to_owned())),
            Err(problem) => {
                section.note("set_headers", value, Problem::Value { found: name.to_owned(), problem });
            }
        }
    }
    headers
}

/// A header that is no part of how the message finds its way, lower case.
fn header_of_ours(text: &str) -> Result<String, String> {
    /// What a request is made of (RFC 3261 §8.1.1), and what the transaction and dialog layers say in it.
    const FIXED: [&str; 24] = [
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "max-forwards",
        "contact",
        "route",
        "record-route",
        "content-type",
        "content-length",
        "content-disposition",
        "authorization",
        "proxy-authorization",
        "require",
        "supported",
        "allow",
        "allow-events",
        "session-expires",
        "min-se",
        "rack",
        "rseq",
        "replaces",
        "user-agent",
    ];
    spelling::header_name(text)?;
    let lower = text.to_ascii_lowercase();
    // A compact form stands for one of them, or for nothing that is ours.
    if lower.len() == 1 || FIXED.contains(&lower.as_str()) {
        return Err("is not for the configuration to decide; write another header".to_owned());
    }
    Ok(lower)
}
