//! What is answered when all is well.

use std::time::Duration;

use axum::http::Request;
use callingedge::api::Phase;
use callingedge::call::EventKind;
use callingedge::store::Scope;
use serde_json::{Value, json};

use crate::edge::{Edge, get, health, post};

const PLACE: &str = "/api/integrations/providers/sip-main/calls";

#[tokio::test]
async fn a_tenant_lists_its_own_providers_only() {
    let edge = Edge::new();

    let ours = edge.get("/api/integrations/providers", &edge.token("acme", &[Scope::CallsRead])).await.json();
    let theirs =
        edge.get("/api/integrations/providers", &edge.token("other", &[Scope::CallsRead])).await.json();

    assert_eq!(ours["providers"].as_array().unwrap().len(), 1);
    assert_eq!(ours["providers"][0]["key"], "sip-main");
    assert_eq!(ours["providers"][0]["capabilities"]["outbound"], true);
    assert_eq!(theirs["providers"][0]["key"], "theirs");
    assert_eq!(theirs["providers"][0]["capabilities"]["outbound"], false);
}

#[tokio::test]
async fn health_is_a_verdict_also_when_the_trunk_is_down() {
    let edge = Edge::new();
    let path = "/api/integrations/providers/sip-main/health";
    edge.running_call(1).await;
    let mut verdicts = Vec::new();

    for (reachable, detail) in [(None, "not probed"), (Some(true), "200 OK"), (Some(false), "no answer")] {
        edge.health.send_replace(health(reachable, detail));
        let seen = edge.get(path, &edge.admin()).await;
        assert_eq!(seen.status, 200);
        verdicts.push(seen.json());
    }

    let words: Vec<&str> = verdicts.iter().map(|verdict| verdict["verdict"].as_str().unwrap()).collect();
    assert_eq!(words, ["unknown", "healthy", "unhealthy"]);
    assert_eq!(verdicts[2]["detail"], "no answer");
    assert_eq!(verdicts[2]["active_calls"], 1);
}

#[tokio::test]
async fn a_placed_call_is_accepted_and_can_be_read_where_the_answer_says() {
    let edge = Edge::new();
    let token = edge.token("acme", &[Scope::CallsRead, Scope::CallsWrite]);

    let placed = edge.post(PLACE, &token, &json!({"to": "+16505824074"})).await;
    let read = edge.get(placed.header("location"), &token).await;

    assert_eq!(placed.status, 202);
    let body = placed.json();
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["call_id", "provider", "status", "mode"]
    );
    assert_eq!(body["status"], "placing");
    assert_eq!(read.status, 200);
    assert_eq!(read.json()["call_id"], body["call_id"]);
}

#[tokio::test]
async fn the_same_key_and_body_make_one_call_and_get_one_answer() {
    let edge = Edge::new();
    let token = edge.admin();
    let place = |body: &'static str| {
        let mut request = post(PLACE, &token, body);
        request.headers_mut().insert("idempotency-key", "8e03978e-40d5-43dd".parse().unwrap());
        edge.request(request)
    };

    let first = place(r#"{"to":"+16505824074"}"#).await;
    let second = place(r#"{"to":"+16505824074"}"#).await;
    let other_body = place(r#"{"to":"+16505824075"}"#).await;

    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.text, second.text);
    assert_eq!(
        other_body.problem(),
        (422, "idempotency.conflict".to_owned(), Some("Idempotency-Key".to_owned()))
    );
    let calls = edge.get("/api/calls", &token).await.json();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn calls_are_listed_newest_first_page_by_page_running_and_over() {
    let edge = Edge::new();
    let token = edge.admin();
    for second in [1, 3, 5] {
        edge.ended_call(second).await;
    }
    for second in [2, 4] {
        edge.running_call(second).await;
    }

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = edge.get(&format!("/api/calls?limit=2{cursor}"), &token).await.json();
        seen.extend(page["calls"].as_array().unwrap().iter().map(|call| call["started_at"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let running = edge.get("/api/calls?status=answered&provider=sip-main", &token).await.json();
    let over = edge.get("/api/calls?status=ended", &token).await.json();
    let elsewhere = edge.get("/api/calls?provider=theirs", &token).await.json();

    let mut sorted = seen.clone();
    sorted.sort_by_key(|started| std::cmp::Reverse(started.as_str().unwrap().to_owned()));
    assert_eq!(seen.len(), 5);
    assert_eq!(seen, sorted);
    assert_eq!(running["calls"].as_array().unwrap().len(), 2);
    assert_eq!(over["calls"].as_array().unwrap().len(), 3);
    assert_eq!(elsewhere["calls"], json!([]));
}

#[tokio::test]
async fn another_tenants_calls_are_unknown_in_every_way() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;
    let event = edge.happen(call, EventKind::Answered, Some("https://example.com/")).await;
    let ended = edge.ended_call(2).await;
    let stranger = edge.token("other", &[Scope::Admin]);

    let mut refused = Vec::new();
    for path in [
        format!("/api/integrations/providers/sip-main/calls/{call}"),
        format!("/api/integrations/providers/theirs/calls/{call}"),
        format!("/api/integrations/providers/theirs/calls/{ended}"),
        format!("/api/calls/{call}/timeline"),
        format!("/api/calls/{ended}/timeline"),
        "/api/integrations/providers/sip-main/health".to_owned(),
    ] {
        refused.push(edge.get(&path, &stranger).await.status);
    }
    for (path, body) in [
        ("/api/integrations/providers/sip-main/calls".to_owned(), json!({"to": "1"})),
        (
            "/api/integrations/providers/theirs/transfer".to_owned(),
            json!({"call_id": call, "to": {"number": "1"}}),
        ),
        (
            "/api/integrations/providers/theirs/wrap-up".to_owned(),
            json!({"call_id": call, "disposition": "x"}),
        ),
        (format!("/api/calls/{call}/dtmf"), json!({"digits": "1"})),
        (format!("/api/webhooks/deliveries/{event}/replay"), json!({})),
    ] {
        refused.push(edge.post(&path, &stranger, &body).await.status);
    }
    let listed = edge.get("/api/calls", &stranger).await.json();
    let deliveries = edge.get("/api/webhooks/deliveries", &stranger).await.json();

    assert_eq!(refused, [404; 11]);
    assert_eq!(listed["calls"], json!([]));
    assert_eq!(deliveries["deliveries"], json!([]));
}

#[tokio::test]
async fn a_call_over_another_provider_is_not_found_under_this_one() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;

    let path = format!("/api/integrations/providers/theirs/calls/{call}");

    assert_eq!(edge.get(&path, &edge.admin()).await.problem().1, "call.not_found");
}

#[tokio::test]
async fn a_timeline_tells_its_milestones_in_order() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;
    edge.note(call, "invite sent").await;
    edge.note(call, "engine connected").await;

    let timeline = edge.get(&format!("/api/calls/{call}/timeline"), &edge.admin()).await.json();

    let what: Vec<&Value> =
        timeline["milestones"].as_array().unwrap().iter().map(|line| &line["what"]).collect();
    assert_eq!(timeline["call"]["call_id"], call.to_string());
    assert_eq!(what, ["invite sent", "engine connected"]);
    assert_eq!(timeline["milestones"][0]["since_start_ms"], 120);
}

#[tokio::test]
async fn transfer_wrap_up_and_digits_reach_the_call() {
    let edge = Edge::new();
    let token = edge.token("acme", &[Scope::CallsWrite]);
    let call = edge.running_call(1).await;

    let transfer = json!({"call_id": call, "to": {"number": "+16505824075"}});
    let transfer = edge.post("/api/integrations/providers/sip-main/transfer", &token, &transfer).await;
    let mode = edge.post(&format!("/api/calls/{call}/mode"), &token, &json!({"mode": "ai_only"})).await;
    for (path, body) in [
        ("engine", json!({"engine": "billing", "reason": "asks_about_an_invoice"})),
        ("hold", json!({})),
        ("play", json!({"announcement": "please_wait"})),
        ("mute", json!({})),
        ("mute", json!({"who": "engine", "muted": false})),
    ] {
        let seen = edge.post(&format!("/api/calls/{call}/{path}"), &token, &body).await;
        assert_eq!(seen.status, 202, "{path}: {}", seen.text);
    }
    let digits = edge.post(&format!("/api/calls/{call}/dtmf"), &token, &json!({"digits": "12#"})).await;
    let wrap_up = json!({"call_id": call, "disposition": "sold", "notes": "two"});
    let wrap_up = edge.post("/api/integrations/providers/sip-main/wrap-up", &token, &wrap_up).await;

    assert_eq!((transfer.status, mode.status, digits.status, wrap_up.status), (202, 202, 202, 200));
    assert_eq!(transfer.json(), json!({"call_id": call, "status": "accepted"}));
    assert_eq!(wrap_up.json()["disposition"], "sold");
    assert_eq!(wrap_up.json()["status"], "ended");
}

#[tokio::test]
async fn deliveries_are_listed_and_sent_again() {
    let edge = Edge::new();
    let token = edge.token("acme", &[Scope::EventsRead]);
    let call = edge.running_call(1).await;
    edge.happen(call, EventKind::Placed, None).await;
    let event = edge.happen(call, EventKind::Answered, Some("https://example.com/hook")).await;

    let listed = edge.get("/api/webhooks/deliveries?state=pending", &token).await.json();
    let replayed = edge.post(&format!("/api/webhooks/deliveries/{event}/replay"), &token, &json!({})).await;

    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(listed["deliveries"][0]["id"], event.to_string());
    assert_eq!(replayed.status, 202);
    assert_eq!(replayed.json()["state"], "pending");
}

#[tokio::test]
async fn the_edge_says_that_it_lives_and_whether_it_takes_calls() {
    let edge = Edge::new();

    let live = edge.get("/healthz", "").await;
    let mut ready = Vec::new();
    for phase in [Phase::Starting, Phase::Serving, Phase::Draining] {
        edge.phase.send_replace(phase);
        let seen = edge.get("/readyz", "").await;
        ready.push((seen.status, seen.json()["reasons"].as_array().unwrap().len()));
    }
    edge.store.clone().close().await.unwrap();
    let sick = edge.get("/readyz", "").await.json();

    assert_eq!((live.status, live.text.as_str()), (200, "ok\n"));
    assert_eq!(ready, [(503, 1), (200, 0), (503, 1)]);
    assert_eq!(sick["ready"], false);
    assert!(sick["reasons"][1].as_str().unwrap().starts_with("store:"), "{sick}");
}

#[tokio::test]
async fn pages_come_from_the_edge_alone() {
    let edge = Edge::new();
    for path in
        ["/", "/api/docs", "/pages/live.js", "/pages/docs.js", "/pages/style.css", "/pages/errors.json"]
    {
        let page = edge.get(path, "").await;

        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{path} leads elsewhere");
        if page.header("content-type").starts_with("text/html") {
            assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
            assert!(!page.text.contains("<script>") && !page.text.contains("onclick="), "{path}");
        }
    }
}

#[tokio::test]
async fn the_openapi_document_needs_no_token_and_head_has_no_body() {
    let edge = Edge::new();

    let document = edge.get("/api/openapi.json", "").await;
    let head =
        edge.request(Request::head("/api/openapi.json").body(axum::body::Body::empty()).unwrap()).await;

    assert_eq!(document.json()["openapi"], "3.1.0");
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

/// Loopback alone is not enough: a proxy on this machine brings people from elsewhere.
#[tokio::test]
async fn numbers_are_for_this_machine_or_an_admin() {
    let edge = Edge::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = callingedge::api::Serving { tls: None, max_connections: 8 };
    let server =
        tokio::spawn(callingedge::api::serve(listener, edge.router.clone(), serving, edge.api.phase.clone()));

    let direct = crate::connections::exchange(
        address,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let direct = direct.await;
    let proxied = "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 8.8.8.8\r\nConnection: close\r\n\r\n";
    let proxied = crate::connections::exchange(address, proxied).await;
    let unknown_peer = edge.request(get("/metrics", "")).await;
    let reader = edge.get("/metrics", &edge.token("acme", &[Scope::CallsRead])).await;
    let admin = edge.get("/metrics", &edge.admin()).await;

    assert!(direct.starts_with("HTTP/1.1 200") && direct.contains("callingedge_calls 1"), "{direct}");
    assert!(proxied.starts_with("HTTP/1.1 401"), "{proxied}");
    assert_eq!(unknown_peer.problem().1, "auth.missing");
    assert_eq!(reader.problem().1, "auth.scope");
    assert_eq!(admin.status, 200);
    edge.phase.send_replace(Phase::Stopped);
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}
