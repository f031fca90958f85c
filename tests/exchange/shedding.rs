//! What is not even taken on: strangers that knock too often, and calls while there is too much to do.

use std::time::Duration;

use callingedge::call::{
    Answer, Ban, CommandError, EventKind, InboundAuth, InboundDigest, Output, Settings, UnknownSources,
};
use sip::StatusCode;

use crate::line::{EDGE, Line, SDP, flow, options_request, settings};
use crate::policy::changed;

const AWAY: &str = "10.9.9.9:5060";
const BAN: Ban = Ban { after: 5, lasts: Duration::from_secs(600) };

#[test]
fn a_stranger_that_knocks_too_often_is_not_answered_any_more_until_its_ban_is_over() {
    let mut line = Line::with(strict());

    let answered: Vec<usize> = (0..8).map(|_| knock(&mut line, options(""))).collect();
    let tally = line.exchange.tally();
    line.pass(BAN.lasts);
    let later = knock(&mut line, options(""));

    assert_eq!(answered, [1, 1, 1, 1, 1, 0, 0, 0]);
    assert_eq!((tally.banned, tally.bans, tally.unknown, tally.unheard), (1, 1, 5, 3));
    assert_eq!((line.exchange.tally().banned, later), (0, 1));
}

#[test]
fn a_scanner_that_says_so_is_not_answered_once() {
    let mut line = Line::with(strict());

    let answered = knock(&mut line, options("User-Agent: friendly-scanner\r\n"));

    assert_eq!((answered, line.exchange.tally().banned), (0, 1));
    assert_eq!(knock(&mut line, options("User-Agent: Asterisk\r\n")), 0);
}

#[test]
fn a_trunk_is_never_banned_whatever_it_says_and_however_often_it_is_refused() {
    let mut line = Line::with(strict());

    for _ in 0..20 {
        let agent = vec![("User-Agent".into(), "friendly-scanner".to_owned())];
        line.ring_number("+19998887777", Some(SDP), agent);
    }
    line.ring_edge(Some(SDP));

    assert_eq!(line.exchange.tally().banned, 0);
    assert_eq!(line.kinds(), [EventKind::InboundRinging]);
}

#[test]
fn without_the_key_nobody_is_banned() {
    let mut line = Line::with(Settings { ban: None, ..strict() });

    let answered: usize = (0..50).map(|_| knock(&mut line, options(""))).sum();

    assert_eq!((answered, line.exchange.tally().banned), (50, 0));
}

#[test]
fn who_guesses_passwords_is_banned_after_a_few() {
    let mut line = Line::with(Settings { unknown_sources: UnknownSources::Drop, ..open() });

    let answered: usize = (0..50).map(|number| knock(&mut line, invite(number, ""))).sum();

    assert_eq!(answered, 5);
    assert_eq!((line.exchange.tally().challenged, line.exchange.tally().banned), (5, 1));
}

#[test]
fn while_messages_wait_too_long_a_new_call_is_sent_elsewhere_without_a_state_and_running_ones_go_on() {
    let mut line = Line::new();
    let running = line.talk();
    line.exchange.handle_wait(line.now, Duration::from_millis(150));

    line.ring_edge(Some(SDP));
    let (status, response) = line.refusal();
    let after = response.retry_after().unwrap().unwrap().seconds;
    let transactions = line.exchange.tally().sip.server_transactions;
    line.far.hang_up(line.now, running, Vec::new());
    line.settle();

    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!((1..=4).contains(&after) && response.header(sip::HeaderName::Reason).is_some());
    assert_eq!((line.exchange.tally().shed, line.exchange.tally().admitted), (1, 1));
    assert!(transactions <= 1, "{transactions}");
    assert_eq!(line.last().kind, EventKind::Ended);
}

#[test]
fn a_call_that_was_taken_before_is_not_refused_when_its_invite_comes_again() {
    let mut line = Line::new();
    let wire = invite(1, "").replace(AWAY, crate::line::FAR);
    line.settle();
    let send = |line: &mut Line| {
        line.exchange.handle_sip(line.now, flow(EDGE, crate::line::FAR), wire.clone().into());
        let mut answers = Vec::new();
        while let Some(output) = line.exchange.poll_output() {
            if let Output::Transmit(transmit) = &output {
                answers.push(String::from_utf8_lossy(&transmit.payload[..11]).into_owned());
            }
            line.note(output);
        }
        answers
    };

    send(&mut line);
    line.exchange.handle_wait(line.now, Duration::from_secs(1));
    let again = send(&mut line);

    assert!(again.iter().all(|answer| !answer.contains("503")), "{again:?}");
    assert_eq!(line.exchange.tally().shed, 0);
}

#[test]
fn nothing_is_placed_meanwhile_and_all_goes_on_when_nothing_waits() {
    let mut line = Line::new();
    line.exchange.handle_wait(line.now, Duration::from_millis(150));
    line.exchange.handle_wait(line.now, Duration::from_millis(50));

    let refused = line.place(r#"{"to": "+15550123"}"#, None);
    line.exchange.handle_wait(line.now, Duration::from_millis(5));
    let placed = line.place(r#"{"to": "+15550123"}"#, None);

    assert!(matches!(refused, Answer::Refused(CommandError::Overloaded)), "{refused:?}");
    assert!(matches!(placed, Answer::Placed(_)));
}

fn strict() -> Settings {
    Settings { unknown_sources: UnknownSources::Refuse, ban: Some(BAN), ..settings() }
}

fn open() -> Settings {
    let credentials = sip::auth::Credentials { username: "trunk".into(), password: "secret".into() };
    let digest = InboundDigest { credentials, algorithms: InboundDigest::USUAL.to_vec() };
    let settings = changed(|provider| provider.trunk.inbound_auth = InboundAuth::Digest(digest));
    Settings { ban: Some(BAN), ..settings }
}

fn options(extra: &str) -> String {
    let options = String::from_utf8(options_request().to_vec()).unwrap();
    options.replace("Content-Length", &format!("{extra}Content-Length"))
}

fn invite(number: u32, extra: &str) -> String {
    format!(
        "INVITE sip:+15550000@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {AWAY};branch=z9hG4bKk{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+15550123@10.0.0.9>;tag=k{number}\r\nTo: <sip:+15550000@10.0.0.1>\r\n\
         Call-ID: knock{number}\r\nCSeq: 1 INVITE\r\nContact: <sip:{AWAY}>\r\n{extra}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

/// How many answers that gets.
fn knock(line: &mut Line, wire: String) -> usize {
    line.settle();
    line.exchange.handle_sip(line.now, flow(EDGE, AWAY), wire.into());
    let outputs = std::iter::from_fn(|| line.exchange.poll_output());
    outputs.filter(|output| matches!(output, Output::Transmit(_))).count()
}
