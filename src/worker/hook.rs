//! A platform's session on its call's worker: the websocket in the place of RTP sockets.
//!
//! To the [`Voice`](super::Voice) its legs are like any others: what comes from the platform is put into RTP packets that
//! no network has seen, and what would be sent in one is taken out again. So everything that legs can do they can.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::beats::Seat;
use super::link::Link;
use super::poller::Interest;
use crate::bridge::{AudioHook, HOOK_FRAME};
use crate::call::LegId;

/// The length of an RTP header (RFC 3550 §5.1).
pub(super) const RTP_HEADER: usize = 12;

/// An RTP packet with 20 ms of PCMU.
pub(super) type Packet = [u8; RTP_HEADER + HOOK_FRAME];

/// Samples in a millisecond.
const SAMPLES_A_MS: u32 = 8;

/// A session.
#[derive(Debug)]
pub(super) struct Hooked {
    pub(super) hook: AudioHook,
    pub(super) link: Link,
    pub(super) watched: Interest,
    pub(super) peer: SocketAddr,
    /// When something was heard last.
    pub(super) heard: Instant,
    /// Once the session is taken.
    pub(super) legs: Vec<HookLeg>,
}

/// One channel of it.
#[derive(Debug)]
pub(super) struct HookLeg {
    pub(super) id: LegId,
    pub(super) seat: Seat,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    began: bool,
}

impl HookLeg {
    pub(super) fn new(id: LegId, seat: Seat, ssrc: u32) -> Self {
        Self { id, seat, sequence: 0, timestamp: 0, ssrc, began: false }
    }

    /// The platform has thrown away so much.
    pub(super) fn skip(&mut self, length: Duration) {
        let ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
        self.timestamp = self.timestamp.wrapping_add(ms.wrapping_mul(SAMPLES_A_MS));
        self.began = false;
    }

    /// The next 20 ms as a packet.
    pub(super) fn packet(&mut self, audio: &[u8; HOOK_FRAME]) -> Packet {
        let mut packet = [0; RTP_HEADER + HOOK_FRAME];
        packet[0] = 0x80;
        // PCMU is 0; the marker says that a talk spurt begins (RFC 3551 §4.1).
        packet[1] = if std::mem::replace(&mut self.began, true) { 0 } else { 0x80 };
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        packet[RTP_HEADER..].copy_from_slice(audio);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(HOOK_FRAME as u32);
        packet
    }
}
