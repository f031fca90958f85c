//! A webhook receiver on loopback that does as it is told, request by request.
#![expect(clippy::disallowed_types, reason = "a test and its receiver share a script and a count")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What to do with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This status, further header lines (each ended by CRLF), and an empty body.
    Status(u16, &'static str),
    /// These bytes, and the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, and no more, but the connection stays open.
    Unfinished(&'static [u8]),
    /// The connection is closed.
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `POST /path HTTP/1.1`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub(crate) body: Vec<u8>,
}

/// A receiver; gone when it is dropped.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    connections: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Answers as the script says, then always 200.
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (seen, requests) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut streams = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                *count.lock().expect("no test panics with it") += 1;
                let (answers, seen, tls) = (Arc::clone(&answers), seen.clone(), tls.clone());
                streams.spawn(async move {
                    match tls {
                        None => serve(stream, &answers, &seen).await,
                        // A client that does not trust us says so and leaves.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &answers, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, requests, connections, task }
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> Request {
        self.requests.recv().await.expect("the receiver runs")
    }

    /// Whether nothing came that was not asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().expect("no test panics with it")
    }
}

/// Until the client closes, or the script does.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &Mutex<VecDeque<Answer>>,
    seen: &mpsc::UnboundedSender<Request>,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let request = read(&mut stream, &mut buffer).await?;
        let answer = script.lock().expect("no test panics with it").pop_front();
        seen.send(request).ok()?;
        match answer.unwrap_or(Answer::Status(200, "")) {
            Answer::Status(code, headers) => {
                let head = format!("HTTP/1.1 {code} Told\r\ncontent-length: 0\r\n{headers}\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
            }
            Answer::Bytes(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Answer::Unfinished(bytes) => {
                stream.write_all(bytes).await.ok()?;
                return std::future::pending().await;
            }
            Answer::Close => return None,
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).ok()?;
            let mut lines = head.split("\r\n");
            let line = lines.next()?.to_owned();
            let headers: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers.get("content-length")?.parse().ok()?;
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some(Request { line, headers, body });
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => buffer.extend_from_slice(&more[..length]),
        }
    }
}
