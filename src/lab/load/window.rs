//! What is counted while a measurement runs. A frame belongs to the window that was open when it was sent, however late it
//! comes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::time::Duration;

use super::latency::Latency;
use super::stamp::Stamp;

/// Frames in one direction.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Sent.
    pub sent: u64,
    /// Of these, those that came, each counted once.
    pub received: u64,
    /// Came a second time, or after a later one.
    pub disordered: u64,
    /// From before it was sent until the kernel had it for the receiver.
    pub latency: Latency,
}

impl Way {
    /// Sent and never seen again.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// One measurement.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// From the caller to the engine.
    pub up: Way,
    /// From the engine to the caller.
    pub down: Way,
    /// From INVITE to 200.
    pub set_up: Latency,
    /// Calls placed.
    pub placed: u64,
    /// How late the load itself was with what it sent.
    pub late: Latency,
    /// Frames that the load did not send because it was too late for them.
    pub skipped: u64,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// The window that is open, and the one that frames may still come for.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// Of the window frames are counted for; 0 before the first.
    number: u32,
    sending: bool,
    pub(super) window: Window,
}

/// One flow's end that sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    flow: u32,
    window: u32,
    next: u32,
}

/// One flow's end that receives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Receiver {
    flow: u32,
    window: u32,
    next: u32,
}

impl Counting {
    /// Counts anew.
    pub(super) fn open(&mut self) {
        self.number += 1;
        self.sending = true;
        self.window = Window::default();
    }

    /// What is sent from now on does not count; what is under way does.
    pub(super) fn close(&mut self) {
        self.sending = false;
    }

    /// The sum.
    pub(super) fn take(&mut self) -> Window {
        std::mem::take(&mut self.window)
    }

    pub(super) fn trouble(&mut self, what: impl Into<String>) {
        *self.window.troubles.entry(what.into()).or_default() += 1;
    }
}

impl Sender {
    pub(super) fn new(flow: usize) -> Self {
        Self { flow: flow as u32, window: 0, next: 0 }
    }

    /// The stamp of a frame that is sent at `sent`, counted for `way`.
    pub(super) fn stamp(
        &mut self,
        sent: u64,
        counting: &mut Counting,
        way: fn(&mut Window) -> &mut Way,
    ) -> Stamp {
        let window = if counting.sending { counting.number } else { 0 };
        if self.window != window {
            (self.window, self.next) = (window, 0);
        }
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        if window != 0 {
            way(&mut counting.window).sent += 1;
        }
        Stamp { flow: self.flow, window, sequence, sent }
    }
}

impl Receiver {
    /// Counts a frame that came at `arrived`.
    pub(super) fn take(
        &mut self,
        frame: &[u8],
        arrived: u64,
        counting: &mut Counting,
        way: fn(&mut Window) -> &mut Way,
    ) {
        let Some(stamp) = Stamp::read(frame).filter(|stamp| stamp.window != 0) else { return };
        if stamp.window != counting.number {
            return;
        }
        if (self.flow, self.window) != (stamp.flow, stamp.window) {
            *self = Self { flow: stamp.flow, window: stamp.window, next: 0 };
        }
        let way = way(&mut counting.window);
        if stamp.sequence < self.next {
            way.disordered += 1;
            return;
        }
        self.next = stamp.sequence + 1;
        way.received += 1;
        way.latency.count(Duration::from_nanos(arrived.saturating_sub(stamp.sent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::load::stamp::FRAME;

    fn up(window: &mut Window) -> &mut Way {
        &mut window.up
    }

    fn frame(stamp: Stamp) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        stamp.write(&mut frame);
        frame
    }

    #[test]
    fn what_is_sent_and_does_not_come_is_lost_and_what_comes_twice_is_not_counted_twice() {
        let mut counting = Counting::default();
        let (mut sender, mut receiver) = (Sender::new(3), Receiver::default());
        counting.open();
        let frames: Vec<_> = (0..4).map(|at| frame(sender.stamp(at * 100, &mut counting, up))).collect();

        for index in [0, 2, 2, 1] {
            receiver.take(&frames[index], 1000, &mut counting, up);
        }

        let way = counting.take().up;
        assert_eq!((way.sent, way.received, way.lost(), way.disordered), (4, 2, 2, 2));
        assert_eq!(way.latency.max(), Some(Duration::from_nanos(1000)));
    }

    #[test]
    fn a_frame_counts_for_the_window_it_was_sent_in() {
        let mut counting = Counting::default();
        let (mut sender, mut receiver) = (Sender::new(0), Receiver::default());
        let before = frame(sender.stamp(0, &mut counting, up));
        counting.open();
        let first = frame(sender.stamp(0, &mut counting, up));
        counting.close();
        let after = frame(sender.stamp(0, &mut counting, up));

        for frame in [before, first, after] {
            receiver.take(&frame, 5, &mut counting, up);
        }
        assert_eq!((counting.window.up.sent, counting.window.up.received), (1, 1), "late, but it came");

        counting.open();
        receiver.take(&first, 5, &mut counting, up);
        assert_eq!(counting.take().up.received, 0, "of a window that is over");
    }
}
