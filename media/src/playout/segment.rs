//! The segments a play-out knows, queued or not: how much of each was heard, and whether more may come.
//!
//! ```text
//!            finish            last byte played
//!   [Open] ---------> [Ending] -----------------> [Finished]
//!     |  ^               |  more audio                |
//!     |  +---------------+----------------------------+
//!     | clear (also from Ending)
//!     v
//!   [Cleared]: late audio is thrown away
//! ```

use super::SegmentId;

/// The most segments that are remembered. Beyond, the oldest one with nothing queued is forgotten: its
/// `played_ms` reads 0 then, and late audio of it would be played.
const REMEMBERED: usize = 64;

/// One segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) phase: Phase,
    /// Units that wait.
    pub(super) queued: usize,
    /// Units that were played.
    pub(super) played: u64,
    /// How often it ran dry.
    pub(super) underruns: u32,
    /// The first half of a linear sample whose second half comes with the next chunk.
    pub(super) odd: Option<u8>,
    /// Half a unit of the ring, whose other half comes with the next chunk.
    pub(super) spare: Option<[u8; 2]>,
}

/// Where a segment stands; the head draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Ending,
    Finished,
    Cleared,
}

impl Segment {
    pub(super) fn close(&mut self) {
        self.phase = Phase::Cleared;
        self.queued = 0;
        self.odd = None;
        self.spare = None;
    }

    pub(super) fn played_ms(&self) -> u32 {
        milliseconds(self.played)
    }
}

/// Units of 1/8,000 s in whole milliseconds.
pub(super) fn milliseconds(units: u64) -> u32 {
    u32::try_from(units / 8).unwrap_or(u32::MAX)
}

/// All that are remembered, oldest first.
#[derive(Debug)]
pub(super) struct Segments {
    known: Vec<Segment>,
}

impl Segments {
    pub(super) fn new() -> Self {
        Self { known: Vec::with_capacity(8) }
    }

    /// The newest are asked for most, so the search is from the end.
    pub(super) fn find(&self, id: SegmentId) -> Option<&Segment> {
        self.known.iter().rev().find(|segment| segment.id == id)
    }

    pub(super) fn find_mut(&mut self, id: SegmentId) -> Option<&mut Segment> {
        self.known.iter_mut().rev().find(|segment| segment.id == id)
    }

    /// The segment with this number, new if need be; nothing when all that are remembered still wait.
    pub(super) fn entry(&mut self, id: SegmentId) -> Option<&mut Segment> {
        let index = match self.known.iter().rposition(|segment| segment.id == id) {
            Some(index) => index,
            None => {
                if self.known.len() == REMEMBERED {
                    let idle = self.known.iter().position(|segment| segment.queued == 0)?;
                    self.known.remove(idle);
                }
                let phase = Phase::Open;
                self.known.push(Segment {
                    id,
                    phase,
                    queued: 0,
                    played: 0,
                    underruns: 0,
                    odd: None,
                    spare: None,
                });
                self.known.len() - 1
            }
        };
        self.known.get_mut(index)
    }

    /// Only those that still wait are remembered.
    pub(super) fn forget_idle(&mut self) {
        self.known.retain(|segment| segment.queued > 0);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.known.iter_mut()
    }
}
