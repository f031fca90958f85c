//! Recording sessions (RFC 7866): somebody else's call, which the engine hears and nobody speaks in.

use std::sync::Arc;
use std::time::Duration;

use callingedge::call::{
    Answer, Command, Control, Direction, EndReason, EngineCommand, EngineEvent, EngineFailure, EventKind,
    FIRST_LEG, LegId, LegStatus, LegSummary, Mode, Status, VoiceFact, VoiceOrder, VoiceRoute,
};
use sip::endpoint::Event;
use sip::{Body, DialogId, HeaderName, StatusCode};

use crate::bridging::{assert_no_leak, route, transfer};
use crate::line::{Line, SDP, settings};

const AGENT: LegId = LegId(1);
const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n";
/// The agent's line stands first, the caller is told of first.
const WHO: &str = "<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>complete</datamode>\
    <session session_id='S1'/>\
    <participant participant_id='C'><nameID aor='sip:+15557001@pbx.example'><name>Carla</name></nameID></participant>\
    <participant participant_id='A'><nameID aor='sip:+15557002@pbx.example'/></participant>\
    <stream stream_id='a' session_id='S1'><label>1</label></stream>\
    <stream stream_id='c' session_id='S1'><label>2</label></stream>\
    <participantstreamassoc participant_id='C'><send>c</send><recv>a</recv></participantstreamassoc>\
    <participantstreamassoc participant_id='A'><send>a</send><recv>c</recv></participantstreamassoc></recording>";

/// A line whose trunk is a recorder's client.
fn recorder() -> Line {
    let mut settings = settings();
    let mut provider = (*settings.providers["far"]).clone();
    provider.trunk.policy.recordings = sip::Recordings::Taken;
    settings.providers.insert("far".into(), Arc::new(provider));
    Line::with(settings)
}

fn lines(directions: [&str; 2]) -> String {
    let line = |at: usize| {
        let (port, label, direction) = (4000 + 2 * at, at + 1, directions[at]);
        format!("m=audio {port} RTP/AVP 0\r\na=label:{label}\r\na={direction}\r\n")
    };
    format!("{HEAD}{}{}", line(0), line(1))
}

fn body(offer: &str, metadata: &str) -> Body {
    let content = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{offer}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n\
         Content-Disposition: recording-session\r\n\r\n{metadata}\r\n--b--\r\n"
    );
    Body { content_type: "multipart/mixed;boundary=b".into(), content: content.into() }
}

fn require() -> sip::Headers {
    vec![("Require".into(), "siprec".into())]
}

fn invite(line: &mut Line, body: Body, headers: sip::Headers) -> DialogId {
    let uri = sip::Uri::parse("sip:+15550000@10.0.0.1").unwrap();
    let from = sip::NameAddr::new(sip::Uri::parse("sip:src@10.0.0.9").unwrap());
    let target = sip::Target { transport: sip::Transport::Udp, address: crate::line::EDGE.parse().unwrap() };
    let invite = sip::Invite {
        headers,
        body: Some(body),
        ..sip::Invite::new(target, uri.clone(), from, sip::NameAddr::new(uri))
    };
    let dialog = line.far.invite(line.now, invite);
    line.settle();
    dialog
}

fn open_ports(line: &mut Line) {
    line.open_port();
    line.fact(VoiceFact::Opened { leg: AGENT, port: 20_002 });
}

/// From INVITE to the engine that hears both.
fn listen(line: &mut Line, metadata: &str) -> DialogId {
    let dialog = invite(line, body(&lines(["sendonly"; 2]), metadata), require());
    open_ports(line);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    line.far.acknowledge(line.now, dialog, None);
    line.settle();
    dialog
}

fn answer(line: &Line) -> sip::Message {
    let answered = line.heard.iter().rev().find_map(|event| match event {
        Event::Answered { response, .. }
        | Event::ReinviteAnswered { response, .. }
        | Event::UpdateAnswered { response, .. } => Some(response.clone()),
        _ => None,
    });
    answered.expect("an answer")
}

fn described(line: &Line) -> Vec<String> {
    let body = String::from_utf8(answer(line).body().to_vec()).unwrap();
    let told =
        |text: &&str| text.starts_with("m=") || ["a=recvonly", "a=inactive", "a=sendrecv"].contains(text);
    body.lines().filter(told).map(str::to_owned).collect()
}

/// Leg, port of the far end and whether we hear it, as the worker was told last.
fn heard(line: &Line) -> Vec<(LegId, u16, bool)> {
    let orders = line.orders.iter().filter_map(|order| match order {
        VoiceOrder::Negotiated { leg, media } => Some((*leg, media.rtp.port(), media.direction.receives())),
        _ => None,
    });
    let all: Vec<_> = orders.collect();
    all[all.len().saturating_sub(2)..].to_vec()
}

fn again(line: &mut Line, dialog: DialogId, body: Body) {
    line.heard.clear();
    line.far.reinvite(line.now, dialog, require(), Some(body));
    line.settle();
    line.far.acknowledge(line.now, dialog, None);
    line.settle();
}

#[test]
fn the_engine_hears_both_lines_and_knows_who_is_on_which() {
    let mut line = recorder();
    let dialog = listen(&mut line, WHO);

    assert_eq!(
        described(&line),
        ["m=audio 20002 RTP/AVP 0", "a=recvonly", "m=audio 20000 RTP/AVP 0", "a=recvonly"]
    );
    let contact = answer(&line).contacts().next().unwrap().unwrap();
    assert!(contact.params().get("+sip.srs").is_some());
    assert!(answer(&line).has_token(HeaderName::Supported, "siprec"));
    assert_eq!(heard(&line), [(FIRST_LEG, 4002, true), (AGENT, 4000, true)]);
    let engine_hears = vec![FIRST_LEG, AGENT];
    let wanted = VoiceRoute { engine_to: None, engine_hears, hears: Vec::new(), muted: Vec::new() };
    assert_eq!(route(&line), wanted);
    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!(
        (view.mode, view.direction, view.status),
        (Mode::Assist, Direction::Inbound, Status::Answered)
    );
    assert_eq!((view.from.as_str(), view.to.as_str()), ("+15557001", "+15557002"));
    assert!(view.legs.iter().all(|leg| leg.status == LegStatus::Connected), "{:?}", view.legs);
    let started = line.told().into_iter().find_map(|event| match event {
        EngineEvent::Start(start) => Some(start.clone()),
        _ => None,
    });
    let started = started.expect("start");
    let told = &started.context.merge_fields["siprec"];
    assert_eq!((&told["session_id"], &told["tracks"][0]["name"]), (&"S1".into(), &"Carla".into()));
    assert_eq!((&told["tracks"][0]["label"], &told["tracks"][1]["label"]), (&"2".into(), &"1".into()));
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered]);

    line.far.hang_up(line.now, dialog, Vec::new());
    line.settle();
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    assert_no_leak(&mut line);
}

#[test]
fn a_trunk_that_is_no_recorder_is_told_that_we_are_none_either() {
    let mut line = Line::new();

    invite(&mut line, body(&lines(["sendonly"; 2]), WHO), require());

    let (status, response) = line.refusal();
    assert_eq!(status, StatusCode::BAD_EXTENSION);
    assert_eq!(response.header(HeaderName::Unsupported).unwrap().text(), "siprec");
    assert!(line.events.is_empty() && line.exchange.tally().calls == 0);
}

#[test]
fn an_ordinary_call_over_such_a_trunk_is_an_ordinary_call() {
    let mut line = recorder();

    line.talk();

    let view = &line.shown.as_ref().unwrap().view;
    assert_eq!((view.mode, view.legs.len()), (Mode::AiFirst, 1));
    assert_eq!(route(&line), VoiceRoute::default());
}

#[test]
fn without_metadata_or_with_what_cannot_be_read_it_is_heard_all_the_same() {
    for metadata in ["<recording>", "<!DOCTYPE r [<!ENTITY a 'b'>]><recording>&a;</recording>", "", "hello"] {
        let mut line = recorder();
        listen(&mut line, metadata);
        assert_eq!(heard(&line), [(FIRST_LEG, 4000, true), (AGENT, 4002, true)], "{metadata}");
        let view = &line.shown.as_ref().unwrap().view;
        assert!(!view.context.merge_fields.contains_key("siprec"));
        assert_eq!(view.from, "src");
    }
    let mut line = recorder();
    invite(&mut line, Body::sdp(lines(["sendonly"; 2])), require());
    open_ports(&mut line);
    assert_eq!(line.dialled.len(), 1);
}

#[test]
fn a_hold_of_one_line_leaves_the_other_and_one_of_both_is_the_calls() {
    let mut line = recorder();
    let dialog = listen(&mut line, WHO);

    again(&mut line, dialog, Body::sdp(lines(["sendonly", "inactive"])));
    assert_eq!(described(&line)[1..4], ["a=recvonly", "m=audio 20000 RTP/AVP 0", "a=inactive"]);
    assert_eq!(heard(&line), [(FIRST_LEG, 4002, false), (AGENT, 4000, true)]);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);

    again(&mut line, dialog, Body::sdp(lines(["inactive"; 2])));
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Held);
    again(&mut line, dialog, body(&lines(["sendonly"; 2]), WHO));
    assert_eq!(heard(&line), [(FIRST_LEG, 4002, true), (AGENT, 4000, true)]);
    assert_eq!(line.shown.as_ref().unwrap().view.status, Status::Answered);
    let held = |event: &&EngineEvent| matches!(event, EngineEvent::Held | EngineEvent::Resumed);
    assert_eq!(line.told().into_iter().filter(held).count(), 2);
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered], "a hold is no event");
}

#[test]
fn a_second_line_may_come_later_and_what_cannot_be_used_changes_nothing() {
    let mut line = recorder();
    let one = lines(["sendonly"; 2]).split("m=audio 4002").next().unwrap().to_owned();
    let dialog = invite(&mut line, Body::sdp(one), require());
    open_ports(&mut line);
    line.fact(VoiceFact::EngineConnected);
    line.engine_says(EngineCommand::Accept);
    line.far.acknowledge(line.now, dialog, None);
    line.settle();
    assert_eq!(heard(&line), [(FIRST_LEG, 4000, true)]);

    again(&mut line, dialog, Body::sdp(lines(["sendonly"; 2])));
    assert_eq!(heard(&line), [(FIRST_LEG, 4000, true), (AGENT, 4002, true)]);

    let orders = line.orders.len();
    again(&mut line, dialog, Body::sdp(format!("{HEAD}m=audio 4000 RTP/AVP 18\r\n")));
    assert!(line.has_heard(|event| matches!(event, Event::ReinviteRefused { .. })));
    assert_eq!(line.orders.len(), orders);
}

#[test]
fn news_of_who_is_there_come_in_an_update_and_reach_the_engine() {
    let mut line = recorder();
    let dialog = listen(&mut line, WHO);
    let partial = "<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>partial</datamode>\
        <participant participant_id='B'><nameID aor='sip:+15557003@pbx.example'/></participant>\
        <participantstreamassoc participant_id='A'><send>gone</send></participantstreamassoc>\
        <participantstreamassoc participant_id='B'><send>a</send></participantstreamassoc></recording>";
    line.orders.clear();

    let update = Body { content_type: "application/rs-metadata+xml".into(), content: partial.into() };
    line.far.update(line.now, dialog, require(), update);
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::UpdateAnswered { .. })));
    assert!(answer(&line).body().is_empty());
    let told = line.told();
    let [EngineEvent::Context(context)] = told[..] else { panic!("{told:?}") };
    assert_eq!(context.merge_fields["siprec"]["tracks"][1]["aor"], "sip:+15557003@pbx.example");
    assert_eq!(line.shown.as_ref().unwrap().view.to, "+15557003");
    assert!(heard(&line).is_empty(), "nothing else has changed");
}

#[test]
fn the_other_half_of_the_client_may_take_the_session_over() {
    let mut line = recorder();
    let old = listen(&mut line, WHO);
    let replaces = line.far.replaces(old).unwrap().to_string();
    line.orders.clear();
    let mut headers = require();
    headers.push(("Replaces".into(), replaces));
    let moved = lines(["sendonly"; 2]).replace("4000", "5000").replace("4002", "5002");

    let new = invite(&mut line, body(&moved, WHO), headers);
    line.far.acknowledge(line.now, new, None);
    line.settle();

    assert!(line.has_heard(|event| matches!(event, Event::HungUp { dialog, .. } if *dialog == old)));
    assert_eq!(heard(&line), [(FIRST_LEG, 5002, true), (AGENT, 5000, true)]);
    assert_eq!(line.kinds(), [EventKind::InboundRinging, EventKind::Answered], "the engine's call goes on");
    let kept = heard(&line);
    let replaces = line.far.replaces(new).unwrap().to_string();
    invite(
        &mut line,
        Body::sdp(format!("{HEAD}m=audio 4000 RTP/AVP 18\r\n")),
        vec![("Replaces".into(), replaces)],
    );
    assert_eq!(line.refusal().0, StatusCode::NOT_ACCEPTABLE_HERE);
    assert_eq!(heard(&line), kept);
    again(&mut line, new, Body::sdp(moved.replace("sendonly", "inactive").replace("o=- 1 1", "o=- 1 2")));
    assert_eq!(heard(&line), [(FIRST_LEG, 5002, false), (AGENT, 5000, false)], "and lasts");

    line.far.hang_up(line.now, new, Vec::new());
    line.settle();
    assert_eq!(line.last().edge.end_reason, Some(EndReason::RemoteHungUp));
    assert_no_leak(&mut line);
}

#[test]
fn nobody_there_can_be_spoken_to_held_or_handed_on() {
    let mut line = recorder();
    listen(&mut line, WHO);
    line.orders.clear();
    let call = line.call();
    let control = |line: &mut Line, control: Control| {
        line.command(Command::Control { tenant: "acme".into(), call, control })
    };

    let answers = [
        control(&mut line, Control::Hold),
        control(&mut line, Control::Play { announcement: "briefing".into() }),
        transfer(&mut line, ""),
        line.command(Command::SendDtmf { tenant: "acme".into(), call, digits: "1".into() }),
    ];

    for answer in answers {
        assert!(
            matches!(&answer, Answer::Refused(error) if error.code() == "call.listen_only"),
            "{answer:?}"
        );
    }
    line.engine_says(EngineCommand::Mode { id: None, mode: Mode::AiOnly, to: None, reason: None });
    assert!(matches!(line.told()[..], [EngineEvent::Refused { code, .. }] if code == "call.listen_only"));
    assert_eq!(line.shown.as_ref().unwrap().view.mode, Mode::Assist);
}

#[test]
fn the_session_outlives_its_engine_and_is_refused_without_one() {
    let mut line = recorder();
    listen(&mut line, WHO);
    line.fact(VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1006) }));
    line.pass(Duration::from_secs(30));
    assert_eq!(line.last().kind, EventKind::Answered);
    assert!(!line.has_heard(|event| matches!(event, Event::HungUp { .. })));

    let mut line = recorder();
    invite(&mut line, body(&lines(["sendonly"; 2]), WHO), require());
    open_ports(&mut line);
    line.fact(VoiceFact::EngineNotReached(EngineFailure::Timeout));
    assert!(line.refusal().0.code() >= 500);
    assert_no_leak(&mut line);
}

#[test]
fn one_silent_line_is_no_end_and_two_are() {
    let mut line = recorder();
    listen(&mut line, WHO);
    let measured = |frames_up: u64| {
        VoiceFact::Measured(LegSummary { leg: FIRST_LEG.0, frames_up, ..LegSummary::default() })
    };
    line.fact(measured(100));
    line.fact(VoiceFact::Inactive { leg: FIRST_LEG });
    assert_eq!(line.last().kind, EventKind::Answered);
    // The first speaks again before the second falls silent.
    line.fact(measured(200));
    line.fact(VoiceFact::Inactive { leg: AGENT });
    assert_eq!(line.last().kind, EventKind::Answered);
    line.fact(VoiceFact::Inactive { leg: FIRST_LEG });

    assert_eq!(line.last().edge.end_reason, Some(EndReason::MediaTimeout));
    assert_no_leak(&mut line);
}

#[test]
fn a_session_without_usable_lines_or_ports_is_refused() {
    for offer in [HEAD.to_owned(), SDP.replace("RTP/AVP 0 101", "RTP/AVP 18")] {
        let mut line = recorder();
        invite(&mut line, Body::sdp(offer), require());
        open_ports(&mut line);
        assert_eq!(line.refusal().0, StatusCode::NOT_ACCEPTABLE_HERE);
        assert_no_leak(&mut line);
    }
    let mut line = recorder();
    invite(&mut line, body(&lines(["sendonly"; 2]), WHO), require());
    line.open_port();
    line.fact(VoiceFact::NotOpened { leg: AGENT, error: "none is free".into() });
    assert_eq!(line.refusal().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_no_leak(&mut line);
}
