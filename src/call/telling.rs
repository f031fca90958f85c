//! Tells what happens in a call: events for the customer, milestones for the timeline, the call object for readers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::clock::Timestamp;
use super::event::{EdgePart, EventBody, EventKind, ModeChange};
use super::ids::EventId;
use super::output::Output;
use super::outputs::Outputs;
use super::record::{CallRecord, EventRecord, Layer, Milestone, Record};
use super::view::{CallView, LegStatus, Status};

/// What is known of a call, and its numbering. Whoever changes it shows the change.
pub(super) struct Story {
    record: CallRecord,
    began: Instant,
    answered: Option<Instant>,
    webhook_url: Option<String>,
}

impl Story {
    /// A story that begins now. `webhook_url` is where its events go.
    pub(super) fn begin(
        record: CallRecord,
        webhook_url: Option<String>,
        now: Instant,
        outputs: &mut Outputs,
    ) -> Self {
        let story = Self { record, began: now, answered: None, webhook_url };
        story.show(outputs);
        story
    }

    pub(super) fn view(&self) -> &CallView {
        &self.record.view
    }

    pub(super) fn record(&self) -> Arc<CallRecord> {
        Arc::new(self.record.clone())
    }

    pub(super) fn kept(&self) -> &CallRecord {
        &self.record
    }

    pub(super) fn into_record(self) -> CallRecord {
        self.record
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.answered
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// Changes what is known and shows it to readers; it reaches the disk with the next event.
    pub(super) fn change(&mut self, outputs: &mut Outputs, change: impl FnOnce(&mut CallView)) {
        change(&mut self.record.view);
        outputs.push(Output::Publish(self.record()));
    }

    /// Shows the call to readers and keeps it.
    pub(super) fn show(&self, outputs: &mut Outputs) {
        let record = self.record();
        outputs.keep(Record::Call(record.clone()));
        outputs.push(Output::Publish(record));
    }

    /// The call is in conversation from `now` on.
    pub(super) fn answer(&mut self, now: Instant, outputs: &mut Outputs) {
        self.answered = Some(now);
        let view = &mut self.record.view;
        view.answered_at = Some(outputs.timestamp(now));
        view.status = Status::Answered;
        view.latency.setup_ms = Some(milliseconds(now - self.began));
        if let Some(leg) = view.legs.first_mut() {
            leg.status = LegStatus::Connected;
        }
    }

    /// The call is over at `now`; its last event has to follow at once.
    pub(super) fn finish(&mut self, now: Instant, reason: super::event::EndReason, outputs: &mut Outputs) {
        let view = &mut self.record.view;
        view.status = Status::Ended;
        view.end_reason = Some(reason);
        view.ended_at = Some(outputs.timestamp(now));
        view.duration_sec = self.answered.map(|answered| (now - answered).as_secs());
        view.legs.iter_mut().for_each(|leg| leg.status = LegStatus::Ended);
    }

    /// Sends an event with the call as it is now.
    pub(super) fn tell(&mut self, now: Instant, outputs: &mut Outputs, kind: EventKind, raw: Box<RawValue>) {
        self.tell_with(now, outputs, kind, raw, None);
    }

    /// Sends an event that tells of another mode.
    pub(super) fn tell_mode(
        &mut self,
        now: Instant,
        outputs: &mut Outputs,
        kind: EventKind,
        raw: Box<RawValue>,
        change: ModeChange,
    ) {
        self.tell_with(now, outputs, kind, raw, Some(change));
    }

    fn tell_with(
        &mut self,
        now: Instant,
        outputs: &mut Outputs,
        kind: EventKind,
        raw: Box<RawValue>,
        change: Option<ModeChange>,
    ) {
        self.record.last_seq += 1;
        let lasted = self.answered.map(|at| now - at);
        let mut body = body(&self.record, kind, raw, lasted, outputs.timestamp(now));
        body.edge.mode = change;
        let event = Arc::new(event_record(&self.record, &body, self.webhook_url.clone()));
        self.milestone(now, outputs, Layer::Event, kind.as_str(), None);
        let call = self.record();
        outputs.keep(Record::Event { event, call: call.clone() });
        outputs.push(Output::Publish(call));
    }

    /// Adds a line to the timeline.
    pub(super) fn milestone(
        &self,
        now: Instant,
        outputs: &mut Outputs,
        layer: Layer,
        what: &str,
        detail: Option<String>,
    ) {
        let since_start_ms = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        outputs.keep(Record::Milestone(Milestone {
            call: self.record.view.call_id,
            at: outputs.timestamp(now),
            since_start_ms,
            layer,
            what: what.to_owned(),
            detail,
        }));
    }
}

/// The event that closes a call which the process before this one left open.
pub(super) fn closing_event(
    record: &mut CallRecord,
    webhook_url: Option<String>,
    at: Timestamp,
) -> EventRecord {
    let view = &mut record.view;
    let lasted = view.answered_at.map(|answered| answered.until(at));
    view.status = Status::Ended;
    view.end_reason = Some(super::event::EndReason::EdgeRestarted);
    view.ended_at = Some(at);
    view.duration_sec = lasted.map(|lasted| lasted.as_secs());
    record.last_seq += 1;
    let kind = if view.answered_at.is_some() { EventKind::Ended } else { EventKind::Error };
    let body = body(record, kind, nothing(), lasted, at);
    event_record(record, &body, webhook_url)
}

fn body(
    record: &CallRecord,
    kind: EventKind,
    raw: Box<RawValue>,
    lasted: Option<Duration>,
    occurred_at: Timestamp,
) -> EventBody {
    let view = &record.view;
    EventBody {
        provider: view.provider.clone(),
        kind,
        call_id: view.call_id,
        direction: view.direction,
        from: view.from.clone(),
        to: view.to.clone(),
        context: view.context.clone(),
        duration_sec: lasted.map(|lasted| lasted.as_secs()),
        disposition: view.disposition.clone(),
        recording_url: view.recording_url.clone(),
        transcript_url: view.transcript_url.clone(),
        raw,
        occurred_at,
        edge: EdgePart {
            seq: record.last_seq,
            mode: None,
            answered_by: view.answered_by,
            end_reason: view.end_reason,
        },
    }
}

fn event_record(record: &CallRecord, body: &EventBody, webhook_url: Option<String>) -> EventRecord {
    EventRecord {
        id: EventId { call: body.call_id, seq: body.edge.seq },
        tenant: record.tenant.clone(),
        provider: body.provider.clone(),
        kind: body.kind,
        occurred_at: body.occurred_at,
        is_last: body.is_last(),
        webhook_url,
        body: Bytes::from(
            serde_json::to_vec(body).expect("an event has only string keys and finite numbers"),
        ),
    }
}

/// A SIP message as the `raw` of an event: method or status, reason, headers; credentials left out.
pub(super) fn raw(message: &sip::Message) -> Box<RawValue> {
    let mut object = Map::new();
    match message.start_line() {
        sip::StartLine::Request { method, .. } => {
            object.insert("method".into(), method.as_str().into());
        }
        sip::StartLine::Response { status, reason } => {
            object.insert("status".into(), status.code().into());
            object.insert("reason".into(), reason.into());
        }
    }
    let mut headers = Map::new();
    for (name, value) in message.all_headers() {
        if is_secret(name) {
            continue;
        }
        let values = headers.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.text().into());
        }
    }
    object.insert("headers".into(), Value::Object(headers));
    boxed(object)
}

/// The `raw` of a failure that no message told: `code` is one of `docs/errors.md`.
pub(super) fn raw_code(code: &str, detail: &str) -> Box<RawValue> {
    let mut object = Map::new();
    object.insert("code".into(), code.into());
    object.insert("detail".into(), detail.into());
    boxed(object)
}

/// The `raw` of an event that no message caused.
pub(super) fn nothing() -> Box<RawValue> {
    boxed(Map::new())
}

/// Headers that hold proofs of a password.
pub(super) fn is_secret(header: &str) -> bool {
    header.eq_ignore_ascii_case("Authorization") || header.eq_ignore_ascii_case("Proxy-Authorization")
}

fn boxed(object: Map<String, Value>) -> Box<RawValue> {
    serde_json::value::to_raw_value(&Value::Object(object)).expect("an object of strings is JSON")
}

pub(super) fn milliseconds(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1000.0
}
