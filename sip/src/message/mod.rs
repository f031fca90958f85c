//! SIP messages as received: one buffer and an index over it (RFC 3261 §7).
//!
//! [`Message::parse`] finds the lines and fails only when the bytes are no SIP at all. [`Message::check`] then says whether
//! we may act on the message; when not, the request can still be answered. Everything else reads one header when asked.

mod check;
mod content;
mod error;
pub(crate) mod index;
mod method;
mod sipfrag;
mod status;
mod typed;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::header::{HeaderName, HeaderValue};
use crate::lex::{self, Cursor};

pub use check::MAX_VIAS;
pub use content::{ContentFault, MAX_MULTIPART_DEPTH};
pub use error::ParseError;
use index::Index;
pub use index::{MAX_HEADERS, MAX_LINE, MAX_MESSAGE};
pub(crate) use index::{Slot, Start};
pub use method::Method;
pub use sipfrag::sipfrag_status;
pub use status::{StatusClass, StatusCode};

/// How the end of the body is found (RFC 3261 §18.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One datagram: Content-Length may be missing, and what is beyond it is dropped.
    Datagram,
    /// One message cut out of a stream by [`crate::StreamFramer`]: Content-Length must be there.
    Stream,
}

/// An immutable SIP message. A clone shares the bytes and copies some 300 bytes of index.
#[derive(Clone)]
pub struct Message {
    wire: Bytes,
    index: Index,
    body_end: usize,
}

/// The first line of a message. What is not UTF-8 in it is shown as U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request.
    Request {
        /// The method.
        method: Method<'a>,
        /// The Request-URI as written; [`Message::request_uri`] reads it.
        uri: Cow<'a, str>,
    },
    /// A response.
    Response {
        /// The status code.
        status: StatusCode,
        /// The reason phrase, possibly empty.
        reason: Cow<'a, str>,
    },
}

impl Message {
    /// Finds the lines of a message; reads none of them but the start line and Content-Length. Empty lines in front are
    /// skipped (RFC 3261 §7.5).
    ///
    /// Fails with [`ParseError::NotSip`] or [`ParseError::TooLarge`] only, and with the latter for what is longer than
    /// [`MAX_MESSAGE`] as it stands. Any other fault waits for [`Self::check`].
    pub fn parse(wire: Bytes, framing: Framing) -> Result<Self, ParseError> {
        let mut wire = wire;
        let empty_lines = wire.chunks(2).take_while(|&pair| pair == b"\r\n").count();
        if empty_lines > 0 {
            wire = wire.slice(2 * empty_lines..);
        }
        let index = Index::read(&wire)?;
        let mut message = Self { body_end: index.head_end, wire, index };
        message.find_body(framing);
        message.wire.truncate(message.body_end);
        Ok(message)
    }

    /// The first line.
    pub fn start_line(&self) -> StartLine<'_> {
        match self.index.start {
            Start::Request { method_end, uri } => {
                StartLine::Request { method: self.method_of(method_end), uri: lex::readable(self.slice(uri)) }
            }
            Start::Response { status, reason } => {
                StartLine::Response { status, reason: lex::readable(self.slice(reason)) }
            }
        }
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'_>> {
        match self.index.start {
            Start::Request { method_end, .. } => Some(self.method_of(method_end)),
            Start::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<StatusCode> {
        match self.index.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response, possibly empty.
    pub fn reason_phrase(&self) -> Option<Cow<'_, str>> {
        match self.index.start {
            Start::Request { .. } => None,
            Start::Response { reason, .. } => Some(lex::readable(self.slice(reason))),
        }
    }

    /// The first line of that header, compact form or not.
    pub fn header(&self, name: HeaderName) -> Option<HeaderValue<'_>> {
        self.headers(name).next()
    }

    /// Every line of that header in order. A line may hold a comma list.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = HeaderValue<'_>> {
        self.slots(name).map(|slot| self.value(slot))
    }

    /// The first line of any header, known or extension, by its name in any case.
    pub fn header_named(&self, name: &str) -> Option<HeaderValue<'_>> {
        self.headers_named(name).next()
    }

    /// Every line of any header by its name in any case. For a header with a compact form, both forms are found.
    pub fn headers_named<'a, 'b>(
        &'a self,
        name: &'b str,
    ) -> impl Iterator<Item = HeaderValue<'a>> + use<'a, 'b> {
        let known = HeaderName::from_text(name);
        let is_it = move |slot: &Slot| {
            slot.name == known
                && (known != HeaderName::Extension || self.name(*slot).eq_ignore_ascii_case(name))
                && !slot.name_range().is_empty()
        };
        self.index.slots.iter().copied().filter(is_it).map(|slot| self.value(slot))
    }

    /// Every header line in order with its name as written. A line that is no header is left out.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, HeaderValue<'_>)> {
        let headers = self.index.slots.iter().filter(|slot| !slot.name_range().is_empty());
        headers.map(|&slot| (self.name(slot), self.value(slot)))
    }

    /// The body. Empty when [`Self::check`] would say that its length cannot be known.
    pub fn body(&self) -> Bytes {
        self.wire.slice(self.index.head_end..)
    }

    /// The whole message as received, without empty lines before it and surplus bytes behind it.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    pub(crate) fn slots(&self, name: HeaderName) -> impl Iterator<Item = Slot> {
        self.index.slots.iter().copied().filter(move |slot| slot.name == name)
    }

    pub(crate) fn value(&self, slot: Slot) -> HeaderValue<'_> {
        HeaderValue::new(&self.wire[slot.value_range()])
    }

    fn name(&self, slot: Slot) -> &str {
        lex::ascii(&self.wire[slot.name_range()])
    }

    fn method_of(&self, end: u16) -> Method<'_> {
        Method::from_token(lex::ascii(&self.wire[..usize::from(end)]))
    }

    fn slice(&self, (start, end): (u16, u16)) -> &[u8] {
        &self.wire[usize::from(start)..usize::from(end)]
    }

    /// RFC 3261 §18.3. Two equal Content-Length headers are let through: they leave nothing to misread.
    fn find_body(&mut self, framing: Framing) {
        let (available, mut length) = (self.wire.len() - self.index.head_end, None);
        let mut fault = None;
        for slot in self.slots(HeaderName::ContentLength) {
            match (read_length(self.value(slot).as_bytes()), length) {
                (None, _) => {
                    fault.get_or_insert(ParseError::Header {
                        name: HeaderName::ContentLength,
                        at: slot.value_range().start,
                    });
                }
                (Some(found), Some(first)) if found != first => {
                    fault.get_or_insert(ParseError::ContentLengthConflict { at: slot.at() });
                }
                (Some(found), _) => length = Some(found),
            }
        }
        let body = match (length, framing) {
            _ if fault.is_some() => Err(fault),
            (Some(length), Framing::Stream) if self.index.head_end.saturating_add(length) > MAX_MESSAGE => {
                Err(Some(ParseError::TooLarge))
            }
            (Some(length), _) if length > available => {
                // What there is can still be shown.
                self.body_end = self.wire.len();
                Err(Some(ParseError::BodyTooShort))
            }
            (Some(length), _) => Ok(length),
            (None, Framing::Datagram) => Ok(available),
            (None, Framing::Stream) => Err(Some(ParseError::Missing(HeaderName::ContentLength))),
        };
        // A stream hands out headers without an end only when they have no room to end in.
        if framing == Framing::Stream && self.index.fault == Some(ParseError::Unfinished) {
            self.index.fault = Some(ParseError::TooLarge);
        }
        match body {
            Ok(length) => self.body_end = self.index.head_end + length,
            Err(fault) => self.index.fault = self.index.fault.or(fault),
        }
    }
}

/// A Content-Length; one that is larger than any message is as good as the largest.
pub(crate) fn read_length(value: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(value);
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    if digits.is_empty() || cursor.expect_end().is_err() {
        return None;
    }
    let add = |sum: usize, &digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Message");
        debug.field("start_line", &self.start_line());
        debug.field("headers", &self.index.slots.len());
        debug.field("body", &(self.wire.len() - self.index.head_end)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
