//! Who calls: what an INVITE of a trunk says and is believed of, and what ours say to a trunk (RFC 3323, 3325, 5806,
//! 7044, 8224); how numbers are written on either side.

use callingedge::call::{
    Answer, CallView, CommandError, EngineEvent, Identity, IdentityHeader, NumberPattern, NumberRules,
    Person, Provider, VoiceFact,
};
use sip::HeaderName;
use sip::endpoint::Event;

use crate::line::{Line, SDP};
use crate::policy::changed;

#[test]
fn an_invite_says_who_calls_and_by_which_way() {
    let mut line = Line::with(changed(|provider| provider.trunk.trust_identity = true));

    line.ring_number("+15550000", Some(SDP), said());

    let identity = view(&line).identity;
    assert_eq!(
        identity.asserted,
        [person("sip:+15550199@carrier.example", "+15550199", Some("Sam, of Ohio"))]
    );
    assert_eq!(identity.preferred, Some(person("sip:sam@example.com", "sam", None)));
    assert_eq!(identity.privacy, ["id", "critical"]);
    let diversion: Vec<_> = identity
        .diversion
        .iter()
        .map(|one| (one.by.number.as_str(), one.reason.as_deref(), one.counter, one.privacy.as_deref()))
        .collect();
    assert_eq!(
        diversion,
        [
            ("+15550111", Some("no-answer"), Some(2), Some("off")),
            ("+15550112", Some("unconditional"), None, None),
        ]
    );
    let history: Vec<_> = identity
        .history
        .iter()
        .map(|one| {
            (one.target.number.as_str(), one.index.as_deref(), one.reason.as_deref(), one.privacy.as_deref())
        })
        .collect();
    assert_eq!(
        history,
        [
            ("+15550112", Some("1"), Some("SIP;cause=302"), Some("history")),
            ("+15550111", Some("1.1"), None, None),
        ]
    );
    assert_eq!(
        identity.stir,
        ["eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example/a.cer>;alg=ES256;ppt=shaken"]
    );
}

#[test]
fn a_trunk_that_is_not_trusted_asserts_nothing_to_anybody() {
    let mut line = Line::new();
    line.ring_number("+15550000", Some(SDP), said());
    line.open_port();
    line.fact(VoiceFact::EngineConnected);

    assert_eq!(view(&line).identity.asserted, []);
    assert_eq!(view(&line).identity.privacy, ["id", "critical"]);
    let start = line.told().into_iter().find_map(|told| match told {
        EngineEvent::Start(start) => Some(start.clone()),
        _ => None,
    });
    let start = start.expect("the engine was told of the call");
    assert_eq!(start.identity, view(&line).identity);
    let shown: Vec<&str> = start.sip_headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!shown.contains(&"P-Asserted-Identity") && shown.contains(&"Identity"), "{shown:?}");
}

#[test]
fn remote_party_id_stands_in_where_nothing_else_is_asserted() {
    let mut line = Line::with(changed(|provider| provider.trunk.trust_identity = true));
    let party = "\"Sam\" <sip:+15550199@carrier.example>;party=calling;privacy=full;screen=yes".to_owned();
    let called = "<sip:+15550000@10.0.0.1>;party=called".to_owned();

    line.ring_number(
        "+15550000",
        Some(SDP),
        vec![("Remote-Party-ID".into(), party), ("Remote-Party-ID".into(), called)],
    );

    let identity = view(&line).identity;
    assert_eq!(identity.asserted, [person("sip:+15550199@carrier.example", "+15550199", Some("Sam"))]);
    assert_eq!(identity.privacy, ["id"]);
}

#[test]
fn what_cannot_be_read_and_what_never_ends_does_no_harm() {
    let mut line = Line::with(changed(|provider| provider.trunk.trust_identity = true));
    let many = (0..60).map(|index| format!("<sip:{index}@x>;index=1.{index}")).collect::<Vec<_>>().join(",");
    let headers = vec![
        ("P-Asserted-Identity".into(), "<sip:+1@x>, <<>>".to_owned()),
        ("Diversion".into(), ";;;".to_owned()),
        ("History-Info".into(), many),
        ("Identity".into(), "x".repeat(5000)),
    ];

    line.ring_number("+15550000", Some(SDP), headers);

    let identity = view(&line).identity;
    assert_eq!((identity.asserted.len(), identity.diversion.len()), (1, 0));
    assert_eq!((identity.history.len(), identity.stir.len()), (16, 0));
}

#[test]
fn a_trunk_is_told_who_calls_in_the_header_it_wants() {
    let told = |header: IdentityHeader| {
        let mut line = Line::with(changed(|provider| provider.trunk.identity = header));
        place(&mut line, r#"{"to": "+15550123", "from": "+15550000"}"#)
    };
    let text = |invite: &sip::Message, name| invite.header(name).map(|value| value.text().into_owned());
    let who = "<sip:+15550000@10.0.0.1>";

    let (none, pai) = (told(IdentityHeader::None), told(IdentityHeader::Asserted));
    let (ppi, rpid) = (told(IdentityHeader::Preferred), told(IdentityHeader::RemoteParty));

    assert_eq!(text(&none, HeaderName::PAssertedIdentity), None);
    assert_eq!(text(&none, HeaderName::Privacy), None);
    assert_eq!(text(&pai, HeaderName::PAssertedIdentity).as_deref(), Some(who));
    assert_eq!(text(&ppi, HeaderName::PPreferredIdentity).as_deref(), Some(who));
    let expected = format!("{who};party=calling;privacy=off;screen=yes");
    assert_eq!(text(&rpid, HeaderName::RemotePartyId), Some(expected));
}

#[test]
fn a_private_call_is_anonymous_to_whom_it_rings_and_known_to_the_trunk_alone() {
    let mut line = Line::with(changed(|provider| provider.trunk.identity = IdentityHeader::Asserted));

    let invite = place(&mut line, r#"{"to": "+15550123", "from": "+15550000", "privacy": "id"}"#);

    let from = invite.from().unwrap();
    assert_eq!(from.uri().as_str(), "sip:anonymous@anonymous.invalid");
    assert_eq!(from.display(), Some("Anonymous"));
    assert_eq!(invite.header(HeaderName::Privacy).unwrap().text(), "id");
    let asserted = invite.asserted_identities().next().unwrap().unwrap();
    assert_eq!(asserted.uri().user(), Some("+15550000"));
    assert_eq!(view(&line).from, "+15550000");
}

#[test]
fn a_private_call_over_a_trunk_that_is_told_nothing_shows_the_number_nowhere() {
    let mut line = Line::new();

    let invite = place(&mut line, r#"{"to": "+15550123", "from": "+15550777", "privacy": "id"}"#);

    let written = String::from_utf8_lossy(invite.wire()).into_owned();
    assert!(!written.contains("5550777"), "{written}");
}

#[test]
fn a_signed_identity_goes_out_as_it_was_given() {
    let mut line = Line::new();
    let signed = "eyJh.e30.c2ln;info=<https://cert.example/a.cer>;alg=ES256;ppt=shaken";

    let invite = place(&mut line, &format!(r#"{{"to": "+15550123", "stir": "{signed}"}}"#));

    assert_eq!(invite.header(HeaderName::Identity).unwrap().text(), signed);
}

#[test]
fn a_call_says_only_numbers_that_the_provider_may_show() {
    let ids = vec![NumberPattern::Exact("+15550000".into()), NumberPattern::Prefix("+1800555".into())];
    let mut line = Line::with(changed(|provider| provider.trunk.caller_ids = Some(ids)));

    let good = ["+15550000", "+18005551234", "sip:+18005551234@10.0.0.1"]
        .map(|from| line.place(&format!(r#"{{"to": "+15550123", "from": "{from}"}}"#), None));
    let bad = line.place(r#"{"to": "+15550123", "from": "+14155550100"}"#, None);

    assert!(good.iter().all(|answer| matches!(answer, Answer::Placed(_))), "{good:?}");
    assert!(matches!(bad, Answer::Refused(CommandError::Invalid { field: "from", .. })), "{bad:?}");
}

#[test]
fn headers_are_set_and_removed_as_the_trunk_wants_it() {
    let mut line = Line::with(changed(|provider| {
        provider.trunk.set_headers = vec![("X-Account".into(), "42".into())];
        provider.trunk.remove_headers = vec!["user-to-user".into(), "x-callingedge-call-id".into()];
    }));

    let invite = place(&mut line, r#"{"to": "+15550123", "headers": {"X-account": "1", "X-Other": "2"}}"#);

    let text = |name| invite.header_named(name).map(|value| value.text().into_owned());
    assert_eq!(text("X-Account").as_deref(), Some("42"));
    assert_eq!(text("X-Other").as_deref(), Some("2"));
    assert_eq!((text("User-to-User"), text("X-CallingEdge-Call-Id")), (None, None));
}

#[test]
fn numbers_are_e164_here_and_as_the_trunk_writes_them_there() {
    let mut line = Line::with(changed(national));

    line.ring_number("0015550000", Some(SDP), Vec::new());
    let arrived = view(&line);
    let invite = {
        let mut line = Line::with(changed(national));
        place(&mut line, r#"{"to": "+15550123", "from": "+15550000"}"#)
    };

    assert_eq!((arrived.to.as_str(), arrived.from.as_str()), ("+15550000", "+15550123"));
    assert_eq!(invite.request_uri().unwrap().user(), Some("0015550123"));
    assert_eq!(invite.from().unwrap().uri().user(), Some("0015550000"));
}

#[test]
fn where_a_trunk_may_dial_is_asked_of_the_number_and_not_of_its_spelling() {
    let mut line = Line::with(changed(national));

    let home = line.place(r#"{"to": "sip:0015550123@10.0.0.9"}"#, None);
    let abroad = line.place(r#"{"to": "sip:0037012345678@10.0.0.9"}"#, None);

    assert!(matches!(home, Answer::Placed(_)), "{home:?}");
    assert!(matches!(abroad, Answer::Refused(CommandError::DestinationForbidden { .. })), "{abroad:?}");
}

fn national(provider: &mut Provider) {
    provider.trunk.numbers_in = NumberRules::new(vec![("00".into(), "+".into())]);
    provider.trunk.numbers_out = NumberRules::new(vec![("+".into(), "00".into())]);
}

fn said() -> sip::Headers {
    let stir = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example/a.cer>;alg=ES256;ppt=shaken";
    [
        ("P-Asserted-Identity", "\"Sam, of Ohio\" <sip:+15550199@carrier.example>"),
        ("P-Preferred-Identity", "<sip:sam@example.com>"),
        ("Privacy", "id;critical"),
        ("Diversion", "<sip:+15550111@carrier.example>;reason=no-answer;counter=2;privacy=off"),
        ("Diversion", "<tel:+15550112>;reason=unconditional"),
        (
            "History-Info",
            "<sip:+15550112@carrier.example?Reason=SIP%3Bcause%3D302&Privacy=history>;index=1, \
             <sip:+15550111@carrier.example>;index=1.1",
        ),
        ("Identity", stir),
    ]
    .map(|(name, value)| (name.into(), value.to_owned()))
    .to_vec()
}

fn person(uri: &str, number: &str, name: Option<&str>) -> Person {
    Person { uri: uri.into(), number: number.into(), name: name.map(str::to_owned) }
}

fn view(line: &Line) -> CallView {
    line.shown.as_ref().unwrap().view.clone()
}

/// Places a call; the INVITE as it came to the telephone.
fn place(line: &mut Line, body: &str) -> sip::Message {
    let answer = line.place(body, None);
    assert!(matches!(answer, Answer::Placed(_)), "{answer:?}");
    line.open_port();
    let invited = line.heard.iter().find_map(|event| match event {
        Event::Invited { request, .. } => Some(request.clone()),
        _ => None,
    });
    assert_eq!(view(line).identity, Identity::default());
    invited.expect("the telephone was called")
}
