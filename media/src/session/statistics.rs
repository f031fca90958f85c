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
    /// How much longer the runs of lost packets are than those of random loss, from 1 (G.107 §3.5).
    pub burst_ratio: f32,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter_ms: f32,
    /// Round-trip time from the peer's last report (RFC 3550 §6.4.1).
    pub rtt_ms: Option<f32>,
    /// What the peer's last report says it lost of ours, since the report before.
    pub remote_loss_pct: Option<f32>,
    /// What the peer's last report says it lost of ours in all, in percent of what was sent.
    pub remote_lost_pct: Option<f32>,
    /// Interarrival jitter as the peer measures it.
    pub remote_jitter_ms: Option<f32>,
    /// RTP packets sent.
    pub sent: u64,
    /// Frames handed to the engine's side, guesses not counted.
    pub frames_up: u64,
    /// Audio that was guessed in the place of lost packets.
    pub concealed_ms: u64,
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

impl Statistics {
    /// What nobody heard, in percent of what was sent to us: packets that never came, and those that came too late.
    pub fn unheard_pct(&self) -> f32 {
        let came = self.received.saturating_sub(self.duplicates);
        let sent = came + self.lost;
        if sent == 0 { 0.0 } else { ((self.lost + self.late).min(sent) as f64 / sent as f64 * 100.0) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_came_too_late_was_heard_as_little_as_one_that_never_came() {
        let statistics = |received, lost, late, duplicates| Statistics {
            received,
            lost,
            late,
            duplicates,
            ..Statistics::default()
        };
        assert_eq!(statistics(0, 0, 0, 0).unheard_pct(), 0.0);
        assert_eq!(statistics(95, 5, 0, 0).unheard_pct(), 5.0);
        assert_eq!(statistics(95, 5, 10, 0).unheard_pct(), 15.0);
        assert_eq!(statistics(105, 5, 0, 10).unheard_pct(), 5.0);
        assert_eq!(statistics(3, 0, 9, 3).unheard_pct(), 0.0);
    }
}
