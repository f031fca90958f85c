//! Any text as a URI: what is read is written as it was, equals itself, and can be changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::{Scheme, Uri};

fuzz_target!(|data: &[u8]| {
    let (one, other) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let Ok(uri) = Uri::parse(one) else { return };
    assert_eq!(uri.as_str().as_bytes(), one);
    assert!(uri.is_equivalent(&uri));
    if uri.scheme() != Scheme::Other && uri.params().count() < 60 {
        assert_eq!(uri.with_param("x", Some("a;b\r\n")).param("X"), Some("a%3Bb%0D%0A"));
        assert_eq!(uri.without_param("transport").param("transport"), None);
        assert_eq!(uri.without_headers().headers().count(), 0);
        assert_eq!(uri.with_param("lr", None).user(), uri.user());
        assert_eq!(uri.with_param("lr", None).host(), uri.host());
        let _ = (uri.user_text(), uri.password(), uri.port(), uri.headers().count());
    }
    if let Some(Ok(other)) = other.get(1..).map(Uri::parse) {
        assert_eq!(uri.is_equivalent(&other), other.is_equivalent(&uri));
    }
});
