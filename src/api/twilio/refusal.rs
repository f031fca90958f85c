//! How Twilio says no: a JSON object with a number of its own, `{code, message, more_info, status}`.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::Problem;
use super::super::commands::Unanswered;
use crate::call::{Answer, CommandError};
use crate::store::Scope;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    code: u32,
    message: &'a str,
    more_info: String,
    status: u16,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        let body = Body { code, message: &message, more_info, status: status.as_u16() };
        let mut response = (status, axum::Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// A field that cannot be used.
pub(super) fn bad(code: u32, message: impl Into<String>) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, code, message: message.into() }
}

pub(super) fn unauthorized() -> Refusal {
    Refusal { status: StatusCode::UNAUTHORIZED, code: 20003, message: "Authenticate".to_owned() }
}

pub(super) fn forbidden(scope: Scope) -> Refusal {
    let message = format!("The token has no scope {}", scope.as_str());
    Refusal { status: StatusCode::FORBIDDEN, code: 20003, message }
}

pub(super) fn not_found(path: &str) -> Refusal {
    let message = format!("The requested resource {path} was not found");
    Refusal { status: StatusCode::NOT_FOUND, code: 20404, message }
}

pub(super) fn unavailable() -> Refusal {
    let message = "The edge cannot do this at the moment; try again shortly".to_owned();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, code: 20503, message }
}

fn too_many(message: String) -> Refusal {
    Refusal { status: StatusCode::TOO_MANY_REQUESTS, code: 20429, message }
}

/// Nobody took the command.
pub(super) fn unanswered(unanswered: Unanswered) -> Refusal {
    match unanswered {
        Unanswered::Full => too_many("Too many requests wait; try again shortly".to_owned()),
        Unanswered::Late | Unanswered::Stopped => unavailable(),
    }
}

/// The command was answered with anything but what was asked for.
pub(super) fn of_answer(answer: &Answer) -> Refusal {
    match answer {
        Answer::Refused(error) => of_error(error),
        Answer::Placed(_) | Answer::Accepted | Answer::WrappedUp(_) | Answer::Context(_) => unavailable(),
    }
}

/// A refusal of ours in Twilio's numbers.
fn of_error(error: &CommandError) -> Refusal {
    let message = error.to_string();
    match error {
        CommandError::CallNotFound => Refusal { status: StatusCode::NOT_FOUND, code: 20404, message },
        CommandError::CallAlreadyEnded | CommandError::CallNotAnswered => {
            bad(21220, "Invalid call state: the call cannot be redirected or ended as asked")
        }
        CommandError::Invalid { field: "from", .. } => bad(21212, message),
        CommandError::Invalid { .. } => bad(21211, message),
        CommandError::DestinationForbidden { .. } => bad(21215, message),
        CommandError::LimitCalls { .. } | CommandError::LimitRate { .. } => too_many(message),
        CommandError::StoreBehind
        | CommandError::Draining
        | CommandError::Overloaded
        | CommandError::ProviderInboundOnly
        | CommandError::ProviderUnreachable { .. } => unavailable(),
        CommandError::CallListenOnly
        | CommandError::CallHeld
        | CommandError::CallNotHeld
        | CommandError::NotRecorded
        | CommandError::RecordingOff
        | CommandError::ContextNotFound
        | CommandError::ProviderNotFound
        | CommandError::EngineNotFound { .. }
        | CommandError::WorkflowNotFound { .. }
        | CommandError::DispositionUnknown { .. }
        | CommandError::EngineMissing
        | CommandError::CallUnsupported { .. }
        | CommandError::TransferUnsupported { .. }
        | CommandError::TransferToItself
        | CommandError::ModeUnchanged
        | CommandError::ModeNoHuman
        | CommandError::AnnouncementNotFound { .. }
        | CommandError::TransferUnderWay
        | CommandError::IdempotencyConflict => bad(20001, message),
    }
}

/// A mistake that a check of ours has found.
pub(super) fn of_problem(problem: &Problem) -> Refusal {
    let code = match problem.field.as_deref() {
        Some("to") => 21211,
        Some("from") => 21212,
        Some(_) | None => 20001,
    };
    if problem.code.status().is_server_error() {
        return unavailable();
    }
    Refusal { status: problem.code.status(), code, message: problem.detail.clone() }
}
