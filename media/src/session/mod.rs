//! The RTP of one leg.

mod discard;
mod statistics;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

pub use discard::{Discard, DiscardCounts};
pub use statistics::Statistics;

use crate::{Digit, Negotiated, Playout};

/// The longest packet that [`Session::next_packet`] writes.
pub const PACKET_MAX: usize = 172;

/// The longest packet that [`Session::next_report`] and [`Session::farewell`] write.
pub const REPORT_MAX: usize = 512;

/// What a session needs beside the outcome of offer and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// The sequence number of our first packet.
    pub first_sequence: u16,
    /// The timestamp of our first packet.
    pub first_timestamp: u32,
    /// For all other chance: report intervals, comfort noise.
    pub seed: u64,
    /// How long a gap on the way up waits for what is missing.
    pub reorder_wait: Duration,
    /// How long nothing may come in before [`SessionFact::Inactive`], while something should.
    pub inactivity: Duration,
    /// How long after the first packet from elsewhere the address of the SDP is still preferred.
    pub learning: Duration,
    /// How long the pinned source must be silent before another may take its place; nothing: never.
    pub source_silence: Option<Duration>,
    /// The most audio that may wait for play-out.
    pub playout_limit: Duration,
    /// Our canonical name in RTCP, at most 255 bytes.
    pub cname: String,
    /// What a wall clock shows when the session begins, for the NTP time of sender reports.
    pub wall: SystemTime,
}

impl SessionConfig {
    /// Usual times, and everything that should be random drawn from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self {
            ssrc: seed as u32,
            first_sequence: seed as u16,
            first_timestamp: seed as u32,
            seed,
            reorder_wait: Duration::from_millis(60),
            inactivity: Duration::from_secs(30),
            learning: Duration::from_millis(250),
            source_silence: Some(Duration::from_secs(2)),
            playout_limit: Duration::from_secs(600),
            cname: String::from("callingedge"),
            wall: SystemTime::UNIX_EPOCH,
        }
    }
}

/// One packet's audio on its way to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpFrame<'a> {
    /// In the leg's codec, of any packet time up to 60 ms.
    pub payload: &'a [u8],
    /// Samples since the first packet, gaps included; wraps after 6 days.
    pub media_time: u32,
    /// When it arrived, since the session began.
    pub capture: Duration,
    /// Something before it is missing, or its sender began anew.
    pub discontinuity: bool,
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
    /// Nothing came for as long as the configuration allows, while the peer should send. Told once,
    /// until something comes again.
    Inactive,
    /// The peer said goodbye in RTCP.
    Bye,
}

/// The RTP of one leg, both ways.
#[derive(Debug)]
pub struct Session {
    playout: Playout,
    discarded: DiscardCounts,
}

impl Session {
    /// A session that begins at `now`.
    pub fn new(now: Instant, negotiated: &Negotiated, config: SessionConfig) -> Self {
        let _ = now;
        Self {
            playout: Playout::new(negotiated.codec, config.playout_limit, config.seed),
            discarded: DiscardCounts::default(),
        }
    }

    /// Both sides agreed anew (hold, resume, another address or codec). The stream we send goes on
    /// with its SSRC and sequence; the peer's source is learned again when its address changed.
    pub fn renegotiate(&mut self, now: Instant, negotiated: &Negotiated) {
        let _ = now;
        self.playout.switch_codec(negotiated.codec);
    }

    /// A datagram from the RTP socket. Afterwards ask [`Self::next_frame`] until it has nothing.
    ///
    /// # Errors
    /// Why it was not used; it is counted already.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) -> Result<(), Discard> {
        let _ = (now, from);
        if packet.len() < 12 {
            return Err(self.discarded.count(Discard::Malformed));
        }
        Ok(())
    }

    /// A datagram from the RTCP socket.
    ///
    /// # Errors
    /// Why it was not used; it is counted already.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) -> Result<(), Discard> {
        let _ = (now, from, packet);
        Ok(())
    }

    /// The next audio for the engine, in order.
    pub fn next_frame(&mut self, now: Instant) -> Option<UpFrame<'_>> {
        let _ = now;
        None
    }

    /// The next digit the peer pressed.
    pub fn next_dtmf(&mut self) -> Option<DtmfDigit> {
        None
    }

    /// One beat: the packet to send now and where to. Call it every 20 ms, also while it answers nothing
    /// (held, or the peer has no port). `buffer` must hold [`PACKET_MAX`] bytes.
    pub fn next_packet(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let _ = (now, buffer);
        None
    }

    /// The RTCP report when one is due; cheap to ask on every beat. `buffer` must hold [`REPORT_MAX`] bytes.
    pub fn next_report(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let _ = (now, buffer);
        None
    }

    /// The last RTCP packet, a report with BYE. `buffer` must hold [`REPORT_MAX`] bytes.
    pub fn farewell(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let _ = (now, buffer);
        None
    }

    /// When [`Self::handle_timeout`] wants to be called next: a gap's patience or the inactivity.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time passed. Afterwards ask [`Self::next_frame`] and [`Self::next_fact`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// What happened since, oldest first.
    pub fn next_fact(&mut self) -> Option<SessionFact> {
        None
    }

    /// Queues a digit to be sent as telephone event of `duration` (40 ms to 8 s). Play-out waits meanwhile.
    ///
    /// # Errors
    /// When 32 wait already, or the peer takes none.
    pub fn send_dtmf(&mut self, digit: Digit, duration: Duration) -> Result<(), DtmfRefused> {
        let _ = (digit, duration);
        Err(DtmfRefused::NotNegotiated)
    }

    /// The queue towards the peer.
    pub fn playout(&mut self) -> &mut Playout {
        &mut self.playout
    }

    /// All there is to count.
    pub fn statistics(&self, now: Instant) -> Statistics {
        let _ = now;
        Statistics { discarded: self.discarded, ..Statistics::default() }
    }
}
