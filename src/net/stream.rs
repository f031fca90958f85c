//! One SIP stream (TCP, or TLS on it): cut into messages, kept alive (RFC 5626 §4.4.1), closed when it makes no sense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::keep_alive::{self, Due, KeepAlive};
use super::tls::Tls;
use super::{Admit, Heard, STREAM_QUEUE, STREAMS_MAX};

/// How long opening a stream may take, and how long its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the kernel gives a stream up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How long a begun message may stay incomplete.
const INCOMPLETE: Duration = Duration::from_secs(30);
/// How long a peer whose stream broke is listened to, so that it can read why before its connection is reset.
const LINGER: Duration = Duration::from_secs(2);
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

/// What the streams of a listener are wrapped in.
pub(super) enum Security {
    /// Nothing.
    None,
    /// What is in force when the stream comes.
    Tls(watch::Receiver<Arc<Tls>>),
}

/// Takes streams that peers open. The streams' tasks end with this one.
pub(super) async fn accept(
    listener: TcpListener,
    security: Security,
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
        if heard.is_closed() {
            return;
        }
        if !admit(peer.ip()) {
            counter!("callingedge_sip_streams_refused_total", "reason" => "unknown_source").increment(1);
            continue;
        }
        if open.load(Ordering::Relaxed) >= STREAMS_MAX {
            counter!("callingedge_sip_streams_refused_total", "reason" => "limit").increment(1);
            continue;
        }
        let accepted = Accepted { connection: numbers.next(), peer, heard: heard.clone() };
        let security = match &security {
            Security::None => None,
            Security::Tls(tls) => Some(tls.borrow().clone()),
        };
        open.fetch_add(1, Ordering::Relaxed);
        let open = open.clone();
        streams.spawn(async move {
            match security {
                None => accepted.plain(stream).await,
                Some(tls) => accepted.secured(stream, &tls).await,
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// A stream that a peer has opened.
struct Accepted {
    connection: sip::ConnectionId,
    peer: SocketAddr,
    heard: mpsc::Sender<Heard>,
}

impl Accepted {
    async fn plain(self, stream: TcpStream) {
        let Ok(local) = prepare(&stream) else { return };
        self.carry(stream, sip::Transport::Tcp, local).await;
    }

    async fn secured(self, stream: TcpStream, tls: &Tls) {
        let refused = |reason: &'static str| {
            counter!("callingedge_sip_streams_refused_total", "reason" => reason).increment(1);
        };
        let (Ok(local), Some(server)) = (prepare(&stream), tls.server()) else { return refused("handshake") };
        let stream = match timeout(CONNECT, TlsAcceptor::from(server).accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, peer = %self.peer, "a TLS handshake failed");
                return refused("handshake");
            }
            Err(_) => return refused("handshake"),
        };
        if !tls.accepts(self.peer.ip(), stream.get_ref().1.peer_certificates()) {
            tracing::warn!("a trunk opened a TLS stream without the certificate that it has to show");
            return refused("certificate");
        }
        self.carry(stream, sip::Transport::Tls, local).await;
    }

    async fn carry(self, stream: impl AsyncRead + AsyncWrite, transport: sip::Transport, local: SocketAddr) {
        let Self { connection, peer, heard } = self;
        let (sender, messages) = mpsc::channel(STREAM_QUEUE);
        if heard.send(Heard::Opened { connection, transport, peer, sender }).await.is_err() {
            return;
        }
        let flow = sip::Flow { transport, local, peer, connection: Some(connection) };
        carry(stream, flow, sip::Side::Accepted, messages, &heard).await;
        let side = sip::Side::Accepted;
        let _nobody_listens = heard.send(Heard::Closed { connection, transport, peer, side }).await;
    }
}

/// How to open a TLS stream, and the name that must be at its other end; none when TLS is not set up.
type Secured = Option<(Arc<ClientConfig>, ServerName<'static>)>;

/// Opens a stream to a peer and carries it.
pub(super) async fn connect(
    connection: sip::ConnectionId,
    peer: SocketAddr,
    security: Option<Secured>,
    messages: mpsc::Receiver<Bytes>,
    heard: mpsc::Sender<Heard>,
) {
    let transport = if security.is_some() { sip::Transport::Tls } else { sip::Transport::Tcp };
    let side = sip::Side::Dialled;
    let outcome = match open(peer).await {
        Err(reason) => Err(reason),
        Ok((stream, local)) => {
            let flow = sip::Flow { transport, local, peer, connection: Some(connection) };
            match security {
                None => {
                    carry(stream, flow, side, messages, &heard).await;
                    Ok(())
                }
                Some(secured) => match handshake(stream, secured).await {
                    Ok(stream) => {
                        carry(stream, flow, side, messages, &heard).await;
                        Ok(())
                    }
                    Err(reason) => Err(reason),
                },
            }
        }
    };
    let told = match outcome {
        Ok(()) => Heard::Closed { connection, transport, peer, side },
        Err(reason) => {
            counter!("callingedge_sip_streams_not_opened_total", "transport" => transport.as_param())
                .increment(1);
            Heard::NotOpened { connection, transport, peer, reason }
        }
    };
    let _nobody_listens = heard.send(told).await;
}

async fn open(peer: SocketAddr) -> Result<(TcpStream, SocketAddr), String> {
    let connected = timeout(CONNECT, TcpStream::connect(peer)).await;
    let stream = connected.map_err(|_| "no connection in time")?.map_err(|error| error.to_string())?;
    let local = prepare(&stream).map_err(|error| error.to_string())?;
    Ok((stream, local))
}

async fn handshake(
    stream: TcpStream,
    secured: Secured,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let (config, name) = secured.ok_or("TLS is not set up")?;
    let shaken = timeout(CONNECT, TlsConnector::from(config).connect(name, stream)).await;
    shaken.map_err(|_| "no TLS handshake in time")?.map_err(|error| format!("TLS: {error}"))
}

fn prepare(stream: &TcpStream) -> std::io::Result<SocketAddr> {
    // Neither is needed for the stream to work.
    let _unset = stream.set_nodelay(true);
    let _unset = rustix::net::sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX),
    );
    stream.local_addr()
}

/// What the reading half tells the writing half of the same stream.
#[derive(Debug, Default)]
struct Counted {
    pongs: AtomicU64,
    messages: AtomicU64,
    /// Nothing more can be read from it.
    is_broken: AtomicBool,
}

impl Counted {
    fn heard(&self) -> keep_alive::Heard {
        keep_alive::Heard {
            pongs: self.pongs.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }
}

/// Both directions of one stream, until either end closes it.
async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    flow: sip::Flow,
    side: sip::Side,
    mut messages: mpsc::Receiver<Bytes>,
    heard: &mpsc::Sender<Heard>,
) {
    let (reader, mut writer) = tokio::io::split(stream);
    let counted = Counted::default();
    let mut reading = std::pin::pin!(read(reader, flow, side, heard, &counted));
    let has_ended = tokio::select! {
        () = &mut reading => true,
        () = write(&mut writer, side, &mut messages, &counted) => false,
    };
    // TLS says goodbye; whoever does not listen to it has gone already.
    let _gone = timeout(Duration::from_secs(1), writer.shutdown()).await;
    if !has_ended && counted.is_broken.load(Ordering::Relaxed) {
        // A socket that is closed with bytes unread takes back what it has sent.
        reading.await;
    }
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    side: sip::Side,
    messages: &mut mpsc::Receiver<Bytes>,
    counted: &Counted,
) {
    // Only the opener pings (RFC 5626 §3.5.1).
    let mut pings = match side {
        sip::Side::Dialled => Some(KeepAlive::new(Instant::now(), rand::random())),
        sip::Side::Accepted => None,
    };
    loop {
        let far = Instant::now() + IDLE;
        let at = pings.as_ref().map_or(far, KeepAlive::poll_timeout);
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => {
                    counted.messages.fetch_add(1, Ordering::Relaxed);
                    message
                }
                None => return,
            },
            () = tokio::time::sleep_until(at) => {
                let due = pings.as_mut().map(|pings| pings.handle_timeout(Instant::now(), counted.heard()));
                match due {
                    Some(Due::Ping) => Bytes::from_static(b"\r\n\r\n"),
                    Some(Due::Dead) => {
                        counter!("callingedge_sip_streams_dead_total").increment(1);
                        return;
                    }
                    Some(Due::Idle) => return,
                    Some(Due::Nothing) | None => continue,
                }
            }
        };
        let written = async {
            writer.write_all(&message).await?;
            writer.flush().await
        };
        match timeout(WRITE, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    flow: sip::Flow,
    side: sip::Side,
    heard: &mpsc::Sender<Heard>,
    counted: &Counted,
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
                Ok(sip::Framed::Message(wire)) => {
                    counted.messages.fetch_add(1, Ordering::Relaxed);
                    heard.send(Heard::Message { flow, wire, at: Instant::now().into_std() }).await
                }
                // The exchange owns the writing side: a pong travels the same way as every message.
                Ok(sip::Framed::Ping) => heard.send(Heard::Ping { flow }).await,
                Ok(sip::Framed::Pong) => {
                    counted.pongs.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Err(sip::FramingError { head, .. }) => {
                    counter!("callingedge_sip_streams_malformed_total").increment(1);
                    counted.is_broken.store(true, Ordering::Relaxed);
                    if heard.send(Heard::Broken { flow, wire: head }).await.is_ok() {
                        let _in_time = timeout(LINGER, discard(&mut reader, &mut buffer)).await;
                    }
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

/// Reads on for nobody, until the peer closes.
async fn discard(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) {
    while let Ok(1..) = reader.read(buffer).await {}
}
