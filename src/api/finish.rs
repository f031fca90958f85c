//! What every response goes through: a request id, the problem's body, counting. Whatever says no on the way, be it a
//! handler, the router or a panic, leaves as `application/problem+json`.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::time::timeout;

use super::problem::{Code, MEDIA_TYPE, Problem};
use crate::crypto;

/// For an answer to begin. What a handler waits for has shorter limits of its own; this is for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every handler.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let id = crypto::hex(&crypto::random::<8>());
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let is_head = method == Method::HEAD;

    let handled = timeout(PATIENCE, AssertUnwindSafe(next.run(request)).catch_unwind()).await;
    let mut response = match handled {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(request = id, "a request made the API panic");
            Problem::new(Code::EdgeFailed, "The edge made a mistake; report the id in `instance`.")
                .into_response()
        }
        Err(_) => {
            tracing::error!(request = id, "a request took too long");
            Problem::new(Code::EdgeTimeout, "There was no answer within 30 seconds; try again.")
                .into_response()
        }
    };
    if let Some(problem) = problem_of(&mut response) {
        let body = problem.body(format!("urn:callingedge:request:{id}"));
        tracing::debug!(request = id, %method, code = problem.code.as_str(), "refused");
        let bytes = serde_json::to_vec(&body).expect("strings and numbers can be written as JSON");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        *response.body_mut() = if is_head { Body::empty() } else { Body::from(bytes) };
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hexadecimal is visible ASCII"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    count(&method, path.as_ref(), response.status(), begin);
    response
}

/// Of the problem that a handler answered; and of a refusal that axum wrote, whose text is for people only.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let written = response.headers().get(header::CONTENT_TYPE);
    if !refused || written.is_some_and(|kind| kind.as_bytes().starts_with(b"application/")) {
        return None;
    }
    let code = if response.status().is_client_error() { Code::RequestMalformed } else { Code::EdgeFailed };
    *response.status_mut() = code.status();
    Some(Problem::new(code, code.remedy()))
}

/// No route has this path.
pub(crate) async fn no_such_path(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(
        Code::PathNotFound,
        format!("There is nothing at `{path}`; see /api/openapi.json for all there is."),
    )
}

/// The path is there, the method is not; axum adds `Allow`.
pub(crate) async fn no_such_method(request: Request) -> Problem {
    let detail =
        format!("`{}` is not a method of this path; `Allow` names those that are.", request.method());
    Problem::new(Code::MethodNotAllowed, detail)
}

fn count(method: &Method, path: Option<&MatchedPath>, status: StatusCode, begin: Instant) {
    // Only what we know ourselves becomes a label: peers must not be able to make new ones.
    let path = path.map_or("other", MatchedPath::as_str).to_owned();
    let known = [Method::GET, Method::POST, Method::HEAD].contains(method);
    let method = if known { method.to_string() } else { "other".to_owned() };
    let labels = [("method", method), ("path", path), ("status", status.as_u16().to_string())];
    metrics::counter!("callingedge_http_requests_total", &labels).increment(1);
    metrics::histogram!("callingedge_http_request_seconds").record(begin.elapsed().as_secs_f64());
}
