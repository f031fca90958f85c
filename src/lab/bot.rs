//! The engine's side of each dialect: enough of it to hear, to speak, to mark, to clear and to go.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use media::{AudioFormat, SampleRate, g711};
use serde_json::{Value, json};
use tungstenite::Message;

use crate::bridge::{FrameCodec, FrameFlags, FrameHeader, FrameKind, Track};
use crate::call::Dialect;

/// What a bot that resumes may have to say again.
const SAID_KEPT: usize = 512;

/// How many frames it hears between two acknowledgements.
const FRAMES_AN_ACK: u32 = 50;

/// One conversation of a bot.
#[derive(Debug)]
pub struct Bot {
    dialect: Dialect,
    rate: SampleRate,
    segment: u32,
    sequence: u32,
    /// What it can take the conversation up again with, where the edge has offered that.
    memory: Option<Memory>,
}

/// What makes it possible to go on over another socket.
#[derive(Debug)]
struct Memory {
    token: String,
    /// The last frame of each track, and the last message.
    heard: [Option<u32>; 2],
    heard_message: Option<u64>,
    unacknowledged: u32,
    /// Frames with their numbers, oldest first.
    said: VecDeque<(u32, Message)>,
}

/// What a message of the edge means.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The edge has told of the call. `edge.v1` and clients want this answered first.
    Offered(Vec<Message>),
    /// The edge has another socket for a conversation whose socket was lost.
    Resuming {
        /// Names it.
        token: String,
        /// The number of the last frame that the edge has heard.
        heard: Option<u32>,
    },
    /// The caller is there.
    Begun,
    /// Audio of the caller, as it stands on the wire.
    Audio(Vec<u8>),
    /// A mark came back.
    Marked(String),
    /// A key of the caller.
    Key(String),
    /// The call is over.
    Ended,
    /// Anything else.
    Other,
}

impl Bot {
    /// A bot that speaks `dialect`, linear audio at the dialect's usual rate.
    pub fn new(dialect: Dialect) -> Self {
        let rate = match dialect {
            Dialect::Vonage | Dialect::Pipecat => SampleRate::Hz16000,
            Dialect::GeminiLive => SampleRate::Hz24000,
            Dialect::EdgeV1
            | Dialect::EdgeMuxV1
            | Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Exotel
            | Dialect::Jambonz
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => SampleRate::Hz8000,
        };
        Self { dialect, rate, segment: 1, sequence: 0, memory: None }
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How its audio lies on the wire when it speaks.
    pub fn format(&self) -> AudioFormat {
        match self.dialect {
            Dialect::EdgeV1
            | Dialect::EdgeMuxV1
            | Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::ElevenLabs
            | Dialect::Deepgram => AudioFormat::Pcmu,
            Dialect::Exotel
            | Dialect::Vonage
            | Dialect::Jambonz
            | Dialect::Pipecat
            | Dialect::GeminiLive
            | Dialect::Ultravox => AudioFormat::L16 { rate: self.rate },
        }
    }

    /// What it says first of all, before the edge has said anything.
    pub fn greeting(&self) -> Option<Message> {
        match self.dialect {
            Dialect::Deepgram => Some(text(&json!({ "type": "Welcome", "request_id": "mock" }))),
            Dialect::OpenAiRealtime | Dialect::OpenAiRealtimeBeta => {
                Some(text(&json!({ "type": "session.created", "session": {} })))
            }
            Dialect::EdgeV1
            | Dialect::EdgeMuxV1
            | Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Exotel
            | Dialect::Vonage
            | Dialect::Jambonz
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::Pipecat
            | Dialect::GeminiLive
            | Dialect::ElevenLabs
            | Dialect::Ultravox => None,
        }
    }

    /// Reads a message of the edge.
    pub fn read(&mut self, message: &Message) -> Heard {
        match message {
            Message::Text(written) => self.read_text(written.as_str()),
            Message::Binary(bytes) => self.read_binary(bytes),
            Message::Close(_) => Heard::Ended,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Heard::Other,
        }
    }

    fn read_binary(&mut self, bytes: &[u8]) -> Heard {
        match self.dialect {
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => match FrameHeader::parse(bytes) {
                Ok((header, audio)) => {
                    let track = usize::from(header.track.to_byte());
                    if let Some(memory) = &mut self.memory
                        && let Some(heard) = memory.heard.get_mut(track)
                    {
                        *heard = Some(header.sequence);
                        memory.unacknowledged += 1;
                    }
                    Heard::Audio(audio.to_vec())
                }
                Err(_) => Heard::Other,
            },
            Dialect::Pipecat => match bytes.first() {
                Some(0x12) => field(bytes)
                    .and_then(|inner| field(inner))
                    .map_or(Heard::Other, |audio| Heard::Audio(audio.to_vec())),
                Some(0x22) => Heard::Begun,
                Some(_) | None => Heard::Other,
            },
            Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Exotel
            | Dialect::Vonage
            | Dialect::Jambonz
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::GeminiLive
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => Heard::Audio(bytes.to_vec()),
        }
    }

    fn read_text(&mut self, written: &str) -> Heard {
        if self.dialect == Dialect::Asterisk {
            let (name, rest) = written.split_once(' ').unwrap_or((written, ""));
            let value = || rest.split_once(':').map(|(_, value)| value.to_owned()).unwrap_or_default();
            return match name {
                "MEDIA_START" => Heard::Begun,
                "DTMF_END" => Heard::Key(value()),
                "MEDIA_MARK_PROCESSED" => Heard::Marked(value()),
                _ => Heard::Other,
            };
        }
        let message: Value = serde_json::from_str(written).unwrap_or_default();
        let word = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let kind = word("/event").or_else(|| word("/type")).unwrap_or_default();
        if let Some(rate) = self.told_rate(&message) {
            self.rate = rate;
        }
        if let Some(memory) = &mut self.memory {
            memory.heard_message = message["seq"].as_u64().or(memory.heard_message);
        }
        match (kind.as_str(), self.dialect) {
            ("start", Dialect::EdgeV1 | Dialect::EdgeMuxV1) => {
                self.memory = word("/resume/token").map(Memory::new);
                Heard::Offered(vec![text(&json!({ "type": "accept", "resume": self.memory.is_some() }))])
            }
            ("resume", Dialect::EdgeV1 | Dialect::EdgeMuxV1) => {
                let heard = message.pointer("/heard/audio/0/seq").and_then(Value::as_u64);
                let heard = heard.and_then(|heard| u32::try_from(heard).ok());
                Heard::Resuming { token: word("/token").unwrap_or_default(), heard }
            }
            ("answered", Dialect::EdgeV1 | Dialect::EdgeMuxV1)
            | ("start", Dialect::Twilio | Dialect::Telnyx | Dialect::Plivo | Dialect::Exotel)
            | ("websocket:connected", _)
            | ("MEDIA_START", _) => Heard::Begun,
            ("session.update", _) => {
                Heard::Offered(vec![text(&json!({ "type": "session.updated", "session": {} }))])
            }
            ("Settings", _) => Heard::Offered(vec![text(&json!({ "type": "SettingsApplied" }))]),
            ("conversation_initiation_client_data", _) => Heard::Offered(vec![text(&json!({
                "type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {
                    "conversation_id": "mock", "agent_output_audio_format": "ulaw_8000",
                    "user_input_audio_format": "ulaw_8000" } }))]),
            ("stop", _) | ("hang_up", Dialect::Ultravox) => Heard::Ended,
            ("mark", Dialect::EdgeV1 | Dialect::EdgeMuxV1) => {
                Heard::Marked(word("/name").unwrap_or_default())
            }
            ("mark", Dialect::Jambonz) => Heard::Marked(word("/data/name").unwrap_or_default()),
            ("mark", _) => Heard::Marked(word("/mark/name").unwrap_or_default()),
            ("playedStream", _) => Heard::Marked(word("/name").unwrap_or_default()),
            ("websocket:notify", _) => Heard::Marked(word("/payload").unwrap_or_default()),
            ("MEDIA_MARK_PROCESSED", _) => Heard::Marked(word("/correlation_id").unwrap_or_default()),
            ("dtmf", Dialect::Jambonz) => Heard::Key(word("/dtmf").unwrap_or_default()),
            ("dtmf" | "websocket:dtmf" | "DTMF_END", _) => {
                Heard::Key(word("/dtmf/digit").or_else(|| word("/digit")).unwrap_or_default())
            }
            ("media" | "input_audio_buffer.append", _) => {
                decoded(word("/media/payload").or_else(|| word("/audio")).as_deref())
            }
            (_, _) if message.get("setup").is_some() => {
                Heard::Offered(vec![text(&json!({ "setupComplete": {} }))])
            }
            (_, _) if message.get("user_audio_chunk").is_some() => {
                decoded(word("/user_audio_chunk").as_deref())
            }
            (_, _) if message.get("realtimeInput").is_some() => {
                decoded(word("/realtimeInput/audio/data").as_deref())
            }
            (_, Dialect::Jambonz) if message.get("callSid").is_some() => Heard::Begun,
            (_, _) => Heard::Other,
        }
    }

    /// The rate that the edge names when it begins.
    fn told_rate(&self, message: &Value) -> Option<SampleRate> {
        let content_type = message.get("content-type").and_then(Value::as_str);
        let hertz = match self.dialect {
            Dialect::Vonage => content_type?.rsplit_once("rate=")?.1.parse().ok()?,
            Dialect::Jambonz => u32::try_from(message.get("sampleRate")?.as_u64()?).ok()?,
            Dialect::Exotel => message.pointer("/start/media_format/sample_rate")?.as_str()?.parse().ok()?,
            Dialect::EdgeV1
            | Dialect::EdgeMuxV1
            | Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::Pipecat
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::GeminiLive
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => return None,
        };
        SampleRate::try_from(hertz).ok()
    }

    /// What names its conversation, where that can be taken up again over another socket.
    pub fn token(&self) -> Option<&str> {
        self.memory.as_ref().map(|memory| memory.token.as_str())
    }

    /// Goes on over another socket: its consent, and what the edge has not heard of it.
    pub fn resume(&mut self, heard: Option<u32>) -> Vec<Message> {
        let Some(memory) = &mut self.memory else { return vec![Self::refuse_to_resume()] };
        memory.said.retain(|(sequence, _)| heard.is_none_or(|heard| *sequence > heard));
        let accept = json!({ "type": "accept", "heard": memory.position() });
        let again = memory.said.iter().map(|(_, message)| message.clone());
        std::iter::once(text(&accept)).chain(again).collect()
    }

    /// It knows of no such conversation.
    pub fn refuse_to_resume() -> Message {
        text(&json!({ "type": "reject", "sip_code": 481, "reason": "no such conversation" }))
    }

    /// How far it has heard, when it is time to say so.
    pub fn acknowledgement(&mut self) -> Option<Message> {
        let memory = self.memory.as_mut().filter(|memory| memory.unacknowledged >= FRAMES_AN_ACK)?;
        memory.unacknowledged = 0;
        let mut ack = memory.position();
        ack["type"] = json!("ack");
        Some(text(&ack))
    }

    /// Says audio that lies as [`Self::format`] has it.
    pub fn say(&mut self, audio: &[u8]) -> Message {
        let said = self.written(audio);
        if let Some(memory) = &mut self.memory {
            if memory.said.len() == SAID_KEPT {
                memory.said.pop_front();
            }
            memory.said.push_back((self.sequence, said.clone()));
        }
        said
    }

    fn written(&mut self, audio: &[u8]) -> Message {
        let base64 = || STANDARD.encode(audio);
        self.sequence = self.sequence.wrapping_add(1);
        match self.dialect {
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => {
                let header = FrameHeader {
                    kind: FrameKind::Audio,
                    track: Track::Engine,
                    flags: FrameFlags::default(),
                    codec: FrameCodec::Pcmu,
                    sequence: self.sequence,
                    media_time: 0,
                    capture_or_segment: self.segment,
                };
                Message::binary([&header.to_bytes()[..], audio].concat())
            }
            Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel => {
                text(&json!({ "event": "media", "media": { "payload": base64() } }))
            }
            Dialect::Plivo => text(&json!({ "event": "playAudio", "media": {
                "contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": base64() } })),
            Dialect::Vonage
            | Dialect::Jambonz
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::Deepgram
            | Dialect::Ultravox => Message::binary(audio.to_vec()),
            Dialect::Pipecat => Message::binary(audio_frame(audio, self.rate)),
            Dialect::OpenAiRealtime => text(&json!({ "type": "response.output_audio.delta",
                "item_id": format!("item_{}", self.segment), "delta": base64() })),
            Dialect::OpenAiRealtimeBeta => text(&json!({ "type": "response.audio.delta",
                "item_id": format!("item_{}", self.segment), "delta": base64() })),
            Dialect::GeminiLive => {
                text(&json!({ "serverContent": { "modelTurn": { "parts": [{ "inlineData": {
                "mimeType": format!("audio/pcm;rate={}", self.rate.hertz()), "data": base64() } }] } } }))
            }
            Dialect::ElevenLabs => text(&json!({ "type": "audio", "audio_event": {
                "audio_base_64": base64(), "event_id": self.segment } })),
        }
    }

    /// Says back what it heard, bit by bit where both directions lie alike.
    pub fn echo(&mut self, audio: &[u8]) -> Message {
        match self.dialect {
            // It hears 16 kHz and speaks what it names.
            Dialect::GeminiLive => {
                let before = std::mem::replace(&mut self.rate, SampleRate::Hz16000);
                let said = self.say(audio);
                self.rate = before;
                said
            }
            Dialect::EdgeV1
            | Dialect::EdgeMuxV1
            | Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Exotel
            | Dialect::Vonage
            | Dialect::Jambonz
            | Dialect::Asterisk
            | Dialect::AsteriskJson
            | Dialect::Pipecat
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => self.say(audio),
        }
    }

    /// Says linear samples that are as many a second as [`Self::format`] has.
    pub fn say_samples(&mut self, samples: &[i16]) -> Message {
        let audio: Vec<u8> = match self.format() {
            AudioFormat::Pcmu => samples.iter().map(|sample| g711::linear_to_ulaw(*sample)).collect(),
            AudioFormat::Pcma => samples.iter().map(|sample| g711::linear_to_alaw(*sample)).collect(),
            AudioFormat::L16 { .. } => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        };
        self.say(&audio)
    }

    /// Asks to be told when all before was heard; nothing where the dialect has no word for it.
    pub fn mark(&self, name: &str) -> Option<Message> {
        let message = match self.dialect {
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => json!({ "type": "mark", "name": name }),
            Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel => {
                json!({ "event": "mark", "mark": { "name": name } })
            }
            Dialect::Plivo => json!({ "event": "checkpoint", "streamId": "mock", "name": name }),
            Dialect::Vonage => json!({ "action": "notify", "payload": name }),
            Dialect::Jambonz => json!({ "type": "mark", "data": { "name": name } }),
            Dialect::AsteriskJson => json!({ "command": "MARK_MEDIA", "correlation_id": name }),
            Dialect::Asterisk => return Some(Message::text(format!("MARK_MEDIA {name}"))),
            Dialect::Pipecat
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::GeminiLive
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => return None,
        };
        Some(text(&message))
    }

    /// Takes back what was not heard yet.
    pub fn clear(&mut self) -> Message {
        let cleared = self.segment;
        self.segment += 1;
        text(&match self.dialect {
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => json!({ "type": "clear" }),
            Dialect::Twilio | Dialect::Telnyx | Dialect::Exotel => json!({ "event": "clear" }),
            Dialect::Plivo => json!({ "event": "clearAudio", "streamId": "mock" }),
            Dialect::Vonage => json!({ "action": "clear" }),
            Dialect::Jambonz => json!({ "type": "killAudio" }),
            Dialect::AsteriskJson => json!({ "command": "FLUSH_MEDIA" }),
            Dialect::Asterisk => return Message::text("FLUSH_MEDIA"),
            Dialect::Pipecat => return Message::binary(vec![0x2A, 0]),
            Dialect::OpenAiRealtime | Dialect::OpenAiRealtimeBeta => {
                json!({ "type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "caller" })
            }
            Dialect::GeminiLive => json!({ "serverContent": { "interrupted": true } }),
            Dialect::ElevenLabs => {
                json!({ "type": "interruption", "interruption_event": { "event_id": cleared } })
            }
            Dialect::Deepgram => json!({ "type": "UserStartedSpeaking" }),
            Dialect::Ultravox => json!({ "type": "playback_clear_buffer" }),
        })
    }

    /// Ends the call in words; nothing where closing the socket is the word.
    pub fn hang_up(&self) -> Option<Message> {
        match self.dialect {
            Dialect::EdgeV1 | Dialect::EdgeMuxV1 => Some(text(&json!({ "type": "hang_up", "drain": true }))),
            Dialect::Jambonz => Some(text(&json!({ "type": "disconnect" }))),
            Dialect::AsteriskJson => Some(text(&json!({ "command": "HANGUP" }))),
            Dialect::Asterisk => Some(Message::text("HANGUP")),
            Dialect::Twilio
            | Dialect::Telnyx
            | Dialect::Plivo
            | Dialect::Exotel
            | Dialect::Vonage
            | Dialect::Pipecat
            | Dialect::OpenAiRealtime
            | Dialect::OpenAiRealtimeBeta
            | Dialect::GeminiLive
            | Dialect::ElevenLabs
            | Dialect::Deepgram
            | Dialect::Ultravox => None,
        }
    }
}

impl Memory {
    fn new(token: String) -> Self {
        Self { token, heard: [None; 2], heard_message: None, unacknowledged: 0, said: VecDeque::new() }
    }

    fn position(&self) -> Value {
        let tracks = self.heard.iter().enumerate();
        let audio: Vec<Value> =
            tracks.filter_map(|(track, seq)| Some(json!({ "track": track, "seq": (*seq)? }))).collect();
        json!({ "audio": audio, "messages": self.heard_message })
    }
}

fn text(message: &Value) -> Message {
    Message::text(message.to_string())
}

fn decoded(base64: Option<&str>) -> Heard {
    let audio = base64.and_then(|base64| STANDARD.decode(base64).ok());
    audio.map_or(Heard::Other, Heard::Audio)
}

/// What the first field of a protobuf message holds, its key being one byte.
fn field(bytes: &[u8]) -> Option<&[u8]> {
    let (mut length, mut at) = (0_usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1)).min(56);
        at += 1;
        if byte & 0x80 == 0 {
            return bytes.get(at..at.checked_add(length)?);
        }
    }
}

fn audio_frame(audio: &[u8], rate: SampleRate) -> BytesMut {
    let mut inner = BytesMut::with_capacity(audio.len() + 16);
    inner.put_u8(0x1A);
    put_varint(&mut inner, audio.len() as u64);
    inner.put_slice(audio);
    inner.put_u8(0x20);
    put_varint(&mut inner, u64::from(rate.hertz()));
    inner.put_slice(&[0x28, 1]);
    let mut frame = BytesMut::with_capacity(inner.len() + 8);
    frame.put_u8(0x12);
    put_varint(&mut frame, inner.len() as u64);
    frame.put_slice(&inner);
    frame
}

fn put_varint(bytes: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        bytes.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}
