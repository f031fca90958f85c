//! A worker's sockets that calls share: who comes and goes, what is heard on them, their beat and their end.
//!
//! A socket that is lost is noticed in the turn of one call and told to all in [`Worker::lose_lines`], between turns.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, warn};

use super::super::call::{Call, Engine};
use super::super::inbox::OpenedLine;
use super::super::line::{Line, Place};
use super::super::link::{Lost, Received};
use super::super::poller::{Interest, Token};
use super::super::slab::Key;
use super::{Due, Shared, Worker};
use crate::bridge::{
    Address, BatchError, CallNumber, Credit, Form, Incoming, Interpreter, LineComplaint, Word, address,
    records,
};
use crate::call::{EndReason, EngineFailure, VoiceFact};

impl Worker {
    /// A socket was opened: the calls that waited for it are on it from now on.
    pub(super) fn open_line(&mut self, now: Instant, opened: OpenedLine) {
        let OpenedLine { node, socket, waiting } = opened;
        self.shared.lines_handed += 1;
        let failure =
            self.shared.add_line(now, Line::new(now, node, socket, &self.shared.config.watch)).err();
        for (id, engine) in waiting {
            let key = self.key_of(id);
            self.turn(key, |call, shared| match (&failure, call.phase) {
                (_, super::Phase::Over) => shared.tally.stray_orders += 1,
                (None, super::Phase::Open) => shared.join(now, call, engine),
                (Some(failure), super::Phase::Open) => {
                    call.facts.push_back(VoiceFact::EngineNotReached(failure.clone()));
                }
            });
        }
    }

    /// Bytes came.
    pub(super) fn hear_line(&mut self, now: Instant, key: Key) {
        if let Some(line) = self.shared.lines.get_mut(key) {
            line.link.ready_to_read();
        }
        while let Some(line) = self.shared.lines.get_mut(key) {
            let heard = match line.link.receive() {
                Ok(Some(Received::Text(text))) => self.hear_text(now, key, &text),
                Ok(Some(Received::Binary(bytes))) => self.hear_batch(now, key, &bytes),
                Ok(None) => break,
                Err(lost) => Err(lost),
            };
            if let Err(lost) = heard {
                self.shared.lost_lines.push((key, lost));
            }
            self.lose_lines(now);
        }
        self.shared.watch_line(key);
    }

    fn hear_text(&mut self, now: Instant, key: Key, text: &str) -> Result<(), Lost> {
        let Some(line) = self.shared.lines.get_mut(key) else { return Ok(()) };
        let Address { call: number, word } = match address(text) {
            Ok(address) => address,
            Err((mistake, re)) => {
                self.shared.tally.engine_mistakes += 1;
                let (code, message, re) = (mistake.code(), mistake.to_string(), re.as_deref());
                let complaint = LineComplaint { call: None, code, re, message: &message, fatal: false };
                return line.mistaken(now, &complaint, mistake.close_code());
            }
        };
        let Some(call) = line.call(number) else { return self.shared.hear_stranger(now, key, number) };
        line.understood();
        self.turn(call, |call, shared| match word {
            Word::Message if call.is_listening() => shared.understand(now, call, Incoming::Text(text)),
            Word::Message => shared.complain(
                now,
                key,
                number,
                "call.busy",
                "the call has not done yet what it was told before",
            ),
            Word::Close(code) => shared.lose_engine(now, call, Lost::closed(code)),
        });
        Ok(())
    }

    fn hear_batch(&mut self, now: Instant, key: Key, message: &[u8]) -> Result<(), Lost> {
        let read = match records(message) {
            Ok(read) => read,
            Err(error) => return self.shared.wrong_batch(now, key, error),
        };
        let mut stranger = None;
        for record in read {
            let Some(line) = self.shared.lines.get_mut(key) else { return Ok(()) };
            let (number, frame) = match record {
                Ok(record) => record,
                Err(error) => return self.shared.wrong_batch(now, key, error),
            };
            let Some(call) = line.call(number) else {
                // What was under way when the call left is thrown away, as on a socket of its own.
                self.shared.tally.stray_records += 1;
                stranger = stranger.or((!line.knew(number)).then_some(number));
                continue;
            };
            line.understood();
            self.turn(call, |call, shared| shared.understand(now, call, Incoming::Binary(frame)));
        }
        match stranger {
            Some(number) => self.shared.hear_stranger(now, key, number),
            None => Ok(()),
        }
    }

    /// Sockets are lost: each call on them loses its engine.
    pub(super) fn lose_lines(&mut self, now: Instant) {
        self.count_kept();
        while let Some((key, lost)) = self.shared.lost_lines.pop() {
            let Some(mut line) = self.shared.remove_line(key) else { continue };
            debug!(failure = %lost.failure, calls = line.calls().count(), "shared socket gone");
            let calls: Vec<Key> = line.calls().collect();
            if let Some(code) = lost.close {
                line.link.close(code);
                self.shared.say_farewell(now, line.link, None);
            }
            for call in calls {
                let lost = Lost { close: None, ..lost.clone() };
                self.turn(call, |call, shared| match call.engine {
                    Some(Engine::Shared(place)) if place.line == key => shared.lose_engine(now, call, lost),
                    Some(Engine::Shared(_) | Engine::Own(_)) | None => {}
                });
            }
        }
    }

    /// What was gathered has gone out: how long it was kept.
    fn count_kept(&mut self) {
        for (call, length) in self.shared.kept.drain(..) {
            self.shared.up.count(length);
            if let Some(call) = self.calls.get_mut(call) {
                call.voice.count_latency(length);
            }
        }
    }
}

impl Shared {
    /// Whether audio for the call's engine is left out for now.
    pub(super) fn is_congested(&mut self, call: &Call) -> bool {
        match &call.engine {
            Some(Engine::Own(own)) => own.link.is_congested(),
            Some(Engine::Shared(place)) => {
                self.lines.get_mut(place.line).is_some_and(|line| line.is_congested())
            }
            None => false,
        }
    }

    /// The call speaks with its engine on a socket to the engine's node, where there is one.
    pub(super) fn join(&mut self, now: Instant, call: &mut Call, engine: Arc<crate::call::Engine>) {
        let Some(key) = self.line_to(&engine) else {
            call.facts.push_back(VoiceFact::EngineToDial { engine, handed: self.lines_handed });
            return;
        };
        if call.engine.is_some() {
            self.dismiss(now, call, EndReason::EngineLost);
        }
        let Some(line) = self.lines.get_mut(key) else { return };
        call.engine = Some(Engine::Shared(line.join(key, call.key)));
        if line.seat.is_none() {
            line.seat = Some(self.beats.add(Due::Line(key)));
        }
        if !call.voice.is_away() {
            let credit = Credit { window: self.config.window, limit: self.config.voice.playout_limit };
            let interpreter = Interpreter::with_rate(engine.dialect, engine.sample_rate, call.id, credit);
            call.voice.attach(interpreter, engine.barge_in);
        }
        call.facts.push_back(VoiceFact::EngineConnected);
    }

    fn line_to(&mut self, engine: &crate::call::Engine) -> Option<Key> {
        let keys: Vec<Key> = self.lines.keys().collect();
        let lost = &self.lost_lines;
        keys.into_iter().find(|key| {
            let same = self.lines.get_mut(*key).is_some_and(|line| line.node.is_same_node(engine));
            same && lost.iter().all(|(lost, _)| lost != key)
        })
    }

    /// One socket to a node is enough: of a second one nothing becomes.
    fn add_line(&mut self, now: Instant, mut line: Line) -> Result<(), EngineFailure> {
        if self.line_to(&line.node.clone()).is_some() {
            line.link.close(1000);
            let key = self.lines.insert(line);
            let watched = self.watch_new(key);
            if let Some(line) = self.lines.remove(key).filter(|_| watched.is_ok()) {
                self.say_farewell(now, line.link, None);
            }
            return Ok(());
        }
        let key = self.lines.insert(line);
        self.watch_new(key).inspect_err(|_| {
            self.lines.remove(key);
        })
    }

    fn watch_new(&mut self, key: Key) -> Result<(), EngineFailure> {
        let Some(line) = self.lines.get_mut(key) else { return Ok(()) };
        self.poller
            .add(&line.link, Token::Line(key), Interest::READ)
            .map_err(|error| EngineFailure::Broken(error.to_string()))
    }

    /// Takes a socket out of the beat and out of the list.
    fn remove_line(&mut self, key: Key) -> Option<Line> {
        let mut line = self.lines.remove(key)?;
        if let Some(seat) = line.seat.take() {
            self.beats.remove(seat, Due::Line(key));
        }
        Some(line)
    }

    /// A call says something on its shared socket.
    pub(super) fn say_on_line(
        &mut self,
        now: Instant,
        call: Key,
        place: &mut Place,
        form: Form,
        message: Bytes,
    ) {
        let Some(line) = self.lines.get_mut(place.line) else { return };
        if let Err(lost) = line.say(now, call, place, form, &message, &mut self.kept) {
            self.lost_lines.push((place.line, lost));
        }
        self.watch_line(place.line);
    }

    /// A call is on its shared socket no more.
    pub(super) fn leave_line(&mut self, now: Instant, place: Place, code: Option<u16>) {
        let Some(line) = self.lines.get_mut(place.line) else { return };
        if let Err(lost) = line.leave(now, &place, code, &mut self.kept) {
            self.lost_lines.push((place.line, lost));
        }
        if line.is_empty()
            && let Some(seat) = line.seat.take()
        {
            self.beats.remove(seat, Due::Line(place.line));
        }
    }

    /// 20 ms are over: what was gathered goes out.
    pub(super) fn beat_line(&mut self, now: Instant, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Err(lost) = line.send_batch(now, &mut self.kept) {
            self.lost_lines.push((key, lost));
        }
        self.watch_line(key);
    }

    /// There is room again.
    pub(super) fn flush_line(&mut self, now: Instant, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Err(lost) = line.link.flush(now) {
            self.lost_lines.push((key, lost));
        }
        self.watch_line(key);
    }

    /// Pings and stalls, and sockets that nobody needs.
    pub(super) fn look_after_lines(&mut self, now: Instant) {
        let keys: Vec<Key> = self.lines.keys().collect();
        for key in keys {
            let Some(line) = self.lines.get_mut(key) else { continue };
            if line.is_idle(now) {
                self.close_line(now, key);
            } else if let Err(lost) = line.link.watch(now, &self.config.watch) {
                self.lost_lines.push((key, lost));
            }
        }
    }

    /// The worker stops.
    pub(super) fn close_lines(&mut self, now: Instant) {
        let keys: Vec<Key> = self.lines.keys().collect();
        for key in keys {
            self.close_line(now, key);
        }
    }

    fn close_line(&mut self, now: Instant, key: Key) {
        if let Some(mut line) = self.remove_line(key) {
            line.link.close(1000);
            self.say_farewell(now, line.link, None);
        }
    }

    fn watch_line(&mut self, key: Key) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let wanted = Interest { read: true, write: line.link.waits_for_room() };
        if line.watched == wanted {
            return;
        }
        line.watched = wanted;
        if let Err(error) = self.poller.modify(&line.link, Token::Line(key), wanted) {
            warn!(%error, "a shared socket cannot be watched");
        }
    }

    /// The engine speaks to a call that is not on the socket: it has left, or never was.
    fn hear_stranger(&mut self, now: Instant, key: Key, number: CallNumber) -> Result<(), Lost> {
        let Some(line) = self.lines.get_mut(key) else { return Ok(()) };
        let call = Some(number);
        if line.knew(number) {
            let (code, message) = ("call.ended", "the call is no longer on this socket");
            return line.complain(now, &LineComplaint { call, code, re: None, message, fatal: false });
        }
        self.tally.engine_mistakes += 1;
        let (code, message) = ("call.unknown", "no call has had this number");
        line.mistaken(now, &LineComplaint { call, code, re: None, message, fatal: false }, 1008)
    }

    fn wrong_batch(&mut self, now: Instant, key: Key, error: BatchError) -> Result<(), Lost> {
        let Some(line) = self.lines.get_mut(key) else { return Ok(()) };
        self.tally.engine_mistakes += 1;
        let (code, message) = (error.code(), error.to_string());
        line.mistaken(
            now,
            &LineComplaint { call: None, code, re: None, message: &message, fatal: false },
            1008,
        )
    }

    fn complain(&mut self, now: Instant, key: Key, number: CallNumber, code: &str, message: &str) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let complaint = LineComplaint { call: Some(number), code, re: None, message, fatal: false };
        if let Err(lost) = line.complain(now, &complaint) {
            self.lost_lines.push((key, lost));
        }
    }
}
