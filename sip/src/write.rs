//! Writes requests and responses (RFC 3261 §7). Whatever a value contains, it stays one header: CR, LF and NUL are
//! written as spaces. Content-Length is ours and comes last.

use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::header::{HeaderName, Params, Via};
use crate::lex::{self, Cursor};
use crate::message::{MAX_HEADERS, Message, Method, StatusCode};
use crate::uri::Uri;

/// The most Via lines of a response: so many that it has no more lines than [`MAX_HEADERS`], whatever it answers.
const MAX_VIA_LINES: usize = MAX_HEADERS - 16;
/// Room for a usual INVITE with SDP, so that writing it allocates once.
const USUAL_SIZE: usize = 2048;

/// A message being written, line by line in the order of the calls.
///
/// ```
/// use sip::{HeaderName, MessageWriter, Method, Uri};
///
/// let target = Uri::parse("sip:edge@192.0.2.1").expect("a URI");
/// let wire = MessageWriter::request(Method::Options, &target)
///     .header(HeaderName::MaxForwards, 70)
///     .header(HeaderName::Subject, "two\r\nlines")
///     .finish();
/// assert_eq!(
///     wire,
///     "OPTIONS sip:edge@192.0.2.1 SIP/2.0\r\nMax-Forwards: 70\r\nSubject: two  lines\r\nContent-Length: 0\r\n\r\n"
/// );
/// ```
#[derive(Debug)]
pub struct MessageWriter {
    head: BytesMut,
    body: Option<(String, Bytes)>,
}

/// The text is not a header name, or names a header that only the writer may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a header that can be added")]
pub struct InvalidName;

impl MessageWriter {
    /// Begins a request. Headers of the URI are not written: they may not stand there.
    pub fn request(method: Method<'_>, uri: &Uri) -> Self {
        let plain;
        let uri = if uri.headers().next().is_some() {
            plain = uri.without_headers();
            &plain
        } else {
            uri
        };
        let mut writer = Self::empty();
        writer.line(format_args!("{method} {uri} SIP/2.0"));
        writer
    }

    /// Begins a response with the usual phrase.
    pub fn response(status: StatusCode) -> Self {
        Self::response_with_reason(status, status.reason_phrase())
    }

    /// Begins a response with a phrase of its own.
    pub fn response_with_reason(status: StatusCode, reason: &str) -> Self {
        let mut writer = Self::empty();
        writer.line(format_args!("SIP/2.0 {status} {reason}"));
        writer
    }

    /// Begins the response to a request, also to one that [`Message::check`] refuses (RFC 3261 §8.2.6): Via, From, To,
    /// Call-ID and CSeq as they are, as far as they are there. Of a header that may stand once, only the first is taken.
    ///
    /// The top Via is stamped with the source of the request. `to_tag` is added when the To can be read and has no tag;
    /// pass `None` for 100.
    pub fn response_to(
        request: &Message,
        status: StatusCode,
        source: SocketAddr,
        to_tag: Option<&str>,
    ) -> Self {
        let mut writer = Self::response(status);
        writer.stamped_vias(request, source);
        writer.copy_first(request, HeaderName::From);
        match (request.to(), request.header(HeaderName::To), to_tag) {
            (Ok(to), Some(value), Some(tag)) if to.tag().is_none() => {
                let mut params = Params::default();
                params.set("tag", Some(tag));
                writer.raw_line(HeaderName::To, &[value.as_bytes(), params.as_str().as_bytes()].concat());
            }
            (Ok(_) | Err(_), _, _) => writer.copy_first(request, HeaderName::To),
        }
        writer.copy_first(request, HeaderName::CallId);
        writer.copy_first(request, HeaderName::CSeq);
        writer
    }

    /// Adds a header line. Content-Length is ignored: it is written by [`Self::finish`].
    pub fn header(&mut self, name: HeaderName, value: impl fmt::Display) -> &mut Self {
        debug_assert!(name != HeaderName::Extension, "an extension is written with extension_header");
        if name != HeaderName::ContentLength && name != HeaderName::Extension {
            self.line(format_args!("{name}: {value}"));
        }
        self
    }

    /// Adds a header that this crate has no name for, or one it has by its text. Refuses what is no token, and the
    /// headers that make a message what it is: those have their own ways in.
    pub fn extension_header(
        &mut self,
        name: &str,
        value: impl fmt::Display,
    ) -> Result<&mut Self, InvalidName> {
        if !lex::is_token(name.as_bytes()) || is_structural(HeaderName::from_text(name)) {
            return Err(InvalidName);
        }
        self.line(format_args!("{name}: {value}"));
        Ok(self)
    }

    /// Adds every line of that header of another message, byte by byte but for folds, which become spaces.
    pub fn copy_header(&mut self, from: &Message, name: HeaderName) -> &mut Self {
        if name != HeaderName::ContentLength {
            for value in from.headers(name) {
                self.raw_line(name, value.as_bytes());
            }
        }
        self
    }

    /// Sets the body and its Content-Type, in place of any set before.
    pub fn body(&mut self, content_type: impl fmt::Display, body: impl Into<Bytes>) -> &mut Self {
        self.body = Some((content_type.to_string(), body.into()));
        self
    }

    /// Ends the message and hands it out; the writer is empty then.
    pub fn finish(&mut self) -> Bytes {
        let body = self.body.take().map(|(content_type, body)| {
            self.line(format_args!("{}: {content_type}", HeaderName::ContentType));
            body
        });
        let body = body.unwrap_or_default();
        let mut wire = std::mem::take(&mut self.head);
        // Writing to BytesMut cannot fail.
        let _ = write!(wire, "Content-Length: {}\r\n\r\n", body.len());
        wire.put_slice(&body);
        wire.freeze()
    }

    fn empty() -> Self {
        Self { head: BytesMut::with_capacity(USUAL_SIZE), body: None }
    }

    fn stamped_vias(&mut self, request: &Message, source: SocketAddr) {
        let mut lines = request.headers(HeaderName::Via);
        if let Some(top) = lines.next() {
            let mut cursor = Cursor::new(top.as_bytes());
            match Via::read(&mut cursor) {
                Ok(mut via) => {
                    via.stamp(source);
                    self.head.put_slice(b"Via: ");
                    let _ = write!(OneLine(&mut self.head), "{via}");
                    // More hops may stand behind a comma.
                    self.put_one_line(cursor.rest());
                    self.head.put_slice(b"\r\n");
                }
                Err(_) => self.raw_line(HeaderName::Via, top.as_bytes()),
            }
        }
        for line in lines.take(MAX_VIA_LINES - 1) {
            self.raw_line(HeaderName::Via, line.as_bytes());
        }
    }

    fn copy_first(&mut self, from: &Message, name: HeaderName) {
        if let Some(value) = from.header(name) {
            self.raw_line(name, value.as_bytes());
        }
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to BytesMut cannot fail; a Display that fails leaves the line short.
        let _ = OneLine(&mut self.head).write_fmt(text);
        self.head.put_slice(b"\r\n");
    }

    fn raw_line(&mut self, name: HeaderName, value: &[u8]) {
        self.head.put_slice(name.as_str().as_bytes());
        self.head.put_slice(b": ");
        self.put_one_line(value);
        self.head.put_slice(b"\r\n");
    }

    fn put_one_line(&mut self, value: &[u8]) {
        for piece in value.split_inclusive(|&byte| byte == b'\r' || byte == b'\n') {
            match piece {
                [text @ .., b'\r' | b'\n'] => {
                    self.head.put_slice(text);
                    self.head.put_u8(b' ');
                }
                text => self.head.put_slice(text),
            }
        }
    }
}

fn is_structural(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::ContentType
            | HeaderName::ContentLength
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
    )
}

/// Lets text through as one line.
struct OneLine<'a>(&'a mut BytesMut);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(['\r', '\n', '\0']) {
            let kept = piece.trim_end_matches(['\r', '\n', '\0']);
            self.0.put_slice(kept.as_bytes());
            if kept.len() < piece.len() {
                self.0.put_u8(b' ');
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
