//! Our INVITE has no final response yet: RFC 3261 §13.2, with the CANCEL of §9.1.
//! ```text
//!   hang_up() ---- provisional seen? -- yes --> CANCEL sent --+-- 487 ------------> Refused, gone
//!                        | no                        ^        +-- 2xx (crossed) --> ACK, BYE
//!                        +--- first provisional -----+        +-- 64·T1 ----------> Failed, gone
//! ```
//! Each To tag is a fork with an early dialog of its own; the first 2xx decides which of them becomes the dialog.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::{CSeq, RAck};

/// Forks that are told apart; provisional responses of more are still told, but make no dialog.
const MAX_FORKS: usize = 16;

/// An INVITE of ours under way.
#[derive(Debug)]
pub(crate) struct Calling {
    client: ClientId,
    forks: BTreeMap<String, Fork>,
    /// The fork in which offer and answer were delivered last.
    latest: Option<String>,
    end: End,
    owner: Waiting,
    /// When the owner stops waiting for any response at all.
    give_up: Option<Instant>,
    timer_b: Option<Duration>,
}

/// An early dialog, and what has come of it reliably (RFC 3262 §4).
#[derive(Debug)]
struct Fork {
    dialog: Dialog,
    /// RSeq of the latest reliable response.
    rseq: Option<u32>,
    /// RSeq of a reliable offer that the owner has not answered.
    offer: Option<u32>,
    /// Offer and answer of the INVITE have both been delivered.
    is_agreed: bool,
}

/// Whether the call is still wanted.
#[derive(Debug)]
enum End {
    Unwanted,
    /// CANCEL may only be sent after a provisional response.
    Asked(Headers),
    Cancelled,
}

/// Whether the owner has been told how the call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Yes,
    Told,
}

impl Calling {
    pub(crate) fn new(now: Instant, client: ClientId, timer_b: Option<Duration>) -> Self {
        let give_up = timer_b.map(|span| now + span);
        Self {
            client,
            forks: BTreeMap::new(),
            latest: None,
            end: End::Unwanted,
            owner: Waiting::Yes,
            give_up,
            timer_b,
        }
    }

    pub(super) fn fork(&mut self, tag: &str) -> Option<&mut Dialog> {
        self.forks.get_mut(tag).map(|fork| &mut fork.dialog)
    }

    pub(super) fn client(&self) -> ClientId {
        self.client
    }

    /// The fork with which something has been agreed on, the one heard last of several.
    pub(super) fn agreed_fork(&mut self) -> Option<&mut Dialog> {
        let latest = self.latest.as_ref()?;
        self.forks.get_mut(latest).filter(|fork| fork.is_agreed).map(|fork| &mut fork.dialog)
    }

    pub(super) fn has_fork(&self, tag: &str) -> bool {
        self.forks.contains_key(tag)
    }

    /// An offer may be made in the early dialog of that fork.
    pub(super) fn is_agreed(&self, tag: &str) -> bool {
        self.forks.get(tag).is_some_and(|fork| fork.is_agreed)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.give_up
    }

    pub(super) fn lose_connection(&mut self, connection: ConnectionId) {
        for fork in self.forks.values_mut() {
            fork.dialog.lose_connection(connection);
        }
    }

    /// Sends CANCEL, or notes that it is wanted.
    fn cancel(&mut self, now: Instant, core: &mut Core, headers: Headers) {
        if !matches!(self.end, End::Unwanted) {
            return;
        }
        if core.is_proceeding(self.client) {
            core.cancel(now, self.client, headers);
            self.end = End::Cancelled;
        } else {
            self.end = End::Asked(headers);
        }
    }

    fn note_fork(&mut self, answer: &Answer) {
        let Ok(to) = answer.response.to() else { return };
        let Some(tag) = to.tag() else { return };
        if let Some(fork) = self.forks.get_mut(tag) {
            fork.dialog.confirm(&answer.response, answer.flow);
        } else if self.forks.len() < MAX_FORKS
            && let Some(dialog) = dialog_of(answer)
        {
            let fork = Fork { dialog, rseq: None, offer: None, is_agreed: false };
            self.forks.insert(tag.to_owned(), fork);
        }
    }
}

impl Usage {
    pub(super) fn calling_timeout(&mut self, now: Instant, core: &mut Core) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        if calling.give_up.is_none_or(|at| at > now) {
            return;
        }
        calling.give_up = None;
        if calling.owner == Waiting::Yes {
            calling.owner = Waiting::Told;
            core.tell(Event::Failed { dialog: self.id, failure: Failure::Timeout });
        }
        // Whoever answers later still has to be told that nobody wants it.
        calling.cancel(now, core, Headers::new());
    }

    pub(super) fn hang_up_calling(&mut self, now: Instant, core: &mut Core, headers: Headers) {
        if let Stage::Calling(calling) = &mut self.stage {
            calling.cancel(now, core, headers);
        }
    }

    pub(super) fn invite_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        match &mut self.stage {
            Stage::Calling(calling) if calling.client == answer.client => {
                if answer.status.is_provisional() {
                    self.progress(now, core, answer);
                } else if answer.status.is_success() {
                    self.answered(now, core, answer);
                } else {
                    self.refused(now, core, answer);
                }
            }
            Stage::Confirmed(Confirmed { dialog, .. }) | Stage::Leaving(Leaving { dialog, .. })
                if is_of(dialog, &answer.response) =>
            {
                // The 2xx again, before the owner has acknowledged the first one.
            }
            Stage::Calling(_) | Stage::Ringing(_) | Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => {
                if answer.status.is_success() {
                    core.end_stray_fork(now, &answer);
                }
            }
        }
    }

    fn progress(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        calling.give_up = None;
        if let Some(rseq) = rseq_of(&answer) {
            if !self.reliable_progress(now, core, &answer, rseq) {
                return;
            }
        } else if answer.status != StatusCode::TRYING {
            calling.note_fork(&answer);
        }
        let Stage::Calling(calling) = &mut self.stage else { return };
        match &mut calling.end {
            End::Unwanted => core.tell(Event::Progress { dialog: self.id, response: answer.response }),
            End::Asked(headers) => {
                let headers = std::mem::take(headers);
                core.cancel(now, calling.client, headers);
                calling.end = End::Cancelled;
            }
            End::Cancelled => {}
        }
    }

    /// A reliable response: acknowledged in order, and once (RFC 3262 §4). Answers whether it is news.
    fn reliable_progress(&mut self, now: Instant, core: &mut Core, answer: &Answer, rseq: u32) -> bool {
        let Stage::Calling(calling) = &mut self.stage else { return false };
        let tag = answer.response.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let latest = calling.forks.get(&tag).and_then(|fork| fork.rseq);
        // What comes again is acknowledged by its PRACK; what comes too early will come again.
        if latest.is_some_and(|latest| Some(rseq) != latest.checked_add(1)) {
            return false;
        }
        calling.note_fork(answer);
        let Some(fork) = calling.forks.get_mut(&tag) else { return true };
        fork.rseq = Some(rseq);
        self.updates |= answer.response.has_token(HeaderName::Allow, "UPDATE");
        let has_body = !answer.response.body().is_empty();
        if has_body && answer.sent.draft.body.is_none() && !fork.is_agreed {
            fork.offer = Some(rseq);
            return true;
        }
        fork.is_agreed |= has_body;
        if fork.is_agreed {
            calling.latest = Some(tag);
        }
        send_prack(
            now,
            core,
            &mut self.authenticator,
            (self.id, calling.client),
            &mut fork.dialog,
            (rseq, answer.sent.seq),
            None,
        );
        true
    }

    /// Acknowledges a reliable response that offers, with the answer.
    pub(crate) fn prack(&mut self, now: Instant, core: &mut Core, response: &Message, body: Option<Body>) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        let tag = response.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let seq = response.cseq().map_or(0, |cseq| cseq.number);
        let Some(fork) = calling.forks.get_mut(&tag) else { return };
        let rseq = response.rseq().ok().flatten();
        let Some(rseq) = fork.offer.take_if(|offer| Some(*offer) == rseq) else { return };
        fork.is_agreed = body.is_some();
        if fork.is_agreed {
            calling.latest = Some(tag);
        }
        self.description.clone_from(&body);
        send_prack(
            now,
            core,
            &mut self.authenticator,
            (self.id, calling.client),
            &mut fork.dialog,
            (rseq, seq),
            body,
        );
    }

    /// The answer to a PRACK means nothing to the call, but for a challenge.
    pub(super) fn prack_answered(&mut self, now: Instant, core: &mut Core, answer: &Answer) {
        let tag = answer.sent.draft.to.tag().unwrap_or_default();
        let dialog = match &mut self.stage {
            Stage::Calling(calling) => calling.fork(tag),
            Stage::Confirmed(confirmed) => Some(&mut confirmed.dialog),
            Stage::Ringing(_) | Stage::Leaving(_) | Stage::Gone => None,
        };
        if let Some(dialog) = dialog.filter(|dialog| dialog.remote_tag() == tag) {
            answer_challenge(now, core, &mut self.authenticator, dialog, answer);
        }
    }

    fn answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        let tag = answer.response.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let early = calling.forks.remove(&tag).map(|Fork { mut dialog, .. }| {
            dialog.confirm(&answer.response, answer.flow);
            dialog
        });
        let Some(dialog) = early.or_else(|| dialog_of(&answer)) else { return };
        let is_wanted = matches!(calling.end, End::Unwanted);
        self.updates = answer.response.has_token(HeaderName::Allow, "UPDATE");
        self.timer.learn(now, &answer.response);
        if answer.sent.draft.body.is_some() {
            self.description.clone_from(&answer.sent.draft.body);
        }
        let confirmed = Confirmed::of_caller(dialog, answer.client, answer.sent.clone());
        self.stage = Stage::Confirmed(confirmed);
        if is_wanted {
            core.tell(Event::Answered { dialog: self.id, response: answer.response });
        } else {
            // The 2xx crossed our CANCEL, or came after the owner had given up.
            self.send_bye(now, core, Headers::new());
        }
    }

    fn refused(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        if matches!(calling.end, End::Unwanted) && is_challenge(answer.status) {
            let again = self.authenticator.learn(&answer.response, &answer.sent.tries).and_then(|tries| {
                let attempt = Attempt::again(&answer, answer.sent.seq + 1, tries);
                core.send(now, answer.sent.draft.clone(), attempt, Some(&mut self.authenticator))
            });
            if let Some(client) = again {
                *calling = Calling::new(now, client, calling.timer_b);
                return;
            }
        }
        if matches!(calling.end, End::Unwanted)
            && answer.status == StatusCode::SESSION_INTERVAL_TOO_SMALL
            && self.timer.raise(&answer.response)
        {
            let extensions = invite_extensions(self.policy, &self.timer);
            let draft = Draft { extensions, ..(*answer.sent.draft).clone() };
            let attempt = Attempt::again(&answer, answer.sent.seq + 1, answer.sent.tries.clone());
            if let Some(client) = core.send(now, Arc::new(draft), attempt, Some(&mut self.authenticator)) {
                *calling = Calling::new(now, client, calling.timer_b);
                return;
            }
        }
        if calling.owner == Waiting::Yes {
            core.tell(Event::Refused { dialog: self.id, response: answer.response });
        }
        self.vanish(now, core);
    }

    /// No final response will come.
    pub(super) fn invite_failed(&mut self, now: Instant, core: &mut Core, failure: Failure) {
        let Stage::Calling(calling) = &self.stage else { return };
        if calling.owner == Waiting::Yes {
            core.tell(Event::Failed { dialog: self.id, failure });
        }
        self.vanish(now, core);
    }

    /// The way to them is lost while their phone rings. The owner need not wait; they are told by CANCEL if that can be.
    pub(crate) fn invite_cut_off(&mut self, now: Instant, core: &mut Core) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        if calling.owner == Waiting::Yes {
            calling.owner = Waiting::Told;
            core.tell(Event::Failed { dialog: self.id, failure: Failure::Transport });
        }
        calling.cancel(now, core, Headers::new());
    }

    /// BYE for an INVITE without final response: its 2xx got lost, or the fork ended itself.
    pub(super) fn bye_while_calling(&mut self, now: Instant, core: &mut Core, request: &Message) {
        let Stage::Calling(calling) = &mut self.stage else { return };
        if calling.owner == Waiting::Yes && matches!(calling.end, End::Unwanted) {
            core.tell(Event::HungUp { dialog: self.id, request: request.clone() });
        }
        calling.owner = Waiting::Told;
        calling.cancel(now, core, Headers::new());
    }
}

/// RSeq of a provisional response that is reliable.
fn rseq_of(answer: &Answer) -> Option<u32> {
    let is_reliable =
        answer.status != StatusCode::TRYING && answer.response.has_token(HeaderName::Require, "100rel");
    answer.response.rseq().ok().flatten().filter(|_| is_reliable)
}

fn send_prack(
    now: Instant,
    core: &mut Core,
    authenticator: &mut Authenticator,
    (id, client): (DialogId, ClientId),
    dialog: &mut Dialog,
    (rseq, invite): (u32, u32),
    body: Option<Body>,
) {
    let rack = RAck { rseq, cseq: CSeq { number: invite, method: Method::Invite } };
    let extensions = vec![(HeaderName::RAck, rack.to_string())];
    let draft = Draft { extensions, body, ..Draft::within(dialog, Method::Prack) };
    // Without a listener for its way nothing can be done: they will give up.
    let sent = send_within(now, core, authenticator, dialog, draft, Purpose::Prack(id));
    if let (Some((_, seq)), Some(entry)) = (sent, core.clients.get_mut(client)) {
        entry.note_fork_seq(dialog.remote_tag(), seq);
    }
}

/// The dialog that a response to our INVITE makes.
pub(crate) fn dialog_of(answer: &Answer) -> Option<Dialog> {
    let Draft { call_id, from, uri, .. } = &*answer.sent.draft;
    Dialog::of_caller(call_id.clone(), from.clone(), answer.sent.seq, uri, &answer.response, answer.flow)
}

fn is_of(dialog: &Dialog, response: &Message) -> bool {
    response.to().is_ok_and(|to| to.tag().unwrap_or_default() == dialog.remote_tag())
}
