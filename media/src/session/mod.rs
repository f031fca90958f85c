//! The RTP of one leg, both ways: RFC 3550, RFC 3551, RFC 4733.
//!
//! ```text
//!   handle_rtp: what is it? -> parse -> Source -> Stream -> MediaClock -> Window -> Coding -> Gaps -> next_frame
//!                                         |          |
//!                                         |          +-> DtmfIn -> next_dtmf
//!                                         v
//!   next_packet: Playout or DtmfOut -> destination           Rtcp <-> handle_rtcp, next_report
//! ```
//!
//! A packet is parsed, judged and copied once, into a place of the window; `next_frame` lends it out. On the
//! way down a frame goes from the play-out's ring through the encoder into the packet. SRTP stands before
//! the parser and behind the writer.

mod coding;
mod config;
mod demultiplex;
mod discard;
mod dtmf_in;
mod dtmf_out;
mod gaps;
mod handshake;
mod media_clock;
mod protection;
mod rtcp;
mod source;
mod statistics;
mod stream;
mod window;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp_types::RtpPacket;

pub use config::SessionConfig;
pub use discard::{Discard, DiscardCounts};
pub use statistics::Statistics;

use crate::{
    AudioFormat, BEAT_MAX, Codec, Digit, Direction, Negotiated, Played, Playout, SRTCP_OVERHEAD,
    SRTP_OVERHEAD, SrtpSuite, Unsecured,
};
use coding::Coding;
use demultiplex::{Accepts, Payload, Protocol};
use dtmf_in::{DtmfIn, EventPayload};
use dtmf_out::DtmfOut;
use gaps::{Gaps, Stamp};
use handshake::Handshake;
use media_clock::MediaClock;
use protection::{DATAGRAM_MAX, Protection};
use rtcp::{Kind, Rtcp, Sent};
pub(crate) use source::same;
use source::{Source, Verdict};
use stream::{Place, Stream};
use window::{Content, Frame, PAYLOAD_MAX, Wait, Window};

/// The longest packet that [`Session::next_packet`] writes.
pub const PACKET_MAX: usize = RTP_HEADER + PAYLOAD_DOWN_MAX + SRTP_OVERHEAD;

/// The longest packet that [`Session::next_report`] and [`Session::farewell`] write.
pub const REPORT_MAX: usize = 512;

/// The most bytes that 20 ms take in any codec.
const PAYLOAD_DOWN_MAX: usize = 160;

/// Without extension and contributing sources, which we never write.
const RTP_HEADER: usize = 12;

/// The most facts that wait; what happens more often than it is asked for is not told.
const FACTS: usize = 32;

/// One packet's audio on its way to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpFrame<'a> {
    /// As [`Session::format`] says, of any packet time up to 60 ms.
    pub payload: &'a [u8],
    /// Since the first packet, gaps included, in 1/8,000 s whatever the rate; wraps after 6 days.
    pub media_time: u32,
    /// When it arrived, since the session began.
    pub capture: Duration,
    /// Something before it is missing, or its sender began anew.
    pub discontinuity: bool,
    /// A guess in the place of a packet that was lost.
    pub concealed: bool,
    /// The sender's marker: a talk spurt begins.
    pub marker: bool,
}

/// A key that the peer pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfDigit {
    /// Which.
    pub digit: Digit,
    /// How long, as far as we heard.
    pub duration_ms: u32,
}

/// Why a digit was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DtmfRefused {
    /// Too many digits wait.
    #[error("too many digits are waiting to be sent")]
    Full,
    /// The peer does not take telephone events.
    #[error("telephone-event was not negotiated")]
    NotNegotiated,
}

/// What a leg's owner should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFact {
    /// The first packet that was accepted.
    FirstPacket {
        /// From where.
        from: SocketAddr,
    },
    /// The peer sends from elsewhere now, and we send there.
    SourceChanged {
        /// From where.
        from: SocketAddr,
    },
    /// The peer's stream began anew with another SSRC.
    StreamChanged {
        /// The new one.
        ssrc: u32,
    },
    /// Nothing came for as long as the configuration allows, while neither side holds the other. Told
    /// once, until something comes again.
    Inactive,
    /// The peer said goodbye in RTCP.
    Bye,
    /// The DTLS handshake came to keys, and audio flows.
    Secured {
        /// By which it is protected.
        suite: SrtpSuite,
    },
    /// It did not; audio does not flow.
    NotSecured(Unsecured),
}

/// The RTP of one leg, both ways.
#[derive(Debug)]
pub struct Session {
    start: Instant,
    direction: Direction,
    signalled_rtcp: SocketAddr,
    signalled_rtp: SocketAddr,
    /// RTCP shares the port of RTP.
    rtcp_mux: bool,
    protection: Option<Protection>,
    handshake: Option<Handshake>,

    source: Source,
    stream: Option<Stream>,
    /// From an extended sequence number of the stream to a number of the window.
    offset: u32,
    accepts: Accepts,
    clock: MediaClock,
    window: Window,
    coding: Coding,
    gaps: Option<Gaps>,
    /// Room for what a codec has recovered.
    recovered: Vec<u8>,
    dtmf_in: DtmfIn,
    activity: Activity,

    codec: Codec,
    payload_type: u8,
    telephone_event: Option<u8>,
    playout: Playout,
    dtmf_out: DtmfOut,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Our next packet begins a talk spurt.
    marker: bool,

    rtcp: Rtcp,
    facts: VecDeque<SessionFact>,
    counts: Counts,
}

/// Whether the peer is heard, for [`SessionFact::Inactive`].
#[derive(Debug, Clone, Copy)]
struct Activity {
    patience: Duration,
    /// The last packet, or since when there should be some.
    last: Instant,
    told: bool,
}

/// What only this module counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    discarded: DiscardCounts,
    /// Of streams that were replaced.
    received: u64,
    lost: u64,
    expected: u64,
    reordered: u64,
    sent: u64,
    octets: u64,
    /// Packets that were given up, and the runs that they were lost in.
    missing: u64,
    gaps: u64,
    frames_up: u64,
    frames_down: u64,
    silence_down: u64,
}

impl Counts {
    /// G.107 §3.5: the mean run, by that of as much loss at random.
    fn burst_ratio(&self, lost: u64, expected: u64) -> f32 {
        if self.gaps == 0 || expected == 0 {
            return 1.0;
        }
        let run = self.missing as f64 / self.gaps as f64;
        (run * (1.0 - (lost as f64 / expected as f64).min(1.0))).max(1.0) as f32
    }
}

impl Session {
    /// A session that begins at `now`.
    pub fn new(now: Instant, negotiated: &Negotiated, config: SessionConfig) -> Self {
        let mut session = Self {
            start: now,
            direction: negotiated.direction,
            signalled_rtcp: negotiated.rtcp,
            signalled_rtp: negotiated.rtp,
            rtcp_mux: negotiated.rtcp_mux,
            protection: None,
            handshake: None,
            source: Source::new(negotiated.rtp, config.learning, config.source_silence),
            stream: None,
            offset: 0,
            accepts: Accepts::new(negotiated, None),
            clock: MediaClock::default(),
            window: Window::new(Wait { least: config.reorder_wait / 6, most: config.reorder_wait }),
            coding: Coding::new(negotiated.codec.format()),
            gaps: config.conceal.then(|| Gaps::new(negotiated.codec.format())),
            recovered: Vec::new(),
            dtmf_in: DtmfIn::new(negotiated.event_clock),
            activity: Activity { patience: config.inactivity, last: now, told: false },
            codec: negotiated.codec,
            payload_type: negotiated.payload_type,
            telephone_event: negotiated.telephone_event,
            playout: Playout::new(negotiated.codec.format(), config.playout_limit, config.seed),
            dtmf_out: DtmfOut::new(negotiated.event_clock),
            ssrc: config.ssrc,
            // RFC 3711 §3.3.1: far from the first wrap, lest a peer that misses the beginning miscounts.
            sequence: if negotiated.srtp.is_some() || negotiated.dtls.is_some() {
                config.first_sequence & 0x7FFF
            } else {
                config.first_sequence
            },
            timestamp: config.first_timestamp,
            marker: true,
            rtcp: Rtcp::new(now, config.ssrc, config.cname, config.seed, config.wall),
            facts: VecDeque::with_capacity(FACTS),
            counts: Counts::default(),
        };
        session.key(now, negotiated);
        session
    }

    /// Both sides agreed anew (hold, resume, another address or codec). The stream we send goes on
    /// with its SSRC and sequence; the peer's source is learned again when its address changed. What
    /// waits both ways is rewritten when the codec changed.
    pub fn renegotiate(&mut self, now: Instant, negotiated: &Negotiated) {
        let former = (self.codec != negotiated.codec).then_some((self.payload_type, self.codec));
        self.accepts = Accepts::new(negotiated, former);
        self.coding.switch_format(negotiated.codec.format());
        if let Some(gaps) = &mut self.gaps {
            gaps.switch_format(negotiated.codec.format());
        }
        self.playout.switch_format(negotiated.codec.format());
        self.codec = negotiated.codec;
        self.payload_type = negotiated.payload_type;
        self.telephone_event = negotiated.telephone_event;
        self.dtmf_in.switch_clock(negotiated.event_clock);
        self.dtmf_out.switch_clock(negotiated.event_clock);
        if self.telephone_event.is_none() {
            self.dtmf_out.clear();
        }
        self.source.renegotiate(now, negotiated.rtp);
        if !same(self.signalled_rtcp, negotiated.rtcp) || self.rtcp_mux != negotiated.rtcp_mux {
            self.rtcp.learned = None;
        }
        self.key(now, negotiated);
        self.rtcp_mux = negotiated.rtcp_mux;
        self.signalled_rtp = negotiated.rtp;
        self.signalled_rtcp = negotiated.rtcp;
        let expected = self.expects_audio();
        self.direction = negotiated.direction;
        if self.expects_audio() && !expected {
            self.activity.heard(now);
        }
    }

    /// What both sides speak; changes with [`Self::renegotiate`] only.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The layout of [`UpFrame::payload`] and of what is sent: that of [`Self::codec`].
    pub fn format(&self) -> AudioFormat {
        self.codec.format()
    }

    /// Whether packets that are lost are guessed.
    pub fn conceals(&self) -> bool {
        self.gaps.is_some()
    }

    /// Whether RTCP goes out from the RTP socket (RFC 5761).
    pub fn shares_port(&self) -> bool {
        self.rtcp_mux
    }

    /// A datagram from the RTP socket. Afterwards ask [`Self::next_frame`] until it has nothing.
    ///
    /// # Errors
    /// Why it was not used; it is counted already.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) -> Result<(), Discard> {
        self.receive(now, from, packet).map_err(|discard| self.counts.discarded.count(discard))
    }

    /// A datagram from the RTCP socket.
    ///
    /// # Errors
    /// Why it was not used; it is counted already.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) -> Result<(), Discard> {
        self.receive_report(now, from, packet).map_err(|discard| self.counts.discarded.count(discard))
    }

    /// The next audio for the engine, in order.
    #[inline]
    pub fn next_frame(&mut self, now: Instant) -> Option<UpFrame<'_>> {
        if self.gaps.as_ref().is_none_or(|gaps| !gaps.has_next()) {
            let (frame, payload) = self.window.take(now)?;
            let length = frame.codec.length_of(payload);
            let Frame { media_time, discontinuity, marker, missing, .. } = frame;
            self.counts.missing += u64::from(missing);
            self.counts.gaps += u64::from(missing > 0);
            let capture = frame.arrived.saturating_duration_since(self.start);
            let gap = self.gaps.as_ref().and_then(|gaps| gaps.before(missing, media_time, length));
            let recovered = gap.and_then(|gap| self.coding.recover(frame.codec, payload, gap));
            let is_recovered = recovered.map(|audio| {
                self.recovered.clear();
                self.recovered.extend_from_slice(audio);
            });
            let audio = self.coding.decode(frame.codec, payload);
            match (&mut self.gaps, gap) {
                (Some(gaps), Some(gap)) => {
                    let stamp = Stamp { media_time, capture, marker };
                    match is_recovered {
                        Some(()) => gaps.put(gap, stamp, length, &self.recovered, audio),
                        None => gaps.fill(gap, stamp, length, audio),
                    }
                }
                (gaps, _) => {
                    if let Some(gaps) = gaps {
                        gaps.keep(media_time, length, audio);
                    }
                    self.counts.frames_up += 1;
                    let (payload, concealed) = (audio, false);
                    return Some(UpFrame { payload, media_time, capture, discontinuity, concealed, marker });
                }
            }
        }
        let (stamp, concealed, payload) = self.gaps.as_mut()?.next();
        let Stamp { media_time, capture, marker } = stamp;
        self.counts.frames_up += u64::from(!concealed);
        Some(UpFrame { payload, media_time, capture, discontinuity: false, concealed, marker })
    }

    /// The next digit the peer pressed.
    pub fn next_dtmf(&mut self) -> Option<DtmfDigit> {
        self.dtmf_in.next()
    }

    /// One beat: the packet to send now and where to. Call it every 20 ms, also while it answers nothing
    /// (held, or the peer has no port): the timestamp counts on. Play-out stands still meanwhile.
    ///
    /// `buffer` must hold [`PACKET_MAX`] bytes; a shorter one sends nothing.
    pub fn next_packet(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.next_packet_with(now, buffer, |_, _, played| played)
    }

    /// [`Self::next_packet`] whose audio passes through `blend` before it is sent: the play-out's next 20 ms as
    /// [`Self::format`] says, and whether they are audio or noise. What it answers is counted.
    pub fn next_packet_with(
        &mut self,
        _now: Instant,
        buffer: &mut [u8],
        blend: impl FnOnce(AudioFormat, &mut [u8], Played) -> Played,
    ) -> Option<(usize, SocketAddr)> {
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(self.codec.ticks_per_beat());
        let to = self.source.destination();
        debug_assert!(buffer.len() >= PACKET_MAX, "the buffer is shorter than PACKET_MAX");
        let is_mute = !self.direction.sends() || self.waits_for_keys();
        if is_mute || !is_reachable(to) || buffer.len() < PACKET_MAX {
            self.marker = true;
            return None;
        }
        let (header, rest) = buffer.split_first_chunk_mut::<RTP_HEADER>()?;
        let event = self.telephone_event.and_then(|number| Some((number, self.dtmf_out.next(timestamp)?)));
        let length = if let Some((number, event)) = event {
            self.write_header(header, number, event.marker, event.timestamp);
            rest[..4].copy_from_slice(&event.payload);
            4
        } else {
            let marker = std::mem::take(&mut self.marker);
            self.write_header(header, self.payload_type, marker, timestamp);
            let mut beat = [0; BEAT_MAX];
            let format = self.codec.format();
            let frame = &mut beat[..format.bytes_per_beat()];
            let played = self.playout.next_frame(frame);
            match blend(format, frame, played) {
                Played::Audio => self.counts.frames_down += 1,
                Played::Silence => self.counts.silence_down += 1,
            }
            self.coding.encode(self.codec, frame, &mut rest[..PAYLOAD_DOWN_MAX])
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.counts.sent += 1;
        self.counts.octets += length as u64;
        let length = RTP_HEADER + length;
        match self.protection.as_mut().filter(|protection| protection.is_on()) {
            Some(protection) => Some((protection.close_rtp(buffer, length)?, to)),
            None => Some((length, to)),
        }
    }

    /// The RTCP report when one is due; cheap to ask on every beat. `buffer` must hold [`REPORT_MAX`] bytes.
    pub fn next_report(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        if self.rtcp.is_due(now) { self.write_report(now, Kind::Regular, buffer) } else { None }
    }

    /// The last RTCP packet, a report with BYE. `buffer` must hold [`REPORT_MAX`] bytes.
    pub fn farewell(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.write_report(now, Kind::Farewell, buffer)
    }

    /// When [`Self::handle_timeout`] wants to be called next: a gap's patience, a key without an end, a handshake's, or the
    /// inactivity. The deadline moves with every packet, so ask again after each.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let inactive = self.activity.deadline().filter(|_| self.expects_audio());
        let others = [self.window.deadline(), self.dtmf_in.deadline(), self.handshake_deadline()];
        others.into_iter().chain([inactive]).flatten().min()
    }

    /// Time passed. Afterwards ask [`Self::next_frame`], [`Self::next_dtmf`] and [`Self::next_fact`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dtmf_in.handle_timeout(now);
        self.handle_handshake_timeout(now);
        if self.expects_audio() && self.activity.deadline().is_some_and(|deadline| deadline <= now) {
            self.activity.told = true;
            self.tell(SessionFact::Inactive);
        }
    }

    /// What happened since, oldest first.
    pub fn next_fact(&mut self) -> Option<SessionFact> {
        self.facts.pop_front()
    }

    /// Queues a digit to be sent as telephone event of `duration` (40 ms to 8 s). Play-out waits meanwhile;
    /// while we may not send, the digits wait.
    ///
    /// # Errors
    /// When 32 wait already, or the peer takes none.
    pub fn send_dtmf(&mut self, digit: Digit, duration: Duration) -> Result<(), DtmfRefused> {
        if self.telephone_event.is_none() {
            return Err(DtmfRefused::NotNegotiated);
        }
        self.dtmf_out.push(digit, duration)
    }

    /// The queue towards the peer.
    pub fn playout(&mut self) -> &mut Playout {
        &mut self.playout
    }

    /// All there is to count.
    pub fn statistics(&self, _now: Instant) -> Statistics {
        let stream = self.stream.as_ref();
        let expected = self.counts.expected + stream.map_or(0, Stream::expected);
        let lost = self.counts.lost + stream.map_or(0, Stream::lost);
        let discarded = self.counts.discarded;
        Statistics {
            received: self.counts.received + stream.map_or(0, Stream::received),
            lost,
            late: discarded.late,
            reordered: self.counts.reordered,
            duplicates: discarded.duplicate,
            discarded,
            loss_pct: if expected == 0 { 0.0 } else { (lost as f64 / expected as f64 * 100.0) as f32 },
            burst_ratio: self.counts.burst_ratio(lost, expected),
            jitter_ms: stream.map_or(0.0, |stream| stream.jitter() as f32 / 8.0),
            rtt_ms: self.rtcp.round_trip.map(|trip| trip.as_secs_f32() * 1_000.0),
            remote_loss_pct: self.rtcp.remote_loss.map(|fraction| f32::from(fraction) * 100.0 / 256.0),
            remote_lost_pct: self
                .rtcp
                .remote_lost
                .map(|lost| (f64::from(lost) / self.counts.sent.max(1) as f64 * 100.0).min(100.0) as f32),
            remote_jitter_ms: self
                .rtcp
                .remote_jitter
                .map(|jitter| jitter as f32 / (self.codec.clock_rate() / 1_000) as f32),
            sent: self.counts.sent,
            frames_up: self.counts.frames_up,
            concealed_ms: self.gaps.as_ref().map_or(0, |gaps| gaps.total() / 8),
            frames_down: self.counts.frames_down,
            silence_down: self.counts.silence_down,
            dtmf_in: self.dtmf_in.heard(),
            dtmf_out: self.dtmf_out.sent(),
            underruns: self.playout.underruns(),
            cleared_ms: self.playout.cleared_ms(),
        }
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Discard> {
        match Protocol::of(datagram) {
            Ok(Protocol::Rtp) if self.waits_for_keys() => return Err(Discard::Unkeyed),
            Ok(Protocol::Rtp) => {}
            Ok(Protocol::Rtcp) if self.rtcp_mux => return self.receive_report(now, from, datagram),
            Ok(Protocol::Rtcp) => return Err(Discard::WrongPort),
            Err(Discard::Dtls) => return self.shake(now, from, datagram),
            Err(discard) => return Err(discard),
        }
        let mut room;
        let datagram = match self.protection.as_mut().filter(|protection| protection.is_on()) {
            Some(protection) => {
                room = [0; DATAGRAM_MAX];
                protection.open_rtp(datagram, &mut room)?
            }
            None => datagram,
        };
        let packet = RtpPacket::parse(datagram).map_err(|_| Discard::Malformed)?;
        let payload = self.accepts.meaning(packet.payload_type());
        if matches!(payload, Payload::Unknown) && !self.is_peers(from, packet.ssrc()) {
            return Err(Discard::PayloadType(packet.payload_type()));
        }
        let verdict = self.source.judge(now, from);
        match verdict {
            Verdict::First => self.tell(SessionFact::FirstPacket { from }),
            Verdict::Moved => self.tell(SessionFact::SourceChanged { from }),
            Verdict::Accept => {}
            Verdict::Refuse => return Err(Discard::Source),
        }
        let (number, newest) = self.place(now, verdict, &packet)?;
        self.activity.heard(now);
        self.accept(now, number, newest, payload, &packet)
    }

    /// The packet's number in the window, and whether it is the newest so far.
    fn place(
        &mut self,
        now: Instant,
        verdict: Verdict,
        packet: &RtpPacket<'_>,
    ) -> Result<(u32, bool), Discard> {
        let (ssrc, sequence) = (packet.ssrc(), packet.sequence_number());
        let Some(stream) = &mut self.stream else {
            return Ok((self.begin_stream(now, ssrc, sequence), true));
        };
        if stream.ssrc() != ssrc {
            // A source that moved was judged already; elsewhere the second packet confirms the first.
            if verdict != Verdict::Moved && !stream.confirms(ssrc, sequence) {
                return Err(Discard::Ssrc);
            }
            self.tell(SessionFact::StreamChanged { ssrc });
            return Ok((self.begin_stream(now, ssrc, sequence), true));
        }
        match stream.place(sequence) {
            Place::Newest(place) => Ok((place.wrapping_add(self.offset), true)),
            Place::Older(place) => Ok((place.wrapping_add(self.offset), false)),
            Place::Unconfirmed => Err(Discard::Jump),
            Place::Restart => Ok((self.begin_stream(now, ssrc, sequence), true)),
        }
    }

    /// Answers the number of the stream's first packet in the window.
    fn begin_stream(&mut self, now: Instant, ssrc: u32, sequence: u16) -> u32 {
        if let Some(before) = &self.stream {
            self.counts.received += before.received();
            self.counts.lost += before.lost();
            self.counts.expected += before.expected();
        }
        let stream = Stream::new(ssrc, sequence);
        let number = self.window.begin();
        self.offset = number.wrapping_sub(stream.highest());
        self.stream = Some(stream);
        self.clock.restart(now);
        self.dtmf_in.restart();
        number
    }

    /// Takes what a packet of the peer's stream brings.
    fn accept(
        &mut self,
        now: Instant,
        number: u32,
        newest: bool,
        payload: Payload,
        packet: &RtpPacket<'_>,
    ) -> Result<(), Discard> {
        let bytes = packet.payload();
        match payload {
            Payload::Audio(_) if !self.direction.receives() => {
                self.pass_over(now, number, Content::Nothing)?;
                Err(Discard::Direction)
            }
            Payload::Audio(_) if bytes.len() > PAYLOAD_MAX => {
                self.pass_over(now, number, Content::Unusable)?;
                Err(Discard::TooLarge)
            }
            // RFC 6263 §4.6: an empty packet keeps a NAT open.
            Payload::Audio(_) if bytes.is_empty() => self.pass_over(now, number, Content::Nothing),
            Payload::Audio(codec) if codec.length_of(bytes) == 0 => {
                self.pass_over(now, number, Content::Unusable)?;
                Err(Discard::Malformed)
            }
            Payload::Audio(codec) => self.take_audio(now, number, newest, codec, packet),
            Payload::Event => {
                let event = EventPayload::parse(bytes);
                if let Some(event) = event.filter(|_| self.direction.receives()) {
                    self.dtmf_in.handle(now, packet.timestamp(), packet.marker_bit(), event);
                }
                self.pass_over(now, number, Content::Nothing)?;
                event.map(|_| ()).ok_or(Discard::Malformed)
            }
            Payload::ComfortNoise => self.pass_over(now, number, Content::Nothing),
            Payload::Unknown => {
                self.pass_over(now, number, Content::Nothing)?;
                Err(Discard::PayloadType(packet.payload_type()))
            }
        }
    }

    /// The one copy of a frame on its way up.
    #[inline]
    fn take_audio(
        &mut self,
        now: Instant,
        number: u32,
        newest: bool,
        codec: Codec,
        packet: &RtpPacket<'_>,
    ) -> Result<(), Discard> {
        self.window.admit(now, number)?;
        let (timestamp, bytes) = (packet.timestamp(), packet.payload());
        let (media_time, discontinuity) = if newest {
            self.clock.newest(now, timestamp, codec.length_of(bytes), codec.ticks_per_unit())
        } else {
            (self.clock.older(timestamp, codec.ticks_per_unit()), false)
        };
        if let Some(stream) = &mut self.stream {
            let scale = codec.ticks_per_unit();
            let arrival =
                now.saturating_duration_since(self.start).as_micros() * 8 * u128::from(scale) / 1_000;
            stream.measure(arrival as u32, timestamp, scale);
        }
        let Some((slot, place)) = self.window.slot() else { return Err(Discard::WindowFull) };
        place[..bytes.len()].copy_from_slice(bytes);
        let content = Content::Audio { slot, length: bytes.len() as u16 };
        let marker = packet.marker_bit();
        let arrived = now;
        let frame = Frame { number, media_time, arrived, marker, discontinuity, missing: 0, codec, content };
        let overtaken = self.window.insert(frame);
        self.counts.reordered += u64::from(overtaken);
        Ok(())
    }

    /// A packet without audio for the engine takes its number in the sequence.
    fn pass_over(&mut self, now: Instant, number: u32, content: Content) -> Result<(), Discard> {
        self.window.admit(now, number)?;
        let (codec, marker, discontinuity) = (self.codec, false, false);
        let (media_time, arrived, missing) = (0, now, 0);
        let frame = Frame { number, media_time, arrived, marker, discontinuity, missing, codec, content };
        self.counts.reordered += u64::from(self.window.insert(frame));
        Ok(())
    }

    fn receive_report(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Discard> {
        if Protocol::of(datagram)? == Protocol::Rtp {
            return Err(Discard::WrongPort);
        }
        if self.has_no_report_keys() {
            return Err(Discard::Unkeyed);
        }
        let known = [self.source.destination(), self.signalled_rtp, self.signalled_rtcp];
        if known.iter().all(|known| known.ip().to_canonical() != from.ip().to_canonical()) {
            return Err(Discard::Source);
        }
        let mut room;
        let datagram = match self.protection.as_mut().filter(|protection| protection.is_on()) {
            Some(protection) => {
                room = [0; DATAGRAM_MAX];
                protection.open_rtcp(datagram, &mut room)?
            }
            None => datagram,
        };
        let stream = self.stream.as_ref().map(Stream::ssrc);
        self.rtcp.handle(now, datagram, stream, &mut self.facts)?;
        self.rtcp.learned = Some(from);
        Ok(())
    }

    fn write_report(&mut self, now: Instant, kind: Kind, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let to = self.report_destination();
        if !is_reachable(to) || self.has_no_report_keys() {
            return None;
        }
        let Counts { sent, octets, .. } = self.counts;
        let sent = Sent { packets: sent, octets, timestamp: self.timestamp };
        let room = buffer.len().checked_sub(SRTCP_OVERHEAD)?;
        let length = self.rtcp.write(now, kind, sent, self.stream.as_mut(), &mut buffer[..room])?;
        match self.protection.as_mut().filter(|protection| protection.is_on()) {
            Some(protection) => Some((protection.close_rtcp(buffer, length)?, to)),
            None => Some((length, to)),
        }
    }

    /// Where RTP goes, where they share a port; else where the peer's reports come from; else, behind a NAT, the port after
    /// its RTP; else where the SDP says.
    fn report_destination(&self) -> SocketAddr {
        let rtp = self.source.destination();
        if self.rtcp_mux {
            return rtp;
        }
        let beside = || SocketAddr::new(rtp.ip(), rtp.port().checked_add(1).unwrap_or(0));
        let behind_nat = rtp.ip().to_canonical() != self.signalled_rtp.ip().to_canonical();
        self.rtcp.learned.unwrap_or_else(|| if behind_nat { beside() } else { self.signalled_rtcp })
    }

    /// Whether silence of the peer is a fault. One that holds us, and so only sends, may have nothing to send.
    fn expects_audio(&self) -> bool {
        self.direction == Direction::SendRecv
    }

    /// Whether a packet is from where and of the stream that we hear.
    fn is_peers(&self, from: SocketAddr, ssrc: u32) -> bool {
        let source = self.source.learned().is_some_and(|learned| same(learned, from));
        source && self.stream.as_ref().is_some_and(|stream| stream.ssrc() == ssrc)
    }

    fn write_header(&self, header: &mut [u8; RTP_HEADER], number: u8, marker: bool, timestamp: u32) {
        header[0] = 0x80;
        header[1] = number | u8::from(marker) << 7;
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }

    fn tell(&mut self, fact: SessionFact) {
        if self.facts.len() < FACTS {
            self.facts.push_back(fact);
        }
    }
}

impl Activity {
    fn heard(&mut self, now: Instant) {
        self.last = now;
        self.told = false;
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.told).then(|| self.last + self.patience)
    }
}

/// An address of zeros is a hold, port 0 a refusal.
fn is_reachable(to: SocketAddr) -> bool {
    to.port() != 0 && !to.ip().is_unspecified()
}
