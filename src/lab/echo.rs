//! An engine that says what it hears (`edge.v1`): takes every call, sends every frame back.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{Message, WebSocket};

use crate::bridge::{FrameFlags, FrameHeader, FrameKind, HEADER_LENGTH, Track};

/// How often a waiting engine looks whether it shall end.
const LOOK: Duration = Duration::from_millis(200);
/// The one segment it ever speaks in.
const SEGMENT: u32 = 1;

/// The engine, on threads of its own: one that listens and one a call.
pub struct EchoEngine {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    frames: Arc<AtomicU64>,
    listening: Option<JoinHandle<()>>,
}

impl EchoEngine {
    /// Listens on a loopback port of the kernel's choice.
    ///
    /// # Errors
    /// When there is no socket or thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let frames = Arc::new(AtomicU64::new(0));
        listener.set_nonblocking(true)?;
        let (stopped, counted) = (stop.clone(), frames.clone());
        let listen = move || accept(&listener, &stopped, &counted);
        let listening = std::thread::Builder::new().name("echo-engine".into()).spawn(listen)?;
        Ok(Self { address, stop, frames, listening: Some(listening) })
    }

    /// Where the edge finds it.
    pub fn url(&self) -> String {
        format!("ws://{}/echo", self.address)
    }

    /// Frames sent back, over all calls.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

impl Drop for EchoEngine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            let _panicked = listening.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>, frames: &Arc<AtomicU64>) {
    let mut calls: Vec<JoinHandle<()>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        calls.retain(|call| !call.is_finished());
        match listener.accept() {
            Ok((stream, _)) => {
                let (stop, frames) = (stop.clone(), frames.clone());
                let call = move || {
                    if let Err(error) = echo(stream, &stop, &frames) {
                        tracing::debug!(%error, "the echo engine's socket ended");
                    }
                };
                calls.extend(std::thread::Builder::new().name("echo-call".into()).spawn(call));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => {
                tracing::warn!(%error, "the echo engine cannot accept");
                std::thread::sleep(LOOK);
            }
        }
    }
    for call in calls {
        let _panicked = call.join();
    }
}

/// One call, until either side ends it.
fn echo(stream: TcpStream, stop: &AtomicBool, frames: &AtomicU64) -> Result<(), tungstenite::Error> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let handshake = tungstenite::accept_hdr(stream, choose_protocol);
    let mut socket = handshake.map_err(|error| std::io::Error::other(error.to_string()))?;
    socket.get_ref().set_read_timeout(Some(LOOK))?;
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        match socket.read() {
            Ok(Message::Binary(frame)) => {
                if let Some(answer) = turned_round(&frame, &mut sequence) {
                    frames.fetch_add(1, Ordering::Relaxed);
                    socket.send(Message::binary(answer))?;
                }
            }
            Ok(Message::Text(text)) => obey(&mut socket, text.as_str())?,
            Ok(Message::Close(_)) => return Ok(()),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => {}
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if let Some(offered) = request.headers().get("Sec-WebSocket-Protocol") {
        response.headers_mut().insert("Sec-WebSocket-Protocol", offered.clone());
    }
    Ok(response)
}

fn obey(socket: &mut WebSocket<TcpStream>, text: &str) -> Result<(), tungstenite::Error> {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    match message["type"].as_str() {
        Some("start") => socket.send(Message::text(r#"{"type":"accept"}"#)),
        Some("stop") => match socket.close(None) {
            Err(tungstenite::Error::ConnectionClosed) => Ok(()),
            other => other,
        },
        Some(_) | None => Ok(()),
    }
}

/// The same audio, said by the engine.
fn turned_round(frame: &[u8], sequence: &mut u32) -> Option<Vec<u8>> {
    let (heard, audio) = FrameHeader::parse(frame).ok()?;
    let said = FrameHeader {
        kind: FrameKind::Audio,
        track: Track::Engine,
        flags: FrameFlags::default(),
        sequence: *sequence,
        capture_or_segment: SEGMENT,
        ..heard
    };
    *sequence = sequence.wrapping_add(1);
    let mut answer = Vec::with_capacity(HEADER_LENGTH + audio.len());
    answer.extend_from_slice(&said.to_bytes());
    answer.extend_from_slice(audio);
    Some(answer)
}
