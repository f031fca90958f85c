//! Whether we may act on a message: what RFC 3261 §8.2 and §16.3 want looked at, and the cases of RFC 4475 §3.1.2 and
//! §3.3 that are to be refused. Nothing is allocated.
//!
//! A header that we can do without is not looked at: RFC 3261 §8.2.2 wants a malformed one ignored. Its accessor will
//! say so when somebody asks.

use crate::header::{CSeq, HeaderName, NameAddr, Via};
use crate::lex::{Cursor, Malformed};
use crate::message::{Message, ParseError, Slot, Start};
use crate::uri::{Layout, Scheme};

/// The most hops a message may have come or gone: what Max-Forwards usually allows (RFC 3261 §8.1.1.6).
pub const MAX_VIAS: usize = 70;

/// What every message must have (RFC 3261 §8.1.1), except Max-Forwards, which RFC 2543 did not know.
const MANDATORY: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

/// What may stand only once. A second one that says the same is let through, as with Content-Length: it leaves nothing to
/// misread, and real peers send it.
const SINGLE: [HeaderName; 13] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentType,
    HeaderName::Event,
    HeaderName::SubscriptionState,
    HeaderName::ReferTo,
    HeaderName::ReferredBy,
    HeaderName::Replaces,
    HeaderName::SessionExpires,
    HeaderName::RAck,
];

/// Lists of addresses that later requests are sent to, so each must be one.
const ADDRESS_LISTS: [HeaderName; 3] = [HeaderName::Contact, HeaderName::RecordRoute, HeaderName::Route];

impl Message {
    /// Says whether we may act on this message, and if not, why. [`ParseError::status`] is the answer for the sender; a
    /// response with a fault is dropped.
    pub fn check(&self) -> Result<(), ParseError> {
        if let Some(fault) = self.index.fault {
            return Err(fault);
        }
        for name in MANDATORY {
            self.slots(name).next().ok_or(ParseError::Missing(name))?;
        }
        for name in SINGLE {
            let mut slots = self.slots(name);
            let Some(first) = slots.next() else { continue };
            if let Some(other) = slots.find(|&slot| self.value(slot) != self.value(first)) {
                return Err(ParseError::Repeated { name, at: other.at() });
            }
        }
        self.check_vias()?;
        self.check_each(HeaderName::From, NameAddr::skip)?;
        self.check_each(HeaderName::To, NameAddr::skip)?;
        for name in ADDRESS_LISTS {
            self.check_list(name, NameAddr::skip)?;
        }
        self.check_call_id()?;
        self.max_forwards()?;
        self.check_start()
    }

    fn check_vias(&self) -> Result<(), ParseError> {
        let mut hops = 0;
        self.check_list(HeaderName::Via, |cursor| {
            hops += 1;
            Via::skip(cursor)
        })?;
        if hops > MAX_VIAS { Err(ParseError::TooManyVias) } else { Ok(()) }
    }

    /// RFC 3261 wants words around one `@`; so many send something else that we only refuse what is no single word of
    /// visible ASCII.
    fn check_call_id(&self) -> Result<(), ParseError> {
        self.check_each(HeaderName::CallId, |cursor| {
            let word = cursor.take_while(|byte| byte.is_ascii_graphic());
            if word.is_empty() { Err(cursor.malformed()) } else { Ok(()) }
        })
    }

    fn check_start(&self) -> Result<(), ParseError> {
        let cseq = self.cseq()?;
        match self.index.start {
            Start::Request { uri, .. } => {
                let start = usize::from(uri.0);
                let layout = Layout::read(self.slice(uri))
                    .map_err(|Malformed { at }| ParseError::RequestUri { at: start + at })?;
                // Headers may not stand here (RFC 3261 §19.1.1); who applied them could be told to send anything.
                if layout.headers.is_some() {
                    return Err(ParseError::RequestUri { at: start });
                }
                let CSeq { method, .. } = cseq;
                match layout.scheme {
                    Scheme::Other => Err(ParseError::Scheme),
                    Scheme::Sip | Scheme::Sips | Scheme::Tel if self.method() != Some(method) => {
                        Err(ParseError::MethodMismatch)
                    }
                    Scheme::Sip | Scheme::Sips | Scheme::Tel => Ok(()),
                }
            }
            Start::Response { .. } => Ok(()),
        }
    }

    /// Every line of a header is one element.
    fn check_each(
        &self,
        name: HeaderName,
        skip: impl Fn(&mut Cursor<'_>) -> Result<(), Malformed>,
    ) -> Result<(), ParseError> {
        self.slots(name).try_for_each(|slot| {
            let mut cursor = Cursor::new(self.value(slot).as_bytes());
            skip(&mut cursor).and_then(|()| cursor.expect_end()).map_err(|error| at(slot, name, error))
        })
    }

    /// Every line of a header is a comma list. The `*` of a Contact is an element too (RFC 3261 §10.2.2).
    fn check_list(
        &self,
        name: HeaderName,
        mut skip: impl FnMut(&mut Cursor<'_>) -> Result<(), Malformed>,
    ) -> Result<(), ParseError> {
        self.slots(name).try_for_each(|slot| {
            let value = self.value(slot).as_bytes();
            if name == HeaderName::Contact && value == b"*" {
                return Ok(());
            }
            let mut cursor = Cursor::new(value);
            loop {
                skip(&mut cursor).map_err(|error| at(slot, name, error))?;
                if !cursor.next_element().map_err(|error| at(slot, name, error))? {
                    return Ok(());
                }
            }
        })
    }
}

/// A fault within a value as a fault of the message.
pub(super) fn at(slot: Slot, name: HeaderName, error: Malformed) -> ParseError {
    ParseError::Header { name, at: slot.value_range().start + error.at }
}
