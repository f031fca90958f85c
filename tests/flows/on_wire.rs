//! Scripts against a running daemon: one daemon, and every flow at the same time on its own thread, with its own address,
//! trunk, tenant and engine. Loss is at the phones' sockets, both ways.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the daemon is spoken to over its sockets"
)]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use callingedge::call::{EventId, TenantId};
use callingedge::config::{Config, SecretsAre, Surroundings};
use callingedge::daemon::Daemon;
use callingedge::store::{Location, Scope, Store};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{Message as Frame, WebSocket};

use crate::Flow;
use crate::carrier::{Arrival, Carrier, Loss, Order, Said, Weather, configuration};
use crate::certificates::{Certificates, EDGE_NAME};
use crate::name_server;
use crate::phone::Path;
use crate::play::Play;

/// Where the daemon is; not where other tests have theirs.
const DAEMON: Ipv4Addr = Ipv4Addr::new(127, 59, 0, 1);
/// Flows do not begin all at once.
const APART: Duration = Duration::from_millis(25);
/// From the last script's end until nothing is held: Timer H, J and the like take 32 s.
const LETTING_GO: Duration = Duration::from_secs(50);
/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Plays all of them at once; what has failed.
pub(crate) fn run(runs: &[(&'static Flow, Weather)]) -> Vec<String> {
    let sockets: Vec<Sockets> = (0..runs.len()).map(|run| Sockets::bind(run, runs[run].1)).collect();
    let names = name_server::start(sockets.iter().map(|sockets| sockets.addresses.clone()).collect());
    let mut text = format!(
        "dns.servers = [\"{names}\"]\nhttp.listen = \"127.0.0.1:0\"\n\
         sip.listen = [\"udp:{DAEMON}:0\", \"tcp:{DAEMON}:0\", \"tls:{DAEMON}:0\"]\n{}\
         media = {{ address = \"{DAEMON}\", advertise = \"{DAEMON}\", workers = 1 }}\n",
        Certificates::get().of_the_daemon()
    );
    for (number, ((flow, weather), sockets)) in runs.iter().zip(&sockets).enumerate() {
        let engine = format!("ws://{}/", sockets.engine.local_addr().unwrap());
        text += &configuration(number, *weather, &engine, &sockets.addresses, flow.trunk);
    }
    let surroundings = Surroundings {
        directory: PathBuf::new(),
        variables: crate::carrier::secrets(),
        secrets: SecretsAre::Needed,
        held: std::collections::BTreeMap::new(),
    };
    let config = Config::parse(&text, &surroundings).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let runtime = Runtime::new().unwrap();
    let daemon = runtime.block_on(Daemon::start(config, Location::memory())).unwrap();
    let (done, released) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut threads = Vec::new();
    for (number, ((flow, weather), sockets)) in runs.iter().zip(sockets).enumerate() {
        let tenant: TenantId = format!("t{number}").as_str().into();
        let carrier = OnWire {
            run: number,
            weather: *weather,
            loss: RefCell::new(Loss::new(weather.loss, weather.seed ^ number as u64)),
            edge: daemon.sip.iter().find(|one| one.0 == weather.transport).unwrap().1,
            http: daemon.http,
            token: daemon.store.tokens().unwrap().create(&tenant, "flow", &[Scope::Admin]).unwrap(),
            tenant,
            store: daemon.store.clone(),
            runtime: runtime.handle().clone(),
            sockets,
            streams: Vec::new(),
            engines: Vec::new(),
            released: released.clone(),
        };
        let (flow, weather, done) = (*flow, *weather, done.clone());
        let play = move || {
            std::thread::sleep(APART * u32::try_from(number).unwrap());
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let name = format!("{} over {} losing {} %", flow.name, weather.transport(), weather.loss);
                let (addresses, edge) = (carrier.sockets.addresses.clone(), carrier.edge);
                let mut play = Play::new(name, weather, Box::new(carrier), edge, &addresses, number);
                (flow.script)(&mut play);
                done.fetch_add(1, Ordering::SeqCst);
                play.finish();
            }));
            if outcome.is_err() {
                done.fetch_add(1, Ordering::SeqCst);
            }
            outcome.err().map(|_| format!("{} {weather:?}", flow.name))
        };
        threads.push(std::thread::Builder::new().name(flow.name.to_owned()).spawn(play).unwrap());
    }
    while done.load(Ordering::SeqCst) < threads.len() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut held = ledger(daemon.http);
    let give_up = Instant::now() + LETTING_GO;
    while !held.is_empty() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(500));
        held = ledger(daemon.http);
    }
    released.store(true, Ordering::SeqCst);
    let mut failed: Vec<String> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
    failed.extend(held.into_iter().map(|(what, count)| format!("{count} {what} held by the daemon")));
    runtime.block_on(async {
        daemon.stop().await;
        daemon.stop().await;
        daemon.stopped().await;
    });
    runtime.shutdown_background();
    failed
}

/// What the daemon holds of calls, by its own metrics.
fn ledger(http: SocketAddr) -> Vec<(String, String)> {
    const HELD: [&str; 11] = [
        "callingedge_calls",
        "callingedge_sip_call_dialogs",
        "callingedge_sip_dialogs",
        "callingedge_sip_client_transactions",
        "callingedge_sip_server_transactions",
        "callingedge_sip_timers",
        "callingedge_records_unsaved",
        "callingedge_engines_dialling",
        "callingedge_voice_calls",
        "callingedge_voice_engine_sockets",
        "callingedge_voice_rtp_sockets",
    ];
    let (_, metrics) = ask(http, "GET", "/metrics", "", "");
    let mut held = Vec::new();
    for name in HELD {
        let is_it =
            |line: &&str| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"));
        let line = metrics.lines().find(is_it);
        let count = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("no figure of");
        if count != "0" {
            held.push((name.to_owned(), count.to_owned()));
        }
    }
    held
}

/// One request over HTTP: status and body.
fn ask(http: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return (status, unchunked(rest));
    }
    (status, rest.to_owned())
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        if length == 0 {
            break;
        }
        body += &behind[..length];
        rest = behind[length..].trim_start_matches("\r\n");
    }
    body
}

/// What a run is bound to before the daemon starts.
struct Sockets {
    addresses: Vec<SocketAddr>,
    datagrams: Vec<Option<UdpSocket>>,
    listeners: Vec<Option<TcpListener>>,
    engine: TcpListener,
}

impl Sockets {
    fn bind(run: usize, weather: Weather) -> Self {
        let [.., high, low] = (run as u32).to_be_bytes();
        let address = Ipv4Addr::new(127, 60, high, low);
        let engine = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        engine.set_nonblocking(true).unwrap();
        let mut sockets =
            Self { addresses: Vec::new(), datagrams: Vec::new(), listeners: Vec::new(), engine };
        for _ in 0..3 {
            if weather.is_stream() {
                let listener = TcpListener::bind((address, 0)).unwrap();
                listener.set_nonblocking(true).unwrap();
                sockets.addresses.push(listener.local_addr().unwrap());
                sockets.listeners.push(Some(listener));
            } else {
                let socket = UdpSocket::bind((address, 0)).unwrap();
                socket.set_nonblocking(true).unwrap();
                sockets.addresses.push(socket.local_addr().unwrap());
                sockets.datagrams.push(Some(socket));
            }
        }
        sockets
    }
}

struct Stream {
    phone: usize,
    socket: Line,
    buffer: Vec<u8>,
    /// The daemon says no more; what it has said may wait still.
    ended: bool,
    open: bool,
}

struct OnWire {
    run: usize,
    weather: Weather,
    loss: RefCell<Loss>,
    edge: SocketAddr,
    http: SocketAddr,
    tenant: TenantId,
    token: String,
    store: Store,
    runtime: Handle,
    sockets: Sockets,
    streams: Vec<Stream>,
    /// Nothing where one is gone.
    engines: Vec<Option<WebSocket<TcpStream>>>,
    released: Arc<AtomicBool>,
}

impl OnWire {
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = ask(self.http, method, path, &self.token, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Waits until something can be read.
    fn sleep(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(500));
        let mut fds = vec![PollFd::new(&self.sockets.engine, PollFlags::IN)];
        let datagrams = self.sockets.datagrams.iter().flatten();
        fds.extend(datagrams.map(|socket| PollFd::new(socket, PollFlags::IN)));
        fds.extend(self.sockets.listeners.iter().flatten().map(|one| PollFd::new(one, PollFlags::IN)));
        let open = self.streams.iter().filter(|stream| stream.open);
        fds.extend(open.map(|stream| PollFd::new(stream.socket.socket(), PollFlags::IN)));
        let engines = self.engines.iter().flatten();
        fds.extend(engines.map(|engine| PollFd::new(engine.get_ref(), PollFlags::IN)));
        let wait = Timespec { tv_sec: 0, tv_nsec: left.as_nanos().try_into().unwrap() };
        let _interrupted = poll(&mut fds, Some(&wait));
    }

    fn read(&mut self) -> Option<Arrival> {
        self.read_datagrams().or_else(|| self.read_streams()).or_else(|| self.read_engines())
    }

    fn read_datagrams(&mut self) -> Option<Arrival> {
        let mut buffer = [0; 65_536];
        for (phone, socket) in self.sockets.datagrams.iter().enumerate() {
            let Some(socket) = socket else { continue };
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if !self.loss.borrow_mut().strikes() {
                    let wire = buffer[..length].to_vec();
                    return Some(Arrival::Sip { to: phone, path: Path::Datagram(from), wire });
                }
            }
        }
        None
    }

    fn read_streams(&mut self) -> Option<Arrival> {
        for (phone, listener) in self.sockets.listeners.iter().enumerate() {
            if let Some(Ok((socket, _))) = listener.as_ref().map(TcpListener::accept) {
                // What breaks during its handshake has told nobody anything.
                let Ok(socket) = Line::accepted(socket, self.weather) else { continue };
                self.streams.push(Stream { phone, socket, buffer: Vec::new(), ended: false, open: true });
            }
        }
        for (number, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.open) {
            stream.fill();
            if let Some(wire) = stream.next_message() {
                return Some(Arrival::Sip { to: stream.phone, path: Path::Stream(number as u64), wire });
            }
            if stream.ended {
                stream.open = false;
                return Some(Arrival::Closed { path: Path::Stream(number as u64) });
            }
        }
        None
    }

    fn read_engines(&mut self) -> Option<Arrival> {
        if let Ok((socket, _)) = self.sockets.engine.accept() {
            socket.set_nonblocking(false).unwrap();
            let engine = tungstenite::accept_hdr(socket, choose_protocol).ok()?;
            engine.get_ref().set_nonblocking(true).unwrap();
            self.engines.push(Some(engine));
        }
        for (number, place) in self.engines.iter_mut().enumerate() {
            let Some(engine) = place else { continue };
            match engine.read() {
                Ok(Frame::Text(text)) => {
                    let told = serde_json::from_str(text.as_str()).unwrap();
                    return Some(Arrival::Engine { engine: number, told });
                }
                // What is heard is not what these flows are about.
                Ok(
                    Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) | Frame::Close(_),
                ) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {
                    *place = None;
                    return Some(Arrival::EngineGone { engine: number });
                }
            }
        }
        None
    }
}

/// A stream, in the clear or not.
enum Line {
    Plain(TcpStream),
    Called(Box<StreamOwned<ServerConnection, TcpStream>>),
    Calling(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// What the daemon has opened.
    fn accepted(mut socket: TcpStream, weather: Weather) -> Result<Self, std::io::Error> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(HANDSHAKE))?;
        let line = match weather.transport {
            sip::Transport::Udp | sip::Transport::Tcp => Self::Plain(socket),
            sip::Transport::Tls => {
                let mut session = ServerConnection::new(Certificates::get().server.clone()).unwrap();
                while session.is_handshaking() {
                    session.complete_io(&mut socket)?;
                }
                Self::Called(Box::new(StreamOwned::new(session, socket)))
            }
        };
        line.socket().set_nonblocking(true)?;
        Ok(line)
    }

    /// What a phone opens. The daemon shows the certificate that its configuration names, or there is no test.
    fn opened(mut socket: TcpStream, weather: Weather) -> Self {
        let line = match weather.transport {
            sip::Transport::Udp | sip::Transport::Tcp => Self::Plain(socket),
            sip::Transport::Tls => {
                let name = ServerName::try_from(EDGE_NAME).unwrap();
                let mut session = ClientConnection::new(Certificates::get().client.clone(), name).unwrap();
                while session.is_handshaking() {
                    session.complete_io(&mut socket).unwrap();
                }
                Self::Calling(Box::new(StreamOwned::new(session, socket)))
            }
        };
        line.socket().set_nonblocking(true).unwrap();
        line
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Called(line) => &line.sock,
            Self::Calling(line) => &line.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Called(line) => line.read(buffer),
            Self::Calling(line) => line.read(buffer),
        }
    }

    fn write_all(&mut self, wire: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(wire),
            Self::Called(line) => line.write_all(wire).and_then(|()| line.flush()),
            Self::Calling(line) => line.write_all(wire).and_then(|()| line.flush()),
        }
    }
}

impl Stream {
    /// Takes all that is there: what TLS has opened no longer wakes a poll.
    fn fill(&mut self) {
        let mut buffer = [0; 8192];
        while !self.ended {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => self.buffer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    /// The next whole message; keep-alives are answered.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        while self.buffer.starts_with(b"\r\n") {
            if self.buffer.starts_with(b"\r\n\r\n") {
                self.buffer.drain(..4);
                let _closed = self.socket.write_all(b"\r\n");
            } else {
                self.buffer.drain(..2);
            }
        }
        let head = self.buffer.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length:")).unwrap();
        let length = head + length.trim().parse::<usize>().unwrap();
        (self.buffer.len() >= length).then(|| self.buffer.drain(..length).collect())
    }
}

#[expect(clippy::result_large_err, reason = "the trait of tungstenite")]
fn choose_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", "edge.v1".parse().unwrap());
    Ok(response)
}

impl Carrier for OnWire {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn send(&mut self, phone: usize, path: Path, wire: &[u8]) {
        match path {
            Path::Datagram(to) => {
                if let (Some(socket), false) =
                    (&self.sockets.datagrams[phone], self.loss.borrow_mut().strikes())
                {
                    // What cannot be sent is lost, and sent again.
                    let _lost = socket.send_to(wire, to);
                }
            }
            Path::Stream(number) => {
                let stream = &mut self.streams[number as usize];
                if stream.open && stream.socket.write_all(wire).is_err() {
                    stream.open = false;
                }
            }
        }
    }

    fn way(&mut self, phone: usize) -> Path {
        if !self.weather.is_stream() {
            return Path::Datagram(self.edge);
        }
        // From the phone's own address: that is how the daemon knows whose call it is.
        let from = SocketAddr::new(self.sockets.addresses[phone].ip(), 0);
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                .unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        rustix::net::connect(&socket, &self.edge).unwrap();
        let socket = Line::opened(TcpStream::from(socket), self.weather);
        self.streams.push(Stream { phone, socket, buffer: Vec::new(), ended: false, open: true });
        Path::Stream(self.streams.len() as u64 - 1)
    }

    fn cut(&mut self, path: Path) {
        if let Path::Stream(number) = path {
            let stream = &mut self.streams[number as usize];
            stream.open = false;
            let _gone = stream.socket.socket().shutdown(Shutdown::Both);
        }
    }

    fn step(&mut self, until: Instant) -> Option<Arrival> {
        let arrival = self.read();
        if arrival.is_some() {
            return arrival;
        }
        self.sleep(until);
        self.read()
    }

    fn order(&mut self, order: Order) -> Said {
        let provider = format!("/api/integrations/providers/p{}", self.run);
        let (path, body) = match order {
            Order::Place(body) => (format!("{provider}/calls"), body),
            Order::Transfer(body) => (format!("{provider}/transfer"), body),
            Order::WrapUp(body) => (format!("{provider}/wrap-up"), body),
            Order::Mode(call, body) => (format!("/api/calls/{call}/mode"), body),
            Order::Hold(call) => (format!("/api/calls/{call}/hold"), serde_json::json!({})),
            Order::Resume(call) => (format!("/api/calls/{call}/resume"), serde_json::json!({})),
        };
        let (status, answer) = self.ask("POST", &path, &body);
        match (status, answer["call_id"].as_str(), answer["code"].as_str()) {
            (202, Some(call), _) if path.ends_with("/calls") => Said::Placed(call.to_owned()),
            (200 | 202, ..) => Said::Accepted,
            (_, _, code) => Said::Refused(code.unwrap_or_default().to_owned()),
        }
    }

    fn engine_says(&mut self, engine: usize, said: &Value) {
        if let Some(socket) = &mut self.engines[engine] {
            // A socket that has broken is told by reading it.
            let _broken = socket.send(Frame::text(said.to_string()));
        }
    }

    fn engine_dies(&mut self, engine: usize) {
        if let Some(socket) = self.engines[engine].take() {
            let _gone = socket.get_ref().shutdown(Shutdown::Both);
        }
    }

    fn kill(&mut self, phone: usize) {
        if self.weather.is_stream() {
            self.sockets.listeners[phone] = None;
        } else {
            self.sockets.datagrams[phone] = None;
        }
    }

    fn calls(&mut self) -> Vec<Value> {
        let path = format!("/api/calls?provider=p{}", self.run);
        let (_, mut answer) = self.ask("GET", &path, &Value::Null);
        let mut calls: Vec<Value> = answer["calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
        calls.reverse();
        calls
    }

    fn health(&mut self) -> Value {
        self.ask("GET", &format!("/api/integrations/providers/p{}/health", self.run), &Value::Null).1
    }

    fn events(&mut self) -> Vec<String> {
        let after: Option<EventId> = None;
        let events = self.runtime.block_on(self.store.events_after(self.tenant.clone(), after, 100));
        events.unwrap().iter().map(|one| one.event.kind.as_str().to_owned()).collect()
    }

    fn stop(&mut self) {
        panic!("a daemon that many flows share is not stopped by one of them");
    }

    fn left_over(&mut self) -> Option<String> {
        (!self.released.load(Ordering::SeqCst))
            .then(|| "the daemon holds something, or other flows run".to_owned())
    }

    fn is_virtual(&self) -> bool {
        false
    }
}
