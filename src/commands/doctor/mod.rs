//! `callingedge doctor`: everything that makes a call fail in the first hour, one finding a line.
//! ```text
//!   configuration --> gather: machine, trunks, network --> Facts --> judge --> Findings --> lines
//!         |                                                                       ^
//!         +------------------------- its mistakes --------------------------------+
//! ```
//! It runs on the machine that carries the calls, beside a running edge or before its first start, and changes nothing there.

mod certificate;
mod facts;
mod finding;
mod judge;
mod machine;
mod network;
mod trunks;

use std::path::Path;

use clap::Args;
use ipnet::IpNet;

use self::certificate::Certificate;
use self::facts::{Facts, Shown};
use self::finding::{Check, Finding, Level};
use super::{ConfigFile, Outcome, print, small_runtime};
use crate::config::{Config, ConfigError};
use crate::directory::Directory;
use crate::held;

/// Whom to examine.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// A line of JSON for every finding: level, check, about, text.
    #[arg(long)]
    json: bool,
    /// Leave secrets unread, and ask neither trunks nor engines nor receivers: this machine alone.
    #[arg(long)]
    offline: bool,
}

/// Something keeps calls from coming about.
#[derive(Debug, thiserror::Error)]
#[error("{problems} of {all} findings {} calls", if *problems == 1 { "is a problem for" } else { "are problems for" })]
struct Ill {
    problems: usize,
    all: usize,
}

/// Examines, tells, and fails when there is a problem.
pub(super) fn run(options: &Options) -> Outcome {
    let (config, mut findings) = load(&options.config.path, options.offline);
    if let Some((config, reach)) = config {
        let facts = small_runtime()?.block_on(gather(config, reach));
        findings.extend(judge::judge(&facts));
    }
    let mut text = String::new();
    for finding in &findings {
        if options.json {
            text.push_str(&serde_json::to_string(finding)?);
        } else {
            text.push_str(&finding.to_string());
        }
        text.push('\n');
    }
    print(&text)?;
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    if problems == 0 { Ok(()) } else { Err(Ill { problems, all: findings.len() }.into()) }
}

/// How far is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not beyond this machine: there is no network, or there are no secrets to show.
    Machine,
    World,
}

/// What can be used of the configuration, and every mistake in it. When only its secrets are missing, as in a shell that has not
/// the service's environment, the rest is examined all the same.
fn load(path: &Path, offline: bool) -> (Option<(Config, Reach)>, Vec<Finding>) {
    let about = path.display().to_string();
    let say = |level, text: String| Finding::new(level, Check::Configuration, &about, text);
    let loaded = if offline { Config::load_offline(path) } else { held::load(path, "doctor") };
    let error = match loaded {
        Ok(config) => {
            let reach = if offline { Reach::Machine } else { Reach::World };
            return (Some((config, reach)), vec![say(Level::Ok, "can be used as it is".to_owned())]);
        }
        Err(error) => error,
    };
    let mut findings = match error {
        ConfigError::Read { .. } => vec![say(Level::Problem, error.to_string())],
        ConfigError::Mistakes { mistakes, .. } => {
            mistakes.iter().map(|mistake| say(Level::Problem, mistake.to_string())).collect()
        }
    };
    let rest = Config::load_offline(path).ok().filter(|_| !offline);
    if rest.is_some() {
        let text = "the service's secrets cannot be read here, so nothing was asked of trunks, engines and receivers; run the \
                    doctor with the environment of the service";
        findings.push(say(Level::Warning, text.to_owned()));
    }
    (rest.map(|config| (config, Reach::Machine)), findings)
}

async fn gather(mut config: Config, reach: Reach) -> Facts {
    let daemon = network::daemon(&config).await;
    // Before anything of ours is open.
    let sockets = machine::sockets(&config);
    let mut tls = config.sip_tls.clone();
    if reach == Reach::World {
        let (settings, located) = Directory::open(config.clone()).await.now();
        config.settings = settings;
        tls = located;
    }
    let far_ends = far_ends(&config);
    let target = config.settings.providers.values().flat_map(|provider| &provider.trunk.targets).next();
    let outward = machine::outward(target.map(|at| at.target.address.ip()));
    let (trunks, engines, receivers) = match reach {
        Reach::World => tokio::join!(
            trunks::ask(&config.settings, &tls, &config.sip.user_agent),
            network::engines(&config),
            network::receivers(&config),
        ),
        Reach::Machine => (Vec::new(), Vec::new(), Vec::new()),
    };
    Facts {
        machine: machine::machine(&config),
        clock: machine::clock(),
        daemon,
        sockets,
        advertised: machine::advertised(&config, outward),
        far_ends,
        folders: machine::folders(&config),
        certificates: certificates(&config),
        trunks,
        engines,
        receivers,
    }
}

/// Where trunks are: their targets and the networks that their calls come from.
fn far_ends(config: &Config) -> Vec<(String, IpNet)> {
    let mut ends = Vec::new();
    for (key, provider) in &config.settings.providers {
        let targets = provider.trunk.targets.iter().map(|at| IpNet::from(at.target.address.ip()));
        for network in targets.chain(provider.trunk.peers.iter().copied()) {
            ends.push((key.as_str().to_owned(), network));
        }
    }
    ends
}

fn certificates(config: &Config) -> Vec<Shown> {
    let shown = config.shown.iter();
    let read = |der| Certificate::read(der);
    shown
        .map(|shown| Shown { section: format!("[{}]", shown.section), read: read(&shown.certificate) })
        .collect()
}
