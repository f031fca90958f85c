//! `callingedge bench`: what an edge costs on this machine. It runs one of its own as a separate process on one core, puts real
//! SIP, RTP and websocket load on it from the other cores, and reads off the system what that took.
//!
//! ```text
//!   --calls N            N calls that talk both ways: CPU, latency, loss, memory
//!   nothing, --ramp N    more and more such calls, until one of the budgets does not hold
//!   --setup-rate         more and more calls a second, each short and silent: how fast they are answered
//! ```
//! `docs/benchmarks.md` explains the figures.

mod edge;
mod report;
mod usage;

use std::time::Duration;

use clap::Args;

use self::edge::{Addresses, Cores, Edge};
use self::report::{Measured, Ramp, SetUp, SetUps};
use self::usage::Usage;
use super::{Outcome, open_many_files, print};
use crate::crypto;
use crate::lab::load::Tongue;
use crate::lab::load::{Load, Plan, Talk, Window};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// From the last answer to the first frame that counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the engines are silent before they are measured.
const BREATH: Duration = Duration::from_millis(500);
/// How long frames that are under way may take to come.
const STRAGGLERS: Duration = Duration::from_millis(500);
/// Between two calls that are placed, where it does not matter.
const PLACING: Duration = Duration::from_millis(4);
/// How long a call may take to be answered, or to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after the last call something of it may be left in the edge.
const CLEANING: Duration = Duration::from_secs(5);
/// How long a silent call lasts.
const HOLD: Duration = Duration::from_millis(300);
/// Steps of a ramp that nobody stops.
const STEPS: u32 = 64;

/// What the edge holds for calls: all of it is zero when there are none.
const HELD: [&str; 7] = [
    "callingedge_calls",
    "callingedge_sip_call_dialogs",
    "callingedge_engines_dialling",
    "callingedge_voice_calls",
    "callingedge_voice_engine_sockets",
    "callingedge_voice_rtp_sockets",
    "callingedge_voice_ports_in_use",
];

/// How much, for how long.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Calls at once. Without it, as many as this machine holds are searched for.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    calls: Option<u32>,
    /// How long is measured, seconds; in a search, how long each step is [default: 20, in a search 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// What the engines speak.
    #[arg(long, value_enum, default_value = "edge.v1")]
    dialect: Spoken,
    /// Search in steps of so many calls.
    #[arg(long, value_name = "CALLS", default_value_t = 100, conflicts_with = "calls",
          value_parser = clap::value_parser!(u32).range(1..=9_000))]
    ramp: u32,
    /// Measure how fast calls are set up, at so many a second; without a number, at more and more.
    #[arg(long, value_name = "CALLS", num_args = 0..=1, conflicts_with_all = ["calls", "ramp"],
          value_parser = clap::value_parser!(u32).range(1..=5_000))]
    setup_rate: Option<Option<u32>>,
    /// Print one JSON object instead of prose.
    #[arg(long)]
    json: bool,
}

/// A dialect as the command line has it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Spoken {
    #[value(name = "edge.v1")]
    EdgeV1,
    #[value(name = "edge.mux.v1")]
    EdgeMuxV1,
    Twilio,
}

impl From<Spoken> for Tongue {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::EdgeV1 => Self::EdgeV1,
            Spoken::EdgeMuxV1 => Self::EdgeMuxV1,
            Spoken::Twilio => Self::Twilio,
        }
    }
}

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Outcome {
    open_many_files();
    let dialect = options.dialect.into();
    let length = |usual| Duration::from_secs(options.seconds.unwrap_or(usual).into());
    match (options.setup_rate, options.calls) {
        (Some(rate), _) => set_ups(dialect, rate, length(5), options.json),
        (None, Some(calls)) => steady(dialect, calls as usize, length(20), options.json),
        (None, None) => ramp(dialect, options.ramp, length(5), options.json),
    }
}

/// So many calls, once.
fn steady(dialect: Tongue, calls: usize, length: Duration, json: bool) -> Outcome {
    let mut bench = Bench::start(dialect, Talk::Both, None)?;
    let mut measured = bench.measure(calls, length)?;
    measured.left_behind = bench.finish()?;
    report::tell(&measured, json)?;
    if measured.is_sound() { Ok(()) } else { Err("not all went as it should".into()) }
}

/// More and more calls.
fn ramp(dialect: Tongue, step: u32, length: Duration, json: bool) -> Outcome {
    let mut bench = Bench::start(dialect, Talk::Both, None)?;
    let mut ramp = Ramp::new(dialect, bench.edge_core());
    if !json {
        print(&ramp.head())?;
    }
    for number in 1..=STEPS {
        let measured = bench.measure((number * step) as usize, length)?;
        if !json {
            print(&Ramp::line(&measured))?;
        }
        if !ramp.add(measured) {
            break;
        }
    }
    ramp.left_behind = bench.finish()?;
    report::tell(&ramp, json)
}

/// More and more calls a second, or as many as wished.
fn set_ups(dialect: Tongue, rate: Option<u32>, length: Duration, json: bool) -> Outcome {
    let mut bench = Bench::start(dialect, Talk::Nobody, Some(HOLD))?;
    let mut set_ups = SetUps::new(dialect, bench.edge_core());
    if !json {
        print(&set_ups.head())?;
    }
    let rates: Vec<u32> =
        rate.map_or_else(|| (1..=STEPS).map(|step| step * 100).collect(), |rate| vec![rate]);
    for rate in rates {
        let measured = bench.set_up(rate, length)?;
        if !json {
            print(&SetUps::line(&measured))?;
        }
        if !set_ups.add(measured) {
            break;
        }
    }
    set_ups.left_behind = bench.finish()?;
    report::tell(&set_ups, json)
}

/// An edge under load.
struct Bench {
    cores: Cores,
    edge: Edge,
    load: Load,
    dialect: Tongue,
    /// What it used before its first call.
    idle: Usage,
    calls: usize,
}

impl Bench {
    fn start(dialect: Tongue, talk: Talk, hold: Option<Duration>) -> Result<Self, Failure> {
        let cores = Cores::divide()?;
        cores.be_load()?;
        let addresses = Addresses::find()?;
        let seed = u64::from_le_bytes(crypto::random());
        let mut load = Load::new(&Plan { edge: addresses.sip, dialect, talk, hold, seed })?;
        // Short calls would use up all ports long before the first may be used again.
        let quarantine = Duration::from_secs(if hold.is_some() { 1 } else { 30 });
        let edge = Edge::start(&cores, addresses, &load.engine_url()?, dialect, quarantine)?;
        load.run(Duration::from_secs(1), |_| false)?;
        let idle = edge.usage()?;
        Ok(Self { cores, edge, load, dialect, idle, calls: 0 })
    }

    fn edge_core(&self) -> &Cores {
        &self.cores
    }

    /// Makes it `calls` and measures them for `length`.
    fn measure(&mut self, calls: usize, length: Duration) -> Result<Measured, Failure> {
        let placing = PLACING * u32::try_from(calls.saturating_sub(self.calls))?;
        self.load.open_window();
        self.load.place(calls.saturating_sub(self.calls), PLACING);
        self.calls = calls;
        let up = self.load.run(placing + PATIENCE, |load| load.talking() >= calls)?;
        let began = self.load.take_window();
        if !up {
            let (talking, troubles) = (self.load.talking(), troubles(&began));
            let log = self.edge.log();
            return Err(format!("only {talking} of {calls} calls were answered: {troubles}\n{log}").into());
        }
        self.load.run(WARM_UP, |_| false)?;
        self.load.breathe(BREATH)?;

        let (edge, own) = (self.edge.usage()?, Usage::of(std::process::id())?);
        self.load.open_window();
        self.load.run(length, |_| false)?;
        self.load.close_window();
        let (edge, own) = (self.edge.usage()?.since(&edge), Usage::of(std::process::id())?.since(&own));
        self.load.run(STRAGGLERS, |_| false)?;
        let window = self.load.take_window();
        Ok(Measured::new(
            self.dialect,
            &self.cores,
            calls,
            length,
            window,
            began.set_up,
            &edge,
            &own,
            &self.idle,
        ))
    }

    /// Places `rate` calls a second for `length`, and waits for the end of the last one.
    fn set_up(&mut self, rate: u32, length: Duration) -> Result<SetUp, Failure> {
        let calls = rate as usize * usize::try_from(length.as_secs())?;
        let (edge, own) = (self.edge.usage()?, Usage::of(std::process::id())?);
        self.load.open_window();
        self.load.place(calls, Duration::from_secs(1) / rate);
        self.load.run(length + PATIENCE, Load::is_idle)?;
        let (edge, own) = (self.edge.usage()?.since(&edge), Usage::of(std::process::id())?.since(&own));
        let window = self.load.take_window();
        Ok(SetUp::new(rate, length, window, &edge, &own))
    }

    /// Ends everything; what the edge still holds afterwards.
    fn finish(mut self) -> Result<Vec<String>, Failure> {
        self.load.hang_up_all();
        if !self.load.run(PATIENCE, Load::is_idle)? {
            return Ok(vec!["calls did not end when their callers hung up".into()]);
        }
        let mut held = self.held()?;
        for _ in 0..CLEANING.as_secs() * 4 {
            if held.is_empty() {
                break;
            }
            self.load.run(Duration::from_millis(250), |_| false)?;
            held = self.held()?;
        }
        self.edge.stop()?;
        Ok(held)
    }

    fn held(&self) -> Result<Vec<String>, Failure> {
        let mut held = Vec::new();
        for name in HELD {
            match self.edge.metric(name)? {
                Some(value) if value.abs() < 0.5 => {}
                Some(value) => held.push(format!("{name} {value}")),
                None => held.push(format!("{name} is not told")),
            }
        }
        Ok(held)
    }
}

fn troubles(window: &Window) -> String {
    let troubles: Vec<String> =
        window.troubles.iter().map(|(what, times)| format!("{what} ({times})")).collect();
    if troubles.is_empty() { "no reason is known".to_owned() } else { troubles.join("; ") }
}
