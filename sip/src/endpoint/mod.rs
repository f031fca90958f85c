//! One SIP endpoint, sans-IO: all transactions and dialogs of a process. RFC 3261 with RFC 3262 (100rel), 3311 (UPDATE), 3420 and 3515
//! (REFER), 3581 (`rport`), 3891 (Replaces), 4028 (session timers), 4320, 4488, 5057, 5407, 6026, 6141, 6665, 7616 and 8760 (digest).
//! ```text
//!            handle_message, handle_timeout              commands (invite, accept, hang_up …)
//!                       |                                          |
//!                       v                                          v
//!   +--------------------------------- Endpoint ----------------------------------+
//!   |  server transactions ----> usages: one INVITE and its dialog each <---- ids |
//!   |  client transactions <----    Calling, Ringing, Confirmed, Leaving          |
//!   +-----------------------------------------------------------------------------+
//!                       |                                          |
//!                       v                                          v
//!                 poll_transmit                               poll_event
//! ```
//! The files: `receive` finds out whose a message is, `core` has the transactions, `sending` and `answering` are what is
//! done with them, `usage` is the life of one dialog. What is deliberately absent: DNS (the owner gives addresses), registration,
//! and any knowledge of what a body means.

mod answering;
mod authenticator;
mod budget;
mod clients;
mod config;
mod core;
mod deadlines;
mod draft;
mod event;
mod ledger;
mod locals;
mod policy;
mod receive;
mod reply;
mod requests;
mod sending;
mod servers;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::clients::{ClientId, Purpose};
use self::core::{Core, Timer};
use self::draft::Sent;
use self::reply::Reply;
use self::sending::Answer;
use self::servers::ServerId;
use self::usage::Usage;
use crate::flow::{ConnectionId, Transmit, Transport};
use crate::{Message, Method, NameAddr, Replaces, StatusCode};

pub use self::config::{Config, Limits, Local};
pub use self::draft::{Body, Headers};
pub use self::event::{DialogId, Event, Failure, Refusal, RequestId};
pub use self::ledger::{Dropped, Ledger};
pub(crate) use self::policy::supports;
pub use self::policy::{Policy, Recordings, ReliableProvisionals, SessionTimerMode, SessionTimers};
pub use self::reply::StatusLine;
pub use self::requests::{Invite, OutOfDialog};
pub use crate::dialog::Party;

/// The answer to a request that its owner left alone.
fn unanswered() -> Reply {
    Reply::new(StatusCode::SERVER_INTERNAL_ERROR).warning("not answered in time")
}

/// All SIP of a process as one value: bytes and time go in, bytes and events come out.
///
/// After every call drain [`Self::poll_transmit`] and [`Self::poll_event`], and call [`Self::handle_timeout`] when
/// [`Self::poll_timeout`] says. The two queues are bounded by that: one input makes a handful of outputs.
///
/// A command to a dialog that is gone, or in a state where it means nothing, does nothing: the other side may always
/// have been faster. Of two final answers to one request the first stands.
#[derive(Debug)]
pub struct Endpoint {
    core: Core,
    usages: BTreeMap<DialogId, Usage>,
    /// Our tag of each dialog: ours alone, so it is enough to find it by.
    by_tag: HashMap<Arc<str>, DialogId>,
    /// Streams that dialogs have been heard on.
    connections: BTreeSet<ConnectionId>,
}

impl Endpoint {
    /// An endpoint that has seen nothing. `seed` is all its chance comes from: tags, branches, Call-IDs, glare.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            core: Core::new(config, seed),
            usages: BTreeMap::new(),
            by_tag: HashMap::new(),
            connections: BTreeSet::new(),
        }
    }

    // ---- out

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.deadlines.next()
    }

    /// What is held at this moment.
    pub fn ledger(&self) -> Ledger {
        Ledger {
            client_transactions: self.core.clients.len(),
            server_transactions: self.core.servers.len(),
            dialogs: self.usages.len(),
            timers: self.core.deadlines.len(),
        }
    }

    /// What came and was thrown away.
    pub fn dropped(&self) -> Dropped {
        self.core.dropped
    }

    /// The Call-ID of a dialog, from the moment it exists.
    pub fn call_id(&self, dialog: DialogId) -> Option<&str> {
        self.usages.get(&dialog).map(|usage| &*usage.call_id)
    }

    // ---- in

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.core.deadlines.take_due(now) {
            match timer {
                Timer::Client(id) => self.client_timeout(now, id),
                Timer::Server(id) => {
                    if let Some(entry) = self.core.servers.get_mut(id) {
                        entry.automaton.handle_timeout(now);
                        self.core.attend_server(id);
                    }
                }
                Timer::Answer(id) => self.answer_for_owner(now, id),
                Timer::Dialog(id) => self.with(id, |usage, core| usage.handle_timeout(now, core)),
            }
            debug_assert!(self.core.deadlines.at(timer).is_none_or(|at| at > now), "{timer:?} is due again");
        }
    }

    /// A stream has ended. Requests that went out on it and have no response fail; what else is to be sent opens another.
    ///
    /// The endpoint does not know which stream the shell opened for a [`Transmit`] without one. When such a stream ends,
    /// call [`Self::handle_send_failure`] too.
    pub fn handle_connection_lost(&mut self, now: Instant, connection: ConnectionId) {
        self.core.servers.lose_connection(connection);
        if self.connections.remove(&connection) {
            for usage in self.usages.values_mut() {
                usage.lose_connection(connection);
            }
        }
        let lost = self.core.clients.on(connection);
        self.fail(now, lost);
    }

    /// Nothing can be sent to this address (no connection, ICMP unreachable): requests to it without response fail.
    pub fn handle_send_failure(&mut self, now: Instant, transport: Transport, to: SocketAddr) {
        let failed = self.core.clients.to(transport, to);
        self.fail(now, failed);
    }

    /// The owner has had its time.
    fn answer_for_owner(&mut self, now: Instant, id: ServerId) {
        if let Some(dialog) = self.core.servers.get(id).and_then(|entry| entry.dialog) {
            self.with(dialog, |usage, core| usage.give_up_offer(now, core, id));
        }
        self.core.finish(now, id, unanswered());
    }

    fn client_timeout(&mut self, now: Instant, id: ClientId) {
        let Some(entry) = self.core.clients.get_mut(id) else { return };
        entry.automaton.handle_timeout(now);
        if let Some((purpose, sent)) = self.core.attend_client(id) {
            self.tell_failure(now, purpose, &sent, Failure::Timeout);
        }
    }

    fn fail(&mut self, now: Instant, clients: Vec<ClientId>) {
        for id in clients {
            let Some(entry) = self.core.clients.get_mut(id) else { continue };
            let (purpose, sent) = (entry.purpose, entry.sent.clone());
            match purpose {
                _ if !entry.automaton.is_pending() => {}
                Purpose::Invite(dialog) if self.core.is_proceeding(id) => {
                    self.with(dialog, |usage, core| usage.invite_cut_off(now, core));
                }
                Purpose::Invite(_)
                | Purpose::Reinvite(_)
                | Purpose::Update(_)
                | Purpose::Prack(_)
                | Purpose::Bye(_)
                | Purpose::Refer(_)
                | Purpose::Info(_)
                | Purpose::Notify(_)
                | Purpose::Request(_)
                | Purpose::Cancel
                | Purpose::StrayBye => {
                    self.core.abort(id);
                    self.tell_failure(now, purpose, &sent, Failure::Transport);
                }
            }
        }
    }

    fn tell_failure(&mut self, now: Instant, purpose: Purpose, sent: &Sent, failure: Failure) {
        match purpose {
            Purpose::Invite(dialog)
            | Purpose::Reinvite(dialog)
            | Purpose::Update(dialog)
            | Purpose::Prack(dialog)
            | Purpose::Bye(dialog)
            | Purpose::Refer(dialog)
            | Purpose::Info(dialog)
            | Purpose::Notify(dialog) => {
                self.with(dialog, |usage, core| usage.handle_failure(now, core, purpose, sent, failure));
            }
            Purpose::Request(id) => self.core.tell(Event::RequestFailed { id, failure }),
            Purpose::Cancel | Purpose::StrayBye => {}
        }
    }

    /// Hands a response to whoever waits for it.
    fn tell_answer(&mut self, now: Instant, answer: Answer) {
        match answer.purpose {
            Purpose::Invite(dialog) if !self.usages.contains_key(&dialog) => {
                if answer.status.is_success() {
                    self.core.end_stray_fork(now, &answer);
                }
            }
            Purpose::Reinvite(dialog) if !self.usages.contains_key(&dialog) => {
                self.core.settle_stray_reinvite(now, &answer);
            }
            Purpose::Invite(dialog)
            | Purpose::Reinvite(dialog)
            | Purpose::Update(dialog)
            | Purpose::Prack(dialog)
            | Purpose::Bye(dialog)
            | Purpose::Refer(dialog)
            | Purpose::Info(dialog)
            | Purpose::Notify(dialog) => {
                self.with(dialog, |usage, core| usage.handle_response(now, core, answer));
            }
            Purpose::Request(id) => self.request_answered(now, id, answer),
            Purpose::StrayBye => {
                self.core.answer_challenge(now, &answer);
            }
            Purpose::Cancel => {}
        }
    }

    /// The interval of a dialog's session timer and who refreshes, once the first 2xx has agreed on one.
    pub fn session_timer(&self, dialog: DialogId) -> Option<(Duration, Party)> {
        let (seconds, refresher) = self.usages.get(&dialog)?.agreed_timer()?;
        Some((Duration::from_secs(seconds.into()), refresher))
    }

    /// The dialog whose place an INVITE wants to take, if it wants to (RFC 3891 §3). That they may is the owner's to know: of
    /// a dialog that is not theirs they learn no more than of one that does not exist. To let them, accept the INVITE
    /// and hang the other dialog up.
    ///
    /// # Errors
    /// The status to refuse with: 481 for a dialog that we do not have, 486 for one that is answered where only an early
    /// one is wanted, 603 for one that has just ended.
    pub fn replaced(&self, invite: &Message) -> Result<Option<DialogId>, StatusCode> {
        let Ok(Some(replaces)) = invite.replaces() else { return Ok(None) };
        let unknown = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        let known = self.by_tag.get(replaces.to_tag.as_str()).and_then(|id| self.usages.get(id));
        let usage = known.filter(|usage| *usage.call_id == *replaces.call_id).ok_or(unknown)?;
        usage.may_be_replaced(&replaces)?;
        Ok(Some(usage.id))
    }

    /// What an INVITE to the other side of this dialog has to say in Replaces to take its place. `None` before the dialog
    /// has two sides.
    pub fn replaces(&self, dialog: DialogId) -> Option<Replaces> {
        self.usages.get(&dialog)?.replaces()
    }

    // ---- commands to a dialog

    /// Sets which extensions a call of theirs may use, before anything is answered. If the INVITE cannot be taken under
    /// that policy it is refused with the status in the error, and [`Event::Gone`] follows.
    pub fn set_policy(&mut self, now: Instant, dialog: DialogId, policy: Policy) -> Result<(), StatusCode> {
        let mut refused = Ok(());
        self.with(dialog, |usage, core| refused = usage.set_policy(now, core, policy));
        refused
    }

    /// Sends a provisional response (101–199, nothing else) to their INVITE. Repeated every minute until the final one.
    pub fn ring(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: impl Into<StatusLine>,
        headers: Headers,
        body: Option<Body>,
    ) {
        let line = status.into();
        if (101..200).contains(&line.status.code()) {
            self.with(dialog, |usage, core| usage.ring(now, core, line, headers, body));
        }
    }

    /// Answers their INVITE, re-INVITE or UPDATE with 200. The 2xx of an INVITE is repeated until its ACK comes.
    pub fn accept(&mut self, now: Instant, dialog: DialogId, headers: Headers, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.accept(now, core, headers, body));
    }

    /// Answers their INVITE, re-INVITE or UPDATE with 3xx–6xx. Anything below becomes 480.
    pub fn refuse(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: impl Into<StatusLine>,
        headers: Headers,
    ) {
        let mut line = status.into();
        if line.status.code() < 300 {
            line = StatusCode::TEMPORARILY_UNAVAILABLE.into();
        }
        self.with(dialog, |usage, core| usage.refuse(now, core, line, headers));
    }

    /// Acknowledges the 2xx to our INVITE or re-INVITE. Repetitions of the 2xx get the same ACK without being told.
    pub fn acknowledge(&mut self, now: Instant, dialog: DialogId, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.acknowledge(now, core, body));
    }

    /// Acknowledges a reliable provisional response of a fork that offers, because our INVITE did not, and answers it
    /// (RFC 3262 §5). All others are acknowledged by the endpoint.
    pub fn prack(&mut self, now: Instant, dialog: DialogId, response: &Message, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.prack(now, core, response, body));
    }

    /// Ends the call as its state demands: CANCEL for our INVITE without final response (after its first provisional
    /// one), 480 for theirs, BYE for a running call (as callee after the first ACK, RFC 3261 §15). `headers` go with
    /// whichever it is. What the owner hears after that is [`Event::Refused`] or [`Event::Failed`] of an INVITE still
    /// under way, the progress of REFERs, and [`Event::Gone`].
    pub fn hang_up(&mut self, now: Instant, dialog: DialogId, headers: Headers) {
        self.with(dialog, |usage, core| usage.hang_up(now, core, headers));
    }

    /// Offers a change of the session: one [`Event::ReinviteAnswered`] or [`Event::ReinviteRefused`] follows unless the
    /// dialog ends first. Waits while another exchange or an ACK is under way; at most one waits, and a newer one
    /// takes its place. After a glare (491) it is sent again by itself.
    pub fn reinvite(&mut self, now: Instant, dialog: DialogId, headers: Headers, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.reinvite(now, core, headers, body));
    }

    /// Offers a change of the session by UPDATE (RFC 3311): in a running call, and before the answer once an offer and its
    /// answer have been delivered reliably, of several forks in the one that was heard last. One
    /// [`Event::UpdateAnswered`] or [`Event::UpdateRefused`] follows unless the dialog ends first. Otherwise it is as with
    /// [`Self::reinvite`], but before the answer a glare is the owner's to repeat.
    pub fn update(&mut self, now: Instant, dialog: DialogId, headers: Headers, body: Body) {
        self.with(dialog, |usage, core| usage.update(now, core, headers, body));
    }

    /// Takes a REFER up: 202, and a first NOTIFY that says "100 Trying" unless they want none (`Refer-Sub: false`,
    /// RFC 4488).
    pub fn accept_refer(&mut self, now: Instant, id: RequestId) {
        let server = ServerId(id.0);
        if let Some(dialog) = self.core.servers.get(server).and_then(|entry| entry.dialog) {
            self.with(dialog, |usage, core| usage.accept_refer(now, core, server));
        }
    }

    /// Tells them how the call goes that they have asked for. A final status is the last one told. Without it for
    /// three minutes, or half a minute after the end of this call, they are told that no more will come.
    pub fn refer_progress(
        &mut self,
        now: Instant,
        dialog: DialogId,
        id: RequestId,
        status: impl Into<StatusLine>,
    ) {
        let line = status.into();
        self.with(dialog, |usage, core| usage.refer_progress(now, core, id, line));
    }

    /// Asks the other side to call `refer_to` (RFC 3515): [`Event::ReferAccepted`] or [`Event::ReferRefused`] follows,
    /// then [`Event::ReferProgress`] as they send it. Referred-By is our Contact unless `headers` has one.
    pub fn refer(&mut self, now: Instant, dialog: DialogId, refer_to: &NameAddr, headers: Headers) {
        self.with(dialog, |usage, core| usage.refer(now, core, refer_to, headers));
    }

    /// Sends INFO: [`Event::InfoAnswered`] or [`Event::InfoFailed`] follows unless the dialog ends first.
    pub fn info(&mut self, now: Instant, dialog: DialogId, headers: Headers, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.info(now, core, headers, body));
    }

    /// Sends NOTIFY to whoever sent us REFER (RFC 3515 §2.4.4). `headers` name the event and the subscription's state.
    /// Its answer is not told: the call goes on either way.
    pub fn notify(&mut self, now: Instant, dialog: DialogId, headers: Headers, body: Option<Body>) {
        self.with(dialog, |usage, core| usage.notify(now, core, headers, body));
    }

    /// Answers a request that an event gave out. A provisional status may come first, of the final ones one counts.
    pub fn respond(
        &mut self,
        now: Instant,
        id: RequestId,
        status: impl Into<StatusLine>,
        headers: Headers,
        body: Option<Body>,
    ) {
        let (id, reply) = (ServerId(id.0), Reply::new(status).headers(headers).body(body));
        let entry = self.core.servers.get(id);
        let is_offer =
            entry.is_some_and(|entry| matches!(entry.request.method(), Some(Method::Update | Method::Prack)));
        match entry.and_then(|entry| entry.dialog) {
            Some(dialog) if is_offer => {
                self.with(dialog, |usage, core| usage.answer_early_offer(now, core, id, reply));
            }
            Some(_) | None => self.core.respond(now, id, reply),
        }
    }

    /// Leaves a request without answer, on purpose. If it comes again, it is told again.
    pub fn discard(&mut self, id: RequestId) {
        self.core.discard(ServerId(id.0));
    }

    /// Lets a usage act, and notes what became of it.
    fn with(&mut self, id: DialogId, act: impl FnOnce(&mut Usage, &mut Core)) {
        let Some(usage) = self.usages.get_mut(&id) else { return };
        act(usage, &mut self.core);
        if usage.is_gone() {
            self.by_tag.remove(&usage.local_tag);
            self.usages.remove(&id);
            self.core.deadlines.set(Timer::Dialog(id), None);
            self.core.tell(Event::Gone { dialog: id });
        } else {
            let deadline = usage.poll_timeout();
            self.core.deadlines.set(Timer::Dialog(id), deadline);
        }
    }

    fn insert(&mut self, usage: Usage) {
        let id = usage.id;
        self.by_tag.insert(usage.local_tag.clone(), id);
        self.usages.insert(id, usage);
        self.with(id, |_, _| {});
    }
}
