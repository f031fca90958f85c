//! Webhooks from the store to receivers on loopback that behave badly. The runtime's clock stands still unless a test
//! moves it, so that time-outs and pauses cost nothing and come only when they are meant to.
#![expect(clippy::unwrap_used, reason = "where a test's helper cannot go on, the test has failed")]

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/records.rs"]
mod records;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use callingedge::call::{CallRecord, EventId, RecordNumber, TenantId};
use callingedge::store::{Delivery, DeliveryFilter, DeliveryState, Location, Store, StoreOptions};
use callingedge::webhook::{GIVE_UP, NetworkPolicy, Secret, Secrets, WebhookSettings, run, sign};
use receiver::{Answer, Receiver};
use scratch::Scratch;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_event_is_posted_with_the_headers_and_the_bytes_of_the_contract() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([], None).await;

    let event = edge.tell(1, &url(&receiver, "/in?x=1"));
    let request = receiver.request().await;

    let delivered = edge.until(event, |delivery| delivery.state == DeliveryState::Delivered).await;
    assert_eq!(request.line, "POST /in?x=1 HTTP/1.1");
    let header = |name: &str| request.headers[name].as_str();
    assert_eq!(header("host"), receiver.address.to_string());
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("x-callingedge-provider"), "sip-main");
    assert_eq!(header("x-callingedge-event-id"), event.to_string());
    assert_eq!(header("webhook-id"), event.to_string());
    let timestamp: i64 = header("webhook-timestamp").parse().unwrap();
    assert!(timestamp.abs_diff(i64::try_from(edge.wall_seconds()).unwrap()) <= 1);
    let signed = sign(&Secrets::one(SECRET), &event.to_string(), timestamp, &request.body);
    assert_eq!(header("x-callingedge-signature"), signed.edge);
    assert_eq!(header("webhook-signature"), signed.standard);
    let body = String::from_utf8(request.body.clone()).unwrap();
    let fields = body.find("\"provider\"").unwrap()..body.find("\"edge\":{\"seq\":1").unwrap();
    assert!(fields.start == 1 && fields.end > 0 && body.contains("\"raw\":{\"method\": \"INVITE\"}"));
    assert_eq!((delivered.attempts, delivered.last_outcome.as_deref()), (1, Some("HTTP 200")));
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_tried_again_with_the_same_id_and_the_same_bytes() {
    let garbage = b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec();
    let long_head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 100_000]].concat();
    for (answer, outcome) in [
        (Answer::Status(500, ""), "HTTP 500"),
        (Answer::Status(404, ""), "HTTP 404"),
        (Answer::Status(410, ""), "HTTP 410"),
        (Answer::Status(304, ""), "HTTP 304"),
        (Answer::Bytes(garbage), "no response: "),
        (Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()), "no response: "),
        (Answer::Bytes(long_head), "no response: "),
        (Answer::Close, "no response: "),
    ] {
        let edge = Edge::start(Location::memory(), settings());
        let mut receiver = Receiver::start([answer], None).await;
        let event = edge.tell(1, &url(&receiver, "/"));
        let first = receiver.request().await;
        let failed = edge.until(event, |delivery| delivery.attempts == 1).await;
        assert!(failed.last_outcome.as_ref().is_some_and(|text| text.starts_with(outcome)), "{failed:?}");
        assert_eq!(failed.state, DeliveryState::Pending);
        assert!(receiver.is_quiet(), "{outcome}: not before its time");

        advance(2 * SECOND).await;
        let second = receiver.request().await;

        assert_eq!(second.body, first.body, "{outcome}");
        assert_eq!(second.headers["webhook-id"], first.headers["webhook-id"], "{outcome}");
        let delivered = edge.until(event, |delivery| delivery.state == DeliveryState::Delivered).await;
        assert_eq!(delivered.attempts, 2, "{outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_2xx_counts_whatever_becomes_of_its_body() {
    let huge =
        [b"HTTP/1.1 201 Created\r\ncontent-length: 9999999\r\n\r\n".to_vec(), vec![b'x'; 300_000]].concat();
    for answer in [
        Answer::Status(202, ""),
        Answer::Status(299, ""),
        Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut off".to_vec()),
        Answer::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
        Answer::Bytes(huge),
    ] {
        let edge = Edge::start(Location::memory(), settings());
        let mut receiver = Receiver::start([answer.clone()], None).await;
        let event = edge.tell(1, &url(&receiver, "/"));
        receiver.request().await;

        let delivered = edge.until(event, |delivery| delivery.attempts > 0).await;

        assert_eq!(delivered.state, DeliveryState::Delivered, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_does_not_wait_for_the_end_of_a_body_that_never_ends() {
    let edge = Edge::start(Location::memory(), settings());
    let endless = Answer::Unfinished(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    let mut receiver = Receiver::start([endless], None).await;
    let first = edge.tell_seq(1, 1, &url(&receiver, "/"));
    let second = edge.tell_seq(1, 2, &url(&receiver, "/"));
    assert_eq!(receiver.request().await.headers["webhook-id"], first.to_string());

    // Seconds pass until the sender has seen the head and waited for more.
    let second_request = async {
        loop {
            tokio::select! {
                request = receiver.request() => break request,
                () = edge.settle() => advance(SECOND).await,
            }
        }
    };

    assert_eq!(second_request.await.headers["webhook-id"], second.to_string());

    edge.until(first, |delivery| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    let edge = Edge::start(Location::memory(), settings());
    let mut elsewhere = Receiver::start([], None).await;
    let location: &'static str = format!("location: http://{}/\r\n", elsewhere.address).leak();
    let codes = [301, 302, 303, 307, 308];
    let receiver = Receiver::start(codes.map(|code| Answer::Status(code, location)), None).await;
    let event = edge.tell(1, &url(&receiver, "/"));

    for attempts in 1..=5 {
        let failed = edge.until(event, |delivery| delivery.attempts == attempts).await;
        assert!(failed.last_outcome.unwrap().starts_with("HTTP 30"));
        advance(30 * SECOND).await;
    }

    edge.until(event, |delivery| delivery.state == DeliveryState::Delivered).await;
    assert!(elsewhere.is_quiet());
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_answer_is_left_after_15_seconds() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([Answer::Unfinished(b"")], None).await;
    let event = edge.tell(1, &url(&receiver, "/"));
    receiver.request().await;
    advance(14 * SECOND).await;
    assert_eq!(edge.delivery(event).await.attempts, 0);

    advance(2 * SECOND).await;

    let failed = edge.until(event, |delivery| delivery.attempts == 1).await;
    assert_eq!(failed.last_outcome.as_deref(), Some("timed out"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_gets_its_events_when_it_is_back() {
    let edge = Edge::start(Location::memory(), settings());
    let closed = Receiver::start([], None).await;
    let address = closed.address;
    drop(closed);
    tokio::task::yield_now().await;
    let event = edge.tell(1, &format!("http://{address}/"));
    let failed = edge.until(event, |delivery| delivery.attempts == 1).await;
    assert!(failed.last_outcome.unwrap().starts_with("no connection: "));

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    advance(2 * SECOND).await;

    assert!(listener.accept().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([Answer::Status(503, "retry-after: 120\r\n")], None).await;
    let event = edge.tell(1, &url(&receiver, "/"));
    receiver.request().await;
    edge.until(event, |delivery| delivery.attempts == 1).await;

    advance(119 * SECOND).await;
    edge.settle().await;
    assert!(receiver.is_quiet());
    advance(2 * SECOND).await;

    receiver.request().await;
}

#[tokio::test(start_paused = true)]
async fn one_receivers_silence_does_not_delay_another() {
    let edge = Edge::start(Location::memory(), settings());
    let silent = Receiver::start(vec![Answer::Unfinished(b""); 100], None).await;
    let mut well = Receiver::start([], None).await;
    for n in 0..100 {
        edge.tell(n, &url(&silent, "/"));
    }

    for n in 100..200 {
        let event = edge.tell(n, &url(&well, "/"));
        assert_eq!(well.request().await.headers["webhook-id"], event.to_string());
    }

    assert!(silent.connections() <= 16);
}

#[tokio::test(start_paused = true)]
async fn a_calls_events_come_in_order_over_few_connections() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([], None).await;
    let url = url(&receiver, "/");
    let events: Vec<EventId> = (1..=50).map(|seq| edge.tell_seq(1, seq, &url)).collect();

    for event in &events {
        assert_eq!(receiver.request().await.headers["webhook-id"], event.to_string());
    }

    let last = *events.last().unwrap();
    edge.until(last, |delivery| delivery.state == DeliveryState::Delivered).await;
    assert!(receiver.connections() <= 2, "{} connections", receiver.connections());
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_after_24_hours_is_listed_and_can_be_replayed() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([Answer::Status(500, ""), Answer::Status(500, "")], None).await;
    let event = edge.tell(1, &url(&receiver, "/"));
    let first = receiver.request().await;
    edge.until(event, |delivery| delivery.attempts == 1).await;

    advance(GIVE_UP).await;
    receiver.request().await;
    let given_up = edge.until(event, |delivery| delivery.state == DeliveryState::GivenUp).await;

    assert_eq!((given_up.attempts, given_up.next_attempt_at), (2, None));
    let filter = DeliveryFilter { state: Some(DeliveryState::GivenUp), before: None, limit: 10 };
    assert_eq!(edge.store.deliveries(tenant(), filter).await.unwrap(), [given_up]);
    assert_eq!(edge.store.replay("other".into(), event).await.unwrap(), None);
    let replayed = edge.store.replay(tenant(), event).await.unwrap().unwrap();
    assert_eq!((replayed.state, replayed.attempts), (DeliveryState::Pending, 0));
    let again = receiver.request().await;
    assert_eq!((&again.body, &again.headers["webhook-id"]), (&first.body, &first.headers["webhook-id"]));
    edge.until(event, |delivery| delivery.state == DeliveryState::Delivered).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_when_the_edge_stops_is_sent_after_the_next_start() {
    let file = Scratch::new("restart");
    let mut receiver = Receiver::start([Answer::Status(500, ""), Answer::Status(500, "")], None).await;
    let edge = Edge::start(Location::File(file.path("edge.db")), settings());
    let event = edge.tell_seq(1, 1, &url(&receiver, "/"));
    receiver.request().await;
    edge.until(event, |delivery| delivery.attempts == 1).await;
    let behind = edge.tell_seq(1, 2, &url(&receiver, "/"));
    edge.until(behind, |delivery| delivery.attempts == 0).await;
    edge.stop().await;

    let edge = Edge::start(Location::File(file.path("edge.db")), settings());
    assert_eq!(receiver.request().await.headers["webhook-id"], event.to_string());
    edge.until(event, |delivery| delivery.attempts == 2).await;
    assert!(receiver.is_quiet(), "the second waits for the first, as before");
    advance(3 * SECOND).await;

    assert_eq!(receiver.request().await.headers["webhook-id"], event.to_string());
    assert_eq!(receiver.request().await.headers["webhook-id"], behind.to_string());
    edge.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_post_under_way_finish() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([Answer::Status(200, "")], None).await;
    let event = edge.tell(1, &url(&receiver, "/"));
    receiver.request().await;

    let store = edge.store.clone();
    edge.end_sender().await;

    let filter = DeliveryFilter { state: None, before: None, limit: 10 };
    let delivery = store.deliveries(tenant(), filter).await.unwrap().remove(0);
    assert_eq!((delivery.id, delivery.state), (event, DeliveryState::Delivered));
}

/// A drain that reaches its limit ends calls and the edge at once: their last events are not left to the next start.
#[tokio::test(start_paused = true)]
async fn what_is_told_just_before_a_stop_is_still_sent() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([Answer::Status(200, "")], None).await;
    edge.settle().await;
    let event = edge.tell(1, &url(&receiver, "/"));
    edge.store.durable().wait_for(|durable| *durable == RecordNumber(1)).await.unwrap();

    edge.end_sender().await;

    assert_eq!(receiver.request().await.headers["webhook-id"], event.to_string());
}

#[tokio::test(start_paused = true)]
async fn both_secrets_sign_during_a_rotation_which_takes_effect_without_a_restart() {
    let edge = Edge::start(Location::memory(), settings());
    let mut receiver = Receiver::start([], None).await;
    edge.tell(1, &url(&receiver, "/"));
    receiver.request().await;
    let rotated = Secrets { current: Secret::from("new"), previous: Some(Secret::from(SECRET)) };

    let secrets = BTreeMap::from([(tenant(), rotated.clone())]);
    edge.settings.send_modify(|settings| settings.secrets = secrets);
    edge.settle().await;
    let event = edge.tell(2, &url(&receiver, "/"));
    let request = receiver.request().await;

    let timestamp = request.headers["webhook-timestamp"].parse().unwrap();
    let signed = sign(&rotated, &event.to_string(), timestamp, &request.body);
    assert_eq!(request.headers["x-callingedge-signature"], signed.edge);
    assert_eq!(request.headers["webhook-signature"], signed.standard);
    assert_eq!(signed.edge.matches("sha256=").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_unsigned() {
    let edge = Edge::start(Location::memory(), WebhookSettings { secrets: BTreeMap::new(), ..settings() });
    let mut receiver = Receiver::start([], None).await;
    let event = edge.tell(1, &url(&receiver, "/"));
    let failed = edge.until(event, |delivery| delivery.attempts == 1).await;
    assert_eq!(failed.last_outcome.as_deref(), Some("the tenant has no signing secret"));
    assert!(receiver.is_quiet());

    edge.settings.send_replace(settings());
    edge.settle().await;
    advance(2 * SECOND).await;

    assert!(receiver.request().await.headers.contains_key("x-callingedge-signature"));
}

#[tokio::test(start_paused = true)]
async fn addresses_inside_are_not_connected_to_however_they_are_written() {
    let guarded = WebhookSettings { network: NetworkPolicy::default(), ..settings() };
    let edge = Edge::start(Location::memory(), guarded);
    let receiver = Receiver::start([], None).await;
    let port = receiver.address.port();
    for (n, host) in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0.0.0.0"]
            .iter()
            .enumerate()
    {
        for scheme in ["http", "https"] {
            let n = 2 * n as u64 + u64::from(scheme == "http");
            let event = edge.tell(n, &format!("{scheme}://{host}:{port}/"));

            let failed = edge.until(event, |delivery| delivery.attempts == 1).await;

            let outcome = failed.last_outcome.unwrap();
            assert!(outcome.starts_with("refused address "), "{host}: {outcome}");
        }
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn tls_is_spoken_with_whom_the_roots_trust_and_with_nobody_else() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = own.cert.der().clone();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
    let mut receiver = Receiver::start([], Some(Arc::new(config).into())).await;
    let edge = Edge::start(Location::memory(), settings());
    let event = edge.tell(1, &format!("https://{}/", receiver.address));
    let failed = edge.until(event, |delivery| delivery.attempts == 1).await;
    assert!(failed.last_outcome.as_ref().unwrap().starts_with("no TLS session: "), "{failed:?}");

    edge.settings.send_modify(|settings| settings.roots = vec![certificate]);
    edge.settle().await;
    advance(2 * SECOND).await;

    assert_eq!(receiver.request().await.headers["webhook-id"], event.to_string());
    edge.until(event, |delivery| delivery.state == DeliveryState::Delivered).await;
}

fn tenant() -> TenantId {
    "acme".into()
}

fn url(receiver: &Receiver, path: &str) -> String {
    format!("http://{}{path}", receiver.address)
}

fn settings() -> WebhookSettings {
    WebhookSettings {
        secrets: BTreeMap::from([(tenant(), Secrets::one(SECRET))]),
        network: NetworkPolicy { allow_private: true, allow_networks: Vec::new() },
        ..WebhookSettings::default()
    }
}

/// A store and its sender.
struct Edge {
    store: Store,
    settings: watch::Sender<WebhookSettings>,
    stop: oneshot::Sender<()>,
    sender: JoinHandle<()>,
    began: (Instant, SystemTime),
    next: std::cell::Cell<u64>,
    /// The paused clock jumps to the next deadline whenever all tasks wait, unless a blocking one is at work.
    _at_work: mpsc::Sender<()>,
}

impl Edge {
    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn start(location: Location, settings: WebhookSettings) -> Self {
        let (at_work, until) = mpsc::channel::<()>();
        // Ends by itself when a test hangs: then the clock runs ahead and the wait below gives up.
        tokio::task::spawn_blocking(move || until.recv_timeout(60 * SECOND));
        let (store, _) = Store::open(location, &StoreOptions::default()).unwrap();
        let (settings, watched) = watch::channel(settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let began = (Instant::now(), SystemTime::now());
        let wall = move || began.1 + began.0.elapsed();
        let stopped = async move { drop(stopped.await) };
        let sender = tokio::spawn(run(store.clone(), watched, wall, stopped));
        let next = std::cell::Cell::new(1);
        Self { store, settings, stop, sender, began, next, _at_work: at_work }
    }

    fn wall(&self) -> SystemTime {
        self.began.1 + self.began.0.elapsed()
    }

    fn wall_seconds(&self) -> u64 {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    fn call(&self, n: u64) -> CallRecord {
        records::call("acme", n, self.began.1)
    }

    /// The first event of the `n`th call.
    fn tell(&self, n: u64, url: &str) -> EventId {
        self.tell_seq(n, 1, url)
    }

    fn tell_seq(&self, n: u64, seq: u32, url: &str) -> EventId {
        let call = self.call(n);
        let id = EventId { call: call.view.call_id, seq };
        let number = self.next.replace(self.next.get() + 1);
        self.store.keep(RecordNumber(number), records::event(&call, seq, Some(url), self.wall()));
        id
    }

    async fn find(&self, event: EventId) -> Option<Delivery> {
        let filter = DeliveryFilter { state: None, before: None, limit: 200 };
        let deliveries = self.store.deliveries(tenant(), filter).await.unwrap();
        deliveries.into_iter().find(|delivery| delivery.id == event)
    }

    async fn delivery(&self, event: EventId) -> Delivery {
        self.until(event, |_| true).await
    }

    /// Asks the store until it is so.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's clock stands still, and a test must not hang"
    )]
    async fn until(&self, event: EventId, is_so: impl Fn(&Delivery) -> bool) -> Delivery {
        let began = std::time::Instant::now();
        loop {
            let delivery = self.find(event).await;
            match delivery {
                Some(delivery) if is_so(&delivery) => return delivery,
                delivery => assert!(began.elapsed() < 30 * SECOND, "waited too long for {delivery:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Lets the sender take note of what it was told.
    async fn settle(&self) {
        for _ in 0..50 {
            self.store.outbox_backlog().await.unwrap();
        }
    }

    async fn end_sender(self) {
        drop(self.stop);
        self.sender.await.unwrap();
    }

    async fn stop(self) {
        let store = self.store.clone();
        self.end_sender().await;
        store.close().await.unwrap();
    }
}
