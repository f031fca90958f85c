//! Where Genesys opens its AudioHook sessions: the request is verified, answered with 101, and the connection handed on.
//!
//! Whoever cannot prove that they are the platform learns nothing but that, and that late.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use metrics::counter;
use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;
use tungstenite::handshake::derive_accept_key;

use super::Api;
use super::path::Segment;
use super::problem::{Code, Problem};
use super::serve::Peer;
use crate::call::{InboundAuth, ProviderKey};
use crate::provider::{HookKeys, HookProof, Nonces, NotProven};

/// How long who is refused waits for it, so that guessing is slow.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

/// Connections that have not said yet what they are about; further ones are refused.
const GREETED: usize = 256;

/// For the connection to be ours after the 101.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(5);

/// What the endpoint keeps.
#[derive(Clone)]
pub struct Hooks {
    sender: mpsc::Sender<OpenedHook>,
    nonces: Arc<Mutex<Nonces>>,
    places: Arc<Semaphore>,
}

/// A connection of a platform, verified and upgraded.
pub struct OpenedHook {
    /// The socket.
    pub tcp: TcpStream,
    /// What encrypts it, where it is.
    pub tls: Option<ServerConnection>,
    /// What came behind the request already.
    pub read: Bytes,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The provider in the path.
    pub provider: ProviderKey,
    /// What was proven.
    pub proof: HookProof,
    /// To be kept until the session has said what it is about.
    pub place: OwnedSemaphorePermit,
}

impl Hooks {
    /// The endpoint's end, and where connections come out.
    pub fn new() -> (Self, mpsc::Receiver<OpenedHook>) {
        let (sender, opened) = mpsc::channel(GREETED);
        (Self { sender, nonces: Arc::default(), places: Arc::new(Semaphore::new(GREETED)) }, opened)
    }
}

/// A session is opened.
pub(crate) async fn open(
    State(api): State<Api>,
    Segment(key): Segment,
    mut request: Request,
) -> Result<Response, Problem> {
    let begin = Instant::now();
    let settings = api.settings();
    let provider = settings.providers.get(key.as_str());
    let keys = provider.and_then(|provider| match &provider.trunk.inbound_auth {
        InboundAuth::Signed(keys) => Some((provider.key.clone(), keys)),
        InboundAuth::Address | InboundAuth::Digest(_) | InboundAuth::Both(_) => None,
    });
    let proven = match keys {
        Some((provider, keys)) => {
            api.hooks.proven(request.uri(), request.headers(), keys).await.map(|proof| (provider, proof))
        }
        // Which integrations there are is nobody's business.
        None => Err(NotProven::Key),
    };
    let (provider, proof) = match proven {
        Ok(proven) => proven,
        Err(why) => {
            counted("refused");
            tracing::debug!(provider = key, %why, "a session was not opened by the platform");
            sleep_until(begin + REFUSED_AFTER).await;
            return Err(Problem::new(
                Code::PlatformUnproven,
                "This is not known to be from Genesys: look at the keys of the integration, and at both clocks.",
            ));
        }
    };
    let accept = accept_key(request.headers()).ok_or_else(|| {
        Problem::new(Code::RequestMalformed, "This is for websockets of version 13 alone; open one.")
    })?;
    let place = Arc::clone(&api.hooks.places).try_acquire_owned().map_err(|_| {
        Problem::new(Code::EdgeBusy, "Too many sessions are being opened; try again in a second.")
    })?;
    counted("opened");
    let unknown = SocketAddr::from((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0));
    let peer = request.extensions().get::<Peer>().map_or(unknown, |peer| peer.0);
    let upgrade = hyper::upgrade::on(&mut request);
    let sender = api.hooks.sender.clone();
    tokio::spawn(async move {
        let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_PATIENCE, upgrade).await else { return };
        let Some((tcp, tls, read)) = taken_apart(upgraded) else { return };
        let opened = OpenedHook { tcp, tls, read, peer, provider, proof, place };
        let _the_daemon_has_ended = sender.send(opened).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, "upgrade".parse().expect("a word is a header's value"));
    headers.insert(UPGRADE, "websocket".parse().expect("a word is a header's value"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.parse().expect("base64 is a header's value"));
    Ok(response)
}

impl Hooks {
    async fn proven(&self, uri: &Uri, headers: &HeaderMap, keys: &HookKeys) -> Result<HookProof, NotProven> {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let proof = keys.verify(target, header, now)?;
        self.nonces.lock().await.take(&proof, now)?;
        Ok(proof)
    }
}

/// What the 101 has to show (RFC 6455 §4.2.2); nothing when no websocket is asked for.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let is_asked =
        has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") && has(SEC_WEBSOCKET_VERSION, "13");
    is_asked.then(|| derive_accept_key(key.as_bytes()))
}

/// The socket under a connection, and what was read of it.
fn taken_apart(upgraded: Upgraded) -> Option<(TcpStream, Option<ServerConnection>, Bytes)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some((parts.io.into_inner(), None, parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
    let (tcp, tls) = parts.io.into_inner().into_inner();
    Some((tcp, Some(tls), parts.read_buf))
}

fn counted(result: &'static str) {
    counter!("callingedge_audiohook_sessions_total", "result" => result).increment(1);
}
