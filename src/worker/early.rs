//! What an engine says before its leg has a session: kept, so that a greeting sent with `accept` is heard with the
//! first packet after the answer.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use media::{AudioFormat, Playout, PushError, SegmentId, TooManyMarks};

/// Bytes of audio that are kept; what does not fit is refused as by a full play-out.
const AUDIO: usize = 256 << 10;

/// Orders that are kept.
const ORDERS: usize = 512;

/// Audio and orders in the order they came.
#[derive(Debug, Default)]
pub(super) struct Early {
    audio: Vec<u8>,
    orders: Vec<Order>,
}

#[derive(Debug)]
enum Order {
    Push { segment: SegmentId, format: AudioFormat, from: usize, to: usize },
    Mark { name: String },
    Finish { segment: SegmentId },
    Pause,
    Resume,
}

impl Early {
    /// As [`Playout::push`].
    pub(super) fn push(
        &mut self,
        segment: SegmentId,
        format: AudioFormat,
        audio: &[u8],
    ) -> Result<(), PushError> {
        let free = AUDIO - self.audio.len();
        if audio.len() > free || self.orders.len() == ORDERS {
            let samples_a_ms = format.rate().hertz() as usize / 1_000;
            let free_ms = free / (samples_a_ms * format.bytes_per_sample());
            return Err(PushError::Full { free_ms: u32::try_from(free_ms).unwrap_or(u32::MAX) });
        }
        let from = self.audio.len();
        self.audio.extend_from_slice(audio);
        self.orders.push(Order::Push { segment, format, from, to: self.audio.len() });
        Ok(())
    }

    /// As [`Playout::mark`], for all that came before.
    pub(super) fn mark(&mut self, name: &str) -> Result<(), TooManyMarks> {
        if self.orders.len() == ORDERS || name.len() > AUDIO / ORDERS {
            return Err(TooManyMarks);
        }
        self.orders.push(Order::Mark { name: name.to_owned() });
        Ok(())
    }

    /// As [`Playout::finish`].
    pub(super) fn finish(&mut self, segment: SegmentId) {
        self.keep(Order::Finish { segment });
    }

    /// As [`Playout::pause`].
    pub(super) fn pause(&mut self) {
        self.keep(Order::Pause);
    }

    /// As [`Playout::resume`].
    pub(super) fn resume(&mut self) {
        self.keep(Order::Resume);
    }

    /// Does all of it, and keeps nothing.
    pub(super) fn pour_into(&mut self, playout: &mut Playout) {
        let Self { audio, orders } = std::mem::take(self);
        for order in orders {
            match order {
                // A fresh play-out holds ten minutes and a thousand marks, more than was kept.
                Order::Push { segment, format, from, to } => {
                    let _ = playout.push(segment, format, &audio[from..to]);
                }
                Order::Mark { name } => {
                    let _ = playout.mark(None, &name);
                }
                Order::Finish { segment } => playout.finish(segment),
                Order::Pause => playout.pause(),
                Order::Resume => playout.resume(),
            }
        }
    }

    /// What a full list does not take has no effect; only a misbehaving engine gets there.
    fn keep(&mut self, order: Order) {
        if self.orders.len() < ORDERS {
            self.orders.push(order);
        }
    }
}
