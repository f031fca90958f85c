//! What one frame costs a leg, PCMU both ways, without its sockets. Budget: 20,000 frames both ways in the
//! 20 ms of one beat, so under a microsecond for the pair.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use media::{AudioFormat, Codec, Negotiated, PACKET_MAX, SampleRate, SegmentId, Session, SessionConfig};

/// Frames in one measured round: a second of a call.
const ROUND: u32 = 50;

const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

fn up(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("rtp_to_frame");
    group.throughput(Throughput::Elements(u64::from(ROUND)));
    for (name, order) in [("in_order", [0, 1]), ("every_pair_swapped", [1, 0])] {
        let start = start();
        let packets: Vec<_> =
            (0..ROUND).map(|index| packet(index / 2 * 2 + order[index as usize % 2])).collect();
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || session(start),
                |session| {
                    for (beat, packet) in (0..).zip(&packets) {
                        let now = start + Duration::from_millis(20) * beat;
                        let _ = session.handle_rtp(now, peer(), black_box(packet));
                        while let Some(frame) = session.next_frame(now) {
                            black_box(frame.payload);
                        }
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn down(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("frame_to_rtp");
    group.throughput(Throughput::Elements(u64::from(ROUND)));
    let start = start();
    let silence: Option<AudioFormat> = None;
    for (name, format) in [("pcmu", Some(AudioFormat::Pcmu)), ("l16", Some(L16)), ("comfort_noise", silence)]
    {
        let audio = [0x55; 320];
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || session(start),
                |session| {
                    let mut buffer = [0; PACKET_MAX];
                    for beat in 0..ROUND {
                        let now = start + Duration::from_millis(20) * beat;
                        if let Some(format) = format {
                            let chunk = black_box(&audio[..format.bytes_per_beat()]);
                            let _ = session.playout().push(SegmentId(1), format, chunk);
                        }
                        black_box(session.next_packet(now, &mut buffer));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn formats(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("g711_160_samples");
    let codes = [0x55; 160];
    let linear: Vec<u8> = (0..160_i16).flat_map(|sample| (sample * 200).to_le_bytes()).collect();
    let mut output = [0; 320];
    group.bench_function("pcmu_to_l16", |b| {
        b.iter(|| AudioFormat::Pcmu.convert(L16, black_box(&codes), &mut output));
    });
    group.bench_function("l16_to_pcmu", |b| {
        b.iter(|| L16.convert(AudioFormat::Pcmu, black_box(&linear), &mut output));
    });
    group.bench_function("l16_to_pcma", |b| {
        b.iter(|| L16.convert(AudioFormat::Pcma, black_box(&linear), &mut output));
    });
    group.bench_function("pcmu_to_pcma", |b| {
        b.iter(|| AudioFormat::Pcmu.convert(AudioFormat::Pcma, black_box(&codes), &mut output));
    });
}

fn session(start: Instant) -> Session {
    let negotiated = Negotiated::plain(peer(), Codec::Pcmu);
    Session::new(start, &negotiated, SessionConfig::from_seed(1))
}

fn packet(index: u32) -> [u8; 172] {
    let mut packet = [0x7E; 172];
    packet[0] = 0x80;
    packet[1] = 0;
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&(160 * index).to_be_bytes());
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    packet
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

#[expect(clippy::disallowed_methods, reason = "a bench asks once, for its beginning")]
fn start() -> Instant {
    Instant::now()
}

criterion_group!(benches, up, down, formats);
criterion_main!(benches);
