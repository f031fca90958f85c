//! Who may change the session at a time: RFC 3261 §14 (re-INVITE), RFC 3311 §5.2 (UPDATE).
//! ```text
//!              reinvite()                          INVITE, UPDATE with body
//!   [Ours] <---------------------- [Idle] ----------------------------------> [Theirs]
//!     |  2xx..6xx                   ^  ^    accept(), refuse(), CANCEL            |
//!     +-----------------------------+  +------------------------------------------+
//!        491: the same offer waits     INVITE, UPDATE in [Ours]: 491
//!        2.1–4 s or 0–2 s in Idle      INVITE, UPDATE in [Theirs]: 500, Retry-After
//! ```
//! An unacknowledged 2xx counts as an exchange under way for new offers of ours, and for theirs when an offer or answer
//! is still missing.

use super::*;
use crate::dialog::{Success, glare};
use crate::endpoint::unanswered;

/// An offer of ours that is to be sent.
#[derive(Debug)]
pub(crate) struct Offer {
    wish: Wish,
    headers: Headers,
    body: Option<Body>,
    /// After a glare.
    pub(super) not_before: Option<Instant>,
    glares: u8,
}

/// Whose idea an offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// The owner hears what becomes of it.
    Owner,
    /// The owner's too, but by UPDATE.
    OwnerByUpdate,
    /// The session timer's: what holds is offered again.
    Timer,
}

impl Offer {
    /// What holds, again.
    pub(super) fn refresh(body: Body) -> Self {
        Self { wish: Wish::Timer, headers: Headers::new(), body: Some(body), not_before: None, glares: 0 }
    }
}

/// An UPDATE of ours that was sent before the answer.
#[derive(Debug)]
pub(super) struct EarlyUpdate {
    client: ClientId,
    body: Body,
}

/// The exchange under way.
#[derive(Debug)]
pub(super) enum Exchange {
    Idle,
    /// Our re-INVITE has no final response.
    Ours {
        sent: Reinvite,
        offer: Offer,
    },
    /// Their request waits for the owner.
    Theirs {
        server: ServerId,
        request: Arc<Message>,
    },
}

/// A re-INVITE of ours under way.
#[derive(Debug)]
pub(super) struct Reinvite {
    client: ClientId,
    seq: u32,
    /// When it is taken back although something provisional has come: other offers wait for its end.
    take_back: Option<Instant>,
}

impl Exchange {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Ours { sent, .. } => sent.take_back,
            Self::Idle | Self::Theirs { .. } => None,
        }
    }
}

impl Usage {
    // ---- ours

    /// Sends a re-INVITE as soon as that is allowed. An older one that still waits is given up for it.
    pub(crate) fn reinvite(&mut self, now: Instant, core: &mut Core, headers: Headers, body: Option<Body>) {
        self.queue_offer(now, core, Offer { wish: Wish::Owner, headers, body, not_before: None, glares: 0 });
    }

    /// Sends an UPDATE with an offer as soon as that is allowed.
    pub(crate) fn update(&mut self, now: Instant, core: &mut Core, headers: Headers, body: Body) {
        if !self.updates {
            return self.offer_failed(now, core, Wish::OwnerByUpdate, Refusal::Unsupported);
        }
        let purpose = Purpose::Update(self.id);
        let invite = match &self.stage {
            Stage::Calling(calling) => Some(calling.client()),
            Stage::Ringing(_) | Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => None,
        };
        let early = match &mut self.stage {
            Stage::Calling(calling) => calling.agreed_fork(),
            Stage::Ringing(ringing) => ringing.agreed_dialog(),
            Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => {
                let wish = Wish::OwnerByUpdate;
                let offer = Offer { wish, headers, body: Some(body), not_before: None, glares: 0 };
                return self.queue_offer(now, core, offer);
            }
        };
        let (Some(dialog), None) = (early, &self.early_update) else {
            return self.offer_failed(now, core, Wish::OwnerByUpdate, Refusal::Overtaken);
        };
        let extensions = extensions(self.policy, &self.timer);
        let (contact, sent_body) = (Some(self.contact.clone()), Some(body.clone()));
        let draft =
            Draft { contact, extensions, headers, body: sent_body, ..Draft::within(dialog, Method::Update) };
        match send_within(now, core, &mut self.authenticator, dialog, draft, purpose) {
            Some((client, seq)) => {
                let tag = dialog.remote_tag();
                if let Some(entry) = invite.and_then(|invite| core.clients.get_mut(invite)) {
                    entry.note_fork_seq(tag, seq);
                }
                self.early_update = Some(EarlyUpdate { client, body });
            }
            None => {
                let refusal = Refusal::Failed(Failure::Transport);
                self.offer_failed(now, core, Wish::OwnerByUpdate, refusal);
            }
        }
    }

    /// The final response to an UPDATE that was sent before the answer. Answers whether it was one.
    pub(super) fn early_update_answered(&mut self, now: Instant, core: &mut Core, answer: &Answer) -> bool {
        let Some(update) = self.early_update.take_if(|update| update.client == answer.client) else {
            return false;
        };
        let tag = answer.sent.draft.to.tag().unwrap_or_default();
        let dialog = match &mut self.stage {
            Stage::Calling(calling) => calling.fork(tag),
            Stage::Ringing(ringing) => Some(&mut ringing.dialog),
            Stage::Confirmed(confirmed) => Some(&mut confirmed.dialog),
            Stage::Leaving(_) | Stage::Gone => None,
        };
        let Some(dialog) = dialog.filter(|dialog| dialog.remote_tag() == tag) else { return true };
        if let Some((client, _)) = answer_challenge(now, core, &mut self.authenticator, dialog, answer) {
            self.early_update = Some(EarlyUpdate { client, ..update });
        } else if answer.status.is_success() {
            dialog.refresh_target(&answer.response);
            self.description = Some(update.body);
            core.tell(Event::UpdateAnswered { dialog: self.id, response: answer.response.clone() });
        } else {
            let refusal = Refusal::Response(answer.response.clone());
            self.offer_failed(now, core, Wish::OwnerByUpdate, refusal);
        }
        true
    }

    /// Such an UPDATE has no final response.
    pub(super) fn early_update_failed(
        &mut self,
        now: Instant,
        core: &mut Core,
        sent: &Sent,
        failure: Failure,
    ) {
        let is_it =
            self.early_update.as_ref().is_some_and(|update| sent.draft.body.as_ref() == Some(&update.body));
        if is_it {
            self.early_update = None;
            self.offer_failed(now, core, Wish::OwnerByUpdate, Refusal::Failed(failure));
        }
    }

    fn queue_offer(&mut self, now: Instant, core: &mut Core, offer: Offer) {
        let wish = offer.wish;
        let overtaken = match &mut self.stage {
            Stage::Confirmed(Confirmed { next_offer, hang_up: None, .. }) => {
                let older = next_offer.replace(offer);
                if let (Some(older), Some(newer)) = (&older, next_offer) {
                    newer.not_before = older.not_before;
                }
                older.map(|older| older.wish)
            }
            Stage::Confirmed(_) | Stage::Calling(_) | Stage::Ringing(_) | Stage::Leaving(_) | Stage::Gone => {
                Some(wish)
            }
        };
        if let Some(overtaken) = overtaken {
            self.offer_failed(now, core, overtaken, Refusal::Overtaken);
        }
        self.start_offer(now, core);
    }

    /// Sends the waiting offer if its time has come, or the refresh that waits for its turn.
    pub(super) fn start_offer(&mut self, now: Instant, core: &mut Core) {
        self.start_refresh(now, core);
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        let Some(offer) = &mut confirmed.next_offer else { return };
        if offer.not_before.is_some_and(|at| at > now) {
            return;
        }
        offer.not_before = None;
        if !confirmed.is_free() {
            return;
        }
        let Some(offer) = confirmed.next_offer.take() else { return };
        let (method, purpose) = match offer.wish {
            Wish::Owner | Wish::Timer => (Method::Invite, Purpose::Reinvite(self.id)),
            Wish::OwnerByUpdate => (Method::Update, Purpose::Update(self.id)),
        };
        let dialog = &mut confirmed.dialog;
        let (contact, headers) = (Some(self.contact.clone()), offer.headers.clone());
        let (extensions, body) = (extensions(self.policy, &self.timer), offer.body.clone());
        let draft = Draft { contact, extensions, headers, body, ..Draft::within(dialog, method) };
        match send_within(now, core, &mut self.authenticator, dialog, draft, purpose) {
            Some((client, seq)) => {
                let take_back = match offer.wish {
                    Wish::Owner | Wish::Timer => Some(now + core.config.timers.give_up()),
                    // No CANCEL takes an UPDATE back; its transaction ends by itself.
                    Wish::OwnerByUpdate => None,
                };
                confirmed.exchange = Exchange::Ours { sent: Reinvite { client, seq, take_back }, offer };
            }
            None => {
                let refusal = Refusal::Failed(Failure::Transport);
                self.offer_failed(now, core, offer.wish, refusal);
            }
        }
    }

    /// An offer of ours has come to nothing.
    fn offer_failed(&mut self, now: Instant, core: &mut Core, wish: Wish, refusal: Refusal) {
        match wish {
            Wish::Owner => core.tell(Event::ReinviteRefused { dialog: self.id, refusal }),
            Wish::OwnerByUpdate => core.tell(Event::UpdateRefused { dialog: self.id, refusal }),
            Wish::Timer => self.timer.try_again(now),
        }
    }

    pub(super) fn reinvite_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let status = answer.status;
        let Stage::Confirmed(confirmed) = &mut self.stage else {
            return core.settle_stray_reinvite(now, &answer);
        };
        let Exchange::Ours { sent, offer } = &mut confirmed.exchange else { return };
        if sent.client != answer.client || status.is_provisional() {
            return;
        }
        let dialog = &mut confirmed.dialog;
        if let Some((client, seq)) = answer_challenge(now, core, &mut self.authenticator, dialog, &answer) {
            let take_back = sent.take_back.map(|_| now + core.config.timers.give_up());
            *sent = Reinvite { client, seq, take_back };
            return;
        }
        if status.is_success() {
            dialog.refresh_target(&answer.response);
            let wish = offer.wish;
            confirmed.exchange = Exchange::Idle;
            self.timer.learn(now, &answer.response);
            self.updates |= answer.response.has_token(HeaderName::Allow, "UPDATE");
            if answer.sent.draft.body.is_some() {
                self.description.clone_from(&answer.sent.draft.body);
            }
            match wish {
                Wish::Owner | Wish::Timer => {
                    confirmed.ack_due = Some(AckDue { client: answer.client, sent: answer.sent });
                }
                Wish::OwnerByUpdate => {}
            }
            let is_wanted = confirmed.hang_up.is_none();
            let response = answer.response;
            match wish {
                Wish::Owner if is_wanted => {
                    core.tell(Event::ReinviteAnswered { dialog: self.id, response });
                }
                Wish::OwnerByUpdate if is_wanted => {
                    core.tell(Event::UpdateAnswered { dialog: self.id, response });
                    self.start_offer(now, core);
                }
                Wish::Owner | Wish::OwnerByUpdate => {}
                Wish::Timer => {
                    core.tell(Event::Refreshed { dialog: self.id, message: response });
                    self.acknowledge(now, core, None);
                }
            }
            return;
        }
        if offer.wish == Wish::Timer && status != StatusCode::REQUEST_PENDING {
            confirmed.exchange = Exchange::Idle;
            return self.refresh_refused(now, core, &answer.response, status);
        }
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL && self.timer.raise(&answer.response) {
            if let Exchange::Ours { offer, .. } = std::mem::replace(&mut confirmed.exchange, Exchange::Idle) {
                confirmed.next_offer.get_or_insert(offer);
            }
            return self.start_offer(now, core);
        }
        if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
            && offer.wish == Wish::OwnerByUpdate
        {
            self.updates = false;
        }
        let may_glare = status == StatusCode::REQUEST_PENDING && offer.glares < glare::MAX_GLARES;
        let old = std::mem::replace(&mut confirmed.exchange, Exchange::Idle);
        let refusal = match old {
            Exchange::Ours { offer, .. } if may_glare => {
                let not_before = Some(now + glare::wait(self.owner, &mut core.chance));
                match &mut confirmed.next_offer {
                    Some(newer) => {
                        newer.not_before = not_before;
                        Some((offer.wish, Refusal::Overtaken))
                    }
                    None => {
                        let glares = offer.glares + 1;
                        confirmed.next_offer = Some(Offer { not_before, glares, ..offer });
                        None
                    }
                }
            }
            Exchange::Ours { offer, .. } => Some((offer.wish, Refusal::Response(answer.response))),
            Exchange::Idle | Exchange::Theirs { .. } => None,
        };
        if let Some((wish, refusal)) = refusal {
            self.offer_failed(now, core, wish, refusal);
        }
        if matches!(status, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT) {
            return self.end_vanished(now, core, Failure::Vanished);
        }
        self.start_offer(now, core);
    }

    pub(super) fn reinvite_failed(&mut self, now: Instant, core: &mut Core, sent: &Sent, failure: Failure) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        let wish = match &confirmed.exchange {
            Exchange::Ours { sent: ours, offer } if ours.seq == sent.seq => offer.wish,
            Exchange::Ours { .. } | Exchange::Idle | Exchange::Theirs { .. } => return,
        };
        confirmed.exchange = Exchange::Idle;
        self.offer_failed(now, core, wish, Refusal::Failed(failure));
        match failure {
            // RFC 3261 §12.2.1.2: who does not answer a re-INVITE at all is not there.
            Failure::Timeout | Failure::Vanished => self.end_vanished(now, core, failure),
            Failure::Transport => self.start_offer(now, core),
        }
    }

    // ---- theirs

    pub(super) fn reinvite_received(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: &Incoming,
    ) -> Option<Reply> {
        let confirmed = match &mut self.stage {
            Stage::Confirmed(confirmed) => confirmed,
            // Our own INVITE is under way (RFC 5407 §3.1.2).
            Stage::Calling(_) => return Some(Reply::new(StatusCode::REQUEST_PENDING)),
            Stage::Ringing(_) | Stage::Leaving(_) | Stage::Gone => return Some(later(core)),
        };
        if let Some(reply) = confirmed.refuse_offer(core) {
            return Some(reply);
        }
        let Incoming { server, request, .. } = incoming;
        confirmed.exchange = Exchange::Theirs { server: *server, request: request.clone() };
        core.await_owner(now, *server);
        core.tell(Event::Reinvited { dialog: self.id, request: (**request).clone() });
        None
    }

    pub(super) fn update_received(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: &Incoming,
    ) -> Option<Reply> {
        let Incoming { server, request, .. } = incoming;
        if request.body().is_empty() {
            if let Some(dialog) = self.stage.dialog_mut() {
                dialog.refresh_target(request);
            }
            let mut reply = Reply::new(StatusCode::OK).contact(self.contact.clone()).policy(self.policy);
            if let Stage::Confirmed(_) = &self.stage {
                let lines = self.timer.answer(now, request);
                if !lines.is_empty() {
                    core.tell(Event::Refreshed { dialog: self.id, message: (**request).clone() });
                }
                for (name, value) in lines {
                    reply = reply.header(name, value);
                }
            }
            return Some(reply);
        }
        let confirmed = match &mut self.stage {
            Stage::Confirmed(confirmed) => confirmed,
            Stage::Calling(_) | Stage::Ringing(_) => return self.early_update_received(now, core, incoming),
            Stage::Leaving(_) | Stage::Gone => return Some(later(core)),
        };
        if let Some(reply) = confirmed.refuse_offer(core) {
            return Some(reply);
        }
        confirmed.exchange = Exchange::Theirs { server: *server, request: request.clone() };
        core.await_owner(now, *server);
        core.tell(Event::Updated { dialog: self.id, request: (**request).clone() });
        None
    }

    /// UPDATE with an offer before the call is answered: possible once offer and answer of the INVITE have been delivered
    /// reliably.
    fn early_update_received(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) -> Option<Reply> {
        let tag = incoming.request.from().ok().and_then(|from| from.tag().map(str::to_owned));
        let objection = match &self.stage {
            Stage::Calling(calling) if calling.is_agreed(&tag.unwrap_or_default()) => None,
            Stage::Calling(_) => Some(Reply::new(StatusCode::REQUEST_PENDING)),
            Stage::Ringing(ringing) => ringing.refuse_offer(core),
            Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => Some(later(core)),
        };
        let is_open = |id: &ServerId| {
            core.servers
                .get(*id)
                .is_some_and(|entry| entry.automaton.is_pending() && is_early_offer(&entry.request))
        };
        if objection.is_some() {
            return objection;
        }
        if self.open.iter().any(is_open) {
            return Some(later(core).warning("an offer has no answer yet"));
        }
        self.give_out_offer(now, core, incoming);
        None
    }

    /// Accepts their offer that waits for the owner.
    pub(super) fn accept_offer(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        let Exchange::Theirs { server, request } = &confirmed.exchange else { return };
        let offers = request.body().is_empty() && reply.has_body();
        let (server, request) = (*server, request.clone());
        let body = reply.body_ref().cloned();
        let mut reply = reply.contact(self.contact.clone()).policy(self.policy);
        for (name, value) in self.timer.answer(now, &request) {
            reply = reply.header(name, value);
        }
        let answered = core.answer(now, server, reply);
        if let Ok((path, wire)) = answered {
            let request = &*request;
            self.description = body.or(self.description.take());
            self.updates |= request.has_token(HeaderName::Allow, "UPDATE");
            confirmed.dialog.refresh_target(request);
            if request.method() == Some(Method::Invite) {
                let seq = request.cseq().map_or(0, |cseq| cseq.number);
                let success = Success::new(now, core.config.timers, wire);
                let waiting = Unacknowledged { success, path, offers, is_first: false };
                confirmed.successes.insert(seq, waiting);
            }
            // What we wanted to offer was written before this agreement.
            if let Some(wish) = confirmed.next_offer.take().map(|offer| offer.wish)
                && wish != Wish::Timer
            {
                confirmed.exchange = Exchange::Idle;
                return self.offer_failed(now, core, wish, Refusal::Overtaken);
            }
        }
        confirmed.exchange = Exchange::Idle;
    }

    /// Refuses their offer that waits for the owner; the session stays as it was.
    pub(super) fn refuse_offer(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        let Exchange::Theirs { server, .. } = confirmed.exchange else { return };
        confirmed.exchange = Exchange::Idle;
        core.finish(now, server, reply);
        self.start_offer(now, core);
    }

    /// The owner has had its time for their offer.
    pub(crate) fn give_up_offer(&mut self, now: Instant, core: &mut Core, offer: ServerId) {
        let Stage::Confirmed(confirmed) = &self.stage else { return };
        if matches!(confirmed.exchange, Exchange::Theirs { server, .. } if server == offer) {
            self.refuse_offer(now, core, unanswered());
        }
    }

    /// CANCEL of a re-INVITE.
    pub(super) fn cancel_offer(&mut self, now: Instant, core: &mut Core, invite: ServerId) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        if matches!(confirmed.exchange, Exchange::Theirs { server, .. } if server == invite) {
            core.tell(Event::ReinviteCancelled { dialog: self.id });
            self.refuse_offer(now, core, Reply::new(StatusCode::REQUEST_TERMINATED));
        }
    }

    /// Takes our re-INVITE back if its time has come.
    pub(super) fn take_back_offer(&mut self, now: Instant, core: &mut Core) {
        let Stage::Confirmed(Confirmed { exchange: Exchange::Ours { sent, .. }, .. }) = &mut self.stage
        else {
            return;
        };
        if sent.take_back.is_some_and(|at| at <= now) {
            sent.take_back = None;
            core.cancel(now, sent.client, Headers::new());
        }
    }

    /// The dialog ends: their offer is answered, ours forgotten.
    pub(super) fn close_exchange(&mut self, now: Instant, core: &mut Core) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        confirmed.next_offer = None;
        match std::mem::replace(&mut confirmed.exchange, Exchange::Idle) {
            Exchange::Theirs { server, .. } => core.finish(now, server, StatusCode::REQUEST_TERMINATED),
            Exchange::Ours { sent, .. } => core.expect_end(now, sent.client),
            Exchange::Idle => {}
        }
    }
}

impl Confirmed {
    /// Nothing is under way, so an offer of ours may go out.
    pub(super) fn is_free(&self) -> bool {
        let Self { ack_due: None, exchange: Exchange::Idle, successes, hang_up: None, .. } = self else {
            return false;
        };
        successes.is_empty()
    }

    /// Nothing is under way and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.is_free() && self.next_offer.is_none()
    }

    /// Why an offer of theirs cannot be looked at now.
    fn refuse_offer(&self, core: &mut Core) -> Option<Reply> {
        if self.hang_up.is_some() {
            return Some(Reply::new(StatusCode::REQUEST_TERMINATED));
        }
        match self.exchange {
            Exchange::Theirs { .. } => return Some(later(core)),
            Exchange::Ours { .. } => return Some(Reply::new(StatusCode::REQUEST_PENDING)),
            Exchange::Idle => {}
        }
        // RFC 5407 §3.1.4: the ACK with the answer is on its way, from us or from them.
        let is_open = self.ack_due.is_some() || self.successes.values().any(|waiting| waiting.offers);
        is_open.then(|| Reply::new(StatusCode::REQUEST_PENDING))
    }
}

/// A request that may offer before the call is answered.
fn is_early_offer(request: &Message) -> bool {
    matches!(request.method(), Some(Method::Update | Method::Prack))
}
