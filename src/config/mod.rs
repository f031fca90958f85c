//! The configuration file: one TOML, read as a whole, every mistake told with its line and what to write instead.
//!
//! ```text
//!   text --toml--> tables --Section--> Config ----> call::Settings   replaced on reload
//!                     |                  |--------> addresses, ports, paths   for the start only
//!                     +--> Mistakes      +--------> secrets of webhooks
//! ```
//! All or nothing: what has one mistake yields no [`Config`] at all. Secrets are references and are read here, so
//! that a missing one is a mistake of the configuration and not of the first call.

mod accounts;
mod announcement;
mod audiohook;
mod credentials;
mod daemon;
mod do_not_call;
mod engines;
mod example;
mod hours;
mod intakes;
mod manners;
mod mistake;
mod names;
mod overlap;
mod providers;
mod rules;
mod section;
mod sip_tls;
mod surroundings;
mod workflows;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use toml::de::DeTable;

pub use credentials::Wanted;
pub use example::{EXAMPLE, EXAMPLE_FILE};
pub use mistake::{Mistake, Problem};
pub use surroundings::{Held, Secret, SecretsAre, Surroundings};

use crate::api::{Credentials, Intake, MetricsAccess};
use crate::call::{Located, Provider, ProviderKey, Settings};
use crate::net::Tls;
use crate::webhook::WebhookSettings;
use section::{Report, SecretReference, Section};

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where SIP is heard.
    pub sip: Sip,
    /// What its TLS streams are opened with; replaced on reload.
    pub sip_tls: Tls,
    /// Who is asked where the names of targets lead; the system's own name servers when empty.
    pub dns_servers: Vec<SocketAddr>,
    /// Where RTP is.
    pub media: Media,
    /// Where the API is.
    pub http: Http,
    /// Where everything is kept.
    pub store: Store,
    /// What is logged.
    pub log: Log,
    /// How webhooks are signed and where they may go.
    pub webhooks: WebhookSettings,
    /// What calls are decided by.
    pub settings: Arc<Settings>,
    /// How credentials are held, and which secrets the file refers to.
    pub credentials: Arc<Credentials>,
    /// Where events of platforms come in.
    pub intakes: Arc<BTreeMap<String, Intake>>,
    /// The text that all this was read from.
    pub source: Arc<str>,
    references: Vec<SecretReference>,
    /// The certificates that we show, for whoever wants to know how long they are good.
    pub shown: Vec<ShownCertificate>,
}

/// A certificate that we show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The section that names it: `http`, `sip`, `providers.sip-main`.
    pub section: String,
    /// The first of its chain.
    pub certificate: CertificateDer<'static>,
}

/// `[sip]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// Sockets to open.
    pub listen: Vec<Listen>,
    /// Address written into Via and Contact, where a socket's own is not what peers reach.
    pub advertise: Option<IpAddr>,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
}

/// A socket to open for SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// UDP, TCP or TLS.
    pub transport: sip::Transport,
    /// Local address; port 0 lets the kernel choose.
    pub address: SocketAddr,
}

/// `[media]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Local address of RTP sockets; may be a wildcard.
    pub address: IpAddr,
    /// Address written into session descriptions; never a wildcard.
    pub advertise: IpAddr,
    /// RTP on the even ports, RTCP on the odd ones.
    pub ports: RangeInclusive<u16>,
    /// Voice threads; the machine's choice when none.
    pub workers: Option<NonZeroUsize>,
    /// How long a port rests after a call, so that late packets of one never reach the next.
    pub port_quarantine: Duration,
    /// How long a gap in the sequence is waited for, at most.
    pub reorder: Duration,
    /// Whether what is lost is guessed.
    pub conceal: bool,
}

/// `[http]`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Certificate and key, when it speaks TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Connections at once; further ones are closed at once.
    pub max_connections: usize,
    /// Readers of `/api/events` at once; further ones get 429.
    pub max_event_streams: usize,
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The database file.
    pub path: PathBuf,
    /// How long ended calls and delivered events are kept.
    pub keep: Duration,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Filter of `tracing`: `info`, or `info,callingedge::api=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}; `callingedge init` writes one to begin with", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}", tell(path, mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// All that was found, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

impl Config {
    /// Reads the file and everything it refers to. Also for a reload: what comes back is whole, or an error. `open` reads
    /// what of it the edge holds itself, and is asked only where there is any. Names of targets are not looked up here.
    pub fn load(path: &Path, open: impl FnOnce(Wanted) -> Held) -> Result<Self, ConfigError> {
        Self::load_again(path, &text_of(path)?, open)
    }

    /// The same, from a text of the file that was read before.
    pub fn load_again(
        path: &Path,
        text: &str,
        open: impl FnOnce(Wanted) -> Held,
    ) -> Result<Self, ConfigError> {
        let mut surroundings = Surroundings::of(path);
        // Where the vault is, and what opens it, stands in the file itself. One that cannot be read even so is told below.
        if let Ok(outline) = Self::parse(text, &Surroundings::offline(path)) {
            let names = credentials::held(&outline.references);
            if !names.is_empty() {
                surroundings.held = match credentials::key_apart(&outline.references, &surroundings) {
                    Ok(key) => open(Wanted { store: outline.store.path, names, key }),
                    Err(why) => names.into_iter().map(|name| (name, Err(why.clone()))).collect(),
                };
            }
        }
        Self::parse(text, &surroundings)
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })
    }

    /// Reads the file, but neither secrets nor names: enough to know what is configured, not enough to run.
    pub fn load_offline(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&text_of(path)?, &Surroundings::offline(path))
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, surroundings: &Surroundings) -> Result<Self, Vec<Mistake>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let report = Report::new(text);
        for error in errors {
            let line = error.span().map(|span| report.line(span.start));
            let problem = Problem::Syntax(error.message().to_owned());
            report.note(Mistake { line, section: String::new(), key: None, problem });
        }
        // What could not be read is not judged: its keys would only look missing.
        if report.is_clean() {
            let config = read(Section::top(document.get_ref(), &report), surroundings);
            if report.is_clean() {
                let config = config.map(|config| Self { source: text.into(), ..config });
                return config.ok_or_else(|| report.into_mistakes());
            }
        }
        Err(report.into_mistakes())
    }

    /// What of it changes when the names of targets lead elsewhere: the settings, and what TLS streams are opened with.
    pub fn located(&self, located: &Located) -> (Arc<Settings>, Tls) {
        let settings = self.settings.located(located);
        let named =
            settings.providers.iter().filter(|(_, provider)| !provider.trunk.names.written.is_empty());
        let names = named.map(|(key, provider)| {
            (key.as_str().to_owned(), sip_tls::named(&providers::names_of(&provider.trunk)))
        });
        let tls = self.sip_tls.located(&names.collect());
        (Arc::new(settings), tls)
    }

    /// The sections in which `newer` differs and which only a restart puts into effect.
    pub fn needs_restart_for(&self, newer: &Self) -> Vec<&'static str> {
        let http = |config: &Self| {
            let Http { listen, tls, metrics, max_connections, max_event_streams } = &config.http;
            (*listen, tls.is_some(), *metrics, *max_connections, *max_event_streams)
        };
        let sections = [
            ("sip", self.sip != newer.sip),
            ("media", self.media != newer.media),
            ("http", http(self) != http(newer)),
            ("store", self.store != newer.store),
            ("log", self.log != newer.log),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })
}

fn read(mut top: Section<'_>, surroundings: &Surroundings) -> Option<Config> {
    let mut limits = top.section("limits");
    let max_calls = limits.number("max_calls", 1..=100_000).unwrap_or(1000);
    let max_unsaved = limits.number("max_unsaved_records", 100..=10_000_000).unwrap_or(20_000);
    let drain_limit = limits.seconds("drain_sec", 0..=86_400).unwrap_or(Duration::from_secs(60));
    limits.finish();

    let (sip, strangers, identity) = daemon::sip(top.section("sip"), surroundings);
    let mut sip_tls = sip_tls::SipTls { server: identity, trunks: Vec::new() };
    let dns_servers = daemon::dns(top.section("dns"));
    let media = daemon::media(top.section("media"), max_calls);
    let mut shown = Vec::new();
    let http = daemon::http(top.section("http"), surroundings, &mut shown);
    let store = daemon::store(top.section("store"), surroundings);
    let log = daemon::log(top.section("log"));
    let mut webhooks = daemon::webhooks(top.section("webhooks"), surroundings);

    let sealing_key = credentials::key(top.section("credentials"), surroundings);
    let tenants = engines::tenants(top.named_sections("tenants"), surroundings, &mut webhooks.secrets);
    let intakes = intakes::intakes(top.named_sections("intakes"), &tenants);
    let recording = daemon::recording(&mut top, surroundings);
    let announcements = announcement::all(&mut top, surroundings);
    let engines = engines::engines(top.named_sections("engines"), surroundings);
    let hours = hours::hours(top.named_sections("hours"));
    let workflows = workflows::workflows(top.named_sections("workflows"), surroundings, &engines, &hours);
    let providers = providers::providers(
        top.named_sections("providers"),
        surroundings,
        &tenants,
        &webhooks.secrets,
        &engines,
        &workflows,
        &mut sip_tls,
    );
    if let Some(providers) = &providers {
        check_ways(providers, &sip, &mut top);
    }
    sip_tls.tell_shown(&mut shown);
    let sip_tls = sip_tls.build(&mut top);
    if providers.as_ref().is_some_and(BTreeMap::is_empty) {
        let problem = "no provider, so no call could come or go; write a [providers.NAME]";
        top.object_whole(Problem::Conflict(problem.to_owned()));
    }
    if let Some(providers) = &providers {
        overlap::check(providers, &mut top);
    }
    if let Some(providers) = &providers {
        accounts::check(&tenants.known, providers, &announcements, &mut top);
    }
    let references = top.references();
    top.finish();

    let media = media?;
    let providers = providers?;
    let credentials = Credentials {
        key: sealing_key,
        held: credentials::held(&references),
        references: credentials::of_tenants(references.clone(), &providers),
    };
    let settings = Settings {
        sip_host: host(sip.advertise.unwrap_or(media.advertise)),
        media_address: media.advertise,
        media_bind: media.address,
        max_calls: max_calls as usize,
        max_unsaved: max_unsaved.into(),
        unknown_sources: strangers.unknown_sources,
        ban: strangers.ban,
        drain_limit,
        tenants: tenants.known,
        providers,
        engines: engines.known,
        workflows: workflows::known(workflows),
        recording,
        announcements,
    };
    Some(Config {
        sip,
        sip_tls,
        dns_servers,
        media,
        http: http?,
        store,
        log,
        webhooks,
        settings: Arc::new(settings),
        credentials: Arc::new(credentials),
        intakes,
        source: Arc::from(""),
        references,
        shown,
    })
}

/// The far end of a trunk sends its requests to a listener of ours that speaks what we speak to it.
fn check_ways(providers: &BTreeMap<ProviderKey, Arc<Provider>>, sip: &Sip, top: &mut Section<'_>) {
    for provider in providers.values() {
        let is_deaf =
            |transport: &sip::Transport| sip.listen.iter().all(|listen| listen.transport != *transport);
        let addresses = provider.trunk.targets.iter().map(|at| at.target.transport);
        let names = provider.trunk.names.written.iter().filter_map(|name| name.sought.decided());
        if let Some(transport) = addresses.chain(names).find(is_deaf) {
            let port = transport.default_port();
            let transport = transport.as_param();
            let problem = format!(
                "a target of [providers.{}] is reached over {transport}, and nothing listens for its requests; add \
                 \"{transport}:0.0.0.0:{port}\" to `listen` in [sip]",
                provider.key,
            );
            top.object("providers", Problem::Conflict(problem));
        }
    }
}

/// As it stands in a URI.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn tell(path: &Path, mistakes: &[Mistake]) -> String {
    let count = match mistakes.len() {
        1 => "one mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let mut text = format!("{count} in {}", path.display());
    for mistake in mistakes {
        text.push_str(&format!("\n  {mistake}"));
    }
    text
}

#[cfg(test)]
mod tests;
