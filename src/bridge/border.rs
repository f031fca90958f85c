//! A leg's audio on its way to an engine, resampled where their rates differ.
//!
//! The other way nothing is done here: what an engine says goes to the play-out of the leg as the engine said it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use bytes::{BufMut, BytesMut};
use media::{AudioFormat, Transcoder};

use super::said::Heard;
use crate::call::FIRST_LEG;

/// One conversation's tracks: each leg has a filter of its own.
#[derive(Debug)]
pub(super) struct Border {
    first: Transcoder,
    second: Transcoder,
}

impl Border {
    /// To an engine that hears `format`.
    pub(super) fn new(format: AudioFormat) -> Self {
        Self { first: Transcoder::new(format), second: Transcoder::new(format) }
    }

    /// What the engine hears.
    pub(super) fn format(&self) -> AudioFormat {
        self.first.target()
    }

    /// Writes a leg's audio as the engine hears it.
    pub(super) fn outward(&mut self, heard: &Heard<'_>, buffer: &mut BytesMut) {
        let track = if heard.leg == FIRST_LEG { &mut self.first } else { &mut self.second };
        track.feed(heard.format, heard.payload, |piece| buffer.put_slice(piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::LegId;
    use media::SampleRate;
    use std::time::Instant;

    const NARROW: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };
    const WIDE: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz16000 };

    #[test]
    fn audio_of_the_engines_format_is_passed_on_bit_by_bit() {
        let mut border = Border::new(AudioFormat::Pcmu);
        let mut up = BytesMut::new();

        border.outward(&heard(FIRST_LEG, AudioFormat::Pcmu, &[1, 2, 3]), &mut up);

        assert_eq!(up[..], [1, 2, 3]);
    }

    /// An assistant hears two legs, a frame of each in turn.
    #[test]
    fn a_silent_track_stays_silent_beside_a_loud_one() {
        let mut border = Border::new(WIDE);
        let loud: Vec<u8> = 20_000_i16.to_le_bytes().repeat(160);
        let (mut first, mut second) = (BytesMut::new(), BytesMut::new());

        for _ in 0..10 {
            border.outward(&heard(FIRST_LEG, NARROW, &loud), &mut first);
            border.outward(&heard(LegId(1), NARROW, &[0; 320]), &mut second);
        }

        assert_eq!((first.len(), second.len()), (6_400, 6_400));
        assert!(second.iter().all(|byte| *byte == 0));
        let last = i16::from_le_bytes([first[6_398], first[6_399]]);
        assert!((last - 20_000).abs() < 200, "{last}");
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn heard(leg: LegId, format: AudioFormat, payload: &[u8]) -> Heard<'_> {
        Heard {
            leg,
            format,
            payload,
            media_time: 0,
            captured: Instant::now(),
            discontinuity: false,
            concealed: false,
        }
    }
}
