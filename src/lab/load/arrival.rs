//! Receives from a socket together with the moment at which the kernel took the data in (`SO_TIMESTAMPNS`): a load that
//! comes late to its sockets does not count its own lateness as the edge's.
#![expect(unsafe_code, reason = "recvmsg(2) with its ancillary data has no safe form in our dependencies")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// Room for one ancillary message with a time, and some.
const ANCILLARY: usize = 64;

/// The wall clock in nanoseconds, as the kernel stamps.
pub(super) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// From now on the kernel notes when it receives.
///
/// # Errors
/// What the system says.
pub(super) fn stamp_arrivals(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is borrowed for the call, and the option's value is an int of that size.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One datagram, or what a stream has: how many bytes, and when (the last of) them came. Never waits.
///
/// # Errors
/// As `recvmsg(2)`; `WouldBlock` when there is nothing.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, u64)> {
    let mut ancillary = [0_u64; ANCILLARY / 8];
    let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a message without address, data and ancillary room.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut bytes;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.as_mut_ptr().cast();
    message.msg_controllen = ANCILLARY;
    // SAFETY: the message points to `buffer` and `ancillary`, which are ours alone, with their lengths, and both
    // outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    Ok((received, stamp_of(&message).unwrap_or_else(wall)))
}

fn stamp_of(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: `message` was filled in by recvmsg and its ancillary room is still alive; the macro checks its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    // SAFETY: a message of this type carries a timespec; nothing is said about its alignment.
    let time = unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_nsec).ok()?);
    Some(seconds * 1_000_000_000 + nanoseconds)
}

/// A stream for a websocket to read from, which remembers when its latest bytes came. One wake-up allows one read:
/// what did not fill the buffer has emptied the socket.
#[derive(Debug)]
pub(super) struct StampedStream {
    tcp: TcpStream,
    arrived: u64,
    ready: bool,
}

impl StampedStream {
    /// `tcp` must be non-blocking already.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(tcp: TcpStream) -> io::Result<Self> {
        stamp_arrivals(&tcp)?;
        Ok(Self { tcp, arrived: 0, ready: true })
    }

    /// The poller said that there is something.
    pub(super) fn ready_to_read(&mut self) {
        self.ready = true;
    }

    /// When the latest bytes came.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }
}

impl Read for StampedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (read, arrived) = receive(&self.tcp, buffer)?;
        self.ready = read == buffer.len();
        self.arrived = arrived;
        Ok(read)
    }
}

impl Write for StampedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for StampedStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_moment_of_arrival_is_the_kernels_not_that_of_reading() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        stamp_arrivals(&socket).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(receive(&socket, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // Stamping begins a moment after the first socket of the system asked for it; on a busy machine a long one.
        let (before, arrived, after) = (0..1_000_000)
            .find_map(|_| {
                let before = wall();
                socket.send_to(b"word", socket.local_addr().unwrap()).unwrap();
                let after = wall();
                let (length, arrived) = receive(&socket, &mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"word");
                (arrived <= after).then_some((before, arrived, after))
            })
            .expect("one of a million was stamped before it was read");

        assert!((before..=after).contains(&arrived));
    }
}
