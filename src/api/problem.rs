//! What the API says when it does not do what it was asked: RFC 9457 `application/problem+json` with a stable code.
//!
//! A handler answers a [`Problem`]; `super::finish` writes it down, once, with the request's id. The table of all
//! codes is in `docs/errors.md`, and a test holds the two together.

use std::time::Duration;

use axum::http::header::{self, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use super::commands::Unanswered;
use crate::call::{CommandError, Forbidden};
use crate::store::{Scope, StoreError};

/// The media type of every problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $status:ident, $title:literal, $remedy:literal;)*) => {
        /// Why something was not done. Stable: part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(
                #[doc = $title]
                $name,
            )*
        }

        impl Code {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As written in `code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same words for every problem of this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    RequestMalformed, "request.malformed", BAD_REQUEST, "The request cannot be read",
        "Mend what `detail` names; for JSON it gives line and column.";
    IdempotencyKeyInvalid, "idempotency.key_invalid", BAD_REQUEST, "The Idempotency-Key cannot be used",
        "Send 1 to 255 visible ASCII characters, a UUID for instance.";
    AuthMissing, "auth.missing", UNAUTHORIZED, "No token",
        "Send `Authorization: Bearer <token>`; `callingedge token create` makes one.";
    AuthInvalid, "auth.invalid", UNAUTHORIZED, "Not a valid token",
        "The token is unknown or revoked; make a new one with `callingedge token create`.";
    AuthScope, "auth.scope", FORBIDDEN, "The token lacks a scope",
        "Use a token with the scope that `detail` names.";
    PathNotFound, "path.not_found", NOT_FOUND, "No such path",
        "See `/api/openapi.json` for all there are.";
    MethodNotAllowed, "method.not_allowed", METHOD_NOT_ALLOWED, "Not a method of this path",
        "Use one of those in the `Allow` header.";
    RequestTimeout, "request.timeout", REQUEST_TIMEOUT, "The body did not come in time",
        "Send the whole request within 10 seconds.";
    BodyTooLarge, "body.too_large", PAYLOAD_TOO_LARGE, "The body is too large",
        "Send at most 64 KiB.";
    BodyNotJson, "body.not_json", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON",
        "Send `Content-Type: application/json`.";
    FieldMissing, "field.missing", UNPROCESSABLE_ENTITY, "A field is missing",
        "Add the field named in `field`.";
    FieldUnknown, "field.unknown", UNPROCESSABLE_ENTITY, "There is no such field",
        "`detail` names the nearest field there is; leave out what is not one.";
    FieldInvalid, "field.invalid", UNPROCESSABLE_ENTITY, "A field's value cannot be used",
        "`detail` says what to write in `field`.";
    IdempotencyConflict, "idempotency.conflict", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used before",
        "It came with another body or path; use a new key for a new request.";
    CallNotFound, "call.not_found", NOT_FOUND, "No such call",
        "Check the id. Ended calls are kept for at least 24 hours.";
    CallAlreadyEnded, "call.already_ended", CONFLICT, "The call has ended",
        "Nothing can be done with it any more; read it with GET.";
    CallNotAnswered, "call.not_answered", CONFLICT, "The call has not been answered",
        "Wait for the `answered` event.";
    CallHeld, "call.held", CONFLICT, "The call is on hold already",
        "Nothing is to be done.";
    CallListenOnly, "call.listen_only", CONFLICT, "The call is only listened to",
        "It is a recording session (SIPREC) of another system: hold, transfer and speak there.";
    CallNotHeld, "call.not_held", CONFLICT, "The call is not on hold",
        "Nothing is to be done.";
    RecordingNotFound, "recording.not_found", NOT_FOUND, "No such recording",
        "The call was not recorded, or its recording is no longer kept.";
    RecordingOff, "recording.off", UNPROCESSABLE_ENTITY, "This edge records nothing",
        "Write [recording] with a `directory` in the configuration, or leave `record` out.";
    CallUnsupported, "call.unsupported", UNPROCESSABLE_ENTITY, "The call cannot be placed like this",
        "Leave out or change the field named in `field`.";
    ProviderNotFound, "provider.not_found", NOT_FOUND, "No such provider",
        "GET /api/integrations/providers lists those of the token's tenant.";
    ProviderInboundOnly, "provider.inbound_only", UNPROCESSABLE_ENTITY, "The provider takes no outbound calls",
        "Give its trunk a `target` in the configuration, or use another provider.";
    ProviderUnreachable, "provider.unreachable", SERVICE_UNAVAILABLE, "The provider cannot be reached",
        "`detail` says why; try again after `Retry-After` seconds, or use another provider.";
    EngineNotFound, "engine.not_found", UNPROCESSABLE_ENTITY, "No such engine",
        "Name an engine of the configuration.";
    WorkflowNotFound, "workflow.not_found", UNPROCESSABLE_ENTITY, "No such workflow",
        "Name a workflow of the configuration.";
    DispositionUnknown, "disposition.unknown", UNPROCESSABLE_ENTITY, "No such disposition",
        "Write one of those that `detail` names.";
    EngineMissing, "engine.missing", UNPROCESSABLE_ENTITY, "No engine was named",
        "Name one in `engine`, or give the provider a default one.";
    DestinationForbidden, "destination.forbidden", FORBIDDEN, "The provider may not dial this destination",
        "Call somebody else, or let `allow_destinations` of the provider name it as `detail` says.";
    DestinationDoNotCall, "destination.do_not_call", FORBIDDEN, "The number is on the do-not-call list",
        "Call somebody else; the list is the file that `do_not_call` of the provider names.";
    TransferUnsupported, "transfer.unsupported", UNPROCESSABLE_ENTITY, "The call cannot be handed over like this",
        "Leave out or change the field named in `field`.";
    TransferToItself, "transfer.to_itself", UNPROCESSABLE_ENTITY, "The target is the caller",
        "Name somebody else in `to` and `then`.";
    ModeUnchanged, "mode.unchanged", CONFLICT, "The call is in this mode already",
        "Nothing is to be done.";
    ModeNoHuman, "mode.no_human", UNPROCESSABLE_ENTITY, "There is no human in the call",
        "Name one in `to`.";
    AnnouncementNotFound, "announcement.not_found", UNPROCESSABLE_ENTITY, "No such announcement",
        "Name one of [announcements] in the configuration.";
    TransferUnderWay, "transfer.under_way", CONFLICT, "A transfer is already under way",
        "Wait for its outcome, which comes as an event.";
    ContextNotFound, "context.not_found", NOT_FOUND, "No such reference",
        "A reference is good once, for an hour; take the context from the call's events.";
    DeliveryNotFound, "delivery.not_found", NOT_FOUND, "No such delivery",
        "Check the id; GET /api/webhooks/deliveries lists them.";
    CredentialNotFound, "credential.not_found", NOT_FOUND, "No such credential",
        "GET /api/credentials lists those that are held; POST makes one.";
    CredentialExists, "credential.exists", CONFLICT, "There is a credential of this name",
        "Make a link for it to replace its value, or delete it first.";
    CredentialInUse, "credential.in_use", CONFLICT, "The configuration refers to the credential",
        "Take the reference out of the configuration first, then SIGHUP.";
    CredentialTooMany, "credential.too_many", CONFLICT, "The tenant has too many credentials",
        "Delete those that nothing uses.";
    CredentialNoKey, "credential.no_key", UNPROCESSABLE_ENTITY, "This edge holds no credentials",
        "Write [credentials] with a `key` in the configuration, or refer to a secret there.";
    PlatformNotFound, "platform.not_found", NOT_FOUND, "No such intake",
        "Name one of [intakes] in the configuration.";
    PlatformUnproven, "platform.unproven", UNAUTHORIZED, "Not known to be the platform's",
        "`detail` says what does not hold; look at the key in the configuration and at both clocks.";
    IntakeNotFound, "intake.not_found", NOT_FOUND, "No such link",
        "Ask for a new one; POST /api/credentials/intake makes it.";
    IntakeUsed, "intake.used", GONE, "The link was used before",
        "If it was not by you, the value is not yours: ask for a new link and bring it again.";
    IntakeExpired, "intake.expired", GONE, "The link is over",
        "Ask for a new one; POST /api/credentials/intake makes it.";
    LimitCalls, "limit.calls", TOO_MANY_REQUESTS, "The limit of calls at once is reached",
        "Try again when a call has ended, or raise the limit that `detail` names.";
    LimitCallsPerSecond, "limit.calls_per_second", TOO_MANY_REQUESTS, "New calls come too fast",
        "Try again after `Retry-After` seconds, or raise `calls_per_second` where `detail` says.";
    LimitStreams, "limit.streams", TOO_MANY_REQUESTS, "Too many readers of events",
        "Close other streams, or raise `max_event_streams` in [http].";
    EdgeFailed, "edge.failed", INTERNAL_SERVER_ERROR, "The edge made a mistake",
        "Report it with the id in `instance`; the log has more.";
    EdgeBusy, "edge.busy", SERVICE_UNAVAILABLE, "The edge has too much to do",
        "Try again after `Retry-After` seconds.";
    EdgeStoreBehind, "edge.store_behind", SERVICE_UNAVAILABLE, "The disk does not keep up",
        "Try again after `Retry-After` seconds; look at the disk if it lasts.";
    EdgeStoreFailed, "edge.store_failed", SERVICE_UNAVAILABLE, "The store cannot be read",
        "Try again after `Retry-After` seconds; the log says what is wrong with the disk.";
    EdgeDraining, "edge.draining", SERVICE_UNAVAILABLE, "The edge is stopping",
        "Use another edge, or try again after `Retry-After` seconds.";
    EdgeTimeout, "edge.timeout", GATEWAY_TIMEOUT, "The edge did not decide in time",
        "Send the same request with the same Idempotency-Key again: it makes no second call.";
}

/// What to do about it, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind.
    pub code: Code,
    /// What is wrong here and what to do, a sentence.
    pub detail: String,
    /// The field, query parameter or header at fault.
    pub field: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem without a field.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = match code.status() {
            StatusCode::SERVICE_UNAVAILABLE => Some(Duration::from_secs(1)),
            StatusCode::TOO_MANY_REQUESTS => Some(Duration::from_secs(5)),
            _ => None,
        };
        Self { code, detail: detail.into(), field: None, retry_after }
    }

    /// A field's value and what is wrong with it: `problem` goes on where the value ends.
    pub fn invalid(field: impl Into<String>, value: &str, problem: &str) -> Self {
        let field = field.into();
        let value: String = value.chars().take(80).collect();
        Self::new(Code::FieldInvalid, format!("`{field}`: `{value}` {problem}.")).at(field)
    }

    /// The same, about this field.
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, worth another try after this time.
    fn later(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What the client reads.
    pub(crate) fn body(&self, instance: String) -> ProblemBody {
        ProblemBody {
            kind: format!("/api/docs#{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str().to_owned(),
            field: self.field.clone(),
            instance,
        }
    }
}

impl IntoResponse for Problem {
    /// Without a body, which `finish` writes.
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.code.status();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.code.status() == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.1: whoever sent no token is told no error.
            let challenge = if self.code == Code::AuthInvalid {
                "Bearer realm=\"callingedge\", error=\"invalid_token\""
            } else if self.code == Code::PlatformUnproven {
                // No token helps there, but a challenge there must be (RFC 9110 §15.5.2).
                "Signature realm=\"callingedge\""
            } else {
                "Bearer realm=\"callingedge\""
            };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store could not be read for a request");
        Self::new(Code::EdgeStoreFailed, "The store cannot be read at the moment; try again shortly.")
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Full => {
                Self::new(Code::EdgeBusy, "Too many commands are waiting; try again in a second.")
            }
            Unanswered::Stopped => {
                Self::new(Code::EdgeDraining, "The edge is stopping.").later(Duration::from_secs(5))
            }
            Unanswered::Late => Self::new(
                Code::EdgeTimeout,
                "It is not known whether the command will still be carried out. Send it again; with the same \
                 Idempotency-Key no second call is made.",
            ),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = capitalised(&error.to_string());
        match error {
            CommandError::CallNotFound => Self::new(Code::CallNotFound, detail),
            CommandError::CallAlreadyEnded => Self::new(Code::CallAlreadyEnded, detail),
            CommandError::CallNotAnswered => Self::new(Code::CallNotAnswered, detail),
            CommandError::ContextNotFound => Self::new(Code::ContextNotFound, detail),
            CommandError::CallListenOnly => Self::new(Code::CallListenOnly, detail),
            CommandError::CallHeld => Self::new(Code::CallHeld, detail),
            CommandError::CallNotHeld => Self::new(Code::CallNotHeld, detail),
            CommandError::NotRecorded => Self::new(Code::RecordingNotFound, detail),
            CommandError::RecordingOff => Self::new(Code::RecordingOff, detail).at("record"),
            CommandError::ProviderNotFound => Self::new(Code::ProviderNotFound, detail),
            CommandError::ProviderInboundOnly => Self::new(Code::ProviderInboundOnly, detail),
            CommandError::ProviderUnreachable { why: _ } => {
                Self::new(Code::ProviderUnreachable, detail).later(Duration::from_secs(10))
            }
            CommandError::EngineNotFound { name: _, nearest: Some(nearest) } => {
                Self::new(Code::EngineNotFound, format!("{detail} Did you mean `{nearest}`?")).at("engine")
            }
            CommandError::EngineNotFound { name: _, nearest: None } => {
                Self::new(Code::EngineNotFound, detail).at("engine")
            }
            CommandError::WorkflowNotFound { name: _, nearest } => {
                let hint = nearest.map(|nearest| format!(" Did you mean `{nearest}`?")).unwrap_or_default();
                Self::new(Code::WorkflowNotFound, format!("{detail}{hint}")).at("workflow")
            }
            CommandError::DispositionUnknown { .. } => {
                Self::new(Code::DispositionUnknown, detail).at("disposition")
            }
            CommandError::EngineMissing => Self::new(Code::EngineMissing, detail).at("engine"),
            CommandError::Invalid { field, problem: _ } => Self::new(Code::FieldInvalid, detail).at(field),
            CommandError::CallUnsupported { field, problem: _ } => {
                Self::new(Code::CallUnsupported, detail).at(field)
            }
            CommandError::TransferUnsupported { field, problem: _ } => {
                Self::new(Code::TransferUnsupported, detail).at(field)
            }
            CommandError::TransferToItself => Self::new(Code::TransferToItself, detail).at("to"),
            CommandError::ModeUnchanged => Self::new(Code::ModeUnchanged, detail).at("mode"),
            CommandError::ModeNoHuman => Self::new(Code::ModeNoHuman, detail).at("to"),
            CommandError::AnnouncementNotFound { name: _, nearest } => {
                let hint = nearest.map(|nearest| format!(" Did you mean `{nearest}`?")).unwrap_or_default();
                Self::new(Code::AnnouncementNotFound, format!("{detail}{hint}")).at("announce")
            }
            CommandError::TransferUnderWay => Self::new(Code::TransferUnderWay, detail),
            CommandError::IdempotencyConflict => {
                Self::new(Code::IdempotencyConflict, detail).at("Idempotency-Key")
            }
            CommandError::LimitCalls { scope: _ } => Self::new(Code::LimitCalls, detail),
            CommandError::LimitRate { scope: _, retry_after } => {
                Self::new(Code::LimitCallsPerSecond, detail).later(whole_seconds(retry_after))
            }
            CommandError::DestinationForbidden { field, problem } => {
                let code = match problem {
                    Forbidden::NotAllowed { .. } => Code::DestinationForbidden,
                    Forbidden::DoNotCall(_) => Code::DestinationDoNotCall,
                };
                Self::new(code, detail).at(field)
            }
            CommandError::Overloaded => Self::new(Code::EdgeBusy, detail).later(Duration::from_secs(1)),
            CommandError::StoreBehind => Self::new(Code::EdgeStoreBehind, detail),
            CommandError::Draining => Self::new(Code::EdgeDraining, detail).later(Duration::from_secs(5)),
        }
    }
}

/// The bearer may do other things, but not this.
pub(crate) fn scope_missing(needed: Scope) -> Problem {
    Problem::new(Code::AuthScope, format!("This needs a token with the scope `{needed}`."))
}

/// As `Retry-After` has it: never too early.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if sentence.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Where it is explained.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/api/docs#call.not_found")]
    kind: String,
    /// The same words for every problem of this code.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong here and what to do.
    detail: String,
    /// Stable: what programs decide by. `docs/errors.md` lists all.
    #[schema(example = "call.not_found")]
    code: String,
    /// The field, query parameter or header at fault; dots between the parts of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// This one request; also in the `X-Request-Id` header and in the log.
    instance: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_commands_are_those_of_the_core() {
        let errors = [
            CommandError::CallNotFound,
            CommandError::CallAlreadyEnded,
            CommandError::CallNotAnswered,
            CommandError::NotRecorded,
            CommandError::RecordingOff,
            CommandError::CallListenOnly,
            CommandError::CallHeld,
            CommandError::ContextNotFound,
            CommandError::CallNotHeld,
            CommandError::ProviderNotFound,
            CommandError::ProviderInboundOnly,
            CommandError::ProviderUnreachable { why: "sip.example.com has no address".to_owned() },
            CommandError::EngineNotFound { name: "x".to_owned(), nearest: None },
            CommandError::WorkflowNotFound { name: "x".to_owned(), nearest: None },
            CommandError::DispositionUnknown { disposition: "x".to_owned(), allowed: "`y`".to_owned() },
            CommandError::EngineMissing,
            CommandError::Invalid { field: "to", problem: "is empty".to_owned() },
            CommandError::CallUnsupported { field: "record", problem: "is not built" },
            CommandError::TransferUnsupported { field: "style", problem: "is not built" },
            CommandError::TransferToItself,
            CommandError::ModeUnchanged,
            CommandError::ModeNoHuman,
            CommandError::AnnouncementNotFound { name: "x".to_owned(), nearest: None },
            CommandError::TransferUnderWay,
            CommandError::IdempotencyConflict,
            CommandError::LimitCalls { scope: "edge" },
            CommandError::LimitRate { scope: "tenant", retry_after: Duration::from_millis(1) },
            CommandError::Overloaded,
            CommandError::StoreBehind,
            CommandError::Draining,
        ];
        for error in errors {
            let code = error.code();

            assert_eq!(Problem::from(error).code.as_str(), code);
        }
    }

    #[test]
    fn every_code_is_in_the_documentation_with_its_status_and_no_other_is() {
        let (_, table) = include_str!("../../docs/errors.md").split_once("## All codes").unwrap();
        let table: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();

        let expected: Vec<String> = Code::ALL
            .iter()
            .map(|code| {
                format!(
                    "| `{}` | {} | {} | {} |",
                    code.as_str(),
                    code.status().as_u16(),
                    code.title(),
                    code.remedy()
                )
            })
            .collect();

        assert_eq!(table, expected, "docs/errors.md should say:\n{}", expected.join("\n"));
    }

    #[test]
    fn what_can_be_tried_again_says_when() {
        for code in Code::ALL {
            let again = matches!(code.status().as_u16(), 429 | 503);

            assert_eq!(Problem::new(*code, "").retry_after.is_some(), again, "{code:?}");
        }
    }
}
