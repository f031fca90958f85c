//! Keys heard in band: what ITU-T Q.24 wants taken, refused and bridged, on tones made here; and on recordings of others
//! where those are present.

use media::Digit;
use media::hearing::{DtmfDetector, DtmfTone, HeardDigit};

use crate::support::{self, Recordings};

const ALL: &str = "1234567890*#ABCD";
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// One key in every respect that Q.24 limits.
#[derive(Clone, Copy)]
struct Key {
    on_ms: usize,
    off_ms: usize,
    /// Of each tone; the weaker one's is lower by the twist.
    level_dbm0: f64,
    /// Column over row.
    twist_db: f64,
    /// Share by which both tones are too high.
    off_frequency: f64,
}

const GOOD: Key = Key { on_ms: 50, off_ms: 50, level_dbm0: -10.0, twist_db: 0.0, off_frequency: 0.0 };

#[test]
fn the_generator_and_the_detector_understand_each_other() {
    let mut samples = vec![0; 800];
    for key in ALL.chars() {
        let mut tone = DtmfTone::new(Digit::try_from(key).unwrap(), -8.0, 60);
        let mut frame = [0; 480];
        let written = tone.fill(&mut frame);
        samples.extend(&frame[..written]);
        samples.extend([0; 480]);
    }

    let heard = hear(&samples);

    assert_eq!(digits(&heard), ALL);
    for (index, key) in heard.iter().enumerate() {
        assert!(key.start.abs_diff(800 + 960 * index as u64) <= 16, "{key:?}");
        assert!(key.length.abs_diff(480) <= 24, "{key:?}");
    }
}

#[test]
fn what_must_be_taken_is_taken() {
    let limits = [
        Key { on_ms: 40, off_ms: 40, ..GOOD },
        Key { level_dbm0: -3.5, ..GOOD },
        Key { level_dbm0: -30.0, ..GOOD },
        Key { twist_db: 4.0, ..GOOD },
        Key { twist_db: -8.0, ..GOOD },
        Key { off_frequency: 0.015, ..GOOD },
        Key { off_frequency: -0.015, ..GOOD },
    ];
    for (number, key) in limits.into_iter().enumerate() {
        // Wherever a key begins within a block.
        for offset in [0, 7, 13, 26, 39] {
            let samples = [silence(offset), key.pressed(ALL)].concat();

            assert_eq!(digits(&hear(&samples)), ALL, "limit {number}, {offset} samples late");
        }
    }
}

#[test]
fn what_must_not_be_taken_is_not() {
    let limits = [
        Key { on_ms: 22, ..GOOD },
        Key { level_dbm0: -55.0, ..GOOD },
        Key { twist_db: 14.0, ..GOOD },
        Key { twist_db: -16.0, ..GOOD },
        Key { off_frequency: 0.035, ..GOOD },
        Key { off_frequency: -0.035, ..GOOD },
        // One tone of the pair alone.
        Key { twist_db: 80.0, ..GOOD },
    ];
    for (number, key) in limits.into_iter().enumerate() {
        for offset in [0, 7, 13, 26, 39] {
            let samples = [silence(offset), key.pressed(ALL)].concat();

            assert_eq!(digits(&hear(&samples)), "", "limit {number}, {offset} samples late");
        }
    }
}

#[test]
fn ten_milliseconds_of_silence_are_bridged_and_forty_part_two_keys() {
    let five = Key { on_ms: 60, off_ms: 10, ..GOOD }.pressed("5");
    let parted = Key { on_ms: 60, off_ms: 40, ..GOOD }.pressed("77");

    let bridged = hear(&[five.clone(), five].concat());

    assert_eq!(digits(&bridged), "5");
    assert!(bridged[0].length.abs_diff(130 * 8) <= 24, "{bridged:?}");
    assert_eq!(digits(&hear(&parted)), "77");
}

#[test]
fn white_noise_15_db_below_hides_no_key_and_is_none() {
    for seed in 1..20 {
        let mut samples = Key { on_ms: 50, off_ms: 50, ..GOOD }.pressed(ALL);
        let power = 2.0 * amplitude(GOOD.level_dbm0).powi(2) / 2.0;
        add_noise(&mut samples, (power / 10_f64.powf(1.5)).sqrt(), seed);
        let mut alone = silence(80_000);
        add_noise(&mut alone, 3_000.0, seed);

        assert_eq!(digits(&hear(&samples)), ALL, "seed {seed}");
        assert_eq!(digits(&hear(&alone)), "", "seed {seed}");
    }
}

#[test]
fn the_size_of_the_pieces_changes_nothing() {
    let mut samples = GOOD.pressed(ALL);
    add_noise(&mut samples, 100.0, 5);
    let whole = hear(&samples);

    for size in [1, 7, 80, 160, 331, 400] {
        let mut detector = DtmfDetector::default();
        let heard: Vec<_> = samples.chunks(size).filter_map(|piece| detector.push(piece)).collect();

        assert_eq!(heard, whole, "{size} samples at once");
    }
}

#[test]
fn a_key_that_sounds_is_known_before_it_ends() {
    let mut detector = DtmfDetector::default();
    let samples = Key { on_ms: 100, ..GOOD }.pressed("9");

    let sounding: Vec<_> =
        samples.chunks(160).map(|frame| (detector.push(frame), detector.sounding())).collect();

    let nine = Digit::try_from('9').ok();
    assert_eq!(sounding[2].1, nine, "after 60 ms");
    assert!(sounding[..5].iter().all(|(told, _)| told.is_none()), "it still sounds");
}

/// The labels say which digits must come out, or that none may.
#[test]
fn keys_and_talk_off_in_recordings() {
    let Some(recordings) = Recordings::labelled("dtmf") else { return };
    let mut wrong = Vec::new();
    for row in &recordings.rows {
        let heard = digits(&hear(&recordings.samples(&row["file"])));
        if heard != row["expect_digits"] {
            wrong.push(format!("{}: {heard} instead of {}", row["file"], row["expect_digits"]));
        }
    }
    eprintln!("keys: {} recordings ran", recordings.rows.len());

    assert_eq!(wrong, [""; 0]);
}

/// No conversation, greeting or hold music holds a key.
#[test]
fn speech_and_music_press_no_keys() {
    let mut seconds = 0;
    for folder in ["amd", "vad", "bargein", "tones", "ref"] {
        let Some(files) = support::wavs(folder) else { return };
        for file in files {
            let samples = support::telephone(&file);
            seconds += samples.len() / 8_000;

            assert_eq!(digits(&hear(&samples)), "", "{}", file.display());
        }
    }
    eprintln!("talk-off: {seconds} s ran");
}

impl Key {
    fn pressed(self, keys: &str) -> Vec<i16> {
        let row_level = amplitude(self.level_dbm0 - self.twist_db.max(0.0));
        let column_level = amplitude(self.level_dbm0 + self.twist_db.min(0.0));
        let mut samples = Vec::new();
        for key in keys.chars() {
            let place = "123A456B789C*0#D".find(key).unwrap();
            let turn = (1.0 + self.off_frequency) * std::f64::consts::TAU / 8_000.0;
            let (row, column) = (ROWS[place / 4] * turn, COLUMNS[place % 4] * turn);
            samples.extend((0..self.on_ms as u32 * 8).map(|at| {
                let at = f64::from(at);
                (row_level * (row * at).sin() + column_level * (column * at).sin()).round() as i16
            }));
            samples.extend(silence(self.off_ms * 8));
        }
        samples
    }
}

fn amplitude(dbm0: f64) -> f64 {
    32_768.0 * 10_f64.powf((dbm0 - 3.17) / 20.0)
}

fn silence(samples: usize) -> Vec<i16> {
    vec![0; samples]
}

fn add_noise(samples: &mut [i16], deviation: f64, seed: u64) {
    let mut noise = support::Noise::new(seed);
    for sample in samples {
        *sample = (f64::from(*sample) + deviation * noise.normal()).round() as i16;
    }
}

fn hear(samples: &[i16]) -> Vec<HeardDigit> {
    let mut detector = DtmfDetector::default();
    let mut heard: Vec<_> = samples.chunks(160).filter_map(|frame| detector.push(frame)).collect();
    heard.extend(detector.finish());
    heard
}

fn digits(heard: &[HeardDigit]) -> String {
    heard.iter().map(|key| key.digit.as_char()).collect()
}
