//! `[workflows.…]`: who takes calls, and which humans stand behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::announcement;
use super::mistake::Problem;
use super::names::Named;
use super::rules;
use super::section::Section;
use super::surroundings::Surroundings;
use crate::call::{
    AfterHuman, Closed, Engine, EngineName, Handling, Hours, MachineForHuman, Mode, RecordMode, RingGroup,
    Workflow,
};
use crate::spelling;

/// Who owns the conversation.
pub(super) const MODES: [(&str, Mode); 4] = [
    ("ai_only", Mode::AiOnly),
    ("ai_first", Mode::AiFirst),
    ("assist", Mode::Assist),
    ("routing", Mode::Routing),
];
const RINGS: [(&str, RingGroup); 2] =
    [("sequential", RingGroup::Sequential), ("parallel", RingGroup::Parallel)];
const AFTER: [(&str, AfterHuman); 2] =
    [("return_to_ai", AfterHuman::ReturnToAi), ("hang_up", AfterHuman::HangUp)];

const MACHINES: [(&str, MachineForHuman); 2] =
    [("join", MachineForHuman::Join), ("next", MachineForHuman::Next)];
const RECORD: [(&str, RecordMode); 3] =
    [("off", RecordMode::Off), ("mixed", RecordMode::Mixed), ("stereo", RecordMode::Stereo)];

/// Humans of one workflow.
const HUMANS: usize = 16;

pub(super) fn workflows(
    sections: Vec<(String, Section<'_>)>,
    surroundings: &Surroundings,
    engines: &Named<EngineName, Arc<Engine>>,
    hours: &BTreeMap<String, Option<Arc<Hours>>>,
) -> Named<String, Arc<Workflow>> {
    let names: Vec<String> = sections.iter().map(|(name, _)| name.clone()).collect();
    let with_hours: Vec<&String> =
        sections.iter().filter(|(_, section)| section.is_there("hours")).map(|(name, _)| name).collect();
    let with_hours: Vec<String> = with_hours.into_iter().cloned().collect();
    let mut workflows = Named::new();
    let mut closing = Vec::new();
    for (name, mut section) in sections {
        let closed = closed(&mut section, hours, &names, &with_hours);
        let workflow = workflow(section, surroundings, engines);
        closing.extend(closed.map(|closed| (name.clone(), closed)));
        workflows.insert(name.clone(), workflow.map(|workflow| (name, Arc::new(workflow))));
    }
    for (name, (hours, instead)) in closing {
        let instead = workflows.known.get(&instead).cloned();
        if let (Some(workflow), Some(instead)) = (workflows.known.get_mut(&name), instead) {
            let workflow = Arc::make_mut(workflow);
            Arc::make_mut(&mut workflow.handling).closed = Some(Closed { hours, instead });
        }
    }
    workflows
}

/// When somebody is there, and by the name of which workflow calls are treated at any other time.
fn closed(
    section: &mut Section<'_>,
    hours: &BTreeMap<String, Option<Arc<Hours>>>,
    names: &[String],
    with_hours: &[String],
) -> Option<(Arc<Hours>, String)> {
    let (named, instead) = (section.text("hours"), section.text("closed"));
    if section.is_there("hours") != section.is_there("closed") {
        let key = if named.is_some() { "hours" } else { "closed" };
        let problem = "write both: `hours`, and in `closed` the workflow of any other time".to_owned();
        section.object(key, Problem::Conflict(problem));
    }
    let (named, instead) = (named?, instead?);
    let known: Vec<&str> = hours.keys().map(String::as_str).collect();
    let unknown = |what, name: &str, known: &[&str]| Problem::UnknownName {
        what,
        name: name.to_owned(),
        nearest: spelling::nearest(name, known.iter().copied()).map(str::to_owned),
    };
    if !hours.contains_key(&named) {
        section.object("hours", unknown("hours", &named, &known));
    }
    let workflows: Vec<&str> = names.iter().map(String::as_str).collect();
    if !names.contains(&instead) {
        section.object("closed", unknown("workflow", &instead, &workflows));
    } else if with_hours.contains(&instead) {
        let problem = "that workflow has `hours` itself; name one that is always there".to_owned();
        section.object("closed", Problem::Conflict(problem));
    }
    Some((hours.get(&named)?.clone()?, instead))
}

fn workflow(
    mut section: Section<'_>,
    surroundings: &Surroundings,
    engines: &Named<EngineName, Arc<Engine>>,
) -> Option<Workflow> {
    let engine = engines.read(&mut section, "engine", "engine");
    if engine.is_none() {
        section.missing("engine", "\"receptionist\" # one of [engines.…]");
    }
    let mode = section.choice("mode", &MODES).unwrap_or(Mode::AiFirst);
    let humans = section.list("humans", |text| Ok(spelling::dialable(text).map(|()| text.to_owned())?));
    let humans = humans.unwrap_or_default();
    if humans.len() > HUMANS {
        let problem = format!("names {} humans; write at most {HUMANS}", humans.len());
        section.object("humans", Problem::Conflict(problem));
    }
    let audio = |path: &str| announcement::load(path, surroundings);
    let handling = Handling {
        ring: section.choice("ring", &RINGS).unwrap_or_default(),
        human_rings: section.seconds("human_ring_sec", 1..=600),
        human_machine: section.choice("human_machine", &MACHINES).unwrap_or_default(),
        briefing: section.parsed("briefing", audio),
        waiting: section.parsed("waiting", audio),
        after_human: section.choice("after_human", &AFTER),
        human_key: section.parsed("human_key", key),
        human_for_engine: section.flag("human_for_engine").unwrap_or(mode == Mode::AiFirst),
        closed: None,
        rules: rules::rules(&mut section, surroundings, !humans.is_empty()),
        record: section.choice("record", &RECORD).unwrap_or_default(),
        dispositions: section.list("dispositions", disposition).unwrap_or_default(),
        humans,
    };
    if handling.humans.is_empty() {
        let needs = [
            ("human_key", handling.human_key.is_some()),
            ("human_machine", section.is_there("human_machine")),
            ("briefing", handling.briefing.is_some()),
            ("waiting", handling.waiting.is_some()),
            ("after_human", handling.after_human.is_some()),
        ];
        for (key, _) in needs.into_iter().filter(|(_, written)| *written) {
            section.object(key, Problem::Conflict("nobody can be called: write `humans` as well".to_owned()));
        }
        if matches!(mode, Mode::Assist | Mode::Routing) && !section.is_there("humans") {
            section.missing("humans", "[\"+16505550100\"] # who is called");
        }
    }
    section.finish();
    Some(Workflow { engine: engine?.as_str().into(), mode, handling: Arc::new(handling) })
}

pub(super) fn key(text: &str) -> Result<media::Digit, String> {
    let mut keys = text.chars();
    match (keys.next().map(media::Digit::try_from), keys.next()) {
        (Some(Ok(digit)), None) => Ok(digit),
        (Some(Ok(_) | Err(_)) | None, _) => Err("is not a key; write one of 0-9, *, #, A-D".to_owned()),
    }
}

fn disposition(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || text.contains(char::is_control) {
        return Err("is not a disposition; write 1 to 128 characters".to_owned());
    }
    Ok(text.to_owned())
}

/// What `workflow` names in a section, if anything.
pub(super) fn read(
    section: &mut Section<'_>,
    workflows: &Named<String, Arc<Workflow>>,
) -> Option<Arc<Workflow>> {
    let name = workflows.read(section, "workflow", "workflow")?;
    for key in ["engine", "mode"] {
        if section.is_there(key) {
            let problem = "the workflow says it already; write one of the two".to_owned();
            section.object(key, Problem::Conflict(problem));
        }
    }
    workflows.known.get(&name).cloned()
}

/// The workflows as calls find them.
pub(super) fn known(workflows: Named<String, Arc<Workflow>>) -> BTreeMap<String, Arc<Workflow>> {
    workflows.known
}
