//! `[providers.…]` and their routes: where calls come from, where they go, who takes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::audiohook;
use super::daemon;
use super::do_not_call;
use super::manners::manners;
use super::mistake::Problem;
use super::names::{Named, url};
use super::section::Section;
use super::sip_tls::{self, SipTls};
use super::surroundings::Surroundings;
use super::workflows;
use crate::call::{
    Destinations, Engine, EngineName, Handling, InboundAuth, InboundDigest, Mode, NumberPattern, Place,
    Provider, ProviderKey, ProviderKind, Route, TargetName, Tenant, TenantId, Trunk, TrunkNames, TrunkTarget,
    Workflow,
};
use crate::spelling;
use crate::webhook::Secrets;

/// Modes of calls without a workflow: the other two need its humans.
const MODES: [(&str, Mode); 2] = [("ai_only", Mode::AiOnly), ("ai_first", Mode::AiFirst)];

/// How session timers are used.
const SESSION_TIMERS: [(&str, sip::SessionTimerMode); 3] = [
    ("off", sip::SessionTimerMode::Off),
    ("accept", sip::SessionTimerMode::Accept),
    ("ask", sip::SessionTimerMode::Ask),
];

/// What a call has to show to be taken for one of the trunk.
#[derive(Debug, Clone, Copy)]
enum HowKnown {
    Address,
    Digest,
    Both,
}

const INBOUND_AUTH: [(&str, HowKnown); 3] =
    [("address", HowKnown::Address), ("digest", HowKnown::Digest), ("both", HowKnown::Both)];

/// What callers may prove a password with.
const INBOUND_ALGORITHMS: [sip::auth::Algorithm; 3] =
    [sip::auth::Algorithm::Sha512t256, sip::auth::Algorithm::Sha256, sip::auth::Algorithm::Md5];

/// Whether audio is encrypted.
const SRTP: [(&str, media::SrtpPolicy); 3] = [
    ("off", media::SrtpPolicy::Off),
    ("prefer", media::SrtpPolicy::Prefer),
    ("require", media::SrtpPolicy::Require),
];

/// How the keys of our offers are agreed on.
const SRTP_KEYS: [(&str, media::SrtpKeying); 2] =
    [("sdes", media::SrtpKeying::Sdes), ("dtls", media::SrtpKeying::Dtls)];

/// Whether provisional responses are acknowledged.
const RELIABLE: [(&str, sip::ReliableProvisionals); 3] = [
    ("off", sip::ReliableProvisionals::Off),
    ("supported", sip::ReliableProvisionals::Supported),
    ("required", sip::ReliableProvisionals::Required),
];

/// `None` when one of them could not be read; what is wrong with it has been noted.
pub(super) fn providers(
    sections: Vec<(String, Section<'_>)>,
    surroundings: &Surroundings,
    tenants: &Named<TenantId, Tenant>,
    secrets: &BTreeMap<TenantId, Secrets>,
    engines: &Named<EngineName, Arc<Engine>>,
    workflows: &Named<String, Arc<Workflow>>,
    sip_tls: &mut SipTls,
) -> Option<BTreeMap<ProviderKey, Arc<Provider>>> {
    let mut complete = true;
    let mut providers = BTreeMap::new();
    for (name, section) in sections {
        match provider(&name, section, surroundings, tenants, secrets, engines, workflows, sip_tls) {
            Some(provider) => drop(providers.insert(provider.key.clone(), Arc::new(provider))),
            None => complete = false,
        }
    }
    complete.then_some(providers)
}

fn provider(
    name: &str,
    mut section: Section<'_>,
    surroundings: &Surroundings,
    tenants: &Named<TenantId, Tenant>,
    secrets: &BTreeMap<TenantId, Secrets>,
    engines: &Named<EngineName, Arc<Engine>>,
    workflows: &Named<String, Arc<Workflow>>,
    sip_tls: &mut SipTls,
) -> Option<Provider> {
    let kinds = [ProviderKind::SipTrunk, ProviderKind::AudioHook].map(|kind| (kind.as_str(), kind));
    let kind = section.choice("kind", &kinds);
    if kind.is_none() {
        section.missing("kind", "\"sip-trunk\"");
    }
    let tenant = tenants.read(&mut section, "tenant", "tenant");
    if tenant.is_none() {
        section.missing("tenant", "\"acme\" # one of [tenants.…]");
    }
    let webhook_url = section.parsed("webhook_url", url(spelling::webhook_url));
    if let (Some(_), Some(tenant)) = (&webhook_url, &tenant)
        && !secrets.contains_key(tenant.as_str())
    {
        let problem = format!(
            "events are signed, and the tenant `{tenant}` has no secret; write `webhook_secret = {{ env = \
             \"WEBHOOK_SECRET\" }}` in [tenants.{tenant}]"
        );
        section.object("webhook_url", Problem::Conflict(problem));
    }
    let workflow = workflows::read(&mut section, workflows);
    let engine = engines.read(&mut section, "engine", "engine");
    let engine = workflow.as_ref().map(|workflow| workflow.engine.as_str().to_owned()).or(engine);
    let mode = section.choice("mode", &MODES).unwrap_or(Mode::AiFirst);
    let mode = workflow.as_ref().map_or(mode, |workflow| workflow.mode);
    let handling = workflow.map(|workflow| workflow.handling.clone()).unwrap_or_default();
    let mut trunk = match kind {
        Some(ProviderKind::AudioHook) => audiohook::trunk(&mut section, surroundings),
        Some(ProviderKind::SipTrunk) | None => trunk(&mut section, surroundings),
    };
    if let Some(trunk) = trunk.as_ref().filter(|_| kind != Some(ProviderKind::AudioHook)) {
        let at_targets = trunk.targets.iter().map(|at| IpNet::from(at.target.address.ip().to_canonical()));
        let networks = trunk.peers.iter().copied().chain(at_targets).collect();
        let tls = sip_tls::trunk(name, &mut section, surroundings, networks, &names_of(trunk));
        sip_tls.trunks.push((name.into(), tls));
    }
    let routes = routes(&mut section, engine.as_deref(), mode, &handling, engines, workflows);
    if let Some(trunk) = &mut trunk {
        trunk.destinations.home = crate::call::home(trunk.from.as_deref(), &routes);
    }
    section.finish();
    Some(Provider {
        key: name.into(),
        kind: kind?,
        tenant: TenantId::from(tenant?.as_str()),
        webhook_url,
        trunk: trunk?,
        routes,
        default_engine: engine.as_deref().map(EngineName::from),
        default_mode: mode,
        default_handling: handling,
    })
}

fn trunk(section: &mut Section<'_>, surroundings: &Surroundings) -> Option<Trunk> {
    let (targets, names) = targets(section);
    let is_outbound = !targets.is_empty() || !names.is_empty();
    let inbound_auth = inbound_auth(section, surroundings);
    let peers = section.list("peers", daemon::network);
    let peers = match peers {
        Some(peers) => Some(peers),
        // Who is called usually calls from there as well.
        None if !targets.is_empty() => {
            let mut peers: Vec<IpNet> =
                targets.iter().map(|at| IpNet::from(at.target.address.ip())).collect();
            peers.sort();
            peers.dedup();
            Some(peers)
        }
        // Who shows a password may come from anywhere.
        None if matches!(inbound_auth, InboundAuth::Digest(_)) => None,
        None => {
            if !is_outbound && !section.is_there("target") && !section.is_there("targets") {
                section.missing("peers", "[\"203.0.113.0/24\"] # or a `target`, or both");
            }
            None
        }
    };
    let credentials = credentials(section, surroundings, "username", "password");
    let register = register(section, credentials.is_some(), !is_outbound);
    let manners = manners(section);
    let fixed = targets.clone();
    let usual = Trunk::to(targets);
    let srtp = section.choice("srtp", &SRTP).unwrap_or(usual.srtp);
    let trunk = Trunk {
        peers: peers.unwrap_or_default(),
        domain: section.parsed("domain", host_name),
        credentials,
        inbound_auth,
        from: section.parsed("from", |text| Ok(spelling::dialable(text).map(|()| text.to_owned())?)),
        codecs: codecs(section),
        srtp,
        srtp_keys: srtp_keys(section).unwrap_or(usual.srtp_keys),
        dtls: crate::crypto::dtls_identity().filter(|_| srtp != media::SrtpPolicy::Off),
        rtcp_mux: section.flag("rtcp_mux").unwrap_or(usual.rtcp_mux),
        destinations: destinations(section, surroundings),
        max_calls: section.number("max_calls", 1..=100_000).map(|calls| calls as usize),
        calls_per_second: section.number("calls_per_second", 1..=10_000),
        ring_timeout: section.seconds("ring_timeout_sec", 1..=600).unwrap_or(usual.ring_timeout),
        response_timeout: section
            .milliseconds("response_timeout_ms", 500..=64_000)
            .unwrap_or(usual.response_timeout),
        max_duration: section.seconds("max_duration_sec", 1..=86_400).unwrap_or(usual.max_duration),
        media_timeout: section.seconds("media_timeout_sec", 1..=3600).unwrap_or(usual.media_timeout),
        transfer_timeout: section.seconds("transfer_timeout_sec", 1..=600).unwrap_or(usual.transfer_timeout),
        policy: policy(section),
        probe_interval: match section.seconds("probe_interval_sec", 0..=3600) {
            Some(Duration::ZERO) => None,
            Some(interval) => Some(interval),
            None => is_outbound.then_some(Duration::from_secs(30)),
        },
        names: TrunkNames {
            missing: names.iter().map(|name| format!("{} is being looked up", name.sought.host)).collect(),
            written: names,
            fixed,
        },
        targets: usual.targets,
        register,
        follow_redirects: section.flag("follow_redirects").unwrap_or(usual.follow_redirects),
        pass_headers: section.list("pass_headers", lower_header).unwrap_or_default(),
        set_headers: manners.set_headers,
        remove_headers: manners.remove_headers,
        numbers_in: manners.numbers_in,
        numbers_out: manners.numbers_out,
        has_tls_name: section.is_there("tls_server_name"),
        trust_identity: manners.trust_identity,
        identity: manners.identity,
        caller_ids: manners.caller_ids,
    };
    Some(trunk)
}

/// Where the trunk may dial, as written; what it may without a list is decided when its numbers are known.
fn destinations(section: &mut Section<'_>, surroundings: &Surroundings) -> Destinations {
    let allow = section.list("allow_destinations", place);
    let deny = section.list("deny_destinations", place).unwrap_or_default();
    let do_not_call = do_not_call::list(section, surroundings);
    Destinations { allow, deny, home: Vec::new(), do_not_call }
}

fn place(text: &str) -> Result<Place, String> {
    let rule = "is not a destination; write the beginning of numbers like +49, hosts like sip:example.com, \
                sip:*.example.com or sip:203.0.113.0/24, or * for everything";
    if text == "*" {
        return Ok(Place::Anywhere);
    }
    let Some(host) = text.strip_prefix("sip:") else {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let dialled = |byte: u8| byte.is_ascii_digit() || (digits == text && matches!(byte, b'*' | b'#'));
        let good = (1..=32).contains(&digits.len()) && digits.bytes().all(dialled);
        return good.then(|| Place::Number(text.to_owned())).ok_or_else(|| rule.to_owned());
    };
    if let Ok(network) = host.parse::<IpNet>() {
        return Ok(Place::Network(network.trunc()));
    }
    let below = host.strip_prefix("*.");
    let name = host_name(below.unwrap_or(host)).map_err(|_| rule)?.to_ascii_lowercase();
    let uri = sip::Uri::parse(format!("sip:{name}")).map_err(|_| rule)?;
    match (uri.host().and_then(sip::Host::ip), below) {
        (Some(address), None) => Ok(Place::Network(address.into())),
        (Some(_), Some(_)) => Err(rule.to_owned()),
        (None, Some(_)) => Ok(Place::Below(name)),
        (None, None) => Ok(Place::Host(name)),
    }
}

fn credentials(
    section: &mut Section<'_>,
    surroundings: &Surroundings,
    username_key: &'static str,
    password_key: &'static str,
) -> Option<sip::auth::Credentials> {
    let username = section.text(username_key);
    let password = section.secret(password_key, surroundings);
    match (username, password) {
        (Some(username), Some(password)) => {
            Some(sip::auth::Credentials { username, password: password.reveal().to_owned() })
        }
        (Some(_), None) => {
            section.missing(password_key, "{ env = \"SIP_PASSWORD\" }");
            None
        }
        (None, Some(_)) => {
            section.missing(username_key, "\"callingedge\"");
            None
        }
        (None, None) => None,
    }
}

/// How the calls of a trunk are known for its own.
fn inbound_auth(section: &mut Section<'_>, surroundings: &Surroundings) -> InboundAuth {
    let how = section.choice("inbound_auth", &INBOUND_AUTH);
    let credentials = credentials(section, surroundings, "inbound_username", "inbound_password");
    let algorithms = section.list("inbound_algorithms", |name| {
        let known = INBOUND_ALGORITHMS.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name));
        known.ok_or_else(|| "is not offered; write \"SHA-512-256\", \"SHA-256\" or \"MD5\"".to_owned())
    });
    if section.is_empty_list("inbound_algorithms") {
        let problem = "write at least one algorithm, like [\"SHA-256\"]";
        section.object("inbound_algorithms", Problem::Conflict(problem.to_owned()));
    }
    let is_written = section.is_there("inbound_username") || section.is_there("inbound_password");
    let Some(credentials) = credentials else {
        if matches!(how, Some(HowKnown::Digest | HowKnown::Both)) && !is_written {
            section.missing(
                "inbound_username",
                "\"trunk\" # and inbound_password = { env = \"INBOUND_PASSWORD\" }",
            );
        }
        return InboundAuth::Address;
    };
    let mut algorithms = algorithms.unwrap_or_else(|| InboundDigest::USUAL.to_vec());
    let mut seen = Vec::new();
    algorithms.retain(|one| {
        !seen.contains(one) && {
            seen.push(*one);
            true
        }
    });
    let digest = InboundDigest { credentials, algorithms };
    match how {
        Some(HowKnown::Address) => {
            let problem = "`inbound_auth = \"address\"` asks for no password; write \"both\" or \"digest\", or leave \
                           `inbound_username` and `inbound_password` out";
            section.object("inbound_username", Problem::Conflict(problem.to_owned()));
            InboundAuth::Address
        }
        Some(HowKnown::Digest) => InboundAuth::Digest(digest),
        Some(HowKnown::Both) | None => InboundAuth::Both(digest),
    }
}

/// How long to be registered at a time, if at all.
/// In a build without handshakes there is nothing to choose.
fn srtp_keys(section: &mut Section<'_>) -> Option<media::SrtpKeying> {
    section.parsed("srtp_keys", |text| match SRTP_KEYS.iter().find(|(word, _)| *word == text) {
        Some((_, media::SrtpKeying::Dtls)) if !cfg!(feature = "dtls") => {
            Err(String::from("is not built in; write \"sdes\""))
        }
        Some((_, keying)) => Ok(*keying),
        None => Err(String::from("is not known here; write \"sdes\" or \"dtls\"")),
    })
}

fn register(section: &mut Section<'_>, has_credentials: bool, is_inbound_only: bool) -> Option<Duration> {
    let wanted = section.flag("register").unwrap_or(false);
    let expires = section.seconds("register_expires_sec", 60..=86_400).unwrap_or(Duration::from_secs(600));
    if wanted && is_inbound_only && !section.is_there("target") && !section.is_there("targets") {
        let problem =
            "where is the registrar? Write its `target`, like \"sip:sip.example.com;transport=tls\"";
        section.object("register", Problem::Conflict(problem.to_owned()));
    }
    if wanted && !has_credentials && !section.is_there("username") {
        section.missing("username", "\"callingedge\" # and password = { env = \"SIP_PASSWORD\" }");
    }
    wanted.then_some(expires)
}

/// Which SIP extensions the dialogs of a trunk use.
fn policy(section: &mut Section<'_>) -> sip::Policy {
    let usual = sip::SessionTimers::default();
    sip::Policy {
        session_timers: sip::SessionTimers {
            mode: section.choice("session_timers", &SESSION_TIMERS).unwrap_or(usual.mode),
            // RFC 4028 §5 allows nothing below 90 s.
            expires: section.seconds("session_expires_sec", 90..=86_400).unwrap_or(usual.expires),
            ..usual
        },
        reliable_provisionals: section.choice("reliable_provisionals", &RELIABLE).unwrap_or_default(),
        recordings: match section.flag("siprec") {
            Some(true) => sip::Recordings::Taken,
            Some(false) | None => sip::Recordings::Refused,
        },
    }
}

fn codecs(section: &mut Section<'_>) -> Vec<media::Codec> {
    let codecs = section.list("codecs", |name| {
        let known = media::Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| {
            let known: Vec<String> =
                media::Codec::ALL.iter().map(|codec| format!("\"{}\"", codec.name())).collect();
            format!("is not a codec of this edge; write {}", known.join(" or "))
        })
    });
    if section.is_empty_list("codecs") {
        section.object("codecs", Problem::Conflict("write at least one codec, like [\"PCMU\"]".to_owned()));
    }
    codecs.unwrap_or_else(|| media::Codec::USUAL.to_vec())
}

/// Without any written route the provider's own engine takes every number.
fn routes(
    section: &mut Section<'_>,
    engine: Option<&str>,
    mode: Mode,
    handling: &Arc<Handling>,
    engines: &Named<EngineName, Arc<Engine>>,
    workflows: &Named<String, Arc<Workflow>>,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let sections = section.sections("routes");
    if sections.is_empty() {
        let number = NumberPattern::Prefix(String::new());
        return engine
            .map(|engine| Route { number, engine: engine.into(), mode, handling: handling.clone() })
            .into_iter()
            .collect();
    }
    for mut section in sections {
        let exact = section.parsed("number", route_number);
        let prefix = section.parsed("prefix", |text| match text {
            "" => Ok(String::new()),
            text => route_number(text),
        });
        let workflow = workflows::read(&mut section, workflows);
        let own_engine = engines.read(&mut section, "engine", "engine");
        let engine = match &workflow {
            Some(workflow) => Some(workflow.engine.as_str()),
            None if section.is_there("engine") => own_engine.as_deref(),
            None => engine,
        };
        if engine.is_none() && !section.is_there("workflow") {
            section.missing("engine", "\"receptionist\" # one of [engines.…]");
        }
        let mode = section.choice("mode", &MODES).unwrap_or(mode);
        let mode = workflow.as_ref().map_or(mode, |workflow| workflow.mode);
        let handling = workflow.as_ref().map_or(handling, |workflow| &workflow.handling).clone();
        let number = match (exact, prefix) {
            (Some(number), None) => Some(NumberPattern::Exact(number)),
            (None, Some(prefix)) => Some(NumberPattern::Prefix(prefix)),
            (Some(_), Some(_)) => {
                let problem =
                    "`number` is this one number and `prefix` all that begin so; write one of the two";
                section.object_whole(Problem::Conflict(problem.to_owned()));
                None
            }
            (None, None) => {
                if !section.is_there("prefix") {
                    section
                        .missing("number", "\"+18005551234\" # or prefix = \"+1\", or prefix = \"\" for all");
                }
                None
            }
        };
        if let Some(number) = &number
            && let Some(earlier) = routes.iter().find(|route| takes_all_of(&route.number, number))
        {
            let problem =
                format!("is never reached: the route {} stands before it", describe(&earlier.number));
            section.object_whole(Problem::Conflict(problem));
        }
        section.finish();
        if let (Some(number), Some(engine)) = (number, engine) {
            routes.push(Route { number, engine: engine.into(), mode, handling });
        }
    }
    routes
}

/// Whether every number of `later` is one of `earlier` already.
pub(super) fn takes_all_of(earlier: &NumberPattern, later: &NumberPattern) -> bool {
    match (earlier, later) {
        (NumberPattern::Exact(earlier), NumberPattern::Exact(later)) => earlier == later,
        (NumberPattern::Exact(_), NumberPattern::Prefix(_)) => false,
        (NumberPattern::Prefix(earlier), NumberPattern::Exact(later) | NumberPattern::Prefix(later)) => {
            later.starts_with(earlier.as_str())
        }
    }
}

pub(super) fn describe(number: &NumberPattern) -> String {
    match number {
        NumberPattern::Exact(number) => format!("`number = \"{number}\"`"),
        NumberPattern::Prefix(prefix) => format!("`prefix = \"{prefix}\"`"),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let bare = sip::Uri::parse(format!("sip:{text}")).ok().filter(|uri| {
        uri.user().is_none()
            && uri.port().is_none()
            && uri.params().next().is_none()
            && uri.headers().next().is_none()
    });
    bare.map(|_| text.to_owned()).ok_or_else(|| {
        "is not a host; write a name like sip.example.com or an address, without port".to_owned()
    })
}

fn lower_header(text: &str) -> Result<String, String> {
    Ok(spelling::header_name(text).map(|()| text.to_ascii_lowercase())?)
}

/// The user part of a called URI.
fn route_number(text: &str) -> Result<String, String> {
    let user = |byte: u8| byte.is_ascii_alphanumeric() || b"+*#-_.!~'()&=$/%".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(user) {
        Ok(text.to_owned())
    } else {
        Err("is not a called number; write it as it stands before the @ of the called URI, like +18005551234"
            .into())
    }
}

/// `target`, or `targets` in the order of preference: those that are addresses, and those that are names.
fn targets(section: &mut Section<'_>) -> (Vec<TrunkTarget>, Vec<TargetName>) {
    let one = section.parsed("target", target);
    let several = section.list("targets", target);
    if section.is_there("target") && section.is_there("targets") {
        let problem = "`target` is the only one and `targets` are several; write one of the two";
        section.object("targets", Problem::Conflict(problem.to_owned()));
    }
    if section.is_empty_list("targets") {
        section.object("targets", Problem::Conflict("write at least one, or leave the key out".to_owned()));
    }
    let written = one.into_iter().chain(several.into_iter().flatten());
    let mut targets: Vec<TrunkTarget> = Vec::new();
    let mut names: Vec<TargetName> = Vec::new();
    for (place, Written { end, host, priority, weight }) in (1..).zip(written) {
        let priority = priority.unwrap_or(place);
        match end {
            End::Address(target) if targets.iter().all(|known| known.target != target) => {
                targets.push(TrunkTarget { target, host, priority, weight });
            }
            End::Name(sought) if names.iter().all(|known| known.sought != sought) => {
                names.push(TargetName { sought, host, priority, weight });
            }
            End::Address(_) | End::Name(_) => {}
        }
    }
    targets.sort_by_key(|at| at.priority);
    names.sort_by_key(|name| name.priority);
    (targets, names)
}

/// One target as it stands in the file.
struct Written {
    end: End,
    host: String,
    priority: Option<u16>,
    weight: u16,
}

enum End {
    Address(sip::Target),
    Name(sip::locate::ServerName),
}

/// `sip:` host, port and transport, and where there are several, priority and weight.
fn target(text: &str) -> Result<Written, String> {
    let rule = "is not a target; write one like sip:203.0.113.10:5060;transport=udp";
    let uri = sip::Uri::parse(text).map_err(|_| rule)?;
    let host = uri.host().ok_or(rule)?;
    let secure = uri.scheme() == sip::Scheme::Sips;
    let transport = match (uri.scheme(), uri.param("transport").map(str::to_ascii_lowercase).as_deref()) {
        // RFC 3261 §26.2.2: over TLS, whatever stream it names.
        (sip::Scheme::Sips, None | Some("tcp" | "tls")) => Some(sip::Transport::Tls),
        (sip::Scheme::Sip, None) => None,
        (sip::Scheme::Sip, Some(written)) => Some(sip::Transport::from_param(written).ok_or(rule)?),
        (sip::Scheme::Sips, Some(_)) | (sip::Scheme::Tel | sip::Scheme::Other, _) => {
            return Err(rule.to_owned());
        }
    };
    if uri.user().is_some() {
        return Err(
            "names a user; write only host, port and transport, calls bring their own number".to_owned()
        );
    }
    let known =
        |name: &str| ["transport", "priority", "weight"].iter().any(|known| known.eq_ignore_ascii_case(name));
    if uri.params().any(|(name, _)| !known(name)) || uri.headers().next().is_some() {
        return Err(rule.to_owned());
    }
    let number = |name: &str| {
        let written = uri.param(name).map(str::parse::<u16>).transpose();
        written.map_err(|_| format!("has a {name} that is no number from 0 to 65535"))
    };
    let (end, shown) = match (host.ip(), host) {
        (Some(address), _) => {
            let transport = transport.unwrap_or(sip::Transport::Udp);
            let address = SocketAddr::new(address, uri.port().unwrap_or(transport.default_port()));
            (End::Address(sip::Target { transport, address }), address.to_string())
        }
        (None, host) => {
            let name = host.to_string().to_ascii_lowercase();
            let shown = uri.port().map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
            let sought = sip::locate::ServerName {
                host: name.trim_end_matches('.').to_owned(),
                port: uri.port(),
                transport: transport.filter(|_| !secure),
                secure,
            };
            (End::Name(sought), shown)
        }
    };
    Ok(Written { end, host: shown, priority: number("priority")?, weight: number("weight")?.unwrap_or(1) })
}

/// The host of every target, for the name that its certificate must have (RFC 5922 §7: what was looked for, not what
/// the name server made of it).
pub(super) fn names_of(trunk: &Trunk) -> Vec<(SocketAddr, String)> {
    trunk.targets.iter().map(|at| (at.target.address, without_port(&at.host))).collect()
}

/// The host alone, for the name that its certificate must have.
fn without_port(host: &str) -> String {
    match host.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => host.split(':').next().unwrap_or(host).to_owned(),
    }
}
