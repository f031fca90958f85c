//! The OpenAPI 3.1 document, produced from the code: handlers describe themselves, types describe their fields, and what
//! holds for all operations is added here once.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi, ToResponse};

use super::problem::{Code, ProblemBody};
use super::{calls, credentials, deliveries, events, intake, operations, orders, providers};
use crate::call::EventBody;

/// 400.
#[derive(ToResponse)]
#[response(description = "The request cannot be read.", content_type = "application/problem+json",
    example = json!({"type": "/api/docs#request.malformed", "title": "The request cannot be read", "status": 400,
        "detail": "The body is not JSON at line 1 column 7: expected value.", "code": "request.malformed",
        "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct BadRequest(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 401.
#[derive(ToResponse)]
#[response(description = "No token, or not a valid one.", content_type = "application/problem+json",
    headers(("WWW-Authenticate" = String, description = "Always a Bearer challenge.")),
    example = json!({"type": "/api/docs#auth.missing", "title": "No token", "status": 401,
        "detail": "Send `Authorization: Bearer <token>`.", "code": "auth.missing", "field": "Authorization",
        "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct Unauthorized(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 401 of an intake.
#[derive(ToResponse)]
#[response(description = "Not known to be the platform's.", content_type = "application/problem+json",
    example = json!({"type": "/api/docs#platform.unproven", "title": "Not known to be the platform's", "status": 401,
        "detail": "This is not known to be from telnyx: its signature is not by the configured key.",
        "code": "platform.unproven", "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct Unproven(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 403.
#[derive(ToResponse)]
#[response(description = "The token lacks the scope, or the provider may not dial there.", content_type = "application/problem+json",
    example = json!({"type": "/api/docs#auth.scope", "title": "The token lacks a scope", "status": 403,
        "detail": "This needs a token with the scope `calls:write`.", "code": "auth.scope",
        "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct Forbidden(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 404.
#[derive(ToResponse)]
#[response(description = "There is none, or it is another tenant's.", content_type = "application/problem+json",
    example = json!({"type": "/api/docs#call.not_found", "title": "No such call", "status": 404,
        "detail": "There is no such call. Ended calls are kept for at least 24 hours.", "code": "call.not_found",
        "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct NotFound(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 408.
#[derive(ToResponse)]
#[response(description = "The body did not come in time.", content_type = "application/problem+json")]
pub(crate) struct RequestTimeout(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 409.
#[derive(ToResponse)]
#[response(description = "Not in the state the call is in.", content_type = "application/problem+json",
    example = json!({"type": "/api/docs#call.already_ended", "title": "The call has ended", "status": 409,
        "detail": "The call has already ended.", "code": "call.already_ended",
        "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct Conflict(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 410.
#[derive(ToResponse)]
#[response(description = "The link was used, or it is too old.", content_type = "application/problem+json")]
pub(crate) struct Gone(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 413.
#[derive(ToResponse)]
#[response(description = "The body has more than 64 KiB.", content_type = "application/problem+json")]
pub(crate) struct TooLarge(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 415.
#[derive(ToResponse)]
#[response(description = "The body is not JSON.", content_type = "application/problem+json")]
pub(crate) struct NotJson(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 422 of a body.
#[derive(ToResponse)]
#[response(description = "A field is missing, unknown or cannot be used; or what it asks for is not possible.",
    content_type = "application/problem+json",
    example = json!({"type": "/api/docs#field.unknown", "title": "There is no such field", "status": 422,
        "detail": "There is no field `ringtimeout_sec`; did you mean `ring_timeout_sec`?", "code": "field.unknown",
        "field": "ringtimeout_sec", "instance": "urn:callingedge:request:5b1e6a0c9d2f4471"}))]
pub(crate) struct BadBody(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 422 of a query.
#[derive(ToResponse)]
#[response(
    description = "A query parameter is unknown or cannot be used.",
    content_type = "application/problem+json"
)]
pub(crate) struct BadQuery(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 429.
#[derive(ToResponse)]
#[response(description = "A limit is reached.", content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds.")))]
pub(crate) struct TooMany(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 503.
#[derive(ToResponse)]
#[response(description = "Not now: stopping, too busy, or the disk does not keep up.",
    content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds.")))]
pub(crate) struct Unavailable(#[expect(dead_code, reason = "named for the document")] ProblemBody);

/// 504.
#[derive(ToResponse)]
#[response(
    description = "No decision in time; with the same Idempotency-Key it can be sent again.",
    content_type = "application/problem+json"
)]
pub(crate) struct Undecided(#[expect(dead_code, reason = "named for the document")] ProblemBody);

#[derive(OpenApi)]
#[openapi(
    info(title = "CallingEdge integration API", version = "1.0.0",
        description = "Places and controls calls between telephone networks and AI engines, and tells what becomes of \
            them. Errors are RFC 9457 `application/problem+json`; programs decide by `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This edge.")),
    tags(
        (name = "providers", description = "Ways to the telephone network."),
        (name = "calls", description = "Placing, reading and controlling calls."),
        (name = "events", description = "What happens, as it happens."),
        (name = "webhooks", description = "What was sent, what waits, what was given up."),
        (name = "credentials", description = "What upstreams ask us for, and who did what with it."),
        (name = "operations", description = "For whoever runs the edge."),
    ),
    paths(
        providers::list, providers::health, orders::place, orders::transfer, orders::wrap_up, calls::show,
        calls::list, calls::timeline, calls::recording, orders::pause_recording, orders::switch_mode, orders::switch_engine, orders::send_digits, orders::take_context, orders::hold,
        orders::resume, orders::play, orders::mute, orders::mask, events::follow, deliveries::list, deliveries::replay,
        credentials::list, credentials::create, credentials::delete, credentials::links, credentials::link,
        credentials::bring, credentials::audit, intake::take,
        show, operations::healthz, operations::readyz, operations::metrics,
    ),
    components(
        schemas(ProblemBody, EventBody),
        responses(BadRequest, Unauthorized, Unproven, Forbidden, NotFound, RequestTimeout, Conflict, Gone, TooLarge, NotJson, BadBody,
            BadQuery, TooMany, Unavailable, Undecided),
    ),
    modifiers(&ForAll),
)]
struct Document;

/// What holds for every operation of its kind.
struct ForAll;

impl Modify for ForAll {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "`callingedge token create --tenant T --scope S` makes one. Scopes: calls:read, calls:write, \
                 events:read, admin (all of them).",
            ))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.delete];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    let mut add = |status: &str, name: &str| {
        let reference = RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_owned()).or_insert(reference);
    };
    if operation.security.is_some() {
        for (status, name) in [("401", "Unauthorized"), ("403", "Forbidden"), ("503", "Unavailable")] {
            add(status, name);
        }
    }
    if operation.request_body.is_some() {
        let of_bodies = [
            ("400", "BadRequest"),
            ("408", "RequestTimeout"),
            ("413", "TooLarge"),
            ("415", "NotJson"),
            ("429", "TooMany"),
            ("504", "Undecided"),
        ];
        for (status, name) in of_bodies {
            add(status, name);
        }
    }
}

/// The whole document as JSON, for people and programs.
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = serde_json::to_value(Document::openapi()).expect("utoipa writes its own types");
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] = codes.into();
        let mut text = serde_json::to_string_pretty(&document).expect("a value can be written");
        text.push('\n');
        text
    });
    &TEXT
}

/// Gives this document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operations", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json")))]
pub(crate) async fn show() -> Response {
    ([(CONTENT_TYPE, "application/json")], document()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn parsed() -> Value {
        serde_json::from_str(document()).unwrap()
    }

    #[test]
    fn every_path_of_the_router_is_in_the_document_and_no_other() {
        let document = parsed();

        let described: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routed: BTreeSet<&str> =
            super::super::described_routes().into_iter().map(|(path, _)| path).collect();

        assert_eq!(described, routed);
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = parsed();

        let mut references = Vec::new();
        collect(&document, &mut references);

        assert!(references.len() > 50);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_how_it_refuses() {
        let document = parsed();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
                assert!(operation["summary"].is_string(), "{method} {path}");
                if operation["security"][0]["bearer"].is_array() {
                    for status in ["401", "403", "503"] {
                        assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
                    }
                }
                if operation["requestBody"].is_object() {
                    for status in ["400", "413", "415", "422"] {
                        assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
                    }
                }
            }
        }
    }

    #[test]
    fn bodies_forbid_unknown_fields_and_name_the_required_ones() {
        let document = parsed();
        let schemas = &document["components"]["schemas"];

        assert_eq!(schemas["PlaceCall"]["additionalProperties"], false);
        assert_eq!(schemas["PlaceCall"]["required"], serde_json::json!(["to"]));
        assert_eq!(schemas["TransferCall"]["additionalProperties"], false);
        assert!(schemas["Problem"]["properties"]["code"]["enum"].as_array().unwrap().len() > 20);
    }

    fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                references.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
