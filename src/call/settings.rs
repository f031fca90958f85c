//! What the operator decided, checked and ready to use. The configuration file's own shape is in `config`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::account::Account;
use super::command::{MachineForHuman, RecordMode};
use super::destination::Destinations;
use super::engine::Dialect;
use super::hours::Closed;
use super::ids::{CallId, EngineName, ProviderKey, TenantId};
use super::naming::TrunkNames;
use super::number::NumberRules;
use super::rules::Rule;
use super::view::Mode;
use super::voice::Announcement;
use crate::provider::HookKeys;

/// Everything a call is decided by. Replaced as a whole on reload; running calls keep what they began with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host written into `Warning` headers and the From of calls whose trunk has no domain.
    pub sip_host: String,
    /// Address written into session descriptions.
    pub media_address: IpAddr,
    /// Local address of the RTP sockets; may be a wildcard.
    pub media_bind: IpAddr,
    /// Calls at once, over all tenants.
    pub max_calls: usize,
    /// Records that may wait for the disk before new calls are refused.
    pub max_unsaved: u64,
    /// What a source gets that belongs to no provider.
    pub unknown_sources: UnknownSources,
    /// When such a source is not even listened to; never where nothing is said.
    pub ban: Option<Ban>,
    /// How long calls may go on after a stop was asked for.
    pub drain_limit: Duration,
    /// Customers.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// Providers by key.
    pub providers: BTreeMap<ProviderKey, Arc<Provider>>,
    /// Engines by name.
    pub engines: BTreeMap<EngineName, Arc<Engine>>,
    /// How calls can be treated, by name.
    pub workflows: BTreeMap<String, Arc<Workflow>>,
    /// Where recordings go; without it none are made.
    pub recording: Option<Arc<RecordingSettings>>,
    /// What can be played, by name.
    pub announcements: BTreeMap<String, Arc<Announcement>>,
}

impl Settings {
    /// Whether a stream of this source is worth an ear: a provider's, or anyone's where strangers get an answer.
    pub fn admits(&self, source: IpAddr) -> bool {
        match self.unknown_sources {
            UnknownSources::Drop => {
                super::admission::is_known(self, source)
                    || super::admission::takes_strangers(self.providers.values())
            }
            UnknownSources::Refuse => true,
        }
    }
}

/// What a request from an address that no provider claims gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSources {
    /// Nothing; counted.
    Drop,
    /// 403 without a state on our side; counted.
    Refuse,
}

/// When a source that belongs to no provider is not listened to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// So many requests refused within a minute.
    pub after: u32,
    /// And for how long.
    pub lasts: Duration,
}

/// Where recordings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSettings {
    /// The directory of the files.
    pub directory: PathBuf,
    /// How long they are kept after the last was written to them.
    pub keep: Duration,
}

impl RecordingSettings {
    /// The file of a call's recording.
    pub fn file_of(&self, call: CallId) -> PathBuf {
        self.directory.join(format!("{call}.wav"))
    }
}

/// A customer.
#[derive(Debug, Clone, Default)]
pub struct Tenant {
    /// Where its events go, when the provider names nothing else.
    pub webhook_url: Option<String>,
    /// It has a secret. Without one no event is sent, wherever it should go.
    pub signs_webhooks: bool,
    /// Calls at once.
    pub max_calls: Option<usize>,
    /// New calls a second, both ways together.
    pub calls_per_second: Option<u32>,
    /// As applications for Twilio know it.
    pub account: Option<Arc<Account>>,
}

/// A way to the telephone network, or to a platform.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in paths and events.
    pub key: ProviderKey,
    /// What it is.
    pub kind: ProviderKind,
    /// Whose.
    pub tenant: TenantId,
    /// Where its events go.
    pub webhook_url: Option<String>,
    /// How it is reached.
    pub trunk: Trunk,
    /// Which numbers lead where; the first that matches counts.
    pub routes: Vec<Route>,
    /// For calls placed by REST that name no engine.
    pub default_engine: Option<EngineName>,
    /// For calls placed by REST that name no mode.
    pub default_mode: Mode,
    /// For calls that nothing else is said of.
    pub default_handling: Arc<Handling>,
}

/// What a provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// A plain SIP trunk or PBX.
    SipTrunk,
    /// Genesys Cloud, over AudioHook.
    AudioHook,
}

impl ProviderKind {
    /// As written in configuration and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SipTrunk => "sip-trunk",
            Self::AudioHook => "audiohook",
        }
    }
}

/// One configured way to a provider.
#[derive(Debug, Clone)]
pub struct Trunk {
    /// Where its requests come from.
    pub peers: Vec<IpNet>,
    /// Where ours go; without any the trunk is inbound only.
    pub targets: Vec<TrunkTarget>,
    /// Those of them that were written as names.
    pub names: TrunkNames,
    /// How long to be registered at a time, where the trunk wants REGISTER.
    pub register: Option<Duration>,
    /// Host part of the URIs we write for numbers; the target's address when not given.
    pub domain: Option<String>,
    /// For its 401 and 407.
    pub credentials: Option<sip::auth::Credentials>,
    /// How it proves that a call to us is its own.
    pub inbound_auth: InboundAuth,
    /// Calling number or URI when the request names none.
    pub from: Option<String>,
    /// In order of preference.
    pub codecs: Vec<media::Codec>,
    /// Whether its audio is encrypted.
    pub srtp: media::SrtpPolicy,
    /// How the keys of our offers are agreed on.
    pub srtp_keys: media::SrtpKeying,
    /// Who we are in a DTLS handshake; without it there is none.
    pub dtls: Option<Arc<media::DtlsIdentity>>,
    /// Whether our offers say that RTCP may share the port of RTP.
    pub rtcp_mux: bool,
    /// Where it may dial.
    pub destinations: Destinations,
    /// Calls at once.
    pub max_calls: Option<usize>,
    /// New calls a second, both ways together.
    pub calls_per_second: Option<u32>,
    /// How long an outbound call may ring when the request does not say.
    pub ring_timeout: Duration,
    /// How long without any response before a request counts as lost (Timer B, F).
    pub response_timeout: Duration,
    /// How long any call may last when the request does not say.
    pub max_duration: Duration,
    /// No RTP for so long ends the call.
    pub media_timeout: Duration,
    /// From REFER to its final NOTIFY.
    pub transfer_timeout: Duration,
    /// Whether one name is what a TLS certificate at any of its addresses must have.
    pub has_tls_name: bool,
    /// Which SIP extensions its dialogs use.
    pub policy: sip::Policy,
    /// Between OPTIONS to the target; none when not probed.
    pub probe_interval: Option<Duration>,
    /// Whether calls that it sends elsewhere (3xx) go there.
    pub follow_redirects: bool,
    /// Headers of the INVITE that the engine may see beside the usual ones, lower case.
    pub pass_headers: Vec<String>,
    /// Headers of our INVITEs in place of what would stand there.
    pub set_headers: Vec<(String, String)>,
    /// Headers that our INVITEs do not have, lower case.
    pub remove_headers: Vec<String>,
    /// How numbers that it sends are written here.
    pub numbers_in: NumberRules,
    /// How numbers of ours are written for it.
    pub numbers_out: NumberRules,
    /// Whether it is believed who calls (RFC 3325 §8).
    pub trust_identity: bool,
    /// Where it is told who calls, beside From.
    pub identity: IdentityHeader,
    /// Who a call may say it is from; anybody where nothing is said.
    pub caller_ids: Option<Vec<NumberPattern>>,
}

impl Trunk {
    /// A trunk to these targets, all else as an empty section of the configuration has it.
    pub fn to(targets: Vec<TrunkTarget>) -> Self {
        Self {
            peers: Vec::new(),
            probe_interval: (!targets.is_empty()).then_some(Duration::from_secs(30)),
            targets,
            names: TrunkNames::default(),
            register: None,
            domain: None,
            credentials: None,
            inbound_auth: InboundAuth::Address,
            from: None,
            codecs: media::Codec::USUAL.to_vec(),
            srtp: media::SrtpPolicy::Off,
            srtp_keys: media::SrtpKeying::Sdes,
            dtls: None,
            rtcp_mux: false,
            destinations: Destinations::default(),
            max_calls: None,
            calls_per_second: None,
            ring_timeout: Duration::from_secs(60),
            // 64·T1 (RFC 3261 §17.1.1.2).
            response_timeout: Duration::from_secs(32),
            max_duration: Duration::from_secs(7200),
            media_timeout: Duration::from_secs(60),
            transfer_timeout: Duration::from_secs(60),
            follow_redirects: true,
            pass_headers: Vec::new(),
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            numbers_in: NumberRules::default(),
            numbers_out: NumberRules::default(),
            has_tls_name: false,
            trust_identity: false,
            identity: IdentityHeader::None,
            caller_ids: None,
            policy: sip::Policy::default(),
        }
    }
}

/// Where a trunk is told who calls, beside From.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IdentityHeader {
    /// Nowhere.
    #[default]
    None,
    /// P-Asserted-Identity (RFC 3325): the trunk trusts us.
    Asserted,
    /// P-Preferred-Identity (RFC 3325): the trunk decides.
    Preferred,
    /// Remote-Party-ID, for those that came before RFC 3325.
    RemoteParty,
}

/// How a trunk proves that a call is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundAuth {
    /// By where it comes from.
    Address,
    /// By digest (RFC 3261 §22), wherever it comes from.
    Digest(InboundDigest),
    /// By both.
    Both(InboundDigest),
    /// By the signature of a request over HTTP; there is no SIP.
    Signed(HookKeys),
}

impl InboundAuth {
    /// What its calls have to show.
    pub fn digest(&self) -> Option<&InboundDigest> {
        match self {
            Self::Address | Self::Signed(_) => None,
            Self::Digest(digest) | Self::Both(digest) => Some(digest),
        }
    }
}

/// What the calls of a trunk have to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundDigest {
    /// Who they are.
    pub credentials: sip::auth::Credentials,
    /// How they may prove it, the preferred way first: one challenge each (RFC 8760 §2.4).
    pub algorithms: Vec<sip::auth::Algorithm>,
}

impl InboundDigest {
    /// What is offered where nothing is said.
    pub const USUAL: [sip::auth::Algorithm; 2] = [sip::auth::Algorithm::Sha256, sip::auth::Algorithm::Md5];
}

/// One far end of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkTarget {
    /// Where it is.
    pub target: sip::Target,
    /// Host, and port where one is written: as URIs name it.
    pub host: String,
    /// Lower numbers are tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
}

impl TrunkTarget {
    /// The only one, at an address.
    pub fn only(target: sip::Target) -> Self {
        Self { target, host: target.address.to_string(), priority: 1, weight: 1 }
    }
}

/// Which numbers lead to which engine.
#[derive(Debug, Clone)]
pub struct Route {
    /// The called number.
    pub number: NumberPattern,
    /// Who takes the call.
    pub engine: EngineName,
    /// How.
    pub mode: Mode,
    /// And what else belongs to it.
    pub handling: Arc<Handling>,
}

/// A way to treat calls, which routes and orders name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// Who takes the call.
    pub engine: EngineName,
    /// How it begins.
    pub mode: Mode,
    /// And what else belongs to it.
    pub handling: Arc<Handling>,
}

/// What happens in a call beyond its engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// Who is called when a human is wanted and nobody is named: numbers or SIP URIs.
    pub humans: Vec<String>,
    /// All at once, or one after the other.
    pub ring: RingGroup,
    /// How long each rings.
    pub human_rings: Option<Duration>,
    /// When a machine answers for one of them.
    pub human_machine: MachineForHuman,
    /// What a human hears before the caller.
    pub briefing: Option<Arc<Announcement>>,
    /// What a caller hears who waits for a human; ringback where nothing is said.
    pub waiting: Option<Arc<Announcement>>,
    /// When the human hangs up; decided by the mode where nothing is said.
    pub after_human: Option<AfterHuman>,
    /// The key that calls a human.
    pub human_key: Option<media::Digit>,
    /// How calls from the far end are treated when nobody is there.
    pub closed: Option<Closed>,
    /// What is done when something happens; the first that fits.
    pub rules: Vec<Rule>,
    /// A human takes the place of an engine that is lost or cannot be had.
    pub human_for_engine: bool,
    /// Whether calls are recorded when they do not say.
    pub record: RecordMode,
    /// What a call may come to; anything where it is empty.
    pub dispositions: Vec<String>,
}

/// How several humans are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RingGroup {
    /// One after the other.
    #[default]
    Sequential,
    /// All at once; the first who answers.
    Parallel,
}

/// When the human who had the caller hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterHuman {
    /// The engine takes the caller back.
    ReturnToAi,
    /// The call is over.
    HangUp,
}

/// A called number, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberPattern {
    /// This one.
    Exact(String),
    /// All that begin so; the empty prefix is any number.
    Prefix(String),
}

impl NumberPattern {
    /// Whether the user part of a called URI is meant.
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == number,
            Self::Prefix(prefix) => number.starts_with(prefix.as_str()),
        }
    }
}

/// An AI engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Its name.
    pub name: EngineName,
    /// `ws://` or `wss://`.
    pub url: String,
    /// Its language.
    pub dialect: Dialect,
    /// Samples a second, where the dialect leaves them open; what it usually has where nothing is said.
    pub sample_rate: Option<media::SampleRate>,
    /// Sent with the upgrade (secrets among them: never logged).
    pub headers: Vec<(String, String)>,
    /// Told at the start.
    pub parameters: Vec<(String, String)>,
    /// From the first packet to the open socket.
    pub connect_timeout: Duration,
    /// From `start` to its decision.
    pub accept_timeout: Duration,
    /// How long an engine that can resume is asked to, after its socket was lost; zero: never.
    pub resume_timeout: Duration,
    /// How long a socket that calls share stays open without any.
    pub idle_timeout: Duration,
    /// How many calls it has at once, at most.
    pub max_calls: Option<usize>,
    /// Who is asked in its place when it fails.
    pub fallback: Option<EngineName>,
    /// What becomes of its audio when the caller speaks at the same time.
    pub barge_in: BargeInPolicy,
    /// When it is lost in the middle of a call.
    pub on_lost: Fallback,
}

impl Engine {
    /// One socket would do for both.
    pub fn is_same_node(&self, other: &Self) -> bool {
        self.url == other.url && self.dialect == other.dialect && self.headers == other.headers
    }
}

/// What becomes of an engine's audio when the caller speaks at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BargeInPolicy {
    /// It is played: the engine decides, and says `clear`.
    #[default]
    Engine,
    /// It is paused until the engine clears it or the caller is quiet.
    Pause,
    /// It is paused, and thrown away when the caller goes on.
    Cut,
}

/// Plan B.
#[derive(Debug, Clone)]
pub enum Fallback {
    /// Tell the caller, then hang up.
    Announce(Arc<Announcement>),
    /// Hang up.
    HangUp,
}
