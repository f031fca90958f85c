//! Responses of ours: each from a server transaction, or from none where nothing needs to be remembered
//! (RFC 3261 §8.2.6, §8.2.7, §17.2).

use std::sync::Arc;
use std::time::Instant;

use super::core::{Core, Timer, kind_of};
use super::event::DialogId;
use super::reply::{Reply, stateless_tag};
use super::servers::{self, ReplyPath, ServerEntry, ServerId};
use crate::flow::{Flow, Transmit, Transport};
use crate::transaction::{AckReception, AlreadyAnswered, InviteServer, ResponseKind, Server, Wire};
use crate::{Message, Method, ParseError, StatusCode, Via};

impl Core {
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
        self.attend_server(id);
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
        self.attend_server(id);
        Ok((path, wire))
    }

    /// The owner's answer to a request that was given out. An INVITE is answered through its dialog only.
    pub(crate) fn respond(&mut self, now: Instant, id: ServerId, reply: Reply) {
        if self.servers.get(id).is_some_and(|entry| matches!(entry.automaton, servers::Automaton::Other(_))) {
            self.finish(now, id, reply);
        }
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
        let path = request.via().map_or(ReplyPath::to_source(flow), |via| ReplyPath::of(flow, &via));
        let tag = stateless_tag(request, self.secret);
        let wire = reply.into().write(request, flow.peer, Some(&tag), &self.config.user_agent);
        self.respond_on(path, wire);
    }

    /// Tells the sender of a request that we may not act on what is wrong with it; where no hop of its way can be read, at
    /// the address it came from. Over datagrams, whose source may be made up, only so many times a second.
    pub(crate) fn refuse_malformed(
        &mut self,
        now: Instant,
        request: &Message,
        flow: Flow,
        fault: ParseError,
    ) {
        if request.method() == Some(Method::Ack) {
            self.dropped.malformed += 1;
            return;
        }
        if flow.transport == Transport::Udp && !self.malformed_answers.take(now) {
            self.dropped.unanswered += 1;
            return;
        }
        self.answer_statelessly(request, flow, Reply::new(fault.status()).warning(fault.to_string()));
    }

    /// Hands an ACK to the INVITE transaction that it matches.
    pub(crate) fn receive_ack(&mut self, now: Instant, id: ServerId) -> AckReception {
        let reception = match self.servers.get_mut(id).map(|entry| &mut entry.automaton) {
            Some(servers::Automaton::Invite(invite)) => invite.handle_ack(now),
            Some(servers::Automaton::Other(_)) | None => AckReception::Absorb,
        };
        self.attend_server(id);
        reception
    }

    /// The responses to this request shall have that tag.
    pub(crate) fn set_tag(&mut self, id: ServerId, tag: &Arc<str>) {
        if let Some(entry) = self.servers.get_mut(id) {
            entry.tag = Some(tag.clone());
        }
    }

    /// Forgets a request without answering it.
    pub(crate) fn discard(&mut self, id: ServerId) {
        if let Some(servers::Automaton::Other(other)) =
            self.servers.get_mut(id).map(|entry| &mut entry.automaton)
        {
            other.abort();
            self.attend_server(id);
        }
    }

    /// Sends a response along its way.
    pub(crate) fn respond_on(&mut self, path: ReplyPath, payload: Wire) {
        let ReplyPath { transport, local, to, connection, .. } = path;
        let local = (transport == Transport::Udp).then_some(local);
        self.transmits.push_back(Transmit { transport, local, to, connection, payload });
    }

    /// Carries out what a server transaction wants and notes its deadline.
    pub(crate) fn attend_server(&mut self, id: ServerId) {
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
        self.deadlines.set(Timer::Server(id), deadline);
    }
}
