//! What an `edge.v1` engine may send, a message a line and each as text and as a frame, to a call that is answered
//! after the third. At an empty line its socket is lost, and there is another one.
#![no_main]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use callingedge::bridge::{Credit, Form, Incoming, Interpreter, Outgoing};
use callingedge::call::{
    CallId, Context, Dialect, Direction, EngineEvent, EngineStart, FIRST_LEG, Mode, ResumeOffer, Timestamp,
};
use callingedge::worker::{Tally, Turn, Voice, VoiceConfig};
use libfuzzer_sys::fuzz_target;
use media::{Codec, Negotiated, PACKET_MAX};

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let call: CallId = "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a call id");
    let start = start(call);
    let mut voice = Voice::new(VoiceConfig::default());
    let credit = Credit { window: second, limit: second };
    voice.attach(Interpreter::new(Dialect::EdgeV1, call, credit), callingedge::call::BargeInPolicy::Pause);
    let (mut out, mut facts) = (Outgoing::default(), VecDeque::new());
    let (mut tally, mut scratch) = (Tally::default(), Vec::new());
    for (number, message) in data.split(|byte| *byte == b'\n').enumerate() {
        let mut turn =
            Turn { out: &mut out, facts: &mut facts, tally: &mut tally, scratch: &mut scratch };
        if number == 0 {
            voice.tell(now, &EngineEvent::Start(Box::new(start.clone())), &mut turn);
        }
        if message.is_empty() && voice.lose() {
            voice.tell(now, &EngineEvent::Held, &mut turn);
            voice.resume_engine(&start, second, &mut turn);
        }
        if number == 3 {
            let agreed = Negotiated::plain(SocketAddr::from(([192, 0, 2, 1], 4_000)), Codec::Pcmu);
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, &mut turn);
        }
        let incoming = std::str::from_utf8(message).map_or(Incoming::Binary(message), Incoming::Text);
        if voice.handle_message(now, incoming, &mut turn).is_err() {
            return;
        }
        if voice.handle_message(now, Incoming::Binary(message), &mut turn).is_err() {
            return;
        }
        let _ = voice.beat(now, FIRST_LEG, false, &mut [0; PACKET_MAX], &mut turn);
        while let Some((form, message)) = out.pop() {
            assert_eq!(form, Form::Text);
            let _: serde_json::Value = serde_json::from_slice(&message).expect("we write JSON");
        }
    }
});

fn start(call: CallId) -> EngineStart {
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call,
        provider: "sip-main".into(),
        direction: Direction::Inbound,
        from: String::new(),
        to: String::new(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: String::new(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(0),
        parameters: Vec::new(),
        account: None,
        resume: Some(ResumeOffer { token: String::from("secret").into(), within: Duration::from_secs(10) }),
    }
}
