//! What the endpoint is told once, at its beginning.

use std::net::SocketAddr;
use std::time::Duration;

use crate::flow::Transport;
use crate::transaction::Timers;

/// The settings of an [`super::Endpoint`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Written as `User-Agent` in requests and `Server` in responses.
    pub user_agent: String,
    /// Where we listen. A request goes out with the first that fits its transport and address family.
    pub locals: Vec<Local>,
    /// T1, T2 and T4.
    pub timers: Timers,
    /// What is refused when there is too much of it.
    pub limits: Limits,
}

impl Config {
    /// RFC 3261's timers and the usual limits.
    pub fn new(user_agent: impl Into<String>, locals: Vec<Local>) -> Self {
        Self { user_agent: user_agent.into(), locals, timers: Timers::default(), limits: Limits::default() }
    }
}

/// One listener, and how it is written for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What it speaks.
    pub transport: Transport,
    /// The socket's own address.
    pub bind: SocketAddr,
    /// The host for Via and Contact: a name or an address as a URI has it (IPv6 in brackets).
    pub host: String,
    /// The port for Via and Contact.
    pub port: u16,
}

impl Local {
    /// A listener that others reach at the very address it is bound to.
    pub fn new(transport: Transport, bind: SocketAddr) -> Self {
        let host = match bind {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Self { transport, bind, host, port: bind.port() }
    }
}

/// Bounds against floods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// With so many server transactions, a request outside of a dialog is answered 503 without being remembered. Requests
    /// within a dialog are taken up to twice as many, so that running calls can still end.
    pub server_transactions: usize,
    /// The `Retry-After` of that 503.
    pub retry_after: Duration,
    /// So many malformed requests are answered in a second over datagrams; whoever makes up sources gets no more out of us.
    pub malformed_answers: u32,
    /// How long the owner may leave a request unanswered that does not begin a call; then it is answered 500, as long
    /// as the client still waits.
    pub respond_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            server_transactions: 20_000,
            retry_after: Duration::from_secs(10),
            malformed_answers: 500,
            respond_within: Duration::from_secs(20),
        }
    }
}
