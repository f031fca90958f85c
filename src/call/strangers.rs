//! Addresses that nobody claims and that knock too often: scanners, and whoever guesses passwords.
//! ```text
//!   [watched] -- `after` refusals within a minute, or a scanner's name --> [banned] -- `lasts` over --> gone
//!       |  ^                                                                  what comes is dropped unanswered
//!       |  +-- a minute is over: counted anew
//!       +----- showed the right password -----> [trusted] for an hour: never banned
//! ```
//! A trunk's own address never comes here. An IPv6 address stands for its /64, which is what one customer has.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::settings::Ban;

/// How long refusals count together.
const WINDOW: Duration = Duration::from_secs(60);
/// How long who has shown the right password is trusted.
const TRUST: Duration = Duration::from_secs(3600);
/// Addresses remembered; beyond, the one that came first is forgotten.
const SOURCES_MAX: usize = 10_000;
/// What scanners call themselves in `User-Agent`, lower case.
const SCANNERS: [&[u8]; 11] = [
    b"friendly-scanner",
    b"sipvicious",
    b"siparmyknife",
    b"sipcli",
    b"sip-scan",
    b"sipscan",
    b"sundayddr",
    b"pplsip",
    b"vaxsipuseragent",
    b"iwar",
    b"smap",
];

/// How an address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Watched { refused: u32, until: Instant },
    Banned { until: Instant },
    Trusted { until: Instant },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    known: HashMap<IpAddr, Standing>,
    /// As they came, the first first; each is in `known`.
    order: VecDeque<IpAddr>,
    bans: BTreeSet<(Instant, IpAddr)>,
    /// Since the start.
    pub(super) banned: u64,
}

impl Strangers {
    /// Whether what comes from there is to be dropped.
    pub(super) fn is_banned(&self, now: Instant, source: IpAddr) -> bool {
        match self.known.get(&network(source)) {
            Some(Standing::Banned { until }) => now < *until,
            Some(Standing::Watched { .. } | Standing::Trusted { .. }) | None => false,
        }
    }

    /// A request from there got no answer, or one that it did not want.
    pub(super) fn refused(&mut self, now: Instant, source: IpAddr, ban: Ban) {
        let source = network(source);
        let refused = match self.known.get(&source) {
            Some(Standing::Trusted { until } | Standing::Banned { until }) if now < *until => return,
            Some(Standing::Watched { refused, until }) if now < *until => refused + 1,
            Some(Standing::Trusted { .. } | Standing::Banned { .. } | Standing::Watched { .. }) | None => 1,
        };
        if refused >= ban.after {
            return self.ban(now, source, ban);
        }
        let until = match self.known.get(&source) {
            Some(Standing::Watched { until, .. }) if now < *until => *until,
            Some(_) | None => now + WINDOW,
        };
        self.note(source, Standing::Watched { refused, until });
    }

    /// It says itself what it is.
    pub(super) fn is_scanner(request: &sip::Message) -> bool {
        let names = |name: &[u8]| {
            let lower = name.to_ascii_lowercase();
            SCANNERS.iter().any(|scanner| lower.windows(scanner.len()).any(|window| window == *scanner))
        };
        request.header(sip::HeaderName::UserAgent).is_some_and(|agent| names(agent.as_bytes()))
    }

    /// From now on, unless it has earned trust.
    pub(super) fn ban(&mut self, now: Instant, source: IpAddr, ban: Ban) {
        let source = network(source);
        if let Some(Standing::Trusted { until }) = self.known.get(&source)
            && now < *until
        {
            return;
        }
        self.banned += 1;
        let until = now + ban.lasts;
        self.note(source, Standing::Banned { until });
        self.bans.insert((until, source));
    }

    /// It has shown the right password.
    pub(super) fn trust(&mut self, now: Instant, source: IpAddr) {
        self.note(network(source), Standing::Trusted { until: now + TRUST });
    }

    /// How many are banned.
    pub(super) fn banned_now(&self) -> usize {
        self.bans.len()
    }

    /// When the next ban is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.bans.first().map(|(until, _)| *until)
    }

    /// Lets go whose ban is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.bans.first().is_some_and(|(until, _)| *until <= now) {
            self.bans.pop_first();
        }
    }

    fn note(&mut self, source: IpAddr, standing: Standing) {
        match self.known.insert(source, standing) {
            Some(Standing::Banned { until }) => drop(self.bans.remove(&(until, source))),
            Some(Standing::Watched { .. } | Standing::Trusted { .. }) => {}
            None => self.order.push_back(source),
        }
        if self.order.len() > SOURCES_MAX
            && let Some(first) = self.order.pop_front()
            && let Some(Standing::Banned { until }) = self.known.remove(&first)
        {
            self.bans.remove(&(until, first));
        }
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAN: Ban = Ban { after: 3, lasts: Duration::from_secs(600) };

    #[test]
    fn who_is_refused_too_often_in_a_minute_is_banned_and_comes_back_when_it_is_over() {
        let (mut strangers, begin, source) = some();

        for second in [0, 10, 70, 75] {
            strangers.refused(begin + Duration::from_secs(second), source, BAN);
            assert!(!strangers.is_banned(begin + Duration::from_secs(second), source), "{second}");
        }
        strangers.refused(begin + Duration::from_secs(80), source, BAN);

        let over = begin + Duration::from_secs(680);
        assert!(strangers.is_banned(over - Duration::from_millis(1), source));
        assert_eq!((strangers.banned_now(), strangers.poll_timeout()), (1, Some(over)));
        strangers.handle_timeout(over);
        assert!(!strangers.is_banned(over, source));
        assert_eq!((strangers.banned_now(), strangers.banned), (0, 1));
    }

    #[test]
    fn who_has_shown_the_password_is_not_banned_for_what_others_do_in_its_name() {
        let (mut strangers, begin, source) = some();
        strangers.trust(begin, source);

        for _ in 0..100 {
            strangers.refused(begin, source, BAN);
        }
        strangers.ban(begin, source, BAN);

        assert!(!strangers.is_banned(begin, source));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_and_mapped_addresses_are_ipv4() {
        let (mut strangers, begin, _) = some();
        for last in 1..=3 {
            strangers.refused(begin, format!("2001:db8::{last}").parse().unwrap(), BAN);
            strangers.refused(begin, "192.0.2.1".parse().unwrap(), BAN);
        }

        assert!(strangers.is_banned(begin, "2001:db8::ffff".parse().unwrap()));
        assert!(!strangers.is_banned(begin, "2001:db8:0:1::1".parse().unwrap()));
        assert!(strangers.is_banned(begin, "::ffff:192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn no_flood_of_addresses_grows_the_table() {
        let (mut strangers, begin, _) = some();

        for address in 0..2 * u32::try_from(SOURCES_MAX).unwrap() {
            strangers.ban(begin, std::net::Ipv4Addr::from_bits(address).into(), BAN);
        }

        let held = (strangers.known.len(), strangers.order.len(), strangers.bans.len());
        assert_eq!(held, (SOURCES_MAX, SOURCES_MAX, SOURCES_MAX));
    }

    #[test]
    fn a_scanner_is_known_by_the_name_it_gives_itself() {
        let named = |agent: &str| {
            let wire =
                format!("OPTIONS sip:100@edge SIP/2.0\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n");
            Strangers::is_scanner(&sip::Message::parse(wire.into(), sip::Framing::Datagram).unwrap())
        };

        assert!(named("friendly-scanner") && named("sipcli/v1.8") && named("VaxSIPUserAgent/3.5"));
        assert!(!named("baresip v3.0") && !named("Asterisk PBX") && !named(""));
    }

    fn some() -> (Strangers, Instant, IpAddr) {
        #[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
        let begin = Instant::now();
        (Strangers::default(), begin, IpAddr::V4([192, 0, 2, 9].into()))
    }
}
