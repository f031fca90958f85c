//! What was seen on this machine and around it, before anybody has judged it. Plain data.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::certificate::Certificate;
use crate::call::EngineFailure;
use crate::webhook::Refusal;

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) machine: Machine,
    pub(super) clock: Clock,
    /// Whether the daemon of this configuration answers on its API.
    pub(super) daemon: DaemonSeen,
    /// Every address that would be listened on.
    pub(super) sockets: Vec<Socket>,
    pub(super) advertised: Vec<Advertised>,
    /// Who is far away, as far as their addresses are known: targets and peers of trunks.
    pub(super) far_ends: Vec<(String, IpNet)>,
    pub(super) folders: Vec<Folder>,
    pub(super) certificates: Vec<Shown>,
    pub(super) trunks: Vec<TrunkSeen>,
    pub(super) engines: Vec<EngineSeen>,
    pub(super) receivers: Vec<ReceiverSeen>,
}

/// What the machine has, and what the configuration asks of it.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) max_calls: u64,
    /// Connections of the API at once.
    pub(super) http_connections: u64,
    /// RTP ports.
    pub(super) ports: RangeInclusive<u16>,
    /// RTP ports that were tried and are taken.
    pub(super) ports_taken: Vec<u16>,
    /// What the kernel gives to sockets that ask for no port.
    pub(super) ephemeral: Option<RangeInclusive<u16>>,
    /// Files that this user may open at most; none without a limit.
    pub(super) files: Option<u64>,
    /// Bytes that can be had without swapping, or that the control group leaves.
    pub(super) memory: Option<u64>,
    /// Bytes that the kernel keeps for a socket that asks for nothing.
    pub(super) receive_buffer: Option<u64>,
}

/// The wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Seconds since 1970.
    pub(super) now: i64,
    /// Whether something keeps it right; unknown where the kernel does not say.
    pub(super) synchronised: Option<bool>,
}

/// What answers where the API is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DaemonSeen {
    /// It does, as an edge does.
    Answers,
    /// It does, and shows another certificate than the configuration names.
    AnswersWithOtherCertificate,
    /// Nothing does, or nothing of ours.
    Absent(String),
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    /// `udp 0.0.0.0:5060`.
    pub(super) what: String,
    pub(super) bound: Bound,
}

impl DaemonSeen {
    /// Whether our addresses are held by an edge.
    pub(super) fn runs(&self) -> bool {
        match self {
            Self::Answers | Self::AnswersWithOtherCertificate => true,
            Self::Absent(_) => false,
        }
    }
}

/// What came of trying to bind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Free,
    InUse,
    /// This user may not: ports below 1024.
    Forbidden,
    /// The machine has no such address.
    NotOurs,
    Failed(String),
}

/// An address that others are told.
#[derive(Debug, Clone)]
pub(super) struct Advertised {
    /// `[media] advertise`.
    pub(super) key: &'static str,
    pub(super) address: IpAddr,
    /// An interface of this machine has it.
    pub(super) is_local: bool,
    /// It was written, and not guessed from the routing table.
    pub(super) is_written: bool,
}

/// A directory that is written to.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// `[store] path`.
    pub(super) key: &'static str,
    pub(super) path: String,
    /// Why nothing can be written there, if so.
    pub(super) refused: Option<String>,
    pub(super) free: Option<u64>,
}

/// A certificate that we show.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// `[sip]`.
    pub(super) section: String,
    /// What could be read of it.
    pub(super) read: Option<Certificate>,
}

/// One way of a trunk.
#[derive(Debug, Clone)]
pub(super) struct TrunkSeen {
    pub(super) provider: String,
    /// `sip.example.com (192.0.2.1:5060) over udp`.
    pub(super) target: String,
    pub(super) has_credentials: bool,
    pub(super) asked: Asked,
}

/// What came of an OPTIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Its name leads nowhere.
    NotFound(String),
    Answered {
        status: u16,
        reason: String,
        took: Duration,
    },
    /// Nothing came.
    Silent(Duration),
    /// No stream could be opened, or the datagram could not leave.
    NotSent(String),
}

/// One engine.
#[derive(Debug, Clone)]
pub(super) struct EngineSeen {
    pub(super) name: String,
    /// Without what may be secret in it.
    pub(super) url: String,
    pub(super) dialled: Result<Duration, EngineFailure>,
}

/// One place that events go to.
#[derive(Debug, Clone)]
pub(super) struct ReceiverSeen {
    /// `[tenants.acme]`.
    pub(super) section: String,
    /// Scheme, host and port: the path may be secret.
    pub(super) place: String,
    pub(super) reached: Reached,
}

/// What came of a TCP connection to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    Yes(Duration),
    NotFound(String),
    /// The address guard says no.
    Refused(Refusal),
    No(String),
}
