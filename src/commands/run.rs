//! `callingedge run`: the daemon under its signals. SIGHUP reads the configuration again, all or nothing; SIGTERM and SIGINT
//! drain, and a second one ends what still runs. systemd is told when it is ready, stopping and alive.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::{Outcome, open_many_files};
use crate::config::{Config, Log, LogFormat};
use crate::daemon::Daemon;
use crate::held;
use crate::store::Location;

/// Threads of the control plane. Voice has its own.
const CONTROL_THREADS: usize = 2;

/// Reads the configuration and runs the edge until it is told to stop.
pub(super) fn run(path: &Path) -> Outcome {
    let config = held::load(path, "run")?;
    start_log(&config.log)?;
    open_many_files();
    control_runtime()?.block_on(serve(path, config))
}

/// The runtime that everything but voice and disk runs on.
pub(crate) fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
}

/// Logs to stderr from now on, as configured.
pub(crate) fn start_log(log: &Log) -> Outcome {
    let filter: tracing_subscriber::EnvFilter = log.level.parse()?;
    let colours = std::io::stderr().is_terminal();
    let logged =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match log.format {
        LogFormat::Text => logged.try_init(),
        LogFormat::Json => logged.json().try_init(),
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

async fn serve(path: &Path, config: Config) -> Outcome {
    let mut signals = Signals {
        hangup: signal(SignalKind::hangup())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let daemon = Daemon::start(config.clone(), Location::File(config.store.path.clone())).await?;
    for (transport, address) in &daemon.sip {
        tracing::info!(transport = transport.as_param(), %address, "SIP is heard");
    }
    tracing::info!(address = %daemon.http, "the API is served");
    tell_systemd(&[NotifyState::Ready, NotifyState::Status("serving")]);
    watch(&daemon, &mut signals, path, config).await;
    daemon.stopped().await;
    tracing::info!("stopped");
    Ok(())
}

/// Everything that happens to a daemon from outside, until its calls have ended.
async fn watch(daemon: &Daemon, signals: &mut Signals, path: &Path, mut config: Config) {
    // Twice within the time that systemd waits, as sd_watchdog_enabled(3) asks for.
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let mut watched = Instant::now();
    let mut draining = false;
    let mut brought = daemon.brought();
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => config = reload(daemon, path, config, Reload::File).await,
            Ok(()) = brought.changed() => config = reload(daemon, path, config, Reload::Values).await,
            _ = signals.terminate.recv() => stop(daemon, &mut draining).await,
            _ = signals.interrupt.recv() => stop(daemon, &mut draining).await,
            () = sleep_until(watched), if watchdog.is_some() => {
                let period = watchdog.unwrap_or(Duration::from_secs(1));
                if daemon.is_alive(period).await {
                    tell_systemd(&[NotifyState::Watchdog]);
                } else {
                    tracing::error!("the desk takes no turns");
                }
                watched = Instant::now() + period;
            }
            () = daemon.calls_ended() => return,
        }
    }
}

async fn stop(daemon: &Daemon, draining: &mut bool) {
    if std::mem::replace(draining, true) {
        tracing::warn!("told to stop again: running calls are ended");
        daemon.stop().await;
    } else {
        tracing::info!("told to stop: no new calls, running ones may end");
        tell_systemd(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        daemon.drain().await;
    }
}

/// What is read again.
#[derive(Debug, Clone, Copy)]
enum Reload {
    /// The file and everything it refers to.
    File,
    /// What the file that is in use refers to; whatever its author has begun to write since waits for SIGHUP.
    Values,
}

/// All or nothing: what cannot be read changes nothing.
async fn reload(daemon: &Daemon, path: &Path, config: Config, what: Reload) -> Config {
    if let Ok(reloading) = NotifyState::monotonic_usec_now() {
        tell_systemd(&[NotifyState::Reloading, reloading]);
    }
    let (path, current) = (path.to_owned(), config.clone());
    let loaded = tokio::task::spawn_blocking(move || match what {
        Reload::File => held::load(&path, "reload"),
        Reload::Values => held::load_again(&path, &current, "a new value"),
    });
    let loaded = loaded.await;
    let config = match loaded {
        Ok(Ok(newer)) => {
            for section in config.needs_restart_for(&newer) {
                tracing::warn!(section, "changed, and takes effect with the next start only");
            }
            daemon.reload(newer.clone()).await;
            tracing::info!("the configuration was read again");
            newer
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the configuration stays as it was");
            config
        }
        Err(error) => {
            tracing::error!(%error, "the configuration stays as it was: reading it panicked");
            config
        }
    };
    tell_systemd(&[NotifyState::Ready]);
    config
}

fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
