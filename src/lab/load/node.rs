//! An engine node of a load: all calls of a worker on one socket (`edge.mux.v1`). It takes every call and says one batch every
//! 20 ms, with a frame for each call that is answered.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use std::time::Instant;
use tungstenite::{Error, Message, WebSocket};

use super::arrival::StampedStream;
use super::engines::Voice;
use super::window::Counting;
use crate::bridge::{Batch, CallNumber, FrameHeader, Word, address, records, write_text};

/// A shared socket and the calls on it.
pub(super) struct Node {
    socket: WebSocket<StampedStream>,
    calls: BTreeMap<CallNumber, Call>,
    batch: Batch,
    begun: usize,
}

struct Call {
    voice: Voice,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Listening,
    Speaking,
}

impl Node {
    pub(super) fn new(socket: WebSocket<StampedStream>) -> Self {
        Self { socket, calls: BTreeMap::new(), batch: Batch::new(Instant::now()), begun: 0 }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn speaking(&self) -> usize {
        self.calls.values().filter(|call| call.phase == Phase::Speaking).count()
    }

    pub(super) fn ready_to_read(&mut self) {
        self.socket.get_mut().ready_to_read();
    }

    /// A frame for every call that is answered.
    pub(super) fn speak(&mut self, counting: &mut Counting) {
        for (number, call) in self.calls.iter_mut().filter(|(_, call)| call.phase == Phase::Speaking) {
            self.batch.add(*number, &call.voice.frame(counting));
            if self.batch.is_full()
                && let Some(batch) = self.batch.take(Instant::now())
            {
                let _kept = self.socket.write(Message::Binary(batch));
            }
        }
        if let Some(batch) = self.batch.take(Instant::now()) {
            // A socket that takes nothing keeps the batch; a broken one says so when it is read.
            let _kept = self.socket.write(Message::Binary(batch));
        }
    }

    /// Takes all that came. Whether the socket is closed.
    pub(super) fn read(&mut self, counting: &mut Counting) -> bool {
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return true,
                Err(error) => {
                    counting.trouble(format!("an engine node's socket broke: {error}"));
                    return true;
                }
            };
            match message {
                Message::Binary(batch) => self.hear(&batch, counting),
                Message::Text(text) => self.understand(text.as_str(), counting),
                // tungstenite answers; what it has to say goes out with the next look.
                Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn hear(&mut self, batch: &Bytes, counting: &mut Counting) {
        let arrived = self.socket.get_ref().arrived();
        let Ok(read) = records(batch) else { return counting.trouble("a batch is none") };
        for record in read {
            let Ok((number, frame)) = record else { return counting.trouble("a batch is cut") };
            if let (Some(call), Ok((_, audio))) = (self.calls.get_mut(&number), FrameHeader::parse(frame)) {
                call.voice.hear(audio, arrived, counting);
            }
        }
    }

    fn understand(&mut self, text: &str, counting: &mut Counting) {
        let Ok(address) = address(text) else { return counting.trouble("a message is for no call") };
        let number = address.call;
        if matches!(address.word, Word::Close(_)) {
            self.calls.remove(&number);
        } else if text.contains(r#""type":"start""#) {
            self.begun += 1;
            self.calls.insert(number, Call { voice: Voice::new(self.begun), phase: Phase::Listening });
            let mut accept = BytesMut::new();
            write_text(number, br#"{"type":"accept"}"#, &mut accept);
            let _kept = self.socket.write(Message::text(String::from_utf8_lossy(&accept).into_owned()));
        } else if text.contains(r#""type":"answered""#)
            && let Some(call) = self.calls.get_mut(&number)
        {
            call.phase = Phase::Speaking;
        }
    }
}
