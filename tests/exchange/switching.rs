//! Every mode, every other mode, every trigger: who owns the conversation then, who hears whom, and what is told.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, Asker, Command, CommandError, Control, DtmfMethod, EndReason, EngineCommand, EngineEvent,
    EngineFailure, EventKind, FIRST_LEG, LegId, Mode, ModeChange, SwitchEngine, SwitchMode, VoiceFact,
    VoiceOrder, VoiceRoute,
};
use sip::endpoint::Event;
use sip::{Body, DialogId};

use crate::line::{Line, SDP, settings};

const DESK: &str = "+15550010";
const MODES: [Mode; 4] = [Mode::AiOnly, Mode::AiFirst, Mode::Assist, Mode::Routing];

/// A call in some mode.
struct Talk {
    line: Line,
    caller: DialogId,
    human: Option<DialogId>,
    legs: u8,
}

impl Talk {
    fn new(mode: Mode) -> Self {
        let mut line = Line::new();
        let caller = line.ring_number(DESK, Some(SDP), Vec::new());
        line.open_port();
        line.fact(VoiceFact::EngineConnected);
        line.engine_says(EngineCommand::Accept);
        line.far.acknowledge(line.now, caller, None);
        line.settle();
        let mut talk = Self { line, caller, human: None, legs: 0 };
        if mode != Mode::AiFirst {
            assert!(matches!(talk.order(mode), Answer::Accepted));
            talk.somebody_comes();
        }
        assert_eq!(talk.mode(), mode);
        talk
    }

    fn order(&mut self, mode: Mode) -> Answer {
        let switch = Box::new(SwitchMode { mode, to: None, reason: Some("wanted".into()) });
        let call = self.line.call();
        self.line.command(Command::SwitchMode { tenant: "acme".into(), call, switch })
    }

    fn mode(&self) -> Mode {
        self.line.shown.as_ref().unwrap().view.mode
    }

    fn changes(&self) -> Vec<ModeChange> {
        let told = self.line.events.iter().filter(|event| event.kind == EventKind::Transferred);
        told.filter_map(|event| event.edge.mode.clone()).collect()
    }

    /// Who is called, if anybody is, answers; an engine that is dialled takes the call.
    fn somebody_comes(&mut self) {
        let opens = |line: &Line, leg| {
            line.orders
                .iter()
                .any(|order| matches!(order, VoiceOrder::Open { leg: opened, .. } if *opened == LegId(leg)))
        };
        let leg = self.legs + 1;
        if !opens(&self.line, leg) {
            return;
        }
        self.legs = leg;
        self.line.heard.clear();
        self.line.fact(VoiceFact::Opened { leg: LegId(leg), port: 20_000 + 2 * u16::from(leg) });
        let human = self.line.heard.iter().find_map(|event| match event {
            Event::Invited { dialog, .. } => Some(*dialog),
            _other => None,
        });
        let human = human.expect("somebody was called");
        self.line.far.accept(self.line.now, human, Vec::new(), Some(Body::sdp(SDP)));
        self.line.settle();
        self.human = Some(human);
    }

    fn route(&self) -> VoiceRoute {
        let route = self.line.orders.iter().rev().find_map(|order| match order {
            VoiceOrder::Route(route) => Some(route.clone()),
            _other => None,
        });
        route.unwrap_or_default()
    }

    /// Who hears whom is what the mode says.
    fn check_route(&self) {
        let human = LegId(self.legs);
        let both = vec![(FIRST_LEG, human), (human, FIRST_LEG)];
        let expected = match self.mode() {
            Mode::AiOnly | Mode::AiFirst => VoiceRoute::default(),
            Mode::Assist => VoiceRoute {
                // It whispers to the human alone.
                engine_to: Some(human),
                engine_hears: vec![FIRST_LEG, human],
                hears: both,
                muted: Vec::new(),
            },
            Mode::Routing => {
                VoiceRoute { engine_to: None, engine_hears: Vec::new(), hears: both, muted: Vec::new() }
            }
        };
        assert_eq!(self.route(), expected, "{:?}", self.mode());
    }

    /// The caller hangs up; nothing is left, and one event is the last.
    fn end(mut self) {
        self.line.far.hang_up(self.line.now, self.caller, Vec::new());
        self.line.settle();
        self.line.close_voice();
        self.line.pass(Duration::from_secs(120));
        let tally = self.line.exchange.tally();
        assert_eq!((tally.calls, tally.dialogs), (0, 0));
        assert_eq!(
            self.line.events.iter().filter(|event| event.is_last()).count(),
            1,
            "{:?}",
            self.line.kinds()
        );
        let sequence: Vec<u32> = self.line.events.iter().map(|event| event.edge.seq).collect();
        assert_eq!(sequence, (1..=sequence.len() as u32).collect::<Vec<_>>());
    }
}

fn is_human(mode: Mode) -> bool {
    match mode {
        Mode::Assist | Mode::Routing => true,
        Mode::AiOnly | Mode::AiFirst => false,
    }
}

/// One switch and what is told of it; with `to` as before nothing is.
fn check(mut talk: Talk, from: Mode, to: Mode, by: Asker, reason: &str, before: usize) {
    talk.somebody_comes();
    let changes = talk.changes();
    if from == to {
        assert_eq!(changes.len(), before, "{from:?} by {by:?}: nothing changed");
    } else {
        let told = ModeChange { from, to, reason: reason.to_owned(), by };
        assert_eq!(changes[before..], [told], "{from:?} by {by:?}");
    }
    assert_eq!(talk.mode(), to);
    talk.check_route();
    talk.end();
}

#[test]
fn the_api_switches_from_every_mode_to_every_other() {
    for (from, to) in MODES.into_iter().flat_map(|from| MODES.map(|to| (from, to))) {
        let mut talk = Talk::new(from);
        let before = talk.changes().len();
        match talk.order(to) {
            Answer::Accepted => assert_ne!(from, to),
            Answer::Refused(error) => assert_eq!((error.code(), from), ("mode.unchanged", to)),
            other => panic!("{other:?}"),
        }
        check(talk, from, to, Asker::Api, "wanted", before);
    }
}

#[test]
fn the_engine_switches_wherever_it_hears_of_the_call() {
    for (from, to) in MODES.into_iter().flat_map(|from| MODES.map(|to| (from, to))) {
        let mut talk = Talk::new(from);
        let before = talk.changes().len();
        talk.line.engine_says(EngineCommand::Mode {
            id: Some("m".into()),
            mode: to,
            to: None,
            reason: Some("heard".into()),
        });
        // A routed call has none: what an engine says that was let go counts for nothing.
        let to = if from == Mode::Routing { from } else { to };
        check(talk, from, to, Asker::Engine, "heard", before);
    }
}

#[test]
fn the_caller_s_key_calls_a_human_who_is_not_there_yet() {
    for from in MODES {
        let mut talk = Talk::new(from);
        let before = talk.changes().len();
        let digit = media::Digit::try_from('0').unwrap();
        talk.line.fact(VoiceFact::Dtmf {
            leg: FIRST_LEG,
            digit,
            duration: Duration::from_millis(100),
            method: DtmfMethod::Rfc4733,
        });
        let to = if is_human(from) { from } else { Mode::Routing };
        check(talk, from, to, Asker::Dtmf, "key_pressed", before);
    }
}

/// A card number is typed: no key of it means anything to us.
#[test]
fn masked_keys_call_nobody() {
    for (masks, to) in [(&[true][..], Mode::AiFirst), (&[true, false], Mode::Routing)] {
        let mut talk = Talk::new(Mode::AiFirst);
        let call = talk.line.call();
        for masked in masks {
            let control = Control::MaskKeys { masked: *masked };
            talk.line.command(Command::Control { tenant: "acme".into(), call, control });
        }
        assert!(talk.line.orders.iter().any(|order| matches!(order, VoiceOrder::MaskKeys(true))));
        let before = talk.changes().len();

        talk.line.fact(VoiceFact::Dtmf {
            leg: FIRST_LEG,
            digit: media::Digit::try_from('0').unwrap(),
            duration: Duration::from_millis(100),
            method: DtmfMethod::Rfc4733,
        });

        check(talk, Mode::AiFirst, to, Asker::Dtmf, "key_pressed", before);
    }
}

#[test]
fn the_loss_of_the_engine_calls_a_human_and_never_touches_one() {
    for from in MODES {
        let mut talk = Talk::new(from);
        let before = talk.changes().len();
        talk.line.fact(VoiceFact::EngineGone(EngineFailure::Stalled));
        let to = if is_human(from) { from } else { Mode::Routing };
        check(talk, from, to, Asker::Rule, "engine_lost", before);
    }
}

#[test]
fn the_human_s_end_gives_the_caller_back_to_the_engine() {
    for from in [Mode::Assist, Mode::Routing] {
        let mut talk = Talk::new(from);
        let before = talk.changes().len();
        talk.line.far.hang_up(talk.line.now, talk.human.unwrap(), Vec::new());
        talk.line.settle();
        check(talk, from, Mode::AiFirst, Asker::Rule, "human_hung_up", before);
    }
}

#[test]
fn the_api_gives_the_conversation_to_another_engine_which_learns_who_had_it() {
    let mut line = Line::new();
    line.talk();

    let answer = switch_engine(&mut line, "bot", Some("asks_for_billing"));

    assert!(matches!(answer, Answer::Accepted), "{answer:?}");
    assert!(
        matches!(line.orders.first(), Some(VoiceOrder::DismissEngine(EndReason::Transferred))),
        "{:?}",
        line.orders
    );
    assert_eq!(line.dialled.last().unwrap().1.name.as_str(), "bot");
    assert_eq!(line.shown.as_ref().unwrap().view.engine.as_deref(), Some("bot"));
    // What the one before has to say is of the past.
    line.engine_says(EngineCommand::HangUp { id: None, reason: None, drain: false });
    line.fact(VoiceFact::EngineConnected);
    let start = line.told().into_iter().find_map(|event| match event {
        EngineEvent::Start(start) => Some(start.clone()),
        _ => None,
    });
    let given = start.unwrap().parameters;
    for (name, value) in [("switched_from", "native"), ("switch_reason", "asks_for_billing")] {
        assert!(given.contains(&(name.to_owned(), value.to_owned())), "{given:?}");
    }
    assert!(given.iter().all(|(name, _)| name != "fallback_for"), "{given:?}");
    assert_eq!(line.kinds().last(), Some(&EventKind::Answered), "nothing ended");
}

#[test]
fn an_engine_gives_the_conversation_away_and_is_told_why_it_cannot() {
    let mut line = Line::new();
    line.talk();
    let ask = |engine: &str| EngineCommand::SwitchEngine {
        id: Some("s1".into()),
        engine: engine.into(),
        reason: None,
    };

    line.engine_says(ask("nobody"));
    let refused = line.told().into_iter().any(|event| {
        matches!(event, EngineEvent::Refused { re: Some(re), code, .. } if re == "s1" && code == "engine.not_found")
    });
    assert!(refused, "{:?}", line.orders);
    line.engine_says(ask("bot"));

    assert_eq!(line.dialled.last().unwrap().1.name.as_str(), "bot");
}

#[test]
fn an_engine_that_was_switched_to_and_is_not_there_costs_the_call_what_a_lost_engine_does() {
    let mut line = Line::new();
    line.talk();
    switch_engine(&mut line, "bot", None);

    line.fact(VoiceFact::EngineNotReached(EngineFailure::Dns));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::EngineLost));
}

#[test]
fn a_call_that_is_not_answered_or_over_changes_no_engine() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();
    let refused =
        |answer: &Answer, code: &str| matches!(answer, Answer::Refused(error) if error.code() == code);

    let answer = switch_engine(&mut line, "bot", None);
    assert!(refused(&answer, "call.not_answered"), "{answer:?}");

    let mut line = Line::new();
    line.talk();
    let answer = switch_engine(&mut line, "nobody", None);
    assert!(refused(&answer, "engine.not_found"), "{answer:?}");
}

/// A full engine takes nobody; its own call it may begin anew.
#[test]
fn an_engine_without_room_is_switched_to_by_its_own_call_alone() {
    let mut settings = settings();
    for engine in settings.engines.values_mut() {
        Arc::make_mut(engine).max_calls = Some(usize::from(engine.name.as_str() == "native"));
    }
    let mut line = Line::with(settings);
    line.talk();

    let answer = switch_engine(&mut line, "bot", None);
    assert!(matches!(answer, Answer::Refused(CommandError::LimitCalls { scope: "engine" })), "{answer:?}");
    let answer = switch_engine(&mut line, "native", None);

    assert!(matches!(answer, Answer::Accepted), "{answer:?}");
    assert_eq!(line.dialled.len(), 2);
}

fn switch_engine(line: &mut Line, engine: &str, reason: Option<&str>) -> Answer {
    let switch = Box::new(SwitchEngine { engine: engine.into(), reason: reason.map(str::to_owned) });
    let call = line.call();
    line.command(Command::SwitchEngine { tenant: "acme".into(), call, switch })
}
