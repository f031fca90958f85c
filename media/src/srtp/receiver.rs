//! Opens what the peer sent.

use super::cipher::Cipher;
use super::derivation::Protocol;
use super::window::Streams;
use super::{SrtpError, SrtpKey, rtcp_ssrc, rtp_header};

/// Opens RTP and RTCP that the owner of one master key sent, of up to 16 streams at once.
///
/// A forged packet changes nothing here: a stream begins, its rollover counter rises, and an index counts as used only with
/// a packet whose tag is right.
pub struct SrtpReceiver {
    rtp: Cipher,
    rtcp: Cipher,
    streams: Streams,
    reports: Streams,
}

impl SrtpReceiver {
    /// Nothing received yet.
    pub fn new(key: &SrtpKey) -> Self {
        Self {
            rtp: Cipher::new(key, Protocol::Rtp),
            rtcp: Cipher::new(key, Protocol::Rtcp),
            streams: Streams::new(),
            reports: Streams::new(),
        }
    }

    /// The peer has another master key from now on. The rollover counters go on (RFC 3711 §3.3.1).
    pub fn rekey(&mut self, key: &SrtpKey) {
        self.rtp = Cipher::new(key, Protocol::Rtp);
        self.rtcp = Cipher::new(key, Protocol::Rtcp);
        self.streams.forget_seen();
        self.reports.forget_seen();
    }

    /// Opens an SRTP packet in place and answers how long its RTP packet is.
    ///
    /// # Errors
    /// Why it is none of the peer's, or not again; what is left in `packet` then means nothing.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let header = rtp_header(packet)?;
        let window = self.streams.window(header.ssrc);
        let index = window.guess(header.sequence).ok_or(SrtpError::Replayed)?;
        window.check(index)?;
        let length = self.rtp.open_rtp(packet, header, index)?;
        self.streams.mark(header.ssrc, index);
        Ok(length)
    }

    /// Opens an SRTCP packet in place and answers how long its RTCP packet is.
    ///
    /// # Errors
    /// Why it is none of the peer's, or not again; what is left in `packet` then means nothing.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.rtcp.rtcp_index(packet)?;
        self.reports.window(ssrc).check(u64::from(index))?;
        let length = self.rtcp.open_rtcp(packet, ssrc, index)?;
        self.reports.mark(ssrc, u64::from(index));
        Ok(length)
    }
}

impl std::fmt::Debug for SrtpReceiver {
    /// Without its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpReceiver")
            .field("streams", &self.streams)
            .field("reports", &self.reports)
            .finish_non_exhaustive()
    }
}
