//! Call flows of the RFCs, played by a scripted peer against the daemon: `README.md` says which, and what each checks.
//!
//! ```text
//!   script (rfc3665.rs …) --> Play --> Phone: its own messages and transactions
//!                                        |
//!                          +-------------+--------------+
//!                          v                            v
//!                  virtual time: the exchange     a running daemon: sockets,
//!                  and a seeded lossy network     seeded loss at the phones
//! ```
//! Every script runs over both, over UDP with 0, 5 and 20 % of all datagrams lost, over TCP and over TLS, and ends when the daemon
//! holds nothing any more. `FLOW=name` runs those whose name contains it; `FLOW_SEED=n` runs this seed alone.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod carrier;
mod certificates;
mod digest;
mod early;
mod in_time;
mod message;
mod name_server;
mod on_wire;
mod phone;
mod play;
mod rfc3665;
mod rfc5359;
mod rfc5407;
mod rfc5589;
mod sessions;
mod trunks;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use carrier::Weather;
use in_time::InTime;
use play::Play;

/// Seeds of each lossy run in virtual time.
const SEEDS: u64 = 10;

/// One call flow.
pub(crate) struct Flow {
    /// Where it is written, and what it is called there.
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    /// What the trunk's configuration says beside the usual.
    pub(crate) trunk: &'static str,
    pub(crate) script: fn(&mut Play),
    /// Waits for longer than a test may in real time, or stops the daemon.
    pub(crate) virtual_only: bool,
}

impl Flow {
    pub(crate) const fn new(section: &'static str, name: &'static str, script: fn(&mut Play)) -> Self {
        Self { section, name, trunk: "", script, virtual_only: false }
    }

    pub(crate) const fn over(self, trunk: &'static str) -> Self {
        Self { trunk, ..self }
    }

    pub(crate) const fn in_virtual_time(self) -> Self {
        Self { virtual_only: true, ..self }
    }
}

fn flows() -> Vec<&'static Flow> {
    let wanted = std::env::var("FLOW").unwrap_or_default();
    let families = [
        rfc3665::FLOWS,
        rfc5359::FLOWS,
        rfc5589::FLOWS,
        rfc5407::FLOWS,
        early::FLOWS,
        sessions::FLOWS,
        trunks::FLOWS,
    ];
    families.into_iter().flatten().filter(|flow| flow.name.contains(&wanted)).collect()
}

#[test]
fn every_flow_holds_in_virtual_time_and_leaves_nothing_behind() {
    let only: Option<u64> = std::env::var("FLOW_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut failed = Vec::new();
    let mut runs = 0;
    'flows: for flow in flows() {
        for (transport, loss) in Weather::ALL {
            let seeds = if loss > 0 { SEEDS } else { 1 };
            for seed in (0..seeds).filter(|seed| only.is_none_or(|only| only == *seed)) {
                let weather = Weather { transport, loss, seed };
                runs += 1;
                let run = || {
                    let name =
                        format!("{} over {} losing {loss} %, seed {seed}", flow.name, weather.transport());
                    let carrier = Box::new(InTime::new(weather, flow.trunk));
                    let addresses = in_time::addresses();
                    let mut play = Play::new(name, weather, carrier, in_time::edge(), &addresses, 0);
                    (flow.script)(&mut play);
                    let ladder = play.finish();
                    if std::env::var("FLOW").is_ok() {
                        println!("{}, {weather:?}\n{}", flow.name, ladder.join("\n"));
                    }
                };
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    failed.push(format!("{} {weather:?}", flow.name));
                    continue 'flows;
                }
            }
        }
    }
    println!("{} flows, {runs} runs in virtual time", flows().len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_flow_holds_on_the_wire_and_the_daemon_holds_nothing_at_the_end() {
    let flows: Vec<&Flow> = flows().into_iter().filter(|flow| !flow.virtual_only).collect();
    let runs = flows.iter().flat_map(|flow| {
        Weather::ALL.into_iter().map(|(transport, loss)| (*flow, Weather { transport, loss, seed: 1 }))
    });
    let runs: Vec<(&Flow, Weather)> = runs.collect();

    let failed = on_wire::run(&runs);

    println!("{} flows, {} runs on the wire", flows.len(), runs.len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_table_names_every_flow_and_no_other() {
    let table = include_str!("README.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let names: BTreeSet<&str> = flows().iter().map(|flow| flow.name).collect();
    let sections: Vec<&str> = flows()
        .iter()
        .filter(|flow| !table.contains(&format!("| `{}` | {} |", flow.name, flow.section)))
        .map(|flow| flow.name)
        .collect();

    if std::env::var("FLOW").is_err() {
        assert_eq!(listed, names);
    }
    assert!(sections.is_empty(), "not listed with their section: {sections:?}");
}
