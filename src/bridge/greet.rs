//! Greets a platform that has opened a websocket: reads its `open`, answers its question whether we are there, and hands the
//! socket on, detached from the runtime. Everything has a deadline.
#![expect(clippy::disallowed_methods, reason = "a shell: it has the clock")]

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ServerConnection;
use serde_json::Map;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes, WebSocket};

use super::audiohook::{AudioHook, HookFault, HookOpen, HookParting, HookSaid};
use super::{EngineStream, Form, Incoming, Outgoing, SocketLimits};

/// For the `open` to come.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// For a session that is no call to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The longest message that is read at all; what is too long for a session but not for this is answered.
const MESSAGE_MAX: usize = 128 << 10;

/// A connection whose request was answered with 101.
#[derive(Debug)]
pub struct HookConnection {
    /// The socket.
    pub tcp: TcpStream,
    /// What encrypts it, where it is.
    pub tls: Option<ServerConnection>,
    /// What came behind the request already.
    pub read: Bytes,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The organization that was signed.
    pub organization: String,
    /// The session that was signed.
    pub session: String,
}

/// A session and its socket, for a voice worker.
#[derive(Debug)]
pub struct HookSocket {
    /// The session.
    pub hook: AudioHook,
    /// The socket.
    pub websocket: WebSocket<EngineStream>,
    /// Who is at the other end.
    pub peer: SocketAddr,
}

/// Reads what a session is about. Nothing where it was no conversation: then everything is said already.
pub async fn greet(connection: HookConnection, limits: SocketLimits) -> Option<(HookSocket, Box<HookOpen>)> {
    let HookConnection { tcp, tls, read, peer, organization, session } = connection;
    let (stream, twin) = detached(tcp, tls, &limits).ok()?;
    let config = WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.write_buffer)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let websocket = WebSocket::from_partially_read(stream, read.to_vec(), Role::Server, Some(config));
    let mut greeter =
        Greeter { websocket, twin, hook: AudioHook::new(Instant::now(), session), out: Outgoing::default() };
    match timeout(OPEN_PATIENCE, greeter.opened(&organization)).await {
        Ok(Ok(Some(open))) => {
            let Greeter { mut websocket, hook, .. } = greeter;
            websocket.get_mut().ration();
            return Some((HookSocket { hook, websocket, peer }, open));
        }
        Ok(Ok(None)) => {}
        Ok(Err(Ended::Fault(fault))) => {
            tracing::debug!(%peer, %fault, "a session was opened wrongly");
            greeter.hook.fail(&fault, &mut greeter.out);
        }
        Ok(Err(Ended::Gone)) => return None,
        Err(_) => greeter.hook.fail(&HookFault::Malformed("nothing was opened in time"), &mut greeter.out),
    }
    greeter.see_off().await;
    None
}

/// Ends a session that becomes no call.
pub async fn turn_away(socket: HookSocket, info: &str) {
    let HookSocket { mut hook, mut websocket, .. } = socket;
    let mut out = Outgoing::default();
    websocket.get_mut().free();
    let Ok(twin) = websocket.get_ref().twin().and_then(TcpStream::from_std) else { return };
    hook.leave(HookParting::Error, info, &Map::new(), &mut out);
    Greeter { websocket, twin, hook, out }.see_off().await;
}

/// The stream, and a twin of its socket on the runtime that tells when it is ready.
fn detached(
    tcp: TcpStream,
    tls: Option<ServerConnection>,
    limits: &SocketLimits,
) -> io::Result<(EngineStream, TcpStream)> {
    rustix::net::sockopt::set_socket_send_buffer_size(&tcp, limits.send_buffer)?;
    let tcp = tcp.into_std()?;
    let twin = TcpStream::from_std(tcp.try_clone()?)?;
    Ok((EngineStream::serving(tcp, tls), twin))
}

enum Ended {
    Fault(HookFault),
    Gone,
}

impl From<HookFault> for Ended {
    fn from(fault: HookFault) -> Self {
        Self::Fault(fault)
    }
}

struct Greeter {
    websocket: WebSocket<EngineStream>,
    twin: TcpStream,
    hook: AudioHook,
    out: Outgoing,
}

impl Greeter {
    /// The session's `open`; nothing when it was only asked whether we are there, and that is over.
    async fn opened(&mut self, organization: &str) -> Result<Option<Box<HookOpen>>, Ended> {
        match self.next().await? {
            HookSaid::Open(open) if open.organization != organization => {
                Err(HookFault::Conflict("the organization is not the one that was signed").into())
            }
            HookSaid::Open(open) => Ok(Some(open)),
            HookSaid::Probe
            | HookSaid::Audio
            | HookSaid::Digit(_)
            | HookSaid::Paused
            | HookSaid::Resumed
            | HookSaid::Closing { .. }
            | HookSaid::Closed
            | HookSaid::Nothing => Ok(None),
        }
    }

    /// The next thing that is said.
    async fn next(&mut self) -> Result<HookSaid, Ended> {
        loop {
            self.send().await.map_err(|_| Ended::Gone)?;
            let message = match self.websocket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest::READABLE).await.map_err(|_| Ended::Gone)?;
                    continue;
                }
                Err(_) => return Err(Ended::Gone),
            };
            let message = match &message {
                Message::Text(text) => Incoming::Text(text),
                Message::Binary(bytes) => Incoming::Binary(bytes),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                Message::Close(_) => return Err(Ended::Gone),
            };
            return Ok(self.hook.understand(Instant::now(), message, &mut self.out)?);
        }
    }

    /// Says what is left and closes, when the platform has said its last word or takes too long for it.
    async fn see_off(mut self) {
        let _in_time = timeout(END_PATIENCE, async {
            loop {
                match self.next().await {
                    Ok(HookSaid::Closing { .. }) => {
                        self.hook.leave(HookParting::Completed, "", &Map::new(), &mut self.out);
                        break self.send().await.is_ok();
                    }
                    Ok(HookSaid::Closed) => break self.send().await.is_ok(),
                    Err(Ended::Gone | Ended::Fault(_)) => break false,
                    Ok(
                        HookSaid::Open(_)
                        | HookSaid::Probe
                        | HookSaid::Audio
                        | HookSaid::Digit(_)
                        | HookSaid::Paused
                        | HookSaid::Resumed
                        | HookSaid::Nothing,
                    ) => {}
                }
            }
        })
        .await;
        let frame = CloseFrame { code: 1000.into(), reason: Utf8Bytes::default() };
        // What cannot be said is not said: the socket closes all the same.
        let _ = self.websocket.close(Some(frame));
        let _ = timeout(END_PATIENCE, self.flush()).await;
    }

    async fn send(&mut self) -> io::Result<()> {
        while let Some((form, message)) = self.out.pop() {
            let message = match form {
                Form::Text => Message::Text(Utf8Bytes::try_from(message).unwrap_or_default()),
                Form::Binary => Message::Binary(message),
            };
            match self.websocket.write(message) {
                Ok(()) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.websocket.flush() {
                Ok(()) => return Ok(()),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(Interest::WRITABLE).await?;
                }
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.twin.ready(interest).await?;
        // Takes note of the readiness before the attempt: what comes during the attempt counts as new.
        let _ = self.twin.try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        Ok(())
    }
}
