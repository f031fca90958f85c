//! Credentials that are held for a tenant: made, brought by a link, used, deleted, and every step on the log.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use callingedge::api::Credentials;
use callingedge::call::TenantId;
use callingedge::crypto::SealingKey;
use callingedge::store::{Actor, Scope};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::edge::{Edge, Seen, post};

const ALL: &str = "/api/credentials";
const LINKS: &str = "/api/credentials/intake";

#[tokio::test]
async fn a_value_is_brought_once_by_its_link_and_told_to_nobody() {
    let edge = Edge::new();
    let admin = edge.admin();

    let made = edge.post(ALL, &admin, &json!({"name": "sip", "note": "of the carrier"})).await;
    let linked = edge.post(LINKS, &admin, &json!({"name": "sip", "expires_in_sec": 600})).await;
    let link = word(&linked.json(), "link");
    let open = edge.get(LINKS, &admin).await;
    let brought = edge.post(&link, "", &json!({"value": "hunter2 in the clear\n"})).await;
    let again = edge.post(&link, "", &json!({"value": "hunter3"})).await;
    let list = edge.get(ALL, &admin).await;

    assert_eq!(
        (made.status, made.json()["kind"].as_str(), &made.json()["set_at"]),
        (201, Some("held"), &Value::Null)
    );
    assert_eq!((linked.status, linked.header("location")), (201, link.as_str()));
    assert_eq!(open.json()["links"][0]["name"], "sip");
    assert!(!open.text.contains(link.rsplit('_').next().unwrap()), "a link is shown once");
    assert_eq!((brought.status, brought.json()["name"].as_str()), (200, Some("sip")));
    assert_eq!(again.problem(), (410, "intake.used".to_owned(), None));
    assert_eq!(edge.get(LINKS, &admin).await.json()["links"], json!([]));
    assert!(list.json()["credentials"][0]["set_at"].is_string());
    for seen in [&made, &linked, &brought, &list, &edge.get("/api/audit", &admin).await] {
        assert!(!seen.text.contains("hunter2"), "{}", seen.text);
    }
    assert_eq!(value_of(&edge, "sip").await, "hunter2 in the clear");
}

#[tokio::test]
async fn every_step_is_on_the_log_with_who_did_it_newest_first_and_page_by_page() {
    let edge = Edge::new();
    let admin = edge.admin();
    edge.post(ALL, &admin, &json!({"name": "sip"})).await;
    let link = word(&edge.post(LINKS, &admin, &json!({"name": "sip"})).await.json(), "link");
    edge.post(&link, "", &json!({"value": "hunter2"})).await;
    edge.post(&link, "", &json!({"value": "hunter3"})).await;
    value_of(&edge, "sip").await;
    let deleted = delete(&edge, "/api/credentials/sip", &admin).await;

    let mut actions = Vec::new();
    let mut actors = Vec::new();
    let mut path = "/api/audit?limit=4".to_owned();
    loop {
        let page = edge.get(&path, &admin).await.json();
        for record in page["records"].as_array().unwrap() {
            assert_eq!(record["subject"], "sip");
            actions.push(word(record, "action"));
            actors.push(word(record, "actor"));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/audit?limit=4&cursor={cursor}");
    }

    assert_eq!(deleted.status, 204);
    let expected = [
        "credential.deleted",
        "credential.used",
        "intake.refused",
        "intake.taken",
        "intake.linked",
        "credential.created",
    ];
    assert_eq!(actions, expected);
    let token = format!("token {}", admin.split('_').nth(1).unwrap());
    let link = format!("link {}", link.split('_').nth(1).unwrap());
    assert_eq!(actors, [token.as_str(), "test", &link, &link, &token, &token]);
}

#[tokio::test]
async fn a_tenant_sees_neither_credentials_nor_records_of_another() {
    let edge = Edge::new();
    let admin = edge.admin();
    let theirs = edge.token("other", &[Scope::Admin]);
    edge.post(ALL, &admin, &json!({"name": "sip"})).await;
    edge.post(LINKS, &admin, &json!({"name": "sip"})).await;

    let list = edge.get(ALL, &theirs).await;
    let links = edge.get(LINKS, &theirs).await;
    let log = edge.get("/api/audit", &theirs).await;
    let link = edge.post(LINKS, &theirs, &json!({"name": "sip"})).await;
    let deleted = delete(&edge, "/api/credentials/sip", &theirs).await;

    assert_eq!(list.json(), json!({"credentials": []}));
    assert_eq!(links.json(), json!({"links": []}));
    assert_eq!(log.json(), json!({"records": [], "next_cursor": null}));
    assert_eq!(link.problem(), (404, "credential.not_found".to_owned(), Some("name".to_owned())));
    assert_eq!(deleted.problem(), (404, "credential.not_found".to_owned(), None));
    assert_eq!(edge.get(ALL, &admin).await.json()["credentials"][0]["name"], "sip");
}

#[tokio::test]
async fn what_the_configuration_refers_to_is_listed_by_its_place_and_kind() {
    let edge = Edge::new();

    let list = edge.get(ALL, &edge.admin()).await;

    let expected = json!({"credentials": [{
        "name": "providers.sip-main.password", "kind": "env", "note": null, "created_at": null, "set_at": null,
        "last_used_at": null,
    }]});
    assert_eq!(list.json(), expected);
}

#[tokio::test]
async fn without_a_key_nothing_is_held_and_the_answer_says_why() {
    let edge = Edge::new();
    let admin = edge.admin();
    edge.post(ALL, &admin, &json!({"name": "sip"})).await;
    let link = word(&edge.post(LINKS, &admin, &json!({"name": "sip"})).await.json(), "link");
    let mut api = edge.api.clone();
    let (_told, credentials) = watch::channel(Arc::new(Credentials::default()));
    api.credentials = credentials;

    for (path, token, body) in [
        (ALL, admin.as_str(), json!({"name": "bot"})),
        (LINKS, admin.as_str(), json!({"name": "sip"})),
        (link.as_str(), "", json!({"value": "hunter2"})),
    ] {
        let response = api.clone().into_router().oneshot(post(path, token, body.to_string())).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let seen = Seen { status: parts.status.as_u16(), headers: parts.headers, text };

        assert_eq!(seen.problem(), (422, "credential.no_key".to_owned(), None), "{path}");
    }
    assert_eq!(
        edge.post(&link, "", &json!({"value": "hunter2"})).await.status,
        200,
        "the link is still good"
    );
}

#[tokio::test]
async fn what_the_configuration_uses_cannot_be_deleted_and_is_told_when_its_value_changes() {
    let mut edge = Edge::new();
    let admin = edge.admin();
    let mut api = edge.api.clone();
    let used =
        Credentials { held: vec!["acme/sip".to_owned()], ..Credentials::clone(&api.credentials.borrow()) };
    let (_told, credentials) = watch::channel(Arc::new(used));
    api.credentials = credentials;
    let brought = api.brought.subscribe();
    edge.router = api.into_router();
    for name in ["sip", "bot"] {
        edge.post(ALL, &admin, &json!({"name": name})).await;
    }
    let bring = async |name: &str| {
        let link = word(&edge.post(LINKS, &admin, &json!({"name": name})).await.json(), "link");
        assert_eq!(edge.post(&link, "", &json!({"value": "hunter2"})).await.status, 200);
        *brought.borrow()
    };

    assert_eq!(bring("bot").await, 0, "nothing uses it");
    assert_eq!(bring("sip").await, 1);
    let refused = delete(&edge, "/api/credentials/sip", &admin).await;
    assert_eq!(refused.problem(), (409, "credential.in_use".to_owned(), None));
    assert_eq!(delete(&edge, "/api/credentials/bot", &admin).await.status, 204);
}

#[tokio::test]
async fn links_and_bodies_that_are_no_good_are_told_apart_and_a_value_is_never_quoted() {
    let edge = Edge::new();
    let admin = edge.admin();
    edge.post(ALL, &admin, &json!({"name": "sip"})).await;
    let older = word(&edge.post(LINKS, &admin, &json!({"name": "sip"})).await.json(), "link");
    let link = word(&edge.post(LINKS, &admin, &json!({"name": "sip"})).await.json(), "link");
    let secret = "x".repeat(20_000);
    let unknown = "/api/credentials/intake/ci_0011223344556677_00";

    for (path, token, body, (status, code, field)) in [
        (ALL, admin.as_str(), json!({"name": "sip"}), (409, "credential.exists", Some("name"))),
        (ALL, &admin, json!({"name": "a/b"}), (422, "field.invalid", Some("name"))),
        (ALL, &admin, json!({"name": "intake"}), (422, "field.invalid", Some("name"))),
        (ALL, &admin, json!({"name": "a", "note": "n".repeat(201)}), (422, "field.invalid", Some("note"))),
        (ALL, &admin, json!({"name": "a", "value": "hunter2"}), (422, "field.unknown", Some("value"))),
        (LINKS, &admin, json!({"name": "bot"}), (404, "credential.not_found", Some("name"))),
        (
            LINKS,
            &admin,
            json!({"name": "sip", "expires_in_sec": 59}),
            (422, "field.invalid", Some("expires_in_sec")),
        ),
        (&older, "", json!({"value": "hunter2"}), (410, "intake.expired", None)),
        (unknown, "", json!({"value": "hunter2"}), (404, "intake.not_found", None)),
        (&link, "", json!({"value": "\n"}), (422, "field.invalid", Some("value"))),
        (&link, "", json!({"value": secret}), (422, "field.invalid", Some("value"))),
        (&link, "", json!({"valeu": "hunter2"}), (422, "field.unknown", Some("valeu"))),
    ] {
        let seen = edge.post(path, token, &body).await;

        assert_eq!(
            seen.problem(),
            (status, code.to_owned(), field.map(str::to_owned)),
            "{path} {}",
            seen.text
        );
        assert!(!seen.text.contains("hunter2") && !seen.text.contains("xxx"), "{}", seen.text);
    }
    let looked_at = edge.get(&link, "").await;
    assert_eq!(looked_at.problem(), (405, "method.not_allowed".to_owned(), None));
    assert_eq!(
        edge.post(&link, "", &json!({"value": "hunter2"})).await.status,
        200,
        "what was refused used nothing up"
    );
}

#[tokio::test]
async fn a_tenant_holds_so_many_and_no_more() {
    let edge = Edge::new();
    let admin = edge.admin();
    for number in 0..callingedge::store::CREDENTIALS_MAX {
        let tenant = TenantId::from("acme");
        let actor = Actor { who: "test".to_owned(), source: None };
        let made =
            edge.store.vault(move |vault| vault.create(&tenant, &format!("c{number}"), "", &actor)).await;
        assert!(made.unwrap().is_ok());
    }

    let seen = edge.post(ALL, &admin, &json!({"name": "more"})).await;

    assert_eq!(seen.problem(), (409, "credential.too_many".to_owned(), None));
}

async fn delete(edge: &Edge, path: &str, token: &str) -> Seen {
    let request = Request::delete(path).header("authorization", format!("Bearer {token}"));
    edge.request(request.body(Body::empty()).unwrap()).await
}

/// As the edge itself reads it.
async fn value_of(edge: &Edge, name: &'static str) -> String {
    let key = SealingKey::from_hex(&"5a".repeat(32)).unwrap();
    let actor = Actor { who: "test".to_owned(), source: None };
    let read =
        edge.store.vault(move |vault| vault.use_value(&TenantId::from("acme"), name, &key, &actor)).await;
    read.unwrap().unwrap()
}

fn word(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
