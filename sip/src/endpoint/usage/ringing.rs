//! Their INVITE has no final response yet: RFC 3261 §13.3.1, with the reliable provisional responses of RFC 3262 §3.
//! ```text
//!   ring() --> [sent, RSeq n] ---- PRACK n ----> the next one that waits, RSeq n + 1; or accept()'s 200
//!                  |  ^ T1, doubling
//!                  +--+---- 64·T1: 504
//! ```
//! One of them is under way at a time. A 200 waits for the PRACK of one with a session description (RFC 3262 §5), so that
//! no two descriptions cross.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;

use super::*;
use crate::dialog::{Provisional, ProvisionalOutput, Success};
use crate::endpoint::servers::ReplyPath;

/// How often a provisional response is repeated, so that no proxy gives up (RFC 3261 §13.3.1.1).
const REPEAT: Duration = Duration::from_secs(60);
/// Reliable responses that may wait for the PRACK of one before them. Of more, those in the middle are left out.
const MAX_WAITING: usize = 4;
/// Where RSeq begins at most (RFC 3262 §7.1: below 2³¹, with room to count).
const MAX_FIRST_RSEQ: u32 = 0x3fff_ffff;

/// An INVITE of theirs that the owner has not answered.
#[derive(Debug)]
pub(crate) struct Ringing {
    pub(super) dialog: Dialog,
    server: ServerId,
    request: Arc<Message>,
    latest: Option<(Instant, Reply)>,
    expires: Option<Instant>,
    reliable: Reliable,
    /// The owner's 200, which waits for a PRACK.
    accepted: Option<Reply>,
}

/// The reliable provisional responses of one INVITE.
#[derive(Debug, Default)]
struct Reliable {
    /// RSeq of the latest one.
    latest: Option<u32>,
    under_way: Option<UnderWay>,
    waiting: VecDeque<Reply>,
    /// Offer and answer of the INVITE have both been delivered.
    is_agreed: bool,
}

#[derive(Debug)]
struct UnderWay {
    rseq: u32,
    provisional: Provisional,
    path: ReplyPath,
    body: Option<Body>,
}

impl Ringing {
    pub(crate) fn new(now: Instant, dialog: Dialog, server: ServerId, request: Arc<Message>) -> Self {
        let seconds = request.expires().ok().flatten();
        let expires = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
        let reliable = Reliable::default();
        Self { dialog, server, request, latest: None, expires, reliable, accepted: None }
    }

    pub(super) fn request(&self) -> &Message {
        &self.request
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let reliable = self.reliable.under_way.as_ref().map(|one| one.provisional.poll_timeout());
        earlier(reliable, earlier(self.latest.as_ref().map(|(at, _)| *at), self.expires))
    }

    pub(super) fn lose_connection(&mut self, connection: ConnectionId) {
        self.dialog.lose_connection(connection);
        if let Some(UnderWay { path, .. }) = &mut self.reliable.under_way
            && path.connection == Some(connection)
        {
            path.lose_connection();
        }
    }

    /// The dialog, once an offer of ours may be made in it.
    pub(super) fn agreed_dialog(&mut self) -> Option<&mut Dialog> {
        self.reliable.is_agreed.then_some(&mut self.dialog)
    }

    /// Why an offer of theirs cannot be looked at yet (RFC 3311 §5.2); `None` if it can.
    pub(super) fn refuse_offer(&self, core: &mut Core) -> Option<Reply> {
        let Reliable { is_agreed, under_way, .. } = &self.reliable;
        let is_offer_of_ours =
            self.request.body().is_empty() && under_way.as_ref().is_some_and(|one| one.body.is_some());
        match (is_agreed, is_offer_of_ours) {
            (true, _) => None,
            (false, true) => Some(Reply::new(StatusCode::REQUEST_PENDING)),
            (false, false) => Some(later(core).warning("the first offer has no answer yet")),
        }
    }
}

impl Usage {
    pub(super) fn ringing_timeout(&mut self, now: Instant, core: &mut Core) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        if ringing.expires.is_some_and(|at| at <= now) {
            core.finish(now, ringing.server, StatusCode::REQUEST_TERMINATED);
            core.tell(Event::Expired { dialog: self.id });
            return self.vanish(now, core);
        }
        match ringing.reliable.under_way.as_mut().and_then(|one| one.provisional.handle_timeout(now)) {
            Some(ProvisionalOutput::Send(wire)) => {
                if let Some(UnderWay { path, .. }) = &ringing.reliable.under_way {
                    core.respond_on(*path, wire);
                }
            }
            Some(ProvisionalOutput::PrackMissing) => {
                let why = "no PRACK came for a reliable response";
                core.finish(now, ringing.server, Reply::new(StatusCode::SERVER_TIMEOUT).warning(why));
                core.tell(Event::PrackMissing { dialog: self.id });
                return self.vanish(now, core);
            }
            None => {}
        }
        if let Some((at, reply)) = &mut ringing.latest
            && *at <= now
        {
            *at = now + REPEAT;
            // Said once, a description need not be said again; reliably it even must not.
            let reply = reply.clone();
            let reply = if ringing.reliable.latest.is_some() { reply.body(None) } else { reply };
            self.send_provisional(now, core, reply);
        }
    }

    /// Sends a provisional response to the INVITE.
    pub(crate) fn ring(
        &mut self,
        now: Instant,
        core: &mut Core,
        line: StatusLine,
        headers: Headers,
        body: Option<Body>,
    ) {
        let reply =
            Reply::new(line).contact(self.contact.clone()).policy(self.policy).headers(headers).body(body);
        self.send_provisional(now, core, reply);
    }

    fn send_provisional(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        if ringing.accepted.is_some() {
            return;
        }
        ringing.latest = Some((now + REPEAT, reply.clone()));
        if !self.policy.rings_reliably(&ringing.request) {
            return core.finish(now, ringing.server, reply);
        }
        let waiting = &mut ringing.reliable.waiting;
        if waiting.len() >= MAX_WAITING {
            waiting.pop_back();
        }
        waiting.push_back(reply);
        self.send_reliable(now, core);
    }

    /// Sends the next reliable response unless one is under way.
    fn send_reliable(&mut self, now: Instant, core: &mut Core) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        let Reliable { latest, under_way: under_way @ None, waiting, is_agreed } = &mut ringing.reliable
        else {
            return;
        };
        let Some(mut reply) = waiting.pop_front() else { return };
        if *is_agreed {
            reply = reply.body(None);
        }
        let rseq = match latest {
            Some(latest) => latest.saturating_add(1),
            None => core.chance.random_range(1..=MAX_FIRST_RSEQ),
        };
        let body = reply.body_ref().filter(|body| !body.content.is_empty()).cloned();
        let reply = reply.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, rseq.to_string());
        let Ok((path, wire)) = core.answer(now, ringing.server, reply) else { return };
        let provisional = Provisional::new(now, core.config.timers, wire);
        *latest = Some(rseq);
        *under_way = Some(UnderWay { rseq, provisional, path, body });
    }

    /// PRACK. Everything that it lets go on is sent after its own answer.
    pub(super) fn prack_received(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: &Incoming,
    ) -> Option<Reply> {
        let unknown = Some(Reply::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST));
        let Incoming { server, request, .. } = incoming;
        let Ok(Some(rack)) = request.rack() else {
            return Some(Reply::new(StatusCode::BAD_REQUEST).warning("RAck is missing or malformed"));
        };
        let ringing = match &mut self.stage {
            Stage::Ringing(ringing) => ringing,
            Stage::Confirmed(confirmed) => {
                let is_it = confirmed.late_prack.take_if(|(rseq, seq)| {
                    (*rseq, *seq, Method::Invite) == (rack.rseq, rack.cseq.number, rack.cseq.method)
                });
                return if is_it.is_some() { Some(Reply::new(StatusCode::OK)) } else { unknown };
            }
            Stage::Calling(_) | Stage::Leaving(_) | Stage::Gone => return unknown,
        };
        let invite = ringing.request.cseq().ok().map(|cseq| (cseq.number, Method::Invite));
        let is_it = |one: &mut UnderWay| {
            one.rseq == rack.rseq && invite == Some((rack.cseq.number, rack.cseq.method))
        };
        let Some(acknowledged) = ringing.reliable.under_way.take_if(is_it) else { return unknown };
        let offered_in_invite = !ringing.request.body().is_empty();
        let was_agreed = ringing.reliable.is_agreed;
        if acknowledged.body.is_some() {
            ringing.reliable.is_agreed = offered_in_invite || !request.body().is_empty();
            self.description = acknowledged.body;
        }
        core.tell(Event::Pracked { dialog: self.id, request: (**request).clone() });
        // A description in it is the answer to the response's offer, or a new offer.
        let is_offer = !request.body().is_empty() && (offered_in_invite || was_agreed);
        if is_offer && ringing.reliable.is_agreed {
            self.give_out_offer(now, core, incoming);
        } else {
            core.finish(now, *server, StatusCode::OK);
        }
        if let Stage::Ringing(Ringing { accepted: accepted @ Some(_), .. }) = &mut self.stage {
            if let Some(reply) = accepted.take() {
                self.accept_invite(now, core, reply);
            }
        } else {
            self.send_reliable(now, core);
        }
        None
    }

    pub(super) fn accept_invite(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        ringing.latest = None;
        ringing.reliable.waiting.clear();
        if ringing.reliable.under_way.as_ref().is_some_and(|one| one.body.is_some()) {
            ringing.accepted.get_or_insert(reply);
            return;
        }
        // Offer and answer are over: another one may not be written into the 200 (RFC 3261 §13.2.1).
        let reply = if ringing.reliable.is_agreed { reply.body(None) } else { reply };
        let offers = ringing.request.body().is_empty() && reply.has_body();
        let seq = ringing.request.cseq().map_or(0, |cseq| cseq.number);
        let body = reply.body_ref().cloned();
        let mut reply = reply.contact(self.contact.clone()).policy(self.policy);
        for (name, value) in self.timer.answer(now, &ringing.request) {
            reply = reply.header(name, value);
        }
        let Ok((path, wire)) = core.answer(now, ringing.server, reply) else { return };
        self.description = body.or(self.description.take());
        let success = Success::new(now, core.config.timers, wire);
        let mut confirmed = Confirmed::of_callee(ringing.dialog.clone(), seq, success, path, offers);
        confirmed.late_prack = ringing.reliable.under_way.as_ref().map(|one| (one.rseq, seq));
        self.stage = Stage::Confirmed(confirmed);
    }

    pub(super) fn refuse_invite(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Ringing(ringing) = &self.stage else { return };
        core.finish(now, ringing.server, reply);
        self.vanish(now, core);
    }

    /// CANCEL of the INVITE that began the dialog.
    pub(super) fn cancel_ringing(&mut self, now: Instant, core: &mut Core, request: &Message) {
        core.tell(Event::Cancelled { dialog: self.id, request: request.clone() });
        self.refuse_invite(now, core, Reply::new(StatusCode::REQUEST_TERMINATED));
    }

    pub(super) fn bye_while_ringing(&mut self, now: Instant, core: &mut Core, request: &Message) {
        core.tell(Event::HungUp { dialog: self.id, request: request.clone() });
        self.refuse_invite(now, core, Reply::new(StatusCode::REQUEST_TERMINATED));
    }
}
