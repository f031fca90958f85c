//! Protecting and opening a second of PCMU, 50 packets of 172 bytes each way. Budget for both together: 30 µs a
//! channel-second.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use media::{SRTP_OVERHEAD, SrtpKey, SrtpReceiver, SrtpSender, SrtpSuite};

/// Packets in one measured round: a second of a call.
const ROUND: u16 = 50;

const PLAIN: usize = 172;

fn protect(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("srtp_protect");
    group.throughput(Throughput::Elements(u64::from(ROUND)));
    for suite in SrtpSuite::ALL {
        let mut sender = SrtpSender::new(&key(suite));
        let mut sequence = 0_u16;
        group.bench_function(suite.name(), |b| {
            b.iter(|| {
                for _ in 0..ROUND {
                    let mut buffer = packet(sequence);
                    sequence = sequence.wrapping_add(1);
                    sender.protect_rtp(black_box(&mut buffer), PLAIN).expect("there is room");
                }
            });
        });
    }
}

fn unprotect(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("srtp_unprotect");
    group.throughput(Throughput::Elements(u64::from(ROUND)));
    for suite in SrtpSuite::ALL {
        let key = key(suite);
        let mut sender = SrtpSender::new(&key);
        let protected = |sequence| {
            let mut buffer = packet(sequence);
            let length = sender.protect_rtp(&mut buffer, PLAIN).expect("there is room");
            (buffer, length)
        };
        let packets: Vec<_> = (0..ROUND).map(protected).collect();
        group.bench_function(suite.name(), |b| {
            b.iter_batched_ref(
                || (SrtpReceiver::new(&key), packets.clone()),
                |(receiver, packets)| {
                    for (buffer, length) in packets {
                        receiver.unprotect_rtp(black_box(&mut buffer[..*length])).expect("our own packet");
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn key(suite: SrtpSuite) -> SrtpKey {
    SrtpKey::from_random(suite, &[7; SrtpKey::LONGEST])
}

fn packet(sequence: u16) -> [u8; PLAIN + SRTP_OVERHEAD] {
    let mut packet = [0x7E; PLAIN + SRTP_OVERHEAD];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    packet
}

criterion_group!(benches, protect, unprotect);
criterion_main!(benches);
