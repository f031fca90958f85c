//! SIP over TLS on loopback: names are checked both ways, certificates change under open streams, and a trunk that has to
//! show a certificate gets no stream without it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callingedge::net::{Heard, Identity, Net, Tls, TrunkTls};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::sync::mpsc;
use tokio::time::timeout;

const OPTIONS: &[u8] =
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn messages_travel_both_ways_over_one_stream() {
    let authority = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", Some(authority.issue("edge.example.com"))).await;
    let mut caller = Edge::open("127.0.0.1:0", Some(authority.issue("pbx.example.com"))).await;
    caller.believe(&authority, "edge.example.com", None);

    caller.send(callee.address, None);
    let (flow, wire) = callee.message().await;
    assert_eq!((&wire[..], flow.transport), (OPTIONS, sip::Transport::Tls));

    callee.send(flow.peer, flow.connection);
    let (back, wire) = caller.message().await;
    assert_eq!((&wire[..], back.peer), (OPTIONS, callee.address));
    assert_eq!((caller.net.open_streams(), callee.net.open_streams()), (1, 1));
}

#[tokio::test]
async fn ipv6_is_no_different() {
    let authority = Authority::new();
    let mut callee = Edge::open("[::1]:0", Some(authority.issue("edge.example.com"))).await;
    let mut caller = Edge::open("[::1]:0", None).await;
    caller.believe(&authority, "edge.example.com", None);

    caller.send(callee.address, None);

    assert!(callee.message().await.0.local.is_ipv6());
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_an_unknown_authority_opens_no_stream() {
    let authority = Authority::new();
    let callee = Edge::open("127.0.0.1:0", Some(authority.issue("edge.example.com"))).await;
    for (trusted, name) in [(&authority, "other.example.com"), (&Authority::new(), "edge.example.com")] {
        let mut caller = Edge::open("127.0.0.1:0", None).await;
        caller.believe(trusted, name, None);

        caller.send(callee.address, None);

        let reason = caller.not_opened().await;
        assert!(reason.contains("certificate"), "{reason}");
        assert_eq!(caller.net.open_streams(), 0);
    }
}

#[tokio::test]
async fn an_address_is_a_name_too() {
    let authority = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", Some(authority.issue("127.0.0.1"))).await;
    let mut caller = Edge::open("127.0.0.1:0", None).await;
    let trunk = TrunkTls { server_name: None, ..authority.trunk("unused.example.com") };
    caller.net.secure(Tls::new(None, vec![trunk]).unwrap());

    caller.send(callee.address, None);

    assert_eq!(&callee.message().await.1[..], OPTIONS);
}

#[tokio::test]
async fn a_target_has_the_name_that_it_is_known_under() {
    let authority = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", Some(authority.issue("sip1.example.com"))).await;
    let mut caller = Edge::open("127.0.0.1:0", None).await;
    let names = vec![(callee.address, ServerName::try_from("sip1.example.com").unwrap())];
    let trunk = TrunkTls { server_name: None, names, ..authority.trunk("unused.example.com") };
    caller.net.secure(Tls::new(None, vec![trunk]).unwrap());

    caller.send(callee.address, None);

    assert_eq!(&callee.message().await.1[..], OPTIONS);
}

#[tokio::test]
async fn a_trunk_that_has_to_show_a_certificate_gets_no_stream_without_the_right_one() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", None).await;
    let wanted = TrunkTls {
        client_names: vec![ServerName::try_from("trunk.example.com").unwrap()],
        ..authority.trunk("unused.example.com")
    };
    callee.net.secure(Tls::new(Some(authority.issue("edge.example.com")), vec![wanted]).unwrap());
    for wrong in [None, Some(authority.issue("other.example.com")), Some(stranger.issue("trunk.example.com"))]
    {
        let mut caller = Edge::open("127.0.0.1:0", None).await;
        caller.believe(&authority, "edge.example.com", wrong);

        caller.send(callee.address, None);

        // TLS 1.3 tells a client after its handshake that its certificate was not liked.
        while !matches!(caller.heard().await, Heard::Closed { .. } | Heard::NotOpened { .. }) {}
        assert!(callee.queue.try_recv().is_err(), "nothing of it is heard");
    }
    let mut caller = Edge::open("127.0.0.1:0", None).await;
    caller.believe(&authority, "edge.example.com", Some(authority.issue("trunk.example.com")));

    caller.send(callee.address, None);

    assert_eq!(&callee.message().await.1[..], OPTIONS);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_streams_and_open_ones_stay() {
    let authority = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", Some(authority.issue("old.example.com"))).await;
    let mut early = Edge::open("127.0.0.1:0", None).await;
    early.believe(&authority, "old.example.com", None);
    early.send(callee.address, None);
    callee.message().await;

    callee.net.secure(Tls::new(Some(authority.issue("new.example.com")), Vec::new()).unwrap());

    let mut late = Edge::open("127.0.0.1:0", None).await;
    late.believe(&authority, "new.example.com", None);
    late.send(callee.address, None);
    callee.message().await;
    early.send(callee.address, None);
    callee.message().await;
    assert_eq!(callee.net.open_streams(), 2);
    assert_eq!(early.net.open_streams(), 1);
}

#[tokio::test]
async fn what_is_not_tls_is_not_heard() {
    let authority = Authority::new();
    let mut callee = Edge::open("127.0.0.1:0", Some(authority.issue("edge.example.com"))).await;
    let mut caller = Edge::open("127.0.0.1:0", None).await;

    let plain = sip::Transmit { transport: sip::Transport::Tcp, ..transmit(callee.address, None) };
    caller.net.send(plain).unwrap();

    while !matches!(caller.heard().await, Heard::Closed { .. }) {}
    assert!(callee.queue.try_recv().is_err());
}

#[test]
fn a_key_that_does_not_go_with_its_certificate_is_said() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("a.example.com"), authority.issue("b.example.com"));

    let wrong = Identity { chain: one.chain, key: other.key };

    assert!(Tls::new(Some(wrong), Vec::new()).is_err());
}

struct Edge {
    net: Net,
    queue: mpsc::Receiver<Heard>,
    address: SocketAddr,
}

impl Edge {
    async fn open(address: &str, identity: Option<Identity>) -> Self {
        let listener = (sip::Transport::Tls, address.parse().unwrap());
        let (mut net, queue, bound) = Net::listen(&[listener], Arc::new(|_| true)).await.unwrap();
        net.secure(Tls::new(identity, Vec::new()).unwrap());
        Self { net, queue, address: bound[0] }
    }

    fn believe(&mut self, authority: &Authority, name: &str, identity: Option<Identity>) {
        let trunk = TrunkTls { identity, ..authority.trunk(name) };
        self.net.secure(Tls::new(None, vec![trunk]).unwrap());
    }

    fn send(&mut self, to: SocketAddr, connection: Option<sip::ConnectionId>) {
        self.net.send(transmit(to, connection)).unwrap();
    }

    async fn heard(&mut self) -> Heard {
        let heard = timeout(PATIENCE, self.queue.recv()).await.expect("something is heard").unwrap();
        match &heard {
            Heard::Opened { connection, transport, peer, sender } => {
                self.net.opened(*connection, *transport, *peer, sender.clone());
            }
            Heard::Closed { connection, .. } | Heard::NotOpened { connection, .. } => {
                self.net.closed(*connection);
            }
            Heard::Broken { .. } | Heard::Message { .. } | Heard::Ping { .. } => {}
        }
        heard
    }

    async fn message(&mut self) -> (sip::Flow, Bytes) {
        loop {
            if let Heard::Message { flow, wire, at: _ } = self.heard().await {
                return (flow, wire);
            }
        }
    }

    async fn not_opened(&mut self) -> String {
        loop {
            if let Heard::NotOpened { reason, .. } = self.heard().await {
                return reason;
            }
        }
    }
}

fn transmit(to: SocketAddr, connection: Option<sip::ConnectionId>) -> sip::Transmit {
    let payload = Bytes::from_static(OPTIONS);
    sip::Transmit { transport: sip::Transport::Tls, local: None, to, connection, payload }
}

struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { issuer: rcgen::CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn issue(&self, name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key }
    }

    fn trunk(&self, name: &str) -> TrunkTls {
        let root: CertificateDer<'static> = self.issuer.der().clone();
        TrunkTls {
            networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            server_name: Some(ServerName::try_from(name.to_owned()).unwrap()),
            roots: vec![root],
            ..TrunkTls::default()
        }
    }
}
