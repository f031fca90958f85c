//! Answering machines at the telephones of humans: they never get the caller.

use std::time::Duration;

use callingedge::call::{AnsweredBy, EventKind, FIRST_LEG, LegId, VoiceFact, VoiceOrder};
use sip::endpoint::Event;
use sip::{DialogId, StatusCode};

use crate::bridging::{HUMAN, SECOND, answer, assert_no_leak, bridge, reach, route, waits};
use crate::line::{Line, settings};

fn heard(line: &mut Line, leg: LegId, who: AnsweredBy) {
    line.fact(VoiceFact::AnsweredBy { leg, who, confidence: 0.8 });
}

fn listens(line: &Line, wanted: LegId) -> bool {
    line.orders.iter().any(|order| matches!(order, VoiceOrder::DetectAnswerer { leg } if *leg == wanted))
}

fn is_let_go(line: &Line, human: DialogId) -> bool {
    line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human))
}

/// Somebody or something has answered, and the edge listens.
fn answered(more: &str) -> (Line, DialogId, DialogId) {
    let mut line = Line::new();
    let caller = line.talk();
    bridge(&mut line, &format!(r#", "on_machine": "next"{more}"#));
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    (line, caller, human)
}

#[test]
fn a_machine_is_let_go_before_it_hears_anybody_and_the_next_target_is_called() {
    let (mut line, _, machine) = answered(r#", "then": [{"number": "+15550198"}]"#);
    assert!(listens(&line, HUMAN));
    assert!(route(&line).hears.is_empty() && waits(&line), "the caller hears ringback meanwhile");

    heard(&mut line, HUMAN, AnsweredBy::Machine);

    assert!(is_let_go(&line, machine));
    let (second, invite) = reach(&mut line, SECOND);
    assert_eq!(invite.request_uri().unwrap().user(), Some("+15550198"));
    answer(&mut line, second);
    heard(&mut line, SECOND, AnsweredBy::Human);
    assert_eq!(line.kinds()[2..], [EventKind::Transferred], "the machine is no event");
    assert_eq!(route(&line).hears, [(FIRST_LEG, SECOND), (SECOND, FIRST_LEG)]);
}

#[test]
fn a_person_is_joined_as_soon_as_one_is_heard_and_whoever_says_nothing_after_five_seconds() {
    for says_something in [true, false] {
        let (mut line, caller, _) = answered("");
        line.pass(Duration::from_secs(3));
        assert_eq!(line.kinds().len(), 2, "nobody is joined unheard");

        match says_something {
            true => heard(&mut line, HUMAN, AnsweredBy::Human),
            false => line.pass(Duration::from_secs(2)),
        }

        assert_eq!(line.last().kind, EventKind::Transferred);
        heard(&mut line, HUMAN, AnsweredBy::Machine);
        assert_eq!(route(&line).hears.len(), 2, "who was joined stays, whatever is heard later");
        line.far.hang_up(line.now, caller, Vec::new());
        line.settle();
        assert_no_leak(&mut line);
    }
}

#[test]
fn a_transfer_that_finds_machines_alone_says_so_once() {
    let (mut line, caller, _) = answered("");

    heard(&mut line, HUMAN, AnsweredBy::Machine);

    assert_eq!(line.last().kind, EventKind::Error);
    assert!(line.last().raw.get().contains("transfer.voicemail"));
    assert!(!waits(&line), "the engine has the caller");
    line.far.hang_up(line.now, caller, Vec::new());
    line.settle();
    assert_no_leak(&mut line);
}

#[test]
fn a_machine_that_is_known_only_during_the_announcement_is_let_go_then() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, r#", "on_machine": "next", "announce": "briefing""#);
    let (human, _) = reach(&mut line, HUMAN);
    answer(&mut line, human);
    let announced = |line: &Line| {
        line.orders.iter().any(|order| matches!(order, VoiceOrder::Announce { leg: HUMAN, .. }))
    };
    assert!(!announced(&line), "a machine records what it hears");
    heard(&mut line, HUMAN, AnsweredBy::Human);
    assert!(announced(&line));

    heard(&mut line, HUMAN, AnsweredBy::Machine);

    assert!(is_let_go(&line, human));
    assert_eq!(line.last().kind, EventKind::Error);
}

#[test]
fn in_a_group_the_others_ring_on_until_a_person_was_heard() {
    let mut settings = settings();
    for workflow in settings.workflows.values_mut() {
        let workflow = std::sync::Arc::make_mut(workflow);
        std::sync::Arc::make_mut(&mut workflow.handling).human_machine =
            callingedge::call::MachineForHuman::Next;
    }
    let group = settings.workflows["group"].handling.clone();
    let provider = std::sync::Arc::make_mut(settings.providers.values_mut().next().unwrap());
    provider
        .routes
        .iter_mut()
        .filter(|route| route.mode == callingedge::call::Mode::Routing)
        .for_each(|route| route.handling = group.clone());
    let mut line = Line::with(settings);
    let caller = line.ring_number("+15550020", Some(crate::line::SDP), Vec::new());
    line.open_port();
    line.far.acknowledge(line.now, caller, None);
    line.settle();
    let (first, _) = reach(&mut line, HUMAN);
    let (second, _) = reach(&mut line, SECOND);
    line.far.ring(line.now, second, StatusCode::RINGING, Vec::new(), None);
    answer(&mut line, first);

    heard(&mut line, HUMAN, AnsweredBy::Machine);
    assert!(is_let_go(&line, first));
    assert!(!line.has_heard(|event| matches!(event, Event::Cancelled { .. })), "the other rings on");
    answer(&mut line, second);
    heard(&mut line, SECOND, AnsweredBy::Human);

    assert_eq!(line.last().kind, EventKind::Transferred);
    assert_eq!(route(&line).hears, [(FIRST_LEG, SECOND), (SECOND, FIRST_LEG)]);
}

#[test]
fn without_being_asked_nobody_listens() {
    let mut line = Line::new();
    line.talk();
    bridge(&mut line, "");
    let (human, _) = reach(&mut line, HUMAN);

    answer(&mut line, human);

    assert!(!listens(&line, HUMAN));
    assert_eq!(line.last().kind, EventKind::Transferred);
}
