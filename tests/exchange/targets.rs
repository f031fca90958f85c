//! Calls over a trunk that has several targets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{EndReason, EventKind, Provider, Settings, TargetState, TrunkTarget};
use sip::StatusCode;
use sip::endpoint::{DialogId, Event};

use crate::line::{Line, SDP, settings};

const CALL: &str = r#"{"to": "+15550123"}"#;
const FIRST: &str = "10.0.0.9:5060";
const SECOND: &str = "10.0.0.10:5060";

#[test]
fn a_target_that_says_nothing_costs_a_call_four_seconds_and_the_next_call_nothing() {
    let mut line = Line::with(two_targets());
    line.dead.push(address(FIRST));
    line.place(CALL, None);
    line.open_port();

    line.pass(Duration::from_millis(3900));
    assert!(invitations(&line).is_empty());
    line.pass(Duration::from_millis(200));
    let [dialog] = invitations(&line)[..] else { panic!("one INVITE has come through") };
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();
    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered]);
    assert_eq!(line.shown.as_ref().unwrap().view.legs[0].peer, SECOND);
    assert_eq!(line.shown.as_ref().unwrap().view.legs.len(), 1);
    assert_eq!(states(&line), [TargetState::Down, TargetState::Up]);

    line.place(CALL, None);
    line.open_port();
    assert_eq!(invitations(&line).len(), 2, "it goes to where somebody answers");
}

#[test]
fn one_call_tries_a_target_again_when_its_rest_is_over() {
    let mut line = Line::with(two_targets());
    line.dead.push(address(FIRST));
    line.place(CALL, None);
    line.open_port();
    line.pass(Duration::from_secs(10));
    line.dead.clear();

    line.place(CALL, None);
    line.open_port();
    let dialog = *invitations(&line).last().unwrap();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();

    assert_eq!(line.shown.as_ref().unwrap().view.legs[0].peer, FIRST);
    assert_eq!(states(&line)[0], TargetState::Up);
}

#[test]
fn a_target_that_cannot_be_sent_to_is_left_at_once() {
    let mut line = Line::with(two_targets());
    line.dead.push(address(FIRST));
    line.place(CALL, None);
    line.open_port();

    line.exchange.handle_send_failure(line.now, sip::Transport::Udp, address(FIRST));
    line.settle();

    assert_eq!(invitations(&line).len(), 1);
    line.pass(Duration::from_millis(200));
    assert_eq!(line.kinds(), [EventKind::Placed], "the second target has said 100 by now");
}

#[test]
fn a_503_goes_on_to_the_next_target_and_its_retry_after_is_honoured() {
    let mut line = Line::with(two_targets());
    line.place(CALL, None);
    line.open_port();
    let first = invitations(&line)[0];

    line.far.refuse(
        line.now,
        first,
        StatusCode::SERVICE_UNAVAILABLE,
        vec![("Retry-After".into(), "60".into())],
    );
    line.settle();
    let second = *invitations(&line).last().unwrap();
    assert_ne!(first, second);
    line.far.refuse(line.now, second, StatusCode::BUSY_HERE, Vec::new());
    line.settle();

    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Busy]);
    assert_eq!(states(&line), [TargetState::Down, TargetState::Up], "busy is an answer");
    line.close_voice();
    line.pass(Duration::from_secs(59));
    line.place(CALL, None);
    line.open_port();
    assert_eq!(line.shown.as_ref().unwrap().view.legs[0].peer, SECOND);
}

#[test]
fn when_all_targets_fail_the_call_ends_once_with_what_the_last_one_said() {
    let mut line = Line::with(two_targets());
    line.place(CALL, None);
    line.open_port();
    for _ in 0..2 {
        let dialog = *invitations(&line).last().unwrap();
        line.far.refuse(line.now, dialog, StatusCode::SERVICE_UNAVAILABLE, Vec::new());
        line.settle();
    }

    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Error]);
    assert_eq!(invitations(&line).len(), 2);
    line.close_voice();
    line.pass(Duration::from_secs(120));
    assert_eq!((line.exchange.tally().calls, line.exchange.tally().dialogs), (0, 0));
    assert_eq!(line.exchange.tally().sip, sip::Ledger::default());
}

#[test]
fn a_phone_that_has_rung_is_not_called_a_second_time() {
    let mut line = Line::with(two_targets());
    line.place(CALL, None);
    line.open_port();
    let dialog = invitations(&line)[0];
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();

    line.far.refuse(line.now, dialog, StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    line.settle();

    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(invitations(&line).len(), 1);
}

#[test]
fn who_answers_after_the_call_has_gone_elsewhere_is_told_that_nobody_wants_it() {
    let mut line = Line::with(two_targets());
    line.place(CALL, None);
    line.dead.push(address(FIRST));
    line.open_port();
    line.pass(Duration::from_secs(5));
    let dialog = invitations(&line)[0];
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();

    line.exchange.handle_send_failure(line.now, sip::Transport::Udp, address(FIRST));
    line.settle();

    assert_eq!(
        line.kinds(),
        [EventKind::Placed, EventKind::Answered],
        "the first target's end is not the call's"
    );
    assert_eq!(line.shown.as_ref().unwrap().view.end_reason, None::<EndReason>);
}

#[test]
fn every_target_is_probed_by_itself() {
    let mut settings = two_targets();
    change(&mut settings, |provider| provider.trunk.probe_interval = Some(Duration::from_secs(30)));
    let mut line = Line::with(settings);
    line.dead.push(address(SECOND));

    line.pass(Duration::from_secs(1));
    let asked = line.heard.iter().filter_map(|event| match event {
        Event::Request { id, .. } => Some(*id),
        _ => None,
    });
    for id in asked.collect::<Vec<_>>() {
        line.far.respond(line.now, id, StatusCode::OK, Vec::new(), None);
    }
    line.settle();
    line.pass(Duration::from_secs(10));

    let health = line.health.last().unwrap();
    assert_eq!(states(&line), [TargetState::Up, TargetState::Down]);
    assert_eq!((health.reachable, &*health.detail), (Some(true), "1 of 2 targets answer"));
    assert!(health.targets[1].detail.contains("no response"), "{}", health.targets[1].detail);
}

fn two_targets() -> Settings {
    let mut settings = settings();
    change(&mut settings, |provider| {
        let second = sip::Target { transport: sip::Transport::Udp, address: address(SECOND) };
        provider.trunk.targets.push(TrunkTarget { priority: 2, ..TrunkTarget::only(second) });
    });
    settings
}

fn change(settings: &mut Settings, change: impl FnOnce(&mut Provider)) {
    let mut provider = settings.providers["far"].as_ref().clone();
    change(&mut provider);
    settings.providers.insert("far".into(), Arc::new(provider));
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn invitations(line: &Line) -> Vec<DialogId> {
    let invited = line.heard.iter().filter_map(|event| match event {
        Event::Invited { dialog, .. } => Some(*dialog),
        _ => None,
    });
    invited.collect()
}

fn states(line: &Line) -> Vec<TargetState> {
    line.health.last().unwrap().targets.iter().map(|target| target.state).collect()
}
