//! What the load's frames carry instead of speech: PCMU passes the edge untouched, so a frame can tell at its other end who
//! sent it and when.
//!
//! ```text
//!    0        4       8         12         16            24            160
//!   +--------+-------+---------+----------+-------------+-------------+
//!   | magic  | flow  | window  | sequence | sent, ns    | silence     |
//!   +--------+-------+---------+----------+-------------+-------------+
//! ```
//! 24 bytes are 32 letters of base64, so a dialect that wraps audio in text needs no more than those.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// Bytes of a stamp.
pub(super) const LENGTH: usize = 24;
/// Bytes of a frame: 20 ms of PCMU.
pub(super) const FRAME: usize = media::SAMPLES_PER_BEAT;

/// No comfort noise looks like this.
const MAGIC: [u8; 4] = [0x02, 0xFD, 0x04, 0xFB];

/// One frame's stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Who sent it.
    pub(super) flow: u32,
    /// Within which measurement; 0 for none.
    pub(super) window: u32,
    /// Counts the frames of a flow and window from 0.
    pub(super) sequence: u32,
    /// When, nanoseconds of the wall clock.
    pub(super) sent: u64,
}

impl Stamp {
    /// Writes it to the beginning of a frame.
    pub(super) fn write(self, frame: &mut [u8]) {
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..8].copy_from_slice(&self.flow.to_be_bytes());
        frame[8..12].copy_from_slice(&self.window.to_be_bytes());
        frame[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        frame[16..LENGTH].copy_from_slice(&self.sent.to_be_bytes());
    }

    /// Reads it; nothing where the frame is not one of the load's.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let stamp: &[u8; LENGTH] = frame.first_chunk()?;
        let number = |at: usize| {
            let [a, b, c, d] = [stamp[at], stamp[at + 1], stamp[at + 2], stamp[at + 3]];
            u32::from_be_bytes([a, b, c, d])
        };
        (stamp[..4] == MAGIC).then(|| Self {
            flow: number(4),
            window: number(8),
            sequence: number(12),
            sent: u64::from(number(16)) << 32 | u64::from(number(20)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_as_it_was_written_and_silence_is_none() {
        let stamp = Stamp { flow: 7, window: 2, sequence: u32::MAX, sent: 0x0102_0304_0506_0708 };
        let mut frame = [media::g711::ULAW_SILENCE; FRAME];
        assert_eq!(Stamp::read(&frame), None);

        stamp.write(&mut frame);

        assert_eq!(Stamp::read(&frame), Some(stamp));
        assert_eq!(Stamp::read(&frame[..LENGTH - 1]), None);
    }
}
