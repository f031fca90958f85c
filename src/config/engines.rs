//! `[tenants.…]` and `[engines.…]`: who pays and who talks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::accounts;
use super::announcement;
use super::mistake::Problem;
use super::names::{Named, url};
use super::section::{Section, article};
use super::surroundings::{Secret, Surroundings};
use crate::call::{BargeInPolicy, Dialect, Engine, EngineName, Fallback, Tenant, TenantId};
use crate::spelling;
use crate::webhook::{self, Secrets};

/// Headers that belong to the upgrade itself.
const UPGRADE_HEADERS: [&str; 4] = ["host", "connection", "upgrade", "content-length"];
pub(super) fn tenants(
    sections: Vec<(String, Section<'_>)>,
    surroundings: &Surroundings,
    secrets: &mut BTreeMap<TenantId, Secrets>,
) -> Named<TenantId, Tenant> {
    let mut tenants = Named::new();
    for (name, mut section) in sections {
        let webhook_url = section.parsed("webhook_url", url(spelling::webhook_url));
        let secret = section.secret("webhook_secret", surroundings);
        let previous = section.secret("webhook_secret_previous", surroundings);
        let max_calls = section.number("max_calls", 1..=100_000).map(|calls| calls as usize);
        if webhook_url.is_some() && secret.is_none() {
            section.missing("webhook_secret", "{ env = \"WEBHOOK_SECRET\" }");
        }
        if previous.is_some() && secret.is_none() {
            section.missing("webhook_secret", "{ env = \"WEBHOOK_SECRET\" }");
        }
        let calls_per_second = section.number("calls_per_second", 1..=10_000);
        let account = accounts::account(section.section("twilio"), surroundings);
        section.finish();

        let id = TenantId::from(name.as_str());
        if let Some(secret) = &secret {
            let signing = |secret: &Secret| webhook::Secret::from(secret.reveal());
            let previous = previous.as_ref().map(signing);
            secrets.insert(id.clone(), Secrets { current: signing(secret), previous });
        }
        let tenant =
            Tenant { webhook_url, signs_webhooks: secret.is_some(), max_calls, calls_per_second, account };
        tenants.insert(name, Some((id, tenant)));
    }
    tenants
}

pub(super) fn engines(
    sections: Vec<(String, Section<'_>)>,
    surroundings: &Surroundings,
) -> Named<EngineName, Arc<Engine>> {
    let mut engines = Named::new();
    let mut names = Named::<EngineName, ()>::new();
    for (name, _) in &sections {
        names.insert(name.clone(), None);
    }
    for (name, section) in sections {
        let engine = engine(&name, section, &names, surroundings);
        engines.insert(name, engine.map(|engine| (engine.name.clone(), Arc::new(engine))));
    }
    engines
}

fn engine(
    name: &str,
    mut section: Section<'_>,
    engines: &Named<EngineName, ()>,
    surroundings: &Surroundings,
) -> Option<Engine> {
    let url = section.parsed("url", url(spelling::engine_url));
    if url.is_none() {
        section.missing("url", "\"wss://bot.example.com/ws\"");
    }
    let dialects = Dialect::ALL.map(|dialect| (dialect.as_str(), dialect));
    let dialect = section.choice("dialect", &dialects);
    let sample_rate = sample_rate(&mut section, dialect);
    if dialect.is_none() {
        section.missing("dialect", "\"edge.v1\" # or \"twilio\"");
    }
    let mut headers = headers(&mut section, surroundings);
    if let Some(token) = section.secret("token", surroundings) {
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let problem = "`headers` has an Authorization already; leave out one of the two";
            section.object("token", Problem::Conflict(problem.to_owned()));
        }
        headers.push(("Authorization".to_owned(), format!("Bearer {}", token.reveal())));
    }
    let parameters = parameters(&mut section);
    let connect_timeout = section.milliseconds("connect_timeout_ms", 100..=60_000);
    let accept_timeout = section.milliseconds("accept_timeout_ms", 100..=120_000);
    let resume_timeout = section.milliseconds("resume_timeout_ms", 0..=60_000);
    let max_calls = section.number("max_calls", 1..=100_000).map(|calls| calls as usize);
    let idle_timeout = section.milliseconds("idle_timeout_ms", 0..=3_600_000);
    if idle_timeout.is_some() && dialect.is_some_and(|dialect| !dialect.shares_socket()) {
        let problem = "only a socket that calls share can be idle, that of \"edge.mux.v1\"; leave it out";
        section.object("idle_timeout_ms", Problem::Conflict(problem.to_owned()));
    }
    let fallback = engines.read(&mut section, "fallback", "engine");
    if fallback.as_deref() == Some(name) {
        let problem = "an engine does not stand in for itself; name another one, or leave it out";
        section.object("fallback", Problem::Conflict(problem.to_owned()));
    }
    let barge_in = barge_in(&mut section, dialect);
    let on_lost = on_lost(&mut section, surroundings);
    section.finish();
    Some(Engine {
        name: name.into(),
        url: url?,
        dialect: dialect?,
        sample_rate,
        headers,
        parameters,
        connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(3)),
        accept_timeout: accept_timeout.unwrap_or(Duration::from_secs(10)),
        resume_timeout: resume_timeout.unwrap_or(Duration::from_secs(10)),
        idle_timeout: idle_timeout.unwrap_or(Duration::from_secs(60)),
        max_calls,
        fallback: fallback.map(|fallback| fallback.as_str().into()),
        barge_in,
        on_lost: on_lost?,
    })
}

/// Only `edge.v1` can be told what was thrown away; the others would go on as if it had been heard.
fn barge_in(section: &mut Section<'_>, dialect: Option<Dialect>) -> BargeInPolicy {
    let choices =
        [("engine", BargeInPolicy::Engine), ("pause", BargeInPolicy::Pause), ("cut", BargeInPolicy::Cut)];
    let policy = section.choice("barge_in", &choices).unwrap_or_default();
    if policy == BargeInPolicy::Cut && dialect.is_some_and(|dialect| !dialect.tells_what_was_cut()) {
        let problem = "this dialect cannot be told what was cut; write \"pause\", and let the engine clear";
        section.object("barge_in", Problem::Conflict(problem.to_owned()));
    }
    policy
}

/// Only some dialects leave it open.
fn sample_rate(section: &mut Section<'_>, dialect: Option<Dialect>) -> Option<media::SampleRate> {
    let hertz = section.number("sample_rate", 8_000..=48_000)?;
    let is_open = match dialect? {
        Dialect::Telnyx
        | Dialect::Plivo
        | Dialect::Exotel
        | Dialect::Vonage
        | Dialect::Jambonz
        | Dialect::Pipecat
        | Dialect::Ultravox => true,
        Dialect::EdgeV1
        | Dialect::EdgeMuxV1
        | Dialect::Twilio
        | Dialect::Asterisk
        | Dialect::AsteriskJson
        | Dialect::OpenAiRealtime
        | Dialect::OpenAiRealtimeBeta
        | Dialect::GeminiLive
        | Dialect::ElevenLabs
        | Dialect::Deepgram => false,
    };
    let problem = match media::SampleRate::try_from(hertz) {
        Ok(rate) if is_open => return Some(rate),
        Ok(_) => "this dialect has a rate of its own; leave it out".to_owned(),
        Err(error) => format!("{error}; write one of them"),
    };
    section.object("sample_rate", Problem::Conflict(problem));
    None
}

/// Values stand here as they are or, when they are secrets, as references.
fn headers(section: &mut Section<'_>, surroundings: &Surroundings) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in section.entries("headers") {
        let lower = name.to_ascii_lowercase();
        if let Err(problem) = spelling::header_name(name) {
            section.note(
                "headers",
                value,
                Problem::Value { found: name.to_owned(), problem: problem.to_owned() },
            );
        } else if UPGRADE_HEADERS.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
            let problem = "belongs to the websocket's own upgrade; leave it out".to_owned();
            section.note("headers", value, Problem::Value { found: name.to_owned(), problem });
        } else if let Some(text) = value.get_ref().as_str() {
            match spelling::header_value(text) {
                Ok(()) => headers.push((name.to_owned(), text.to_owned())),
                Err(problem) => {
                    let problem = problem.to_owned();
                    section.note("headers", value, Problem::Value { found: name.to_owned(), problem });
                }
            }
        } else if let Some(secret) = section.secret_item("headers", value, surroundings) {
            headers.push((name.to_owned(), secret.reveal().to_owned()));
        }
    }
    headers
}

fn parameters(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for (name, value) in section.entries("parameters") {
        match value.get_ref().as_str() {
            Some(text) => parameters.push((name.to_owned(), text.to_owned())),
            None => {
                let found = article(value.get_ref());
                section.note("parameters", value, Problem::Type { expected: "strings only", found });
            }
        }
    }
    parameters
}

fn on_lost(section: &mut Section<'_>, surroundings: &Surroundings) -> Option<Fallback> {
    #[derive(Clone, Copy)]
    enum Plan {
        Announce,
        HangUp,
    }
    let plan = section.choice("on_lost", &[("announce", Plan::Announce), ("hang_up", Plan::HangUp)]);
    let audio = match section.parsed("announcement", |path| announcement::load(path, surroundings)) {
        Some(audio) => Some(audio),
        None if section.is_there("announcement") => None,
        None => Some(announcement::built_in()),
    };
    match plan.unwrap_or(Plan::Announce) {
        Plan::Announce => audio.map(Fallback::Announce),
        Plan::HangUp => {
            if section.is_there("announcement") && audio.is_some() {
                let problem = "nothing is announced with `on_lost = \"hang_up\"`; leave out one of the two";
                section.object("announcement", Problem::Conflict(problem.to_owned()));
            }
            Some(Fallback::HangUp)
        }
    }
}
