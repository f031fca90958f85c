//! Every dialect of a bot, run through one table: the beginning, audio both ways bit by bit, odd chunks, bursts, marks,
//! clear, keys, and the end in every state. Golden transcripts are in `fixtures/dialects`; `GOLDEN=write` writes them anew.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail that way, in its helpers too, and looks for one thing"
)]

#[path = "support/engine_call.rs"]
mod engine_call;

use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callingedge::bridge::Form;
use callingedge::call::{Dialect, EndReason, EngineCommand, EngineEvent, VoiceFact};
use engine_call::{Message, Run, shown, speech, start, text_of};
use media::SampleRate;
use serde_json::{Value, json};

/// Dialects whose engine is a bot that listens; `edge.v1` has a contract of its own (`engine_contract.rs`).
const BOTS: [Dialect; 9] = [
    Dialect::Twilio,
    Dialect::Telnyx,
    Dialect::Plivo,
    Dialect::Exotel,
    Dialect::Vonage,
    Dialect::Jambonz,
    Dialect::Asterisk,
    Dialect::AsteriskJson,
    Dialect::Pipecat,
];

#[test]
fn nothing_is_said_before_the_call_is_answered_and_nothing_after_its_end() {
    for dialect in BOTS {
        let mut run = Run::ringing(dialect);
        run.hear(0, &[0x20; 160]);
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        assert!(run.said().is_empty(), "{dialect:?}: before its start");

        let mut run = Run::begun(dialect);
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        let farewell = run.said().len();
        assert!(farewell <= 1, "{dialect:?}");
        run.hear(0, &[0x20; 160]);
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        assert!(run.said().is_empty(), "{dialect:?}: after its end");
    }
}

#[test]
fn the_caller_is_heard_bit_by_bit() {
    for dialect in BOTS {
        let mut run = Run::begun(dialect);
        let speech = speech(50 * 160);
        for (number, frame) in (0..).zip(speech.chunks(160)) {
            run.hear(number, frame);
        }
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));

        let heard: Vec<u8> =
            run.said().iter().filter_map(|message| audio_in(dialect, message)).flatten().collect();
        assert_eq!(heard, speech, "{dialect:?}");
    }
}

#[test]
fn the_bot_is_heard_bit_by_bit_whatever_its_chunks() {
    for dialect in BOTS {
        for chunk in [1, 2, 79, 160, 161, 1_000, 8_000] {
            let mut run = Run::begun(dialect);
            let speech = speech(4_000);
            for chunk in speech.chunks(chunk) {
                say(&mut run, chunk);
            }
            let mut played: Vec<u8> = (0..25).flat_map(|_| run.beat()).collect();
            played.truncate(speech.len());
            assert_eq!(played, speech, "{dialect:?} in chunks of {chunk}");
        }
    }
}

#[test]
fn a_burst_of_a_second_and_of_a_minute_is_played_to_its_end() {
    for dialect in BOTS {
        for seconds in [1, 60] {
            let mut run = Run::begun(dialect);
            let speech = speech(seconds * 8_000);
            for chunk in speech.chunks(20_000) {
                say(&mut run, chunk);
            }
            let played: Vec<u8> = (0..seconds * 50).flat_map(|_| run.beat()).collect();
            assert_eq!(played, speech, "{dialect:?}, {seconds} s");
            assert_eq!(run.tally.playout_full, 0);
        }
    }
}

#[test]
fn a_mark_comes_back_when_its_audio_was_played_and_not_before() {
    for dialect in BOTS.into_iter().filter(|dialect| mark(*dialect, "m").is_some()) {
        let mut run = Run::begun(dialect);
        say(&mut run, &speech(1_600));
        run.handle(&mark(dialect, "m").unwrap());
        run.said();
        for _ in 0..9 {
            run.beat();
        }
        assert!(
            run.said().iter().all(|message| marked(dialect, message).is_none()),
            "{dialect:?}: too early"
        );

        run.beat();

        let marks: Vec<String> = run.said().iter().filter_map(|message| marked(dialect, message)).collect();
        assert_eq!(marks, ["m"], "{dialect:?}");
    }
}

#[test]
fn a_clear_stops_at_once_and_what_is_said_after_it_is_heard() {
    for dialect in BOTS {
        let mut run = Run::begun(dialect);
        say(&mut run, &[0x20; 8_000]);
        if let Some(mark) = mark(dialect, "m") {
            run.handle(&mark);
        }
        for _ in 0..3 {
            assert_eq!(run.beat(), [0x20; 160]);
        }
        run.said();

        run.handle(&clear(dialect));
        say(&mut run, &[0x40; 160]);

        assert_eq!(run.beat(), [0x40; 160], "{dialect:?}");
        let said = run.said();
        let came_back = said.iter().any(|message| marked(dialect, message).is_some());
        // Who tells marks of cleared audio is the protocol's own choice.
        let expected =
            matches!(dialect, Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel | Dialect::Jambonz);
        assert_eq!(came_back, expected, "{dialect:?}: {said:?}");
        let told = said.iter().any(|message| text_of(message).contains("leared"));
        assert_eq!(
            told,
            matches!(dialect, Dialect::Plivo | Dialect::Vonage | Dialect::Jambonz),
            "{dialect:?}"
        );
    }
}

#[test]
fn a_key_is_told_once_where_there_are_words_for_it() {
    for dialect in BOTS {
        let mut run = Run::begun(dialect);
        run.press(5);

        let said = run.said();
        let told = said
            .iter()
            .filter(|message| text_of(message).contains("5\"") || text_of(message).contains("digit:5"));
        assert_eq!(told.count(), 1, "{dialect:?}: {said:?}");
    }
}

#[test]
fn a_bot_hangs_up_in_its_own_words() {
    for (dialect, words) in [
        (Dialect::Jambonz, r#"{"type":"disconnect"}"#),
        (Dialect::Asterisk, "HANGUP"),
        (Dialect::AsteriskJson, r#"{"command":"HANGUP"}"#),
    ] {
        let mut run = Run::begun(dialect);
        run.handle(&Message::text(words));
        let hung_up = run
            .facts
            .iter()
            .any(|fact| matches!(fact, VoiceFact::Engine(EngineCommand::HangUp { drain: false, .. })));
        assert!(hung_up, "{dialect:?}");
    }
    assert!(BOTS.into_iter().all(Dialect::hangs_up_by_closing));
}

#[test]
fn what_bots_of_tomorrow_say_is_passed_over_and_nonsense_is_a_mistake() {
    for dialect in BOTS {
        let mut run = Run::begun(dialect);
        let is_json = !matches!(dialect, Dialect::Asterisk | Dialect::AsteriskJson | Dialect::Pipecat);
        if is_json {
            run.handle(&Message::text(
                r#"{"event":"of_tomorrow","type":"of_tomorrow","action":"of_tomorrow","x":[1]}"#,
            ));
            assert_eq!(run.tally.engine_mistakes, 0, "{dialect:?}");
        }
        let nonsense =
            if dialect == Dialect::Pipecat { Message::binary(&[0x12, 0xFF]) } else { Message::text("{\"") };
        run.handle(&nonsense);
        assert_eq!(run.tally.engine_mistakes, 1, "{dialect:?}");
    }
}

#[test]
fn a_wideband_bot_hears_and_speaks_at_its_own_rate() {
    for (dialect, rate) in [
        (Dialect::Telnyx, SampleRate::Hz16000),
        (Dialect::Plivo, SampleRate::Hz16000),
        (Dialect::Exotel, SampleRate::Hz24000),
        (Dialect::Vonage, SampleRate::Hz16000),
        (Dialect::Jambonz, SampleRate::Hz24000),
        (Dialect::Pipecat, SampleRate::Hz16000),
    ] {
        let mut run = Run::with(dialect, Some(rate));
        for (number, frame) in (0..).zip(speech(50 * 160).chunks(160)) {
            run.hear(number, frame);
        }
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        let times = rate.hertz() as usize / 8_000;
        let bytes: usize =
            run.said().iter().filter_map(|message| payload_of(dialect, message)).map(|one| one.len()).sum();
        assert_eq!(bytes, 2 * times * 50 * 160, "{dialect:?}");

        let mut run = Run::with(dialect, Some(rate));
        let tone: Vec<u8> = (0..8_000 * times)
            .map(|at| ((at as f64 * 0.3 / times as f64).sin() * 8_000.0) as i16)
            .flat_map(i16::to_le_bytes)
            .collect();
        run.handle(&linear(dialect, &tone, rate));
        let played: Vec<u8> = (0..40).flat_map(|_| run.beat()).collect();
        let loud = played.iter().filter(|code| media::g711::ulaw_to_linear(**code).abs() > 4_000).count();
        assert!(loud > played.len() / 2, "{dialect:?}: {loud} of {}", played.len());
    }
}

/// What is written is compared letter by letter with a transcript that was read by people.
#[test]
fn the_golden_transcripts_are_what_is_said() {
    for dialect in BOTS {
        let mut transcript = String::new();
        let mut run = Run::ringing(dialect);
        run.tell(&EngineEvent::Start(Box::new(start())));
        note(&mut run, &mut transcript);
        run.answer();
        for (number, frame) in (0..).zip(speech(5 * 160).chunks(160)) {
            run.hear(number, frame);
        }
        note(&mut run, &mut transcript);
        run.press(5);
        note(&mut run, &mut transcript);
        let bots = [Some(saying(dialect, &[0x20; 160])), mark(dialect, "greeting"), Some(clear(dialect))];
        for message in bots.into_iter().flatten() {
            writeln!(transcript, "< {}", shown(&message)).unwrap();
            run.handle(&message);
            run.beat();
            run.beat();
            note(&mut run, &mut transcript);
        }
        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        note(&mut run, &mut transcript);

        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/dialects")
            .join(format!("{}.txt", dialect.as_str()));
        if std::env::var_os("GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &transcript).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(transcript, golden, "{}", path.display());
    }
}

// ---- what a bot of each dialect says and reads

/// Audio that the caller should hear as these codes of PCMU.
fn saying(dialect: Dialect, codes: &[u8]) -> Message {
    match dialect {
        Dialect::Twilio | Dialect::Telnyx => {
            Message::json(&json!({ "event": "media", "media": { "payload": STANDARD.encode(codes) } }))
        }
        Dialect::Plivo => Message::json(&json!({ "event": "playAudio", "media": {
            "contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": STANDARD.encode(codes) } })),
        Dialect::Asterisk | Dialect::AsteriskJson => Message::binary(codes),
        Dialect::Exotel | Dialect::Vonage | Dialect::Jambonz | Dialect::Pipecat => {
            linear(dialect, &expanded(codes), SampleRate::Hz8000)
        }
        _ => unreachable!("{dialect:?} is no bot"),
    }
}

fn linear(dialect: Dialect, bytes: &[u8], rate: SampleRate) -> Message {
    match dialect {
        Dialect::Exotel | Dialect::Telnyx => {
            Message::json(&json!({ "event": "media", "media": { "payload": STANDARD.encode(bytes) } }))
        }
        Dialect::Plivo => Message::json(&json!({ "event": "playAudio", "media": {
            "contentType": "audio/x-l16", "sampleRate": rate.hertz(), "payload": STANDARD.encode(bytes) } })),
        Dialect::Pipecat => {
            let mut inner = field(3, bytes);
            inner.extend([4 << 3]);
            inner.extend(varint(u64::from(rate.hertz())));
            inner.extend([5 << 3, 1]);
            Message::binary(&field(2, &inner))
        }
        Dialect::Vonage | Dialect::Jambonz => Message::binary(bytes),
        _ => unreachable!("{dialect:?} speaks no linear audio"),
    }
}

fn mark(dialect: Dialect, name: &str) -> Option<Message> {
    let message = match dialect {
        Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel => {
            json!({ "event": "mark", "mark": { "name": name } })
        }
        Dialect::Plivo => json!({ "event": "checkpoint", "streamId": "s", "name": name }),
        Dialect::Vonage => json!({ "action": "notify", "payload": name }),
        Dialect::Jambonz => json!({ "type": "mark", "data": { "name": name } }),
        Dialect::AsteriskJson => json!({ "command": "MARK_MEDIA", "correlation_id": name }),
        Dialect::Asterisk => return Some(Message::text(&format!("MARK_MEDIA {name}"))),
        Dialect::Pipecat => return None,
        _ => unreachable!("{dialect:?} is no bot"),
    };
    Some(Message::json(&message))
}

fn clear(dialect: Dialect) -> Message {
    let message = match dialect {
        Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel => json!({ "event": "clear" }),
        Dialect::Plivo => json!({ "event": "clearAudio", "streamId": "s" }),
        Dialect::Vonage => json!({ "action": "clear" }),
        Dialect::Jambonz => json!({ "type": "killAudio" }),
        Dialect::AsteriskJson => json!({ "command": "FLUSH_MEDIA" }),
        Dialect::Asterisk => return Message::text("FLUSH_MEDIA"),
        Dialect::Pipecat => return Message::binary(&field(5, &[])),
        _ => unreachable!("{dialect:?} is no bot"),
    };
    Message::json(&message)
}

/// The name of the mark that came back.
fn marked(dialect: Dialect, message: &Message) -> Option<String> {
    let text = text_of(message);
    if dialect == Dialect::Asterisk {
        return text.strip_prefix("MEDIA_MARK_PROCESSED correlation_id:").map(str::to_owned);
    }
    let message: Value = serde_json::from_str(&text).ok()?;
    let name = match (message["event"].as_str(), message["type"].as_str()) {
        (Some("mark"), _) => &message["mark"]["name"],
        (Some("playedStream"), _) => &message["name"],
        (Some("websocket:notify"), _) => &message["payload"],
        (Some("MEDIA_MARK_PROCESSED"), _) => &message["correlation_id"],
        (_, Some("mark")) => &message["data"]["name"],
        _ => return None,
    };
    name.as_str().map(str::to_owned)
}

/// The bytes of audio in a message to the bot.
fn payload_of(dialect: Dialect, message: &Message) -> Option<Vec<u8>> {
    match (dialect, message.form) {
        (Dialect::Pipecat, Form::Binary) if message.bytes[0] == 2 << 3 | 2 => {
            let (_, inner) = split(&message.bytes);
            Some(split(inner).1[..split(inner).0].to_vec())
        }
        (Dialect::Pipecat, _) | (_, Form::Text) => {
            let message: Value = serde_json::from_str(&text_of(message)).ok()?;
            STANDARD.decode(message["media"]["payload"].as_str()?).ok()
        }
        (_, Form::Binary) => Some(message.bytes.clone()),
    }
}

/// The same as codes of PCMU.
fn audio_in(dialect: Dialect, message: &Message) -> Option<Vec<u8>> {
    let payload = payload_of(dialect, message)?;
    match dialect {
        Dialect::Twilio | Dialect::Telnyx | Dialect::Plivo | Dialect::Asterisk | Dialect::AsteriskJson => {
            Some(payload)
        }
        _ => {
            let samples = payload.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            Some(samples.map(media::g711::linear_to_ulaw).collect())
        }
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The length of a field whose key is one byte, and what comes after the length.
fn split(bytes: &[u8]) -> (usize, &[u8]) {
    let (mut length, mut at) = (0, 1);
    loop {
        length |= usize::from(bytes[at] & 0x7F) << (7 * (at - 1));
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (length, &bytes[at..]);
        }
    }
}

fn expanded(codes: &[u8]) -> Vec<u8> {
    codes.iter().flat_map(|code| media::g711::ulaw_to_linear(*code).to_le_bytes()).collect()
}

fn say(run: &mut Run, codes: &[u8]) {
    run.handle(&saying(run.dialect, codes));
}

fn note(run: &mut Run, transcript: &mut String) {
    for message in run.said() {
        writeln!(transcript, "> {}", shown(&message)).unwrap();
    }
}
