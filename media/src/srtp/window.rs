//! Which packets were opened already, and which index a sequence number means: RFC 3711 §3.3.1, §3.3.2, appendix A.

use super::SrtpError;

/// How many packets back a replay can be told from a latecomer.
const WIDTH: u64 = 64;

/// The most streams that are remembered at once. Only who has the key can make one.
const STREAMS: usize = 16;

/// What was opened of one stream: the highest index, and the 64 up to it as bits, the lowest bit for the highest index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Window {
    highest: Option<u64>,
    seen: u64,
}

impl Window {
    /// The index that `sequence` most probably means: the nearest one to the highest so far. Nothing when that was before
    /// the stream's beginning.
    pub(super) fn guess(&self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(sequence)) };
        let distance = sequence.wrapping_sub(highest as u16).cast_signed();
        highest.checked_add_signed(i64::from(distance))
    }

    /// Whether a packet of this index may still be opened.
    ///
    /// # Errors
    /// When it was opened already, or is too old to tell.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        let Some(back) = self.highest.and_then(|highest| highest.checked_sub(index)) else { return Ok(()) };
        if back >= WIDTH || self.seen >> back & 1 == 1 { Err(SrtpError::Replayed) } else { Ok(()) }
    }

    /// A packet of this index was opened.
    pub(super) fn mark(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {
                self.seen |= 1_u64.checked_shl((highest - index) as u32).unwrap_or(0);
            }
            Some(highest) => {
                let shift = u32::try_from(index - highest).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
                self.highest = Some(index);
            }
            None => (self.highest, self.seen) = (Some(index), 1),
        }
    }

    /// With a new key nothing was opened yet, but the indexes count on (RFC 3711 §3.3.1).
    fn forget_seen(&mut self) {
        self.seen = 0;
    }
}

/// The streams of one receiver. When one more begins than there is room for, the one silent for longest is forgotten.
#[derive(Debug)]
pub(super) struct Streams {
    /// The one heard last stands last.
    streams: Vec<(u32, Window)>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { streams: Vec::with_capacity(STREAMS) }
    }

    /// What is known of a stream; nothing yet of a new one.
    #[inline]
    pub(super) fn window(&self, ssrc: u32) -> Window {
        let known = self.streams.iter().rev().find(|(known, _)| *known == ssrc);
        known.map(|(_, window)| *window).unwrap_or_default()
    }

    /// A packet of a stream was found authentic.
    #[inline]
    pub(super) fn mark(&mut self, ssrc: u32, index: u64) {
        let last = self.streams.len().wrapping_sub(1);
        match self.streams.iter().rposition(|(known, _)| *known == ssrc) {
            Some(at) if at == last => {}
            Some(at) => self.streams[at..].rotate_left(1),
            None => {
                if self.streams.len() == STREAMS {
                    self.streams.remove(0);
                }
                self.streams.push((ssrc, Window::default()));
            }
        }
        if let Some((_, window)) = self.streams.last_mut() {
            window.mark(index);
        }
    }

    pub(super) fn forget_seen(&mut self) {
        self.streams.iter_mut().for_each(|(_, window)| window.forget_seen());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_opened_once_and_not_when_64_newer_ones_were() {
        let mut window = Window::default();
        window.mark(1_000);

        assert_eq!(window.check(1_000), Err(SrtpError::Replayed));
        assert_eq!(window.check(937), Ok(()));
        assert_eq!(window.check(936), Err(SrtpError::Replayed));
        window.mark(937);
        assert_eq!(window.check(937), Err(SrtpError::Replayed));
        assert_eq!(window.check(938), Ok(()));
        window.mark(1_000 + 64);
        assert_eq!(window.check(1_000), Err(SrtpError::Replayed));
        assert_eq!(window.check(1_001), Ok(()));
        window.mark(u64::from(u32::MAX) * 4);
        assert_eq!(window.check(1_064), Err(SrtpError::Replayed));
    }

    /// RFC 3711 appendix A, on both sides of every border.
    #[test]
    fn the_guess_is_the_nearest_index() {
        for (highest, sequence, index) in [
            (0x0_0005, 0x0004, Some(0x0_0004)),
            (0x0_FFFF, 0x0000, Some(0x1_0000)),
            (0x1_0000, 0xFFFF, Some(0x0_FFFF)),
            (0x1_0000, 0x7FFF, Some(0x1_7FFF)),
            (0x1_7FFF, 0x0000, Some(0x1_0000)),
            (0x1_FFFE, 0x7FFD, Some(0x2_7FFD)),
            (0x0_0005, 0xFFF0, None),
        ] {
            let window = Window { highest: Some(highest), seen: 1 };

            assert_eq!(window.guess(sequence), index, "{sequence:04X} after {highest:X}");
        }
    }

    #[test]
    fn the_stream_silent_for_longest_is_forgotten() {
        let mut streams = Streams::new();
        for ssrc in 0..STREAMS as u32 {
            streams.mark(ssrc, 7);
        }
        streams.mark(0, 8);
        streams.mark(99, 1);

        assert_eq!(streams.window(0).check(8), Err(SrtpError::Replayed));
        assert_eq!(streams.window(1), Window::default());
        assert_eq!(streams.window(2).check(7), Err(SrtpError::Replayed));
        assert_eq!(streams.window(99).check(1), Err(SrtpError::Replayed));
        assert_eq!(streams.streams.len(), STREAMS);
    }
}
