//! Speech made longer or shorter by one of its periods, so that nobody notices.
//!
//! ```text
//!   shorter:   |---- one period ----|---- the next ----| rest   ->   one blended into the next | rest
//!   longer:    .. past | what comes next                        ->   past | next blended into the last period | what comes next
//! ```
//! Periods need not be of a voice: whatever is most like itself a little later joins without a jump.

/// Lengths are samples at 8,000 Hz; a higher rate has as many times more. Periods: 2.5 to 15 ms.
const SHORTEST: usize = 20;
const LONGEST: usize = 120;

/// What is compared, and blended at most.
const COMPARED: usize = 80;

/// How alike two pieces have to be, unless both are quieter than [`QUIET`] in the mean.
const LIKE: f32 = 0.55;
const QUIET: f32 = 150.0;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Only where nobody notices.
    Whenever,
    /// Even where it is heard: the alternative is a gap.
    Now,
}

/// Takes one period, of at most `most` samples, off the beginning of `speech`; answers how many samples `speech` begins
/// later: its first samples are then no longer part of it.
pub(super) fn shorten(speech: &mut [i16], most: usize, scale: usize, need: Need) -> Option<usize> {
    let longest = (scale * LONGEST).min(most).min(speech.len() / 2);
    let (period, likeness) = best(scale * SHORTEST..=longest, |period| {
        let compared = (scale * COMPARED).min(speech.len() - period);
        likeness(&speech[..compared], &speech[period..period + compared])
    })?;
    if need == Need::Whenever && likeness < LIKE {
        return None;
    }
    let (first, second) = speech.split_at_mut(period);
    for (at, (first, second)) in first.iter().zip(second).enumerate() {
        *second = blended(*first, *second, at, period);
    }
    Some(period)
}

/// Fills the beginning of `more` with one period, of at most `most` samples, to be played between `past` and `next`;
/// answers its length.
pub(super) fn lengthen(
    past: &[i16],
    next: &[i16],
    most: usize,
    scale: usize,
    need: Need,
    more: &mut [i16],
) -> Option<usize> {
    let longest = (scale * LONGEST).min(most).min(past.len()).min(more.len());
    if next.len() < scale * SHORTEST / 2 {
        return None;
    }
    let (period, likeness) = best(scale * SHORTEST..=longest, |period| {
        let compared = (scale * COMPARED).min(next.len()).min(period);
        let begin = past.len() - period;
        likeness(&next[..compared], &past[begin..begin + compared])
    })?;
    if need == Need::Whenever && likeness < LIKE {
        return None;
    }
    let repeated = &past[past.len() - period..];
    let blend = period.min(next.len());
    for (at, (more, repeated)) in more.iter_mut().zip(repeated).enumerate() {
        *more = match next.get(at) {
            Some(next) => blended(*next, *repeated, at, blend),
            None => *repeated,
        };
    }
    Some(period)
}

/// Every other period is tried, then those around the best.
fn best(periods: std::ops::RangeInclusive<usize>, like: impl Fn(usize) -> f32) -> Option<(usize, f32)> {
    let better = |best: (usize, f32), period: usize| {
        let likeness = like(period);
        if likeness >= best.1 { (period, likeness) } else { best }
    };
    let first = Some(*periods.start()).filter(|_| !periods.is_empty())?;
    let coarse = periods.clone().step_by(2).fold((first, f32::MIN), better);
    let around = [coarse.0 - 1, coarse.0 + 1].into_iter().filter(|period| periods.contains(period));
    Some(
        around.fold(coarse, |best, period| if like(period) > best.1 { (period, like(period)) } else { best }),
    )
}

/// 1 for pieces of the same shape; quiet ones count as such, whatever their shape.
fn likeness(one: &[i16], other: &[i16]) -> f32 {
    let (mut products, mut ones, mut others) = ([0.0_f32; 8], [0.0_f32; 8], [0.0_f32; 8]);
    for (one, other) in one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0) {
        for lane in 0..8 {
            let (one, other) = (f32::from(one[lane]), f32::from(other[lane]));
            products[lane] += one * other;
            ones[lane] += one * one;
            others[lane] += other * other;
        }
    }
    let (ones, others): (f32, f32) = (ones.iter().sum(), others.iter().sum());
    let quiet = QUIET * QUIET * one.len() as f32;
    if ones < quiet && others < quiet {
        return 1.0;
    }
    products.iter().sum::<f32>() / (ones * others).sqrt().max(1.0)
}

fn blended(from: i16, to: i16, at: usize, length: usize) -> i16 {
    let share = (at as f32 + 0.5) / length as f32;
    (f32::from(from) * (1.0 - share) + f32::from(to) * share).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_loses_or_gains_whole_periods_without_a_jump() {
        let said = voice(1_000);
        let steepest =
            |samples: &[i16]| samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();

        let mut shorter = said.clone();
        let taken = shorten(&mut shorter[500..], 120, 1, Need::Whenever).unwrap();
        shorter.drain(500..500 + taken);
        let mut more = [0; 120];
        let given = lengthen(&said[..500], &said[500..], 120, 1, Need::Whenever, &mut more).unwrap();
        let longer = [&said[..500], &more[..given], &said[500..]].concat();

        for (length, changed) in [(taken, shorter), (given, longer)] {
            // 64 samples are a period.
            assert!((62..=66).contains(&length), "{length}");
            assert!(
                steepest(&changed) <= steepest(&said) + 200,
                "{} {}",
                steepest(&changed),
                steepest(&said)
            );
            assert_eq!(changed[..500], said[..500]);
            assert_eq!(changed[changed.len() - 300..], said[700..]);
        }
    }

    #[test]
    fn what_is_like_nothing_is_left_alone_unless_there_is_need() {
        let mut seed = 1_u32;
        let noise: Vec<i16> = (0..400)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed.cast_signed() >> 19) as i16
            })
            .collect();
        let mut more = [0; 120];

        assert_eq!(shorten(&mut noise.clone(), 120, 1, Need::Whenever), None);
        assert_eq!(lengthen(&noise, &noise, 120, 1, Need::Whenever, &mut more), None);
        assert!(shorten(&mut noise.clone(), 120, 1, Need::Now).is_some());
        assert!(lengthen(&noise, &noise, 120, 1, Need::Now, &mut more).is_some());
    }

    #[test]
    fn silence_is_taken_and_given_as_much_as_there_is_use_for() {
        let mut more = [1; 120];

        assert_eq!(shorten(&mut [3; 400], 100, 1, Need::Whenever), Some(100));
        assert_eq!(shorten(&mut [3; 100], 100, 1, Need::Whenever), Some(50));
        assert_eq!(lengthen(&[3; 200], &[3; 200], 90, 1, Need::Whenever, &mut more), Some(90));
        assert_eq!(more[..90], [3; 90]);
    }

    #[test]
    fn too_little_is_left_as_it_is() {
        let mut more = [0; 120];

        assert_eq!(shorten(&mut [0; 30], 100, 1, Need::Now), None);
        assert_eq!(shorten(&mut [0; 400], 10, 1, Need::Now), None);
        assert_eq!(lengthen(&[0; 120], &[0; 4], 100, 1, Need::Now, &mut more), None);
        assert_eq!(lengthen(&[0; 120], &[], 100, 1, Need::Now, &mut more), None);
    }

    /// Harmonics of 125 Hz.
    fn voice(length: u32) -> Vec<i16> {
        let at = |at: u32| f64::from(at) * std::f64::consts::TAU / 64.0;
        let wave = |phase: f64| {
            (1..12).map(|order| (phase * f64::from(order)).cos() / f64::from(order)).sum::<f64>()
        };
        (0..length).map(|index| (3_000.0 * wave(at(index))) as i16).collect()
    }
}
