//! Which part of a body is the session description (RFC 3261 §7.4, §8.2.3), also within multipart (RFC 5621, RFC 2046 §5.1).
//! ```text
//!   Content-Type: multipart/mixed;boundary=x
//!
//!   --x CRLF                          a delimiter stands at the beginning of a line
//!   Content-Type: application/sdp     headers of the part, then an empty line
//!   CRLF
//!   v=0 …                             what we look for; the first counts
//!   --x CRLF
//!   Content-Type: application/isup    left alone, unless it says handling=required
//!   …
//!   --x--                             the end has to be there: what is cut off means nothing
//! ```
//! Each level is read once, and no deeper than [`MAX_MULTIPART_DEPTH`]: the work is bound by the length of the body.

use bytes::Bytes;
use memchr::memmem;

use crate::header::{HeaderName, MediaType};
use crate::lex::{self, Cursor};
use crate::message::{Message, StatusCode};

/// How deep multipart may stand within multipart.
pub const MAX_MULTIPART_DEPTH: usize = 8;

/// Why a body cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ContentFault {
    /// It is compressed or otherwise encoded, and we do not decode.
    #[error("a body that is encoded cannot be read")]
    Encoding,
    /// It has no session description but something else that we would have to understand.
    #[error("the body is of a type that is not understood")]
    Type,
    /// Content-Type cannot be read, or the parts of a multipart are not what it says.
    #[error("the body is not what its headers say")]
    Malformed,
    /// More than [`MAX_MULTIPART_DEPTH`] levels of multipart.
    #[error("multipart within multipart, more than {MAX_MULTIPART_DEPTH} times")]
    TooDeep,
}

impl ContentFault {
    /// What we tell the sender.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Encoding | Self::Type => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooDeep => StatusCode::REQUEST_ENTITY_TOO_LARGE,
        }
    }
}

impl Message {
    /// The session description that this message carries, alone or as a part of others; `None` when it carries nothing
    /// that would have to be understood. A body without Content-Type is taken for one: peers of RFC 2543 meant nothing
    /// else.
    pub fn session_description(&self) -> Result<Option<Bytes>, ContentFault> {
        let found = self.whole().session_description(0)?;
        Ok(found.map(|content| self.wire.slice_ref(content)))
    }

    /// The metadata of a recording session (RFC 7866 §9) that this message carries, alone or as a part of others.
    pub fn recording_metadata(&self) -> Option<Bytes> {
        let found = self.whole().recording_metadata(0)?;
        Some(self.wire.slice_ref(found))
    }

    fn whole(&self) -> Part<'_> {
        Part {
            content_type: self.header(HeaderName::ContentType).map(|value| value.as_bytes()),
            disposition: self.header(HeaderName::ContentDisposition).map(|value| value.as_bytes()),
            encoding: self.header(HeaderName::ContentEncoding).map(|value| value.as_bytes()),
            content: &self.wire[self.index.head_end..],
        }
    }
}

/// What an SRC tells of the calls it records, as RFC 7866 and as what came before it name it.
fn is_recording_metadata(media_type: &MediaType) -> bool {
    media_type.is("application/rs-metadata+xml") || media_type.is("application/rs-metadata")
}

/// A body, or a part of one, with what its headers say of it.
#[derive(Debug, Clone, Copy, Default)]
struct Part<'a> {
    content_type: Option<&'a [u8]>,
    disposition: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    fn session_description(self, depth: usize) -> Result<Option<&'a [u8]>, ContentFault> {
        if self.content.is_empty() {
            return Ok(None);
        }
        if self.encoding.is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        {
            return if self.is_optional() { Ok(None) } else { Err(ContentFault::Encoding) };
        }
        let Some(content_type) = self.content_type else {
            // RFC 2046 §5.1: a part without headers is plain text.
            return Ok((depth == 0).then_some(self.content));
        };
        let media_type = MediaType::parse(content_type).map_err(|_| ContentFault::Malformed)?;
        if media_type.is("application/sdp") {
            Ok(Some(self.content))
        } else if media_type.kind.eq_ignore_ascii_case("multipart") {
            self.within(&media_type, depth)
        } else if is_recording_metadata(&media_type)
            || self.is_optional()
            || (depth > 0 && !self.is_required())
        {
            Ok(None)
        } else {
            Err(ContentFault::Type)
        }
    }

    /// The first such part. Whether the body is well formed is asked elsewhere.
    fn recording_metadata(self, depth: usize) -> Option<&'a [u8]> {
        let is_encoded = self
            .encoding
            .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        let media_type = MediaType::parse(self.content_type?).ok().filter(|_| !is_encoded)?;
        if is_recording_metadata(&media_type) {
            return Some(self.content);
        }
        if depth == MAX_MULTIPART_DEPTH || !media_type.kind.eq_ignore_ascii_case("multipart") {
            return None;
        }
        let boundary = media_type.params.get("boundary").and_then(|boundary| boundary.value())?;
        let boundary = Some(boundary).filter(|boundary| (1..=70).contains(&boundary.len()))?;
        Parts::of(self.content, boundary.as_bytes())
            .map_while(Result::ok)
            .find_map(|part| part.recording_metadata(depth + 1))
    }

    /// The first session description among the parts. RFC 5621 §8.4 wants parts refused that are not understood and do
    /// not say that they are optional; trunks send such beside every offer, so only those are refused that say it.
    fn within(self, media_type: &MediaType, depth: usize) -> Result<Option<&'a [u8]>, ContentFault> {
        if depth == MAX_MULTIPART_DEPTH {
            return Err(ContentFault::TooDeep);
        }
        let boundary = media_type.params.get("boundary").and_then(|boundary| boundary.value());
        let boundary =
            boundary.filter(|boundary| (1..=70).contains(&boundary.len())).ok_or(ContentFault::Malformed)?;
        let (mut found, mut fault) = (None, None);
        for part in Parts::of(self.content, boundary.as_bytes()) {
            let part = part?;
            match part.session_description(depth + 1) {
                Ok(description) => found = found.or(description),
                Err(error @ (ContentFault::Malformed | ContentFault::TooDeep)) => return Err(error),
                Err(error @ (ContentFault::Type | ContentFault::Encoding)) => fault = Some(error),
            }
        }
        match (found, fault) {
            (_, Some(fault)) => Err(fault),
            (Some(found), None) => Ok(Some(found)),
            (None, None) if depth > 0 || self.is_optional() => Ok(None),
            (None, None) => Err(ContentFault::Type),
        }
    }

    fn is_optional(self) -> bool {
        self.handling() == Some("optional")
    }

    fn is_required(self) -> bool {
        self.handling() == Some("required")
    }

    /// `handling` of Content-Disposition (RFC 3261 §20.11).
    fn handling(self) -> Option<&'static str> {
        let mut cursor = Cursor::new(self.disposition?);
        cursor.token().ok()?;
        while let Ok(Some(param)) = cursor.param() {
            if param.name.eq_ignore_ascii_case("handling") {
                let value = lex::unquote(param.value?);
                return ["optional", "required"]
                    .into_iter()
                    .find(|known| value.eq_ignore_ascii_case(known.as_bytes()));
            }
        }
        None
    }
}

/// The parts of a multipart in order; an error when its end is missing, and then nothing more.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
    /// Stands before every part but the first, and before the end: CR LF `--boundary`.
    delimiter: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(content: &'a [u8], boundary: &[u8]) -> Self {
        let delimiter = [b"\r\n--", boundary].concat();
        // Before the first delimiter there may be a preamble, or not even a line break.
        let rest = match content.strip_prefix(&delimiter[2..]) {
            Some(rest) => Some(rest),
            None => memmem::find(content, &delimiter).map(|at| &content[at + delimiter.len()..]),
        };
        Self { rest: Some(rest.unwrap_or_default()), delimiter }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, ContentFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if rest.starts_with(b"--") {
            return None;
        }
        // White space may stand between the delimiter and its line end.
        let blank = rest.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let Some(part) = rest[blank..].strip_prefix(b"\r\n") else {
            return Some(Err(ContentFault::Malformed));
        };
        // A part may be empty: the line break before the next delimiter is then the one behind the last.
        let begun = &rest[blank..];
        let Some(at) = memmem::find(begun, &self.delimiter) else {
            return Some(Err(ContentFault::Malformed));
        };
        self.rest = Some(&begun[at + self.delimiter.len()..]);
        Some(Ok(read_part(&part[..at.saturating_sub(2)])))
    }
}

/// Headers, an empty line, content. Without headers the empty line comes first.
fn read_part(text: &[u8]) -> Part<'_> {
    let (head, content) = match (text.strip_prefix(b"\r\n"), memmem::find(text, b"\r\n\r\n")) {
        (Some(content), _) => (&[][..], content),
        (None, Some(end)) => (&text[..end], &text[end + 4..]),
        (None, None) => (text, &[][..]),
    };
    let mut part = Part { content, ..Part::default() };
    for line in lines(head) {
        let mut cursor = Cursor::new(line);
        let name = HeaderName::from_text(cursor.take_while(lex::is_token_byte));
        if cursor.expect_spaced(b':').is_err() {
            continue;
        }
        let value = Some(lex::trim(cursor.rest()));
        if name == HeaderName::ContentType {
            part.content_type = part.content_type.or(value);
        } else if name == HeaderName::ContentDisposition {
            part.disposition = part.disposition.or(value);
        } else if name == HeaderName::ContentEncoding {
            part.encoding = part.encoding.or(value);
        }
    }
    part
}

/// Header lines, each with its folds.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let mut from = 0;
        while let Some(found) = memmem::find(&text[from..], b"\r\n") {
            let next = from + found + 2;
            if !matches!(text.get(next), Some(b' ' | b'\t')) {
                rest = Some(&text[next..]);
                return Some(&text[..next - 2]);
            }
            from = next;
        }
        Some(text)
    })
}

#[cfg(test)]
mod tests;
