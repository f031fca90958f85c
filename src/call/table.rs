//! Every running call, for whoever asks: the API and the SIP path look a call up without waiting for anyone.
//!
//! Only the owner of a call publishes and removes it; readers get the record as it was published last. An ended
//! call leaves the table once it is on disk, so that at every moment it is found here or there (or in both).

use std::sync::Arc;

use super::ids::{CallId, TenantId};
use super::record::CallRecord;
use super::view::Status;

/// The running calls, lock-free to read.
#[derive(Debug)]
pub struct CallTable {
    calls: papaya::HashMap<CallId, Arc<CallRecord>>,
}

impl CallTable {
    /// A table that holds `calls` calls before it has to grow.
    pub fn with_capacity(calls: usize) -> Self {
        Self { calls: papaya::HashMap::builder().capacity(calls).build() }
    }

    /// Shows everyone the call as it is now.
    pub fn publish(&self, record: Arc<CallRecord>) {
        self.calls.pin().insert(record.view.call_id, record);
    }

    /// Takes an ended call out. For its owner, once the call's last record is on disk.
    pub fn remove(&self, call: CallId) {
        self.calls.pin().remove(&call);
    }

    /// The call as it was published last.
    pub fn find(&self, call: CallId) -> Option<Arc<CallRecord>> {
        self.calls.pin().get(&call).cloned()
    }

    /// The newest `limit` calls of a tenant among those that `wanted` picks, newest first. Calls that begin or end
    /// meanwhile may be missing.
    pub fn live(
        &self,
        tenant: &TenantId,
        limit: usize,
        wanted: impl Fn(&CallRecord) -> bool,
    ) -> Vec<Arc<CallRecord>> {
        let newest = |record: &&Arc<CallRecord>| std::cmp::Reverse(record.view.call_id);
        let calls = self.calls.pin();
        let of_tenant = calls.values().filter(|record| record.tenant == *tenant && wanted(record));
        let mut found: Vec<&Arc<CallRecord>> = of_tenant.collect();
        // What is not shown is not sorted, and its count of owners is not touched.
        if found.len() > limit {
            found.select_nth_unstable_by_key(limit, newest);
            found.truncate(limit);
        }
        // The order of hashing must not show.
        found.sort_unstable_by_key(newest);
        found.into_iter().cloned().collect()
    }

    /// How many calls run that `wanted` picks.
    pub fn running(&self, wanted: impl Fn(&CallRecord) -> bool) -> usize {
        let calls = self.calls.pin();
        calls.values().filter(|record| record.view.status != Status::Ended && wanted(record)).count()
    }

    /// How many calls there are, those included that have just ended.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::super::clock::Timestamp;
    use super::super::context::Context;
    use super::super::view::{CallView, Direction, Latency, Mode, Quality, SipPart};
    use super::*;

    #[test]
    fn a_call_is_found_as_published_last_until_it_is_removed() {
        let table = CallTable::with_capacity(4);
        let ringing = record(1, "acme", Status::Ringing);
        let answered = CallRecord {
            view: CallView { status: Status::Answered, ..ringing.view.clone() },
            ..CallRecord::clone(&ringing)
        };
        let call = ringing.view.call_id;

        table.publish(ringing);
        table.publish(Arc::new(answered));
        let found = table.find(call).map(|record| record.view.status);
        table.remove(call);

        assert_eq!(found, Some(Status::Answered));
        assert_eq!(table.find(call), None);
        assert!(table.is_empty());
    }

    #[test]
    fn a_tenant_sees_its_own_calls_newest_first_and_no_others() {
        let table = CallTable::with_capacity(8);
        for (second, tenant) in [(3, "acme"), (1, "acme"), (2, "other"), (4, "acme")] {
            table.publish(record(second, tenant, Status::Answered));
        }
        table.publish(record(5, "acme", Status::Ended));

        let live =
            |limit| table.live(&TenantId::from("acme"), limit, |record| record.view.status != Status::Ended);

        let started = |live: Vec<Arc<CallRecord>>| -> Vec<i64> {
            live.iter().map(|record| record.view.started_at.unix_ms() / 1000).collect()
        };
        assert_eq!(started(live(10)), [4, 3, 1]);
        assert_eq!(started(live(2)), [4, 3]);
        assert_eq!(started(live(0)), [0; 0]);
        assert_eq!(table.running(|record| record.tenant == "acme".into()), 3);
        assert_eq!(table.len(), 5);
    }

    fn record(second: u64, tenant: &str, status: Status) -> Arc<CallRecord> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let view = CallView {
            call_id: CallId::new(wall, &mut SmallRng::seed_from_u64(second)),
            provider: "sip-main".into(),
            provider_call_id: None,
            direction: Direction::Inbound,
            from: "+18005551234".to_owned(),
            to: "+16505824074".to_owned(),
            status,
            mode: Mode::AiOnly,
            engine: None,
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
            identity: crate::call::Identity::default(),
            legs: Vec::new(),
        };
        Arc::new(CallRecord {
            tenant: tenant.into(),
            view,
            last_seq: 0,
            webhook_url: None,
            idempotency: None,
        })
    }
}
