//! Dials an engine: name, TCP, TLS, websocket upgrade (RFC 6455 §4.1), all within the engine's `connect_timeout`.
//!
//! What comes out is detached from the runtime: a non-blocking socket for a voice worker. The upgrade is driven
//! over that very stream, so that an engine may speak in the same packet as its 101.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, WebSocket, client};
use url::{Host, Url};

use super::{EngineStream, Waits};
use crate::call::{BargeInPolicy, Dialect, Engine, EngineFailure};

/// A first address that does not answer must leave time for the second.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(250);

/// What all dialling shares.
#[derive(Debug, Clone)]
pub struct Dialler {
    tls: Arc<ClientConfig>,
    limits: SocketLimits,
}

/// What one engine's socket may take of our memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLimits {
    /// What one `recv` can bring, and what an idle socket keeps.
    pub read_buffer: usize,
    /// What may wait for an engine that does not read. Beyond, the engine counts as stalled.
    pub write_buffer: usize,
    /// The longest message an engine may send; longer ones close the socket with 1009.
    pub message: usize,
    /// What the kernel keeps for an engine that does not read: about so much audio is old when it does.
    pub send_buffer: usize,
}

/// How much more a socket may take that many calls share.
const FOR_MANY: usize = 8;

impl Default for SocketLimits {
    fn default() -> Self {
        Self { read_buffer: 4 << 10, write_buffer: 64 << 10, message: 1 << 20, send_buffer: 64 << 10 }
    }
}

impl SocketLimits {
    /// Of a socket that many calls share.
    fn for_many(self) -> Self {
        Self {
            read_buffer: self.read_buffer * FOR_MANY,
            write_buffer: self.write_buffer * FOR_MANY * 2,
            message: self.message,
            send_buffer: self.send_buffer * FOR_MANY,
        }
    }

    fn config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(self.write_buffer)
            .max_message_size(Some(self.message))
            .max_frame_size(Some(self.message))
    }
}

/// An open socket to an engine, on no runtime.
#[derive(Debug)]
pub struct EngineSocket {
    /// What it speaks.
    pub dialect: Dialect,
    /// Samples a second, where the dialect leaves them open and the configuration does not.
    pub rate: Option<media::SampleRate>,
    /// What becomes of its audio when the caller speaks at the same time.
    pub barge_in: BargeInPolicy,
    /// The socket.
    pub websocket: WebSocket<EngineStream>,
}

impl Dialler {
    /// Trusts the roots that Mozilla trusts and those in `extra`.
    pub fn new(limits: SocketLimits, extra: RootCertStore) -> Self {
        let mut roots = extra;
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(tls), limits }
    }

    /// Opens a socket to `engine`.
    ///
    /// # Errors
    /// Which of the steps failed; all of them together have `engine.connect_timeout`.
    pub async fn dial(&self, engine: &Engine) -> Result<EngineSocket, EngineFailure> {
        let dialling = self.open(engine);
        tokio::time::timeout(engine.connect_timeout, dialling).await.unwrap_or(Err(EngineFailure::Timeout))
    }

    async fn open(&self, engine: &Engine) -> Result<EngineSocket, EngineFailure> {
        let url = Url::parse(&engine.url).map_err(|error| EngineFailure::Connect(error.to_string()))?;
        let request = upgrade(engine, &url)?;
        let tcp = connect(&url, engine.connect_timeout).await?;
        let (tcp, tls) = match url.scheme() {
            "wss" => self.secure(tcp, &url).await?,
            _ => (tcp, None),
        };
        let limits = if engine.dialect.shares_socket() { self.limits.for_many() } else { self.limits };
        let detached = detach(tcp, tls, &limits);
        let (stream, twin) = detached.map_err(|error| EngineFailure::Connect(error.to_string()))?;
        let mut websocket = shake_hands(request, stream, twin, limits.config()).await?;
        websocket.get_mut().ration();
        Ok(EngineSocket {
            dialect: engine.dialect,
            rate: engine.sample_rate,
            barge_in: engine.barge_in,
            websocket,
        })
    }

    async fn secure(
        &self,
        tcp: TcpStream,
        url: &Url,
    ) -> Result<(TcpStream, Option<ClientConnection>), EngineFailure> {
        let tls = |error: &dyn std::error::Error| EngineFailure::Tls(error.to_string());
        let name = match url.host() {
            Some(Host::Domain(domain)) => ServerName::try_from(domain.to_owned()).map_err(|e| tls(&e))?,
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::V6(address)),
            None => return Err(EngineFailure::Dns),
        };
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, tcp).await.map_err(|error| tls(&error))?;
        let (tcp, connection) = stream.into_inner();
        Ok((tcp, Some(connection)))
    }
}

/// The stream, and a twin of its socket on the runtime that tells when it is ready.
fn detach(
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    limits: &SocketLimits,
) -> io::Result<(EngineStream, TcpStream)> {
    tcp.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&tcp, limits.send_buffer)?;
    let tcp = tcp.into_std()?;
    let twin = TcpStream::from_std(tcp.try_clone()?)?;
    Ok((EngineStream::new(tcp, tls), twin))
}

/// The upgrade request with the configuration's headers; the sub-protocol where the dialect has one.
fn upgrade(engine: &Engine, url: &Url) -> Result<Request, EngineFailure> {
    let wrong = |error: &dyn std::error::Error| EngineFailure::Upgrade(error.to_string());
    let mut bare = url.clone();
    // These cannot fail on a URL with a host, which every `ws:` URL has.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    let mut request = bare.as_str().into_client_request().map_err(|error| wrong(&error))?;
    let headers = request.headers_mut();
    if !url.username().is_empty() {
        let credentials = format!("{}:{}", url.username(), url.password().unwrap_or_default());
        let basic = format!("Basic {}", STANDARD.encode(credentials));
        headers.insert(AUTHORIZATION, HeaderValue::try_from(basic).map_err(|error| wrong(&error))?);
    }
    for (name, value) in &engine.headers {
        let name = HeaderName::try_from(name).map_err(|error| wrong(&error))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    match engine.dialect {
        Dialect::EdgeV1 => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("edge.v1"));
        }
        Dialect::EdgeMuxV1 => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("edge.mux.v1"));
        }
        Dialect::Jambonz => {
            let both = HeaderValue::from_static("audio.drachtio.org, audio.jambonz.org");
            headers.insert(SEC_WEBSOCKET_PROTOCOL, both);
        }
        Dialect::Asterisk | Dialect::AsteriskJson => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("media"));
        }
        Dialect::Twilio
        | Dialect::Telnyx
        | Dialect::Plivo
        | Dialect::Exotel
        | Dialect::Vonage
        | Dialect::Pipecat
        | Dialect::OpenAiRealtime
        | Dialect::GeminiLive
        | Dialect::ElevenLabs
        | Dialect::Deepgram
        | Dialect::Ultravox => {}
        Dialect::OpenAiRealtimeBeta => {
            headers.insert("OpenAI-Beta", HeaderValue::from_static("realtime=v1"));
        }
    }
    Ok(request)
}

/// Tries the host's addresses one after the other, each for its share of `limit`.
async fn connect(url: &Url, limit: Duration) -> Result<TcpStream, EngineFailure> {
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Domain(domain)) => {
            tokio::net::lookup_host((domain, port)).await.map_err(|_| EngineFailure::Dns)?.collect()
        }
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        None => return Err(EngineFailure::Dns),
    };
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut failure = EngineFailure::Dns;
    for address in addresses {
        let attempt = tokio::time::timeout(share.max(SHORTEST_ATTEMPT), TcpStream::connect(address));
        failure = match attempt.await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => EngineFailure::Connect(error.to_string()),
            Err(_) => EngineFailure::Timeout,
        };
    }
    Err(failure)
}

/// Drives tungstenite's handshake whenever the socket is ready for more of it.
async fn shake_hands(
    request: Request,
    stream: EngineStream,
    twin: TcpStream,
    config: WebSocketConfig,
) -> Result<WebSocket<EngineStream>, EngineFailure> {
    let mut outcome = client::client_with_config(request, stream, Some(config));
    loop {
        let mut unfinished = match outcome {
            Ok((websocket, _)) => return Ok(websocket),
            Err(HandshakeError::Failure(error)) => return Err(failure(error)),
            Err(HandshakeError::Interrupted(unfinished)) => unfinished,
        };
        let interest = match unfinished.get_mut().get_mut().waits() {
            Waits::ToRead => Interest::READABLE,
            Waits::ToWrite => Interest::WRITABLE,
        };
        twin.ready(interest).await.map_err(|error| EngineFailure::Connect(error.to_string()))?;
        // Takes note of the readiness before the attempt: what comes during the attempt counts as new.
        let _ = twin.try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        outcome = unfinished.handshake();
    }
}

fn failure(error: Error) -> EngineFailure {
    if let Error::Http(response) = &error {
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        return EngineFailure::Http { status: response.status().as_u16(), retry_after };
    }
    match error {
        Error::Io(error) => EngineFailure::Broken(error.to_string()),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            EngineFailure::Upgrade("the socket was closed before the answer was complete".into())
        }
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Tls(_)
        | Error::Capacity(_)
        | Error::Protocol(_)
        | Error::WriteBufferFull(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => EngineFailure::Upgrade(error.to_string()),
    }
}
