//! One dialog that takes the place of another: RFC 3891, and the attended transfer that it is for (RFC 5589 §7).

use sip::endpoint::Event;
use sip::simulate::Faults;
use sip::{Body, DialogId, HeaderName, Headers, Invite, Replaces, StatusCode, Transport};

use crate::bench::{Bench, first, header, invite, within};
use crate::owners::{ALICE, BOB, Pair, dialog, message, name, uri};

#[test]
fn a_running_call_is_found_by_its_call_id_and_both_tags() {
    let (bench, dialog, tag) = connected();
    for (replaces, expected) in [
        (format!("call-1@192.0.2.9;to-tag={tag};from-tag=theirs"), Ok(Some(dialog))),
        (format!("call-1@192.0.2.9;from-tag=theirs;to-tag={tag}"), Ok(Some(dialog))),
        (format!("call-2@192.0.2.9;to-tag={tag};from-tag=theirs"), Err(UNKNOWN)),
        (format!("call-1@192.0.2.9;to-tag={tag};from-tag=other"), Err(UNKNOWN)),
        ("call-1@192.0.2.9;to-tag=theirs;from-tag=theirs".to_owned(), Err(UNKNOWN)),
        // The tags the wrong way round: how the other side knows it.
        (format!("call-1@192.0.2.9;to-tag=theirs;from-tag={tag}"), Err(UNKNOWN)),
        (format!("call-1@192.0.2.9;to-tag={tag};from-tag=theirs;early-only"), Err(StatusCode::BUSY_HERE)),
    ] {
        assert_eq!(bench.endpoint.replaced(&asking(&replaces)), expected, "{replaces}");
    }
    assert_eq!(bench.endpoint.replaced(&crate::bench::parse(wire(&invite("")))), Ok(None));
}

/// RFC 3891 §3.
#[test]
fn a_call_that_has_just_ended_is_declined_and_one_that_rings_here_is_unknown() {
    let (mut bench, dialog, tag) = connected();
    let replaces = asking(&format!("call-1@192.0.2.9;to-tag={tag};from-tag=theirs"));
    bench.endpoint.hang_up(bench.now, dialog, Headers::new());
    let mut ringing = Bench::new();
    ringing.receive(&invite(""));
    let theirs = crate::owners::dialog(&ringing.events().remove(0));
    ringing.endpoint.ring(ringing.now, theirs, StatusCode::RINGING, Headers::new(), None);
    let tag = ringing.sent_one().to().unwrap().tag().unwrap().to_owned();
    let early = asking(&format!("call-1@192.0.2.9;to-tag={tag};from-tag=theirs"));

    assert_eq!(bench.endpoint.replaced(&replaces), Err(StatusCode::DECLINE));
    assert_eq!(ringing.endpoint.replaced(&early), Err(UNKNOWN));
}

#[test]
fn a_call_of_ours_that_rings_there_may_be_taken_by_whoever_knows_a_fork() {
    let mut bench = Bench::new();
    let far = name("sip:far@192.0.2.9");
    let call = Invite::new(bench.target(), uri("sip:far@192.0.2.9"), name("sip:edge@192.0.2.1"), far);
    let dialog = bench.endpoint.invite(bench.now, call);
    let sent = bench.sent_one();
    bench.answer(&sent, 180, "far", |_| {});
    let (call_id, tag) = (sent.call_id().unwrap().to_owned(), sent.from().unwrap());
    let tag = tag.tag().unwrap();

    for (from_tag, early_only, expected) in
        [("far", "", Ok(Some(dialog))), ("far", ";early-only", Ok(Some(dialog))), ("other", "", Err(UNKNOWN))]
    {
        let replaces = asking(&format!("{call_id};to-tag={tag};from-tag={from_tag}{early_only}"));
        assert_eq!(bench.endpoint.replaced(&replaces), expected, "{from_tag}{early_only}");
    }
}

#[test]
fn a_replaces_that_cannot_be_meant_is_400() {
    for lines in [
        "Replaces: x\n",
        "Replaces: a;to-tag=1;from-tag=2\nReplaces: b;to-tag=1;from-tag=2\n",
        "Replaces: a;to-tag=1;from-tag=2\nJoin: a;to-tag=1;from-tag=2\n",
    ] {
        let mut bench = Bench::new();
        bench.receive(&invite(lines));

        assert_eq!(first(&bench.sent_one()), "400", "{lines}");
        assert!(bench.words().is_empty());
    }
}

#[test]
fn who_requires_replaces_is_not_refused_for_it() {
    let mut bench = Bench::new();
    bench.receive(&invite("Require: replaces\nReplaces: a;to-tag=1;from-tag=2\n"));

    assert_eq!(bench.words(), ["Invited"]);
}

/// RFC 5589 §7.1: Alice talks to Bob and to Carol, and brings the two together.
#[test]
fn an_attended_transfer_joins_the_two_who_were_apart() {
    const CAROL: usize = 2;
    let mut pair = Pair::new(Faults::NONE);
    let (with_bob, of_bob) = pair.connected(Transport::Udp);
    assert_eq!(pair.network.add(|_| {}), CAROL);
    let target = pair.network.target(CAROL, Transport::Udp);
    let carol_uri = uri("sip:carol@10.0.0.3");
    let consult =
        Invite::new(target, carol_uri.clone(), name("sip:alice@10.0.0.1"), name("sip:carol@10.0.0.3"));
    let consult = Invite { body: Some(Body::sdp("offer")), ..consult };
    let with_carol = pair.act(ALICE, |endpoint, now| endpoint.invite(now, consult));
    let of_carol = dialog(&pair.until(CAROL, "Invited"));
    pair.act(CAROL, |endpoint, now| {
        endpoint.accept(now, of_carol, Headers::new(), Some(Body::sdp("answer")))
    });
    pair.until(ALICE, "Answered");
    pair.act(ALICE, |endpoint, now| endpoint.acknowledge(now, with_carol, None));

    // REFER to Bob: call Carol, in the place of me.
    pair.act(ALICE, |endpoint, now| {
        let refer_to = sip::NameAddr::new(endpoint.replaces(with_carol).unwrap().in_uri(&carol_uri));
        endpoint.refer(now, with_bob, &refer_to, Headers::new());
    });
    let Event::Referred { id, request, .. } = pair.until(BOB, "Referred") else { panic!() };
    let refer_to = request.refer_to().unwrap().unwrap();
    let replaces = Replaces::of_uri(refer_to.uri()).unwrap();
    let referred_by = header(&request, HeaderName::ReferredBy);
    let call = Invite::new(target, refer_to.uri().clone(), name("sip:bob@10.0.0.2"), refer_to.clone());
    let headers =
        vec![("Replaces".into(), replaces.to_string()), ("Referred-By".into(), referred_by.clone())];
    let call = Invite { headers, body: Some(Body::sdp("offer")), ..call };
    let to_carol = pair.act(BOB, |endpoint, now| {
        endpoint.accept_refer(now, id);
        endpoint.invite(now, call)
    });
    // Carol lets Bob take the place of Alice.
    let Event::Invited { dialog: new, request, .. } = pair.until(CAROL, "Invited") else { panic!() };
    assert_eq!(pair.act(CAROL, |endpoint, _| endpoint.replaced(&request)), Ok(Some(of_carol)));
    assert_eq!(header(&request, HeaderName::ReferredBy), referred_by);
    assert_eq!(request.request_uri().unwrap().as_str(), "sip:carol@10.0.0.3");
    pair.act(CAROL, |endpoint, now| {
        endpoint.accept(now, new, Headers::new(), Some(Body::sdp("answer")));
        endpoint.hang_up(now, of_carol, Headers::new());
    });
    assert_eq!(message(&pair.until(BOB, "Answered")).body(), "answer");
    pair.act(BOB, |endpoint, now| {
        endpoint.acknowledge(now, to_carol, None);
        endpoint.refer_progress(now, of_bob, id, StatusCode::OK);
    });
    let last = loop {
        if let Event::ReferProgress { status, terminated: true, .. } = pair.until(ALICE, "ReferProgress") {
            break status;
        }
    };
    pair.act(ALICE, |endpoint, now| endpoint.hang_up(now, with_bob, Headers::new()));
    pair.pass(std::time::Duration::from_secs(60));

    assert_eq!(last, Some(StatusCode::OK));
    assert_eq!(pair.act(ALICE, |endpoint, _| endpoint.ledger()), sip::Ledger::default());
    // Bob and Carol go on talking, in one dialog each.
    assert_eq!(pair.act(BOB, |endpoint, _| endpoint.ledger().dialogs), 1);
    assert_eq!(pair.act(CAROL, |endpoint, _| endpoint.ledger().dialogs), 1);
}

const UNKNOWN: StatusCode = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;

fn wire(text: &str) -> bytes::Bytes {
    text.replace('\n', "\r\n").into()
}

/// An INVITE with that Replaces.
fn asking(replaces: &str) -> sip::Message {
    crate::bench::parse(wire(&invite(&format!("Replaces: {replaces}\n"))))
}

/// A call from the peer that is up, and our tag in it.
fn connected() -> (Bench, DialogId, String) {
    let mut bench = Bench::new();
    bench.receive(&invite(""));
    let dialog = dialog(&bench.events().remove(0));
    bench.endpoint.accept(bench.now, dialog, Headers::new(), None);
    let accepted = bench.sent_one();
    bench.receive(&within("ACK", 10, &header(&accepted, HeaderName::To), "", ""));
    bench.events();
    let tag = accepted.to().unwrap().tag().unwrap().to_owned();
    (bench, dialog, tag)
}
