//! Finding a call while another thread publishes without pause. Budget: a microsecond a look-up, which is a hundredth of
//! what the cheapest request costs; and readers that never wait for the writer.
#![expect(clippy::disallowed_methods, reason = "it measures what threads do to each other")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use callingedge::call::{
    CallId, CallRecord, CallTable, CallView, Context, Direction, Latency, Mode, Quality, SipPart, Status,
    TenantId, Timestamp,
};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// As many as one machine holds on a busy day.
const CALLS: usize = 10_000;

fn look_up(bench: &mut Criterion) {
    let records: Vec<Arc<CallRecord>> = (0..CALLS).map(record).collect();
    let table = Arc::new(CallTable::with_capacity(CALLS));
    for record in &records {
        table.publish(Arc::clone(record));
    }
    let ids: Vec<CallId> = records.iter().map(|record| record.view.call_id).collect();

    bench.bench_function("call_table/find, nobody writes", |b| b.iter(walk(&table, &ids)));

    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (table, stop, records) = (Arc::clone(&table), Arc::clone(&stop), records.clone());
        move || {
            // A call ends and another begins, over and over: the worst that can happen to a table.
            for record in records.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                table.publish(Arc::clone(record));
                table.remove(record.view.call_id);
                table.publish(Arc::clone(record));
            }
        }
    });
    bench.bench_function("call_table/find, while one writes without pause", |b| b.iter(walk(&table, &ids)));
    let tenant = TenantId::from("acme");
    bench.bench_function("call_table/newest 50 of 10,000, while one writes without pause", |b| {
        b.iter(|| black_box(table.live(&tenant, 50, |record| record.view.status == Status::Answered)).len())
    });
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer does not panic");
}

/// One look-up after the other, never the same twice in a row.
fn walk(table: &Arc<CallTable>, ids: &[CallId]) -> impl FnMut() -> bool {
    let mut next = 0;
    move || {
        next = (next + 7919) % ids.len();
        black_box(table.find(ids[next])).is_some()
    }
}

fn record(n: usize) -> Arc<CallRecord> {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + n as u64);
    let view = CallView {
        call_id: CallId::new(wall, &mut SmallRng::seed_from_u64(n as u64)),
        provider: "sip-main".into(),
        provider_call_id: None,
        direction: Direction::Inbound,
        from: "+18005551234".to_owned(),
        to: "+16505824074".to_owned(),
        status: Status::Answered,
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
    Arc::new(CallRecord { tenant: "acme".into(), view, last_seq: 0, webhook_url: None, idempotency: None })
}

criterion_group!(benches, look_up);
criterion_main!(benches);
