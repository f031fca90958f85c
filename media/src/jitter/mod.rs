//! The jitter buffer of a leg that is played or recorded: packets in as they come, samples out on a beat.
//!
//! ```text
//!   insert -> packets, by number -> decode -+-> speech -> longer or shorter by a period -> next_frame
//!                 |                gaps ->  Concealer
//!                 +-> Delays: what the lag should be
//! ```
//! The lag is what play-out is behind the media time. It follows what the network does, a period of speech at a time; where
//! packets are not there when they are needed a guess is played and the lag grows by it; where they were lost the guess
//! takes their place. In a pause of the sender (its time goes on, its numbers do not) there is silence, and the lag is set
//! anew without anything being stretched.
//!
//! Time, order and payload come in, chance does not: the same packets at the same times give the same samples.

mod delays;
mod stretch;

use std::collections::VecDeque;
use std::time::Instant;

use crate::{Concealer, Discard, SampleRate};
use delays::{Delays, Micros};
use stretch::Need;

/// Packets that wait at most: more than a second of ordinary ones.
const PLACES: usize = 96;

/// Lengths are samples at 8,000 Hz; a higher rate has as many times more.
/// What one packet decodes to at most, 60 ms, and what is asked for at once, 60 ms.
const FRAME: usize = 480;

/// What may wait decoded: a gap of 120 ms, what follows it, and what stretching looks at.
const SPEECH: usize = 2_048;

/// Played samples that are kept: the longest period.
const PLAYED: usize = 120;

/// What is decoded before it is needed, so that a period can be taken off: two of 12.5 ms.
const AHEAD: usize = 200;

/// A gap that is longer is not guessed: the stream has jumped, 2 s.
const JUMP: i32 = 16_000;

/// The end of a gap, which is bridged from both sides, 20 ms.
const BRIDGED: usize = 160;

/// How much less than wanted the lag may be before speech is lengthened: what is wanted has a millisecond to spare.
const TOO_EARLY: Micros = 1_000;

/// How much of the lag has to be of no use before speech is shortened.
const TOO_LATE: Micros = 3_000;

/// A lag that is so much too great is reduced without waiting.
const FAR_TOO_LATE: Micros = 30_000;

/// And one so great at any price.
const HOPELESS: Micros = 150_000;

/// A stall is answered when no more than this is left to play, 120 ms.
const RESERVE: usize = 960;

/// A guess of so much has faded: 240 ms.
const FADED: usize = 1_920;

/// Between two tries that do not hurry, 30 ms.
const REST: usize = 240;

/// Counters since the buffer began. Samples are those of the buffer's rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets that were decoded.
    pub played_packets: u64,
    /// Packets that never came before they were given up.
    pub lost_packets: u64,
    /// Packets that came after they were given up.
    pub late_packets: u64,
    /// Packets thrown away since there were too many.
    pub flushed_packets: u64,
    /// Samples that were decoded.
    pub decoded: u64,
    /// Samples that were guessed, for packets that were lost or came too late.
    pub concealed: u64,
    /// Samples played in pauses of the sender.
    pub paused: u64,
    /// Samples by which speech was made longer, and by which it was made shorter.
    pub lengthened: u64,
    /// See above.
    pub shortened: u64,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    number: u32,
    media_time: u32,
    slot: usize,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    Idle,
    /// The first packet, or the first after a pause, is held until its time has come.
    Holding,
    /// Speech is played.
    Playing,
}

/// See the head. Never allocates after [`Self::new`].
#[derive(Debug, Clone)]
pub struct JitterBuffer {
    start: Instant,
    rate: SampleRate,
    scale: usize,
    state: State,
    /// In the order of their numbers.
    packets: VecDeque<Packet>,
    payloads: Box<[u8]>,
    payload_most: usize,
    free: u128,
    /// The number that is decoded next, and the media time that follows what was decoded.
    next: u32,
    media_time: u32,
    /// Media time as a count that does not wrap, and the wrapped value it belongs to.
    unwrapped: i64,
    delays: Delays,
    concealer: Concealer,
    /// Decoded and not yet played: `ready` samples from `begin` on.
    speech: Box<[i16]>,
    begin: usize,
    ready: usize,
    scratch: Box<[i16]>,
    played: Box<[i16]>,
    /// Of the packet decoded last.
    usual: usize,
    /// Guessed samples since packets ran out; what they stand for is known when the next packet comes.
    guessed: usize,
    /// Where the packet decoded last is played, less its media time.
    latest: Micros,
    /// Samples played since it was tried to make speech longer or shorter.
    since_change: usize,
    counts: JitterCounts,
}

impl JitterBuffer {
    /// For packets of at most `payload_most` bytes that decode to at most 60 ms at this rate.
    pub fn new(start: Instant, rate: SampleRate, payload_most: usize) -> Self {
        let scale = rate.hertz() as usize / 8_000;
        let samples = |length: usize| vec![0; scale * length].into_boxed_slice();
        Self {
            start,
            rate,
            scale,
            state: State::Idle,
            packets: VecDeque::with_capacity(PLACES),
            payloads: vec![0; PLACES * payload_most].into_boxed_slice(),
            payload_most,
            free: u128::MAX,
            next: 0,
            media_time: 0,
            unwrapped: 0,
            delays: Delays::default(),
            concealer: Concealer::new(rate),
            speech: samples(SPEECH),
            begin: 0,
            ready: 0,
            scratch: samples(FRAME),
            played: samples(PLAYED),
            usual: scale * BRIDGED,
            guessed: 0,
            latest: 0,
            since_change: 0,
            counts: JitterCounts::default(),
        }
    }

    /// Counters since the beginning.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Whether everything that came was played.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.ready == 0
    }

    /// Whether nothing of what came is heard in the last frame: nothing has come yet, its sender pauses, or what was guessed has
    /// faded.
    pub fn is_quiet(&self) -> bool {
        match self.state {
            State::Idle | State::Holding => true,
            State::Playing => self.ready == 0 && self.guessed >= self.scale * FADED,
        }
    }

    /// What the packet decoded last is played behind its media time, in microseconds by a clock whose offset nobody knows:
    /// differences count.
    pub fn lag_micros(&self) -> i64 {
        self.latest
    }

    /// A packet came. `number` is its sequence number and `media_time` its time in samples of the buffer's rate; both wrap.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn insert(
        &mut self,
        now: Instant,
        number: u32,
        media_time: u32,
        payload: &[u8],
    ) -> Result<(), Discard> {
        let at = self.micros(now);
        if self.state == State::Idle {
            (self.next, self.media_time, self.unwrapped) = (number, media_time, 0);
            self.state = State::Holding;
        }
        let later = |one: u32, other: u32| one.wrapping_sub(other).cast_signed() > 0;
        if self.packets.iter().any(|packet| packet.number == number) {
            return Err(Discard::Duplicate);
        }
        let overtaken = self.packets.back().is_some_and(|newest| later(newest.number, number))
            || later(self.next, number);
        self.delays.arrived(at, at - self.to_micros(self.unwrap(media_time)), overtaken);
        if later(self.next, number) {
            // Nothing was played yet: it overtook nobody.
            if self.state == State::Holding && self.counts.played_packets == 0 {
                (self.next, self.media_time) = (number, media_time);
                self.unwrapped = self.unwrap(media_time);
            } else {
                self.counts.late_packets += 1;
                return Err(Discard::Late);
            }
        }
        if self.packets.len() == PLACES {
            self.drop_oldest();
        }
        let slot = self.free.trailing_zeros() as usize;
        self.free &= !(1 << slot);
        let length = payload.len().min(self.payload_most);
        let begin = slot * self.payload_most;
        self.payloads[begin..begin + length].copy_from_slice(&payload[..length]);
        let behind = self.packets.iter().rev().take_while(|packet| later(packet.number, number)).count();
        let packet = Packet { number, media_time, slot, length };
        self.packets.insert(self.packets.len() - behind, packet);
        Ok(())
    }

    /// Fills `out`, of at most 60 ms, with what is heard next. `decode` turns the payloads of packets into samples, in
    /// their order, and answers how many there are.
    pub fn next_frame(
        &mut self,
        now: Instant,
        out: &mut [i16],
        mut decode: impl FnMut(&[u8], &mut [i16]) -> usize,
    ) {
        debug_assert!(out.len() <= self.scale * FRAME, "{} samples at once", out.len());
        let at = self.micros(now);
        if self.state == State::Playing && self.ready == 0 {
            self.look_for_pause();
        }
        let silent = self.hold(at, out.len());
        let (silence, out) = out.split_at_mut(silent);
        silence.fill(0);
        self.counts.paused += silence.len() as u64;
        if out.is_empty() {
            return;
        }
        let at = at + self.to_micros(silent as i64);
        self.decode(at, out.len(), true, &mut decode);
        if self.ready >= out.len() {
            self.decode(at, out.len() + self.scale * AHEAD, false, &mut decode);
            self.adjust(at, out.len());
            self.decode(at, out.len(), true, &mut decode);
        }
        let missing = out.len().saturating_sub(self.ready);
        if missing > 0 {
            self.guess(missing);
            self.guessed += missing;
        }
        out.copy_from_slice(&self.speech[self.begin..self.begin + out.len()]);
        self.begin += out.len();
        self.ready -= out.len();
        self.since_change += out.len();
        self.remember(out);
    }

    /// How many of the next samples are silent because the first packet has to wait.
    fn hold(&mut self, at: Micros, most: usize) -> usize {
        match self.state {
            State::Idle => most,
            State::Playing => 0,
            State::Holding => {
                // Whole frames: packets then begin where frames do, and are needed no sooner than they are played.
                if self.lag(at) < self.delays.lag() {
                    return most;
                }
                self.state = State::Playing;
                0
            }
        }
    }

    /// Where the sender paused, or its time jumped, the next packet is held until its own time comes.
    fn look_for_pause(&mut self) {
        let Some(front) = self.packets.front().copied() else { return };
        let lost = front.number.wrapping_sub(self.next);
        if !self.is_pause(front) {
            return;
        }
        self.counts.lost_packets += u64::from(lost);
        self.counts.paused += std::mem::take(&mut self.guessed) as u64;
        self.unwrapped = self.unwrap(front.media_time);
        (self.next, self.media_time) = (front.number, front.media_time);
        self.state = State::Holding;
    }

    fn is_pause(&self, front: Packet) -> bool {
        let ahead = front.media_time.wrapping_sub(self.media_time).cast_signed();
        let lost = front.number.wrapping_sub(self.next);
        (lost == 0 && ahead != 0) || (lost > 0 && ahead <= 0) || ahead > JUMP * self.scale as i32
    }

    /// Decodes what is here until this many samples are ready; over gaps only when they are `due`.
    fn decode(
        &mut self,
        at: Micros,
        wanted: usize,
        due: bool,
        decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize,
    ) {
        while self.ready < wanted && self.state == State::Playing {
            let Some(front) = self.packets.front().copied().filter(|front| !self.is_pause(*front)) else {
                return;
            };
            if front.number == self.next {
                self.counts.concealed += std::mem::take(&mut self.guessed) as u64;
                self.take(at, front, decode);
            } else if due {
                self.bridge(at, front, wanted, decode);
            } else {
                return;
            }
        }
    }

    /// Fills a gap that is over: what was guessed already is part of it, the end is guessed from both sides.
    fn bridge(
        &mut self,
        at: Micros,
        front: Packet,
        wanted: usize,
        decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize,
    ) {
        let gap = front.media_time.wrapping_sub(self.media_time) as usize;
        let rest = gap.saturating_sub(self.guessed);
        let bridged = rest.min(self.scale * BRIDGED);
        if rest > bridged {
            let now = (rest - bridged).min(wanted - self.ready);
            self.guess(now);
            self.guessed += now;
            return;
        }
        self.counts.lost_packets += u64::from(front.number.wrapping_sub(self.next));
        self.counts.concealed += (std::mem::take(&mut self.guessed) + rest) as u64;
        self.next = front.number;
        self.unwrapped += gap as i64;
        self.media_time = front.media_time;
        if rest == 0 {
            return;
        }
        let length = self.take_payload(at + self.to_micros(rest as i64), front, decode);
        let begin = self.room(rest + length);
        let (gap, following) = self.speech[begin..begin + rest + length].split_at_mut(rest);
        following.copy_from_slice(&self.scratch[..length]);
        self.concealer.bridge(following, gap);
        self.concealer.keep(following);
        self.ready += rest + length;
    }

    fn take(&mut self, at: Micros, front: Packet, decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize) {
        let length = self.take_payload(at, front, decode);
        let begin = self.room(length);
        let speech = &mut self.speech[begin..begin + length];
        speech.copy_from_slice(&self.scratch[..length]);
        self.concealer.keep(speech);
        self.ready += length;
    }

    /// Decodes the first packet into `scratch`.
    fn take_payload(
        &mut self,
        at: Micros,
        front: Packet,
        decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize,
    ) -> usize {
        self.latest = at + self.to_micros(self.ready as i64 - self.unwrapped);
        self.packets.pop_front();
        self.free |= 1 << front.slot;
        let begin = front.slot * self.payload_most;
        let length = decode(&self.payloads[begin..begin + front.length], &mut self.scratch);
        let length = length.min(self.scratch.len());
        self.next = front.number.wrapping_add(1);
        self.media_time = front.media_time.wrapping_add(length as u32);
        self.unwrapped += length as i64;
        self.usual = length;
        self.counts.played_packets += 1;
        self.counts.decoded += length as u64;
        length
    }

    /// Appends what may have been there.
    fn guess(&mut self, length: usize) {
        for begin in (0..length).step_by(self.scale * BRIDGED) {
            let length = (length - begin).min(self.scale * BRIDGED);
            let begin = self.room(length);
            self.concealer.conceal(&mut self.speech[begin..begin + length]);
            self.ready += length;
        }
    }

    /// Where this many more samples have room.
    fn room(&mut self, length: usize) -> usize {
        if self.begin + self.ready + length > self.speech.len() {
            self.speech.copy_within(self.begin..self.begin + self.ready, 0);
            self.begin = 0;
        }
        self.begin + self.ready
    }

    /// Brings the lag nearer to what it should be.
    fn adjust(&mut self, at: Micros, wanted: usize) {
        let (contiguous, whole) = self.contiguous();
        let lag = self.lag(at) - self.delays.lag();
        let frame = self.to_micros(wanted as i64);
        // What is needed in the middle of a frame has to be here at its beginning. Taken off or added are pieces that make
        // this less, or whole frames.
        let uneven = self.to_micros((contiguous % wanted.max(1)) as i64);
        let slack = lag - uneven;
        let late = if slack < 0 { 0 } else { uneven + slack / frame.max(1) * frame };
        let samples = |micros: Micros| (micros.max(0) * i64::from(self.rate.hertz()) / 1_000_000) as usize;
        let rested = self.since_change >= self.scale * REST;
        let overdue = self.lag(at) - self.to_micros(contiguous as i64);
        let room = self.delays.patience() - self.lag(at);
        let near = contiguous < self.scale * RESERVE;
        let stalled = near && whole && room > 0 && self.delays.is_stall(overdue);
        let settled = whole && !stalled && self.delays.is_settled();
        if settled && late > TOO_LATE && (rested || late > FAR_TOO_LATE) {
            let most = samples(late).min(self.ready.saturating_sub(wanted));
            let speech = &mut self.speech[self.begin..self.begin + self.ready];
            let need = if late > HOPELESS { Need::Now } else { Need::Whenever };
            if let Some(period) = stretch::shorten(speech, most, self.scale, need) {
                self.begin += period;
                self.ready -= period;
                self.counts.shortened += period as u64;
            }
            self.since_change = 0;
        } else if slack < -TOO_EARLY || stalled {
            // Nothing is left for the next frame.
            let short = contiguous < 2 * wanted;
            if !rested && !short && !stalled {
                return;
            }
            let need = if short { Need::Now } else { Need::Whenever };
            let most = samples(if stalled { room } else { frame - lag + TOO_LATE })
                .min(self.speech.len() - self.ready);
            let next = &self.speech[self.begin..self.begin + self.ready];
            let more = &mut self.scratch;
            if let Some(period) = stretch::lengthen(&self.played, next, most, self.scale, need, more) {
                if self.begin < period {
                    let ready = self.begin..self.begin + self.ready;
                    self.begin = self.speech.len() - self.ready;
                    self.speech.copy_within(ready, self.begin);
                }
                self.begin -= period;
                self.speech[self.begin..self.begin + period].copy_from_slice(&self.scratch[..period]);
                self.ready += period;
                self.counts.lengthened += period as u64;
            }
            self.since_change = 0;
        }
    }

    /// Samples that are here before the first gap, and whether nothing is behind that.
    fn contiguous(&self) -> (usize, bool) {
        // Packets are of one length, nearly always.
        let length = self.usual;
        let mut number = self.next;
        let mut samples = self.ready;
        for packet in &self.packets {
            if packet.number != number {
                return (samples, false);
            }
            number = number.wrapping_add(1);
            samples += length;
        }
        (samples, true)
    }

    /// What the next sample to be played is behind its media time.
    fn lag(&self, at: Micros) -> Micros {
        at - self.to_micros(self.unwrapped - self.ready as i64)
    }

    fn unwrap(&self, media_time: u32) -> i64 {
        self.unwrapped + i64::from(media_time.wrapping_sub(self.media_time).cast_signed())
    }

    fn to_micros(&self, samples: i64) -> Micros {
        samples * 1_000_000 / i64::from(self.rate.hertz())
    }

    fn micros(&self, now: Instant) -> Micros {
        now.saturating_duration_since(self.start).as_micros() as Micros
    }

    fn drop_oldest(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.free |= 1 << packet.slot;
            self.counts.flushed_packets += 1;
        }
    }

    fn remember(&mut self, out: &[i16]) {
        let length = self.played.len();
        let new = &out[out.len().saturating_sub(length)..];
        self.played.copy_within(new.len().., 0);
        self.played[length - new.len()..].copy_from_slice(new);
    }
}
