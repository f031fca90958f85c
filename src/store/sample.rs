//! Records for the tests of this module.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::call::{
    CallId, CallRecord, CallView, Context, Direction, EventId, EventKind, EventRecord, Latency, Layer,
    Milestone, Mode, Quality, Record, SipPart, Status, Timestamp,
};

/// A time long ago, `ms` milliseconds after a fixed moment.
pub(super) fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + ms)
}

/// The `n`th call of the tenant `acme`, in conversation.
pub(super) fn call(n: u64) -> CallRecord {
    let started: Timestamp = at(n).into();
    CallRecord {
        tenant: "acme".into(),
        view: CallView {
            call_id: CallId::new(at(n), &mut SmallRng::seed_from_u64(n)),
            provider: "sip-main".into(),
            provider_call_id: None,
            direction: Direction::Outbound,
            from: "+18005551234".into(),
            to: "+16505824074".into(),
            status: Status::Answered,
            mode: Mode::AiFirst,
            engine: None,
            context: Context::default(),
            disposition: None,
            notes: None,
            started_at: started,
            answered_at: Some(started),
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
        },
        last_seq: 0,
        webhook_url: None,
        idempotency: None,
    }
}

/// An event of that call, for a receiver.
pub(super) fn event(call: &CallRecord, seq: u32, url: Option<&str>) -> EventRecord {
    let id = EventId { call: call.view.call_id, seq };
    EventRecord {
        id,
        tenant: call.tenant.clone(),
        provider: call.view.provider.clone(),
        kind: EventKind::Answered,
        occurred_at: call.view.started_at,
        is_last: false,
        webhook_url: url.map(Into::into),
        body: format!("{{\"event\":\"{id}\"}}").into(),
    }
}

/// That event with its call, to be kept.
pub(super) fn told(call: &CallRecord, seq: u32, url: Option<&str>) -> Record {
    let call = CallRecord { last_seq: seq, ..call.clone() };
    Record::Event { event: Arc::new(event(&call, seq, url)), call: Arc::new(call) }
}

/// A line of that call's timeline.
pub(super) fn milestone(call: &CallRecord, what: &str) -> Milestone {
    Milestone {
        call: call.view.call_id,
        at: call.view.started_at,
        since_start_ms: 0,
        layer: Layer::Signalling,
        what: what.into(),
        detail: None,
    }
}
