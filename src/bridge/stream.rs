//! The bytes under an engine's websocket: TCP, or TLS on TCP. Never blocks.
//!
//! While the worker owns it, reading is rationed: one wake-up allows so many `recv` calls and no more, so that
//! a level-triggered poller spends no call on learning that nothing is left, and a burst of one engine does
//! not keep the others waiting.
#![expect(clippy::disallowed_types, reason = "a shell: it has the socket")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::{ClientConnection, Connection, ServerConnection};

/// `recv` calls that one wake-up allows, as long as each fills its buffer.
const RECEIVES_A_WAKE: u8 = 4;

/// The room that rustls offers to `recv`, unless a larger record is under way.
const TLS_RECEIVE: usize = 4096;

/// What a blocked stream waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Bytes from the engine.
    ToRead,
    /// Room for bytes to the engine.
    ToWrite,
}

/// A connection to an engine, or of a platform to us.
#[derive(Debug)]
pub struct EngineStream {
    tcp: TcpStream,
    tls: Option<Box<Connection>>,
    reading: Reading,
    waits: Waits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As much as there is.
    Free,
    /// So many more calls.
    Rationed(u8),
}

impl EngineStream {
    /// `tcp` must be non-blocking already.
    pub fn new(tcp: TcpStream, tls: Option<ClientConnection>) -> Self {
        Self::over(tcp, tls.map(Connection::Client))
    }

    /// The same where the other end has dialled.
    pub fn serving(tcp: TcpStream, tls: Option<ServerConnection>) -> Self {
        Self::over(tcp, tls.map(Connection::Server))
    }

    fn over(tcp: TcpStream, tls: Option<Connection>) -> Self {
        Self { tcp, tls: tls.map(Box::new), reading: Reading::Free, waits: Waits::ToWrite }
    }

    /// Reads whatever there is.
    pub fn free(&mut self) {
        self.reading = Reading::Free;
    }

    /// The same socket once more, to wait for it.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn twin(&self) -> io::Result<TcpStream> {
        self.tcp.try_clone()
    }

    /// Reads nothing more until [`Self::ready_to_read`].
    pub fn ration(&mut self) {
        self.reading = Reading::Rationed(0);
    }

    /// The poller said that there is something to read.
    pub fn ready_to_read(&mut self) {
        if let Reading::Rationed(left) = &mut self.reading {
            *left = RECEIVES_A_WAKE;
        }
    }

    /// What the call that would have blocked waits for.
    pub fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether bytes that were taken from the caller are not with the kernel yet.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Says everything that is left to TLS: the engine shall know that this end is the end.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // What cannot be sent now never will.
            let _ = self.flush();
        }
    }

    fn permit(&mut self) -> io::Result<()> {
        self.waits = Waits::ToRead;
        match &mut self.reading {
            Reading::Free => Ok(()),
            Reading::Rationed(0) => Err(io::ErrorKind::WouldBlock.into()),
            Reading::Rationed(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// A call that did not fill its buffer has emptied the socket.
    fn account(&mut self, read: usize, room: usize) {
        if read < room
            && let Reading::Rationed(left) = &mut self.reading
        {
            *left = 0;
        }
    }

    fn read_tls(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(0) };
            let read = tls.reader().read(buffer);
            if !would_block(&read) {
                return read;
            }
            self.permit()?;
            let Some(tls) = &mut self.tls else { return Ok(0) };
            let received = tls.read_tls(&mut self.tcp)?;
            if received == 0 {
                // The next look into the reader tells a clean end from a cut.
                continue;
            }
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // Answers to key updates and the like go out now.
            while tls.wants_write() && tls.write_tls(&mut self.tcp).is_ok_and(|written| written > 0) {}
            self.account(received, TLS_RECEIVE);
        }
    }

    /// Hands what TLS has ready to the kernel.
    fn drain_tls(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            self.waits = Waits::ToWrite;
            if tls.write_tls(&mut self.tcp)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Read for EngineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.read_tls(buffer);
        }
        self.permit()?;
        let read = self.tcp.read(buffer)?;
        self.account(read, buffer.len());
        Ok(read)
    }
}

impl Write for EngineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waits = Waits::ToWrite;
        if self.tls.is_none() {
            return self.tcp.write(bytes);
        }
        // Nothing new is taken while something old waits, so that TLS keeps one write at most.
        self.drain_tls()?;
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let taken = tls.writer().write(bytes)?;
        let drained = self.drain_tls();
        if would_block(&drained) { Ok(taken) } else { drained.map(|()| taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain_tls()
    }
}

impl AsFd for EngineStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn would_block<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
