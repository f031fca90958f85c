//! A socket that many calls share with one engine node (`edge.mux.v1`): who is on it, and what waits for its beat.
//!
//! ```text
//!   frame of a call --> batch -- every 20 ms, or full --> socket
//!   message of a call ------- at once, behind the frames of the same call that wait --> socket
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::beats::Seat;
use super::link::{AUDIO_BACKLOG, EngineWatch, Link, Lost};
use super::poller::Interest;
use super::slab::Key;
use crate::bridge::{
    Batch, CallNumber, EngineSocket, Form, LineComplaint, MISTAKES_IN_A_ROW, write_close, write_complaint,
    write_text,
};
use crate::call::Engine;

/// So many calls' share of unread audio is kept for all of them together, at most.
const SHARES_OF_BACKLOG: usize = 32;

/// A call's place on a shared socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: Key,
    pub(super) number: CallNumber,
    /// The batch that the call's last frame went into.
    batch: Option<u32>,
}

/// A shared socket.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) node: Arc<Engine>,
    pub(super) link: Link,
    pub(super) watched: Interest,
    /// Its place in the beat, while calls are on it.
    pub(super) seat: Option<Seat>,
    calls: BTreeMap<CallNumber, Key>,
    /// The number of the call that came last.
    latest: u32,
    batch: Batch,
    /// Whose frames wait, and since when.
    waiting: Vec<(Key, Instant)>,
    room: BytesMut,
    mistakes: u32,
    /// Since when nobody is on it.
    idle_since: Instant,
}

impl Line {
    pub(super) fn new(now: Instant, node: Arc<Engine>, socket: EngineSocket, watch: &EngineWatch) -> Self {
        Self {
            node,
            link: Link::new(now, socket.websocket, watch),
            watched: Interest::READ,
            seat: None,
            calls: BTreeMap::new(),
            latest: 0,
            batch: Batch::new(now),
            waiting: Vec::new(),
            room: BytesMut::new(),
            mistakes: 0,
            idle_since: now,
        }
    }

    /// A call is on it from now on. Its number is that of no other call on this socket, as long as 2^32 is not used up.
    pub(super) fn join(&mut self, line: Key, call: Key) -> Place {
        loop {
            self.latest = self.latest.wrapping_add(1).max(1);
            let number = CallNumber(self.latest);
            if let Entry::Vacant(vacant) = self.calls.entry(number) {
                vacant.insert(call);
                return Place { line, number, batch: None };
            }
        }
    }

    /// A call is on it no more; with a code the engine is told.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        place: &Place,
        code: Option<u16>,
        kept: &mut Vec<(Key, Duration)>,
    ) -> Result<(), Lost> {
        if self.calls.remove(&place.number).is_none() {
            return Ok(());
        }
        if self.calls.is_empty() {
            self.idle_since = now;
        }
        let Some(code) = code else { return Ok(()) };
        if place.batch == Some(self.batch.number()) {
            self.send_batch(now, kept)?;
        }
        write_close(place.number, code, &mut self.room);
        self.send_room(now)
    }

    /// Who has that number.
    pub(super) fn call(&self, number: CallNumber) -> Option<Key> {
        self.calls.get(&number).copied()
    }

    /// Whether a call with that number was here once. What an engine says to it was under way when it left.
    pub(super) fn knew(&self, number: CallNumber) -> bool {
        (1..=self.latest).contains(&number.0)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = Key> {
        self.calls.values().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Nobody has been on it for the configured time.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.calls.is_empty() && now.saturating_duration_since(self.idle_since) >= self.node.idle_timeout
    }

    /// Whether audio is left out for now: every call has a share of what may wait.
    pub(super) fn is_congested(&self) -> bool {
        let shares = self.calls.len().clamp(1, SHARES_OF_BACKLOG);
        self.link.backlog() >= AUDIO_BACKLOG * shares
    }

    /// A call says something. How long frames waited that went out before it, in `kept`.
    pub(super) fn say(
        &mut self,
        now: Instant,
        call: Key,
        place: &mut Place,
        form: Form,
        message: &[u8],
        kept: &mut Vec<(Key, Duration)>,
    ) -> Result<(), Lost> {
        match form {
            Form::Binary => {
                if self.batch.is_full() {
                    self.send_batch(now, kept)?;
                }
                self.batch.add(place.number, message);
                place.batch = Some(self.batch.number());
                self.waiting.push((call, now));
                Ok(())
            }
            Form::Text => {
                if place.batch == Some(self.batch.number()) {
                    self.send_batch(now, kept)?;
                }
                write_text(place.number, message, &mut self.room);
                self.send_room(now)
            }
        }
    }

    /// What waits goes out.
    pub(super) fn send_batch(&mut self, now: Instant, kept: &mut Vec<(Key, Duration)>) -> Result<(), Lost> {
        let Some(batch) = self.batch.take(now) else { return Ok(()) };
        kept.extend(self.waiting.drain(..).map(|(call, since)| (call, now.saturating_duration_since(since))));
        self.link.send(now, Form::Binary, batch)
    }

    /// The engine said something that makes sense.
    pub(super) fn understood(&mut self) {
        self.mistakes = 0;
    }

    /// The engine said something that no call can be asked about. The one too many is the end of the socket, with `close`.
    pub(super) fn mistaken(
        &mut self,
        now: Instant,
        complaint: &LineComplaint<'_>,
        close: u16,
    ) -> Result<(), Lost> {
        self.mistakes += 1;
        let fatal = self.mistakes >= MISTAKES_IN_A_ROW;
        self.complain(now, &LineComplaint { fatal, ..*complaint })?;
        if fatal { Err(Lost::protocol(complaint.message, close)) } else { Ok(()) }
    }

    /// Tells the engine what is wrong.
    pub(super) fn complain(&mut self, now: Instant, complaint: &LineComplaint<'_>) -> Result<(), Lost> {
        write_complaint(complaint, &mut self.room);
        self.send_room(now)
    }

    fn send_room(&mut self, now: Instant) -> Result<(), Lost> {
        let message: Bytes = self.room.split().freeze();
        self.link.send(now, Form::Text, message)
    }
}
