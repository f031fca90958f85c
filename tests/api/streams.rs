//! Server-sent events: nothing missed, nobody else's, places that are given back.

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, Response};
use callingedge::api::Phase;
use callingedge::call::EventKind;
use callingedge::store::Scope;
use futures_util::StreamExt;

use crate::edge::{Edge, get};

#[tokio::test]
async fn a_stream_tells_events_as_they_happen_and_only_the_tenants() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;
    let mut ours = open(&edge, get("/api/events", &edge.token("acme", &[Scope::EventsRead]))).await;
    let mut theirs = open(&edge, get("/api/events", &edge.token("other", &[Scope::EventsRead]))).await;

    let placed = edge.happen(call, EventKind::Placed, None).await;
    let answered = edge.happen(call, EventKind::Answered, None).await;
    let first = ours.next().await;
    let second = ours.next().await;
    edge.phase.send_replace(Phase::Stopped);

    assert_eq!(first, format!("id: {placed}\nevent: placed\ndata: {{\"kind\":\"placed\",\"seq\":1}}"));
    assert_eq!(second, format!("id: {answered}\nevent: answered\ndata: {{\"kind\":\"answered\",\"seq\":2}}"));
    assert_eq!(theirs.next().await, "", "the stream of another tenant ends without an event");
}

#[tokio::test]
async fn who_was_away_says_the_last_id_and_misses_nothing() {
    let edge = Edge::new();
    let call = edge.running_call(1).await;
    let placed = edge.happen(call, EventKind::Placed, None).await;
    edge.happen(call, EventKind::Answered, None).await;
    edge.happen(call, EventKind::Ended, None).await;
    let mut request = get("/api/events", &edge.admin());
    request.headers_mut().insert("last-event-id", placed.to_string().parse().unwrap());

    let mut stream = open(&edge, request).await;

    assert!(stream.next().await.contains("event: answered"));
    assert!(stream.next().await.contains("event: ended"));
}

#[tokio::test]
async fn a_stream_of_one_call_leaves_the_others_out() {
    let edge = Edge::new();
    let (one, other) = (edge.running_call(1).await, edge.running_call(2).await);
    let mut stream = open(&edge, get(&format!("/api/events?call_id={other}"), &edge.admin())).await;

    edge.happen(one, EventKind::Placed, None).await;
    let wanted = edge.happen(other, EventKind::Placed, None).await;

    assert!(stream.next().await.starts_with(&format!("id: {wanted}\n")));
}

#[tokio::test]
async fn places_for_readers_are_bounded_and_given_back() {
    let edge = Edge::new();
    let token = edge.admin();
    let first = open(&edge, get("/api/events", &token)).await;
    let _second = open(&edge, get("/api/events", &token)).await;

    let third = edge.get("/api/events", &token).await;
    drop(first);
    let fourth = edge.response(get("/api/events", &token)).await;

    assert_eq!(third.problem(), (429, "limit.streams".to_owned(), None));
    assert_eq!(third.header("retry-after"), "5");
    assert_eq!(fourth.status(), 200);
}

#[tokio::test]
async fn a_last_id_that_is_none_is_refused() {
    let edge = Edge::new();
    let mut request = get("/api/events", &edge.admin());
    request.headers_mut().insert("last-event-id", "7".parse().unwrap());

    let seen = edge.request(request).await;

    assert_eq!(seen.problem(), (400, "request.malformed".to_owned(), Some("Last-Event-ID".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_lives() {
    let edge = Edge::new();
    // Reading the token takes real time; the clock must not run away meanwhile.
    tokio::time::resume();
    let mut stream = open(&edge, get("/api/events", &edge.admin())).await;
    tokio::time::pause();

    let beat = tokio::time::timeout(std::time::Duration::from_secs(20), stream.comment()).await;

    assert_eq!(beat.as_deref(), Ok(":"));
}

async fn open(edge: &Edge, request: Request<Body>) -> Stream {
    let response: Response<Body> = edge.response(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Stream { body: response.into_body().into_data_stream(), text: String::new() }
}

struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    /// The next message, without its empty line; nothing when the stream has ended. Comments are left out.
    async fn next(&mut self) -> String {
        loop {
            let message = self.message().await;
            if message.is_empty() || !message.starts_with(':') {
                return message;
            }
        }
    }

    /// The next comment.
    async fn comment(&mut self) -> String {
        loop {
            let message = self.message().await;
            if message.is_empty() || message.starts_with(':') {
                return message;
            }
        }
    }

    async fn message(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let message = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                return message;
            }
            match self.body.next().await {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap()),
                None => return String::new(),
            }
        }
    }
}
