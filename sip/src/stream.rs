//! Cuts a byte stream into SIP messages (RFC 3261 §18.3, §7.5) and finds the keep-alives between them (RFC 5626 §3.5.1).
//!
//! ```text
//!   CRLF CRLF | INVITE … CRLF CRLF body | CRLF | BYE … CRLF CRLF
//!     Ping            Message             Pong       Message
//! ```
//!
//! On a stream nothing but Content-Length says where a message ends. When it is missing, wrong or contradictory, all that
//! follows could be taken for something it is not; so the first fault ends the stream.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use crate::header::HeaderName;
use crate::message::index::Index;
use crate::message::{MAX_MESSAGE, ParseError, read_length};

/// Room for a few usual messages; grows to what one message may have.
const FIRST_ROOM: usize = 4 * 1024;

/// Who opened the connection. It decides what a lone CRLF means: RFC 5626 lets only the opener send pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The peer did: it may ping, and one CRLF may be half a ping.
    Accepted,
    /// We did: one CRLF is the answer to our ping.
    Dialled,
}

/// What a stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// Exactly one message, for [`crate::Message::parse`] with [`crate::Framing::Stream`].
    Message(Bytes),
    /// A double CRLF: to be answered with one CRLF.
    Ping,
    /// One CRLF: the peer is there.
    Pong,
}

/// The stream cannot be read any further and has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream cannot be read on: {error}")]
pub struct FramingError {
    /// What is wrong.
    pub error: ParseError,
    /// The headers, as far as there is room for them: [`crate::Message::parse`] reads enough of them, if they are SIP, to
    /// answer with [`ParseError::status`] before closing.
    pub head: Bytes,
}

/// Cuts one stream. Feed it with [`Self::push`], then take everything with [`Self::next`] before pushing again.
///
/// It holds at most one unfinished message ([`MAX_MESSAGE`] bytes) and what was pushed last. A peer that stops in the
/// middle of a message is the business of whoever owns the connection and a clock.
#[derive(Debug)]
pub struct StreamFramer {
    side: Side,
    buffer: BytesMut,
    state: State,
}

/// ```text
///   [Between] --start line--> [Head] --empty line--> [Body] --last byte--> [Between]
///        \                      \                      |
///         +----------------------+------ fault --------+--> [Broken]
/// ```
#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a message.
    Between,
    /// No empty line among the first `scanned` bytes.
    Head { scanned: usize },
    /// The message is `length` bytes long.
    Body { length: usize },
    /// The fault has been told.
    Broken,
}

impl StreamFramer {
    /// A framer for a new connection.
    pub fn new(side: Side) -> Self {
        Self { side, buffer: BytesMut::with_capacity(FIRST_ROOM), state: State::Between }
    }

    /// Takes what was read. Ignored after a fault.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.state {
            State::Between | State::Head { .. } | State::Body { .. } => self.buffer.extend_from_slice(bytes),
            State::Broken => {}
        }
    }

    /// Whether a message has begun and not ended: the owner of the connection gives it a deadline.
    pub fn is_within_message(&self) -> bool {
        match self.state {
            State::Between => {
                !self.buffer.is_empty() && self.buffer[..] != *b"\r\n" && self.buffer[..] != *b"\r"
            }
            State::Head { .. } | State::Body { .. } => true,
            State::Broken => false,
        }
    }

    /// The next message or keep-alive; `None` until more is pushed, and for ever after an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "None is not the end: there is more after the next push"
    )]
    pub fn next(&mut self) -> Option<Result<Framed, FramingError>> {
        loop {
            match self.state {
                State::Between => match self.keep_alive() {
                    Boundary::KeepAlive(framed) => return Some(Ok(framed)),
                    Boundary::Wait => return None,
                    Boundary::Message => self.state = State::Head { scanned: 0 },
                },
                State::Head { scanned } => {
                    // The empty line may straddle two pushes.
                    let from = scanned.saturating_sub(3);
                    let Some(found) = memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
                        if self.buffer.len() > MAX_MESSAGE {
                            return Some(Err(self.break_off(ParseError::TooLarge, MAX_MESSAGE)));
                        }
                        self.state = State::Head { scanned: self.buffer.len() };
                        return None;
                    };
                    let head = from + found + 4;
                    match message_length(&self.buffer[..head]) {
                        Ok(length) => self.state = State::Body { length },
                        Err(error) => return Some(Err(self.break_off(error, head))),
                    }
                }
                State::Body { length } => {
                    if self.buffer.len() < length {
                        return None;
                    }
                    // A copy: the message may live for minutes and must not hold the whole buffer.
                    let message = Bytes::copy_from_slice(&self.buffer[..length]);
                    self.buffer.advance(length);
                    self.state = State::Between;
                    return Some(Ok(Framed::Message(message)));
                }
                State::Broken => return None,
            }
        }
    }

    /// Takes the empty lines before a message (RFC 3261 §7.5) as the keep-alives they are.
    fn keep_alive(&mut self) -> Boundary {
        match (&self.buffer[..], self.side) {
            ([b'\r', b'\n', b'\r', b'\n', ..], _) => {
                self.buffer.advance(4);
                Boundary::KeepAlive(Framed::Ping)
            }
            ([] | [b'\r'], _) | ([b'\r', b'\n'] | [b'\r', b'\n', b'\r'], Side::Accepted) => Boundary::Wait,
            ([b'\r', b'\n', ..], _) => {
                self.buffer.advance(2);
                Boundary::KeepAlive(Framed::Pong)
            }
            (_, _) => Boundary::Message,
        }
    }

    fn break_off(&mut self, error: ParseError, head: usize) -> FramingError {
        let head = Bytes::copy_from_slice(&self.buffer[..head.min(MAX_MESSAGE)]);
        self.state = State::Broken;
        self.buffer = BytesMut::new();
        FramingError { error, head }
    }
}

enum Boundary {
    KeepAlive(Framed),
    /// Too little to tell.
    Wait,
    Message,
}

/// The length of the message with these headers. A fault in a header that has nothing to do with the length is left for
/// `Message::check`.
fn message_length(head: &[u8]) -> Result<usize, ParseError> {
    let index = Index::read(head)?;
    // Where the lines are in doubt, so is Content-Length.
    if let Some(fault @ (ParseError::LoneLineBreak { .. } | ParseError::TooManyHeaders)) = index.fault {
        return Err(fault);
    }
    let mut length = None;
    for slot in index.slots.iter().filter(|slot| slot.name == HeaderName::ContentLength) {
        let found = read_length(&head[slot.value_range()])
            .ok_or(ParseError::Header { name: HeaderName::ContentLength, at: slot.value_range().start })?;
        if length.is_some_and(|first| first != found) {
            return Err(ParseError::ContentLengthConflict { at: slot.at() });
        }
        length = Some(found);
    }
    let body = length.ok_or(ParseError::Missing(HeaderName::ContentLength))?;
    let whole = head.len().saturating_add(body);
    if whole > MAX_MESSAGE { Err(ParseError::TooLarge) } else { Ok(whole) }
}

#[cfg(test)]
mod tests;
