//! Handing the caller to a human over a leg of our own, and taking them back.

use std::time::Duration;

use callingedge::call::{
    Answer, Asker, Command, CommandError, Control, EndReason, EngineCommand, EngineEvent, EngineFailure,
    EventKind, FIRST_LEG, LegId, LegRole, LegStatus, Mode, ModeChange, Place, Status, SwitchMode,
    TransferCall, TransferState, Voice, VoiceFact, VoiceOrder, VoiceRoute,
};
use sip::endpoint::Event;
use sip::{Body, DialogId, StatusCode};

use crate::line::{Line, SDP};
use crate::policy::changed;

pub(crate) const HUMAN: LegId = LegId(1);
pub(crate) const SECOND: LegId = LegId(2);

pub(crate) fn transfer(line: &mut Line, more: &str) -> Answer {
    let body = format!(r#"{{"call_id": "{}", "to": {{"number": "+15550199"}}{more}}}"#, line.call());
    let transfer: TransferCall = serde_json::from_str(&body).unwrap();
    let (tenant, provider) = ("acme".into(), "far".into());
    line.command(Command::Transfer { tenant, provider, transfer: Box::new(transfer) })
}

pub(crate) fn bridge(line: &mut Line, more: &str) {
    let answer = transfer(line, &format!(r#", "style": "bridge"{more}"#));
    assert!(matches!(answer, Answer::Accepted), "{answer:?}");
}

fn switch(line: &mut Line, body: &str) -> Answer {
    let switch: SwitchMode = serde_json::from_str(body).unwrap();
    let call = line.call();
    line.command(Command::SwitchMode { tenant: "acme".into(), call, switch: Box::new(switch) })
}

fn code(answer: Answer) -> &'static str {
    match answer {
        Answer::Refused(error) => error.code(),
        Answer::Placed(_) | Answer::Accepted | Answer::Context(_) | Answer::WrappedUp(_) => panic!("taken"),
    }
}

/// The worker opens the leg's port, and the human's telephone gets its INVITE.
pub(crate) fn reach(line: &mut Line, leg: LegId) -> (DialogId, sip::Message) {
    line.heard.clear();
    line.fact(VoiceFact::Opened { leg, port: 20_000 + 2 * u16::from(leg.0) });
    let found = line.heard.iter().rev().find_map(|event| match event {
        Event::Invited { dialog, request, .. } => Some((*dialog, request.clone())),
        _ => None,
    });
    found.expect("the human was called")
}

pub(crate) fn answer(line: &mut Line, human: DialogId) {
    line.far.ring(line.now, human, StatusCode::RINGING, Vec::new(), None);
    line.far.accept(line.now, human, Vec::new(), Some(Body::sdp(SDP)));
    line.settle();
}

/// A call whose caller speaks with a human.
fn bridged(more: &str) -> (Line, DialogId, DialogId) {
    let mut line = Line::new();
    let caller = line.talk();
    bridge(&mut line, more);
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    (line, caller, human)
}

pub(crate) fn refuse_refer(line: &mut Line, status: StatusCode) {
    let id = line.heard.iter().rev().find_map(|event| match event {
        Event::Referred { id, .. } => Some(*id),
        _ => None,
    });
    line.far.respond(line.now, id.expect("REFER came"), status, Vec::new(), None);
    line.settle();
}

pub(crate) fn route(line: &Line) -> VoiceRoute {
    let route = line.orders.iter().rev().find_map(|order| match order {
        VoiceOrder::Route(route) => Some(route.clone()),
        _ => None,
    });
    route.unwrap_or_default()
}

fn place_of(line: &Line, wanted: impl Fn(&VoiceOrder) -> bool) -> usize {
    line.orders.iter().position(wanted).expect("ordered")
}

pub(crate) fn states(line: &Line) -> Vec<TransferState> {
    let steps = line.told().into_iter().filter_map(|event| match event {
        EngineEvent::Transfer(step) => Some(step.state),
        _ => None,
    });
    steps.collect()
}

pub(crate) fn waits(line: &Line) -> bool {
    let wait = line.orders.iter().rev().find_map(|order| match order {
        VoiceOrder::Wait { leg: FIRST_LEG, audio } => Some(audio.is_some()),
        _ => None,
    });
    wait.unwrap_or(false)
}

/// Everyone hangs up; nothing may be left.
pub(crate) fn assert_no_leak(line: &mut Line) {
    line.close_voice();
    line.pass(Duration::from_secs(120));
    let tally = line.exchange.tally();
    assert_eq!((tally.calls, tally.dialogs), (0, 0));
    let last = line.events.iter().filter(|event| event.edge.end_reason.is_some()).count();
    assert_eq!(last, 1, "one last event: {:?}", line.kinds());
    let sequence: Vec<u32> = line.events.iter().map(|event| event.edge.seq).collect();
    assert_eq!(sequence, (1..=sequence.len() as u32).collect::<Vec<_>>());
}

#[test]
fn a_bridged_human_has_the_caller_and_the_engine_is_gone_before_they_hear_each_other() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, r#", "reason": "angry""#);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Transferring);
    let (human, invite) = reach(&mut line, HUMAN);
    assert_eq!(invite.request_uri().unwrap().user(), Some("+15550199"));
    assert!(invite.header_named("X-CallingEdge-Call-Id").is_some(), "the context rides along");
    assert!(waits(&line), "the caller hears ringback");

    answer(&mut line, human);

    let dismissed =
        place_of(&line, |order| matches!(order, VoiceOrder::DismissEngine(EndReason::Transferred)));
    let joined =
        place_of(&line, |order| matches!(order, VoiceOrder::Route(route) if !route.hears.is_empty()));
    assert!(dismissed < joined, "privacy");
    let hears = vec![(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)];
    assert_eq!(
        route(&line),
        VoiceRoute { engine_to: None, engine_hears: Vec::new(), hears, muted: Vec::new() }
    );
    assert!(!waits(&line));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered, EventKind::Transferred]);
    let mode = line.last().edge.mode.clone().unwrap();
    let expected =
        ModeChange { from: Mode::AiFirst, to: Mode::Routing, reason: "angry".into(), by: Asker::Api };
    assert_eq!(mode, expected);
    assert_eq!(states(&line), [TransferState::Requested, TransferState::Ringing, TransferState::Transferred]);
    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!((view.status, view.mode), (Status::Answered, Mode::Routing));
    let legs: Vec<_> = view.legs.iter().map(|leg| (leg.leg, leg.role, leg.status)).collect();
    assert_eq!(legs, [(0, LegRole::Caller, LegStatus::Connected), (1, LegRole::Human, LegStatus::Connected)]);
}

#[test]
fn when_the_caller_hangs_up_the_human_is_let_go() {
    let (mut line, caller, human) = bridged("");
    line.heard.clear();

    line.far.hang_up(line.now, caller, Vec::new());
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human)));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    assert_no_leak(&mut line);
}

#[test]
fn when_the_human_hangs_up_the_engine_takes_the_caller_of_an_ai_first_call_back() {
    let (mut line, caller, human) = bridged("");
    line.dialled.clear();

    line.far.hang_up(line.now, human, Vec::new());
    line.settle();

    assert_eq!(line.dialled.len(), 1, "the engine is dialled anew");
    assert!(waits(&line), "nobody is there yet");
    assert_eq!(route(&line), VoiceRoute::default());
    let mode = line.last().edge.mode.clone().unwrap();
    assert_eq!((mode.from, mode.to, mode.by), (Mode::Routing, Mode::AiFirst, Asker::Rule));
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    assert!(line.told().contains(&&EngineEvent::Answered), "it has the caller");
    assert!(!waits(&line));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    line.far.hang_up(line.now, caller, Vec::new());
    line.settle();
    assert_no_leak(&mut line);
}

#[test]
fn when_the_human_hangs_up_a_call_of_another_mode_is_over() {
    let mut line = Line::new();
    line.talk();
    assert!(matches!(switch(&mut line, r#"{"mode": "ai_only"}"#), Answer::Accepted));
    bridge(&mut line, "");
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);

    line.far.hang_up(line.now, human, Vec::new());
    line.settle();

    assert_eq!(line.last().kind, EventKind::Ended);
    assert_no_leak(&mut line);
}

#[test]
fn a_trunk_that_refuses_refer_is_bridged_over() {
    let mut line = Line::new();
    line.talk();
    assert!(matches!(transfer(&mut line, ""), Answer::Accepted));
    refuse_refer(&mut line, StatusCode::METHOD_NOT_ALLOWED);

    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);

    assert_eq!(line.kinds()[2..], [EventKind::Transferred], "no error on the way");
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::Routing);
}

#[test]
fn a_refer_without_an_outcome_is_bridged_over() {
    let mut line = Line::new();
    line.talk();
    transfer(&mut line, "");
    refuse_refer(&mut line, StatusCode::ACCEPTED);

    line.pass(Duration::from_secs(7));

    reach(&mut line, HUMAN);
    assert_eq!(line.kinds().len(), 2, "nothing is told yet");
}

#[test]
fn each_target_is_asked_and_the_first_who_comes_has_the_caller() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, r#", "then": [{"number": "+15550198"}]"#);
    let (first, _) = reach(&mut line, HUMAN);

    line.far.refuse(line.now, first, StatusCode::BUSY_HERE, Vec::new());
    line.settle();
    let (second, invite) = reach(&mut line, SECOND);
    assert_eq!(invite.request_uri().unwrap().user(), Some("+15550198"));
    answer(&mut line, second);

    assert_eq!(line.kinds()[2..], [EventKind::Transferred]);
    assert_eq!(route(&line).hears, [(FIRST_LEG, SECOND), (SECOND, FIRST_LEG)]);
    let closed = line.orders.iter().any(|order| matches!(order, VoiceOrder::CloseLeg(HUMAN)));
    assert!(closed, "the leg of the busy one");
}

#[test]
fn a_transfer_that_reaches_nobody_is_told_once_and_the_engine_still_has_the_caller() {
    for (status, expected) in [
        (Some(StatusCode::BUSY_HERE), r#""status":486"#),
        (Some(StatusCode::SERVICE_UNAVAILABLE), r#""status":503"#),
        (Some(StatusCode::DECLINE), r#""status":603"#),
        (None, "transfer.no_answer"),
    ] {
        let mut line = Line::new();
        let caller = line.talk();
        bridge(&mut line, "");
        let (human, _) = reach(&mut line, HUMAN);
        match status {
            Some(status) => line.far.refuse(line.now, human, status, Vec::new()),
            None => {
                line.far.ring(line.now, human, StatusCode::RINGING, Vec::new(), None);
                line.settle();
                line.pass(Duration::from_secs(31));
                assert!(line.has_heard(|event| matches!(event, Event::Cancelled { .. })));
            }
        }
        line.settle();

        assert_eq!(line.kinds()[2..], [EventKind::Error]);
        assert!(line.last().raw.get().contains(expected), "{}", line.last().raw.get());
        assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
        assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::AiFirst);
        assert_eq!(states(&line).last(), Some(&TransferState::Failed));
        assert!(!waits(&line));
        assert!(line.dialled.len() == 1, "the engine never left");
        line.far.hang_up(line.now, caller, Vec::new());
        line.settle();
        assert_no_leak(&mut line);
    }
}

#[test]
fn a_failed_transfer_may_end_the_call() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, r#", "on_failure": "hang_up""#);
    let (human, _) = reach(&mut line, HUMAN);

    line.far.refuse(line.now, human, StatusCode::BUSY_HERE, Vec::new());
    line.settle();

    assert_eq!(line.kinds()[2..], [EventKind::Error, EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::TransferFailed));
    assert_no_leak(&mut line);
}

#[test]
fn a_caller_who_gives_up_takes_the_ringing_human_along() {
    for opened in [false, true] {
        let mut line = Line::new();
        let caller = line.talk();
        bridge(&mut line, "");
        if opened {
            let (human, _) = reach(&mut line, HUMAN);
            line.far.ring(line.now, human, StatusCode::RINGING, Vec::new(), None);
            line.settle();
        }

        line.far.hang_up(line.now, caller, Vec::new());
        line.settle();

        assert_eq!(line.has_heard(|event| matches!(event, Event::Cancelled { .. })), opened);
        assert_eq!(line.kinds()[2..], [EventKind::Ended]);
        assert_no_leak(&mut line);
    }
}

#[test]
fn an_engine_that_dies_or_hangs_up_while_a_human_is_called_ends_nothing() {
    for dies in [true, false] {
        let mut line = Line::new();
        line.talk();
        bridge(&mut line, "");
        let (human, _) = reach(&mut line, HUMAN);
        if dies {
            line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: None }));
        } else {
            line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: false });
        }
        assert_eq!(line.kinds().len(), 2);
        assert!(waits(&line));

        answer(&mut line, human);

        assert_eq!(line.kinds()[2..], [EventKind::Transferred]);
    }
}

#[test]
fn a_caller_whose_engine_died_meanwhile_gets_it_back_when_nobody_came() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, "");
    let (human, _) = reach(&mut line, HUMAN);
    line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));
    line.dialled.clear();

    line.far.refuse(line.now, human, StatusCode::BUSY_HERE, Vec::new());
    line.settle();

    assert_eq!(line.dialled.len(), 1);
}

#[test]
fn an_assisted_human_has_the_engine_on_the_line() {
    let (mut line, _, human) = bridged(r#", "assist_after": true"#);

    let both = vec![(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)];
    let expected = VoiceRoute {
        engine_to: Some(HUMAN),
        engine_hears: vec![FIRST_LEG, HUMAN],
        hears: both,
        muted: Vec::new(),
    };
    assert_eq!(route(&line), expected);
    assert!(!line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::Assist);
    assert!(line.told().contains(&&EngineEvent::Mode(Mode::Assist)));

    line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));
    assert_eq!(line.last().kind, EventKind::Transferred, "a dead assistant never touches the call");
    line.far.hang_up(line.now, human, Vec::new());
    line.settle();
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::AiFirst);
}

#[test]
fn a_running_call_goes_through_all_modes() {
    let mut line = Line::new();
    line.talk();

    assert_eq!(code(switch(&mut line, r#"{"mode": "ai_first"}"#)), "mode.unchanged");
    assert_eq!(code(switch(&mut line, r#"{"mode": "assist"}"#)), "mode.no_human");
    assert!(matches!(switch(&mut line, r#"{"mode": "ai_only", "reason": "vip"}"#), Answer::Accepted));
    let assist = r#"{"mode": "assist", "to": {"number": "+15550199"}}"#;
    assert!(matches!(switch(&mut line, assist), Answer::Accepted));
    assert_eq!(code(switch(&mut line, r#"{"mode": "ai_first"}"#)), "transfer.under_way");
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    assert!(matches!(switch(&mut line, r#"{"mode": "routing"}"#), Answer::Accepted));
    assert_eq!(route(&line).engine_to, None);
    line.dialled.clear();
    assert!(matches!(switch(&mut line, r#"{"mode": "assist"}"#), Answer::Accepted));
    assert_eq!(line.dialled.len(), 1, "a dismissed engine is dialled to assist");
    assert!(matches!(switch(&mut line, r#"{"mode": "ai_first"}"#), Answer::Accepted));

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human)));
    assert_eq!(route(&line), VoiceRoute::default());
    let changes: Vec<_> = line.events.iter().filter_map(|event| event.edge.mode.clone()).collect();
    let path: Vec<_> = changes.iter().map(|change| (change.from, change.to)).collect();
    let expected = [
        (Mode::AiFirst, Mode::AiOnly),
        (Mode::AiOnly, Mode::Assist),
        (Mode::Assist, Mode::Routing),
        (Mode::Routing, Mode::Assist),
        (Mode::Assist, Mode::AiFirst),
    ];
    assert_eq!(path, expected);
    assert_eq!(changes[0].reason, "vip");
}

#[test]
fn an_engine_asks_for_a_human_and_is_told_when_it_cannot_have_one() {
    let mut line = Line::new();
    line.talk();
    let mode = |to: Option<&str>| EngineCommand::Mode {
        id: Some("m1".into()),
        mode: Mode::Assist,
        to: to.map(str::to_owned),
        reason: Some("asked twice".into()),
    };

    line.engine_says(mode(None));
    let refused = line.told().into_iter().any(|event| {
        matches!(event, EngineEvent::Refused { re: Some(re), code, .. } if re == "m1" && code == "mode.no_human")
    });
    assert!(refused);
    line.engine_says(mode(Some("+15550199")));
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);

    let change = line.last().edge.mode.clone().unwrap();
    assert_eq!((change.by, change.reason.as_str()), (Asker::Engine, "asked twice"));
}

#[test]
fn the_caller_cannot_be_handed_to_itself_or_to_where_the_trunk_may_not_dial() {
    let mut line = Line::new();
    line.talk();
    for (number, expected) in [("+15550123", "transfer.to_itself"), ("+4930123", "destination.forbidden")] {
        let body = format!(r#"{{"call_id": "{}", "to": {{"number": "{number}"}}}}"#, line.call());
        let transfer: TransferCall = serde_json::from_str(&body).unwrap();
        let (tenant, provider) = ("acme".into(), "far".into());
        let refused = line.command(Command::Transfer { tenant, provider, transfer: Box::new(transfer) });
        assert_eq!(code(refused), expected);
    }
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    let announce = transfer(&mut line, r#", "announce": "helo""#);
    assert!(matches!(announce, Answer::Refused(CommandError::AnnouncementNotFound { .. })));
}

#[test]
fn the_caller_s_name_at_another_host_is_somebody_else() {
    let mut line = Line::with(changed(|provider| {
        provider.trunk.destinations.allow = Some(vec![Place::Anywhere]);
    }));
    line.talk();
    let mut hand_over = |to: &str| {
        let body = format!(r#"{{"call_id": "{}", "to": {{"sip_uri": "{to}"}}}}"#, line.call());
        let transfer = serde_json::from_str(&body).unwrap();
        let (tenant, provider) = ("acme".into(), "far".into());
        line.command(Command::Transfer { tenant, provider, transfer: Box::new(transfer) })
    };
    for same in ["sip:+15550123@10.0.0.9", "sip:%2B15550123@10.0.0.9:5060;user=phone"] {
        assert_eq!(code(hand_over(same)), "transfer.to_itself", "{same}");
    }
    let other = hand_over("sip:+15550123@10.0.0.77:5062");
    assert!(matches!(other, Answer::Accepted), "{other:?}");
}

#[test]
fn a_human_hears_the_announcement_before_the_caller() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, r#", "announce": "briefing""#);
    let (human, _) = reach(&mut line, HUMAN);

    answer(&mut line, human);
    let announced = line
        .orders
        .iter()
        .any(|order| matches!(order, VoiceOrder::Announce { leg: HUMAN, audio } if audio.name == "sorry"));
    assert!(announced);
    assert_eq!(route(&line), VoiceRoute::default(), "not joined yet");
    line.fact(VoiceFact::Announced { leg: HUMAN });

    assert!(!route(&line).hears.is_empty());
    assert_eq!(line.last().kind, EventKind::Transferred);
}

#[test]
fn both_sides_of_a_bridge_hold_and_move_on_their_own() {
    let (mut line, _, human) = bridged("");
    line.heard.clear();
    let held = SDP.replace("o=- 1 1", "o=- 1 2").replace("a=rtpmap", "a=sendonly\r\na=rtpmap");

    line.far.reinvite(line.now, human, Vec::new(), Some(Body::sdp(held)));
    line.settle();
    assert!(
        line.has_heard(|event| matches!(event, Event::ReinviteAnswered { dialog, .. } if *dialog == human))
    );
    line.far.acknowledge(line.now, human, None);
    line.settle();
    assert!(waits(&line), "the caller is not left in silence");
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered, "the caller is not held");
    line.far.reinvite(line.now, human, Vec::new(), Some(Body::sdp(SDP.replace("o=- 1 1", "o=- 1 3"))));
    line.settle();
    assert!(!waits(&line));
}

#[test]
fn a_human_whose_audio_stops_is_gone() {
    let (mut line, _, human) = bridged("");
    line.heard.clear();

    line.fact(VoiceFact::Inactive { leg: HUMAN });

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human)));
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::AiFirst, "and the engine has the caller");
}

fn refer(line: &mut Line, dialog: DialogId, to: &str) {
    let to = sip::NameAddr::new(sip::Uri::parse(to).unwrap());
    line.far.refer(line.now, dialog, &to, Vec::new());
    line.settle();
}

fn progress(line: &Line) -> Vec<u16> {
    let told = line.heard.iter().filter_map(|event| match event {
        Event::ReferProgress { status, .. } => status.map(StatusCode::code),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_far_end_that_refers_us_to_somebody_is_obeyed_and_the_engine_speaks_with_them() {
    let mut line = Line::new();
    let caller = line.talk();
    refer(&mut line, caller, "sip:+15550177@10.0.0.9");
    assert!(line.has_heard(|event| matches!(event, Event::ReferAccepted { .. })));

    let (other, invite) = reach(&mut line, HUMAN);
    assert_eq!(invite.request_uri().unwrap().user(), Some("+15550177"));
    answer(&mut line, other);

    assert_eq!(progress(&line), [180, 200]);
    let expected = VoiceRoute { engine_to: Some(HUMAN), engine_hears: vec![HUMAN], ..VoiceRoute::default() };
    assert_eq!(route(&line), expected, "the engine is where it was, with somebody else");
    assert!(!line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == caller)));
    let change = line.last().edge.mode.clone().unwrap();
    assert_eq!((change.from, change.to, change.by), (Mode::AiFirst, Mode::AiFirst, Asker::Caller));
    let legs: Vec<_> =
        line.shown.as_ref().unwrap().view.legs.iter().map(|leg| (leg.role, leg.status)).collect();
    assert_eq!(legs, [(LegRole::Caller, LegStatus::Ended), (LegRole::Caller, LegStatus::Connected)]);
    line.far.hang_up(line.now, other, Vec::new());
    line.settle();
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    assert_no_leak(&mut line);
}

#[test]
fn a_refer_that_comes_to_nothing_is_told_and_the_call_goes_on() {
    let mut line = Line::new();
    let caller = line.talk();
    refer(&mut line, caller, "sip:+15550177@10.0.0.9");
    let (other, _) = reach(&mut line, HUMAN);

    line.far.refuse(line.now, other, StatusCode::BUSY_HERE, Vec::new());
    line.settle();

    assert_eq!(progress(&line), [486]);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    assert_eq!(line.last().kind, EventKind::Error);
    assert_eq!(route(&line), VoiceRoute::default());
}

#[test]
fn an_attended_transfer_of_the_far_end_takes_the_place_of_its_second_call() {
    let mut line = Line::new();
    let caller = line.talk();

    refer(&mut line, caller, "sip:desk@10.0.0.9?Replaces=abc%40far%3Bto-tag%3D1%3Bfrom-tag%3D2");
    let (_, invite) = reach(&mut line, HUMAN);

    assert_eq!(invite.request_uri().unwrap().to_string(), "sip:desk@10.0.0.9");
    let replaces = invite.replaces().unwrap().expect("Replaces");
    assert_eq!((replaces.call_id.as_str(), replaces.to_tag.as_str()), ("abc@far", "1"));
}

#[test]
fn a_refer_to_where_the_trunk_may_not_dial_is_refused() {
    for (to, status) in [("sip:+4930123@10.0.0.9", 403), ("mailto:desk@example.com", 416)] {
        let mut line = Line::new();
        let caller = line.talk();

        refer(&mut line, caller, to);

        let refused = line.heard.iter().find_map(|event| match event {
            Event::ReferRefused { refusal: sip::Refusal::Response(response), .. } => response.status(),
            _ => None,
        });
        assert_eq!(refused.map(StatusCode::code), Some(status), "{to}");
        assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    }
}

#[test]
fn a_human_who_refers_hands_the_caller_to_another_human() {
    let (mut line, _, human) = bridged("");
    refer(&mut line, human, "sip:+15550178@10.0.0.9");
    let (other, _) = reach(&mut line, SECOND);

    answer(&mut line, other);

    assert_eq!(route(&line).hears, [(FIRST_LEG, SECOND), (SECOND, FIRST_LEG)]);
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human)));
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::Routing);
}

#[test]
fn an_attended_transfer_lets_the_far_end_take_our_place() {
    let mut line = Line::new();
    let caller = line.talk();
    transfer(&mut line, r#", "style": "attended""#);
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    let refer_to = line.heard.iter().find_map(|event| match event {
        Event::Referred { request, .. } => request.refer_to().unwrap(),
        _ => None,
    });
    let replaces = sip::Replaces::of_uri(refer_to.expect("REFER").uri()).expect("Replaces");
    assert_eq!(line.far.call_id(human), Some(replaces.call_id.as_str()));

    refuse_refer(&mut line, StatusCode::ACCEPTED);
    let headers =
        |state: &str| vec![("Event".into(), "refer".into()), ("Subscription-State".into(), state.to_owned())];
    line.far.hang_up(line.now, human, Vec::new());
    let body = Body { content_type: "message/sipfrag".into(), content: "SIP/2.0 200 OK\r\n".into() };
    line.far.notify(line.now, caller, headers("terminated;reason=noresource"), Some(body));
    line.settle();

    assert_eq!(line.kinds()[2..], [EventKind::Transferred, EventKind::Ended]);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::Transferred));
    assert_no_leak(&mut line);
}

#[test]
fn an_attended_transfer_that_the_far_end_does_not_take_is_joined_here() {
    for refused in [true, false] {
        let mut line = Line::new();
        line.talk();
        transfer(&mut line, r#", "style": "attended""#);
        let (human, _) = reach(&mut line, HUMAN);
        answer(&mut line, human);

        if refused {
            refuse_refer(&mut line, StatusCode::NOT_IMPLEMENTED);
        } else {
            refuse_refer(&mut line, StatusCode::ACCEPTED);
            line.pass(Duration::from_secs(7));
        }

        assert_eq!(route(&line).hears, [(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)]);
        assert_eq!(line.kinds()[2..], [EventKind::Transferred]);
    }
}

#[test]
fn a_human_who_loses_patience_before_the_far_end_took_them_is_a_failure() {
    let mut line = Line::new();
    line.talk();
    transfer(&mut line, r#", "style": "attended""#);
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    refuse_refer(&mut line, StatusCode::ACCEPTED);

    line.far.hang_up(line.now, human, Vec::new());
    line.settle();
    assert_eq!(line.kinds().len(), 2, "it may have been taken");
    line.pass(Duration::from_secs(7));

    assert_eq!(line.kinds()[2..], [EventKind::Error]);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
}

#[test]
fn a_call_is_held_muted_and_played_to_from_outside() {
    let mut line = Line::new();
    line.talk();
    let control = |line: &mut Line, control: Control| {
        let call = line.call();
        line.command(Command::Control { tenant: "acme".into(), call, control })
    };

    assert_eq!(code(control(&mut line, Control::Resume)), "call.not_held");
    assert!(matches!(control(&mut line, Control::Hold), Answer::Accepted));
    assert_eq!(code(control(&mut line, Control::Hold)), "call.held");
    assert!(waits(&line));
    assert_eq!((route(&line).engine_to, line.shown.as_ref().unwrap().view.status), (None, Status::Held));
    assert!(line.told().contains(&&EngineEvent::Held));
    control(&mut line, Control::Resume);
    assert_eq!((route(&line), waits(&line)), (VoiceRoute::default(), false));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);

    control(&mut line, Control::Mute { who: Voice::Caller, muted: true });
    assert_eq!(route(&line).muted, [FIRST_LEG]);
    control(&mut line, Control::Mute { who: Voice::Caller, muted: false });
    control(&mut line, Control::Mute { who: Voice::Engine, muted: true });
    assert_eq!((route(&line).engine_to, route(&line).muted), (None, Vec::new()));

    assert!(matches!(
        control(&mut line, Control::Play { announcement: "briefing".into() }),
        Answer::Accepted
    ));
    let played = line.orders.iter().any(|order| matches!(order, VoiceOrder::Announce { leg: FIRST_LEG, .. }));
    assert!(played);
    assert_eq!(
        code(control(&mut line, Control::Play { announcement: "x".into() })),
        "announcement.not_found"
    );
}

#[test]
fn a_context_too_large_for_a_header_goes_by_reference_and_comes_back_whole() {
    let mut line = Line::new();
    line.talk();
    let fields =
        serde_json::json!({"merge_fields": {"story": "x".repeat(5000), "n": 7}, "intent": "billing"});
    line.engine_says(EngineCommand::Context(serde_json::from_value(fields).unwrap()));
    bridge(&mut line, "");
    let (_, invite) = reach(&mut line, HUMAN);
    let header = |name: &str| invite.header_named(name).map(|value| value.text().into_owned());
    let reference = header("X-CallingEdge-Context-Ref").unwrap();
    let uui = header("User-to-User").unwrap();
    assert!(uui.ends_with("content=callingedge-context-ref") && uui.len() <= 1024, "{uui}");
    assert_eq!(
        header("X-CallingEdge-Intent").as_deref(),
        Some("billing"),
        "what fits goes by itself as well"
    );

    let take =
        |line: &mut Line, reference: &str| line.command(Command::TakeContext { reference: reference.into() });
    let answer = take(&mut line, &reference);
    let Answer::Context(context) = answer else { panic!("{answer:?}") };
    assert_eq!(context.merge_fields["story"].as_str().map(str::len), Some(5000));
    assert_eq!(code(take(&mut line, &reference)), "context.not_found");

    let mut again = Line::new();
    again.talk();
    let fields = serde_json::json!({"merge_fields": {"story": "x".repeat(5000)}});
    again.engine_says(EngineCommand::Context(serde_json::from_value(fields).unwrap()));
    bridge(&mut again, "");
    let (_, invite) = reach(&mut again, HUMAN);
    let uui = invite.header_named("User-to-User").unwrap().text().into_owned();
    again.ring_number("+15550000", Some(SDP), vec![("User-to-User".into(), uui)]);
    let view = again.shown.as_ref().unwrap().view.clone();
    assert_eq!(view.context.merge_fields["story"].as_str().map(str::len), Some(5000), "by way of a PBX");
}
