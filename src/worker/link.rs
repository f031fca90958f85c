//! A worker's end of an engine's websocket: writing without waiting, reading what there is, pings, and knowing when
//! the engine does not read.
//!
//! ```text
//!   [Flowing] -- a write would wait --> [Blocked] -- all written --> [Flowing]
//!                                           |
//!                                           +-- too long, or too much --> stalled
//! ```
//! While it is blocked, control messages wait in the socket's own buffer; audio does so up to
//! [`AUDIO_BACKLOG`], and is left out beyond.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use crate::bridge::{EngineStream, Form};
use crate::call::EngineFailure;

/// Audio beyond this is not added to what an engine has not read: about a second of it.
pub(super) const AUDIO_BACKLOG: usize = 16 << 10;

/// More than a websocket header has.
const HEADER: usize = 14;

/// How an engine's life is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineWatch {
    /// Between pings.
    pub ping_interval: Duration,
    /// How long after a ping something must come.
    pub pong_timeout: Duration,
    /// How long a socket may be blocked.
    pub stall_timeout: Duration,
}

impl Default for EngineWatch {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(5),
        }
    }
}

/// A message that came in.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// One engine's socket.
#[derive(Debug)]
pub(super) struct Link {
    websocket: WebSocket<EngineStream>,
    flow: Flow,
    /// When the next ping goes out.
    next_ping: Instant,
    /// The oldest ping that nothing has come after.
    unanswered: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Flow {
    Flowing,
    Blocked { since: Instant, backlog: usize },
}

impl Link {
    pub(super) fn new(now: Instant, websocket: WebSocket<EngineStream>, watch: &EngineWatch) -> Self {
        Self { websocket, flow: Flow::Flowing, next_ping: now + watch.ping_interval, unanswered: None }
    }

    /// The poller says that bytes came.
    pub(super) fn ready_to_read(&mut self) {
        self.websocket.get_mut().ready_to_read();
    }

    /// Whether audio should be left out for now.
    pub(super) fn is_congested(&self) -> bool {
        self.backlog() >= AUDIO_BACKLOG
    }

    /// What waits for the engine to read, at most.
    pub(super) fn backlog(&self) -> usize {
        match self.flow {
            Flow::Flowing => 0,
            Flow::Blocked { backlog, .. } => backlog,
        }
    }

    /// Whether the poller should say when there is room again.
    pub(super) fn waits_for_room(&self) -> bool {
        match self.flow {
            Flow::Flowing => false,
            Flow::Blocked { .. } => true,
        }
    }

    /// Writes one message, or keeps it until there is room.
    ///
    /// # Errors
    /// When the socket is broken or its buffer full. A socket that is being closed takes the message and
    /// throws it away: reading tells what became of it.
    pub(super) fn send(&mut self, now: Instant, form: Form, message: Bytes) -> Result<(), Lost> {
        let length = message.len() + HEADER;
        let message = match form {
            Form::Binary => Message::Binary(message),
            Form::Text => Message::Text(Utf8Bytes::try_from(message).unwrap_or_default()),
        };
        let outcome = self.websocket.write(message);
        self.account(now, length, outcome)
    }

    /// There is room again.
    pub(super) fn flush(&mut self, now: Instant) -> Result<(), Lost> {
        let outcome = self.websocket.flush();
        self.account(now, 0, outcome)
    }

    /// The next message, nothing when there is none whole.
    ///
    /// # Errors
    /// When the socket is closed or broken, or the engine breaks RFC 6455 or our limits.
    pub(super) fn receive(&mut self) -> Result<Option<Received>, Lost> {
        loop {
            let message = match self.websocket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            self.unanswered = None;
            match message {
                Message::Text(text) => return Ok(Some(Received::Text(text))),
                Message::Binary(bytes) => return Ok(Some(Received::Binary(bytes))),
                // A pong goes out with the next call of `read`.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(frame) => {
                    let code = frame.map(|frame| frame.code.into());
                    // Our half of the closing handshake; it matters no more whether it can be sent.
                    let _ = self.websocket.flush();
                    return Err(Lost::closed(code));
                }
            }
        }
    }

    /// Time passed: pings, and looks whether the engine is alive.
    pub(super) fn watch(&mut self, now: Instant, watch: &EngineWatch) -> Result<(), Lost> {
        if let Flow::Blocked { since, .. } = self.flow
            && now.saturating_duration_since(since) >= watch.stall_timeout
        {
            return Err(Lost::stalled());
        }
        if self.unanswered.is_some_and(|ping| now.saturating_duration_since(ping) >= watch.pong_timeout) {
            return Err(Lost::broken("no answer to a ping"));
        }
        if self.next_ping <= now {
            self.next_ping = now + watch.ping_interval;
            self.unanswered = self.unanswered.or(Some(now));
            let outcome = self.websocket.write(Message::Ping(Bytes::new()));
            return self.account(now, HEADER, outcome);
        }
        Ok(())
    }

    /// Says that this is the end. Afterwards [`Self::linger`] until it says so, then drop.
    pub(super) fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() };
        // What cannot be said is not said: the socket closes all the same.
        let _ = self.websocket.close(Some(frame));
    }

    /// Sends what is left after [`Self::close`], and throws away what comes: bytes, since after a broken
    /// message there is no telling messages apart. Whether the engine has closed its end.
    pub(super) fn linger(&mut self, room: &mut [u8]) -> Lingering {
        let _ = self.websocket.flush();
        self.ready_to_read();
        match self.websocket.get_mut().read(room) {
            Ok(read) if read > 0 => Lingering::Open,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Lingering::Open,
            Ok(_) | Err(_) => {
                self.websocket.get_mut().say_goodbye();
                Lingering::Closed
            }
        }
    }

    fn account(&mut self, now: Instant, length: usize, outcome: Result<(), Error>) -> Result<(), Lost> {
        let blocked = match outcome {
            Ok(()) => self.websocket.get_ref().has_unsent(),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => false,
            Err(error) => return Err(error.into()),
        };
        self.flow = match (blocked, self.flow) {
            (false, _) => Flow::Flowing,
            (true, Flow::Flowing) => Flow::Blocked { since: now, backlog: length },
            (true, Flow::Blocked { since, backlog }) => Flow::Blocked { since, backlog: backlog + length },
        };
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.websocket.get_ref().as_fd()
    }
}

/// Whether a closed socket still waits for the engine's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lingering {
    Open,
    Closed,
}

/// The engine is gone, or has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) failure: EngineFailure,
    /// Close the socket in order, with this code (RFC 6455 §7.4.1); without one there is nobody to tell.
    pub(super) close: Option<u16>,
}

impl Lost {
    /// It was the socket or the engine behind it, not what the engine said: that it would say again.
    pub(super) fn may_come_back(&self) -> bool {
        match self.failure {
            EngineFailure::Closed { .. } | EngineFailure::Broken(_) | EngineFailure::Stalled => true,
            EngineFailure::Protocol(_)
            | EngineFailure::Dns
            | EngineFailure::Connect(_)
            | EngineFailure::Tls(_)
            | EngineFailure::Http { .. }
            | EngineFailure::Upgrade(_)
            | EngineFailure::Timeout
            | EngineFailure::Full => false,
        }
    }

    pub(super) fn closed(code: Option<u16>) -> Self {
        Self { failure: EngineFailure::Closed { code }, close: None }
    }

    fn broken(what: impl Into<String>) -> Self {
        Self { failure: EngineFailure::Broken(what.into()), close: None }
    }

    fn stalled() -> Self {
        Self { failure: EngineFailure::Stalled, close: Some(1008) }
    }

    pub(super) fn protocol(what: impl Into<String>, close: u16) -> Self {
        Self { failure: EngineFailure::Protocol(what.into()), close: Some(close) }
    }
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::closed(None),
            // Gone without a word of closing: it died, or the network did.
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::broken("closed without a closing handshake")
            }
            Error::Protocol(error) => Self::protocol(error.to_string(), 1002),
            Error::Capacity(error) => Self::protocol(error.to_string(), 1009),
            Error::Utf8(_) => Self::protocol("a text message is not UTF-8", 1007),
            Error::WriteBufferFull(_) => Self::stalled(),
            Error::Io(_)
            | Error::Tls(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Self::broken(error.to_string()),
        }
    }
}
