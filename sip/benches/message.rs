//! One message from bytes to what the transaction layer asks of it, and back. Budget: an INVITE of 20 headers in 1 µs to
//! find its lines, 3 µs to check it; the worst message of 64 KiB in 5 ms.

use std::hint::black_box;
use std::net::SocketAddr;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use sip::{Framing, Message, MessageWriter, Side, StatusCode, StreamFramer};

const INVITE: &[u8] = include_bytes!("../../fixtures/sip/invite-of-a-trunk.sip");

fn message(bench: &mut Criterion) {
    let wire = Bytes::from_static(INVITE);
    let parse = |wire: &Bytes| Message::parse(wire.clone(), Framing::Datagram).expect("a good message");
    let invite = parse(&wire);
    let source = SocketAddr::from(([192, 0, 2, 60], 5060));

    bench.bench_function("parse INVITE", |b| b.iter(|| parse(black_box(&wire))));
    bench.bench_function("check INVITE", |b| b.iter(|| black_box(&invite).check()));
    bench.bench_function("top Via of INVITE", |b| b.iter(|| black_box(&invite).via()));
    bench.bench_function("addresses of INVITE", |b| {
        b.iter(|| (invite.from(), invite.to(), invite.contact(), invite.request_uri()))
    });
    bench.bench_function("write 180 to INVITE", |b| {
        b.iter(|| MessageWriter::response_to(&invite, StatusCode::RINGING, source, Some("tag")).finish())
    });
    bench.bench_function("cut INVITE from stream", |b| {
        let mut framer = StreamFramer::new(Side::Accepted);
        b.iter(|| {
            framer.push(INVITE);
            framer.next()
        })
    });
}

fn hostile(bench: &mut Criterion) {
    let head =
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:a>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n";
    let lists =
        format!("From: <sip:a>\r\n{}", format!("Contact: {}<sip:a>\r\n", "<sip:a>,".repeat(998)).repeat(8));
    for (name, lines) in [
        ("hostile/folds", format!("Subject: {}\r\n", "a\r\n ".repeat(16_250))),
        ("hostile/lone line feeds", format!("Subject: {}\r\n", "\n".repeat(65_000))),
        ("hostile/address lists", lists),
        ("hostile/lengths", "l: 1\r\n".repeat(10_000)),
    ] {
        let wire = Bytes::from(format!("{head}{lines}\r\n"));
        bench.bench_function(name, |b| {
            b.iter(|| {
                let message = Message::parse(wire.clone(), Framing::Datagram).expect("has a start line");
                message.check().is_ok() || message.contacts().count() > 0
            })
        });
    }
}

criterion_group!(benches, message, hostile);
criterion_main!(benches);
