//! Reports of one leg: RFC 3550 §6, for two participants.
//!
//! A report goes out every 5 s, give or take a half by chance (§6.2): a sender report while we send, else a
//! receiver report, and always our CNAME. Left out, since a leg has one peer and one stream each way:
//! the share of bandwidth, reconsideration of timers, time-outs of members and resolution of SSRC collisions (§6.3, §8.2).
//! Reduced-size packets (RFC 5506) are read.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rtcp_types::{Bye, ReceiverReport, ReportBlock, RtcpPacket, RtcpPacketParser, SenderReport};

use super::stream::Stream;
use super::{Discard, SessionFact};

/// The middle of the interval between two reports.
const INTERVAL: Duration = Duration::from_secs(5);

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// A round trip above this is a broken report.
const LONGEST_TRIP: u32 = 60 << 16;

const BYE: u8 = 203;
const SDES: u8 = 202;
const RECEIVER_REPORT: u8 = 201;
const SENDER_REPORT: u8 = 200;

/// See the head.
#[derive(Debug)]
pub(super) struct Rtcp {
    ssrc: u32,
    cname: String,
    start: Instant,
    wall: SystemTime,
    chance: SmallRng,
    due: Instant,
    /// Where the peer's reports came from.
    pub(super) learned: Option<SocketAddr>,
    /// The middle of the NTP time in the peer's last sender report, and when it came.
    last_report: Option<(u32, Instant)>,
    /// Packets we had sent at our last report.
    sent_before: u64,
    pub(super) round_trip: Option<Duration>,
    /// Fraction of 256, and units of the codec's clock.
    pub(super) remote_loss: Option<u8>,
    pub(super) remote_lost: Option<u32>,
    pub(super) remote_jitter: Option<u32>,
}

/// What we sent so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// The timestamp of the audio that is due at the moment of the report.
    pub(super) timestamp: u32,
}

/// Whether a report is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Farewell,
}

impl Rtcp {
    /// The first report is due after half an interval (§6.2).
    pub(super) fn new(start: Instant, ssrc: u32, mut cname: String, seed: u64, wall: SystemTime) -> Self {
        // 255 bytes is what an item can hold (§6.5).
        let mut end = cname.len().min(255);
        while !cname.is_char_boundary(end) {
            end -= 1;
        }
        cname.truncate(end);
        let mut chance = SmallRng::seed_from_u64(seed);
        let due = start + INTERVAL.mul_f64(chance.random_range(0.25..0.75));
        Self {
            ssrc,
            cname,
            start,
            wall,
            chance,
            due,
            learned: None,
            last_report: None,
            sent_before: 0,
            round_trip: None,
            remote_loss: None,
            remote_lost: None,
            remote_jitter: None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// Writes a compound packet; answers its length, or nothing when `buffer` is too short.
    pub(super) fn write(
        &mut self,
        now: Instant,
        kind: Kind,
        sent: Sent,
        stream: Option<&mut Stream>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        self.due = now + INTERVAL.mul_f64(self.chance.random_range(0.5..1.5));
        let mut writer = Writer { buffer, at: 0 };
        let blocks = u8::from(stream.is_some());
        let block_words = u16::from(blocks) * 6;
        if sent.packets > self.sent_before {
            let ntp = self.ntp(now);
            writer.header(SENDER_REPORT, blocks, 6 + block_words)?;
            writer.u32(self.ssrc)?;
            writer.bytes(&ntp.to_be_bytes())?;
            writer.u32(sent.timestamp)?;
            writer.u32(sent.packets as u32)?;
            writer.u32(sent.octets as u32)?;
        } else {
            writer.header(RECEIVER_REPORT, blocks, 1 + block_words)?;
            writer.u32(self.ssrc)?;
        }
        self.sent_before = sent.packets;
        if let Some(stream) = stream {
            writer.u32(stream.ssrc())?;
            let lost = u32::try_from(stream.lost()).unwrap_or(u32::MAX).min(0x7F_FFFF);
            writer.u32(u32::from(stream.fraction_lost()) << 24 | lost)?;
            writer.u32(stream.reported_highest())?;
            writer.u32(stream.reported_jitter())?;
            let (last, delay) = self
                .last_report
                .map_or((0, 0), |(middle, came)| (middle, fixed_point(now.saturating_duration_since(came))));
            writer.u32(last)?;
            writer.u32(delay)?;
        }
        self.describe(&mut writer)?;
        if kind == Kind::Farewell {
            writer.header(BYE, 1, 1)?;
            writer.u32(self.ssrc)?;
        }
        Some(writer.at)
    }

    /// Reads a compound packet of the peer. `stream` is its SSRC, where we know it.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        packet: &[u8],
        stream: Option<u32>,
        facts: &mut VecDeque<SessionFact>,
    ) -> Result<(), Discard> {
        let mut rest = packet;
        while !rest.is_empty() {
            let [flags, kind, high, low] = *rest.first_chunk().ok_or(Discard::Malformed)?;
            let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            if flags >> 6 != 2 || length > rest.len() {
                return Err(Discard::Malformed);
            }
            let (part, after) = rest.split_at(length);
            rest = after;
            match kind {
                SenderReport::PACKET_TYPE => {
                    let report = SenderReport::parse(part).map_err(|_| Discard::Malformed)?;
                    self.last_report = Some(((report.ntp_timestamp() >> 16) as u32, now));
                    self.read_blocks(now, report.report_blocks());
                }
                ReceiverReport::PACKET_TYPE => {
                    let report = ReceiverReport::parse(part).map_err(|_| Discard::Malformed)?;
                    self.read_blocks(now, report.report_blocks());
                }
                Bye::PACKET_TYPE => {
                    let bye = Bye::parse(part).map_err(|_| Discard::Malformed)?;
                    if bye.ssrcs().any(|ssrc| Some(ssrc) == stream) && !facts.contains(&SessionFact::Bye) {
                        facts.push_back(SessionFact::Bye);
                    }
                }
                // Descriptions, applications, feedback, extended reports: nothing we need.
                _ => {}
            }
        }
        Ok(())
    }

    /// What the peer says of our stream (§6.4.1).
    fn read_blocks<'a>(&mut self, now: Instant, blocks: impl Iterator<Item = ReportBlock<'a>>) {
        for block in blocks.filter(|block| block.ssrc() == self.ssrc) {
            self.remote_loss = Some(block.fraction_lost());
            // 24 bits with a sign: duplicates make it less than nothing.
            let lost = block.cumulative_lost() & 0xFF_FFFF;
            self.remote_lost = Some(if lost >= 0x80_0000 { 0 } else { lost });
            self.remote_jitter = Some(block.interarrival_jitter());
            let last = block.last_sender_report_timestamp();
            let delay = block.delay_since_last_sender_report_timestamp();
            let middle = (self.ntp(now) >> 16) as u32;
            let trip = middle.wrapping_sub(last).wrapping_sub(delay);
            if last != 0 && trip < LONGEST_TRIP {
                self.round_trip = Some(Duration::from_secs_f64(f64::from(trip) / 65_536.0));
            }
        }
    }

    /// One chunk with our CNAME, padded with zeros to a whole word, at least one (§6.5).
    fn describe(&self, writer: &mut Writer<'_>) -> Option<()> {
        let name = self.cname.as_bytes();
        let padding = 4 - (2 + name.len()) % 4;
        let words = (4 + 2 + name.len() + padding) / 4;
        writer.header(SDES, 1, words as u16)?;
        writer.u32(self.ssrc)?;
        writer.bytes(&[1, name.len() as u8])?;
        writer.bytes(name)?;
        writer.bytes(&[0; 4][..padding])
    }

    /// The time in NTP's 64 bits: seconds since 1900 and their fraction.
    fn ntp(&self, now: Instant) -> u64 {
        let at_start = self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = at_start + now.saturating_duration_since(self.start);
        let fraction = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
        time.as_secs().wrapping_add(NTP_EPOCH) << 32 | fraction
    }
}

/// A duration in 1/65,536 of a second.
fn fixed_point(duration: Duration) -> u32 {
    u32::try_from((duration.as_micros() << 16) / 1_000_000).unwrap_or(u32::MAX)
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    /// `words` is the length without the header's own word.
    fn header(&mut self, kind: u8, count: u8, words: u16) -> Option<()> {
        let [high, low] = words.to_be_bytes();
        self.bytes(&[0x80 | count, kind, high, low])
    }

    fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.buffer.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use rtcp_types::{Compound, Packet};

    use super::*;

    const SENT: Sent = Sent { packets: 50, octets: 8_000, timestamp: 77 };

    #[test]
    fn a_report_of_a_sender_reads_back() {
        let (start, mut rtcp) = rtcp();
        let mut stream = Stream::new(9, 65_535);
        for sequence in [0, 1, 3] {
            stream.place(sequence);
        }
        let mut buffer = [0; 512];

        let length = rtcp.write(start, Kind::Farewell, SENT, Some(&mut stream), &mut buffer).unwrap();

        let parts: Vec<_> = Compound::parse(&buffer[..length]).unwrap().map(Result::unwrap).collect();
        let [Packet::Sr(report), Packet::Sdes(description), Packet::Bye(bye)] = &parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!((report.ssrc(), report.packet_count(), report.octet_count()), (1, 50, 8_000));
        assert_eq!(report.ntp_timestamp() >> 32, NTP_EPOCH + 1_000);
        let block = report.report_blocks().next().unwrap();
        assert_eq!((block.ssrc(), block.cumulative_lost(), block.fraction_lost()), (9, 1, 51));
        assert_eq!(block.extended_sequence_number(), 0x1_0003);
        let item = description.chunks().next().unwrap().items().next().unwrap().value();
        assert_eq!(item, b"leg@example");
        assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn without_packets_since_the_last_report_it_is_a_receivers() {
        let (start, mut rtcp) = rtcp();
        let mut buffer = [0; 512];
        rtcp.write(start, Kind::Regular, SENT, None, &mut buffer).unwrap();

        rtcp.write(start, Kind::Regular, SENT, None, &mut buffer).unwrap();

        assert_eq!((buffer[0], buffer[1]), (0x80, RECEIVER_REPORT));
    }

    #[test]
    fn names_of_every_length_are_padded_to_words() {
        for length in 0..300 {
            let name = "n".repeat(length);
            let mut rtcp = Rtcp::new(start(), 1, name, 5, SystemTime::UNIX_EPOCH);
            let mut buffer = [0; super::super::REPORT_MAX];

            let written = rtcp.write(start(), Kind::Regular, SENT, None, &mut buffer).unwrap();

            let parts = Compound::parse(&buffer[..written]).unwrap().map(Result::unwrap).count();
            assert_eq!(parts, 2, "{length}");
        }
    }

    #[test]
    fn the_round_trip_is_what_remains_of_the_peers_answer() {
        let (start, mut us) = rtcp();
        let mut them = Rtcp::new(start, 9, String::from("them"), 6, SystemTime::UNIX_EPOCH);
        let mut facts = VecDeque::new();
        let mut buffer = [0; 512];
        let ms = Duration::from_millis;

        let length = us.write(start, Kind::Regular, SENT, None, &mut buffer).unwrap();
        them.handle(start + ms(40), &buffer[..length], Some(1), &mut facts).unwrap();
        let mut stream = Stream::new(1, 0);
        let length =
            them.write(start + ms(540), Kind::Regular, SENT, Some(&mut stream), &mut buffer).unwrap();
        us.handle(start + ms(610), &buffer[..length], Some(9), &mut facts).unwrap();

        let trip = us.round_trip.unwrap();
        assert!((trip.as_secs_f64() - 0.110).abs() < 0.000_1, "{trip:?}");
        assert_eq!((us.remote_loss, us.remote_jitter), (Some(0), Some(0)));
    }

    #[test]
    fn intervals_stay_within_half_and_one_and_a_half() {
        let (start, mut rtcp) = rtcp();
        let mut buffer = [0; 512];
        assert!(!rtcp.is_due(start + Duration::from_millis(1_249)));
        assert!(rtcp.is_due(start + Duration::from_millis(3_750)));
        let mut dues = Vec::new();
        for _ in 0..100 {
            rtcp.write(start, Kind::Regular, SENT, None, &mut buffer).unwrap();
            dues.push((rtcp.due - start).as_secs_f64());
        }

        assert!(dues.iter().all(|due| (2.5..7.5).contains(due)));
        let spread = dues.iter().copied().fold(0.0, f64::max) - dues.iter().copied().fold(9.0, f64::min);
        assert!(spread > 3.0, "reports of many calls must not march in step");
    }

    #[test]
    fn goodbye_counts_only_for_the_stream_we_hear() {
        let (start, mut rtcp) = rtcp();
        let mut facts = VecDeque::new();
        let bye = [0x81, BYE, 0, 1, 0, 0, 0, 9];

        rtcp.handle(start, &bye, Some(8), &mut facts).unwrap();
        assert!(facts.is_empty());
        rtcp.handle(start, &bye, Some(9), &mut facts).unwrap();
        rtcp.handle(start, &bye, Some(9), &mut facts).unwrap();

        assert_eq!(facts, [SessionFact::Bye]);
    }

    #[test]
    fn lying_lengths_are_malformed() {
        let (start, mut rtcp) = rtcp();
        let mut facts = VecDeque::new();
        for packet in [
            &[0x80][..],
            &[0x80, 201, 0, 1],
            &[0x80, 200, 0, 0],
            &[0x40, 201, 0, 0],
            &[0x9F, 201, 0, 1, 0, 0, 0, 1],
        ] {
            assert_eq!(rtcp.handle(start, packet, None, &mut facts), Err(Discard::Malformed), "{packet:?}");
        }
    }

    fn rtcp() -> (Instant, Rtcp) {
        let start = start();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        (start, Rtcp::new(start, 1, String::from("leg@example"), 5, wall))
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn start() -> Instant {
        Instant::now()
    }
}
