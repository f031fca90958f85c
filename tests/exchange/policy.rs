//! What a trunk does not let pass: where it may dial, and how fast calls may come.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, Command, CommandError, Destinations, DoNotCall, EndReason, EngineCommand, EngineEvent, EventKind,
    FIRST_LEG, Place, Provider, Settings, Tenant, VoiceFact, VoiceOrder,
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
fn who_is_on_the_do_not_call_list_is_not_called() {
    let mut line = Line::with(changed(|provider| {
        provider.trunk.destinations.do_not_call = DoNotCall::read("+15550123").unwrap();
    }));

    let refused = line.place(r#"{"to": "+15550123"}"#, None);
    let dialled = line.place(r#"{"to": "+15550124"}"#, None);

    let Answer::Refused(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code(), "destination.do_not_call");
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
        manner: callingedge::call::TransferManner::default(),
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
            ..Destinations::default()
        };
    })
}

/// RFC 4568 §5.1.1: what a trunk wants encrypted is refused in clear, before anybody is bothered.
#[test]
fn a_trunk_that_requires_srtp_refuses_a_call_in_clear_with_a_warning() {
    let mut line = Line::with(changed(|provider| provider.trunk.srtp = media::SrtpPolicy::Require));
    line.ring_edge(Some(SDP));

    line.open_port();

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE_HERE);
    let warning = response.header_named("Warning").unwrap().text().into_owned();
    assert!(warning.starts_with("302 ") && warning.contains("SRTP is required"), "{warning}");
    assert!(line.dialled.is_empty());
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaIncompatible));
}

#[test]
fn a_call_with_keys_is_encrypted_where_the_trunk_allows_it() {
    let secure = format!(
        "{}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n",
        SDP.replace("RTP/AVP", "RTP/SAVP")
    );
    for policy in [media::SrtpPolicy::Prefer, media::SrtpPolicy::Require] {
        let mut line = Line::with(changed(|provider| provider.trunk.srtp = policy));
        line.ring_edge(Some(&secure));
        line.open_port();
        line.fact(VoiceFact::EngineConnected);
        line.engine_says(EngineCommand::Accept);

        let keys = line.orders.iter().find_map(|order| match order {
            VoiceOrder::Negotiated { media, .. } => media.srtp,
            _ => None,
        });
        let keys = keys.expect("the voice is told to encrypt");
        assert_eq!(keys.ours.suite(), media::SrtpSuite::AesCm128HmacSha1_80);
        assert_ne!(keys.ours, keys.theirs);
    }
    let mut off = Line::new();
    off.ring_edge(Some(&secure));
    off.open_port();
    assert_eq!(off.refusal().0, StatusCode::NOT_ACCEPTABLE_HERE);
}

#[cfg(feature = "dtls")]
#[test]
fn a_call_by_a_handshake_is_answered_with_our_fingerprint_where_the_trunk_encrypts() {
    let identity = media::DtlsIdentity::generate().unwrap();
    let fingerprint = media::Fingerprint::of(b"the caller's");
    let offer = format!(
        "{}a=setup:actpass\r\na=rtcp-mux\r\na=fingerprint:{fingerprint}\r\n",
        SDP.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")
    );
    let mut line = Line::with(changed(|provider| {
        provider.trunk.srtp = media::SrtpPolicy::Prefer;
        provider.trunk.dtls = Some(identity.clone());
    }));
    line.ring_edge(Some(&offer));
    line.open_port();
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);

    let agreed = line.orders.iter().find_map(|order| match order {
        VoiceOrder::Negotiated { media, .. } => Some(media.clone()),
        _ => None,
    });
    let agreed = agreed.expect("the voice is told");
    let terms = agreed.dtls.expect("of a handshake");
    assert_eq!((terms.role, terms.fingerprints), (media::DtlsRole::Client, vec![fingerprint]));
    assert!(agreed.rtcp_mux && agreed.srtp.is_none());
}

#[test]
fn a_handshake_that_fails_ends_the_call_at_once_and_one_that_lasts_after_its_time() {
    let late = media::Unsecured::TimedOut;
    let mut line = Line::new();
    line.talk();

    line.fact(VoiceFact::NotSecured { leg: FIRST_LEG, why: late });
    assert_ne!(line.last().edge.end_reason, Some(EndReason::MediaNotSecured), "answered just now");
    line.pass(media::HANDSHAKE_PATIENCE);
    line.fact(VoiceFact::NotSecured { leg: FIRST_LEG, why: late });
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaNotSecured));

    let mut line = Line::new();
    line.talk();
    line.fact(VoiceFact::NotSecured { leg: FIRST_LEG, why: media::Unsecured::Fingerprint });
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaNotSecured));
    assert!(line.last().raw.get().contains("a=fingerprint"), "{}", line.last().raw);
}

#[test]
fn a_handshake_that_fails_while_the_phone_rings_is_a_refusal() {
    let mut line = Line::new();
    line.ring_edge(Some(SDP));
    line.open_port();

    line.fact(VoiceFact::NotSecured { leg: FIRST_LEG, why: media::Unsecured::Profile });

    assert_eq!(line.refusal().0, StatusCode::NOT_ACCEPTABLE_HERE);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaNotSecured));
}

#[test]
fn a_placed_call_offers_keys_as_its_trunk_says_and_no_two_calls_the_same() {
    for (policy, transport, suites) in [
        (media::SrtpPolicy::Off, "RTP/AVP", 0),
        (media::SrtpPolicy::Prefer, "RTP/AVP", 4),
        (media::SrtpPolicy::Require, "RTP/SAVP", 4),
    ] {
        let mut line = Line::with(changed(|provider| provider.trunk.srtp = policy));
        let mut offers = Vec::new();
        for _ in 0..2 {
            line.place(r#"{"to": "+15550123"}"#, None);
            line.open_port();
            let offer = line.offered().expect("an INVITE with an offer");
            assert!(offer.contains(&format!(" {transport} ")), "{offer}");
            assert_eq!(offer.matches("a=crypto:").count(), suites, "{offer}");
            offers.push(offer);
        }
        let keys: Vec<&str> = offers.iter().flat_map(|offer| offer.split("inline:").skip(1)).collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "a key is used twice");
        }
    }
}

pub(crate) fn changed(change: impl FnOnce(&mut Provider)) -> Settings {
    let mut settings = settings();
    let provider = settings.providers.values_mut().next().unwrap();
    change(Arc::make_mut(provider));
    settings
}
