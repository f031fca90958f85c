//! The engines of a load: one websocket a call, as the edge dials it. An engine takes every call, says a frame every 20 ms by
//! its own clock once the call is answered, and counts what it hears.
//!
//! ```text
//!   accepted -- upgrade --> [Listening] -- answered --> [Speaking] -- stop --> [Dismissed] -- closed --> gone
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::server::{ErrorResponse, Request, Response, ServerHandshake};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket, accept_hdr_with_config};

use super::Tongue;
use super::arrival::{StampedStream, wall};
use super::node::Node;
use super::pace::Pace;
use super::stamp::{FRAME, LENGTH};
use super::window::{Counting, Receiver, Sender, Way, Window};
use super::{Poller, Talk, Token};
use crate::bridge::{FrameCodec, FrameFlags, FrameHeader, FrameKind, HEADER_LENGTH, Track};

/// The one segment that an engine speaks in.
const SEGMENT: u32 = 1;
/// Letters of base64 that a stamp takes.
const STAMP_LETTERS: usize = LENGTH / 3 * 4;

type Upgrade = MidHandshake<ServerHandshake<StampedStream, ChooseProtocol>>;
type ChooseProtocol = fn(&Request, Response) -> Result<Response, ErrorResponse>;

/// All engines.
pub(super) struct Engines {
    listener: TcpListener,
    dialect: Tongue,
    talk: Talk,
    engines: Vec<Option<Engine>>,
    vacant: Vec<usize>,
    open: usize,
    pace: Pace,
}

enum Engine {
    Upgrading(Upgrade),
    Open(Box<Conversation>),
    Node(Box<Node>),
}

struct Conversation {
    socket: WebSocket<StampedStream>,
    phase: Phase,
    /// Twilio's name of the stream.
    stream: String,
    voice: Voice,
}

/// What an engine says and hears in one call.
pub(super) struct Voice {
    sender: Sender,
    receiver: Receiver,
    header: FrameHeader,
    audio: [u8; FRAME],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Listening,
    Speaking,
    Dismissed,
}

/// What reading came to.
enum Read {
    Nothing,
    Answered,
    Closed(Option<Error>),
}

impl Engines {
    pub(super) fn new(dialect: Tongue, talk: Talk, poller: &Poller) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        poller.watch(&listener, Token::Listener)?;
        let (engines, vacant) = (Vec::new(), Vec::new());
        Ok(Self { listener, dialect, talk, engines, vacant, open: 0, pace: Pace::new() })
    }

    /// Where the edge finds them.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Sockets that are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Takes every socket that is dialled.
    pub(super) fn accept(&mut self, poller: &Poller, counting: &mut Counting) {
        while let Ok((tcp, _)) = self.listener.accept() {
            let index = self.vacant.pop().unwrap_or_else(|| {
                self.engines.push(None);
                self.engines.len() - 1
            });
            let ready = tcp.set_nonblocking(true).and_then(|()| tcp.set_nodelay(true));
            let stream = ready.and_then(|()| StampedStream::new(tcp));
            let watched =
                stream.and_then(|stream| poller.watch(&stream, Token::Engine(index)).map(|()| stream));
            let Ok(stream) = watched else {
                self.vacant.push(index);
                counting.trouble("an engine's socket could not be watched");
                continue;
            };
            self.open += 1;
            let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
            let protocol: ChooseProtocol = choose_protocol;
            let outcome = accept_hdr_with_config(stream, protocol, Some(config));
            self.upgraded(index, outcome, counting);
        }
    }

    /// Takes all that an engine was sent.
    pub(super) fn hear(&mut self, index: usize, counting: &mut Counting) {
        match self.engines.get_mut(index).and_then(Option::take) {
            Some(Engine::Upgrading(mut upgrade)) => {
                upgrade.get_mut().get_mut().ready_to_read();
                let outcome = upgrade.handshake();
                self.upgraded(index, outcome, counting);
            }
            Some(Engine::Open(mut conversation)) => {
                conversation.socket.get_mut().ready_to_read();
                self.engines[index] = Some(Engine::Open(conversation));
                self.read(index, counting);
            }
            Some(Engine::Node(mut node)) => {
                node.ready_to_read();
                self.engines[index] = Some(Engine::Node(node));
                self.read(index, counting);
            }
            None => {}
        }
    }

    /// Sends the frames of one slot.
    pub(super) fn speak(&mut self, slot: usize, counting: &mut Counting) {
        for place in 0..self.pace.flows(slot) {
            let Some(flow) = self.pace.flow(slot, place) else { continue };
            match &mut self.engines[flow] {
                Some(Engine::Open(conversation)) => conversation.speak(self.dialect, counting),
                Some(Engine::Node(node)) => node.speak(counting),
                Some(Engine::Upgrading(_)) | None => {}
            }
        }
    }

    /// How many frames a slot has.
    pub(super) fn flows(&self, slot: usize) -> usize {
        let flows = (0..self.pace.flows(slot)).filter_map(|place| self.pace.flow(slot, place));
        flows
            .map(|flow| match &self.engines[flow] {
                Some(Engine::Node(node)) => node.speaking(),
                Some(Engine::Open(_) | Engine::Upgrading(_)) | None => 1,
            })
            .sum()
    }

    fn upgraded(
        &mut self,
        index: usize,
        outcome: Result<
            WebSocket<StampedStream>,
            HandshakeError<ServerHandshake<StampedStream, ChooseProtocol>>,
        >,
        counting: &mut Counting,
    ) {
        match outcome {
            Ok(socket) => {
                self.engines[index] = Some(match self.dialect {
                    Tongue::EdgeMuxV1 => {
                        // Nobody is there yet; each call is counted when it comes.
                        self.open -= 1;
                        if self.talk == Talk::Both {
                            self.pace.add(index);
                        }
                        Engine::Node(Box::new(Node::new(socket)))
                    }
                    Tongue::EdgeV1 | Tongue::Twilio => {
                        Engine::Open(Box::new(Conversation::new(index, socket)))
                    }
                });
                self.read(index, counting);
            }
            Err(HandshakeError::Interrupted(upgrade)) => {
                self.engines[index] = Some(Engine::Upgrading(upgrade))
            }
            Err(HandshakeError::Failure(error)) => {
                counting.trouble(format!("an upgrade failed: {error}"));
                self.forget(index);
            }
        }
    }

    fn read(&mut self, index: usize, counting: &mut Counting) {
        let conversation = match &mut self.engines[index] {
            Some(Engine::Open(conversation)) => conversation,
            Some(Engine::Node(node)) => {
                let (before, closed) = (node.calls(), node.read(counting));
                self.open = self.open - before + node.calls();
                if closed {
                    self.open -= node.calls();
                    if node.calls() > 0 {
                        counting.trouble("the edge left an engine node in the middle of calls");
                    }
                    self.engines[index] = None;
                    self.pace.remove(index);
                    self.vacant.push(index);
                }
                return;
            }
            Some(Engine::Upgrading(_)) | None => return,
        };
        match conversation.read(self.dialect, counting) {
            Read::Nothing => {}
            Read::Answered => {
                if self.talk == Talk::Both {
                    conversation.phase = Phase::Speaking;
                    self.pace.add(index);
                }
            }
            Read::Closed(failure) => {
                if conversation.phase != Phase::Dismissed {
                    let failure = failure.map_or("in order".to_owned(), |failure| failure.to_string());
                    counting.trouble(format!("the edge left an engine in the middle of a call: {failure}"));
                }
                self.forget(index);
            }
        }
    }

    fn forget(&mut self, index: usize) {
        self.engines[index] = None;
        self.pace.remove(index);
        self.vacant.push(index);
        self.open -= 1;
    }
}

impl Conversation {
    fn new(index: usize, socket: WebSocket<StampedStream>) -> Self {
        Self { socket, phase: Phase::Listening, stream: String::new(), voice: Voice::new(index) }
    }

    fn speak(&mut self, dialect: Tongue, counting: &mut Counting) {
        if self.phase != Phase::Speaking {
            return;
        }
        let frame = self.voice.frame(counting);
        let message = match dialect {
            Tongue::EdgeV1 | Tongue::EdgeMuxV1 => Message::Binary(Bytes::copy_from_slice(&frame)),
            Tongue::Twilio => Message::text(format!(
                r#"{{"event":"media","streamSid":"{}","media":{{"payload":"{}"}}}}"#,
                self.stream,
                STANDARD.encode(self.voice.audio)
            )),
        };
        // A socket that takes nothing keeps the frame; a broken one says so when it is read.
        let _kept = self.socket.write(message);
    }

    fn read(&mut self, dialect: Tongue, counting: &mut Counting) -> Read {
        let mut outcome = Read::Nothing;
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return outcome,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Read::Closed(None),
                Err(error) => return Read::Closed(Some(error)),
            };
            match message {
                Message::Binary(frame) => {
                    let arrived = self.socket.get_ref().arrived();
                    if let Ok((_, audio)) = FrameHeader::parse(&frame) {
                        self.voice.hear(audio, arrived, counting);
                    }
                }
                Message::Text(text) => {
                    if self.understand(dialect, text.as_str(), counting) {
                        outcome = Read::Answered;
                    }
                }
                // tungstenite answers; what it has to say goes out with the next look.
                Message::Close(_) => self.phase = Phase::Dismissed,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Whether the call is answered.
    fn understand(&mut self, dialect: Tongue, text: &str, counting: &mut Counting) -> bool {
        match dialect {
            Tongue::EdgeV1 if text.starts_with(r#"{"type":"start""#) => {
                let _kept = self.socket.write(Message::text(r#"{"type":"accept"}"#));
            }
            Tongue::EdgeV1 if text.starts_with(r#"{"type":"answered""#) => return true,
            Tongue::EdgeV1 if text.starts_with(r#"{"type":"stop""#) => self.phase = Phase::Dismissed,
            Tongue::Twilio if text.starts_with(r#"{"event":"media""#) => {
                let arrived = self.socket.get_ref().arrived();
                let letters =
                    text_after(text, r#""payload":""#).and_then(|letters| letters.get(..STAMP_LETTERS));
                let mut stamp = [0; LENGTH];
                if letters.is_some_and(|letters| STANDARD.decode_slice(letters, &mut stamp).is_ok()) {
                    self.voice.hear(&stamp, arrived, counting);
                }
            }
            Tongue::Twilio if text.starts_with(r#"{"event":"start""#) => {
                let stream = text_after(text, r#""streamSid":""#).and_then(|rest| rest.split('"').next());
                self.stream = stream.unwrap_or_default().to_owned();
                return true;
            }
            Tongue::Twilio if text.starts_with(r#"{"event":"stop""#) => self.phase = Phase::Dismissed,
            Tongue::EdgeV1 | Tongue::EdgeMuxV1 | Tongue::Twilio => {}
        }
        false
    }
}

impl Voice {
    pub(super) fn new(flow: usize) -> Self {
        let header = FrameHeader {
            kind: FrameKind::Audio,
            track: Track::Engine,
            flags: FrameFlags::default(),
            codec: FrameCodec::Pcmu,
            sequence: 0,
            media_time: 0,
            capture_or_segment: SEGMENT,
        };
        Self {
            sender: Sender::new(flow),
            receiver: Receiver::default(),
            header,
            audio: [media::g711::ULAW_SILENCE; FRAME],
        }
    }

    /// What it says next: stamped audio, and the same as a frame.
    pub(super) fn frame(&mut self, counting: &mut Counting) -> [u8; HEADER_LENGTH + FRAME] {
        self.sender.stamp(wall(), counting, down).write(&mut self.audio);
        let mut frame = [0; HEADER_LENGTH + FRAME];
        frame[..HEADER_LENGTH].copy_from_slice(&self.header.to_bytes());
        frame[HEADER_LENGTH..].copy_from_slice(&self.audio);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.media_time = self.header.media_time.wrapping_add(FRAME as u32);
        frame
    }

    /// It hears a frame.
    pub(super) fn hear(&mut self, audio: &[u8], arrived: u64, counting: &mut Counting) {
        self.receiver.take(audio, arrived, counting, up);
    }
}

fn text_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.find(key).map(|at| &text[at + key.len()..])
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if let Some(offered) = request.headers().get("Sec-WebSocket-Protocol") {
        response.headers_mut().insert("Sec-WebSocket-Protocol", offered.clone());
    }
    Ok(response)
}

fn up(window: &mut Window) -> &mut Way {
    &mut window.up
}

fn down(window: &mut Window) -> &mut Way {
    &mut window.down
}
