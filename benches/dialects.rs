//! What one 20 ms frame costs in the words of each dialect, both ways, without the socket. Budget: a microsecond to
//! write and one to read, a thousandth of what the socket costs in a call-second.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callingedge::bridge::{Credit, FrameCodec, FrameHeader, Heard, Incoming, Interpreter, Outgoing};
use callingedge::bridge::{FrameFlags, FrameKind, Track};
use callingedge::call::{
    Context, Dialect, Direction, EngineEvent, EngineStart, FIRST_LEG, Mode, ProviderKey, Timestamp,
};
use criterion::{Criterion, criterion_group, criterion_main};
use media::AudioFormat;

const CREDIT: Credit = Credit { window: Duration::from_secs(30), limit: Duration::from_secs(600) };

const CALL: &str = "call_01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn write(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("frame_to_message");
    let now = now();
    let audio = audio();
    for (name, dialect, format) in [
        ("edge_v1/pcmu", Dialect::EdgeV1, AudioFormat::Pcmu),
        ("edge_v1/pcma", Dialect::EdgeV1, AudioFormat::Pcma),
        ("twilio/pcmu", Dialect::Twilio, AudioFormat::Pcmu),
        ("twilio/pcma", Dialect::Twilio, AudioFormat::Pcma),
    ] {
        let mut interpreter = interpreter(dialect);
        let mut out = Outgoing::with_capacity(4096);
        interpreter.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
        out.clear();
        group.bench_function(name, |b| {
            b.iter(|| {
                let payload = black_box(&audio[..]);
                let (leg, media_time) = (FIRST_LEG, 160);
                let (captured, discontinuity, concealed) = (now, false, false);
                let heard = Heard { leg, format, payload, media_time, captured, discontinuity, concealed };
                interpreter.hear(&heard, &mut out);
                black_box(out.pop());
            });
        });
    }
}

fn read(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("message_to_frame");
    let text = format!(
        r#"{{"event":"media","streamSid":"MZ01563e3ab5d3d6764c61efb99302bd5b","media":{{"payload":"{}"}}}}"#,
        STANDARD.encode(audio())
    );
    let header = FrameHeader {
        kind: FrameKind::Audio,
        track: Track::Engine,
        flags: FrameFlags::default(),
        codec: FrameCodec::Pcmu,
        sequence: 7,
        media_time: 1_120,
        capture_or_segment: 1,
    };
    let binary = [&header.to_bytes(), &audio()[..]].concat();
    for (name, dialect, message) in [
        ("edge_v1", Dialect::EdgeV1, Incoming::Binary(&binary)),
        ("twilio", Dialect::Twilio, Incoming::Text(&text)),
    ] {
        let mut interpreter = interpreter(dialect);
        let mut scratch = Vec::with_capacity(4096);
        let mut out = Outgoing::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                let said = interpreter.understand(black_box(message), &mut scratch, &mut out);
                black_box(said.is_ok())
            });
        });
    }
}

fn interpreter(dialect: Dialect) -> Interpreter {
    Interpreter::new(dialect, CALL.parse().expect("a call id"), CREDIT)
}

fn start() -> EngineStart {
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call: CALL.parse().expect("a call id"),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(0),
        account: None,
        resume: None,
        parameters: Vec::new(),
    }
}

fn audio() -> Vec<u8> {
    (0..160).map(|index| (index * 7) as u8).collect()
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}

criterion_group!(benches, write, read);
criterion_main!(benches);
