//! `analyze rfc4733`: lists of telephone-event packets in the order in which they arrive, through the session that hears
//! them in a call. Its time is that of the packets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use media::{Codec, Negotiated, Session, SessionConfig};
use serde::{Deserialize, Serialize};

use super::{Fault, print_line};
use crate::commands::Outcome;

/// Where they are.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A JSON array of `{name, expect_digits, packets: [{at_ms, seq, ts, m, pt, event, e, vol, dur}]}`.
    #[arg(value_name = "SCENARIOS.json")]
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    expect_digits: String,
    packets: Vec<Packet>,
}

#[derive(Debug, Deserialize)]
struct Packet {
    at_ms: u64,
    seq: u16,
    ts: u32,
    m: u8,
    pt: u8,
    event: u8,
    e: u8,
    #[serde(default)]
    vol: u8,
    dur: u16,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    digits: String,
    expected: String,
    ok: bool,
    presses: Vec<Press>,
}

#[derive(Debug, Serialize)]
struct Press {
    digit: char,
    duration_ms: u32,
}

#[derive(Debug, Serialize)]
struct Summary {
    scenarios: usize,
    passed: usize,
}

/// Some digits are not what the file expects.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} scenarios came out otherwise than expected")]
struct Differs {
    failed: usize,
    all: usize,
}

/// A line for each, and one that counts them.
pub(super) fn run(options: &Options) -> Outcome {
    let read =
        || -> Result<Vec<Scenario>, Fault> { Ok(serde_json::from_slice(&std::fs::read(&options.file)?)?) };
    let scenarios = read().map_err(|fault| format!("{}: {fault}", options.file.display()))?;
    let all = scenarios.len();
    let mut passed = 0;
    for scenario in scenarios {
        let presses = heard(&scenario.packets);
        let digits: String = presses.iter().map(|press| press.digit).collect();
        let ok = digits == scenario.expect_digits;
        passed += usize::from(ok);
        print_line(&Line { name: scenario.name, digits, expected: scenario.expect_digits, ok, presses })?;
    }
    print_line(&Summary { scenarios: all, passed })?;
    if passed == all { Ok(()) } else { Err(Differs { failed: all - passed, all }.into()) }
}

/// The digits of a call in which these packets come, and nothing after them.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock is asked once, for a beginning; time is that of the packets"
)]
fn heard(packets: &[Packet]) -> Vec<Press> {
    let start = Instant::now();
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let mut negotiated = Negotiated::plain(peer, Codec::Pcmu);
    negotiated.telephone_event = packets.first().map(|packet| packet.pt).or(negotiated.telephone_event);
    let mut session = Session::new(start, &negotiated, SessionConfig::from_seed(1));
    let mut presses = Vec::new();
    let mut last = start;
    for packet in packets {
        let now = start + Duration::from_millis(packet.at_ms);
        pass(&mut session, now);
        // What is not used is counted by the session; here the digits tell.
        let _ = session.handle_rtp(now, peer, &packet.to_bytes());
        take(&mut session, now, &mut presses);
        last = now;
    }
    let end = last + Duration::from_secs(1);
    pass(&mut session, end);
    take(&mut session, end, &mut presses);
    presses
}

/// Time passes, deadline by deadline.
fn pass(session: &mut Session, until: Instant) {
    while let Some(deadline) = session.poll_timeout().filter(|deadline| *deadline <= until) {
        session.handle_timeout(deadline);
        while session.next_frame(deadline).is_some() {}
    }
}

fn take(session: &mut Session, now: Instant, presses: &mut Vec<Press>) {
    while session.next_frame(now).is_some() {}
    while let Some(press) = session.next_dtmf() {
        presses.push(Press { digit: press.digit.as_char(), duration_ms: press.duration_ms });
    }
}

impl Packet {
    fn to_bytes(&self) -> Vec<u8> {
        let mut packet = vec![0x80, self.pt & 0x7F | (self.m & 1) << 7];
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.ts.to_be_bytes());
        packet.extend([1, 2, 3, 4]);
        packet.extend([self.event, self.vol & 0x3F | (self.e & 1) << 7]);
        packet.extend(self.dur.to_be_bytes());
        packet
    }
}
