//! A network that may do anything to a datagram but forge it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// How bad it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    pub(crate) slowest: Duration,
}

impl Weather {
    /// From fair to foul.
    pub(crate) fn random(chance: &mut StdRng) -> Self {
        let loss = [0.0, 0.0, 0.05, 0.2][chance.random_range(0..4)];
        let duplication = [0.0, 0.05, 0.2][chance.random_range(0..3)];
        Self { loss, duplication, slowest: Duration::from_millis(chance.random_range(2..400)) }
    }
}

/// Things that happen later, in the order of their time; at one time, in the order in which they were caused.
pub(crate) struct Later<T> {
    queue: BinaryHeap<Reverse<Entry<T>>>,
    caused: u64,
}

struct Entry<T> {
    at: Instant,
    order: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self { queue: BinaryHeap::new(), caused: 0 }
    }
}

impl<T> Later<T> {
    pub(crate) fn at(&mut self, at: Instant, what: T) {
        self.caused += 1;
        self.queue.push(Reverse(Entry { at, order: self.caused, what }));
    }

    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn take_due(&mut self, now: Instant) -> Option<T> {
        if self.next_time()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry.what)
    }
}

/// When the copies of one datagram arrive: none, one or two of them.
pub(crate) fn arrivals(weather: Weather, now: Instant, chance: &mut StdRng) -> Vec<Instant> {
    let mut copies = Vec::new();
    if !chance.random_bool(weather.loss) {
        copies.push(now + weather.slowest.mul_f64(chance.random()));
    }
    if chance.random_bool(weather.duplication) {
        copies.push(now + weather.slowest.mul_f64(chance.random()));
    }
    copies
}
