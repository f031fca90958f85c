//! Calls that come in.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    EndReason, EngineCommand, EngineEvent, EngineFailure, EventKind, Status, UnknownSources, VoiceFact,
    VoiceOrder,
};
use sip::StatusCode;
use sip::endpoint::Event;

use crate::line::{EDGE, Line, SDP, flow, options_request, settings};

#[test]
fn the_engine_is_dialled_while_the_phone_rings_and_its_acceptance_answers() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    assert!(line.dialled.is_empty(), "a call without a port bothers no engine");

    line.open_port();
    assert_eq!(line.dialled.len(), 1);
    assert!(line.has_heard(|event| matches!(event, Event::Progress { response, .. } if response.status() == Some(StatusCode::RINGING))));
    line.fact(VoiceFact::EngineConnected);
    assert!(matches!(line.told()[..], [EngineEvent::Start(_)]));
    assert!(!line.has_heard(|event| matches!(event, Event::Answered { .. })));

    line.engine_says(EngineCommand::Accept);
    assert!(line.has_heard(|event| matches!(event, Event::Answered { .. })));
    assert_eq!(line.kinds(), [EventKind::InboundRinging], "answered is told when the answer is acknowledged");
}

#[test]
fn an_answered_call_is_told_once_and_ends_with_the_callers_bye() {
    let mut line = Line::new();
    let dialog = line.talk();
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered]);

    line.pass(Duration::from_secs(5));
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered, EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    assert_eq!(line.last().duration_sec, Some(5));
    assert!(matches!(line.orders[..], [VoiceOrder::Close(EndReason::RemoteHungUp)]));
    line.close_voice();
    line.pass(Duration::from_secs(40));
    assert_eq!(line.exchange.tally().calls, 0);
}

#[test]
fn what_the_engine_refuses_is_what_the_caller_hears() {
    for (status, kind, reason) in [
        (486, EventKind::Busy, EndReason::Busy),
        (480, EventKind::NoAnswer, EndReason::NoAnswer),
        (488, EventKind::Error, EndReason::EngineRefused),
        (603, EventKind::Error, EndReason::EngineRefused),
    ] {
        let mut line = Line::new();
        line.ring_edge(Some(SDP));
        line.open_port();
        line.fact(VoiceFact::EngineConnected);

        line.engine_says(EngineCommand::Reject { status, reason: "Not \"now\"".into() });

        let (heard, response) = line.refusal();
        assert_eq!(heard.code(), status);
        let told = response.reasons().next().unwrap().unwrap();
        assert_eq!(told.cause(), Some(status));
        assert_eq!((line.last().kind, line.last().edge.end_reason), (kind, Some(reason)));
    }
}

#[test]
fn an_engine_that_cannot_be_had_becomes_the_right_status() {
    for (failure, status) in [
        (EngineFailure::Connect("refused".into()), 503),
        (EngineFailure::Http { status: 486, retry_after: None }, 486),
        (EngineFailure::Http { status: 500, retry_after: None }, 502),
        (EngineFailure::Timeout, 504),
    ] {
        let mut line = Line::new();
        line.ring_edge(Some(SDP));
        line.open_port();

        line.fact(VoiceFact::EngineNotReached(failure));

        assert_eq!(line.refusal().0.code(), status);
        assert_eq!(line.events.len(), 2);
        assert!(line.last().is_last());
    }
}

#[test]
fn an_engine_that_never_decides_costs_the_caller_its_time_and_no_more() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);

    line.pass(Duration::from_secs(3));

    assert_eq!(line.refusal().0, StatusCode::SERVER_TIMEOUT);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineRefused));
}

#[test]
fn a_dialect_that_cannot_decide_takes_the_call_by_its_socket_and_starts_at_the_ack() {
    let mut line = Line::new();
    let dialog = line.ring_number("+15550001", Some(SDP), Vec::new());
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    assert!(line.has_heard(|event| matches!(event, Event::Answered { .. })));
    assert!(line.told().is_empty(), "its bot would greet a phone that nobody holds");

    line.far.acknowledge(line.now, dialog, None);
    line.settle();

    assert!(matches!(line.told()[..], [EngineEvent::Start(_)]));
}

#[test]
fn an_offer_that_nobody_can_answer_is_488_with_a_warning_and_bothers_no_engine() {
    let mut line = Line::new();
    line.ring_edge(Some(&SDP.replace("RTP/AVP 0 101", "RTP/AVP 18")));

    line.open_port();

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE_HERE);
    assert!(response.header_named("Warning").is_some());
    assert!(line.dialled.is_empty());
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaIncompatible));
}

#[test]
fn an_invite_without_an_offer_is_offered_and_the_ack_answers() {
    let mut line = Line::new();
    let dialog = line.ring_edge(None);
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    assert!(!line.orders.iter().any(|order| matches!(order, VoiceOrder::Negotiated { .. })));

    line.far.acknowledge(line.now, dialog, Some(sip::Body::sdp(SDP)));
    line.settle();

    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Negotiated { .. })));
    assert_eq!(line.last().kind, EventKind::Answered);
}

#[test]
fn an_ack_that_owes_an_answer_and_brings_none_ends_the_call() {
    let mut line = Line::new();
    let dialog = line.ring_edge(None);
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    line.far.acknowledge(line.now, dialog, None);
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaIncompatible));
}

#[test]
fn a_caller_who_gives_up_ends_the_call_before_it_was_one() {
    let mut line = Line::new();
    let dialog = line.ring_edge(Some(SDP));
    line.open_port();

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::NoAnswer]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::CallerCancelled));
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    assert_eq!(line.events.len(), 2, "an engine that comes too late changes nothing");
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    line.cut = true;
    line.pass(Duration::from_secs(33));

    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Error]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::NotAcknowledged));
}

#[test]
fn a_number_without_a_route_is_404_and_no_call() {
    let mut line = Line::new();

    line.ring_number("+19998887777", Some(SDP), Vec::new());

    assert_eq!(line.refusal().0, StatusCode::NOT_FOUND);
    assert!(line.events.is_empty());
    assert_eq!(line.exchange.tally().refused, 1);
}

#[test]
fn the_limit_of_calls_is_503_with_a_time_to_come_back() {
    let mut line = Line::with(callingedge::call::Settings { max_calls: 1, ..settings() });
    line.ring_edge(Some(SDP));

    line.ring_edge(Some(SDP));

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.retry_after().unwrap().is_some());
    assert_eq!(line.kinds(), [EventKind::InboundRinging], "the first call does not notice");
}

#[test]
fn a_disk_that_does_not_keep_up_refuses_new_calls_and_leaves_running_ones_alone() {
    let mut line = Line::with(callingedge::call::Settings { max_unsaved: 3, ..settings() });
    line.talk();

    line.ring_edge(Some(SDP));
    assert_eq!(line.refusal().0, StatusCode::SERVICE_UNAVAILABLE);

    line.heard.clear();
    line.exchange.handle_durable(line.newest);
    line.ring_edge(Some(SDP));
    assert!(!line.has_heard(|event| matches!(event, Event::Refused { .. })));
}

#[test]
fn a_stranger_gets_nothing_or_403_as_configured_and_is_counted() {
    for (policy, answers) in [(UnknownSources::Drop, 0), (UnknownSources::Refuse, 1)] {
        let mut line = Line::with(callingedge::call::Settings { unknown_sources: policy, ..settings() });

        line.exchange.handle_sip(line.now, flow(EDGE, "10.9.9.9:5060"), options_request());

        let mut sent = Vec::new();
        while let Some(output) = line.exchange.poll_output() {
            if let callingedge::call::Output::Transmit(transmit) = output {
                sent.push(transmit.payload);
            }
        }
        assert_eq!(sent.len(), answers, "{policy:?}");
        assert!(sent.iter().all(|wire| wire.starts_with(b"SIP/2.0 403 ")));
        assert_eq!(line.exchange.tally().unknown, 1);
        assert_eq!(line.exchange.tally().sip.server_transactions, 0);
    }
}

#[test]
fn a_port_that_cannot_be_had_is_503_and_an_event() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));

    line.fact(VoiceFact::NotOpened { leg: callingedge::call::FIRST_LEG, error: "none free".into() });

    assert_eq!(line.refusal().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EdgeFailed));
}

#[test]
fn the_engine_hears_who_calls_and_what_rides_along() {
    let mut line = Line::new();
    let headers = vec![
        ("X-Campaign".into(), "spring".to_owned()),
        ("X-CallingEdge-Intent".into(), "refund".to_owned()),
        ("P-Early".into(), "supported".to_owned()),
        ("Authorization".into(), "Digest secret".to_owned()),
    ];
    line.ring_number("+15550000", Some(SDP), headers);
    line.open_port();
    line.fact(VoiceFact::EngineConnected);

    let told = line.told();
    let EngineEvent::Start(start) = told[0] else { panic!("{told:?}") };
    assert_eq!((start.from.as_str(), start.to.as_str()), ("+15550123", "+15550000"));
    assert_eq!(start.context.intent.as_deref(), Some("refund"));
    assert_eq!(start.parameters, [("voice".to_owned(), "calm".to_owned())]);
    let has = |name: &str| start.sip_headers.iter().any(|(header, _)| header == name);
    assert!(has("X-Campaign") && has("P-Early") && has("From"));
    assert!(!has("Authorization"));
    assert!(!line.events[0].raw.get().contains("Digest secret"), "no event repeats a proof of a password");
}

#[test]
fn early_media_flows_before_the_answer() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);

    line.engine_says(EngineCommand::EarlyMedia);

    assert!(line.has_heard(|event| matches!(event, Event::Progress { response, .. } if response.status() == Some(StatusCode::SESSION_PROGRESS) && !response.body().is_empty())));
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Negotiated { .. })));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::EarlyMedia);
    line.engine_says(EngineCommand::Accept);
    assert!(line.has_heard(|event| matches!(event, Event::Answered { .. })));
}

#[test]
fn an_engine_may_send_the_caller_elsewhere() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);

    line.engine_says(EngineCommand::Redirect { to: "+15559999".into() });

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::MOVED_TEMPORARILY);
    let contact = response.contact().unwrap().unwrap();
    assert_eq!(contact.uri().user(), Some("+15559999"));
}

#[test]
fn a_reload_leaves_running_calls_with_what_they_began_with() {
    let mut line = Line::new();
    let dialog = line.talk();
    let mut newer = settings();
    newer.providers.clear();
    newer.engines.clear();

    line.exchange.handle_settings(line.now, Arc::new(newer));
    line.settle();
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp), "its BYE is no stranger's");
    line.ring_edge(Some(SDP));
    assert_eq!(line.refusal().0, StatusCode::NOT_FOUND, "but a new call is not taken");
}
