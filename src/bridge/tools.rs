//! Functions that a cloud engine may call: the few things that it can ask of a call. Each engine API wraps them its own way.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::time::Duration;

use media::Digit;
use serde_json::{Value, json};

use super::said::Said;
use crate::call::{EngineCommand, EngineEvent, TransferManner, TransferState, TransferStep};

/// How long each key is pressed.
const DIGIT: Duration = Duration::from_millis(160);
/// Keys of one request.
const MOST_DIGITS: usize = 32;

/// Name, what it is for, and the parameters as JSON Schema.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Value,
}

/// What came of a request.
pub(super) enum Asked<'a> {
    /// The call does it; its outcome comes as an event that names the request.
    Ordered(Said<'a>),
    /// The call does it, and nothing more will be told.
    Done(Said<'a>, &'static str),
    /// There is nothing to do; the engine is told why.
    Refused(String),
}

/// All of them.
pub(super) fn all() -> [Tool; 3] {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let object = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required });
    [
        Tool {
            name: "transfer_call",
            description: "Hands the caller over to a person or another number.",
            parameters: object(
                json!({ "to": text("E.164 number or SIP URI."), "reason": text("Why, in a few words.") }),
                json!(["to"]),
            ),
        },
        Tool {
            name: "hang_up",
            description: "Ends the call once everything said so far was heard.",
            parameters: object(json!({ "reason": text("Why, in a few words.") }), json!([])),
        },
        Tool {
            name: "send_dtmf",
            description: "Presses keys of the telephone.",
            parameters: object(json!({ "digits": text("0-9, *, #, A-D.") }), json!(["digits"])),
        },
    ]
}

/// What an engine that calls `name` wants; `id` names its request.
pub(super) fn ask<'a>(id: &str, name: &str, arguments: &Value) -> Asked<'a> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str).map(str::to_owned);
    match name {
        "transfer_call" => match text("to").filter(|to| !to.trim().is_empty()) {
            Some(to) => {
                let (id, reason) = (Some(id.to_owned()), text("reason"));
                let manner = TransferManner::default();
                Asked::Ordered(Said::Command(EngineCommand::Transfer { id, to, reason, manner }))
            }
            None => Asked::Refused("`to` is missing: write a number or a SIP URI".to_owned()),
        },
        "hang_up" => {
            let command =
                EngineCommand::HangUp { id: Some(id.to_owned()), reason: text("reason"), drain: true };
            Asked::Done(Said::Command(command), "the call ends")
        }
        "send_dtmf" => {
            let digits = text("digits").unwrap_or_default();
            let read: Result<Vec<Digit>, _> = digits.chars().map(Digit::try_from).collect();
            match read {
                Ok(digits) if (1..=MOST_DIGITS).contains(&digits.len()) => {
                    let id = Some(Cow::Owned(id.to_owned()));
                    Asked::Done(Said::Dtmf { id, digits, duration: DIGIT }, "sent")
                }
                Ok(_) | Err(_) => Asked::Refused("`digits` must be 1 to 32 of 0-9, *, #, A-D".to_owned()),
            }
        }
        unknown => Asked::Refused(format!("there is no function `{unknown}`")),
    }
}

/// Whether an event answers a request of the engine, and what it says.
pub(super) fn outcome(event: &EngineEvent) -> Option<(&str, String)> {
    match event {
        EngineEvent::Transfer(TransferStep { re: Some(re), state, sip }) => match state {
            TransferState::Transferred => Some((re, "transferred".to_owned())),
            TransferState::Failed => {
                let why =
                    sip.as_ref().map_or_else(String::new, |(code, reason)| format!(": {code} {reason}"));
                Some((re, format!("failed{why}; the caller is still here")))
            }
            TransferState::Requested | TransferState::Accepted | TransferState::Ringing => None,
        },
        EngineEvent::Refused { re: Some(re), code, message } => {
            Some((re, format!("refused ({code}): {message}")))
        }
        EngineEvent::Transfer(TransferStep { re: None, .. })
        | EngineEvent::Refused { re: None, .. }
        | EngineEvent::Start(_)
        | EngineEvent::EarlyMedia
        | EngineEvent::Answered
        | EngineEvent::Held
        | EngineEvent::Resumed
        | EngineEvent::Context(_)
        | EngineEvent::Mode(_)
        | EngineEvent::Stop(_) => None,
    }
}

/// Arguments as an engine writes them: an object, or one as text.
pub(super) fn arguments(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

/// A text with `{{name}}` replaced by what the call knows under that name.
pub(super) fn filled(text: &str, known: &serde_json::Map<String, Value>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { break };
        filled.push_str(before);
        filled.push_str(known.get(name.trim()).and_then(Value::as_str).unwrap_or_default());
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_text_are_replaced_and_what_is_no_name_stays() {
        let known = serde_json::Map::from_iter([("first_name".to_owned(), json!("Sam"))]);

        assert_eq!(filled("Hi {{ first_name }}, {{nobody}}{{ open", &known), "Hi Sam, {{ open");
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_sentence() {
        for (name, arguments) in [
            ("transfer_call", json!({})),
            ("send_dtmf", json!({ "digits": "12x" })),
            ("send_dtmf", json!({ "digits": "" })),
            ("sing", json!({})),
        ] {
            assert!(matches!(ask("c1", name, &arguments), Asked::Refused(_)), "{name} {arguments}");
        }
    }
}
