//! What a second of one channel costs each detector, as frames of 20 ms. Budgets: keys 40 us, speech 40 us, answering
//! machines 60 us, tones of the network 60 us.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::hearing::{AnswerDetector, DtmfDetector, SpeechDetector, ToneDetector};

fn keys(bench: &mut Criterion) {
    let samples = speech();
    let mut detector = DtmfDetector::default();
    bench.bench_function("hearing_second/dtmf", |b| {
        b.iter(|| {
            for frame in black_box(&samples).chunks(160) {
                black_box(detector.push(frame));
            }
        });
    });
}

fn others(bench: &mut Criterion) {
    let samples = speech();
    let mut voice = SpeechDetector::default();
    bench.bench_function("hearing_second/vad", |b| {
        b.iter(|| {
            for frame in black_box(&samples).chunks(160) {
                black_box(voice.push(frame));
            }
        });
    });
    let mut tones = ToneDetector::default();
    bench.bench_function("hearing_second/tones", |b| {
        b.iter(|| {
            for frame in black_box(&samples).chunks(160) {
                black_box(tones.push(frame));
            }
        });
    });
    let mut answer = AnswerDetector::default();
    bench.bench_function("hearing_second/amd", |b| {
        b.iter(|| {
            for frame in black_box(&samples).chunks(160) {
                answer.push(frame);
                black_box(answer.next_event());
            }
        });
    });
}

/// Something of speech's level and unrest: harmonics of a wandering pitch in syllables, over noise.
fn speech() -> Vec<i16> {
    let mut seed = 1_u32;
    let mut phase = 0.0;
    (0..8_000_u32)
        .map(|index| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = f64::from(index) / 8_000.0;
            phase += (120.0 + 20.0 * (at * 9.0).sin()) * std::f64::consts::TAU / 8_000.0;
            let voice: f64 = (1..12).map(|order| (phase * f64::from(order)).sin() / f64::from(order)).sum();
            let syllable = (at * 25.0).sin().max(0.0);
            (voice * syllable * 5_000.0 + f64::from(seed >> 25)) as i16
        })
        .collect()
}

criterion_group!(benches, keys, others);
criterion_main!(benches);
