//! A daemon whose SIP anybody on loopback may speak, and what it answers to one message.
#![expect(clippy::disallowed_types, reason = "the daemon is spoken to over its sockets")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use callingedge::config::{Config, SecretsAre, Surroundings};
use callingedge::daemon::Daemon;
use callingedge::store::Location;
use sip::{Framed, Framing, Message, Side, StreamFramer};
use tokio::runtime::Runtime;

/// Every INVITE that is taken for a call rings and is refused with 503: its engine is not there.
const CONFIG: &str = r#"
sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
media = { address = "127.0.0.1", advertise = "127.0.0.1", workers = 1 }
http.listen = "127.0.0.1:0"
[tenants.acme]
[engines.nobody]
url = "ws://127.0.0.1:1"
dialect = "edge.v1"
[providers.far]
kind = "sip-trunk"
tenant = "acme"
peers = ["127.0.0.0/8"]
engine = "nobody"
"#;
/// For an answer that is bound to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a message.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// The final responses in order.
    pub(crate) finals: Vec<Message>,
    /// Whether it rang on the way.
    pub(crate) rang: bool,
    /// Whether the stream is closed behind it.
    pub(crate) closed: bool,
}

pub(crate) struct Running {
    runtime: Runtime,
    daemon: Daemon,
    pub(crate) udp: SocketAddr,
    tcp: SocketAddr,
    probe: UdpSocket,
}

impl Running {
    pub(crate) fn start() -> Self {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: BTreeMap::new(),
            held: std::collections::BTreeMap::new(),
            secrets: SecretsAre::Needed,
        };
        let config = Config::parse(CONFIG, &surroundings).unwrap();
        let runtime = Runtime::new().unwrap();
        let daemon = runtime.block_on(Daemon::start(config, Location::memory())).unwrap();
        let (udp, tcp) = (daemon.sip[0].1, daemon.sip[1].1);
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { runtime, daemon, udp, tcp, probe }
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(async {
            self.daemon.stop().await;
            self.daemon.stopped().await;
        });
        self.runtime.shutdown_background();
    }

    pub(crate) fn throw(&self, wire: &[u8]) {
        // What no datagram can hold is for streams.
        let _too_long = self.probe.send_to(wire, self.udp);
    }

    /// Whether OPTIONS is answered; whatever else comes is passed over.
    pub(crate) fn is_alive(&self) -> bool {
        self.probe.send_to(&probe("UDP"), self.udp).unwrap();
        let mut buffer = [0; 65_536];
        while let Ok((length, _)) = self.probe.recv_from(&mut buffer) {
            if is_answer_to_probe(&buffer[..length]) {
                return true;
            }
        }
        false
    }

    /// Sends a datagram from the port that its Via names, since that is where its response has to go (RFC 3261 §18.2.2),
    /// and takes what comes back until `finals` final responses are there and a probe behind them is answered.
    pub(crate) fn over_udp(&self, wire: &[u8], finals: usize) -> Fate {
        let socket = socket_of(wire);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(wire, self.udp).unwrap();
        let (mut fate, mut has_probed) = (Fate::default(), false);
        let mut buffer = [0; 65_536];
        loop {
            if fate.finals.len() >= finals && !has_probed {
                socket.send_to(&probe("UDP"), self.udp).unwrap();
                has_probed = true;
            }
            let Ok((length, _)) = socket.recv_from(&mut buffer) else { return fate };
            if is_answer_to_probe(&buffer[..length]) {
                return fate;
            }
            fate.take(&buffer[..length]);
        }
    }

    /// The same over a stream of its own; whether it is still open is found by a probe on it.
    pub(crate) fn over_tcp(&self, wire: &[u8], finals: usize) -> Fate {
        let mut stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(wire).unwrap();
        let (mut fate, mut has_probed) = (Fate::default(), false);
        let (mut framer, mut buffer) = (StreamFramer::new(Side::Dialled), [0; 8192]);
        loop {
            if fate.finals.len() >= finals && !has_probed {
                // On a stream that is closed already it goes nowhere.
                let _closed = stream.write_all(&probe("TCP"));
                has_probed = true;
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Fate { closed: true, ..fate },
                Ok(length) => framer.push(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Fate { closed: true, ..fate };
                }
                Err(_) => return fate,
            }
            while let Some(framed) = framer.next() {
                match framed.expect("what we send can be cut") {
                    Framed::Message(message) if is_answer_to_probe(&message) => return fate,
                    Framed::Message(message) => fate.take(&message),
                    Framed::Ping | Framed::Pong => {}
                }
            }
        }
    }

    /// What comes on a stream between a message that is cut off and the end of its other direction.
    pub(crate) fn over_tcp_cut_off(&self, wire: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(wire).unwrap();
        assert!(self.is_alive());
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the stream is closed");
        rest
    }
}

impl Fate {
    fn take(&mut self, wire: &[u8]) {
        let response = Message::parse(Bytes::copy_from_slice(wire), Framing::Datagram).unwrap();
        let status = response.status().expect("nothing but responses come back");
        self.rang |= status == sip::StatusCode::RINGING;
        // Over datagrams a refusal is repeated until it is acknowledged.
        if status.is_final() && self.finals.iter().all(|known| known.wire() != response.wire()) {
            self.finals.push(response);
        }
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.finals.iter().map(|response| response.status().unwrap().code()).collect()
    }
}

/// A socket at an address that nobody else has, with the port that the response to `wire` goes to.
fn socket_of(wire: &[u8]) -> UdpSocket {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let message = Message::parse(Bytes::copy_from_slice(wire), Framing::Datagram).ok();
    let via = message.and_then(|message| message.via().ok());
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
    let port = via.map_or(5060, |via| via.reply_address(anywhere).port());
    loop {
        let [_, _, high, low] = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let process = u8::try_from(std::process::id() % 200).unwrap();
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::new(127, 20 + process, high, low), port)) {
            return socket;
        }
        assert!(low < 255, "no address with port {port} is free");
    }
}

fn probe(transport: &str) -> Vec<u8> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bK-probe-{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@127.0.0.1>;tag={number}\r\nTo: <sip:probe@127.0.0.1>\r\n\
         Call-ID: probe-{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn is_answer_to_probe(wire: &[u8]) -> bool {
    wire.starts_with(b"SIP/2.0 200") && wire.windows(14).any(|part| part == b"z9hG4bK-probe-")
}
