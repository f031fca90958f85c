//! Handing the caller over by REFER and nothing else; for legs of our own see `bridging`.

use std::time::Duration;

use callingedge::call::{
    Answer, AnsweredBy, Command, CommandError, EndReason, EngineCommand, EngineEvent, EventKind,
    MachineForHuman, OnFailure, Status, TransferCall, TransferManner, TransferState, TransferStyle,
    VoiceFact,
};
use sip::endpoint::Event;
use sip::{Body, DialogId, StatusCode};

use crate::bridging::{HUMAN, SECOND, answer, reach, waits};
use crate::line::Line;

fn order(line: &mut Line, more: &str) -> Answer {
    let body = format!(
        r#"{{"call_id": "{}", "to": {{"number": "+15550199"}}, "style": "blind"{more}}}"#,
        line.call()
    );
    let transfer: TransferCall = serde_json::from_str(&body).unwrap();
    let (tenant, provider) = ("acme".into(), "far".into());
    line.command(Command::Transfer { tenant, provider, transfer: Box::new(transfer) })
}

/// The REFER that the telephone got, answered.
fn answer_refer(line: &mut Line, status: StatusCode) {
    let id = line.heard.iter().find_map(|event| match event {
        Event::Referred { id, .. } => Some(*id),
        _ => None,
    });
    line.far.respond(line.now, id.expect("REFER came"), status, Vec::new(), None);
    line.settle();
}

fn notify(line: &mut Line, dialog: DialogId, status_line: &str, state: &str) {
    let headers = vec![("Event".into(), "refer".into()), ("Subscription-State".into(), state.into())];
    let body =
        Body { content_type: "message/sipfrag".into(), content: format!("SIP/2.0 {status_line}\r\n").into() };
    line.far.notify(line.now, dialog, headers, Some(body));
    line.settle();
}

fn states(line: &Line) -> Vec<TransferState> {
    let steps = line.told().into_iter().filter_map(|event| match event {
        EngineEvent::Transfer(step) => Some(step.state),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_transfer_that_succeeds_is_told_once_and_then_the_call_ends() {
    let mut line = Line::new();
    let dialog = line.talk();

    assert!(matches!(order(&mut line, ""), Answer::Accepted));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Transferring);
    answer_refer(&mut line, StatusCode::ACCEPTED);
    notify(&mut line, dialog, "100 Trying", "active;expires=60");
    notify(&mut line, dialog, "180 Ringing", "active;expires=60");
    notify(&mut line, dialog, "200 OK", "terminated;reason=noresource");

    assert_eq!(
        line.kinds(),
        [EventKind::InboundRinging, EventKind::Answered, EventKind::Transferred, EventKind::Ended]
    );
    assert_eq!(line.last().edge.end_reason, Some(EndReason::Transferred));
    let expected = [
        TransferState::Requested,
        TransferState::Accepted,
        TransferState::Ringing,
        TransferState::Transferred,
    ];
    assert_eq!(states(&line), expected);
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}

#[test]
fn a_trunk_that_hangs_up_after_it_took_the_caller_has_the_caller() {
    let mut line = Line::new();
    let dialog = line.talk();
    order(&mut line, "");
    answer_refer(&mut line, StatusCode::ACCEPTED);

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.kinds()[2..], [EventKind::Transferred, EventKind::Ended]);
}

#[test]
fn a_bye_that_crosses_the_refer_is_no_transfer() {
    let mut line = Line::new();
    let dialog = line.talk();
    order(&mut line, "");

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.kinds()[2..], [EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
}

#[test]
fn a_refused_refer_is_told_and_the_call_goes_on() {
    let mut line = Line::new();
    line.talk();
    order(&mut line, "");

    answer_refer(&mut line, StatusCode::DECLINE);

    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(line.last().edge.end_reason, None, "an error that ends nothing");
    assert!(line.last().raw.get().contains("\"status\":603"));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    assert_eq!(states(&line), [TransferState::Requested, TransferState::Failed]);
    assert!(matches!(order(&mut line, ""), Answer::Accepted), "and may be tried again");
}

#[test]
fn a_transfer_whose_new_party_is_busy_is_told_and_the_call_goes_on() {
    let mut line = Line::new();
    let dialog = line.talk();
    order(&mut line, "");
    answer_refer(&mut line, StatusCode::ACCEPTED);

    notify(&mut line, dialog, "486 Busy Here", "terminated;reason=noresource");

    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
}

#[test]
fn a_subscription_that_ends_without_an_outcome_is_a_failure() {
    let mut line = Line::new();
    let dialog = line.talk();
    order(&mut line, "");
    answer_refer(&mut line, StatusCode::ACCEPTED);

    notify(&mut line, dialog, "100 Trying", "terminated;reason=timeout");

    assert_eq!(line.last().kind, EventKind::Error);
}

#[test]
fn silence_after_the_refer_is_a_failure_in_time_and_a_late_success_still_counts() {
    let mut line = Line::new();
    let dialog = line.talk();
    order(&mut line, "");
    answer_refer(&mut line, StatusCode::ACCEPTED);

    line.pass(Duration::from_secs(6));
    assert_eq!(line.last().kind, EventKind::Error);
    assert!(line.last().raw.get().contains("transfer.timeout"));

    notify(&mut line, dialog, "200 OK", "terminated;reason=noresource");
    assert_eq!(line.kinds()[3..], [EventKind::Transferred, EventKind::Ended], "the caller is gone after all");
}

/// The engine has said its farewell, and the trunk may take a minute.
#[test]
fn a_caller_who_waits_for_the_outcome_of_a_refer_is_not_left_in_silence() {
    let mut line = Line::new();
    line.talk();

    order(&mut line, "");
    assert!(waits(&line), "ringback wherever the engine says nothing");
    answer_refer(&mut line, StatusCode::ACCEPTED);
    assert!(waits(&line));
    line.pass(Duration::from_secs(6));

    assert_eq!(line.last().kind, EventKind::Error);
    assert!(!waits(&line), "the engine has the caller again");
}

#[test]
fn on_failure_may_end_the_call() {
    let mut line = Line::new();
    line.talk();
    order(&mut line, r#", "on_failure": "hang_up""#);

    answer_refer(&mut line, StatusCode::DECLINE);

    assert_eq!(line.kinds()[2..], [EventKind::Error, EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::TransferFailed));
}

#[test]
fn an_engine_transfers_by_its_own_word_and_hears_its_own_id() {
    let mut line = Line::new();
    line.talk();

    line.engine_says(EngineCommand::Transfer {
        id: Some("t7".into()),
        to: "sip:desk@10.0.0.9".into(),
        reason: None,
        manner: callingedge::call::TransferManner::default(),
    });
    answer_refer(&mut line, StatusCode::ACCEPTED);

    let told = line.told();
    assert!(
        told.iter()
            .all(|event| matches!(event, EngineEvent::Transfer(step) if step.re.as_deref() == Some("t7")))
    );
    let refer_to = line.heard.iter().find_map(|event| match event {
        Event::Referred { request, .. } => request.refer_to().unwrap(),
        _ => None,
    });
    assert_eq!(refer_to.unwrap().uri().as_str(), "sip:desk@10.0.0.9");
}

#[test]
fn an_engine_says_how_a_caller_is_handed_over_as_the_api_does() {
    let mut line = Line::new();
    line.talk();
    let manner = |style| TransferManner {
        style,
        then: vec!["+15550198".into()],
        on_failure: OnFailure::HangUp,
        on_machine: Some(MachineForHuman::Next),
        ..TransferManner::default()
    };
    let transfer = |manner| EngineCommand::Transfer {
        id: Some("t8".into()),
        to: "+15550199".into(),
        reason: Some("asked".into()),
        manner,
    };
    let unknown = TransferManner { announce: Some("x".into()), ..manner(TransferStyle::Bridge) };
    line.engine_says(transfer(unknown));
    let refused = line
        .told()
        .into_iter()
        .any(|event| matches!(event, EngineEvent::Refused { code, .. } if code == "announcement.not_found"));
    assert!(refused, "{:?}", line.told());

    line.engine_says(transfer(manner(TransferStyle::Bridge)));
    for leg in [HUMAN, SECOND] {
        let (human, _) = reach(&mut line, leg);
        answer(&mut line, human);
        line.fact(VoiceFact::AnsweredBy { leg, who: AnsweredBy::Machine, confidence: 0.9 });
    }

    assert_eq!(line.last().edge.end_reason, Some(EndReason::TransferFailed));
    let mut steps = line.told().into_iter().filter_map(|event| match event {
        EngineEvent::Transfer(step) => Some((step.re.clone().unwrap(), step.state)),
        _ => None,
    });
    assert_eq!(steps.next_back().unwrap(), ("t8".to_owned(), TransferState::Failed));
}

#[test]
fn what_cannot_be_transferred_says_why_and_leaves_the_call_alone() {
    let mut line = Line::new();
    let dialog = line.talk();
    let code = |answer: Answer| match answer {
        Answer::Refused(error) => error.code(),
        Answer::Placed(_) | Answer::Accepted | Answer::Context(_) | Answer::WrappedUp(_) => panic!("taken"),
    };

    assert_eq!(code(order(&mut line, r#", "assist_after": true"#)), "transfer.unsupported");
    assert_eq!(code(order(&mut line, r#", "announce": "hello""#)), "transfer.unsupported");
    assert!(!line.has_heard(|event| matches!(event, Event::Referred { .. })));
    order(&mut line, "");
    assert_eq!(code(order(&mut line, "")), "transfer.under_way");

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    assert_eq!(code(order(&mut line, "")), "call.already_ended");
}

#[test]
fn a_target_is_one_number_or_one_uri() {
    let mut line = Line::new();
    line.talk();
    for (to, expected) in [
        (r#"{}"#, "field.invalid"),
        (r#"{"number": "1", "sip_uri": "sip:1@x"}"#, "field.invalid"),
        (r#"{"number": "not a number"}"#, "field.invalid"),
        (r#"{"queue_id": "q"}"#, "transfer.unsupported"),
    ] {
        let body = format!(r#"{{"call_id": "{}", "to": {to}}}"#, line.call());
        let transfer: TransferCall = serde_json::from_str(&body).unwrap();
        assert_eq!(transfer.on_failure, OnFailure::ReturnToAi);
        let (tenant, provider) = ("acme".into(), "far".into());

        let answer = line.command(Command::Transfer { tenant, provider, transfer: Box::new(transfer) });

        let Answer::Refused(error) = answer else { panic!("{to} was taken") };
        assert_eq!(error.code(), expected, "{to}");
    }
}

#[test]
fn another_tenants_call_is_not_there() {
    let mut line = Line::new();
    line.talk();
    let body = format!(r#"{{"call_id": "{}", "to": {{"number": "1"}}}}"#, line.call());
    let transfer: TransferCall = serde_json::from_str(&body).unwrap();

    let answer = line.command(Command::Transfer {
        tenant: "other".into(),
        provider: "far".into(),
        transfer: Box::new(transfer),
    });

    assert!(matches!(answer, Answer::Refused(CommandError::ProviderNotFound)));
}
