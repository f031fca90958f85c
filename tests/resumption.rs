//! An engine of `edge.v1` loses its socket in the middle of a call and goes on over another one: what both sides said in
//! between is neither lost nor said twice.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

#[path = "support/engine_call.rs"]
mod engine_call;

use std::collections::BTreeMap;
use std::time::Duration;

use callingedge::bridge::{Form, FrameCodec, FrameFlags, FrameHeader, FrameKind, Track};
use callingedge::call::{
    Dialect, EngineCommand, EngineEvent, EngineStart, FIRST_LEG, ResumeOffer, VoiceFact,
};
use engine_call::{Message, Run, far_end, speech, start};
use media::{BEAT, PACKET_MAX};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

#[test]
fn what_the_caller_says_while_there_is_no_socket_comes_later_flagged_and_in_order() {
    let mut call = Call::talking();
    let said = speech(160 * 150);
    call.says(&said[..160 * 50]);
    let before = call.engine.clone();

    assert!(call.run.voice.lose());
    call.says(&said[160 * 50..160 * 100]);
    assert!(call.run.said().is_empty(), "there is nobody to tell");
    let asked = call.ask();
    assert_eq!((&asked["token"], &asked["away_ms"]), (&json!("secret"), &json!(1_000)));
    assert_eq!(asked["kept"], json!([{ "track": 0, "from_seq": 0, "to_seq": 99 }]));
    call.accept(json!({ "audio": [{ "track": 0, "seq": 49 }], "messages": 1 }));
    call.says(&said[160 * 100..]);

    assert_eq!(before.frames.len(), 50);
    assert_eq!(call.engine.heard(), said);
    let late: Vec<bool> = call.engine.flags.iter().map(|flags| flags.contains(FrameFlags::REPLAY)).collect();
    let came_late = late.iter().filter(|late| **late).count();
    assert!(
        (50..60).contains(&came_late),
        "{came_late} came late: those of the second away, and of catching up"
    );
    assert!(!late[..50].contains(&true) && !late.ends_with(&[true]), "{late:?}");
    assert_eq!(call.engine.twice, 0);
    assert_eq!(call.run.tally.frames_replayed, came_late as u64);
}

#[test]
fn an_engine_that_remembers_nothing_hears_the_last_thirty_seconds_again() {
    let mut call = Call::talking();
    call.says(&speech(160 * 2_000));
    call.run.voice.lose();
    let asked = call.ask();
    assert_eq!(asked["kept"], json!([{ "track": 0, "from_seq": 500, "to_seq": 1_999 }]));
    let mut fresh = Engine::default();
    std::mem::swap(&mut call.engine, &mut fresh);

    call.accept(json!({}));
    for _ in 0..100 {
        call.beat();
    }

    assert_eq!(call.engine.frames.keys().copied().collect::<Vec<_>>(), (500..2_000).collect::<Vec<_>>());
    let first = call.engine.flags[0];
    assert!(first.contains(FrameFlags::REPLAY) && first.contains(FrameFlags::DISCONTINUITY));
    assert!(!call.engine.flags[1].contains(FrameFlags::DISCONTINUITY));
}

#[test]
fn what_is_too_old_to_be_kept_is_counted_flagged_and_told() {
    let mut call = Call::talking();
    call.says(&speech(160 * 10));
    call.run.voice.lose();
    call.says(&speech(160 * 1_600));
    call.ask();
    call.accept(json!({ "audio": [{ "track": 0, "seq": 9 }], "messages": 1 }));
    for _ in 0..100 {
        call.beat();
    }

    let keys: Vec<u32> = call.engine.frames.keys().copied().collect();
    assert_eq!(keys, (0..10).chain(110..1_610).collect::<Vec<_>>());
    assert!(call.engine.flags[10].contains(FrameFlags::DISCONTINUITY));
    assert_eq!(call.run.tally.replay_lost, 100);
    assert!(call.engine.words.iter().any(|word| word["code"] == "resume.lost"), "{:?}", call.engine.words);
}

#[test]
fn what_the_engine_said_is_played_on_and_what_became_of_it_is_told_later_once() {
    let mut call = Call::talking();
    let (first, second) = (speech(160 * 30), speech(160 * 60)[160 * 30..].to_vec());
    call.say(4, 0, &first);
    call.run.handle(&Message::json(&json!({ "type": "mark", "name": "half", "seq": 2 })));
    call.beats(10);

    call.run.voice.lose();
    let mut played = call.beats(15);
    call.run.press(5);
    played.extend(call.beats(15));
    assert!(call.engine.words.iter().all(|word| word["type"] != "mark"));
    let asked = call.ask();
    assert_eq!(asked["heard"], json!({ "audio": [{ "track": 2, "seq": 0 }], "messages": 2 }));
    assert_eq!(asked["playout"]["segment"], 4);
    assert_eq!(asked["playout"]["played_ms"], 600);
    let told = call.engine.words.last().unwrap()["seq"].clone();
    call.accept(json!({ "messages": told }));
    call.say(4, 1, &second);
    let rest = call.beats(40);

    assert_eq!(played[..160 * 20], first[160 * 10..], "it played on");
    let after = rest.windows(160).position(|window| window == &second[..160]).unwrap();
    assert_eq!(rest[after..after + second.len()], second, "and went on where it stopped");
    let words = |kind: &str| -> Vec<&Value> {
        call.engine.words.iter().filter(|word| word["type"] == kind).collect()
    };
    assert_eq!(words("mark").len(), 1);
    assert_eq!(words("mark")[0]["played_ms"], 600);
    assert_eq!(words("dtmf").len(), 1);
    assert_eq!(words("answered").len(), 1);
    let numbers: Vec<u64> = call.engine.words.iter().filter_map(|word| word["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "in order, none twice");
}

#[test]
fn a_paused_play_out_stays_paused_and_a_cleared_segment_stays_cleared() {
    let mut call = Call::talking();
    call.say(4, 0, &speech(160 * 10));
    call.run.handle(&Message::json(&json!({ "type": "clear" })));
    call.say(5, 1, &speech(160 * 10));
    call.run.handle(&Message::json(&json!({ "type": "pause" })));
    call.read();

    call.run.voice.lose();
    call.ask();
    call.accept(json!({}));
    call.say(4, 2, &speech(160));
    let silence = call.beats(5);
    call.run.handle(&Message::json(&json!({ "type": "resume" })));
    let sound = call.beats(10);

    assert!(!silence.windows(160).any(|window| window == &speech(160)[..]));
    assert_eq!(sound, speech(160 * 10));
}

#[test]
fn nothing_counts_that_the_engine_says_before_it_agrees() {
    let mut call = Call::talking();
    call.run.voice.lose();
    call.run.handle(&Message::json(&json!({ "type": "hang_up" })));
    assert!(call.run.said().is_empty(), "nobody is spoken to yet");
    call.ask();
    call.run.facts.clear();

    call.run.handle(&Message::json(&json!({ "type": "hang_up", "id": "h" })));
    call.say(4, 0, &speech(160));
    let complaints: Vec<Value> =
        call.run.said().iter().map(|said| serde_json::from_slice(&said.bytes).unwrap()).collect();

    assert!(call.run.facts.is_empty(), "{:?}", call.run.facts);
    assert_eq!(complaints.len(), 2);
    assert!(complaints.iter().all(|complaint| complaint["code"] == "resume.not_accepted"), "{complaints:?}");
    call.run.handle(&Message::json(&json!({ "type": "error", "code": "who", "message": "are you" })));
    assert!(matches!(
        call.run.facts.pop_front(),
        Some(VoiceFact::Engine(EngineCommand::Reject { status: 481, .. }))
    ));
}

#[test]
fn an_engine_that_does_not_ask_for_it_cannot_resume() {
    let mut call =
        Call { run: Run::ringing(Dialect::EdgeV1), engine: Engine::default(), packet: 0, congested: false };
    call.run.answer();
    call.run.tell(&EngineEvent::Start(Box::new(offered())));
    call.run.handle(&Message::json(&json!({ "type": "accept" })));
    call.run.tell(&EngineEvent::Answered);
    let words = call.run.said();

    assert!(words.iter().all(|word| !String::from_utf8_lossy(&word.bytes).contains("\"seq\"")));
    assert!(!call.run.voice.lose());
}

#[test]
fn what_is_acknowledged_needs_no_room_and_what_was_never_said_cannot_be() {
    let mut call = Call::talking();
    call.says(&speech(160 * 100));
    let ack = |seq: u32| Message::json(&json!({ "type": "ack", "audio": [{ "track": 0, "seq": seq }] }));
    call.run.handle(&ack(4_000_000));
    call.run.handle(&ack(89));
    call.run.handle(&ack(20));
    call.run.handle(&Message::json(&json!({ "type": "ack", "messages": 1 })));

    call.run.voice.lose();
    assert_eq!(call.ask()["kept"], json!([{ "track": 0, "from_seq": 90, "to_seq": 99 }]));
}

#[test]
fn an_engine_that_does_not_read_for_a_while_hears_everything_late() {
    let mut call = Call::talking();
    let said = speech(160 * 60);
    call.says(&said[..160 * 10]);
    call.congested = true;
    call.says(&said[160 * 10..160 * 40]);
    call.key(0);
    assert_eq!(call.engine.frames.len(), 10);
    call.congested = false;
    call.says(&said[160 * 40..]);

    assert_eq!(call.engine.heard(), said);
    assert!(call.engine.flags[10].contains(FrameFlags::REPLAY));
    assert!(!call.engine.flags.iter().any(|flags| flags.contains(FrameFlags::DISCONTINUITY)));
    assert_eq!(call.run.tally.frames_to_engine_dropped, 0);
    assert_eq!(call.engine.order.iter().rposition(Option::is_none), Some(42), "behind all before it");
}

#[test]
fn an_engine_may_want_another_codec_when_it_goes_on() {
    let mut call = Call::talking();
    call.says(&speech(160));
    call.run.voice.lose();
    call.says(&speech(160));
    call.ask();
    call.run.handle(&Message::json(&json!({ "type": "accept", "codec": "l16_8k", "heard": {} })));
    call.beat();
    call.says(&speech(160));

    let lengths: Vec<usize> = call.engine.frames.values().map(Vec::len).collect();
    assert_eq!(lengths, [160, 160, 320], "what was kept is as it was written");
}

#[test]
fn what_came_before_something_that_was_heard_was_heard_as_well() {
    let mut call = Call::talking();
    call.says(&speech(160 * 10));
    call.key(0);
    call.says(&speech(160 * 10));
    call.run.voice.lose();
    call.ask();
    call.accept(json!({ "audio": [{ "track": 0, "seq": 15 }] }));
    let before = call.engine.words.len();
    call.beats(5);

    assert_eq!(call.engine.words.len(), before, "the key was told before that frame");
    assert_eq!(call.engine.twice, 4);
}

/// Sockets that break at any moment, also while the engine catches up, with whatever was on its way lost in both directions.
#[test]
fn of_hundreds_of_cuts_at_random_moments_no_frame_and_no_message_is_lost_or_doubled() {
    for seed in 0..20 {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut call = Call::talking();
        let said = speech(160 * 3_000);
        let mut up = 0;
        let mut keys = 0;
        while up < 3_000 {
            for _ in 0..chance.random_range(1..60).min(3_000 - up) {
                call.says(&said[160 * up..][..160]);
                up += 1;
                if chance.random_bool(0.02) {
                    call.key(keys);
                    keys += 1;
                }
            }
            call.engine.forget(chance.random_range(0..40));
            call.run.voice.lose();
            for _ in 0..chance.random_range(0..100).min(3_000 - up) {
                call.says(&said[160 * up..][..160]);
                up += 1;
            }
            call.ask();
            if chance.random_bool(0.3) {
                call.run.voice.lose();
                call.ask();
            }
            let heard = call.engine.position();
            call.accept(heard);
        }
        for _ in 0..50 {
            call.beat();
        }

        assert_eq!(call.engine.heard(), said, "seed {seed}");
        assert_eq!(call.engine.twice, 0, "seed {seed}");
        let pressed = call.engine.words.iter().filter(|word| word["type"] == "dtmf").count();
        assert_eq!(pressed, keys, "seed {seed}");
        assert_eq!(call.run.tally.replay_lost, 0, "seed {seed}");
    }
}

/// A call whose engine can resume.
struct Call {
    run: Run,
    engine: Engine,
    packet: u16,
    congested: bool,
}

/// What an engine has heard, over all its sockets.
#[derive(Debug, Clone, Default)]
struct Engine {
    frames: BTreeMap<u32, Vec<u8>>,
    flags: Vec<FrameFlags>,
    twice: usize,
    words: Vec<Value>,
    /// Frames (with their numbers) and messages in the order they came over this socket.
    order: Vec<Option<u32>>,
}

impl Engine {
    /// What came last was on its way when the socket broke.
    fn forget(&mut self, count: usize) {
        for _ in 0..count {
            match self.order.pop() {
                Some(Some(sequence)) => {
                    self.frames.remove(&sequence);
                    self.flags.pop();
                }
                Some(None) => {
                    self.words.pop();
                }
                None => return,
            }
        }
    }

    fn read(&mut self, message: &Message) {
        match message.form {
            Form::Binary => {
                let (header, audio) = FrameHeader::parse(&message.bytes).unwrap();
                self.twice += usize::from(self.frames.insert(header.sequence, audio.to_vec()).is_some());
                self.flags.push(header.flags);
                self.order.push(Some(header.sequence));
            }
            Form::Text => {
                self.words.push(serde_json::from_slice(&message.bytes).unwrap());
                self.order.push(None);
            }
        }
    }

    fn heard(&self) -> Vec<u8> {
        let numbers: Vec<u32> = self.frames.keys().copied().collect();
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>());
        self.frames.values().flatten().copied().collect()
    }

    fn position(&self) -> Value {
        let audio: Vec<Value> =
            self.frames.keys().last().map(|seq| json!({ "track": 0, "seq": seq })).into_iter().collect();
        let messages = self.words.iter().rev().find_map(|word| word["seq"].as_u64());
        json!({ "audio": audio, "messages": messages })
    }
}

impl Call {
    fn talking() -> Self {
        let mut run = Run::ringing(Dialect::EdgeV1);
        run.answer();
        run.tell(&EngineEvent::Start(Box::new(offered())));
        run.handle(&Message::json(&json!({ "type": "accept", "resume": true, "seq": 1 })));
        run.tell(&EngineEvent::Answered);
        let mut call = Self { run, engine: Engine::default(), packet: 0, congested: false };
        call.read();
        call.run.facts.clear();
        call
    }

    /// The caller speaks, a packet a beat.
    fn says(&mut self, codes: &[u8]) {
        for packet in codes.chunks(160) {
            let mut datagram = vec![0x80, 0];
            datagram.extend_from_slice(&self.packet.to_be_bytes());
            datagram.extend_from_slice(&(u32::from(self.packet) * 160).to_be_bytes());
            datagram.extend_from_slice(&[0xCA, 0xFE, 0xBA, 0xBE]);
            datagram.extend_from_slice(packet);
            let congested = self.congested;
            self.run.turn(|voice, now, turn| {
                voice.handle_rtp(now, FIRST_LEG, far_end(), &datagram, congested, turn);
            });
            self.packet = self.packet.wrapping_add(1);
            self.beat();
        }
    }

    fn key(&mut self, number: usize) {
        let digit = media::Digit::try_from(['1', '2', '3'][number % 3]).unwrap();
        self.run.turn(|voice, now, turn| {
            let method = callingedge::call::DtmfMethod::Rfc4733;
            voice.pressed(now, FIRST_LEG, digit, BEAT, method, turn);
        });
        self.run.facts.clear();
        self.read();
    }

    fn beat(&mut self) -> Vec<u8> {
        let mut packet = [0; PACKET_MAX];
        let congested = self.congested;
        let sent = self.run.turn(|voice, now, turn| voice.beat(now, FIRST_LEG, congested, &mut packet, turn));
        self.run.now += BEAT;
        self.read();
        packet[12..sent.unwrap().0].to_vec()
    }

    fn beats(&mut self, count: usize) -> Vec<u8> {
        (0..count).flat_map(|_| self.beat()).collect()
    }

    fn read(&mut self) {
        for message in self.run.said() {
            self.engine.read(&message);
        }
    }

    /// The engine says audio.
    fn say(&mut self, segment: u32, sequence: u32, codes: &[u8]) {
        let header = FrameHeader {
            kind: FrameKind::Audio,
            track: Track::Engine,
            flags: FrameFlags::default(),
            codec: FrameCodec::Pcmu,
            sequence,
            media_time: 0,
            capture_or_segment: segment,
        };
        self.run.handle(&Message::binary(&[&header.to_bytes()[..], codes].concat()));
    }

    /// There is another socket: what the engine is asked.
    fn ask(&mut self) -> Value {
        let start = offered();
        self.run.turn(|voice, _, turn| voice.resume_engine(&start, Duration::from_secs(1), turn));
        let said = self.run.said();
        assert_eq!(said.len(), 1, "nothing before the engine agrees");
        let asked: Value = serde_json::from_slice(&said[0].bytes).unwrap();
        assert_eq!(asked["type"], "resume");
        asked
    }

    fn accept(&mut self, heard: Value) {
        self.engine.order.clear();
        self.run.handle(&Message::json(&json!({ "type": "accept", "heard": heard })));
        let told = self.run.facts.pop_back();
        assert!(matches!(told, Some(VoiceFact::Engine(EngineCommand::Accept))), "{told:?}");
        self.read();
    }
}

fn offered() -> EngineStart {
    let offer = ResumeOffer { token: "secret".to_owned().into(), within: Duration::from_secs(10) };
    EngineStart { resume: Some(offer), ..start() }
}
