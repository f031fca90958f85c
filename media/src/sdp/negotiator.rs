//! The offer/answer machine of one leg: RFC 3264 §4 to §8, and RFC 6337 on who may offer when.
//!
//! ```text
//!                offer                handle_answer
//!   [Settled] ----------> [Offered] ----------------> [Answered] ---+
//!     ^  ^  ^   rollback     |                         |  |  ^      | handle_answer: a 183 and then the 200
//!     |  |  +----------------+     offer: [Offered] <--+  |  +------+
//!     |  +------------------------- handle_offer ---------+
//!     +-- handle_offer: answered at once
//! ```
//!
//! An offer of the peer while ours waits is glare: that is for SIP to refuse.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use sdp_types::{Media, Session};

use super::crypto::Crypto;
use super::description::{self, EVENT_CLOCKS, Security, Stream};
use super::setup::{self, Setup};
use super::{
    Alternate, Direction, LocalMedia, Negotiated, SdpError, SrtpKeying, SrtpKeys, SrtpPolicy, Transport,
};
use crate::{Codec, DtlsIdentity, DtlsTerms, SrtpKey, SrtpSuite};

/// The numbers of telephone events in our offers, by clock, unless the peer has given them others before
/// (RFC 3264 §8.3.2: a number keeps its meaning).
const EVENT_NUMBERS: [u8; 2] = [101, 110];

/// Numbers that mean what is agreed on (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// The offer/answer machine of one leg.
#[derive(Debug)]
pub struct Negotiator {
    local: LocalMedia,
    session_id: u64,
    /// Of `o=`; 0 before the first description.
    version: u64,
    /// The last description without its `o=` line, to see whether the next one differs.
    last: String,
    want: Direction,
    /// What the last description says.
    described: Direction,
    exchange: Exchange,
    /// All media lines of the session in their order; a description of ours repeats each of them.
    lines: Vec<Line>,
    /// Agreed last: offered first the next time.
    codec: Option<Codec>,
    event_numbers: [u8; 2],
    /// Whether our offers say that RTCP may share the port of RTP; so does one after it was agreed on.
    wants_mux: bool,
    is_muxed: bool,
    srtp: SrtpPolicy,
    /// Ours, one a suite; the suite that is agreed on uses its own.
    keys: Vec<SrtpKey>,
    /// Whether what was agreed last is encrypted; nothing before there is anything.
    is_secure: Option<bool>,
    /// The keys in our last description.
    crypto: Vec<Crypto>,
    /// How keys are offered.
    keying: SrtpKeying,
    /// Who we are in a handshake; without, there is none.
    identity: Option<Arc<DtlsIdentity>>,
    /// Whether our last description speaks of a handshake.
    speaks_of_handshake: bool,
    /// Of the handshake that was agreed on last.
    terms: Option<DtlsTerms>,
}

/// Where the exchange stands; the head draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Settled,
    Offered { offered: Direction, before: Direction },
    Answered { offered: Direction },
}

/// One `m=` line of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// Ours, with the transport's name as the peer writes it.
    Audio { proto: String },
    /// Never used by us: port 0, the rest as the peer wrote it.
    Refused { media: String, proto: String, formats: String },
}

/// What our audio line says.
struct Ours<'a> {
    codecs: &'a [(Codec, u8)],
    /// Number and clock.
    telephone_events: Vec<(u8, u32)>,
    direction: Direction,
    rtcp_mux: bool,
    crypto: Vec<Crypto>,
    handshake: Option<setup::Ours>,
}

/// How an audio stream is encrypted; not at all where all of it is empty.
#[derive(Debug, Default)]
struct Secured {
    srtp: Option<SrtpKeys>,
    dtls: Option<DtlsTerms>,
    /// Our lines in the answer.
    crypto: Option<Crypto>,
    handshake: Option<setup::Ours>,
}

impl Negotiator {
    /// Nothing said yet. `session_id` goes into `o=` and should be unique on this machine.
    pub fn new(local: LocalMedia, session_id: u64) -> Self {
        Self {
            local,
            session_id,
            version: 0,
            last: String::new(),
            want: Direction::SendRecv,
            described: Direction::SendRecv,
            exchange: Exchange::Settled,
            lines: vec![Line::Audio { proto: String::from("RTP/AVP") }],
            codec: None,
            event_numbers: EVENT_NUMBERS,
            wants_mux: false,
            is_muxed: false,
            srtp: SrtpPolicy::Off,
            keys: Vec::new(),
            is_secure: None,
            crypto: Vec::new(),
            keying: SrtpKeying::Sdes,
            identity: None,
            speaks_of_handshake: false,
            terms: None,
        }
    }

    /// Whether the audio is encrypted, with a key for each suite that may be used, the preferred one first. They must be
    /// drawn for this session alone. To be said before the first description.
    pub fn protect(&mut self, policy: SrtpPolicy, keys: Vec<SrtpKey>) {
        self.srtp = policy;
        self.keys = keys;
        if policy == SrtpPolicy::Require {
            self.lines = vec![Line::Audio { proto: String::from("RTP/SAVP") }];
        }
    }

    /// Who we are where keys come from a handshake, and whether our own offers ask for one. To be said after [`Self::protect`].
    pub fn shake_hands(&mut self, identity: Arc<DtlsIdentity>, keying: SrtpKeying) {
        self.identity = Some(identity);
        self.keying = keying;
        if (self.srtp, keying) == (SrtpPolicy::Require, SrtpKeying::Dtls) {
            self.lines = vec![Line::Audio { proto: String::from("UDP/TLS/RTP/SAVP") }];
        }
    }

    /// Our offers say that RTCP may share the port of RTP (RFC 5761); answers say it wherever the offer did.
    pub fn want_mux(&mut self) {
        self.wants_mux = true;
    }

    /// A new session on the same port and with the same codecs, as nothing had been said: the far end comes back by another
    /// dialog.
    #[must_use]
    pub fn anew(&self, session_id: u64) -> Self {
        Self { wants_mux: self.wants_mux, ..Self::new(self.local.clone(), session_id) }
    }

    /// Our offer, first or again, wishing for `direction`. The version in `o=` rises only when the
    /// description differs from the one sent last (RFC 3264 §8).
    pub fn offer(&mut self, direction: Direction) -> Bytes {
        let before = match self.exchange {
            Exchange::Offered { before, .. } => before,
            Exchange::Settled | Exchange::Answered { .. } => self.want,
        };
        self.want = direction;
        self.exchange = Exchange::Offered { offered: direction, before };
        let agreed = self.codec.into_iter().filter(|codec| self.local.codecs.contains(codec));
        let others = self.local.codecs.iter().copied().filter(|codec| Some(*codec) != self.codec);
        let codecs: Vec<_> = agreed.chain(others).map(|codec| (codec, number_of(codec))).collect();
        self.part_numbers(&codecs);
        let spoken = |clock: &u32| codecs.iter().any(|(codec, _)| codec.clock_rate() == *clock);
        let events = self.event_numbers.into_iter().zip(EVENT_CLOCKS);
        let events = events.filter(|(_, clock)| self.local.telephone_event && spoken(clock));
        let telephone_events = events.collect();
        let handshake = self.offered_handshake();
        self.speaks_of_handshake = handshake.is_some();
        let crypto = if handshake.is_some() { Vec::new() } else { self.offered_crypto() };
        let rtcp_mux = self.offers_mux();
        self.describe(Ours { codecs: &codecs, telephone_events, direction, rtcp_mux, crypto, handshake })
    }

    /// The peer's offer, first or again, and the answer to it. Every `m=` line is answered in its place;
    /// those we cannot use get port 0.
    ///
    /// # Errors
    /// When no line can be used; the state is what it was before.
    pub fn handle_offer(&mut self, sdp: &[u8]) -> Result<(Negotiated, Bytes), SdpError> {
        match self.exchange {
            Exchange::Offered { .. } => return Err(SdpError::OfferPending),
            Exchange::Settled | Exchange::Answered { .. } => {}
        }
        let session = description::parse(sdp)?;
        let (index, stream, codec, number) = self.usable(&session)?;
        let event = stream.telephone_event(codec).filter(|_| self.local.telephone_event);
        let direction = stream.direction.reversed().and(self.want);
        let Secured { srtp, dtls, crypto, handshake } = self.secured(&stream)?;

        self.exchange = Exchange::Settled;
        self.codec = Some(codec);
        for (known, theirs) in self.event_numbers.iter_mut().zip(stream.telephone_events) {
            *known = theirs.unwrap_or(*known);
        }
        self.lines = session.medias.iter().map(Line::refused).collect();
        self.lines[index] = Line::Audio { proto: session.medias[index].proto.clone() };

        self.is_secure = Some(srtp.is_some() || dtls.is_some());
        self.terms.clone_from(&dtls);
        self.speaks_of_handshake = handshake.is_some();
        self.is_muxed = stream.rtcp_mux;
        let crypto = crypto.into_iter().collect();
        let telephone_events = event.into_iter().collect();
        let rtcp_mux = stream.rtcp_mux;
        let codecs = &[(codec, number)];
        let answer = self.describe(Ours { codecs, telephone_events, direction, rtcp_mux, crypto, handshake });
        let negotiated = Negotiated {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            rtcp_mux,
            codec,
            payload_type: number,
            alternate: None,
            telephone_event: event.map(|(number, _)| number),
            event_clock: event.map_or(8_000, |(_, clock)| clock),
            telephone_event_in: None,
            direction,
            ptime_ms: stream.ptime_ms,
            srtp,
            dtls,
        };
        Ok((negotiated, answer))
    }

    /// The peer's answer to our offer. A later answer to the same offer replaces the earlier one (a 183
    /// and then the 200, or another fork).
    ///
    /// # Errors
    /// When the answer cannot be used; the offer still waits then.
    pub fn handle_answer(&mut self, sdp: &[u8]) -> Result<Negotiated, SdpError> {
        let offered = match self.exchange {
            Exchange::Offered { offered, .. } | Exchange::Answered { offered } => offered,
            Exchange::Settled => return Err(SdpError::NoOffer),
        };
        let session = description::parse(sdp)?;
        let ours = self.lines.iter().position(|line| matches!(line, Line::Audio { .. })).unwrap_or_default();
        let counts = SdpError::LineCount { expected: self.lines.len(), found: session.medias.len() };
        let media = session.medias.get(ours).ok_or(counts)?;
        if media.port == 0 {
            return Err(SdpError::Refused);
        }
        let stream = description::stream(&session, media, self.local.address)?;
        let mut codecs = stream.codecs.iter().filter(|(codec, _)| self.local.codecs.contains(codec));
        let (codec, payload_type) = codecs.next().copied().ok_or(SdpError::NoCommonCodec)?;
        let alternate = codecs
            .next()
            .map(|(codec, payload_type)| Alternate { codec: *codec, payload_type: *payload_type });
        let event = stream.telephone_event(codec).filter(|_| self.local.telephone_event);
        let clock = event.map_or(8_000, |(_, clock)| clock);
        let mut events = self.event_numbers.into_iter().zip(EVENT_CLOCKS);
        let offered_event = events.find_map(|(number, known)| (known == clock).then_some(number));
        let Secured { srtp, dtls, .. } = self.confirmed(&stream)?;

        self.exchange = Exchange::Answered { offered };
        self.codec = Some(codec);
        self.is_secure = Some(srtp.is_some() || dtls.is_some());
        self.terms.clone_from(&dtls);
        // RFC 5761 §5.1.1: what an answer says that the offer did not means nothing.
        let rtcp_mux = stream.rtcp_mux && self.offers_mux();
        self.is_muxed = rtcp_mux;
        Ok(Negotiated {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            rtcp_mux,
            codec,
            payload_type,
            alternate,
            telephone_event: event.map(|(number, _)| number),
            event_clock: clock,
            telephone_event_in: event.and_then(|(number, _)| offered_event.filter(|ours| *ours != number)),
            direction: stream.direction.reversed().and(offered),
            ptime_ms: stream.ptime_ms,
            srtp,
            dtls,
        })
    }

    /// The peer's answer to our last description, which went out once more as it was, as an offer (a session timer's
    /// refresh).
    ///
    /// # Errors
    /// When the answer cannot be used; the state is what it was before.
    pub fn handle_repeated(&mut self, sdp: &[u8]) -> Result<Negotiated, SdpError> {
        match self.exchange {
            Exchange::Offered { .. } => Err(SdpError::OfferPending),
            Exchange::Answered { .. } => self.handle_answer(sdp),
            Exchange::Settled => {
                self.exchange = Exchange::Answered { offered: self.described };
                let answered = self.handle_answer(sdp);
                self.exchange = Exchange::Settled;
                answered
            }
        }
    }

    /// Our offer was refused: what was agreed before holds again.
    pub fn rollback(&mut self) {
        match self.exchange {
            Exchange::Offered { before, .. } => {
                self.want = before;
                self.exchange = Exchange::Settled;
            }
            Exchange::Settled | Exchange::Answered { .. } => {}
        }
    }

    /// What we wish from now on, without asking: it limits our answers. Send only to hold the peer, both
    /// to resume.
    pub fn want(&mut self, direction: Direction) {
        self.want = direction;
    }

    /// No two things in an offer have one number, whatever the peer has given its events before.
    fn part_numbers(&mut self, codecs: &[(Codec, u8)]) {
        let mut used: Vec<u8> = codecs.iter().map(|(_, number)| *number).collect();
        for number in &mut self.event_numbers {
            if used.contains(number) {
                let mut free = DYNAMIC.rev().filter(|free| !used.contains(free));
                *number = free.next().unwrap_or(*number);
            }
            used.push(*number);
        }
    }

    /// The first line that we can use, else why the first audio line cannot be.
    fn usable(&self, session: &Session) -> Result<(usize, Stream, Codec, u8), SdpError> {
        let mut fault = None;
        for (index, media) in session.medias.iter().enumerate() {
            if !description::is_audio(media) || media.port == 0 {
                continue;
            }
            match self.stream(session, media) {
                Ok((stream, codec, number)) => return Ok((index, stream, codec, number)),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        Err(fault.unwrap_or(SdpError::NoAudio))
    }

    /// The peer's preference decides (RFC 3264 §6.1), first among what is as wide as what we like best, narrow or wide.
    fn stream(&self, session: &Session, media: &Media) -> Result<(Stream, Codec, u8), SdpError> {
        let stream = description::stream(session, media, self.local.address)?;
        let likes_wide = self.local.codecs.first().is_some_and(|codec| codec.is_wide());
        let mut common = stream.codecs.iter().filter(|(codec, _)| self.local.codecs.contains(codec));
        let first = common.clone().next();
        let common = common.find(|(codec, _)| codec.is_wide() == likes_wide).or(first).copied();
        let (codec, number) = common.ok_or(SdpError::NoCommonCodec)?;
        self.secured(&stream)?;
        Ok((stream, codec, number))
    }

    /// What encrypts an offered stream, and our line in the answer: under the offered tag (RFC 4568 §5.1.2), or our part in the
    /// handshake.
    fn secured(&self, stream: &Stream) -> Result<Secured, SdpError> {
        match (self.srtp, stream.security) {
            (SrtpPolicy::Off, Security::Clear) => return Ok(Secured::default()),
            (SrtpPolicy::Off, Security::Srtp) => return Err(SdpError::Transport(Transport::Srtp)),
            (SrtpPolicy::Off, Security::DtlsSrtp) => return Err(SdpError::Transport(Transport::DtlsSrtp)),
            (SrtpPolicy::Prefer | SrtpPolicy::Require, _) => {}
        }
        let written = stream.crypto.iter().filter(|_| stream.security != Security::DtlsSrtp);
        let mut usable = written.filter_map(|theirs| Some((theirs, self.key(theirs.key.suite())?)));
        if let Some((theirs, ours)) = usable.next() {
            let srtp = Some(SrtpKeys { ours, theirs: theirs.key });
            let crypto = Some(Crypto { tag: theirs.tag, key: ours });
            return Ok(Secured { srtp, crypto, ..Secured::default() });
        }
        match (&self.identity, &stream.handshake) {
            (Some(identity), Some(handshake)) => {
                let accepted = handshake.accept(identity, self.terms.as_ref());
                let (dtls, handshake) = accepted.ok_or(SdpError::NoHandshake)?;
                Ok(Secured { dtls: Some(dtls), handshake: Some(handshake), ..Secured::default() })
            }
            (identity, _) => match (stream.security, self.srtp) {
                (Security::DtlsSrtp, _) if identity.is_none() => {
                    Err(SdpError::Transport(Transport::DtlsSrtp))
                }
                (Security::DtlsSrtp, _) => Err(SdpError::NoHandshake),
                (Security::Srtp, _) => Err(SdpError::NoCommonCrypto),
                (Security::Clear, SrtpPolicy::Require) => Err(SdpError::SrtpRequired),
                (Security::Clear, SrtpPolicy::Off | SrtpPolicy::Prefer) => Ok(Secured::default()),
            },
        }
    }

    /// What encrypts an answered stream: its one line repeats the tag and the suite of one of ours (RFC 4568 §5.1.3), or it
    /// takes its part in the handshake.
    fn confirmed(&self, stream: &Stream) -> Result<Secured, SdpError> {
        let identity = self.identity.as_ref().filter(|_| self.speaks_of_handshake);
        if let (Some(identity), Some(handshake)) = (identity, &stream.handshake) {
            let dtls = Some(handshake.confirm(identity).ok_or(SdpError::NoHandshake)?);
            return Ok(Secured { dtls, ..Secured::default() });
        }
        let chosen = stream.crypto.first();
        let ours = chosen.and_then(|theirs| {
            let fits = |ours: &&Crypto| ours.tag == theirs.tag && ours.key.suite() == theirs.key.suite();
            self.crypto.iter().find(fits).map(|ours| SrtpKeys { ours: ours.key, theirs: theirs.key })
        });
        match (ours, self.srtp, stream.security) {
            (Some(keys), _, _) => Ok(Secured { srtp: Some(keys), ..Secured::default() }),
            (None, SrtpPolicy::Off, Security::Srtp) => Err(SdpError::Transport(Transport::Srtp)),
            (None, SrtpPolicy::Off, Security::Clear) => Ok(Secured::default()),
            (None, _, Security::DtlsSrtp) if identity.is_some() => Err(SdpError::NoHandshake),
            (None, _, Security::DtlsSrtp) => Err(SdpError::Transport(Transport::DtlsSrtp)),
            (None, SrtpPolicy::Prefer, Security::Clear) if chosen.is_none() => Ok(Secured::default()),
            (None, SrtpPolicy::Prefer, _) => Err(SdpError::NoCommonCrypto),
            (None, SrtpPolicy::Require, _) if chosen.is_none() => Err(SdpError::SrtpRequired),
            (None, SrtpPolicy::Require, _) => Err(SdpError::NoCommonCrypto),
        }
    }

    /// Our part in a handshake, where an offer asks for one: as was agreed on before, else as we were told to. Whoever answers
    /// chooses, or leaves it as it is (RFC 8842 §5.2).
    fn offered_handshake(&self) -> Option<setup::Ours> {
        let is_by_description = self.is_secure == Some(true) && self.terms.is_none();
        let asks = self.terms.is_some() || (self.keying == SrtpKeying::Dtls && !is_by_description);
        let identity = self.identity.as_ref().filter(|_| asks && self.offers_keys())?;
        Some(setup::Ours { setup: Setup::ActPass, fingerprint: identity.fingerprint() })
    }

    /// Unless encryption is off or was not agreed on before.
    fn offers_keys(&self) -> bool {
        match self.srtp {
            SrtpPolicy::Off => false,
            SrtpPolicy::Prefer => self.is_secure != Some(false),
            SrtpPolicy::Require => true,
        }
    }

    /// A key for each suite.
    fn offered_crypto(&self) -> Vec<Crypto> {
        let keys = self.keys.iter().filter(|_| self.offers_keys());
        (1..).zip(keys).map(|(tag, key)| Crypto { tag, key: *key }).collect()
    }

    fn offers_mux(&self) -> bool {
        self.wants_mux || self.is_muxed || self.speaks_of_handshake
    }

    fn key(&self, suite: SrtpSuite) -> Option<SrtpKey> {
        self.keys.iter().copied().find(|key| key.suite() == suite)
    }

    /// Writes the whole description; a new version if it says anything new.
    fn describe(&mut self, ours: Ours<'_>) -> Bytes {
        let family = if self.local.address.is_ipv4() { "IP4" } else { "IP6" };
        let address = self.local.address;
        self.described = ours.direction;
        let mut body = format!("s=-\r\nc=IN {family} {address}\r\nt=0 0\r\n");
        for line in &self.lines {
            line.write(&mut body, &self.local, &ours);
        }
        self.crypto = ours.crypto;
        if body != self.last {
            self.version += 1;
            self.last = body;
        }
        let origin = format!("v=0\r\no=- {} {} IN {family} {address}\r\n", self.session_id, self.version);
        Bytes::from(origin + &self.last)
    }
}

impl Line {
    fn refused(media: &Media) -> Self {
        Self::Refused { media: media.media.clone(), proto: media.proto.clone(), formats: media.fmt.clone() }
    }

    /// Writing into a string cannot fail, hence the results left alone.
    fn write(&self, body: &mut String, local: &LocalMedia, ours: &Ours<'_>) {
        let proto = match self {
            Self::Audio { proto } => proto,
            Self::Refused { media, proto, formats } => {
                let _ = write!(body, "m={media} 0 {proto} {formats}\r\n");
                return;
            }
        };
        let _ = write!(body, "m=audio {} {proto}", local.port);
        let numbers = ours
            .codecs
            .iter()
            .map(|(_, number)| *number)
            .chain(ours.telephone_events.iter().map(|(number, _)| *number));
        for number in numbers {
            let _ = write!(body, " {number}");
        }
        body.push_str("\r\n");
        for (codec, number) in ours.codecs {
            let _ = write!(body, "a=rtpmap:{number} {}/{}", codec.name(), codec.clock_rate());
            match codec.channels() {
                1 => body.push_str("\r\n"),
                channels => {
                    let _ = write!(body, "/{channels}\r\n");
                }
            }
            if let Some(parameters) = codec.parameters() {
                let _ = write!(body, "a=fmtp:{number} {parameters}\r\n");
            }
        }
        for (number, clock) in &ours.telephone_events {
            let _ = write!(body, "a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-15\r\n");
        }
        ours.crypto.iter().for_each(|crypto| crypto.write(body));
        if let Some(handshake) = ours.handshake {
            handshake.write(body);
        }
        if ours.rtcp_mux {
            body.push_str("a=rtcp-mux\r\n");
        }
        let _ = write!(body, "a=ptime:{}\r\na={}\r\n", local.ptime_ms, ours.direction.attribute());
    }
}

/// The number under which we offer a codec.
fn number_of(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}
