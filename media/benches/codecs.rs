//! What a second of a channel costs in each codec, both ways, and from one rate to another. Budgets: G.711 12 us,
//! G.722 800 us, resampling between 8 and 16 kHz 40 us, from 24 kHz 80 us.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::{Resampler, SampleRate, g711, g722};

fn law(bench: &mut Criterion) {
    let samples = speech(8_000);
    let mut codes = vec![0; 8_000];
    let mut back = vec![0; 8_000];
    bench.bench_function("codec_second/pcmu", |b| {
        b.iter(|| {
            for (code, sample) in codes.iter_mut().zip(black_box(&samples)) {
                *code = g711::linear_to_ulaw(*sample);
            }
            for (sample, code) in back.iter_mut().zip(black_box(&codes)) {
                *sample = g711::ulaw_to_linear(*code);
            }
        });
    });
}

fn wide(bench: &mut Criterion) {
    let samples = speech(16_000);
    let mut codes = vec![0; 8_000];
    let mut back = vec![0; 16_000];
    let mut encoder = g722::Encoder::new();
    let mut decoder = g722::Decoder::new(g722::Mode::Kbit64);
    bench.bench_function("codec_second/g722", |b| {
        b.iter(|| {
            encoder.encode(black_box(&samples), &mut codes);
            decoder.decode(black_box(&codes), &mut back);
        });
    });
}

fn resample(bench: &mut Criterion) {
    let (narrow, wide, voice) = (SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000);
    for (name, from, to) in [("8_to_16", narrow, wide), ("16_to_8", wide, narrow), ("24_to_8", voice, narrow)]
    {
        let samples = speech(from.hertz());
        let mut resampler = Resampler::new(from, to);
        bench.bench_function(&format!("resample_second/{name}"), |b| {
            b.iter(|| {
                for frame in black_box(&samples).chunks(from.hertz() as usize / 50) {
                    resampler.feed(frame, |resampled| {
                        black_box(resampled);
                    });
                }
            });
        });
    }
}

/// Something of speech's level and unrest: two tones that come and go, over noise.
fn speech(length: u32) -> Vec<i16> {
    let mut seed = 1_u32;
    (0..length)
        .map(|index| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = f64::from(index) / f64::from(length);
            let tones = (at * 1_400.0).sin() * 4_000.0 + (at * 9_000.0).sin() * 1_500.0;
            (tones * (at * 20.0).sin() + f64::from(seed >> 24)) as i16
        })
        .collect()
}

criterion_group!(benches, law, wide, resample);
criterion_main!(benches);
