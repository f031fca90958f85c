//! Calls that a platform brings over a websocket of its own opening: no SIP, the same events.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, CallId, Command, CommandError, Context, EndReason, EngineCommand, EngineEvent, EngineFailure,
    EventKind, FIRST_LEG, HookArrival, HookFact, HookOrder, HookRefusal, HookUse, Mode, Provider,
    ProviderKind, SECOND_LEG, Settings, Status, SwitchMode, Trunk, VoiceFact, VoiceOrder, VoiceRoute, WrapUp,
};
use serde_json::value::RawValue;

use crate::line::{FAR, Line, settings};

#[test]
fn a_conversation_that_is_listened_to_is_a_call_of_caller_and_agent_whom_the_engine_hears() {
    let mut line = Line::with(with_hook(None));

    let call = open(&mut line, HookUse::Listen).unwrap();
    line.fact(VoiceFact::Hook(HookFact::Arrived));
    let before = line.kinds();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    assert_eq!((before, line.call()), (vec![EventKind::InboundRinging], call));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered]);
    assert!(!line.orders.iter().any(|order| matches!(order, VoiceOrder::Open { .. })), "no ports for nobody");
    let route = VoiceRoute {
        engine_to: None,
        engine_hears: vec![FIRST_LEG, SECOND_LEG],
        hears: Vec::new(),
        muted: Vec::new(),
    };
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Route(ordered) if *ordered == route)));
    assert!(line.orders.contains_take());
    assert!(matches!(line.told().last(), Some(EngineEvent::Answered)));
    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!((view.mode, view.status, view.legs.len()), (Mode::Assist, Status::Answered, 2));
    assert_eq!((view.from.as_str(), view.provider_call_id.as_deref()), ("+15550100", Some("conversation")));
}

#[test]
fn the_platform_ends_what_it_began_and_every_call_has_one_last_event() {
    for (reason, answered, expected, kind) in [
        ("end", true, EndReason::RemoteHungUp, EventKind::Ended),
        ("error", true, EndReason::Unreachable, EventKind::Ended),
        ("end", false, EndReason::CallerCancelled, EventKind::NoAnswer),
    ] {
        let mut line = Line::with(with_hook(None));
        open(&mut line, HookUse::Speak).unwrap();
        line.fact(VoiceFact::Hook(HookFact::Arrived));
        if answered {
            talk(&mut line);
        }

        line.fact(VoiceFact::Hook(HookFact::Closing { reason: reason.to_owned() }));
        line.fact(VoiceFact::Hook(HookFact::Lost { why: "closed".to_owned() }));
        line.close_voice();

        assert_eq!((line.last().kind, line.last().edge.end_reason), (kind, Some(expected)));
        assert_eq!(line.kinds().iter().filter(|told| **told == kind).count(), 1);
        assert_eq!(line.exchange.tally().calls, 0, "nothing is left");
        let leave =
            line.orders.iter().position(|order| matches!(order, VoiceOrder::Hook(HookOrder::Leave { .. })));
        let close = line.orders.iter().position(|order| matches!(order, VoiceOrder::Close(_)));
        assert!(leave.unwrap() < close.unwrap(), "the platform is told before the socket closes");
    }
}

#[test]
fn what_a_call_came_to_is_for_the_flow_to_go_on_with() {
    let mut line = Line::with(with_hook(None));
    let call = open(&mut line, HookUse::Speak).unwrap();
    line.fact(VoiceFact::Hook(HookFact::Arrived));
    talk(&mut line);

    line.command(Command::WrapUp {
        tenant: "acme".into(),
        provider: "hook".into(),
        wrap_up: WrapUp { call_id: call, disposition: "sold".to_owned(), notes: None },
    });

    let left = line.orders.iter().find_map(|order| match order {
        VoiceOrder::Hook(HookOrder::Leave { completed, variables, .. }) => {
            Some((*completed, variables.clone()))
        }
        _ => None,
    });
    let (completed, variables) = left.unwrap();
    assert!(completed);
    assert_eq!((&variables["disposition"], &variables["order"]), (&"sold".into(), &"A-7".into()));
    assert_eq!((&variables["end_reason"], &variables["intent"]), (&"api_hung_up".into(), &"refund".into()));
}

#[test]
fn without_an_engine_in_time_the_session_is_not_taken() {
    let mut line = Line::with(with_hook(None));
    open(&mut line, HookUse::Speak).unwrap();
    line.fact(VoiceFact::Hook(HookFact::Arrived));
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Timeout));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Error]);

    let mut line = Line::with(with_hook(None));
    open(&mut line, HookUse::Speak).unwrap();
    line.pass(Duration::from_secs(5));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Error]);
    assert!(!line.orders.contains_take());
}

#[test]
fn a_pause_of_the_platform_is_a_hold_and_its_end_a_resumption() {
    let mut line = Line::with(with_hook(None));
    open(&mut line, HookUse::Speak).unwrap();
    line.fact(VoiceFact::Hook(HookFact::Arrived));
    talk(&mut line);

    line.fact(VoiceFact::Hook(HookFact::Paused));
    line.fact(VoiceFact::Hook(HookFact::Paused));
    let held = line.shown.as_ref().unwrap().view.status;
    line.fact(VoiceFact::Hook(HookFact::Resumed));

    let told = line.told().into_iter();
    let told: Vec<bool> = told
        .filter_map(|event| match event {
            EngineEvent::Held => Some(true),
            EngineEvent::Resumed => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!((held, told), (Status::Held, vec![true, false]));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
}

#[test]
fn limits_hold_and_give_back_and_a_stopping_edge_takes_nothing() {
    let mut line = Line::with(with_hook(Some(1)));
    open(&mut line, HookUse::Speak).unwrap();
    assert_eq!(open(&mut line, HookUse::Speak), Err(HookRefusal::Limit));
    line.fact(VoiceFact::Hook(HookFact::Lost { why: "gone".to_owned() }));
    line.close_voice();

    assert!(open(&mut line, HookUse::Speak).is_ok());
    line.exchange.drain(line.now);
    assert_eq!(open(&mut line, HookUse::Speak), Err(HookRefusal::Draining));
    let nobody = HookArrival { provider: "nobody".into(), ..arrival(HookUse::Speak) };
    assert_eq!(Line::new().exchange.handle_hook(line.now, nobody), Err(HookRefusal::Unknown));
}

#[test]
fn a_session_that_goes_on_in_another_is_one_call_and_one_that_does_not_ends_it() {
    for (continued, goes_on) in [(true, true), (false, false)] {
        let mut line = Line::with(with_hook(Some(1)));
        let call = open(&mut line, HookUse::Speak).unwrap();
        line.fact(VoiceFact::Hook(HookFact::Arrived));
        talk(&mut line);
        line.orders.clear();

        line.fact(VoiceFact::Hook(HookFact::Closing { reason: "reconnect".to_owned() }));
        let next = |of: &str| HookArrival {
            session: "second".into(),
            continued: vec![of.into()],
            ..arrival(HookUse::Speak)
        };
        let stranger = line.exchange.handle_hook(line.now, next("other"));
        let second = continued.then(|| line.exchange.handle_hook(line.now, next("first")));
        if continued {
            line.fact(VoiceFact::Hook(HookFact::Arrived));
        }
        line.pass(Duration::from_secs(11));

        assert_eq!(stranger, Err(HookRefusal::Limit), "it is another call");
        assert_eq!(second, continued.then_some(Ok(call)));
        assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::Hook(HookOrder::Renew))));
        assert_eq!(line.orders.contains_take(), goes_on);
        let expected: &[EventKind] = match goes_on {
            true => &[EventKind::InboundRinging, EventKind::Answered],
            false => &[EventKind::InboundRinging, EventKind::Answered, EventKind::Ended],
        };
        assert_eq!(line.kinds(), expected);
    }
}

#[test]
fn who_has_the_caller_is_the_platforms_to_say() {
    let mut line = Line::with(with_hook(None));
    let call = open(&mut line, HookUse::Listen).unwrap();
    line.fact(VoiceFact::Hook(HookFact::Arrived));
    talk(&mut line);

    let switch: SwitchMode = serde_json::from_str(r#"{"mode":"ai_only"}"#).unwrap();
    let mode = line.command(Command::SwitchMode { tenant: "acme".into(), call, switch: Box::new(switch) });
    let transfer = format!(r#"{{"call_id":"{call}","to":{{"number":"+15550123"}}}}"#);
    let transfer = Box::new(serde_json::from_str(&transfer).unwrap());
    let transferred =
        line.command(Command::Transfer { tenant: "acme".into(), provider: "hook".into(), transfer });

    assert!(matches!(mode, Answer::Refused(CommandError::ProviderInboundOnly)), "{mode:?}");
    assert!(
        matches!(transferred, Answer::Refused(CommandError::TransferUnsupported { .. })),
        "{transferred:?}"
    );
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
}

fn talk(line: &mut Line) {
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
}

fn open(line: &mut Line, purpose: HookUse) -> Result<CallId, HookRefusal> {
    let opened = line.exchange.handle_hook(line.now, arrival(purpose));
    line.settle();
    opened
}

fn arrival(purpose: HookUse) -> HookArrival {
    let merge_fields = [("order".to_owned(), "A-7".into())].into_iter().collect();
    HookArrival {
        provider: "hook".into(),
        session: "first".to_owned(),
        continued: Vec::new(),
        conversation: "conversation".to_owned(),
        from: "+15550100".to_owned(),
        to: "+15550199".to_owned(),
        purpose,
        context: Context { intent: Some("refund".to_owned()), merge_fields, ..Context::default() },
        raw: RawValue::from_string("{}".to_owned()).unwrap(),
        peer: FAR.parse().unwrap(),
    }
}

fn with_hook(max_calls: Option<usize>) -> Settings {
    let mut settings = settings();
    let far = settings.providers["far"].as_ref().clone();
    let hook = Provider {
        key: "hook".into(),
        kind: ProviderKind::AudioHook,
        trunk: Trunk { max_calls, ..Trunk::to(Vec::new()) },
        routes: Vec::new(),
        ..far
    };
    settings.providers.insert("hook".into(), Arc::new(hook));
    settings
}

trait Orders {
    fn contains_take(&self) -> bool;
}

impl Orders for Vec<VoiceOrder> {
    fn contains_take(&self) -> bool {
        self.iter().any(|order| matches!(order, VoiceOrder::Hook(HookOrder::Take)))
    }
}
