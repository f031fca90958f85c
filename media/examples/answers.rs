//! How well people and machines are told apart when the timing was chosen without the voices it is judged on.
//!
//! ```text
//! cargo run --release -p callingedge-media --example answers -- FOLDER [SEED]
//! ```
//! FOLDER has WAV files and a `labels.csv` with `file, expect (answered | voicemail), greeting_start_s, beep_start_s,
//! beep_dur_s, voice`. The voices are dealt into five folds. For each of them that one of 400 timings is taken that does
//! best on the other four; what is printed is how these five do on the folds that they were not chosen with.
#![expect(clippy::unwrap_used, reason = "an instrument that stops where its data is not as it says")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use media::hearing::{AmdEvent, AnswerDetector, AnswerTiming, Answerer};
use media::{Resampler, SampleRate, Wav};

const FOLDS: usize = 5;
const TIMINGS: usize = 400;

/// A recording with its labels.
struct Recording {
    samples: Vec<i16>,
    voice: String,
    who: Answerer,
    greeting_ms: f64,
    beep_end_ms: Option<f64>,
}

/// What one timing makes of one recording.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    first: bool,
    last: bool,
    person_as_machine: bool,
    late: bool,
    beep_found: bool,
    beep_invented: bool,
}

/// Sums over recordings.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    all: f64,
    people: f64,
    beeps: f64,
    first: f64,
    last: f64,
    people_as_machines: f64,
    late: f64,
    found: f64,
    invented: f64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("which folder? It needs a labels.csv");
        std::process::exit(2);
    };
    let seed = arguments.next().map_or(1, |seed| seed.parse().unwrap());
    let recordings = read(Path::new(&folder));
    let mut chance = Chance(seed);
    let folds = dealt(&recordings, &mut chance);
    let mut timings = vec![AnswerTiming::default()];
    timings.extend((1..TIMINGS).map(|_| varied(&mut chance)));
    let outcomes: Vec<Vec<Outcome>> = timings
        .iter()
        .map(|timing| recordings.iter().map(|recording| judged(recording, *timing)).collect())
        .collect();

    let mut kept_apart = Sums::default();
    for fold in 0..FOLDS {
        let sum = |timing: usize, inside: bool| {
            let mut sums = Sums::default();
            for (index, recording) in recordings.iter().enumerate() {
                if (folds[&recording.voice] == fold) == inside {
                    sums.add(recording, outcomes[timing][index]);
                }
            }
            sums
        };
        let best = (0..TIMINGS).fold(0, |best, timing| {
            if sum(timing, false).worth() > sum(best, false).worth() { timing } else { best }
        });
        let sums = sum(best, true);
        println!("fold {fold}: {} {:?}", sums.told(), timings[best]);
        kept_apart.merge(&sums);
    }
    let mut default = Sums::default();
    for (recording, outcome) in recordings.iter().zip(&outcomes[0]) {
        default.add(recording, *outcome);
    }
    println!("kept apart: {}", kept_apart.told());
    println!("default timing on all: {}", default.told());
}

fn read(folder: &Path) -> Vec<Recording> {
    let labels = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let mut lines = labels.lines().map(cells);
    let head = lines.next().unwrap();
    lines
        .map(|line| {
            let row: BTreeMap<&str, String> = head.iter().map(String::as_str).zip(line).collect();
            let number = |name: &str| row[name].parse::<f64>().ok();
            let who = if row["expect"] == "answered" { Answerer::Human } else { Answerer::Machine };
            let beep_end =
                number("beep_start_s").zip(number("beep_dur_s")).map(|(start, length)| start + length);
            Recording {
                samples: samples(&folder.join(&row["file"])),
                voice: row["voice"].clone(),
                who,
                greeting_ms: 1_000.0 * number("greeting_start_s").unwrap(),
                beep_end_ms: beep_end.map(|seconds| 1_000.0 * seconds),
            }
        })
        .collect()
}

/// The cells of a line of CSV; a quoted one may hold commas.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().unwrap().push(other),
        }
    }
    cells
}

fn samples(file: &Path) -> Vec<i16> {
    let bytes = std::fs::read(file).unwrap();
    let wav = Wav::parse(&bytes).unwrap();
    let rates = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000, SampleRate::Hz48000];
    let rate = rates.into_iter().find(|rate| rate.hertz() == wav.rate).unwrap();
    if rate == SampleRate::Hz8000 {
        return wav.channel(0);
    }
    let mut samples = Vec::new();
    Resampler::new(rate, SampleRate::Hz8000).feed(&wav.channel(0), |piece| samples.extend_from_slice(piece));
    samples
}

/// Voices, the most frequent first among the shuffled, each to the fold that has least.
fn dealt(recordings: &[Recording], chance: &mut Chance) -> BTreeMap<String, usize> {
    let voices: BTreeSet<&String> = recordings.iter().map(|recording| &recording.voice).collect();
    let mut voices: Vec<(usize, u64, &String)> = voices
        .into_iter()
        .map(|voice| {
            let count = recordings.iter().filter(|recording| recording.voice == *voice).count();
            (count, chance.next(), voice)
        })
        .collect();
    voices.sort_by(|one, other| other.cmp(one));
    let mut sizes = [0; FOLDS];
    let mut folds = BTreeMap::new();
    for (count, _, voice) in voices {
        let least = (0..FOLDS).min_by_key(|fold| sizes[*fold]).unwrap();
        sizes[least] += count;
        folds.insert(voice.clone(), least);
    }
    folds
}

fn varied(chance: &mut Chance) -> AnswerTiming {
    let default = AnswerTiming::default();
    let mut about = |value: u64| value * (750 + chance.next() % 550) / 1_000 / 10 * 10;
    let latest = about(default.latest).min(3_780);
    AnswerTiming {
        long: about(default.long),
        too_long: about(default.too_long),
        waiting: about(default.waiting),
        waiting_long: about(default.waiting_long),
        pause: about(default.pause),
        latest,
        deadline: latest + 80,
        third: about(default.third),
        speaking: about(default.speaking),
        much: about(default.much),
    }
}

fn judged(recording: &Recording, timing: AnswerTiming) -> Outcome {
    let mut detector = AnswerDetector::new(timing);
    let (mut first, mut beep) = (None, None);
    let mut take = |detector: &mut AnswerDetector| {
        while let Some(event) = detector.next_event() {
            match event {
                AmdEvent::Verdict { who, at, .. } => _ = first.get_or_insert((who, at)),
                AmdEvent::Beep { end, .. } => _ = beep.get_or_insert(end),
            }
        }
    };
    for frame in recording.samples.chunks(160) {
        detector.push(frame);
        take(&mut detector);
    }
    detector.finish();
    take(&mut detector);
    let right = first.is_some_and(|(who, _)| who == recording.who);
    let latest = 8.0 * (recording.greeting_ms + 4_000.0);
    let off = recording.beep_end_ms.zip(beep).map(|(truth, end)| (truth - end as f64 / 8.0).abs());
    Outcome {
        first: right,
        last: detector.verdict() == Some(recording.who),
        person_as_machine: recording.who == Answerer::Human && first.is_some() && !right,
        late: first.is_none_or(|(_, at)| at as f64 > latest),
        beep_found: off.is_some_and(|off| off < 300.0),
        beep_invented: recording.beep_end_ms.is_none() && beep.is_some(),
    }
}

impl Sums {
    fn add(&mut self, recording: &Recording, outcome: Outcome) {
        let one = |yes: bool| f64::from(u8::from(yes));
        self.all += 1.0;
        self.people += one(recording.who == Answerer::Human);
        self.beeps += one(recording.beep_end_ms.is_some());
        self.first += one(outcome.first);
        self.last += one(outcome.last);
        self.people_as_machines += one(outcome.person_as_machine);
        self.late += one(outcome.late);
        self.found += one(outcome.beep_found);
        self.invented += one(outcome.beep_invented);
    }

    fn merge(&mut self, other: &Self) {
        self.all += other.all;
        self.people += other.people;
        self.beeps += other.beeps;
        self.first += other.first;
        self.last += other.last;
        self.people_as_machines += other.people_as_machines;
        self.late += other.late;
        self.found += other.found;
        self.invented += other.invented;
    }

    /// What a timing is chosen for: right verdicts, people who are not hung up on, and no delay.
    fn worth(&self) -> f64 {
        let people = self.people_as_machines / self.people.max(1.0);
        (self.first + self.last - self.late) / self.all.max(1.0) - people
    }

    fn told(&self) -> String {
        let percent = |part: f64, all: f64| 100.0 * part / all.max(1.0);
        format!(
            "{} recordings, first {:.1} %, people as machines {:.1} %, late {}, final {:.1} %, beeps {:.1} % of {}, invented {}",
            self.all,
            percent(self.first, self.all),
            percent(self.people_as_machines, self.people),
            self.late,
            percent(self.last, self.all),
            percent(self.found, self.beeps),
            self.beeps,
            self.invented,
        )
    }
}

/// SplitMix64, so that the same seed deals the same folds anywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
