//! What a status means: SIP to event kind and end reason, engine failure to SIP.

use super::engine::EngineFailure;
use super::event::{EndReason, EventKind};

/// How a call that was never answered is told: RFC 3261 §21 statuses of the INVITE.
pub(super) fn of_refusal(status: u16) -> (EventKind, EndReason) {
    match status {
        486 | 600 => (EventKind::Busy, EndReason::Busy),
        408 | 480 | 487 => (EventKind::NoAnswer, EndReason::NoAnswer),
        488 | 606 => (EventKind::Error, EndReason::MediaIncompatible),
        300.. => (EventKind::Error, EndReason::Rejected),
        0..300 => (EventKind::Error, EndReason::EdgeFailed),
    }
}

/// How a call is told that its engine refused with a status: what the engine says of the callee counts as said by them.
pub(super) fn of_engine_refusal(status: u16) -> (EventKind, EndReason) {
    match of_refusal(status) {
        told @ ((EventKind::Busy, _) | (EventKind::NoAnswer, _)) => told,
        (kind, _) => (kind, EndReason::EngineRefused),
    }
}

/// The SIP answer of a call whose engine cannot take it. A status that means the same in HTTP and SIP is passed on;
/// what the caller's side could cure by going elsewhere is 503, what is the engine's fault 502 or 504.
pub(super) fn of_engine_failure(failure: &EngineFailure) -> (sip::StatusCode, Option<u32>) {
    let (status, retry_after) = status_and_delay(failure);
    (sip::StatusCode::new(status).unwrap_or(sip::StatusCode::SERVER_INTERNAL_ERROR), retry_after)
}

fn status_and_delay(failure: &EngineFailure) -> (u16, Option<u32>) {
    match failure {
        EngineFailure::Http {
            status: status @ (403 | 404 | 408 | 410 | 480 | 486 | 488 | 600 | 603),
            ..
        } => (*status, None),
        EngineFailure::Http { status: 429 | 503, retry_after } => (503, *retry_after),
        EngineFailure::Http { status: 504, .. } | EngineFailure::Timeout => (504, None),
        EngineFailure::Full => (503, Some(5)),
        EngineFailure::Dns | EngineFailure::Connect(_) | EngineFailure::Tls(_) => (503, None),
        EngineFailure::Http { .. }
        | EngineFailure::Upgrade(_)
        | EngineFailure::Closed { .. }
        | EngineFailure::Broken(_)
        | EngineFailure::Protocol(_)
        | EngineFailure::Stalled => (502, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_busy_statuses_are_busy_and_only_silence_is_no_answer() {
        for status in 300..700 {
            let (kind, reason) = of_refusal(status);
            assert_eq!(kind == EventKind::Busy, matches!(status, 486 | 600), "{status}");
            assert_eq!(kind == EventKind::NoAnswer, matches!(status, 408 | 480 | 487), "{status}");
            assert_ne!(reason, EndReason::EdgeFailed, "{status}");
        }
    }

    #[test]
    fn an_engine_that_refuses_with_a_sip_like_status_is_quoted() {
        let refused = |status| EngineFailure::Http { status, retry_after: Some(7) };

        assert_eq!(of_engine_failure(&refused(486)), (sip::StatusCode::BUSY_HERE, None));
        assert_eq!(of_engine_failure(&refused(429)), (sip::StatusCode::SERVICE_UNAVAILABLE, Some(7)));
        assert_eq!(of_engine_failure(&refused(401)), (sip::StatusCode::BAD_GATEWAY, None));
        assert_eq!(of_engine_failure(&EngineFailure::Dns), (sip::StatusCode::SERVICE_UNAVAILABLE, None));
        assert_eq!(of_engine_failure(&EngineFailure::Timeout), (sip::StatusCode::SERVER_TIMEOUT, None));
    }
}
