//! Drain, stop, and the start after a crash.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{EndReason, EventKind, Mode, Settings, TenantId};
use sip::StatusCode;
use sip::endpoint::Event;

use crate::line::{Line, SDP, settings};

#[test]
fn a_drain_takes_no_new_calls_and_waits_for_those_that_run() {
    let mut line = Line::new();
    let dialog = line.talk();

    line.exchange.drain(line.now);
    line.settle();
    line.ring_edge(Some(SDP));
    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.retry_after().unwrap().is_some());
    assert!(!line.drained);

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    line.close_voice();
    line.pass(Duration::from_secs(40));
    assert!(line.drained);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
}

#[test]
fn a_drain_has_a_limit() {
    let mut line = Line::new();
    line.talk();
    line.exchange.drain(line.now);

    line.pass(Duration::from_secs(10));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::EdgeShutdown));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}

#[test]
fn a_stop_ends_what_runs_and_what_rings() {
    let mut line = Line::new();
    line.talk();
    line.ring_edge(Some(SDP));

    line.exchange.stop(line.now);
    line.settle();

    let last: Vec<_> = line.events.iter().filter(|event| event.is_last()).map(|event| event.kind).collect();
    assert_eq!(last.len(), 2);
    assert!(last.contains(&EventKind::Ended) && last.contains(&EventKind::Error));
}

/// A BYE is repeated for 32 seconds (RFC 3261 §17.1.2.2); no service manager waits that long.
#[test]
fn a_far_end_that_does_not_answer_holds_up_a_stop_for_seconds_only() {
    let mut line = Line::new();
    line.talk();
    line.cut = true;

    line.exchange.stop(line.now);
    line.settle();
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EdgeShutdown));
    assert!(!line.drained, "the BYE is repeated first");

    line.pass(Duration::from_secs(5));
    assert!(line.drained);
}

#[test]
fn who_is_told_to_stop_again_waits_for_nobody() {
    let mut line = Line::new();
    line.talk();
    line.cut = true;
    line.exchange.stop(line.now);
    line.settle();

    line.exchange.stop(line.now);
    line.settle();

    assert!(line.drained);
}

#[test]
fn an_idle_exchange_is_drained_at_once() {
    let mut line = Line::new();

    line.exchange.drain(line.now);
    line.settle();

    assert!(line.drained);
}

#[test]
fn a_call_that_a_crash_cut_off_gets_its_last_event_from_the_next_start() {
    let mut line = Line::new();
    line.talk();
    let open = callingedge::call::CallRecord::clone(line.shown.as_ref().unwrap());
    let told = line.events.len();

    let mut next = Line::new();
    next.exchange.recover(next.now, vec![open.clone()], Vec::new());
    next.settle();

    assert_eq!(next.kinds(), [EventKind::Ended]);
    assert_eq!(next.last().edge.end_reason, Some(EndReason::EdgeRestarted));
    assert_eq!(next.last().edge.seq as usize, told + 1);
    assert_eq!(next.last().call_id, open.view.call_id);
}

#[test]
fn keys_of_the_process_before_are_honoured() {
    let mut line = Line::new();
    line.place(r#"{"to": "+15550123"}"#, Some(("k", "f")));
    let record = line.shown.clone().unwrap();
    let key = record.idempotency.clone().unwrap();

    let mut next = Line::new();
    next.exchange.recover(next.now, Vec::new(), vec![(TenantId::from("acme"), key, record.clone())]);
    let answer = next.place(r#"{"to": "+15550123"}"#, Some(("k", "f")));

    assert!(
        matches!(answer, callingedge::call::Answer::Placed(known) if known.view.call_id == record.view.call_id)
    );
    assert_eq!(next.exchange.tally().calls, 0);
}

#[test]
fn a_trunk_is_probed_and_its_health_told() {
    let mut settings = settings();
    let provider = settings.providers.values().next().unwrap();
    let mut probed = callingedge::call::Provider::clone(provider);
    probed.trunk.probe_interval = Some(Duration::from_secs(30));
    probed.default_mode = Mode::AiOnly;
    settings.providers = [(probed.key.clone(), Arc::new(probed))].into();
    let mut line = Line::with(Settings { ..settings });
    line.settle();
    assert_eq!(line.health.last().unwrap().reachable, None);

    line.pass(Duration::from_millis(1));
    let id = line.heard.iter().find_map(|event| match event {
        Event::Request { id, .. } => Some(*id),
        _ => None,
    });
    line.far.respond(line.now, id.unwrap(), StatusCode::NOT_FOUND, Vec::new(), None);
    line.settle();
    assert_eq!(line.health.last().unwrap().reachable, Some(true), "any final answer is a yes");

    line.cut = true;
    line.pass(Duration::from_secs(36));
    assert_eq!(line.health.last().unwrap().reachable, Some(false));
    line.cut = false;
    line.heard.clear();
    line.pass(Duration::from_secs(30));
    assert!(line.has_heard(|event| matches!(event, Event::Request { .. })), "it is probed again");
}
