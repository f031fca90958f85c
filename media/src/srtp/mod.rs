//! SRTP and SRTCP, in place: RFC 3711, and RFC 7714 for AES-GCM.
//!
//! ```text
//!   SRTP   | RTP header | payload, encrypted | tag |
//!
//!   SRTCP  | header, SSRC | reports, encrypted | E, index | tag |     HMAC-SHA1
//!          | header, SSRC | reports, encrypted | tag | E, index |     AES-GCM
//! ```
//!
//! A [`SrtpSender`] protects what one side sends, a [`SrtpReceiver`] opens what it receives; each has one master key,
//! from which its session keys are derived once. Who says which key is none of their business: that is SDES
//! (RFC 4568). Left out: master key identifiers, a key derivation rate, F8, and encrypted header extensions (RFC 6904).

mod cipher;
mod derivation;
mod receiver;
mod sender;
mod suite;
mod window;

pub use receiver::SrtpReceiver;
pub use sender::SrtpSender;
pub use suite::{SrtpKey, SrtpSuite, WrongKeyLength};

/// The most bytes that protection adds to an RTP packet.
pub const SRTP_OVERHEAD: usize = 16;

/// The most bytes that protection adds to an RTCP packet.
pub const SRTCP_OVERHEAD: usize = 16 + INDEX_LENGTH;

/// The E flag and the index behind an SRTCP packet (RFC 3711 §3.4).
const INDEX_LENGTH: usize = 4;

/// The part of an RTCP packet that stays clear: its first header and the sender's SSRC.
const RTCP_HEADER: usize = 8;

/// What one packet can suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Too short, or its lengths lie.
    #[error("malformed packet")]
    Malformed,
    /// Its tag is not one that the key's owner made.
    #[error("the authentication tag does not match")]
    Forged,
    /// Opened before, or older than the window of 64 packets.
    #[error("replayed, or too old to tell")]
    Replayed,
    /// The buffer has no room for what protection adds.
    #[error("no room for the authentication tag")]
    NoRoom,
    /// The sender's sequence number was used already: one keystream would protect two packets.
    #[error("the sequence number was used already")]
    Reused,
    /// A sender protects one SSRC for as long as it lives.
    #[error("another SSRC than that of the first packet")]
    OtherSsrc,
    /// All indexes of this key are used (RFC 3711 §9.2).
    #[error("the key is used up")]
    Exhausted,
}

/// Where the payload of an RTP packet begins: RFC 3550 §5.1 and §5.3.1.
fn rtp_header(packet: &[u8]) -> Result<Header, SrtpError> {
    let fixed: &[u8; 12] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    if fixed[0] >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    let mut length = 12 + 4 * usize::from(fixed[0] & 0x0F);
    if fixed[0] & 0x10 != 0 {
        let extension: &[u8; 4] =
            packet.get(length..).and_then(<[u8]>::first_chunk).ok_or(SrtpError::Malformed)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
    }
    if packet.len() < length {
        return Err(SrtpError::Malformed);
    }
    let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
    let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
    Ok(Header { length, sequence, ssrc })
}

/// What protection needs to know of an RTP packet.
#[derive(Debug, Clone, Copy)]
struct Header {
    length: usize,
    sequence: u16,
    ssrc: u32,
}

/// Whose RTCP packet this is.
fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let header: &[u8; RTCP_HEADER] = packet.first_chunk().ok_or(SrtpError::Malformed)?;
    if header[0] >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    Ok(u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

#[cfg(test)]
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| letter.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
