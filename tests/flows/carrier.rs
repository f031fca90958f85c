//! What carries a script to the daemon: real sockets, or virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::certificates::Certificates;
use crate::phone::Path;

/// What comes to the script's side.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A SIP message, to the phone of this number.
    Sip { to: usize, path: Path, wire: Vec<u8> },
    /// The daemon tells an engine something; engines are counted as they are dialled.
    Engine { engine: usize, told: Value },
    /// The daemon or the network has closed an engine's socket.
    EngineGone { engine: usize },
    /// A stream of a phone is closed.
    Closed { path: Path },
}

/// An order through the API.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Place(Value),
    Transfer(Value),
    WrapUp(Value),
    Mode(String, Value),
    Hold(String),
    Resume(String),
}

/// What the API says to it.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Placed(String),
    Accepted,
    Refused(String),
}

/// See the module.
pub(crate) trait Carrier {
    fn now(&self) -> Instant;
    /// Sends for the phone of this number. A stream that is closed takes nothing.
    fn send(&mut self, phone: usize, path: Path, wire: &[u8]);
    /// The way from a phone to the daemon; a stream is opened.
    fn way(&mut self, phone: usize) -> Path;
    /// Closes a phone's stream.
    fn cut(&mut self, path: Path);
    /// Waits for the next arrival, but not beyond `until`.
    fn step(&mut self, until: Instant) -> Option<Arrival>;
    fn order(&mut self, order: Order) -> Said;
    fn engine_says(&mut self, engine: usize, said: &Value);
    /// The engine's process dies.
    fn engine_dies(&mut self, engine: usize);
    /// From now on nothing reaches this address.
    fn kill(&mut self, phone: usize);
    /// The call objects of the script's provider, the oldest first.
    fn calls(&mut self) -> Vec<Value>;
    /// The provider's health.
    fn health(&mut self) -> Value;
    /// The kinds of all events so far, in order.
    fn events(&mut self) -> Vec<String>;
    /// The daemon ends in order. Only in virtual time.
    fn stop(&mut self);
    /// What the daemon still holds, as text; nothing when it holds nothing. Waits for the timers of SIP where that costs nothing.
    fn left_over(&mut self) -> Option<String>;
    /// Whether time is virtual.
    fn is_virtual(&self) -> bool;
}

/// Chance that loses datagrams, the same ones for the same seed.
#[derive(Debug)]
pub(crate) struct Loss {
    percent: u32,
    chance: StdRng,
}

impl Loss {
    pub(crate) fn new(percent: u32, seed: u64) -> Self {
        Self { percent, chance: StdRng::seed_from_u64(seed) }
    }

    pub(crate) fn strikes(&mut self) -> bool {
        self.chance.random_range(0..100) < self.percent
    }
}

/// How a flow travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    pub(crate) transport: sip::Transport,
    pub(crate) loss: u32,
    pub(crate) seed: u64,
}

impl Weather {
    /// All there is: streams lose nothing.
    pub(crate) const ALL: [(sip::Transport, u32); 5] = [
        (sip::Transport::Udp, 0),
        (sip::Transport::Udp, 5),
        (sip::Transport::Udp, 20),
        (sip::Transport::Tcp, 0),
        (sip::Transport::Tls, 0),
    ];

    pub(crate) fn is_stream(self) -> bool {
        self.transport != sip::Transport::Udp
    }

    /// As a URI's parameter says it.
    pub(crate) fn transport(self) -> &'static str {
        match self.transport {
            sip::Transport::Udp => "udp",
            sip::Transport::Tcp => "tcp",
            sip::Transport::Tls => "tls",
        }
    }
}

/// The configuration of one run of a flow: a tenant, an engine and a trunk of its own.
pub(crate) fn configuration(
    run: usize,
    weather: Weather,
    engine: &str,
    phones: &[SocketAddr],
    extra: &str,
) -> String {
    let (first, transport) = (phones[0], weather.transport());
    let (target, address) = (phones[1], first.ip());
    let usual =
        |key: &str, line: String| if extra.contains(&format!("{key} =")) { String::new() } else { line };
    let target = if extra.contains("targets =") {
        String::new()
    } else {
        usual("target", format!("target = \"sip:{target};transport={transport}\"\n"))
    };
    let certificates = match weather.transport {
        sip::Transport::Tls => Certificates::get().of_a_trunk(),
        sip::Transport::Udp | sip::Transport::Tcp => String::new(),
    };
    let rest = [
        certificates,
        usual("probe_interval_sec", "probe_interval_sec = 0\n".to_owned()),
        usual("media_timeout_sec", "media_timeout_sec = 3600\n".to_owned()),
        usual("from", "from = \"+15550000\"\n".to_owned()),
        usual("workflow", format!("engine = \"e{run}\"\nmode = \"ai_first\"\n")),
    ]
    .concat();
    let mut extra = extra.replace("{transport}", transport).replace("{ip}", &address.to_string());
    extra = extra.replace("{run}", &run.to_string());
    for (name, phone) in ["{alice}", "{bob}", "{carol}"].into_iter().zip(phones) {
        extra = extra.replace(name, &phone.to_string());
    }
    format!(
        "[tenants.t{run}]\n[engines.e{run}]\nurl = \"{engine}\"\ndialect = \"edge.v1\"\n\
         [providers.p{run}]\nkind = \"sip-trunk\"\ntenant = \"t{run}\"\npeers = [\"{address}/32\"]\n\
         codecs = [\"PCMU\"]\n{target}{rest}{extra}\n"
    )
}

/// What the configuration's secrets are read from.
pub(crate) fn secrets() -> std::collections::BTreeMap<String, String> {
    let secrets = [("PASSWORD", "open sesame".to_owned()), ("EDGE_KEY", Certificates::get().edge_key())];
    secrets.map(|(name, secret)| (name.to_owned(), secret)).into()
}

/// Further than any script waits.
pub(crate) const LATER: Duration = Duration::from_secs(3600);
