//! An edge whose calls are scripted: what is dialled decides what is answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use callingedge::api::{Api, Commands, MetricsAccess, Order, Phase, ProviderHealth};
use callingedge::call::{
    Answer, CallId, CallRecord, CallTable, CallView, Command, CommandError, Context, Control, Destinations,
    Direction, EventId, EventKind, EventRecord, Forbidden, Health, Idempotency, Latency, Layer, Milestone,
    Mode, ProviderKey, Quality, Record, RecordNumber, SipPart, Status, TenantId, Timestamp, Trunk,
};
use callingedge::config::{Config, SecretsAre, Surroundings};
use callingedge::store::{Location, Scope, Store, StoreOptions};
use http_body_util::BodyExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};
use tower::ServiceExt;

const CONFIG: &str = r#"
media.advertise = "127.0.0.1"
credentials.key = { env = "SEALING_KEY" }
[tenants.acme]
[tenants.other]
[engines.receptionist]
url = "ws://127.0.0.1:1"
dialect = "edge.v1"
[providers.sip-main]
kind = "sip-trunk"
tenant = "acme"
target = "sip:203.0.113.10"
engine = "receptionist"
username = "edge"
password = { env = "SIP_PASSWORD" }
[intakes.telnyx-main]
tenant = "acme"
platform = "telnyx"
public_key = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="
[providers.theirs]
kind = "sip-trunk"
tenant = "other"
peers = ["198.51.100.7"]
engine = "receptionist"
"#;

/// Everything a test holds.
pub(crate) struct Edge {
    pub(crate) api: Api,
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) health: watch::Sender<ProviderHealth>,
    keeper: Keeper,
}

/// What a response was.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code and field of a problem; its form is checked on the way.
    pub(crate) fn problem(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        let word = |name: &str| body[name].as_str().map(str::to_owned);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(body["status"], self.status);
        assert_eq!(word("type"), word("code").map(|code| format!("/api/docs#{code}")));
        assert_eq!(
            word("instance"),
            Some(format!("urn:callingedge:request:{}", self.header("x-request-id")))
        );
        assert!(word("detail").is_some_and(|detail| detail.ends_with(['.', '?'])), "{}", self.text);
        assert!(word("title").is_some());
        (self.status, word("code").unwrap(), word("field"))
    }
}

impl Edge {
    /// An edge that serves, and its scripted calls.
    pub(crate) fn new() -> Self {
        let (edge, orders) = Self::without_core();
        tokio::spawn(edge.keeper.clone().answer(orders));
        edge
    }

    /// An edge whose commands nobody answers: the test holds their end.
    pub(crate) fn without_core() -> (Self, mpsc::Receiver<Order>) {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: BTreeMap::from([
                ("SEALING_KEY".to_owned(), "5a".repeat(32)),
                ("SIP_PASSWORD".to_owned(), "a configured secret".to_owned()),
            ]),
            secrets: SecretsAre::Needed,
            held: BTreeMap::new(),
        };
        let config = Config::parse(CONFIG, &surroundings).unwrap();
        let (store, _) = Store::open(Location::memory(), &StoreOptions::default()).unwrap();
        let (commands, orders) = Commands::queue();
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let (health, health_seen) = watch::channel(ProviderHealth::default());
        let (_, settings) = watch::channel(config.settings);
        let (_, credentials) = watch::channel(config.credentials);
        let (_, intakes) = watch::channel(config.intakes);
        let calls = Arc::new(CallTable::with_capacity(16));
        let api = Api {
            commands,
            calls: Arc::clone(&calls),
            store: store.clone(),
            settings,
            health: health_seen,
            phase: phase_seen,
            metrics: Arc::new(|| "callingedge_calls 1\n".to_owned()),
            metrics_access: MetricsAccess::Loopback,
            credentials,
            brought: watch::Sender::new(0),
            intakes,
            gates: Default::default(),
            hooks: callingedge::api::Hooks::new().0,
            streams: Arc::new(Semaphore::new(2)),
        };
        let keeper = Keeper { calls, store: store.clone(), numbers: Arc::default() };
        let router = api.clone().into_router();
        (Self { api, router, store, phase, health, keeper }, orders)
    }

    /// A token of the tenant.
    pub(crate) fn token(&self, tenant: &str, scopes: &[Scope]) -> String {
        self.store.tokens().unwrap().create(&TenantId::from(tenant), "test", scopes).unwrap()
    }

    /// A token that may do everything for `acme`.
    pub(crate) fn admin(&self) -> String {
        self.token("acme", &[Scope::Admin])
    }

    /// A running call of `acme` that began `second` seconds after a fixed moment.
    pub(crate) async fn running_call(&self, second: u64) -> CallId {
        self.keeper.begin(second, "acme", Status::Answered, None).await.view.call_id
    }

    /// A call of `acme` that is over and only in the store.
    pub(crate) async fn ended_call(&self, second: u64) -> CallId {
        let call = self.keeper.begin(second, "acme", Status::Ended, None).await.view.call_id;
        self.api.calls.remove(call);
        call
    }

    /// Another event of a call of `acme`, on disk when this returns.
    pub(crate) async fn happen(&self, call: CallId, kind: EventKind, url: Option<&str>) -> EventId {
        let record = self.api.calls.find(call).unwrap();
        self.keeper.tell(record, kind, url).await
    }

    /// Another milestone of a call.
    pub(crate) async fn note(&self, call: CallId, what: &str) {
        let milestone = Milestone {
            call,
            at: Timestamp::from_unix_ms(1_779_298_264_120),
            since_start_ms: 120,
            layer: Layer::Signalling,
            what: what.to_owned(),
            detail: None,
        };
        self.keeper.keep(Record::Milestone(milestone)).await;
    }

    /// Sends one request into the router.
    pub(crate) async fn request(&self, request: Request<Body>) -> Seen {
        let response = self.response(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Seen { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// The same, with the body still open.
    pub(crate) async fn response(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Seen {
        self.request(get(path, token)).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Seen {
        self.request(post(path, token, body.to_string())).await
    }
}

pub(crate) fn get(path: &str, token: &str) -> Request<Body> {
    let request = Request::get(path);
    let request =
        if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
    request.body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, token: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    let request =
        if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
    request.body(body.into()).unwrap()
}

/// A health for `sip-main`.
pub(crate) fn health(reachable: Option<bool>, detail: &str) -> ProviderHealth {
    let checked_at = Some(Timestamp::from_unix_ms(1_779_298_264_000));
    let health =
        Health { reachable, detail: detail.to_owned(), checked_at, targets: Vec::new(), registration: None };
    Arc::new(BTreeMap::from([(ProviderKey::from("sip-main"), health)]))
}

/// Stands in for the calls: keeps what a real one would keep.
#[derive(Clone)]
struct Keeper {
    calls: Arc<CallTable>,
    store: Store,
    numbers: Arc<std::sync::atomic::AtomicU64>,
}

impl Keeper {
    async fn answer(self, mut orders: mpsc::Receiver<Order>) {
        let mut keys: BTreeMap<String, (Idempotency, CallId)> = BTreeMap::new();
        let mut second = 1000;
        while let Some((command, reply)) = orders.recv().await {
            let answer = match command {
                Command::Place { tenant, call, idempotency, .. } => {
                    let known = idempotency.as_ref().and_then(|key| keys.get(&key.key));
                    match (known, scripted(&call.to)) {
                        (Some((known, _)), _) if Some(known) != idempotency.as_ref() => {
                            Answer::Refused(CommandError::IdempotencyConflict)
                        }
                        (Some((_, call)), _) => Answer::Placed(self.calls.find(*call).unwrap()),
                        (None, Some(error)) => Answer::Refused(error),
                        (None, None) => {
                            second += 1;
                            let record = self
                                .begin(second, tenant.as_str(), Status::Placing, idempotency.clone())
                                .await;
                            if let Some(idempotency) = idempotency {
                                keys.insert(idempotency.key.clone(), (idempotency, record.view.call_id));
                            }
                            Answer::Placed(record)
                        }
                    }
                }
                Command::Transfer { tenant, transfer, .. } => match self.of(&tenant, transfer.call_id) {
                    None => Answer::Refused(CommandError::CallNotFound),
                    Some(_) => {
                        let number = transfer.to.number.unwrap_or_default();
                        scripted(&number).map_or(Answer::Accepted, Answer::Refused)
                    }
                },
                Command::WrapUp { tenant, wrap_up, .. } => match self.of(&tenant, wrap_up.call_id) {
                    None => Answer::Refused(CommandError::CallNotFound),
                    Some(record) => Answer::WrappedUp(Box::new(CallView {
                        disposition: Some(wrap_up.disposition),
                        status: Status::Ended,
                        ..record.view.clone()
                    })),
                },
                Command::SwitchMode { tenant, call, switch } => match self.of(&tenant, call) {
                    None => Answer::Refused(CommandError::CallNotFound),
                    Some(_) => {
                        let number = switch.to.and_then(|to| to.number).unwrap_or_default();
                        scripted(&number).map_or(Answer::Accepted, Answer::Refused)
                    }
                },
                Command::SwitchEngine { tenant, call, .. } => match self.of(&tenant, call) {
                    None => Answer::Refused(CommandError::CallNotFound),
                    Some(_) => Answer::Accepted,
                },
                Command::Control { tenant, call, control } => match (self.of(&tenant, call), control) {
                    (None, _) => Answer::Refused(CommandError::CallNotFound),
                    (Some(_), Control::Play { announcement }) => {
                        scripted(&announcement).map_or(Answer::Accepted, Answer::Refused)
                    }
                    (Some(_), Control::Resume) => Answer::Refused(CommandError::CallNotHeld),
                    (Some(_), Control::PauseRecording { .. }) => Answer::Refused(CommandError::NotRecorded),
                    (Some(_), Control::Hold | Control::Mute { .. } | Control::MaskKeys { .. }) => {
                        Answer::Accepted
                    }
                },
                Command::TakeContext { reference } if reference == "known" => {
                    let intent = Some("billing".to_owned());
                    Answer::Context(callingedge::call::Context { intent, ..Default::default() })
                }
                Command::TakeContext { .. } => Answer::Refused(CommandError::ContextNotFound),
                // The tenants of these tests have no account.
                Command::PlaceFor { .. } => Answer::Refused(CommandError::ProviderNotFound),
                Command::Run { tenant, call, .. }
                | Command::End { tenant, call, .. }
                | Command::SendDtmf { tenant, call, .. } => match self.of(&tenant, call) {
                    None => Answer::Refused(CommandError::CallNotFound),
                    Some(_) => Answer::Accepted,
                },
            };
            // Whoever asked may have left.
            let _ = reply.send(answer);
        }
    }

    fn of(&self, tenant: &TenantId, call: CallId) -> Option<Arc<CallRecord>> {
        self.calls.find(call).filter(|record| record.tenant == *tenant)
    }

    async fn begin(
        &self,
        second: u64,
        tenant: &str,
        status: Status,
        idempotency: Option<Idempotency>,
    ) -> Arc<CallRecord> {
        let record = Arc::new(record(second, tenant, status, idempotency));
        self.calls.publish(Arc::clone(&record));
        self.keep(Record::Call(Arc::clone(&record))).await;
        record
    }

    async fn tell(&self, record: Arc<CallRecord>, kind: EventKind, url: Option<&str>) -> EventId {
        let seq = record.last_seq + 1;
        let id = EventId { call: record.view.call_id, seq };
        let event = EventRecord {
            id,
            tenant: record.tenant.clone(),
            provider: record.view.provider.clone(),
            kind,
            occurred_at: record.view.started_at,
            is_last: kind == EventKind::Ended,
            webhook_url: url.map(str::to_owned),
            body: format!("{{\"kind\":\"{}\",\"seq\":{seq}}}", kind.as_str()).into(),
        };
        let call = Arc::new(CallRecord { last_seq: seq, ..CallRecord::clone(&record) });
        self.calls.publish(Arc::clone(&call));
        self.keep(Record::Event { event: Arc::new(event), call }).await;
        id
    }

    /// On disk when this returns.
    async fn keep(&self, record: Record) {
        let number = 1 + self.numbers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.store.keep(RecordNumber(number), record);
        self.store.durable().wait_for(|durable| durable.0 >= number).await.unwrap();
    }
}

/// The number decides how an order is refused.
fn scripted(number: &str) -> Option<CommandError> {
    Some(match number {
        "901" => CommandError::CallAlreadyEnded,
        "902" => CommandError::CallNotAnswered,
        "903" => CommandError::ProviderInboundOnly,
        "950" => CommandError::ProviderUnreachable { why: "sip.example.com has no address".to_owned() },
        "904" => CommandError::EngineNotFound {
            name: "receptionst".to_owned(),
            nearest: Some("receptionist".to_owned()),
        },
        "905" => CommandError::EngineMissing,
        "906" => CommandError::TransferUnsupported { field: "style", problem: "cannot be `attended` yet" },
        "907" => CommandError::TransferUnderWay,
        "908" => CommandError::LimitCalls { scope: "tenant" },
        "909" => CommandError::StoreBehind,
        "910" => CommandError::Draining,
        "911" => CommandError::LimitRate { scope: "provider", retry_after: Duration::from_millis(1200) },
        "917" => CommandError::WorkflowNotFound { name: "dsk".to_owned(), nearest: Some("desk".to_owned()) },
        "918" => CommandError::DispositionUnknown {
            disposition: "Sold".to_owned(),
            allowed: "`sold`, `call back`".to_owned(),
        },
        "920" => CommandError::RecordingOff,
        "922" => CommandError::CallListenOnly,
        "919" => CommandError::CallHeld,
        "913" => CommandError::TransferToItself,
        "914" => CommandError::ModeUnchanged,
        "915" => CommandError::ModeNoHuman,
        "916" => CommandError::AnnouncementNotFound { name: "helo".to_owned(), nearest: None },
        "921" => {
            let problem = Forbidden::DoNotCall(format!("+{number}"));
            CommandError::DestinationForbidden { field: "to", problem }
        }
        "912" => CommandError::DestinationForbidden { field: "to", problem: forbidden(number) },
        _ => return None,
    })
}

fn forbidden(number: &str) -> Forbidden {
    let uri = sip::Uri::parse(format!("sip:+{number}@127.0.0.1")).unwrap();
    Destinations::default().permit(&uri, &Trunk::to(Vec::new())).unwrap_err()
}

fn record(second: u64, tenant: &str, status: Status, idempotency: Option<Idempotency>) -> CallRecord {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_779_298_264 + second);
    let provider = if tenant == "acme" { "sip-main" } else { "theirs" };
    let view = CallView {
        call_id: CallId::new(wall, &mut SmallRng::seed_from_u64(second)),
        provider: provider.into(),
        provider_call_id: None,
        direction: Direction::Outbound,
        from: "+18005551234".to_owned(),
        to: "+16505824074".to_owned(),
        status,
        mode: Mode::AiFirst,
        engine: Some("receptionist".to_owned()),
        context: Context::default(),
        disposition: None,
        notes: None,
        started_at: Timestamp::from(wall),
        answered_at: None,
        ended_at: None,
        duration_sec: None,
        end_reason: None,
        sip: SipPart::default(),
        answered_by: None,
        recording_url: None,
        transcript_url: None,
        quality: Quality::default(),
        latency: Latency::default(),
        identity: callingedge::call::Identity::default(),
        legs: Vec::new(),
    };
    CallRecord { tenant: tenant.into(), view, last_seq: 0, webhook_url: None, idempotency }
}
