//! The sections about the daemon itself: `[sip]`, `[media]`, `[http]`, `[store]`, `[log]`, `[webhooks]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::mistake::Problem;
use super::section::Section;
use super::sip_tls;
use super::surroundings::{SecretsAre, Surroundings};
use super::{Http, Listen, Log, LogFormat, Media, Secret, ShownCertificate, Sip, Store};
use crate::api::MetricsAccess;
use crate::call::{Ban, RecordingSettings, UnknownSources};
use crate::net::Identity;
use crate::webhook::{NetworkPolicy, WebhookSettings};

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Refusals within a minute after which a stranger is not listened to, and for how long.
const BAN_AFTER: u32 = 20;
const BAN_FOR: Duration = Duration::from_secs(600);

/// What who is nobody's peer gets.
pub(super) struct Strangers {
    pub(super) unknown_sources: UnknownSources,
    pub(super) ban: Option<Ban>,
}

pub(super) fn sip(
    mut section: Section<'_>,
    surroundings: &Surroundings,
) -> (Sip, Strangers, Option<Identity>) {
    let listen = section.list("listen", listen_address);
    if listen.as_ref().is_some_and(Vec::is_empty) && section.is_empty_list("listen") {
        section.object(
            "listen",
            Problem::Conflict("write at least one address, like \"udp:0.0.0.0:5060\"".into()),
        );
    }
    let everywhere = [sip::Transport::Udp, sip::Transport::Tcp]
        .map(|transport| Listen { transport, address: SocketAddr::new(ANY_V4, 5060) });
    let sip = Sip {
        listen: listen.unwrap_or_else(|| everywhere.to_vec()),
        advertise: section.parsed("advertise", reachable_address),
        user_agent: section
            .parsed("user_agent", one_line)
            .unwrap_or_else(|| concat!("callingedge/", env!("CARGO_PKG_VERSION")).to_owned()),
    };
    let unknown_sources = section
        .choice("unknown_sources", &[("drop", UnknownSources::Drop), ("refuse", UnknownSources::Refuse)])
        .unwrap_or(UnknownSources::Drop);
    let after = section.number("ban_after", 0..=100_000).unwrap_or(BAN_AFTER);
    let lasts = section.seconds("ban_for_sec", 1..=86_400).unwrap_or(BAN_FOR);
    let ban = (after > 0).then_some(Ban { after, lasts });
    let identity = sip_tls::identity(&mut section, surroundings);
    let has_tls = sip.listen.iter().any(|listen| listen.transport == sip::Transport::Tls);
    if has_tls && !section.is_there("tls_certificate") {
        section.missing(
            "tls_certificate",
            "\"tls/certificate.pem\" # and tls_key = { credential = \"sip_tls_key\" }",
        );
    }
    section.finish();
    (sip, Strangers { unknown_sources, ban }, identity)
}

pub(super) fn dns(mut section: Section<'_>) -> Vec<SocketAddr> {
    let servers = section.list("servers", |text| {
        let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        address.or_else(|_| text.parse::<SocketAddr>()).map_err(|_| {
            "is not the address of a name server; write one like 192.0.2.53 or 127.0.0.1:5353".to_owned()
        })
    });
    section.finish();
    servers.unwrap_or_default()
}

pub(super) fn media(mut section: Section<'_>, max_calls: u32) -> Option<Media> {
    let address = section.parsed("address", any_address).unwrap_or(ANY_V4);
    let advertise = section.parsed("advertise", reachable_address);
    let advertise = advertise.or(Some(address).filter(|address| !address.is_unspecified()));
    if advertise.is_none() {
        section.missing("advertise", "\"203.0.113.7\" # the address that callers send their audio to");
    }
    let ports = section.parsed("ports", port_range).unwrap_or(20_000..=29_999);
    let legs = (u32::from(*ports.end()) - u32::from(*ports.start())).div_ceil(2);
    if legs < max_calls {
        let problem = format!(
            "these ports are enough for {legs} calls, fewer than `max_calls` in [limits], {max_calls}; write a wider \
             range or a smaller `max_calls`"
        );
        section.object("ports", Problem::Conflict(problem));
    }
    let workers = section.number("workers", 0..=256);
    let media = Media {
        address,
        advertise: advertise.unwrap_or(ANY_V4),
        ports,
        workers: workers.and_then(|workers| NonZeroUsize::new(workers as usize)),
        port_quarantine: section.seconds("port_quarantine_sec", 0..=600).unwrap_or(Duration::from_secs(30)),
        reorder: section.milliseconds("reorder_ms", 0..=500).unwrap_or(Duration::from_millis(60)),
        conceal: section.flag("conceal").unwrap_or(true),
    };
    section.finish();
    advertise.map(|_| media)
}

pub(super) fn http(
    mut section: Section<'_>,
    surroundings: &Surroundings,
    shown: &mut Vec<ShownCertificate>,
) -> Option<Http> {
    let listen = section.parsed("listen", socket_address).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let certificate = section.text("tls_certificate");
    let key = section.secret("tls_key", surroundings);
    let plain = section.flag("plain_http").unwrap_or(false);
    let metrics_choices = [
        ("loopback", MetricsAccess::Loopback),
        ("token", MetricsAccess::Token),
        ("open", MetricsAccess::Open),
    ];
    let metrics = section.choice("metrics", &metrics_choices).unwrap_or(MetricsAccess::Loopback);
    let max_connections = section.number("max_connections", 1..=100_000).unwrap_or(1024);
    let max_event_streams = section.number("max_event_streams", 1..=10_000).unwrap_or(64);

    let tls = match (&certificate, &key) {
        (Some(_), Some(_)) if surroundings.secrets == SecretsAre::LeftAlone => None,
        (Some(certificate), Some(key)) => match server_config(certificate, key, surroundings) {
            Ok((first, tls)) => {
                shown.push(ShownCertificate { section: "http".to_owned(), certificate: first });
                Some(tls)
            }
            Err((field, problem)) => {
                section.object(field, Problem::Conflict(problem));
                None
            }
        },
        (Some(_), None) => {
            section.missing("tls_key", "{ credential = \"tls_key\" }");
            None
        }
        (None, Some(_)) => {
            section.missing("tls_certificate", "\"tls/certificate.pem\"");
            None
        }
        (None, None) if !listen.ip().is_loopback() && !plain => {
            let problem = "tokens would cross the network in the clear; give `tls_certificate` and `tls_key`, listen on \
                           127.0.0.1 behind a proxy, or write `plain_http = true` if the network is yours alone";
            section.object("listen", Problem::Conflict(problem.to_owned()));
            None
        }
        (None, None) => None,
    };
    if plain && certificate.is_some() {
        section.object(
            "plain_http",
            Problem::Conflict("there is a certificate; leave out one of the two".into()),
        );
    }
    section.finish();
    Some(Http {
        listen,
        tls,
        metrics,
        max_connections: max_connections as usize,
        max_event_streams: max_event_streams as usize,
    })
}

pub(super) fn store(mut section: Section<'_>, surroundings: &Surroundings) -> Store {
    let path = section.text("path").map(|path| surroundings.path(&path));
    let store = Store {
        path: path.unwrap_or_else(|| surroundings.path("callingedge.db")),
        // Ended calls are promised for a day.
        keep: section
            .number("keep_hours", 24..=8760)
            .map_or(Duration::from_secs(72 * 3600), |hours| Duration::from_secs(u64::from(hours) * 3600)),
    };
    section.finish();
    store
}

/// `[recording]`, where it is written.
pub(super) fn recording(
    top: &mut Section<'_>,
    surroundings: &Surroundings,
) -> Option<Arc<RecordingSettings>> {
    let written = top.is_there("recording");
    let mut section = top.section("recording");
    let directory = section.text("directory").map(|path| surroundings.path(&path));
    let keep = section.number("keep_hours", 1..=87_600).unwrap_or(720);
    if written && directory.is_none() {
        section.missing("directory", "\"recordings\"");
    }
    section.finish();
    let keep = Duration::from_secs(u64::from(keep) * 3_600);
    directory.map(|directory| Arc::new(RecordingSettings { directory, keep }))
}

pub(super) fn log(mut section: Section<'_>) -> Log {
    let level = section.parsed("level", |text| {
        let filter = text.parse::<tracing_subscriber::EnvFilter>();
        let problem = "is not a log level; write error, warn, info, debug or trace, or a filter like \
                       info,callingedge::api=debug";
        filter.map(|_| text.to_owned()).map_err(|_| problem.to_owned())
    });
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log = Log {
        level: level.unwrap_or_else(|| "info".to_owned()),
        format: section.choice("format", &formats).unwrap_or(LogFormat::Text),
    };
    section.finish();
    log
}

/// Without the tenants' secrets, which stand with the tenants.
pub(super) fn webhooks(mut section: Section<'_>, surroundings: &Surroundings) -> WebhookSettings {
    let network = NetworkPolicy {
        allow_private: section.flag("allow_private").unwrap_or(false),
        allow_networks: section.list("allow_networks", network).unwrap_or_default(),
    };
    let roots = section.parsed("trusted_certificates", |path| {
        let unreadable =
            |error| format!("cannot be read as certificates: {error}; write the path of a PEM file");
        let roots = CertificateDer::pem_file_iter(surroundings.path(path)).map_err(unreadable)?;
        roots.collect::<Result<Vec<_>, _>>().map_err(unreadable)
    });
    let timeout = section.milliseconds("timeout_ms", 1000..=60_000);
    section.finish();
    let usual = WebhookSettings::default();
    WebhookSettings {
        network,
        roots: roots.unwrap_or_default(),
        total_timeout: timeout.unwrap_or(usual.total_timeout),
        connect_timeout: timeout.map_or(usual.connect_timeout, |timeout| timeout.min(usual.connect_timeout)),
        ..usual
    }
}

/// An address or a network: `203.0.113.0/24`, `203.0.113.7`.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let rule = "is not an address or network; write one like 203.0.113.0/24 or 203.0.113.7";
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| rule.to_owned())?;
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(format!("has bits set behind its prefix; write {}", network.trunc()))
    }
}

fn listen_address(text: &str) -> Result<Listen, String> {
    let rule = "is not an address to listen on; write udp:, tcp: or tls:, an IP address and a port, like udp:0.0.0.0:5060";
    let (transport, address) = text.split_once(':').ok_or(rule)?;
    let transport = match transport {
        "udp" => sip::Transport::Udp,
        "tcp" => sip::Transport::Tcp,
        "tls" => sip::Transport::Tls,
        _ => return Err(rule.to_owned()),
    };
    Ok(Listen { transport, address: address.parse().map_err(|_| rule)? })
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an address; write IP address and port, like 127.0.0.1:8080".to_owned())
}

fn any_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "is not an IP address; write one like 0.0.0.0 or 203.0.113.7".to_owned())
}

fn reachable_address(text: &str) -> Result<IpAddr, String> {
    let rule = "is not an address that others can reach; write one like 203.0.113.7";
    let address = any_address(text).map_err(|_| rule)?;
    if address.is_unspecified() || address.is_multicast() { Err(rule.to_owned()) } else { Ok(address) }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let rule = "is not a range of ports; write the first and the last, like 20000-29999";
    let (first, last) = text.split_once('-').ok_or(rule)?;
    let first: u16 = first.trim().parse().map_err(|_| rule)?;
    let last: u16 = last.trim().parse().map_err(|_| rule)?;
    if first < 1024 {
        return Err("begins below 1024; write a first port from 1024 up".to_owned());
    }
    // RFC 3550 §11: RTP on an even port, its RTCP on the next one.
    if !first.is_multiple_of(2) || last.is_multiple_of(2) {
        return Err(
            "splits a pair; write an even first port and an odd last one, like 20000-29999".to_owned()
        );
    }
    if first >= last { Err(rule.to_owned()) } else { Ok(first..=last) }
}

fn one_line(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; write a product name like edge/1.0 or leave the key out".to_owned());
    }
    crate::spelling::header_value(text)?;
    Ok(text.to_owned())
}

/// Certificate chain and key, both PEM, and the chain's first; an error names the key of the section that is at fault.
fn server_config(
    certificate: &str,
    key: &Secret,
    surroundings: &Surroundings,
) -> Result<(CertificateDer<'static>, Arc<rustls::ServerConfig>), (&'static str, String)> {
    let Identity { chain, key } = sip_tls::read_identity(certificate, key, surroundings)?;
    let first = chain.first().cloned().ok_or(("tls_certificate", "holds no certificate".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| ("tls_key", format!("does not go with the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((first, Arc::new(config)))
}
