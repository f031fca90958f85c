//! What every part of the endpoint works with: the transactions, their deadlines, chance, and the two queues out.
//! `sending` has what it does with requests of ours, `answering` with requests of theirs.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::budget::Budget;
use super::clients::{ClientId, Clients};
use super::config::Config;
use super::deadlines::Deadlines;
use super::event::{DialogId, Event};
use super::ledger::Dropped;
use super::locals::Locals;
use super::sending::Way;
use super::servers::{ServerId, Servers};
use crate::flow::{Target, Transmit};
use crate::transaction::ResponseKind;
use crate::{NameAddr, StatusClass, StatusCode};

/// Who has a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    Client(ClientId),
    Server(ServerId),
    /// The owner has not answered this request.
    Answer(ServerId),
    Dialog(DialogId),
}

/// Everything but the dialogs.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) locals: Locals,
    pub(crate) chance: StdRng,
    pub(crate) clients: Clients,
    pub(crate) servers: Servers,
    pub(crate) deadlines: Deadlines<Timer>,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) dropped: Dropped,
    /// Answers to requests that cannot be acted on.
    pub(crate) malformed_answers: Budget,
    last_id: u64,
    /// For tags that are made again instead of remembered.
    pub(crate) secret: u64,
}

impl Core {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        Self {
            locals: Locals::new(&config.locals),
            malformed_answers: Budget::new(config.limits.malformed_answers),
            config,
            secret: chance.random(),
            chance,
            clients: Clients::default(),
            servers: Servers::default(),
            deadlines: Deadlines::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
            last_id: 0,
        }
    }

    /// A number never given out before, for everything that needs one.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A tag, or the distinguishing part of a branch or Call-ID: 16 digits that nobody can guess.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.chance.random::<u64>())
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Our Contact for whoever a request goes to; `None` without a listener for that way.
    pub(crate) fn contact_towards(&self, way: Way, user: Option<&str>) -> Option<NameAddr> {
        let Way { target: Target { transport, address }, near, .. } = way;
        Some(self.locals.towards(transport, address, near)?.contact(user))
    }
}

/// How the transactions see a status.
pub(crate) fn kind_of(status: StatusCode) -> ResponseKind {
    match status.class() {
        StatusClass::Provisional => ResponseKind::Provisional,
        StatusClass::Success => ResponseKind::Success,
        StatusClass::Redirection
        | StatusClass::ClientError
        | StatusClass::ServerError
        | StatusClass::GlobalFailure => ResponseKind::Refusal,
    }
}
