//! The life of one INVITE and the dialog it makes: RFC 3261 §13 to §15, with RFC 3311, 3515, 5407 and 6141.
//! ```text
//!   invite()                                     INVITE
//!      v                                            v
//!   [Calling] --- 3xx..6xx, B -------> gone <--- [Ringing]  refused, cancelled, expired, BYE
//!      | 2xx                                        | accept()
//!      +----------------> [Confirmed] <-------------+
//!                             | BYE either way, no ACK, dialog unknown to them
//!                             v
//!                         [Leaving] ---- BYE answered, last NOTIFY of a REFER ----> gone
//! ```
//! Each stage has its own file with what it holds and how it reacts. This one has what all stages share.

mod calling;
mod confirmed;
mod leaving;
mod offers;
mod refreshing;
mod ringing;
mod serving;

use std::sync::Arc;
use std::time::Instant;

use super::authenticator::Authenticator;
use super::clients::{ClientId, Purpose};
use super::core::Core;
use super::draft::{Body, Draft, Headers, Sent};
use super::event::{DialogId, Event, Failure, Refusal, RequestId};
use super::policy::{Policy, ReliableProvisionals};
use super::reply::{Reply, StatusLine};
use super::sending::{Answer, Attempt};
use super::servers::ServerId;
use crate::dialog::glare::CallIdOwner;
use crate::dialog::{Dialog, Lines, Party, Referrals, SessionTimer, is_refer_notification};
use crate::flow::{ConnectionId, Flow};
use crate::{HeaderName, Message, Method, NameAddr, Replaces, StatusCode};

pub(crate) use calling::{Calling, dialog_of};
use confirmed::{AckDue, Confirmed, Unacknowledged};
use leaving::Leaving;
use offers::{EarlyUpdate, Offer};
use refreshing::Refresh;
use refreshing::extensions;
pub(crate) use refreshing::invite_extensions;
pub(crate) use ringing::Ringing;
use serving::Served;

/// Requests of one dialog that the owner may leave open at a time; one more is answered 500 with `Retry-After`.
const MAX_OPEN: usize = 16;

/// One INVITE usage (RFC 5057 §2), from its first message to [`Event::Gone`].
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) id: DialogId,
    pub(crate) call_id: Arc<str>,
    pub(crate) local_tag: Arc<str>,
    owner: CallIdOwner,
    contact: NameAddr,
    authenticator: Authenticator,
    pub(crate) policy: Policy,
    timer: SessionTimer,
    refresh: Refresh,
    /// They can be sent UPDATE.
    updates: bool,
    /// Our session description that was agreed on last: what a refresh by re-INVITE repeats.
    description: Option<Body>,
    /// An UPDATE of ours that was sent before the answer.
    early_update: Option<EarlyUpdate>,
    referrals: Referrals,
    /// Their REFERs that the owner has taken up.
    served: Vec<Served>,
    has_served: bool,
    /// Received requests that wait for the owner.
    open: Vec<ServerId>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Calling(Calling),
    Ringing(Ringing),
    Confirmed(Confirmed),
    Leaving(Leaving),
    Gone,
}

/// What a usage is known by.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) id: DialogId,
    pub(crate) call_id: Arc<str>,
    pub(crate) local_tag: Arc<str>,
    pub(crate) contact: NameAddr,
}

/// A request within a dialog, as it came.
pub(crate) struct Incoming {
    pub(crate) server: ServerId,
    pub(crate) request: Arc<Message>,
    pub(crate) flow: Flow,
}

impl Usage {
    /// Our INVITE is on its way.
    pub(crate) fn caller(
        names: Names,
        policy: Policy,
        authenticator: Authenticator,
        calling: Calling,
    ) -> Self {
        Self::new(names, CallIdOwner::Us, policy, authenticator, Stage::Calling(calling))
    }

    /// Their INVITE has come.
    pub(crate) fn callee(names: Names, ringing: Ringing) -> Self {
        let updates = ringing.request().has_token(HeaderName::Allow, "UPDATE");
        let authenticator = Authenticator::new(None);
        let stage = Stage::Ringing(ringing);
        Self { updates, ..Self::new(names, CallIdOwner::Them, Policy::default(), authenticator, stage) }
    }

    fn new(
        names: Names,
        owner: CallIdOwner,
        policy: Policy,
        authenticator: Authenticator,
        stage: Stage,
    ) -> Self {
        let Names { id, call_id, local_tag, contact } = names;
        Self {
            id,
            call_id,
            local_tag,
            owner,
            contact,
            authenticator,
            policy,
            timer: SessionTimer::new(policy.session_timers),
            refresh: Refresh::Idle,
            updates: false,
            description: None,
            early_update: None,
            referrals: Referrals::default(),
            served: Vec::new(),
            has_served: false,
            open: Vec::new(),
            stage,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }

    // ---- time

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Calling(calling) => calling.poll_timeout(),
            Stage::Ringing(ringing) => ringing.poll_timeout(),
            Stage::Confirmed(confirmed) => {
                earlier(self.served_timeout(), earlier(confirmed.poll_timeout(), self.timer_timeout()))
            }
            Stage::Leaving(leaving) => earlier(self.served_timeout(), leaving.poll_timeout()),
            Stage::Gone => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, core: &mut Core) {
        self.watch_served(now, core);
        match &self.stage {
            Stage::Calling(_) => self.calling_timeout(now, core),
            Stage::Ringing(_) => self.ringing_timeout(now, core),
            Stage::Confirmed(_) => self.confirmed_timeout(now, core),
            Stage::Leaving(_) => self.leaving_timeout(now, core),
            Stage::Gone => {}
        }
    }

    // ---- responses

    /// A response to one of this usage's requests.
    pub(crate) fn handle_response(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        match answer.purpose {
            Purpose::Invite(_) => self.invite_answered(now, core, answer),
            Purpose::Reinvite(_) => self.reinvite_answered(now, core, answer),
            Purpose::Bye(_)
            | Purpose::Refer(_)
            | Purpose::Info(_)
            | Purpose::Update(_)
            | Purpose::Prack(_)
                if answer.status.is_provisional() => {}
            Purpose::Update(_) => self.update_answered(now, core, answer),
            Purpose::Prack(_) => self.prack_answered(now, core, &answer),
            Purpose::Bye(_) => self.bye_answered(now, core, answer),
            Purpose::Refer(_) => self.refer_answered(now, core, answer),
            Purpose::Info(_) => self.info_answered(now, core, answer),
            Purpose::Notify(_) => self.notify_answered(now, core, &answer),
            Purpose::Request(_) | Purpose::Cancel | Purpose::StrayBye => {}
        }
    }

    /// There will be no response.
    pub(crate) fn handle_failure(
        &mut self,
        now: Instant,
        core: &mut Core,
        purpose: Purpose,
        sent: &Sent,
        failure: Failure,
    ) {
        match purpose {
            Purpose::Invite(_) => self.invite_failed(now, core, failure),
            Purpose::Reinvite(_) => self.reinvite_failed(now, core, sent, failure),
            Purpose::Update(_) => self.update_failed(now, core, sent, failure),
            Purpose::Bye(_) => self.bye_failed(now, core, sent, failure),
            Purpose::Refer(_) => self.refer_failed(now, core, sent, failure),
            Purpose::Info(_) => core.tell(Event::InfoFailed { dialog: self.id, failure }),
            Purpose::Notify(_) => self.notify_failed(now, core, sent, failure),
            Purpose::Prack(_) | Purpose::Request(_) | Purpose::Cancel | Purpose::StrayBye => {}
        }
    }

    // ---- requests

    /// A request that names this dialog, but for ACK and CANCEL. It gets a final answer here, or the owner has it.
    pub(crate) fn handle_request(&mut self, now: Instant, core: &mut Core, incoming: Incoming) {
        let reply = self.objection(core, &incoming).or_else(|| self.serve(now, core, &incoming));
        if let Some(reply) = reply {
            core.finish(now, incoming.server, reply);
        }
    }

    /// What is wrong with a request that does not belong to a dialog that we still have, or comes out of its turn.
    fn objection(&mut self, core: &mut Core, incoming: &Incoming) -> Option<Reply> {
        let unknown = Some(Reply::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST));
        let Ok(cseq) = incoming.request.cseq() else { return unknown };
        let tag =
            incoming.request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let is_bye = cseq.method == Method::Bye;
        let dialog = match &mut self.stage {
            Stage::Calling(calling) => match calling.fork(&tag) {
                Some(dialog) => dialog,
                // Every response of this fork may be lost. Its end still counts.
                None if is_bye => return None,
                None => return unknown,
            },
            Stage::Ringing(ringing) => &mut ringing.dialog,
            Stage::Confirmed(confirmed) => &mut confirmed.dialog,
            Stage::Leaving(leaving) => &mut leaving.dialog,
            Stage::Gone => return unknown,
        };
        if dialog.remote_tag() != tag {
            // A fork that we have ended may end itself too.
            return if is_bye { Some(Reply::new(StatusCode::OK)) } else { unknown };
        }
        if dialog.receive_seq(cseq.number).is_err() {
            return Some(later(core).warning("CSeq is lower than before"));
        }
        dialog.receive_from(incoming.flow);
        None
    }

    /// Does what the request wants. Answers with the response, or `None` where the owner has to decide.
    fn serve(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) -> Option<Reply> {
        let request = &*incoming.request;
        match request.method()? {
            Method::Bye => {
                self.bye_received(now, core, request);
                Some(Reply::new(StatusCode::OK))
            }
            Method::Notify if is_refer_notification(request) => Some(self.refer_notified(now, core, request)),
            Method::Options => Some(abilities()),
            _ if matches!(self.stage, Stage::Leaving(_) | Stage::Gone) => {
                Some(Reply::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST))
            }
            Method::Invite => self.reinvite_received(now, core, incoming),
            Method::Update => self.update_received(now, core, incoming),
            Method::Notify => self.give_out(now, core, incoming, |dialog, id, request| Event::Notified {
                dialog,
                id,
                request,
            }),
            Method::Refer if !matches!(request.refer_to(), Ok(Some(_))) || has_several_targets(request) => {
                Some(Reply::new(StatusCode::BAD_REQUEST).warning("Refer-To is missing or malformed"))
            }
            Method::Refer => self.give_out(now, core, incoming, |dialog, id, request| Event::Referred {
                dialog,
                id,
                request,
            }),
            Method::Info => {
                self.give_out(now, core, incoming, |dialog, id, request| Event::Info { dialog, id, request })
            }
            Method::Extension(_) => Some(Reply::new(StatusCode::NOT_IMPLEMENTED)),
            Method::Prack => self.prack_received(now, core, incoming),
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Subscribe
            | Method::Message
            | Method::Publish => Some(Reply::new(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn bye_received(&mut self, now: Instant, core: &mut Core, request: &Message) {
        match &self.stage {
            Stage::Calling(_) => self.bye_while_calling(now, core, request),
            Stage::Ringing(_) => self.bye_while_ringing(now, core, request),
            Stage::Confirmed(_) => self.bye_while_confirmed(now, core, request),
            // The two BYEs crossed; ours is answered in its own time.
            Stage::Leaving(_) | Stage::Gone => {}
        }
    }

    /// CANCEL of the INVITE that `invite` serves; the CANCEL itself is answered already.
    pub(crate) fn handle_cancel(
        &mut self,
        now: Instant,
        core: &mut Core,
        invite: ServerId,
        request: &Message,
    ) {
        match &self.stage {
            Stage::Ringing(_) => self.cancel_ringing(now, core, request),
            Stage::Confirmed(_) => self.cancel_offer(now, core, invite),
            Stage::Calling(_) | Stage::Leaving(_) | Stage::Gone => {}
        }
    }

    // ---- Replaces

    /// Whether this dialog is the one that is meant, and may be replaced (RFC 3891 §3).
    pub(crate) fn may_be_replaced(&self, replaces: &Replaces) -> Result<(), StatusCode> {
        let unknown = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        let is_theirs = |dialog: &Dialog| match dialog.remote_tag() {
            "" => replaces.from_tag == "0",
            tag => tag == replaces.from_tag,
        };
        match &self.stage {
            Stage::Confirmed(Confirmed { dialog, .. }) if is_theirs(dialog) => {
                if replaces.early_only {
                    Err(StatusCode::BUSY_HERE)
                } else {
                    Ok(())
                }
            }
            Stage::Leaving(Leaving { dialog, .. }) if is_theirs(dialog) => Err(StatusCode::DECLINE),
            Stage::Calling(calling) if calling.has_fork(&replaces.from_tag) => Ok(()),
            // An early dialog that we did not begin cannot be replaced.
            Stage::Calling(_) | Stage::Ringing(_) | Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => {
                Err(unknown)
            }
        }
    }

    /// How the other side knows this dialog.
    pub(crate) fn replaces(&self) -> Option<Replaces> {
        let dialog = match &self.stage {
            Stage::Ringing(ringing) => &ringing.dialog,
            Stage::Confirmed(confirmed) => &confirmed.dialog,
            Stage::Calling(_) | Stage::Leaving(_) | Stage::Gone => return None,
        };
        let tag = |tag: &str| if tag.is_empty() { "0".to_owned() } else { tag.to_owned() };
        Some(Replaces {
            call_id: self.call_id.to_string(),
            to_tag: tag(dialog.remote_tag()),
            from_tag: self.local_tag.to_string(),
            early_only: false,
        })
    }

    // ---- commands

    /// Accepts what of theirs waits for the owner: INVITE, re-INVITE or UPDATE.
    pub(crate) fn accept(&mut self, now: Instant, core: &mut Core, headers: Headers, body: Option<Body>) {
        let reply = Reply::new(StatusCode::OK).headers(headers).body(body);
        match &self.stage {
            Stage::Ringing(_) => self.accept_invite(now, core, reply),
            Stage::Confirmed(_) => self.accept_offer(now, core, reply),
            Stage::Calling(_) | Stage::Leaving(_) | Stage::Gone => {}
        }
    }

    /// Refuses what of theirs waits for the owner: INVITE, re-INVITE or UPDATE.
    pub(crate) fn refuse(&mut self, now: Instant, core: &mut Core, line: StatusLine, headers: Headers) {
        let reply = Reply::new(line).headers(headers);
        match &self.stage {
            Stage::Ringing(_) => self.refuse_invite(now, core, reply),
            Stage::Confirmed(_) => self.refuse_offer(now, core, reply),
            Stage::Calling(_) | Stage::Leaving(_) | Stage::Gone => {}
        }
    }

    /// Ends the call in the way that its stage demands.
    pub(crate) fn hang_up(&mut self, now: Instant, core: &mut Core, headers: Headers) {
        match &self.stage {
            Stage::Calling(_) => self.hang_up_calling(now, core, headers),
            Stage::Ringing(_) => {
                let reply = Reply::new(StatusCode::TEMPORARILY_UNAVAILABLE).headers(headers);
                self.refuse_invite(now, core, reply);
            }
            Stage::Confirmed(_) => self.hang_up_confirmed(now, core, headers),
            Stage::Leaving(_) | Stage::Gone => {}
        }
    }

    /// Leaves the answer to the owner, for as long as the endpoint's limits allow.
    fn give_out(
        &mut self,
        now: Instant,
        core: &mut Core,
        incoming: &Incoming,
        event: fn(DialogId, RequestId, Message) -> Event,
    ) -> Option<Reply> {
        self.open.retain(|id| core.servers.get(*id).is_some_and(|entry| entry.automaton.is_pending()));
        if self.open.len() >= MAX_OPEN {
            return Some(later(core).warning("too many requests at once"));
        }
        self.open.push(incoming.server);
        core.await_owner(now, incoming.server);
        core.tell(event(self.id, RequestId(incoming.server.0), (*incoming.request).clone()));
        None
    }

    /// Leaves an offer that comes before the call is answered to the owner.
    fn give_out_offer(&mut self, now: Instant, core: &mut Core, incoming: &Incoming) {
        let told = self.give_out(now, core, incoming, |dialog, id, request| Event::EarlyOffer {
            dialog,
            id,
            request,
        });
        if let Some(refusal) = told {
            core.finish(now, incoming.server, refusal);
        }
    }

    /// The owner's answer to such an offer.
    pub(crate) fn answer_early_offer(
        &mut self,
        now: Instant,
        core: &mut Core,
        server: ServerId,
        reply: Reply,
    ) {
        let Some(request) = core.servers.get(server).map(|entry| entry.request.clone()) else { return };
        if !reply.status().is_success() || request.method() != Some(Method::Update) {
            return core.finish(now, server, reply);
        }
        if let Some(body) = reply.body_ref() {
            self.description = Some(body.clone());
        }
        core.finish(now, server, reply.contact(self.contact.clone()).policy(self.policy));
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        let dialog = match &mut self.stage {
            Stage::Calling(calling) => calling.fork(&tag),
            Stage::Ringing(_) | Stage::Confirmed(_) | Stage::Leaving(_) | Stage::Gone => {
                self.stage.dialog_mut()
            }
        };
        if let Some(dialog) = dialog {
            dialog.refresh_target(&request);
        }
    }

    /// The connection is gone; what is still to be sent opens another one.
    pub(crate) fn lose_connection(&mut self, connection: ConnectionId) {
        match &mut self.stage {
            Stage::Calling(calling) => calling.lose_connection(connection),
            Stage::Ringing(ringing) => ringing.lose_connection(connection),
            Stage::Confirmed(confirmed) => confirmed.lose_connection(connection),
            Stage::Leaving(leaving) => leaving.dialog.lose_connection(connection),
            Stage::Gone => {}
        }
    }

    /// Nothing more will be told. Requests that the owner has not answered get the answer of RFC 3261 §15.1.2.
    fn vanish(&mut self, now: Instant, core: &mut Core) {
        self.close_open(now, core);
        self.stage = Stage::Gone;
    }

    fn close_open(&mut self, now: Instant, core: &mut Core) {
        for server in std::mem::take(&mut self.open) {
            core.finish(now, server, StatusCode::REQUEST_TERMINATED);
        }
    }
}

impl Stage {
    /// The dialog that requests of ours can be sent in.
    fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match self {
            Self::Ringing(ringing) => Some(&mut ringing.dialog),
            Self::Confirmed(confirmed) => Some(&mut confirmed.dialog),
            Self::Leaving(leaving) => Some(&mut leaving.dialog),
            Self::Calling(_) | Self::Gone => None,
        }
    }
}

/// Sends a request within `dialog`. Answers with its transaction and number, `None` if we have no listener for its way.
fn send_within(
    now: Instant,
    core: &mut Core,
    authenticator: &mut Authenticator,
    dialog: &mut Dialog,
    draft: Draft,
    purpose: Purpose,
) -> Option<(ClientId, u32)> {
    let seq = dialog.next_seq();
    let attempt = Attempt::first(seq, core.way(dialog), purpose);
    let client = core.send(now, Arc::new(draft), attempt, Some(authenticator))?;
    Some((client, seq))
}

/// Sends a challenged request again, if that is worth trying. Answers with the new transaction and number.
fn answer_challenge(
    now: Instant,
    core: &mut Core,
    authenticator: &mut Authenticator,
    dialog: &mut Dialog,
    answer: &Answer,
) -> Option<(ClientId, u32)> {
    if !is_challenge(answer.status) {
        return None;
    }
    let tries = authenticator.learn(&answer.response, &answer.sent.tries)?;
    let seq = dialog.next_seq();
    let attempt = Attempt::again(answer, seq, tries);
    let client = core.send(now, answer.sent.draft.clone(), attempt, Some(authenticator))?;
    Some((client, seq))
}

/// 401 or 407.
fn is_challenge(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

/// What we can do, without asking the owner.
fn abilities() -> Reply {
    Reply::new(StatusCode::OK).header(HeaderName::Accept, "application/sdp, message/sipfrag")
}

/// 500 with a `Retry-After` of chance between 0 and 10 seconds (RFC 3261 §14.2).
fn later(core: &mut Core) -> Reply {
    use rand::Rng;
    let seconds: u8 = core.chance.random_range(0..=10);
    Reply::new(StatusCode::SERVER_INTERNAL_ERROR).header(HeaderName::RetryAfter, seconds.to_string())
}

/// The earlier of two deadlines that may not be set.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// RFC 3515 §2.4.2: exactly one Refer-To.
fn has_several_targets(request: &Message) -> bool {
    request.headers(HeaderName::ReferTo).count() > 1
}
