//! SRTP between the socket and everything else of a session.

use super::Discard;
use crate::{SrtpError, SrtpKeys, SrtpReceiver, SrtpSender};

/// The longest datagram that is opened; beyond an Ethernet frame nothing that we take can be.
pub(super) const DATAGRAM_MAX: usize = 1_500;

/// Both directions of a leg that is encrypted, or was.
#[derive(Debug)]
pub(super) struct Protection {
    keys: SrtpKeys,
    /// Kept while both sides agreed to go on in clear: were it made anew with its key, a keystream would be used twice.
    is_on: bool,
    sender: SrtpSender,
    receiver: SrtpReceiver,
}

impl Protection {
    pub(super) fn new(keys: SrtpKeys) -> Self {
        let (sender, receiver) = (SrtpSender::new(&keys.ours), SrtpReceiver::new(&keys.theirs));
        Self { keys, is_on: true, sender, receiver }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Both sides agreed anew; what keeps its key goes on as it was.
    pub(super) fn renegotiate(&mut self, keys: Option<SrtpKeys>) {
        self.is_on = keys.is_some();
        let Some(keys) = keys else { return };
        if keys.ours != self.keys.ours {
            self.sender.rekey(&keys.ours);
        }
        if keys.theirs != self.keys.theirs {
            self.receiver.rekey(&keys.theirs);
        }
        self.keys = keys;
    }

    /// The RTP packet in `datagram`, opened into `room`.
    pub(super) fn open_rtp<'a>(&mut self, datagram: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Discard> {
        let packet = copy(datagram, room)?;
        let length = self.receiver.unprotect_rtp(packet).map_err(discard)?;
        Ok(&packet[..length])
    }

    /// The RTCP packet in `datagram`, opened into `room`.
    pub(super) fn open_rtcp<'a>(&mut self, datagram: &[u8], room: &'a mut [u8]) -> Result<&'a [u8], Discard> {
        let packet = copy(datagram, room)?;
        let length = self.receiver.unprotect_rtcp(packet).map_err(discard)?;
        Ok(&packet[..length])
    }

    /// Protects the RTP packet in the first `length` bytes; nothing when it must not be sent.
    pub(super) fn close_rtp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.sender.protect_rtp(buffer, length).ok()
    }

    /// Protects the RTCP packet in the first `length` bytes; nothing when it must not be sent.
    pub(super) fn close_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.sender.protect_rtcp(buffer, length).ok()
    }
}

fn copy<'a>(datagram: &[u8], room: &'a mut [u8]) -> Result<&'a mut [u8], Discard> {
    let packet = room.get_mut(..datagram.len()).ok_or(Discard::TooLarge)?;
    packet.copy_from_slice(datagram);
    Ok(packet)
}

fn discard(error: SrtpError) -> Discard {
    match error {
        SrtpError::Forged => Discard::Forged,
        SrtpError::Replayed => Discard::Duplicate,
        SrtpError::Malformed
        | SrtpError::NoRoom
        | SrtpError::Reused
        | SrtpError::OtherSsrc
        | SrtpError::Exhausted => Discard::Malformed,
    }
}
