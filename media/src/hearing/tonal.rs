//! The pure tones of a spectrum, and how long they hold.
//!
//! A tone that the telephone network or a machine makes is one sine or two that hold their frequencies and their strength from
//! beginning to end. Voices and instruments waver, and have overtones.

use super::spectrum::{BIN_HZ, BINS};

/// Bins on each side of a peak that belong to it. Two tones 50 Hz apart are one peak, in their middle.
const REACH: usize = 3;

/// Below 280 Hz there is hum, and no tone of ours.
const LOWEST: usize = 9;

/// The two strongest tones of one frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tonal {
    /// In Hz; the stronger one first.
    pub(super) hz: [f32; 2],
    /// Powers of both.
    pub(super) power: [f32; 2],
    /// All there is.
    /// What of `power` is within a bin of the peaks.
    pub(super) core: f32,
    pub(super) total: f32,
}

impl Tonal {
    pub(super) fn of(power: &[f32; BINS]) -> Self {
        let mut sums = [0.0_f32; 4];
        for four in power[4..].chunks_exact(4) {
            for (sum, bin) in sums.iter_mut().zip(four) {
                *sum += bin;
            }
        }
        let total = sums.iter().sum::<f32>() + 1.0;
        let first = Self::peak(power, None);
        let second = Self::peak(power, Some(first.0));
        Self { hz: [first.1, second.1], power: [first.2, second.2], core: first.3 + second.3, total }
    }

    /// The strongest bin that is none of `taken`'s, its centre in Hz, its power.
    fn peak(power: &[f32; BINS], taken: Option<usize>) -> (usize, f32, f32, f32) {
        let last = BINS - REACH;
        let best = match taken {
            None => strongest(power, LOWEST..last),
            Some(taken) => {
                let below = strongest(power, LOWEST..(taken - REACH).max(LOWEST));
                let above = strongest(power, (taken + REACH + 1).min(last)..last);
                if power[above] > power[below] || below.abs_diff(taken) <= REACH { above } else { below }
            }
        };
        let around = best - REACH..=best + REACH;
        let (mut sum, mut moment) = (0.0, 0.0);
        for bin in around {
            if taken.is_some_and(|taken| bin.abs_diff(taken) <= REACH) {
                continue;
            }
            sum += power[bin];
            moment += power[bin] * bin as f32;
        }
        let core = power[best - 1] + power[best] + power[best + 1];
        (best, moment / sum.max(1e-9) * BIN_HZ, sum, core)
    }

    /// The share that both together have.
    pub(super) fn both(&self) -> f32 {
        (self.power[0] + self.power[1]) / self.total
    }

    pub(super) fn level_db(&self) -> f32 {
        10.0 * (self.power[0] + self.power[1] + 1.0).log10()
    }
}

/// The strongest bin of a range; its first when it is empty.
fn strongest(power: &[f32; BINS], range: std::ops::Range<usize>) -> usize {
    let first = range.start.min(BINS - REACH - 1);
    let bins = &power[range];
    let mut most = [0.0_f32; 8];
    let eights = bins.chunks_exact(8);
    let rest = eights.remainder();
    for eight in eights {
        for (most, bin) in most.iter_mut().zip(eight) {
            *most = if *bin > *most { *bin } else { *most };
        }
    }
    let most = most.iter().chain(rest).fold(0.0_f32, |most, bin| most.max(*bin));
    bins.iter().position(|bin| *bin >= most).map_or(first, |place| first + place)
}

/// Frames in a row that hold the same tones.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    pub(super) hz: [f32; 2],
    /// Frames before it.
    pub(super) start: u64,
    pub(super) frames: u32,
    pub(super) level_db: f32,
    pub(super) lowest_db: f32,
    pub(super) highest_db: f32,
    pub(super) purity: f32,
    /// The same within a bin of the peaks: overtones of a voice fill more.
    pub(super) core: f32,
    /// Bounds of the first frequency inside of the run.
    pub(super) lowest_hz: f32,
    pub(super) highest_hz: f32,
    last_hz: f32,
    /// All that was heard two frames before it.
    pub(super) before_db: f32,
}

impl Run {
    /// Whether one of its tones is this one.
    pub(super) fn near(&self, hz: f32) -> bool {
        self.hz.iter().any(|own| (own - hz).abs() < 15.0)
    }
}

/// Follows tones from frame to frame.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    share: f32,
    tolerance_hz: f32,
    pub(super) run: Option<Run>,
    /// What was heard in the last frames, the newest first.
    before: [f32; 3],
}

impl Runs {
    pub(super) fn new(share: f32, tolerance_hz: f32) -> Self {
        Self { share, tolerance_hz, run: None, before: [0.0; 3] }
    }

    /// The next frame; a run that ends with it is told.
    pub(super) fn frame(&mut self, at: u64, tonal: &Tonal) -> Option<Run> {
        let level = tonal.level_db();
        self.before = [10.0 * tonal.total.log10(), self.before[0], self.before[1]];
        let pure = tonal.both() >= self.share && level > 30.0;
        if let Some(run) = &mut self.run {
            let near = |hz: f32| tonal.hz.iter().any(|other| (other - hz).abs() <= self.tolerance_hz);
            let same = pure && near(run.hz[0]) && (run.level_db - level).abs() < 5.0;
            if same {
                run.frames += 1;
                let weight = 1.0 / run.frames.min(8) as f32;
                let (mut first, mut second) = (tonal.hz[0], tonal.hz[1]);
                if (first - run.hz[0]).abs() > (second - run.hz[0]).abs() {
                    std::mem::swap(&mut first, &mut second);
                }
                run.hz[0] += weight * (first - run.hz[0]);
                run.hz[1] += weight * (second - run.hz[1]);
                run.level_db += weight * (level - run.level_db);
                run.lowest_db = run.lowest_db.min(level);
                run.highest_db = run.highest_db.max(level);
                run.core += (tonal.core / tonal.total - run.core) / run.frames as f32;
                if run.frames == 3 {
                    (run.lowest_hz, run.highest_hz) = (run.last_hz, run.last_hz);
                } else if run.frames > 3 {
                    run.lowest_hz = run.lowest_hz.min(run.last_hz);
                    run.highest_hz = run.highest_hz.max(run.last_hz);
                }
                run.last_hz = first;
                run.purity += (tonal.both() - run.purity) / run.frames as f32;
                return None;
            }
        }
        let begun = pure.then(|| Run {
            hz: tonal.hz,
            start: at,
            frames: 1,
            level_db: level,
            lowest_db: level,
            highest_db: level,
            purity: tonal.both(),
            core: tonal.core / tonal.total,
            lowest_hz: tonal.hz[0],
            highest_hz: tonal.hz[0],
            last_hz: tonal.hz[0],
            before_db: self.before[2],
        });
        std::mem::replace(&mut self.run, begun)
    }
}
