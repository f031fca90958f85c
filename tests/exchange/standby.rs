//! Another engine for one that failed: before the answer, in the middle of a call, and who is left alone.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, CommandError, Dialect, EndReason, Engine, EngineCommand, EngineEvent, EngineFailure, EngineName,
    EventKind, Fallback, Settings, VoiceFact, VoiceOrder,
};

use sip::DialogId;
use sip::endpoint::Event;

use crate::line::{Line, SDP, engine, settings};

/// `native` has `second`, which has `third`, which has `native`.
fn chained() -> Settings {
    let mut settings = settings();
    let mut link = |name: &str, dialect, fallback: &str| {
        let known = settings.engines.get(&EngineName::from(name)).cloned();
        let mut one = known.unwrap_or_else(|| engine(name, dialect, Fallback::HangUp));
        Arc::make_mut(&mut one).fallback = Some(fallback.into());
        settings.engines.insert(name.into(), one);
    };
    link("native", Dialect::EdgeV1, "second");
    link("second", Dialect::Twilio, "third");
    link("third", Dialect::EdgeV1, "native");
    settings
}

fn dialled(line: &Line) -> Vec<&str> {
    line.dialled.iter().map(|(_, engine): &(_, Arc<Engine>)| engine.name.as_str()).collect()
}

fn dismissals(line: &Line) -> usize {
    line.orders
        .iter()
        .filter(|order| matches!(order, VoiceOrder::DismissEngine(EndReason::EngineLost)))
        .count()
}

fn ring(line: &mut Line) -> DialogId {
    let dialog = line.ring_edge(Some(SDP));
    line.open_port();
    dialog
}

#[test]
fn each_engine_is_asked_once_before_the_caller_is_turned_away() {
    let mut line = Line::with(chained());
    ring(&mut line);
    for failure in [EngineFailure::Dns, EngineFailure::Http { status: 503, retry_after: None }] {
        line.fact(VoiceFact::EngineNotReached(failure));
        assert_eq!(line.events.len(), 1, "it rings on");
    }
    assert_eq!(dialled(&line), ["native", "second", "third"]);
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Timeout));

    assert_eq!(dialled(&line).len(), 3);
    assert_eq!(line.refusal().0.code(), 504);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineRefused));
}

#[test]
fn an_engine_that_never_decides_gives_way_and_what_it_says_too_late_counts_for_nothing() {
    let mut line = Line::with(chained());
    let dialog = ring(&mut line);
    line.fact(VoiceFact::EngineConnected);
    line.pass(Duration::from_secs(3));
    assert_eq!((dialled(&line), dismissals(&line)), (vec!["native", "second"], 1));

    line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: false });
    line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1000) }));
    assert_eq!((dialled(&line).len(), line.events.len()), (2, 1), "its end is not that of its stand-in");
    line.fact(VoiceFact::EngineConnected);
    line.far.acknowledge(line.now, dialog, None);
    line.settle();

    assert_eq!(line.last().kind, EventKind::Answered);
    assert_eq!(line.shown.as_ref().unwrap().view.engine.as_deref(), Some("second"));
}

#[test]
fn a_lost_engine_s_stand_in_takes_the_caller_over_and_knows_for_whom() {
    let mut line = Line::with(chained());
    line.talk();
    line.orders.clear();

    line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));
    assert_eq!(dialled(&line), ["native", "second"]);
    let waits = |line: &Line| {
        line.orders.iter().rev().find_map(|order| match order {
            VoiceOrder::Wait { audio, .. } => Some(audio.is_some()),
            _other => None,
        })
    };
    assert_eq!(waits(&line), Some(true), "nobody is left in silence");
    line.fact(VoiceFact::EngineConnected);

    assert_eq!(waits(&line), Some(false));
    let start = line.told().into_iter().find_map(|event| match event {
        EngineEvent::Start(start) => Some(start),
        _other => None,
    });
    assert!(start.unwrap().parameters.contains(&("fallback_for".to_owned(), "native".to_owned())));
    assert_eq!(line.last().kind, EventKind::Answered, "nothing ended");
    line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1000) }));
    line.fact(VoiceFact::Drained);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineHungUp));
}

#[test]
fn an_engine_that_fails_three_times_is_left_alone_until_one_call_tries_again() {
    let mut line = Line::with(chained());
    let call = |line: &mut Line, native_works: bool| -> Vec<String> {
        line.dialled.clear();
        ring(line);
        let asked: Vec<String> = dialled(line).into_iter().map(str::to_owned).collect();
        if asked == ["native"] && !native_works {
            line.fact(VoiceFact::EngineNotReached(EngineFailure::Connect("refused".into())));
        }
        line.fact(VoiceFact::EngineConnected);
        if native_works {
            line.engine_says(EngineCommand::Accept);
        }
        asked
    };
    for _ in 0..3 {
        assert_eq!(call(&mut line, false), ["native"]);
    }
    assert_eq!(line.exchange.tally().left_alone, 1);
    line.exchange.handle_settings(line.now, Arc::new(chained()));
    assert_eq!(line.exchange.tally().left_alone, 1, "a reload forgets nothing of an engine that stays");
    assert_eq!(call(&mut line, false), ["second"], "nobody waits for what is known to fail");

    line.pass(Duration::from_secs(10));
    assert_eq!(call(&mut line, true), ["native"], "one tries");

    assert_eq!((line.exchange.tally().left_alone, line.exchange.tally().stood_in), (0, 4));
}

#[test]
fn an_engine_without_a_stand_in_is_asked_however_often_it_failed() {
    let mut line = Line::new();
    for _ in 0..5 {
        line.dialled.clear();
        ring(&mut line);
        assert_eq!(dialled(&line), ["native"]);
        line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));
    }
}

#[test]
fn an_engine_that_comes_after_its_call_went_elsewhere_is_sent_away() {
    let mut line = Line::new();
    ring(&mut line);
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Timeout));
    line.orders.clear();
    line.fact(VoiceFact::EngineConnected);

    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
}

#[test]
fn a_stand_in_that_turns_an_answered_caller_away_ends_the_call_with_a_bye() {
    let mut line = Line::with(chained());
    let dialog = ring(&mut line);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));
    assert_eq!(dialled(&line), ["native", "second", "third"]);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Reject { status: 486, reason: "Busy".into() });
    line.far.acknowledge(line.now, dialog, None);
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
    assert!(line.last().is_last());
}

#[test]
fn of_two_sockets_of_one_call_the_newest_is_told_everything() {
    let mut line = Line::new();
    line.talk();
    line.orders.clear();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    let told: Vec<_> = line.told().into_iter().map(|event| matches!(event, EngineEvent::Answered)).collect();
    assert_eq!(told, [false, true], "a start, and that the caller is there");
    assert_eq!(line.last().kind, EventKind::Answered);
}

#[test]
fn a_stand_in_that_the_configuration_has_no_more_is_none() {
    let mut settings = chained();
    settings.engines.remove(&EngineName::from("second"));
    let mut line = Line::with(settings);
    ring(&mut line);
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));

    assert_eq!(dialled(&line), ["native"], "and nobody is asked twice");
    assert!(line.last().is_last());
}

#[test]
fn an_engine_that_a_reload_removes_is_no_alarm_any_more() {
    let mut line = Line::with(chained());
    for _ in 0..3 {
        ring(&mut line);
        line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));
        line.fact(VoiceFact::EngineConnected);
    }
    assert_eq!(line.exchange.tally().left_alone, 1);

    let mut settings = chained();
    settings.engines.remove(&EngineName::from("native"));
    line.exchange.handle_settings(line.now, Arc::new(settings));

    assert_eq!(line.exchange.tally().left_alone, 0);
}

#[test]
fn a_full_engine_is_passed_over_and_when_all_are_full_the_caller_is_turned_away() {
    let mut settings = chained();
    let mut fill = |name: &str| {
        let engine = settings.engines.get_mut(&EngineName::from(name)).unwrap();
        Arc::make_mut(engine).max_calls = Some(0);
    };
    fill("native");
    fill("second");
    let mut line = Line::with(settings.clone());
    ring(&mut line);
    assert_eq!(dialled(&line), ["third"]);

    Arc::make_mut(settings.engines.get_mut(&EngineName::from("third")).unwrap()).max_calls = Some(0);
    let mut line = Line::with(settings);
    ring(&mut line);

    assert!(dialled(&line).is_empty());
    let (status, response) = line.refusal();
    assert_eq!(status.code(), 503);
    assert!(response.retry_after().unwrap().is_some());
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineRefused));
}

#[test]
fn a_call_has_its_place_at_the_engine_until_it_is_over() {
    let mut settings = settings();
    Arc::make_mut(settings.engines.get_mut(&EngineName::from("native")).unwrap()).max_calls = Some(1);
    let mut line = Line::with(settings);
    line.talk();
    let refused = line.place(r#"{ "to": "+16505824074", "engine": "native" }"#, None);
    assert!(matches!(refused, Answer::Refused(CommandError::LimitCalls { scope: "engine" })), "{refused:?}");

    line.fact(VoiceFact::EngineGone(EngineFailure::Broken("reset".into())));

    let placed = line.place(r#"{ "to": "+16505824074", "engine": "native" }"#, None);
    assert!(matches!(placed, Answer::Placed(_)), "{placed:?}");
}
