//! `callingedge demo`.

use clap::Args;

use super::Outcome;

/// How the demonstration runs.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// One call, then end; exit code 0 only if everything held.
    #[arg(long)]
    pub(super) once: bool,
    /// Print one JSON object instead of prose.
    #[arg(long, requires = "once")]
    pub(super) json: bool,
}

/// Runs the demonstration.
pub(super) fn run(options: &Options) -> Outcome {
    let Options { once: _, json: _ } = options;
    Err("`demo` is not built into this binary yet".into())
}
