//! Carries the outbox out: reads from the store, posts, writes down. Decides nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderName, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use metrics::{counter, gauge, histogram};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};

use super::connect::{self, HttpClient};
use super::outbox::{Outbox, Output};
use super::receiver::ReceiverUrl;
use super::settings::WebhookSettings;
use super::signature::sign;
use super::verdict::{Failure, Verdict};
use crate::call::{Timestamp, WallClock};
use crate::store::{
    Backlog, DeliveryId, Outgoing, ReceiverId, Settled, Step, Store, StoreError, WaitingPage,
};

/// How much of a response's body is read, and for how long, so that the connection can be used again.
const LONGEST_BODY: (usize, Duration) = (64 * 1024, Duration::from_secs(1));

/// How long posts are begun after the sender was told to stop: the last events of calls that ended with the edge.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long posts under way may take when the sender is told to stop. What is not over by then is sent again after the
/// next start.
const FAREWELL: Duration = Duration::from_secs(5);

/// Between two looks at the whole backlog, for the metrics, and at the wall clock.
const LOOK: Duration = Duration::from_secs(15);

/// Delivers what is in the store's outbox until `stop` is ready. `wall` is the wall clock (`SystemTime::now`). One sender
/// a store.
pub async fn run(
    store: Store,
    mut settings: watch::Receiver<WebhookSettings>,
    wall: impl Fn() -> SystemTime + Send,
    stop: impl Future<Output = ()> + Send,
) {
    let current = settings.borrow_and_update().clone();
    let mut sender = Sender::new(store, current, WallClock::new(now(), wall()));
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reloads = true;
    tokio::pin!(stop);
    loop {
        sender.carry_out();
        let wake = sender.outbox.poll_timeout().map(Instant::from_std);
        tokio::select! {
            Some(done) = sender.tasks.join_next() => sender.finish(done.ok()),
            change = sender.store.outbox_changed() => sender.outbox.handle_changed(now(), &change),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                sender.outbox.handle_timeout(now());
            }
            changed = settings.changed(), if reloads => match changed {
                Ok(()) => sender.adopt(settings.borrow_and_update().clone()),
                Err(_) => reloads = false,
            },
            _ = look.tick() => sender.look(WallClock::new(now(), wall())),
            () = &mut stop => break,
        }
    }
    sender.stop().await;
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

struct Sender {
    store: Store,
    settings: Arc<WebhookSettings>,
    client: HttpClient,
    outbox: Outbox,
    tasks: JoinSet<Done>,
    /// Settlements that are not on disk yet.
    settling: usize,
    clock: WallClock,
}

/// What a task has come back with.
enum Done {
    Scanned(Result<Vec<ReceiverId>, StoreError>),
    Loaded(ReceiverId, Result<WaitingPage, StoreError>),
    Posted(ReceiverId, DeliveryId, Verdict),
    Settled(Vec<(ReceiverId, DeliveryId, Step)>),
    Counted(Result<Backlog, StoreError>),
}

impl Sender {
    fn new(store: Store, settings: WebhookSettings, clock: WallClock) -> Self {
        let seed = u64::from_le_bytes(crate::crypto::random());
        Self {
            client: connect::client(&settings),
            outbox: Outbox::new(settings.limits, clock, seed),
            settings: Arc::new(settings),
            tasks: JoinSet::new(),
            settling: 0,
            store,
            clock,
        }
    }

    /// New settings, from the next attempt on.
    fn adopt(&mut self, settings: WebhookSettings) {
        self.client = connect::client(&settings);
        self.outbox.set_limits(settings.limits);
        self.settings = Arc::new(settings);
    }

    /// Counts what waits, and follows the wall clock when it was set.
    fn look(&mut self, clock: WallClock) {
        self.clock = clock;
        self.outbox.set_clock(clock);
        let store = self.store.clone();
        self.tasks.spawn(async move { Done::Counted(store.outbox_backlog().await) });
    }

    fn carry_out(&mut self) {
        let mut settled: Vec<(ReceiverId, Settled)> = Vec::new();
        while let Some(output) = self.outbox.poll_output() {
            let store = self.store.clone();
            match output {
                Output::Scan { after, limit } => {
                    self.tasks
                        .spawn(async move { Done::Scanned(store.outbox_receivers(after, limit).await) });
                }
                Output::Load { receiver, due, limit } => {
                    self.tasks.spawn(async move {
                        Done::Loaded(receiver, store.outbox_waiting(receiver, due, limit).await)
                    });
                }
                Output::Post { receiver, delivery } => self.post(receiver, delivery),
                Output::Settle { receiver, settled: one } => settled.push((receiver, one)),
            }
        }
        self.settle(settled);
        gauge!("callingedge_webhook_in_flight").set(self.outbox.in_flight() as f64);
        gauge!("callingedge_webhook_receivers").set(self.outbox.receivers() as f64);
    }

    fn settle(&mut self, settled: Vec<(ReceiverId, Settled)>) {
        if settled.is_empty() {
            return;
        }
        let names =
            settled.iter().map(|(receiver, settled)| (*receiver, settled.delivery, settled.step)).collect();
        for (_, settled) in &settled {
            match settled.step {
                Step::Delivered => counter!("callingedge_webhook_deliveries_total", "outcome" => "delivered"),
                Step::GivenUp => counter!("callingedge_webhook_deliveries_total", "outcome" => "given_up"),
                Step::Failed { .. } | Step::Parked { .. } => continue,
            }
            .increment(1);
        }
        self.settling += 1;
        let on_disk = self.store.settle(settled.into_iter().map(|(_, settled)| settled).collect());
        self.tasks.spawn(async move {
            // A closed store will not say; then the next start finds them pending and sends them once more.
            match on_disk.await {
                Ok(()) => Done::Settled(names),
                Err(_) => Done::Settled(Vec::new()),
            }
        });
    }

    fn finish(&mut self, done: Option<Done>) {
        match done {
            Some(Done::Scanned(Ok(found))) => self.outbox.handle_receivers(now(), &found),
            Some(Done::Scanned(Err(error))) => {
                tracing::warn!(%error, "the outbox cannot be read");
                self.outbox.handle_unscanned(now());
            }
            Some(Done::Loaded(receiver, Ok(page))) => self.outbox.handle_page(now(), receiver, page),
            Some(Done::Loaded(receiver, Err(error))) => {
                tracing::warn!(%error, "a receiver's deliveries cannot be read");
                self.outbox.handle_unread(now(), receiver);
            }
            Some(Done::Posted(receiver, delivery, verdict)) => {
                count(&verdict);
                self.outbox.handle_verdict(now(), receiver, delivery, &verdict);
            }
            Some(Done::Settled(names)) => {
                self.settling -= 1;
                for (receiver, delivery, step) in names {
                    self.outbox.handle_settled(now(), receiver, delivery, step);
                }
            }
            Some(Done::Counted(Ok(backlog))) => {
                let age = backlog.oldest.map(|oldest| oldest.until(self.clock.timestamp(now())));
                gauge!("callingedge_webhook_pending").set(backlog.pending as f64);
                gauge!("callingedge_webhook_oldest_pending_seconds")
                    .set(age.unwrap_or_default().as_secs_f64());
            }
            // Tasks neither panic nor are aborted; the count is for people only.
            Some(Done::Counted(Err(_))) | None => {}
        }
    }

    fn post(&mut self, receiver: ReceiverId, delivery: DeliveryId) {
        let (store, client, settings) = (self.store.clone(), self.client.clone(), Arc::clone(&self.settings));
        let clock = self.clock;
        self.tasks.spawn(async move {
            let verdict = match store.outgoing(delivery).await {
                Ok(Some(outgoing)) => attempt(&client, &settings, &clock, outgoing).await,
                Ok(None) => Verdict::Obsolete,
                Err(error) => {
                    tracing::warn!(%error, "an event cannot be read");
                    Verdict::NotRead
                }
            };
            Done::Posted(receiver, delivery, verdict)
        });
    }

    /// Sends what was told on the way out, as far as [`LAST_WORDS`] allows, lets what is under way finish, and writes it
    /// down.
    async fn stop(mut self) {
        let began = Instant::now();
        let (last_words, deadline) = (began + LAST_WORDS, began + FAREWELL);
        loop {
            if Instant::now() < last_words {
                let news = self.store.outbox_changed().now_or_never();
                if let Some(change) = news {
                    self.outbox.handle_changed(now(), &change);
                }
                self.outbox.handle_timeout(now());
                self.carry_out();
            } else {
                self.only_settle();
            }
            let Ok(Some(done)) = timeout_at(deadline, self.tasks.join_next()).await else { break };
            self.finish(done.ok());
        }
    }

    /// Writes down what came back and begins nothing.
    fn only_settle(&mut self) {
        let mut settled = Vec::new();
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Settle { receiver, settled: one } => settled.push((receiver, one)),
                Output::Scan { .. } | Output::Load { .. } | Output::Post { .. } => {}
            }
        }
        self.settle(settled);
    }
}

/// One attempt, from the name to the end of the response.
async fn attempt(
    client: &HttpClient,
    settings: &WebhookSettings,
    clock: &WallClock,
    outgoing: Outgoing,
) -> Verdict {
    let began = Instant::now();
    let verdict =
        match timeout_at(began + settings.total_timeout, exchange(client, settings, clock, outgoing)).await {
            Ok(Ok((verdict, body))) => {
                // Read for the connection's sake only: what it says or lacks changes nothing.
                drop(timeout(LONGEST_BODY.1, Limited::new(body, LONGEST_BODY.0).collect()).await);
                verdict
            }
            Ok(Err(failure)) => failure.into(),
            Err(_) => Failure::TimedOut.into(),
        };
    histogram!("callingedge_webhook_attempt_seconds").record(began.elapsed());
    verdict
}

async fn exchange(
    client: &HttpClient,
    settings: &WebhookSettings,
    clock: &WallClock,
    outgoing: Outgoing,
) -> Result<(Verdict, Incoming), Failure> {
    let request = request(settings, outgoing, clock.timestamp(now()))?;
    let response = client.request(request).await?;
    let verdict = Verdict::of(response.status(), response.headers(), clock.timestamp(now()));
    Ok((verdict, response.into_body()))
}

/// The POST of CONTRACT §2, signed for `at`.
fn request(
    settings: &WebhookSettings,
    outgoing: Outgoing,
    at: Timestamp,
) -> Result<Request<Full<Bytes>>, Failure> {
    const EDGE_SIGNATURE: HeaderName = HeaderName::from_static("x-callingedge-signature");
    const EDGE_PROVIDER: HeaderName = HeaderName::from_static("x-callingedge-provider");
    const EDGE_EVENT_ID: HeaderName = HeaderName::from_static("x-callingedge-event-id");
    const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
    const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

    let Outgoing { tenant, provider, event, url, body } = outgoing;
    let url: ReceiverUrl = url.parse()?;
    let secrets = settings.secrets.get(&tenant).ok_or(Failure::NoSecret)?;
    let (id, timestamp) = (event.to_string(), at.unix_ms().div_euclid(1_000));
    let signed = sign(secrets, &id, timestamp, &body);
    let provider =
        HeaderValue::from_str(provider.as_str()).unwrap_or_else(|_| HeaderValue::from_static("unprintable"));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.uri().clone();
    let printable = |text: &str| HeaderValue::from_str(text).expect("made of letters, digits and signs");
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(concat!("CallingEdge/", env!("CARGO_PKG_VERSION")))),
        (EDGE_SIGNATURE, printable(&signed.edge)),
        (EDGE_PROVIDER, provider),
        (EDGE_EVENT_ID, printable(&id)),
        (WEBHOOK_ID, printable(&id)),
        (WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp)),
        (WEBHOOK_SIGNATURE, printable(&signed.standard)),
    ] {
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn count(verdict: &Verdict) {
    let result = match verdict {
        Verdict::Acknowledged(_) => "acknowledged",
        Verdict::Failed { failure, .. } => failure.label(),
        Verdict::Obsolete | Verdict::NotRead => return,
    };
    counter!("callingedge_webhook_attempts_total", "result" => result).increment(1);
}
