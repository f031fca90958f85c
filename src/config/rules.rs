//! `[[workflows.NAME.rules]]`: what is done when something happens in a call.

use super::announcement;
use super::mistake::Problem;
use super::section::Section;
use super::surroundings::Surroundings;
use super::workflows::{MODES, key};
use crate::call::{Action, Mode, Rule, Trigger};
use crate::spelling;

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    CallerSilent,
    EngineSilent,
    Key,
    Intent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Play,
    Mode,
    Human,
    HangUp,
}

const WHEN: [(&str, When); 4] = [
    ("caller_silent", When::CallerSilent),
    ("engine_silent", When::EngineSilent),
    ("key", When::Key),
    ("intent", When::Intent),
];
const THEN: [(&str, Then); 4] =
    [("play", Then::Play), ("mode", Then::Mode), ("human", Then::Human), ("hang_up", Then::HangUp)];

/// Rules of one workflow.
const RULES: usize = 32;

/// `has_humans`: somebody can be called where a rule names nobody.
pub(super) fn rules(section: &mut Section<'_>, surroundings: &Surroundings, has_humans: bool) -> Vec<Rule> {
    let sections = section.sections("rules");
    if sections.len() > RULES {
        let problem = format!("there are {} rules; write at most {RULES}", sections.len());
        section.object("rules", Problem::Conflict(problem));
    }
    sections.into_iter().filter_map(|section| rule(section, surroundings, has_humans)).collect()
}

fn rule(mut section: Section<'_>, surroundings: &Surroundings, has_humans: bool) -> Option<Rule> {
    let when = section.choice("when", &WHEN);
    if when.is_none() {
        section.missing("when", "\"caller_silent\" # or engine_silent, key, intent");
    }
    let then = section.choice("then", &THEN);
    if then.is_none() {
        section.missing("then", "\"human\" # or play, mode, hang_up");
    }
    let silence = section.seconds("after_sec", 1..=3_600);
    let digit = section.parsed("key", key);
    let intent = section.text("intent");
    let times = section.number("times", 1..=100);
    let audio = section.parsed("audio", |path| announcement::load(path, surroundings));
    let mode = section.choice("mode", &MODES);
    let to = section.parsed("to", |text| Ok(spelling::dialable(text).map(|()| text.to_owned())?));
    let needs = [
        ("after_sec", matches!(when, Some(When::CallerSilent | When::EngineSilent)), "8"),
        ("key", when == Some(When::Key), "\"9\""),
        ("intent", when == Some(When::Intent), "\"human\""),
        ("audio", then == Some(Then::Play), "\"sounds/are-you-there.wav\""),
        ("mode", then == Some(Then::Mode), "\"assist\""),
    ];
    for (name, needed, example) in needs {
        if needed {
            section.missing(name, example);
        }
    }
    let belongs = [
        ("after_sec", matches!(when, None | Some(When::CallerSilent | When::EngineSilent)), "a silence"),
        ("key", matches!(when, None | Some(When::Key)), "`when = \"key\"`"),
        ("intent", matches!(when, None | Some(When::Intent)), "`when = \"intent\"`"),
        ("times", matches!(when, None | Some(When::Intent)), "`when = \"intent\"`"),
        ("audio", matches!(then, None | Some(Then::Play)), "`then = \"play\"`"),
        ("mode", matches!(then, None | Some(Then::Mode)), "`then = \"mode\"`"),
        ("to", matches!(then, None | Some(Then::Human)), "`then = \"human\"`"),
    ];
    for (name, belongs, to) in belongs {
        if section.is_there(name) && !belongs {
            section.object(name, Problem::Conflict(format!("it belongs to {to}; leave it out")));
        }
    }
    let wants_humans = match (then, mode) {
        (Some(Then::Human), _) => to.is_none() && !section.is_there("to"),
        (Some(Then::Mode), Some(mode)) => matches!(mode, Mode::Assist | Mode::Routing),
        (Some(Then::Play | Then::Mode | Then::HangUp) | None, _) => false,
    };
    if wants_humans && !has_humans {
        let problem = "nobody can be called: write `humans` in the workflow".to_owned();
        section.object("then", Problem::Conflict(problem));
    }
    section.finish();
    let when = match when? {
        When::CallerSilent => Trigger::CallerSilent(silence?),
        When::EngineSilent => Trigger::EngineSilent(silence?),
        When::Key => Trigger::Key(digit?),
        When::Intent => Trigger::Intent { intent: intent?, times: times.unwrap_or(1) },
    };
    let then = match then? {
        Then::Play => Action::Play(audio?),
        Then::Mode => Action::Mode(mode?),
        Then::Human => Action::Human(to),
        Then::HangUp => Action::HangUp,
    };
    Some(Rule { when, then })
}
