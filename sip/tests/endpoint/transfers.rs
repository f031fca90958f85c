//! REFER as sender: RFC 3515, RFC 4488, RFC 6665, RFC 5057.

use std::time::Duration;

use sip::endpoint::{Event, Failure, Refusal};
use sip::{DialogId, HeaderName, Headers, Message, StatusCode};

use crate::bench::{Bench, first, firsts, header, invite, within};
use crate::owners::name;

#[test]
fn an_accepted_refer_is_followed_to_its_end() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 202, "", |_| {});
    for (seq, line, state) in [
        (11, "SIP/2.0 100 Trying", "active;expires=60"),
        (12, "SIP/2.0 180 Ringing", "active"),
        (13, "SIP/2.0 200 OK", "terminated;reason=noresource"),
    ] {
        bench.receive(&notify(seq, &to, "refer", state, line));
    }
    let events = bench.events();

    assert_eq!(header(&refer, HeaderName::ReferTo), "<sip:human@example.com>");
    assert_eq!(header(&refer, HeaderName::ReferredBy), "<sip:edge@192.0.2.1:5060>");
    assert!(refer.contact().unwrap().is_some());
    assert_eq!(firsts(&bench.sent()), ["200", "200", "200"]);
    assert!(matches!(events[0], Event::ReferAccepted { .. }));
    assert_eq!(
        progress(&events[1..]),
        [
            (Some(100), "Trying".to_owned(), false),
            (Some(180), "Ringing".to_owned(), false),
            (Some(200), "OK".to_owned(), true)
        ]
    );
}

#[test]
fn a_refused_refer_leaves_the_call_alone() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 603, "", |_| {});

    let events = bench.events();
    let [Event::ReferRefused { refusal: Refusal::Response(response), .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(response.status(), Some(StatusCode::DECLINE));
    bench.receive(&within("BYE", 11, &to, "", ""));
    assert_eq!(bench.words(), ["HungUp", "Gone"]);
}

#[test]
fn a_trunk_that_ignores_refer_does_not_end_the_call() {
    let (mut bench, dialog, to) = connected();
    refer(&mut bench, dialog);
    bench.pass(Duration::from_secs(33));

    let events = bench.events();
    assert!(
        matches!(&events[..], [Event::ReferRefused { refusal: Refusal::Failed(Failure::Timeout), .. }]),
        "{events:?}"
    );
    bench.sent();
    bench.receive(&within("INFO", 11, &to, "", ""));
    assert_eq!(bench.words(), ["Info"]);
}

#[test]
fn a_trunk_that_accepts_and_stays_silent_is_the_owners_to_wait_for() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 202, "", |_| {});
    bench.pass(Duration::from_secs(600));
    assert_eq!(bench.words(), ["ReferAccepted"]);

    bench.receive(&within("BYE", 11, &to, "", ""));
    bench.pass(Duration::from_secs(31));
    let before = bench.words();
    bench.pass(Duration::from_secs(2));

    // The last NOTIFY is waited for, but not for ever.
    assert_eq!((before, bench.words()), (vec!["HungUp".to_owned()], vec!["Gone".to_owned()]));
}

#[test]
fn a_notify_that_overtakes_the_202_counts() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.receive(&notify(11, &to, "refer", "active", "SIP/2.0 100 Trying"));
    bench.answer(&refer, 202, "", |_| {});
    bench.receive(&notify(12, &to, "refer", "terminated", "SIP/2.0 486 Busy Here"));

    let events = bench.events();
    assert_eq!(progress(&events[..1]), [(Some(100), "Trying".to_owned(), false)]);
    assert!(matches!(events[1], Event::ReferAccepted { .. }));
    assert_eq!(progress(&events[2..]), [(Some(486), "Busy Here".to_owned(), true)]);
}

/// RFC 5057 §4: the subscription outlives the BYE. Many trunks hang up first.
#[test]
fn the_outcome_is_told_even_after_they_have_hung_up() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 202, "", |_| {});
    bench.receive(&within("BYE", 11, &to, "", ""));
    bench.receive(&notify(12, &to, "refer", "terminated;reason=noresource", "SIP/2.0 200 OK"));
    bench.receive(&notify(13, &to, "refer", "terminated;reason=noresource", "SIP/2.0 200 OK"));

    assert_eq!(bench.words(), ["ReferAccepted", "HungUp", "ReferProgress", "Gone"]);
    assert_eq!(firsts(&bench.sent()), ["200", "200", "481"]);
}

#[test]
fn hanging_up_after_the_202_still_takes_the_last_notify() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 202, "", |_| {});
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let bye = bench.sent_one();
    bench.answer(&bye, 200, "", |_| {});
    bench.receive(&notify(11, &to, "refer", "terminated", "SIP/2.0 200 OK"));

    assert_eq!(bench.words(), ["ReferAccepted", "ReferProgress", "Gone"]);
}

/// RFC 4488.
#[test]
fn without_a_subscription_nothing_is_waited_for() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 200, "", |writer| {
        writer.header(HeaderName::ReferSub, "false");
    });
    bench.receive(&within("BYE", 11, &to, "", ""));

    assert_eq!(bench.words(), ["ReferAccepted", "HungUp", "Gone"]);
}

#[test]
fn two_refers_are_told_apart_by_the_id_of_their_event() {
    let (mut bench, dialog, to) = connected();
    let first_refer = refer(&mut bench, dialog);
    let second_refer = refer(&mut bench, dialog);
    bench.answer(&first_refer, 202, "", |_| {});
    bench.answer(&second_refer, 202, "", |_| {});
    bench.events();
    let id = second_refer.cseq().unwrap().number;
    let event = format!("refer;id={id}");
    bench.receive(&notify(11, &to, &event, "terminated", "SIP/2.0 486 Busy Here"));
    bench.receive(&notify(12, &to, &event, "terminated", "SIP/2.0 486 Busy Here"));
    bench.receive(&notify(13, &to, "refer", "terminated", "SIP/2.0 200 OK"));
    bench.receive(&notify(14, &to, "refer", "terminated", "SIP/2.0 200 OK"));

    assert_eq!(bench.words(), ["ReferProgress", "ReferProgress"]);
    assert_eq!(firsts(&bench.sent()), ["200", "481", "200", "481"]);
}

#[test]
fn a_notify_without_readable_status_still_ends_the_subscription() {
    let (mut bench, dialog, to) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 202, "", |_| {});
    bench.receive(&notify(11, &to, "refer", "terminated;reason=giveup", "garbage"));

    assert_eq!(progress(&bench.events()[1..]), [(None, "giveup".to_owned(), true)]);
}

/// RFC 3261 §12.2.1.2: 481 means that there is no call any more.
#[test]
fn a_481_to_refer_ends_the_call() {
    let (mut bench, dialog, _) = connected();
    let refer = refer(&mut bench, dialog);
    bench.answer(&refer, 481, "", |_| {});
    let bye = bench.sent_one();
    bench.answer(&bye, 481, "", |_| {});

    assert_eq!(first(&bye), "BYE");
    assert_eq!(bench.words(), ["ReferRefused", "Failed", "Gone"]);
}

#[test]
fn a_refer_without_a_confirmed_dialog_comes_to_nothing() {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };

    bench.endpoint.refer(bench.now, *dialog, &name("sip:human@example.com"), Headers::new());

    assert_eq!(bench.words(), ["ReferRefused"]);
    assert!(bench.sent().is_empty());
}

fn refer(bench: &mut Bench, dialog: DialogId) -> Message {
    bench.endpoint.refer(bench.now, dialog, &name("sip:human@example.com"), Headers::new());
    bench.sent_one()
}

fn notify(seq: u32, to: &str, event: &str, state: &str, body: &str) -> String {
    let lines = format!("Event: {event}\nSubscription-State: {state}\nContent-Type: message/sipfrag\n");
    within("NOTIFY", seq, to, &lines, body)
}

fn progress(events: &[Event]) -> Vec<(Option<u16>, String, bool)> {
    let read = |event: &Event| {
        let Event::ReferProgress { status, reason, terminated, .. } = event else { panic!("{event:?}") };
        (status.map(StatusCode::code), reason.clone(), *terminated)
    };
    events.iter().map(read).collect()
}

/// A call from the peer that is up: our dialog and our To with its tag.
fn connected() -> (Bench, DialogId, String) {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let events = bench.events();
    let [Event::Invited { dialog, .. }] = &events[..] else { panic!() };
    bench.endpoint.accept(bench.now, *dialog, Headers::new(), None);
    let accepted = bench.sent_one();
    let to = header(&accepted, HeaderName::To);
    bench.receive(&within("ACK", 10, &to, "", ""));
    assert_eq!(bench.words(), ["Acknowledged"]);
    (bench, *dialog, to)
}
