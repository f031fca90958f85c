//! `callingedge run`.

use std::path::Path;

use super::Outcome;
use crate::config::{Config, Log, LogFormat};

/// Reads the configuration and runs the edge until it is told to stop.
pub(super) fn run(path: &Path) -> Outcome {
    let config = Config::load(path)?;
    start_log(&config.log)?;
    Err("`run` is not built into this binary yet".into())
}

/// Logs to stderr from now on, as configured.
pub(crate) fn start_log(log: &Log) -> Outcome {
    let filter: tracing_subscriber::EnvFilter = log.level.parse()?;
    let logged = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => logged.try_init(),
        LogFormat::Json => logged.json().try_init(),
    }
}
