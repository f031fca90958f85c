//! An engine whose socket is lost is called back, and goes on where it was; one that does not come back is lost.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Dialect, EndReason, EngineCommand, EngineEvent, EngineFailure, EngineName, EngineStart, EventKind,
    Fallback, Settings, VoiceFact, VoiceOrder,
};

use crate::line::{Line, engine, settings};

#[test]
fn a_lost_socket_is_dialled_again_at_once_and_the_call_goes_on() {
    let mut line = Line::new();
    line.talk();
    line.dialled.clear();

    line.fact(VoiceFact::EngineAway(EngineFailure::Broken("reset".into())));
    assert_eq!(line.dialled.len(), 1);
    assert!(line.dialled[0].1.connect_timeout <= Duration::from_secs(2));
    assert!(line.orders.is_empty(), "nothing changes for the caller: {:?}", line.orders);
    line.now += Duration::from_millis(40);
    line.fact(VoiceFact::EngineConnected);
    let (start, away) = asked(&line);
    assert_eq!(away, Duration::from_millis(40));
    let token = start.resume.unwrap().token;
    assert_eq!(token.reveal().len(), 64);
    line.engine_says(EngineCommand::Accept);

    assert_eq!((line.exchange.tally().resumed, line.exchange.tally().not_resumed), (1, 0));
    assert!(line.told().is_empty(), "it knows already that the call was answered");
    assert_eq!(line.last().kind, EventKind::Answered);
    line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: false });
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineHungUp));
}

#[test]
fn the_token_is_the_one_of_the_start_and_another_calls_is_another() {
    let mut tokens = Vec::new();
    let mut line = Line::new();
    for _ in 0..2 {
        line.orders.clear();
        line.ring_edge(Some(crate::line::SDP));
        line.open_port();
        line.fact(VoiceFact::EngineConnected);
        let start = line.told().into_iter().find_map(|event| match event {
            EngineEvent::Start(start) => Some(start.clone()),
            _other => None,
        });
        tokens.push(start.unwrap().resume.unwrap());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens[0].within, Duration::from_secs(10));
    assert!(!format!("{:?}", tokens[0]).contains(tokens[0].token.reveal()));
}

#[test]
fn an_engine_that_is_not_there_is_tried_again_until_the_time_is_over_and_then_is_lost() {
    let mut line = Line::new();
    line.talk();
    line.dialled.clear();
    let lost = line.now;

    line.fact(VoiceFact::EngineAway(EngineFailure::Closed { code: Some(1001) }));
    let mut attempts = Vec::new();
    while !line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))) {
        if line.dialled.is_empty() {
            line.pass(Duration::from_millis(50));
        } else {
            attempts.push((line.now - lost).as_millis());
            line.dialled.clear();
            line.fact(VoiceFact::EngineNotReached(EngineFailure::Connect("refused".into())));
        }
        assert!(line.now - lost <= Duration::from_secs(10));
    }

    assert_eq!(attempts, [0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100, 9_100]);
    let waits = line.orders.iter().find_map(|order| match order {
        VoiceOrder::Wait { audio, .. } => Some(audio.is_some()),
        _other => None,
    });
    assert_eq!(waits, Some(true), "nobody is left in silence when it takes long");
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Announce { .. })));
    assert_eq!(line.exchange.tally().not_resumed, 1);
    line.fact(VoiceFact::Announced { leg: callingedge::call::FIRST_LEG });
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineLost));
}

#[test]
fn what_happens_meanwhile_is_told_to_the_worker_who_keeps_it() {
    let mut line = Line::new();
    line.talk();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    let call = line.call();
    line.command(callingedge::call::Command::Control {
        tenant: "acme".into(),
        call,
        control: callingedge::call::Control::Hold,
    });

    assert!(line.told().contains(&&EngineEvent::Held));
}

#[test]
fn an_engine_that_refuses_to_go_on_or_is_silent_has_a_stand_in() {
    for refuses in [true, false] {
        let mut line = Line::with(with_stand_in(Duration::from_secs(10)));
        line.talk();
        line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
        line.fact(VoiceFact::EngineConnected);
        line.dialled.clear();
        line.orders.clear();
        if refuses {
            line.engine_says(EngineCommand::Reject { status: 481, reason: "Gone".into() });
        } else {
            line.pass(Duration::from_secs(3));
        }

        assert!(matches!(line.orders[0], VoiceOrder::DismissEngine(EndReason::EngineLost)));
        assert_eq!(line.dialled[0].1.name.to_string(), "second");
        line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
        assert_eq!(line.dialled.len(), 1, "the end of the one before changes nothing");
        line.fact(VoiceFact::EngineConnected);
        assert_eq!(line.last().kind, EventKind::Answered);
    }
}

#[test]
fn a_socket_that_is_lost_again_while_the_engine_is_asked_is_one_more_attempt() {
    let mut line = Line::new();
    line.talk();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    line.fact(VoiceFact::EngineConnected);
    line.dialled.clear();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    assert!(line.dialled.is_empty(), "not at once");
    line.pass(Duration::from_millis(100));
    assert_eq!(line.dialled.len(), 1);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    assert_eq!(line.exchange.tally().resumed, 1);
}

#[test]
fn an_engine_that_always_comes_back_and_never_stays_is_lost_in_the_end() {
    let mut line = Line::new();
    line.talk();
    let mut returns = 0;
    line.orders.clear();
    while !line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))) {
        assert!(returns < 20);
        line.dialled.clear();
        line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
        line.pass(Duration::from_secs(2));
        if !line.dialled.is_empty() {
            line.fact(VoiceFact::EngineConnected);
            line.engine_says(EngineCommand::Accept);
            returns += 1;
        }
    }
    assert_eq!(returns, 11);
}

#[test]
fn an_engine_is_not_called_back_where_there_is_no_time_for_it_or_no_call_to_go_on_with() {
    let mut line = Line::with(with_stand_in(Duration::ZERO));
    line.talk();
    line.dialled.clear();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    assert_eq!(line.dialled[0].1.name.to_string(), "second", "it was offered nothing");

    let mut line = Line::new();
    line.ring_edge(Some(crate::line::SDP));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    line.dialled.clear();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    assert!(line.dialled.is_empty(), "the call is not answered yet");

    let mut line = Line::new();
    line.talk();
    line.dialled.clear();
    line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: true });
    line.fact(VoiceFact::EngineAway(EngineFailure::Closed { code: Some(1000) }));
    assert!(line.dialled.is_empty(), "it has said its last words");
    line.fact(VoiceFact::Drained);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineHungUp));
}

#[test]
fn an_engine_that_a_human_replaces_while_it_is_away_is_not_wanted_any_more() {
    let mut line = Line::new();
    line.talk();
    line.fact(VoiceFact::EngineAway(EngineFailure::Stalled));
    line.command(callingedge::call::Command::WrapUp {
        tenant: "acme".into(),
        provider: "far".into(),
        wrap_up: callingedge::call::WrapUp { call_id: line.call(), disposition: "done".into(), notes: None },
    });
    line.orders.clear();
    line.fact(VoiceFact::EngineConnected);
    line.pass(Duration::from_secs(30));

    assert!(asked_any(&line).is_none(), "{:?}", line.orders);
}

fn asked(line: &Line) -> (EngineStart, Duration) {
    asked_any(line).expect("the engine was asked to resume")
}

fn asked_any(line: &Line) -> Option<(EngineStart, Duration)> {
    line.orders.iter().find_map(|order| match order {
        VoiceOrder::ResumeEngine { start, away } => Some((EngineStart::clone(start), *away)),
        _other => None,
    })
}

fn with_stand_in(resume_timeout: Duration) -> Settings {
    let mut settings = settings();
    let native = &settings.engines[&EngineName::from("native")];
    let native = callingedge::call::Engine {
        fallback: Some("second".into()),
        resume_timeout,
        ..callingedge::call::Engine::clone(native)
    };
    settings.engines.insert("native".into(), Arc::new(native));
    settings.engines.insert("second".into(), engine("second", Dialect::EdgeV1, Fallback::HangUp));
    settings
}
