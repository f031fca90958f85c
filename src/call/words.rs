//! A call in Twilio's words: names, states, directions. One place for requests to applications and for the API.

use super::event::EndReason;
use super::ids::CallId;
use super::view::{AnsweredBy, CallView, Direction, Status};

/// A call's name: `CA` and its id.
pub fn call_sid(call: CallId) -> String {
    format!("CA{:032x}", call.as_u128())
}

/// The call of that name; nothing when it is none.
pub fn call_of(sid: &str) -> Option<CallId> {
    let hex = sid.strip_prefix("CA").filter(|hex| hex.len() == 32)?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let id = hex.bytes().all(lower).then(|| u128::from_str_radix(hex, 16).ok())?;
    id.map(CallId::from_u128)
}

/// A stream's name.
pub(super) fn stream_sid(call: CallId) -> String {
    format!("MZ{:032x}", call.as_u128())
}

/// Where a call stands: `CallStatus`.
pub fn status(view: &CallView) -> &'static str {
    match view.status {
        Status::Placing => "queued",
        Status::Ringing | Status::EarlyMedia => "ringing",
        Status::Answered | Status::Transferring | Status::Held => "in-progress",
        Status::Ended if view.answered_at.is_some() => "completed",
        Status::Ended => match view.end_reason {
            Some(EndReason::Busy) => "busy",
            Some(EndReason::ApiHungUp) => "canceled",
            Some(
                EndReason::NoAnswer
                | EndReason::CallerCancelled
                | EndReason::RemoteHungUp
                | EndReason::NotAcknowledged,
            ) => "no-answer",
            Some(
                EndReason::EngineHungUp
                | EndReason::Transferred
                | EndReason::MaxDuration
                | EndReason::MediaTimeout
                | EndReason::EngineLost
                | EndReason::EngineRefused
                | EndReason::Rejected
                | EndReason::Unreachable
                | EndReason::MediaIncompatible
                | EndReason::MediaNotSecured
                | EndReason::MachineAnswered
                | EndReason::TransferFailed
                | EndReason::RuleHungUp
                | EndReason::EdgeShutdown
                | EndReason::EdgeRestarted
                | EndReason::EdgeFailed,
            )
            | None => "failed",
        },
    }
}

/// Who began: `Direction`.
pub fn direction(view: &CallView) -> &'static str {
    match view.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound-api",
    }
}

/// Who picked up: `AnsweredBy`.
pub fn answered_by(who: AnsweredBy) -> &'static str {
    match who {
        AnsweredBy::Human => "human",
        AnsweredBy::Machine => "machine_start",
        AnsweredBy::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_its_name_in_twilios_words_are_one_to_one() {
        let call: CallId = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D".parse().unwrap();

        let sid = call_sid(call);

        assert_eq!((sid.len(), &sid[..2]), (34, "CA"));
        assert_eq!(call_of(&sid), Some(call));
        for none in [
            "",
            "CA",
            "CAxyz",
            &sid[..33],
            &sid.to_uppercase(),
            &sid.replace("CA", "AC"),
            "CA+0000000000000000000000000000000",
        ] {
            assert_eq!(call_of(none), None, "{none}");
        }
    }
}
