//! What a dialect is: words for what a call tells, and an ear for what an engine says.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Debug;
use std::time::{Duration, Instant};

use media::Digit;

use super::said::{Answer, Complaint, Heard, Incoming, Measured, Mistake, Resumption, Said, Speech};
use super::{Outgoing, Replayed};
use crate::call::{DtmfMethod, EngineEvent, LegId};

/// One conversation in one dialect. It remembers counters and names, and decides nothing about the call.
pub(super) trait Language: Debug + Send {
    /// Writes what the call has to tell, where there are words for it.
    fn tell(&mut self, now: Instant, event: &EngineEvent, out: &mut Outgoing);

    /// Writes one packet's audio. Whether it did: nothing before the beginning, nothing after the end.
    fn hear(&mut self, heard: &Heard<'_>, out: &mut Outgoing) -> bool;

    /// The engine does not read for now: keeps one packet's audio for later. Whether it did.
    fn hold(&mut self, _heard: &Heard<'_>) -> bool {
        false
    }

    /// Writes a key that the far end of `leg` pressed.
    fn digit(&mut self, leg: LegId, digit: Digit, duration: Duration, method: DtmfMethod, out: &mut Outgoing);

    /// Writes what became of the engine's audio.
    fn answer(&mut self, answer: &Answer<'_>, out: &mut Outgoing);

    /// Writes that the far end of `leg` speaks or is quiet; few dialects have words for it.
    fn speech(&mut self, _leg: LegId, _speech: &Speech, _out: &mut Outgoing) {}

    /// Writes what was measured; few dialects have words for it.
    fn measured(&mut self, _measured: &Measured, _out: &mut Outgoing) {}

    /// Writes what is wrong; few dialects have words for it.
    fn complain(&mut self, _complaint: &Complaint<'_>, _out: &mut Outgoing) {}

    /// The socket is lost. Whether the conversation can go on over another one; until it does, what there is to be told is kept.
    fn lose(&mut self) -> bool {
        false
    }

    /// There is another socket: writes what takes the conversation up again, and nothing else until the engine agrees.
    fn resume(&mut self, _resumption: &Resumption<'_>, _out: &mut Outgoing) {}

    /// Writes more of what was kept while there was no socket.
    fn catch_up(&mut self, _out: &mut Outgoing) -> Replayed {
        Replayed::default()
    }

    /// Reads one message; audio is borrowed from it, or decoded into `scratch`. What the dialect wants answered at once goes
    /// into `out`.
    ///
    /// # Errors
    /// What is wrong with it, and its id where it has one.
    fn understand<'a>(
        &mut self,
        message: Incoming<'a>,
        scratch: &'a mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<Said<'a>, (Mistake, Option<String>)>;
}
