//! Wrap-up and digits.

use std::time::Duration;

use callingedge::call::{Answer, Command, CommandError, EndReason, EventKind, VoiceOrder, WrapUp};
use sip::endpoint::Event;

use crate::line::Line;

fn wrap_up(line: &mut Line, disposition: &str) -> Answer {
    let wrap_up =
        WrapUp { call_id: line.call(), disposition: disposition.into(), notes: Some("called back".into()) };
    let (tenant, provider) = ("acme".into(), "far".into());
    line.command(Command::WrapUp { tenant, provider, wrap_up })
}

#[test]
fn wrap_up_ends_the_call_and_its_last_event_carries_the_disposition() {
    let mut line = Line::new();
    line.talk();

    let Answer::WrappedUp(view) = wrap_up(&mut line, "sold") else { panic!() };

    assert_eq!(view.disposition.as_deref(), Some("sold"));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
    assert_eq!(line.last().disposition.as_deref(), Some("sold"));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
}

#[test]
fn wrap_up_after_the_end_corrects_the_record_and_tells_no_second_last_event() {
    let mut line = Line::new();
    let dialog = line.talk();
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    line.close_voice();
    line.pass(Duration::from_secs(60));
    assert_eq!(line.exchange.tally().calls, 0);

    let Answer::WrappedUp(view) = wrap_up(&mut line, "sold") else { panic!() };
    assert_eq!(view.disposition.as_deref(), Some("sold"));
    let Answer::WrappedUp(view) = wrap_up(&mut line, "returned") else { panic!() };

    assert_eq!(view.disposition.as_deref(), Some("returned"));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered, EventKind::Ended]);
    assert_eq!(line.shown.as_ref().unwrap().view.disposition.as_deref(), Some("returned"));
}

#[test]
fn a_call_that_is_long_over_is_not_found() {
    let mut line = Line::new();
    let dialog = line.talk();
    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    line.close_voice();
    line.pass(Duration::from_secs(2 * 3600));

    assert!(matches!(wrap_up(&mut line, "sold"), Answer::Refused(CommandError::CallNotFound)));
}

#[test]
fn digits_go_to_the_worker_when_somebody_is_there_to_hear_them() {
    let mut line = Line::new();
    line.talk();
    let call = line.call();

    let answer = line.command(Command::SendDtmf { tenant: "acme".into(), call, digits: "12#".into() });
    assert!(matches!(answer, Answer::Accepted));
    assert!(matches!(&line.orders[..], [VoiceOrder::SendDtmf { digits, .. }] if digits.len() == 3));

    let answer = line.command(Command::SendDtmf { tenant: "acme".into(), call, digits: "1x".into() });
    assert!(matches!(answer, Answer::Refused(CommandError::Invalid { field: "digits", .. })));
}
