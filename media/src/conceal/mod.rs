//! What is played where packets are missing.
//!
//! ```text
//!   past -+-> period -> last period's excitation, again and again, noise mixed in -> short predictor --> voice -+
//!         |                                                                                                    +-> ahead
//!         +-> long predictor, from its own predictions on --------------------------------------------> line --+
//!
//!   ... good | lost   lost  | good ...
//!   played:  | ahead, fading | ahead bends into what came, in step with it
//! ```
//! Two guesses at how the past goes on, added up half and half: where they agree they keep their level, where they do not,
//! nobody knows and less is better. The voice alone goes on after the line has faded. Nothing is delayed: what is lost
//! begins from the past's own state, and the first good samples after it are blended with the guess that still goes on.
//! Where the frame behind the gap is already here, [`Concealer::bridge`] guesses from both sides.

mod linear;

use crate::SampleRate;
use linear::{Workshop, next, product};

/// All lengths are samples at 8,000 Hz; a higher rate has as many times more.
const HISTORY: usize = 400;

/// Periods that are sought: 200 down to 57 Hz. A higher voice has several of its periods in one.
const PERIODS: std::ops::RangeInclusive<usize> = 40..=140;

/// The newest samples, which are compared with those a period before.
const COMPARED: usize = 56;

/// What the short predictor, of the mouth, and the long one, of mouth and voice, are made from.
const SHORT_WINDOW: usize = 160;
const LONG_WINDOW: usize = 320;
const SHORT_ORDER: usize = 16;
const LONG_ORDER: usize = 64;

/// The long predictor grows up to this with the rate: twice as many weights for 16,000 Hz.
const LONG_ORDER_MOST: usize = 128;

/// The one from behind a gap, which has less to be made from.
const BEHIND_ORDER: usize = 52;

/// The short predictor forgets a little with every sample it looks further back.
const FORGETS: f32 = 0.997;

/// Until when the line has its half, and from when on none.
const LINE_FULL: usize = 240;
const LINE_GONE: usize = 480;

/// What of the voice is left when there is no line.
const VOICE_ALONE: f32 = 0.75;

/// The guess stays as loud for 20 ms, then fades slowly until 100 ms and is gone at 240 ms.
const LOUD: usize = 160;
const SLOW: usize = 800;
const GONE: usize = 1_920;
const SLOW_END: f32 = 0.72;

/// Noise takes the voice's place from 20 ms on, a share of 0.3 more every 20 ms, half as fast for a clear voice.
const NOISE_FROM: usize = 160;
const NOISE_PACE: f32 = 0.3 / 160.0;
const NOISE_MOST: f32 = 0.8;

/// What comes is blended with the guess over 2 ms after one lost frame of 20 ms, and 1.25 ms more for each further one.
const BLEND: usize = 16;
const BLEND_MORE: usize = 10;
const BLEND_MOST: usize = 100;

/// The longest gap between what came and what follows it, 60 ms.
const BRIDGED: usize = 480;

/// By so much the guess may be out of step.
const STEPS: usize = 10;

/// No sample is quieter than this when periods are compared.
const QUIET: f32 = 20.0;

/// One channel that is whole again. Never allocates after [`Self::new`].
#[derive(Debug, Clone)]
pub struct Concealer {
    /// Samples of what is one sample at 8,000 Hz.
    scale: usize,
    /// What was played last, the newest at the end.
    past: Box<[f32]>,
    state: State,
    /// The two guesses, each behind as many samples of the past as its predictor needs, and their sum.
    voice: Box<[f32]>,
    line: Box<[f32]>,
    ahead: Box<[f32]>,
    /// What follows a gap, turned round, and the guess at what was before it.
    behind: Box<[f32]>,
    excitation: Box<[f32]>,
    short: [f32; SHORT_ORDER],
    long: Box<[f32]>,
    workshop: Workshop,
    chance: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing is missing.
    Whole,
    /// Guesses are played.
    Lost(Loss),
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    /// Samples of `ahead` that were played, and those that were made.
    played: usize,
    made: usize,
    period: usize,
    /// How much one period is like the one before, 0 to 1.
    likeness: f32,
    /// The excitation's mean level.
    level: f32,
}

impl Concealer {
    /// At rest: as if only silence had come before.
    pub fn new(rate: SampleRate) -> Self {
        let scale = rate.hertz() as usize / 8_000;
        let buffer = |length: usize| vec![0.0; length].into_boxed_slice();
        let order = (scale * LONG_ORDER).min(LONG_ORDER_MOST);
        let most = scale * (GONE + BLEND_MOST + 2 * STEPS);
        Self {
            scale,
            past: buffer(scale * HISTORY),
            state: State::Whole,
            voice: buffer(SHORT_ORDER + most),
            line: buffer(order + scale * LINE_GONE),
            ahead: buffer(most),
            behind: buffer(scale * (LONG_WINDOW + BRIDGED)),
            excitation: buffer(scale * PERIODS.end()),
            short: [0.0; SHORT_ORDER],
            long: buffer(order),
            workshop: Workshop::new(scale * LONG_WINDOW, order),
            chance: 1,
        }
    }

    /// A frame that came, of any length. After a loss its beginning is blended with what was played instead.
    pub fn keep(&mut self, frame: &mut [i16]) {
        if let State::Lost(loss) = self.state {
            self.rejoin(loss, frame);
            self.state = State::Whole;
        }
        self.remember(frame);
    }

    /// Fills `out`, of any length, with what may have been in a frame that did not come. After 240 ms it is silence.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let mut loss = self.loss();
        let end = loss.played + out.len();
        self.make(&mut loss, end);
        for (at, out) in (loss.played..).zip(&mut *out) {
            let guess = self.ahead.get(at).copied().unwrap_or_default();
            *out = to_sample(guess * fade(at / self.scale));
        }
        loss.played = end.min(self.scale * GONE);
        self.state = State::Lost(loss);
        self.remember(out);
    }

    /// Fills `out` where the frame behind the gap, `following`, is here already. The guess from before the gap is led
    /// into step with what follows, and blended with a guess from there backwards.
    pub fn bridge(&mut self, following: &[i16], out: &mut [i16]) {
        let window = following.len().min(self.scale * LONG_WINDOW);
        let order = self.long.len().min(self.scale * BEHIND_ORDER).min(window / 3);
        let mut loss = self.loss();
        let begin = loss.played;
        let end = begin + out.len();
        if order == 0 || out.len() > self.scale * BRIDGED || end > self.scale * GONE {
            return self.conceal(out);
        }
        let compared = &following[..window.min(self.scale * COMPARED)];
        self.make(&mut loss, end + self.scale * STEPS + compared.len());
        let shift = self.out_of_step(end, compared);

        let behind = &mut self.behind[..window + out.len()];
        for (behind, sample) in behind[..window].iter_mut().rev().zip(following) {
            *behind = f32::from(*sample);
        }
        self.workshop.predictor(&behind[..window], &mut self.long[..order]);
        for at in window..behind.len() {
            behind[at] = next(&behind[..at], &self.long[..order]);
        }
        let length = out.len() as f32;
        for ((at, out), backward) in (begin..).zip(&mut *out).zip(behind[window..].iter().rev()) {
            let share = ((at - begin) as f32 + 0.5) / length;
            let forward = between(&self.ahead, at as f32 + shift * share) * fade(at / self.scale);
            let weight = rising(share);
            *out = to_sample(forward * (1.0 - weight) + backward * weight);
        }
        self.state = State::Whole;
        self.remember(out);
    }

    /// The loss that goes on or one that begins.
    fn loss(&mut self) -> Loss {
        match self.state {
            State::Lost(loss) => loss,
            State::Whole => self.begin(),
        }
    }

    fn begin(&mut self) -> Loss {
        let past = &self.past;
        let length = past.len();
        let (period, likeness) = period(past, self.scale);

        self.workshop.predictor(&past[length - self.scale * SHORT_WINDOW..], &mut self.short);
        let excitation = &mut self.excitation[..period];
        for (at, excitation) in (length - period..).zip(&mut *excitation) {
            *excitation = past[at] - next(&past[..at], &self.short);
        }
        let level = (product(excitation, excitation) / period as f32).sqrt();
        let mut kept = FORGETS;
        for weight in self.short.iter_mut().rev() {
            *weight *= kept;
            kept *= FORGETS;
        }
        self.voice[..SHORT_ORDER].copy_from_slice(&past[length - SHORT_ORDER..]);

        self.workshop.predictor(&past[length - self.scale * LONG_WINDOW..], &mut self.long);
        let order = self.long.len();
        self.line[..order].copy_from_slice(&past[length - order..]);
        Loss { played: 0, made: 0, period, likeness, level }
    }

    /// Makes guesses up to this sample of the loss, as far as there are any.
    fn make(&mut self, loss: &mut Loss, upto: usize) {
        let order = self.long.len();
        let (full, gone) = (self.scale * LINE_FULL, self.scale * LINE_GONE);
        for at in loss.made..upto.min(self.ahead.len()) {
            let noise = NOISE_PACE * (at / self.scale).saturating_sub(NOISE_FROM) as f32;
            let noise = (noise * (1.0 - 0.5 * loss.likeness)).min(NOISE_MOST);
            self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = self.chance.cast_signed() as f32 * (1.732 / 2_147_483_648.0) * loss.level;
            let excitation = self.excitation[at % loss.period] * (1.0 - noise) + random * noise;
            let voice = excitation + next(&self.voice[..SHORT_ORDER + at], &self.short);
            self.voice[SHORT_ORDER + at] = voice;

            self.ahead[at] = if at < gone {
                let line = next(&self.line[..order + at], &self.long);
                self.line[order + at] = line;
                let share = 0.5 * ((gone - at) as f32 / (gone - full) as f32).min(1.0);
                share * line + (VOICE_ALONE + (0.5 - VOICE_ALONE) * 2.0 * share) * voice
            } else {
                VOICE_ALONE * voice
            };
        }
        loss.made = loss.made.max(upto.min(self.ahead.len()));
    }

    /// Blends the guess, led into step, into the beginning of the frame that came.
    fn rejoin(&mut self, mut loss: Loss, frame: &mut [i16]) {
        let further = (loss.played / self.scale).saturating_sub(LOUD) / LOUD;
        let length = self.scale * (BLEND + BLEND_MORE * further).min(BLEND_MOST);
        let length = length.min(frame.len());
        let begin = loss.played;
        self.make(&mut loss, begin + length + self.scale * STEPS + 1);
        let shift = self.out_of_step(begin, &frame[..length]);
        for (at, sample) in frame[..length].iter_mut().enumerate() {
            let share = (at as f32 + 0.5) / length as f32;
            let guess = between(&self.ahead, (begin + at) as f32 + shift * share);
            let guess = guess * fade((begin + at) / self.scale);
            let weight = rising(share);
            *sample = to_sample(f32::from(*sample) * weight + guess * (1.0 - weight));
        }
    }

    /// By how many samples the guess from `begin` on has to be read later to be most like what came.
    fn out_of_step(&self, begin: usize, came: &[i16]) -> f32 {
        let reach = (self.scale * STEPS).min(begin) as isize;
        let (mut best, mut best_shift) = (0.0, 0);
        for shift in -reach..=reach {
            let from = begin.saturating_add_signed(shift);
            let Some(guess) = self.ahead.get(from..from + came.len()) else { break };
            let (mut product, mut energy) = (0.0, 1.0);
            for (guess, came) in guess.iter().zip(came) {
                product += guess * f32::from(*came);
                energy += guess * guess;
            }
            let likeness = product / energy.sqrt();
            if likeness > best {
                (best, best_shift) = (likeness, shift);
            }
        }
        best_shift as f32
    }

    fn remember(&mut self, frame: &[i16]) {
        let length = self.past.len();
        let new = &frame[frame.len().saturating_sub(length)..];
        self.past.copy_within(new.len().., 0);
        for (past, new) in self.past[length - new.len()..].iter_mut().zip(new) {
            *past = f32::from(*new);
        }
    }
}

/// The period after which the newest samples are most like themselves, and how much, 0 to 1.
fn period(past: &[f32], scale: usize) -> (usize, f32) {
    let compared = scale * COMPARED;
    let (older, newest) = past.split_at(past.len() - compared);
    let least = (scale * COMPARED) as f32 * QUIET * QUIET;
    let energy = product(newest, newest).max(least);
    let (mut best, mut best_period) = (f32::MIN, scale * PERIODS.start());
    for period in scale * PERIODS.start()..=scale * PERIODS.end() {
        let begin = older.len() - period;
        let before = &past[begin..begin + compared];
        let likeness = product(newest, before) / (energy * product(before, before).max(least)).sqrt();
        if likeness > best {
            (best, best_period) = (likeness, period);
        }
    }
    (best_period, best.clamp(0.0, 1.0))
}

/// How loud a guess is, so many samples at 8,000 Hz after the loss began.
fn fade(at: usize) -> f32 {
    if at < LOUD {
        1.0
    } else if at < SLOW {
        1.0 - (1.0 - SLOW_END) * (at - LOUD) as f32 / (SLOW - LOUD) as f32
    } else {
        SLOW_END * GONE.saturating_sub(at) as f32 / (GONE - SLOW) as f32
    }
}

/// From 0 to 1 without corners.
fn rising(share: f32) -> f32 {
    share * share * (3.0 - 2.0 * share)
}

/// The signal between two samples of it; silence behind its end.
fn between(signal: &[f32], at: f32) -> f32 {
    let whole = at as usize;
    let part = at - whole as f32;
    let sample = |index: usize| signal.get(index).copied().unwrap_or_default();
    sample(whole) * (1.0 - part) + sample(whole + 1) * part
}

fn to_sample(value: f32) -> i16 {
    value.round() as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use SampleRate::{Hz8000, Hz16000, Hz24000, Hz48000};

    const FRAME: usize = 160;

    #[test]
    fn what_came_goes_out_as_it_came() {
        let mut concealer = Concealer::new(Hz8000);
        for frame in voice(Hz8000, 8_000, 0.0).chunks(FRAME) {
            let mut kept = frame.to_vec();
            concealer.keep(&mut kept);

            assert_eq!(kept, frame);
        }
    }

    #[test]
    fn a_voice_goes_on_through_a_lost_frame_at_every_rate() {
        for (rate, least) in [(Hz8000, 15.0), (Hz16000, 15.0), (Hz24000, 5.0), (Hz48000, 5.0)] {
            let frame = rate.hertz() as usize / 50;
            let said = voice(rate, 12 * frame, 0.0);

            let heard = through(rate, &said, &[9], false);

            let (lost, guess) = (&said[9 * frame..10 * frame], &heard[9 * frame..10 * frame]);
            assert!(snr_db(lost, guess) > least, "{rate:?}: {:.1} dB", snr_db(lost, guess));
            assert_eq!(said[10 * frame + frame / 2..], heard[10 * frame + frame / 2..]);
        }
    }

    #[test]
    fn neither_the_beginning_nor_the_end_of_a_loss_is_a_jump() {
        for (frames, glide) in [(1, 0.0), (2, 0.02), (4, 0.04), (9, 0.04)] {
            let said = voice(Hz8000, 40 * FRAME, glide);
            let lost: Vec<usize> = (20..20 + frames).collect();

            let heard = through(Hz8000, &said, &lost, false);

            let steepest = |samples: &[i16]| samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
            let (said, heard) = (steepest(&said).unwrap(), steepest(&heard).unwrap());
            assert!(f64::from(heard) <= 1.3 * f64::from(said), "{frames} frames: {heard} of {said}");
        }
    }

    #[test]
    fn a_guess_fades_and_is_silent_after_240_ms() {
        let mut concealer = Concealer::new(Hz8000);
        for frame in voice(Hz8000, 20 * FRAME, 0.0).chunks_mut(FRAME) {
            concealer.keep(frame);
        }
        let mut levels = Vec::new();
        for _ in 0..40 {
            let mut frame = [0; FRAME];
            concealer.conceal(&mut frame);
            levels.push(power(&frame).sqrt());
        }

        assert!(
            levels[1] < levels[0] && levels[6] < 0.75 * levels[1] && levels[10] < 0.4 * levels[1],
            "{levels:?}"
        );
        assert_eq!(levels[12..], [0.0; 28]);
    }

    #[test]
    fn noise_stays_noise_and_gets_no_louder() {
        let mut seed = 1_u32;
        let said: Vec<i16> = (0..40 * FRAME)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed.cast_signed() >> 21) as i16
            })
            .collect();

        let heard = through(Hz8000, &said, &[20, 21, 22], false);

        let ratio = power(&heard[20 * FRAME..23 * FRAME]) / power(&said);
        assert!((0.1..1.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn with_the_following_frame_a_gliding_voice_is_guessed_better() {
        let mut better = 0;
        for glide in [0.01, 0.02, 0.03, 0.04, 0.05, 0.06] {
            let said = voice(Hz8000, 20 * FRAME, glide);
            let lost = &said[10 * FRAME..11 * FRAME];
            let [alone, bridged] = [false, true]
                .map(|bridges| snr_db(lost, &through(Hz8000, &said, &[10], bridges)[10 * FRAME..11 * FRAME]));
            assert!(bridged > alone, "glide {glide}: {bridged:.1} and {alone:.1} dB");
            better += u32::from(bridged > alone + 3.0);
        }

        assert!(better >= 4, "{better}");
    }

    #[test]
    fn a_loss_in_pieces_is_the_same_as_one_at_once() {
        let mut whole = Concealer::new(Hz8000);
        for frame in voice(Hz8000, 20 * FRAME, 0.02).chunks_mut(FRAME) {
            whole.keep(frame);
        }
        let mut pieces = whole.clone();
        let mut once = [0; 480];
        whole.conceal(&mut once);
        let mut taken = [0; 480];
        for piece in taken.chunks_mut(77) {
            pieces.conceal(piece);
        }

        assert_eq!(once, taken);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_comes_or_does_not_is_too_much(
            steps in proptest::collection::vec((0_u8..3, 0_usize..700, any::<i16>(), any::<i16>()), 1..40)
        ) {
            let mut concealer = Concealer::new(Hz8000);
            for (step, length, one, other) in steps {
                let frame: Vec<i16> =
                    (0..length).map(|at| if at * 7 % 11 < 5 { one } else { other }).collect();
                let mut out = frame.clone();
                match step {
                    0 => concealer.keep(&mut out),
                    1 => concealer.conceal(&mut out),
                    _ => concealer.bridge(&frame[length / 2..], &mut out),
                }
            }
        }
    }

    /// What is heard of it when these frames of 20 ms are lost.
    fn through(rate: SampleRate, said: &[i16], lost: &[usize], bridges: bool) -> Vec<i16> {
        let length = rate.hertz() as usize / 50;
        let mut concealer = Concealer::new(rate);
        let mut heard = said.to_vec();
        for (index, frame) in heard.chunks_mut(length).enumerate() {
            if !lost.contains(&index) {
                concealer.keep(frame);
            } else if bridges {
                concealer.bridge(&said[(index + 1) * length..(index + 2) * length], frame);
            } else {
                concealer.conceal(frame);
            }
        }
        heard
    }

    /// Harmonics of 130 Hz that rises by this share a frame, below formants of sorts.
    fn voice(rate: SampleRate, length: usize, glide: f64) -> Vec<i16> {
        let hertz = f64::from(rate.hertz());
        let mut phase = 0.0;
        (0..length)
            .map(|at| {
                phase += 130.0 * (1.0 + glide * at as f64 * 50.0 / hertz) * std::f64::consts::TAU / hertz;
                let wave: f64 =
                    (1..20).map(|order| (phase * f64::from(order)).sin() / f64::from(order)).sum();
                (4_000.0 * wave) as i16
            })
            .collect()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn snr_db(said: &[i16], heard: &[i16]) -> f64 {
        let error: f64 = said.iter().zip(heard).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        10.0 * (power(said) * said.len() as f64 / error.max(1.0)).log10()
    }
}
