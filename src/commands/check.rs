//! `callingedge check`: what is wrong with a configuration, or what would run.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Outcome, print};
use crate::call::{NumberPattern, Provider};
use crate::config::{Config, EXAMPLE_FILE};
use crate::directory::Directory;
use crate::held;

/// Which file.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(env = "CALLINGEDGE_CONFIG", default_value = EXAMPLE_FILE, value_name = "FILE")]
    file: PathBuf,
    /// Leave secrets unread and do not look for the names of targets: for a machine that has neither.
    #[arg(long)]
    offline: bool,
}

/// Tells all mistakes, or what would run.
pub(super) fn run(options: &Options) -> Outcome {
    let config = if options.offline {
        Config::load_offline(&options.file)?
    } else {
        let mut config = held::load(&options.file, "check")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        config.settings = runtime.block_on(Directory::open(config.clone())).now().0;
        config
    };
    print(&format!("{} is good. It would run:\n{}", options.file.display(), summary(&config)))
}

fn summary(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<9} {what}");
    };
    let listen: Vec<String> = config
        .sip
        .listen
        .iter()
        .map(|listen| format!("{} {}", listen.transport.as_param(), listen.address))
        .collect();
    line("SIP", listen.join(", "));
    let ports = &config.media.ports;
    line("RTP", format!("{}, ports {}-{}", config.media.advertise, ports.start(), ports.end()));
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    line("API", format!("{scheme}://{}", config.http.listen));
    let hours = config.store.keep.as_secs() / 3600;
    line("store", format!("{}, ended calls for {hours} hours", config.store.path.display()));
    line("limits", format!("{} calls at once", config.settings.max_calls));
    for (name, engine) in &config.settings.engines {
        line("engine", format!("{name} at {}", engine.url));
    }
    for (key, provider) in &config.settings.providers {
        line("provider", format!("{key} of {}: {}", provider.tenant, ways(provider)));
        for route in &provider.routes {
            let number = match &route.number {
                NumberPattern::Exact(number) => number.clone(),
                NumberPattern::Prefix(prefix) if prefix.is_empty() => "any number".to_owned(),
                NumberPattern::Prefix(prefix) => format!("{prefix}…"),
            };
            line("", format!("  {number} to {}", route.engine));
        }
    }
    text
}

fn ways(provider: &Provider) -> String {
    let peers: Vec<String> = provider.trunk.peers.iter().map(ToString::to_string).collect();
    let inbound = match (peers.is_empty(), provider.trunk.is_inbound()) {
        (false, _) => format!("calls from {}", peers.join(", ")),
        (true, true) => "calls from its targets".to_owned(),
        (true, false) => "no calls in".to_owned(),
    };
    let targets: Vec<String> = (provider.trunk.targets.iter())
        .map(|at| match at.host == at.target.address.to_string() {
            true => format!("{} over {}", at.target.address, at.target.transport.as_param()),
            false => {
                format!("{} ({}) over {}", at.host, at.target.address, at.target.transport.as_param())
            }
        })
        .chain(provider.trunk.names.missing.iter().cloned())
        .collect();
    if targets.is_empty() {
        format!("{inbound}; no calls out")
    } else {
        format!("{inbound}; calls to {}", targets.join(", else "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EXAMPLE, Surroundings};

    #[test]
    fn the_summary_says_who_is_called_from_where_and_whom_they_reach() {
        let surroundings = Surroundings::offline(std::path::Path::new("callingedge.toml"));
        let config = Config::parse(EXAMPLE, &surroundings).unwrap();

        let text = summary(&config);

        assert!(text.contains("  SIP       udp 127.0.0.1:5060, tcp 127.0.0.1:5060\n"), "{text}");
        assert!(text.contains("sip-main of acme: calls from 127.0.0.1/32; no calls out\n"), "{text}");
        assert!(text.contains("any number to receptionist\n"), "{text}");
    }
}
