//! Protects what one side sends.

use super::cipher::Cipher;
use super::derivation::Protocol;
use super::{SrtpError, SrtpKey, rtcp_ssrc, rtp_header};

/// RFC 3711 §9.2: the last index of SRTP.
const LAST_INDEX: u64 = (1 << 48) - 1;

/// RFC 3711 §3.4: the last index of SRTCP.
const LAST_REPORT: u32 = (1 << 31) - 1;

/// One master key's owner: protects its RTP and RTCP, of one SSRC.
///
/// The first sequence number should be below 2^15, so that a receiver that loses the beginning cannot mistake the
/// rollover counter (RFC 3711 §3.3.1).
pub struct SrtpSender {
    rtp: Cipher,
    rtcp: Cipher,
    /// The SSRC, and the index of the newest packet.
    newest: Option<(u32, u64)>,
    next_report: u32,
}

impl SrtpSender {
    /// Nothing sent yet.
    pub fn new(key: &SrtpKey) -> Self {
        Self {
            rtp: Cipher::new(key, Protocol::Rtp),
            rtcp: Cipher::new(key, Protocol::Rtcp),
            newest: None,
            // As others do; RFC 3711 §3.4 sets no first one but says that it rises before it is used.
            next_report: 1,
        }
    }

    /// Another master key from the next packet on. The rollover counter goes on (RFC 3711 §3.3.1).
    pub fn rekey(&mut self, key: &SrtpKey) {
        self.rtp = Cipher::new(key, Protocol::Rtp);
        self.rtcp = Cipher::new(key, Protocol::Rtcp);
    }

    /// Protects the RTP packet in the first `length` bytes of `buffer` and answers how long it became: at most
    /// [`super::SRTP_OVERHEAD`] bytes longer.
    ///
    /// # Errors
    /// When nothing may be sent; what is in the buffer then means nothing.
    #[inline]
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let header = rtp_header(buffer.get(..length).ok_or(SrtpError::Malformed)?)?;
        let index = match self.newest {
            None => u64::from(header.sequence),
            Some((ssrc, _)) if ssrc != header.ssrc => return Err(SrtpError::OtherSsrc),
            Some((_, newest)) => match header.sequence.wrapping_sub(newest as u16) {
                0 | 0x8000.. => return Err(SrtpError::Reused),
                further => newest + u64::from(further),
            },
        };
        if index > LAST_INDEX {
            return Err(SrtpError::Exhausted);
        }
        let protected = self.rtp.seal_rtp(buffer, length, header, index)?;
        self.newest = Some((header.ssrc, index));
        Ok(protected)
    }

    /// Protects the compound RTCP packet in the first `length` bytes of `buffer` and answers how long it became: at most
    /// [`super::SRTCP_OVERHEAD`] bytes longer.
    ///
    /// # Errors
    /// When nothing may be sent; what is in the buffer then means nothing.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buffer.get(..length).ok_or(SrtpError::Malformed)?)?;
        if self.next_report > LAST_REPORT {
            return Err(SrtpError::Exhausted);
        }
        let protected = self.rtcp.seal_rtcp(buffer, length, ssrc, self.next_report)?;
        self.next_report += 1;
        Ok(protected)
    }
}

impl std::fmt::Debug for SrtpSender {
    /// Without its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpSender")
            .field("newest", &self.newest)
            .field("next_report", &self.next_report)
            .finish_non_exhaustive()
    }
}
