//! Rules of a workflow: dead air, keys, what the engine has understood, and the hours of the week.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Action, Announcement, Asker, Closed, Context, DtmfMethod, EndReason, EngineCommand, EventKind, FIRST_LEG,
    Hours, LegId, Mode, Opening, Rule, Settings, Trigger, Voice, VoiceFact, VoiceOrder,
};

use crate::line::{Line, settings};

const NUMBER: &str = "+15550010";

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The workflow behind [`NUMBER`] is changed.
fn changed(change: impl Fn(&mut callingedge::call::Handling)) -> Settings {
    let mut settings = settings();
    let provider = Arc::make_mut(settings.providers.values_mut().next().unwrap());
    for route in &mut provider.routes {
        change(Arc::make_mut(&mut route.handling));
    }
    settings
}

fn with_rules(rules: &[Rule]) -> Line {
    let mut line = Line::with(changed(|handling| handling.rules = rules.to_vec()));
    let caller = line.ring_number(NUMBER, Some(crate::line::SDP), Vec::new());
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    line.far.acknowledge(line.now, caller, None);
    line.settle();
    line
}

fn silent(line: &mut Line, who: Voice, seconds: u64) {
    line.fact(VoiceFact::Silent { who, lasted: second(seconds) });
}

fn press(line: &mut Line, key: char) {
    let (digit, method) = (media::Digit::try_from(key).unwrap(), DtmfMethod::Rfc4733);
    line.fact(VoiceFact::Dtmf { leg: FIRST_LEG, digit, duration: Duration::from_millis(100), method });
}

fn tell_intent(line: &mut Line, intent: &str) {
    line.engine_says(EngineCommand::Context(Context { intent: Some(intent.into()), ..Context::default() }));
}

fn opened(line: &Line) -> usize {
    line.orders.iter().filter(|order| matches!(order, VoiceOrder::Open { leg, .. } if leg.0 > 0)).count()
}

#[test]
fn a_caller_who_says_nothing_is_spoken_to_and_then_let_go() {
    let prompt = Arc::new(Announcement { name: "are you there".into(), pcmu: vec![0xff; 8_000] });
    let mut line = with_rules(&[
        Rule { when: Trigger::CallerSilent(second(8)), then: Action::Play(prompt) },
        Rule { when: Trigger::CallerSilent(second(16)), then: Action::HangUp },
    ]);
    let watched = line.orders.iter().find_map(|order| match order {
        VoiceOrder::WatchSilence { caller, engine } => Some((caller.clone(), engine.clone())),
        _ => None,
    });
    assert_eq!(watched.unwrap(), (vec![second(8), second(16)], Vec::new()));

    silent(&mut line, Voice::Caller, 8);
    let played = |order: &VoiceOrder| matches!(order, VoiceOrder::Announce { leg: FIRST_LEG, .. });
    assert_eq!(line.orders.iter().filter(|order| played(order)).count(), 1);
    silent(&mut line, Voice::Caller, 16);

    assert_eq!(line.last().kind, EventKind::Ended);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RuleHungUp));
}

#[test]
fn an_engine_that_says_nothing_gives_way_to_a_human() {
    let mut line = with_rules(&[Rule { when: Trigger::EngineSilent(second(5)), then: Action::Human(None) }]);

    silent(&mut line, Voice::Caller, 5);
    assert_eq!(opened(&line), 0, "that is another silence");
    silent(&mut line, Voice::Engine, 5);
    assert_eq!(opened(&line), 1);
    silent(&mut line, Voice::Engine, 5);

    assert_eq!(opened(&line), 1, "one at a time");
}

#[test]
fn a_key_calls_whom_its_rule_names_and_another_changes_the_mode() {
    let mut line = with_rules(&[
        Rule {
            when: Trigger::Key(media::Digit::try_from('9').unwrap()),
            then: Action::Human(Some("+15550299".into())),
        },
        Rule { when: Trigger::Key(media::Digit::try_from('1').unwrap()), then: Action::Mode(Mode::AiOnly) },
    ]);

    press(&mut line, '1');
    let change = line.last().edge.mode.clone().unwrap();
    assert_eq!((change.to, change.by, change.reason.as_str()), (Mode::AiOnly, Asker::Dtmf, "key"));
    press(&mut line, '1');
    assert_eq!(line.kinds().len(), 3, "it is in this mode already");
    press(&mut line, '9');

    line.heard.clear();
    line.fact(VoiceFact::Opened { leg: LegId(1), port: 20_002 });
    let invited = line.heard.iter().find_map(|event| match event {
        sip::endpoint::Event::Invited { request, .. } => {
            Some(request.request_uri().unwrap().user().unwrap().to_owned())
        }
        _ => None,
    });
    assert_eq!(invited.as_deref(), Some("+15550299"));
}

#[test]
fn a_caller_who_asks_twice_gets_a_human() {
    let when = Trigger::Intent { intent: "human".into(), times: 2 };
    let mut line = with_rules(&[Rule { when, then: Action::Human(None) }]);

    tell_intent(&mut line, "human");
    tell_intent(&mut line, "billing");
    assert_eq!(opened(&line), 0);
    tell_intent(&mut line, "human");

    assert_eq!(opened(&line), 1);
}

#[test]
fn a_rule_that_cannot_be_followed_leaves_the_call_as_it_was() {
    let to = Some("+4930123456".to_owned());
    let mut line = with_rules(&[Rule { when: Trigger::EngineSilent(second(5)), then: Action::Human(to) }]);

    silent(&mut line, Voice::Engine, 5);

    assert_eq!((opened(&line), line.kinds().len()), (0, 2), "the trunk may not dial there");
}

/// Virtual time begins on Friday, 2027-01-15, 08:00 UTC.
#[test]
fn calls_outside_of_the_hours_are_treated_by_another_workflow() {
    for (from, expected) in [(8 * 60, "native"), (8 * 60 + 1, "bot")] {
        let zone = jiff::tz::TimeZone::get("Etc/UTC").unwrap();
        let open = vec![Opening { days: vec![jiff::civil::Weekday::Friday], from, to: 17 * 60 }];
        let hours = Arc::new(Hours { zone, open, holidays: Vec::new() });
        let instead = Arc::new(callingedge::call::Workflow {
            engine: "bot".into(),
            mode: Mode::AiOnly,
            handling: Arc::default(),
        });
        let mut line = Line::with(changed(|handling| {
            handling.closed = Some(Closed { hours: hours.clone(), instead: instead.clone() });
        }));

        line.ring_number(NUMBER, Some(crate::line::SDP), Vec::new());
        line.open_port();

        assert_eq!(line.dialled[0].1.name.to_string(), expected, "open from minute {from}");
    }
}
