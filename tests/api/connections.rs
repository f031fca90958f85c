//! Sockets that misbehave: each loses its own connection, and everyone else is served.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callingedge::api::{Phase, Serving, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::edge::Edge;

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_is_answered_and_kept_connections_are_too() {
    let server = Server::start(8, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();

    let mut bodies = 0;
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).await.unwrap();
        bodies += usize::from(String::from_utf8_lossy(&buffer[..length]).ends_with("ok\n"));
    }

    assert_eq!(bodies, 3);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_http_and_heads_without_measure_are_refused() {
    let server = Server::start(8, None).await;
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "1".repeat(64 * 1024));

    let garbage = exchange(server.address, "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n").await;
    let many = exchange(server.address, &format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await;
    let large = exchange(server.address, &format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{large}\r\n")).await;
    let fine = exchange(server.address, HEALTHZ).await;

    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    assert!(large.starts_with("HTTP/1.1 431"), "{large}");
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_and_a_connection_that_is_silent_are_closed() {
    let server = Server::start(8, None).await;
    let mut trickling = TcpStream::connect(server.address).await.unwrap();
    trickling.write_all(b"GET /healthz HTTP/1.1\r\nHos").await.unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();

    // Virtual time passes as soon as everyone waits.
    let (mut after_head, mut after_silence) = (Vec::new(), Vec::new());
    let patience = Duration::from_secs(30);
    let trickled = tokio::time::timeout(patience, trickling.read_to_end(&mut after_head)).await;
    let silenced = tokio::time::timeout(patience, silent.read_to_end(&mut after_silence)).await;

    assert!(trickled.is_ok() && silenced.is_ok(), "a connection stayed open");
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_are_served() {
    let server = Server::start(1, None).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1024];
    let length = first.read(&mut buffer).await.unwrap();

    let second = exchange(server.address, HEALTHZ).await;
    drop(first);
    let mut third = String::new();
    while third.is_empty() {
        third = exchange(server.address, HEALTHZ).await;
    }

    assert!(length > 0);
    assert_eq!(second, "");
    assert!(third.starts_with("HTTP/1.1 200"), "{third}");
    server.stop().await;
}

#[tokio::test]
async fn with_a_certificate_tls_is_spoken_and_plain_http_is_not() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = Server::start(8, Some(Arc::new(config))).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let plain = exchange(server.address, HEALTHZ).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(HEALTHZ.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;

    assert!(!plain.starts_with("HTTP/1.1 200"), "{plain}");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop().await;
}

/// Sends a text and reads until the other side closes; what breaks counts as closed.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = stream.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

struct Server {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(max_connections: usize, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let Edge { api, router, phase, .. } = Edge::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, router, Serving { tls, max_connections }, api.phase));
        Self { address, phase, task }
    }

    /// Fails when the server does not end.
    async fn stop(self) {
        self.phase.send_replace(Phase::Stopped);
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
    }
}
