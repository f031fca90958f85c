//! A load: telephones that call an edge and engines that take its calls, on one thread, cheap enough that the edge is what is
//! measured. Each call has its own RTP socket and each engine its own websocket, as in real life.
//!
//! ```text
//!   Callers --- SIP, RTP ---> edge ---- websocket ---> Engines
//!           <-- RTP --------       <--- websocket ----
//!
//!   one turn, every 250 us: send what is due -> take all that came -> sleep
//! ```
//! A frame carries when it was sent (`stamp`), and the kernel tells when it came (`arrival`); so the load's own
//! lateness on the receiving side is not counted as the edge's. Its lateness in sending is counted apart.

mod arrival;
mod callers;
mod engines;
mod latency;
mod node;
mod pace;
mod stamp;
mod window;

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

pub use latency::Latency;
pub use window::{Way, Window};

use callers::Callers;
use engines::Engines;
use pace::{SLOTS, TICK};
use window::Counting;

/// Events taken at once.
const EVENTS: usize = 256;
/// A telephone sends late packets up to here; beyond, they are left out.
const LATE_CALLER: Duration = Duration::from_millis(10);
/// An engine leaves out what it would say later than this: it would wait a whole beat at the edge, and everything after
/// it as well.
const LATE_ENGINE: Duration = Duration::from_micros(500);
/// How exactly the thread wakes up, nanoseconds.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::new(1_000).expect("not zero");

/// What the engines of a load speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    /// Ours: binary frames.
    EdgeV1,
    /// The same, all calls on one socket.
    EdgeMuxV1,
    /// Twilio Media Streams: base64 in JSON.
    Twilio,
}

impl Tongue {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdgeV1 => "edge.v1",
            Self::EdgeMuxV1 => "edge.mux.v1",
            Self::Twilio => "twilio",
        }
    }
}

/// Whether calls carry audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// A frame every 20 ms in both directions.
    Both,
    /// Neither side says anything.
    Nobody,
}

/// What is called, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where the edge hears SIP (UDP).
    pub edge: SocketAddr,
    /// What the engines speak.
    pub dialect: Tongue,
    /// Whether calls carry audio.
    pub talk: Talk,
    /// After what time a telephone hangs up by itself.
    pub hold: Option<Duration>,
    /// For everything random.
    pub seed: u64,
}

/// The load. It works while [`Self::run`] does.
pub struct Load {
    poller: Poller,
    callers: Callers,
    engines: Engines,
    counting: Counting,
    placing: Option<Placing>,
    engines_rest: bool,
    /// When the next tick is due, and its slot.
    tick: Instant,
    slot: usize,
}

/// Calls still to be placed.
#[derive(Debug, Clone, Copy)]
struct Placing {
    left: usize,
    every: Duration,
    next: Instant,
}

impl Load {
    /// Opens sockets; nothing is called yet. The calling thread should be the one that runs it.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn new(plan: &Plan) -> io::Result<Self> {
        // Without it ticks come late; that is counted.
        let _coarse = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK));
        let poller = Poller::new()?;
        let mut callers = Callers::new(plan.edge, plan.talk, plan.seed, &poller)?;
        callers.hold_for(plan.hold);
        let engines = Engines::new(plan.dialect, plan.talk, &poller)?;
        let counting = Counting::default();
        Ok(Self {
            poller,
            callers,
            engines,
            counting,
            placing: None,
            engines_rest: false,
            tick: Instant::now(),
            slot: 0,
        })
    }

    /// Where the edge finds the engines.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn engine_url(&self) -> io::Result<String> {
        Ok(format!("ws://{}/load", self.engines.address()?))
    }

    /// Places `calls` more, one after the other with `every` between two.
    pub fn place(&mut self, calls: usize, every: Duration) {
        self.placing = Some(Placing { left: calls, every, next: Instant::now() });
    }

    /// Calls in conversation.
    pub fn talking(&self) -> usize {
        self.callers.talking()
    }

    /// Whether there are neither calls nor engines any more.
    pub fn is_idle(&self) -> bool {
        self.placing.is_none() && self.callers.calls() == 0 && self.engines.open() == 0
    }

    /// Everyone hangs up.
    pub fn hang_up_all(&mut self) {
        self.placing = None;
        self.callers.hang_up_all(Instant::now());
    }

    /// Engines draw breath for `length`: what piled up in the edge while calls began is played meanwhile, so that
    /// frames sent afterwards wait for their beat and for nothing else.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn breathe(&mut self, length: Duration) -> io::Result<()> {
        self.engines_rest = true;
        self.run(length, |_| false)?;
        self.engines_rest = false;
        Ok(())
    }

    /// Counts from now on.
    pub fn open_window(&mut self) {
        self.counting.open();
    }

    /// What is sent from now on does not count. Keep it running until what is under way has come, then
    /// [`Self::take_window`].
    pub fn close_window(&mut self) {
        self.counting.close();
    }

    /// What was counted.
    pub fn take_window(&mut self) -> Window {
        self.counting.take()
    }

    /// Works for `length`, or until `enough`, which is asked every turn. Whether it was.
    ///
    /// # Errors
    /// When the system gives no more sockets, or takes the poller away.
    pub fn run(&mut self, length: Duration, enough: impl Fn(&Self) -> bool) -> io::Result<bool> {
        let end = Instant::now() + length;
        loop {
            let now = Instant::now();
            if enough(self) {
                return Ok(true);
            }
            if end <= now {
                return Ok(false);
            }
            self.turn(now)?;
        }
    }

    fn turn(&mut self, now: Instant) -> io::Result<()> {
        self.send_due();
        self.place_due(now)?;
        self.callers.look(now, &mut self.counting);
        self.take_all()?;
        std::thread::sleep(self.tick.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn send_due(&mut self) {
        loop {
            let now = Instant::now();
            if self.tick > now {
                return;
            }
            let late = now - self.tick;
            let (slot, counting) = (self.slot, &mut self.counting);
            if self.callers.flows(slot) + self.engines.flows(slot) > 0 {
                counting.window.late.count(late);
            }
            if self.engines_rest {
                // Nobody speaks.
            } else if late > LATE_ENGINE {
                counting.window.skipped += self.engines.flows(slot) as u64;
            } else {
                self.engines.speak(slot, counting);
            }
            if late > LATE_CALLER {
                counting.window.skipped += self.callers.flows(slot) as u64;
            } else {
                self.callers.speak(slot, counting);
            }
            self.tick += TICK;
            self.slot = (self.slot + 1) % SLOTS;
        }
    }

    fn place_due(&mut self, now: Instant) -> io::Result<()> {
        while let Some(Placing { left, every, next }) = self.placing
            && next <= now
        {
            self.placing = (left > 1).then_some(Placing { left: left - 1, every, next: next + every });
            if left > 0 {
                self.callers.place(now, &self.poller, &mut self.counting)?;
            }
        }
        Ok(())
    }

    fn take_all(&mut self) -> io::Result<()> {
        loop {
            let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
            let (events, _) = epoll::wait(&self.poller.0, &mut events, Some(&Timespec::default()))?;
            for event in &*events {
                match Token::from_bits(event.data.u64()) {
                    Token::Signalling => self.callers.signalled(&mut self.counting),
                    Token::Listener => self.engines.accept(&self.poller, &mut self.counting),
                    Token::Rtp(index) => self.callers.hear(index, &mut self.counting),
                    Token::Engine(index) => self.engines.hear(index, &mut self.counting),
                }
            }
            if events.len() < EVENTS {
                return Ok(());
            }
        }
    }
}

/// Who is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signalling,
    Listener,
    Rtp(usize),
    Engine(usize),
}

impl Token {
    fn to_bits(self) -> u64 {
        match self {
            Self::Signalling => 0,
            Self::Listener => 1 << 56,
            Self::Rtp(index) => 2 << 56 | index as u64,
            Self::Engine(index) => 3 << 56 | index as u64,
        }
    }

    fn from_bits(bits: u64) -> Self {
        let index = (bits & ((1 << 56) - 1)) as usize;
        match bits >> 56 {
            1 => Self::Listener,
            2 => Self::Rtp(index),
            3 => Self::Engine(index),
            _ => Self::Signalling,
        }
    }
}

/// All sockets of the load, level-triggered.
struct Poller(OwnedFd);

impl Poller {
    fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn watch(&self, socket: &impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(token.to_bits()), EventFlags::IN)?)
    }
}
