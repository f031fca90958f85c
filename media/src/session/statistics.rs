//! What a leg has to tell about its quality.

use super::DiscardCounts;

/// A snapshot; counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Packets of the peer's stream that were accepted, late ones and duplicates included.
    pub received: u64,
    /// Packets that never came (RFC 3550 A.3), not below zero.
    pub lost: u64,
    /// Packets that came when their turn was over.
    pub late: u64,
    /// Packets that overtook each other and were put in order.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Datagrams not used, by reason.
    pub discarded: DiscardCounts,
    /// `lost` in percent of what was expected.
    pub loss_pct: f32,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter_ms: f32,
    /// Round-trip time from the peer's last report (RFC 3550 §6.4.1).
    pub rtt_ms: Option<f32>,
    /// What the peer's last report says it lost of ours, since the report before.
    pub remote_loss_pct: Option<f32>,
    /// Interarrival jitter as the peer measures it.
    pub remote_jitter_ms: Option<f32>,
    /// RTP packets sent.
    pub sent: u64,
    /// Frames handed to the engine's side.
    pub frames_up: u64,
    /// Frames of the engine that were sent.
    pub frames_down: u64,
    /// Frames of comfort noise that were sent.
    pub silence_down: u64,
    /// Digits heard.
    pub dtmf_in: u64,
    /// Digits sent.
    pub dtmf_out: u64,
    /// How often play-out ran dry inside of a segment.
    pub underruns: u64,
    /// Audio thrown away because its segment was cleared.
    pub cleared_ms: u64,
}
