//! One call on its worker: its sockets around its [`Voice`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::beats::Seat;
use super::hook::Hooked;
use super::line::Place;
use super::link::Link;
use super::poller::Interest;
use super::slab::Key;
use super::sockets::LegSockets;
use super::tape::TapeLayout;
use super::voice::{Voice, VoiceConfig};
use crate::call::{CallId, LegId, RecordingSettings, VoiceFact};

/// With so many facts waiting for the call's owner, its engine is not listened to.
const FACTS_FOR_SILENCE: usize = 64;

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) key: Key,
    pub(super) voice: Voice,
    /// Where its recording goes, and the channels of it.
    pub(super) tape_to: Option<(Arc<RecordingSettings>, TapeLayout)>,
    pub(super) legs: Vec<Leg>,
    pub(super) engine: Option<Engine>,
    /// The session of a platform, where that is the way of its legs.
    pub(super) hook: Option<Box<Hooked>>,
    /// Facts that the owner has not taken yet.
    pub(super) facts: VecDeque<VoiceFact>,
    pub(super) phase: Phase,
}

/// ```text
///   Open -- closed by its owner, or by a fault of ours --> Over -- last fact told --> gone
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Over,
}

/// A leg's sockets and its place in the beat.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) sockets: LegSockets,
    /// Once its media is agreed.
    pub(super) seat: Option<Seat>,
}

/// How the engine is spoken with.
#[derive(Debug)]
pub(super) enum Engine {
    /// On a socket of the call's own.
    Own(Box<OwnSocket>),
    /// On one that calls share.
    Shared(Place),
}

/// The engine's socket and what the poller watches it for.
#[derive(Debug)]
pub(super) struct OwnSocket {
    pub(super) link: Link,
    pub(super) watched: Interest,
}

impl Call {
    pub(super) fn new(id: CallId, key: Key, config: VoiceConfig) -> Self {
        Self {
            id,
            key,
            voice: Voice::new(config),
            tape_to: None,
            legs: Vec::with_capacity(1),
            engine: None,
            hook: None,
            facts: VecDeque::new(),
            phase: Phase::Open,
        }
    }

    pub(super) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    /// The engine's socket, where it is the call's own.
    pub(super) fn own_socket(&mut self) -> Option<&mut OwnSocket> {
        match &mut self.engine {
            Some(Engine::Own(own)) => Some(own),
            Some(Engine::Shared(_)) | None => None,
        }
    }

    /// Whether the engine is listened to: not while so many facts wait for the call's owner.
    pub(super) fn is_listening(&self) -> bool {
        self.facts.len() < FACTS_FOR_SILENCE
    }
}
