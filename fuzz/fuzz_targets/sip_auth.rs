//! Any text as a challenge or as an answer to one: what is read can be answered, and the answer verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::Method;
use sip::auth::{Authorization, Challenge, Credentials};

fuzz_target!(|data: &[u8]| {
    let credentials = Credentials { username: "a \"b\"".into(), password: "p".into() };
    if let Ok(challenge) = Challenge::parse(data) {
        let answer = challenge.respond(&credentials, Method::Invite, "sip:a@b", b"body", "c", 1);
        let written = answer.to_string();
        assert!(!written.contains(['\r', '\n', '\0']));
        assert_eq!(Authorization::parse(&written).as_ref(), Ok(&answer));
        assert!(answer.verify(&credentials, Method::Invite, b"body"));
        assert_eq!(Challenge::parse(challenge.to_string()), Ok(challenge));
    }
    if let Ok(answer) = Authorization::parse(data) {
        let _ = (answer.verify(&credentials, Method::Invite, b""), answer.count());
        let again = Authorization::parse(answer.to_string()).expect("what was read can be read again");
        assert_eq!((again.username, again.nonce, again.uri), (answer.username, answer.nonce, answer.uri));
    }
});
