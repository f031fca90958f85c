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

    // Its place is free again: more of them than there may be calls at once change nothing for the next caller.
    for _ in 0..20 {
        line.ring_number("+15550000", Some(SDP), vec![("Require".into(), "timer".to_owned())]);
    }
    line.heard.clear();
    line.ring_edge(Some(SDP));
    assert_eq!(line.exchange.tally().calls, 1);
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
        ("sip:human@example.com", StatusCode::FORBIDDEN),
        ("tel:+495550199", StatusCode::FORBIDDEN),
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
        assert!(refused.header(HeaderName::Reason).unwrap().text().contains("text="));
        assert_eq!(refused.warnings().next().unwrap().unwrap().code, 399);
        assert_eq!(line.last().kind, EventKind::Answered);
    }
}

#[test]
fn a_far_end_may_take_its_own_call_over_in_another_dialog_and_nobody_else_may() {
    let mut line = Line::new();
    let old = line.talk();
    let replaces = line.far.replaces(old).unwrap().to_string();
    let moved = SDP.replace("10.0.0.9", "10.0.0.77");
    let new = line.ring_number("+15550000", Some(&moved), vec![("Replaces".into(), replaces)]);
    line.far.acknowledge(line.now, new, None);
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::Answered { dialog, .. } if *dialog == new)));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == old)));
    let followed = line.orders.iter().any(|order| {
        matches!(order, VoiceOrder::Negotiated { media, .. } if media.rtp.ip().to_string() == "10.0.0.77")
    });
    assert!(followed, "{:?}", line.orders);
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered], "the engine's call goes on");
    // The end of the old dialog is not the end of the call; that of the new one is.
    line.pass(Duration::from_secs(5));
    assert_eq!(line.last().kind, EventKind::Answered);
    line.far.hang_up(line.now, new, Vec::new());
    line.settle();
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    line.close_voice();
    line.pass(Duration::from_secs(60));
    assert_eq!((line.exchange.tally().calls, line.exchange.tally().dialogs), (0, 0));
}

#[test]
fn a_call_that_does_not_exist_cannot_be_replaced_and_one_that_rings_neither() {
    let mut line = Line::new();
    let old = line.ring_edge(Some(SDP));
    line.open_port();
    let unknown = "x;to-tag=1;from-tag=2".to_owned();
    line.ring_number("+15550000", Some(SDP), vec![("Replaces".into(), unknown)]);

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
    assert!(response.header(HeaderName::Reason).is_some());
    assert_eq!(line.exchange.tally().calls, 1);
    line.far.hang_up(line.now, old, Vec::new());
    line.settle();
}

#[test]
fn another_trunk_learns_nothing_of_a_call_that_it_wants_to_replace() {
    let mut settings = settings();
    let (_, first) = settings.providers.first_key_value().unwrap();
    let mut other = (**first).clone();
    other.key = "other".into();
    other.trunk.peers = vec!["10.0.0.8/32".parse().unwrap()];
    other.trunk.targets.clear();
    settings.providers.insert(other.key.clone(), Arc::new(other));
    let mut line = Line::with(settings);
    let old = line.talk();
    let replaces = line.far.replaces(old).unwrap().to_string();
    let stranger = crate::line::flow("10.0.0.1:5060", "10.0.0.8:5060");
    let invite = format!(
        "INVITE sip:+15550000@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.8;branch=z9hG4bKs\r\nMax-Forwards: 9\r\n\
         From: <sip:s@10.0.0.8>;tag=s\r\nTo: <sip:+15550000@10.0.0.1>\r\nCall-ID: s\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:s@10.0.0.8>\r\nReplaces: {replaces}\r\nContent-Length: 0\r\n\r\n"
    );
    line.exchange.handle_sip(line.now, stranger, invite.into_bytes().into());

    let mut answers = Vec::new();
    while let Some(output) = line.exchange.poll_output() {
        if let callingedge::call::Output::Transmit(transmit) = output {
            answers.push(String::from_utf8_lossy(&transmit.payload[..12]).into_owned());
        }
    }
    assert_eq!(answers, ["SIP/2.0 481 "]);
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
