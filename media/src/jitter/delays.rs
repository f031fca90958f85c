//! How long packets are under way, and how long play-out has to lag behind them.
//!
//! ```text
//!   transit    arrival by our clock less media time: an unknown offset and the packet's time under way
//!   floor      the least transit of the last ten seconds; follows the drift of clocks
//!   excess     transit less floor, counted in buckets of 1 ms that forget in a quarter of a minute
//!   lag        floor + the excess that costs least: every millisecond of it costs one, every hundredth of
//!              the packets that comes later costs [`LATE`]
//! ```
//! When even the fastest packet of the last 0.6 s is far above the floor, the route has changed: the floor is
//! where packets are now. A floor that falls is believed at once. What was counted is the network's unrest and stays
//! valid; the packets in between count for neither.

/// All times in microseconds.
pub(super) type Micros = i64;

const BUCKET: Micros = 1_000;
const BUCKETS: usize = 1_280;

/// Milliseconds of lag that one packet of a hundred is worth, and what share of it one that was overtaken: the gap that
/// it leaves is guessed from both sides.
const LATE: f32 = 70.0;
const OVERTAKEN: f32 = 0.24;

/// How much the packets before weigh, one packet later.
const MEMORY: f32 = 1.0 - 1.0 / 600.0;

/// A bucket with less than this share of all is empty.
const NOTHING: f32 = 2e-4;

/// The floor is sought in so many pieces of half a second.
const PIECES: usize = 20;
const PIECE: Micros = 500_000;

/// Packets that wait before they are counted, since the route may just be changing.
const WAITING: usize = 30;

/// Until so many packets are counted, none waits.
const FEW: u32 = 100;

/// Another route is at least so much slower or faster.
const ANOTHER: Micros = 15_000;

/// The excess that is expected of a network not heard of yet, and how many packets' worth: it is
/// forgotten after some seconds without anything like it.
const EXPECTED: Micros = 6_000;
const EXPECTED_WEIGHT: f32 = 0.04;

/// Packets whose fastest says that all of them are slow, and what the next one may take longer.
const NEWEST: usize = 5;
const RISING: Micros = 4_000;

/// The share of packets that are later than usual, how far beyond them the best lag is where a network stalls, and how much
/// later than usual a packet of a stall is.
const USUAL: f32 = 0.1;
const STALL: Micros = 25_000;
const OVERDUE: Micros = 6_000;
const STALL_MOST: Micros = 400_000;

/// A transit that differs by so much belongs to another clock.
const RESTART: Micros = 2_000_000;

/// See the head.
#[derive(Debug, Clone)]
pub(super) struct Delays {
    /// The least transit of each piece, and when the newest piece began.
    least: [Micros; PIECES],
    piece: Micros,
    floor: Micros,
    buckets: Box<[f32; BUCKETS]>,
    /// What one packet weighs now; grows, so that those before weigh less.
    weight: f32,
    total: f32,
    /// The highest bucket that is not empty.
    top: usize,
    counted: u32,
    /// Transits of the newest packets and what share of a late one they are worth, and how many of them are still to be counted.
    newest: [(Micros, f32); WAITING],
    next: usize,
    waiting: usize,
    excess: Micros,
    usual: Micros,
    /// The least transit of the newest few packets.
    fastest: Micros,
}

impl Default for Delays {
    fn default() -> Self {
        let mut buckets = Box::new([0.0; BUCKETS]);
        let expected = (EXPECTED / BUCKET) as usize;
        buckets[expected] = EXPECTED_WEIGHT;
        Self {
            least: [Micros::MAX; PIECES],
            piece: 0,
            floor: Micros::MAX,
            buckets,
            weight: 1.0,
            total: EXPECTED_WEIGHT,
            top: expected,
            counted: 0,
            newest: [(0, 0.0); WAITING],
            next: 0,
            waiting: 0,
            excess: EXPECTED,
            usual: EXPECTED,
            fastest: Micros::MIN,
        }
    }
}

impl Delays {
    /// A packet came. Only the first copy of it counts.
    pub(super) fn arrived(&mut self, at: Micros, transit: Micros, overtaken: bool) {
        self.follow(at, transit);
        if self.waiting == WAITING || (self.waiting > 0 && self.counted < FEW) {
            let oldest = (self.next + WAITING - self.waiting) % WAITING;
            self.waiting -= 1;
            let (transit, worth) = self.newest[oldest];
            self.count(transit - self.floor, worth);
        }
        self.newest[self.next] = (transit, if overtaken { OVERTAKEN } else { 1.0 });
        self.next = (self.next + 1) % WAITING;
        self.waiting += 1;
        if self.waiting == WAITING {
            let fastest = self.newest.iter().map(|(transit, _)| *transit).min().unwrap_or(transit);
            if fastest > self.floor + ANOTHER {
                self.least = [Micros::MAX; PIECES];
                self.least[0] = fastest;
                self.floor = fastest;
                self.waiting = 0;
            }
        }
        let newest = (1..=NEWEST).map(|back| self.newest[(self.next + WAITING - back) % WAITING].0);
        self.fastest = if self.waiting < NEWEST { Micros::MIN } else { newest.min().unwrap_or(Micros::MIN) };
        (self.excess, self.usual) = self.cheapest();
    }

    /// What play-out lags behind the media time, at best.
    pub(super) fn lag(&self) -> Micros {
        (self.floor + self.excess).max(self.fastest.saturating_add(RISING))
    }

    /// Whether the newest packets are where packets were before: if all of them are slow, the route may have changed.
    pub(super) fn is_settled(&self) -> bool {
        self.fastest < self.floor + ANOTHER
    }

    /// Whether a packet that would come now with this transit is part of a stall: later than nearly all, in a network that
    /// is known to stall.
    pub(super) fn is_stall(&self, transit: Micros) -> bool {
        self.excess > self.usual + STALL && transit > self.floor + self.usual + OVERDUE
    }

    /// Twice as far behind the floor as any packet that is remembered, at most [`STALL_MOST`] farther: no stall is waited
    /// for any longer.
    pub(super) fn patience(&self) -> Micros {
        let latest = (self.top + 1) as Micros * BUCKET;
        self.floor + latest + latest.min(STALL_MOST)
    }

    fn follow(&mut self, at: Micros, transit: Micros) {
        if self.floor == Micros::MAX {
            (self.floor, self.piece) = (transit, at);
        }
        if (transit - self.floor).abs() > RESTART {
            self.least = [Micros::MAX; PIECES];
            self.waiting = 0;
        } else if transit < self.floor - ANOTHER {
            self.waiting = 0;
        }
        // After a long silence all pieces are old; then only this packet counts.
        let passed = ((at - self.piece) / PIECE).clamp(0, PIECES as Micros) as usize;
        if passed > 0 {
            self.least.rotate_right(passed % PIECES);
            self.least[..passed].fill(Micros::MAX);
            self.piece += passed as Micros * PIECE;
            if at - self.piece >= PIECE {
                self.piece = at;
            }
        }
        self.least[0] = self.least[0].min(transit);
        self.floor = self.least.iter().copied().min().unwrap_or(transit);
    }

    fn count(&mut self, excess: Micros, worth: f32) {
        let bucket = ((excess.max(0) / BUCKET) as usize).min(BUCKETS - 1);
        self.buckets[bucket] += worth * self.weight;
        self.total += self.weight;
        self.top = self.top.max(bucket);
        self.counted = self.counted.saturating_add(1);
        self.weight /= MEMORY;
        if self.weight > 1e6 {
            let scale = 1.0 / self.weight;
            for bucket in self.buckets.iter_mut() {
                *bucket *= scale;
            }
            self.total *= scale;
            self.weight = 1.0;
        }
        // The total forgets by growing with the weight of the newest.
        while self.top > 0 && self.buckets[self.top] < NOTHING * self.total {
            self.total -= self.buckets[self.top];
            self.buckets[self.top] = 0.0;
            self.top -= 1;
        }
    }

    /// The excess that costs least, and the one that all but a tenth of the packets stay below.
    fn cheapest(&self) -> (Micros, Micros) {
        let milliseconds = |bucket: usize| (bucket + 1) as f32 * (BUCKET / 1_000) as f32;
        let (mut later, mut best, mut least, mut usual) = (0.0, self.top, f32::MAX, self.top);
        for bucket in (0..=self.top).rev() {
            let cost = milliseconds(bucket) + LATE * 100.0 * later / self.total;
            if cost < least {
                (best, least) = (bucket, cost);
            }
            if later < USUAL * self.total {
                usual = bucket;
            }
            later += self.buckets[bucket];
        }
        // One bucket more, since the next packet may be the latest so far.
        ((best + 2) as Micros * BUCKET, (usual + 1) as Micros * BUCKET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one transit more than usual leads to.
    fn lag_after(count: i64, transit: impl Fn(i64) -> Micros) -> Micros {
        let mut delays = Delays::default();
        for index in 0..count {
            delays.arrived(index * 20_000 + transit(index), transit(index), false);
        }
        delays.lag()
    }

    #[test]
    fn the_lag_covers_what_is_usual_and_little_more() {
        let lag = lag_after(1_000, |index| 700_000 + index % 10 * 1_000);

        assert!((709_000..=712_000).contains(&lag), "{lag}");
    }

    #[test]
    fn rare_packets_that_are_very_late_are_given_up_and_frequent_ones_are_waited_for() {
        let rare = lag_after(2_000, |index| if index % 1_999 == 1_500 { 300_000 } else { 5_000 });
        let frequent = lag_after(2_000, |index| if index % 50 == 0 { 60_000 } else { 5_000 });

        assert!(rare < 20_000, "{rare}");
        assert!((60_000..=64_000).contains(&frequent), "{frequent}");
    }

    #[test]
    fn another_route_is_the_new_floor_after_half_a_second_and_a_faster_one_at_once() {
        let slower = lag_after(540, |index| if index < 500 { 0 } else { 90_000 } + index % 5 * 1_000);
        let faster = lag_after(502, |index| if index < 500 { 90_000 } else { 0 } + index % 5 * 1_000);

        assert!((94_000..=97_000).contains(&slower), "{slower}");
        assert!((4_000..=7_000).contains(&faster), "{faster}");
    }

    #[test]
    fn a_stall_is_known_only_where_there_were_some_before() {
        let mut delays = Delays::default();
        for index in 0..1_000 {
            let transit = if index % 100 < 3 { 80_000 - index % 100 * 20_000 } else { 3_000 };
            delays.arrived(index * 20_000 + transit, transit, false);
        }

        assert!(delays.is_stall(40_000) && !delays.is_stall(4_000));
        assert!(!Delays::default().is_stall(40_000));
        assert!(delays.patience() >= 150_000, "{}", delays.patience());
    }
}
