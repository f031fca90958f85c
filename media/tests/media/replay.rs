//! Captures of real calls, and of attacks, through a session: nothing panics, and what is heard makes sense.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::pcap::{self, Datagram};
use crate::support::{self, frames, ms, start};
use media::{Codec, Negotiated, Session, SessionConfig, Statistics};

#[test]
fn every_flow_of_every_capture_is_heard_or_refused() {
    let Some(folder) = support::fixture("rtp-pcap") else { return };
    let mut heard = 0;
    for file in support::files(&folder) {
        for ((from, to), datagrams) in flows(&file) {
            let Replayed { statistics, keys } = replay(from, &datagrams, codec_of(&datagrams));
            let discarded = statistics.discarded.total();
            if statistics.frames_up > 0 || !keys.is_empty() {
                println!(
                    "{} {from} > {to}: {} packets, {} up, lost {}, late {}, jitter {:.1} ms, refused {discarded}, keys {keys:?}",
                    file.file_name().unwrap().to_string_lossy(),
                    datagrams.len(),
                    statistics.frames_up,
                    statistics.lost,
                    statistics.late,
                    statistics.jitter_ms,
                );
            }

            assert!(statistics.frames_up <= datagrams.len() as u64);
            assert!(statistics.frames_up + discarded <= 2 * datagrams.len() as u64);
            assert!(statistics.loss_pct <= 100.0 && statistics.jitter_ms.is_finite());
            heard += statistics.frames_up;
        }
    }
    assert!(heard > 1_000, "only {heard} frames in all captures");
}

#[test]
fn a_recorded_g711_call_is_heard_whole() {
    let Some(file) = support::fixture("rtp-pcap/wireshark/sip-rtp-g711.pcap") else { return };
    let mut calls = 0;
    for ((from, _), datagrams) in flows(&file).into_iter().filter(|(_, datagrams)| datagrams.len() > 100) {
        let Replayed { statistics, .. } = replay(from, &datagrams, codec_of(&datagrams));

        let audio = datagrams.iter().filter(|datagram| is_rtp(datagram, codec_of(&datagrams))).count();
        assert_eq!(statistics.frames_up, audio as u64, "{from}");
        assert_eq!((statistics.lost, statistics.late), (0, 0), "{from}");
        assert!(statistics.jitter_ms < 20.0, "{from}: {}", statistics.jitter_ms);
        calls += 1;
    }
    assert!(calls > 0);
}

#[test]
fn recorded_keys_are_heard_once_each() {
    for (name, key) in [
        ("0", '0'),
        ("1", '1'),
        ("2", '2'),
        ("3", '3'),
        ("4", '4'),
        ("5", '5'),
        ("6", '6'),
        ("7", '7'),
        ("8", '8'),
        ("9", '9'),
        ("star", '*'),
        ("pound", '#'),
    ] {
        let Some(file) = support::fixture(&format!("rtp-pcap/sipp/dtmf_2833_{name}.pcap")) else { return };
        for ((from, _), datagrams) in flows(&file) {
            let Replayed { keys, .. } = replay(from, &datagrams, Codec::Pcmu);

            assert_eq!(keys, key.to_string(), "{name}");
        }
    }
}

/// Arrival times of real and of modelled networks: every packet is heard, late or lost, and none twice.
#[test]
fn on_recorded_networks_every_packet_is_heard_late_or_lost() {
    let Some(folder) = support::fixture("audio/traces") else { return };
    for file in support::files(&folder).iter().filter(|file| !file.ends_with("index.csv")) {
        let text = std::fs::read_to_string(file).unwrap();
        let mut arrivals: Vec<(u64, u32)> = text.lines().skip(1).filter_map(arrival).collect();
        arrivals.sort_unstable();
        let from = SocketAddr::from(([192, 0, 2, 1], 4_000));
        let datagrams: Vec<_> = arrivals
            .iter()
            .map(|(micros, index)| Datagram {
                at: std::time::Duration::from_micros(*micros),
                from,
                to: from,
                payload: support::Rtp::nth(*index).bytes(),
            })
            .collect();

        let Replayed { statistics, .. } = replay(from, &datagrams, Codec::Pcmu);

        let name = file.file_name().unwrap().to_string_lossy();
        println!("{name}: {} of {}, late {}", statistics.frames_up, arrivals.len(), statistics.late);
        assert_eq!(statistics.frames_up + statistics.late, arrivals.len() as u64, "{name}");
        assert!(statistics.late * 10 <= arrivals.len() as u64, "{name}: {} late", statistics.late);
    }
}

/// `seq,send_ms,arrival_ms`, in microseconds; nothing for a packet that never came.
fn arrival(line: &str) -> Option<(u64, u32)> {
    let mut fields = line.split(',');
    let index = fields.next()?.parse().ok()?;
    let arrival: f64 = fields.nth(1)?.trim().parse().ok()?;
    Some(((arrival * 1_000.0) as u64, index))
}

struct Replayed {
    statistics: Statistics,
    keys: String,
}

/// Both ports of the leg get what the capture holds, at the times it came.
fn replay(from: SocketAddr, datagrams: &[Datagram], codec: Codec) -> Replayed {
    let start = start();
    let events = datagrams.iter().find_map(|datagram| {
        let (first, number) = (*datagram.payload.first()?, *datagram.payload.get(1)? & 0x7F);
        (first >> 6 == 2 && datagram.payload.len() == 16 && number >= 96).then_some(number)
    });
    let negotiated = Negotiated { telephone_event: events.or(Some(101)), ..Negotiated::plain(from, codec) };
    let mut session = Session::new(start, &negotiated, SessionConfig::from_seed(1));
    let mut keys = String::new();
    let mut now = start;
    for datagram in datagrams {
        let arrival = start + datagram.at;
        while let Some(deadline) = session.poll_timeout().filter(|deadline| *deadline <= arrival) {
            session.handle_timeout(deadline);
            frames(&mut session, deadline);
        }
        now = arrival;
        if session.handle_rtp(now, from, &datagram.payload).is_err() {
            let _ = session.handle_rtcp(now, from, &datagram.payload);
        }
        frames(&mut session, now);
        keys.extend(std::iter::from_fn(|| session.next_dtmf()).map(|key| key.digit.as_char()));
    }
    now += ms(1_000);
    session.handle_timeout(now);
    frames(&mut session, now);
    keys.extend(std::iter::from_fn(|| session.next_dtmf()).map(|key| key.digit.as_char()));
    Replayed { statistics: session.statistics(now), keys }
}

/// The datagrams of one direction between two sockets.
type Flows = BTreeMap<(SocketAddr, SocketAddr), Vec<Datagram>>;

fn flows(file: &std::path::Path) -> Flows {
    let mut flows = Flows::new();
    for datagram in pcap::datagrams(&std::fs::read(file).unwrap()) {
        flows.entry((datagram.from, datagram.to)).or_default().push(datagram);
    }
    flows
}

fn codec_of(datagrams: &[Datagram]) -> Codec {
    let alaw = datagrams.iter().filter(|datagram| is_rtp(datagram, Codec::Pcma)).count();
    let ulaw = datagrams.iter().filter(|datagram| is_rtp(datagram, Codec::Pcmu)).count();
    if alaw > ulaw { Codec::Pcma } else { Codec::Pcmu }
}

fn is_rtp(datagram: &Datagram, codec: Codec) -> bool {
    let [first, second, ..] = datagram.payload[..] else { return false };
    first >> 6 == 2 && Some(second & 0x7F) == codec.static_payload_type() && datagram.payload.len() > 12
}
