//! A network in virtual time for tests: endpoints on it talk over links that lose, double, delay and overtake, by chance
//! from a seed. Feature `test-support`.
//! ```text
//!   Endpoint 10.0.0.1 ---transmit---> [ in flight, by time of arrival ] ---handle_message---> Endpoint 10.0.0.2
//!                  datagrams: lost, doubled, each with its own delay
//!                  streams:   in order, until one is cut
//! ```
//! The test plays the owners: it asks for the next thing that happens ([`Network::advance`]), reacts with commands to
//! [`Network::endpoint`], and goes on until nothing happens any more.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::endpoint::{Config, Endpoint, Event, Local};
use crate::flow::{ConnectionId, Flow, Target, Transmit, Transport};

/// What happens to messages on their way.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Datagrams lost, of a thousand.
    pub loss: u32,
    /// Datagrams that arrive twice, of a thousand.
    pub doubling: u32,
    /// The shortest time on the way.
    pub delay: Duration,
    /// What chance adds to it. More than the gap between two datagrams lets one overtake the other.
    pub jitter: Duration,
}

impl Faults {
    /// Everything arrives after 10 ms.
    pub const NONE: Self =
        Self { loss: 0, doubling: 0, delay: Duration::from_millis(10), jitter: Duration::ZERO };
}

/// One endpoint of the network, in the order they were added.
pub type Node = usize;

/// What the test has to react to.
#[derive(Debug)]
pub enum Happening {
    /// An endpoint tells its owner something.
    Event(Node, Event),
    /// A time set with [`Network::wake`] has come.
    Wake(Node, u64),
}

/// One message that was sent.
#[derive(Debug, Clone)]
pub struct Trace {
    /// When, from the beginning.
    pub at: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Whether it was lost.
    pub fate: Fate,
    /// The message.
    pub payload: Bytes,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It arrives twice.
    ArrivesTwice,
    /// It does not.
    Lost,
}

impl Trace {
    /// The first line.
    pub fn start_line(&self) -> String {
        let line = self.payload.split(|&byte| byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }
}

/// The virtual network and its clock.
#[derive(Debug)]
pub struct Network {
    start: Instant,
    now: Instant,
    chance: StdRng,
    faults: Faults,
    hosts: Vec<Host>,
    in_flight: BTreeMap<(Instant, u64), InFlight>,
    wakes: BTreeMap<(Instant, u64), (Node, u64)>,
    streams: Vec<Stream>,
    happenings: VecDeque<Happening>,
    traces: Vec<Trace>,
    last_number: u64,
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum InFlight {
    Message { to: Node, flow: Flow, payload: Bytes },
    Cut { to: Node, connection: ConnectionId, dialled: Option<SocketAddr> },
    Refused { to: Node, transport: Transport, address: SocketAddr },
}

/// One open connection; each side has its own number for it.
#[derive(Debug)]
struct Stream {
    transport: Transport,
    ends: [End; 2],
    open: bool,
    /// What was sent last arrives before what is sent next.
    busy_until: [Instant; 2],
}

#[derive(Debug, Clone, Copy)]
struct End {
    node: Node,
    address: SocketAddr,
    connection: ConnectionId,
}

impl Network {
    /// An empty network whose clock stands at `start`.
    pub fn new(start: Instant, seed: u64, faults: Faults) -> Self {
        Self {
            start,
            now: start,
            chance: StdRng::seed_from_u64(seed),
            faults,
            hosts: Vec::new(),
            in_flight: BTreeMap::new(),
            wakes: BTreeMap::new(),
            streams: Vec::new(),
            happenings: VecDeque::new(),
            traces: Vec::new(),
            last_number: 0,
        }
    }

    /// Adds an endpoint at 10.0.0.1, 10.0.0.2 … that listens on 5060 for UDP and TCP; `adjust` may change its settings.
    pub fn add(&mut self, adjust: impl FnOnce(&mut Config)) -> Node {
        let node = self.hosts.len();
        let last = u8::try_from(node + 1).expect("a test has few endpoints");
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let bind = SocketAddr::new(ip, 5060);
        let locals = vec![Local::new(Transport::Udp, bind), Local::new(Transport::Tcp, bind)];
        let mut config = Config::new(format!("node-{last}"), locals);
        adjust(&mut config);
        let seed = self.chance.random();
        self.hosts.push(Host { ip, endpoint: Endpoint::new(config, seed) });
        node
    }

    /// The clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How long the network has been running.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// An endpoint, to give commands to at [`Self::now`].
    pub fn endpoint(&mut self, node: Node) -> &mut Endpoint {
        &mut self.hosts[node].endpoint
    }

    /// Where an endpoint listens.
    pub fn target(&self, node: Node, transport: Transport) -> Target {
        Target { transport, address: SocketAddr::new(self.hosts[node].ip, 5060) }
    }

    /// Every message sent so far.
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }

    /// The messages so far as lines, for people.
    pub fn ladder(&self) -> String {
        let line = |trace: &Trace| {
            let Trace { at, from, to, fate, .. } = trace;
            format!("{:>9.3} {from} -> {to} {} {fate:?}\n", at.as_secs_f64(), trace.start_line())
        };
        self.traces.iter().map(line).collect()
    }

    /// From now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Asks for [`Happening::Wake`] after `span`.
    pub fn wake(&mut self, span: Duration, node: Node, token: u64) {
        let number = self.number();
        self.wakes.insert((self.now + span, number), (node, token));
    }

    /// Cuts every open stream: both ends hear of it, what is on the way is lost.
    pub fn cut_streams(&mut self) {
        self.send_all();
        for index in 0..self.streams.len() {
            if std::mem::replace(&mut self.streams[index].open, false) {
                let [dialled, accepted] = self.streams[index].ends;
                let lost = |message: &InFlight| match message {
                    InFlight::Message { flow, .. } => {
                        [dialled, accepted].iter().any(|end| flow.connection == Some(end.connection))
                    }
                    InFlight::Cut { .. } | InFlight::Refused { .. } => false,
                };
                self.in_flight.retain(|_, message| !lost(message));
                let (connection, dialled_to) = (dialled.connection, Some(accepted.address));
                self.post(self.now, InFlight::Cut { to: dialled.node, connection, dialled: dialled_to });
                let connection = accepted.connection;
                self.post(self.now, InFlight::Cut { to: accepted.node, connection, dialled: None });
            }
        }
    }

    /// Hands a message to an endpoint that no endpoint of this network has sent.
    pub fn inject(&mut self, to: Node, from: SocketAddr, payload: impl Into<Bytes>) {
        let local = SocketAddr::new(self.hosts[to].ip, 5060);
        let flow = Flow { transport: Transport::Udp, local, peer: from, connection: None };
        self.post(self.now, InFlight::Message { to, flow, payload: payload.into() });
    }

    /// The next thing that happens; the clock moves as far as needed. `None` when nothing is left to happen.
    pub fn advance(&mut self) -> Option<Happening> {
        self.advance_to(None)
    }

    /// Like [`Self::advance`], but the clock stops at `span` from the beginning.
    pub fn advance_until(&mut self, span: Duration) -> Option<Happening> {
        self.advance_to(Some(self.start + span))
    }

    fn advance_to(&mut self, end: Option<Instant>) -> Option<Happening> {
        loop {
            self.send_all();
            if let Some(happening) = self.happenings.pop_front() {
                return Some(happening);
            }
            let message = self.in_flight.keys().next().map(|(at, _)| *at);
            let wake = self.wakes.keys().next().map(|(at, _)| *at);
            let timer = self.hosts.iter().filter_map(|host| host.endpoint.poll_timeout()).min();
            let at = [message, wake, timer].into_iter().flatten().min();
            let Some(at) = at.filter(|at| end.is_none_or(|end| *at <= end)) else {
                self.now = end.unwrap_or(self.now).max(self.now);
                return None;
            };
            self.now = self.now.max(at);
            if message.is_some_and(|message| message <= at) {
                self.arrive();
            } else if wake.is_some_and(|wake| wake <= at) {
                let (_, (node, token)) = self.wakes.pop_first()?;
                return Some(Happening::Wake(node, token));
            } else {
                for host in &mut self.hosts {
                    host.endpoint.handle_timeout(self.now);
                }
            }
        }
    }

    fn arrive(&mut self) {
        let Some((_, message)) = self.in_flight.pop_first() else { return };
        match message {
            InFlight::Message { to, flow, payload } => {
                self.hosts[to].endpoint.handle_message(self.now, flow, payload);
            }
            InFlight::Cut { to, connection, dialled } => {
                let endpoint = &mut self.hosts[to].endpoint;
                endpoint.handle_connection_lost(self.now, connection);
                if let Some(address) = dialled {
                    endpoint.handle_send_failure(self.now, Transport::Tcp, address);
                }
            }
            InFlight::Refused { to, transport, address } => {
                self.hosts[to].endpoint.handle_send_failure(self.now, transport, address);
            }
        }
    }

    /// Takes what the endpoints want to say.
    fn send_all(&mut self) {
        for node in 0..self.hosts.len() {
            while let Some(transmit) = self.hosts[node].endpoint.poll_transmit() {
                match transmit.transport {
                    Transport::Udp => self.send_datagram(node, transmit),
                    Transport::Tcp | Transport::Tls => self.send_on_stream(node, transmit),
                }
            }
            while let Some(event) = self.hosts[node].endpoint.poll_event() {
                self.happenings.push_back(Happening::Event(node, event));
            }
        }
    }

    fn send_datagram(&mut self, node: Node, transmit: Transmit) {
        let from = SocketAddr::new(self.hosts[node].ip, 5060);
        let lost = self.chance.random_range(0..1000) < self.faults.loss;
        let doubled = self.chance.random_range(0..1000) < self.faults.doubling;
        let fate = match (self.listener(transmit.to), lost, doubled) {
            (None, ..) | (_, true, _) => Fate::Lost,
            (Some(_), false, true) => Fate::ArrivesTwice,
            (Some(_), false, false) => Fate::Arrives,
        };
        let Transmit { transport, to: local, payload, .. } = transmit;
        self.note(from, local, fate, &payload);
        let copies = match fate {
            Fate::Lost => 0,
            Fate::Arrives => 1,
            Fate::ArrivesTwice => 2,
        };
        let Some(to) = self.listener(local) else { return };
        for _ in 0..copies {
            let at = self.now + self.way();
            let flow = Flow { transport, local, peer: from, connection: None };
            self.post(at, InFlight::Message { to, flow, payload: payload.clone() });
        }
    }

    fn send_on_stream(&mut self, node: Node, transmit: Transmit) {
        let Transmit { transport, to, connection, payload, .. } = transmit;
        let is_it = |stream: &Stream, end: &End, far: &End| match connection {
            Some(connection) => end.connection == connection,
            None => far.address == to && stream.transport == transport,
        };
        let found =
            self.streams.iter().enumerate().filter(|(_, stream)| stream.open).find_map(|(index, stream)| {
                let [one, other] = &stream.ends;
                let from_one = one.node == node && is_it(stream, one, other);
                let from_other = other.node == node && is_it(stream, other, one);
                if from_one {
                    Some((index, 0))
                } else if from_other {
                    Some((index, 1))
                } else {
                    None
                }
            });
        let Some((index, from)) = found.or_else(|| self.dial(node, transport, to)) else {
            let at = self.now + self.way();
            self.note(SocketAddr::new(self.hosts[node].ip, 0), to, Fate::Lost, &payload);
            return self.post(at, InFlight::Refused { to: node, transport, address: to });
        };
        let way = self.way();
        let stream = &mut self.streams[index];
        let (near, far) = (stream.ends[from], stream.ends[1 - from]);
        let at = (self.now + way).max(stream.busy_until[from]);
        stream.busy_until[from] = at;
        let flow =
            Flow { transport, local: far.address, peer: near.address, connection: Some(far.connection) };
        self.note(near.address, far.address, Fate::Arrives, &payload);
        self.post(at, InFlight::Message { to: far.node, flow, payload });
    }

    fn dial(&mut self, node: Node, transport: Transport, to: SocketAddr) -> Option<(usize, usize)> {
        let far = self.listener(to)?;
        let port = u16::try_from(40_000 + self.streams.len()).ok()?;
        let near_address = SocketAddr::new(self.hosts[node].ip, port);
        let near = End { node, address: near_address, connection: ConnectionId(self.number()) };
        let far = End { node: far, address: to, connection: ConnectionId(self.number()) };
        let busy_until = [self.now; 2];
        self.streams.push(Stream { transport, ends: [near, far], open: true, busy_until });
        Some((self.streams.len() - 1, 0))
    }

    fn listener(&self, address: SocketAddr) -> Option<Node> {
        self.hosts.iter().position(|host| SocketAddr::new(host.ip, 5060) == address)
    }

    fn way(&mut self) -> Duration {
        let jitter = u64::try_from(self.faults.jitter.as_micros()).unwrap_or(u64::MAX);
        self.faults.delay + Duration::from_micros(self.chance.random_range(0..=jitter))
    }

    fn post(&mut self, at: Instant, message: InFlight) {
        let number = self.number();
        self.in_flight.insert((at, number), message);
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, fate: Fate, payload: &Bytes) {
        let at = self.elapsed();
        self.traces.push(Trace { at, from, to, fate, payload: payload.clone() });
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
