//! What a Twilio bot may send, a message a line, to a call that is answered after the third.
#![no_main]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use callingedge::bridge::{Credit, Form, Incoming, Interpreter, Outgoing};
use callingedge::call::{Dialect, FIRST_LEG};
use callingedge::worker::{Tally, Turn, Voice, VoiceConfig};
use libfuzzer_sys::fuzz_target;
use media::{Codec, Negotiated, PACKET_MAX};

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let call = "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a call id");
    let mut voice = Voice::new(VoiceConfig::default());
    let credit = Credit { window: second, limit: second };
    voice.attach(Interpreter::new(Dialect::Twilio, call, credit), callingedge::call::BargeInPolicy::Pause);
    let (mut out, mut facts) = (Outgoing::default(), VecDeque::new());
    let (mut tally, mut scratch) = (Tally::default(), Vec::new());
    for (number, message) in data.split(|byte| *byte == b'\n').enumerate() {
        let mut turn =
            Turn { out: &mut out, facts: &mut facts, tally: &mut tally, scratch: &mut scratch };
        if number == 3 {
            let agreed = Negotiated::plain(SocketAddr::from(([192, 0, 2, 1], 4_000)), Codec::Pcmu);
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, &mut turn);
        }
        let incoming = std::str::from_utf8(message).map_or(Incoming::Binary(message), Incoming::Text);
        if voice.handle_message(now, incoming, &mut turn).is_err() {
            return;
        }
        let _ = voice.beat(now, FIRST_LEG, false, &mut [0; PACKET_MAX], &mut turn);
        while let Some((form, message)) = out.pop() {
            assert_eq!(form, Form::Text);
            let _: serde_json::Value = serde_json::from_slice(&message).expect("we write JSON");
        }
    }
});
