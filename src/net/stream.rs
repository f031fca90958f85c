//! One SIP stream (TCP): cut into messages, kept alive (RFC 5626 §4.4.1), closed when it makes no sense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Admit, Heard, STREAM_QUEUE, STREAMS_MAX};

/// How long opening a stream may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a begun message may stay incomplete.
const INCOMPLETE: Duration = Duration::from_secs(30);
/// How long a stream may be silent.
const IDLE: Duration = Duration::from_secs(3600);
/// How long a peer may refuse to read.
const WRITE: Duration = Duration::from_secs(10);

/// Gives out connection numbers, never one twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub(super) fn next(&self) -> sip::ConnectionId {
        sip::ConnectionId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Takes streams that peers open. The streams' tasks end with this one.
pub(super) async fn accept(
    listener: TcpListener,
    admit: Admit,
    numbers: Numbers,
    heard: mpsc::Sender<Heard>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut streams = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of file descriptors, mostly: a pause lets others end.
                counter!("callingedge_sip_accept_errors_total").increment(1);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while streams.try_join_next().is_some() {}
        if !admit(peer.ip()) {
            counter!("callingedge_sip_streams_refused_total", "reason" => "unknown_source").increment(1);
            continue;
        }
        if open.load(Ordering::Relaxed) >= STREAMS_MAX {
            counter!("callingedge_sip_streams_refused_total", "reason" => "limit").increment(1);
            continue;
        }
        let connection = numbers.next();
        let (sender, messages) = mpsc::channel(STREAM_QUEUE);
        if heard.send(Heard::Opened { connection, peer, sender }).await.is_err() {
            return;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (heard, open) = (heard.clone(), open.clone());
        streams.spawn(async move {
            carry(connection, stream, peer, sip::Side::Accepted, messages, &heard).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Opens a stream to a peer and carries it.
pub(super) async fn connect(
    connection: sip::ConnectionId,
    peer: SocketAddr,
    messages: mpsc::Receiver<Bytes>,
    heard: mpsc::Sender<Heard>,
) {
    match timeout(CONNECT, TcpStream::connect(peer)).await {
        Ok(Ok(stream)) => carry(connection, stream, peer, sip::Side::Dialled, messages, &heard).await,
        Ok(Err(_)) | Err(_) => {
            let _nobody_listens = heard.send(Heard::NotOpened { connection, peer }).await;
        }
    }
}

/// Both directions of one stream, until either end closes it.
async fn carry(
    connection: sip::ConnectionId,
    mut stream: TcpStream,
    peer: SocketAddr,
    side: sip::Side,
    mut messages: mpsc::Receiver<Bytes>,
    heard: &mpsc::Sender<Heard>,
) {
    if let Ok(local) = stream.local_addr() {
        let flow = sip::Flow { transport: sip::Transport::Tcp, local, peer, connection: Some(connection) };
        let _unset = stream.set_nodelay(true);
        let (reader, writer) = stream.split();
        tokio::select! {
            () = read(reader, flow, side, heard) => {}
            () = write(writer, &mut messages) => {}
        }
    }
    let _nobody_listens = heard.send(Heard::Closed { connection, peer, side }).await;
}

async fn write(mut writer: tokio::net::tcp::WriteHalf<'_>, messages: &mut mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        match timeout(WRITE, writer.write_all(&message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn read(
    mut reader: tokio::net::tcp::ReadHalf<'_>,
    flow: sip::Flow,
    side: sip::Side,
    heard: &mpsc::Sender<Heard>,
) {
    let mut framer = sip::StreamFramer::new(side);
    let mut buffer = [0; 8192];
    let mut begun: Option<Instant> = None;
    loop {
        let deadline = begun.map_or_else(|| Instant::now() + IDLE, |begun| begun + INCOMPLETE);
        let length = match tokio::time::timeout_at(deadline, reader.read(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => length,
            Ok(Ok(_) | Err(_)) => return,
            Err(_) => {
                counter!("callingedge_sip_streams_timed_out_total").increment(1);
                return;
            }
        };
        framer.push(&buffer[..length]);
        while let Some(framed) = framer.next() {
            let sent = match framed {
                Ok(sip::Framed::Message(wire)) => heard.send(Heard::Message { flow, wire }).await,
                // The exchange owns the writing side: a pong travels the same way as every message.
                Ok(sip::Framed::Ping) => heard.send(Heard::Ping { flow }).await,
                Ok(sip::Framed::Pong) => Ok(()),
                Err(_) => {
                    counter!("callingedge_sip_streams_malformed_total").increment(1);
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
        begun = framer.is_within_message().then(|| begun.unwrap_or_else(Instant::now));
    }
}
