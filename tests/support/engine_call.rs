//! A call around one engine in virtual time: the voice of a worker without its sockets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use callingedge::bridge::{Credit, Form, Incoming, Interpreter, Outgoing};
use callingedge::call::{
    BargeInPolicy, CallId, Context, Dialect, Direction, EngineEvent, EngineStart, FIRST_LEG, Mode,
    ProviderKey, Timestamp, VoiceFact,
};
use callingedge::worker::{Tally, Turn, Voice, VoiceConfig};
use media::{BEAT, Codec, Negotiated, PACKET_MAX, SampleRate};
use serde_json::Value;

/// A message either way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn text(text: &str) -> Self {
        Self { form: Form::Text, bytes: text.as_bytes().to_vec() }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::text(&value.to_string())
    }

    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self { form: Form::Binary, bytes: bytes.to_vec() }
    }
}

pub(crate) fn text_of(message: &Message) -> String {
    match message.form {
        Form::Text => String::from_utf8(message.bytes.clone()).unwrap(),
        Form::Binary => String::from_utf8_lossy(&message.bytes).into_owned(),
    }
}

pub(crate) fn shown(message: &Message) -> String {
    match message.form {
        Form::Text => format!("text {}", text_of(message)),
        Form::Binary => {
            let hex: String = message.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("binary {hex}")
        }
    }
}

pub(crate) struct Run {
    pub(crate) dialect: Dialect,
    pub(crate) voice: Voice,
    pub(crate) now: Instant,
    pub(crate) out: Outgoing,
    pub(crate) facts: VecDeque<VoiceFact>,
    pub(crate) tally: Tally,
    pub(crate) scratch: Vec<u8>,
}

impl Run {
    pub(crate) fn ringing(dialect: Dialect) -> Self {
        Self::at(dialect, Some(SampleRate::Hz8000))
    }

    pub(crate) fn at(dialect: Dialect, rate: Option<SampleRate>) -> Self {
        let config = VoiceConfig::default();
        let credit = Credit { window: Duration::from_secs(30), limit: config.playout_limit };
        let mut voice = Voice::new(config);
        voice.open(FIRST_LEG, Duration::from_secs(30));
        voice.attach(Interpreter::with_rate(dialect, rate, id(), credit), BargeInPolicy::Engine);
        Self {
            dialect,
            voice,
            now: now(),
            out: Outgoing::default(),
            facts: VecDeque::new(),
            tally: Tally::default(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn begun(dialect: Dialect) -> Self {
        Self::with(dialect, Some(SampleRate::Hz8000))
    }

    pub(crate) fn with(dialect: Dialect, rate: Option<SampleRate>) -> Self {
        let mut run = Self::at(dialect, rate);
        run.answer();
        run.tell(&EngineEvent::Start(Box::new(start())));
        run.said();
        run
    }

    pub(crate) fn answer(&mut self) {
        let agreed = Negotiated { telephone_event: Some(101), ..Negotiated::plain(far_end(), Codec::Pcmu) };
        self.turn(|voice, now, turn| {
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, turn);
        });
    }

    pub(crate) fn turn<T>(&mut self, work: impl FnOnce(&mut Voice, Instant, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut self.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        work(&mut self.voice, self.now, &mut turn)
    }

    pub(crate) fn tell(&mut self, event: &EngineEvent) {
        self.turn(|voice, now, turn| voice.tell(now, event, turn));
    }

    /// The `number`th packet of the caller; 20 ms pass.
    pub(crate) fn hear(&mut self, number: u16, codes: &[u8]) {
        self.receive(0, number, u32::from(number) * 160, codes);
        self.now += BEAT;
    }

    pub(crate) fn press(&mut self, event: u8) {
        for number in 500..503 {
            self.receive(101, number, 80_000, &[event, 0x8A, 3, 0x20]);
        }
    }

    pub(crate) fn receive(&mut self, payload_type: u8, number: u16, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0xCA, 0xFE, 0xBA, 0xBE]);
        packet.extend_from_slice(payload);
        self.turn(|voice, now, turn| voice.handle_rtp(now, FIRST_LEG, far_end(), &packet, false, turn));
    }

    pub(crate) fn handle(&mut self, message: &Message) {
        let text;
        let incoming = match message.form {
            Form::Text => {
                text = text_of(message);
                Incoming::Text(&text)
            }
            Form::Binary => Incoming::Binary(&message.bytes),
        };
        self.turn(|voice, now, turn| voice.handle_message(now, incoming, turn)).unwrap();
    }

    /// 20 ms pass; what the caller hears.
    pub(crate) fn beat(&mut self) -> Vec<u8> {
        let mut packet = [0; PACKET_MAX];
        let sent = self.turn(|voice, now, turn| voice.beat(now, FIRST_LEG, false, &mut packet, turn));
        self.now += BEAT;
        packet[12..sent.unwrap().0].to_vec()
    }

    pub(crate) fn said(&mut self) -> Vec<Message> {
        let messages = std::iter::from_fn(|| self.out.pop());
        messages.map(|(form, bytes)| Message { form, bytes: bytes.to_vec() }).collect()
    }
}

pub(crate) fn start() -> EngineStart {
    let mut context = Context { intent: Some("book".into()), ..Context::default() };
    context.merge_fields.insert("first_name".into(), "Sam".into());
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call: id(),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context,
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(1_779_298_264_120),
        account: None,
        resume: None,
        parameters: vec![("voice".into(), "calm".into())],
    }
}

pub(crate) fn far_end() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

pub(crate) fn id() -> CallId {
    "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Codes that survive linear and back: mu-law has two zeros, and one of them is written for both.
pub(crate) fn speech(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at * 7 + at / 160) as u8)
        .map(|code| if code == 0x7F { 0x7E } else { code })
        .collect()
}
