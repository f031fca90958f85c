//! An edge to be measured: this very program as a process of its own, `callingedge run`, all of it on one core.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell: it has a clock and sockets"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::super::directory::Directory;
use super::usage::Usage;
use crate::lab::load::Tongue;

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// Which core is the edge's, and which are the load's.
#[derive(Debug, Clone)]
pub(super) struct Cores {
    /// The number of the edge's core.
    pub(super) edge: usize,
    load: CpuSet,
    /// Whether the load has to share the edge's core, since there is no other.
    pub(super) shared: bool,
}

impl Cores {
    /// The last core that we may use is the edge's, the others are the load's.
    pub(super) fn divide() -> io::Result<Self> {
        let ours = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core)).collect();
        let (edge, others) = cores.split_last().ok_or_else(|| io::Error::other("no core may be used"))?;
        let mut load = CpuSet::new();
        others.iter().for_each(|core| load.set(*core));
        if others.is_empty() {
            load.set(*edge);
        }
        Ok(Self { edge: *edge, load, shared: others.is_empty() })
    }

    /// This thread, and those it will start, belong to the load.
    pub(super) fn be_load(&self) -> io::Result<()> {
        Ok(sched_setaffinity(None, &self.load)?)
    }

    /// Does `work` as one of the edge: a process that is started meanwhile stays on the edge's core.
    fn as_edge<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut edge = CpuSet::new();
        edge.set(self.edge);
        sched_setaffinity(None, &edge)?;
        let outcome = work();
        self.be_load()?;
        outcome
    }
}

/// Addresses for an edge that is to come. Nobody else may take them meanwhile, with a little luck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) sip: SocketAddr,
    pub(super) http: SocketAddr,
}

impl Addresses {
    pub(super) fn find() -> io::Result<Self> {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (sip, http) = (UdpSocket::bind(any)?, TcpListener::bind(any)?);
        Ok(Self { sip: sip.local_addr()?, http: http.local_addr()? })
    }
}

/// A running edge. It ends with its owner.
pub(super) struct Edge {
    child: Child,
    directory: Directory,
    addresses: Addresses,
}

impl Edge {
    /// Starts it, and waits until it is ready. Its engine is at `engine`.
    pub(super) fn start(
        cores: &Cores,
        addresses: Addresses,
        engine: &str,
        dialect: Tongue,
        quarantine: Duration,
    ) -> io::Result<Self> {
        let directory = Directory::new("bench")?;
        let file = directory.path().join("callingedge.toml");
        std::fs::write(&file, configuration(addresses, engine, dialect, quarantine))?;
        let log = File::create(directory.path().join("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = cores.as_edge(|| command.spawn())?;
        let mut edge = Self { child, directory, addresses };
        edge.wait_until_ready()?;
        Ok(edge)
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// The sum of one metric over its labels; nothing where it is not told.
    pub(super) fn metric(&self, name: &str) -> io::Result<Option<f64>> {
        let (_, page) = self.ask("/metrics")?;
        let values = page.lines().filter_map(|line| {
            let (labelled, value) = line.rsplit_once(' ')?;
            (labelled.split('{').next() == Some(name)).then_some(value.parse::<f64>().ok()?)
        });
        Ok(values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value)))
    }

    /// Tells it to stop, and waits until it has.
    pub(super) fn stop(mut self) -> io::Result<()> {
        rustix::process::kill_process(self.pid()?, Signal::TERM)?;
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(status) = self.child.try_wait()? {
                let failed = || io::Error::other(format!("the edge ended with {status}: {}", self.log()));
                return if status.success() { Ok(()) } else { Err(failed()) };
            }
            std::thread::sleep(LOOK);
        }
        Err(io::Error::other(format!("the edge does not stop: {}", self.log())))
    }

    /// What it said on stderr.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the edge ended with {status}: {}", self.log())));
            }
            if self.ask("/readyz").is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(io::Error::other(format!("the edge does not become ready: {}", self.log())))
    }

    /// Status and body of a page. HTTP/1.0 (RFC 1945): the body ends with the connection.
    fn ask(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.addresses.http, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| io::Error::other("no HTTP"))?, body.to_owned()))
    }

    fn pid(&self) -> io::Result<Pid> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        id.ok_or_else(|| io::Error::other("the edge's process has no number"))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The same that a user would write, with limits that a bench does not meet.
fn configuration(addresses: Addresses, engine: &str, dialect: Tongue, quarantine: Duration) -> String {
    let Addresses { sip, http } = addresses;
    // A socket that is left over would count as something that was not let go.
    let idle = if dialect == Tongue::EdgeMuxV1 { "idle_timeout_ms = 1000" } else { "" };
    let dialect = dialect.as_str();
    format!(
        r#"[sip]
listen = ["udp:{sip}"]

[media]
address = "127.0.0.1"
advertise = "127.0.0.1"
ports = "10000-29999"
workers = 1
port_quarantine_sec = {quarantine}

[http]
listen = "{http}"

[store]
path = "bench.db"

[log]
level = "warn"

[limits]
max_calls = 10000

[tenants.bench]

[engines.load]
url = "{engine}"
dialect = "{dialect}"
{idle}

[providers.load]
kind = "sip-trunk"
tenant = "bench"
peers = ["127.0.0.1"]
engine = "load"
mode = "ai_only"
"#,
        quarantine = quarantine.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Surroundings};

    #[test]
    fn the_configuration_of_the_bench_is_one_that_the_edge_takes() {
        let addresses = Addresses::find().unwrap();

        for dialect in [Tongue::EdgeV1, Tongue::EdgeMuxV1, Tongue::Twilio] {
            let text = configuration(addresses, "ws://127.0.0.1:1/load", dialect, Duration::from_secs(1));
            let config = Config::parse(&text, &Surroundings::of(&std::env::temp_dir().join("bench.toml")));
            assert!(config.is_ok(), "{:?}", config.err());
        }
    }
}
