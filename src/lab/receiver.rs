//! A webhook receiver that believes nothing: both signatures of every event are verified before it is counted.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::call::EventBody;
use crate::crypto;

/// Events that wait to be looked at; then the sender has to wait.
const WAITING: usize = 256;

/// An event that came.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The event.
    pub event: EventBody,
    /// Whether both its signatures are right.
    pub verified: bool,
}

/// The receiver, on a loopback port of the kernel's choice.
pub struct Receiver {
    address: SocketAddr,
    receipts: mpsc::Receiver<Receipt>,
    served: JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    secret: String,
    receipts: mpsc::Sender<Receipt>,
}

impl Receiver {
    /// Listens, and verifies with `secret` (`whsec_` and base64).
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub async fn start(secret: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, receipts) = mpsc::channel(WAITING);
        let desk = Desk { secret: secret.to_owned(), receipts: sender };
        let router = Router::new().route("/events", post(receive)).with_state(desk);
        let served = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the webhook receiver ended");
            }
        });
        Ok(Self { address, receipts, served })
    }

    /// Where events go.
    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// The next event; `None` when the receiver has ended.
    pub async fn next(&mut self) -> Option<Receipt> {
        self.receipts.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(event) = serde_json::from_slice::<EventBody>(&body) else { return StatusCode::BAD_REQUEST };
    let verified = verify(&desk.secret, &headers, &body) == Some(true);
    match desk.receipts.send(Receipt { event, verified }).await {
        Ok(()) if verified => StatusCode::NO_CONTENT,
        Ok(()) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Whether the plain signature and the Standard Webhooks one are both right; nothing where a header is missing.
fn verify(secret: &str, headers: &HeaderMap, body: &[u8]) -> Option<bool> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let plain = crypto::hex(&crypto::hmac_sha256(secret.as_bytes(), &[body]));
    let plain = format!("sha256={plain}");
    let claimed = text("X-CallingEdge-Signature")?;
    let plain_right = claimed.split(',').any(|one| crypto::equal(one.trim().as_bytes(), plain.as_bytes()));

    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let (id, timestamp) = (text("webhook-id")?, text("webhook-timestamp")?);
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let standard = format!("v1,{}", STANDARD.encode(crypto::hmac_sha256(&key, &parts)));
    let claimed = text("webhook-signature")?;
    let standard_right = claimed.split(' ').any(|one| crypto::equal(one.as_bytes(), standard.as_bytes()));
    Some(plain_right && standard_right)
}
