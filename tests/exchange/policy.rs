//! What a trunk does not let pass: where it may dial, and how fast calls may come.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, Command, CommandError, Destinations, EngineCommand, EngineEvent, EventKind, Place, Provider,
    Settings, Tenant,
};
use sip::StatusCode;

use crate::line::{Line, SDP, settings};

#[test]
fn a_provider_without_a_list_does_not_dial_another_country() {
    let mut line = Line::new();

    let refused = line.place(r#"{"to": "+37012345678"}"#, None);
    let dialled = line.place(r#"{"to": "+15550123"}"#, None);

    let Answer::Refused(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code(), "destination.forbidden");
    assert!(error.to_string().contains("`allow_destinations`"), "{error}");
    assert!(matches!(dialled, Answer::Placed(_)));
    assert_eq!((line.exchange.tally().forbidden, line.exchange.tally().placed), (1, 1));
}

#[test]
fn a_transfer_to_where_the_trunk_may_not_dial_sends_no_refer_and_the_call_goes_on() {
    for to in [r#"{"number": "+19005551234"}"#, r#"{"sip_uri": "sip:+19005551234@10.0.0.9"}"#] {
        let mut line = Line::with(denying("+1900"));
        line.talk();
        let body = format!(r#"{{"call_id": "{}", "to": {to}}}"#, line.call());
        let (tenant, provider) = ("acme".into(), "far".into());
        let transfer = Box::new(serde_json::from_str(&body).unwrap());

        let answer = line.command(Command::Transfer { tenant, provider, transfer });

        assert!(matches!(answer, Answer::Refused(CommandError::DestinationForbidden { field: "to", .. })));
        assert!(!line.has_heard(|event| matches!(event, sip::endpoint::Event::Referred { .. })));
        assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered]);
        assert_eq!(line.exchange.tally().forbidden, 1);
    }
}

#[test]
fn an_engine_that_transfers_to_where_the_trunk_may_not_dial_is_told_why() {
    let mut line = Line::with(denying("+1900"));
    line.talk();

    line.engine_says(EngineCommand::Transfer {
        id: Some("t1".into()),
        to: "+19005551234".into(),
        reason: None,
    });

    let refused = line
        .told()
        .into_iter()
        .any(|event| matches!(event, EngineEvent::Refused { code, .. } if code == "destination.forbidden"));
    assert!(refused, "{:?}", line.told());
}

#[test]
fn placed_calls_beyond_the_rate_of_a_provider_are_told_when_to_come_again() {
    let mut line = Line::with(changed(|provider| provider.trunk.calls_per_second = Some(2)));
    let place = |line: &mut Line| line.place(r#"{"to": "+15550123"}"#, None);

    assert!(matches!(place(&mut line), Answer::Placed(_)));
    assert!(matches!(place(&mut line), Answer::Placed(_)));
    let third = place(&mut line);
    let Answer::Refused(CommandError::LimitRate { scope: "provider", retry_after }) = third else {
        panic!("{third:?}")
    };
    assert_eq!(retry_after, Duration::from_millis(500));
    line.pass(retry_after);
    assert!(matches!(place(&mut line), Answer::Placed(_)), "what was refused has not counted");
    assert_eq!(line.exchange.tally().too_fast, 1);
}

#[test]
fn inbound_calls_beyond_the_rate_of_a_tenant_get_503_with_retry_after() {
    let mut settings = settings();
    settings.tenants = [("acme".into(), Tenant { calls_per_second: Some(1), ..Tenant::default() })].into();
    let mut line = Line::with(settings);
    line.ring_edge(Some(SDP));

    line.ring_edge(Some(SDP));
    let (status, response) = line.refusal();

    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header_named("Retry-After").unwrap().text(), "2");
    assert!(response.header_named("Reason").unwrap().text().contains("calls a second"));
}

fn denying(prefix: &str) -> Settings {
    changed(|provider| {
        provider.trunk.destinations = Destinations {
            allow: Some(vec![Place::Number("+1".into())]),
            deny: vec![Place::Number(prefix.into())],
            home: Vec::new(),
        };
    })
}

pub(crate) fn changed(change: impl FnOnce(&mut Provider)) -> Settings {
    let mut settings = settings();
    let provider = settings.providers.values_mut().next().unwrap();
    change(Arc::make_mut(provider));
    settings
}
