//! The world itself: what happens next, and what must never have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use callingedge::call::{
    Announcement, Answer, AnsweredBy, CallId, CallRecord, Command, Destinations, Dialect, Direction,
    EndReason, Engine, EngineCommand, EngineEvent, EngineFailure, EventBody, EventKind, Exchange, Fallback,
    Handling, LegId, LegSummary, MachineForHuman, Mode, NumberPattern, OnFailure, Output, PlaceCall,
    Provider, ProviderKind, Record, RecordNumber, RequestId, RingGroup, Route, Settings, SwitchMode, Tenant,
    TransferCall, TransferManner, TransferStyle, TransferTarget, Trunk, TrunkTarget, UnknownSources,
    VoiceFact, VoiceOrder, VoiceSummary, WrapUp,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::network::{Later, Weather, arrivals};
use super::telephone::{self, Deed, Mood, ReferMood};

const EDGE: &str = "10.0.0.1:5060";
const FAR: &str = "10.0.0.9:5060";
/// No call may take longer than this, all its timers included.
const PATIENCE: Duration = Duration::from_secs(900);

/// What happened, over all calls.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) refused_orders: BTreeMap<&'static str, u64>,
    /// From which mode to which.
    pub(crate) modes: BTreeMap<(&'static str, &'static str), u64>,
    pub(crate) datagrams: u64,
    /// Engines that went on over another socket, and those that did not.
    pub(crate) resumed: u64,
    pub(crate) not_resumed: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.datagrams += other.datagrams;
        self.resumed += other.resumed;
        self.not_resumed += other.not_resumed;
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (modes, count) in &other.modes {
            *self.modes.entry(*modes).or_default() += count;
        }
        for (code, count) in &other.refused_orders {
            *self.refused_orders.entry(code).or_default() += count;
        }
    }

    /// A simulation that never loses an engine or never crosses a CANCEL proves nothing.
    pub(crate) fn assert_that_everything_happened(&self) {
        assert!(self.resumed > 50, "engines went on over another socket too rarely");
        assert!(self.not_resumed > 20, "engines stayed away too rarely");
        for kind in
            ["placed", "inbound_ringing", "answered", "no_answer", "busy", "transferred", "ended", "error"]
        {
            assert!(self.kinds.get(kind).is_some_and(|count| *count > 20), "{kind} happened too rarely");
        }
        for reason in [
            "RemoteHungUp",
            "EngineHungUp",
            "ApiHungUp",
            "Transferred",
            "MaxDuration",
            "MediaTimeout",
            "EngineLost",
            "EngineRefused",
            "Busy",
            "NoAnswer",
            "CallerCancelled",
            "Rejected",
            "Unreachable",
            "MediaIncompatible",
            "EdgeFailed",
        ] {
            assert!(self.reasons.get(reason).is_some_and(|count| *count > 0), "{reason} never happened");
        }
        let all = ["ai_only", "ai_first", "assist", "routing"];
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
            let happened = self.modes.get(&(from, to)).is_some_and(|count| *count > 0);
            // A human hands the caller to another human in the same mode; an engine does not hand it to itself.
            assert!(happened != (from == to && from.starts_with("ai")), "from {from} to {to}");
        }
        for code in [
            "call.already_ended",
            "call.not_answered",
            "transfer.under_way",
            "mode.unchanged",
            "mode.no_human",
        ] {
            assert!(self.refused_orders.get(code).is_some_and(|count| *count > 0), "{code} never happened");
        }
    }
}

/// What the engine of one call is like.
#[derive(Debug, Clone)]
struct Temper {
    connects: Result<Duration, EngineFailure>,
    decides: Option<(Duration, bool)>,
    dies: Option<Duration>,
    hangs_up: Option<Duration>,
    transfers: Option<Duration>,
}

enum Happening {
    ToEdge(Bytes),
    ToFar(Bytes),
    Deed(Deed),
    CallIn,
    CallOut(RequestId),
    Notify(sip::DialogId, u8),
    Voice(CallId, VoiceFact),
    EngineSays(CallId, EngineCommand),
    EngineDies(CallId),
    Order(RequestId, Command),
    Durable(RecordNumber),
}

/// What a worker knows of one call.
#[derive(Default)]
struct Voice {
    opened: BTreeSet<LegId>,
    closed: bool,
    engine: bool,
    /// The engine has lost its socket and may get another one.
    away: bool,
    /// It was told of the answer in a dialect that knows of resuming.
    spoke: bool,
}

pub(crate) struct World {
    seed: u64,
    start: Instant,
    now: Instant,
    chance: StdRng,
    weather: Weather,
    exchange: Exchange,
    settings: Arc<Settings>,
    far: sip::Endpoint,
    later: Later<Happening>,
    moods: BTreeMap<sip::DialogId, Mood>,
    far_dialogs: u64,
    far_gone: Vec<sip::DialogId>,
    voices: BTreeMap<CallId, Voice>,
    tempers: BTreeMap<CallId, Temper>,
    /// What is on the disk, in order; and what is on its way to it.
    disk: Vec<Record>,
    writing: Vec<(RecordNumber, Record)>,
    durable: RecordNumber,
    shown: BTreeMap<CallId, Arc<CallRecord>>,
    orders: u64,
    replies: BTreeMap<RequestId, u32>,
    placed: BTreeMap<RequestId, CallId>,
    report: Report,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let start = start();
        let mut chance = StdRng::seed_from_u64(seed);
        let settings = settings(seed);
        Self {
            weather: Weather::random(&mut chance),
            exchange: exchange(start, seed, &settings),
            far: sip::Endpoint::new(config(FAR), seed ^ 0xfa5),
            start,
            now: start,
            seed,
            settings,
            chance,
            later: Later::default(),
            moods: BTreeMap::new(),
            far_dialogs: 0,
            far_gone: Vec::new(),
            voices: BTreeMap::new(),
            tempers: BTreeMap::new(),
            disk: Vec::new(),
            writing: Vec::new(),
            durable: RecordNumber::default(),
            shown: BTreeMap::new(),
            orders: 0,
            replies: BTreeMap::new(),
            placed: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Runs so many calls to their end and checks everything.
    pub(crate) fn run(mut self, calls: u64) -> Report {
        self.begin(calls);
        while self.step() {}
        self.check_that_nothing_is_left();
        let told = tell(&self.disk);
        self.check_stories(&told);
        self.report.calls = calls;
        let tally = self.exchange.tally();
        (self.report.resumed, self.report.not_resumed) = (tally.resumed, tally.not_resumed);
        self.report
    }

    /// Runs until a random moment, then forgets all that was not on disk.
    pub(crate) fn run_until_crash(&mut self, calls: u64) {
        self.begin(calls);
        let crash = self.start + Duration::from_millis(self.chance.random_range(0..30_000));
        while self.next_time().is_some_and(|next| next < crash) && self.step() {}
        self.writing.clear();
    }

    /// A new process on the old disk: each call that had no last event gets one, and none gets two.
    pub(crate) fn restart_and_check(&mut self) {
        let mut open: BTreeMap<CallId, CallRecord> = BTreeMap::new();
        for record in &self.disk {
            match record {
                Record::Call(call) | Record::Event { call, .. } => {
                    open.insert(call.view.call_id, CallRecord::clone(call));
                }
                Record::Milestone(_) => {}
            }
        }
        let known = open.len();
        open.retain(|_, call| call.view.end_reason.is_none());
        let mut exchange = exchange(self.now, self.seed ^ 1, &self.settings);
        exchange.recover(self.now, open.into_values().collect(), Vec::new());
        while let Some(output) = exchange.poll_output() {
            if let Output::Keep { record, .. } = output {
                self.disk.push(record);
            }
        }

        let told = tell(&self.disk);
        assert_eq!(told.len(), known, "seed {}: calls known and calls told", self.seed);
        for (call, events) in &told {
            check_story(self.seed, *call, events);
        }
    }

    fn begin(&mut self, calls: u64) {
        for _ in 0..calls {
            let at = self.start + Duration::from_millis(self.chance.random_range(0..20_000));
            if self.chance.random_bool(0.5) {
                self.later.at(at, Happening::CallIn);
            } else {
                let order = self.next_order();
                self.later.at(at, Happening::CallOut(order));
            }
        }
    }

    fn next_order(&mut self) -> RequestId {
        self.orders += 1;
        RequestId(self.orders)
    }

    fn next_time(&self) -> Option<Instant> {
        let timers = [self.later.next_time(), self.exchange_timeout(), self.far.poll_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Keys and wrapped-up calls are remembered for hours; nothing of a call waits for that.
    fn exchange_timeout(&self) -> Option<Instant> {
        self.exchange.poll_timeout().filter(|at| *at < self.start + PATIENCE)
    }

    /// Jumps to the next thing that happens. False when nothing does.
    fn step(&mut self) -> bool {
        let Some(next) = self.next_time() else { return false };
        assert!(next < self.start + PATIENCE, "seed {}: a timer without end", self.seed);
        self.now = self.now.max(next);
        while let Some(happening) = self.later.take_due(self.now) {
            self.happen(happening);
            self.carry_out();
        }
        if self.exchange.poll_timeout().is_some_and(|at| at <= self.now) {
            self.exchange.handle_timeout(self.now);
        }
        if self.far.poll_timeout().is_some_and(|at| at <= self.now) {
            self.far.handle_timeout(self.now);
        }
        self.carry_out();
        true
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::ToEdge(wire) => self.exchange.handle_sip(now, flow(EDGE, FAR), wire),
            Happening::ToFar(wire) => self.far.handle_message(now, flow(FAR, EDGE), wire),
            Happening::Deed(deed) => self.far_does(deed),
            Happening::CallIn => self.far_calls(),
            Happening::CallOut(order) => self.call_out(order),
            Happening::Notify(dialog, step) => self.far_notifies(dialog, step),
            Happening::Voice(call, fact) => {
                // Nothing comes from a worker that has said "closed".
                let voice = self.voices.entry(call).or_default();
                if !voice.closed {
                    voice.closed = matches!(fact, VoiceFact::Closed(_));
                    self.exchange.handle_voice(now, call, fact);
                }
            }
            Happening::EngineSays(call, command) => {
                let voice = self.voices.entry(call).or_default();
                if voice.engine && !voice.closed {
                    self.exchange.handle_voice(now, call, VoiceFact::Engine(command));
                }
            }
            Happening::EngineDies(call) => {
                let voice = self.voices.entry(call).or_default();
                let lost = std::mem::take(&mut voice.engine) && !voice.closed;
                // As an engine says in its `accept`.
                let can_resume = lost && voice.spoke && self.chance.random_bool(0.7);
                if can_resume {
                    voice.away = true;
                    let failure = EngineFailure::Broken("reset".into());
                    self.exchange.handle_voice(now, call, VoiceFact::EngineAway(failure));
                } else if lost {
                    let failure = match self.chance.random_range(0..4) {
                        0 => EngineFailure::Closed { code: Some(1000) },
                        1 => EngineFailure::Closed { code: Some(1011) },
                        2 => EngineFailure::Stalled,
                        _ => EngineFailure::Broken("reset".into()),
                    };
                    self.exchange.handle_voice(now, call, VoiceFact::EngineGone(failure));
                }
            }
            Happening::Order(id, command) => {
                self.replies.insert(id, 0);
                self.exchange.handle_command(now, id, command);
            }
            Happening::Durable(number) => {
                while self.writing.first().is_some_and(|(first, _)| *first <= number) {
                    let (_, record) = self.writing.remove(0);
                    self.disk.push(record);
                }
                self.durable = number;
                self.exchange.handle_durable(number);
            }
        }
    }

    fn carry_out(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.exchange.poll_output() {
                idle = false;
                self.carry_out_one(output);
            }
            while let Some(transmit) = self.far.poll_transmit() {
                idle = false;
                self.report.datagrams += 1;
                for at in arrivals(self.weather, self.now, &mut self.chance) {
                    self.later.at(at, Happening::ToEdge(transmit.payload.clone()));
                }
            }
            while let Some(event) = self.far.poll_event() {
                idle = false;
                self.far_hears(event);
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => {
                self.report.datagrams += 1;
                for at in arrivals(self.weather, self.now, &mut self.chance) {
                    self.later.at(at, Happening::ToFar(transmit.payload.clone()));
                }
            }
            Output::Voice { call, order } => self.worker_obeys(call, order),
            Output::DialEngine { call, .. } => self.dial(call),
            // No application runs a call of this world.
            Output::Fetch { .. } => {}
            Output::Keep { number, record } => {
                self.writing.push((number, record));
                let fsync = Duration::from_micros(self.chance.random_range(100..8_000));
                // The disk is one queue: nothing overtakes.
                let newest = self.writing.last().map_or(number, |(newest, _)| *newest);
                self.later.at(self.now + fsync, Happening::Durable(newest.max(self.durable)));
            }
            Output::Publish(record) => {
                let (call, direction) = (record.view.call_id, record.view.direction);
                if self.shown.insert(call, record).is_none() && direction == Direction::Inbound {
                    self.plan_orders(call);
                }
            }
            Output::Reply { to, answer, .. } => self.replied(to, answer),
            Output::Forget(_) | Output::Health { .. } | Output::Drained => {}
        }
    }

    fn replied(&mut self, to: RequestId, answer: Answer) {
        *self.replies.entry(to).or_default() += 1;
        match answer {
            Answer::Placed(record) => {
                self.placed.insert(to, record.view.call_id);
                self.plan_orders(record.view.call_id);
            }
            Answer::Accepted | Answer::Context(_) | Answer::WrappedUp(_) => {}
            Answer::Refused(error) => *self.report.refused_orders.entry(error.code()).or_default() += 1,
        }
    }

    // ---- the worker

    fn worker_obeys(&mut self, call: CallId, order: VoiceOrder) {
        let soon = self.now + Duration::from_micros(self.chance.random_range(50..5_000));
        let voice = self.voices.entry(call).or_default();
        assert!(!voice.closed, "seed {}: an order after the worker let go: {order:?}", self.seed);
        match order {
            VoiceOrder::Open { leg, .. } => {
                assert!(voice.opened.insert(leg), "opened twice");
                let fact = if self.chance.random_bool(0.01) {
                    VoiceFact::NotOpened { leg, error: "no port is free".into() }
                } else {
                    VoiceFact::Opened { leg, port: 20_000 }
                };
                self.later.at(soon, Happening::Voice(call, fact));
            }
            VoiceOrder::Negotiated { leg, media } => {
                if media.direction.receives() && self.chance.random_bool(0.03) {
                    let at = self.now + Duration::from_secs(8);
                    self.later.at(at, Happening::Voice(call, VoiceFact::Inactive { leg }));
                }
            }
            VoiceOrder::Tell(EngineEvent::Start(_)) => {
                voice.away = false;
                self.engine_is_told(call);
            }
            VoiceOrder::Tell(EngineEvent::Answered) => {
                voice.spoke = true;
                self.engine_speaks(call);
            }
            VoiceOrder::ResumeEngine { .. } => {
                assert!(std::mem::take(&mut voice.away), "seed {}: nobody is away", self.seed);
                self.engine_is_asked(call);
            }
            VoiceOrder::DetectAnswerer { leg } => self.answerer_speaks(call, leg),
            VoiceOrder::Tell(_)
            | VoiceOrder::SendDtmf { .. }
            | VoiceOrder::Pressed { .. }
            | VoiceOrder::WatchSilence { .. }
            | VoiceOrder::Record { .. }
            | VoiceOrder::PauseRecording(_)
            | VoiceOrder::MaskKeys(_)
            | VoiceOrder::Hook(_)
            | VoiceOrder::Wait { .. } => {}
            VoiceOrder::Route(route) => {
                for (listener, speaker) in route.hears {
                    let both = voice.opened.contains(&listener) && voice.opened.contains(&speaker);
                    assert!(both, "seed {}: a route to a leg that is not there", self.seed);
                }
            }
            VoiceOrder::CloseLeg(leg) => {
                assert!(voice.opened.contains(&leg), "seed {}: a leg is closed that was not open", self.seed);
            }
            VoiceOrder::Announce { leg, audio } => {
                let length = Duration::from_millis(audio.pcmu.len() as u64 / 8);
                self.later.at(self.now + length, Happening::Voice(call, VoiceFact::Announced { leg }));
            }
            VoiceOrder::Drain => {
                let at = self.now + Duration::from_millis(self.chance.random_range(0..3_000));
                self.later.at(at, Happening::Voice(call, VoiceFact::Drained));
            }
            VoiceOrder::DismissEngine(_) => {
                (voice.engine, voice.away, voice.spoke) = (false, false, false);
            }
            VoiceOrder::Close(_) => {
                let summary = VoiceSummary { legs: vec![LegSummary::default()], ..VoiceSummary::default() };
                self.later.at(soon, Happening::Voice(call, VoiceFact::Closed(summary)));
            }
        }
    }

    // ---- the engine

    fn dial(&mut self, call: CallId) {
        let chance = &mut self.chance;
        let mut sometimes = |probability: f64, most: u64| {
            chance.random_bool(probability).then(|| Duration::from_millis(chance.random_range(0..most)))
        };
        let temper = Temper {
            dies: sometimes(0.15, 15_000),
            hangs_up: sometimes(0.25, 15_000),
            transfers: sometimes(0.2, 10_000),
            decides: sometimes(0.9, 4_000).map(|after| (after, true)),
            connects: Ok(sometimes(1.0, 900).unwrap_or_default()),
        };
        let refuses = self.chance.random_bool(0.08);
        let temper = Temper {
            decides: temper.decides.map(|(after, _)| (after, !refuses)),
            connects: match self.chance.random_range(0..40) {
                0 => Err(EngineFailure::Connect("refused".into())),
                1 => Err(EngineFailure::Http { status: 503, retry_after: Some(3) }),
                2 => Err(EngineFailure::Timeout),
                _ => temper.connects,
            },
            ..temper
        };
        let (after, fact) = match &temper.connects {
            Ok(after) => (*after, VoiceFact::EngineConnected),
            Err(failure) => (Duration::from_millis(300), VoiceFact::EngineNotReached(failure.clone())),
        };
        self.voices.entry(call).or_default().engine = temper.connects.is_ok();
        self.tempers.insert(call, temper);
        self.later.at(self.now + after, Happening::Voice(call, fact));
    }

    /// A dialect that decides has heard of the call; one that does not has the caller.
    fn engine_is_told(&mut self, call: CallId) {
        let Some(temper) = self.tempers.get(&call).cloned() else { return };
        let engine = self.shown.get(&call).and_then(|record| record.view.engine.clone());
        if engine.as_deref() == Some("bot") {
            return self.engine_speaks(call);
        }
        if let Some((after, takes)) = temper.decides {
            let command = if takes {
                EngineCommand::Accept
            } else {
                EngineCommand::Reject { status: 486, reason: "Busy Here".into() }
            };
            self.later.at(self.now + after, Happening::EngineSays(call, command));
        }
        if let Some(after) = temper.dies {
            self.later.at(self.now + after, Happening::EngineDies(call));
        }
    }

    /// It goes on, or refuses, or says nothing, or its socket is lost again.
    fn engine_is_asked(&mut self, call: CallId) {
        let at = self.now + Duration::from_millis(self.chance.random_range(0..1_000));
        match self.chance.random_range(0..10) {
            0 => {
                let refusal = EngineCommand::Reject { status: 481, reason: "Gone".into() };
                self.later.at(at, Happening::EngineSays(call, refusal));
            }
            1 => {}
            2 => self.later.at(at, Happening::EngineDies(call)),
            _ => {
                self.later.at(at, Happening::EngineSays(call, EngineCommand::Accept));
                let dies = at + Duration::from_millis(self.chance.random_range(0..10_000));
                self.later.at(dies, Happening::EngineDies(call));
            }
        }
    }

    fn engine_speaks(&mut self, call: CallId) {
        let Some(temper) = self.tempers.get(&call).cloned() else { return };
        if let Some(after) = temper.dies {
            self.later.at(self.now + after, Happening::EngineDies(call));
        }
        if let Some(after) = temper.transfers {
            let (id, to) = (Some("t1".into()), "+15550100".into());
            let command = EngineCommand::Transfer { id, to, reason: None, manner: TransferManner::default() };
            self.later.at(self.now + after, Happening::EngineSays(call, command));
        }
        if let Some(after) = temper.hangs_up {
            let drain = self.chance.random_bool(0.5);
            let command = EngineCommand::HangUp { id: None, reason: None, drain };
            self.later.at(self.now + after, Happening::EngineSays(call, command));
        }
    }

    // ---- the API

    fn call_out(&mut self, order: RequestId) {
        let mut call = place("+15550123");
        call.ring_timeout_sec = Some(self.chance.random_range(1..8));
        call.max_duration_sec = Some(self.chance.random_range(5..40));
        call.engine = self.chance.random_bool(0.5).then(|| "bot".to_owned());
        let command = Command::Place {
            tenant: "acme".into(),
            provider: "far".into(),
            call: Box::new(call),
            idempotency: None,
        };
        self.happen(Happening::Order(order, command));
    }

    /// The API meddles with some calls, at any time of their life.
    fn plan_orders(&mut self, call: CallId) {
        if self.chance.random_bool(0.3) {
            for _ in 0..self.chance.random_range(1..3) {
                let at = self.now + Duration::from_millis(self.chance.random_range(0..20_000));
                let id = self.next_order();
                let command = Command::Transfer {
                    tenant: "acme".into(),
                    provider: "far".into(),
                    transfer: Box::new(self.transfer(call)),
                };
                self.later.at(at, Happening::Order(id, command));
            }
        }
        if self.chance.random_bool(0.4) {
            for _ in 0..self.chance.random_range(1..5) {
                let at = self.now + Duration::from_millis(self.chance.random_range(0..30_000));
                let id = self.next_order();
                let modes = [Mode::AiOnly, Mode::AiFirst, Mode::Assist, Mode::Routing];
                let switch = SwitchMode {
                    mode: modes[self.chance.random_range(0..4)],
                    to: self.chance.random_bool(0.8).then(|| human("+15550197")),
                    reason: None,
                };
                let command = Command::SwitchMode { tenant: "acme".into(), call, switch: Box::new(switch) };
                self.later.at(at, Happening::Order(id, command));
            }
        }
        if self.chance.random_bool(0.15) {
            let at = self.now + Duration::from_millis(self.chance.random_range(0..40_000));
            let id = self.next_order();
            let wrap_up = WrapUp { call_id: call, disposition: "done".into(), notes: None };
            let command = Command::WrapUp { tenant: "acme".into(), provider: "far".into(), wrap_up };
            self.later.at(at, Happening::Order(id, command));
        }
    }

    /// A person, a machine, somebody who was taken for the other first, or nobody.
    fn answerer_speaks(&mut self, call: CallId, leg: LegId) {
        for after in [1_000..3_000, 3_000..8_000] {
            let who = match self.chance.random_range(0..4) {
                0 => AnsweredBy::Machine,
                1 | 2 => AnsweredBy::Human,
                _ => continue,
            };
            let at = self.now + Duration::from_millis(self.chance.random_range(after));
            self.later.at(at, Happening::Voice(call, VoiceFact::AnsweredBy { leg, who, confidence: 0.8 }));
        }
    }

    fn transfer(&mut self, call: CallId) -> TransferCall {
        let on_failure = if self.chance.random_bool(0.3) { OnFailure::HangUp } else { OnFailure::ReturnToAi };
        TransferCall {
            call_id: call,
            to: human("+15550199"),
            style: match self.chance.random_range(0..8) {
                0 => TransferStyle::Blind,
                1 | 2 => TransferStyle::Bridge,
                3 => TransferStyle::Attended,
                _ => TransferStyle::Auto,
            },
            reason: None,
            announce: None,
            on_failure,
            on_machine: self.chance.random_bool(0.3).then_some(MachineForHuman::Next),
            then: (0..self.chance.random_range(0..3)).map(|_| human("+15550198")).collect(),
            assist_after: self.chance.random_bool(0.2),
            context: None,
        }
    }

    // ---- the far end

    fn far_calls(&mut self) {
        let mood = Mood::random(&mut self.chance);
        let uri = sip::Uri::parse("sip:+15550000@10.0.0.1").unwrap();
        let from = sip::NameAddr::new(sip::Uri::parse("sip:+15550123@10.0.0.9").unwrap());
        let target = sip::Target { transport: sip::Transport::Udp, address: EDGE.parse().unwrap() };
        let invite = sip::Invite {
            body: mood.offer(),
            policy: policy(self.seed / 9),
            ..sip::Invite::new(target, uri.clone(), from, sip::NameAddr::new(uri))
        };
        let dialog = self.far.invite(self.now, invite);
        self.far_dialogs += 1;
        if let Some(after) = mood.impatience {
            self.later.at(self.now + after, Happening::Deed(Deed::HangUp(dialog)));
        }
        self.moods.insert(dialog, mood);
    }

    fn far_hears(&mut self, event: sip::endpoint::Event) {
        use sip::endpoint::Event;
        if let Event::Invited { dialog, .. } = &event {
            self.far_dialogs += 1;
            self.moods.insert(*dialog, Mood::random(&mut self.chance));
        }
        if let Event::Referred { dialog, .. } = &event {
            let at = self.now + Duration::from_millis(100);
            match self.moods.get(dialog).map(|mood| mood.refer) {
                Some(ReferMood::Succeeds | ReferMood::Fails) => {
                    self.later.at(at, Happening::Notify(*dialog, 0))
                }
                Some(ReferMood::Refuses | ReferMood::Silent) | None => {}
            }
        }
        let moods = &self.moods;
        let mut mood_of = |dialog| moods[&dialog].clone();
        let deeds = telephone::react(&mut self.far, self.now, event, &mut mood_of, &mut self.far_gone);
        for (at, deed) in deeds {
            self.later.at(at, Happening::Deed(deed));
        }
    }

    fn far_does(&mut self, deed: Deed) {
        let now = self.now;
        let far = &mut self.far;
        match deed {
            Deed::Ring(dialog) => far.ring(now, dialog, sip::StatusCode::RINGING, Vec::new(), None),
            Deed::Answer(dialog) => {
                far.accept(now, dialog, Vec::new(), self.moods[&dialog].answer());
            }
            Deed::Refuse(dialog) => {
                let refusal = self.moods[&dialog].refusal;
                far.refuse(now, dialog, refusal, Vec::new());
            }
            Deed::HangUp(dialog) => far.hang_up(now, dialog, Vec::new()),
            Deed::Hold(dialog) => far.reinvite(now, dialog, Vec::new(), Some(telephone::hold())),
        }
    }

    /// NOTIFY 100, 180, and the outcome.
    fn far_notifies(&mut self, dialog: sip::DialogId, step: u8) {
        let succeeds = matches!(self.moods[&dialog].refer, ReferMood::Succeeds);
        let (line, state) = match (step, succeeds) {
            (0, _) => ("SIP/2.0 100 Trying", "active;expires=60"),
            (1, _) => ("SIP/2.0 180 Ringing", "active;expires=60"),
            (_, true) => ("SIP/2.0 200 OK", "terminated;reason=noresource"),
            (_, false) => ("SIP/2.0 486 Busy Here", "terminated;reason=noresource"),
        };
        self.far.notify(
            self.now,
            dialog,
            vec![("Event".into(), "refer".into()), ("Subscription-State".into(), state.into())],
            Some(sip::Body { content_type: "message/sipfrag".into(), content: format!("{line}\r\n").into() }),
        );
        if step < 2 {
            let at = self.now + Duration::from_millis(self.chance.random_range(100..3_000));
            self.later.at(at, Happening::Notify(dialog, step + 1));
        }
    }

    // ---- what must hold

    fn check_that_nothing_is_left(&mut self) {
        let seed = self.seed;
        let tally = self.exchange.tally();
        assert_eq!(tally.calls, 0, "seed {seed}: calls left");
        assert_eq!(tally.dialogs, 0, "seed {seed}: dialogs of calls left");
        assert_eq!(tally.unsaved, 0, "seed {seed}: records left");
        for (who, ledger) in [("edge", tally.sip), ("far", self.far.ledger())] {
            assert_eq!(ledger.dialogs, 0, "seed {seed}: dialogs left at the {who}");
            assert_eq!(ledger.client_transactions, 0, "seed {seed}: client transactions left at the {who}");
            assert_eq!(ledger.server_transactions, 0, "seed {seed}: server transactions left at the {who}");
            assert_eq!(ledger.timers, 0, "seed {seed}: timers left at the {who}");
        }
        assert_eq!(
            self.far_gone.len() as u64,
            self.far_dialogs,
            "seed {seed}: dialogs of the far end not told gone"
        );
        for (call, voice) in &self.voices {
            assert!(!voice.opened.is_empty() && voice.closed, "seed {seed}: the worker still holds {call}");
        }
        for (id, count) in &self.replies {
            assert_eq!(*count, 1, "seed {seed}: answers to {id:?}");
        }
    }

    fn check_stories(&mut self, told: &BTreeMap<CallId, Vec<EventBody>>) {
        for call in self.placed.values() {
            assert!(told.contains_key(call), "seed {}: {call} was placed and never told of", self.seed);
        }
        for (call, events) in told {
            check_story(self.seed, *call, events);
            let shown = &self.shown[call].view;
            let last = events.last().unwrap();
            assert_eq!(shown.end_reason, last.edge.end_reason, "seed {}: shown and told", self.seed);
            assert_eq!(
                shown.answered_at.is_some(),
                events.iter().any(|event| event.kind == EventKind::Answered)
            );
            for event in events {
                *self.report.kinds.entry(event.kind.as_str()).or_default() += 1;
                if let Some(change) = &event.edge.mode {
                    let modes = (change.from.as_str(), change.to.as_str());
                    *self.report.modes.entry(modes).or_default() += 1;
                }
            }
            let reason = format!("{:?}", shown.end_reason.unwrap());
            *self.report.reasons.entry(reason).or_default() += 1;
        }
    }
}

/// One last event, `seq` without gaps, kinds in an order that makes sense.
fn check_story(seed: u64, call: CallId, events: &[EventBody]) {
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    for (position, event) in events.iter().enumerate() {
        assert_eq!(event.edge.seq as usize, position + 1, "seed {seed}: {call}: {kinds:?}");
        assert_eq!(event.is_last(), position + 1 == events.len(), "seed {seed}: {call}: {kinds:?}");
    }
    let last = events.last().unwrap();
    let answered = kinds.contains(&EventKind::Answered);
    let fits = match last.kind {
        EventKind::Ended => answered,
        EventKind::NoAnswer | EventKind::Busy | EventKind::Error => !answered,
        EventKind::Placed
        | EventKind::InboundRinging
        | EventKind::Answered
        | EventKind::Voicemail
        | EventKind::Transferred => false,
    };
    assert!(fits, "seed {seed}: {call}: {kinds:?}");
    // One that left us has no mode; the others hand the conversation on, each from the owner of before.
    let of_transfer = events.iter().filter(|event| event.kind == EventKind::Transferred);
    let transferred = of_transfer.clone().any(|event| event.edge.mode.is_none());
    let mut owner = None;
    for change in of_transfer.filter_map(|event| event.edge.mode.as_ref()) {
        assert!(owner.is_none_or(|owner| owner == change.from), "seed {seed}: {call}: {change:?}");
        owner = Some(change.to);
    }
    if last.edge.end_reason != Some(EndReason::EdgeRestarted) {
        assert_eq!(
            transferred,
            last.edge.end_reason == Some(EndReason::Transferred),
            "seed {seed}: {call}: {kinds:?}"
        );
    }
}

fn tell(disk: &[Record]) -> BTreeMap<CallId, Vec<EventBody>> {
    let mut told: BTreeMap<CallId, Vec<EventBody>> = BTreeMap::new();
    for record in disk {
        match record {
            Record::Event { event, .. } => {
                let body: EventBody = serde_json::from_slice(&event.body).unwrap();
                assert_eq!(body.id(), event.id);
                told.entry(body.call_id).or_default().push(body);
            }
            Record::Call(call) => {
                told.entry(call.view.call_id).or_default();
            }
            Record::Milestone(_) => {}
        }
    }
    told
}

#[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

fn flow(local: &str, peer: &str) -> sip::Flow {
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse().unwrap(), peer.parse().unwrap());
    sip::Flow { transport: sip::Transport::Udp, local, peer, connection: None }
}

fn config(address: &str) -> sip::Config {
    sip::Config::new("simulated", vec![sip::Local::new(sip::Transport::Udp, address.parse().unwrap())])
}

fn exchange(now: Instant, seed: u64, settings: &Arc<Settings>) -> Exchange {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Exchange::new(now, wall, seed, settings.clone(), config(EDGE))
}

fn human(number: &str) -> TransferTarget {
    TransferTarget { number: Some(number.into()), ..TransferTarget::default() }
}

fn place(to: &str) -> PlaceCall {
    serde_json::from_value(serde_json::json!({ "to": to })).unwrap()
}

/// One trunk both ways; two engines, of which one decides and one only accepts the socket.
/// What a trunk may be configured to, all of it in turn.
fn policy(seed: u64) -> sip::Policy {
    let mode = match seed % 3 {
        0 => sip::SessionTimerMode::Off,
        1 => sip::SessionTimerMode::Accept,
        _ => sip::SessionTimerMode::Ask,
    };
    let reliable_provisionals = match seed / 3 % 3 {
        0 => sip::ReliableProvisionals::Off,
        1 => sip::ReliableProvisionals::Supported,
        _ => sip::ReliableProvisionals::Required,
    };
    let session_timers = sip::SessionTimers { mode, ..sip::SessionTimers::default() };
    sip::Policy { session_timers, reliable_provisionals, ..sip::Policy::default() }
}

fn settings(seed: u64) -> Arc<Settings> {
    let engine = |name: &str, dialect, on_lost| {
        Arc::new(Engine {
            barge_in: callingedge::call::BargeInPolicy::Engine,
            name: name.into(),
            url: "ws://10.0.0.5/".into(),
            dialect,
            sample_rate: None,
            headers: Vec::new(),
            parameters: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            accept_timeout: Duration::from_secs(3),
            resume_timeout: Duration::from_secs(10),
            fallback: (seed.is_multiple_of(3) && name == "native").then(|| "bot".into()),
            idle_timeout: Duration::from_secs(60),
            max_calls: None,
            on_lost,
        })
    };
    let announcement = Arc::new(Announcement { name: "sorry".into(), pcmu: vec![0xff; 16_000] });
    let engines = [
        engine("native", Dialect::EdgeV1, Fallback::Announce(announcement)),
        engine("bot", Dialect::Twilio, Fallback::HangUp),
    ];
    // One world in two has humans who stand in for engines.
    let handling = Arc::new(Handling {
        humans: vec!["+15550194".into(), "+15550195".into()],
        ring: if seed.is_multiple_of(2) { RingGroup::Parallel } else { RingGroup::Sequential },
        human_rings: Some(Duration::from_secs(5)),
        human_for_engine: seed % 4 < 2,
        human_machine: if seed.is_multiple_of(5) { MachineForHuman::Next } else { MachineForHuman::Join },
        ..Handling::default()
    });
    let route = |number: NumberPattern, engine: &str| Route {
        number,
        engine: engine.into(),
        mode: Mode::AiFirst,
        handling: handling.clone(),
    };
    let provider = Provider {
        key: "far".into(),
        kind: ProviderKind::SipTrunk,
        tenant: "acme".into(),
        webhook_url: None,
        trunk: Trunk {
            peers: vec!["10.0.0.9/32".parse().unwrap()],
            names: callingedge::call::TrunkNames::default(),
            targets: vec![TrunkTarget::only(sip::Target {
                transport: sip::Transport::Udp,
                address: FAR.parse().unwrap(),
            })],
            register: None,
            domain: None,
            credentials: None,
            inbound_auth: callingedge::call::InboundAuth::Address,
            from: Some("+15550000".into()),
            codecs: vec![media::Codec::Pcmu],
            srtp: media::SrtpPolicy::Off,
            srtp_keys: media::SrtpKeying::Sdes,
            dtls: None,
            rtcp_mux: false,
            destinations: Destinations { home: vec!["+1".into()], ..Destinations::default() },
            max_calls: None,
            calls_per_second: None,
            ring_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(5),
            max_duration: Duration::from_secs(30),
            media_timeout: Duration::from_secs(8),
            transfer_timeout: Duration::from_secs(6),
            policy: policy(seed),
            probe_interval: None,
            follow_redirects: true,
            pass_headers: Vec::new(),
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            numbers_in: callingedge::call::NumberRules::default(),
            numbers_out: callingedge::call::NumberRules::default(),
            has_tls_name: false,
            trust_identity: false,
            identity: callingedge::call::IdentityHeader::None,
            caller_ids: None,
        },
        routes: vec![route(NumberPattern::Prefix(String::new()), "native")],
        default_engine: Some("native".into()),
        default_mode: Mode::AiOnly,
        default_handling: Arc::default(),
    };
    Arc::new(Settings {
        sip_host: "10.0.0.1".into(),
        media_address: "10.0.0.1".parse().unwrap(),
        media_bind: "10.0.0.1".parse().unwrap(),
        max_calls: 1000,
        max_unsaved: 10_000,
        unknown_sources: UnknownSources::Drop,
        ban: None,
        drain_limit: Duration::from_secs(10),
        tenants: [("acme".into(), Tenant::default())].into(),
        providers: [("far".into(), Arc::new(provider))].into(),
        workflows: BTreeMap::new(),
        recording: None,
        announcements: BTreeMap::new(),
        engines: engines.into_iter().map(|engine| (engine.name.clone(), engine)).collect(),
    })
}
