//! Calls and events to be kept, as the exchange would make them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callingedge::call::{
    Asker, CallId, CallRecord, CallView, Context, Direction, EdgePart, EventBody, EventId, EventKind,
    EventRecord, Latency, Mode, ModeChange, Quality, Record, SipPart, Status, Timestamp,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// The `n`th call of a tenant, begun at `at`.
pub(crate) fn call(tenant: &str, n: u64, at: SystemTime) -> CallRecord {
    CallRecord {
        tenant: tenant.into(),
        view: CallView {
            call_id: CallId::new(at + Duration::from_millis(n), &mut SmallRng::seed_from_u64(n)),
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
            started_at: at.into(),
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
        },
        last_seq: 0,
        webhook_url: None,
        idempotency: None,
    }
}

/// That call's event `seq`, with the body of the contract.
pub(crate) fn event(call: &CallRecord, seq: u32, url: Option<&str>, at: SystemTime) -> Record {
    let view = &call.view;
    let body = EventBody {
        provider: view.provider.clone(),
        kind: EventKind::Transferred,
        call_id: view.call_id,
        direction: view.direction,
        from: view.from.clone(),
        to: view.to.clone(),
        context: Context { intent: Some("büchen".into()), ..Context::default() },
        duration_sec: None,
        disposition: None,
        recording_url: None,
        transcript_url: None,
        raw: serde_json::value::RawValue::from_string("{\"method\": \"INVITE\"}".into()).expect("is JSON"),
        occurred_at: Timestamp::from(at),
        edge: EdgePart {
            seq,
            mode: Some(ModeChange {
                from: Mode::AiFirst,
                to: Mode::Assist,
                reason: "asked for".into(),
                by: Asker::Engine,
            }),
            answered_by: None,
            end_reason: None,
        },
    };
    let event = EventRecord {
        id: EventId { call: view.call_id, seq },
        tenant: call.tenant.clone(),
        provider: view.provider.clone(),
        kind: body.kind,
        occurred_at: body.occurred_at,
        is_last: false,
        webhook_url: url.map(Into::into),
        body: serde_json::to_vec(&body).expect("an event is JSON").into(),
    };
    let call = CallRecord { last_seq: seq, ..call.clone() };
    Record::Event { event: Arc::new(event), call: Arc::new(call) }
}
