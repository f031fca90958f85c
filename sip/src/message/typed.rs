//! Headers that have a meaning, each read when asked for. A list header may spread over several lines and hold several
//! elements a line; both are one list here (RFC 3261 §7.3.1).

use crate::header::{
    CSeq, Event, HeaderName, MediaType, NameAddr, RAck, Reason, Replaces, RetryAfter, SessionExpires,
    SubscriptionState, Via, Warning, seconds_with_params,
};
use crate::lex::{self, Cursor, Malformed};
use crate::message::check::at;
use crate::message::{Message, ParseError, Start};
use crate::uri::Uri;

impl Message {
    /// The Request-URI. An error for a response.
    pub fn request_uri(&self) -> Result<Uri, ParseError> {
        match self.index.start {
            Start::Request { uri, .. } => Uri::parse(self.slice(uri))
                .map_err(|error| ParseError::RequestUri { at: usize::from(uri.0) + error.at }),
            Start::Response { .. } => Err(ParseError::RequestUri { at: 0 }),
        }
    }

    /// The top Via: the last hop of a request, ourselves in a response.
    pub fn via(&self) -> Result<Via, ParseError> {
        self.vias().next().unwrap_or(Err(ParseError::Missing(HeaderName::Via)))
    }

    /// All hops, the top one first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via, ParseError>> {
        self.list(HeaderName::Via, Via::read)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, ParseError> {
        self.required(HeaderName::From, NameAddr::parse)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, ParseError> {
        self.required(HeaderName::To, NameAddr::parse)
    }

    /// Call-ID, to be compared byte by byte.
    pub fn call_id(&self) -> Result<&str, ParseError> {
        let slot = self.slots(HeaderName::CallId).next().ok_or(ParseError::Missing(HeaderName::CallId))?;
        std::str::from_utf8(self.value(slot).as_bytes())
            .map_err(|error| at(slot, HeaderName::CallId, Malformed { at: error.valid_up_to() }))
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq<'_>, ParseError> {
        let slot = self.slots(HeaderName::CSeq).next().ok_or(ParseError::Missing(HeaderName::CSeq))?;
        CSeq::parse(self.value(slot).as_bytes()).map_err(|error| at(slot, HeaderName::CSeq, error))
    }

    /// Max-Forwards, at most 255 (RFC 3261 §20.22). `None` when a peer of RFC 2543 did not send it.
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        self.optional(HeaderName::MaxForwards, |value| {
            u8::try_from(number(value)?).map_err(|_| Malformed { at: 0 })
        })
    }

    /// The first Contact; `None` also for `*`.
    pub fn contact(&self) -> Result<Option<NameAddr>, ParseError> {
        self.contacts().next().transpose()
    }

    /// All Contacts. The `*` of a REGISTER (RFC 3261 §10.2.2) is none.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        let star = self.header(HeaderName::Contact).is_some_and(|value| value == "*");
        self.list(HeaderName::Contact, NameAddr::read).filter(move |_| !star)
    }

    /// The Route set as sent.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.list(HeaderName::Route, NameAddr::read)
    }

    /// The Record-Route set as sent; a dialog of the caller uses it in reverse (RFC 3261 §12.1.2).
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.list(HeaderName::RecordRoute, NameAddr::read)
    }

    /// P-Asserted-Identity (RFC 3325): one `sip:` and one `tel:` URI at most.
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.list(HeaderName::PAssertedIdentity, NameAddr::read)
    }

    /// Diversion (RFC 5806), the latest first.
    pub fn diversions(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.list(HeaderName::Diversion, NameAddr::read)
    }

    /// The elements of a list of names and URIs: Diversion, History-Info, P-Asserted-Identity and their like.
    pub fn name_addrs(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.list(name, NameAddr::read)
    }

    /// Refer-To (RFC 3515 §2.1).
    pub fn refer_to(&self) -> Result<Option<NameAddr>, ParseError> {
        self.optional(HeaderName::ReferTo, NameAddr::parse)
    }

    /// Referred-By (RFC 3892).
    pub fn referred_by(&self) -> Result<Option<NameAddr>, ParseError> {
        self.optional(HeaderName::ReferredBy, NameAddr::parse)
    }

    /// All reasons (RFC 3326), at most one a protocol.
    pub fn reasons(&self) -> impl Iterator<Item = Result<Reason, ParseError>> {
        self.list(HeaderName::Reason, Reason::read)
    }

    /// All warnings.
    pub fn warnings(&self) -> impl Iterator<Item = Result<Warning, ParseError>> {
        self.list(HeaderName::Warning, Warning::read)
    }

    /// Retry-After.
    pub fn retry_after(&self) -> Result<Option<RetryAfter>, ParseError> {
        self.optional(HeaderName::RetryAfter, RetryAfter::parse)
    }

    /// Expires in seconds.
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        self.optional(HeaderName::Expires, number)
    }

    /// Session-Expires (RFC 4028 §4).
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, ParseError> {
        self.optional(HeaderName::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Result<Option<u32>, ParseError> {
        let seconds = self.optional(HeaderName::MinSe, seconds_with_params)?;
        Ok(seconds.map(|(seconds, _)| seconds))
    }

    /// RSeq (RFC 3262 §7.1).
    pub fn rseq(&self) -> Result<Option<u32>, ParseError> {
        self.optional(HeaderName::RSeq, number)
    }

    /// RAck (RFC 3262 §7.2).
    pub fn rack(&self) -> Result<Option<RAck<'_>>, ParseError> {
        self.optional(HeaderName::RAck, RAck::parse)
    }

    /// Replaces (RFC 3891 §6.1).
    pub fn replaces(&self) -> Result<Option<Replaces>, ParseError> {
        self.optional(HeaderName::Replaces, Replaces::parse)
    }

    /// Event (RFC 6665).
    pub fn event(&self) -> Result<Option<Event>, ParseError> {
        self.optional(HeaderName::Event, Event::parse)
    }

    /// Subscription-State (RFC 6665).
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState>, ParseError> {
        self.optional(HeaderName::SubscriptionState, SubscriptionState::parse)
    }

    /// Content-Type.
    pub fn content_type(&self) -> Result<Option<MediaType>, ParseError> {
        self.optional(HeaderName::ContentType, MediaType::parse)
    }

    /// The media types of Accept. `None` when the header is missing, which means `application/sdp` (RFC 3261 §20.1);
    /// an empty one accepts nothing.
    pub fn accept(&self) -> Option<impl Iterator<Item = Result<MediaType, ParseError>>> {
        self.header(HeaderName::Accept)?;
        Some(self.list(HeaderName::Accept, MediaType::read))
    }

    /// The digest challenges of `WWW-Authenticate` or `Proxy-Authenticate`. Those of other schemes are left out.
    pub fn challenges(&self, name: HeaderName) -> impl Iterator<Item = crate::auth::Challenge> {
        self.headers(name).filter_map(|value| crate::auth::Challenge::parse(value.as_bytes()).ok())
    }

    /// The digest answers of `Authorization` or `Proxy-Authorization`. Those of other schemes are left out.
    pub fn authorizations(&self, name: HeaderName) -> impl Iterator<Item = crate::auth::Authorization> {
        self.headers(name).filter_map(|value| crate::auth::Authorization::parse(value.as_bytes()).ok())
    }

    /// The tokens of a list such as Supported, Require, Allow, Unsupported. Empty elements are skipped, and so is what
    /// is no token.
    pub fn tokens(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        let elements = self.headers(name).flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        elements.map(lex::trim).filter(|element| lex::is_token(element)).map(lex::ascii)
    }

    /// Whether a list such as Supported has that token. Option tags compare without case, methods with it.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        let exact = name == HeaderName::Allow;
        self.tokens(name).any(|found| found == token || (!exact && found.eq_ignore_ascii_case(token)))
    }

    fn required<'a, T>(
        &'a self,
        name: HeaderName,
        parse: impl FnOnce(&'a [u8]) -> Result<T, Malformed>,
    ) -> Result<T, ParseError> {
        self.optional(name, parse)?.ok_or(ParseError::Missing(name))
    }

    fn optional<'a, T>(
        &'a self,
        name: HeaderName,
        parse: impl FnOnce(&'a [u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, ParseError> {
        let Some(slot) = self.slots(name).next() else { return Ok(None) };
        parse(self.value(slot).as_bytes()).map(Some).map_err(|error| at(slot, name, error))
    }

    /// The elements of a list header; a fault ends its line.
    fn list<'a, T>(
        &'a self,
        name: HeaderName,
        read: fn(&mut Cursor<'a>) -> Result<T, Malformed>,
    ) -> impl Iterator<Item = Result<T, ParseError>> {
        self.slots(name).flat_map(move |slot| {
            let mut cursor = Some(Cursor::new(self.value(slot).as_bytes()));
            std::iter::from_fn(move || {
                let place = cursor.as_mut()?;
                if place.rest().is_empty() && place.at() == 0 {
                    return None;
                }
                let element = read(place).and_then(|element| Ok((element, place.next_element()?)));
                if !matches!(element, Ok((_, true))) {
                    cursor = None;
                }
                Some(element.map(|(element, _)| element).map_err(|error| at(slot, name, error)))
            })
        })
    }
}

fn number(value: &[u8]) -> Result<u32, Malformed> {
    let mut cursor = Cursor::new(value);
    let number = cursor.number()?;
    cursor.expect_end()?;
    Ok(number)
}
