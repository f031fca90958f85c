//! The exchange: the SIP endpoint and every call, and who of them an input is for.
//! ```text
//!   datagrams ----+                      +--> datagrams
//!   commands -----+--> Exchange [calls] -+--> orders to workers, engines to dial
//!   voice facts --+                      +--> records, answers, call objects
//!   time ---------+
//! ```
//! Pure: shells bring the inputs and carry out [`Output`]s, in order, before the next input.

mod commands;
mod hooks;
mod probes;
mod registrations;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::call::admission::{self, Caller, Census, Full, Refusal};
use crate::call::application;
use crate::call::callbacks::Callbacks;
use crate::call::challenges::{Challenges, Proof, Shown};
use crate::call::clock::WallClock;
use crate::call::command::{Answer, Command, CommandError};
use crate::call::ids::{CallId, ProviderKey, RequestId, TenantId};
use crate::call::inbound::Arrival;
use crate::call::number;
use crate::call::one::{Call, Hands};
use crate::call::output::Output;
use crate::call::outputs::Outputs;
use crate::call::overload::Overload;
use crate::call::record::{CallRecord, Idempotency, Record, RecordNumber};
use crate::call::reference::References;
use crate::call::registration::Registration;
use crate::call::settings::{Handling, Provider, Settings, UnknownSources};
use crate::call::standby::Standby;
use crate::call::strangers::Strangers;
use crate::call::telling;
use crate::call::voice::VoiceFact;
use crate::call::ways::Ways;
use crate::call::web::{FetchId, WebAnswer, WebFailure};

/// When who was sent elsewhere may come again, in seconds: not all at once.
const RETRY: std::ops::RangeInclusive<u32> = 1..=4;
/// How long an ended call may still be wrapped up.
const WRAP_UP: Duration = Duration::from_secs(3600);
/// Ended calls that may still be wrapped up; beyond, the oldest are let go.
const WRAP_UP_MAX: usize = 10_000;
/// How long calls that are ended for a stop may take: a BYE is sent four times. What they came to is told before.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the exchange counts, for metrics and leak checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls not yet gone.
    pub calls: usize,
    /// Dialogs that belong to a call.
    pub dialogs: usize,
    /// What the endpoint holds.
    pub sip: sip::Ledger,
    /// Records not yet on disk.
    pub unsaved: u64,
    /// Inbound calls admitted since the start.
    pub admitted: u64,
    /// Outbound calls ordered since the start.
    pub placed: u64,
    /// INVITEs of known sources refused by us since the start.
    pub refused: u64,
    /// Calls ended because nobody refreshed their session, since the start.
    pub sessions_expired: u64,
    /// Calls either way that came faster than `calls_per_second` lets them.
    pub too_fast: u64,
    /// Calls and transfers to where their trunk may not dial, since the start.
    pub forbidden: u64,
    /// 401s to inbound calls since the start, the usual first one of each call among them.
    pub challenged: u64,
    /// Those of them that answered wrong credentials.
    pub unproven: u64,
    /// Requests of unknown sources since the start.
    pub unknown: u64,
    /// Messages of banned sources that were thrown away unread, since the start.
    pub unheard: u64,
    /// Bans since the start.
    pub bans: u64,
    /// Sources that are banned at this moment.
    pub banned: usize,
    /// Calls sent elsewhere because there is too much to do, since the start.
    pub shed: u64,
    /// Whether calls are sent elsewhere at this moment because messages wait too long.
    pub is_late: bool,
    /// Whether they are because the disk does not keep up.
    pub is_full: bool,
    /// What the endpoint has thrown away.
    pub dropped: sip::endpoint::Dropped,
    /// Trunks that are registered at this moment, of those that want to be.
    pub registered: usize,
    /// Trunks that want to be registered.
    pub to_register: usize,
    /// Engines that took the place of another, since the start.
    pub stood_in: u64,
    /// Engines that failed too often to be asked as usual.
    pub left_alone: usize,
    /// Engines that went on over another socket after theirs was lost, since the start.
    pub resumed: u64,
    /// Engines that could have, and did not.
    pub not_resumed: u64,
    /// What applications were not told, because too much waited.
    pub untold: u64,
}

/// See the module.
pub struct Exchange {
    settings: Arc<Settings>,
    endpoint: sip::Endpoint,
    outputs: Outputs,
    chance: StdRng,
    secrets: StdRng,
    calls: BTreeMap<CallId, Call>,
    dialogs: HashMap<sip::DialogId, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    census: Census,
    challenges: Challenges,
    /// Providers as they were before the last change of settings, as far as calls ran over them.
    retired: Vec<Arc<Provider>>,
    ways: BTreeMap<ProviderKey, Ways>,
    registrations: BTreeMap<ProviderKey, Registration>,
    /// Where each last asked.
    registrars: BTreeMap<ProviderKey, sip::Target>,
    ended: BTreeMap<CallId, Ended>,
    keys: HashMap<(TenantId, String), KnownKey>,
    key_expiries: BTreeSet<(Instant, TenantId, String)>,
    draining: Option<Drain>,
    references: References,
    standby: Standby,
    strangers: Strangers,
    overload: Overload,
    callbacks: Callbacks,
    tally: Tally,
}

/// A call that is over and may still be wrapped up.
struct Ended {
    until: Instant,
    record: CallRecord,
    handling: Arc<Handling>,
}

struct KnownKey {
    fingerprint: String,
    record: Arc<CallRecord>,
}

/// ```text
///   Waiting -- limit, or told to stop --> Ending -- no call left, or nobody answers --> Told
///      |                                                                                 ^
///      +--------------------------------- no call left ----------------------------------+
/// ```
#[derive(Debug, Clone, Copy)]
enum Drain {
    Waiting { give_up: Instant },
    Ending { until: Instant },
    Told,
}

impl Exchange {
    /// An exchange without calls. `seed` decides every tag, branch and id.
    pub fn new(
        now: Instant,
        wall: SystemTime,
        seed: u64,
        settings: Arc<Settings>,
        config: sip::Config,
    ) -> Self {
        let mut exchange = Self {
            endpoint: sip::Endpoint::new(config, seed ^ 0x5159),
            outputs: Outputs::new(WallClock::new(now, wall)),
            chance: StdRng::seed_from_u64(seed),
            secrets: StdRng::seed_from_u64(seed ^ 0x5EC8),
            calls: BTreeMap::new(),
            dialogs: HashMap::new(),
            deadlines: BTreeSet::new(),
            census: Census::default(),
            challenges: Challenges::default(),
            retired: Vec::new(),
            ways: BTreeMap::new(),
            registrations: BTreeMap::new(),
            registrars: BTreeMap::new(),
            ended: BTreeMap::new(),
            keys: HashMap::new(),
            key_expiries: BTreeSet::new(),
            draining: None,
            references: References::default(),
            standby: Standby::default(),
            strangers: Strangers::default(),
            overload: Overload::default(),
            callbacks: Callbacks::default(),
            tally: Tally::default(),
            settings,
        };
        exchange.start_probes(now);
        exchange.start_registrations(now);
        exchange
    }

    /// Closes what the process before this one left open, each with one last event, and remembers its
    /// idempotency keys. To be called once, before anything else.
    pub fn recover(
        &mut self,
        now: Instant,
        open: Vec<CallRecord>,
        keys: Vec<(TenantId, Idempotency, Arc<CallRecord>)>,
    ) {
        for mut record in open {
            let url = record.webhook_url.clone().or_else(|| self.webhook_url(&record));
            let at = self.outputs.timestamp(now);
            let event = telling::closing_event(&mut record, url, at);
            let call = Arc::new(record);
            self.outputs.keep(Record::Event { event: Arc::new(event), call: call.clone() });
            self.outputs.push(Output::Publish(call));
        }
        for (tenant, idempotency, record) in keys {
            self.remember_key(now, tenant, idempotency, record);
        }
    }

    /// Replaces the settings. Running calls keep what they began with.
    pub fn handle_settings(&mut self, now: Instant, settings: Arc<Settings>) {
        let running = self.calls.values().map(|call| (call.provider.key.clone(), call.provider.clone()));
        self.retired = running.collect::<BTreeMap<_, _>>().into_values().collect();
        self.settings = settings;
        self.standby.keep(&self.settings);
        self.start_probes(now);
        self.start_registrations(now);
    }

    /// Follows a corrected system clock.
    pub fn handle_wall_clock(&mut self, now: Instant, wall: SystemTime) {
        self.outputs.handle_wall_clock(WallClock::new(now, wall));
    }

    /// One datagram, or one message of a stream.
    pub fn handle_sip(&mut self, now: Instant, flow: sip::Flow, wire: Bytes) {
        // RFC 3261 §7.2: only a response begins so. Responses find their transaction or nobody.
        let is_response = wire.starts_with(b"SIP/");
        if is_response || self.is_known(flow.peer.ip()) {
            if !self.sends_elsewhere(flow, &wire) {
                self.endpoint.handle_message(now, flow, wire);
            }
        } else {
            self.handle_stranger(now, flow, wire);
        }
        self.settle(now);
    }

    /// The next message has waited for so long before its turn.
    pub fn handle_wait(&mut self, now: Instant, waited: Duration) {
        self.overload.handle_wait(now, waited);
    }

    /// 503 to a new call while older messages wait: without a state, so that it costs next to nothing.
    fn sends_elsewhere(&mut self, flow: sip::Flow, wire: &Bytes) -> bool {
        if !self.overload.is_late() || !wire.starts_with(b"INVITE ") {
            return false;
        }
        let Ok(request) = sip::Message::parse(wire.clone(), framing(flow)) else { return false };
        if request.check().is_err() || self.endpoint.knows(&request) {
            return false;
        }
        let (status, _, text) = Refusal::Busy.answer();
        let headers = vec![
            ("Retry-After".into(), self.chance.random_range(RETRY).to_string()),
            ("Reason".into(), crate::call::inbound::reason_header(status, text)),
        ];
        let answer = admission::turned_away(flow, &request, status, &headers);
        self.tally.shed += u64::from(answer.is_some());
        self.outputs.extend(answer.map(Output::Transmit));
        true
    }

    /// A request from an address that no provider claims. Where a trunk is known by its password alone, calls may begin
    /// anywhere: only an INVITE that shows it leaves a trace here, every other one is challenged and forgotten, so
    /// that who forges addresses gains nothing (RFC 3261 §26.3.2.4).
    fn handle_stranger(&mut self, now: Instant, flow: sip::Flow, wire: Bytes) {
        let source = flow.peer.ip();
        if self.settings.ban.is_some() && self.strangers.is_banned(now, source) {
            // Its running calls, if it has any, are not to suffer from who forges its address.
            let request = sip::Message::parse(wire.clone(), framing(flow));
            if request.is_ok_and(|request| self.endpoint.knows(&request)) {
                return self.endpoint.handle_message(now, flow, wire);
            }
            self.tally.unheard += 1;
            return;
        }
        let answers = self.settings.unknown_sources == UnknownSources::Refuse;
        let opens = admission::takes_strangers(self.settings.providers.values().chain(&self.retired));
        let request = (answers || opens).then(|| sip::Message::parse(wire.clone(), framing(flow)));
        let Some(Ok(request)) = request else {
            self.tally.unknown += 1;
            return self.stranger_refused(now, source);
        };
        if let Some(ban) = self.settings.ban
            && Strangers::is_scanner(&request)
        {
            self.tally.unheard += 1;
            return self.strangers.ban(now, source, ban);
        }
        let belongs = || {
            request.to().is_ok_and(|to| to.tag().is_some())
                || matches!(request.method(), Some(sip::Method::Ack | sip::Method::Cancel))
                || self.endpoint.has_seen(&request)
        };
        if opens && belongs() {
            return self.endpoint.handle_message(now, flow, wire);
        }
        if opens && request.method() == Some(sip::Method::Invite) {
            let shown = Shown::of(&request, &self.settings.sip_host);
            let trunk = shown.username().and_then(|username| admission::named(&self.settings, username));
            let proof = self.challenges.weigh(now, &shown, &request, trunk.map(|(_, digest)| digest));
            if proof == Proof::Right {
                self.strangers.trust(now, source);
                if !self.sends_elsewhere(flow, &wire) {
                    self.endpoint.handle_message(now, flow, wire);
                }
                return;
            }
            self.stranger_refused(now, source);
            let headers = self.challenge_stranger(now, proof);
            let unauthorized = sip::StatusCode::UNAUTHORIZED;
            let answer = admission::turned_away(flow, &request, unauthorized, &headers);
            return self.outputs.extend(answer.map(Output::Transmit));
        }
        self.tally.unknown += 1;
        self.stranger_refused(now, source);
        if answers {
            let forbidden = sip::StatusCode::FORBIDDEN;
            let answer = admission::turned_away(flow, &request, forbidden, &sip::Headers::new());
            self.outputs.extend(answer.map(Output::Transmit));
        }
    }

    fn stranger_refused(&mut self, now: Instant, source: IpAddr) {
        if let Some(ban) = self.settings.ban {
            self.strangers.refused(now, source, ban);
        }
    }

    /// A stream is closed.
    pub fn handle_connection_lost(&mut self, now: Instant, connection: sip::ConnectionId) {
        self.endpoint.handle_connection_lost(now, connection);
        self.settle(now);
    }

    /// A message could not be sent.
    pub fn handle_send_failure(&mut self, now: Instant, transport: sip::Transport, to: SocketAddr) {
        self.endpoint.handle_send_failure(now, transport, to);
        self.registrar_lost(now, transport, to);
        self.settle(now);
    }

    /// A worker or the dialling shell tells something of a call.
    pub fn handle_voice(&mut self, now: Instant, call: CallId, fact: VoiceFact) {
        self.with_call(now, call, |call, hands| call.handle_voice(hands, fact));
        self.settle(now);
    }

    /// What came of a request to an application.
    pub fn handle_fetched(&mut self, now: Instant, id: FetchId, outcome: Result<WebAnswer, WebFailure>) {
        match id {
            FetchId::Document { call, number } => {
                self.with_call(now, call, |call, hands| call.application_told(hands, number, outcome));
            }
            FetchId::Sound { call, number } => {
                self.with_call(now, call, |call, hands| call.sound_fetched(hands, number, outcome));
            }
            FetchId::Told { call, number } => {
                self.callbacks.fetched(now, call, number, &outcome, &mut self.outputs);
            }
        }
        self.settle(now);
    }

    /// Everything up to this record is on disk.
    pub fn handle_durable(&mut self, number: RecordNumber) {
        self.outputs.handle_durable(number);
    }

    /// The API asks. The answer comes as [`Output::Reply`] with the same id.
    pub fn handle_command(&mut self, now: Instant, id: RequestId, command: Command) {
        let answer = match command {
            Command::Place { tenant, provider, call, idempotency } => {
                self.place(now, &tenant, &provider, call, idempotency, None)
            }
            Command::PlaceFor { tenant, call, run } => self.place_for(now, &tenant, call, *run),
            Command::Run { tenant, call, run } => self.run(now, &tenant, call, *run),
            Command::End { tenant, call, only_before_answer } => {
                self.end(now, &tenant, call, only_before_answer)
            }
            Command::Transfer { tenant, provider, transfer } => {
                self.transfer(now, &tenant, &provider, *transfer)
            }
            Command::WrapUp { tenant, provider, wrap_up } => self.wrap_up(now, &tenant, &provider, wrap_up),
            Command::SwitchMode { tenant, call, switch } => self.switch_mode(now, &tenant, call, *switch),
            Command::SwitchEngine { tenant, call, switch } => self.switch_engine(now, &tenant, call, *switch),
            Command::Control { tenant, call, control } => self.control(now, &tenant, call, control),
            Command::TakeContext { reference } => {
                let context = self.references.take(now, &reference, None);
                context.map(Answer::Context).ok_or(CommandError::ContextNotFound)
            }
            Command::SendDtmf { tenant, call, digits } => self.send_dtmf(now, &tenant, call, &digits),
        };
        self.outputs.reply(id, answer.unwrap_or_else(Answer::Refused));
        self.settle(now);
    }

    /// No new calls; those that run end by themselves, or when the limit has passed. `Output::Drained` tells
    /// when none is left.
    pub fn drain(&mut self, now: Instant) {
        let give_up = now + self.settings.drain_limit;
        if self.draining.is_none() {
            self.unregister(now);
        }
        self.draining.get_or_insert(Drain::Waiting { give_up });
        self.settle(now);
    }

    /// [`Self::drain`] without patience: what runs is ended now. Told so again, it does not wait for the far ends either.
    pub fn stop(&mut self, now: Instant) {
        if self.draining.is_none() {
            self.unregister(now);
        }
        self.draining = Some(match self.draining {
            None | Some(Drain::Waiting { .. }) => Drain::Waiting { give_up: now },
            Some(Drain::Ending { .. }) => Drain::Ending { until: now },
            Some(Drain::Told) => Drain::Told,
        });
        self.settle(now);
    }

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.deadlines.first().map(|(at, _)| *at);
        let probes = self.ways.values().filter_map(|ways| ways.next_probe).min();
        let registrations = self.registrations.values().filter_map(Registration::poll_timeout).min();
        let drain = match self.draining {
            // With the calls gone it is the registrations that are waited for, each with a deadline of its own.
            Some(Drain::Waiting { give_up: at } | Drain::Ending { until: at }) if !self.calls.is_empty() => {
                Some(at)
            }
            Some(Drain::Waiting { .. } | Drain::Ending { .. } | Drain::Told) | None => None,
        };
        let ended = self.ended.values().next().map(|ended| ended.until);
        let keys = self.key_expiries.first().map(|(at, ..)| *at);
        let (bans, overload) = (self.strangers.poll_timeout(), self.overload.poll_timeout());
        let told = self.callbacks.poll_timeout();
        [self.endpoint.poll_timeout(), calls, probes, registrations, drain, ended, keys, bans, overload, told]
            .into_iter()
            .flatten()
            .min()
    }

    /// Acts on every deadline that has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            self.with_call(now, id, |call, hands| {
                call.noted = None;
                call.handle_timeout(hands);
            });
        }
        self.probe(now);
        self.register(now);
        self.expire(now);
        self.strangers.handle_timeout(now);
        self.overload.handle_timeout(now);
        self.callbacks.handle_timeout(now, &mut self.outputs);
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(transmit) = self.endpoint.poll_transmit() {
            return Some(Output::Transmit(transmit));
        }
        self.outputs.pop()
    }

    /// What is held and what was counted.
    pub fn tally(&self) -> Tally {
        Tally {
            calls: self.calls.len(),
            dialogs: self.dialogs.len(),
            sip: self.endpoint.ledger(),
            unsaved: self.outputs.unsaved(),
            registered: self.ways.values().filter(|ways| ways.is_registered()).count(),
            to_register: self.registrations.len(),
            stood_in: self.standby.stood_in,
            left_alone: self.standby.left_alone(),
            untold: self.callbacks.dropped,
            resumed: self.standby.resumed,
            not_resumed: self.standby.not_resumed,
            bans: self.strangers.banned,
            banned: self.strangers.banned_now(),
            is_late: self.overload.is_late(),
            is_full: self.overload.is_full(),
            dropped: self.endpoint.dropped(),
            ..self.tally
        }
    }

    /// Gives every SIP event to its call, and looks whether a drain is over.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            self.handle_event(now, event);
        }
        match self.draining {
            Some(Drain::Waiting { .. } | Drain::Ending { .. })
                if self.calls.is_empty() && self.registrations.values().any(|one| one.is_leaving(now)) => {}
            Some(Drain::Waiting { .. } | Drain::Ending { .. }) if self.calls.is_empty() => self.drained(),
            Some(Drain::Waiting { give_up }) if give_up <= now => {
                self.draining = Some(Drain::Ending { until: now + LAST_WORDS });
                let ids: Vec<CallId> = self.calls.keys().copied().collect();
                for id in ids {
                    self.with_call(now, id, |call, hands| call.shut_down(hands));
                }
                self.settle(now);
            }
            Some(Drain::Ending { until }) if until <= now => self.drained(),
            Some(Drain::Waiting { .. } | Drain::Ending { .. } | Drain::Told) | None => {}
        }
    }

    fn drained(&mut self) {
        self.draining = Some(Drain::Told);
        self.outputs.push(Output::Drained);
    }

    fn handle_event(&mut self, now: Instant, event: sip::endpoint::Event) {
        use sip::endpoint::Event;
        if let Some(dialog) = event.dialog()
            && let Some(id) = self.dialogs.get(&dialog).copied()
            && self.calls.get(&id).is_some_and(|call| call.has_party(dialog))
        {
            if let Event::Gone { .. } = event {
                self.dialogs.remove(&dialog);
            }
            self.with_call(now, id, |call, hands| call.handle_party(hands, dialog, event));
            return;
        }
        match event {
            Event::Invited { dialog, request, flow } => self.invited(now, dialog, &request, flow),
            Event::Cancelled { dialog, request } => {
                self.on_dialog(now, dialog, |call, hands| call.cancelled(hands, telling::raw(&request)));
            }
            Event::Expired { dialog } => {
                self.on_dialog(now, dialog, |call, hands| call.cancelled(hands, telling::nothing()));
            }
            Event::Acknowledged { dialog, request } => {
                self.on_dialog(now, dialog, |call, hands| call.acknowledged(hands, &request));
            }
            Event::Pracked { .. } => {}
            Event::PrackMissing { dialog } | Event::AckMissing { dialog } => {
                self.on_dialog(now, dialog, Call::not_acknowledged)
            }
            Event::Progress { dialog, response } => {
                self.on_dialog(now, dialog, |call, hands| call.progressed(hands, &response));
            }
            Event::Answered { dialog, response } => {
                self.on_dialog(now, dialog, |call, hands| call.answered(hands, &response));
            }
            Event::Refused { dialog, response } => {
                self.on_dialog(now, dialog, |call, hands| call.refused(hands, &response));
            }
            Event::Failed { dialog, failure } => {
                self.on_dialog(now, dialog, |call, hands| call.failed(hands, failure));
            }
            Event::Reinvited { dialog, request } | Event::Updated { dialog, request } => {
                self.on_dialog(now, dialog, |call, hands| call.reinvited(hands, &request));
            }
            Event::EarlyOffer { dialog, id, request } => {
                self.on_dialog(now, dialog, |call, hands| call.offered_early(hands, id, &request));
            }
            Event::Refreshed { dialog, message } => {
                self.on_dialog(now, dialog, |call, hands| call.refreshed(hands, &message));
            }
            Event::SessionExpired { dialog } => {
                self.tally.sessions_expired += 1;
                self.on_dialog(now, dialog, Call::session_expired);
            }
            Event::HungUp { dialog, request } => {
                self.on_dialog(now, dialog, |call, hands| call.hung_up(hands, &request));
            }
            Event::ReferAccepted { dialog, .. } => self.on_dialog(now, dialog, Call::refer_accepted),
            Event::ReferRefused { dialog, refusal } => {
                self.on_dialog(now, dialog, |call, hands| call.refer_refused(hands, &refusal));
            }
            Event::ReferProgress { dialog, status, reason, terminated, request } => {
                self.on_dialog(now, dialog, |call, hands| {
                    call.refer_progressed(hands, status, &reason, terminated, &request);
                });
            }
            Event::Gone { dialog } => {
                self.on_dialog(now, dialog, |call, _| call.dialog_gone());
                self.dialogs.remove(&dialog);
            }
            Event::Referred { dialog, id, request } => {
                self.on_dialog(now, dialog, |call, hands| {
                    call.asked_to_transfer(hands, call.leg.id, id, &request)
                });
                // Nobody's, or a call that is over: the first answer stands.
                self.respond(now, id, sip::StatusCode::DECLINE);
            }
            // RFC 6665 §4.1.3: a package that we have not subscribed to.
            Event::Notified { id, .. } => self.respond(now, id, sip::StatusCode::BAD_EVENT),
            // RFC 6086: no package is ours; keys come in a way that is older.
            Event::Info { dialog, id, request } => {
                self.on_dialog(now, dialog, |call, hands| call.informed(hands, call.leg.id, id, &request));
                // Nobody's: the first answer stands.
                self.respond(now, id, sip::StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
            }
            Event::Request { id, request, .. } => self.requested(now, id, &request),
            Event::RequestAnswered { id, response } => {
                let detail = response.status().map_or_else(String::new, |status| status.to_string());
                if !self.register_answered(now, id, Ok(&response)) {
                    self.probed(now, id, true, &detail);
                }
            }
            Event::RequestFailed { id, failure } => {
                let why = failure.to_string();
                if !self.register_answered(now, id, Err(&why)) {
                    self.probed(now, id, false, &why);
                }
            }
            // Offers are answered at once, so nothing is left to take back; we send no re-INVITE and no INFO yet.
            Event::ReinviteCancelled { .. }
            | Event::ReinviteAnswered { .. }
            | Event::ReinviteRefused { .. }
            | Event::UpdateAnswered { .. }
            | Event::UpdateRefused { .. }
            | Event::InfoAnswered { .. }
            | Event::InfoFailed { .. } => {}
        }
    }

    /// A source of the settings, or of calls that began before the settings changed.
    fn is_known(&self, source: IpAddr) -> bool {
        admission::is_known(&self.settings, source)
            || self.retired.iter().any(|provider| admission::claims(provider, source))
    }

    fn respond(&mut self, now: Instant, id: sip::RequestId, status: sip::StatusCode) {
        self.endpoint.respond(now, id, status, Vec::new(), None);
    }

    /// OPTIONS is how a trunk sees whether we live: 503 while we stop tells it to go elsewhere.
    fn requested(&mut self, now: Instant, id: sip::RequestId, request: &sip::Message) {
        let (status, headers) = match request.method() {
            Some(sip::Method::Options) if self.draining.is_some() => {
                (sip::StatusCode::SERVICE_UNAVAILABLE, vec![("Retry-After".into(), "10".to_owned())])
            }
            // RFC 3261 §11.2.
            Some(sip::Method::Options) => {
                (sip::StatusCode::OK, vec![("Accept".into(), crate::call::content::ACCEPTED.to_owned())])
            }
            Some(_) | None => (sip::StatusCode::NOT_IMPLEMENTED, Vec::new()),
        };
        self.endpoint.respond(now, id, status, headers, None);
    }

    fn invited(&mut self, now: Instant, dialog: sip::DialogId, request: &sip::Message, flow: sip::Flow) {
        if let Some((status, headers)) = crate::call::content::refusal(request) {
            self.tally.refused += 1;
            return self.endpoint.refuse(now, dialog, status, headers);
        }
        let number = request.request_uri().map(|uri| number::shown(&uri)).unwrap_or_default();
        let replaced = self.endpoint.replaced(request);
        let to_replace = replaced.as_ref().ok().copied().flatten();
        let proven = match self.identify(now, to_replace, request, flow, &number) {
            Ok(proven) => proven,
            Err(headers) => {
                return self.endpoint.refuse(now, dialog, sip::StatusCode::UNAUTHORIZED, headers);
            }
        };
        let caller = Caller { source: flow.peer.ip(), proven: proven.as_ref() };
        match replaced {
            Ok(None) => {}
            Ok(Some(replaced)) => return self.replaces(now, dialog, replaced, request, flow, caller),
            Err(status) => return self.may_not_replace(now, dialog, status),
        }
        let admitted = self.admit_inbound(now, caller, &number);
        let destination = match admitted {
            Ok(destination) => destination.at(&self.settings, self.outputs.timestamp(now)),
            Err(refusal) => {
                self.tally.refused += 1;
                let (status, retry_after, text) = refusal.answer();
                let mut headers: sip::Headers =
                    vec![("Reason".into(), crate::call::inbound::reason_header(status, text))];
                headers.extend(retry_after.map(|seconds| ("Retry-After".into(), seconds.to_string())));
                return self.endpoint.refuse(now, dialog, status, headers);
            }
        };
        if self.endpoint.set_policy(now, dialog, destination.provider.trunk.policy).is_err() {
            self.tally.refused += 1;
            return self.census.release(&destination.provider);
        }
        self.tally.admitted += 1;
        let id = CallId::new(self.outputs.wall().at(now), &mut self.chance);
        let webhook_url = self.receiver(None, &destination.provider);
        let arrival = Arrival {
            id,
            dialog,
            request,
            flow,
            provider: destination.provider,
            engine: destination.engine,
            mode: destination.mode,
            handling: destination.handling,
            webhook_url,
            application: destination.account.and_then(application::of_inbound),
        };
        let call = Call::arrive(&mut self.hands(now), arrival);
        self.dialogs.insert(dialog, id);
        self.calls.insert(id, call);
        self.note_deadline(id);
    }

    /// Whose password an INVITE has shown, where that alone counts; or what a 401 has to say, where credentials are
    /// wanted and are not there, not right or not fresh. The same for every user name.
    fn identify(
        &mut self,
        now: Instant,
        replaced: Option<sip::DialogId>,
        request: &sip::Message,
        flow: sip::Flow,
        number: &str,
    ) -> Result<Option<ProviderKey>, sip::Headers> {
        let settings = self.settings.clone();
        let shown = Shown::of(request, &settings.sip_host);
        let named = shown.username().and_then(|username| admission::named(&settings, username));
        let caller = Caller { source: flow.peer.ip(), proven: None };
        let is_stranger = || {
            let mut all = settings.providers.values().chain(&self.retired);
            !all.any(|provider| caller.is_of(provider))
        };
        if named.is_some() || is_stranger() {
            return match self.challenges.judge(now, &shown, request, named.map(|(_, digest)| digest)) {
                Proof::Right => Ok(named.map(|(provider, _)| provider.key.clone())),
                proof @ (Proof::Stale | Proof::Wrong | Proof::Missing) => {
                    Err(self.challenge_stranger(now, proof))
                }
            };
        }
        let call = replaced.and_then(|replaced| self.calls.get(self.dialogs.get(&replaced)?));
        let provider = match call.filter(|call| caller.is_of(&call.provider)) {
            Some(call) => Some(call.provider.clone()),
            None => admission::guard(&settings, caller, number),
        };
        let digest = provider.as_ref().and_then(|provider| provider.trunk.inbound_auth.digest());
        let Some(digest) = digest else { return Ok(None) };
        match self.challenges.judge(now, &shown, request, Some(digest)) {
            Proof::Right => Ok(None),
            proof @ (Proof::Stale | Proof::Wrong | Proof::Missing) => {
                Err(self.challenge(now, proof, &digest.algorithms))
            }
        }
    }

    fn challenge_stranger(&mut self, now: Instant, proof: Proof) -> sip::Headers {
        let offered = admission::offered_to_strangers(&self.settings);
        self.challenge(now, proof, &offered)
    }

    fn challenge(&mut self, now: Instant, proof: Proof, offered: &[sip::auth::Algorithm]) -> sip::Headers {
        self.tally.challenged += 1;
        self.tally.unproven += u64::from(proof == Proof::Wrong);
        let realm = &self.settings.sip_host;
        self.challenges.challenge(now, realm, proof == Proof::Stale, offered, &mut self.secrets)
    }

    /// An INVITE wants to take the place of a dialog of ours (RFC 3891). Only the trunk that has that dialog may.
    fn replaces(
        &mut self,
        now: Instant,
        dialog: sip::DialogId,
        replaced: sip::DialogId,
        request: &sip::Message,
        flow: sip::Flow,
        caller: Caller<'_>,
    ) {
        let of_trunk = |call: &Call| caller.is_of(&call.provider).then_some(call.provider.trunk.policy);
        let id = self.dialogs.get(&replaced).copied();
        let found = id.and_then(|id| Some((id, of_trunk(self.calls.get(&id)?)?)));
        let Some((id, policy)) = found else {
            let unknown = sip::StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.may_not_replace(now, dialog, unknown);
        };
        if self.endpoint.set_policy(now, dialog, policy).is_err() {
            self.tally.refused += 1;
            return;
        }
        self.with_call(now, id, |call, hands| call.taken_over(hands, dialog, request, flow));
    }

    fn may_not_replace(&mut self, now: Instant, dialog: sip::DialogId, status: sip::StatusCode) {
        self.tally.refused += 1;
        let reason = crate::call::inbound::reason_header(status, "no call here can be replaced by this one");
        self.endpoint.refuse(now, dialog, status, vec![("Reason".into(), reason)]);
    }

    fn admit_inbound(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        number: &str,
    ) -> Result<admission::Destination, Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::Draining);
        }
        if self.is_store_behind() {
            return Err(Refusal::StoreBehind);
        }
        let destination = admission::destination(&self.settings, caller, number)?;
        self.census.admit(now, &self.settings, &destination.provider).map_err(|full| match full {
            Full::AtOnce(_) => Refusal::Limit,
            Full::TooFast(_, wait) => {
                self.tally.too_fast += 1;
                Refusal::Rate(wait)
            }
        })?;
        Ok(destination)
    }

    /// Whether so many records wait for the disk that no call is to begin.
    fn is_store_behind(&mut self) -> bool {
        self.overload.handle_unsaved(self.outputs.unsaved(), self.settings.max_unsaved);
        self.overload.is_full()
    }

    fn receiver(&self, own: Option<String>, provider: &Provider) -> Option<String> {
        let tenant = || self.settings.tenants.get(&provider.tenant)?.webhook_url.clone();
        own.or_else(|| provider.webhook_url.clone()).or_else(tenant)
    }

    fn webhook_url(&self, record: &CallRecord) -> Option<String> {
        match self.settings.providers.get(&record.view.provider) {
            Some(provider) => self.receiver(None, provider),
            None => self.settings.tenants.get(&record.tenant)?.webhook_url.clone(),
        }
    }

    fn on_dialog(
        &mut self,
        now: Instant,
        dialog: sip::DialogId,
        act: impl FnOnce(&mut Call, &mut Hands<'_>),
    ) {
        if let Some(id) = self.dialogs.get(&dialog).copied() {
            self.with_call(now, id, act);
        }
    }

    /// Lets a call act, then takes note of its deadline and dialog, or lets it go.
    fn with_call<T>(
        &mut self,
        now: Instant,
        id: CallId,
        act: impl FnOnce(&mut Call, &mut Hands<'_>) -> T,
    ) -> Option<T> {
        let mut call = self.calls.remove(&id)?;
        let before: Vec<sip::DialogId> = call.dialogs().collect();
        let engine = call.engine_in_use().cloned();
        let outcome = act(&mut call, &mut self.hands(now));
        self.standby.moved(engine.as_deref(), call.engine_in_use().map(Arc::as_ref));
        // A leg that went on to another target has nothing to do with the dialog of the one before.
        for before in before.into_iter().filter(|before| !call.dialogs().any(|dialog| dialog == *before)) {
            self.dialogs.remove(&before);
        }
        for dialog in call.dialogs() {
            self.dialogs.entry(dialog).or_insert(id);
        }
        self.calls.insert(id, call);
        self.note_deadline(id);
        self.let_go(now, id);
        Some(outcome)
    }

    /// Draws the keys of SRTP from another seed than everything else: one that nobody can guess and that is used nowhere else.
    pub fn draw_keys_from(&mut self, seed: [u8; 32]) {
        self.secrets = StdRng::from_seed(seed);
    }

    fn hands(&mut self, now: Instant) -> Hands<'_> {
        Hands {
            now,
            endpoint: &mut self.endpoint,
            outputs: &mut self.outputs,
            settings: &self.settings,
            chance: &mut self.chance,
            secrets: &mut self.secrets,
            ways: &mut self.ways,
            forbidden: &mut self.tally.forbidden,
            references: &mut self.references,
            standby: &mut self.standby,
            callbacks: &mut self.callbacks,
        }
    }

    fn note_deadline(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let next = call.poll_timeout();
        if call.noted == next {
            return;
        }
        if let Some(old) = std::mem::replace(&mut call.noted, next) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.extend(next.map(|at| (at, id)));
    }

    fn let_go(&mut self, now: Instant, id: CallId) {
        if !self.calls.get(&id).is_some_and(Call::is_gone) {
            return;
        }
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(noted) = call.noted {
            self.deadlines.remove(&(noted, id));
        }
        for dialog in call.dialogs() {
            self.dialogs.remove(&dialog);
        }
        self.census.release(&call.provider);
        self.outputs.push(Output::Forget(id));
        let handling = call.handling.clone();
        let ended = Ended { until: now + WRAP_UP, record: call.story.into_record(), handling };
        self.ended.insert(id, ended);
        if self.ended.len() > WRAP_UP_MAX {
            self.ended.pop_first();
        }
    }

    fn expire(&mut self, now: Instant) {
        while self.ended.first_key_value().is_some_and(|(_, ended)| ended.until <= now) {
            self.ended.pop_first();
        }
        while let Some((at, tenant, key)) = self.key_expiries.first().filter(|(at, ..)| *at <= now).cloned() {
            self.keys.remove(&(tenant.clone(), key.clone()));
            self.key_expiries.remove(&(at, tenant, key));
        }
    }
}

fn framing(flow: sip::Flow) -> sip::Framing {
    match flow.transport {
        sip::Transport::Udp => sip::Framing::Datagram,
        sip::Transport::Tcp | sip::Transport::Tls => sip::Framing::Stream,
    }
}
