//! What a leg that is played or recorded costs beside its codec, a second of it. Budgets: three voices as one 10 us,
//! 40 us while the limiter works; concealment 60 us, with every tenth frame lost.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::{Concealer, Mixer, SampleRate};

/// Samples in a frame, 20 ms.
const FRAME: usize = 160;

fn mix(bench: &mut Criterion) {
    for (name, loudness) in [("of_3", 4_000.0), ("of_3_too_loud", 20_000.0)] {
        let voices = [200.0, 310.0, 450.0].map(|hertz| voice(hertz, loudness));
        let mut mixer = Mixer::new(SampleRate::Hz8000);
        let mut out = [0; FRAME];
        bench.bench_function(&format!("mix_second/{name}"), |b| {
            b.iter(|| {
                for begin in (0..8_000).step_by(FRAME) {
                    let inputs = [0, 1, 2].map(|index| &black_box(&voices)[index][begin..begin + FRAME]);
                    mixer.mix(&inputs, &mut out);
                    black_box(&out);
                }
            });
        });
    }
}

fn conceal(bench: &mut Criterion) {
    let said = voice(130.0, 8_000.0);
    for (name, lost) in [("none", usize::MAX), ("every_10th", 10)] {
        let mut concealer = Concealer::new(SampleRate::Hz8000);
        let mut heard = said.clone();
        bench.bench_function(&format!("conceal_second/{name}"), |b| {
            b.iter(|| {
                for (index, frame) in (1..).zip(black_box(&mut heard).chunks_mut(FRAME)) {
                    if index % lost == 0 {
                        concealer.conceal(frame);
                    } else {
                        concealer.keep(frame);
                    }
                }
            });
        });
    }
}

/// Something of speech's level and unrest: a tone in syllables, over noise.
fn voice(hertz: f64, loudness: f64) -> Vec<i16> {
    let mut seed = 1_u32;
    (0..8_000_u32)
        .map(|index| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = f64::from(index) / 8_000.0;
            let tone = (at * hertz * std::f64::consts::TAU).sin() * (at * 25.0).sin();
            (tone * loudness + f64::from(seed >> 25)) as i16
        })
        .collect()
}

criterion_group!(benches, mix, conceal);
criterion_main!(benches);
