//! Carries SIP between sockets and the exchange; decides nothing.
//!
//! Each listener and each open stream is a task that ends with the [`Net`]. What they hear comes through one bounded
//! queue: when the exchange falls behind, tasks stop reading, and the kernel drops datagrams or slows streams down.

mod dns;
mod keep_alive;
mod stream;
mod tls;
mod udp;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use metrics::counter;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use dns::{Found, Resolver};
pub use tls::{Identity, Tls, TlsError, TrunkTls};

/// Messages waiting for the exchange, over all sockets.
const QUEUE: usize = 4096;
/// Messages waiting for one stream's peer to read; beyond, the stream is closed.
const STREAM_QUEUE: usize = 256;
/// Streams open at once; beyond, new ones are closed as they come.
const STREAMS_MAX: usize = 4096;

/// What the sockets tell.
#[derive(Debug)]
pub enum Heard {
    /// A datagram, or one message of a stream.
    Message {
        /// Where it came from.
        flow: sip::Flow,
        /// The bytes.
        wire: Bytes,
        /// When it came.
        at: Instant,
    },
    /// A stream cannot be read on (RFC 3261 §18.3). Once what there is has been answered, [`Net::hang_up`] ends it.
    Broken {
        /// Where it came from.
        flow: sip::Flow,
        /// The headers that the stream broke at, if they are any.
        wire: Bytes,
    },
    /// A keep-alive to be answered (RFC 5626 §4.4.1).
    Ping {
        /// Where it came from.
        flow: sip::Flow,
    },
    /// A peer opened a stream.
    Opened {
        /// Its number.
        connection: sip::ConnectionId,
        /// What it speaks.
        transport: sip::Transport,
        /// The other end.
        peer: SocketAddr,
        /// What to write to it.
        sender: mpsc::Sender<Bytes>,
    },
    /// A stream is closed.
    Closed {
        /// Its number.
        connection: sip::ConnectionId,
        /// What it spoke.
        transport: sip::Transport,
        /// The other end.
        peer: SocketAddr,
        /// Who opened it.
        side: sip::Side,
    },
    /// No stream could be opened.
    NotOpened {
        /// Its number.
        connection: sip::ConnectionId,
        /// What it should have spoken.
        transport: sip::Transport,
        /// Where it should have gone.
        peer: SocketAddr,
        /// Why not.
        reason: String,
    },
}

/// Whether a peer may open a stream.
pub type Admit = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// All SIP sockets.
pub struct Net {
    udp: Vec<Arc<UdpSocket>>,
    streams: HashMap<sip::ConnectionId, Stream>,
    by_peer: HashMap<(sip::Transport, SocketAddr), sip::ConnectionId>,
    opening: stream::Numbers,
    tls: watch::Sender<Arc<Tls>>,
    heard: mpsc::Sender<Heard>,
    tasks: JoinSet<()>,
}

struct Stream {
    transport: sip::Transport,
    peer: SocketAddr,
    sender: mpsc::Sender<Bytes>,
}

/// A message that could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent {
    /// How it should have gone.
    pub transport: sip::Transport,
    /// To whom.
    pub to: SocketAddr,
}

impl Net {
    /// Opens the listeners. Returns the queue of what they hear and the addresses they are bound to, in order.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound.
    pub async fn listen(
        listeners: &[(sip::Transport, SocketAddr)],
        admit: Admit,
    ) -> std::io::Result<(Self, mpsc::Receiver<Heard>, Vec<SocketAddr>)> {
        let (heard, queue) = mpsc::channel(QUEUE);
        let mut net = Self {
            udp: Vec::new(),
            streams: HashMap::new(),
            by_peer: HashMap::new(),
            opening: stream::Numbers::default(),
            tls: watch::Sender::new(Arc::default()),
            heard,
            tasks: JoinSet::new(),
        };
        let mut bound = Vec::new();
        for (transport, address) in listeners {
            bound.push(net.bind(*transport, *address, &admit).await.map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("cannot listen on {transport:?} {address}: {error}"),
                )
            })?);
        }
        Ok((net, queue, bound))
    }

    async fn bind(
        &mut self,
        transport: sip::Transport,
        address: SocketAddr,
        admit: &Admit,
    ) -> std::io::Result<SocketAddr> {
        match transport {
            sip::Transport::Udp => {
                let socket = Arc::new(UdpSocket::bind(address).await?);
                let bound = socket.local_addr()?;
                self.tasks.spawn(udp::receive(socket.clone(), bound, self.heard.clone()));
                self.udp.push(socket);
                Ok(bound)
            }
            sip::Transport::Tcp | sip::Transport::Tls => {
                let listener = TcpListener::bind(address).await?;
                let bound = listener.local_addr()?;
                let security = match transport {
                    sip::Transport::Tls => stream::Security::Tls(self.tls.subscribe()),
                    sip::Transport::Udp | sip::Transport::Tcp => stream::Security::None,
                };
                self.tasks.spawn(stream::accept(
                    listener,
                    security,
                    admit.clone(),
                    self.opening.clone(),
                    self.heard.clone(),
                ));
                Ok(bound)
            }
        }
    }

    /// What TLS streams are opened with from now on. Those that are open stay as they are. Until this is called, no TLS
    /// stream can be opened.
    pub fn secure(&mut self, tls: Tls) {
        self.tls.send_replace(Arc::new(tls));
    }

    /// Takes note of a stream that a peer opened.
    pub fn opened(
        &mut self,
        connection: sip::ConnectionId,
        transport: sip::Transport,
        peer: SocketAddr,
        sender: mpsc::Sender<Bytes>,
    ) {
        self.streams.insert(connection, Stream { transport, peer, sender });
        self.by_peer.insert((transport, peer), connection);
    }

    /// Takes note of a stream that is no more.
    pub fn closed(&mut self, connection: sip::ConnectionId) {
        self.forget(connection);
    }

    /// Answers a keep-alive.
    pub fn pong(&self, flow: sip::Flow) {
        if let Some(stream) = flow.connection.and_then(|connection| self.streams.get(&connection)) {
            // A full queue: the peer sees more than a pong soon enough.
            let _full = stream.sender.try_send(Bytes::from_static(b"\r\n"));
        }
    }

    /// Closes a stream when everything that waits for it is written.
    pub fn hang_up(&mut self, connection: sip::ConnectionId) {
        self.forget(connection);
    }

    fn forget(&mut self, connection: sip::ConnectionId) {
        if let Some(stream) = self.streams.remove(&connection)
            && self.by_peer.get(&(stream.transport, stream.peer)) == Some(&connection)
        {
            self.by_peer.remove(&(stream.transport, stream.peer));
        }
    }

    /// Streams open or being opened.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Sends without waiting.
    ///
    /// # Errors
    ///
    /// [`NotSent`] where the transport itself says no; a full socket buffer is a lost datagram, which SIP repeats.
    pub fn send(&mut self, transmit: sip::Transmit) -> Result<(), NotSent> {
        match transmit.transport {
            sip::Transport::Udp => self.send_datagram(&transmit),
            sip::Transport::Tcp | sip::Transport::Tls => self.send_on_stream(transmit),
        }
    }

    fn send_datagram(&self, transmit: &sip::Transmit) -> Result<(), NotSent> {
        let to = transmit.to;
        let fits = |socket: &&Arc<UdpSocket>| match socket.local_addr() {
            Ok(local) => transmit.local.map_or(local.is_ipv4() == to.is_ipv4(), |wanted| wanted == local),
            Err(_) => false,
        };
        let not_sent = NotSent { transport: transmit.transport, to };
        let socket = self.udp.iter().find(fits).ok_or(not_sent)?;
        match socket.try_send_to(&transmit.payload, to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                counter!("callingedge_sip_datagrams_unsent_total").increment(1);
                Ok(())
            }
            // An ICMP error of an earlier datagram; this one was not tried.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                socket.try_send_to(&transmit.payload, to).map(|_| ()).map_err(|_| not_sent)
            }
            Err(_) => Err(not_sent),
        }
    }

    fn send_on_stream(&mut self, transmit: sip::Transmit) -> Result<(), NotSent> {
        let to = transmit.to;
        let open = transmit
            .connection
            .filter(|connection| self.streams.contains_key(connection))
            .or_else(|| self.by_peer.get(&(transmit.transport, to)).copied());
        let connection = match open {
            Some(connection) => connection,
            None => self.open(transmit.transport, to),
        };
        let not_sent = NotSent { transport: transmit.transport, to };
        let stream = self.streams.get(&connection).ok_or(not_sent)?;
        if stream.sender.try_send(transmit.payload).is_err() {
            // Closed, or its peer reads nothing: dropping the sender ends the stream's task.
            self.forget(connection);
            return Err(not_sent);
        }
        Ok(())
    }

    fn open(&mut self, transport: sip::Transport, to: SocketAddr) -> sip::ConnectionId {
        let connection = self.opening.next();
        let (sender, messages) = mpsc::channel(STREAM_QUEUE);
        self.streams.insert(connection, Stream { transport, peer: to, sender });
        self.by_peer.insert((transport, to), connection);
        let security = match transport {
            sip::Transport::Tls => Some(self.tls.borrow().towards(to)),
            sip::Transport::Udp | sip::Transport::Tcp => None,
        };
        self.tasks.spawn(stream::connect(connection, to, security, messages, self.heard.clone()));
        while self.tasks.try_join_next().is_some() {}
        connection
    }
}
