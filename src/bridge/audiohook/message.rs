//! The texts of AudioHook, as they are written. Both sides number what they say from 1 and say what they heard last.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A text of the platform.
#[derive(Debug, Deserialize)]
pub(super) struct FromPlatform {
    pub(super) version: String,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) seq: u64,
    pub(super) serverseq: u64,
    #[serde(default)]
    pub(super) parameters: Option<Box<RawValue>>,
}

/// A text of ours.
#[derive(Debug, Serialize)]
pub(super) struct ToPlatform<'a, P> {
    pub(super) version: &'static str,
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) seq: u64,
    pub(super) clientseq: u64,
    pub(super) parameters: P,
}

/// `open`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Open {
    pub(super) organization_id: String,
    pub(super) conversation_id: String,
    #[serde(default)]
    pub(super) participant: Participant,
    pub(super) media: Vec<Value>,
    #[serde(default)]
    pub(super) language: Option<String>,
    #[serde(default)]
    pub(super) input_variables: Map<String, Value>,
    #[serde(default)]
    pub(super) continued_sessions: Vec<Continued>,
}

/// A session that goes on in this one.
#[derive(Debug, Deserialize)]
pub(super) struct Continued {
    pub(super) id: String,
}

/// Who is at the external end.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Participant {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) ani: String,
    #[serde(default)]
    pub(super) ani_name: String,
    #[serde(default)]
    pub(super) dnis: String,
}

/// One of the media that are offered.
#[derive(Debug, Deserialize)]
pub(super) struct Media {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) channels: Vec<String>,
    pub(super) rate: u32,
}

/// `close`.
#[derive(Debug, Deserialize)]
pub(super) struct Close {
    #[serde(default)]
    pub(super) reason: String,
}

/// `dtmf`.
#[derive(Debug, Deserialize)]
pub(super) struct Dtmf {
    pub(super) digit: String,
}

/// `resumed`, `discarded`.
#[derive(Debug, Deserialize)]
pub(super) struct Discarded {
    pub(super) discarded: String,
}

/// `ping`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Ping {
    #[serde(default)]
    pub(super) rtt: Option<String>,
}

/// `error`.
#[derive(Debug, Deserialize)]
pub(super) struct Trouble {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) message: String,
}

/// An empty object.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

/// Parameters of `opened`.
#[derive(Debug, Serialize)]
pub(super) struct Opened<'a> {
    pub(super) media: [&'a Value; 1],
}

/// Parameters of `closed`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Closed<'a> {
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) output_variables: &'a Map<String, Value>,
}

/// Parameters of `disconnect`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Disconnect<'a> {
    pub(super) reason: &'static str,
    pub(super) info: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) output_variables: &'a Map<String, Value>,
}

/// Parameters of `event`.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub(super) entities: [Entity; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) data: Nothing,
}

/// A length like `PT1.25S`, as far as AudioHook writes ISO 8601: seconds, with at most nine decimals, of a day at most.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let seconds = text.strip_prefix("PT")?.strip_suffix('S')?;
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let is_number =
        |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let nanoseconds = format!("{part:0<9}").parse().ok()?;
    let duration = Duration::new(whole.parse().ok()?, nanoseconds);
    (duration <= Duration::from_secs(86_400)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written_and_nothing_else_is() {
        for (text, milliseconds) in
            [("PT0S", 0), ("PT1.25S", 1250), ("PT20.04S", 20_040), ("PT86400S", 86_400_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "PT", "PTS", "PT-1S", "PT1", "1S", "PT1.S", "PT.5S", "PT1.0000000001S", "PT86401S", "PT1M"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
