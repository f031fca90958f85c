//! Calls with humans behind them: called by a rule, by a key, or from the beginning.

use std::time::Duration;

use callingedge::call::{
    Answer, Asker, Command, CommandError, DtmfMethod, EndReason, EngineCommand, EngineFailure, EventKind,
    LegId, Mode, VoiceFact, VoiceOrder, WrapUp,
};
use sip::endpoint::Event;
use sip::{Body, DialogId, StatusCode};

use crate::line::{Line, SDP};

const AI_FIRST: &str = "+15550010";
const ROUTING: &str = "+15550020";
const ASSIST: &str = "+15550030";

fn ring(line: &mut Line, number: &str) -> DialogId {
    let caller = line.ring_number(number, Some(SDP), Vec::new());
    line.open_port();
    caller
}

fn talk(line: &mut Line, number: &str) -> DialogId {
    let caller = ring(line, number);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    acknowledge(line, caller);
    caller
}

fn acknowledge(line: &mut Line, caller: DialogId) {
    line.far.acknowledge(line.now, caller, None);
    line.settle();
}

/// The ports of these legs are open; who is called, and by which dialog.
fn reach(line: &mut Line, legs: &[u8]) -> Vec<(DialogId, String)> {
    line.heard.clear();
    for leg in legs {
        line.fact(VoiceFact::Opened { leg: LegId(*leg), port: 20_000 + 2 * u16::from(*leg) });
    }
    let called = line.heard.iter().filter_map(|event| match event {
        Event::Invited { dialog, request, .. } => {
            Some((*dialog, request.request_uri().unwrap().user().unwrap().to_owned()))
        }
        _ => None,
    });
    called.collect()
}

fn answer(line: &mut Line, human: DialogId) {
    line.far.accept(line.now, human, Vec::new(), Some(Body::sdp(SDP)));
    line.settle();
}

fn opened(line: &Line) -> usize {
    line.orders.iter().filter(|order| matches!(order, VoiceOrder::Open { leg, .. } if leg.0 > 0)).count()
}

#[test]
fn a_routed_call_is_answered_for_its_humans_and_no_engine_ever_hears_of_it() {
    let mut line = Line::new();
    let caller = ring(&mut line, ROUTING);
    acknowledge(&mut line, caller);

    let called = reach(&mut line, &[1, 2]);
    let numbers: Vec<&str> = called.iter().map(|(_, number)| number.as_str()).collect();
    assert_eq!(numbers, ["+15550201", "+15550202"], "both at once");
    line.far.ring(line.now, called[0].0, StatusCode::RINGING, Vec::new(), None);
    answer(&mut line, called[1].0);

    assert!(line.dialled.is_empty());
    assert!(
        line.has_heard(|event| matches!(event, Event::Cancelled { dialog, .. } if *dialog == called[0].0))
    );
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered, EventKind::Transferred]);
    line.far.hang_up(line.now, called[1].0, Vec::new());
    line.settle();
    assert_eq!(line.last().kind, EventKind::Ended, "the human had the caller and has hung up");
}

#[test]
fn a_routed_call_whose_humans_do_not_come_is_the_engines() {
    let mut line = Line::new();
    let caller = ring(&mut line, ROUTING);
    acknowledge(&mut line, caller);
    for (human, _) in reach(&mut line, &[1, 2]) {
        line.far.refuse(line.now, human, StatusCode::BUSY_HERE, Vec::new());
        line.settle();
    }

    assert_eq!(line.dialled.len(), 1);
    let kinds = [EventKind::InboundRinging, EventKind::Answered, EventKind::Error, EventKind::Transferred];
    assert_eq!(line.kinds(), kinds);
    let change = line.last().edge.mode.clone().unwrap();
    assert_eq!((change.from, change.to, change.reason.as_str()), (Mode::Routing, Mode::AiFirst, "no_human"));
}

#[test]
fn an_assisted_call_has_its_engine_at_once_and_its_human_as_soon_as_it_is_answered() {
    let mut line = Line::new();
    talk(&mut line, ASSIST);

    let called = reach(&mut line, &[1]);
    answer(&mut line, called[0].0);

    assert_eq!(line.dialled.len(), 1);
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::Assist);
    assert!(!line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
}

#[test]
fn a_key_calls_one_human_after_the_other() {
    let mut line = Line::new();
    talk(&mut line, AI_FIRST);
    for (key, expected) in [('1', 0), ('0', 1), ('0', 1)] {
        let (digit, method) = (media::Digit::try_from(key).unwrap(), DtmfMethod::Info);
        line.fact(VoiceFact::Dtmf { leg: LegId(0), digit, duration: Duration::from_millis(100), method });
        assert_eq!(opened(&line), expected, "after {key}");
    }

    let first = reach(&mut line, &[1]);
    line.far.ring(line.now, first[0].0, StatusCode::RINGING, Vec::new(), None);
    line.settle();
    line.pass(Duration::from_secs(10));
    let second = reach(&mut line, &[2]);
    answer(&mut line, second[0].0);

    assert_eq!((first[0].1.as_str(), second[0].1.as_str()), ("+15550201", "+15550202"));
    let change = line.last().edge.mode.clone().unwrap();
    assert_eq!((change.by, change.reason.as_str()), (Asker::Dtmf, "key_pressed"));
}

#[test]
fn an_engine_that_cannot_be_had_gives_way_to_a_human_before_the_caller_notices() {
    for failure in [EngineFailure::Dns, EngineFailure::Http { status: 503, retry_after: None }] {
        let mut line = Line::new();
        let caller = ring(&mut line, AI_FIRST);
        line.fact(VoiceFact::EngineNotReached(failure));
        acknowledge(&mut line, caller);

        let called = reach(&mut line, &[1]);
        answer(&mut line, called[0].0);

        assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered, EventKind::Transferred]);
        assert_eq!(line.last().edge.mode.clone().unwrap().reason, "engine_unavailable");
    }
}

#[test]
fn an_engine_that_is_lost_gives_way_to_a_human_and_without_one_to_the_announcement() {
    for comes in [true, false] {
        let mut line = Line::new();
        talk(&mut line, AI_FIRST);
        line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));

        for leg in [1, 2] {
            let called = reach(&mut line, &[leg]);
            if comes && leg == 2 {
                answer(&mut line, called[0].0);
            } else {
                line.far.refuse(line.now, called[0].0, StatusCode::BUSY_HERE, Vec::new());
                line.settle();
            }
        }

        let announced = line.orders.iter().any(|order| matches!(order, VoiceOrder::Announce { .. }));
        assert_eq!(announced, !comes);
        let kind = if comes { EventKind::Transferred } else { EventKind::Error };
        assert_eq!(line.last().kind, kind);
    }
}

#[test]
fn a_call_is_placed_by_workflow_and_comes_to_one_of_its_dispositions() {
    let mut line = Line::new();
    let unknown = line.place(r#"{"to": "+15550123", "workflow": "dsk"}"#, None);
    assert!(matches!(unknown, Answer::Refused(CommandError::WorkflowNotFound { nearest: Some(_), .. })));
    let nobody = line.place(r#"{"to": "+15550123", "mode": "routing"}"#, None);
    assert!(matches!(nobody, Answer::Refused(CommandError::ModeNoHuman)));
    let Answer::Placed(record) = line.place(r#"{"to": "+15550123", "workflow": "desk"}"#, None) else {
        panic!("refused")
    };
    assert_eq!((record.view.mode, record.view.engine.as_deref()), (Mode::AiFirst, Some("native")));

    let wrap_up = |line: &mut Line, disposition: &str| {
        let wrap_up = WrapUp { call_id: record.view.call_id, disposition: disposition.into(), notes: None };
        line.command(Command::WrapUp { tenant: "acme".into(), provider: "far".into(), wrap_up })
    };
    let refused = wrap_up(&mut line, "Sold");
    let Answer::Refused(CommandError::DispositionUnknown { allowed, .. }) = refused else { panic!("taken") };
    assert_eq!(allowed, "`sold`, `call back`");
    assert!(line.events.is_empty(), "and nothing has ended");
    assert!(matches!(wrap_up(&mut line, "sold"), Answer::WrappedUp(_)));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
    line.close_voice();
    line.pass(Duration::from_secs(60));
    let events = line.events.len();
    assert!(matches!(wrap_up(&mut line, "lost"), Answer::Refused(CommandError::DispositionUnknown { .. })));
    assert!(matches!(wrap_up(&mut line, "call back"), Answer::WrappedUp(_)));
    assert_eq!(line.events.len(), events, "the record is corrected, nothing is told twice");
}
