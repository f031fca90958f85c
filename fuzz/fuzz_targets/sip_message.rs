//! Any datagram: what passes the check can be read, what does not can be answered, and the answer is a message.
#![no_main]

use std::net::SocketAddr;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::{Framing, HeaderName, Message, MessageWriter, StatusCode};

fuzz_target!(|data: &[u8]| {
    for framing in [Framing::Datagram, Framing::Stream] {
        let Ok(message) = Message::parse(Bytes::copy_from_slice(data), framing) else { continue };
        read_everything(&message);
        let good = message.check().is_ok();
        if good {
            message.cseq().expect("checked");
            message.call_id().expect("checked");
            message.from().expect("checked");
            message.to().expect("checked");
            message.via().expect("checked");
            assert!(
                message.vias().all(|via| via.is_ok()) && message.contacts().all(|contact| contact.is_ok())
            );
            assert!(message.routes().chain(message.record_routes()).all(|route| route.is_ok()));
            assert!(message.method().is_none() || message.request_uri().is_ok());
        }
        let source = SocketAddr::from(([192, 0, 2, 77], 5060));
        let answer = MessageWriter::response_to(&message, StatusCode::BUSY_HERE, source, Some("edge"))
            .copy_header(&message, HeaderName::RecordRoute)
            .finish();
        let Ok(answer) = Message::parse(answer, Framing::Stream) else { continue };
        assert_eq!(answer.status(), Some(StatusCode::BUSY_HERE));
        assert_eq!(answer.headers(HeaderName::Via).count(), message.headers(HeaderName::Via).count());
        for name in [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
            assert_eq!(answer.headers(name).count(), message.headers(name).count().min(1), "{name}");
        }
        if good {
            assert_eq!(answer.check().err(), None);
            assert_eq!(answer.cseq(), message.cseq());
            assert_eq!(answer.call_id(), message.call_id());
            assert_eq!(answer.vias().count(), message.vias().count());
        }
    }
});

fn read_everything(message: &Message) {
    let _ = (
        message.start_line(),
        message.max_forwards(),
        message.expires(),
        message.retry_after(),
        message.body(),
    );
    let _ = (message.refer_to(), message.referred_by(), message.event(), message.subscription_state());
    let _ = (message.reasons().count(), message.warnings().count(), message.content_type());
    let _ = (message.accept().map(Iterator::count), message.tokens(HeaderName::Supported).count());
    let _ = message.challenges(HeaderName::WwwAuthenticate).count();
    let _ = message.authorizations(HeaderName::Authorization).count();
    let _ = sip::sipfrag_status(&message.body());
    for (name, value) in message.all_headers() {
        assert!(!value.text().contains(['\r', '\n', '\0']));
        assert!(message.header_named(name).is_some());
    }
}
