//! What every part of the endpoint works with: the transactions, their deadlines, chance, and the two queues out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::authenticator::{Authenticator, Tries};
use super::clients::{self, ClientEntry, ClientId, Clients, Path, Purpose};
use super::config::Config;
use super::deadlines::Deadlines;
use super::draft::{Body, Draft, Headers, Sent};
use super::event::{DialogId, Event};
use super::ledger::Dropped;
use super::locals::Locals;
use super::reply::{Reply, stateless_tag};
use super::servers::{self, ReplyPath, ServerEntry, ServerId, Servers};
use super::usage::dialog_of;
use crate::dialog::{Dialog, Route};
use crate::flow::{ConnectionId, Flow, Target, Transmit, Transport};
use crate::transaction::{
    AckReception, AlreadyAnswered, Client, InviteClient, InviteServer, Reception, ResponseKind, Server, Wire,
};
use crate::{BRANCH_COOKIE, Message, Method, NameAddr, StatusClass, StatusCode, Via};

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
    last_id: u64,
    secret: u64,
}

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

impl Core {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        Self {
            locals: Locals::new(&config.locals),
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

    // ---- requests of ours

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

    /// Takes an INVITE back: a CANCEL in a transaction of its own, along the INVITE's way.
    pub(crate) fn cancel(&mut self, now: Instant, invite: ClientId, headers: Headers) {
        let Some(entry) = self.clients.get_mut(invite) else { return };
        if let clients::Automaton::Invite(invite) = &mut entry.automaton {
            invite.handle_cancelled(now);
        }
        let cancel = entry.sent.cancel(headers);
        self.begin(now, cancel, Purpose::Cancel);
        self.attend_client(now, invite);
    }

    /// Acknowledges a 2xx, and keeps the ACK for its repetitions (RFC 3261 §13.2.2.4).
    pub(crate) fn acknowledge(&mut self, invite: ClientId, sent: &Sent, dialog: &Dialog, body: Option<Body>) {
        let draft = Draft { body, ..Draft::within(dialog, Method::Ack) };
        let Some(mut ack) = self.prepare(Arc::new(draft), sent.seq, Way::of(dialog), None, Tries::default())
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
        self.acknowledge(answer.client, &answer.sent, &dialog, None);
        let seq = dialog.next_seq();
        let credentials = answer.sent.draft.credentials.clone();
        let draft = Draft { credentials, ..Draft::within(&dialog, Method::Bye) };
        let attempt = Attempt::first(seq, Way::of(&dialog), Purpose::StrayBye);
        self.send(now, Arc::new(draft), attempt, None);
    }

    /// The 2xx of a re-INVITE whose dialog is already over.
    pub(crate) fn acknowledge_stray(&mut self, answer: &Answer) {
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
    pub(crate) fn abort(&mut self, now: Instant, client: ClientId) {
        if let Some(entry) = self.clients.get_mut(client) {
            entry.automaton.abort();
            self.attend_client(now, client);
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
        self.attend_client(now, id);
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
        self.attend_client(now, client);
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
    pub(crate) fn attend_client(&mut self, now: Instant, id: ClientId) -> Option<(Purpose, Arc<Sent>)> {
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
        debug_assert!(deadline.is_none_or(|at| at > now), "a transaction that is due was not attended");
        self.deadlines.set(Timer::Client(id), deadline);
        timed_out
    }

    // ---- responses of ours

    /// The owner has to answer this request within the time of the limits.
    pub(crate) fn await_owner(&mut self, now: Instant, id: ServerId) {
        self.deadlines.set(Timer::Answer(id), Some(now + self.config.limits.respond_within));
    }

    /// Opens a transaction for a new request.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        request: Arc<Message>,
        via: &Via,
        key: servers::ServerKey,
        dialog: Option<DialogId>,
        flow: Flow,
    ) -> ServerId {
        let (timers, carriage) = (self.config.timers, flow.transport.carriage());
        let id = ServerId(self.next_id());
        let has_tag = request.to().is_ok_and(|to| to.tag().is_some());
        let tag: Option<Arc<str>> = (!has_tag).then(|| self.token().into());
        let automaton = if request.method() == Some(Method::Invite) {
            let trying =
                Reply::new(StatusCode::TRYING).write(&request, flow.peer, None, &self.config.user_agent);
            servers::Automaton::Invite(InviteServer::new(now, carriage, timers, trying))
        } else {
            servers::Automaton::Other(Server::new(now, carriage, timers))
        };
        let merge = if has_tag { None } else { servers::MergeKey::of(&request) };
        let reply = ReplyPath::of(flow, via);
        let source = flow.peer;
        self.servers.insert(id, ServerEntry { key, merge, reply, source, request, dialog, tag, automaton });
        self.attend_server(now, id);
        id
    }

    /// Answers a request, provisionally or for good. Answers with the message and its way, for a dialog that has to
    /// repeat it.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        id: ServerId,
        reply: Reply,
    ) -> Result<(ReplyPath, Wire), AlreadyAnswered> {
        let entry = self.servers.get_mut(id).ok_or(AlreadyAnswered)?;
        let status = reply.status();
        let wire = reply.write(&entry.request, entry.source, entry.tag.as_deref(), &self.config.user_agent);
        match (&mut entry.automaton, kind_of(status)) {
            (servers::Automaton::Invite(invite), ResponseKind::Provisional) => invite.ring(wire.clone())?,
            (servers::Automaton::Invite(invite), ResponseKind::Success) => {
                invite.accept(now, wire.clone())?
            }
            (servers::Automaton::Invite(invite), ResponseKind::Refusal) => {
                invite.refuse(now, wire.clone())?
            }
            (servers::Automaton::Other(other), ResponseKind::Provisional) => other.proceed(wire.clone())?,
            (servers::Automaton::Other(other), ResponseKind::Success | ResponseKind::Refusal) => {
                other.answer(now, wire.clone())?;
            }
        }
        let path = entry.reply;
        if status.is_final() {
            self.deadlines.set(Timer::Answer(id), None);
        }
        self.attend_server(now, id);
        Ok((path, wire))
    }

    /// Answers a request for good, if nobody has done so before.
    pub(crate) fn finish(&mut self, now: Instant, id: ServerId, reply: impl Into<Reply>) {
        // A second answer is what a race makes of two reasons to refuse; the first one stands.
        let _ = self.answer(now, id, reply.into());
    }

    /// Answers a request without remembering it (RFC 3261 §8.2.7): its repetition gets the same answer.
    pub(crate) fn answer_statelessly(&mut self, request: &Message, flow: Flow, reply: impl Into<Reply>) {
        if request.method() == Some(Method::Ack) {
            return;
        }
        let Ok(via) = request.via() else {
            self.dropped.malformed += 1;
            return;
        };
        let tag = stateless_tag(request, self.secret);
        let wire = reply.into().write(request, flow.peer, Some(&tag), &self.config.user_agent);
        self.respond_on(ReplyPath::of(flow, &via), wire);
    }

    /// 200 to a CANCEL, with the tag that the answer to its INVITE has (RFC 3261 §9.2).
    pub(crate) fn answer_cancel(&mut self, invite: ServerId, cancel: &Message, flow: Flow) {
        let Ok(via) = cancel.via() else { return };
        let tag = self.servers.get(invite).and_then(|entry| entry.tag.clone());
        let wire =
            Reply::new(StatusCode::OK).write(cancel, flow.peer, tag.as_deref(), &self.config.user_agent);
        self.respond_on(ReplyPath::of(flow, &via), wire);
    }

    /// Hands an ACK to the INVITE transaction that it matches.
    pub(crate) fn receive_ack(&mut self, now: Instant, id: ServerId) -> AckReception {
        let reception = match self.servers.get_mut(id).map(|entry| &mut entry.automaton) {
            Some(servers::Automaton::Invite(invite)) => invite.handle_ack(now),
            Some(servers::Automaton::Other(_)) | None => AckReception::Absorb,
        };
        self.attend_server(now, id);
        reception
    }

    /// The responses to this request shall have that tag.
    pub(crate) fn set_tag(&mut self, id: ServerId, tag: &Arc<str>) {
        if let Some(entry) = self.servers.get_mut(id) {
            entry.tag = Some(tag.clone());
        }
    }

    /// Forgets a request without answering it.
    pub(crate) fn discard(&mut self, now: Instant, id: ServerId) {
        if let Some(servers::Automaton::Other(other)) =
            self.servers.get_mut(id).map(|entry| &mut entry.automaton)
        {
            other.abort();
            self.attend_server(now, id);
        }
    }

    /// Our Contact for whoever a request goes to; `None` without a listener for that way.
    pub(crate) fn contact_towards(&self, way: Way, user: Option<&str>) -> Option<NameAddr> {
        let Way { target: Target { transport, address }, near, .. } = way;
        Some(self.locals.towards(transport, address, near)?.contact(user))
    }

    /// Sends a response along its way.
    pub(crate) fn respond_on(&mut self, path: ReplyPath, payload: Wire) {
        let ReplyPath { transport, local, to, connection, .. } = path;
        // A stream's local end is no listener that another stream could be opened from.
        let local = (connection.is_some() || transport == Transport::Udp).then_some(local);
        self.transmits.push_back(Transmit { transport, local, to, connection, payload });
    }

    /// Carries out what a server transaction wants and notes its deadline.
    pub(crate) fn attend_server(&mut self, now: Instant, id: ServerId) {
        while let Some(entry) = self.servers.get_mut(id) {
            let Some(output) = entry.automaton.poll_output() else { break };
            match output {
                servers::Output::Send(wire) => {
                    let path = entry.reply;
                    self.respond_on(path, wire);
                }
                servers::Output::Gone => {
                    self.servers.remove(id);
                    self.deadlines.set(Timer::Answer(id), None);
                }
            }
        }
        let deadline = self.servers.get(id).and_then(|entry| entry.automaton.poll_timeout());
        debug_assert!(deadline.is_none_or(|at| at > now), "a transaction that is due was not attended");
        self.deadlines.set(Timer::Server(id), deadline);
    }

    fn transmit(&mut self, path: Path, payload: Wire) {
        let Path { transport, local, to, connection } = path;
        self.transmits.push_back(Transmit { transport, local, to, connection, payload });
    }
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

impl Way {
    /// The way within a dialog. A stream that their messages come on is used as long as it is open and leads to the same
    /// host: many clients cannot be called at the port in their Contact.
    pub(crate) fn of(dialog: &Dialog) -> Self {
        let Route { hop, .. } = dialog.route();
        let flow = dialog.flow();
        let same_host = flow.peer.ip() == hop.address.ip() && flow.transport == hop.transport;
        let connection = if same_host { flow.connection } else { None };
        Self { target: hop, connection, near: Some(flow.local) }
    }
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
            headers: Headers::new(),
            body: None,
            credentials: None,
        }
    }
}

/// RFC 3261 §8.1.1.6.
pub(crate) const MAX_FORWARDS: u8 = 70;

fn kind_of(status: StatusCode) -> ResponseKind {
    match status.class() {
        StatusClass::Provisional => ResponseKind::Provisional,
        StatusClass::Success => ResponseKind::Success,
        StatusClass::Redirection
        | StatusClass::ClientError
        | StatusClass::ServerError
        | StatusClass::GlobalFailure => ResponseKind::Refusal,
    }
}
