//! What a call costs in SIP. Budget: the round of one transaction, both sides, 1 µs without its messages; a whole call
//! between two endpoints (INVITE, 180, 200, ACK, BYE, 200, each written once and read once) 150 µs, and not noticeably
//! more while thousands of others are up.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use sip::endpoint::Event;
use sip::transaction::{Carriage, Client, InviteClient, InviteServer, ResponseKind, Server, Timers};
use sip::{
    Body, Config, DialogId, Endpoint, Flow, Headers, Invite, Local, NameAddr, StatusCode, Target, Transport,
    Uri,
};

#[expect(clippy::disallowed_methods, reason = "a bench asks the clock once, for its beginning")]
fn beginning() -> Instant {
    Instant::now()
}

/// The four automata, from the request to the point where only repetitions are absorbed.
fn transactions(bench: &mut Criterion) {
    let (now, timers) = (beginning(), Timers::default());
    let wire = || Bytes::from_static(b"message");

    bench.bench_function("transaction round: INVITE server+client", |b| {
        b.iter(|| {
            let mut client = InviteClient::new(now, Carriage::Datagram, timers, wire(), timers.give_up());
            let mut server = InviteServer::new(now, Carriage::Datagram, timers, wire());
            black_box(client.poll_output());
            server.ring(wire()).expect("nothing was answered yet");
            black_box(server.poll_output());
            let _ = black_box(client.handle_response(now, ResponseKind::Provisional, wire));
            server.refuse(now, wire()).expect("nothing final was answered yet");
            black_box(server.poll_output());
            let _ = black_box(client.handle_response(now, ResponseKind::Refusal, wire));
            black_box(client.poll_output());
            let _ = black_box(server.handle_ack(now));
            (client.poll_timeout(), server.poll_timeout())
        })
    });
    bench.bench_function("transaction round: non-INVITE server+client", |b| {
        b.iter(|| {
            let mut client = Client::new(now, Carriage::Datagram, timers, wire(), timers.give_up());
            let mut server = Server::new(now, Carriage::Datagram, timers);
            black_box(client.poll_output());
            server.answer(now, wire()).expect("nothing was answered yet");
            black_box(server.poll_output());
            let _ = black_box(client.handle_response(now, ResponseKind::Success));
            (client.poll_timeout(), server.poll_timeout())
        })
    });
}

/// One call after the other between two endpoints, a hundred a second, while others are up. What former calls have left
/// to absorb repetitions is there too, and forgotten when its time comes.
fn calls(bench: &mut Criterion) {
    for (name, others) in [("whole call, nobody else", 0), ("whole call, 2,000 others up", 2_000)] {
        let mut pair = Pair::new();
        for _ in 0..others {
            pair.begin();
        }
        bench.bench_function(name, |b| b.iter(|| pair.call()));
    }
}

/// A caller and a callee without a network between them.
struct Pair {
    caller: Endpoint,
    callee: Endpoint,
    now: Instant,
}

const CALLER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060);
const CALLEE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 5060);

impl Pair {
    fn new() -> Self {
        let endpoint = |local| Endpoint::new(Config::new("edge", vec![Local::new(Transport::Udp, local)]), 1);
        Self { caller: endpoint(CALLER), callee: endpoint(CALLEE), now: beginning() }
    }

    fn call(&mut self) {
        let dialog = self.begin();
        self.caller.hang_up(self.now, dialog, Headers::new());
        self.exchange();
        self.now += Duration::from_millis(10);
        self.caller.handle_timeout(self.now);
        self.callee.handle_timeout(self.now);
        self.exchange();
    }

    /// A call that is up.
    fn begin(&mut self) -> DialogId {
        let name = |text: &str| NameAddr::new(Uri::parse(text).expect("a URI"));
        let target = Target { transport: Transport::Udp, address: CALLEE };
        let callee = name("sip:+15551230@10.0.0.2");
        let invite = Invite::new(target, callee.uri().clone(), name("sip:+15559870@10.0.0.1"), callee);
        let dialog = self.caller.invite(self.now, Invite { body: Some(Body::sdp(SDP)), ..invite });
        self.exchange();
        dialog
    }

    /// Carries everything over until nobody has anything to say.
    fn exchange(&mut self) {
        let now = self.now;
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.caller.poll_transmit() {
                quiet = false;
                self.callee.handle_message(now, flow(CALLEE, CALLER), transmit.payload);
            }
            while let Some(transmit) = self.callee.poll_transmit() {
                quiet = false;
                self.caller.handle_message(now, flow(CALLER, CALLEE), transmit.payload);
            }
            while let Some(event) = self.callee.poll_event() {
                if let Event::Invited { dialog, .. } = event {
                    quiet = false;
                    self.callee.ring(now, dialog, StatusCode::RINGING, Headers::new(), None);
                    self.callee.accept(now, dialog, Headers::new(), Some(Body::sdp(SDP)));
                }
            }
            while let Some(event) = self.caller.poll_event() {
                if let Event::Answered { dialog, .. } = event {
                    quiet = false;
                    self.caller.acknowledge(now, dialog, None);
                }
            }
            if quiet {
                return;
            }
        }
    }
}

fn flow(local: SocketAddr, peer: SocketAddr) -> Flow {
    Flow { transport: Transport::Udp, local, peer, connection: None }
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

criterion_group!(benches, transactions, calls);
criterion_main!(benches);
