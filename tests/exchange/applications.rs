//! Calls that an application runs: documents, bots, people, and what it is told in Twilio's words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Account, AccountVoice, Answer, Command, CommandError, EndReason, EngineEvent, EngineFailure, EventKind,
    FIRST_LEG, FetchId, Happening, LegId, Run, Settings, Source, Status, StatusCallback, Tenant, VoiceFact,
    VoiceOrder, WebAnswer, WebFailure, WebRequest, words,
};
use callingedge::provider::twilio::{Method, WebAddress, sign};
use sip::endpoint::Event;
use sip::{Body, DialogId, StatusCode};

use crate::line::{Line, SDP, settings};

const TOKEN: &str = "12345";
const VOICE: &str = "https://app.example/voice";
const HUMAN: LegId = LegId(1);

fn account() -> Account {
    Account {
        sid: format!("AC{:032x}", 7),
        provider: "far".into(),
        token: TOKEN.to_owned(),
        voice: Some(AccountVoice {
            at: post(VOICE),
            fallback: None,
            status: Some(post("https://app.example/over")),
        }),
        stream_hosts: vec!["bots.example.com".to_owned()],
        sounds: BTreeMap::from([("Welcome".to_owned(), "briefing".to_owned())]),
        say: None,
    }
}

fn applied() -> Settings {
    let tenant = Tenant { account: Some(Arc::new(account())), ..Tenant::default() };
    Settings { tenants: [("acme".into(), tenant)].into(), ..settings() }
}

fn post(url: &str) -> WebAddress {
    WebAddress { url: url.to_owned(), method: Method::Post }
}

fn twiml(inner: &str) -> String {
    format!("<Response>{inner}</Response>")
}

fn run(inner: &str) -> Run {
    let document = twiml(inner).parse().unwrap();
    Run { source: Source::Document(Arc::new(document)), fallback: None, status: None, keys: None }
}

fn told_of(events: &[Happening]) -> Option<StatusCallback> {
    Some(StatusCallback { at: post("https://app.example/status"), events: events.to_vec() })
}

fn place(line: &mut Line, run: Run) -> Answer {
    let call = serde_json::from_str(r#"{"to": "+15550177", "from": "+15550000"}"#).unwrap();
    line.command(Command::PlaceFor { tenant: "acme".into(), call: Box::new(call), run: Box::new(run) })
}

/// Placed and answered.
fn answered(run: Run) -> (Line, DialogId) {
    let mut line = Line::with(applied());
    assert!(matches!(place(&mut line, run), Answer::Placed(_)));
    line.open_port();
    let dialog = line.invited();
    line.far.ring(line.now, dialog, StatusCode::RINGING, Vec::new(), None);
    line.settle();
    line.far.accept(line.now, dialog, Vec::new(), Some(Body::sdp(SDP)));
    line.settle();
    (line, dialog)
}

fn update(line: &mut Line, run: Run) -> Answer {
    let call = line.call();
    line.command(Command::Run { tenant: "acme".into(), call, run: Box::new(run) })
}

fn fields(request: &WebRequest) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(request.body.as_deref().unwrap().as_bytes()).into_owned().collect()
}

/// What the application was asked last.
fn asked(line: &Line) -> (FetchId, WebRequest) {
    let documents = line.fetched.iter().rev().find(|(id, _)| matches!(id, FetchId::Document { .. }));
    documents.expect("the application was asked").clone()
}

fn answer(line: &mut Line, inner: &str) {
    let (id, _) = asked(line);
    fetched(line, id, Ok(WebAnswer { status: 200, body: twiml(inner).into() }));
}

fn fetched(line: &mut Line, id: FetchId, outcome: Result<WebAnswer, WebFailure>) {
    line.exchange.handle_fetched(line.now, id, outcome);
    line.settle();
}

/// The status callbacks, each answered as soon as it is sent, as they were sent.
fn callbacks(line: &mut Line) -> Vec<BTreeMap<String, String>> {
    let mut told = Vec::new();
    let mut seen = 0;
    while let Some((id, request)) = line.fetched.get(seen).cloned() {
        seen += 1;
        if let FetchId::Told { .. } = id {
            told.push(fields(&request));
            fetched(line, id, Ok(WebAnswer { status: 204, body: Default::default() }));
        }
    }
    told
}

fn words(told: &[BTreeMap<String, String>], name: &str) -> Vec<String> {
    told.iter().map(|fields| fields[name].clone()).collect()
}

#[test]
fn a_call_with_a_document_is_run_without_any_engine() {
    let (mut line, _) = answered(run("<Say>Welcome</Say><Pause length='2'/><Hangup/>"));

    assert!(line.dialled.is_empty());
    assert_eq!(line.shown.as_ref().unwrap().view.engine, None);
    assert!(
        line.orders
            .iter()
            .any(|order| matches!(order, VoiceOrder::Announce { audio, .. } if audio.name == "sorry"))
    );
    line.fact(VoiceFact::Announced { leg: FIRST_LEG });
    line.pass(Duration::from_millis(1999));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    line.pass(Duration::from_millis(1));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
    assert!(line.has_heard(|event| matches!(event, Event::HungUp { .. })));
    assert_eq!(line.kinds(), [EventKind::Placed, EventKind::Answered, EventKind::Ended]);
}

#[test]
fn a_bot_of_a_document_is_dialled_with_its_parameters_and_the_next_verb_follows_it() {
    let (mut line, _) = answered(run(
        "<Connect><Stream url='wss://bots.example.com/ws'><Parameter name='who' value='Sam'/></Stream></Connect>\
         <Pause length='1'/>",
    ));

    let (_, engine) = line.dialled.last().unwrap().clone();
    assert_eq!(engine.url, "wss://bots.example.com/ws");
    assert_eq!(engine.parameters, [("who".to_owned(), "Sam".to_owned())]);
    let signature = sign(TOKEN, "wss://bots.example.com/ws", &[]);
    assert_eq!(engine.headers, [("X-Twilio-Signature".to_owned(), signature)]);
    line.fact(VoiceFact::EngineConnected);
    let told = line.told();
    let Some(EngineEvent::Start(start)) = told.last() else { panic!("{told:?}") };
    assert_eq!(start.account, Some(account().sid));

    line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1000) }));
    assert!(matches!(line.orders.last(), Some(VoiceOrder::Drain)), "its last words are heard");
    line.pass(Duration::from_secs(20));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    line.fact(VoiceFact::Drained);
    line.pass(Duration::from_secs(1));

    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn a_bot_that_breaks_or_does_not_answer_is_not_the_end_of_the_call() {
    for failure in [EngineFailure::Broken("reset".into()), EngineFailure::Closed { code: Some(1011) }] {
        let (mut line, _) =
            answered(run("<Connect><Stream url='wss://bots.example.com/ws'/></Connect><Pause length='5'/>"));
        line.fact(VoiceFact::EngineConnected);
        line.fact(VoiceFact::EngineGone(failure));
        assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
        assert_eq!(line.exchange.tally().left_alone, 0);
        line.pass(Duration::from_secs(5));
        assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
    }
    let (mut line, _) =
        answered(run("<Connect><Stream url='wss://bots.example.com/ws'/></Connect><Pause length='5'/>"));
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Timeout));
    line.pass(Duration::from_secs(5));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

/// A document comes from whoever writes the application; where its bots may be is the operator's to say.
#[test]
fn a_document_connects_bots_of_listed_hosts_and_configured_engines_only() {
    let dialled = |url: &str| {
        let (line, _) = answered(run(&format!("<Connect><Stream url='{url}'/></Connect><Pause/>")));
        line.dialled.len()
    };

    assert_eq!(dialled("wss://bots.example.com/any?x=1"), 1);
    assert_eq!(dialled("wss://bots.example.com:443/"), 1);
    let known = settings().engines["bot"].url.clone();
    assert_eq!(dialled(&format!("{known}/other")), 1, "{known}");
    for url in [
        "ws://169.254.169.254/latest",
        "wss://bots.example.com.evil.example/",
        "wss://user:password@bots.example.com/",
        "https://bots.example.com/",
        "bots.example.com",
        "ws://127.0.0.1:22/",
    ] {
        assert_eq!(dialled(url), 0, "{url}");
    }
}

#[test]
fn the_application_is_asked_when_the_call_is_answered_and_knows_the_signature() {
    let source = Source::Web(post("https://app.example/start?x=1"));
    let (mut line, _) = answered(Run { source, ..run("") });

    let (_, request) = asked(&line);
    let told = fields(&request);
    let sid = words::call_sid(line.call());
    for (name, value) in [
        ("CallSid", sid.as_str()),
        ("AccountSid", &account().sid),
        ("From", "+15550000"),
        ("To", "+15550177"),
        ("CallStatus", "in-progress"),
        ("Direction", "outbound-api"),
        ("ApiVersion", "2010-04-01"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    let signed: Vec<(String, String)> = told.into_iter().collect();
    assert_eq!(request.signature, sign(TOKEN, "https://app.example/start?x=1", &signed));
    answer(&mut line, "<Hangup/>");
    assert_eq!(line.last().kind, EventKind::Ended);
}

#[test]
fn a_get_has_its_fields_in_the_url_and_that_is_signed() {
    let source = Source::Web(WebAddress { url: "https://app.example/start?x=1".into(), method: Method::Get });
    let (line, _) = answered(Run { source, ..run("") });

    let (_, request) = asked(&line);

    assert_eq!(request.body, None);
    assert!(request.url.starts_with("https://app.example/start?x=1&CallSid=CA"), "{}", request.url);
    assert_eq!(request.signature, sign(TOKEN, &request.url, &[]));
}

#[test]
fn who_wants_to_know_is_told_how_the_call_fares_in_order() {
    let wanted = Run { status: told_of(&Happening::ALL), ..run("<Pause length='3'/>") };
    let (mut line, _) = answered(wanted);
    line.pass(Duration::from_secs(3));

    let told = callbacks(&mut line);

    assert_eq!(words(&told, "CallStatus"), ["initiated", "ringing", "in-progress", "completed"]);
    assert_eq!(words(&told, "SequenceNumber"), ["0", "1", "2", "3"]);
    let last = told.last().unwrap();
    assert_eq!((last["CallDuration"].as_str(), last["SipResponseCode"].as_str()), ("3", "200"));
    assert!(last["Timestamp"].ends_with(" +0000"), "{}", last["Timestamp"]);
}

#[test]
fn a_call_that_nobody_takes_is_told_as_twilio_tells_it() {
    for (status, word) in [(486, "busy"), (480, "no-answer"), (404, "failed")] {
        let mut line = Line::with(applied());
        place(&mut line, Run { status: told_of(&[Happening::Completed]), ..run("<Pause/>") });
        line.open_port();
        let dialog = line.invited();
        line.far.refuse(line.now, dialog, StatusCode::new(status).unwrap(), Vec::new());
        line.settle();

        let told = callbacks(&mut line);

        assert_eq!(words(&told, "CallStatus"), [word]);
        assert_eq!(words(&told, "SipResponseCode"), [status.to_string()]);
    }
}

#[test]
fn a_callback_that_does_not_arrive_is_sent_once_more_and_holds_up_its_own_call_only() {
    let (mut line, _) = answered(Run { status: told_of(&Happening::ALL), ..run("<Pause length='90'/>") });
    let told = |line: &Line| -> Vec<FetchId> {
        line.fetched.iter().map(|(id, _)| *id).filter(|id| matches!(id, FetchId::Told { .. })).collect()
    };
    assert_eq!(told(&line).len(), 1, "one at a time");

    let first = told(&line)[0];
    fetched(&mut line, first, Err(WebFailure::Unreachable("refused".into())));
    assert_eq!(told(&line).len(), 2);
    let again = told(&line)[1];
    fetched(&mut line, again, Err(WebFailure::Unreachable("refused".into())));
    assert_eq!(told(&line).len(), 3, "the next one");
    // Nobody ever answers: the shell has not kept its promise.
    line.pass(Duration::from_secs(41));

    assert_eq!(told(&line).len(), 5, "given up in time");
}

#[test]
fn an_inbound_call_that_no_route_claims_is_the_applications() {
    let mut line = Line::with(applied());
    let dialog = line.ring_number("+15550099", Some(SDP), vec![("X-Campaign".into(), "spring".into())]);
    line.open_port();

    let (_, request) = asked(&line);
    let told = fields(&request);
    assert_eq!(request.url, VOICE);
    assert_eq!((told["CallStatus"].as_str(), told["Direction"].as_str()), ("ringing", "inbound"));
    assert_eq!((told["From"].as_str(), told["To"].as_str()), ("+15550123", "+15550099"));
    assert_eq!(told["SipHeader_X-Campaign"], "spring");
    assert!(!line.has_heard(|event| matches!(event, Event::Answered { .. })));

    answer(&mut line, "<Pause length='2'/><Say>Welcome</Say>");
    assert!(!line.has_heard(|event| matches!(event, Event::Answered { .. })), "a pause rings on");
    line.pass(Duration::from_secs(2));
    assert!(line.has_heard(|event| matches!(event, Event::Answered { .. })));
    line.far.acknowledge(line.now, dialog, None);
    line.settle();
    assert!(matches!(line.orders.last(), Some(VoiceOrder::Announce { .. })));
    line.fact(VoiceFact::Announced { leg: FIRST_LEG });

    assert_eq!(line.last().kind, EventKind::Ended);
    let told = callbacks(&mut line);
    assert_eq!(words(&told, "CallStatus"), ["completed"]);
}

#[test]
fn an_inbound_call_is_rejected_as_the_document_says() {
    for (inner, status) in
        [("<Reject/>", 603), ("<Reject reason='busy'/>", 486), ("<Hangup/>", 603), ("", 603)]
    {
        let mut line = Line::with(applied());
        line.ring_number("+15550099", Some(SDP), Vec::new());
        line.open_port();

        answer(&mut line, inner);

        assert_eq!(line.refusal().0.code(), status, "{inner}");
    }
}

#[test]
fn a_route_of_the_provider_goes_before_the_application() {
    let mut line = Line::with(applied());
    line.ring_edge(Some(SDP));
    line.open_port();

    assert!(line.fetched.is_empty());
    assert_eq!(line.dialled.len(), 1);
}

#[test]
fn an_application_that_is_down_turns_an_inbound_call_away() {
    let mut line = Line::with(applied());
    line.ring_number("+15550099", Some(SDP), Vec::new());
    line.open_port();
    for _ in 0..2 {
        let (id, _) = asked(&line);
        fetched(&mut line, id, Ok(WebAnswer { status: 502, body: Default::default() }));
    }

    assert_eq!(line.refusal().0.code(), 603);
    assert_eq!(line.fetched.iter().filter(|(id, _)| matches!(id, FetchId::Document { .. })).count(), 2);
}

#[test]
fn keys_of_the_caller_are_gathered_and_told() {
    let source = Source::Web(post(VOICE));
    let (mut line, _) = answered(Run { source, ..run("") });
    answer(&mut line, "<Gather numDigits='2' action='/keys'><Say>Welcome</Say></Gather>");
    let press = |line: &mut Line, key: char| {
        let digit = media::Digit::try_from(key).unwrap();
        let method = callingedge::call::DtmfMethod::Rfc4733;
        line.fact(VoiceFact::Dtmf { leg: FIRST_LEG, digit, duration: Duration::from_millis(100), method });
    };

    press(&mut line, '4');
    let silence =
        |order: &VoiceOrder| matches!(order, VoiceOrder::Announce { audio, .. } if audio.pcmu.is_empty());
    assert!(line.orders.iter().any(silence), "the prompt ends");
    press(&mut line, '2');

    let (_, request) = asked(&line);
    assert_eq!(request.url, "https://app.example/keys");
    assert_eq!(fields(&request)["Digits"], "42");
}

fn wav(samples: usize) -> Vec<u8> {
    let data = vec![0xff; samples];
    let mut file = b"RIFF".to_vec();
    file.extend((36 + samples as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // G.711 mu-law, one channel, 8,000 samples a second.
    for word in [7_u16, 1, 8000, 0, 8000, 0, 1, 8] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"data");
    file.extend((samples as u32).to_le_bytes());
    file.extend(data);
    file
}

/// The sounds that were asked for.
fn sounds(line: &Line) -> Vec<(FetchId, String)> {
    let fetched = line.fetched.iter().filter(|(id, _)| matches!(id, FetchId::Sound { .. }));
    fetched.map(|(id, request)| (*id, request.url.clone())).collect()
}

#[test]
fn a_sound_is_fetched_once_and_heard_as_often_as_it_is_to_be() {
    let (mut line, _) = answered(run("<Play loop='2'>https://app.example/hello.wav</Play>"));
    let (id, url) = sounds(&line)[0].clone();
    assert_eq!(url, "https://app.example/hello.wav");

    fetched(&mut line, id, Ok(WebAnswer { status: 200, body: wav(800).into() }));
    for _ in 0..2 {
        assert!(
            matches!(line.orders.last(), Some(VoiceOrder::Announce { audio, .. }) if audio.pcmu.len() == 800)
        );
        line.pass(Duration::from_millis(100));
        line.orders.clear();
        line.fact(VoiceFact::Announced { leg: FIRST_LEG });
    }

    assert_eq!(sounds(&line).len(), 1);
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn a_sound_that_cannot_be_had_or_played_is_passed_over() {
    for outcome in [
        Ok(WebAnswer { status: 404, body: Default::default() }),
        Ok(WebAnswer { status: 200, body: "ID3 no wave".into() }),
        Ok(WebAnswer { status: 200, body: wav(0).into() }),
        Err(WebFailure::TooLong),
    ] {
        let (mut line, _) = answered(run("<Play>https://app.example/hello.mp3</Play><Say>Welcome</Say>"));
        let (id, _) = sounds(&line)[0].clone();
        fetched(&mut line, id, outcome);
        assert!(
            matches!(line.orders.last(), Some(VoiceOrder::Announce { audio, .. }) if audio.name == "sorry")
        );
    }
    let (mut line, _) = answered(run("<Play>https://app.example/never.wav</Play>"));
    line.pass(Duration::from_secs(20));
    assert_eq!(
        line.last().edge.end_reason,
        Some(EndReason::ApiHungUp),
        "one that never comes is not waited for"
    );
    let (line, _) = answered(run("<Play>nothing</Play>"));
    assert!(sounds(&line).is_empty());
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn a_sound_that_comes_when_other_things_go_on_is_not_heard() {
    let (mut line, _) = answered(run("<Play>https://app.example/hello.wav</Play>"));
    let (id, _) = sounds(&line)[0].clone();
    update(&mut line, run("<Pause length='9'/>"));
    line.orders.clear();

    fetched(&mut line, id, Ok(WebAnswer { status: 200, body: wav(800).into() }));

    assert!(line.orders.is_empty());
}

/// The worker opens the human's port, and their telephone rings.
fn reach(line: &mut Line) -> (DialogId, sip::Message) {
    line.heard.clear();
    line.fact(VoiceFact::Opened { leg: HUMAN, port: 20_002 });
    let found = line.heard.iter().rev().find_map(|event| match event {
        Event::Invited { dialog, request, .. } => Some((*dialog, request.clone())),
        _ => None,
    });
    found.expect("somebody was called")
}

#[test]
fn somebody_is_dialled_joined_and_when_they_leave_the_application_goes_on() {
    let source = Source::Web(post(VOICE));
    let (mut line, _) = answered(Run { source, ..run("") });
    answer(&mut line, "<Dial action='/after' callerId='+15550042' timeout='9'>+15550199</Dial>");
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Transferring);
    let (human, invite) = reach(&mut line);
    assert!(invite.from().unwrap().uri().as_str().contains("+15550042"));
    line.far.accept(line.now, human, Vec::new(), Some(Body::sdp(SDP)));
    line.settle();
    assert!(
        line.orders.iter().any(|order| matches!(order, VoiceOrder::Route(route) if route.hears.len() == 2))
    );

    line.pass(Duration::from_secs(7));
    line.far.hang_up(line.now, human, Vec::new());
    line.settle();

    let told = fields(&asked(&line).1);
    assert_eq!(asked(&line).1.url, "https://app.example/after");
    assert_eq!((told["DialCallStatus"].as_str(), told["DialCallDuration"].as_str()), ("completed", "7"));
    assert_eq!(told["CallStatus"], "in-progress");
    answer(&mut line, "<Hangup/>");
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn whoever_is_busy_or_does_not_answer_is_told_and_the_document_goes_on() {
    for (status, word) in [(486, "busy"), (480, "no-answer"), (500, "failed")] {
        let source = Source::Web(post(VOICE));
        let (mut line, _) = answered(Run { source, ..run("") });
        answer(&mut line, "<Dial action='/after'>+15550199</Dial>");
        let (human, _) = reach(&mut line);
        line.far.refuse(line.now, human, StatusCode::new(status).unwrap(), Vec::new());
        line.settle();

        assert_eq!(fields(&asked(&line).1)["DialCallStatus"], word);
        answer(&mut line, "<Say>Welcome</Say>");
        assert!(matches!(line.orders.last(), Some(VoiceOrder::Announce { .. })));
    }
}

#[test]
fn a_number_that_the_trunk_may_not_dial_is_a_failed_dial() {
    let (line, _) = answered(run("<Dial action='https://app.example/after'>+44900123456</Dial>"));

    assert_eq!(fields(&asked(&line).1)["DialCallStatus"], "failed");
    assert_eq!(line.exchange.tally().forbidden, 1);
}

#[test]
fn a_caller_who_was_referred_leaves_and_the_application_is_told() {
    let source = Source::Web(post(VOICE));
    let (mut line, dialog) = answered(Run { source, ..run("") });
    answer(&mut line, "<Refer action='/after'><Sip>sip:alice@10.0.0.9</Sip></Refer>");
    let id = line.heard.iter().find_map(|event| match event {
        Event::Referred { id, .. } => Some(*id),
        _ => None,
    });
    line.far.respond(line.now, id.expect("REFER came"), StatusCode::ACCEPTED, Vec::new(), None);
    line.settle();
    let headers = vec![("Event".into(), "refer".into()), ("Subscription-State".into(), "terminated".into())];
    let body = Body { content_type: "message/sipfrag".into(), content: "SIP/2.0 200 OK\r\n".into() };
    line.far.notify(line.now, dialog, headers, Some(body));
    line.settle();

    assert_eq!(line.last().edge.end_reason, Some(EndReason::Transferred));
    let told = callbacks(&mut line);
    assert_eq!(words(&told, "ReferCallStatus"), ["completed"]);
}

#[test]
fn a_refused_refer_is_the_next_step_of_the_document() {
    let (mut line, _) =
        answered(run("<Refer action='https://app.example/after'><Sip>sip:alice@10.0.0.9</Sip></Refer>"));
    let id = line.heard.iter().find_map(|event| match event {
        Event::Referred { id, .. } => Some(*id),
        _ => None,
    });
    line.far.respond(line.now, id.expect("REFER came"), StatusCode::DECLINE, Vec::new(), None);
    line.settle();

    let told = fields(&asked(&line).1);
    assert_eq!((told["ReferCallStatus"].as_str(), told["ReferSipResponseCode"].as_str()), ("failed", "603"));
}

#[test]
fn a_running_call_is_given_other_instructions_whoever_ran_it() {
    let (mut line, _) = answered(run("<Connect><Stream url='wss://bots.example.com/ws'/></Connect>"));
    line.fact(VoiceFact::EngineConnected);

    assert!(matches!(update(&mut line, run("<Say>Welcome</Say>")), Answer::Accepted));
    assert!(line.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
    line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1000) }));
    line.fact(VoiceFact::Announced { leg: FIRST_LEG });
    assert_eq!(line.last().kind, EventKind::Ended);

    let mut ours = Line::with(applied());
    ours.talk();
    assert!(matches!(update(&mut ours, run("<Say>Welcome</Say>")), Answer::Accepted));
    assert!(ours.orders.iter().any(|order| matches!(order, VoiceOrder::DismissEngine(_))));
    ours.fact(VoiceFact::Announced { leg: FIRST_LEG });
    assert_eq!(ours.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn other_instructions_while_a_human_speaks_let_them_go() {
    let (mut line, _) = answered(run("<Dial>+15550199</Dial>"));
    let (human, _) = reach(&mut line);
    line.far.accept(line.now, human, Vec::new(), Some(Body::sdp(SDP)));
    line.settle();
    line.heard.clear();

    update(&mut line, run("<Pause length='5'/>"));

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == human)));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    line.pass(Duration::from_secs(5));
    assert_eq!(line.last().edge.end_reason, Some(EndReason::ApiHungUp));
}

#[test]
fn a_call_is_completed_or_cancelled_as_asked() {
    let end = |line: &mut Line, only_before_answer| {
        let call = line.call();
        line.command(Command::End { tenant: "acme".into(), call, only_before_answer })
    };
    let (mut line, _) = answered(run("<Pause length='60'/>"));
    assert!(matches!(end(&mut line, true), Answer::Refused(CommandError::CallAlreadyEnded)));
    assert!(matches!(end(&mut line, false), Answer::Accepted));
    assert_eq!(words::status(&line.shown.as_ref().unwrap().view), "completed");
    assert!(matches!(end(&mut line, false), Answer::Refused(CommandError::CallAlreadyEnded)));

    let mut ringing = Line::with(applied());
    place(&mut ringing, run("<Pause/>"));
    ringing.open_port();
    assert!(matches!(end(&mut ringing, true), Answer::Accepted));
    assert_eq!(words::status(&ringing.shown.as_ref().unwrap().view), "canceled");
}

#[test]
fn another_tenants_call_is_unknown_and_a_tenant_without_an_account_has_none() {
    let (mut line, _) = answered(run("<Pause length='60'/>"));
    let call = line.call();
    let answer = line.command(Command::End { tenant: "other".into(), call, only_before_answer: false });
    assert!(matches!(answer, Answer::Refused(CommandError::CallNotFound)));

    let mut bare = Line::new();
    let call = serde_json::from_str(r#"{"to": "+15550177"}"#).unwrap();
    let order =
        Command::PlaceFor { tenant: "acme".into(), call: Box::new(call), run: Box::new(run("<Pause/>")) };
    assert!(matches!(bare.command(order), Answer::Refused(CommandError::ProviderNotFound)));
}

#[test]
fn a_caller_who_hangs_up_ends_it_all_in_every_state() {
    for inner in [
        "<Pause length='60'/>",
        "<Say loop='0'>Welcome</Say>",
        "<Gather/>",
        "<Dial>+15550199</Dial>",
        "<Connect><Stream url='wss://bots.example.com/ws'/></Connect>",
        "<Redirect>https://app.example/never</Redirect>",
    ] {
        let (mut line, dialog) = answered(run(inner));
        line.far.hang_up(line.now, dialog, Vec::new());
        line.settle();
        line.close_voice();
        line.pass(Duration::from_secs(120));

        assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp), "{inner}");
        assert_eq!(line.exchange.tally().calls, 0, "{inner}");
    }
}
