//! Finding the servers behind a name: RFC 3263 §4, with SRV of RFC 2782 and NAPTR of RFC 3403.
//! ```text
//!   name; neither port nor transport --> [Naptr] -- "SIP+D2U", … --+
//!   name; no port -----------------------------+                   v
//!                                              +----------------> [Srv] -- host, port --+
//!   name; port --------------------------------+                                        v
//!                                              +--- no SRV: the name itself -----> [Addresses] --> places
//! ```
//! Questions come out, answers go in; who asks a name server, and how long the answers are good, is the shell's business.
//! A stage is left when all of its questions are answered. The order of the places is an order of preference only: how
//! those of one rank share by weight, and who rests after a failure, is for whoever sends.

use std::net::{IpAddr, SocketAddr};

use crate::flow::{Target, Transport};

/// Hosts that one name may lead to; what a name server lists beyond is not asked for.
const MAX_HOSTS: usize = 16;
/// Places that one name may lead to.
const MAX_PLACES: usize = 32;

/// What is to be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName {
    /// The domain.
    pub host: String,
    /// As written in the URI.
    pub port: Option<u16>,
    /// As written in the URI.
    pub transport: Option<Transport>,
    /// A `sips` URI: nothing but TLS will do.
    pub secure: bool,
}

impl ServerName {
    /// The transport that no name server has a say in: written, or meant by a `sips` URI or a port (RFC 3263 §4.1).
    pub fn decided(&self) -> Option<Transport> {
        match (self.transport, self.secure, self.port) {
            (_, true, _) => Some(Transport::Tls),
            (Some(written), false, _) => Some(written),
            (None, false, Some(_)) => Some(Transport::Udp),
            (None, false, None) => None,
        }
    }
}

/// What a name server is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The records.
    pub kind: Kind,
    /// Of which name, without a dot at the end.
    pub name: String,
}

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Which transports a domain offers.
    Naptr,
    /// Which hosts serve one of them.
    Srv,
    /// A and AAAA of a host.
    Address,
}

/// What a name server said. A name that does not exist and one without such records are both empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// NAPTR.
    Naptr(Vec<Naptr>),
    /// SRV.
    Srv(Vec<Srv>),
    /// A and AAAA, in the order of preference.
    Address(Vec<IpAddr>),
    /// It did not say: no answer, SERVFAIL, REFUSED. With what happened.
    Failed(String),
}

/// One NAPTR record (RFC 3403 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower comes first, and nothing of a higher one is looked at where a lower one is usable.
    pub order: u16,
    /// Lower comes first within one order.
    pub preference: u16,
    /// `s` for what leads to SRV; others are not followed.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`.
    pub services: String,
    /// The name to ask for SRV.
    pub replacement: String,
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower comes first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Of the host.
    pub port: u16,
    /// The host; empty or `.` where the service decidedly is not offered.
    pub host: String,
}

/// One place where requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub target: Target,
    /// Lower comes first; counted from 0 without gaps.
    pub rank: u16,
    /// Share among those of one rank.
    pub weight: u16,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nowhere {
    /// There is no such name, or it has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// The domain says that it does not offer SIP, over nothing that we speak.
    #[error("{0} offers no SIP over a transport that the edge has a listener for")]
    NotOffered(String),
    /// A name server did not answer.
    #[error("{name}: {what}")]
    Failed {
        /// What it was asked for.
        name: String,
        /// What it said.
        what: String,
    },
}

/// One search.
#[derive(Debug)]
pub struct Locate {
    sought: ServerName,
    /// What we speak, in our order.
    spoken: Vec<Transport>,
    stage: Stage,
    /// The first question that nobody answered; it counts when nothing is found.
    failure: Option<Nowhere>,
}

#[derive(Debug)]
enum Stage {
    Naptr(Asked<()>),
    Srv(Vec<Asked<Service>>),
    Addresses(Vec<Asked<Host>>),
    Done(Result<Vec<Place>, Nowhere>),
}

/// A question and what became of it.
#[derive(Debug)]
struct Asked<T> {
    question: Question,
    about: T,
    records: Option<Records>,
}

/// What an SRV is asked for.
#[derive(Debug, Clone, Copy)]
struct Service {
    transport: Transport,
    /// Order and preference of its NAPTR.
    rank: (u16, u16),
}

/// What an address is asked for.
#[derive(Debug, Clone, Copy)]
struct Host {
    transport: Transport,
    port: u16,
    /// Order and preference of the NAPTR, priority of the SRV.
    rank: (u16, u16, u16),
    weight: u16,
}

impl Locate {
    /// Begins to look for `sought` over what we speak, in the order in which we like to speak it.
    pub fn new(sought: ServerName, spoken: &[Transport]) -> Self {
        let mut spoken: Vec<Transport> = spoken.to_vec();
        if sought.secure {
            spoken.retain(|transport| *transport == Transport::Tls);
        }
        let stage = match (sought.port, sought.transport) {
            // RFC 3263 §4.2: an explicit port means A and AAAA at once.
            (Some(port), written) => {
                let transport =
                    if sought.secure { Transport::Tls } else { written.unwrap_or(Transport::Udp) };
                Stage::Addresses(vec![asked_address(&sought.host, only(transport, port))])
            }
            (None, Some(transport)) => {
                let service = Service { transport, rank: (0, 0) };
                Stage::Srv(vec![asked_srv(service_name(transport, sought.secure, &sought.host), service)])
            }
            (None, None) => Stage::Naptr(Asked {
                question: Question { kind: Kind::Naptr, name: sought.host.clone() },
                about: (),
                records: None,
            }),
        };
        Self { sought, spoken, stage, failure: None }
    }

    /// All that is to be asked now and has no answer yet.
    pub fn questions(&self) -> Vec<Question> {
        match &self.stage {
            Stage::Naptr(asked) => asked.open().into_iter().collect(),
            Stage::Srv(asked) => asked.iter().filter_map(Asked::open).collect(),
            Stage::Addresses(asked) => asked.iter().filter_map(Asked::open).collect(),
            Stage::Done(_) => Vec::new(),
        }
    }

    /// What the name server said. An answer to what was not asked is not looked at.
    pub fn answer(&mut self, question: &Question, records: Records) {
        if let Records::Failed(what) = &records {
            let failed = Nowhere::Failed { name: question.name.clone(), what: what.clone() };
            self.failure.get_or_insert(failed);
        }
        match &mut self.stage {
            Stage::Naptr(asked) => asked.take(question, &records),
            Stage::Srv(asked) => asked.iter_mut().for_each(|asked| asked.take(question, &records)),
            Stage::Addresses(asked) => asked.iter_mut().for_each(|asked| asked.take(question, &records)),
            Stage::Done(_) => {}
        }
        self.go_on();
    }

    /// Where requests may go, best first, or why nowhere. `None` while questions are open.
    pub fn outcome(&self) -> Option<&Result<Vec<Place>, Nowhere>> {
        match &self.stage {
            Stage::Done(outcome) => Some(outcome),
            Stage::Naptr(_) | Stage::Srv(_) | Stage::Addresses(_) => None,
        }
    }

    fn go_on(&mut self) {
        while self.questions().is_empty() {
            self.stage = match &self.stage {
                Stage::Naptr(asked) => self.after_naptr(asked.records.as_ref()),
                Stage::Srv(asked) => self.after_srv(asked),
                Stage::Addresses(asked) => Stage::Done(self.after_addresses(asked)),
                Stage::Done(_) => return,
            };
        }
    }

    /// RFC 3263 §4.1: what the domain offers, or SRV for each transport that we speak.
    fn after_naptr(&self, records: Option<&Records>) -> Stage {
        let mut offered: Vec<(Service, String)> = Vec::new();
        if let Some(Records::Naptr(records)) = records {
            for record in records.iter().filter(|record| record.flags.eq_ignore_ascii_case("s")) {
                let Some(transport) = transport_of(&record.services) else { continue };
                if self.spoken.contains(&transport) {
                    let service = Service { transport, rank: (record.order, record.preference) };
                    offered.push((service, plain(&record.replacement)));
                }
            }
        }
        // RFC 3403 §4.1: once a usable record of one order is found, those of a higher order are not considered.
        let order = offered.iter().map(|(service, _)| service.rank.0).min();
        offered.retain(|(service, _)| Some(service.rank.0) == order);
        offered.sort_by_key(|(service, _)| service.rank);
        if offered.is_empty() {
            let host = &self.sought.host;
            let own = |(place, transport): (u16, &Transport)| {
                let service = Service { transport: *transport, rank: (place, 0) };
                // Without a word from the domain `sip:` goes over TLS only where nothing else is spoken.
                let name = service_name(*transport, self.sought.secure || *transport == Transport::Tls, host);
                (service, name)
            };
            offered = (0..).zip(&self.spoken).map(own).collect();
        }
        if offered.is_empty() {
            return Stage::Done(Err(Nowhere::NotOffered(self.sought.host.clone())));
        }
        let asked = offered.into_iter().take(MAX_HOSTS).map(|(service, name)| asked_srv(name, service));
        Stage::Srv(asked.collect())
    }

    /// RFC 3263 §4.2: the hosts of the records, or the name itself at the usual port.
    fn after_srv(&self, asked: &[Asked<Service>]) -> Stage {
        let mut hosts: Vec<(Host, String)> = Vec::new();
        let mut offers_nothing = false;
        for asked in asked {
            let Some(Records::Srv(records)) = &asked.records else { continue };
            for record in records {
                let host = plain(&record.host);
                if host.is_empty() {
                    offers_nothing = true;
                    continue;
                }
                let Service { transport, rank: (order, preference) } = asked.about;
                let rank = (order, preference, record.priority);
                hosts.push((Host { transport, port: record.port, rank, weight: record.weight }, host));
            }
        }
        if hosts.is_empty() {
            if offers_nothing {
                return Stage::Done(Err(Nowhere::NotOffered(self.sought.host.clone())));
            }
            let transport = self.sought.transport.unwrap_or_else(|| usual(self.sought.secure));
            hosts.push((only(transport, transport.default_port()), self.sought.host.clone()));
        }
        hosts.sort_by_key(|(host, _)| host.rank);
        hosts.truncate(MAX_HOSTS);
        Stage::Addresses(hosts.into_iter().map(|(host, name)| asked_address(&name, host)).collect())
    }

    fn after_addresses(&self, asked: &[Asked<Host>]) -> Result<Vec<Place>, Nowhere> {
        let mut found: Vec<(Host, Target)> = Vec::new();
        for asked in asked {
            let Some(Records::Address(addresses)) = &asked.records else { continue };
            let Host { transport, port, .. } = asked.about;
            for address in addresses {
                let target = Target { transport, address: SocketAddr::new(*address, port) };
                if found.iter().all(|(_, known)| *known != target) {
                    found.push((asked.about, target));
                }
            }
        }
        if found.is_empty() {
            let failure = self.failure.clone();
            return Err(failure.unwrap_or_else(|| Nowhere::NoAddress(self.sought.host.clone())));
        }
        found.truncate(MAX_PLACES);
        let mut rank = 0;
        let mut before = found[0].0.rank;
        let places = found.into_iter().map(|(host, target)| {
            rank += u16::from(host.rank != before);
            before = host.rank;
            Place { target, rank, weight: host.weight }
        });
        Ok(places.collect())
    }
}

impl<T> Asked<T> {
    fn open(&self) -> Option<Question> {
        self.records.is_none().then(|| self.question.clone())
    }

    fn take(&mut self, question: &Question, records: &Records) {
        if self.question == *question && self.records.is_none() {
            self.records = Some(records.clone());
        }
    }
}

fn asked_srv(name: String, about: Service) -> Asked<Service> {
    Asked { question: Question { kind: Kind::Srv, name }, about, records: None }
}

fn asked_address(name: &str, about: Host) -> Asked<Host> {
    Asked { question: Question { kind: Kind::Address, name: name.to_owned() }, about, records: None }
}

fn only(transport: Transport, port: u16) -> Host {
    Host { transport, port, rank: (0, 0, 0), weight: 1 }
}

/// RFC 3263 §4.1, last paragraph.
fn usual(secure: bool) -> Transport {
    if secure { Transport::Tls } else { Transport::Udp }
}

/// `_sip._udp.example.com`.
fn service_name(transport: Transport, secure: bool, host: &str) -> String {
    let (service, protocol) = match transport {
        Transport::Udp => ("_sip", "_udp"),
        Transport::Tcp if secure => ("_sips", "_tcp"),
        Transport::Tcp => ("_sip", "_tcp"),
        Transport::Tls => ("_sips", "_tcp"),
    };
    format!("{service}.{protocol}.{host}")
}

fn transport_of(services: &str) -> Option<Transport> {
    let known = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(services)).map(|(_, transport)| transport)
}

/// Without the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    #[test]
    fn naptr_chooses_the_transport_and_srv_the_host() {
        let zone = Zone::new()
            .naptr("example.com", 50, 50, "SIPS+D2T", "_sips._tcp.example.com.")
            .naptr("example.com", 90, 50, "SIP+D2T", "_sip._tcp.example.com.")
            .srv("_sips._tcp.example.com", 2, 1, 5061, "b.example.com.")
            .srv("_sips._tcp.example.com", 1, 3, 5061, "a.example.com.")
            .address("a.example.com", "192.0.2.1")
            .address("b.example.com", "2001:db8::2");

        let (outcome, asked) = zone.find(name("example.com"), &ALL);

        let places = outcome.unwrap();
        assert_eq!(shown(&places), ["tls 192.0.2.1:5061 0/3", "tls [2001:db8::2]:5061 1/1"]);
        assert!(!asked.contains(&"_sip._tcp.example.com".to_owned()), "a higher order is not looked at");
    }

    #[test]
    fn a_transport_that_we_do_not_speak_is_passed_over() {
        let zone = Zone::new()
            .naptr("example.com", 50, 50, "SIPS+D2T", "_sips._tcp.example.com.")
            .naptr("example.com", 90, 50, "SIP+D2U", "_sip._udp.example.com.")
            .srv("_sip._udp.example.com", 0, 0, 5080, "a.example.com.")
            .address("a.example.com", "192.0.2.1");

        let (outcome, _) = zone.find(name("example.com"), &[Transport::Udp]);

        assert_eq!(shown(&outcome.unwrap()), ["udp 192.0.2.1:5080 0/0"]);
    }

    #[test]
    fn without_naptr_each_spoken_transport_is_asked_in_our_order() {
        let zone = Zone::new()
            .srv("_sip._tcp.example.com", 1, 1, 5070, "a.example.com.")
            .srv("_sip._udp.example.com", 9, 1, 5060, "a.example.com.")
            .address("a.example.com", "192.0.2.1");

        let (outcome, _) = zone.find(name("example.com"), &ALL);

        assert_eq!(shown(&outcome.unwrap()), ["udp 192.0.2.1:5060 0/1", "tcp 192.0.2.1:5070 1/1"]);
    }

    #[test]
    fn without_srv_the_name_itself_is_the_host() {
        let zone =
            Zone::new().address("pbx.example.com", "192.0.2.1").address("pbx.example.com", "192.0.2.2");

        let (outcome, _) = zone.find(name("pbx.example.com"), &ALL);
        assert_eq!(shown(&outcome.unwrap()), ["udp 192.0.2.1:5060 0/1", "udp 192.0.2.2:5060 0/1"]);

        let secure = ServerName { secure: true, ..name("pbx.example.com") };
        let (outcome, asked) = zone.find(secure, &ALL);
        assert_eq!(shown(&outcome.unwrap()), ["tls 192.0.2.1:5061 0/1", "tls 192.0.2.2:5061 0/1"]);
        assert!(asked.contains(&"_sips._tcp.pbx.example.com".to_owned()));
    }

    #[test]
    fn a_written_port_asks_for_addresses_only_and_a_written_transport_for_its_srv_only() {
        let zone = Zone::new()
            .naptr("example.com", 1, 1, "SIP+D2U", "_sip._udp.example.com.")
            .srv("_sip._tcp.example.com", 1, 1, 5999, "example.com.")
            .address("example.com", "192.0.2.1");

        let with_port = ServerName { port: Some(5062), ..name("example.com") };
        let (outcome, asked) = zone.find(with_port, &ALL);
        assert_eq!((shown(&outcome.unwrap()), asked.len()), (vec!["udp 192.0.2.1:5062 0/1".to_owned()], 1));

        let over_tcp = ServerName { transport: Some(Transport::Tcp), ..name("example.com") };
        let (outcome, asked) = zone.find(over_tcp, &ALL);
        assert_eq!(shown(&outcome.unwrap()), ["tcp 192.0.2.1:5999 0/1"]);
        assert_eq!(asked, ["_sip._tcp.example.com", "example.com"]);
    }

    #[test]
    fn a_domain_that_offers_nothing_is_believed() {
        let zone = Zone::new().srv("_sip._udp.example.com", 0, 0, 0, ".").address("example.com", "192.0.2.1");

        let (outcome, _) = zone.find(name("example.com"), &[Transport::Udp]);

        assert_eq!(outcome, Err(Nowhere::NotOffered("example.com".into())));
    }

    #[test]
    fn a_silent_name_server_is_told_apart_from_a_name_that_is_not_there() {
        let (outcome, _) = Zone::new().find(name("example.com"), &ALL);
        assert_eq!(outcome, Err(Nowhere::NoAddress("example.com".into())));

        let zone = Zone::new().silent("example.com");
        let (outcome, _) = zone.find(name("example.com"), &ALL);
        assert_eq!(outcome, Err(Nowhere::Failed { name: "example.com".into(), what: "no answer".into() }),);
    }

    #[test]
    fn one_host_without_address_leaves_the_others() {
        let zone = Zone::new()
            .srv("_sip._udp.example.com", 1, 1, 5060, "gone.example.com.")
            .srv("_sip._udp.example.com", 2, 1, 5060, "there.example.com.")
            .silent("gone.example.com")
            .address("there.example.com", "192.0.2.9");

        let (outcome, _) = zone.find(name("example.com"), &[Transport::Udp]);

        assert_eq!(shown(&outcome.unwrap()), ["udp 192.0.2.9:5060 0/1"]);
    }

    #[test]
    fn a_name_server_that_lists_thousands_is_not_followed_everywhere() {
        let mut zone = Zone::new();
        for host in 0..2000_u16 {
            zone = zone.srv("_sip._udp.example.com", host, 1, 5060, &format!("h{host}.example.com."));
        }
        for host in 0..20 {
            for last in 0..200 {
                zone = zone.address(&format!("h{host}.example.com"), &format!("192.0.2.{last}"));
            }
        }

        let (outcome, asked) = zone.find(name("example.com"), &[Transport::Udp]);

        assert!(outcome.unwrap().len() <= MAX_PLACES);
        assert!(asked.len() <= MAX_HOSTS + 2, "{}", asked.len());
    }

    #[test]
    fn answers_to_other_questions_change_nothing() {
        let mut locate = Locate::new(name("example.com"), &ALL);
        let other = Question { kind: Kind::Address, name: "evil.example.com".into() };

        locate.answer(&other, Records::Address(vec!["192.0.2.66".parse().unwrap()]));

        assert_eq!(locate.questions(), [Question { kind: Kind::Naptr, name: "example.com".into() }]);
        assert_eq!(locate.outcome(), None);
    }

    /// A name server in a value.
    #[derive(Default)]
    struct Zone {
        naptr: BTreeMap<String, Vec<Naptr>>,
        srv: BTreeMap<String, Vec<Srv>>,
        addresses: BTreeMap<String, Vec<IpAddr>>,
        silent: Vec<String>,
    }

    impl Zone {
        fn new() -> Self {
            Self::default()
        }

        fn naptr(mut self, name: &str, order: u16, preference: u16, services: &str, leads: &str) -> Self {
            self.naptr.entry(name.into()).or_default().push(Naptr {
                order,
                preference,
                flags: "s".into(),
                services: services.into(),
                replacement: leads.into(),
            });
            self
        }

        fn srv(mut self, name: &str, priority: u16, weight: u16, port: u16, host: &str) -> Self {
            let record = Srv { priority, weight, port, host: host.into() };
            self.srv.entry(name.into()).or_default().push(record);
            self
        }

        fn address(mut self, name: &str, address: &str) -> Self {
            self.addresses.entry(name.into()).or_default().push(address.parse().unwrap());
            self
        }

        fn silent(mut self, name: &str) -> Self {
            self.silent.push(name.into());
            self
        }

        fn find(
            &self,
            sought: ServerName,
            spoken: &[Transport],
        ) -> (Result<Vec<Place>, Nowhere>, Vec<String>) {
            let mut locate = Locate::new(sought, spoken);
            let mut asked = Vec::new();
            for _ in 0..10 {
                for question in locate.questions() {
                    asked.push(question.name.clone());
                    let records = match question.kind {
                        _ if self.silent.contains(&question.name) => Records::Failed("no answer".into()),
                        Kind::Naptr => {
                            Records::Naptr(self.naptr.get(&question.name).cloned().unwrap_or_default())
                        }
                        Kind::Srv => Records::Srv(self.srv.get(&question.name).cloned().unwrap_or_default()),
                        Kind::Address => {
                            Records::Address(self.addresses.get(&question.name).cloned().unwrap_or_default())
                        }
                    };
                    locate.answer(&question, records);
                }
            }
            (locate.outcome().expect("every question was answered").clone(), asked)
        }
    }

    fn name(host: &str) -> ServerName {
        ServerName { host: host.into(), port: None, transport: None, secure: false }
    }

    fn shown(places: &[Place]) -> Vec<String> {
        let show = |Place { target, rank, weight }: &Place| {
            format!("{} {} {rank}/{weight}", target.transport.as_param(), target.address)
        };
        places.iter().map(show).collect()
    }
}
