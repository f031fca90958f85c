//! One audio line of the peer's description, read as far as we need it (RFC 8866 §5.7, §5.14, §6).
//!
//! Reading is lenient where no harm can follow: unknown lines and attributes are skipped, text in another
//! character set is tolerated, `bundle`, ICE and candidates are ignored. What decides where audio goes is strict.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, ParserError, Session};

use super::crypto::Crypto;
use super::setup::Offered;
use super::{AddressFault, Direction, SdpError, Transport};
use crate::Codec;

/// The longest description we read.
const MAX_LENGTH: usize = 64 * 1_024;

/// The most media lines.
const MAX_MEDIA: usize = 32;

/// The clocks that telephone events may have: those of the codecs.
pub(super) const EVENT_CLOCKS: [u32; 2] = [8_000, 48_000];

/// An audio line that we could use.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: SocketAddr,
    /// Whether RTCP may share the port of RTP.
    pub(super) rtcp_mux: bool,
    /// As the peer sees it. An address of zeros means that it does not receive (RFC 3264 §8.4).
    pub(super) direction: Direction,
    /// In the peer's order, without doubles.
    pub(super) codecs: Vec<(Codec, u8)>,
    /// Numbers of telephone events, by [`EVENT_CLOCKS`].
    pub(super) telephone_events: [Option<u8>; 2],
    pub(super) ptime_ms: u16,
    pub(super) security: Security,
    /// Usable keys, in the peer's order; some peers write them beside plain RTP.
    pub(super) crypto: Vec<Crypto>,
    /// What it says of a handshake; likewise.
    pub(super) handshake: Option<Offered>,
}

/// What an audio line's transport is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// RTP/AVP
    Clear,
    /// RTP/SAVP
    Srtp,
    /// UDP/TLS/RTP/SAVP
    DtlsSrtp,
}

/// Parses a description as a whole.
pub(super) fn parse(sdp: &[u8]) -> Result<Session, SdpError> {
    if sdp.len() > MAX_LENGTH {
        return Err(SdpError::TooLong { limit: MAX_LENGTH });
    }
    // Some stacks count the C string's end into the body's length.
    let end = sdp.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let sdp = &sdp[..end];
    let parsed = match std::str::from_utf8(sdp) {
        Ok(_) => Session::parse(sdp),
        // A name in Latin-1 is no reason to lose a call, and nothing we use has such letters.
        Err(_) => {
            let ascii: Vec<u8> = sdp.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
            Session::parse(&ascii)
        }
    };
    let session = parsed.map_err(|error| SdpError::Malformed { line: line_of(&error) })?;
    if session.medias.len() > MAX_MEDIA {
        return Err(SdpError::TooManyMedia { limit: MAX_MEDIA });
    }
    Ok(session)
}

/// Whether this line is about audio at all.
pub(super) fn is_audio(media: &Media) -> bool {
    media.media.eq_ignore_ascii_case("audio")
}

impl Stream {
    /// The number and the clock of telephone events beside a codec: with its own clock, else with the one that all know.
    pub(super) fn telephone_event(&self, codec: Codec) -> Option<(u8, u32)> {
        let of = |clock: u32| {
            let place = EVENT_CLOCKS.iter().position(|known| *known == clock)?;
            Some((self.telephone_events[place]?, clock))
        };
        of(codec.clock_rate()).or_else(|| of(EVENT_CLOCKS[0]))
    }
}

/// Reads one audio line that is switched on.
pub(super) fn stream(session: &Session, media: &Media, local: IpAddr) -> Result<Stream, SdpError> {
    let security = security(&media.proto)?;
    let connection = media.connections.first().or(session.connection.as_ref());
    // RFC 5118 §4.9: an IPv4 address may be written as an IPv6 one.
    let address = address(connection).map_err(SdpError::Address)?.to_canonical();
    let mut direction = direction(&media.attributes)
        .or_else(|| direction(&session.attributes))
        .unwrap_or(Direction::SendRecv);
    if address.is_unspecified() {
        direction = direction.and(Direction::SendOnly);
    } else if address.is_ipv4() != local.is_ipv4() {
        return Err(SdpError::Address(AddressFault::OtherFamily));
    }
    let formats = Formats::read(media);
    if formats.codecs.is_empty() {
        return Err(SdpError::NoCommonCodec);
    }
    let ptime = value(&media.attributes, "ptime").and_then(|value| value.trim().parse().ok());
    Ok(Stream {
        rtp: SocketAddr::new(address, media.port),
        rtcp: rtcp(media, address),
        rtcp_mux: media
            .attributes
            .iter()
            .any(|attribute| attribute.attribute.eq_ignore_ascii_case("rtcp-mux")),
        direction,
        codecs: formats.codecs,
        telephone_events: formats.telephone_events,
        ptime_ms: ptime.filter(|ptime| *ptime > 0).unwrap_or(20),
        security,
        crypto: Crypto::read(&media.attributes),
        handshake: Offered::read(&media.attributes, &session.attributes),
    })
}

/// What the numbers of an `m=` line mean, as far as we speak it.
struct Formats {
    codecs: Vec<(Codec, u8)>,
    telephone_events: [Option<u8>; 2],
}

impl Formats {
    /// One pass over the attributes and one over the formats, however long the peer made them.
    fn read(media: &Media) -> Self {
        let mut maps: [Option<&str>; 128] = [None; 128];
        let mut parameters: [Option<&str>; 128] = [None; 128];
        for attribute in &media.attributes {
            let table = if attribute.attribute.eq_ignore_ascii_case("rtpmap") {
                &mut maps
            } else if attribute.attribute.eq_ignore_ascii_case("fmtp") {
                &mut parameters
            } else {
                continue;
            };
            let Some((number, rest)) = attribute.value.as_deref().and_then(|value| {
                let value = value.trim_start();
                value.split_once(|letter: char| letter.is_ascii_whitespace())
            }) else {
                continue;
            };
            let slot = number.parse::<usize>().ok().and_then(|number| table.get_mut(number));
            if let Some(slot) = slot {
                slot.get_or_insert(rest.trim());
            }
        }
        let mut formats = Self { codecs: Vec::new(), telephone_events: [None; 2] };
        let numbers = media.fmt.split_ascii_whitespace().filter_map(|format| format.parse::<u8>().ok());
        for number in numbers.filter(|number| *number < 128) {
            let slot = usize::from(number);
            let codec = match maps[slot] {
                Some(map) => Encoding::parse(map),
                None => Codec::from_static(number).map(Encoding::Audio),
            };
            match codec {
                Some(Encoding::Audio(codec)) if formats.codecs.iter().all(|(known, _)| *known != codec) => {
                    formats.codecs.push((codec, number));
                }
                Some(Encoding::TelephoneEvent { clock }) if formats.telephone_events[clock].is_none() => {
                    formats.telephone_events[clock] = Some(number).filter(|_| has_digits(parameters[slot]));
                }
                Some(Encoding::Audio(_) | Encoding::TelephoneEvent { .. }) | None => {}
            }
        }
        formats
    }
}

enum Encoding {
    Audio(Codec),
    TelephoneEvent {
        /// Its place in [`EVENT_CLOCKS`].
        clock: usize,
    },
}

impl Encoding {
    /// `name/clock[/channels]`; more channels than a codec of ours has are nothing we speak.
    fn parse(map: &str) -> Option<Self> {
        let mut parts = map.split('/').map(str::trim);
        let name = parts.next()?;
        let clock: u32 = parts.next()?.parse().ok()?;
        let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
        if name.eq_ignore_ascii_case("telephone-event") {
            let clock = EVENT_CLOCKS.iter().position(|known| *known == clock && channels == 1)?;
            return Some(Self::TelephoneEvent { clock });
        }
        Codec::from_rtpmap(name, clock, channels).map(Self::Audio)
    }
}

/// Whether an `a=fmtp` of telephone events (RFC 4733 §2.4.1: `0-15,66`) names any DTMF digit. Without
/// parameters it means 0-15.
fn has_digits(parameters: Option<&str>) -> bool {
    let Some(parameters) = parameters else { return true };
    // Some peers write `events=0-15`, after a form that never became the standard.
    let events = parameters.trim_start_matches("events=");
    events.split(',').any(|range| {
        let first = range.split('-').next().unwrap_or_default();
        first.trim().parse::<u8>().is_ok_and(|event| event < 16)
    })
}

fn security(proto: &str) -> Result<Security, SdpError> {
    let is = |name: &str| proto.eq_ignore_ascii_case(name);
    if is("RTP/AVP") || is("RTP/AVPF") {
        Ok(Security::Clear)
    } else if is("RTP/SAVP") || is("RTP/SAVPF") {
        Ok(Security::Srtp)
    } else if is("UDP/TLS/RTP/SAVP") || is("UDP/TLS/RTP/SAVPF") {
        Ok(Security::DtlsSrtp)
    } else {
        Err(SdpError::Transport(Transport::Unknown))
    }
}

fn address(connection: Option<&Connection>) -> Result<IpAddr, AddressFault> {
    let connection = connection.ok_or(AddressFault::Missing)?;
    let text = connection.connection_address.split('/').next().unwrap_or_default();
    // Some stacks write IPv6 here as they would in a URI.
    let text = text.trim_matches(['[', ']']);
    let address: IpAddr = text.parse().map_err(|_| AddressFault::NotAnIpAddress)?;
    let address = address.to_canonical();
    if address.is_multicast() {
        return Err(AddressFault::Multicast);
    }
    Ok(address)
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .filter(|attribute| attribute.value.is_none())
        .find_map(|attribute| Direction::from_attribute(attribute.attribute.trim()))
}

/// RFC 3605, `a=rtcp:port [IN IP4 address]`, else the next port; 0 after the last one.
fn rtcp(media: &Media, address: IpAddr) -> SocketAddr {
    let next = SocketAddr::new(address, media.port.checked_add(1).unwrap_or(0));
    let Some(value) = value(&media.attributes, "rtcp") else { return next };
    let mut parts = value.split_ascii_whitespace();
    let Some(port) = parts.next().and_then(|port| port.parse().ok()) else { return next };
    let own: Option<IpAddr> = parts.nth(2).and_then(|own| own.parse().ok());
    SocketAddr::new(own.filter(|own| !own.is_multicast()).unwrap_or(address), port)
}

pub(super) fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| attribute.attribute.eq_ignore_ascii_case(name))
        .and_then(|attribute| attribute.value.as_deref())
}

#[expect(deprecated, reason = "the match names every case, also those that no longer happen")]
fn line_of(error: &ParserError) -> usize {
    match error {
        ParserError::UnexpectedLine(line, _)
        | ParserError::InvalidLineFormat(line, _)
        | ParserError::InvalidFieldEncoding(line, _)
        | ParserError::InvalidFieldFormat(line, _)
        | ParserError::MissingField(line, _)
        | ParserError::FieldTrailingData(line, _)
        | ParserError::InvalidVersion(line, _)
        | ParserError::MultipleVersions(line)
        | ParserError::MultipleOrigins(line)
        | ParserError::MultipleSessionNames(line)
        | ParserError::MultipleSessionDescription(line)
        | ParserError::MultipleUris(line)
        | ParserError::MultipleConnections(line)
        | ParserError::MultipleTimeZones(line)
        | ParserError::MultipleMediaTitles(line)
        | ParserError::MultipleKeys(line)
        | ParserError::RepeatWithoutTime(line) => *line,
        ParserError::NoVersion => 1,
        ParserError::NoOrigin | ParserError::NoSessionName => 0,
    }
}
