//! Calls in conversation.

use std::time::Duration;

use callingedge::call::{
    EndReason, EngineCommand, EngineEvent, EngineFailure, EventKind, FIRST_LEG, LegSummary, Status,
    VoiceFact, VoiceOrder, VoiceSummary,
};
use sip::endpoint::Event;

use crate::line::{Line, SDP};

fn hold(line: &mut Line, dialog: sip::DialogId, version: u32, direction: &str) {
    let offer = format!("{SDP}a={direction}\r\n").replace("o=- 1 1", &format!("o=- 1 {version}"));
    line.far.reinvite(line.now, dialog, Vec::new(), Some(sip::Body::sdp(offer)));
    line.settle();
}

#[test]
fn a_hold_stops_what_we_send_and_tells_the_engine_and_its_end_resumes() {
    let mut line = Line::new();
    let dialog = line.talk();

    hold(&mut line, dialog, 2, "sendonly");
    assert_eq!(line.told(), [&EngineEvent::Held]);
    assert!(
        line.orders
            .iter()
            .any(|order| matches!(order, VoiceOrder::Negotiated { media, .. } if !media.direction.sends()))
    );
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Held);
    let answer = line.heard.iter().find_map(|event| match event {
        Event::ReinviteAnswered { response, .. } => Some(response.body()),
        _ => None,
    });
    assert!(String::from_utf8_lossy(&answer.unwrap()).contains("a=recvonly"));

    line.far.acknowledge(line.now, dialog, None);
    line.settle();
    hold(&mut line, dialog, 3, "sendrecv");
    assert_eq!(line.told(), [&EngineEvent::Held, &EngineEvent::Resumed]);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered], "a hold is no event");
}

#[test]
fn an_offer_that_cannot_be_taken_is_refused_and_the_call_goes_on_as_it_was() {
    let mut line = Line::new();
    let dialog = line.talk();
    let offer = SDP.replace("RTP/AVP 0 101", "RTP/AVP 18").replace("o=- 1 1", "o=- 1 2");

    line.far.reinvite(line.now, dialog, Vec::new(), Some(sip::Body::sdp(offer)));
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::ReinviteRefused { .. })));
    assert!(line.orders.is_empty());
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
}

#[test]
fn an_engine_that_hangs_up_is_heard_to_its_last_word() {
    let mut line = Line::new();
    line.talk();

    line.engine_says(EngineCommand::HangUp { id: None, reason: Some("done".into()), drain: true });
    assert!(matches!(line.orders[..], [VoiceOrder::Drain]));
    assert_eq!(line.last().kind, EventKind::Answered);
    line.fact(VoiceFact::Drained);

    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineHungUp));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}

#[test]
fn an_engine_that_hangs_up_at_once_is_obeyed_at_once() {
    let mut line = Line::new();
    line.talk();

    line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: false });

    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineHungUp));
}

#[test]
fn a_lost_engine_is_announced_and_then_the_call_ends() {
    let mut line = Line::new();
    line.talk();

    line.fact(VoiceFact::EngineGone(EngineFailure::Broken("reset".into())));
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Announce { .. })));
    assert_eq!(line.last().kind, EventKind::Answered, "the caller is still there");
    line.fact(VoiceFact::Announced { leg: FIRST_LEG });

    assert_eq!(line.last().kind, EventKind::Ended);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineLost));
}

#[test]
fn an_announcement_that_never_ends_does_not_hold_the_call() {
    let mut line = Line::new();
    line.talk();
    line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));

    line.pass(Duration::from_secs(6));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineLost));
}

#[test]
fn a_twilio_bot_that_closes_in_order_hangs_up_and_one_that_dies_is_lost() {
    for (failure, reason) in [
        (EngineFailure::Closed { code: Some(1000) }, EndReason::EngineHungUp),
        (EngineFailure::Closed { code: None }, EndReason::EngineHungUp),
        (EngineFailure::Closed { code: Some(1011) }, EndReason::EngineLost),
        (EngineFailure::Broken("reset".into()), EndReason::EngineLost),
    ] {
        let mut line = Line::new();
        let dialog = line.ring_number("+15550001", Some(SDP), Vec::new());
        line.open_port();
        line.fact(VoiceFact::EngineConnected);
        line.far.acknowledge(line.now, dialog, None);
        line.settle();

        line.fact(VoiceFact::EngineGone(failure.clone()));
        line.fact(VoiceFact::Drained);

        assert_eq!(line.last().edge.end_reason, Some(reason), "{failure}");
    }
}

#[test]
fn silence_on_the_line_ends_the_call() {
    let mut line = Line::new();
    line.talk();

    line.fact(VoiceFact::Inactive { leg: FIRST_LEG });

    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaTimeout));
}

#[test]
fn no_call_lasts_longer_than_it_may() {
    let mut line = Line::new();
    line.talk();

    line.pass(Duration::from_secs(3600));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::MaxDuration));
    assert_eq!(line.last().duration_sec, Some(3600));
}

#[test]
fn an_engine_hears_that_what_it_orders_too_late_is_not_done() {
    let mut line = Line::new();
    line.talk();

    line.engine_says(EngineCommand::Accept);
    line.engine_says(EngineCommand::Reject { status: 486, reason: "Busy".into() });
    line.engine_says(EngineCommand::Redirect { to: "+1".into() });

    let codes: Vec<&str> = line
        .told()
        .into_iter()
        .map(|event| match event {
            EngineEvent::Refused { code, .. } => code.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codes, ["call.already_accepted", "call.already_answered", "call.already_answered"]);
    assert_eq!(line.last().kind, EventKind::Answered);
}

#[test]
fn what_the_engine_learns_rides_along_from_then_on() {
    let mut line = Line::new();
    let dialog = line.talk();
    let learned = serde_json::from_str(r#"{"intent": "refund", "merge_fields": {"order": 7}}"#).unwrap();

    line.engine_says(EngineCommand::Context(learned));
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();

    assert_eq!(line.last().context.intent.as_deref(), Some("refund"));
    assert_eq!(line.last().context.merge_fields["order"], 7);
}

#[test]
fn a_worker_that_lets_go_completes_the_call_object() {
    let mut line = Line::new();
    let dialog = line.talk();
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    let told =
        callingedge::call::LegSummary { leg: 0, frames_up: 250, frames_down: 251, ..Default::default() };

    line.fact(VoiceFact::Closed(callingedge::call::VoiceSummary { legs: vec![told], ..Default::default() }));

    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!((view.legs[0].frames_up, view.legs[0].frames_down), (250, 251));
    assert_eq!(line.events.len(), 3, "and tells no further event");
}

#[test]
fn keys_that_come_as_info_are_pressed_and_other_info_is_refused() {
    let mut line = Line::new();
    let dialog = line.talk();
    for (content_type, content, status, pressed) in [
        ("application/dtmf-relay", "Signal=5\r\nDuration=200\r\n", 200, Some(('5', 200))),
        ("application/dtmf", "#", 200, Some(('#', 160))),
        ("application/dtmf", "hello", 400, None),
        ("application/media_control+xml", "<media_control/>", 415, None),
    ] {
        line.heard.clear();
        line.orders.clear();
        let body = sip::Body { content_type: content_type.into(), content: content.into() };
        line.far.info(line.now, dialog, Vec::new(), Some(body));
        line.settle();

        let answered = line.heard.iter().find_map(|event| match event {
            Event::InfoAnswered { response, .. } => response.status(),
            _ => None,
        });
        assert_eq!(answered.map(sip::StatusCode::code), Some(status), "{content_type}");
        let ordered = line.orders.iter().find_map(|order| match order {
            VoiceOrder::Pressed { digit, duration, .. } => Some((digit.as_char(), duration.as_millis())),
            _ => None,
        });
        assert_eq!(ordered, pressed, "{content_type}");
    }
}

#[test]
fn the_quality_of_a_call_is_that_of_its_caller_s_audio() {
    let mut line = Line::new();
    line.talk();
    let leg = |leg, mos, loss_pct| LegSummary {
        leg,
        mos: Some(mos),
        loss_pct: Some(loss_pct),
        ..LegSummary::default()
    };
    let legs = vec![leg(0, 4.2, 0.5), leg(1, 2.1, 9.0)];
    line.fact(VoiceFact::Closed(VoiceSummary { legs, ..VoiceSummary::default() }));

    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!((view.quality.mos, view.quality.loss_pct), (Some(4.2), Some(0.5)));
    assert_eq!(
        line.last().edge.end_reason,
        Some(EndReason::EdgeFailed),
        "a worker that lets go by itself ends the call"
    );
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}
