//! Workers between a far end that speaks RTP and an engine that speaks websocket, all on loopback.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a shell is tested on sockets")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callingedge::bridge::{Dialler, EngineSocket, FrameHeader, SocketLimits};
use callingedge::call::{
    BargeInPolicy, CallId, Context, Dialect, Direction, EndReason, Engine, EngineEvent, EngineName,
    EngineStart, FIRST_LEG, Fallback, Mode, ProviderKey, ResumeOffer, Timestamp, VoiceFact, VoiceOrder,
};
use callingedge::worker::{WorkerConfig, Workers};
use media::{Codec, Negotiated};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

/// Nothing on loopback takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long no packet may come.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// Workers and what they say.
pub(crate) struct Rig {
    pub(crate) workers: Workers,
    pub(crate) facts: Receiver<(CallId, VoiceFact)>,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(crate) fn new(config: WorkerConfig) -> Self {
        Self::with_facts(config, 1024)
    }

    pub(crate) fn with_facts(config: WorkerConfig, capacity: usize) -> Self {
        let (sender, facts) = channel(capacity);
        let workers = Workers::start(&config, &sender).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { workers, facts, runtime }
    }

    pub(crate) fn order(&mut self, call: CallId, order: VoiceOrder) {
        self.workers.order(call, order).unwrap();
        while !self.workers.flush() {
            std::thread::yield_now();
        }
    }

    /// The next fact of any call.
    pub(crate) fn next(&mut self) -> (CallId, VoiceFact) {
        let fact = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.facts.recv()).await });
        fact.expect("a fact in time").expect("workers that live")
    }

    /// The first fact of `call` that `wanted` makes something of; those before are passed over.
    pub(crate) fn until<T>(&mut self, call: CallId, mut wanted: impl FnMut(&VoiceFact) -> Option<T>) -> T {
        loop {
            let (of, fact) = self.next();
            if of == call
                && let Some(found) = wanted(&fact)
            {
                return found;
            }
        }
    }

    /// No fact comes within `length`.
    pub(crate) fn silent_for(&mut self, length: Duration) -> bool {
        let fact = self.runtime.block_on(async { tokio::time::timeout(length, self.facts.recv()).await });
        fact.is_err()
    }

    pub(crate) fn open(&mut self, call: CallId) -> u16 {
        self.order(call, VoiceOrder::Open { leg: FIRST_LEG, address: LOOPBACK, inactivity: SILENCE });
        self.until(call, |fact| match fact {
            VoiceFact::Opened { port, .. } => Some(*port),
            VoiceFact::NotOpened { error, .. } => panic!("{error}"),
            _ => None,
        })
    }

    /// Dials a fake engine for the call and hands the socket over.
    pub(crate) fn attach(&mut self, call: CallId, dialect: Dialect) -> FakeEngine {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        // So that an engine that does not read is noticed before the kernel has swallowed megabytes.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 8 << 10).unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            #[expect(clippy::result_large_err, reason = "the library's own type")]
            let echo_protocol = |request: &Request, mut response: Response| {
                if let Some(protocol) = request.headers().get("Sec-WebSocket-Protocol") {
                    response.headers_mut().insert("Sec-WebSocket-Protocol", protocol.clone());
                }
                Ok(response)
            };
            FakeEngine { websocket: tungstenite::accept_hdr(stream, echo_protocol).unwrap() }
        });
        self.dial(call, url, dialect);
        server.join().unwrap()
    }

    /// Dials the engine that listens there and hands the socket over.
    pub(crate) fn dial(&mut self, call: CallId, url: String, dialect: Dialect) {
        let socket = self.open_socket(&engine_at(url, dialect));
        self.workers.attach(call, socket).unwrap();
    }

    pub(crate) fn open_socket(&self, engine: &Engine) -> EngineSocket {
        let dialler = Dialler::new(SocketLimits::default(), RootCertStore::empty());
        self.runtime.block_on(dialler.dial(engine)).unwrap()
    }

    /// A whole call: sockets, engine, agreed media, answered. The engine was told.
    pub(crate) fn answered(&mut self, call: CallId, dialect: Dialect) -> (FakeEngine, FarEnd) {
        let port = self.open(call);
        let engine = self.attach(call, dialect);
        (engine, self.answer(call, port))
    }

    /// The call's engine connects, and the call is answered.
    pub(crate) fn answer(&mut self, call: CallId, port: u16) -> FarEnd {
        self.until(call, |fact| matches!(fact, VoiceFact::EngineConnected).then_some(()));
        self.talk(call, port)
    }

    /// The call is answered; its engine is there.
    pub(crate) fn talk(&mut self, call: CallId, port: u16) -> FarEnd {
        self.order(call, VoiceOrder::Tell(EngineEvent::Start(Box::new(start(call)))));
        self.order(call, VoiceOrder::Tell(EngineEvent::Answered));
        let far_end = FarEnd::new(SocketAddr::new(LOOPBACK, port));
        let media = Negotiated::plain(far_end.rtp.local_addr().unwrap(), Codec::Pcmu);
        let media = Negotiated { rtcp: far_end.rtcp.local_addr().unwrap(), ..media };
        self.order(call, VoiceOrder::Negotiated { leg: FIRST_LEG, media });
        far_end.next();
        far_end
    }

    pub(crate) fn close(&mut self, call: CallId) -> callingedge::call::VoiceSummary {
        self.order(call, VoiceOrder::Close(EndReason::RemoteHungUp));
        self.until(call, |fact| match fact {
            VoiceFact::Closed(summary) => Some(summary.clone()),
            _ => None,
        })
    }
}

/// The engine that listens there.
pub(crate) fn engine_at(url: String, dialect: Dialect) -> Engine {
    Engine {
        name: EngineName::from("fake"),
        url,
        dialect,
        sample_rate: None,
        headers: Vec::new(),
        parameters: Vec::new(),
        connect_timeout: PATIENCE,
        accept_timeout: PATIENCE,
        fallback: None,
        idle_timeout: Duration::from_secs(60),
        max_calls: None,
        resume_timeout: Duration::from_secs(10),
        barge_in: BargeInPolicy::Engine,
        on_lost: Fallback::HangUp,
    }
}

/// The engine's end of a websocket.
pub(crate) struct FakeEngine {
    pub(crate) websocket: WebSocket<TcpStream>,
}

impl FakeEngine {
    pub(crate) fn say(&mut self, message: &Value) {
        self.websocket.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn say_audio(&mut self, dialect: Dialect, segment: u32, audio: &[u8]) {
        match dialect.decides_before_answer() {
            false => {
                self.say(&json!({ "event": "media", "media": { "payload": STANDARD.encode(audio) } }));
            }
            true => {
                let mut frame = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                frame.extend_from_slice(&segment.to_be_bytes());
                frame.extend_from_slice(audio);
                self.websocket.send(Message::binary(frame)).unwrap();
            }
        }
    }

    pub(crate) fn next(&mut self) -> Message {
        self.websocket.read().unwrap()
    }

    /// The first JSON message of this kind (`type` or `event`).
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.next() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == kind || message["event"] == kind {
                    return message;
                }
            }
        }
    }

    /// The next `length` bytes of audio that it hears.
    pub(crate) fn hear(&mut self, length: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < length {
            match self.next() {
                Message::Binary(frame) => heard.extend_from_slice(FrameHeader::parse(&frame).unwrap().1),
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["event"] == "media" {
                        heard.extend(STANDARD.decode(message["media"]["payload"].as_str().unwrap()).unwrap());
                    }
                }
                _ => {}
            }
        }
        heard
    }
}

/// The far end of a leg: RTP and RTCP.
pub(crate) struct FarEnd {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    edge: SocketAddr,
    sequence: u16,
}

impl FarEnd {
    pub(crate) fn new(edge: SocketAddr) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self { rtp: socket(), rtcp: socket(), edge, sequence: 0 }
    }

    /// Sends 20 ms of audio.
    pub(crate) fn say(&mut self, audio: &[u8]) {
        self.send(0, u32::from(self.sequence) * 160, audio);
    }

    /// Presses a key: the three packets of its end (RFC 4733 §2.5.1.4).
    pub(crate) fn press(&mut self, event: u8) {
        let timestamp = u32::from(self.sequence) * 160;
        for _ in 0..3 {
            self.send(101, timestamp, &[event, 0x80 | 10, 0x03, 0x20]);
        }
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&0x0BAD_CAFE_u32.to_be_bytes());
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.rtp.send_to(&packet, self.edge).unwrap();
    }

    /// The next packet's audio.
    pub(crate) fn next(&self) -> Vec<u8> {
        let mut packet = [0; 2048];
        let length = self.rtp.recv(&mut packet).unwrap();
        packet[12..length].to_vec()
    }

    /// What it hears from the first `begin` on, for `length` bytes.
    pub(crate) fn hear(&self, begin: &[u8], length: usize) -> Vec<u8> {
        let mut heard = self.next();
        while !heard.starts_with(begin) {
            heard = self.next();
        }
        while heard.len() < length {
            heard.extend(self.next());
        }
        heard.truncate(length);
        heard
    }
}

/// A worker that others leave some of the machine.
pub(crate) fn config() -> WorkerConfig {
    WorkerConfig { threads: NonZeroUsize::new(1), seed: seed(), ..WorkerConfig::default() }
}

/// Tests run side by side: each begins elsewhere in the range of ports.
fn seed() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let process = u64::from(std::process::id()) * 1_009;
    process + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 331
}

pub(crate) fn call(number: u8) -> CallId {
    format!("call_01ARZ3NDEKTSV4RRFFQ69G5F{number:02}").parse().unwrap()
}

pub(crate) fn start(call: CallId) -> EngineStart {
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call,
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(1_779_298_264_120),
        account: None,
        resume: Some(ResumeOffer { token: "secret".to_owned().into(), within: PATIENCE }),
        parameters: Vec::new(),
    }
}

/// Mu-law that repeats only after 251 bytes, so that nothing can be lost or doubled unnoticed. It never begins
/// like comfort noise: no two equal codes follow each other.
pub(crate) fn speech(length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index * 7) % 251) as u8).collect()
}
