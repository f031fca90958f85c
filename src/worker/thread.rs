//! A voice worker: one thread that owns the sockets of its calls and carries bytes and time to their
//! [`Voice`](super::Voice)s. It decides nothing about a call.
//!
//! ```text
//!        +-----------------------------------------------------------+
//!        v                                                           |
//!   wait for sockets, beats, orders                                  |
//!        |-- datagram ------> Voice --> websocket                    |
//!        |-- engine message -> Voice --> websocket                   |
//!        |-- order ----------> Voice, sockets opened and closed      |
//!        |-- beat -----------> Voice --> datagram                    |
//!        +-- ten times a second: pings, stalls, RTCP, positions -----+
//! ```
//!
//! Nothing waits but the poller. What goes wrong in a call ends in that call: a broken engine's socket is told
//! as [`VoiceFact::EngineGone`], and a fault of our own closes the call with an `EngineGone` and a
//! [`VoiceFact::Closed`] that nobody ordered.
#![expect(clippy::disallowed_methods, reason = "a shell: it has the clock")]

mod hooks;
mod lines;
mod shaking;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, error, warn};

use super::WorkerConfig;
use super::beats::Beats;
use super::call::{Call, Engine, Leg, OwnSocket, Phase};
use super::gauges::{Gauges, Holdings};
use super::histogram::Histogram;
use super::inbox::{Inbox, Order};
use super::line::Line;
use super::link::{Lingering, Link, Lost, Received};
use super::poller::{Interest, Poller, Token};
use super::ports::PortPool;
use super::recorder::Recorder;
use super::slab::{Key, Slab};
use super::sockets::{DATAGRAM, LegSockets};
use super::tally::Tally;
use super::voice::{Turn, Voice};
use crate::bridge::{AudioHook, Credit, EngineSocket, HookSocket, Incoming, Interpreter, Outgoing};
use crate::call::{CallId, DtmfMethod, EndReason, EngineEvent, EngineFailure, LegId, VoiceFact, VoiceOrder};

/// How often pings, stalls, RTCP and positions are looked after.
const SWEEP: Duration = Duration::from_millis(100);

/// How often facts that were not taken are offered again.
const RETRY: Duration = Duration::from_millis(5);

/// How often the numbers are published.
const PUBLISH: Duration = Duration::from_secs(1);

/// Orders carried out in one turn.
const ORDERS_A_TURN: usize = 64;

/// A beat later than this is counted.
const LATE: Duration = Duration::from_millis(10);

/// How long a closed engine may take to close its end.
const LINGER: Duration = Duration::from_secs(2);

/// One worker.
pub(super) struct Worker {
    calls: Slab<Call>,
    /// Room for a round over all calls.
    keys: Vec<Key>,
    shared: Shared,
}

/// What a worker has beside its calls.
struct Shared {
    config: WorkerConfig,
    inbox: Arc<Inbox>,
    facts: Sender<(CallId, VoiceFact)>,
    poller: Poller,
    index: HashMap<CallId, Key>,
    beats: Beats<Due>,
    ports: PortPool,
    lingering: Slab<Farewell>,
    /// Sockets that calls share.
    lines: Slab<Line>,
    /// How many it was handed so far.
    lines_handed: u64,
    /// Those of them that are lost, and whose calls do not know it yet.
    lost_lines: Vec<(Key, Lost)>,
    /// How long frames waited for the beat of such a socket, and whose they were.
    kept: Vec<(Key, Duration)>,
    /// Calls whose owner has not taken all facts.
    untold: Vec<Key>,
    out: Outgoing,
    /// For platforms.
    to_platform: Outgoing,
    scratch: Vec<u8>,
    datagram: Box<[u8; DATAGRAM]>,
    tally: Tally,
    chance: SmallRng,
    gauges: Gauges,
    recorder: Recorder,
    engines: usize,
    rtp_sockets: usize,
    /// The latest beat since the numbers were published.
    lag: Duration,
    /// How long frames were kept since then.
    up: Histogram,
}

/// Who is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// A leg's packet.
    Leg(Key, LegId),
    /// What was gathered for a socket that calls share.
    Line(Key),
}

/// An engine's socket after the call has let go of it.
struct Farewell {
    link: Link,
    /// A platform that has not said its last word.
    hook: Option<AudioHook>,
    until: Instant,
}

impl Worker {
    /// A worker without calls, the `number`th. `ports` are its own.
    pub(super) fn new(
        number: usize,
        config: WorkerConfig,
        ports: PortPool,
        inbox: Arc<Inbox>,
        facts: Sender<(CallId, VoiceFact)>,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let poller = Poller::new(Instant::now(), config.batch)?;
        poller.add(&*inbox, Token::Inbox, Interest::READ)?;
        let chance = SmallRng::seed_from_u64(config.seed.wrapping_add(number as u64));
        let shared = Shared {
            inbox,
            facts,
            poller,
            index: HashMap::new(),
            beats: Beats::new(Instant::now()),
            ports,
            lingering: Slab::new(),
            lines: Slab::new(),
            lines_handed: 0,
            lost_lines: Vec::new(),
            kept: Vec::new(),
            untold: Vec::new(),
            out: Outgoing::with_capacity(8 << 10),
            to_platform: Outgoing::default(),
            scratch: Vec::with_capacity(4 << 10),
            datagram: Box::new([0; DATAGRAM]),
            tally: Tally::default(),
            chance,
            gauges: Gauges::new(number),
            recorder,
            engines: 0,
            rtp_sockets: 0,
            lag: Duration::ZERO,
            up: Histogram::default(),
            config,
        };
        Ok(Self { calls: Slab::new(), keys: Vec::new(), shared })
    }

    /// Works until it is told to stop and all is closed.
    pub(super) fn run(mut self) {
        let now = Instant::now();
        let (mut sweep, mut publish) = (now + SWEEP, now + PUBLISH);
        let mut due = Vec::new();
        let mut orders_left = false;
        let mut stopping = None;
        loop {
            let now = Instant::now();
            let until = self.next_time(now, sweep, orders_left);
            let ready = self.shared.poller.wait(now, Some(until));
            let now = Instant::now();
            for index in 0..ready {
                self.handle_ready(now, index);
            }
            orders_left = self.handle_orders(now);
            self.beat(&mut due);
            self.lose_lines(now);
            self.offer_facts();
            if sweep <= now {
                sweep = now + SWEEP;
                self.sweep(now);
            }
            if publish <= now {
                publish = now + PUBLISH;
                self.publish();
            }
            if self.shared.inbox.is_stopped() && !orders_left {
                let give_up = *stopping.get_or_insert_with(|| self.stop(now));
                if give_up <= now || (self.calls.keys().next().is_none() && self.is_alone()) {
                    return self.publish();
                }
            }
        }
    }

    fn next_time(&self, now: Instant, sweep: Instant, orders_left: bool) -> Instant {
        if orders_left {
            return now;
        }
        let beat = self.shared.beats.next_due().unwrap_or(sweep);
        let retry = if self.shared.untold.is_empty() { sweep } else { now + RETRY };
        sweep.min(beat).min(retry)
    }

    fn handle_ready(&mut self, now: Instant, index: usize) {
        let Some(ready) = self.shared.poller.ready(index) else { return };
        match ready.token {
            Token::Inbox => self.shared.inbox.hush(),
            Token::Rtp(key, leg) => self.turn(key, |call, shared| shared.receive_rtp(now, call, leg)),
            Token::Rtcp(key, leg) => self.turn(key, |call, shared| shared.receive_rtcp(now, call, leg)),
            Token::Engine(key) => self.turn(key, |call, shared| {
                if ready.write {
                    shared.flush(now, call);
                }
                if ready.read {
                    shared.receive_messages(now, call);
                }
            }),
            Token::Lingering(key) => self.shared.linger(now, key),
            Token::Hook(key) => self.turn(key, |call, shared| {
                if ready.write {
                    shared.flush_hook(now, call);
                }
                if ready.read {
                    shared.hear_hook(now, call);
                }
            }),
            Token::Line(key) => {
                if ready.write {
                    self.shared.flush_line(now, key);
                }
                if ready.read {
                    self.hear_line(now, key);
                }
            }
        }
    }

    /// Whether more orders wait.
    fn handle_orders(&mut self, now: Instant) -> bool {
        for _ in 0..ORDERS_A_TURN {
            let Some(order) = self.shared.inbox.pop() else { return false };
            let (id, work) = match order {
                Order::Voice(id, order) => (id, Work::Order(order)),
                Order::Attach(id, socket) => (id, Work::Attach(socket)),
                Order::Join(id, engine) => (id, Work::Join(engine)),
                Order::Hook(id, socket) => (id, Work::Hook(socket)),
                Order::Line(opened) => {
                    self.open_line(now, *opened);
                    continue;
                }
            };
            let key = self.key_of(id);
            self.turn(key, |call, shared| match (call.phase, work) {
                (Phase::Open, Work::Order(order)) => shared.obey(now, call, *order),
                (Phase::Open, Work::Attach(socket)) => shared.attach(now, call, *socket),
                (Phase::Open, Work::Join(engine)) => shared.join(now, call, engine),
                (Phase::Open, Work::Hook(socket)) => shared.attach_hook(now, call, *socket),
                (Phase::Over, Work::Order(_) | Work::Attach(_) | Work::Join(_) | Work::Hook(_)) => {
                    shared.tally.stray_orders += 1
                }
            });
        }
        true
    }

    /// The call's place; a new one for a call that was not heard of.
    fn key_of(&mut self, id: CallId) -> Key {
        if let Some(key) = self.shared.index.get(&id) {
            return *key;
        }
        let nowhere = Key { place: 0, generation: 0 };
        let key = self.calls.insert(Call::new(id, nowhere, self.shared.config.voice));
        if let Some(call) = self.calls.get_mut(key) {
            call.key = key;
        }
        self.shared.index.insert(id, key);
        self.shared.inbox.call_came();
        key
    }

    fn beat(&mut self, due: &mut Vec<Due>) {
        loop {
            let now = Instant::now();
            let Some(at) = self.shared.beats.pop(now, due) else { break };
            let late = now.saturating_duration_since(at);
            self.shared.lag = self.shared.lag.max(late);
            if late > LATE {
                self.shared.tally.late_beats += due.len() as u64;
            }
            for due in due.iter().copied() {
                match due {
                    Due::Leg(key, leg) => self.turn(key, |call, shared| shared.beat(now, call, leg)),
                    Due::Line(key) => self.shared.beat_line(now, key),
                }
            }
        }
        self.shared.tally.missed_beats = self.shared.beats.left_out();
    }

    fn offer_facts(&mut self) {
        for key in std::mem::take(&mut self.shared.untold) {
            self.turn(key, |_, _| {});
        }
    }

    fn sweep(&mut self, now: Instant) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.extend(self.calls.keys());
        for key in keys.drain(..) {
            self.turn(key, |call, shared| shared.look_after(now, call));
        }
        self.shared.look_after_lines(now);
        keys.extend(self.shared.lingering.keys());
        for key in keys.drain(..) {
            self.shared.linger(now, key);
        }
        self.keys = keys;
    }

    fn publish(&mut self) {
        let shared = &mut self.shared;
        let holdings = Holdings {
            calls: shared.index.len(),
            engines: shared.engines + shared.lines.keys().count(),
            lines: shared.lines.keys().count(),
            rtp_sockets: shared.rtp_sockets,
            ports_in_use: shared.ports.in_use(),
            ports_resting: shared.ports.resting(),
        };
        let (lag, up) = (std::mem::take(&mut shared.lag), std::mem::take(&mut shared.up));
        shared.gauges.publish(&shared.tally, &holdings, lag, &up);
    }

    /// Closes what is still open. Answers when to give up waiting.
    fn stop(&mut self, now: Instant) -> Instant {
        let keys: Vec<Key> = self.calls.keys().collect();
        for key in keys {
            self.turn(key, |call, shared| match call.phase {
                Phase::Open => shared.close(now, call, EndReason::EdgeShutdown),
                Phase::Over => {}
            });
        }
        self.shared.close_lines(now);
        now + LINGER
    }

    fn is_alone(&self) -> bool {
        self.shared.lingering.keys().next().is_none()
    }

    /// Does `work` for a call and carries out what comes of it. The wall against faults of our own stands here.
    fn turn(&mut self, key: Key, work: impl FnOnce(&mut Call, &mut Shared)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let shared = &mut self.shared;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            work(call, shared);
            shared.tell_owner(call);
            shared.watch_engine(call);
            shared.watch_hook(call);
        }));
        if outcome.is_err() {
            shared.bury(call);
            shared.tell_owner(call);
        }
        if call.phase == Phase::Over && call.facts.is_empty() {
            shared.index.remove(&call.id);
            shared.inbox.call_went();
            self.calls.remove(key);
        }
    }
}

/// What an order is to a call.
enum Work {
    Order(Box<VoiceOrder>),
    Attach(Box<EngineSocket>),
    Join(Arc<crate::call::Engine>),
    Hook(Box<HookSocket>),
}

impl Shared {
    fn receive_rtp(&mut self, now: Instant, call: &mut Call, leg: LegId) {
        let Some(sockets) = call.leg(leg).map(|leg| &leg.sockets) else { return };
        let Ok((length, from)) = sockets.rtp.recv_from(&mut self.datagram[..]) else { return };
        let congested = self.is_congested(call);
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        call.voice.handle_rtp(now, leg, from, &self.datagram[..length], congested, &mut turn);
        self.shake(now, call, leg);
        if self.speak(now, call) > 0 {
            let kept = Instant::now().saturating_duration_since(now);
            call.voice.count_latency(kept);
            self.up.count(kept);
        }
    }

    fn receive_rtcp(&mut self, now: Instant, call: &mut Call, leg: LegId) {
        let Some(sockets) = call.leg(leg).map(|leg| &leg.sockets) else { return };
        let Ok((length, from)) = sockets.rtcp.recv_from(&mut self.datagram[..]) else { return };
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        call.voice.handle_rtcp(now, leg, from, &self.datagram[..length], &mut turn);
        self.speak(now, call);
    }

    fn receive_messages(&mut self, now: Instant, call: &mut Call) {
        if let Some(own) = call.own_socket() {
            own.link.ready_to_read();
        }
        self.read_messages(now, call);
    }

    fn read_messages(&mut self, now: Instant, call: &mut Call) {
        while let Some(own) = call.own_socket() {
            let received = match own.link.receive() {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(lost) => return self.lose_engine(now, call, lost),
            };
            let message = match &received {
                Received::Text(text) => Incoming::Text(text),
                Received::Binary(bytes) => Incoming::Binary(bytes),
            };
            self.understand(now, call, message);
        }
    }

    /// The engine said something.
    fn understand(&mut self, now: Instant, call: &mut Call, message: Incoming<'_>) {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        let understood = call.voice.handle_message(now, message, &mut turn);
        self.speak(now, call);
        if let Err(fault) = understood {
            let code = fault.close.unwrap_or(1008);
            self.lose_engine(now, call, Lost::protocol(fault.to_string(), code));
        }
    }

    fn flush(&mut self, now: Instant, call: &mut Call) {
        let Some(own) = call.own_socket() else { return };
        if let Err(lost) = own.link.flush(now) {
            self.lose_engine(now, call, lost);
        }
    }

    fn beat(&mut self, now: Instant, call: &mut Call, leg: LegId) {
        let congested = self.is_congested(call);
        let mut packet = [0; media::PACKET_MAX];
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        let sent = call.voice.beat(now, leg, congested, &mut packet, &mut turn);
        self.shake(now, call, leg);
        if let (Some(chunk), Some((to, layout))) = (call.voice.next_chunk(), &call.tape_to) {
            self.recorder.write(call.id, to, *layout, chunk, false);
        }
        if call.hook.is_some() {
            self.say_to_platform(now, call, leg, sent.map(|(length, _)| &packet[..length]));
        } else if let (Some((length, to)), Some(leg)) = (sent, call.leg(leg)) {
            let outcome = leg.sockets.rtp.send_to(&packet[..length], to);
            self.tally.send_errors += u64::from(outcome.is_err());
        }
        self.speak(now, call);
    }

    /// What ten times a second is often enough for.
    fn look_after(&mut self, now: Instant, call: &mut Call) {
        self.report(now, call);
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        call.voice.sweep(now, &mut turn);
        self.speak(now, call);
        self.look_after_hook(now, call);
        let watch = self.config.watch;
        let Some(own) = call.own_socket() else { return };
        if let Err(lost) = own.link.watch(now, &watch) {
            self.lose_engine(now, call, lost);
        }
    }

    fn report(&mut self, now: Instant, call: &mut Call) {
        let mut report = [0; media::REPORT_MAX];
        for leg in &call.legs {
            let Some((length, to)) = call.voice.report(now, leg.id, &mut report) else { continue };
            let outcome = leg.sockets.report(call.voice.shares_port(leg.id)).send_to(&report[..length], to);
            self.tally.send_errors += u64::from(outcome.is_err());
        }
    }

    fn obey(&mut self, now: Instant, call: &mut Call, order: VoiceOrder) {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        match order {
            VoiceOrder::Open { leg, address, inactivity } => {
                return self.open(now, call, leg, address, inactivity);
            }
            VoiceOrder::Negotiated { leg, media } => {
                let seed = self.chance.next_u64();
                call.voice.negotiated(now, SystemTime::now(), seed, leg, &media, &mut turn);
                let key = call.key;
                if let Some(leg) = call.legs.iter_mut().find(|known| known.id == leg && known.seat.is_none())
                {
                    leg.seat = Some(self.beats.add(Due::Leg(key, leg.id)));
                }
                self.shake(now, call, leg);
            }
            VoiceOrder::Tell(event) => call.voice.tell(now, &event, &mut turn),
            VoiceOrder::ResumeEngine { start, away } => call.voice.resume_engine(&start, away, &mut turn),
            VoiceOrder::Announce { leg, audio } => call.voice.announce(now, leg, &audio, &mut turn),
            VoiceOrder::SendDtmf { leg, digits, duration } => {
                if let Err(error) = call.voice.send_dtmf(leg, &digits, duration) {
                    debug!(call = %call.id, %error, "digits were not sent");
                }
            }
            VoiceOrder::Route(route) => call.voice.route(now, route, &mut turn),
            VoiceOrder::Wait { leg, audio } => call.voice.wait(leg, audio),
            VoiceOrder::CloseLeg(leg) => return self.close_leg(now, call, leg),
            VoiceOrder::WatchSilence { caller, engine } => call.voice.watch_silence(caller, engine),
            VoiceOrder::DetectAnswerer { leg } => call.voice.detect_answerer(leg),
            VoiceOrder::Record { leg, mode, to } => {
                call.tape_to = call.voice.record(leg, mode).map(|layout| (to, layout));
            }
            VoiceOrder::PauseRecording(paused) => call.voice.pause_recording(paused),
            VoiceOrder::MaskKeys(masked) => call.voice.mask_keys(masked),
            VoiceOrder::Pressed { leg, digit, duration } => {
                call.voice.pressed(now, leg, digit, duration, DtmfMethod::Info, &mut turn);
            }
            VoiceOrder::Hook(order) => return self.obey_hook(now, call, order),
            VoiceOrder::Drain => call.voice.drain(&mut turn),
            VoiceOrder::DismissEngine(reason) => return self.dismiss(now, call, reason),
            VoiceOrder::Close(reason) => return self.close(now, call, reason),
        }
        self.speak(now, call);
    }

    fn open(&mut self, now: Instant, call: &mut Call, leg: LegId, address: IpAddr, inactivity: Duration) {
        if let Some(known) = call.leg(leg) {
            call.facts.push_back(VoiceFact::Opened { leg, port: known.sockets.port });
            return;
        }
        let opened = LegSockets::open(now, &mut self.ports, address, self.config.traffic_class)
            .map_err(|error| error.to_string())
            .and_then(|sockets| self.watch_leg(now, call.key, leg, sockets));
        call.facts.push_back(match opened {
            Ok(sockets) => {
                let port = sockets.port;
                call.voice.open(leg, inactivity);
                call.legs.push(Leg { id: leg, sockets, seat: None });
                self.rtp_sockets += 1;
                VoiceFact::Opened { leg, port }
            }
            Err(error) => VoiceFact::NotOpened { leg, error },
        });
    }

    fn watch_leg(
        &mut self,
        now: Instant,
        key: Key,
        leg: LegId,
        sockets: LegSockets,
    ) -> Result<LegSockets, String> {
        let rtp = self.poller.add(&sockets.rtp, Token::Rtp(key, leg), Interest::READ);
        let both = rtp.and_then(|()| self.poller.add(&sockets.rtcp, Token::Rtcp(key, leg), Interest::READ));
        match both {
            Ok(()) => Ok(sockets),
            Err(error) => {
                self.ports.give_back(now, sockets.port);
                Err(format!("the poller takes no more sockets: {error}"))
            }
        }
    }

    fn attach(&mut self, now: Instant, call: &mut Call, socket: EngineSocket) {
        let credit = Credit { window: self.config.window, limit: self.config.voice.playout_limit };
        let interpreter = Interpreter::with_rate(socket.dialect, socket.rate, call.id, credit);
        let barge_in = socket.barge_in;
        let link = Link::new(now, socket.websocket, &self.config.watch);
        let token = Token::Engine(call.key);
        if let Err(error) = self.poller.add(&link, token, Interest::READ) {
            call.facts.push_back(VoiceFact::EngineNotReached(EngineFailure::Broken(error.to_string())));
            return;
        }
        if call.engine.is_some() {
            self.dismiss(now, call, EndReason::EngineLost);
        }
        self.engines += 1;
        call.engine = Some(Engine::Own(Box::new(OwnSocket { link, watched: Interest::READ })));
        if !call.voice.is_away() {
            call.voice.attach(interpreter, barge_in);
        }
        call.facts.push_back(VoiceFact::EngineConnected);
        // What came with the answer to the upgrade is in no socket any more: the poller would not tell of it.
        self.read_messages(now, call);
    }

    /// Sends what was written for the engine. Answers how many messages went out at once.
    fn speak(&mut self, now: Instant, call: &mut Call) -> usize {
        let mut said = 0;
        while let Some((form, message)) = self.out.pop() {
            let outcome = match &mut call.engine {
                Some(Engine::Own(own)) => {
                    said += 1;
                    own.link.send(now, form, message)
                }
                Some(Engine::Shared(place)) => {
                    self.say_on_line(now, call.key, place, form, message);
                    Ok(())
                }
                None => Ok(()),
            };
            if let Err(lost) = outcome {
                self.lose_engine(now, call, lost);
            }
        }
        said
    }

    /// The engine is gone, or has to go because of what it did.
    fn lose_engine(&mut self, now: Instant, call: &mut Call, lost: Lost) {
        debug!(call = %call.id, failure = %lost.failure, "engine gone");
        let away = lost.may_come_back() && call.voice.lose();
        if !away {
            call.voice.detach();
        }
        self.let_go(now, call, lost.close);
        let fact = if away { VoiceFact::EngineAway } else { VoiceFact::EngineGone };
        call.facts.push_back(fact(lost.failure));
    }

    /// Tells the engine why, and lets go of it.
    fn dismiss(&mut self, now: Instant, call: &mut Call, reason: EndReason) {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut call.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        call.voice.tell(now, &EngineEvent::Stop(reason), &mut turn);
        self.speak(now, call);
        self.part(now, call, Some(1000));
    }

    /// Lets go of the engine.
    fn part(&mut self, now: Instant, call: &mut Call, code: Option<u16>) {
        call.voice.detach();
        self.let_go(now, call, code);
    }

    /// Lets go of the engine's socket: with a code it is closed in order, without one it is gone already.
    fn let_go(&mut self, now: Instant, call: &mut Call, code: Option<u16>) {
        self.out.clear();
        let mut link = match call.engine.take() {
            Some(Engine::Own(own)) => own.link,
            Some(Engine::Shared(place)) => return self.leave_line(now, place, code),
            None => return,
        };
        self.engines -= 1;
        let Some(code) = code else { return };
        link.close(code);
        self.say_farewell(now, link, None);
    }

    /// A socket that is closed waits for the engine's end.
    fn say_farewell(&mut self, now: Instant, link: Link, hook: Option<AudioHook>) {
        let until = now + if hook.is_some() { hooks::LAST_WORD } else { LINGER };
        let key = self.lingering.insert(Farewell { link, hook, until });
        let Some(farewell) = self.lingering.get_mut(key) else { return };
        if self.poller.modify(&farewell.link, Token::Lingering(key), Interest::READ).is_err() {
            self.lingering.remove(key);
        }
    }

    fn linger(&mut self, now: Instant, key: Key) {
        let Self { lingering, to_platform, datagram, .. } = self;
        let Some(farewell) = lingering.get_mut(key) else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| match farewell.hook.take() {
            Some(hook) => hooks::hear_last_word(now, farewell, hook, to_platform),
            None => farewell.link.linger(&mut datagram[..]),
        }));
        match outcome.unwrap_or(Lingering::Closed) {
            Lingering::Open if now < farewell.until => {}
            Lingering::Open | Lingering::Closed => {
                self.lingering.remove(key);
            }
        }
    }

    fn close(&mut self, now: Instant, call: &mut Call, reason: EndReason) {
        self.dismiss(now, call, reason);
        let mut packet = [0; media::REPORT_MAX];
        for leg in &call.legs {
            if let Some((length, to)) = call.voice.farewell(now, leg.id, &mut packet) {
                let outcome =
                    leg.sockets.report(call.voice.shares_port(leg.id)).send_to(&packet[..length], to);
                self.tally.send_errors += u64::from(outcome.is_err());
            }
        }
        self.close_legs(now, call);
        self.close_hook(now, call);
        if let (Some(rest), Some((to, layout))) = (call.voice.end_recording(), call.tape_to.take()) {
            self.recorder.write(call.id, &to, layout, rest, true);
        }
        call.facts.push_back(VoiceFact::Closed(call.voice.summary(now)));
        call.phase = Phase::Over;
    }

    fn close_leg(&mut self, now: Instant, call: &mut Call, leg: LegId) {
        let Some(place) = call.legs.iter().position(|known| known.id == leg) else { return };
        let mut packet = [0; media::REPORT_MAX];
        let Leg { id, sockets, seat } = call.legs.swap_remove(place);
        if let Some((length, to)) = call.voice.farewell(now, id, &mut packet) {
            let outcome = sockets.report(call.voice.shares_port(id)).send_to(&packet[..length], to);
            self.tally.send_errors += u64::from(outcome.is_err());
        }
        if let Some(seat) = seat {
            self.beats.remove(seat, Due::Leg(call.key, id));
        }
        self.ports.give_back(now, sockets.port);
        self.rtp_sockets -= 1;
        call.voice.close(now, id);
    }

    fn close_legs(&mut self, now: Instant, call: &mut Call) {
        for Leg { id, sockets, seat } in call.legs.drain(..) {
            if let Some(seat) = seat {
                self.beats.remove(seat, Due::Leg(call.key, id));
            }
            self.ports.give_back(now, sockets.port);
            self.rtp_sockets -= 1;
        }
    }

    /// A fault of our own struck in this call: nothing of it can be trusted, so all of it goes.
    fn bury(&mut self, call: &mut Call) {
        error!(call = %call.id, "a fault in the voice of a call; the call ends");
        self.tally.panics += 1;
        self.out.clear();
        self.scratch.clear();
        let now = Instant::now();
        call.voice = Voice::new(self.config.voice);
        self.part(now, call, Some(1011));
        self.close_legs(now, call);
        self.close_hook(now, call);
        if let Some((to, layout)) = call.tape_to.take() {
            self.recorder.write(call.id, &to, layout, Vec::new(), true);
        }
        call.phase = Phase::Over;
        call.facts.push_back(VoiceFact::EngineGone(EngineFailure::Broken("a fault of the edge".into())));
        call.facts.push_back(VoiceFact::Closed(call.voice.summary(now)));
    }

    /// Offers the call's facts to its owner; what is not taken is offered again.
    fn tell_owner(&mut self, call: &mut Call) {
        while let Some(fact) = call.facts.pop_front() {
            match self.facts.try_send((call.id, fact)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, fact))) => {
                    call.facts.push_front(fact);
                    if !self.untold.contains(&call.key) {
                        self.untold.push(call.key);
                    }
                    return;
                }
                Err(TrySendError::Closed(_)) => {
                    // Nobody is left to tell: the process is going down.
                    call.facts.clear();
                    return;
                }
            }
        }
    }

    fn watch_engine(&mut self, call: &mut Call) {
        let (key, read) = (call.key, call.is_listening());
        let Some(own) = call.own_socket() else { return };
        let wanted = Interest { read, write: own.link.waits_for_room() };
        if own.watched == wanted {
            return;
        }
        own.watched = wanted;
        if let Err(error) = self.poller.modify(&own.link, Token::Engine(key), wanted) {
            warn!(call = %call.id, %error, "an engine's socket cannot be watched");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::FIRST_LEG;
    use tokio::sync::mpsc::{Receiver, channel};

    #[test]
    fn a_fault_in_one_call_ends_that_call_and_no_other() {
        let (mut worker, mut facts) = worker();
        let (faulty, sound) = (call(1), call(2));
        for id in [faulty, sound] {
            let key = worker.key_of(id);
            let open = VoiceOrder::Open {
                leg: FIRST_LEG,
                address: [127, 0, 0, 1].into(),
                inactivity: Duration::from_secs(30),
            };
            worker.turn(key, |call, shared| shared.obey(Instant::now(), call, open));
        }
        while facts.try_recv().is_ok() {}

        let key = worker.key_of(faulty);
        worker.turn(key, |_, _| panic!("as a fault of ours would"));

        let told: Vec<_> = std::iter::from_fn(|| facts.try_recv().ok()).collect();
        assert!(
            matches!(&told[..], [(a, VoiceFact::EngineGone(_)), (b, VoiceFact::Closed(_))]
                if *a == faulty && *b == faulty),
            "{told:?}"
        );
        assert_eq!((worker.shared.rtp_sockets, worker.shared.ports.in_use()), (1, 1));
        assert_eq!(worker.shared.tally.panics, 1);
        let key = worker.key_of(sound);
        assert_eq!(worker.calls.get_mut(key).map(|call| call.legs.len()), Some(1));
    }

    fn worker() -> (Worker, Receiver<(CallId, VoiceFact)>) {
        let (sender, facts) = channel(64);
        let config = WorkerConfig::default();
        let ports = PortPool::new(config.ports.clone(), config.quarantine, u64::from(std::process::id()));
        let inbox = Arc::new(Inbox::new(8).unwrap());
        let (recorder, _thread) = Recorder::start().unwrap();
        (Worker::new(0, config, ports, inbox, sender, recorder).unwrap(), facts)
    }

    fn call(number: u8) -> CallId {
        format!("call_01ARZ3NDEKTSV4RRFFQ69G5F{number:02}").parse().unwrap()
    }
}
