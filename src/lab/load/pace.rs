//! Who sends when: every flow once in 20 ms, the flows spread over the 20 ms as those of strangers would be.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

use media::BEAT;

/// How often the load looks up from its sleep.
pub(super) const TICK: Duration = Duration::from_micros(250);
/// Ticks in a beat.
pub(super) const SLOTS: usize = (BEAT.as_micros() / TICK.as_micros()) as usize;

/// Steps between the slots of two flows that follow each other: shares no divisor with [`SLOTS`], so that every so many
/// flows fill all slots alike.
const STRIDE: usize = 31;

/// The flows of one direction, by number.
#[derive(Debug)]
pub(super) struct Pace {
    slots: [Vec<usize>; SLOTS],
    added: usize,
}

impl Pace {
    /// Nobody sends.
    pub(super) fn new() -> Self {
        Self { slots: [const { Vec::new() }; SLOTS], added: 0 }
    }

    /// From now on `flow` sends.
    pub(super) fn add(&mut self, flow: usize) {
        self.slots[self.added * STRIDE % SLOTS].push(flow);
        self.added += 1;
    }

    /// `flow` sends no more.
    pub(super) fn remove(&mut self, flow: usize) {
        for slot in &mut self.slots {
            slot.retain(|sending| *sending != flow);
        }
    }

    /// The `place`th flow of those that send in `slot`.
    pub(super) fn flow(&self, slot: usize, place: usize) -> Option<usize> {
        self.slots[slot].get(place).copied()
    }

    /// How many send in `slot`.
    pub(super) fn flows(&self, slot: usize) -> usize {
        self.slots[slot].len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_spread_evenly_and_each_sends_once_in_a_beat() {
        let mut pace = Pace::new();
        (0..200).for_each(|flow| pace.add(flow));

        let sizes: Vec<usize> = (0..SLOTS).map(|slot| pace.flows(slot)).collect();
        assert!(sizes.iter().all(|size| (2..=3).contains(size)), "{sizes:?}");
        let mut flows: Vec<usize> = (0..SLOTS)
            .flat_map(|slot| {
                (0..pace.flows(slot)).filter_map(|place| pace.flow(slot, place)).collect::<Vec<_>>()
            })
            .collect();
        flows.sort_unstable();
        assert_eq!(flows, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn who_left_sends_no_more() {
        let mut pace = Pace::new();
        (0..3).for_each(|flow| pace.add(flow));

        pace.remove(1);

        assert_eq!((0..SLOTS).map(|slot| pace.flows(slot)).sum::<usize>(), 2);
    }
}
