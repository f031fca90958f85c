//! How fast events become durable, and what a bearer token's check costs. Budget on a disk with 4 ms for an `fsync`:
//! 1,000 events with their calls and deliveries in 200 ms; a check 100 µs.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callingedge::call::{CallRecord, Record, RecordNumber};
use callingedge::store::{Location, Scope, Store, StoreOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/support/records.rs"]
mod records;

fn group_commit(bench: &mut Criterion) {
    let runtime = runtime();
    let folder = std::env::temp_dir().join(format!("callingedge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let location = Location::File(folder.join("edge.db"));
    let (store, _) = Store::open(location, &StoreOptions::default()).expect("a new file");
    let mut durable = store.durable();
    let next = Cell::new(0);
    let mut group = bench.benchmark_group("store");
    group.sample_size(20);
    for size in [1_u64, 50, 1_000] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("commit/{size}"), |b| {
            b.iter_batched(
                || (0..size).map(|n| event(next.get() + n)).collect::<Vec<_>>(),
                |events| {
                    for event in events {
                        next.set(next.get() + 1);
                        store.keep(RecordNumber(next.get()), event);
                    }
                    runtime
                        .block_on(durable.wait_for(|durable| durable.0 >= next.get()))
                        .expect("it is open");
                },
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    runtime.block_on(store.close()).expect("the disk works");
    std::fs::remove_dir_all(folder).expect("it is ours");
}

fn verify_token(bench: &mut Criterion) {
    let runtime = runtime();
    let (store, _) = Store::open(Location::memory(), &StoreOptions::default()).expect("a new store");
    let tokens = store.tokens().expect("the store is open");
    let shown = tokens.create(&"acme".into(), "bench", &[Scope::CallsRead]).expect("the disk works");
    bench.bench_function("store/verify_token", |b| {
        b.iter(|| runtime.block_on(store.verify(black_box(&shown).clone())).expect("it can be read"));
    });
}

fn event(n: u64) -> Record {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_779_298_264);
    let seq = u32::try_from(n % 4).expect("is small") + 1;
    let call: Arc<CallRecord> = Arc::new(records::call("acme", n / 4, at));
    records::event(&call, seq, Some("https://hooks.example.com/in"), at)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

criterion_group!(benches, group_commit, verify_token);
criterion_main!(benches);
