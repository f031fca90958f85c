//! The JSON around a call's messages: whose a message is, and what concerns the socket that all share.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::borrow::Cow;
use std::num::NonZeroU32;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use super::CallNumber;
use crate::bridge::said::Mistake;

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The call.
    pub call: CallNumber,
    /// What it is to the envelope.
    pub word: Word,
}

/// What a message is to the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The call's own: `edge.v1`.
    Message,
    /// As if a socket of the call's own were closed with this code.
    Close(Option<u16>),
}

/// What is wrong with something that an engine sent, told on the socket and not by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineComplaint<'a> {
    /// Whose it was, where that could be read.
    pub call: Option<CallNumber>,
    /// Stable code.
    pub code: &'a str,
    /// The `id` of the message.
    pub re: Option<&'a str>,
    /// What to do.
    pub message: &'a str,
    /// The socket closes after it.
    pub fatal: bool,
}

/// What we read first of any message.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    call: Option<NonZeroU32>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<String>,
    /// Of `close`; any value elsewhere.
    #[serde(default)]
    code: Option<serde_json::Value>,
}

/// Reads whose a message is.
///
/// # Errors
/// What is wrong with it, and its `id` where that could be read.
pub fn address(text: &str) -> Result<Address, (Mistake, Option<String>)> {
    if text.trim_start().starts_with('[') {
        return Err((Mistake::Malformed("a message is an object".into()), None));
    }
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| (error.into(), None))?;
    let Some(call) = head.call else {
        let wrong = Mistake::Field { field: "call", must: "must be the number that `start` or `resume` had" };
        return Err((wrong, head.id));
    };
    let word = match &*head.kind {
        "close" => {
            let code = head.code.and_then(|code| code.as_u64()).and_then(|code| u16::try_from(code).ok());
            Word::Close(code)
        }
        _ => Word::Message,
    };
    Ok(Address { call: CallNumber(call.get()), word })
}

/// Writes a call's message, which is an object with something in it, as one of the socket.
pub fn write_text(call: CallNumber, message: &[u8], text: &mut BytesMut) {
    let mut digits = [0; 10];
    text.put_slice(br#"{"call":"#);
    text.put_slice(decimal(call.0, &mut digits));
    text.put_u8(b',');
    text.put_slice(message.get(1..).unwrap_or_default());
}

/// Writes that the call is no longer on the socket.
pub fn write_close(call: CallNumber, code: u16, text: &mut BytesMut) {
    #[derive(Serialize)]
    struct Close {
        call: u32,
        r#type: &'static str,
        code: u16,
    }
    serialize(&Close { call: call.0, r#type: "close", code }, text);
}

/// Writes what is wrong.
pub fn write_complaint(complaint: &LineComplaint<'_>, text: &mut BytesMut) {
    #[derive(Serialize)]
    struct Error<'a> {
        call: Option<u32>,
        r#type: &'static str,
        code: &'a str,
        fatal: bool,
        re: Option<&'a str>,
        message: &'a str,
    }
    let LineComplaint { call, code, re, message, fatal } = *complaint;
    let call = call.map(|CallNumber(call)| call);
    serialize(&Error { call, r#type: "error", code, fatal, re, message }, text);
}

fn serialize(message: &impl Serialize, text: &mut BytesMut) {
    serde_json::to_writer(text.writer(), message)
        .expect("strings and numbers always serialise, and the buffer grows");
}

/// A number as it is read, at the end of `room`.
fn decimal(mut number: u32, room: &mut [u8; 10]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    proptest! {
        #[test]
        fn a_message_is_read_as_the_calls_that_it_was_written_for(call in 1_u32.., name: String) {
            let message = json!({ "type": "mark", "name": name });
            let mut text = BytesMut::new();

            write_text(CallNumber(call), message.to_string().as_bytes(), &mut text);

            let written = std::str::from_utf8(&text).unwrap();
            let address = address(written).unwrap();
            prop_assert_eq!(address, Address { call: CallNumber(call), word: Word::Message });
            let mut read: Value = serde_json::from_str(written).unwrap();
            prop_assert_eq!(read.as_object_mut().unwrap().remove("call"), Some(json!(call)));
            prop_assert_eq!(read, message);
        }
    }

    #[test]
    fn a_close_stands_for_the_socket_of_the_calls_own() {
        let mut text = BytesMut::new();
        write_close(CallNumber(7), 1008, &mut text);
        let written = std::str::from_utf8(&text).unwrap();

        assert_eq!(written, r#"{"call":7,"type":"close","code":1008}"#);
        assert_eq!(address(written).unwrap().word, Word::Close(Some(1008)));
        assert_eq!(address(r#"{"call":7,"type":"close"}"#).unwrap().word, Word::Close(None));
        assert_eq!(address(r#"{"call":7,"type":"close","code":"x"}"#).unwrap().word, Word::Close(None));
    }

    #[test]
    fn a_message_of_nobody_is_refused_by_its_id() {
        for (text, code, id) in [
            ("{", "message.not_json", None),
            (r#"[7,"mark"]"#, "message.malformed", None),
            (r#"{"call":-1,"type":"mark"}"#, "message.malformed", None),
            (r#"{"call":7}"#, "message.malformed", None),
            (r#"{"call":0,"type":"mark"}"#, "message.malformed", None),
            (r#"{"type":"mark","id":"m1"}"#, "message.field", Some("m1")),
            (r#"{"type":"mark","call":null}"#, "message.field", None),
        ] {
            let (mistake, re) = address(text).unwrap_err();
            assert_eq!((mistake.code(), re.as_deref()), (code, id), "{text}");
        }
    }

    #[test]
    fn a_complaint_names_the_call_where_there_is_one() {
        for (call, written) in [(Some(CallNumber(3)), "3"), (None, "null")] {
            let mut text = BytesMut::new();
            let complaint =
                LineComplaint { call, code: "call.unknown", re: Some("x"), message: "no", fatal: false };
            write_complaint(&complaint, &mut text);

            let expected = format!(
                r#"{{"call":{written},"type":"error","code":"call.unknown","fatal":false,"re":"x","message":"no"}}"#
            );
            assert_eq!(&text[..], expected.as_bytes());
        }
    }
}
