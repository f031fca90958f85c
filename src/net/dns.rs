//! Asks name servers what [`sip::locate::Locate`] wants to know. The order of the questions is its business.
#![expect(clippy::disallowed_methods, reason = "a shell: it has a clock")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use metrics::counter;
use sip::locate::{Kind, Locate, Naptr, Place, Question, Records, ServerName, Srv};
use tokio::task::JoinSet;

/// How long one name server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one search may take, over all of its questions.
const WHOLE: Duration = Duration::from_secs(10);
/// Answers are good for at least so long, whatever their TTL says, so that a TTL of 0 is no storm of questions.
const SHORTEST: Duration = Duration::from_secs(5);
/// And at most so long.
const LONGEST: Duration = Duration::from_secs(3600);
/// When a search that found nothing is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Knows whom to ask.
#[derive(Clone)]
pub struct Resolver {
    asked: Result<TokioResolver, String>,
}

/// What a search came to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The places, or why there are none.
    pub outcome: Result<Vec<Place>, String>,
    /// When it is to be looked up again.
    pub due: Instant,
}

impl Resolver {
    /// Asks these name servers, or those of `/etc/resolv.conf` when none is named. `/etc/hosts` counts in both cases.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(named).collect());
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let asked = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = PATIENCE;
            options.attempts = 2;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            // When an answer is too old is decided here.
            options.cache_size = 0;
            builder.build()
        });
        Self { asked: asked.map_err(|error| format!("no name server: {error}")) }
    }

    /// Looks for the servers of a name over what we speak (RFC 3263).
    pub async fn locate(&self, sought: ServerName, spoken: &[sip::Transport]) -> Found {
        let name = sought.host.clone();
        let mut locate = Locate::new(sought, spoken);
        let mut good = LONGEST;
        let search = async {
            while locate.outcome().is_none() {
                let mut asking = JoinSet::new();
                for question in locate.questions() {
                    asking.spawn(ask(self.asked.clone(), question));
                }
                while let Some(answered) = asking.join_next().await {
                    let Ok((question, records, ttl)) = answered else { continue };
                    good = good.min(ttl);
                    locate.answer(&question, records);
                }
            }
        };
        let in_time = tokio::time::timeout(WHOLE, search).await.is_ok();
        let outcome = match locate.outcome() {
            Some(Ok(places)) => Ok(places.clone()),
            Some(Err(nowhere)) => Err(nowhere.to_string()),
            None if in_time => Err(format!("{name}: the search was cut short")),
            None => Err(format!("{name}: no answer within {} s", WHOLE.as_secs())),
        };
        let result = if outcome.is_ok() { "found" } else { "failed" };
        counter!("callingedge_dns_lookups_total", "result" => result).increment(1);
        let good = if outcome.is_ok() { good.max(SHORTEST) } else { AGAIN };
        Found { outcome, due: Instant::now() + good }
    }
}

fn named(server: &SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.to_vec())
}

async fn ask(resolver: Result<TokioResolver, String>, question: Question) -> (Question, Records, Duration) {
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(why) => return (question, Records::Failed(why), LONGEST),
    };
    // With the dot of the root no search list is tried; a bare host name may need one.
    let name = match question.name.contains('.') {
        true => format!("{}.", question.name),
        false => question.name.clone(),
    };
    let answered = match question.kind {
        Kind::Address => resolver.lookup_ip(name).await.map(|found| {
            let addresses: Vec<IpAddr> = found.iter().collect();
            (Records::Address(addresses), found.valid_until())
        }),
        Kind::Srv => resolver.lookup(name, RecordType::SRV).await.map(|found| {
            let records = found.answers().iter().filter_map(|record| srv(&record.data));
            (Records::Srv(records.collect()), found.valid_until())
        }),
        Kind::Naptr => resolver.lookup(name, RecordType::NAPTR).await.map(|found| {
            let records = found.answers().iter().filter_map(|record| naptr(&record.data));
            (Records::Naptr(records.collect()), found.valid_until())
        }),
    };
    match answered {
        Ok((records, until)) => (question, records, until.saturating_duration_since(Instant::now())),
        Err(error) => {
            let records = nothing(question.kind, &error);
            (question, records, LONGEST)
        }
    }
}

/// No such name and no such records are answers too.
fn nothing(kind: Kind, error: &NetError) -> Records {
    if !error.is_no_records_found() {
        return Records::Failed(error.to_string());
    }
    match kind {
        Kind::Naptr => Records::Naptr(Vec::new()),
        Kind::Srv => Records::Srv(Vec::new()),
        Kind::Address => Records::Address(Vec::new()),
    }
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    let host = srv.target.to_ascii();
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, host })
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: String::from_utf8(naptr.flags.to_vec()).ok()?,
        services: String::from_utf8(naptr.services.to_vec()).ok()?,
        replacement: naptr.replacement.to_ascii(),
    })
}
