//! The voice of one call in virtual time, without sockets.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use callingedge::bridge::{
    Credit, Form, FrameFlags, FrameHeader, Incoming, Interpreter, MISTAKES_IN_A_ROW, Outgoing,
};
use callingedge::call::{
    Announcement, CallId, Context, Dialect, Direction, EngineEvent, EngineStart, FIRST_LEG, Mode,
    ProviderKey, Timestamp, VoiceFact,
};
use callingedge::worker::{Tally, Turn, Voice, VoiceConfig};
use media::{BEAT, Codec, Negotiated, PACKET_MAX};
use serde_json::{Value, json};

#[test]
fn frames_that_are_kept_from_a_congested_engine_are_counted_and_the_next_one_says_so() {
    let mut call = Call::answered();
    call.hear(0, false);
    call.hear(1, true);
    call.hear(2, true);
    call.hear(3, false);
    call.hear(4, false);

    let flags: Vec<bool> = call
        .frames()
        .iter()
        .map(|frame| FrameHeader::parse(frame).unwrap().0.flags.contains(FrameFlags::DISCONTINUITY))
        .collect();

    assert_eq!(flags[1..], [true, false], "of three frames that went out");
    assert_eq!((call.tally.frames_to_engine, call.tally.frames_to_engine_dropped), (3, 2));
    let summary = call.voice.summary(call.now);
    assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (3, 2));
}

#[test]
fn the_engine_is_told_once_a_second_where_its_audio_stands() {
    let mut call = Call::answered();
    call.say_audio(1, &[7; 8 * 3_000]);

    let mut told = Vec::new();
    for _ in 0..200 {
        call.beat();
        call.sweep();
        told.extend(call.texts().into_iter().filter(|message| message["type"] == "playout"));
    }

    let played: Vec<u64> = told.iter().map(|message| message["played_ms"].as_u64().unwrap()).collect();
    assert_eq!(played, [20, 1_000, 2_000, 3_000], "begin, two seconds, dry");
    let facts: Vec<_> =
        call.facts.iter().filter(|fact| matches!(fact, VoiceFact::FirstAudio { .. })).collect();
    assert_eq!(facts.len(), 1);
}

#[test]
fn audio_beyond_the_limit_is_refused_as_a_whole_and_what_was_there_is_played() {
    let config = VoiceConfig { playout_limit: Duration::from_secs(1), ..VoiceConfig::default() };
    let mut call = Call::answered_with(config);
    call.say_audio(1, &[7; 8 * 900]);
    call.say_audio(2, &[9; 8 * 101]);
    call.say_audio(3, &[5; 8 * 100]);

    let errors: Vec<Value> = call.texts().into_iter().filter(|message| message["type"] == "error").collect();

    assert_eq!(errors.len(), 1);
    assert_eq!((&errors[0]["code"], &errors[0]["fatal"]), (&json!("playout.full"), &json!(false)));
    let heard: Vec<u8> = (0..50).map(|_| call.beat().unwrap()[12]).collect();
    assert_eq!((&heard[..45], &heard[45..]), (&[7; 45][..], &[5; 5][..]));
}

#[test]
fn what_an_engine_says_too_early_is_kept_up_to_a_bound() {
    let mut call = Call::ringing();
    for segment in 1..=2 {
        call.say_audio(segment, &vec![7; 200 << 10]);
    }
    assert_eq!(call.texts().last().unwrap()["code"], "playout.full", "the second does not fit");
    call.say(&json!({ "type": "clear" }));
    call.say_audio(3, &[9; 160]);
    call.say(&json!({ "type": "dtmf", "id": "d", "digits": "1" }));
    assert_eq!(call.texts().last().unwrap()["code"], "dtmf.too_early");

    call.answer();

    assert_eq!(call.beat().unwrap()[12..], [9; 160], "what was cleared is not heard");
}

#[test]
fn an_announcement_comes_back_at_once_where_nothing_can_be_played() {
    let mut call = Call::ringing();
    call.announce(&[3; 160]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Announced { leg: FIRST_LEG })));

    let mut call = Call::answered();
    call.announce(&[]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Announced { leg: FIRST_LEG })));
}

#[test]
fn a_second_announcement_takes_the_place_of_the_first() {
    let mut call = Call::answered();
    call.announce(&[3; 1_600]);
    call.beat();
    call.announce(&[4; 160]);

    assert_eq!(call.beat().unwrap()[12..], [4; 160]);
    let announced = call.facts.iter().filter(|fact| matches!(fact, VoiceFact::Announced { .. })).count();
    assert_eq!(announced, 2, "each is answered");
}

#[test]
fn a_drain_with_nothing_to_play_is_over_at_once_and_a_paused_one_goes_on() {
    let mut call = Call::answered();
    call.drain();
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Drained)));

    let mut call = Call::answered();
    call.say_audio(1, &[7; 160]);
    call.say(&json!({ "type": "pause" }));
    call.drain();
    assert_eq!(call.beat().unwrap()[12..], [7; 160]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Drained)));
}

#[test]
fn the_last_of_too_many_mistakes_is_told_as_fatal() {
    let mut call = Call::answered();
    let outcomes: Vec<bool> =
        (0..MISTAKES_IN_A_ROW).map(|_| call.handle(Incoming::Text("{\"type\":\"sing\"}"))).collect();

    let errors = call.texts();
    assert_eq!(outcomes.iter().position(|fine| !fine), Some(MISTAKES_IN_A_ROW as usize - 1));
    assert!(errors.iter().all(|error| error["code"] == "message.unknown_type"));
    let fatal = errors.iter().filter(|error| error["fatal"] == true).count();
    assert_eq!((fatal, &errors.last().unwrap()["fatal"]), (1, &json!(true)));
}

#[test]
fn a_call_without_an_engine_plays_on_and_throws_nothing() {
    let mut call = Call::answered();
    call.say_audio(1, &[7; 320]);
    call.voice.detach();

    call.hear(0, false);
    assert_eq!(call.beat().unwrap()[12..], [7; 160]);
    assert!(call.handle(Incoming::Text("{")), "nobody is there to be wrong");
    assert!(call.out.is_empty());
}

struct Call {
    voice: Voice,
    now: Instant,
    out: Outgoing,
    facts: VecDeque<VoiceFact>,
    tally: Tally,
    scratch: Vec<u8>,
}

impl Call {
    /// With an engine that was told of the call, and no media yet.
    fn ringing() -> Self {
        Self::ringing_with(VoiceConfig::default())
    }

    fn ringing_with(config: VoiceConfig) -> Self {
        let mut call = Self {
            voice: Voice::new(config),
            now: now(),
            out: Outgoing::default(),
            facts: VecDeque::new(),
            tally: Tally::default(),
            scratch: Vec::new(),
        };
        call.voice.open(FIRST_LEG, Duration::from_secs(30));
        let credit = Credit { window: Duration::from_secs(30), limit: config.playout_limit };
        call.voice.attach(Interpreter::new(Dialect::EdgeV1, id(), credit));
        let start = EngineEvent::Start(Box::new(start()));
        call.turn(|voice, now, turn| voice.tell(now, &start, turn));
        call.out.clear();
        call
    }

    fn answered() -> Self {
        Self::answered_with(VoiceConfig::default())
    }

    fn answered_with(config: VoiceConfig) -> Self {
        let mut call = Self::ringing_with(config);
        call.answer();
        call
    }

    fn answer(&mut self) {
        let agreed = Negotiated::plain(far_end(), Codec::Pcmu);
        self.turn(|voice, now, turn| {
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, turn);
        });
    }

    fn turn<T>(&mut self, work: impl FnOnce(&mut Voice, Instant, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut self.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        work(&mut self.voice, self.now, &mut turn)
    }

    /// The `number`th packet of the far end.
    fn hear(&mut self, number: u16, congested: bool) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
        packet.extend_from_slice(&[0xCA, 0xFE, 0xBA, 0xBE]);
        packet.resize(172, 0x55);
        self.turn(|voice, now, turn| voice.handle_rtp(now, FIRST_LEG, far_end(), &packet, congested, turn));
    }

    /// 20 ms pass; the packet that goes out with them.
    fn beat(&mut self) -> Option<Vec<u8>> {
        let mut packet = [0; PACKET_MAX];
        let sent = self.turn(|voice, now, turn| voice.beat(now, FIRST_LEG, false, &mut packet, turn));
        self.now += BEAT;
        sent.map(|(length, _)| packet[..length].to_vec())
    }

    fn sweep(&mut self) {
        self.turn(|voice, now, turn| voice.sweep(now, turn));
    }

    fn drain(&mut self) {
        self.turn(|voice, _, turn| voice.drain(turn));
    }

    fn announce(&mut self, pcmu: &[u8]) {
        let audio = Announcement { name: "test".into(), pcmu: pcmu.to_vec() };
        self.turn(|voice, now, turn| voice.announce(now, FIRST_LEG, &audio, turn));
    }

    /// Whether the conversation goes on.
    fn handle(&mut self, message: Incoming<'_>) -> bool {
        self.turn(|voice, now, turn| voice.handle_message(now, message, turn)).is_ok()
    }

    fn say(&mut self, message: &Value) {
        assert!(self.handle(Incoming::Text(&message.to_string())));
    }

    fn say_audio(&mut self, segment: u32, audio: &[u8]) {
        let mut frame = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&segment.to_be_bytes());
        frame.extend_from_slice(audio);
        assert!(self.handle(Incoming::Binary(&frame)));
    }

    fn texts(&mut self) -> Vec<Value> {
        let messages = std::iter::from_fn(|| self.out.pop());
        let texts = messages.filter(|(form, _)| *form == Form::Text);
        texts.map(|(_, message)| serde_json::from_slice(&message).unwrap()).collect()
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let messages = std::iter::from_fn(|| self.out.pop());
        messages.filter(|(form, _)| *form == Form::Binary).map(|(_, message)| message.to_vec()).collect()
    }
}

fn far_end() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

fn id() -> CallId {
    "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

fn start() -> EngineStart {
    EngineStart {
        call: id(),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(0),
        parameters: Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}
