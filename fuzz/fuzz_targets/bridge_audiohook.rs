//! What a platform may send in an AudioHook session, a message a line. Lines that are UTF-8 are texts, numbered for it so that they
//! are looked into; the session is taken as soon as it can be, and speaks.
#![no_main]

use std::time::{Duration, Instant};

use callingedge::bridge::{AudioHook, Form, HOOK_FRAME, HookParting, Incoming, Outgoing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut hook = AudioHook::new(now, "s".to_owned());
    let (mut out, mut seq, mut said) = (Outgoing::default(), 0_u64, 0_u64);
    for message in data.split(|byte| *byte == b'\n') {
        now += Duration::from_millis(100);
        let numbered = std::str::from_utf8(message).ok().map(|text| {
            let (kind, parameters) = text.split_once(' ').unwrap_or((text, "{}"));
            let kind = serde_json::Value::from(kind);
            format!(
                r#"{{"version":"2","id":"s","type":{kind},"seq":{},"serverseq":{said},"parameters":{parameters}}}"#,
                seq + 1
            )
        });
        let incoming = numbered.as_deref().map_or(Incoming::Binary(message), Incoming::Text);
        let outcome = hook.understand(now, incoming, &mut out);
        seq += u64::from(numbered.is_some());
        if let Err(fault) = outcome {
            hook.fail(&fault, &mut out);
            return;
        }
        hook.take(&mut out);
        let mut frames = [[0; HOOK_FRAME]; 2];
        while hook.next_frame(&mut frames) {
            hook.say(&frames[0], &mut out);
        }
        while let Some((form, message)) = out.pop() {
            if form == Form::Text {
                said += 1;
                let told: serde_json::Value = serde_json::from_slice(&message).expect("we write JSON");
                assert_eq!(told["seq"], said);
            } else {
                assert!((1..=1_600 + HOOK_FRAME).contains(&message.len()));
            }
        }
    }
    hook.leave(HookParting::Completed, "", &serde_json::Map::new(), &mut out);
});
