//! SIP extensions in calls, as the trunk's policy says.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{EndReason, EventKind, Settings, VoiceFact, VoiceOrder};
use sip::endpoint::Event;
use sip::{HeaderName, ReliableProvisionals, SessionTimerMode, SessionTimers, StatusCode};

use crate::line::{Line, SDP, settings};

const CALL: &str = r#"{"to": "+15550123"}"#;

#[test]
fn a_trunk_that_asks_for_session_timers_gets_them_and_a_far_end_that_vanishes_is_noticed() {
    let mut line = Line::with(asking());
    let dialog = placed(&mut line);
    line.pass(Duration::from_secs(400));
    assert!(line.has_heard(|event| matches!(event, Event::Refreshed { .. })), "{:?}", line.heard);
    assert_eq!(line.far.session_timer(dialog), Some((Duration::from_secs(600), sip::Party::Us)));

    line.cut = true;
    line.pass(Duration::from_secs(600));

    assert_eq!(line.last().kind, EventKind::Ended);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::Unreachable));
    assert!(line.last().raw.get().contains("session.expired"));
    assert_eq!(line.exchange.tally().sessions_expired, 1);
}

#[test]
fn a_far_end_that_moves_in_the_middle_of_a_call_is_followed() {
    let mut line = Line::with(asking());
    let dialog = placed(&mut line);
    line.orders.clear();
    let moved = SDP.replace("o=- 1 1", "o=- 1 2").replace("10.0.0.9", "10.0.0.77");
    assert_ne!(moved, SDP);
    line.far.reinvite(line.now, dialog, Vec::new(), Some(sip::Body::sdp(moved)));
    line.settle();

    let followed = line.orders.iter().any(|order| {
        matches!(order, VoiceOrder::Negotiated { media, .. } if media.rtp.ip().to_string() == "10.0.0.77")
    });
    assert!(followed, "{:?}", line.orders);
}

#[test]
fn an_invite_that_requires_what_the_trunk_has_switched_off_is_refused_and_makes_no_call() {
    let mut settings = settings();
    policy(&mut settings).session_timers.mode = SessionTimerMode::Off;
    let mut line = Line::with(settings);
    line.ring_number("+15550000", Some(SDP), vec![("Require".into(), "timer".to_owned())]);

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::BAD_EXTENSION);
    assert_eq!(response.header(HeaderName::Unsupported).unwrap(), "timer");
    assert!(line.events.is_empty());
    assert_eq!((line.exchange.tally().calls, line.exchange.tally().refused), (0, 1));
}

#[test]
fn a_200_without_description_means_what_the_reliable_ringing_said() {
    let mut settings = settings();
    policy(&mut settings).reliable_provisionals = ReliableProvisionals::Required;
    let mut line = Line::with(settings);
    line.place(CALL, None);
    line.open_port();
    let dialog = line.invited();
    let progress = StatusCode::SESSION_PROGRESS;
    line.far.ring(line.now, dialog, progress, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();
    assert!(line.has_heard(|event| matches!(event, Event::Pracked { .. })));
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::Acknowledged { .. })));
    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered]);
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Negotiated { .. })));
}

#[test]
fn a_caller_who_requires_it_is_rung_reliably_and_answered() {
    let mut line = Line::new();
    line.ring_number("+15550000", Some(SDP), vec![("Require".into(), "100rel".to_owned())]);
    line.open_port();
    let reliable = line.has_heard(
        |event| matches!(event, Event::Progress { response, .. } if matches!(response.rseq(), Ok(Some(_)))),
    );
    assert!(reliable, "{:?}", line.heard);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(callingedge::call::EngineCommand::Accept);
    assert!(line.has_heard(|event| matches!(event, Event::Answered { .. })));
}

#[test]
fn a_far_end_that_hears_no_ringing_ends_with_504() {
    let mut settings = settings();
    // An engine with patience: longer than 64·T1.
    for engine in settings.engines.values_mut() {
        Arc::make_mut(engine).connect_timeout = Duration::from_secs(120);
    }
    let mut line = Line::with(settings);
    line.ring_number("+15550000", Some(SDP), vec![("Require".into(), "100rel".to_owned())]);
    line.cut = true;
    line.open_port();
    line.pass(Duration::from_secs(40));

    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::NotAcknowledged));
}

#[test]
fn a_far_end_that_asks_to_be_transferred_is_told_why_not_and_the_call_goes_on() {
    for (target, status) in [
        ("sip:human@example.com", StatusCode::DECLINE),
        ("tel:+15550199", StatusCode::DECLINE),
        ("http://example.com/", StatusCode::UNSUPPORTED_URI_SCHEME),
    ] {
        let mut line = Line::new();
        let dialog = line.talk();
        let target = sip::NameAddr::new(sip::Uri::parse(target).unwrap());
        line.far.refer(line.now, dialog, &target, Vec::new());
        line.settle();

        let refused = line.heard.iter().find_map(|event| match event {
            Event::ReferRefused { refusal: sip::Refusal::Response(response), .. } => Some(response.clone()),
            _ => None,
        });
        let refused = refused.unwrap();
        assert_eq!(refused.status(), Some(status));
        assert!(refused.header(HeaderName::Reason).unwrap().text().contains("does not place calls"));
        assert_eq!(refused.warnings().next().unwrap().unwrap().code, 399);
        assert_eq!(line.last().kind, EventKind::Answered);
    }
}

fn placed(line: &mut Line) -> sip::DialogId {
    line.place(CALL, None);
    line.open_port();
    let dialog = line.invited();
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(callingedge::call::EngineCommand::Accept);
    dialog
}

fn asking() -> Settings {
    let mut settings = settings();
    policy(&mut settings).session_timers = SessionTimers {
        mode: SessionTimerMode::Ask,
        expires: Duration::from_secs(600),
        ..SessionTimers::default()
    };
    settings
}

fn policy(settings: &mut Settings) -> &mut sip::Policy {
    let provider = settings.providers.values_mut().next().unwrap();
    &mut Arc::make_mut(provider).trunk.policy
}
