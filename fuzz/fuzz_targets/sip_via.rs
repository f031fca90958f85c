//! Any text as a Via: what is read reads back as the same, and a stamp holds.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use sip::Via;

fuzz_target!(|data: &[u8]| {
    let Ok(mut via) = Via::parse(data) else { return };
    let written = via.to_string();
    assert!(!written.contains(['\r', '\n', '\0']));
    assert_eq!(Via::parse(&written).as_ref(), Ok(&via));
    assert!(via.same_sent_by(&via));
    let source = SocketAddr::from(([192, 0, 2, 77], 40_000));
    via.stamp(source);
    assert_eq!(via.received().or(via.host().ip()), Some(source.ip()));
    assert_eq!(via.reply_address(source).ip(), source.ip());
});
