//! What a leg that is played or recorded costs beside its codec, a second of it. Budgets: three voices as one 10 us,
//! 40 us while the limiter works.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::{Mixer, SampleRate};

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

criterion_group!(benches, mix);
criterion_main!(benches);
