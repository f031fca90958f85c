//! Messages meant to hurt, sent to a running daemon: after each of them it still answers OPTIONS.
//!
//! Sets of others (RFC 4475, RFC 5118, captures) lie in `$FIXTURES` or `../shared/fixtures`; where they are absent the
//! test says so and runs our own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_types, reason = "the daemon is spoken to over its socket")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use callingedge::config::{Config, SecretsAre, Surroundings};
use callingedge::daemon::Daemon;
use callingedge::store::Location;
use tokio::runtime::Runtime;

const CONFIG: &str = r#"
sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
media = { address = "127.0.0.1", advertise = "127.0.0.1", workers = 1 }
http.listen = "127.0.0.1:0"
[tenants.acme]
[engines.nobody]
url = "ws://127.0.0.1:1"
dialect = "edge.v1"
[providers.far]
kind = "sip-trunk"
tenant = "acme"
peers = ["127.0.0.0/8"]
engine = "nobody"
"#;
/// For an answer that is bound to come.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn no_message_that_we_have_ends_the_daemon() {
    let daemon = Running::start();

    for set in
        ["sip", "vendor-shaped", "cve-shaped", "rfc4475", "rfc5118", "sip-real", "protos-c07", "fuzz-seeds"]
    {
        let messages = messages(set);
        println!("{set}: {} messages over UDP", messages.len());
        for (name, wire) in messages {
            daemon.throw(&wire);
            assert!(daemon.is_alive(), "the probe is lost after {set}/{name}");
        }
    }
    daemon.stop();
}

/// Every field of an INVITE with every anomaly: 6,481 messages.
#[test]
fn every_field_may_be_anything_and_the_daemon_lives() {
    let daemon = Running::start();
    let sent = Command::new("python3")
        .arg(root().join("tests/torture/protos_like.py"))
        .args([
            "--send",
            "127.0.0.1",
            &daemon.udp.port().to_string(),
            "--rate",
            "2000",
            "--valid-every",
            "20",
        ])
        .output()
        .expect("python3 is there: tests/peers.sh test");

    let said = String::from_utf8_lossy(&sent.stdout);
    println!("{said}");
    assert!(sent.status.success(), "{said}{}", String::from_utf8_lossy(&sent.stderr));
    assert!(said.contains("probes lost 0"), "{said}");
    assert!(daemon.is_alive());
    daemon.stop();
}

/// A daemon whose SIP anybody on loopback may speak.
struct Running {
    runtime: Runtime,
    daemon: Daemon,
    udp: SocketAddr,
    probe: UdpSocket,
}

impl Running {
    fn start() -> Self {
        let surroundings = Surroundings {
            directory: PathBuf::new(),
            variables: BTreeMap::new(),
            resolve: |_, _| Ok(Vec::new()),
            secrets: SecretsAre::Needed,
        };
        let config = Config::parse(CONFIG, &surroundings).unwrap();
        let runtime = Runtime::new().unwrap();
        let daemon = runtime.block_on(Daemon::start(config, Location::memory())).unwrap();
        let udp = daemon.sip[0].1;
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { runtime, daemon, udp, probe }
    }

    fn stop(self) {
        self.runtime.block_on(async {
            self.daemon.stop().await;
            self.daemon.stopped().await;
        });
        self.runtime.shutdown_background();
    }

    fn throw(&self, wire: &[u8]) {
        // What no datagram can hold is for streams.
        let _too_long = self.probe.send_to(wire, self.udp);
    }

    /// Whether OPTIONS is answered; whatever else comes is passed over.
    fn is_alive(&self) -> bool {
        self.probe.send_to(&probe(), self.udp).unwrap();
        let mut buffer = [0; 65_536];
        while let Ok((length, _)) = self.probe.recv_from(&mut buffer) {
            if is_answer_to_probe(&buffer[..length]) {
                return true;
            }
        }
        false
    }
}

fn probe() -> Vec<u8> {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!(
        "OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK-probe-{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@127.0.0.1>;tag={number}\r\nTo: <sip:probe@127.0.0.1>\r\n\
         Call-ID: probe-{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn is_answer_to_probe(wire: &[u8]) -> bool {
    wire.starts_with(b"SIP/2.0 200") && wire.windows(14).any(|part| part == b"z9hG4bK-probe-")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The messages of a set by name: our own, else those beside the project, else none.
fn messages(set: &str) -> BTreeMap<String, Vec<u8>> {
    let own = root().join("fixtures").join(set);
    let beside = std::env::var_os("FIXTURES")
        .map_or_else(|| root().join("../shared/fixtures"), PathBuf::from)
        .join(set);
    let folder = if own.is_dir() { own } else { beside };
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        collect(&folder, &folder, &mut found);
    } else {
        println!("{set} did not run: {} is absent", folder.display());
    }
    found
}

fn collect(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(top, &path, found);
        } else if !["tsv", "md", "json", "ersip"].contains(&extension) && !path.ends_with("SHA256SUMS") {
            let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}
