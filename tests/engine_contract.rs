//! What `docs/engine` promises to authors of engines is what the code does: schemas, samples, golden frames.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use callingedge::bridge::{
    Answer, Complaint, Credit, EdgeV1, Form, FrameCodec, FrameFlags, FrameHeader, FrameKind, Heard, Incoming,
    Measured, Outgoing, Resumption, Said, Speech, Standing, Track,
};
use callingedge::call::{
    Context, Direction, DtmfMethod, EndReason, EngineEvent, EngineStart, FIRST_LEG, LegId, Mode, ProviderKey,
    ResumeOffer, Timestamp, TransferState, TransferStep,
};
use media::{AudioFormat, Digit, MarkResult, SegmentId};
use proptest::prelude::*;
use schema::violation;
use serde_json::{Value, json};

const CREDIT: Credit = Credit { window: Duration::from_secs(30), limit: Duration::from_secs(600) };

#[test]
fn every_schema_has_samples_that_fit_it() {
    for (name, schema) in schemas("to-edge").into_iter().chain(schemas("to-engine")) {
        let samples = schema["examples"].as_array().expect("a schema has examples");

        assert!(!samples.is_empty(), "{name}");
        for sample in samples {
            assert_eq!(violation(&schema, sample), None, "{name}: {sample}");
        }
    }
}

#[test]
fn every_sample_to_the_edge_is_understood_also_with_fields_of_tomorrow() {
    for (name, schema) in schemas("to-edge") {
        for sample in schema["examples"].as_array().unwrap() {
            let mut tomorrow = sample.clone();
            tomorrow["of_tomorrow"] = json!({ "a": [1, 2, { "b": null }] });

            let today = understood(sample);
            assert!(today.is_ok(), "{name}: {today:?}");
            assert_eq!(understood(&tomorrow), today, "{name}");
        }
    }
}

/// What the schema refuses the code refuses, one field at a time: missing, of another type, out of bounds.
#[test]
fn what_a_schema_refuses_the_code_refuses() {
    let mut refused = 0;
    for (name, schema) in schemas("to-edge") {
        if name == "error" {
            continue; // an engine's own trouble is never looked at
        }
        for sample in schema["examples"].as_array().unwrap() {
            for spoiled in spoil(sample) {
                let by_schema = violation(&schema, &spoiled).is_some();
                refused += usize::from(by_schema);
                assert_eq!(understood(&spoiled).is_err(), by_schema, "{name}: {spoiled}");
            }
        }
    }
    assert!(refused > 50, "only {refused} were refused");
}

#[test]
fn every_type_the_code_understands_has_a_schema() {
    let known = schemas("to-edge");
    for word in [
        "accept",
        "ack",
        "ring",
        "early_media",
        "reject",
        "redirect",
        "clear",
        "mark",
        "pause",
        "resume",
        "finish",
        "dtmf",
        "transfer",
        "hang_up",
        "context",
        "error",
        "answer",
        "answered",
        "hold",
        "resumed",
        "mode",
        "start",
        "stop",
        "playout",
        "cleared",
        "ping",
        "media",
        "connected",
        "speech_started",
        "quality",
    ] {
        let unknown = understood(&json!({ "type": word }))
            .err()
            .is_some_and(|error| error.starts_with("there is no message of type"));
        assert_eq!(!unknown, known.contains_key(word), "{word}");
    }
}

#[test]
fn everything_the_code_writes_fits_its_schema() {
    let schemas = schemas("to-engine");
    let mut seen = BTreeMap::new();
    for message in everything() {
        let kind = message["type"].as_str().unwrap().to_owned();
        let schema = schemas.get(&kind).unwrap_or_else(|| panic!("{kind} has no schema"));
        assert_eq!(violation(schema, &message), None, "{message}");
        *seen.entry(kind).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), schemas.keys().collect::<Vec<_>>());
}

#[test]
fn the_golden_frames_are_what_the_code_reads_and_writes() {
    let mut checked = 0;
    for entry in std::fs::read_dir(docs("vectors")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let described: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let bytes = std::fs::read(path.with_extension("bin")).unwrap();
        assert_eq!(hex(&bytes), described["bytes_hex"], "{path:?}");
        match described["refused"].as_str() {
            Some(code) => {
                let error = understand(&mut EdgeV1::new(CREDIT), Incoming::Binary(&bytes)).unwrap_err();
                assert_eq!(error.0.code(), code, "{path:?}");
            }
            None => check_frame(&path, &described, &bytes),
        }
        checked += 1;
    }
    assert_eq!(checked, 14);
}

fn check_frame(path: &std::path::Path, described: &Value, bytes: &[u8]) {
    let frame = &described["frame"];
    let number = |name: &str| u32::try_from(frame[name].as_u64().unwrap()).unwrap();
    let up = described["direction"] == "to-engine";
    let header = FrameHeader {
        kind: FrameKind::Audio,
        track: if up { Track::First } else { Track::Engine },
        flags: FrameFlags::from_byte(u8::try_from(number("flags")).unwrap()),
        codec: FrameCodec::from_name(frame["codec"].as_str().unwrap()).unwrap(),
        sequence: number("seq"),
        media_time: number("media_time"),
        capture_or_segment: number(if up { "capture_ms" } else { "segment" }),
    };
    let (read, audio) = FrameHeader::parse(bytes).unwrap();

    assert_eq!(read, header, "{path:?}");
    assert_eq!(u32::from(header.track.to_byte()), number("track"), "{path:?}");
    assert_eq!(hex(audio), frame["audio_hex"], "{path:?}");
    assert_eq!([&header.to_bytes(), audio].concat(), bytes, "{path:?}");
    if !up {
        let said = understand(&mut EdgeV1::new(CREDIT), Incoming::Binary(bytes)).unwrap();
        let segment = SegmentId(header.capture_or_segment);
        let last = header.flags.contains(FrameFlags::END_OF_SEGMENT);
        let expected = match (audio.is_empty(), last) {
            (false, _) => Said::Audio { segment, format: header.codec.format(), payload: audio, last },
            (true, true) => Said::Finish { segment },
            (true, false) => Said::Nothing,
        };
        assert_eq!(said, expected, "{path:?}");
    }
}

#[test]
fn every_sample_of_the_page_fits_its_schema() {
    let page = std::fs::read_to_string(docs("edge-v1.md")).unwrap();
    let (mut direction, mut seen) = ("", Vec::new());
    for part in page.split("\n### ").skip(1) {
        direction = if part.starts_with("To the engine") { "to-engine" } else { "to-edge" };
        let schemas = schemas(direction);
        for block in part.split("```json").skip(1) {
            let sample: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
            let kind = sample["type"].as_str().unwrap().to_owned();
            assert_eq!(violation(&schemas[&kind], &sample), None, "{direction} {sample}");
            seen.push((direction, kind));
        }
        for kind in schemas.keys() {
            assert!(part.contains(&format!("**`{kind}`**")), "{direction}: {kind} is not explained");
        }
    }
    assert_eq!(direction, "to-edge");
    assert!(seen.len() > 20, "{seen:?}");
}

proptest! {
    #[test]
    fn whatever_a_start_holds_it_fits_its_schema(
        from: String, to: String, intent: Option<String>, parameters: Vec<(String, String)>,
        sip_headers: Vec<(String, String)>, outbound: bool,
    ) {
        let direction = if outbound { Direction::Outbound } else { Direction::Inbound };
        let context = Context { intent, ..Context::default() };
        let start = EngineStart { from, to, direction, parameters, sip_headers, context, ..start() };
        let mut out = Outgoing::default();
        EdgeV1::new(CREDIT).tell(now(), &EngineEvent::Start(Box::new(start)), &mut out);

        let message = pop(&mut out).unwrap();
        prop_assert_eq!(violation(&schemas("to-engine")["start"], &message), None);
    }
}

/// One of everything that the dialect can write, most of it in more than one shape.
fn everything() -> Vec<Value> {
    let mut edge = EdgeV1::new(CREDIT);
    let mut out = Outgoing::default();
    let now = now();
    edge.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
    for event in [EngineEvent::EarlyMedia, EngineEvent::Answered, EngineEvent::Held, EngineEvent::Resumed] {
        edge.tell(now, &event, &mut out);
    }
    for state in [
        TransferState::Requested,
        TransferState::Accepted,
        TransferState::Ringing,
        TransferState::Transferred,
        TransferState::Failed,
    ] {
        let sip = Some((180, "Ringing".to_owned()));
        edge.tell(now, &EngineEvent::Transfer(TransferStep { re: Some("t1".into()), state, sip }), &mut out);
        edge.tell(now, &EngineEvent::Transfer(TransferStep { re: None, state, sip: None }), &mut out);
    }
    edge.tell(now, &EngineEvent::Context(Context::default()), &mut out);
    for mode in [Mode::AiOnly, Mode::AiFirst, Mode::Assist, Mode::Routing] {
        edge.tell(now, &EngineEvent::Mode(mode), &mut out);
    }
    let refused = EngineEvent::Refused {
        re: Some("x".into()),
        code: "transfer.unsupported".into(),
        message: "no".into(),
    };
    edge.tell(now, &refused, &mut out);
    edge.digit(
        FIRST_LEG,
        Digit::try_from('D').unwrap(),
        Duration::from_millis(80),
        DtmfMethod::Rfc4733,
        &mut out,
    );
    for method in [DtmfMethod::Info, DtmfMethod::Inband] {
        edge.digit(FIRST_LEG, Digit::try_from('D').unwrap(), Duration::from_millis(80), method, &mut out);
    }
    for interrupts in [false, true] {
        edge.speech(FIRST_LEG, &Speech::Started { at: now, interrupts }, &mut out);
    }
    let (leg, mos) = (LegId(1), Some(4.4094));
    let [jitter_ms, loss_pct, rtt_ms] = [Some(0.333_333), Some(0.0), None];
    edge.measured(&Measured::Quality { leg, mos, jitter_ms, loss_pct, rtt_ms }, &mut out);
    edge.measured(&Measured::Responded(Duration::from_millis(640)), &mut out);
    edge.measured(&Measured::BargedIn(Duration::from_millis(96)), &mut out);
    edge.speech(LegId(1), &Speech::Stopped { at: now + Duration::from_secs(1) }, &mut out);
    for result in [MarkResult::Played, MarkResult::Cleared] {
        edge.answer(&Answer::Marked { name: "a \"mark\"", result, played_ms: 20 }, &mut out);
    }
    let segment = SegmentId(4);
    edge.answer(
        &Answer::Cleared { re: Some("c"), segment: Some(segment), played_ms: 1, dropped_ms: 2 },
        &mut out,
    );
    edge.answer(&Answer::Cleared { re: None, segment: None, played_ms: 0, dropped_ms: 0 }, &mut out);
    edge.answer(&Answer::Position { segment, played_ms: 1, buffered_ms: 2, underruns: 3 }, &mut out);
    edge.complain(&Complaint { code: "playout.full", re: None, message: "full", fatal: true }, &mut out);
    resumed(&mut edge, &mut out);
    for reason in [EndReason::RemoteHungUp, EndReason::EdgeFailed, EndReason::Transferred] {
        edge.tell(now, &EngineEvent::Stop(reason), &mut out);
    }
    let written = std::iter::from_fn(|| out.pop()).filter(|(form, _)| *form == Form::Text);
    written.map(|(_, message)| serde_json::from_slice(&message).unwrap()).collect()
}

/// The socket is lost twice, at the beginning and with audio of both sides in the middle; numbered messages follow.
fn resumed(edge: &mut EdgeV1, out: &mut Outgoing) {
    understand(edge, Incoming::Text(r#"{"type":"accept","resume":true}"#)).unwrap();
    let start = start();
    let mut resume = |edge: &mut EdgeV1, playout| {
        assert!(edge.lose());
        edge.resume(&Resumption { start: &start, away: Duration::from_millis(7), playout }, out);
        understand(edge, Incoming::Text(r#"{"type":"accept"}"#)).unwrap();
    };
    resume(edge, None);
    let frame = [1, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0xFF];
    understand(edge, Incoming::Binary(&frame)).unwrap();
    understand(edge, Incoming::Text(r#"{"type":"finish","segment":4,"seq":3}"#)).unwrap();
    let mut unheard = Outgoing::default();
    for leg in [FIRST_LEG, callingedge::call::LegId(1)] {
        let heard = Heard {
            leg,
            format: AudioFormat::Pcmu,
            payload: &[0xFF],
            media_time: 0,
            captured: now(),
            discontinuity: false,
            concealed: false,
        };
        edge.hear(&heard, &mut unheard);
    }
    let standing = Standing { segment: SegmentId(4), played_ms: 1, buffered_ms: 2, underruns: 3 };
    resume(edge, Some(standing));
    edge.answer(&Answer::Marked { name: "m", result: MarkResult::Played, played_ms: 20 }, out);
}

/// `sample` with one thing wrong, or at least changed, in each.
fn spoil(sample: &Value) -> Vec<Value> {
    let others = [
        json!(null),
        json!(true),
        json!(7),
        json!(70_000),
        json!(2_147_483_648_u64),
        json!(-1),
        json!(""),
        json!("x y"),
        json!("*"),
        json!([]),
        json!({}),
        json!({ "number": "1", "sip_uri": "sip:a" }),
        json!({ "sip_uri": "tel:1" }),
    ];
    let object = sample.as_object().unwrap();
    let mut spoiled = Vec::new();
    for name in object.keys().filter(|name| *name != "type") {
        let mut without = object.clone();
        without.remove(name);
        spoiled.push(Value::Object(without));
        for other in &others {
            let mut with = object.clone();
            with[name] = other.clone();
            spoiled.push(Value::Object(with));
        }
    }
    spoiled
}

fn understood(message: &Value) -> Result<String, String> {
    let text = message.to_string();
    let mut edge = EdgeV1::new(CREDIT);
    let said = understand(&mut edge, Incoming::Text(&text)).map_err(|(mistake, _)| mistake.to_string())?;
    Ok(format!("{said:?} {edge:?}"))
}

fn understand<'a>(
    edge: &mut EdgeV1,
    message: Incoming<'a>,
) -> Result<Said<'a>, (callingedge::bridge::Mistake, Option<String>)> {
    edge.understand(message, &mut Outgoing::default())
}

fn start() -> EngineStart {
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call: "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: vec![("Subject".into(), "Appointment".into())],
        started_at: Timestamp::from_unix_ms(1_779_298_264_120),
        account: None,
        resume: Some(ResumeOffer { token: "0f".repeat(32).into(), within: Duration::from_secs(10) }),
        parameters: vec![("voice".into(), "alto".into())],
    }
}

fn pop(out: &mut Outgoing) -> Option<Value> {
    out.pop().map(|(_, message)| serde_json::from_slice(&message).unwrap())
}

/// The schemas of one direction by the type they describe.
fn schemas(direction: &str) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for entry in std::fs::read_dir(docs("schemas")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(kind) = name.strip_prefix(&format!("{direction}.")) else { continue };
        let kind = kind.strip_suffix(".json").expect("schemas are JSON").to_owned();
        let schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(schema["properties"]["type"]["const"], kind, "{name}");
        schemas.insert(kind, schema);
    }
    schemas
}

fn docs(part: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/engine").join(part)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}

/// The media time counts samples of what the engine hears, whatever the leg speaks.
#[test]
fn an_engine_may_hear_any_leg_at_any_rate() {
    let legs = [AudioFormat::Pcmu, AudioFormat::L16 { rate: media::SampleRate::Hz16000 }];
    for (codec, rate) in [("l16_8k", 8), ("l16_16k", 16), ("l16_24k", 24)] {
        for format in legs {
            let mut edge = EdgeV1::new(CREDIT);
            let mut out = Outgoing::default();
            let now = now();
            edge.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
            let accept = format!(r#"{{"type":"accept","codec":"{codec}"}}"#);
            edge.understand(Incoming::Text(&accept), &mut out).unwrap();
            out.clear();

            let (mut times, mut bytes) = (Vec::new(), 0);
            for number in 0..3 {
                let payload = vec![0; format.bytes_per_beat()];
                let (leg, discontinuity, media_time) = (FIRST_LEG, false, 160 * number);
                let (payload, captured, concealed) = (&payload[..], now, number == 1);
                let heard = Heard { leg, format, payload, media_time, captured, discontinuity, concealed };
                assert!(edge.hear(&heard, &mut out));
                let (_, message) = out.pop().unwrap();
                let (header, audio) = FrameHeader::parse(&message).unwrap();
                assert_eq!(header.flags.contains(FrameFlags::CONCEALED), number == 1);
                times.push(header.media_time);
                bytes += audio.len();
            }

            assert_eq!(times, [0, 20 * rate, 40 * rate], "{format:?} as {codec}");
            assert_eq!(bytes, 3 * 20 * rate as usize * 2, "{format:?} as {codec}");
        }
    }
}

/// Heard audio comes out as one frame in the codec that the engine asked for.
#[test]
fn the_engine_hears_the_codec_it_accepted_with() {
    let mut edge = EdgeV1::new(CREDIT);
    let mut out = Outgoing::default();
    let now = now();
    edge.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
    understand(&mut edge, Incoming::Text(r#"{"type":"accept","codec":"l16_8k"}"#)).unwrap();
    out.clear();

    for (number, discontinuity) in [(0, false), (1, true)] {
        let heard = Heard {
            leg: FIRST_LEG,
            format: AudioFormat::Pcmu,
            payload: &[0xFF, 0x80],
            media_time: 160 * number,
            captured: now + Duration::from_millis(7),
            discontinuity,
            concealed: false,
        };
        assert!(edge.hear(&heard, &mut out));
        let (_, message) = out.pop().unwrap();
        let (header, audio) = FrameHeader::parse(&message).unwrap();
        assert_eq!(
            (header.codec, header.sequence, header.media_time, header.capture_or_segment),
            (FrameCodec::L16Narrow, number, 160 * number, 7)
        );
        assert_eq!(header.flags.contains(FrameFlags::DISCONTINUITY), discontinuity);
        assert_eq!(audio, [0_i16, 32_124].map(i16::to_le_bytes).concat());
    }
}
