//! Carries HTTP between sockets and the router, with and without TLS; decides nothing. Bounds: connections at once, size
//! and time of a request's head, time of a TLS handshake, time that a peer may leave sent bytes unread. Whoever oversteps
//! one loses the connection, and nobody else notices.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Phase;

/// For a request's head to come, and for a kept connection to say something again.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// For a TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// For bytes that were sent to be acknowledged; a reader that stopped reading is gone after it.
const UNREAD_PATIENCE: Duration = Duration::from_secs(60);

/// For connections to end by themselves after the edge has stopped.
const GOODBYE: Duration = Duration::from_secs(2);

/// The largest head of a request.
const HEAD_MAX: usize = 32 * 1024;

/// The most headers of a request.
const HEADERS_MAX: usize = 64;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// How connections are taken.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Certificate and key, when TLS is spoken.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Connections at once; further ones are closed at once.
    pub max_connections: usize,
}

/// Serves until `phase` is [`Phase::Stopped`], then lets requests under way end.
///
/// # Errors
/// When the listener itself breaks; single connections only end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(serving.max_connections));
    let tls = serving.tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    let stop = phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut phase) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A peer that left again, or no descriptor to be had: neither ends the listener.
                tracing::debug!(%error, "a connection to the API could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics::counter!("callingedge_http_connections_refused_total").increment(1);
            continue;
        };
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, peer, router, tls, stop).await;
            drop(place);
        });
    }
    let goodbye = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<Phase>,
) {
    // Both are comfort: without them the connection still works.
    let _ = stream.set_nodelay(true);
    let patience = u32::try_from(UNREAD_PATIENCE.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, patience);
    match tls {
        None => speak(stream, peer, router, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, peer, router, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake with the API failed"),
            Err(_) => tracing::debug!("a TLS handshake with the API took too long"),
        },
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<Phase>,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}

/// Ready when the edge has stopped, or whoever could say so is gone.
pub(super) async fn stopped(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
}
