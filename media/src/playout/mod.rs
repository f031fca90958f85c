//! Towards the caller: a queue of segments measured in milliseconds, taken out 20 ms at a time.
//!
//! ```text
//!   push (any size) --> [ segment 7 ......... ][ segment 8 ..| --> next_frame (160 units a beat)
//!                                      ^mark          ^an open end: waited for one beat, then padded
//! ```
//!
//! Audio is kept as the leg speaks it, G.711 one byte a sample, all else linear, in one ring that grows by doubling when
//! a burst needs it and is given back when it has run empty above 64 KiB. So a frame never allocates, a burst seldom does,
//! and a mark does for its name. Lengths and places count units of 1/8,000 s, whatever the rate: one sample of G.711.
//!
//! Frames are filled across the border of segments. Where less than a frame is left and its segment is
//! still open, one beat of comfort noise gives the rest a chance to arrive; on the next beat what there is
//! gets padded with silence and played.

mod segment;

use std::collections::VecDeque;
use std::time::Duration;

use segment::{Phase, Segments, milliseconds};

use crate::noise::Noise;
use crate::{AudioFormat, SAMPLES_PER_BEAT, Transcoder};

/// The most marks that may be asked for and not yet taken by [`Playout::next_fact`].
const MARKS: usize = 1_024;

/// The most bytes the names of those marks may take together.
const MARK_NAMES: usize = 64 * 1_024;

/// The most times the queue may change from one segment to another. An engine that interleaves two
/// segments byte by byte meets it, nobody else.
const RUNS: usize = 1_024;

/// The most facts that wait to be taken, above which only marks are still told.
const FACTS: usize = 2 * MARKS;

/// An empty ring larger than this is given back down to [`RING_KEPT`].
const RING_LARGE: usize = 64 * 1_024;

/// What a ring begins with, half a second.
const RING_KEPT: usize = 4 * 1_024;

/// A stretch of audio that belongs together, numbered by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentId(pub u32);

/// Why audio was not taken. Nothing of the chunk was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The chunk does not fit below the limit.
    #[error("the play-out queue has room for {free_ms} ms only")]
    Full {
        /// How much would fit now.
        free_ms: u32,
    },
    /// More than 64 segments wait at once, or their pieces alternate more than 1,024 times.
    #[error("too many segments are queued")]
    TooManySegments,
}

/// More than 1,024 marks, or 64 KiB of their names, wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many marks are pending")]
pub struct TooManyMarks;

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkResult {
    /// All audio before it was handed to RTP.
    Played,
    /// Its audio was cleared.
    Cleared,
}

/// What [`Playout::clear`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// The segment asked for, else the one that was being played; nothing when none ever was.
    pub segment: Option<SegmentId>,
    /// How much of that segment was played.
    pub played_ms: u32,
    /// How much audio was thrown away, of all segments concerned.
    pub dropped_ms: u32,
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Played {
    /// Audio of the engine, its end padded where there was not enough.
    Audio,
    /// Comfort noise.
    Silence,
}

/// What the engine is told about its audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayoutFact {
    /// A mark was reached, or its audio cleared.
    Marked {
        /// As given.
        name: String,
        /// Which of the two.
        result: MarkResult,
        /// How much of the mark's segment was played by then.
        played_ms: u32,
    },
    /// A segment began, ran dry or came to its end.
    Position {
        /// Which.
        segment: SegmentId,
        /// How much of it was played.
        played_ms: u32,
        /// How much audio waits, of all segments.
        buffered_ms: u32,
        /// How often it ran dry before its end.
        underruns: u32,
    },
    /// All of a finished segment was played.
    Finished {
        /// Which.
        segment: SegmentId,
    },
}

/// The queue of one leg.
#[derive(Debug)]
pub struct Playout {
    format: AudioFormat,
    /// Bytes of the ring that a unit takes.
    unit: usize,
    /// In units.
    limit: usize,
    transcoder: Transcoder,
    /// All audio that waits, in the order of `runs`.
    audio: VecDeque<u8>,
    runs: VecDeque<Run>,
    segments: Segments,
    /// In the order of their places.
    marks: VecDeque<Mark>,
    /// Marks asked for whose fact was not taken yet, and the bytes of their names.
    marks_open: usize,
    mark_names_open: usize,
    facts: VecDeque<PlayoutFact>,
    /// Units that ever left the head of the queue; places of marks count from the same beginning.
    consumed: u64,
    flow: Flow,
    /// Comfort noise until [`Self::release`], whatever the engine wants.
    held: bool,
    tail: Tail,
    /// The segment heard last.
    heard: Option<SegmentId>,
    noise: Noise,
    underruns: u64,
    /// Units.
    cleared: u64,
}

/// Audio of one segment without another between.
#[derive(Debug, Clone, Copy)]
struct Run {
    segment: SegmentId,
    /// In units, never 0.
    length: usize,
}

#[derive(Debug)]
struct Mark {
    /// Reached when this many units have left the queue.
    at: u64,
    segment: Option<SegmentId>,
    name: String,
}

/// Whether the engine wants its audio heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Running,
    Paused,
}

/// What became of an open end shorter than a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Whole frames go on, or none was heard yet.
    Fresh,
    /// The beat for the rest was given.
    Waited,
    /// A padded frame was played or nothing is left; the engine was told what it should know.
    Dry,
}

impl Playout {
    /// An empty queue that keeps its audio as `format`, 8,000 or 16,000 Hz, at most `limit` of it. `seed` chooses where in
    /// the comfort noise it begins.
    pub fn new(format: AudioFormat, limit: Duration, seed: u64) -> Self {
        Self {
            format,
            unit: format.bytes_per_unit(),
            transcoder: Transcoder::new(format),
            limit: usize::try_from(limit.as_millis()).unwrap_or(usize::MAX).saturating_mul(8),
            audio: VecDeque::with_capacity(RING_KEPT),
            runs: VecDeque::with_capacity(8),
            segments: Segments::new(),
            marks: VecDeque::new(),
            marks_open: 0,
            mark_names_open: 0,
            facts: VecDeque::with_capacity(8),
            consumed: 0,
            flow: Flow::Running,
            held: false,
            tail: Tail::Fresh,
            heard: None,
            noise: Noise::new(seed),
            underruns: 0,
            cleared: 0,
        }
    }

    /// Appends audio in chunks of any size and rate. An odd last byte of linear audio is kept for the segment's next
    /// chunk. Audio of a cleared segment is thrown away and counted; audio after [`Self::finish`] opens the
    /// segment again.
    ///
    /// # Errors
    /// When it does not fit; nothing of it is taken then.
    pub fn push(&mut self, segment: SegmentId, format: AudioFormat, audio: &[u8]) -> Result<(), PushError> {
        if audio.is_empty() {
            return Ok(());
        }
        let known = self.segments.entry(segment).ok_or(PushError::TooManySegments)?;
        let odd = known.odd.filter(|_| format.bytes_per_sample() == 2);
        let bytes = audio.len() + usize::from(odd.is_some());
        let units = bytes / format.bytes_per_unit();
        if known.phase == Phase::Cleared {
            self.cleared += units as u64;
            return Ok(());
        }
        let free = self.limit.saturating_sub(self.audio.len() / self.unit);
        if units > free {
            return Err(PushError::Full { free_ms: milliseconds(free as u64) });
        }
        let joins = self.runs.back().is_some_and(|run| run.segment == segment);
        if !joins && self.runs.len() == RUNS {
            return Err(PushError::TooManySegments);
        }
        known.phase = Phase::Open;
        let all_used = bytes.is_multiple_of(format.bytes_per_sample());
        known.odd = audio.last().copied().filter(|_| !all_used);
        let before = self.audio.len();
        self.audio.extend(known.spare.take().iter().flatten());
        append(&mut self.transcoder, format, odd, audio, &mut self.audio);
        let over = (self.audio.len() - before) % self.unit;
        if over > 0 {
            // Half a unit of linear audio is one sample.
            let mut sample = [0; 2];
            sample
                .iter_mut()
                .zip(self.audio.drain(self.audio.len() - over..))
                .for_each(|(to, from)| *to = from);
            known.spare = Some(sample);
        }
        let units = (self.audio.len() - before) / self.unit;
        known.queued += units;
        match self.runs.back_mut() {
            Some(run) if run.segment == segment => run.length += units,
            Some(_) | None if units > 0 => self.runs.push_back(Run { segment, length: units }),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// No more audio will come for `segment`: its partial last frame is padded instead of waited for.
    pub fn finish(&mut self, segment: SegmentId) {
        let Some(known) = self.segments.find_mut(segment) else { return };
        match known.phase {
            Phase::Open if known.queued == 0 => {
                known.phase = Phase::Finished;
                self.tell_position(segment);
                self.tell(PlayoutFact::Finished { segment });
            }
            Phase::Open => known.phase = Phase::Ending,
            Phase::Ending | Phase::Finished | Phase::Cleared => {}
        }
    }

    /// Asks to be told when everything queued so far (of `segment`, where given) is played. With nothing
    /// queued the answer comes at once.
    ///
    /// # Errors
    /// When too many marks wait already.
    pub fn mark(&mut self, segment: Option<SegmentId>, name: &str) -> Result<(), TooManyMarks> {
        if self.marks_open == MARKS || self.mark_names_open + name.len() > MARK_NAMES {
            return Err(TooManyMarks);
        }
        self.marks_open += 1;
        self.mark_names_open += name.len();
        let place = self.end_of(segment);
        let owner = segment.or_else(|| self.runs.back().map(|run| run.segment)).or(self.heard);
        let mark = Mark { at: place.unwrap_or(self.consumed), segment: owner, name: name.to_owned() };
        if mark.at > self.consumed {
            let index = self.marks.partition_point(|other| other.at <= mark.at);
            self.marks.insert(index, mark);
            return Ok(());
        }
        let cleared = segment.and_then(|id| self.segments.find(id)).map(|known| known.phase);
        match cleared {
            Some(Phase::Cleared) => self.tell_mark(mark, MarkResult::Cleared),
            Some(Phase::Open | Phase::Ending | Phase::Finished) | None => {
                self.tell_mark(mark, MarkResult::Played);
            }
        }
        Ok(())
    }

    /// Throws away what waits of `segment`, or all there is; the next frame is another segment's or
    /// silence. Marks on that audio come back as [`MarkResult::Cleared`].
    ///
    /// A cleared segment stays closed: audio that comes later under its number is thrown away, since it
    /// left the engine before the engine knew. All of them closes every segment begun so far, so what
    /// shall be heard next needs another number.
    pub fn clear(&mut self, segment: Option<SegmentId>) -> Cleared {
        let concerned = segment.or_else(|| self.runs.front().map(|run| run.segment)).or(self.heard);
        let dropped = match segment {
            Some(id) => self.clear_one(id),
            None => self.clear_all(),
        };
        self.cleared += dropped;
        self.tail = Tail::Fresh;
        self.held = false;
        self.transcoder.reset();
        self.give_back();
        let played_ms = concerned.map_or(0, |id| self.played_ms(id));
        Cleared { segment: concerned, played_ms, dropped_ms: milliseconds(dropped) }
    }

    /// Somebody else speaks from now on, whose segments have numbers of their own: what was played or cleared under a
    /// number is forgotten, what waits is still played.
    pub fn new_speaker(&mut self) {
        self.segments.forget_idle();
        self.heard = self.heard.filter(|id| self.segments.find(*id).is_some());
        self.flow = Flow::Running;
        self.held = false;
    }

    /// Plays comfort noise until [`Self::release`], whatever the engine wants: the caller may want to speak. A `clear`
    /// releases as well, since the engine knows then.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Goes on after [`Self::hold`].
    pub fn release(&mut self) {
        self.held = false;
    }

    /// Whether it is held.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Plays comfort noise until [`Self::resume`]; the queue stays as it is.
    pub fn pause(&mut self) {
        self.flow = Flow::Paused;
    }

    /// Goes on where [`Self::pause`] stopped.
    pub fn resume(&mut self) {
        self.flow = Flow::Running;
    }

    /// Exactly 20 ms as the leg speaks it; `out` is as long as that ([`AudioFormat::bytes_per_beat`]).
    pub fn next_frame(&mut self, out: &mut [u8]) -> Played {
        debug_assert_eq!(out.len(), self.format.bytes_per_beat(), "a frame of another layout");
        let length = match self.flow {
            Flow::Running if !self.held => self.ready(),
            Flow::Running | Flow::Paused => 0,
        };
        if length == 0 {
            self.noise.fill(self.format, out);
            return Played::Silence;
        }
        let bytes = length * self.unit;
        let (first, second) = self.audio.as_slices();
        let split = bytes.min(first.len());
        out[..split].copy_from_slice(&first[..split]);
        out[split..bytes].copy_from_slice(&second[..bytes - split]);
        self.format.silence(&mut out[bytes..]);
        self.audio.drain(..bytes);
        self.account(length);
        Played::Audio
    }

    /// What happened since, oldest first.
    pub fn next_fact(&mut self) -> Option<PlayoutFact> {
        let fact = self.facts.pop_front()?;
        match &fact {
            PlayoutFact::Marked { name, .. } => {
                self.marks_open -= 1;
                self.mark_names_open -= name.len();
            }
            PlayoutFact::Position { .. } | PlayoutFact::Finished { .. } => {}
        }
        Some(fact)
    }

    /// How much audio waits, of all segments.
    pub fn buffered_ms(&self) -> u32 {
        milliseconds(self.queued())
    }

    /// How much of `segment` was played; 0 for one that is not known (any more).
    pub fn played_ms(&self, segment: SegmentId) -> u32 {
        self.segments.find(segment).map_or(0, segment::Segment::played_ms)
    }

    /// How often an open segment ran dry.
    pub fn underruns(&self) -> u64 {
        self.underruns
    }

    /// How much audio was thrown away because its segment was cleared.
    pub fn cleared_ms(&self) -> u64 {
        self.cleared / 8
    }

    /// The leg speaks `format` from now on; what waits is rewritten, and lasts as long as before.
    pub(crate) fn switch_format(&mut self, format: AudioFormat) {
        if self.format == format {
            return;
        }
        let units = self.audio.len() / self.unit;
        let mut rewritten = VecDeque::with_capacity(RING_KEPT.max(units * format.bytes_per_unit()));
        let mut transcoder = Transcoder::new(format);
        transcoder.feed(self.format, self.audio.make_contiguous(), |piece| rewritten.extend(piece));
        rewritten.resize(units * format.bytes_per_unit(), 0);
        self.audio = rewritten;
        self.segments.iter_mut().for_each(|segment| segment.spare = None);
        self.format = format;
        self.unit = format.bytes_per_unit();
        self.transcoder = Transcoder::new(format);
    }

    /// Units that wait.
    fn queued(&self) -> u64 {
        (self.audio.len() / self.unit) as u64
    }

    /// How many units this beat may take, 0 for none; decides about open ends.
    fn ready(&mut self) -> usize {
        let length = (self.audio.len() / self.unit).min(SAMPLES_PER_BEAT);
        let Some(last) = self.runs.back().map(|run| run.segment) else {
            self.ran_dry(Tail::Dry);
            return 0;
        };
        let open = self.segments.find(last).is_some_and(|segment| segment.phase == Phase::Open);
        if length < SAMPLES_PER_BEAT && open && self.tail != Tail::Waited {
            self.ran_dry(Tail::Waited);
            return 0;
        }
        length
    }

    /// A beat without audio: an underrun when the segment heard last is open and was not dry before.
    fn ran_dry(&mut self, tail: Tail) {
        let before = std::mem::replace(&mut self.tail, tail);
        let Some(id) = self.heard.filter(|_| before == Tail::Fresh) else { return };
        let Some(segment) = self.segments.find_mut(id).filter(|segment| segment.phase == Phase::Open) else {
            return;
        };
        segment.underruns += 1;
        self.underruns += 1;
        // After a beat of waiting the position is told with the frame that follows.
        if tail == Tail::Dry {
            self.tell_position(id);
        }
    }

    /// `length` units left the queue as a frame.
    fn account(&mut self, length: usize) {
        let tail = if length == SAMPLES_PER_BEAT { Tail::Fresh } else { Tail::Dry };
        let waited = std::mem::replace(&mut self.tail, tail) == Tail::Waited;
        self.consumed += length as u64;
        let mut rest = length;
        while rest > 0 {
            let Some(run) = self.runs.front_mut() else { break };
            let id = run.segment;
            let taken = rest.min(run.length);
            run.length -= taken;
            rest -= taken;
            if run.length == 0 {
                self.runs.pop_front();
            }
            let Some(segment) = self.segments.find_mut(id) else { continue };
            let began = segment.played == 0;
            segment.played += taken as u64;
            segment.queued -= taken;
            let ended = segment.phase == Phase::Ending && segment.queued == 0;
            if ended {
                segment.phase = Phase::Finished;
            }
            self.heard = Some(id);
            if began || ended || waited {
                self.tell_position(id);
            }
            self.tell_marks_until(self.consumed - rest as u64);
            if ended {
                self.tell(PlayoutFact::Finished { segment: id });
            }
        }
        self.give_back();
    }

    fn tell_marks_until(&mut self, place: u64) {
        while self.marks.front().is_some_and(|mark| mark.at <= place) {
            if let Some(mark) = self.marks.pop_front() {
                self.tell_mark(mark, MarkResult::Played);
            }
        }
    }

    /// The place behind the last unit that waits (of `segment`), nothing when none does.
    fn end_of(&self, segment: Option<SegmentId>) -> Option<u64> {
        let mut place = self.consumed;
        let mut end = None;
        for run in &self.runs {
            place += run.length as u64;
            if segment.is_none_or(|id| id == run.segment) {
                end = Some(place);
            }
        }
        end
    }

    fn clear_one(&mut self, id: SegmentId) -> u64 {
        // A segment we never heard of is remembered too: its clear has overtaken its audio.
        if let Some(segment) = self.segments.entry(id) {
            segment.close();
        }
        let waiting = self.marks.len();
        for _ in 0..waiting {
            match self.marks.pop_front() {
                Some(mark) if mark.segment == Some(id) => self.tell_mark(mark, MarkResult::Cleared),
                Some(mark) => self.marks.push_back(mark),
                None => break,
            }
        }
        let mut start = 0;
        let mut dropped = 0;
        let mut index = 0;
        while let Some(run) = self.runs.get(index).copied() {
            if run.segment != id {
                start += run.length;
                index += 1;
                continue;
            }
            self.runs.remove(index);
            self.audio.drain(start * self.unit..(start + run.length) * self.unit);
            dropped += run.length as u64;
            let place = self.consumed + start as u64;
            for mark in self.marks.iter_mut().filter(|mark| mark.at > place) {
                mark.at = place.max(mark.at - run.length as u64);
            }
        }
        // What waited behind the cleared audio may wait for nothing now.
        self.tell_marks_until(self.consumed);
        dropped
    }

    fn clear_all(&mut self) -> u64 {
        for segment in self.segments.iter_mut() {
            if segment.queued > 0 || segment.phase == Phase::Open {
                segment.close();
            }
        }
        while let Some(mark) = self.marks.pop_front() {
            self.tell_mark(mark, MarkResult::Cleared);
        }
        let dropped = self.queued();
        self.runs.clear();
        self.audio.clear();
        dropped
    }

    fn give_back(&mut self) {
        if self.audio.is_empty() && self.audio.capacity() > RING_LARGE {
            self.audio.shrink_to(RING_KEPT);
        }
    }

    fn tell_mark(&mut self, mark: Mark, result: MarkResult) {
        let played_ms = mark.segment.map_or(0, |id| self.played_ms(id));
        self.tell(PlayoutFact::Marked { name: mark.name, result, played_ms });
    }

    fn tell_position(&mut self, id: SegmentId) {
        let Some(segment) = self.segments.find(id) else { return };
        let (played_ms, underruns) = (segment.played_ms(), segment.underruns);
        let buffered_ms = self.buffered_ms();
        self.tell(PlayoutFact::Position { segment: id, played_ms, buffered_ms, underruns });
    }

    /// Marks are always told, their number is bounded where they are asked for.
    fn tell(&mut self, fact: PlayoutFact) {
        match &fact {
            PlayoutFact::Marked { .. } => self.facts.push_back(fact),
            PlayoutFact::Position { .. } | PlayoutFact::Finished { .. } => {
                if self.facts.len() < FACTS {
                    self.facts.push_back(fact);
                }
            }
        }
    }
}

/// Adds audio to the ring as the leg speaks it, the first half of its first sample being `odd`.
fn append(
    transcoder: &mut Transcoder,
    format: AudioFormat,
    odd: Option<u8>,
    audio: &[u8],
    ring: &mut VecDeque<u8>,
) {
    let mut rest = audio;
    if let (Some(low), [high, after @ ..]) = (odd, audio) {
        transcoder.feed(format, &[low, *high], |piece| ring.extend(piece));
        rest = after;
    }
    transcoder.feed(format, rest, |piece| ring.extend(piece));
}
