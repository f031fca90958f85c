//! Who answered, a person or a machine: by how long is spoken before somebody waits for an answer, and by the beep.
//!
//! ```text
//!   answer ----[ Hello? ]-----------------------      a person: says little, then waits
//!   answer ---[ You have reached .. please leave ..]--(beep)--   a machine: goes on, and beeps
//!   answer ---[ Hello? ]---[ Hello? ]---[ Ha, just kidding .. ]  a machine that knows what we look at: a third time
//! ```
//! The first verdict comes as soon as the timing says something, at the latest 3.9 s after the first word. It delays
//! nothing and may be revised: by a beep, by a greeting that goes on, or by one that ends after all.

use super::spectrum::{HOP, Spectrum};
use super::speech::SpeechLevel;
use super::tonal::{Run, Runs, Tonal};

const FRAME_MS: u64 = 20;

/// How much earlier than its last frame a beep ends, in samples.
const EARLIER: u64 = 40;

/// The timing by which a person and a machine are told apart, all in milliseconds. The default is what was measured on
/// greetings; `examples/answers.rs` chooses others and says how well they do with voices they were not chosen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTiming {
    /// Who speaks for so long at once is a machine; people who answer for a business take up to 3.5 s.
    pub long: u64,
    /// Who has spoken for so long at once stays one, whatever follows.
    pub too_long: u64,
    /// Silence after which somebody waits for an answer.
    pub waiting: u64,
    /// The same after a long greeting, to take back that it is a machine's.
    pub waiting_long: u64,
    /// A pause between two utterances is longer than this.
    pub pause: u64,
    /// After the first word: when the first verdict comes at the latest.
    pub latest: u64,
    /// The same while a tone sounds that may be a beep.
    pub deadline: u64,
    /// A third utterance of this length is no answer of a person.
    pub third: u64,
    /// Silence within which somebody still speaks.
    pub speaking: u64,
    /// Of speech within that, above which a machine is the better guess.
    pub much: u64,
}

impl Default for AnswerTiming {
    fn default() -> Self {
        Self {
            long: 3_450,
            too_long: 4_180,
            waiting: 1_950,
            waiting_long: 1_100,
            pause: 630,
            latest: 3_780,
            deadline: 3_860,
            third: 1_000,
            speaking: 710,
            much: 2_550,
        }
    }
}

/// When nobody says anything, a machine is the better guess, in milliseconds.
const NOBODY: u64 = 30_000;

/// The least length of a beep, in milliseconds.
const BEEP: u32 = 100;

/// Frames after which a beep that still sounds says who answered.
const CERTAIN: u32 = 10;

/// How much quieter it is before a beep and after it, in dB.
const SUDDEN_DB: f32 = 6.0;

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// Somebody who waits for what we say.
    Human,
    /// A recording.
    Machine,
}

/// What the detector has to say. Positions are in samples since it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AmdEvent {
    /// Who answered; another one later revises it.
    Verdict {
        /// Who.
        who: Answerer,
        /// From 0.5, a guess, to 1.
        confidence: f32,
        /// When it was said.
        at: u64,
    },
    /// A beep that ended: one may leave a message now.
    Beep {
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// Its stronger frequency.
        hz: f32,
    },
}

/// Listens to a leg from its answer on.
#[derive(Debug, Clone)]
pub struct AnswerDetector {
    timing: AnswerTiming,
    spectrum: Spectrum,
    speech: SpeechLevel,
    runs: Runs,
    heard: Heard,
    verdict: Option<Answerer>,
    confidence: f32,
    /// A run that was a beep's, if it is quiet after it.
    ended: Option<Run>,
    waiting: [Option<AmdEvent>; 2],
}

/// The timing of what was said until now, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    first: Option<u64>,
    utterances: u32,
    /// Beginning and end of the newest utterance.
    utterance: u64,
    last: u64,
    /// How long the utterances before the newest one took together.
    before: u64,
    longest: u64,
    beep: bool,
}

impl Default for AnswerDetector {
    fn default() -> Self {
        Self::new(AnswerTiming::default())
    }
}

impl AnswerDetector {
    /// Judges by this timing.
    pub fn new(timing: AnswerTiming) -> Self {
        Self {
            timing,
            spectrum: Spectrum::default(),
            speech: SpeechLevel::default(),
            runs: Runs::new(0.6, 20.0),
            heard: Heard::default(),
            verdict: None,
            confidence: 0.0,
            ended: None,
            waiting: [None; 2],
        }
    }

    /// Hears the next samples, at most 20 ms at once. Then ask [`Self::next_event`] until it has nothing.
    pub fn push(&mut self, samples: &[i16]) {
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, complete) = self.spectrum.take(rest);
            rest = &rest[taken..];
            if complete {
                self.frame();
            }
        }
    }

    /// What there is to say.
    pub fn next_event(&mut self) -> Option<AmdEvent> {
        let [first, second] = &mut self.waiting;
        first.take().or_else(|| second.take())
    }

    /// The audio is over: what was not said yet is guessed.
    pub fn finish(&mut self) {
        let now = self.spectrum.frames() * FRAME_MS;
        if self.verdict.is_none() && self.heard.first.is_some() {
            let (who, confidence) = self.heard.guessed(&self.timing, 0);
            self.tell(who, confidence, now);
        }
    }

    /// Where the first word began.
    pub fn speech_start(&self) -> Option<u64> {
        self.heard.first.map(|ms| ms * 8)
    }

    /// The verdict as it stands.
    pub fn verdict(&self) -> Option<Answerer> {
        self.verdict
    }

    fn frame(&mut self) {
        let now = self.spectrum.frames() * FRAME_MS;
        let tonal = Tonal::of(self.spectrum.power());
        let ended = self.runs.frame(self.spectrum.frames() - 1, &tonal);
        // It must be over suddenly, as it began.
        if let Some(run) = self.ended.take()
            && 10.0 * tonal.total.log10() < run.level_db - sudden_db(&run)
        {
            self.beeped(&run, now);
        }
        self.ended = ended.filter(is_beep);
        if self.runs.run.is_some_and(|run| run.frames == CERTAIN && is_beep(&run)) {
            self.tell(Answerer::Machine, 0.95, now);
        }
        let beeping = self.runs.run.is_some_and(|run| run.frames >= 3 && is_steady(&run));
        self.speech.frame(self.spectrum.power());
        if !beeping && !self.heard.beep && self.speech.is_loud() {
            self.heard.word(&self.timing, now, self.speech.speaking_since().map_or(now, |start| start / 8));
        }
        // A beep that is not over says more than the silence before it.
        let beeping = (beeping || self.ended.is_some())
            && self.heard.first.is_some_and(|first| now < first + self.timing.deadline);
        if let Some((who, confidence)) =
            self.heard.judged(&self.timing, now, self.verdict).filter(|_| !beeping)
        {
            self.tell(who, confidence, now);
        }
    }

    fn beeped(&mut self, run: &Run, now: u64) {
        let hop = HOP as u64;
        // The last frame's window ends with it, and still counts when the tone ends some 5 ms earlier.
        let start = run.start * hop;
        let end = (run.start + u64::from(run.frames)) * hop - EARLIER;
        self.heard.beep = true;
        self.waiting[1] = Some(AmdEvent::Beep { start, end, hz: run.hz[0] });
        self.tell(Answerer::Machine, 0.99, now);
    }

    fn tell(&mut self, who: Answerer, confidence: f32, now: u64) {
        if self.verdict == Some(who) && confidence <= self.confidence + 0.2 {
            return;
        }
        self.verdict = Some(who);
        self.confidence = confidence;
        self.waiting[0] = Some(AmdEvent::Verdict { who, confidence, at: now * 8 });
    }
}

impl Heard {
    /// Somebody spoke in the frame that ends now.
    fn word(&mut self, timing: &AnswerTiming, now: u64, since: u64) {
        let first = *self.first.get_or_insert(since);
        if self.utterances == 0 || now > self.last + timing.pause {
            self.before += self.last - self.utterance;
            self.utterances += 1;
            self.utterance = if self.utterances == 1 { first } else { since.max(self.last) };
        }
        self.last = now;
        self.longest = self.longest.max(now - self.utterance);
    }

    /// How long was spoken.
    fn talk(&self) -> u64 {
        self.before + (self.last - self.utterance)
    }

    fn judged(&self, timing: &AnswerTiming, now: u64, verdict: Option<Answerer>) -> Option<(Answerer, f32)> {
        if self.beep {
            return None;
        }
        let Some(first) = self.first else {
            return (now >= NOBODY && verdict.is_none()).then_some((Answerer::Machine, 0.5));
        };
        let silent = now - self.last;
        let since_first = now - first;
        if self.longest >= timing.too_long {
            return Some((Answerer::Machine, 0.97));
        }
        if self.utterances >= 3 && now - self.utterance >= timing.third && silent < 200 {
            return Some((Answerer::Machine, 0.85));
        }
        let machine = verdict == Some(Answerer::Machine);
        if machine {
            let ended = (timing.waiting_long..timing.waiting_long + 2 * FRAME_MS).contains(&silent)
                && self.utterances <= 2;
            return ended.then_some((Answerer::Human, 0.6));
        }
        if verdict.is_none() && self.longest >= timing.long {
            return Some((Answerer::Machine, 0.8));
        }
        if verdict.is_some() {
            return None;
        }
        if silent >= timing.waiting {
            return Some((Answerer::Human, if self.longest < 1_000 { 0.9 } else { 0.75 }));
        }
        (since_first >= timing.latest).then(|| self.guessed(timing, silent))
    }

    /// Where there is no time to wait for more.
    fn guessed(&self, timing: &AnswerTiming, silent: u64) -> (Answerer, f32) {
        let goes_on = self.talk() > timing.much && silent < timing.speaking;
        (if goes_on || self.utterances >= 3 { Answerer::Machine } else { Answerer::Human }, 0.6)
    }
}

fn is_steady(run: &Run) -> bool {
    run.core > 0.85 && run.before_db < run.level_db - sudden_db(run)
}

fn is_beep(run: &Run) -> bool {
    let length = run.frames * FRAME_MS as u32;
    let wavers = run.highest_hz - run.lowest_hz;
    // Vowels are low; up there even a poor line's beep is no voice.
    let (core, most) = match (run.hz[0] < 720.0, run.frames < 9) {
        (true, true) => (0.95, 4.5),
        (true, false) => (0.92, 7.5),
        (false, true) => (0.85, 12.0),
        (false, false) => (0.80, 20.0),
    };
    (BEEP..=2_500).contains(&length)
        && run.hz[0] > 380.0
        && run.core >= core
        && wavers <= most
        && run.highest_db - run.lowest_db < 7.5
        && run.before_db < run.level_db - sudden_db(run)
}

/// A long high tone needs less of it: no voice holds one.
fn sudden_db(run: &Run) -> f32 {
    if run.hz[0] > 720.0 && run.frames >= 12 { 2.5 } else { SUDDEN_DB }
}
