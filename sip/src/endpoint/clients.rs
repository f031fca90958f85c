//! The client transactions of an endpoint, and how a response finds its own: RFC 3261 §17.1.3.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::draft::Sent;
use super::event::{DialogId, RequestId};
use crate::flow::{ConnectionId, Transport};
use crate::transaction::{Client, ClientOutput, InviteClient, InviteClientOutput, Wire};
use crate::{Message, Method};

/// Forks of one INVITE whose 2xx is acknowledged. A 2xx of one more is dropped: nobody rings so many phones, and each
/// makes us send two requests.
const MAX_ACKS: usize = 16;

/// One client transaction. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u64);

/// Where a message goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) transport: Transport,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) to: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
}

/// Who wants to know what becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The INVITE that began the dialog.
    Invite(DialogId),
    /// An INVITE within the dialog.
    Reinvite(DialogId),
    /// UPDATE within the dialog.
    Update(DialogId),
    /// PRACK within an early dialog.
    Prack(DialogId),
    /// The end of the dialog.
    Bye(DialogId),
    /// REFER within the dialog.
    Refer(DialogId),
    /// INFO within the dialog.
    Info(DialogId),
    /// NOTIFY within the dialog: its answer means nothing to the call.
    Notify(DialogId),
    /// The owner's request outside of a dialog.
    Request(RequestId),
    /// CANCEL: its answer means nothing (RFC 3261 §9.1).
    Cancel,
    /// The BYE of a fork that nobody wanted.
    StrayBye,
}

/// One client transaction with all that belongs to it.
#[derive(Debug)]
pub(crate) struct ClientEntry {
    pub(crate) purpose: Purpose,
    pub(crate) sent: Arc<Sent>,
    pub(crate) automaton: Automaton,
    /// The ACKs sent for 2xx, by the tag of the fork: each repetition of the 2xx gets its ACK again.
    acks: Vec<(String, Path, Wire)>,
    /// The latest CSeq in the early dialog of each fork, where we have sent something in it.
    fork_seqs: Vec<(String, u32)>,
}

/// One of the two client automata.
#[derive(Debug)]
pub(crate) enum Automaton {
    Invite(InviteClient),
    Other(Client),
}

/// What either automaton can want.
#[derive(Debug)]
pub(crate) enum Output {
    Send(Wire),
    TimedOut,
    Gone,
}

impl Automaton {
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Invite(invite) => invite.poll_output().map(|output| match output {
                InviteClientOutput::Send(wire) => Output::Send(wire),
                InviteClientOutput::TimedOut => Output::TimedOut,
                InviteClientOutput::Gone => Output::Gone,
            }),
            Self::Other(other) => other.poll_output().map(|output| match output {
                ClientOutput::Send(wire) => Output::Send(wire),
                ClientOutput::TimedOut => Output::TimedOut,
                ClientOutput::Gone => Output::Gone,
            }),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Invite(invite) => invite.poll_timeout(),
            Self::Other(other) => other.poll_timeout(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Invite(invite) => invite.handle_timeout(now),
            Self::Other(other) => other.handle_timeout(now),
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Invite(invite) => invite.is_pending(),
            Self::Other(other) => other.is_pending(),
        }
    }

    pub(crate) fn abort(&mut self) {
        match self {
            Self::Invite(invite) => invite.abort(),
            Self::Other(other) => other.abort(),
        }
    }
}

impl ClientEntry {
    pub(crate) fn new(purpose: Purpose, sent: Arc<Sent>, automaton: Automaton) -> Self {
        Self { purpose, sent, automaton, acks: Vec::new(), fork_seqs: Vec::new() }
    }

    /// Whether no further fork can have its 2xx acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.acks.len() >= MAX_ACKS
    }

    /// Keeps the ACK of one fork's 2xx for its repetitions.
    pub(crate) fn keep_ack(&mut self, tag: &str, path: Path, wire: Wire) {
        self.acks.push((tag.to_owned(), path, wire));
    }

    /// Something has been sent in the early dialog of a fork; the forks of one INVITE are few.
    pub(crate) fn note_fork_seq(&mut self, tag: &str, seq: u32) {
        match self.fork_seqs.iter_mut().find(|(known, _)| known == tag) {
            Some((_, latest)) => *latest = seq,
            None => self.fork_seqs.push((tag.to_owned(), seq)),
        }
    }

    /// The latest CSeq in the early dialog of a fork, if anything was sent in it.
    pub(crate) fn fork_seq(&self, tag: &str) -> Option<u32> {
        self.fork_seqs.iter().find(|(known, _)| known == tag).map(|(_, seq)| *seq)
    }

    /// The ACK that this fork has already been sent.
    pub(crate) fn ack(&self, tag: &str) -> Option<(Path, Wire)> {
        self.acks.iter().find(|(known, ..)| known == tag).map(|(_, path, wire)| (*path, wire.clone()))
    }
}

/// All client transactions.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    entries: HashMap<ClientId, ClientEntry>,
    by_branch: HashMap<Arc<str>, ClientId>,
    /// A CANCEL has the branch of the request that it takes back.
    cancels_by_branch: HashMap<Arc<str>, ClientId>,
    by_target: BTreeSet<(Transport, SocketAddr, ClientId)>,
    by_connection: BTreeSet<(ConnectionId, ClientId)>,
}

impl Clients {
    pub(crate) fn insert(&mut self, id: ClientId, entry: ClientEntry) {
        let Sent { path, branch, .. } = &*entry.sent;
        self.branches(entry.sent.draft.method).insert(branch.clone(), id);
        self.by_target.insert((path.transport, path.to, id));
        if let Some(connection) = path.connection {
            self.by_connection.insert((connection, id));
        }
        self.entries.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: ClientId) -> Option<ClientEntry> {
        let entry = self.entries.remove(&id)?;
        let Sent { path, branch, .. } = &*entry.sent;
        self.branches(entry.sent.draft.method).remove(branch);
        self.by_target.remove(&(path.transport, path.to, id));
        if let Some(connection) = path.connection {
            self.by_connection.remove(&(connection, id));
        }
        Some(entry)
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut ClientEntry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whose response this is: the branch of its top Via is ours, and CSeq names the method we sent.
    pub(crate) fn find(&self, response: &Message) -> Option<ClientId> {
        let via = response.via().ok()?;
        let cseq = response.cseq().ok()?;
        let branches = if cseq.method == Method::Cancel { &self.cancels_by_branch } else { &self.by_branch };
        let id = *branches.get(via.branch()?)?;
        let sent = &self.entries.get(&id)?.sent;
        (sent.draft.method == cseq.method && sent.seq == cseq.number).then_some(id)
    }

    /// Those that go to an address, in the order they were made.
    pub(crate) fn to(&self, transport: Transport, to: SocketAddr) -> Vec<ClientId> {
        let all = (transport, to, ClientId(0))..=(transport, to, ClientId(u64::MAX));
        self.by_target.range(all).map(|(.., id)| *id).collect()
    }

    /// Those that went out on a connection, in the order they were made.
    pub(crate) fn on(&self, connection: ConnectionId) -> Vec<ClientId> {
        let all = (connection, ClientId(0))..=(connection, ClientId(u64::MAX));
        self.by_connection.range(all).map(|(_, id)| *id).collect()
    }

    fn branches(&mut self, method: Method<'static>) -> &mut HashMap<Arc<str>, ClientId> {
        if method == Method::Cancel { &mut self.cancels_by_branch } else { &mut self.by_branch }
    }
}
