//! Requests of ours: each in a client transaction, and the ACK of a 2xx in none (RFC 3261 §8.1, §13.2.2.4, §17.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use super::authenticator::{Authenticator, Tries};
use super::clients::{self, ClientEntry, ClientId, Path, Purpose};
use super::core::{Core, Timer, kind_of};
use super::draft::{Body, Draft, Headers, Sent};
use super::usage::dialog_of;
use crate::dialog::{Dialog, Lines, Route};
use crate::flow::{ConnectionId, Flow, Target, Transmit, Transport};
use crate::transaction::{Client, InviteClient, Reception, ResponseKind, Wire};
use crate::{BRANCH_COOKIE, Message, Method, StatusCode};

/// A response that somebody waits for, with the request it answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) client: ClientId,
    pub(crate) purpose: Purpose,
    pub(crate) sent: Arc<Sent>,
    pub(crate) status: StatusCode,
    pub(crate) response: Message,
    pub(crate) flow: Flow,
}

/// What belongs to one try of a request only.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) seq: u32,
    pub(crate) way: Way,
    /// The challenges that were answered before.
    pub(crate) tries: Tries,
    pub(crate) purpose: Purpose,
    /// Timer B or F, where it is not 64·T1.
    pub(crate) give_up: Option<Duration>,
}

impl Attempt {
    pub(crate) fn first(seq: u32, way: Way, purpose: Purpose) -> Self {
        Self { seq, way, tries: Tries::default(), purpose, give_up: None }
    }

    /// The same way as the one that was challenged.
    pub(crate) fn again(answer: &Answer, seq: u32, tries: Tries) -> Self {
        let Path { transport, to, connection, local } = answer.sent.path;
        let way = Way { target: Target { transport, address: to }, connection, near: local };
        Self { seq, way, tries, purpose: answer.purpose, give_up: answer.sent.give_up }
    }
}

/// The way of a request: what a dialog knows of it, or the owner says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) target: Target,
    pub(crate) connection: Option<ConnectionId>,
    /// Our address that the other side knows.
    pub(crate) near: Option<SocketAddr>,
}

impl Draft {
    /// A request within a dialog, without body and headers.
    pub(crate) fn within(dialog: &Dialog, method: Method<'static>) -> Self {
        let Route { uri, routes, .. } = dialog.route();
        Self {
            method,
            uri,
            routes,
            from: dialog.local().clone(),
            to: dialog.remote().clone(),
            call_id: dialog.call_id().clone(),
            contact: None,
            max_forwards: MAX_FORWARDS,
            extensions: Lines::new(),
            headers: Headers::new(),
            body: None,
            credentials: None,
        }
    }
}

/// RFC 3261 §8.1.1.6.
pub(crate) const MAX_FORWARDS: u8 = 70;

impl Core {
    /// Sends a request in a transaction of its own. `None` if we have no listener to send it from.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        draft: Arc<Draft>,
        attempt: Attempt,
        authenticator: Option<&mut Authenticator>,
    ) -> Option<ClientId> {
        let Attempt { seq, way, tries, purpose, give_up } = attempt;
        let sent = self.prepare(draft, seq, way, authenticator, tries)?;
        Some(self.begin(now, Sent { give_up, ..sent }, purpose))
    }

    /// The way of a request within a dialog. A stream that their messages come on is used as long as it is open and
    /// leads to the same host: many clients cannot be called at the port in their Contact. A way that we have no
    /// listener for is none; then their own is taken.
    pub(crate) fn way(&self, dialog: &Dialog) -> Way {
        let (Route { hop, .. }, flow) = (dialog.route(), dialog.flow());
        let back = Target { transport: flow.transport, address: flow.peer };
        let is_ours = self.locals.towards(hop.transport, hop.address, Some(flow.local)).is_some();
        let target = if is_ours { hop } else { back };
        let is_same_host = flow.peer.ip() == target.address.ip() && flow.transport == target.transport;
        Way { target, connection: flow.connection.filter(|_| is_same_host), near: Some(flow.local) }
    }

    /// Takes an INVITE back: a CANCEL in a transaction of its own, along the INVITE's way. Does nothing unless something
    /// provisional has come, and nothing final (RFC 3261 §9.1).
    pub(crate) fn cancel(&mut self, now: Instant, invite: ClientId, headers: Headers) {
        if !self.is_proceeding(invite) {
            return;
        }
        self.expect_end(now, invite);
        if let Some(entry) = self.clients.get_mut(invite) {
            let cancel = entry.sent.cancel(headers);
            self.begin(now, cancel, Purpose::Cancel);
        }
    }

    /// An INVITE that has been answered provisionally is given up if it is not answered for good within 64·T1.
    pub(crate) fn expect_end(&mut self, now: Instant, invite: ClientId) {
        if let Some(clients::Automaton::Invite(automaton)) =
            self.clients.get_mut(invite).map(|entry| &mut entry.automaton)
        {
            automaton.handle_cancelled(now);
            self.attend_client(invite);
        }
    }

    /// Acknowledges a 2xx, and keeps the ACK for its repetitions (RFC 3261 §13.2.2.4).
    pub(crate) fn acknowledge(&mut self, invite: ClientId, sent: &Sent, dialog: &Dialog, body: Option<Body>) {
        let draft = Draft { body, ..Draft::within(dialog, Method::Ack) };
        let Some(mut ack) = self.prepare(Arc::new(draft), sent.seq, self.way(dialog), None, Tries::default())
        else {
            return;
        };
        // RFC 3261 §22.1: an ACK cannot be challenged, so it carries the answers of its INVITE.
        ack.authorization = sent.authorization.clone();
        let wire = ack.write(&self.config.user_agent);
        if let Some(entry) = self.clients.get_mut(invite) {
            entry.keep_ack(dialog.remote_tag(), ack.path, wire.clone());
        }
        self.transmit(ack.path, wire);
    }

    /// Whether a response has come to an INVITE, but no final one: only then may it be cancelled.
    pub(crate) fn is_proceeding(&mut self, invite: ClientId) -> bool {
        match self.clients.get_mut(invite).map(|entry| &entry.automaton) {
            Some(clients::Automaton::Invite(invite)) => invite.is_proceeding(),
            Some(clients::Automaton::Other(_)) | None => false,
        }
    }

    /// Timer B of an INVITE whose owner gives up after `timer_b`: the transaction itself waits for the full time, so
    /// that whoever answers late can still be told that nobody wants it.
    pub(crate) fn invite_patience(&self, timer_b: Option<Duration>) -> Duration {
        self.config.timers.give_up().max(timer_b.unwrap_or_default())
    }

    /// A 2xx of a fork that nobody wants, or for a call that is already over: acknowledged and ended at once
    /// (RFC 3261 §13.2.2.4).
    pub(crate) fn end_stray_fork(&mut self, now: Instant, answer: &Answer) {
        let Some(mut dialog) = dialog_of(answer) else { return };
        if self.clients.get_mut(answer.client).is_none_or(|entry| entry.is_full()) {
            self.dropped.stray_responses += 1;
            return;
        }
        self.acknowledge(answer.client, &answer.sent, &dialog, None);
        let used = self.clients.get_mut(answer.client).and_then(|entry| entry.fork_seq(dialog.remote_tag()));
        dialog.skip_to(used.unwrap_or_default());
        let seq = dialog.next_seq();
        let credentials = answer.sent.draft.credentials.clone();
        let draft = Draft { credentials, ..Draft::within(&dialog, Method::Bye) };
        let attempt = Attempt::first(seq, self.way(&dialog), Purpose::StrayBye);
        self.send(now, Arc::new(draft), attempt, None);
    }

    /// The response to a re-INVITE whose dialog is already over: a 2xx is acknowledged, a provisional one not waited on
    /// for ever.
    pub(crate) fn settle_stray_reinvite(&mut self, now: Instant, answer: &Answer) {
        if !answer.status.is_success() {
            return self.expect_end(now, answer.client);
        }
        let Some(mut dialog) = dialog_of(answer) else { return };
        dialog.follow(&answer.sent.draft.routes);
        self.acknowledge(answer.client, &answer.sent, &dialog, None);
    }

    /// Sends a challenged request again that belongs to no dialog, if that is worth trying.
    pub(crate) fn answer_challenge(&mut self, now: Instant, answer: &Answer) -> bool {
        let mut authenticator = Authenticator::new(answer.sent.draft.credentials.clone());
        let Some(tries) = authenticator.learn(&answer.response, &answer.sent.tries) else { return false };
        let attempt = Attempt::again(answer, answer.sent.seq + 1, tries);
        self.send(now, answer.sent.draft.clone(), attempt, Some(&mut authenticator)).is_some()
    }

    /// Stops whatever a client transaction still does.
    pub(crate) fn abort(&mut self, client: ClientId) {
        if let Some(entry) = self.clients.get_mut(client) {
            entry.automaton.abort();
            self.attend_client(client);
        }
    }

    fn prepare(
        &mut self,
        draft: Arc<Draft>,
        seq: u32,
        way: Way,
        authenticator: Option<&mut Authenticator>,
        tries: Tries,
    ) -> Option<Sent> {
        let Way { target: Target { transport, address }, connection, near } = way;
        let local = self.locals.towards(transport, address, near)?;
        let branch: Arc<str> = format!("{BRANCH_COOKIE}{:016x}", self.chance.random::<u64>()).into();
        let via = local.via(&branch);
        let path = Path { transport, local: Some(local.bind()), to: address, connection };
        let body = draft.body.as_ref().map(|body| body.content.clone()).unwrap_or_default();
        let authorization = match authenticator {
            Some(known) => known.authorize(draft.method, draft.uri.as_str(), &body, &mut self.chance),
            None => Vec::new(),
        };
        Some(Sent { draft, path, via, branch, seq, authorization, tries, give_up: None })
    }

    fn begin(&mut self, now: Instant, sent: Sent, purpose: Purpose) -> ClientId {
        let wire = sent.write(&self.config.user_agent);
        let (timers, carriage) = (self.config.timers, sent.path.transport.carriage());
        let give_up = sent.give_up.unwrap_or(timers.give_up());
        let automaton = match sent.draft.method {
            Method::Invite => {
                clients::Automaton::Invite(InviteClient::new(now, carriage, timers, wire, give_up))
            }
            Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Options
            | Method::Refer
            | Method::Notify
            | Method::Info
            | Method::Prack
            | Method::Update
            | Method::Register
            | Method::Subscribe
            | Method::Message
            | Method::Publish
            | Method::Extension(_) => {
                clients::Automaton::Other(Client::new(now, carriage, timers, wire, give_up))
            }
        };
        let id = ClientId(self.next_id());
        self.clients.insert(id, ClientEntry::new(purpose, Arc::new(sent), automaton));
        self.attend_client(id);
        id
    }

    /// Hands a response to its transaction. Answers with what its owner has to see.
    pub(crate) fn receive_response(&mut self, now: Instant, flow: Flow, response: Message) -> Option<Answer> {
        let status = response.status()?;
        let Some(client) = self.clients.find(&response) else {
            self.dropped.stray_responses += 1;
            return None;
        };
        let entry = self.clients.get_mut(client)?;
        let kind = kind_of(status);
        let sent = entry.sent.clone();
        let reception = match &mut entry.automaton {
            clients::Automaton::Invite(invite) => {
                invite.handle_response(now, kind, || sent.write_ack(&response))
            }
            clients::Automaton::Other(other) => other.handle_response(now, kind),
        };
        let purpose = entry.purpose;
        let known = match (kind, response.to()) {
            (ResponseKind::Success, Ok(to)) => entry.ack(to.tag().unwrap_or_default()),
            (ResponseKind::Success | ResponseKind::Provisional | ResponseKind::Refusal, _) => None,
        };
        self.attend_client(client);
        if let Some((path, ack)) = known {
            self.transmit(path, ack);
            return None;
        }
        match reception {
            Reception::Deliver => Some(Answer { client, purpose, sent, status, response, flow }),
            Reception::Absorb => None,
        }
    }

    /// Carries out what a client transaction wants and notes its deadline. Answers whether it timed out.
    pub(crate) fn attend_client(&mut self, id: ClientId) -> Option<(Purpose, Arc<Sent>)> {
        let mut timed_out = None;
        while let Some(entry) = self.clients.get_mut(id) {
            let Some(output) = entry.automaton.poll_output() else { break };
            match output {
                clients::Output::Send(wire) => {
                    let path = entry.sent.path;
                    self.transmit(path, wire);
                }
                clients::Output::TimedOut => timed_out = Some((entry.purpose, entry.sent.clone())),
                clients::Output::Gone => {
                    self.clients.remove(id);
                }
            }
        }
        let deadline = self.clients.get_mut(id).and_then(|entry| entry.automaton.poll_timeout());
        self.deadlines.set(Timer::Client(id), deadline);
        timed_out
    }

    fn transmit(&mut self, path: Path, payload: Wire) {
        let Path { transport, local, to, connection } = path;
        // A stream is not opened from the port that listens.
        let local = local.filter(|_| transport == Transport::Udp);
        self.transmits.push_back(Transmit { transport, local, to, connection, payload });
    }
}
