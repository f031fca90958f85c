//! Talks to the API of a running edge, as any customer's program would.

use std::path::Path;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::Running;

/// The largest answer that is read.
const LARGEST: usize = 16 * 1024 * 1024;

/// A running edge, and who we are to it.
pub(super) struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Uri,
    token: String,
}

/// Why there is no answer to use, as one sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Not where an API could be.
    #[error("`{0}` is not the URL of an edge; write one like http://127.0.0.1:8080")]
    Url(String),
    /// The `--ca` file.
    #[error("cannot read certificates from {path}: {problem}")]
    Certificate {
        /// Which file.
        path: String,
        /// Why.
        problem: String,
    },
    /// A header could not be written.
    #[error("the token has characters that no token has")]
    Token,
    /// Nobody there.
    #[error("cannot reach {url}: {problem}; is `callingedge run` running there?")]
    Unreachable {
        /// Where.
        url: String,
        /// What the socket said.
        problem: String,
    },
    /// It broke off.
    #[error("the connection to the edge broke: {0}")]
    Broken(String),
    /// It said no.
    #[error("the edge refused ({status} {code}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// The problem's sentence.
        detail: String,
    },
    /// Something else listens there.
    #[error("what answers is not an edge: {0}")]
    Strange(String),
}

impl Client {
    /// Nothing is sent yet.
    pub(super) fn new(running: &Running) -> Result<Self, ClientError> {
        let bad_url = || ClientError::Url(running.url.clone());
        let base: Uri = running.url.trim_end_matches('/').parse().map_err(|_| bad_url())?;
        if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none() {
            return Err(bad_url());
        }
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &running.ca {
            trust(path, &mut roots)?;
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, base, token: running.token.clone() })
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        json(response).await
    }

    /// Asks for something to be done.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        json(response).await
    }

    /// Opens a stream of events.
    pub(super) async fn stream(&self, path: &str) -> Result<Messages, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        if !response.status().is_success() {
            json(response).await?;
            return Err(ClientError::Strange("no stream of events".to_owned()));
        }
        Ok(Messages { body: response.into_body(), text: Vec::new() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ClientError> {
        let url = format!("{}{path}", self.base.to_string().trim_end_matches('/'));
        let mut request =
            Request::builder().method(method).uri(&url).header(ACCEPT, "application/json, text/event-stream");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::from(body))
            .map_err(|_| ClientError::Token)?;
        self.http.request(request).await.map_err(|error| ClientError::Unreachable {
            url: self.base.to_string(),
            problem: innermost(&error),
        })
    }
}

/// The messages of an event stream.
pub(super) struct Messages {
    body: Incoming,
    text: Vec<u8>,
}

impl Messages {
    /// The `data` of the next message; nothing when the stream has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, ClientError> {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = self.text.drain(..end + 2).collect();
                let message = String::from_utf8_lossy(&message);
                if let Some(data) = message.lines().find_map(|line| line.strip_prefix("data: ")) {
                    return parse(data.as_bytes()).map(Some);
                }
                continue;
            }
            if self.text.len() > LARGEST {
                return Err(ClientError::Strange("an event without an end".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return Err(ClientError::Broken(innermost(&error))),
            }
        }
    }
}

async fn json(response: Response<Incoming>) -> Result<Value, ClientError> {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), LARGEST);
    let bytes = body.collect().await.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
    let value = parse(&bytes)?;
    if status.is_success() {
        return Ok(value);
    }
    let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Err(ClientError::Refused { status: status.as_u16(), code: word("code"), detail: word("detail") })
}

fn parse(bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ClientError::Strange(format!("its answer is not JSON ({error})")))
}

fn trust(path: &Path, roots: &mut rustls::RootCertStore) -> Result<(), ClientError> {
    let failed = |problem: String| ClientError::Certificate { path: path.display().to_string(), problem };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The reason that says most: libraries wrap it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
