//! Where the start line and the headers of a message lie (RFC 3261 §7). One pass over the bytes, nothing is copied and
//! no value is read, except Content-Length.
//!
//! ```text
//!   INVITE sip:a@b SIP/2.0 CRLF     Start::Request { method_end, uri }
//!   Via: x, CRLF                    Slot { name, at, name_length, value } one for each line,
//!    y CRLF                         ... its folds included
//!   l:0 CRLF
//!   CRLF                            head_end
//! ```
//!
//! What is wrong is noted instead of thrown, the first fault only: a request that cannot be served can still be answered
//! when its Via can be found. Lines end with CR LF only. RFC 3261 knows no other line end, and a hop that takes a lone LF
//! for one sees headers that the hop before did not.

use std::ops::Range;

use memchr::memchr2;
use smallvec::SmallVec;

use crate::header::HeaderName;
use crate::lex::{self, Cursor};
use crate::message::{ParseError, StatusCode};

/// The longest message, and so the largest offset. The limit of a UDP datagram; TCP has the same by our decision.
pub const MAX_MESSAGE: usize = 65_535;
/// The most header lines; the rest is not looked at.
pub const MAX_HEADERS: usize = 256;
/// The longest header line, folds included.
pub const MAX_LINE: usize = 8 * 1024;

/// Header lines that fit without allocating. Real requests have 12 to 25.
const INLINE: usize = 32;

#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) start: Start,
    pub(crate) slots: SmallVec<[Slot; INLINE]>,
    /// The first byte after the empty line.
    pub(crate) head_end: usize,
    /// The first thing that is wrong.
    pub(crate) fault: Option<ParseError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method_end: u16, uri: (u16, u16) },
    Response { status: StatusCode, reason: (u16, u16) },
}

/// One header line in eight bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    at: u16,
    value: (u16, u16),
    name_length: u8,
    pub(crate) name: HeaderName,
}

impl Slot {
    /// Where the line begins.
    pub(crate) fn at(self) -> usize {
        usize::from(self.at)
    }

    /// The name as written; empty for a line that is no header.
    pub(crate) fn name_range(self) -> Range<usize> {
        self.at()..self.at() + usize::from(self.name_length)
    }

    /// The value without white space at its ends.
    pub(crate) fn value_range(self) -> Range<usize> {
        usize::from(self.value.0)..usize::from(self.value.1)
    }

    fn new(name: HeaderName, at: usize, name_length: u8, value: Range<usize>) -> Self {
        Self { at: offset(at), value: (offset(value.start), offset(value.end)), name_length, name }
    }
}

impl Index {
    /// Finds everything in a message that begins with its start line.
    pub(crate) fn read(wire: &[u8]) -> Result<Self, ParseError> {
        if wire.len() > MAX_MESSAGE {
            return Err(ParseError::TooLarge);
        }
        let mut index = Self { start: NO_START, slots: SmallVec::new(), head_end: wire.len(), fault: None };
        let first = index.line(wire, 0);
        index.read_start(&wire[..first.end])?;
        if first.end > MAX_LINE {
            index.note(ParseError::UriTooLong);
        }
        index.read_headers(wire, first.next);
        Ok(index)
    }

    fn read_headers(&mut self, wire: &[u8], mut at: Option<usize>) {
        while let Some(start) = at {
            let mut line = self.line(wire, start);
            if line.end == start {
                match line.next {
                    Some(next) => self.head_end = next,
                    None => self.note(ParseError::Unfinished),
                }
                return;
            }
            while let Some(next) = line.next
                && matches!(wire.get(next), Some(b' ' | b'\t'))
            {
                line = self.line(wire, next);
            }
            if self.slots.len() == MAX_HEADERS {
                return self.note(ParseError::TooManyHeaders);
            }
            if line.end - start > MAX_LINE {
                self.note(ParseError::LineTooLong { at: start });
            }
            self.read_header(wire, start..line.end);
            at = line.next;
        }
        self.note(ParseError::Unfinished);
    }

    /// One header with its folds.
    fn read_header(&mut self, wire: &[u8], line: Range<usize>) {
        let mut cursor = Cursor::new(&wire[line.clone()]);
        let name = cursor.take_while(lex::is_token_byte);
        let name_length = u8::try_from(name.len()).unwrap_or(0);
        cursor.take_while(|byte| byte == b' ' || byte == b'\t');
        if name_length == 0 || !cursor.eat(b':') {
            self.note(ParseError::HeaderLine { at: line.start });
            self.slots.push(Slot::new(HeaderName::Extension, line.start, 0, line));
            return;
        }
        cursor.skip_lws();
        let start = line.start + cursor.at();
        let blank = cursor.rest().iter().rev().take_while(|&&byte| lex::is_lws(byte)).count();
        let slot = Slot::new(HeaderName::from_text(name), line.start, name_length, start..line.end - blank);
        self.slots.push(slot);
    }

    /// The line from `start` on.
    fn line(&mut self, wire: &[u8], start: usize) -> Line {
        let mut at = start;
        while let Some(found) = memchr2(b'\r', b'\n', &wire[at..]) {
            at += found;
            if wire[at] == b'\r' && wire.get(at + 1) == Some(&b'\n') {
                return Line { end: at, next: Some(at + 2) };
            }
            self.note(ParseError::LoneLineBreak { at });
            at += 1;
        }
        Line { end: wire.len(), next: None }
    }

    fn read_start(&mut self, line: &[u8]) -> Result<(), ParseError> {
        // A lone line break here is most likely a message with LF line ends: there is no line to speak of.
        if let Some(ParseError::LoneLineBreak { at }) = self.fault {
            return Err(ParseError::NotSip { at });
        }
        if is_version_like(line) { self.read_status_line(line) } else { self.read_request_line(line) }
    }

    /// `Method SP Request-URI SP SIP-Version`. Other white space than one space is a fault we can answer.
    fn read_request_line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let mut cursor = Cursor::new(line);
        let method = cursor.take_while(lex::is_token_byte);
        if method.is_empty() || !cursor.eat(b' ') {
            return Err(ParseError::NotSip { at: cursor.at() });
        }
        let uri_start = cursor.at();
        let trimmed = line.trim_ascii_end();
        let is_blank = |&byte: &u8| byte == b' ' || byte == b'\t';
        let gap = trimmed.iter().rposition(is_blank).filter(|&gap| gap >= uri_start);
        let Some(gap) = gap.filter(|&gap| is_version_like(&trimmed[gap + 1..])) else {
            return Err(ParseError::NotSip { at: uri_start });
        };
        let uri = &line[uri_start..gap];
        if let Some(blank) = uri.iter().position(is_blank) {
            self.note(ParseError::StartLine { at: uri_start + blank });
        } else if uri.is_empty() {
            self.note(ParseError::StartLine { at: uri_start });
        }
        self.check_version(&trimmed[gap + 1..], gap + 1);
        if trimmed.len() < line.len() {
            self.note(ParseError::StartLine { at: trimmed.len() });
        }
        self.start =
            Start::Request { method_end: offset(method.len()), uri: (offset(uri_start), offset(gap)) };
        Ok(())
    }

    /// `SIP-Version SP Status-Code SP Reason-Phrase`; the last space may be missing.
    fn read_status_line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        let gap = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        self.check_version(&line[..gap], 0);
        let at = gap + 1;
        let status = match line.get(at..) {
            Some([a, b, c] | [a, b, c, b' ', ..]) if [a, b, c].into_iter().all(u8::is_ascii_digit) => {
                let digit = |byte: &u8| u16::from(byte - b'0');
                StatusCode::new(digit(a) * 100 + digit(b) * 10 + digit(c))
            }
            Some(_) | None => None,
        };
        let status = status.ok_or(ParseError::NotSip { at: at.min(line.len()) })?;
        let reason = (at + 4).min(line.len())..line.len();
        self.start = Start::Response { status, reason: (offset(reason.start), offset(reason.end)) };
        Ok(())
    }

    fn check_version(&mut self, version: &[u8], at: usize) {
        if version.eq_ignore_ascii_case(b"SIP/2.0") {
            return;
        }
        let number = &version["SIP/".len()..];
        let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let mut parts = number.split(|&byte| byte == b'.');
        let valid = parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number);
        self.note(match valid && parts.next().is_none() {
            true => ParseError::Version,
            false => ParseError::StartLine { at },
        });
    }

    pub(crate) fn note(&mut self, fault: ParseError) {
        self.fault.get_or_insert(fault);
    }
}

struct Line {
    end: usize,
    /// Where the next line begins; `None` when no CR LF follows.
    next: Option<usize>,
}

const NO_START: Start = Start::Request { method_end: 0, uri: (0, 0) };

fn is_version_like(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn offset(at: usize) -> u16 {
    u16::try_from(at).expect("a message is at most MAX_MESSAGE bytes long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(head: &str) -> Option<ParseError> {
        Index::read(head.as_bytes()).unwrap().fault
    }

    #[test]
    fn a_slot_is_eight_bytes_long() {
        assert_eq!(size_of::<Slot>(), 8);
    }

    #[test]
    fn folds_belong_to_their_header_and_white_space_before_the_colon_does_not() {
        let wire = b"BYE sip:a SIP/2.0\r\nTO \t:\r\n <sip:a>\r\n\t;x \r\nl:0\r\n\r\nbody";
        let index = Index::read(wire).unwrap();

        let lines: Vec<_> = index.slots.iter().map(|slot| (slot.name, &wire[slot.value_range()])).collect();
        assert_eq!(lines, [(HeaderName::To, &b"<sip:a>\r\n\t;x"[..]), (HeaderName::ContentLength, b"0")]);
        assert_eq!(&wire[index.head_end..], b"body");
        assert_eq!(index.fault, None);
    }

    #[test]
    fn a_fault_is_noted_and_the_headers_behind_it_are_still_found() {
        let wire = b"BYE sip:a SIP/2.0\r\nTo\x01: <sip:evil>\r\nVia: x\r\n\r\n";
        let index = Index::read(wire).unwrap();

        assert_eq!(index.fault, Some(ParseError::HeaderLine { at: 19 }));
        assert_eq!(index.slots[1].name, HeaderName::Via);
    }

    #[test]
    fn each_fault_of_the_framing_has_its_name() {
        assert_eq!(faults("BYE sip:a SIP/2.0\r\n\r\n"), None);
        assert_eq!(faults("BYE sip:a SIP/2.0\r\n"), Some(ParseError::Unfinished));
        assert_eq!(faults("BYE sip:a SIP/2.0\r\nTo: x"), Some(ParseError::Unfinished));
        assert_eq!(
            faults("BYE sip:a SIP/2.0\r\nTo: x\nVia: y\r\n\r\n"),
            Some(ParseError::LoneLineBreak { at: 24 })
        );
        assert_eq!(
            faults("BYE sip:a SIP/2.0\r\nTo: x\rVia: y\r\n\r\n"),
            Some(ParseError::LoneLineBreak { at: 24 })
        );
        assert_eq!(faults("BYE sip:a SIP/2.0\r\n To: x\r\n\r\n"), Some(ParseError::HeaderLine { at: 19 }));
        assert_eq!(faults("BYE sip:a SIP/7.0\r\n\r\n"), Some(ParseError::Version));
        assert_eq!(faults("BYE sip:a SIP/2.0/UDP\r\n\r\n"), Some(ParseError::StartLine { at: 10 }));
        assert_eq!(faults("BYE  sip:a SIP/2.0\r\n\r\n"), Some(ParseError::StartLine { at: 4 }));
        assert_eq!(faults("BYE sip:a SIP/2.0  \r\n\r\n"), Some(ParseError::StartLine { at: 17 }));
        assert_eq!(
            faults(&format!("BYE sip:{} SIP/2.0\r\n\r\n", "a".repeat(9000))),
            Some(ParseError::UriTooLong)
        );
        let long = format!("BYE sip:a SIP/2.0\r\nX: {}\r\n\r\n", "a\r\n ".repeat(3000));
        assert_eq!(faults(&long), Some(ParseError::LineTooLong { at: 19 }));
        let many = format!("BYE sip:a SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(257));
        assert_eq!(faults(&many), Some(ParseError::TooManyHeaders));
    }

    #[test]
    fn what_is_no_sip_at_all_is_refused_outright() {
        for bad in [
            "",
            "\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "BYE\r\n\r\n",
            "BYE sip:a\r\n\r\n",
            "BYE SIP/2.0\r\n\r\n",
            "SIP/2.0 4294967301 x\r\n\r\n",
            "SIP/2.0 99 x\r\n\r\n",
            "SIP/2.0 700 x\r\n\r\n",
            "SIP/2.0 20 x\r\n\r\n",
            "SIP/2.0 2000\r\n\r\n",
            "SIP/2.0\r\n\r\n",
            "B\0E sip:a SIP/2.0\r\n\r\n",
            "BYE sip:a SIP/2.0\nTo: x\n\n",
        ] {
            assert!(matches!(Index::read(bad.as_bytes()), Err(ParseError::NotSip { .. })), "{bad:?}");
        }
        assert_eq!(Index::read(&[b' '; MAX_MESSAGE + 1]).unwrap_err(), ParseError::TooLarge);
    }
}
