//! What a leg that is played or recorded costs beside its codec, a second of it. Budgets: three voices as one 10 us,
//! 40 us while the limiter works; concealment 60 us with every tenth frame lost; the jitter buffer with its concealment
//! 60 us with every twentieth lost; comfort noise 100 us made and 60 us measured, which nobody needs while somebody
//! speaks; loudness 40 us.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use media::{ComfortNoise, Concealer, JitterBuffer, Loudness, Mixer, NoiseMeter, NoiseSource, SampleRate};

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

#[expect(clippy::disallowed_methods, reason = "a bench asks once, for its beginning")]
fn jitter(bench: &mut Criterion) {
    let said = voice(130.0, 8_000.0);
    let start = Instant::now();
    for (name, lost, most_ms) in [("clean", u32::MAX, 1), ("bad", 20, 30)] {
        let mut buffer = JitterBuffer::new(start, SampleRate::Hz8000, 4);
        let mut frame = [0; FRAME];
        let mut number = 0_u32;
        bench.bench_function(&format!("jitter_second/{name}"), |b| {
            b.iter(|| {
                for _ in 0..50 {
                    let at = start + Duration::from_millis(20) * number;
                    let late = Duration::from_millis(
                        u64::from(number.wrapping_mul(2_654_435_761) >> 8 & 0xFF) * most_ms / 256,
                    );
                    if number % lost != 7 {
                        let _ =
                            buffer.insert(at + late, number, number.wrapping_mul(160), &number.to_be_bytes());
                    }
                    buffer.next_frame(at + Duration::from_millis(20), &mut frame, |payload, samples| {
                        let index = usize::from(payload[3]) % 50 * FRAME;
                        samples[..FRAME].copy_from_slice(&black_box(&said)[index..index + FRAME]);
                        FRAME
                    });
                    black_box(&frame);
                    number = number.wrapping_add(1);
                }
            });
        });
    }
}

fn noise(bench: &mut Criterion) {
    let mut samples = [0; 8_000];
    let described = ComfortNoise::parse(&[50, 80, 140, 120, 130, 127, 127]).expect("a level");
    let mut source = NoiseSource::new(described, 1);
    bench.bench_function("noise_second/made", |b| b.iter(|| source.fill(black_box(&mut samples))));
    let mut meter = NoiseMeter::default();
    bench.bench_function("noise_second/measured", |b| {
        b.iter(|| {
            for frame in black_box(&samples).chunks(FRAME) {
                meter.push(frame);
            }
        });
    });
}

fn loudness(bench: &mut Criterion) {
    let said = voice(130.0, 2_000.0);
    let mut loudness = Loudness::new(SampleRate::Hz8000);
    let mut frame = [0; FRAME];
    bench.bench_function("loudness_second", |b| {
        b.iter(|| {
            for said in black_box(&said).as_chunks::<FRAME>().0 {
                frame = *said;
                loudness.adjust(&mut frame);
                black_box(&frame);
            }
        });
    });
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

criterion_group!(benches, mix, conceal, jitter, noise, loudness);
criterion_main!(benches);
