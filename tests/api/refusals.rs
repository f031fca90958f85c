//! How everything is refused that can be.

use axum::body::Body;
use axum::http::Request;
use callingedge::api::Code;
use callingedge::store::Scope;
use serde_json::json;

use crate::edge::{Edge, get, post};

const PLACE: &str = "/api/integrations/providers/sip-main/calls";
const TRANSFER: &str = "/api/integrations/providers/sip-main/transfer";
const NOBODY: &str = "call_00000000000000000000000001";

#[tokio::test]
async fn without_a_valid_token_nothing_is_told() {
    let edge = Edge::new();
    let revoked = edge.token("acme", &[Scope::Admin]);
    let id = revoked.split('_').nth(1).unwrap();
    let was_valid = edge.get("/api/calls", &revoked).await.status;
    edge.store.tokens().unwrap().revoke(id).unwrap();
    let with = |value: &'static str| {
        let mut request = get("/api/calls", "");
        request.headers_mut().insert("authorization", value.parse().unwrap());
        edge.request(request)
    };

    let missing = edge.get("/api/calls", "").await;
    let basic = with("Basic dTpw").await;
    let empty = with("Bearer ").await;
    let unknown = edge.get("/api/calls", "ce_0011223344556677_00").await;
    let revoked = edge.get("/api/calls", &revoked).await;

    assert_eq!(was_valid, 200);
    for seen in [&missing, &basic, &empty] {
        assert_eq!(seen.problem(), (401, "auth.missing".to_owned(), Some("Authorization".to_owned())));
        assert_eq!(seen.header("www-authenticate"), "Bearer realm=\"callingedge\"");
    }
    for seen in [&unknown, &revoked] {
        assert_eq!(seen.problem(), (401, "auth.invalid".to_owned(), None));
        assert!(seen.header("www-authenticate").contains("invalid_token"));
    }
}

#[tokio::test]
async fn every_operation_needs_its_scope_and_names_it() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;
    let event = format!("evt_{}_1", NOBODY.trim_start_matches("call_"));
    let operations = [
        ("GET", "/api/integrations/providers".to_owned(), Scope::CallsRead),
        ("GET", "/api/integrations/providers/sip-main/health".to_owned(), Scope::CallsRead),
        ("GET", format!("/api/integrations/providers/sip-main/calls/{call}"), Scope::CallsRead),
        ("GET", "/api/calls".to_owned(), Scope::CallsRead),
        ("GET", format!("/api/calls/{call}/timeline"), Scope::CallsRead),
        ("POST", PLACE.to_owned(), Scope::CallsWrite),
        ("POST", TRANSFER.to_owned(), Scope::CallsWrite),
        ("POST", "/api/integrations/providers/sip-main/wrap-up".to_owned(), Scope::CallsWrite),
        ("GET", format!("/api/calls/{call}/recording"), Scope::CallsRead),
        ("POST", format!("/api/calls/{call}/recording"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/mode"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/engine"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/hold"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/resume"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/play"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/mute"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/mask"), Scope::CallsWrite),
        ("POST", format!("/api/calls/{call}/dtmf"), Scope::CallsWrite),
        ("GET", "/api/events".to_owned(), Scope::EventsRead),
        ("GET", "/api/webhooks/deliveries".to_owned(), Scope::EventsRead),
        ("POST", format!("/api/webhooks/deliveries/{event}/replay"), Scope::EventsRead),
        ("GET", "/api/credentials".to_owned(), Scope::Admin),
        ("POST", "/api/credentials".to_owned(), Scope::Admin),
        ("DELETE", "/api/credentials/sip".to_owned(), Scope::Admin),
        ("GET", "/api/credentials/intake".to_owned(), Scope::Admin),
        ("POST", "/api/credentials/intake".to_owned(), Scope::Admin),
        ("GET", "/api/audit".to_owned(), Scope::Admin),
        ("GET", "/metrics".to_owned(), Scope::Admin),
    ];
    for (method, path, needed) in operations {
        let all = [Scope::CallsRead, Scope::CallsWrite, Scope::EventsRead];
        let others: Vec<Scope> = all.into_iter().filter(|scope| *scope != needed).collect();
        let token = edge.token("acme", &others);
        let body = if method == "POST" { Body::from("{}") } else { Body::empty() };
        let request = Request::builder().method(method).uri(&path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).body(body).unwrap();

        let refused = edge.request(request).await;

        assert_eq!(refused.problem(), (403, "auth.scope".to_owned(), None), "{path}");
        assert!(refused.text.contains(&format!("`{needed}`")), "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    let edge = Edge::new();
    let token = edge.admin();
    let large = format!("{{\"to\":\"{}\"}}", "1".repeat(64 * 1024));
    let mut form = post(PLACE, &token, "to=1");
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let mut untyped = post(PLACE, &token, "{}");
    untyped.headers_mut().remove("content-type");
    let mut charset = post(PLACE, &token, "{}");
    charset.headers_mut().insert("content-type", "Application/JSON; charset=utf-8".parse().unwrap());

    let cases = [
        (post(PLACE, &token, ""), (400, "request.malformed", None)),
        (post(PLACE, &token, "{\"to\": "), (400, "request.malformed", None)),
        (post(PLACE, &token, b"{\"to\":\"\xff\"}".to_vec()), (400, "request.malformed", None)),
        (form, (415, "body.not_json", Some("Content-Type"))),
        (untyped, (415, "body.not_json", Some("Content-Type"))),
        (charset, (422, "field.missing", Some("to"))),
        (post(PLACE, &token, large), (413, "body.too_large", None)),
        (post(PLACE, &token, "[]"), (422, "field.invalid", None)),
        (post(PLACE, &token, "{\"to\":5}"), (422, "field.invalid", Some("to"))),
        (post(PLACE, &token, "{\"to\":\"1\",\"form\":\"2\"}"), (422, "field.unknown", Some("form"))),
        (
            post(PLACE, &token, "{\"to\":\"1\",\"platform\":{\"queue_id\":\"q\"}}"),
            (422, "call.unsupported", Some("platform")),
        ),
        (
            post(PLACE, &token, "{\"to\":\"1\",\"webhook_url\":\"https://example.com/\"}"),
            (422, "call.unsupported", Some("webhook_url")),
        ),
        (post(PLACE, &token, "{\"to\":\"alice\"}"), (422, "field.invalid", Some("to"))),
    ];
    for (request, (status, code, field)) in cases {
        let seen = edge.request(request).await;

        assert_eq!(seen.problem(), (status, code.to_owned(), field.map(str::to_owned)), "{}", seen.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let edge = Edge::new();
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());

    let seen = edge.request(post(PLACE, &edge.admin(), never)).await;

    assert_eq!(seen.problem(), (408, "request.timeout".to_owned(), None));
}

#[tokio::test]
async fn paths_methods_ids_and_parameters_that_are_not_there_are_named() {
    let edge = Edge::new();
    let token = edge.admin();

    let nowhere = edge.get("/api/cals", &token).await;
    let no_method = edge.request(Request::delete("/api/calls").body(Body::empty()).unwrap()).await;
    let cases = [
        ("/api/integrations/providers/nobody/health".to_owned(), (404, "provider.not_found", None)),
        ("/api/integrations/providers/%ff/health".to_owned(), (400, "request.malformed", None)),
        (format!("/api/integrations/providers/sip-main/calls/{NOBODY}"), (404, "call.not_found", None)),
        ("/api/integrations/providers/sip-main/calls/7".to_owned(), (404, "call.not_found", None)),
        (format!("/api/calls/{NOBODY}/timeline"), (404, "call.not_found", None)),
        ("/api/calls?status=over".to_owned(), (422, "field.invalid", Some("status"))),
        ("/api/calls?limit=0".to_owned(), (422, "field.invalid", Some("limit"))),
        ("/api/calls?cursor=x".to_owned(), (422, "field.invalid", Some("cursor"))),
        ("/api/calls?page=2".to_owned(), (422, "field.unknown", Some("page"))),
        ("/api/webhooks/deliveries?state=lost".to_owned(), (422, "field.invalid", Some("state"))),
        ("/api/audit?cursor=x".to_owned(), (422, "field.invalid", Some("cursor"))),
        ("/api/audit?before=1".to_owned(), (422, "field.unknown", Some("before"))),
        ("/api/events?call_id=x".to_owned(), (422, "field.invalid", Some("call_id"))),
    ];

    assert_eq!(nowhere.problem(), (404, "path.not_found".to_owned(), None));
    assert_eq!(no_method.problem(), (405, "method.not_allowed".to_owned(), None));
    assert_eq!(no_method.header("allow"), "GET,HEAD");
    for (path, (status, code, field)) in cases {
        let seen = edge.get(&path, &token).await;
        assert_eq!(seen.problem(), (status, code.to_owned(), field.map(str::to_owned)), "{path}");
    }
    let known = edge.get("/api/context/known", "").await;
    assert_eq!((known.status, known.json()["intent"].as_str()), (200, Some("billing")));
    let head = Request::head("/api/context/known").body(Body::empty()).unwrap();
    let head = edge.request(head).await;
    assert_eq!((head.status, head.header("allow")), (405, "GET"), "a look does not use it up");
    let reference = edge.get("/api/context/0123", "").await;
    assert_eq!(reference.problem(), (404, "context.not_found".to_owned(), None));
    let replay = edge.post("/api/webhooks/deliveries/x/replay", &token, &json!({})).await;
    assert_eq!(replay.problem().1, "delivery.not_found");
}

#[tokio::test]
async fn what_the_calls_refuse_has_its_code() {
    let edge = Edge::new();
    let token = edge.admin();
    let call = edge.running_call(1).await;
    let place = |number: &str| (PLACE, json!({"to": number}));
    let transfer = |call: &str, number: &str| (TRANSFER, json!({"call_id": call, "to": {"number": number}}));
    let ours = call.to_string();
    let switch = format!("/api/calls/{call}/mode");
    let [play, resume, mute] = ["play", "resume", "mute"].map(|what| format!("/api/calls/{call}/{what}"));
    let tape = format!("/api/calls/{call}/recording");
    let mode = |number: &str| (switch.as_str(), json!({"mode": "assist", "to": {"number": number}}));

    let cases = [
        (place("903"), (422, "provider.inbound_only", None)),
        (place("950"), (503, "provider.unreachable", None)),
        (place("904"), (422, "engine.not_found", Some("engine"))),
        (place("920"), (422, "recording.off", Some("record"))),
        ((tape.as_str(), json!({"paused": true})), (404, "recording.not_found", None)),
        (place("917"), (422, "workflow.not_found", Some("workflow"))),
        (place("918"), (422, "disposition.unknown", Some("disposition"))),
        (place("905"), (422, "engine.missing", Some("engine"))),
        (place("908"), (429, "limit.calls", None)),
        (place("909"), (503, "edge.store_behind", None)),
        (place("910"), (503, "edge.draining", None)),
        (place("911"), (429, "limit.calls_per_second", None)),
        (place("912"), (403, "destination.forbidden", Some("to"))),
        (place("921"), (403, "destination.do_not_call", Some("to"))),
        (transfer(&ours, "912"), (403, "destination.forbidden", Some("to"))),
        (transfer(NOBODY, "1"), (404, "call.not_found", None)),
        (transfer(&ours, "901"), (409, "call.already_ended", None)),
        (transfer(&ours, "902"), (409, "call.not_answered", None)),
        (transfer(&ours, "906"), (422, "transfer.unsupported", Some("style"))),
        (transfer(&ours, "907"), (409, "transfer.under_way", None)),
        (transfer(&ours, "913"), (422, "transfer.to_itself", Some("to"))),
        (transfer(&ours, "916"), (422, "announcement.not_found", Some("announce"))),
        ((play.as_str(), json!({"announcement": "919"})), (409, "call.held", None)),
        ((play.as_str(), json!({"announcement": "922"})), (409, "call.listen_only", None)),
        ((resume.as_str(), json!({})), (409, "call.not_held", None)),
        ((play.as_str(), json!({"announcement": "916"})), (422, "announcement.not_found", Some("announce"))),
        ((mute.as_str(), json!({"who": "nobody"})), (422, "field.invalid", Some("who"))),
        (mode("914"), (409, "mode.unchanged", Some("mode"))),
        (mode("915"), (422, "mode.no_human", Some("to"))),
        ((TRANSFER, json!({"call_id": ours, "to": {}})), (422, "field.invalid", Some("to"))),
        ((TRANSFER, json!({"call_id": "7", "to": {}})), (422, "field.invalid", Some("call_id"))),
    ];
    for ((path, body), (status, code, field)) in cases {
        let seen = edge.post(path, &token, &body).await;
        assert_eq!(seen.problem(), (status, code.to_owned(), field.map(str::to_owned)), "{body}");
        let again = matches!(status, 429 | 503);
        assert_eq!(seen.headers.contains_key("retry-after"), again, "{body}");
    }
    let seen = edge.post(PLACE, &token, &json!({"to": "904"})).await;
    assert!(
        seen.text.contains("did you mean `receptionist`?")
            || seen.text.contains("Did you mean `receptionist`?")
    );
}

#[tokio::test]
async fn an_idempotency_key_is_one_visible_word() {
    let edge = Edge::new();
    let token = edge.admin();
    for key in ["", "a b", &"x".repeat(256), "é"] {
        let mut request = post(PLACE, &token, r#"{"to":"1"}"#);
        let value = axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        request.headers_mut().insert("idempotency-key", value);

        let seen = edge.request(request).await;

        let expected = (400, "idempotency.key_invalid".to_owned(), Some("Idempotency-Key".to_owned()));
        assert_eq!(seen.problem(), expected, "{key}");
    }
    let mut twice = post(PLACE, &token, r#"{"to":"1"}"#);
    twice.headers_mut().append("idempotency-key", "a".parse().unwrap());
    twice.headers_mut().append("idempotency-key", "b".parse().unwrap());
    assert_eq!(edge.request(twice).await.problem().1, "idempotency.key_invalid");
}

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_answer_are_told_from_a_full_queue_and_a_stopped_edge() {
    let (edge, mut orders) = Edge::without_core();
    let token = edge.admin();
    let body = json!({"to": "1"});

    let late = edge.post(PLACE, &token, &body).await;
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let (router, request) = (edge.router.clone(), post(PLACE, &token, r#"{"to":"1"}"#));
        waiting.push(tokio::spawn(async move {
            tower::ServiceExt::oneshot(router, request).await.unwrap().status()
        }));
    }
    let mut busy = 0;
    for waiting in waiting {
        busy += usize::from(waiting.await.unwrap() == 503);
    }
    orders.close();
    let stopped = edge.post(PLACE, &token, &body).await;

    assert_eq!(late.problem(), (504, "edge.timeout".to_owned(), None));
    // One order of the first request still lies in the queue of 256.
    assert_eq!(busy, 300 - 255);
    assert_eq!(stopped.problem(), (503, "edge.draining".to_owned(), None));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_no_wrong_token() {
    let edge = Edge::new();
    let token = edge.admin();
    edge.store.clone().close().await.unwrap();

    let seen = edge.get("/api/calls", &token).await;

    assert_eq!(seen.problem(), (503, "edge.store_failed".to_owned(), None));
    assert_eq!(seen.header("retry-after"), "1");
}

/// A code that nobody can provoke is a promise that nobody keeps.
#[test]
fn every_code_is_met_by_a_test_of_the_api() {
    let sources =
        ["refusals.rs", "answers.rs", "streams.rs", "credentials.rs", "intake.rs"].map(source).concat();
    for code in Code::ALL {
        // A panic cannot be ordered from outside; a full queue is met above by its status.
        let elsewhere = matches!(code.as_str(), "edge.failed" | "edge.busy");
        assert!(elsewhere || sources.contains(&format!("\"{}\"", code.as_str())), "{code:?}");
    }
}

fn source(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api").join(name);
    std::fs::read_to_string(path).unwrap()
}
