//! Whatever an application answers is a document or is none, and nothing that a document says panics.
#![no_main]

use callingedge::provider::twilio::{Document, Verb};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(document) = text.parse::<Document>() else { return };
    assert!(document.verbs.len() <= 200);
    assert!(document.passed_over.len() <= 20);
    for verb in &document.verbs {
        if let Verb::Dial(dial) = verb {
            assert!((1..=10).contains(&dial.targets.len()));
        }
    }
});
