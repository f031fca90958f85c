//! `[providers.…]` of `kind = "audiohook"`: what Genesys proves itself with, and how many sessions it may open.

use super::section::Section;
use super::surroundings::Surroundings;
use crate::call::{InboundAuth, Trunk};
use crate::provider::HookKeys;

/// The trunk of sessions that come over a websocket: nothing of SIP is in it.
pub(super) fn trunk(section: &mut Section<'_>, surroundings: &Surroundings) -> Option<Trunk> {
    let api_key = section.secret("api_key", surroundings);
    if api_key.is_none() && !section.is_there("api_key") {
        section.missing("api_key", "{ env = \"AUDIOHOOK_API_KEY\" }");
    }
    let secret = section.secret("client_secret", surroundings);
    if secret.is_none() && !section.is_there("client_secret") {
        section.missing("client_secret", "{ env = \"AUDIOHOOK_SECRET\" }");
    }
    let organization = section.text("organization");
    let max_calls = section.number("max_calls", 1..=100_000).map(|calls| calls as usize);
    let calls_per_second = section.number("calls_per_second", 1..=10_000);
    let max_duration = section.seconds("max_duration_sec", 1..=86_400);
    let keys = HookKeys::new(api_key?.reveal().to_owned(), secret?.reveal(), organization);
    let keys = match keys {
        Ok(keys) => keys,
        Err(problem) => {
            section.object("client_secret", super::mistake::Problem::Conflict(problem.to_string()));
            return None;
        }
    };
    let usual = Trunk::to(Vec::new());
    Some(Trunk {
        inbound_auth: InboundAuth::Signed(keys),
        max_calls,
        calls_per_second,
        max_duration: max_duration.unwrap_or(usual.max_duration),
        ..usual
    })
}
