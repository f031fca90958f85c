//! Reading a message takes no memory: finding its lines, checking it, and asking for what is text in it.

mod counting;

use bytes::Bytes;
use counting::allocations;
use sip::{Framing, HeaderName, Message, Method};

/// A usual INVITE of a trunk: 20 header lines, two hops, SDP.
const INVITE: &[u8] = include_bytes!("../../fixtures/sip/invite-of-a-trunk.sip");

#[test]
fn parsing_and_checking_an_invite_does_not_allocate() {
    let wire = Bytes::from_static(INVITE);

    let (message, count) = allocations(|| {
        let message = Message::parse(wire.clone(), Framing::Datagram).unwrap();
        message.check().unwrap();
        message
    });

    assert_eq!(count, 0);
    assert_eq!(message.all_headers().count(), 20);
}

#[test]
fn cloning_a_message_and_asking_for_its_texts_does_not_allocate() {
    let message = Message::parse(Bytes::from_static(INVITE), Framing::Datagram).unwrap();

    let ((), count) = allocations(|| {
        let message = message.clone();
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(message.cseq().unwrap().number, 29044);
        assert!(message.call_id().unwrap().ends_with("0.0.0.0"));
        assert_eq!(message.header(HeaderName::UserAgent).unwrap().text(), "Example Gateway");
        assert!(message.header_named("x-example-callsid").is_some());
        assert!(message.has_token(HeaderName::Allow, "REFER"));
        assert_eq!(message.max_forwards(), Ok(Some(60)));
        assert!(message.body().starts_with(b"v=0"));
    });

    assert_eq!(count, 0);
}

/// Guards the count itself.
#[test]
fn a_typed_header_that_owns_its_text_is_counted() {
    let message = Message::parse(Bytes::from_static(INVITE), Framing::Datagram).unwrap();

    let (from, count) = allocations(|| message.from().unwrap());

    assert_eq!(from.uri().user(), Some("+15550100111"));
    assert!((1..=4).contains(&count), "{count}");
}
