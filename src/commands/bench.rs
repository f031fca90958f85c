//! `callingedge bench`.

use clap::Args;

use super::Outcome;

/// How much, for how long.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Calls at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) calls: u32,
    /// How long they talk, seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(super) seconds: u32,
    /// Print one JSON object instead of prose.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Outcome {
    let Options { calls: _, seconds: _, json: _ } = options;
    Err("`bench` is not built into this binary yet".into())
}
