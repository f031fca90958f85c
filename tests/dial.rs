//! Dialling an engine over loopback: what comes out when it works, and what is told when it does not.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a shell is tested on sockets")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use callingedge::bridge::{Dialler, EngineSocket, SocketLimits};
use callingedge::call::{BargeInPolicy, Dialect, Engine, EngineFailure, EngineName, Fallback};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tungstenite::handshake::derive_accept_key;
use tungstenite::{Error, Message};

/// A text message "hi" from a server (RFC 6455 §5.7).
const HI: &[u8] = &[0x81, 0x02, b'h', b'i'];

#[tokio::test]
async fn what_the_engine_says_in_the_packet_of_its_101_is_not_lost() {
    let (address, server) = serve(|stream, request| {
        stream
            .write_all(&[accept(request, "Sec-WebSocket-Protocol: edge.v1\r\n").as_bytes(), HI].concat())
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    });

    let mut socket = dial(&engine(address, Dialect::EdgeV1)).await.unwrap();

    assert_eq!(socket.websocket.read().unwrap(), Message::text("hi"));
    assert!(matches!(
        socket.websocket.read(),
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock
    ));
    drop(socket);
    server.join().unwrap();
}

#[tokio::test]
async fn the_upgrade_carries_the_configured_headers_and_the_credentials_of_the_url() {
    let (address, server) = serve(|stream, request| {
        stream.write_all(accept(request, "").as_bytes()).unwrap();
        request.to_owned()
    });
    let engine = Engine {
        url: format!("ws://bot:s3cret@{address}/media?tenant=7#part"),
        headers: vec![("X-Api-Key".into(), "k".into())],
        ..engine(address, Dialect::Twilio)
    };

    dial(&engine).await.unwrap();

    let request = server.join().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /media?tenant=7 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
    assert!(request.contains("x-api-key: k\r\n"), "{request}");
    assert!(request.contains("authorization: basic ym90onmzy3jlda==\r\n"), "{request}");
    assert!(!request.contains("sec-websocket-protocol"), "twilio has none: {request}");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status_and_when_to_come_again() {
    let (address, _server) = serve(|stream, _| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let refused = dial(&engine(address, Dialect::EdgeV1)).await.unwrap_err();
    assert_eq!(refused, EngineFailure::Http { status: 503, retry_after: Some(17) });

    let (address, _server) = serve(|stream, _| {
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n").unwrap();
    });
    let redirected = dial(&engine(address, Dialect::EdgeV1)).await.unwrap_err();
    assert_eq!(redirected, EngineFailure::Http { status: 302, retry_after: None });
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_is_told_as_such() {
    let answers: [fn(&str) -> String; 4] = [
        |request| accept(request, ""),
        |request| accept(request, "Sec-WebSocket-Protocol: graphql-ws\r\n"),
        |_| {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: bm9uc2Vuc2U=\r\nSec-WebSocket-Protocol: edge.v1\r\n\r\n"
                .into()
        },
        |_| "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let (address, _server) = serve(move |stream, request| {
            stream.write_all(answer(request).as_bytes()).unwrap();
        });
        let failure = dial(&engine(address, Dialect::EdgeV1)).await.unwrap_err();
        assert!(matches!(failure, EngineFailure::Upgrade(_)), "{number}: {failure:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);

    let refused = dial(&engine(address, Dialect::Twilio)).await.unwrap_err();
    assert!(matches!(refused, EngineFailure::Connect(_)), "{refused:?}");

    let unknown = Engine { url: "ws://no-such-host.invalid/".into(), ..engine(address, Dialect::Twilio) };
    let unknown = dial(&unknown).await.unwrap_err();
    assert!(matches!(unknown, EngineFailure::Dns | EngineFailure::Timeout), "{unknown:?}");
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_given_up_after_its_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Engine {
        connect_timeout: Duration::from_millis(50),
        ..engine(listener.local_addr().unwrap(), Dialect::Twilio)
    };

    let began = Instant::now();
    assert_eq!(dial(&silent).await.unwrap_err(), EngineFailure::Timeout);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// The library's own defaults would take 128 KiB a socket at once and let an engine's message or its refusal
/// to read take any amount.
#[tokio::test]
async fn a_socket_is_small() {
    let (address, _server) = serve(|stream, request| {
        stream.write_all(accept(request, "").as_bytes()).unwrap();
    });

    let socket = dial(&engine(address, Dialect::Twilio)).await.unwrap();

    let config = socket.websocket.get_config();
    assert_eq!((config.read_buffer_size, config.write_buffer_size), (4 << 10, 0));
    assert_eq!(config.max_write_buffer_size, 64 << 10);
    assert_eq!((config.max_message_size, config.max_frame_size), (Some(1 << 20), Some(1 << 20)));
}

#[tokio::test]
async fn tls_carries_the_websocket_both_ways_when_the_certificate_is_trusted() {
    let (certificate, key) = certificate();
    let (address, server) = serve_tls(&certificate, key);
    let engine =
        Engine { url: format!("wss://localhost:{}/", address.port()), ..engine(address, Dialect::Twilio) };
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();

    let mut socket = Dialler::new(SocketLimits::default(), roots).dial(&engine).await.unwrap();

    assert_eq!(socket.websocket.read().unwrap(), Message::text("hi"), "it came with the 101");
    socket.websocket.send(Message::text("x".repeat(100_000 / 2))).unwrap();
    let echo = loop {
        socket.websocket.get_mut().ready_to_read();
        match socket.websocket.read() {
            Ok(message) => break message,
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = socket.websocket.flush();
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(echo, Message::text("x".repeat(50_000)));
    drop(socket);
    server.join().unwrap();
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (certificate, key) = certificate();
    let (address, _server) = serve_tls(&certificate, key);
    let engine =
        Engine { url: format!("wss://localhost:{}/", address.port()), ..engine(address, Dialect::Twilio) };

    let failure = dial(&engine).await.unwrap_err();

    assert!(matches!(failure, EngineFailure::Tls(_)), "{failure:?}");
}

async fn dial(engine: &Engine) -> Result<EngineSocket, EngineFailure> {
    Dialler::new(SocketLimits::default(), RootCertStore::empty()).dial(engine).await
}

fn engine(address: SocketAddr, dialect: Dialect) -> Engine {
    Engine {
        name: EngineName::from("bot"),
        url: format!("ws://{address}/"),
        dialect,
        sample_rate: None,
        headers: Vec::new(),
        parameters: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        accept_timeout: Duration::from_secs(10),
        fallback: None,
        idle_timeout: Duration::from_secs(60),
        max_calls: None,
        resume_timeout: Duration::from_secs(10),
        barge_in: BargeInPolicy::Engine,
        on_lost: Fallback::HangUp,
    }
}

/// Takes one connection, reads the request, and lets `answer` do the rest.
fn serve<T: Send + 'static>(
    answer: impl FnOnce(&mut TcpStream, &str) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        answer(&mut stream, &request)
    });
    (address, server)
}

/// Says "hi" with the 101, then echoes one message.
fn serve_tls(
    certificate: &CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> (SocketAddr, JoinHandle<()>) {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut one = [0; 1];
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read(&mut one).unwrap_or(0) == 0 {
                return; // the dialler did not trust us
            }
            request.push(one[0]);
        }
        let request = String::from_utf8(request).unwrap();
        stream.write_all(&[accept(&request, "").as_bytes(), HI].concat()).unwrap();
        let role = tungstenite::protocol::Role::Server;
        let mut websocket = tungstenite::WebSocket::from_raw_socket(stream, role, None);
        let message = websocket.read().unwrap();
        websocket.send(message).unwrap();
        let _ = websocket.read();
    });
    (address, server)
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    (made.cert.der().clone(), key)
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut one = [0; 1];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut one).unwrap();
        request.push(one[0]);
    }
    String::from_utf8(request).unwrap()
}

fn accept(request: &str, more: &str) -> String {
    let key = request
        .lines()
        .find_map(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key:").then(|| &line[18..]));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{more}\r\n",
        derive_accept_key(key.unwrap().trim().as_bytes())
    )
}
