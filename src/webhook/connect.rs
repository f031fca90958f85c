//! The way to a receiver: its name is resolved, the guard judges every address, and the connection goes to one that
//! passed. Everything up to the end of the TLS handshake has one deadline.

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;

use super::connection::{CountedStream, OpenConnections};
use super::guard::{NetworkPolicy, Scheme};
use super::receiver::NotAReceiver;
use super::settings::WebhookSettings;
use super::verdict::Failure;

/// Connections kept for a receiver that has nothing at the moment, and for how long.
const IDLE: (usize, Duration) = (16, Duration::from_secs(30));

/// The head of a response may be this long.
const LONGEST_HEAD: usize = 32 * 1024;

/// Names looked up at once. Each takes a blocking thread for as long as the system's resolver likes, and the store's
/// readers need theirs.
const LOOKUPS: usize = 64;

/// Addresses of one name that are tried; each gets its share of the time.
const ADDRESSES: usize = 4;

/// The client for all receivers. Made anew when the settings change, so that no connection outlives the policy that
/// allowed it.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client<Deadlined, Full<Bytes>>,
    open: OpenConnections,
}

impl HttpClient {
    /// Sends the request, over a connection that is idle or a new one.
    pub(super) async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        if self.open.is_crowded() {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.client.request(request).await.map_err(|error| failure(&error))
    }
}

pub(super) fn client(settings: &WebhookSettings) -> HttpClient {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let (_, ignored) = roots.add_parsable_certificates(settings.roots.iter().cloned());
    if ignored > 0 {
        tracing::warn!(ignored, "some of the configured certificates cannot be used");
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let open = OpenConnections::default();
    let guarded = Guarded {
        open: open.clone(),
        policy: Arc::new(settings.network.clone()),
        lookups: Arc::new(Semaphore::new(LOOKUPS)),
        within: settings.connect_timeout,
    };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(guarded);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE.0)
        .pool_idle_timeout(IDLE.1)
        .http1_max_buf_size(LONGEST_HEAD)
        .build(Deadlined { connector, within: settings.connect_timeout });
    HttpClient { client, open }
}

/// What went wrong, by what lies at the bottom of the client's error.
fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.clone();
        }
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = within.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Failure::Tls(tls.to_string());
        }
        deepest = error.to_string();
        cause = error.source();
    }
    if error.is_connect() { Failure::Tls(deepest) } else { Failure::Broken(deepest) }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send>>;

/// Resolves, judges, connects.
#[derive(Clone)]
pub(super) struct Guarded {
    open: OpenConnections,
    policy: Arc<NetworkPolicy>,
    lookups: Arc<Semaphore>,
    within: Duration,
}

impl Service<Uri> for Guarded {
    type Response = CountedStream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { open, policy, lookups, within } = self.clone();
        Box::pin(async move {
            let deadline = Instant::now() + within;
            let stream = connect(&policy, lookups, &uri, deadline).await?;
            Ok(open.count(stream))
        })
    }
}

async fn connect(
    policy: &NetworkPolicy,
    lookups: Arc<Semaphore>,
    uri: &Uri,
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let (scheme, port) = match uri.scheme_str() {
        Some("https") => (Scheme::Https, 443),
        Some("http") => (Scheme::Http, 80),
        Some(_) | None => return Err(NotAReceiver::Scheme.into()),
    };
    let host = uri.host().ok_or(NotAReceiver::Url)?;
    let addresses = resolve(lookups, host, uri.port_u16().unwrap_or(port)).await?;
    let mut addresses = policy.choose(&addresses, scheme)?;
    addresses.truncate(ADDRESSES);
    let mut last = Failure::TimedOut;
    let mut left = u32::try_from(addresses.len()).unwrap_or(1);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one or two writes; nothing is gained by waiting for more. Refused is no harm.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => Failure::Connect(error.to_string()),
            Err(_) => Failure::TimedOut,
        };
    }
    Err(last)
}

async fn resolve(lookups: Arc<Semaphore>, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // Whoever gives up waiting leaves a thread behind that waits on: it keeps its turn until it is done.
    let turn = lookups.acquire_owned().await.map_err(|error| Failure::Dns(error.to_string()))?;
    let name = bare.to_owned();
    let looked_up = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        (name.as_str(), port).to_socket_addrs().map(Iterator::collect)
    });
    let found = looked_up.await.map_err(|error| Failure::Dns(error.to_string()))?;
    found.map_err(|error| Failure::Dns(error.to_string()))
}

/// Puts a deadline on name, TCP and TLS together.
#[derive(Clone)]
pub(super) struct Deadlined {
    connector: HttpsConnector<Guarded>,
    within: Duration,
}

impl Service<Uri> for Deadlined {
    type Response = MaybeHttpsStream<CountedStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connector.call(uri);
        let deadline = Instant::now() + self.within;
        Box::pin(async move {
            timeout_at(deadline, connecting).await.unwrap_or_else(|_| Err(Failure::TimedOut.into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_kept_for_later_unless_there_are_too_many() {
        for (crowded, kept) in [(false, true), (true, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let network = NetworkPolicy { allow_private: true, allow_networks: Vec::new() };
            let client = client(&WebhookSettings { network, ..WebhookSettings::default() });
            if crowded {
                client.open.crowd();
            }

            let receiver = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 1024];
                let length = stream.read(&mut head).await.unwrap();
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                String::from_utf8_lossy(&head[..length]).into_owned()
            });
            let mut request = Request::new(Full::default());
            *request.uri_mut() = uri;
            client.request(request).await.unwrap();

            assert_eq!(!receiver.await.unwrap().contains("connection: close"), kept);
        }
    }
}
