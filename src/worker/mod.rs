//! Voice workers: threads that own the RTP sockets, the engine socket and the [`media::Session`]s of their calls.
//! A frame never crosses a thread; orders come in through a bounded queue, facts go out through another.
//!
//! ```text
//!   control plane -- Workers::order, attach --> [queue] --> thread: epoll, beats, sockets
//!                 <-- mpsc (CallId, VoiceFact) ----------        |
//!                                                             Voice (pure): sessions, interpreter
//! ```

mod attention;
mod beats;
mod call;
mod ear;
mod early;
mod gauges;
mod histogram;
mod hook;
mod inbox;
mod line;
mod link;
mod poller;
mod ports;
mod recorder;
mod relay;
mod silence;
mod slab;
mod sockets;
mod tally;
mod tape;
mod thread;
mod unheard;
mod voice;
mod workers;

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use link::EngineWatch;
pub use tally::Tally;
pub use voice::{Turn, Voice, VoiceConfig};
pub use workers::{Overloaded, Workers};

/// How the workers work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Threads; all cores but one when not given.
    pub threads: Option<NonZeroUsize>,
    /// UDP ports for RTP and RTCP, two a leg.
    pub ports: RangeInclusive<u16>,
    /// How long a pair of ports rests after a call.
    pub quarantine: Duration,
    /// For everything random.
    pub seed: u64,
    /// What calls have in common.
    pub voice: VoiceConfig,
    /// How engines are watched.
    pub watch: EngineWatch,
    /// How much audio an engine should send ahead at most.
    pub window: Duration,
    /// Traffic class of RTP packets (RFC 4594).
    pub traffic_class: u8,
    /// Orders that a worker's queue holds.
    pub orders: usize,
    /// How long a busy worker sleeps to find more than one thing to do; zero for never. It adds so much, at
    /// most, to a frame on its way up.
    pub batch: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            threads: None,
            ports: 16_384..=32_767,
            quarantine: Duration::from_secs(30),
            seed: 0,
            voice: VoiceConfig::default(),
            watch: EngineWatch::default(),
            window: Duration::from_secs(30),
            traffic_class: 46 << 2,
            orders: 4096,
            batch: Duration::from_micros(500),
        }
    }
}
