//! The peer's stream: its SSRC, its sequence and its jitter, after RFC 3550 appendix A.
//!
//! A new SSRC, or a jump in the sequence, is believed when the packet after it confirms it: one packet
//! lost, and no storm of invented sources moves us. RFC 3550 A.1 asks for two packets at the very beginning
//! too; here the first one counts, since its source address was checked and every packet of a call is
//! wanted. Our own SSRC coming back is not taken for a collision: echo services send it.

/// RFC 3550 A.1: a gap up to here is loss.
const MAX_DROPOUT: u16 = 3_000;

/// RFC 3550 A.1: a packet back up to here is reordering.
const MAX_MISORDER: u16 = 100;

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    /// The highest sequence number seen, extended by its wraps. Begins one wrap up, so that a packet from
    /// before the first one has a number too.
    highest: u32,
    first: u32,
    received: u64,
    /// The sequence number that would confirm a jump.
    confirms_jump: Option<u16>,
    /// The SSRC and sequence number that would confirm a new stream.
    confirms_stream: Option<(u32, u16)>,
    /// At the last report.
    expected_before: u64,
    received_before: u64,
    /// RFC 3550 A.8, in units of the timestamp, the jitter times 16.
    transit: Option<u32>,
    /// Ticks of the clock in 1/8,000 s.
    scale: u32,
    jitter: u32,
}

/// Where a packet belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At this extended sequence number, the highest so far.
    Newest(u32),
    /// At this one, before others that came already.
    Older(u32),
    /// The peer began anew; this packet is the first of another [`Stream`].
    Restart,
    /// Nowhere until the next one confirms it.
    Unconfirmed,
}

impl Stream {
    /// Begins with its first packet.
    pub(super) fn new(ssrc: u32, sequence: u16) -> Self {
        let first = 0x1_0000 | u32::from(sequence);
        Self {
            ssrc,
            highest: first,
            first,
            received: 1,
            confirms_jump: None,
            confirms_stream: None,
            expected_before: 0,
            received_before: 0,
            transit: None,
            scale: 1,
            jitter: 0,
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The highest extended sequence number so far.
    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    /// Whether a packet of another SSRC is the second one of a new stream. Any packet of this stream
    /// between takes the first one's word back.
    pub(super) fn confirms(&mut self, ssrc: u32, sequence: u16) -> bool {
        let confirmed = self.confirms_stream == Some((ssrc, sequence));
        self.confirms_stream = Some((ssrc, sequence.wrapping_add(1)));
        confirmed
    }

    /// Places a packet of this stream.
    pub(super) fn place(&mut self, sequence: u16) -> Place {
        self.confirms_stream = None;
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.received += 1;
            self.confirms_jump = None;
            if ahead == 0 {
                return Place::Older(self.highest);
            }
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            return Place::Newest(self.highest);
        }
        let behind = ahead.wrapping_neg();
        if behind <= MAX_MISORDER {
            self.received += 1;
            return Place::Older(self.highest.wrapping_sub(u32::from(behind)));
        }
        if self.confirms_jump == Some(sequence) {
            return Place::Restart;
        }
        self.confirms_jump = Some(sequence.wrapping_add(1));
        Place::Unconfirmed
    }

    /// RFC 3550 A.8. `arrival` and `timestamp` in ticks of the codec's clock, of which 1/8,000 s has `scale`. A codec with another
    /// clock begins anew (RFC 7160 §4.2).
    pub(super) fn measure(&mut self, arrival: u32, timestamp: u32, scale: u32) {
        if std::mem::replace(&mut self.scale, scale) != scale {
            self.transit = None;
        }
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs() / scale.max(1);
            // A jump of the sender's clock is no jitter, and would take minutes to fade.
            if difference < 80_000 {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    /// Interarrival jitter in 1/8,000 s.
    pub(super) fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    /// The same in ticks of the codec's clock, as RTCP reports it.
    pub(super) fn reported_jitter(&self) -> u32 {
        self.jitter() * self.scale
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// RFC 3550 A.3.
    pub(super) fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.first)) + 1
    }

    /// Packets that never came, not below zero where some came twice.
    pub(super) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// The extended highest sequence number as RTCP reports it.
    pub(super) fn reported_highest(&self) -> u32 {
        self.highest.wrapping_sub(0x1_0000)
    }

    /// RFC 3550 A.3: the fraction lost since the last call, of 256.
    pub(super) fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.expected_before;
        let received = self.received - self.received_before;
        self.expected_before = self.expected();
        self.received_before = self.received;
        let lost = expected.saturating_sub(received);
        (lost * 256).checked_div(expected).map_or(0, |fraction| u8::try_from(fraction).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_counts_on_through_its_wraps() {
        let mut stream = Stream::new(1, 65_534);

        // A day at 50 packets a second is 66 wraps.
        let mut last = 0;
        for step in 1..=4_320_000_u32 {
            let place = stream.place(65_534_u16.wrapping_add(step as u16));
            let Place::Newest(number) = place else { panic!("{place:?} at step {step}") };
            last = number;
        }

        assert_eq!(last, 0x1_0000 + 65_534 + 4_320_000);
        assert_eq!((stream.expected(), stream.lost()), (4_320_001, 0));
        assert_eq!(stream.reported_highest(), 65_534 + 4_320_000);
    }

    #[test]
    fn packets_around_a_wrap_are_placed_in_their_order() {
        let mut stream = Stream::new(1, 65_535);

        assert_eq!(stream.place(1), Place::Newest(0x2_0001));
        assert_eq!(stream.place(0), Place::Older(0x2_0000));
        assert_eq!(stream.place(65_534), Place::Older(0x1_FFFE));
    }

    #[test]
    fn a_jump_is_believed_at_its_second_packet() {
        let mut stream = Stream::new(1, 100);

        assert_eq!(stream.place(30_000), Place::Unconfirmed);
        assert_eq!(stream.place(30_001), Place::Restart);
    }

    #[test]
    fn a_single_wild_packet_changes_nothing() {
        let mut stream = Stream::new(1, 100);
        stream.place(30_000);

        assert_eq!(stream.place(101), Place::Newest(0x1_0000 + 101));
        assert_eq!(stream.place(30_001), Place::Unconfirmed);
    }

    #[test]
    fn another_ssrc_is_confirmed_only_by_its_next_packet_without_ours_between() {
        let mut stream = Stream::new(1, 100);

        assert!(!stream.confirms(2, 500));
        stream.place(101);
        assert!(!stream.confirms(2, 501));
        assert!(!stream.confirms(3, 502));
        assert!(!stream.confirms(2, 502));
        assert!(stream.confirms(2, 503));
    }

    #[test]
    fn loss_is_what_was_expected_and_never_came() {
        let mut stream = Stream::new(1, 0);
        for sequence in (1..100).filter(|sequence| sequence % 4 != 0) {
            stream.place(sequence);
        }

        assert_eq!((stream.expected(), stream.received(), stream.lost()), (100, 76, 24));
        assert_eq!(stream.fraction_lost(), (24 * 256 / 100) as u8);
        assert_eq!(stream.fraction_lost(), 0, "nothing since");
    }

    /// RFC 3550 A.8: with packets alternately 0 and 10 ms late, the mean deviation is 10 ms.
    #[test]
    fn jitter_settles_at_the_mean_difference_of_transit() {
        let mut stream = Stream::new(1, 0);
        for packet in 0..1_000_u32 {
            stream.measure(160 * packet + 80 * (packet % 2), 160 * packet, 1);
        }

        assert!((79..=81).contains(&stream.jitter()), "{}", stream.jitter());
    }
}
