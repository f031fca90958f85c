//! A daemon in virtual time: the exchange with its workers, engines and disk played, and the network between.
//!
//! The engine's socket is played by the daemon's own interpreter of `edge.v1`, so scripts say the same words to it here as
//! on a real socket. Nothing takes time but the network (10 ms each way), timers, and what the script waits for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use callingedge::bridge::{Credit, Incoming, Interpreter, Outgoing, Said as Spoken};
use callingedge::call::{
    Answer, CallId, CallRecord, Command, Control, Dialect, DtmfMethod, EndReason, EngineEvent, EngineFailure,
    Exchange, Health, Located, Output, Record, RecordNumber, RequestId, VoiceFact, VoiceOrder, VoiceSummary,
};
use callingedge::config::{Config, SecretsAre, Surroundings};
use serde_json::{Value, json};
use sip::locate::Place;

use crate::carrier::{Arrival, Carrier, LATER, Loss, Order, Said, Weather, configuration};
use crate::certificates::Certificates;
use crate::phone::Path;
use crate::play::{BOB, CAROL};

const EDGE: &str = "10.9.0.1:5060";
/// One way.
const DELAY: Duration = Duration::from_millis(10);
/// What a worker or a disk takes.
const SOON: Duration = Duration::from_millis(1);

/// Addresses of the phones.
pub(crate) fn addresses() -> Vec<SocketAddr> {
    ["10.9.1.1:5060", "10.9.1.1:5070", "10.9.1.1:5080"].map(|address| address.parse().unwrap()).to_vec()
}

pub(crate) fn edge() -> SocketAddr {
    EDGE.parse().unwrap()
}

enum Happening {
    ToEdge(Path, usize, Bytes),
    ToPhone(usize, Path, Bytes),
    Refused(SocketAddr),
    Fact(CallId, VoiceFact),
    ToEngine(usize, Value),
    Durable(RecordNumber),
}

struct Entry(Instant, u64, Happening);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Stream {
    phone: usize,
    /// As the daemon sees it.
    peer: SocketAddr,
    open: bool,
}

struct Session {
    call: CallId,
    interpreter: Interpreter,
    open: bool,
}

/// What a worker holds of a call.
#[derive(Default)]
struct Voice {
    legs: u32,
    closed: bool,
    engine: Option<usize>,
}

pub(crate) struct InTime {
    now: Instant,
    exchange: Exchange,
    weather: Weather,
    loss: Loss,
    phones: Vec<SocketAddr>,
    dead: Vec<usize>,
    later: BinaryHeap<Reverse<Entry>>,
    caused: u64,
    /// The connection's number is its place here.
    streams: Vec<Stream>,
    sessions: Vec<Session>,
    voices: BTreeMap<CallId, Voice>,
    shown: BTreeMap<CallId, Arc<CallRecord>>,
    told: Vec<String>,
    replies: Vec<Answer>,
    health: Option<Health>,
    orders: u64,
}

impl InTime {
    pub(crate) fn new(weather: Weather, extra: &str) -> Self {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: crate::carrier::secrets(),
            secrets: SecretsAre::Needed,
            held: std::collections::BTreeMap::new(),
        };
        let phones = addresses();
        let text = format!(
            "{}sip.listen = [\"udp:{EDGE}\", \"tcp:{EDGE}\", \"tls:{EDGE}\"]\n\
             media = {{ address = \"10.9.0.1\", advertise = \"10.9.0.1\", workers = 1 }}\nhttp.listen = \"127.0.0.1:0\"\n{}",
            Certificates::get().of_the_daemon(),
            configuration(0, weather, "ws://10.9.0.2/", &phones, extra)
        );
        let config =
            Config::parse(&text, &surroundings).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
        let locals = [sip::Transport::Udp, sip::Transport::Tcp, sip::Transport::Tls]
            .map(|one| sip::Local::new(one, edge()));
        let sip_config = sip::Config::new("callingedge", locals.to_vec());
        // What a name server says of a name: Bob's phone, and Carol's where he is not there.
        let place = |phone: usize, rank| Place {
            target: sip::Target { transport: weather.transport, address: phones[phone] },
            rank,
            weight: 1,
        };
        let found = || Ok(vec![place(BOB, 0), place(CAROL, 1)]);
        let located: Located = config.settings.names().into_iter().map(|name| (name, found())).collect();
        let settings = Arc::new(config.settings.located(&located));
        let now = start();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let exchange = Exchange::new(now, wall, weather.seed ^ 0xED6E, settings, sip_config);
        let mut carrier = Self {
            now,
            exchange,
            weather,
            loss: Loss::new(weather.loss, weather.seed),
            phones,
            dead: Vec::new(),
            later: BinaryHeap::new(),
            caused: 0,
            streams: Vec::new(),
            sessions: Vec::new(),
            voices: BTreeMap::new(),
            shown: BTreeMap::new(),
            told: Vec::new(),
            replies: Vec::new(),
            health: None,
            orders: 0,
        };
        carrier.carry_out();
        carrier
    }

    fn at(&mut self, at: Instant, what: Happening) {
        self.caused += 1;
        self.later.push(Reverse(Entry(at, self.caused, what)));
    }

    fn fact(&mut self, call: CallId, fact: VoiceFact) {
        self.at(self.now + SOON, Happening::Fact(call, fact));
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(transmit),
                Output::Voice { call, order } => self.obey(call, order),
                Output::DialEngine { call, .. } => {
                    let credit = Credit { window: Duration::from_secs(1), limit: Duration::from_secs(30) };
                    let interpreter = Interpreter::new(Dialect::EdgeV1, call, credit);
                    self.sessions.push(Session { call, interpreter, open: true });
                    self.voices.entry(call).or_default().engine = Some(self.sessions.len() - 1);
                    self.fact(call, VoiceFact::EngineConnected);
                }
                Output::Keep { number, record } => {
                    if let Record::Event { event, .. } = record {
                        self.told.push(event.kind.as_str().to_owned());
                    }
                    self.at(self.now + SOON, Happening::Durable(number));
                }
                Output::Publish(record) => {
                    self.shown.insert(record.view.call_id, record);
                }
                Output::Reply { answer, .. } => self.replies.push(answer),
                Output::Health { health, .. } => self.health = Some(health),
                Output::Forget(_) | Output::Drained | Output::Fetch { .. } => {}
            }
        }
    }

    fn transmit(&mut self, transmit: sip::Transmit) {
        let sip::Transmit { transport, to, connection, payload, .. } = transmit;
        let phone = self.phones.iter().position(|phone| *phone == to);
        let at = self.now + DELAY;
        match transport {
            sip::Transport::Udp => {
                let is_dead = phone.is_none_or(|phone| self.dead.contains(&phone));
                if let (false, false, Some(phone)) = (is_dead, self.loss.strikes(), phone) {
                    self.at(at, Happening::ToPhone(phone, Path::Datagram(edge()), payload));
                }
            }
            sip::Transport::Tcp | sip::Transport::Tls => {
                let open = |at: &usize| self.streams.get(*at).is_some_and(|stream| stream.open);
                let asked = connection.and_then(|one| usize::try_from(one.0).ok()).filter(open);
                let known = || self.streams.iter().position(|stream| stream.open && stream.peer == to);
                let stream = asked.or_else(known).or_else(|| {
                    let phone = phone.filter(|phone| !self.dead.contains(phone))?;
                    self.streams.push(Stream { phone, peer: to, open: true });
                    Some(self.streams.len() - 1)
                });
                match stream {
                    Some(stream) => {
                        let phone = self.streams[stream].phone;
                        self.at(at, Happening::ToPhone(phone, Path::Stream(stream as u64), payload));
                    }
                    None => self.at(at, Happening::Refused(to)),
                }
            }
        }
    }

    fn obey(&mut self, call: CallId, order: VoiceOrder) {
        let voice = self.voices.entry(call).or_default();
        if voice.closed {
            // It has crossed the end.
            assert!(
                matches!(order, VoiceOrder::DismissEngine(_)),
                "an order after the worker let go: {order:?}"
            );
            return;
        }
        let engine = voice.engine;
        match order {
            VoiceOrder::Open { leg, .. } => {
                voice.legs += 1;
                self.fact(call, VoiceFact::Opened { leg, port: 20_000 + 2 * u16::from(leg.0) });
            }
            VoiceOrder::Tell(event) => {
                let Some(session) = engine.and_then(|engine| self.sessions.get_mut(engine)) else { return };
                let mut out = Outgoing::default();
                session.interpreter.tell(self.now, &event, &mut out);
                self.tell_engine(engine, out);
            }
            VoiceOrder::Pressed { leg, digit, duration } => {
                if let Some(session) = engine.and_then(|engine| self.sessions.get_mut(engine)) {
                    let mut out = Outgoing::default();
                    session.interpreter.digit(leg, digit, duration, DtmfMethod::Info, &mut out);
                    self.tell_engine(engine, out);
                }
                self.fact(call, VoiceFact::Dtmf { leg, digit, duration, method: DtmfMethod::Info });
            }
            VoiceOrder::Announce { leg, audio } => {
                self.at(self.now + audio.length(), Happening::Fact(call, VoiceFact::Announced { leg }));
            }
            VoiceOrder::Drain => self.fact(call, VoiceFact::Drained),
            VoiceOrder::DismissEngine(reason) => self.dismiss(call, reason),
            VoiceOrder::Close(reason) => {
                voice.closed = true;
                self.dismiss(call, reason);
                self.fact(call, VoiceFact::Closed(VoiceSummary::default()));
            }
            VoiceOrder::Negotiated { .. }
            | VoiceOrder::Route(_)
            | VoiceOrder::SendDtmf { .. }
            | VoiceOrder::Wait { .. }
            | VoiceOrder::CloseLeg(_)
            | VoiceOrder::ResumeEngine { .. }
            | VoiceOrder::DetectAnswerer { .. }
            | VoiceOrder::WatchSilence { .. }
            | VoiceOrder::Record { .. }
            | VoiceOrder::PauseRecording(_)
            | VoiceOrder::MaskKeys(_)
            | VoiceOrder::Hook(_) => {}
        }
    }

    fn dismiss(&mut self, call: CallId, reason: EndReason) {
        let engine = self.voices.entry(call).or_default().engine.take();
        let session = engine.and_then(|engine| self.sessions.get_mut(engine)).filter(|session| session.open);
        if let Some(session) = session {
            session.open = false;
            let mut out = Outgoing::default();
            session.interpreter.tell(self.now, &EngineEvent::Stop(reason), &mut out);
            self.tell_engine(engine, out);
        }
    }

    fn tell_engine(&mut self, engine: Option<usize>, mut out: Outgoing) {
        while let (Some(engine), Some((_, message))) = (engine, out.pop()) {
            if let Ok(told) = serde_json::from_slice(&message) {
                self.at(self.now + SOON, Happening::ToEngine(engine, told));
            }
        }
    }

    fn happen(&mut self, happening: Happening) -> Option<Arrival> {
        match happening {
            Happening::ToEdge(path, phone, wire) => {
                let flow = match path {
                    Path::Datagram(_) => sip::Flow {
                        transport: sip::Transport::Udp,
                        local: edge(),
                        peer: self.phones[phone],
                        connection: None,
                    },
                    Path::Stream(number) => sip::Flow {
                        transport: self.weather.transport,
                        local: edge(),
                        peer: self.streams[number as usize].peer,
                        connection: Some(sip::ConnectionId(number)),
                    },
                };
                self.exchange.handle_sip(self.now, flow, wire);
            }
            Happening::ToPhone(phone, path, wire) => {
                return Some(Arrival::Sip { to: phone, path, wire: wire.to_vec() });
            }
            Happening::Refused(to) => {
                self.exchange.handle_send_failure(self.now, self.weather.transport, to);
            }
            Happening::Fact(call, fact) => self.exchange.handle_voice(self.now, call, fact),
            Happening::ToEngine(engine, told) => return Some(Arrival::Engine { engine, told }),
            Happening::Durable(number) => self.exchange.handle_durable(number),
        }
        self.carry_out();
        None
    }

    fn tenant() -> callingedge::call::TenantId {
        "t0".into()
    }
}

impl Carrier for InTime {
    fn now(&self) -> Instant {
        self.now
    }

    fn send(&mut self, phone: usize, path: Path, wire: &[u8]) {
        let lost = match path {
            Path::Datagram(_) => self.loss.strikes(),
            Path::Stream(number) => !self.streams[number as usize].open,
        };
        if !lost {
            self.at(self.now + DELAY, Happening::ToEdge(path, phone, Bytes::copy_from_slice(wire)));
        }
    }

    fn way(&mut self, phone: usize) -> Path {
        if !self.weather.is_stream() {
            return Path::Datagram(edge());
        }
        let port = 40_000 + u16::try_from(self.streams.len()).unwrap();
        let peer = SocketAddr::new(self.phones[phone].ip(), port);
        self.streams.push(Stream { phone, peer, open: true });
        Path::Stream(self.streams.len() as u64 - 1)
    }

    fn cut(&mut self, path: Path) {
        if let Path::Stream(number) = path {
            self.streams[number as usize].open = false;
            self.exchange.handle_connection_lost(self.now, sip::ConnectionId(number));
            self.carry_out();
        }
    }

    fn step(&mut self, until: Instant) -> Option<Arrival> {
        loop {
            let next = self.later.peek().map(|Reverse(entry)| entry.0);
            let timer = self.exchange.poll_timeout();
            let wake = [next, timer].into_iter().flatten().min().filter(|wake| *wake <= until);
            let Some(wake) = wake else {
                self.now = self.now.max(until);
                return None;
            };
            self.now = self.now.max(wake);
            if next.is_some_and(|next| next <= wake) {
                let Some(Reverse(Entry(_, _, happening))) = self.later.pop() else { continue };
                if let Some(arrival) = self.happen(happening) {
                    return Some(arrival);
                }
            } else {
                self.exchange.handle_timeout(self.now);
                self.carry_out();
            }
        }
    }

    fn order(&mut self, order: Order) -> Said {
        let (tenant, provider) = (Self::tenant(), "p0".into());
        let command = match order {
            Order::Place(body) => {
                let call = serde_json::from_value(body).unwrap();
                Command::Place { tenant, provider, call: Box::new(call), idempotency: None }
            }
            Order::Transfer(body) => {
                let transfer = Box::new(serde_json::from_value(body).unwrap());
                Command::Transfer { tenant, provider, transfer }
            }
            Order::WrapUp(body) => {
                Command::WrapUp { tenant, provider, wrap_up: serde_json::from_value(body).unwrap() }
            }
            Order::Mode(call, body) => {
                let switch = Box::new(serde_json::from_value(body).unwrap());
                Command::SwitchMode { tenant, call: call.parse().unwrap(), switch }
            }
            Order::Hold(call) => {
                Command::Control { tenant, call: call.parse().unwrap(), control: Control::Hold }
            }
            Order::Resume(call) => {
                Command::Control { tenant, call: call.parse().unwrap(), control: Control::Resume }
            }
        };
        self.orders += 1;
        self.exchange.handle_command(self.now, RequestId(self.orders), command);
        self.carry_out();
        match self.replies.pop().unwrap() {
            Answer::Placed(record) => Said::Placed(record.view.call_id.to_string()),
            Answer::Accepted | Answer::Context(_) | Answer::WrappedUp(_) => Said::Accepted,
            Answer::Refused(error) => Said::Refused(error.code().to_owned()),
        }
    }

    fn engine_says(&mut self, engine: usize, said: &Value) {
        let session = &mut self.sessions[engine];
        if !session.open {
            return;
        }
        let (text, mut scratch, mut out) = (said.to_string(), Vec::new(), Outgoing::default());
        let understood = session.interpreter.understand(Incoming::Text(&text), &mut scratch, &mut out);
        let call = session.call;
        let Ok(Spoken::Command(command)) = understood else { panic!("{said} is no command: {understood:?}") };
        self.fact(call, VoiceFact::Engine(command));
    }

    fn engine_dies(&mut self, engine: usize) {
        let session = &mut self.sessions[engine];
        if std::mem::replace(&mut session.open, false) {
            let call = session.call;
            self.fact(call, VoiceFact::EngineGone(EngineFailure::Broken("reset".to_owned())));
        }
    }

    fn kill(&mut self, phone: usize) {
        self.dead.push(phone);
        for stream in self.streams.iter_mut().filter(|stream| stream.phone == phone) {
            stream.open = false;
        }
    }

    fn calls(&mut self) -> Vec<Value> {
        self.shown.values().map(|record| serde_json::to_value(&record.view).unwrap()).collect()
    }

    fn health(&mut self) -> Value {
        self.health.as_ref().map_or(json!(null), |health| {
            json!({
                "reachable": health.reachable,
                "detail": health.detail,
                "registration": health.registration.as_ref().map(|told| json!({
                    "state": told.state, "detail": told.detail,
                })),
            })
        })
    }

    fn events(&mut self) -> Vec<String> {
        self.told.clone()
    }

    fn stop(&mut self) {
        self.exchange.stop(self.now);
        self.carry_out();
    }

    fn left_over(&mut self) -> Option<String> {
        let tally = self.exchange.tally();
        let held = [
            ("calls", tally.calls),
            ("dialogs of calls", tally.dialogs),
            ("dialogs", tally.sip.dialogs),
            ("client transactions", tally.sip.client_transactions),
            ("server transactions", tally.sip.server_transactions),
            ("timers", tally.sip.timers),
            ("records", usize::try_from(tally.unsaved).unwrap()),
            ("voices", self.voices.values().filter(|voice| voice.legs > 0 && !voice.closed).count()),
            ("engines", self.sessions.iter().filter(|session| session.open).count()),
        ];
        let held: Vec<String> = held
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        (!held.is_empty()).then(|| held.join(", "))
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn start() -> Instant {
    Instant::now() + LATER
}
