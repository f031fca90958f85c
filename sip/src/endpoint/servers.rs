//! The server transactions of an endpoint, and how a request finds its own: RFC 3261 §17.2.3.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::event::DialogId;
use crate::flow::{ConnectionId, Flow, Transport};
use crate::transaction::{InviteServer, InviteServerOutput, Server, ServerOutput, Wire};
use crate::{BRANCH_COOKIE, Message, Method, Via};

/// One server transaction. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerId(pub(crate) u64);

/// Where responses go: RFC 3261 §18.2.2 with RFC 3581.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyPath {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
    /// Where to open a new connection to when the request's own is lost: the sender's address, the port of its Via.
    fallback: SocketAddr,
}

impl ReplyPath {
    pub(crate) fn of(flow: Flow, via: &Via) -> Self {
        let Flow { transport, local, peer, connection } = flow;
        let port = via.port().unwrap_or(transport.default_port());
        let fallback = SocketAddr::new(peer.ip(), port);
        let to = match transport {
            Transport::Udp => via.reply_address(peer),
            Transport::Tcp | Transport::Tls => peer,
        };
        Self { transport, local, to, connection, fallback }
    }

    /// The only way that is left when no Via can be read.
    pub(crate) fn to_source(flow: Flow) -> Self {
        let Flow { transport, local, peer, connection } = flow;
        Self { transport, local, to: peer, connection, fallback: peer }
    }

    /// The connection is gone.
    pub(crate) fn lose_connection(&mut self) {
        self.connection = None;
        self.to = self.fallback;
    }
}

/// What makes two requests the same one: what RFC 3261 §17.2.3 wants compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ServerKey {
    /// The branch is unique for whoever wrote the Via.
    Branch { branch: String, sent_by: String, class: MethodClass },
    /// A peer of RFC 2543: everything that a repetition has in common. The tag of To is left out, because the ACK of a
    /// refusal has it and the INVITE had not.
    Old { via: String, uri: String, call_id: String, from_tag: String, seq: u32, class: MethodClass },
}

/// ACK belongs to the INVITE it acknowledges, CANCEL has a transaction of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum MethodClass {
    Invite,
    Other(String),
}

impl ServerKey {
    /// The key of a request; `as_method` is its own method, or INVITE to find what a CANCEL means.
    pub(crate) fn of(request: &Message, via: &Via, as_method: Method<'_>) -> Option<Self> {
        let class = if matches!(as_method, Method::Invite | Method::Ack) {
            MethodClass::Invite
        } else {
            MethodClass::Other(as_method.as_str().to_owned())
        };
        let branch = via.branch().unwrap_or_default();
        if branch.len() > BRANCH_COOKIE.len() && branch.starts_with(BRANCH_COOKIE) {
            let port = via.port().map_or(String::new(), |port| port.to_string());
            let sent_by = format!("{}:{port}", via.host()).to_ascii_lowercase();
            return Some(Self::Branch { branch: branch.to_owned(), sent_by, class });
        }
        Some(Self::Old {
            via: via.to_string(),
            uri: request.request_uri().ok()?.as_str().to_owned(),
            call_id: request.call_id().ok()?.to_owned(),
            from_tag: request.from().ok()?.tag().unwrap_or_default().to_owned(),
            seq: request.cseq().ok()?.number,
            class,
        })
    }
}

/// What makes two requests with different branches forks of one that met again here (RFC 3261 §8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MergeKey {
    call_id: String,
    from_tag: String,
    seq: u32,
    method: String,
}

impl MergeKey {
    pub(crate) fn of(request: &Message) -> Option<Self> {
        let cseq = request.cseq().ok()?;
        Some(Self {
            call_id: request.call_id().ok()?.to_owned(),
            from_tag: request.from().ok()?.tag()?.to_owned(),
            seq: cseq.number,
            method: cseq.method.as_str().to_owned(),
        })
    }
}

/// One server transaction with all that belongs to it.
#[derive(Debug)]
pub(crate) struct ServerEntry {
    pub(crate) key: ServerKey,
    pub(crate) merge: Option<MergeKey>,
    pub(crate) reply: ReplyPath,
    /// Where the request came from, for `received` and `rport`.
    pub(crate) source: SocketAddr,
    pub(crate) request: Arc<Message>,
    /// The dialog that the request belongs to or begins.
    pub(crate) dialog: Option<DialogId>,
    /// The tag for To, where the request has none.
    pub(crate) tag: Option<Arc<str>>,
    pub(crate) automaton: Automaton,
}

/// One of the two server automata.
#[derive(Debug)]
pub(crate) enum Automaton {
    Invite(InviteServer),
    Other(Server),
}

/// What either automaton can want. A refusal that nobody acknowledges troubles nobody: what it refused is over.
#[derive(Debug)]
pub(crate) enum Output {
    Send(Wire),
    Gone,
}

impl Automaton {
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Invite(invite) => loop {
                match invite.poll_output()? {
                    InviteServerOutput::Send(wire) => break Some(Output::Send(wire)),
                    InviteServerOutput::AckMissing => {}
                    InviteServerOutput::Gone => break Some(Output::Gone),
                }
            },
            Self::Other(other) => other.poll_output().map(|output| match output {
                ServerOutput::Send(wire) => Output::Send(wire),
                ServerOutput::Gone => Output::Gone,
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

    pub(crate) fn handle_repetition(&mut self) {
        match self {
            Self::Invite(invite) => invite.handle_repetition(),
            Self::Other(other) => other.handle_repetition(),
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Invite(invite) => invite.is_pending(),
            Self::Other(other) => other.is_pending(),
        }
    }
}

/// All server transactions.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    entries: HashMap<ServerId, ServerEntry>,
    by_key: HashMap<ServerKey, ServerId>,
    by_merge: HashMap<MergeKey, ServerId>,
    by_connection: BTreeSet<(ConnectionId, ServerId)>,
}

impl Servers {
    pub(crate) fn insert(&mut self, id: ServerId, entry: ServerEntry) {
        self.by_key.insert(entry.key.clone(), id);
        if let Some(merge) = &entry.merge {
            self.by_merge.insert(merge.clone(), id);
        }
        if let Some(connection) = entry.reply.connection {
            self.by_connection.insert((connection, id));
        }
        self.entries.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: ServerId) -> Option<ServerEntry> {
        let entry = self.entries.remove(&id)?;
        self.by_key.remove(&entry.key);
        if let Some(merge) = &entry.merge
            && self.by_merge.get(merge) == Some(&id)
        {
            self.by_merge.remove(merge);
        }
        if let Some(connection) = entry.reply.connection {
            self.by_connection.remove(&(connection, id));
        }
        Some(entry)
    }

    pub(crate) fn get(&self, id: ServerId) -> Option<&ServerEntry> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ServerId) -> Option<&mut ServerEntry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn find(&self, key: &ServerKey) -> Option<ServerId> {
        self.by_key.get(key).copied()
    }

    /// Whether the same request is already here on another way. One that was refused is not: a proxy may try us again
    /// after somebody else.
    pub(crate) fn is_merged(&self, merge: &MergeKey) -> bool {
        let known = self.by_merge.get(merge).and_then(|id| self.entries.get(id));
        known.is_some_and(|entry| match &entry.automaton {
            Automaton::Invite(invite) => !invite.is_refused(),
            Automaton::Other(other) => other.is_pending(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The connection is gone; responses still to be sent open another one.
    pub(crate) fn lose_connection(&mut self, connection: ConnectionId) {
        let all = (connection, ServerId(0))..=(connection, ServerId(u64::MAX));
        let lost: Vec<_> = self.by_connection.range(all).copied().collect();
        for (connection, id) in lost {
            self.by_connection.remove(&(connection, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.reply.lose_connection();
            }
        }
    }
}
