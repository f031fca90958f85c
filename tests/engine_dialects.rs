//! Both dialects against whatever comes: audio reads back as it was written, and nothing an engine sends does more
//! than it may.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use callingedge::bridge::{
    Credit, Form, FrameHeader, Heard, Incoming, Interpreter, MISTAKES_IN_A_ROW, Mistake, Outgoing, Said,
};
use callingedge::call::{
    CallId, Context, Dialect, Direction, EngineEvent, EngineStart, FIRST_LEG, Mode, ProviderKey, Timestamp,
};
use media::{AudioFormat, SampleRate, SegmentId};
use proptest::prelude::*;
use serde_json::{Value, json};

const CREDIT: Credit = Credit { window: Duration::from_secs(30), limit: Duration::from_secs(600) };

const BOTH: [Dialect; 2] = [Dialect::EdgeV1, Dialect::Twilio];

proptest! {
    #[test]
    fn an_engine_hears_every_frame_as_it_came(frames in prop::collection::vec(any::<Vec<u8>>(), 1..20)) {
        for dialect in BOTH {
            let (mut interpreter, mut out) = begun(dialect);
            for (number, frame) in (0..).zip(&frames) {
                prop_assert!(interpreter.hear(&heard(number, frame), &mut out));
                prop_assert_eq!(&audio_of(dialect, number, &mut out), frame);
            }
            prop_assert!(out.is_empty());
        }
    }

    #[test]
    fn an_engine_is_heard_as_it_spoke(audio in prop::collection::vec(any::<u8>(), 1..2_000), segment in 0..=u32::MAX / 2) {
        let mut scratch = Vec::new();
        let format = AudioFormat::Pcmu;

        let mut frame = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&segment.to_be_bytes());
        frame.extend_from_slice(&audio);
        let said = interpreter(Dialect::EdgeV1).understand(Incoming::Binary(&frame), &mut scratch, &mut Outgoing::default()).map(own);
        let spoken = Said::Audio { segment: SegmentId(segment), format, payload: &audio, last: false };
        prop_assert_eq!(said, Ok(own(spoken)));

        for payload in [STANDARD.encode(&audio), STANDARD_NO_PAD.encode(&audio)] {
            let text = json!({ "event": "media", "media": { "payload": payload } }).to_string();
            for text in [text.replace('/', "\\/"), text] {
                let mut twilio = interpreter(Dialect::Twilio);
                let said = twilio.understand(Incoming::Text(&text), &mut scratch, &mut Outgoing::default()).map(own);
                let spoken = Said::Audio { segment: SegmentId(0), format, payload: &audio, last: false };
                prop_assert_eq!(said, Ok(own(spoken)));
            }
        }
    }

    #[test]
    fn no_message_breaks_an_interpreter(text: String, bytes: Vec<u8>) {
        for dialect in Dialect::ALL {
            let mut interpreter = interpreter(dialect);
            let mut scratch = Vec::new();
            for message in [Incoming::Text(&text), Incoming::Binary(&bytes)] {
                if let Err(fault) = interpreter.understand(message, &mut scratch, &mut Outgoing::default()) {
                    prop_assert_eq!(fault.close, None, "one mistake is forgiven");
                    prop_assert!(fault.to_string().len() < 1_000);
                }
            }
        }
    }

    #[test]
    fn linear_audio_is_taken_in_the_order_of_bytes_that_the_page_promises(samples: Vec<i16>) {
        let audio: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut frame = vec![1, 2, 0, 2];
        frame.resize(16, 0);
        frame.extend_from_slice(&audio);
        let mut scratch = Vec::new();
        let format = AudioFormat::L16 { rate: SampleRate::Hz8000 };

        let said = interpreter(Dialect::EdgeV1).understand(Incoming::Binary(&frame), &mut scratch, &mut Outgoing::default()).map(own);

        let spoken = Said::Audio { segment: SegmentId(0), format, payload: &audio, last: false };
        prop_assert_eq!(said, Ok(if audio.is_empty() { own(Said::Nothing) } else { own(spoken) }));
    }
}

#[test]
fn mistakes_are_forgiven_until_there_are_too_many_in_a_row() {
    for (dialect, close) in [(Dialect::EdgeV1, 1008), (Dialect::Twilio, 1003)] {
        let mut interpreter = interpreter(dialect);
        let mut scratch = Vec::new();
        let good = r#"{"type":"pause","event":"whatever"}"#;
        for round in 0..2 {
            for _ in 1..MISTAKES_IN_A_ROW {
                let fault = interpreter
                    .understand(Incoming::Binary(&[0]), &mut scratch, &mut Outgoing::default())
                    .unwrap_err();
                assert_eq!(fault.close, None, "{dialect:?} {round}");
            }
            interpreter.understand(Incoming::Text(good), &mut scratch, &mut Outgoing::default()).unwrap();
        }
        for _ in 1..MISTAKES_IN_A_ROW {
            let _ = interpreter.understand(Incoming::Binary(&[0]), &mut scratch, &mut Outgoing::default());
        }

        let fault = interpreter
            .understand(Incoming::Binary(&[0]), &mut scratch, &mut Outgoing::default())
            .unwrap_err();

        assert_eq!(fault.close, Some(close), "{dialect:?}");
    }
}

#[test]
fn a_fault_names_the_message_it_is_about() {
    let mut scratch = Vec::new();
    let fault = interpreter(Dialect::EdgeV1)
        .understand(
            Incoming::Text(r#"{"type":"dtmf","id":"d7","digits":"12x"}"#),
            &mut scratch,
            &mut Outgoing::default(),
        )
        .unwrap_err();

    assert_eq!(fault.re.as_deref(), Some("d7"));
    assert!(matches!(fault.mistake, Mistake::Field { field: "digits", .. }), "{fault:?}");
}

fn interpreter(dialect: Dialect) -> Interpreter {
    Interpreter::new(dialect, call(), CREDIT)
}

/// An interpreter that was told of its call, and room for what it writes.
fn begun(dialect: Dialect) -> (Interpreter, Outgoing) {
    let mut interpreter = interpreter(dialect);
    let mut out = Outgoing::default();
    let start = EngineStart {
        identity: callingedge::call::Identity::default(),
        call: call(),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Outbound,
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
    };
    interpreter.tell(now(), &EngineEvent::Start(Box::new(start)), &mut out);
    out.clear();
    (interpreter, out)
}

fn heard(number: u32, payload: &[u8]) -> Heard<'_> {
    let (leg, format) = (FIRST_LEG, AudioFormat::Pcmu);
    Heard {
        leg,
        format,
        payload,
        media_time: number * 160,
        captured: now(),
        discontinuity: false,
        concealed: false,
    }
}

/// The audio of the one message that waits, whose numbers must be those of the `number`th frame.
fn audio_of(dialect: Dialect, number: u32, out: &mut Outgoing) -> Vec<u8> {
    let (form, message) = out.pop().unwrap();
    match dialect.decides_before_answer() {
        true => {
            assert_eq!(form, Form::Binary);
            let (header, audio) = FrameHeader::parse(&message).unwrap();
            assert_eq!((header.sequence, header.media_time), (number, number * 160));
            audio.to_vec()
        }
        false => {
            assert_eq!(form, Form::Text);
            let message: Value = serde_json::from_slice(&message).unwrap();
            assert_eq!(message["sequenceNumber"], (number + 2).to_string());
            assert_eq!(message["media"]["chunk"], (number + 1).to_string());
            STANDARD.decode(message["media"]["payload"].as_str().unwrap()).unwrap()
        }
    }
}

/// Something to compare after the message is gone.
fn own(said: Said<'_>) -> String {
    format!("{said:?}")
}

fn call() -> CallId {
    "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}
