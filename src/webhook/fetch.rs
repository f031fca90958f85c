//! Carries requests to applications and their answers back, over the same guarded way as the webhooks. Decides nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderName, Method, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use metrics::counter;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::connect::{self, HttpClient};
use super::receiver::ReceiverUrl;
use super::settings::WebhookSettings;
use super::verdict::Failure;
use crate::call::{WebAnswer, WebFailure, WebRequest};

/// For everything from the name to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests at once; further ones wait for their turn within their time.
const AT_ONCE: usize = 256;

const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// Asks applications.
pub struct Fetcher {
    settings: watch::Receiver<WebhookSettings>,
    client: HttpClient,
    turns: Arc<Semaphore>,
}

/// One request, on its way.
pub struct Fetch {
    client: HttpClient,
    turns: Arc<Semaphore>,
    request: WebRequest,
}

impl Fetcher {
    /// Reaches what the settings let it reach, as they are from time to time.
    pub fn new(mut settings: watch::Receiver<WebhookSettings>) -> Self {
        let client = connect::client(&settings.borrow_and_update());
        Self { settings, client, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Prepares a request.
    pub fn fetch(&mut self, request: WebRequest) -> Fetch {
        if self.settings.has_changed().unwrap_or(false) {
            self.client = connect::client(&self.settings.borrow_and_update());
        }
        Fetch { client: self.client.clone(), turns: self.turns.clone(), request }
    }
}

impl Fetch {
    /// Sends it, and reads the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn send(self) -> Result<WebAnswer, WebFailure> {
        let Self { client, turns, request } = self;
        let asked = async {
            let _turn = turns.acquire().await.map_err(|error| WebFailure::Unreachable(error.to_string()))?;
            exchange(&client, request).await
        };
        let outcome = timeout(PATIENCE, asked).await.unwrap_or(Err(WebFailure::TimedOut));
        let result = match &outcome {
            Ok(answer) if (200..300).contains(&answer.status) => "answered",
            Ok(_) => "refused",
            Err(WebFailure::Forbidden(_)) => "forbidden",
            Err(WebFailure::Unreachable(_)) => "unreachable",
            Err(WebFailure::TimedOut) => "timed_out",
            Err(WebFailure::TooLong) => "too_long",
        };
        counter!("callingedge_application_requests_total", "result" => result).increment(1);
        outcome
    }
}

async fn exchange(client: &HttpClient, asked: WebRequest) -> Result<WebAnswer, WebFailure> {
    let WebRequest { url, method, body, signature, longest } = asked;
    let url: ReceiverUrl = url.parse().map_err(|error| failed(&Failure::from(error)))?;
    let method = Method::from_bytes(method.as_str().as_bytes()).unwrap_or(Method::POST);
    let has_body = body.is_some();
    let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
    *request.method_mut() = method;
    *request.uri_mut() = url.uri().clone();
    let headers = request.headers_mut();
    if has_body {
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    }
    let agent = concat!("CallingEdge/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    if let Ok(signature) = HeaderValue::from_str(&signature) {
        headers.insert(SIGNATURE, signature);
    }
    let response = client.request(request).await.map_err(|failure| failed(&failure))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), longest).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            WebFailure::TooLong
        } else {
            WebFailure::Unreachable(error.to_string())
        }
    })?;
    Ok(WebAnswer { status, body: body.to_bytes() })
}

fn failed(failure: &Failure) -> WebFailure {
    let text = failure.to_string();
    if failure.is_forbidden() { WebFailure::Forbidden(text) } else { WebFailure::Unreachable(text) }
}
