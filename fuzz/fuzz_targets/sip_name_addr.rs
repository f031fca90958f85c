//! Any text as a name-addr: what is read reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::NameAddr;

fuzz_target!(|data: &[u8]| {
    let Ok(name_addr) = NameAddr::parse(data) else { return };
    let written = name_addr.to_string();
    assert!(!written.contains(['\r', '\n', '\0']));
    assert_eq!(NameAddr::parse(&written).as_ref(), Ok(&name_addr));
    let tagged = name_addr.clone().with_tag("x;y");
    assert_eq!(tagged.tag(), Some("\"x;y\""));
    assert_eq!(tagged.uri(), name_addr.uri());
    assert_eq!(NameAddr::parse(tagged.to_string()), Ok(tagged));
});
