//! SIP sockets on loopback: datagrams, streams cut into messages, keep-alives, peers that misbehave.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callingedge::net::{Heard, Net, NotSent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

const OPTIONS: &[u8] =
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK1\r\nContent-Length: 3\r\n\r\nabc";
const PATIENCE: Duration = Duration::from_secs(10);

struct Sockets {
    net: Net,
    heard: mpsc::Receiver<Heard>,
    udp: SocketAddr,
    tcp: SocketAddr,
}

impl Sockets {
    async fn open() -> Self {
        Self::admitting(true).await
    }

    async fn admitting(everyone: bool) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listeners = [(sip::Transport::Udp, any), (sip::Transport::Tcp, any)];
        let (net, heard, bound) = Net::listen(&listeners, Arc::new(move |_| everyone)).await.unwrap();
        Self { net, heard, udp: bound[0], tcp: bound[1] }
    }

    /// The next thing heard; streams that come and go are noted on the way.
    async fn next(&mut self) -> Heard {
        let heard = timeout(PATIENCE, self.heard.recv()).await.expect("something is heard").unwrap();
        match &heard {
            Heard::Opened { connection, transport, peer, sender } => {
                self.net.opened(*connection, *transport, *peer, sender.clone());
            }
            Heard::Closed { connection, .. } | Heard::NotOpened { connection, .. } => {
                self.net.closed(*connection);
            }
            Heard::Broken { flow, .. } => self.net.hang_up(flow.connection.unwrap()),
            Heard::Message { .. } | Heard::Ping { .. } => {}
        }
        heard
    }

    async fn message(&mut self) -> (sip::Flow, Bytes) {
        loop {
            if let Heard::Message { flow, wire, at: _ } = self.next().await {
                return (flow, wire);
            }
        }
    }

    async fn closed(&mut self) {
        while !matches!(self.next().await, Heard::Closed { .. }) {}
    }
}

fn transmit(transport: sip::Transport, to: SocketAddr, payload: &'static [u8]) -> sip::Transmit {
    sip::Transmit { transport, local: None, to, connection: None, payload: Bytes::from_static(payload) }
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("bytes come").unwrap();
    bytes
}

#[tokio::test]
async fn a_datagram_is_heard_with_where_it_came_from_and_answered_there() {
    let mut sockets = Sockets::open().await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    peer.send_to(b"\r\n\r\n", sockets.udp).await.unwrap();
    peer.send_to(OPTIONS, sockets.udp).await.unwrap();

    let (flow, wire) = sockets.message().await;
    assert_eq!(&wire[..], OPTIONS, "a keep-alive is no message");
    assert_eq!((flow.local, flow.peer), (sockets.udp, peer.local_addr().unwrap()));

    sockets.net.send(transmit(sip::Transport::Udp, flow.peer, b"SIP/2.0 200 OK\r\n\r\n")).unwrap();
    let mut buffer = [0; 100];
    let (length, from) = timeout(PATIENCE, peer.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((&buffer[..length], from), (&b"SIP/2.0 200 OK\r\n\r\n"[..], sockets.udp));
}

#[tokio::test]
async fn a_stream_is_cut_into_messages_however_its_bytes_arrive() {
    let mut sockets = Sockets::open().await;
    let mut peer = TcpStream::connect(sockets.tcp).await.unwrap();
    let two = [OPTIONS, OPTIONS].concat();
    for byte in &two[..OPTIONS.len() + 10] {
        peer.write_all(&[*byte]).await.unwrap();
    }
    peer.write_all(&two[OPTIONS.len() + 10..]).await.unwrap();

    let (first, wire) = sockets.message().await;
    assert_eq!(&wire[..], OPTIONS);
    let (second, wire) = sockets.message().await;
    assert_eq!(&wire[..], OPTIONS);
    assert_eq!(first.connection, second.connection);
    assert!(first.connection.is_some());

    let answer = sip::Transmit {
        connection: first.connection,
        ..transmit(sip::Transport::Tcp, first.peer, b"SIP/2.0 200 OK\r\n\r\n")
    };
    sockets.net.send(answer).unwrap();
    assert_eq!(read(&mut peer, 18).await, b"SIP/2.0 200 OK\r\n\r\n");
}

#[tokio::test]
async fn a_ping_is_answered_with_a_pong() {
    let mut sockets = Sockets::open().await;
    let mut peer = TcpStream::connect(sockets.tcp).await.unwrap();
    peer.write_all(b"\r\n\r\n").await.unwrap();

    let flow = loop {
        if let Heard::Ping { flow } = sockets.next().await {
            break flow;
        }
    };
    sockets.net.pong(flow);

    assert_eq!(read(&mut peer, 2).await, b"\r\n");
}

#[tokio::test]
async fn what_makes_no_sense_is_told_so_and_closes_that_stream_only() {
    let mut sockets = Sockets::open().await;
    let mut good = TcpStream::connect(sockets.tcp).await.unwrap();
    let mut bad = TcpStream::connect(sockets.tcp).await.unwrap();
    let broken = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -5\r\n\r\n";
    bad.write_all(broken).await.unwrap();
    bad.write_all(&[b'x'; 100_000]).await.unwrap();

    let (flow, wire) = loop {
        let heard = timeout(PATIENCE, sockets.heard.recv()).await.unwrap().unwrap();
        match heard {
            Heard::Broken { flow, wire } => break (flow, wire),
            Heard::Opened { connection, transport, peer, sender } => {
                sockets.net.opened(connection, transport, peer, sender);
            }
            Heard::Message { .. } | Heard::Ping { .. } | Heard::Closed { .. } | Heard::NotOpened { .. } => {}
        }
    };
    let answer = transmit(sip::Transport::Tcp, flow.peer, b"SIP/2.0 400 Bad Request\r\n\r\n");
    sockets.net.send(sip::Transmit { connection: flow.connection, ..answer }).unwrap();
    sockets.net.hang_up(flow.connection.unwrap());
    let mut rest = Vec::new();
    timeout(PATIENCE, bad.read_to_end(&mut rest)).await.unwrap().unwrap();
    good.write_all(OPTIONS).await.unwrap();

    assert_eq!(&wire[..], broken);
    assert_eq!(rest, b"SIP/2.0 400 Bad Request\r\n\r\n", "the peer can read why, whatever it sent on");
    assert_eq!(&sockets.message().await.1[..], OPTIONS);
    assert_eq!(sockets.net.open_streams(), 1);
}

#[tokio::test]
async fn a_stream_is_opened_once_and_used_again() {
    let mut sockets = Sockets::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();

    sockets.net.send(transmit(sip::Transport::Tcp, to, b"one")).unwrap();
    sockets.net.send(transmit(sip::Transport::Tcp, to, b"two")).unwrap();
    let (mut peer, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();

    assert_eq!(read(&mut peer, 6).await, b"onetwo");
    peer.write_all(OPTIONS).await.unwrap();
    assert_eq!(sockets.message().await.0.peer, to);
    assert_eq!(sockets.net.open_streams(), 1);
    drop(peer);
    sockets.closed().await;
    assert_eq!(sockets.net.open_streams(), 0);
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_told() {
    let mut sockets = Sockets::open().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

    sockets.net.send(transmit(sip::Transport::Tcp, nobody, b"hello")).unwrap();

    let heard = sockets.next().await;
    assert!(matches!(heard, Heard::NotOpened { peer, .. } if peer == nobody), "{heard:?}");
    assert_eq!(sockets.net.open_streams(), 0);
}

#[tokio::test]
async fn a_stranger_gets_no_stream() {
    let mut sockets = Sockets::admitting(false).await;
    let mut stranger = TcpStream::connect(sockets.tcp).await.unwrap();

    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stranger.read_to_end(&mut rest)).await.expect("the stream is closed");

    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(sockets.heard.try_recv().is_err());
    assert_eq!(sockets.net.open_streams(), 0);
}

#[tokio::test]
async fn a_transport_without_a_socket_is_said_at_once() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (mut net, _heard, _) = Net::listen(&[(sip::Transport::Tcp, any)], Arc::new(|_| true)).await.unwrap();
    let to = "127.0.0.1:9".parse().unwrap();

    let sent = net.send(transmit(sip::Transport::Udp, to, b"hello"));

    assert_eq!(sent, Err(NotSent { transport: sip::Transport::Udp, to }));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();

    let error = Net::listen(&[(sip::Transport::Udp, address)], Arc::new(|_| true)).await.err().unwrap();

    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_end_closes_its_stream_in_time() {
    let mut sockets = Sockets::open().await;
    let mut peer = TcpStream::connect(sockets.tcp).await.unwrap();
    peer.write_all(&OPTIONS[..40]).await.unwrap();

    let began = tokio::time::Instant::now();
    while !matches!(sockets.heard.recv().await, Some(Heard::Closed { .. })) {}

    assert!(began.elapsed() < Duration::from_secs(60), "half a minute is enough for a message");
}
