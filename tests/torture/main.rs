//! Messages meant to hurt, sent to a running daemon: each has the outcome that its table says, and after each of them the
//! daemon still answers OPTIONS.
//!
//! Sets of others (RFC 4475, RFC 5118, captures) lie in `$FIXTURES` or `../shared/fixtures`; where they are absent the
//! test says so and runs our own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod limits;
mod outcomes;
mod running;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use running::Running;

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The messages of a set by name: our own, else those beside the project, else none.
fn messages(set: &str) -> BTreeMap<String, Vec<u8>> {
    let own = root().join("fixtures").join(set);
    let folder = if own.is_dir() { own } else { beside(set) };
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        collect(&folder, &folder, &mut found);
    } else {
        println!("{set} did not run: {} is absent", folder.display());
    }
    found
}

fn beside(set: &str) -> PathBuf {
    std::env::var_os("FIXTURES").map_or_else(|| root().join("../shared/fixtures"), PathBuf::from).join(set)
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
