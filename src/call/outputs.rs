//! The queue of what is to be done, and the numbering of what is to be kept.

use std::collections::VecDeque;
use std::time::Instant;

use super::clock::{Timestamp, WallClock};
use super::command::Answer;
use super::ids::{CallId, RequestId};
use super::output::Output;
use super::record::{Record, RecordNumber};
use super::voice::VoiceOrder;

/// Outputs in the order in which they became necessary.
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    newest: RecordNumber,
    durable: RecordNumber,
    wall: WallClock,
}

impl Outputs {
    pub(super) fn new(wall: WallClock) -> Self {
        Self {
            queue: VecDeque::new(),
            newest: RecordNumber::default(),
            durable: RecordNumber::default(),
            wall,
        }
    }

    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(super) fn extend(&mut self, outputs: impl IntoIterator<Item = Output>) {
        self.queue.extend(outputs);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(super) fn voice(&mut self, call: CallId, order: VoiceOrder) {
        self.queue.push_back(Output::Voice { call, order });
    }

    pub(super) fn keep(&mut self, record: Record) -> RecordNumber {
        self.newest.0 += 1;
        self.queue.push_back(Output::Keep { number: self.newest, record });
        self.newest
    }

    /// Answers once everything kept so far is on disk.
    pub(super) fn reply(&mut self, to: RequestId, answer: Answer) {
        let after = match &answer {
            Answer::Placed(_) | Answer::Accepted | Answer::WrappedUp(_) => self.newest,
            Answer::Context(_) | Answer::Refused(_) => RecordNumber::default(),
        };
        self.queue.push_back(Output::Reply { to, after, answer });
    }

    pub(super) fn handle_durable(&mut self, number: RecordNumber) {
        self.durable = self.durable.max(number);
    }

    /// Records that wait for the disk.
    pub(super) fn unsaved(&self) -> u64 {
        self.newest.0 - self.durable.0
    }

    pub(super) fn timestamp(&self, now: Instant) -> Timestamp {
        self.wall.timestamp(now)
    }

    pub(super) fn wall(&self) -> &WallClock {
        &self.wall
    }

    pub(super) fn handle_wall_clock(&mut self, wall: WallClock) {
        self.wall = wall;
    }
}
