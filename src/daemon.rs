//! Puts the parts together and carries out what the exchange wants done. Decides nothing.
//!
//! ```text
//!   start: store -> recover -> workers -> SIP sockets -> API -> webhook sender -> ready
//!   stop:  no new calls -> calls end, or the limit passes -> workers -> sender -> API -> store
//! ```
//! The desk is the one task that owns the exchange, the SIP sockets and the workers' handles: it takes one input, carries
//! out every output, and waits again.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell: it has a clock and sockets"
)]

mod hooks;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::api::{
    self, Api, Commands, Credentials, Gates, Hooks, Intake, Order, Phase, ProviderHealth, Serving,
};
use crate::bridge::{Dialler, EngineSocket, Lines, SocketLimits};
use crate::call::{
    Answer, CallId, CallTable, Engine, EngineFailure, Exchange, FetchId, Health, Output, ProviderKey,
    RecordNumber, RequestId, Settings, VoiceFact, WebAnswer, WebFailure,
};
use crate::config::Config;
use crate::crypto;
use crate::directory::Directory;
use crate::net::{Heard, Net, Tls};
use crate::store::{Location, Recovered, Store, StoreError, StoreOptions};
use crate::webhook::{self, Fetcher, WebhookSettings};
use crate::worker::{WorkerConfig, Workers};

/// Facts of workers that wait for the desk; a worker keeps what does not fit.
const FACTS: usize = 4096;
/// Inputs of one kind that are taken before the others are looked at.
const BURST: usize = 64;
/// How often the numbers that are read off a state are written down.
const LOOK: Duration = Duration::from_secs(1);
/// How often the wall clock is followed.
const WALL: Duration = Duration::from_secs(30);
/// How soon a worker's full queue is tried again.
const AGAIN: Duration = Duration::from_millis(5);
/// How long requests to applications that are under way may take when the desk ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// A socket, a thread.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A running daemon.
pub struct Daemon {
    /// The addresses SIP is heard on, in the order of the configuration.
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    /// The address of the API.
    pub http: SocketAddr,
    /// What is kept.
    pub store: Store,
    control: mpsc::Sender<Control>,
    reloads: mpsc::Sender<Config>,
    phase: watch::Receiver<Phase>,
    ended: watch::Receiver<bool>,
    webhooks: watch::Sender<WebhookSettings>,
    credentials: watch::Sender<Arc<Credentials>>,
    brought: watch::Receiver<u64>,
    intakes: watch::Sender<Arc<BTreeMap<String, Intake>>>,
    desk: JoinHandle<()>,
    sender: JoinHandle<()>,
    stop_sender: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
    phases: watch::Sender<Phase>,
}

enum Control {
    Settings(Arc<Settings>, Tls),
    Drain,
    Stop,
    /// Answered when its turn comes: the desk is alive.
    Alive(oneshot::Sender<()>),
}

impl Daemon {
    /// Opens everything the configuration names.
    ///
    /// # Errors
    /// The first thing that cannot be had. What was opened before is closed again.
    pub async fn start(config: Config, location: Location) -> Result<Self, StartError> {
        let metrics = recorder();
        let options = StoreOptions { retention: config.store.keep, ..StoreOptions::default() };
        let (store, recovered) = Store::open(location, &options)?;
        let (facts_in, facts) = mpsc::channel(FACTS);
        let workers = Workers::start(&worker_config(&config), &facts_in)
            .map_err(|error| StartError::System { what: "voice workers cannot be started".into(), error })?;
        let directory = Directory::open(config.clone()).await;
        let (located, tls) = directory.now();
        let (settings, settings_seen) = watch::channel(located.clone());
        let (mut net, heard, sip_addresses) = listen(&config, settings_seen.clone()).await?;
        net.secure(tls);
        let http_failed = |error| {
            let what = format!("cannot listen on http {}", config.http.listen);
            StartError::System { what, error }
        };
        let listener = TcpListener::bind(config.http.listen).await.map_err(http_failed)?;
        let http = listener.local_addr().map_err(http_failed)?;

        let now = Instant::now();
        let mut exchange = Exchange::new(
            now,
            SystemTime::now(),
            u64::from_le_bytes(crypto::random()),
            located.clone(),
            sip_config(&config, &located, &sip_addresses),
        );
        exchange.draw_keys_from(crypto::random());
        let (commands, orders) = Commands::queue();
        let table = Arc::new(CallTable::with_capacity(config.settings.max_calls));
        let (phases, phase) = watch::channel(Phase::Serving);
        let (health_told, health) = watch::channel(ProviderHealth::default());
        let (control, controls) = mpsc::channel(8);
        let (dialled_in, dialled) = mpsc::channel(FACTS);
        let (fetched_in, fetched) = mpsc::channel(FACTS);
        let (hooks, opened) = Hooks::new();
        tokio::spawn(hooks::receive(opened, dialled_in.clone()));
        let (webhooks, webhooks_seen) = watch::channel(config.webhooks.clone());
        let mut desk = Desk {
            exchange,
            net,
            workers,
            store: store.clone(),
            table: table.clone(),
            dialler: Dialler::new(SocketLimits::default(), rustls::RootCertStore::empty()),
            dialling: JoinSet::new(),
            dialled_in,
            lines: Lines::default(),
            fetcher: Fetcher::new(webhooks_seen.clone()),
            fetching: JoinSet::new(),
            fetched_in,
            waiting: HashMap::new(),
            replies: VecDeque::new(),
            leaving: VecDeque::new(),
            newest: RecordNumber::default(),
            durable: RecordNumber::default(),
            health: BTreeMap::new(),
            health_told,
            settings,
            next_request: 0,
            drained: false,
        };
        desk.recover(now, recovered).await;
        let inputs = Inputs { heard, facts, orders, controls, dialled, fetched, durable: store.durable() };
        let (ends, ended) = watch::channel(false);
        let desk = tokio::spawn(desk.run(inputs, phases.clone(), ends));

        let (reloads, reloaded) = mpsc::channel(2);
        let to_desk = control.clone();
        tokio::spawn(directory.follow(reloaded, async move |settings, tls| {
            to_desk.send(Control::Settings(settings, tls)).await.is_ok()
        }));

        let (brought, brought_seen) = watch::channel(0);
        let (intakes, intakes_seen) = watch::channel(config.intakes.clone());
        let (credentials, credentials_seen) = watch::channel(config.credentials.clone());
        let (stop_sender, stop) = oneshot::channel::<()>();
        let stopped = async {
            let _the_daemon_is_gone = stop.await;
        };
        let sender = tokio::spawn(webhook::run(store.clone(), webhooks_seen, SystemTime::now, stopped));
        let router = Api {
            commands,
            calls: table,
            store: store.clone(),
            settings: settings_seen,
            health,
            phase: phase.clone(),
            metrics: Arc::new(move || metrics.render()),
            metrics_access: config.http.metrics,
            credentials: credentials_seen,
            brought,
            intakes: intakes_seen,
            gates: Gates::default(),
            hooks,
            streams: Arc::new(Semaphore::new(config.http.max_event_streams)),
        }
        .into_router();
        let serving = Serving { tls: config.http.tls.clone(), max_connections: config.http.max_connections };
        let served = tokio::spawn(api::serve(listener, router, serving, phase.clone()));
        let listeners = config.sip.listen.iter().map(|listen| listen.transport);
        Ok(Self {
            sip: listeners.zip(sip_addresses).collect(),
            http,
            store,
            control,
            reloads,
            phase,
            ended,
            webhooks,
            credentials,
            brought: brought_seen,
            intakes,
            desk,
            sender,
            stop_sender,
            served,
            phases,
        })
    }

    /// Puts a new configuration into effect: all that can change while calls run. Addresses, ports, paths and threads
    /// stay as they are until the next start.
    pub async fn reload(&self, config: Config) {
        self.webhooks.send_replace(config.webhooks.clone());
        self.credentials.send_replace(config.credentials.clone());
        self.intakes.send_replace(config.intakes.clone());
        let _the_directory_has_ended = self.reloads.send(config).await;
    }

    /// No new calls. [`Self::stopped`] returns when those that run have ended.
    pub async fn drain(&self) {
        let _the_desk_has_ended = self.control.send(Control::Drain).await;
    }

    /// No new calls, and those that run are ended now.
    pub async fn stop(&self) {
        let _the_desk_has_ended = self.control.send(Control::Stop).await;
    }

    /// Whether the desk still takes its turns, and whether what it tells reaches the disk: for the watchdog.
    pub async fn is_alive(&self, patience: Duration) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked =
            async { self.control.send(Control::Alive(answer)).await.is_ok() && answered.await.is_ok() };
        tokio::time::timeout(patience, asked).await.unwrap_or(false)
    }

    /// Changes when a value was brought over the API that the configuration refers to: it is to be read again.
    pub fn brought(&self) -> watch::Receiver<u64> {
        self.brought.clone()
    }

    /// Where the daemon is.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Waits until a drain is over.
    pub async fn calls_ended(&self) {
        let mut ended = self.ended.clone();
        let _the_desk_is_gone = ended.wait_for(|ended| *ended).await;
    }

    /// Waits until a drain is over, then closes everything: workers, sender, API, store, in this order.
    pub async fn stopped(self) {
        if let Err(error) = self.desk.await {
            tracing::error!(%error, "the desk has ended in panic");
        }
        let _gone = self.stop_sender.send(());
        if let Err(error) = self.sender.await {
            tracing::error!(%error, "the webhook sender has ended in panic");
        }
        self.phases.send_replace(Phase::Stopped);
        match self.served.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the API's listener broke"),
            Err(error) => tracing::error!(%error, "the API has ended in panic"),
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store was not closed in order");
        }
    }
}

/// The recorder is the process's; a second daemon in one process shares it.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || match PrometheusBuilder::new().install_recorder() {
        Ok(handle) => handle,
        Err(error) => {
            tracing::warn!(%error, "another recorder of metrics is installed; /metrics stays empty");
            PrometheusBuilder::new().build_recorder().handle()
        }
    };
    RECORDER.get_or_init(install).clone()
}

fn worker_config(config: &Config) -> WorkerConfig {
    let mut workers = WorkerConfig {
        threads: config.media.workers,
        ports: config.media.ports.clone(),
        quarantine: config.media.port_quarantine,
        seed: u64::from_le_bytes(crypto::random()),
        ..WorkerConfig::default()
    };
    workers.voice.reorder_wait = config.media.reorder;
    workers.voice.conceal = config.media.conceal;
    workers
}

async fn listen(
    config: &Config,
    settings: watch::Receiver<Arc<Settings>>,
) -> Result<(Net, mpsc::Receiver<Heard>, Vec<SocketAddr>), StartError> {
    let listeners: Vec<_> =
        config.sip.listen.iter().map(|listen| (listen.transport, listen.address)).collect();
    let admit = Arc::new(move |source: IpAddr| settings.borrow().admits(source));
    Net::listen(&listeners, admit)
        .await
        .map_err(|error| StartError::System { what: "SIP cannot be heard".into(), error })
}

/// How the listeners are written in Via and Contact: the advertised address, else their own, else the one that this
/// machine would use towards the first target.
fn sip_config(config: &Config, settings: &Settings, bound: &[SocketAddr]) -> sip::Config {
    let locals = config.sip.listen.iter().zip(bound).map(|(listen, bound)| {
        let mut local = sip::Local::new(listen.transport, *bound);
        let shown = config.sip.advertise.or_else(|| bound.ip().is_unspecified().then(|| outward(settings)));
        if let Some(shown) = shown {
            local.host = sip::Local::new(listen.transport, SocketAddr::new(shown, bound.port())).host;
        }
        local
    });
    sip::Config::new(config.sip.user_agent.clone(), locals.collect())
}

/// Connecting a datagram socket sends nothing; it only asks the routing table.
fn outward(settings: &Settings) -> IpAddr {
    let providers = settings.providers.values();
    let target = providers.flat_map(|provider| &provider.trunk.targets).map(|at| at.target.address).next();
    let target = target.unwrap_or(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    std::net::UdpSocket::bind(any)
        .and_then(|socket| socket.connect(target).and_then(|()| socket.local_addr()))
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

type Fetched = (FetchId, Result<WebAnswer, WebFailure>);

/// A dial has come to its end.
enum Dialled {
    /// A call's own.
    Call(CallId, Result<EngineSocket, EngineFailure>),
    /// One for the calls of a worker to share.
    Line(usize, Arc<Engine>, Result<EngineSocket, EngineFailure>),
    /// The other way round: a platform has opened a session.
    Hook(Box<hooks::Greeted>),
}

/// What the desk waits for.
struct Inputs {
    heard: mpsc::Receiver<Heard>,
    facts: mpsc::Receiver<(CallId, VoiceFact)>,
    orders: mpsc::Receiver<Order>,
    controls: mpsc::Receiver<Control>,
    dialled: mpsc::Receiver<Dialled>,
    fetched: mpsc::Receiver<Fetched>,
    durable: watch::Receiver<RecordNumber>,
}

/// The owner of the exchange.
struct Desk {
    exchange: Exchange,
    net: Net,
    workers: Workers,
    store: Store,
    table: Arc<CallTable>,
    dialler: Dialler,
    dialling: JoinSet<()>,
    dialled_in: mpsc::Sender<Dialled>,
    lines: Lines,
    fetcher: Fetcher,
    fetching: JoinSet<()>,
    fetched_in: mpsc::Sender<Fetched>,
    /// Who waits for the answer to which command.
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// Answers that wait for the disk; what they wait for only grows.
    replies: VecDeque<(RecordNumber, RequestId, Answer)>,
    /// Calls that leave the table when their last record is on disk.
    leaving: VecDeque<(RecordNumber, CallId)>,
    newest: RecordNumber,
    durable: RecordNumber,
    health: BTreeMap<ProviderKey, Health>,
    health_told: watch::Sender<ProviderHealth>,
    settings: watch::Sender<Arc<Settings>>,
    next_request: u64,
    drained: bool,
}

impl Desk {
    async fn recover(&mut self, now: Instant, recovered: Recovered) {
        let closed = recovered.open_calls.len();
        if closed > 0 {
            tracing::warn!(calls = closed, "calls of the last run are closed: it ended without ending them");
        }
        let mut keys = Vec::new();
        for (tenant, key, call) in recovered.idempotency {
            if let Ok(Some(record)) = self.store.call(tenant.clone(), call).await {
                keys.push((tenant, key, Arc::new(record)));
            }
        }
        self.exchange.recover(now, recovered.open_calls, keys);
        self.carry_out(now);
    }

    async fn run(mut self, mut inputs: Inputs, phases: watch::Sender<Phase>, ends: watch::Sender<bool>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut wall = interval(WALL);
        wall.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut flushed = true;
        while !self.drained {
            let wake = self.exchange.poll_timeout();
            let wake = if flushed { wake } else { Some(Instant::now() + AGAIN) };
            let idle = Instant::now() + LOOK;
            tokio::select! {
                biased;
                Some((call, fact)) = inputs.facts.recv() => {
                    self.take_facts(call, fact, &mut inputs.facts);
                }
                Some(heard) = inputs.heard.recv() => self.take_heard(heard, &mut inputs.heard),
                Some(dialled) = inputs.dialled.recv() => self.take_dialled(dialled),
                Some((id, fetched)) = inputs.fetched.recv() => {
                    self.exchange.handle_fetched(Instant::now(), id, fetched);
                }
                Some((command, answer)) = inputs.orders.recv() => {
                    self.next_request += 1;
                    let id = RequestId(self.next_request);
                    self.waiting.insert(id, answer);
                    self.exchange.handle_command(Instant::now(), id, command);
                }
                Ok(()) = inputs.durable.changed() => {
                    let durable = *inputs.durable.borrow_and_update();
                    self.take_durable(durable);
                }
                Some(control) = inputs.controls.recv() => match control {
                    Control::Settings(settings, tls) => {
                        self.net.secure(tls);
                        self.settings.send_replace(settings.clone());
                        self.exchange.handle_settings(Instant::now(), settings);
                    }
                    Control::Drain => {
                        phases.send_replace(Phase::Draining);
                        self.exchange.drain(Instant::now());
                    }
                    Control::Stop => {
                        phases.send_replace(Phase::Draining);
                        self.exchange.stop(Instant::now());
                    }
                    Control::Alive(answer) => {
                        let _nobody_waits = answer.send(());
                    }
                },
                Some(_) = self.dialling.join_next() => {}
                Some(_) = self.fetching.join_next() => {}
                _ = look.tick() => self.look(),
                _ = wall.tick() => self.exchange.handle_wall_clock(Instant::now(), SystemTime::now()),
                () = sleep_until(wake.unwrap_or(idle).into()) => {}
            }
            let now = Instant::now();
            if self.exchange.poll_timeout().is_some_and(|at| at <= now) {
                self.exchange.handle_timeout(now);
            }
            self.carry_out(now);
            flushed = self.workers.flush();
        }
        ends.send_replace(true);
        self.close(inputs.durable).await;
    }

    /// The last records are on disk before anything else ends.
    async fn close(mut self, mut durable: watch::Receiver<RecordNumber>) {
        // The last that applications are told goes out, as far as they answer.
        let told = async { while self.fetching.join_next().await.is_some() {} };
        let _some_are_left = tokio::time::timeout(LAST_WORDS, told).await;
        let newest = self.newest;
        let saved = durable.wait_for(|durable| *durable >= newest);
        if tokio::time::timeout(Duration::from_secs(10), saved).await.is_err() {
            tracing::error!("the last records could not be saved in time");
        }
        self.take_durable(newest);
        let workers = self.workers;
        let ended = tokio::task::spawn_blocking(move || workers.shutdown()).await;
        if let Err(error) = ended {
            tracing::error!(%error, "the voice workers were not ended in order");
        }
    }

    fn take_facts(&mut self, call: CallId, fact: VoiceFact, more: &mut mpsc::Receiver<(CallId, VoiceFact)>) {
        self.take_fact(call, fact);
        for _ in 0..BURST {
            let Ok((call, fact)) = more.try_recv() else { return };
            self.take_fact(call, fact);
        }
    }

    fn take_fact(&mut self, call: CallId, fact: VoiceFact) {
        if let VoiceFact::EngineToDial { engine, handed } = &fact {
            self.dial_line(call, engine, *handed);
        }
        self.exchange.handle_voice(Instant::now(), call, fact);
    }

    /// The call's worker has no socket to the engine's node that the call could share.
    fn dial_line(&mut self, call: CallId, engine: &Arc<Engine>, handed: u64) {
        // A call that is closed has no worker any more.
        let Some(worker) = self.workers.worker_of(call) else { return };
        if self.workers.lines_handed(worker) > handed {
            // Another one is on its way to the worker; it may be the one.
            return self.join(call, engine.clone());
        }
        if self.lines.wait_for(worker, engine.clone(), call) {
            let (dialler, dialled, engine) = (self.dialler.clone(), self.dialled_in.clone(), engine.clone());
            self.dialling.spawn(async move {
                let outcome = dialler.dial(&engine).await;
                let _the_desk_has_ended = dialled.send(Dialled::Line(worker, engine, outcome)).await;
            });
        }
    }

    fn take_heard(&mut self, heard: Heard, more: &mut mpsc::Receiver<Heard>) {
        self.take_one_heard(heard);
        for _ in 0..BURST {
            let Ok(heard) = more.try_recv() else { return };
            self.take_one_heard(heard);
        }
    }

    fn take_one_heard(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Message { flow, wire, at } => {
                self.exchange.handle_wait(now, now.saturating_duration_since(at));
                tracing::trace!(peer = %flow.peer, bytes = wire.len(), "received");
                self.exchange.handle_sip(now, flow, wire);
            }
            Heard::Broken { flow, wire } => {
                self.exchange.handle_sip(now, flow, wire);
                self.carry_out(now);
                if let Some(connection) = flow.connection {
                    self.net.hang_up(connection);
                }
            }
            Heard::Ping { flow } => self.net.pong(flow),
            Heard::Opened { connection, transport, peer, sender } => {
                self.net.opened(connection, transport, peer, sender);
            }
            Heard::Closed { connection, transport, peer, side } => {
                self.net.closed(connection);
                self.exchange.handle_connection_lost(now, connection);
                // What went out on a stream of our own may never have been heard on it: only its address is known.
                if side == sip::Side::Dialled {
                    self.exchange.handle_send_failure(now, transport, peer);
                }
            }
            Heard::NotOpened { connection, transport, peer, reason } => {
                tracing::debug!(transport = transport.as_param(), %peer, reason, "no stream could be opened");
                self.net.closed(connection);
                self.exchange.handle_send_failure(now, transport, peer);
            }
        }
    }

    fn take_dialled(&mut self, dialled: Dialled) {
        match dialled {
            Dialled::Hook(greeted) => self.take_greeted(*greeted),
            Dialled::Call(call, Ok(socket)) => {
                if self.workers.attach(call, socket).is_err() {
                    self.not_reached(call, overloaded());
                }
            }
            Dialled::Call(call, Err(failure)) => self.not_reached(call, failure),
            Dialled::Line(worker, node, outcome) => {
                let waiting = self.lines.dialled(worker, &node);
                let calls: Vec<CallId> = waiting.iter().map(|(call, _)| *call).collect();
                let handed = outcome.and_then(|socket| {
                    self.workers.open_line(worker, node, socket, waiting).map_err(|_| overloaded())
                });
                if let Err(failure) = handed {
                    calls.into_iter().for_each(|call| self.not_reached(call, failure.clone()));
                }
            }
        }
    }

    fn join(&mut self, call: CallId, engine: Arc<Engine>) {
        if self.workers.join(call, engine).is_err() {
            self.not_reached(call, overloaded());
        }
    }

    fn not_reached(&mut self, call: CallId, failure: EngineFailure) {
        self.exchange.handle_voice(Instant::now(), call, VoiceFact::EngineNotReached(failure));
    }

    fn take_durable(&mut self, durable: RecordNumber) {
        self.durable = durable;
        self.exchange.handle_durable(durable);
        while self.replies.front().is_some_and(|(after, ..)| *after <= durable) {
            if let Some((_, to, answer)) = self.replies.pop_front() {
                self.answer(to, answer);
            }
        }
        while self.leaving.front().is_some_and(|(after, _)| *after <= durable) {
            if let Some((_, call)) = self.leaving.pop_front() {
                self.table.remove(call);
            }
        }
    }

    fn answer(&mut self, to: RequestId, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&to) {
            // Whoever asked may have gone away; what was done is done.
            let _gone = waiting.send(answer);
        }
    }

    fn carry_out(&mut self, now: Instant) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    tracing::trace!(peer = %transmit.to, bytes = transmit.payload.len(), "sent");
                    if let Err(not_sent) = self.net.send(transmit) {
                        self.exchange.handle_send_failure(now, not_sent.transport, not_sent.to);
                    }
                }
                Output::Voice { call, order } => {
                    if self.workers.order(call, order).is_err() {
                        // The call's deadlines end what cannot be carried out.
                        metrics::counter!("callingedge_voice_orders_lost_total").increment(1);
                        tracing::error!(%call, "the voice workers do not keep up: an order is lost");
                    }
                }
                Output::DialEngine { call, engine } if engine.dialect.shares_socket() => {
                    self.join(call, engine)
                }
                Output::DialEngine { call, engine } => {
                    let (dialler, dialled) = (self.dialler.clone(), self.dialled_in.clone());
                    self.dialling.spawn(async move {
                        let outcome = dialler.dial(&engine).await;
                        let _the_desk_has_ended = dialled.send(Dialled::Call(call, outcome)).await;
                    });
                }
                Output::Fetch { id, request } => {
                    let (fetch, fetched) = (self.fetcher.fetch(*request), self.fetched_in.clone());
                    self.fetching.spawn(async move {
                        let outcome = fetch.send().await;
                        let _the_desk_has_ended = fetched.send((id, outcome)).await;
                    });
                }
                Output::Keep { number, record } => {
                    self.newest = number;
                    self.store.keep(number, record);
                }
                Output::Publish(record) => self.table.publish(record),
                Output::Forget(call) => self.leaving.push_back((self.newest, call)),
                Output::Reply { to, after, answer } if after <= self.durable => self.answer(to, answer),
                Output::Reply { to, after, answer } => self.replies.push_back((after, to, answer)),
                Output::Health { provider, health } => {
                    self.health.insert(provider, health);
                    self.health_told.send_replace(Arc::new(self.health.clone()));
                }
                Output::Drained => self.drained = true,
            }
        }
    }

    /// Numbers that are read off a state instead of being counted.
    fn look(&self) {
        let tally = self.exchange.tally();
        gauge!("callingedge_calls").set(tally.calls as f64);
        gauge!("callingedge_sip_call_dialogs").set(tally.dialogs as f64);
        gauge!("callingedge_sip_dialogs").set(tally.sip.dialogs as f64);
        gauge!("callingedge_sip_client_transactions").set(tally.sip.client_transactions as f64);
        gauge!("callingedge_sip_server_transactions").set(tally.sip.server_transactions as f64);
        gauge!("callingedge_sip_timers").set(tally.sip.timers as f64);
        gauge!("callingedge_sip_streams").set(self.net.open_streams() as f64);
        gauge!("callingedge_records_unsaved").set(tally.unsaved as f64);
        gauge!("callingedge_engines_dialling").set(self.dialling.len() as f64);
        gauge!("callingedge_tasks").set(tokio::runtime::Handle::current().metrics().num_alive_tasks() as f64);
        gauge!("callingedge_open_files").set(open_files() as f64);
        gauge!("callingedge_sip_registrations", "state" => "registered").set(tally.registered as f64);
        gauge!("callingedge_sip_registrations", "state" => "missing")
            .set((tally.to_register - tally.registered) as f64);
        metrics::counter!("callingedge_calls_admitted_total").absolute(tally.admitted);
        metrics::counter!("callingedge_calls_placed_total").absolute(tally.placed);
        metrics::counter!("callingedge_invites_refused_total").absolute(tally.refused);
        metrics::counter!("callingedge_sip_sessions_expired_total").absolute(tally.sessions_expired);
        metrics::counter!("callingedge_calls_challenged_total").absolute(tally.challenged);
        metrics::counter!("callingedge_calls_unproven_total").absolute(tally.unproven);
        metrics::counter!("callingedge_calls_too_fast_total").absolute(tally.too_fast);
        metrics::counter!("callingedge_destinations_forbidden_total").absolute(tally.forbidden);
        metrics::counter!("callingedge_engines_replaced_total").absolute(tally.stood_in);
        metrics::counter!("callingedge_engines_resumed_total").absolute(tally.resumed);
        metrics::counter!("callingedge_engines_not_resumed_total").absolute(tally.not_resumed);
        gauge!("callingedge_engines_left_alone").set(tally.left_alone as f64);
        gauge!("callingedge_application_requests").set(self.fetching.len() as f64);
        metrics::counter!("callingedge_application_callbacks_dropped_total").absolute(tally.untold);
        metrics::counter!("callingedge_requests_of_unknown_sources_total").absolute(tally.unknown);
        gauge!("callingedge_sip_banned_sources").set(tally.banned as f64);
        metrics::counter!("callingedge_sip_bans_total").absolute(tally.bans);
        metrics::counter!("callingedge_calls_shed_total").absolute(tally.shed);
        for (reason, is_so) in [("late", tally.is_late), ("disk", tally.is_full)] {
            gauge!("callingedge_overloaded", "reason" => reason).set(f64::from(u8::from(is_so)));
        }
        let dropped = [
            ("banned", tally.unheard),
            ("malformed", tally.dropped.malformed),
            ("unanswered", tally.dropped.unanswered),
            ("stray_response", tally.dropped.stray_responses),
            ("stray_ack", tally.dropped.stray_acks),
            ("overload", tally.dropped.overload),
        ];
        for (reason, count) in dropped {
            metrics::counter!("callingedge_sip_dropped_total", "reason" => reason).absolute(count);
        }
    }
}

fn overloaded() -> EngineFailure {
    EngineFailure::Broken("the voice workers do not keep up".into())
}

/// File descriptors of this process; 0 where the system does not tell.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
