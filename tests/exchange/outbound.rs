//! Calls that are placed.

use std::time::Duration;

use callingedge::call::{
    Answer, AnsweredBy, Command, CommandError, Control, Direction, EndReason, EngineEvent, EngineFailure,
    EventKind, RecordNumber, RecordingSettings, Status, VoiceFact, VoiceOrder,
};
use sip::StatusCode;
use sip::endpoint::Event;

use crate::line::{Line, SDP, settings};

const CALL: &str = r#"{"to": "+15550123", "headers": {"X-Ticket": "77"}, "context": {"intent": "renewal"}}"#;

#[test]
fn a_placed_call_is_told_at_the_first_response_and_dials_its_engine_while_it_rings() {
    let mut line = Line::new();

    let answer = line.place(CALL, None);

    assert!(matches!(answer, Answer::Placed(_)));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Placing);
    line.open_port();
    line.pass(Duration::from_millis(200));
    assert_eq!(line.kinds(), [EventKind::Placed], "100 says that the network has it");
    assert!(line.dialled.is_empty());

    let dialog = line.invited();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();
    assert_eq!(line.dialled.len(), 1);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Ringing);

    line.fact(VoiceFact::EngineConnected);
    line.engine_says(callingedge::call::EngineCommand::Accept);
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();
    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered]);
    assert!(line.told().contains(&&EngineEvent::Answered));
    assert!(line.has_heard(|event| matches!(event, Event::Acknowledged { .. })));
    assert_eq!(line.last().direction, Direction::Outbound);
}

#[test]
fn the_answer_to_the_api_waits_for_the_disk() {
    let mut line = Line::new();

    line.place(CALL, None);

    let (_, after, _) = &line.replies[0];
    assert!(*after > RecordNumber::default() && *after <= line.newest);
}

#[test]
fn what_was_asked_to_ride_along_is_in_the_invite() {
    let mut line = Line::new();
    line.place(CALL, None);
    line.open_port();

    let invite = line.heard.iter().find_map(|event| match event {
        Event::Invited { request, .. } => Some(request.clone()),
        _ => None,
    });
    let invite = invite.unwrap();
    let text = |name: &str| invite.header_named(name).unwrap().text().into_owned();
    assert_eq!(text("X-Ticket"), "77");
    assert_eq!(text("X-CallingEdge-Intent"), "renewal");
    assert_eq!(text("X-CallingEdge-Call-Id"), line.call().to_string());
    assert!(text("User-to-User").contains("encoding=hex"));
    assert_eq!(invite.from().unwrap().uri().user(), Some("+15550000"));
}

#[test]
fn refusals_of_the_far_end_are_told_as_what_they_mean() {
    for (status, kind, reason) in [
        (StatusCode::BUSY_HERE, EventKind::Busy, EndReason::Busy),
        (StatusCode::TEMPORARILY_UNAVAILABLE, EventKind::NoAnswer, EndReason::NoAnswer),
        (StatusCode::DECLINE, EventKind::Error, EndReason::Rejected),
        (StatusCode::NOT_ACCEPTABLE_HERE, EventKind::Error, EndReason::MediaIncompatible),
    ] {
        let mut line = Line::new();
        line.place(CALL, None);
        line.open_port();
        let dialog = line.invited();

        line.far.refuse(line.now, dialog, status, Vec::new());
        line.settle();

        assert_eq!(line.kinds(), [EventKind::Placed, kind]);
        assert_eq!(line.last().edge.end_reason, Some(reason));
        assert!(line.last().raw.get().contains(&format!("\"status\":{}", status.code())));
        let view = &line.shown.as_ref().unwrap().view;
        assert_eq!((view.sip.code, view.status), (Some(status.code()), Status::Ended));
    }
}

#[test]
fn a_phone_that_rings_too_long_is_cancelled() {
    let mut line = Line::new();
    line.place(r#"{"to": "+15550123", "ring_timeout_sec": 3}"#, None);
    line.open_port();
    let dialog = line.invited();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();

    line.pass(Duration::from_secs(3));

    assert!(line.has_heard(|event| matches!(event, Event::Cancelled { .. })));
    assert_eq!(line.last().kind, EventKind::NoAnswer);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::NoAnswer));
}

#[test]
fn a_trunk_that_says_nothing_is_unreachable() {
    let mut line = Line::new();
    line.cut = true;
    line.place(CALL, None);
    line.open_port();

    line.pass(Duration::from_secs(6));

    assert_eq!(line.kinds(), [EventKind::Error], "a call that reached nobody was not placed");
    assert_eq!(line.last().edge.end_reason, Some(EndReason::Unreachable));
}

#[test]
fn an_engine_that_cannot_be_had_spares_the_person_who_is_called() {
    let mut line = Line::new();
    line.place(CALL, None);
    line.open_port();
    let dialog = line.invited();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();

    line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));

    assert!(line.has_heard(|event| matches!(event, Event::Cancelled { .. })));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineRefused));
}

#[test]
fn an_answer_that_cannot_be_used_is_acknowledged_and_ended() {
    let mut line = Line::new();
    line.place(CALL, None);
    line.open_port();
    let dialog = line.invited();

    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp("v=0\r\n")));
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaIncompatible));
}

#[test]
fn the_same_key_and_body_is_one_call_and_another_body_is_a_conflict() {
    let mut line = Line::new();
    let Answer::Placed(first) = line.place(CALL, Some(("k1", "f1"))) else { panic!() };

    let Answer::Placed(again) = line.place(CALL, Some(("k1", "f1"))) else { panic!() };
    assert_eq!(first.view.call_id, again.view.call_id);
    assert_eq!(line.exchange.tally().calls, 1);

    let other = line.place(CALL, Some(("k1", "f2")));
    assert!(matches!(other, Answer::Refused(CommandError::IdempotencyConflict)));
    let next = line.place(CALL, Some(("k2", "f1")));
    assert!(matches!(next, Answer::Placed(record) if record.view.call_id != first.view.call_id));

    line.pass(Duration::from_secs(24 * 3600 + 60));
    let tomorrow = line.place(CALL, Some(("k1", "f2")));
    assert!(matches!(tomorrow, Answer::Placed(_)));
}

#[test]
fn what_cannot_be_placed_says_why() {
    let mut settings = settings();
    settings.max_calls = 0;
    let mut full = Line::with(settings);
    let mut line = Line::new();

    let code = |answer: Answer| match answer {
        Answer::Refused(error) => error.code(),
        Answer::Placed(_) | Answer::Accepted | Answer::Context(_) | Answer::WrappedUp(_) => panic!("taken"),
    };
    assert_eq!(code(full.place(CALL, None)), "limit.calls");
    assert_eq!(code(line.place(r#"{"to": "call me"}"#, None)), "field.invalid");
    assert_eq!(code(line.place(r#"{"to": "sip:"}"#, None)), "field.invalid");
    assert_eq!(code(line.place(r#"{"to": "1", "engine": "nativ"}"#, None)), "engine.not_found");
    assert!(line.events.is_empty());
    line.exchange.drain(line.now);
    assert_eq!(code(line.place(CALL, None)), "edge.draining");
}

#[test]
fn a_port_that_cannot_be_had_ends_the_call_before_its_invite() {
    let mut line = Line::new();
    line.place(CALL, None);

    line.fact(VoiceFact::NotOpened { leg: callingedge::call::FIRST_LEG, error: "none free".into() });

    assert_eq!(line.kinds(), [EventKind::Error]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EdgeFailed));
    assert!(line.heard.is_empty());
    assert!(matches!(line.orders.last(), Some(VoiceOrder::Close(EndReason::EdgeFailed))));
}

/// A call that is answered, with an engine that speaks.
fn talking(on_machine: &str) -> Line {
    let mut line = Line::new();
    let body = format!(
        r#"{{"to": "+15550123", "answering_machine": {{"detect": true, "on_machine": "{on_machine}"}}}}"#
    );
    line.place(&body, None);
    line.open_port();
    let dialog = line.invited();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(callingedge::call::EngineCommand::Accept);
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::DetectAnswerer { .. })));
    line
}

fn heard(line: &mut Line, who: AnsweredBy) {
    line.fact(VoiceFact::AnsweredBy { leg: callingedge::call::FIRST_LEG, who, confidence: 0.9 });
}

#[test]
fn a_machine_is_told_once_and_the_call_goes_on_where_that_was_asked_for() {
    let mut line = talking("continue");
    heard(&mut line, AnsweredBy::Machine);
    heard(&mut line, AnsweredBy::Machine);

    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered, EventKind::Voicemail]);
    assert_eq!(line.last().edge.answered_by, Some(AnsweredBy::Machine));
    assert_eq!(line.shown.as_ref().unwrap().view.answered_by, Some(AnsweredBy::Machine));
}

#[test]
fn a_person_is_known_and_nothing_is_told() {
    let mut line = talking("hang_up");
    heard(&mut line, AnsweredBy::Human);

    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered]);
    assert_eq!(line.shown.as_ref().unwrap().view.answered_by, Some(AnsweredBy::Human));
}

#[test]
fn a_machine_may_end_the_call() {
    let mut line = talking("hang_up");
    heard(&mut line, AnsweredBy::Machine);

    assert_eq!(line.kinds()[2..], [EventKind::Voicemail, EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MachineAnswered));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}

#[test]
fn a_message_is_left_behind_the_beep_or_when_none_comes_or_to_a_person_after_all() {
    for case in ["beep", "no beep", "person"] {
        let mut line = talking("leave_message");
        line.dialled.clear();
        heard(&mut line, AnsweredBy::Machine);
        assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
        assert!(line.dialled.is_empty());

        match case {
            "beep" => line.fact(VoiceFact::Beep { leg: callingedge::call::FIRST_LEG }),
            "person" => heard(&mut line, AnsweredBy::Human),
            _ => line.pass(Duration::from_secs(31)),
        }

        assert_eq!(line.dialled.len(), 1, "{case}");
        line.fact(VoiceFact::EngineConnected);
        let who = if case == "person" { "human" } else { "machine" };
        let told = line.told().into_iter().rev().find_map(|event| match event {
            EngineEvent::Start(start) => start.parameters.iter().find(|(name, _)| name == "answered_by"),
            _ => None,
        });
        assert_eq!(told.map(|(_, value)| value.as_str()), Some(who), "{case}");
    }
}

#[test]
fn a_call_is_recorded_from_its_answer_on_where_there_is_a_place_for_it() {
    let mut line = Line::new();
    let refused = line.place(r#"{"to": "+15550123", "record": "stereo"}"#, None);
    assert!(matches!(refused, Answer::Refused(CommandError::RecordingOff)));

    let mut with = settings();
    let keep = Duration::from_secs(3_600);
    with.recording = Some(RecordingSettings { directory: "tapes".into(), keep }.into());
    let mut line = Line::with(with);
    line.place(r#"{"to": "+15550123", "record": "stereo"}"#, None);
    line.open_port();
    let dialog = line.invited();
    let recorded = |line: &Line| line.orders.iter().any(|order| matches!(order, VoiceOrder::Record { .. }));
    assert!(!recorded(&line));
    line.far.accept(line.now, dialog, Vec::new(), Some(sip::Body::sdp(SDP)));
    line.settle();

    assert!(recorded(&line));
    let url = format!("/api/calls/{}/recording", line.call());
    assert_eq!(
        line.last().recording_url.as_deref(),
        Some(url.as_str()),
        "in the event that tells the answer"
    );
    let call = line.call();
    let control = Control::PauseRecording { paused: true };
    line.command(Command::Control { tenant: "acme".into(), call, control });
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::PauseRecording(true))));
}
