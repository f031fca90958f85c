//! Calls that are sent elsewhere: 3xx to an INVITE of ours (RFC 3261 §8.1.3.4, §21.3).
//! ```text
//!   300, 301, 302 -- Contacts, the best q first --> [waiting] -- one after the other --> INVITE
//!                       |                              |
//!                       |  asked before, forbidden,    | a phone that is busy, silent or not there:
//!                       |  beyond five: left out       | the next one; 6xx: none
//! ```
//! Nobody is called that the trunk may not dial. The way there stays inside the trunk: a Contact at an address that is one
//! of its targets or peers is asked there, any other one through its targets.

use std::collections::VecDeque;

use super::destination::Forbidden;
use super::settings::Trunk;

/// Contacts that one INVITE is sent to, all redirections together.
const MOST: usize = 5;
/// Contacts that are read of one response.
const MOST_READ: usize = 20;

/// Where an INVITE has been sent by redirections, and where it still may be.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    /// Those that wait and those that were asked.
    known: Vec<sip::Uri>,
    waiting: VecDeque<sip::Uri>,
}

impl Redirects {
    /// Takes the Contacts of a 3xx to an INVITE for `asked`. What may not be dialled is told.
    pub(super) fn learn(
        &mut self,
        asked: &sip::Uri,
        response: &sip::Message,
        trunk: &Trunk,
    ) -> Vec<Forbidden> {
        if self.known.is_empty() {
            self.known.push(plain(asked));
        }
        let contacts = response.contacts().take(MOST_READ).filter_map(Result::ok);
        let mut contacts: Vec<(u32, sip::Uri)> =
            contacts.map(|contact| (preference(&contact), plain(contact.uri()))).collect();
        contacts.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
        let mut forbidden = Vec::new();
        for (_, uri) in contacts {
            let is_callable = matches!(uri.scheme(), sip::Scheme::Sip | sip::Scheme::Sips);
            let is_known = self.known.iter().any(|known| known.is_equivalent(&uri));
            if !is_callable || is_known || self.known.len() > MOST {
                continue;
            }
            match trunk.destinations.permit(&uri, trunk) {
                Ok(()) => {
                    self.known.push(uri.clone());
                    self.waiting.push_back(uri);
                }
                Err(error) => forbidden.push(error),
            }
        }
        forbidden
    }

    /// Who is asked next.
    pub(super) fn next(&mut self) -> Option<sip::Uri> {
        self.waiting.pop_front()
    }
}

/// The way to a Contact. `usual` is where the trunk's calls go, in the order of preference.
pub(super) fn way(uri: &sip::Uri, trunk: &Trunk, usual: Vec<sip::Target>) -> VecDeque<sip::Target> {
    let Some(ip) = uri.host().and_then(|host| host.ip()) else { return usual.into() };
    let asked = uri.param("transport").and_then(sip::Transport::from_param);
    let transport = match (uri.scheme(), asked) {
        (sip::Scheme::Sips, _) => Some(sip::Transport::Tls),
        (sip::Scheme::Sip | sip::Scheme::Tel | sip::Scheme::Other, asked) => asked,
    };
    let transport = transport.or_else(|| usual.first().map(|target| target.transport));
    let transport = transport.unwrap_or(sip::Transport::Udp);
    let address = std::net::SocketAddr::new(ip, uri.port().unwrap_or(transport.default_port()));
    let target = sip::Target { transport, address };
    let is_target = trunk.targets.iter().any(|at| at.target.address.ip() == ip);
    let is_peer = trunk.peers.iter().any(|network| network.contains(&ip));
    // What a TLS stream has to prove is known for targets, and for any address where the trunk names it.
    let is_known = trunk.has_tls_name || trunk.targets.iter().any(|at| at.target == target);
    let is_proven = transport != sip::Transport::Tls || is_known;
    if (is_target || is_peer) && is_proven { [target].into() } else { usual.into() }
}

/// Without what is not for the Request-URI (RFC 3261 §19.1.5): headers, and a method.
fn plain(uri: &sip::Uri) -> sip::Uri {
    uri.without_headers().without_param("method")
}

/// q in thousandths (RFC 3261 §20.10).
fn preference(contact: &sip::NameAddr) -> u32 {
    let q = contact.params().token("q").and_then(|q| q.parse::<f32>().ok());
    let q = q.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    // At most 1000.
    (q * 1000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_contact_comes_first_and_nobody_is_asked_twice() {
        let mut redirects = Redirects::default();
        let contacts = "<sip:2@192.0.2.9>;q=0.2, <sip:1@192.0.2.9>;q=0.7, <sip:0@192.0.2.9>";

        redirects.learn(&uri("sip:1@192.0.2.9"), &moved(contacts), &trunk());
        let first = redirects.next().unwrap();
        redirects.learn(
            &first,
            &moved("<sip:1@192.0.2.9>, <sip:0@192.0.2.9>, <sip:3@192.0.2.9?Subject=x>"),
            &trunk(),
        );
        let rest: Vec<String> = std::iter::from_fn(|| redirects.next()).map(|uri| uri.to_string()).collect();

        assert_eq!(first.as_str(), "sip:0@192.0.2.9");
        assert_eq!(rest, ["sip:2@192.0.2.9", "sip:3@192.0.2.9"]);
    }

    #[test]
    fn five_are_asked_at_most() {
        let mut redirects = Redirects::default();
        for number in 0..20 {
            let asked = uri(&format!("sip:{number}@192.0.2.9"));
            let contact = format!("<sip:{}@192.0.2.9>", number + 1);
            redirects.learn(&asked, &moved(&contact), &trunk());
        }

        assert_eq!(std::iter::from_fn(|| redirects.next()).count(), MOST);
    }

    #[test]
    fn nobody_is_asked_whom_the_trunk_may_not_dial() {
        let mut redirects = Redirects::default();
        let contacts =
            "<tel:+15550123>, <mailto:a@192.0.2.9>, <sip:1@198.51.100.1>, <sip:1@evil.example.com>";

        let forbidden = redirects.learn(&uri("sip:0@192.0.2.9"), &moved(contacts), &trunk());

        assert_eq!(forbidden.len(), 2);
        assert_eq!(redirects.next(), None);
    }

    #[test]
    fn the_way_leads_to_addresses_of_the_trunk_alone() {
        let usual = || vec![at("192.0.2.9:5060")];
        let way = |text: &str| way(&uri(text), &trunk(), usual()).into_iter().collect::<Vec<_>>();

        assert_eq!(way("sip:1@192.0.2.9:5080"), [at("192.0.2.9:5080")]);
        assert_eq!(way("sip:1@192.0.2.77"), [at("192.0.2.77:5060")], "a peer");
        assert_eq!(way("sip:1@198.51.100.1"), usual());
        assert_eq!(way("sip:1@example.com"), usual());
        assert_eq!(way("sips:1@192.0.2.77"), usual(), "nobody knows its certificate");
    }

    #[test]
    fn a_trunk_that_names_its_certificate_is_followed_over_tls() {
        let trunk = Trunk { has_tls_name: true, ..trunk() };
        let way = way(&uri("sips:1@192.0.2.77"), &trunk, vec![at("192.0.2.9:5060")]);

        let there = sip::Target { transport: sip::Transport::Tls, ..at("192.0.2.77:5061") };
        assert_eq!(way, [there]);
    }

    fn trunk() -> Trunk {
        let mut trunk = Trunk::to(vec![super::super::settings::TrunkTarget::only(at("192.0.2.9:5060"))]);
        trunk.peers = vec!["192.0.2.64/26".parse().unwrap()];
        trunk
    }

    fn at(address: &str) -> sip::Target {
        sip::Target { transport: sip::Transport::Udp, address: address.parse().unwrap() }
    }

    fn uri(text: &str) -> sip::Uri {
        sip::Uri::parse(text).unwrap()
    }

    fn moved(contacts: &str) -> sip::Message {
        let text = format!(
            "SIP/2.0 302 Moved Temporarily\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: {contacts}\r\nContent-Length: 0\r\n\r\n"
        );
        sip::Message::parse(text.into(), sip::Framing::Datagram).unwrap()
    }
}
