//! The store as its users see it, and what is left of it after `kill -9`.
#![expect(clippy::unwrap_used, reason = "where a test's helper cannot go on, the test has failed")]

#[path = "support/records.rs"]
mod records;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callingedge::call::{
    CallId, CallRecord, EventId, Idempotency, Layer, Milestone, Record, RecordNumber, Status, TenantId,
};
use callingedge::store::{
    CallFilter, DeliveryFilter, Location, Scope, Store, StoreError, StoreOptions, Tokens,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use scratch::Scratch;

const HOOK: &str = "https://hooks.example.com/in";

#[tokio::test]
async fn calls_are_listed_newest_first_and_by_status_and_provider_page_by_page() {
    let store = memory();
    let calls: Vec<CallRecord> = (0..250)
        .map(|n| {
            let mut call = call("acme", n);
            call.view.status = if n % 2 == 0 { Status::Ended } else { Status::Answered };
            call.view.provider = if n % 5 == 0 { "genesys".into() } else { "sip-main".into() };
            call
        })
        .collect();
    keep(&store, 1, calls.iter().map(|call| Record::Call(Arc::new(call.clone())))).await;

    let list = async |filter: &CallFilter| -> Vec<CallId> {
        let found = store.calls("acme".into(), filter.clone()).await.unwrap();
        found.iter().map(|call| call.view.call_id).collect()
    };
    let expected = |is_listed: &dyn Fn(&CallRecord) -> bool| -> Vec<CallId> {
        calls.iter().rev().filter(|call| is_listed(call)).map(|call| call.view.call_id).collect()
    };

    let mut all = CallFilter { limit: 1_000, ..CallFilter::default() };
    let mut pages = list(&all).await;
    assert_eq!(pages.len(), 200, "a page holds no more, whatever is asked");
    all.before = pages.last().copied();
    pages.extend(list(&all).await);
    assert_eq!(pages, expected(&|_| true));
    let answered =
        CallFilter { status: Some(Status::Answered), provider: Some("genesys".into()), ..all.clone() };
    let answered = CallFilter { before: None, ..answered };
    assert_eq!(
        list(&answered).await,
        expected(&|call| call.view.status == Status::Answered && call.view.provider.as_str() == "genesys")
    );
    let ended = CallFilter { status: Some(Status::Ended), limit: 3, ..CallFilter::default() };
    assert_eq!(list(&ended).await, expected(&|call| call.view.status == Status::Ended)[..3]);
    assert_eq!(list(&CallFilter::default()).await, [], "a limit of nothing");
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_another() {
    let store = memory();
    let theirs = call("other", 1);
    let event = records::event(&theirs, 1, Some(HOOK), began());
    keep(&store, 1, [event, Record::Milestone(milestone(&theirs, "invite sent"))]).await;
    let (acme, id) = (|| TenantId::from("acme"), theirs.view.call_id);
    let event = EventId { call: id, seq: 1 };

    assert_eq!(store.call(acme(), id).await.unwrap(), None);
    assert_eq!(store.timeline(acme(), id).await.unwrap(), None);
    assert_eq!(store.calls(acme(), CallFilter { limit: 9, ..CallFilter::default() }).await.unwrap(), []);
    assert!(store.events_after(acme(), Some(event), 9).await.unwrap().is_empty());
    let listed = store.deliveries(acme(), DeliveryFilter { limit: 9, ..DeliveryFilter::default() });
    assert_eq!(listed.await.unwrap(), []);
    assert_eq!(store.replay(acme(), event).await.unwrap(), None);
    assert!(store.call("other".into(), id).await.unwrap().is_some());
    assert_eq!(store.timeline("other".into(), id).await.unwrap().unwrap().len(), 1);
    assert!(store.replay("other".into(), event).await.unwrap().is_some());
}

#[tokio::test]
async fn the_timeline_keeps_the_order_in_which_it_was_told() {
    let store = memory();
    let call = call("acme", 1);
    let told: Vec<Milestone> =
        ["invite received", "engine connected", "answered"].map(|what| milestone(&call, what)).to_vec();
    let records = told.iter().cloned().map(Record::Milestone);
    keep(&store, 1, std::iter::once(Record::Call(Arc::new(call.clone()))).chain(records)).await;

    let timeline = store.timeline("acme".into(), call.view.call_id).await.unwrap();

    assert_eq!(timeline, Some(told));
}

#[tokio::test]
async fn a_reader_of_events_resumes_where_it_was_and_goes_on_live() {
    let store = memory();
    let (ours, theirs) = (call("acme", 1), call("other", 2));
    let told =
        (1..=200).flat_map(|seq| [&ours, &theirs].map(|call| records::event(call, seq, None, began())));
    keep(&store, 1, told).await;

    let after = EventId { call: ours.view.call_id, seq: 120 };
    let mut feed = store.follow("acme".into(), Some(after)).await.unwrap();
    let mut fresh = store.follow("acme".into(), None).await.unwrap();
    keep(&store, 401, (201..=210).map(|seq| records::event(&ours, seq, None, began()))).await;

    for seq in 121..=210 {
        let event = feed.next().await.unwrap().unwrap();
        assert_eq!((event.id.call, event.id.seq), (ours.view.call_id, seq));
    }
    assert_eq!(fresh.next().await.unwrap().unwrap().id.seq, 201);
    let unknown = EventId { call: call("acme", 99).view.call_id, seq: 1 };
    let mut oldest = store.follow("acme".into(), Some(unknown)).await.unwrap();
    assert_eq!(oldest.next().await.unwrap().unwrap().id.seq, 1, "better twice than never");
    store.close().await.unwrap();
    assert!(matches!(feed.next().await, Ok(None) | Err(StoreError::Closed)));
}

#[tokio::test]
async fn what_was_open_and_which_keys_were_used_is_told_at_the_next_start() {
    let file = Scratch::new("recovered");
    let (store, recovered) = open(&file);
    assert!(recovered.open_calls.is_empty() && recovered.idempotency.is_empty());
    let mut running = recent(1);
    running.idempotency = Some(Idempotency { key: "k1".into(), fingerprint: "ab".into() });
    let mut ended = recent(2);
    ended.view.status = Status::Ended;
    ended.idempotency = Some(Idempotency { key: "k2".into(), fingerprint: "cd".into() });
    let mut old = call("acme", 3);
    old.view.status = Status::Ended;
    old.idempotency = Some(Idempotency { key: "k3".into(), fingerprint: "ef".into() });
    let all = [&running, &ended, &old].map(|call| Record::Call(Arc::new(call.clone())));
    keep(&store, 1, all).await;
    store.close().await.unwrap();

    let (store, recovered) = open(&file);

    assert_eq!(recovered.open_calls, [running.clone()]);
    let keys: Vec<(&str, CallId)> =
        recovered.idempotency.iter().map(|(_, used, call)| (used.key.as_str(), *call)).collect();
    assert_eq!(keys, [("k1", running.view.call_id), ("k2", ended.view.call_id)]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_refused() {
    let file = Scratch::new("locked");
    let (store, _) = open(&file);

    let second = Store::open(Location::File(file.path("edge.db")), &StoreOptions::default());

    assert!(matches!(second, Err(StoreError::InUse)));
    store.close().await.unwrap();
    open(&file).0.close().await.unwrap();
}

#[tokio::test]
async fn a_token_revoked_by_another_process_is_refused_at_once() {
    let file = Scratch::new("tokens");
    let (store, _) = open(&file);
    let beside = Tokens::open(&file.path("edge.db")).unwrap();
    let shown = beside.create(&"acme".into(), "crm", &[Scope::CallsRead]).unwrap();
    let token = store.verify(shown.clone()).await.unwrap().unwrap();
    assert_eq!((token.tenant.as_str(), token.scopes.as_slice()), ("acme", &[Scope::CallsRead][..]));

    assert!(beside.revoke(&token.id).unwrap());

    assert_eq!(store.verify(shown).await.unwrap(), None);
    assert_eq!(store.tokens().unwrap().list().unwrap().len(), 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn nobody_else_on_the_machine_may_read_the_file() {
    let file = Scratch::new("mode");
    let (store, _) = open(&file);
    keep(&store, 1, [Record::Call(Arc::new(call("acme", 1)))]).await;

    for path in [file.path("edge.db"), file.path("edge.db-wal"), file.path("edge.db-shm")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    store.close().await.unwrap();
}

/// The child prints what it was told is durable; whatever it printed before it was killed must be there afterwards.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let file = Scratch::new("killed");
    let mut chance = SmallRng::seed_from_u64(9);
    let mut acknowledged = 0;
    for round in 0..8 {
        acknowledged = keep_until_killed(&file.path("edge.db"), acknowledged, chance.random_range(1..40));

        let (store, _) = open(&file);
        let mut kept = BTreeSet::new();
        let mut after = None;
        loop {
            let page = store.events_after("acme".into(), after, 200).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.event.id);
            kept.extend(page.iter().map(|committed| committed.event.id));
        }
        for n in 0..acknowledged {
            let id = numbered(n).1;
            assert!(kept.contains(&id), "round {round}: event {n} of {acknowledged} is missing");
            let call = store.call("acme".into(), id.call).await.unwrap();
            assert!(call.is_some_and(|call| call.last_seq >= id.seq), "round {round}: the call of event {n}");
        }
        assert_eq!(store.outbox_backlog().await.unwrap().pending, kept.len() as u64, "an event, a delivery");
        store.close().await.unwrap();
    }
    assert!(acknowledged > 100, "the child was killed too early to prove anything: {acknowledged}");
}

/// Starts this test binary again as the child, to go on after the first `known` events, and kills it after it has
/// printed some lines. Answers the number of events that it said are durable.
fn keep_until_killed(path: &Path, known: u64, lines: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_that_is_killed", "--nocapture"])
        .env("CALLINGEDGE_TEST_STORE", path)
        .env("CALLINGEDGE_TEST_KNOWN", known.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let said =
        output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("durable ")?.parse().ok());
    let last = said.take(lines).last();
    child.kill().unwrap();
    child.wait().unwrap();
    last.unwrap_or_else(|| panic!("the child said nothing after {known}"))
}

/// Does nothing unless it was started by the test above.
#[tokio::test]
async fn the_child_that_is_killed() {
    let Some(path) = std::env::var_os("CALLINGEDGE_TEST_STORE") else { return };
    let (store, _) = Store::open(Location::File(path.into()), &StoreOptions::default()).unwrap();
    let mut durable = store.durable();
    let known: u64 = std::env::var("CALLINGEDGE_TEST_KNOWN").unwrap().parse().unwrap();
    for number in 1.. {
        // What was kept before it was acknowledged is kept again, once.
        let (call, id) = numbered(known + number - 1);
        store.keep(RecordNumber(number), records::event(&call, id.seq, Some(HOOK), began()));
        if number % 7 == 0 {
            durable.changed().await.unwrap();
            let told = known + durable.borrow_and_update().0;
            writeln!(std::io::stdout(), "durable {told}").unwrap();
        }
    }
}

/// The `n`th event of the child: four to a call.
fn numbered(n: u64) -> (CallRecord, EventId) {
    let call = call("acme", n / 4);
    let id = EventId { call: call.view.call_id, seq: u32::try_from(n % 4).unwrap() + 1 };
    (call, id)
}

/// A day in the past that is the same in every process.
fn began() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_779_298_264)
}

fn call(tenant: &str, n: u64) -> CallRecord {
    records::call(tenant, n, began())
}

#[expect(clippy::disallowed_methods, reason = "the store compares with the wall clock")]
fn recent(n: u64) -> CallRecord {
    records::call("acme", n, SystemTime::now())
}

fn milestone(call: &CallRecord, what: &str) -> Milestone {
    Milestone {
        call: call.view.call_id,
        at: call.view.started_at,
        since_start_ms: 20,
        layer: Layer::Engine,
        what: what.into(),
        detail: Some("203.0.113.5:5060".into()),
    }
}

fn memory() -> Store {
    Store::open(Location::memory(), &StoreOptions::default()).unwrap().0
}

fn open(file: &Scratch) -> (Store, callingedge::store::Recovered) {
    Store::open(Location::File(file.path("edge.db")), &StoreOptions::default()).unwrap()
}

/// Keeps the records and waits until they are on disk.
async fn keep(store: &Store, first: u64, records: impl IntoIterator<Item = Record>) {
    let mut last = first;
    for (number, record) in (first..).zip(records) {
        store.keep(RecordNumber(number), record);
        last = number;
    }
    store.durable().wait_for(|durable| durable.0 >= last).await.unwrap();
}
