//! Twilio Media Streams, bidirectional (`<Connect><Stream>`): what unmodified bots for it expect of the edge.
//!
//! ```text
//!   edge -> bot   connected, start, media…, dtmf, mark, stop; then the socket closes
//!   bot -> edge   media, mark, clear; closing the socket is its way to let go of the call
//! ```
//!
//! The stream begins with [`EngineEvent::Start`], which `call` gives such an engine once the call is answered: Twilio
//! knows nothing of ringing. Audio is mu-law at 8 kHz,
//! base64 in JSON, whatever the leg speaks. Every number is written as a string, and `sequenceNumber` counts
//! every message but `connected` from 1. Towards bots we are as liberal as the original and its copies: a
//! wrong `streamSid`, an unknown event, `media` without a payload are passed over.
//!
//! A `clear` brings all pending marks back, as if they were played: that is the original's way.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use media::{AudioFormat, Digit, SegmentId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::border::Border;
use super::json_stream::{self, Text, put_audio, put_number};
use super::language::Language;
use super::said::{Answer, Heard, Incoming, Mistake, Said};
use super::{Form, Outgoing};
use crate::call::{CallId, DtmfMethod, EngineEvent, EngineStart, LegId};

/// One stream of one call.
#[derive(Debug)]
pub struct Twilio {
    account_sid: String,
    call_sid: String,
    stream_sid: String,
    state: State,
    border: Border,
    room: BytesMut,
    sequence: u64,
    chunk: u64,
    /// Twilio has no segments: each `clear` ends one, so that what comes after it is played.
    segment: u32,
}

/// ```text
///   Silent -- start --> Streaming -- stop --> Stopped
/// ```
#[derive(Debug)]
enum State {
    Silent,
    Streaming { began: Instant },
    Stopped,
}

impl Twilio {
    /// A stream of `call`: its names are derived from the call's.
    pub fn new(call: CallId) -> Self {
        let hex = format!("{:032x}", call.as_u128());
        Self {
            account_sid: format!("AC{hex}"),
            call_sid: format!("CA{hex}"),
            stream_sid: format!("MZ{hex}"),
            state: State::Silent,
            border: Border::new(AudioFormat::Pcmu),
            room: BytesMut::new(),
            sequence: 0,
            chunk: 0,
            segment: 0,
        }
    }

    /// Writes what the dialect has words for; there are none for the answer, hold, transfers, context
    /// and refusals.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        match event {
            EngineEvent::Start(start) => self.begin(now, start, out),
            EngineEvent::Stop(_) => self.stop(out),
            EngineEvent::EarlyMedia
            | EngineEvent::Answered
            | EngineEvent::Held
            | EngineEvent::Resumed
            | EngineEvent::Transfer(_)
            | EngineEvent::Context(_)
            | EngineEvent::Mode(_)
            | EngineEvent::Refused { .. } => {}
        }
    }

    /// Writes audio, rewritten to mu-law where needed. Whether it did: not before `start`, not after `stop`.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        let State::Streaming { began } = self.state else { return false };
        self.sequence += 1;
        self.chunk += 1;
        let timestamp = heard.captured.saturating_duration_since(began).as_millis();
        out.write(Form::Text, |text| {
            text.put_slice(b"{\"event\":\"media\",\"sequenceNumber\":\"");
            put_number(text, self.sequence);
            text.put_slice(b"\",\"media\":{\"track\":\"inbound\",\"chunk\":\"");
            put_number(text, self.chunk);
            text.put_slice(b"\",\"timestamp\":\"");
            put_number(text, u64::try_from(timestamp).unwrap_or(u64::MAX));
            text.put_slice(b"\",\"payload\":\"");
            put_audio(text, &mut self.border, &mut self.room, heard);
            text.put_slice(b"\"},\"streamSid\":\"");
            text.put_slice(self.stream_sid.as_bytes());
            text.put_slice(b"\"}");
        });
        true
    }

    /// Writes a key that the far end pressed.
    pub fn digit(&mut self, digit: Digit, out: &mut Outgoing) {
        if let State::Streaming { .. } = self.state {
            let sequence = self.next_sequence();
            self.write(out, |sid| {
                json!({
                    "event": "dtmf", "streamSid": sid, "sequenceNumber": sequence,
                    "dtmf": { "track": "inbound_track", "digit": digit.as_char().to_string() },
                })
            });
        }
    }

    /// Writes a mark's return. The dialect has no answer to `clear` and no positions.
    pub fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        match (answer, &self.state) {
            (Answer::Marked { name, .. }, State::Streaming { .. }) => {
                let sequence = self.next_sequence();
                self.write(out, |sid| {
                    json!({
                        "event": "mark", "sequenceNumber": sequence, "streamSid": sid,
                        "mark": { "name": name },
                    })
                });
            }
            (Answer::Marked { .. } | Answer::Cleared { .. } | Answer::Position { .. }, _) => {}
        }
    }

    /// Reads one message; audio is decoded into `scratch`.
    ///
    /// # Errors
    /// When it is not a text message with JSON whose known parts have the known shape.
    pub fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Said<'a>, Mistake> {
        let Incoming::Text(text) = message else { return Err(Mistake::Binary) };
        if text.trim_start().starts_with('[') {
            return Err(Mistake::Malformed("a message is an object".into()));
        }
        let message: FromBot<'a> = serde_json::from_str(text)?;
        match message.event.as_ref().map(|event| &*event.0) {
            Some("media") => match message.media.and_then(|media| media.payload) {
                Some(Text(base64)) => self.audio(&base64, scratch),
                None => Ok(Said::Nothing),
            },
            Some("mark") => match message.mark.and_then(|mark| mark.name) {
                Some(Text(name)) => Ok(Said::Mark { id: None, name }),
                None => Ok(Said::Nothing),
            },
            Some("clear") => {
                self.segment = self.segment.wrapping_add(1);
                Ok(Said::Clear { id: None, segment: None })
            }
            Some(_) | None => Ok(Said::Nothing),
        }
    }

    fn audio<'a>(&self, base64: &str, scratch: &'a mut Vec<u8>) -> Result<Said<'a>, Mistake> {
        json_stream::decode(base64, scratch)?;
        if scratch.is_empty() {
            return Ok(Said::Nothing);
        }
        let segment = SegmentId(self.segment);
        Ok(Said::Audio { segment, format: AudioFormat::Pcmu, payload: scratch, last: false })
    }

    fn begin(&mut self, now: Instant, start: &EngineStart, out: &mut Outgoing) {
        let State::Silent = self.state else { return };
        let parameters = json_stream::parameters(start);
        if let Some(account) = &start.account {
            self.account_sid.clone_from(account);
        }
        self.state = State::Streaming { began: now };
        out.write(Form::Text, |text| {
            text.put_slice(br#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
        });
        let sequence = self.next_sequence();
        let (account, call) = (&self.account_sid, &self.call_sid);
        self.write(out, |sid| {
            json!({
                "event": "start", "sequenceNumber": sequence,
                "start": {
                    "accountSid": account, "streamSid": sid, "callSid": call,
                    "tracks": ["inbound"],
                    "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
                    "customParameters": parameters,
                },
                "streamSid": sid,
            })
        });
    }

    fn stop(&mut self, out: &mut Outgoing) {
        if let State::Streaming { .. } = self.state {
            let sequence = self.next_sequence();
            let (account, call) = (&self.account_sid, &self.call_sid);
            self.write(out, |sid| {
                json!({
                    "event": "stop", "sequenceNumber": sequence, "streamSid": sid,
                    "stop": { "accountSid": account, "callSid": call },
                })
            });
        }
        self.state = State::Stopped;
    }

    fn next_sequence(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }

    fn write(&self, out: &mut Outgoing, message: impl FnOnce(&str) -> Value) {
        let message = message(&self.stream_sid);
        // Writing to a growing buffer has no error of its own.
        out.write(Form::Text, |text| write!(text, "{message}").unwrap_or_default());
    }
}

impl Language for Twilio {
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing) {
        Self::tell(self, now, event, out);
    }

    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool {
        Self::hear(self, heard, out)
    }

    fn digit(
        &mut self,
        _leg: LegId,
        digit: Digit,
        _duration: Duration,
        _method: DtmfMethod,
        out: &mut Outgoing,
    ) {
        Self::digit(self, digit, out);
    }

    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing) {
        Self::answer(self, answer, out);
    }

    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        _out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)> {
        Self::understand(self, message, scratch).map_err(|mistake| (mistake, None))
    }
}

#[derive(Deserialize)]
struct FromBot<'a> {
    #[serde(borrow, default)]
    event: Option<Text<'a>>,
    #[serde(borrow, default)]
    media: Option<Media<'a>>,
    #[serde(borrow, default)]
    mark: Option<Mark<'a>>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow, default)]
    payload: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::Mistake;
    use crate::call::{Context, Direction, EndReason, FIRST_LEG, Mode, ProviderKey, Timestamp};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use media::MarkResult;
    use serde_json::Map;
    use std::time::Duration;

    const SID: &str = "MZ01563e3ab5d3d6764c61efb99302bd5b";

    #[test]
    fn a_stream_is_told_as_twilio_tells_it() {
        let now = now();
        let mut twilio = Twilio::new(call());
        let mut out = Outgoing::default();

        assert!(!twilio.hear(&heard(now, &[0xFF; 160]), &mut out), "nothing before start");
        twilio.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
        twilio.tell(now, &EngineEvent::Answered, &mut out);
        twilio.hear(&heard(now + Duration::from_millis(20), &[0, 1, 2, 3]), &mut out);
        twilio.digit(Digit::try_from('#').unwrap(), &mut out);
        twilio.answer(&Answer::Marked { name: "a\"b", result: MarkResult::Cleared, played_ms: 4 }, &mut out);
        twilio.answer(&Answer::Cleared { re: None, segment: None, played_ms: 0, dropped_ms: 0 }, &mut out);
        twilio.tell(now, &EngineEvent::Held, &mut out);
        twilio.tell(now, &EngineEvent::Stop(EndReason::RemoteHungUp), &mut out);
        assert!(!twilio.hear(&heard(now, &[0xFF; 160]), &mut out), "nothing after stop");
        twilio.tell(now, &EngineEvent::Stop(EndReason::RemoteHungUp), &mut out);

        let said = texts(&mut out);
        assert_eq!(
            said,
            [
                r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.to_owned(),
                format!(
                    concat!(
                        r#"{{"event":"start","sequenceNumber":"1","start":{{"#,
                        r#""accountSid":"AC{hex}","streamSid":"MZ{hex}","callSid":"CA{hex}","tracks":["inbound"],"#,
                        r#""mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"#,
                        r#""customParameters":{{"first_name":"Sam","age":"7","voice":"alto","intent":"book","#,
                        r#""call_id":"call_01ARZ3NDEKTSV4RRFFQ69G5FAV","#,
                        r#""from_number":"+16505824074","to_number":"+18005551234"}}}},"streamSid":"MZ{hex}"}}"#,
                    ),
                    hex = &SID[2..]
                ),
                format!(
                    concat!(
                        r#"{{"event":"media","sequenceNumber":"2","media":{{"track":"inbound","chunk":"1","#,
                        r#""timestamp":"20","payload":"AAECAw=="}},"streamSid":"{}"}}"#,
                    ),
                    SID
                ),
                format!(
                    concat!(
                        r##"{{"event":"dtmf","streamSid":"{}","sequenceNumber":"3","##,
                        r##""dtmf":{{"track":"inbound_track","digit":"#"}}}}"##,
                    ),
                    SID
                ),
                format!(
                    r#"{{"event":"mark","sequenceNumber":"4","streamSid":"{SID}","mark":{{"name":"a\"b"}}}}"#
                ),
                format!(
                    concat!(
                        r#"{{"event":"stop","sequenceNumber":"5","streamSid":"MZ{hex}","#,
                        r#""stop":{{"accountSid":"AC{hex}","callSid":"CA{hex}"}}}}"#,
                    ),
                    hex = &SID[2..]
                ),
            ]
        );
    }

    #[test]
    fn an_a_law_leg_is_heard_in_mu_law_whatever_its_packet_time() {
        let now = now();
        let alaw: Vec<u8> = (0..1_000_u32).map(|sample| sample as u8).collect();
        let mut twilio = Twilio::new(call());
        let mut out = Outgoing::default();
        twilio.tell(now, &EngineEvent::Start(Box::new(start())), &mut out);
        twilio.tell(now, &EngineEvent::Answered, &mut out);
        out.clear();

        twilio.hear(&Heard { format: AudioFormat::Pcma, ..heard(now, &alaw) }, &mut out);

        let message: Value = serde_json::from_str(&texts(&mut out)[0]).unwrap();
        let mulaw = STANDARD.decode(message["media"]["payload"].as_str().unwrap()).unwrap();
        let expected: Vec<u8> = alaw.iter().map(|sample| media::g711::alaw_to_ulaw(*sample)).collect();
        assert_eq!(mulaw, expected);
    }

    #[test]
    fn the_bots_audio_marks_and_clears_are_understood() {
        let mut twilio = Twilio::new(call());
        let mut scratch = Vec::new();
        let mut understand = |text: &str| {
            let said = twilio.understand(Incoming::Text(text), &mut scratch).unwrap();
            if let Said::Audio { segment, format: AudioFormat::Pcmu, payload, last: false } = said {
                return format!("{} {payload:?}", segment.0);
            }
            format!("{said:?}")
        };

        assert_eq!(understand(r#"{"event":"media","media":{"payload":"/wD+"}}"#), "0 [255, 0, 254]");
        assert_eq!(understand(r#"{"media":{"payload":"\/wD+AQ"},"event":"media"}"#), "0 [255, 0, 254, 1]");
        assert_eq!(
            understand(r#"{"event":"mark","streamSid":"elsewhere","mark":{"name":"m1"}}"#),
            r#"Mark { id: None, name: "m1" }"#
        );
        assert_eq!(understand(r#"{"event":"clear"}"#), "Clear { id: None, segment: None }");
        assert_eq!(understand(r#"{"event":"media","media":{"payload":"AQ=="}}"#), "1 [1]");
    }

    #[test]
    fn what_home_made_bots_send_beside_is_passed_over() {
        let mut twilio = Twilio::new(call());
        for odd in [
            r#"{"event":"media","media":{}}"#,
            r#"{"event":"media","media":{"payload":""}}"#,
            r#"{"event":"media"}"#,
            r#"{"event":"mark","mark":null}"#,
            r#"{"event":"transcript","text":["a",{"b":1}]}"#,
            r#"{}"#,
        ] {
            let mut scratch = Vec::new();
            assert_eq!(twilio.understand(Incoming::Text(odd), &mut scratch), Ok(Said::Nothing), "{odd}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let mut twilio = Twilio::new(call());
        let mut scratch = Vec::new();
        let mut mistake = |message: Incoming<'_>| twilio.understand(message, &mut scratch).unwrap_err();

        assert_eq!(mistake(Incoming::Binary(&[1])), Mistake::Binary);
        assert_eq!(mistake(Incoming::Text("{\"event\":")), Mistake::NotJson { column: 9 });
        assert_eq!(
            mistake(Incoming::Text(r#"{"event":"media","media":{"payload":"*"}}"#)),
            Mistake::NotBase64
        );
        assert!(matches!(mistake(Incoming::Text(r#"["clear"]"#)), Mistake::Malformed(_)));
        assert!(matches!(
            mistake(Incoming::Text(r#"{"event":"media","media":{"payload":5}}"#)),
            Mistake::Malformed(_)
        ));
    }

    fn call() -> CallId {
        "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
    }

    fn start() -> EngineStart {
        let mut merge_fields = Map::new();
        merge_fields.insert("first_name".into(), json!("Sam"));
        merge_fields.insert("age".into(), json!(7));
        merge_fields.insert("voice".into(), json!("overruled"));
        EngineStart {
            identity: crate::call::Identity::default(),
            call: call(),
            provider: ProviderKey::from("sip-main"),
            direction: Direction::Inbound,
            from: "+16505824074".into(),
            to: "+18005551234".into(),
            mode: Mode::AiFirst,
            context: Context { intent: Some("book".into()), merge_fields, ..Context::default() },
            sip_call_id: "a84b4c76e66710".into(),
            sip_headers: Vec::new(),
            started_at: Timestamp::from_unix_ms(0),
            account: None,
            resume: None,
            parameters: vec![("voice".into(), "alto".into()), ("call_id".into(), "overruled".into())],
        }
    }

    fn heard(captured: Instant, payload: &[u8]) -> Heard<'_> {
        let format = AudioFormat::Pcmu;
        Heard {
            leg: FIRST_LEG,
            format,
            payload,
            media_time: 160,
            captured,
            discontinuity: false,
            concealed: false,
        }
    }

    fn texts(out: &mut Outgoing) -> Vec<String> {
        std::iter::from_fn(|| out.pop())
            .map(|(form, message)| {
                assert_eq!(form, Form::Text);
                String::from_utf8(message.to_vec()).unwrap()
            })
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
