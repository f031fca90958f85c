//! Trunks that want REGISTER.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{RegistrationState, Settings};
use sip::StatusCode;

use crate::line::{EDGE, FAR, Line, flow, settings};

#[test]
fn a_trunk_registers_at_once_and_again_before_its_time_is_over() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    let register = answer(&mut line, StatusCode::OK, &[("Expires", "60")]);

    assert_eq!(register.header_named("Expires").unwrap().text(), "600");
    assert_eq!(register.to().unwrap().uri().as_str(), "sip:edge@10.0.0.9:5060");
    assert_eq!(register.contact().unwrap().unwrap().uri().as_str(), "sip:edge@10.0.0.1:5060");
    assert_eq!(state(&line), (RegistrationState::Registered, "registered for 60 s".to_owned()));
    assert_eq!((line.exchange.tally().registered, line.exchange.tally().to_register), (1, 1));
    line.pass(Duration::from_secs(44));
    assert!(!asked(&line), "not yet");
    line.pass(Duration::from_secs(11));
    assert!(asked(&line), "before it ends");
}

#[test]
fn a_refused_registration_is_told_with_its_reason_and_tried_again() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    answer(&mut line, StatusCode::FORBIDDEN, &[]);

    assert_eq!(state(&line), (RegistrationState::Failed, "403 Forbidden".to_owned()));
    assert_eq!((line.exchange.tally().registered, line.exchange.tally().to_register), (0, 1));
    line.pass(Duration::from_secs(2));
    assert!(!asked(&line), "not in a hurry");
    line.pass(Duration::from_secs(4));
    answer(&mut line, StatusCode::OK, &[]);
    assert_eq!(state(&line), (RegistrationState::Registered, "registered for 600 s".to_owned()));
}

#[test]
fn a_registrar_that_says_nothing_is_asked_again() {
    let mut line = Line::with(registering());
    line.cut = true;
    line.pass(Duration::from_secs(6));
    assert_eq!(state(&line), (RegistrationState::Failed, "no response came in time".to_owned()));
    line.cut = false;

    let mut waited = Duration::ZERO;
    while !asked(&line) {
        line.pass(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }

    assert!(waited < Duration::from_secs(11), "{waited:?}");
    answer(&mut line, StatusCode::OK, &[]);
    assert_eq!(state(&line).0, RegistrationState::Registered);
}

#[test]
fn too_short_a_time_is_made_longer_at_once() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));

    answer(&mut line, StatusCode::INTERVAL_TOO_BRIEF, &[("Min-Expires", "1800")]);
    line.pass(Duration::from_millis(1));

    let again = answer(&mut line, StatusCode::OK, &[]);
    assert_eq!(again.header_named("Expires").unwrap().text(), "1800");
}

#[test]
fn what_a_registrar_gives_our_contact_counts_more_than_what_it_gives_all() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));

    let contact = "<sip:edge@10.0.0.1:5060>;expires=120, <sip:other@10.0.0.2>;expires=9000";
    answer(&mut line, StatusCode::OK, &[("Expires", "300"), ("Contact", contact)]);

    assert_eq!(state(&line).1, "registered for 120 s");
}

#[test]
fn a_stop_takes_the_registration_back_and_waits_for_the_answer() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    answer(&mut line, StatusCode::OK, &[]);

    line.exchange.drain(line.now);
    line.settle();
    assert!(!line.drained);
    let farewell = answer(&mut line, StatusCode::OK, &[]);

    assert_eq!(farewell.header_named("Expires").unwrap().text(), "0");
    assert_eq!(state(&line).0, RegistrationState::Unregistered);
    assert!(line.drained);
    line.pass(Duration::from_secs(3600));
    assert!(!asked(&line), "nothing is registered again");
}

/// A deadline that has passed and that nothing moves would keep the process busy for all that time.
#[test]
fn while_a_registration_is_taken_back_nothing_else_is_due() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    answer(&mut line, StatusCode::OK, &[]);

    line.exchange.stop(line.now);
    line.settle();

    assert!(line.exchange.poll_timeout().is_some_and(|at| at > line.now));
    answer(&mut line, StatusCode::OK, &[]);
    assert!(line.drained);
}

#[test]
fn a_stop_does_not_wait_for_a_registrar_that_is_gone() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    answer(&mut line, StatusCode::OK, &[]);
    line.cut = true;

    line.exchange.drain(line.now);
    line.settle();
    line.pass(Duration::from_secs(2));

    assert!(line.drained);
}

#[test]
fn a_trunk_that_no_longer_wants_it_is_left_alone() {
    let mut line = Line::with(registering());
    line.pass(Duration::from_millis(1));
    answer(&mut line, StatusCode::OK, &[]);

    line.exchange.handle_settings(line.now, Arc::new(settings()));
    line.settle();
    line.pass(Duration::from_secs(3600));

    assert!(!asked(&line));
    assert_eq!(line.health.last().unwrap().registration, None);
}

fn registering() -> Settings {
    let mut settings = settings();
    let mut provider = settings.providers["far"].as_ref().clone();
    provider.trunk.register = Some(Duration::from_secs(600));
    provider.trunk.credentials =
        Some(sip::auth::Credentials { username: "edge".into(), password: "secret".into() });
    settings.providers.insert("far".into(), Arc::new(provider));
    settings
}

fn asked(line: &Line) -> bool {
    !line.registers.is_empty()
}

/// The registrar answers the REGISTER that it has heard.
fn answer(line: &mut Line, status: StatusCode, headers: &[(&'static str, &str)]) -> sip::Message {
    let request = line.registers.first().expect("REGISTER was heard").clone();
    line.registers.clear();
    let mut writer =
        sip::MessageWriter::response_to(&request, status, FAR.parse().unwrap(), Some("registrar"));
    for (name, value) in headers {
        match *name {
            "Contact" => drop(writer.header(sip::HeaderName::Contact, value)),
            name => writer.extension_header(name, value).map(drop).unwrap(),
        }
    }
    line.exchange.handle_sip(line.now, flow(EDGE, FAR), writer.finish());
    line.settle();
    request
}

fn state(line: &Line) -> (RegistrationState, String) {
    let told = line.health.last().unwrap().registration.clone().unwrap();
    (told.state, told.detail)
}
