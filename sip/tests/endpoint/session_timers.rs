//! Sessions that show signs of life, or end: RFC 4028.

use std::time::Duration;

use sip::simulate::Faults;
use sip::{
    Body, DialogId, HeaderName, Headers, Invite, Message, Party, Policy, SessionTimerMode, SessionTimers,
    StatusCode, Transport,
};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, name, uri};

const TIMER: &str = "Supported: timer\n";

/// RFC 4028 §9, table 2, and §4: who refreshes, as what the request says and who supports it.
#[test]
fn the_callee_answers_every_wish_of_the_caller_as_the_table_says() {
    for (lines, told, required, refresher) in [
        ("Supported: timer\nSession-Expires: 600\n", "600;refresher=uas", "timer", Party::Us),
        ("Supported: timer\nSession-Expires: 600;refresher=uac\n", "600;refresher=uac", "timer", Party::Them),
        ("Supported: timer\nx: 600;refresher=uas\n", "600;refresher=uas", "timer", Party::Us),
        ("Require: timer\nSession-Expires: 600;refresher=uac\n", "600;refresher=uac", "timer", Party::Them),
        // A proxy asks for a caller who does not know it.
        ("Session-Expires: 600\n", "600;refresher=uas", "", Party::Us),
        ("Session-Expires: 600;refresher=uac\n", "600;refresher=uas", "", Party::Us),
        // Longer than ours: shortened, but not below Min-SE.
        ("Supported: timer\nSession-Expires: 7200\n", "1800;refresher=uas", "timer", Party::Us),
        ("Supported: timer\nSession-Expires: 7200\nMin-SE: 3600\n", "3600;refresher=uas", "timer", Party::Us),
    ] {
        let (mut bench, dialog, accepted) = accepted(lines, SessionTimerMode::Accept);

        assert_eq!(header(&accepted, HeaderName::SessionExpires), told, "{lines}");
        assert_eq!(header(&accepted, HeaderName::Require), required, "{lines}");
        assert!(accepted.has_token(HeaderName::Supported, "timer"));
        assert_eq!(bench.endpoint.session_timer(dialog).map(|(_, who)| who), Some(refresher), "{lines}");
        bench.events();
    }
}

#[test]
fn without_a_wish_there_is_a_timer_only_where_we_ask_for_one() {
    for (mode, told) in [
        (SessionTimerMode::Off, ""),
        (SessionTimerMode::Accept, ""),
        (SessionTimerMode::Ask, "1800;refresher=uas"),
    ] {
        let (_, _, accepted) = accepted(TIMER, mode);

        assert_eq!(header(&accepted, HeaderName::SessionExpires), told, "{mode:?}");
        assert_eq!(accepted.has_token(HeaderName::Supported, "timer"), mode != SessionTimerMode::Off);
    }
}

#[test]
fn a_policy_without_timers_ignores_the_wish_and_refuses_the_demand() {
    let (_, _, ignored) = accepted("Supported: timer\nSession-Expires: 600\n", SessionTimerMode::Off);
    let (mut bench, dialog) = invited("Require: timer\nSession-Expires: 600\n");
    let refused = bench.endpoint.set_policy(bench.now, dialog, policy(SessionTimerMode::Off));
    let answer = bench.sent_one();

    assert_eq!(header(&ignored, HeaderName::SessionExpires), "");
    assert_eq!(refused, Err(StatusCode::BAD_EXTENSION));
    assert_eq!(
        (first(&answer).as_str(), header(&answer, HeaderName::Unsupported).as_str()),
        ("420", "timer")
    );
    assert_eq!(bench.words(), ["Gone"]);
}

/// RFC 4028 §9: only who knows the extension is refused; it can ask again.
#[test]
fn too_short_a_session_is_refused_with_422_and_our_minimum() {
    let mut bench = Bench::new();
    bench.receive(&invite("Supported: timer\nSession-Expires: 60\n"));
    let floor = bench.sent_one();
    let told = bench.words();
    let (mut strict, dialog) = invited("Supported: timer\nSession-Expires: 120\n");
    let timers = SessionTimers { min: Duration::from_secs(300), ..SessionTimers::default() };
    let refused = strict.endpoint.set_policy(
        strict.now,
        dialog,
        Policy { session_timers: timers, ..Policy::default() },
    );
    let ours = strict.sent_one();
    let mut unknowing = Bench::new();
    unknowing.receive(&invite("Session-Expires: 60\n"));

    assert_eq!((first(&floor).as_str(), header(&floor, HeaderName::MinSe).as_str()), ("422", "90"));
    assert!(told.is_empty());
    assert_eq!(refused, Err(StatusCode::SESSION_INTERVAL_TOO_SMALL));
    assert_eq!((first(&ours).as_str(), header(&ours, HeaderName::MinSe).as_str()), ("422", "300"));
    assert_eq!(unknowing.words(), ["Invited"]);
}

#[test]
fn what_we_ask_for_depends_on_the_policy() {
    for (mode, asked, supported) in [
        (SessionTimerMode::Off, "", false),
        (SessionTimerMode::Accept, "", true),
        (SessionTimerMode::Ask, "1800", true),
    ] {
        let (_, _, sent) = calling(mode);

        assert_eq!(header(&sent, HeaderName::SessionExpires), asked, "{mode:?}");
        assert_eq!(sent.has_token(HeaderName::Supported, "timer"), supported, "{mode:?}");
        assert_eq!(header(&sent, HeaderName::MinSe), "");
    }
}

/// RFC 4028 §7.3, §7.4.
#[test]
fn a_422_is_answered_with_the_interval_that_it_names_and_not_for_ever() {
    let (mut bench, dialog, mut sent) = calling(SessionTimerMode::Ask);
    for min in [2000, 3000, 4000, 5000] {
        bench.answer(&sent, 422, "far", |writer| {
            writer.header(HeaderName::MinSe, min);
        });
        let mut both = bench.sent();
        assert_eq!(firsts(&both), ["ACK", "INVITE"]);
        let again = both.remove(1);
        assert_eq!(header(&again, HeaderName::SessionExpires), min.to_string());
        assert_eq!(header(&again, HeaderName::MinSe), min.to_string());
        assert_eq!(again.cseq().unwrap().number, sent.cseq().unwrap().number + 1);
        assert_eq!(again.call_id(), sent.call_id());
        sent = again;
    }
    bench.answer(&sent, 422, "far", |writer| {
        writer.header(HeaderName::MinSe, 6000);
    });

    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Refused", "Gone"]);
    let _ = dialog;
}

#[test]
fn a_422_without_a_longer_interval_is_a_refusal() {
    for (mode, min) in [
        (SessionTimerMode::Ask, "1800"),
        (SessionTimerMode::Ask, ""),
        (SessionTimerMode::Ask, "x"),
        (SessionTimerMode::Off, "3600"),
    ] {
        let (mut bench, _, sent) = calling(mode);
        bench.answer(&sent, 422, "far", |writer| {
            writer.header(HeaderName::MinSe, min);
        });

        assert_eq!(bench.words(), ["Refused", "Gone"], "{mode:?} {min:?}");
    }
}

/// RFC 4028 §7.2, §10: half of the interval; UPDATE where they allow it.
#[test]
fn a_caller_who_refreshes_does_so_by_update_at_half_of_the_interval() {
    let (mut bench, dialog) = up("600;refresher=uac", true);
    let start = bench.now;
    let log = bench.pass_noting(Duration::from_millis(300_000), start);
    assert_eq!(log, [(300_000, "UPDATE".to_owned())]);
    assert_eq!(bench.endpoint.session_timer(dialog), Some((Duration::from_secs(600), Party::Us)));
}

#[test]
fn each_refresh_begins_the_interval_anew() {
    let (mut bench, _) = up("600;refresher=uac", true);
    for _ in 0..5 {
        bench.pass(Duration::from_secs(300));
        let update = bench.sent_one();
        assert_eq!(first(&update), "UPDATE");
        assert_eq!(header(&update, HeaderName::SessionExpires), "600;refresher=uac");
        assert!(update.has_token(HeaderName::Supported, "timer") && update.body().is_empty());
        bench.answer(&update, 200, "", |writer| {
            writer
                .header(HeaderName::SessionExpires, "600;refresher=uac")
                .header(HeaderName::Require, "timer");
        });
        assert_eq!(bench.words(), ["Refreshed"]);
    }
}

#[test]
fn without_update_the_description_that_holds_is_offered_again_unchanged() {
    let (mut bench, _) = up("600;refresher=uac", false);
    bench.pass(Duration::from_secs(300));
    let reinvite = bench.sent_one();
    assert_eq!((first(&reinvite).as_str(), &reinvite.body()[..]), ("INVITE", &b"offer"[..]));
    bench.answer(&reinvite, 200, "", |writer| {
        writer.header(HeaderName::SessionExpires, "600;refresher=uac").body("application/sdp", "answer");
    });

    // Acknowledged without asking the owner.
    assert_eq!(firsts(&bench.sent()), ["ACK"]);
    assert_eq!(bench.words(), ["Refreshed"]);
    bench.pass(Duration::from_secs(300));
    assert_eq!(firsts(&bench.sent()), ["INVITE"]);
}

#[test]
fn a_peer_that_allows_update_and_does_not_have_it_gets_a_reinvite() {
    let (mut bench, _) = up("600;refresher=uac", true);
    bench.pass(Duration::from_secs(300));
    let update = bench.sent_one();
    bench.answer(&update, 501, "", |_| {});

    assert_eq!(firsts(&bench.sent()), ["INVITE"]);
}

#[test]
fn a_refresh_that_is_too_short_is_made_longer_and_one_that_is_refused_tried_again() {
    let (mut bench, _) = up("600;refresher=uac", true);
    bench.pass(Duration::from_secs(300));
    let update = bench.sent_one();
    bench.answer(&update, 422, "", |writer| {
        writer.header(HeaderName::MinSe, 900);
    });
    let longer = bench.sent_one();
    bench.answer(&longer, 500, "", |_| {});
    let since = bench.now;
    // 600 − 32 − 300 s are left; half of that.
    let log = bench.pass_noting(Duration::from_secs(135), since);

    assert_eq!(header(&longer, HeaderName::SessionExpires), "900;refresher=uac");
    assert_eq!(header(&longer, HeaderName::MinSe), "900");
    assert_eq!(log, [(134_000, "UPDATE".to_owned()), (134_500, "UPDATE".to_owned())]);
}

#[test]
fn a_refresh_that_finds_no_dialog_or_no_answer_ends_the_call() {
    for status in [481, 408] {
        let (mut bench, _) = up("600;refresher=uac", true);
        bench.pass(Duration::from_secs(300));
        let update = bench.sent_one();
        bench.answer(&update, status, "", |_| {});
        assert_eq!((bench.words(), firsts(&bench.sent())), (vec!["Failed".into()], vec!["BYE".to_owned()]));
    }
    let (mut bench, _) = up("600;refresher=uac", true);
    bench.pass(Duration::from_secs(333));
    assert_eq!(bench.words(), ["Failed"]);
    assert_eq!(bench.sent().last().map(first), Some("BYE".to_owned()));
}

/// RFC 4028 §10: a third of the interval before its end, 32 s at most.
#[test]
fn a_session_that_they_do_not_refresh_is_ended_shortly_before_it_expires() {
    for (seconds, ends) in [(600u32, 568_000), (90, 60_000)] {
        let (mut bench, _) = up(&format!("{seconds};refresher=uas"), true);
        let log = bench.pass_noting(Duration::from_millis(ends), bench.now);
        let bye = log.last().cloned();

        assert_eq!(bye, Some((u128::from(ends), "BYE".to_owned())), "{log:?}");
        assert_eq!(bench.words(), ["SessionExpired"]);
    }
}

#[test]
fn the_bye_of_an_expired_session_says_why() {
    let (mut bench, _) = up("600;refresher=uas", true);
    bench.pass(Duration::from_secs(568));
    let bye = bench.sent_one();

    assert_eq!(header(&bye, HeaderName::Reason), "SIP;cause=408;text=\"Session expired\"");
}

#[test]
fn whatever_they_refresh_with_begins_the_interval_anew() {
    for (method, body) in [("UPDATE", ""), ("UPDATE", "offer"), ("INVITE", "offer")] {
        let (mut bench, dialog, accepted) =
            accepted("Supported: timer\nSession-Expires: 600;refresher=uac\n", SessionTimerMode::Accept);
        let to = header(&accepted, HeaderName::To);
        bench.receive(&within("ACK", 10, &to, "", ""));
        bench.pass(Duration::from_secs(500));
        bench.receive(&within(
            method,
            11,
            &to,
            "Supported: timer\nSession-Expires: 600;refresher=uac\n",
            body,
        ));
        bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
        let refreshed = bench.sent_one();
        assert_eq!(header(&refreshed, HeaderName::SessionExpires), "600;refresher=uac");
        if method == "INVITE" {
            bench.receive(&within("ACK", 11, &to, "", ""));
        }
        bench.pass(Duration::from_secs(567));
        assert!(bench.sent().is_empty(), "{method}");
        bench.pass(Duration::from_secs(1));
        assert_eq!(firsts(&bench.sent()), ["BYE"]);
    }
}

/// A peer that holds the call and forgets the header does not mean to end the timer: it waits for our refresh.
#[test]
fn a_hold_without_session_expires_keeps_the_timer_and_who_refreshes() {
    let (mut bench, dialog, accepted) =
        accepted("Supported: timer\nSession-Expires: 600;refresher=uas\n", SessionTimerMode::Accept);
    let to = header(&accepted, HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", ""));
    bench.receive(&within("INVITE", 11, &to, TIMER, "hold"));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let held = bench.sent_one();

    assert_eq!(header(&held, HeaderName::SessionExpires), "600;refresher=uas");
    assert_eq!(bench.endpoint.session_timer(dialog), Some((Duration::from_secs(600), Party::Us)));
}

#[test]
fn a_200_without_session_expires_means_that_there_is_no_timer() {
    let (mut bench, dialog) = up("", true);
    bench.pass(Duration::from_secs(86_400));

    assert_eq!(bench.endpoint.session_timer(dialog), None);
    assert!(bench.sent().is_empty());
}

#[test]
fn an_offer_of_the_owner_refreshes_too_and_keeps_the_roles() {
    let (mut bench, dialog) = up("600;refresher=uas", true);
    bench.pass(Duration::from_secs(400));
    bench.endpoint.reinvite(bench.now, dialog, Headers::new(), Some(Body::sdp("hold")));
    let reinvite = bench.sent_one();
    bench.answer(&reinvite, 200, "", |writer| {
        writer.header(HeaderName::SessionExpires, "600;refresher=uas");
    });
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.sent();
    bench.pass(Duration::from_secs(567));

    assert_eq!(header(&reinvite, HeaderName::SessionExpires), "600;refresher=uas");
    assert!(bench.sent().is_empty());
}

#[test]
fn two_endpoints_refresh_each_other_for_hours_and_part_in_peace() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut pair = Pair::new(Faults::NONE);
        let call = Invite { policy: policy(SessionTimerMode::Ask), ..pair.invitation(transport) };
        let alice = pair.act(ALICE, |endpoint, now| endpoint.invite(now, call));
        let bob = dialog(&pair.until(BOB, "Invited"));
        pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("answer"))));
        pair.until(ALICE, "Answered");
        pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
        pair.pass(Duration::from_secs(3 * 3600));
        pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, alice, Headers::new()));
        pair.settle();

        assert_eq!(pair.times_sent(BOB, "UPDATE"), 11);
        assert_eq!(pair.words(BOB).iter().filter(|word| *word == "Refreshed").count(), 11);
        assert_eq!(pair.words(ALICE).iter().filter(|word| *word == "Refreshed").count(), 11);
        assert_eq!(pair.words(BOB).last().map(String::as_str), Some("Gone"));
    }
}

/// One side vanishes without a BYE: no call is left on the other.
#[test]
fn a_peer_that_vanishes_is_noticed() {
    let mut pair = Pair::new(Faults::NONE);
    let call = Invite { policy: policy(SessionTimerMode::Ask), ..pair.invitation(Transport::Udp) };
    let alice = pair.act(ALICE, |endpoint, now| endpoint.invite(now, call));
    let bob = dialog(&pair.until(BOB, "Invited"));
    pair.act(BOB, |endpoint, now| endpoint.accept(now, bob, Headers::new(), Some(Body::sdp("answer"))));
    pair.until(ALICE, "Answered");
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, alice, None));
    pair.until(BOB, "Acknowledged");
    pair.network.set_faults(Faults { loss: 1000, ..Faults::NONE });
    pair.settle();

    // Bob refreshes in vain; Alice waits for it.
    assert!(pair.words(BOB).contains(&"Failed".to_owned()), "{:?}", pair.words(BOB));
    assert!(pair.words(ALICE).contains(&"SessionExpired".to_owned()), "{:?}", pair.words(ALICE));
}

fn policy(mode: SessionTimerMode) -> Policy {
    Policy { session_timers: SessionTimers { mode, ..SessionTimers::default() }, ..Policy::default() }
}

fn invited(lines: &str) -> (Bench, DialogId) {
    let mut bench = Bench::new();
    bench.receive(&invite(lines));
    let dialog = dialog(&bench.events().remove(0));
    (bench, dialog)
}

/// Their call, accepted; the 200.
fn accepted(lines: &str, mode: SessionTimerMode) -> (Bench, DialogId, Message) {
    let (mut bench, dialog) = invited(lines);
    bench.endpoint.set_policy(bench.now, dialog, policy(mode)).unwrap();
    bench.endpoint.accept(bench.now, dialog, Headers::new(), Some(Body::sdp("answer")));
    let accepted = bench.sent_one();
    (bench, dialog, accepted)
}

fn calling(mode: SessionTimerMode) -> (Bench, DialogId, Message) {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let invite = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let invite = Invite { body: Some(Body::sdp("offer")), policy: policy(mode), ..invite };
    let dialog = bench.endpoint.invite(bench.now, invite);
    let sent = bench.sent_one();
    (bench, dialog, sent)
}

/// Our call, answered with that Session-Expires by a peer that allows UPDATE or does not.
fn up(expires: &str, updates: bool) -> (Bench, DialogId) {
    let (mut bench, dialog, sent) = calling(SessionTimerMode::Ask);
    bench.answer(&sent, 200, "far", |writer| {
        writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>");
        writer
            .header(HeaderName::Allow, if updates { "INVITE, ACK, BYE, UPDATE" } else { "INVITE, ACK, BYE" });
        if !expires.is_empty() {
            writer.header(HeaderName::SessionExpires, expires);
        }
    });
    bench.endpoint.acknowledge(bench.now, dialog, None);
    bench.sent();
    bench.events();
    (bench, dialog)
}
