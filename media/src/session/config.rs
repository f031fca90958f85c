//! What a session needs to know beside the outcome of offer and answer.

use std::time::{Duration, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a session needs beside the outcome of offer and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// The sequence number of our first packet.
    pub first_sequence: u16,
    /// The timestamp of our first packet.
    pub first_timestamp: u32,
    /// For all other chance: report intervals, comfort noise.
    pub seed: u64,
    /// How long a gap on the way up waits for what is missing, at most; in a network that overtakes nothing a sixth of it.
    pub reorder_wait: Duration,
    /// Whether what is missing then is guessed.
    pub conceal: bool,
    /// How long nothing may come in before [`crate::SessionFact::Inactive`], while something should.
    pub inactivity: Duration,
    /// How long after the first packet from elsewhere the address of the SDP is still preferred.
    pub learning: Duration,
    /// How long the pinned source must be silent before another may take its place; nothing: never.
    pub source_silence: Option<Duration>,
    /// The most audio that may wait for play-out.
    pub playout_limit: Duration,
    /// Our canonical name in RTCP, at most 255 bytes.
    pub cname: String,
    /// What a wall clock shows when the session begins, for the NTP time of sender reports.
    pub wall: SystemTime,
}

impl SessionConfig {
    /// Usual times, and everything that should be random drawn from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        let mut chance = SmallRng::seed_from_u64(seed);
        Self {
            ssrc: chance.random(),
            first_sequence: chance.random(),
            first_timestamp: chance.random(),
            seed: chance.random(),
            reorder_wait: Duration::from_millis(60),
            conceal: true,
            inactivity: Duration::from_secs(30),
            learning: Duration::from_millis(250),
            source_silence: Some(Duration::from_secs(2)),
            playout_limit: Duration::from_secs(600),
            cname: String::from("callingedge"),
            wall: SystemTime::UNIX_EPOCH,
        }
    }
}
