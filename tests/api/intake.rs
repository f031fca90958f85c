//! Events from platforms: what proves itself is taken once, everything else is refused and told to nobody but the log.

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::Ed25519KeyPair;
use serde_json::json;

use crate::edge::{Edge, Seen};

const PATH: &str = "/api/intake/telnyx-main/events";
const BODY: &str =
    r#"{"data":{"record_type":"event","event_type":"call.answered","id":"0ccc7b54-4df3-4bca","payload":{}}}"#;

#[tokio::test]
async fn an_event_that_the_platform_has_signed_is_taken_and_a_repeated_one_is_known() {
    let edge = Edge::new();

    let first = edge.request(signed(PATH, now(), BODY)).await;
    let again = edge.request(signed(PATH, now(), BODY)).await;
    let log = edge.get("/api/audit", &edge.admin()).await.json();

    assert_eq!(
        (first.status, first.json()),
        (200, json!({"event_id": "0ccc7b54-4df3-4bca", "status": "accepted"}))
    );
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("repeated")));
    assert_eq!(log["records"].as_array().unwrap().len(), 1);
    assert_eq!(log["records"][0]["action"], "platform.accepted");
    assert_eq!(log["records"][0]["actor"], "platform telnyx");
    assert_eq!(log["records"][0]["subject"], "telnyx-main");
}

#[tokio::test]
async fn what_is_forged_stale_or_unsigned_is_refused_and_on_the_log() {
    let edge = Edge::new();
    let mut forged = signed(PATH, now(), BODY);
    *forged.body_mut() = Body::from(BODY.replace("answered", "hangup"));
    let mut unsigned = signed(PATH, now(), BODY);
    unsigned.headers_mut().remove("telnyx-signature-ed25519");
    let refused = [
        (edge.request(forged).await, "its signature is not by the configured key"),
        (edge.request(signed(PATH, now() - 400, BODY)).await, "more than 300 s from ours"),
        (edge.request(unsigned).await, "`telnyx-signature-ed25519` is missing"),
    ];
    let taken = edge.request(signed(PATH, now(), BODY)).await;
    let log = edge.get("/api/audit", &edge.admin()).await.json();

    for (seen, why) in &refused {
        assert_eq!(seen.problem(), (401, "platform.unproven".to_owned(), None), "{why}");
        assert_eq!(seen.header("www-authenticate"), "Signature realm=\"callingedge\"");
        assert!(seen.text.contains(why), "{}", seen.text);
    }
    assert_eq!(taken.status, 200);
    let actions: Vec<&str> =
        log["records"].as_array().unwrap().iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["platform.accepted", "platform.refused", "platform.refused", "platform.refused"]);
}

#[tokio::test]
async fn an_intake_that_is_not_there_and_a_signed_body_that_is_no_event_are_told_apart() {
    let edge = Edge::new();

    let nowhere = edge.request(signed("/api/intake/nobody/events", now(), BODY)).await;
    let no_event = edge.request(signed(PATH, now(), "{}")).await;
    let large = edge.request(signed(PATH, now(), &"x".repeat(64 * 1024 + 1))).await;
    let looked_at = edge.get(PATH, "").await;
    let log = edge.get("/api/audit", &edge.admin()).await.json();

    assert_eq!(code(&nowhere), (404, "platform.not_found".to_owned()));
    assert_eq!(code(&no_event), (422, "field.invalid".to_owned()));
    assert_eq!(code(&large), (413, "body.too_large".to_owned()));
    assert_eq!(code(&looked_at), (405, "method.not_allowed".to_owned()));
    assert_eq!(log["records"], json!([]));
}

fn code(seen: &Seen) -> (u16, String) {
    let (status, code, _) = seen.problem();
    (status, code)
}

/// By the key whose public half is in the configuration.
fn signed(path: &str, timestamp: i64, body: &str) -> Request<Body> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signature = pair.sign(format!("{timestamp}|{body}").as_bytes());
    Request::post(path)
        .header("content-type", "application/json")
        .header("telnyx-timestamp", timestamp.to_string())
        .header("telnyx-signature-ed25519", STANDARD.encode(signature))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the edge compares with the real clock")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().cast_signed()
}
