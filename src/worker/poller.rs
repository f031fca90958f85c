//! Waits for sockets and for time: epoll, level-triggered.
//!
//! A socket that is ready is told again until it is empty, so a turn may take one datagram and move on. When
//! much is going on, a worker does not wake for each packet, since waking costs more than the packet does: it
//! sleeps a fraction of a millisecond and finds several.
//! ```text
//!   few events a second    epoll_wait until something comes or is due
//!   many                   sleep a batch, then epoll_wait without waiting
//! ```

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::slab::Key;
use crate::call::LegId;

/// Events taken in one turn, so that a beat never waits for more than these.
const EVENTS: usize = 128;

/// How often it is decided whether much is going on.
const WINDOW: Duration = Duration::from_millis(100);

/// Below this, epoll's milliseconds are too coarse.
const COARSE: Duration = Duration::from_millis(2);

/// Who is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Orders wait.
    Inbox,
    /// A leg's RTP socket.
    Rtp(Key, LegId),
    /// A leg's RTCP socket.
    Rtcp(Key, LegId),
    /// A call's engine.
    Engine(Key),
    /// An engine that was let go.
    Lingering(Key),
    /// A socket that calls share.
    Line(Key),
    /// A platform's session.
    Hook(Key),
}

impl Token {
    /// `kind` in the top byte, then leg, generation and place.
    fn to_bits(self) -> u64 {
        let pack = |kind: u64, leg: u8, key: Key| {
            kind << 56 | u64::from(leg) << 48 | u64::from(key.generation) << 32 | u64::from(key.place)
        };
        match self {
            Self::Inbox => 0,
            Self::Rtp(key, LegId(leg)) => pack(1, leg, key),
            Self::Rtcp(key, LegId(leg)) => pack(2, leg, key),
            Self::Engine(key) => pack(3, 0, key),
            Self::Lingering(key) => pack(4, 0, key),
            Self::Line(key) => pack(5, 0, key),
            Self::Hook(key) => pack(6, 0, key),
        }
    }

    fn from_bits(bits: u64) -> Self {
        let leg = LegId((bits >> 48) as u8);
        let key = Key { place: bits as u32, generation: (bits >> 32) as u16 };
        match bits >> 56 {
            1 => Self::Rtp(key, leg),
            2 => Self::Rtcp(key, leg),
            3 => Self::Engine(key),
            4 => Self::Lingering(key),
            5 => Self::Line(key),
            6 => Self::Hook(key),
            _ => Self::Inbox,
        }
    }
}

/// What a socket is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    pub(super) const READ: Self = Self { read: true, write: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// One that is ready, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) token: Token,
    pub(super) read: bool,
    pub(super) write: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        let flags = event.flags;
        // A socket in trouble is read: the error comes out there.
        let trouble = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        Self {
            token: Token::from_bits(event.data.u64()),
            read: trouble || flags.contains(EventFlags::IN),
            write: flags.contains(EventFlags::OUT),
        }
    }
}

/// The poller of one worker.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    ready: Vec<Ready>,
    batch: Duration,
    /// Events since `window`, and whether those of the window before were many.
    counted: u32,
    window: Instant,
    crowded: bool,
}

impl Poller {
    /// `batch`: how long to sleep for company when much is going on; zero for never.
    pub(super) fn new(now: Instant, batch: Duration) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let ready = Vec::with_capacity(EVENTS);
        Ok(Self { epoll, ready, batch, counted: 0, window: now, crowded: false })
    }

    pub(super) fn add(&self, socket: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token.to_bits()), interest.flags())?)
    }

    pub(super) fn modify(&self, socket: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token.to_bits()), interest.flags())?)
    }

    /// Waits until something is ready or it is `until`; for ever when that is nothing. Answers how many are
    /// ready; [`Self::ready`] tells who.
    pub(super) fn wait(&mut self, now: Instant, until: Option<Instant>) -> usize {
        let left = until.map(|until| until.saturating_duration_since(now));
        let outcome = match left {
            Some(left) if left.is_zero() => self.look(Some(Duration::ZERO)),
            _ if self.is_crowded(now) => {
                let nap = left.unwrap_or(self.batch).min(self.batch);
                std::thread::sleep(nap);
                self.look(Some(Duration::ZERO))
            }
            Some(left) if left < COARSE => self.wait_finely(left),
            left => self.look(left),
        };
        // An interrupted wait is a short one; anything else would be a fault of ours that the next call shows.
        let ready = outcome.unwrap_or(0);
        self.counted += u32::try_from(ready).unwrap_or(u32::MAX);
        ready
    }

    /// Who is ready, of [`Self::wait`].
    pub(super) fn ready(&self, index: usize) -> Option<Ready> {
        self.ready.get(index).copied()
    }

    /// Whether a batch would have held three events in two, in the last whole window.
    fn is_crowded(&mut self, now: Instant) -> bool {
        let length = now.saturating_duration_since(self.window);
        if length >= WINDOW {
            self.crowded = !self.batch.is_zero() && self.batch * self.counted * 2 >= length * 3;
            (self.window, self.counted) = (now, 0);
        }
        self.crowded
    }

    fn look(&mut self, timeout: Option<Duration>) -> Result<usize, Errno> {
        let timeout = timeout.map(|timeout| {
            // Whole milliseconds, not above: what remains is waited for finely.
            let ms = timeout.as_millis();
            let whole = Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX));
            Timespec::try_from(whole).unwrap_or_default()
        });
        self.ready.clear();
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        let (events, _) = epoll::wait(&self.epoll, &mut events, timeout.as_ref())?;
        self.ready.extend(events.iter().map(Ready::from));
        Ok(self.ready.len())
    }

    fn wait_finely(&mut self, left: Duration) -> Result<usize, Errno> {
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
        self.ready.clear();
        match poll(&mut epoll, Some(&timeout))? {
            0 => Ok(0),
            _ => self.look(Some(Duration::ZERO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        let key = Key { place: 0xDEAD_BEEF, generation: 0xFFFE };
        for token in [
            Token::Inbox,
            Token::Rtp(key, LegId(255)),
            Token::Rtcp(key, LegId(1)),
            Token::Engine(key),
            Token::Lingering(key),
            Token::Line(key),
            Token::Hook(key),
        ] {
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }
}
