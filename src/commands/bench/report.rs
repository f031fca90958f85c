//! The figures of a bench, for people and for programs. A figure beyond its budget is marked, and is no error: only what is
//! lost or left behind is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::super::{Outcome, print};
use super::edge::Cores;
use super::usage::Usage;
use crate::lab::load::Tongue;
use crate::lab::load::{Latency, Way, Window};

/// CPU per call-second with a websocket a call.
const CPU_BUDGET_MS: f64 = 1.5;
/// Caller to engine, 99 of 100 frames.
const UP_BUDGET: Duration = Duration::from_millis(1);
/// The same where a frame waits for the batch of its beat.
const BATCHED_UP_BUDGET: Duration = Duration::from_millis(21);
/// Engine to caller, 99 of 100 frames: a beat and a little.
const DOWN_BUDGET: Duration = Duration::from_millis(21);
/// From INVITE to 200, 99 of 100 calls.
const SET_UP_BUDGET: Duration = Duration::from_millis(15);
/// A core that is busier than this is full.
const FULL_PCT: f64 = 95.0;
/// A load that is later than this, or that leaves out more than one frame in so many, has measured itself.
const LOAD_LATE: Duration = Duration::from_millis(2);
const LOAD_SKIPS_ONE_IN: u64 = 1000;
/// The edge waited for its core for more than this: others were using it.
const NOISY_PCT: f64 = 1.0;

/// What can be told in both forms.
pub(super) trait Report: Serialize {
    /// For people; what was printed while it was measured is not repeated.
    fn prose(&self) -> String;
}

/// Prints it.
pub(super) fn tell(report: &impl Report, json: bool) -> Outcome {
    if json { print(&format!("{}\n", serde_json::to_string(report)?)) } else { print(&report.prose()) }
}

/// So many calls for so long.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    calls: usize,
    seconds: f64,
    dialect: &'static str,
    edge_core: usize,
    /// The load had no core of its own: latencies mean little.
    core_is_shared: bool,
    cpu_ms_per_call_second: f64,
    /// The same, by thread.
    threads: BTreeMap<String, f64>,
    edge_core_pct: f64,
    edge_waited_pct: f64,
    memory_kib_per_call: f64,
    set_up: Latency,
    up: Direction,
    down: Direction,
    load: LoadFigures,
    troubles: BTreeMap<String, u64>,
    pub(super) left_behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Direction {
    sent: u64,
    lost: u64,
    disordered: u64,
    #[serde(flatten)]
    latency: Latency,
}

/// How the load itself was doing.
#[derive(Debug, Serialize)]
struct LoadFigures {
    core_pct: f64,
    waited_pct: f64,
    skipped: u64,
    late: Latency,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        Self { sent: way.sent, lost: way.lost(), disordered: way.disordered, latency: way.latency }
    }
}

impl Measured {
    pub(super) fn new(
        dialect: Tongue,
        cores: &Cores,
        calls: usize,
        length: Duration,
        window: Window,
        set_up: Latency,
        edge: &Usage,
        own: &Usage,
        idle: &Usage,
    ) -> Self {
        let seconds = length.as_secs_f64();
        let per_call_second = |spent: Duration| spent.as_secs_f64() * 1e3 / (calls as f64 * seconds);
        let pct = |spent: Duration| spent.as_secs_f64() / seconds * 100.0;
        Self {
            calls,
            seconds,
            dialect: dialect.as_str(),
            edge_core: cores.edge,
            core_is_shared: cores.shared,
            cpu_ms_per_call_second: per_call_second(edge.cpu),
            threads: edge.threads.iter().map(|(name, ran)| (name.clone(), per_call_second(*ran))).collect(),
            edge_core_pct: pct(edge.cpu),
            edge_waited_pct: pct(edge.waited),
            memory_kib_per_call: edge.resident_kib.saturating_sub(idle.resident_kib) as f64 / calls as f64,
            set_up,
            up: window.up.into(),
            down: window.down.into(),
            load: LoadFigures {
                core_pct: pct(own.cpu),
                waited_pct: pct(own.waited),
                skipped: window.skipped,
                late: window.late,
            },
            troubles: window.troubles,
            left_behind: Vec::new(),
        }
    }

    fn up_budget(&self) -> Duration {
        if self.dialect == Tongue::EdgeMuxV1.as_str() { BATCHED_UP_BUDGET } else { UP_BUDGET }
    }

    /// Whether nothing was lost and nothing went wrong; how long it took is another matter.
    pub(super) fn is_sound(&self) -> bool {
        self.up.lost + self.down.lost == 0 && self.troubles.is_empty() && self.left_behind.is_empty()
    }

    /// The budgets that do not hold.
    fn over(&self) -> Vec<&'static str> {
        let mut over = Vec::new();
        let mut look = |broken: bool, what| over.extend(broken.then_some(what));
        look(self.up.lost + self.down.lost > 0, "frames are lost");
        look(!self.troubles.is_empty(), "calls are in trouble");
        look(is_over(&self.up.latency, self.up_budget()), "the way up takes too long");
        look(is_over(&self.down.latency, DOWN_BUDGET), "the way down takes too long");
        look(self.cpu_ms_per_call_second > CPU_BUDGET_MS, "a call costs too much");
        look(self.edge_core_pct > FULL_PCT, "the core is full");
        over
    }

    /// Whether the load was the limit, not the edge.
    fn is_loads_fault(&self) -> bool {
        self.load.skipped > (self.up.sent + self.down.sent) / LOAD_SKIPS_ONE_IN
            || is_over(&self.load.late, LOAD_LATE)
            || self.load.core_pct > FULL_PCT
    }

    /// Why the figures should be taken again; empty where they need not.
    fn doubts(&self) -> String {
        let mut text = String::new();
        if self.core_is_shared {
            text.push_str("NOISY: there is one core only, and the load shares it.\n");
        }
        if self.edge_waited_pct > NOISY_PCT {
            let waited = self.edge_waited_pct;
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "NOISY: other programs used the core for {waited:.1} % of the time while the edge had work to do."
            );
        }
        if self.is_loads_fault() {
            let (late, skipped) = (ms(self.load.late.permille(990)), self.load.skipped);
            let _ =
                writeln!(text, "NOISY: the load itself was late (p99 {late}) and left out {skipped} frames.");
        }
        text
    }
}

impl Report for Measured {
    fn prose(&self) -> String {
        let is_shared = self.dialect == Tongue::EdgeMuxV1.as_str();
        let sockets = if is_shared { "one websocket for all" } else { "a websocket each" };
        let mut text = format!(
            "{} calls for {} s, {} on {sockets}; the edge alone on core {}\n\n",
            self.calls, self.seconds, self.dialect, self.edge_core
        );
        let mark = |over: bool| if over { "OVER" } else { "" };
        let cpu = self.cpu_ms_per_call_second;
        let _ = writeln!(text, "{:<22}{:>10}{:>10}{:>10}{:>11}", "", "p50", "p99", "max", "budget");
        let mut line = |name: &str, latency: &Latency, budget: Option<Duration>| {
            let (p50, p99) = (ms(latency.permille(500)), ms(latency.permille(990)));
            let shown = budget.map_or(String::new(), |budget| ms(Some(budget)));
            let over = mark(budget.is_some_and(|budget| is_over(latency, budget)));
            let _ = writeln!(text, "{name:<22}{p50:>10}{p99:>10}{:>10}{shown:>11} {over}", ms(latency.max()));
        };
        line("caller to engine", &self.up.latency, Some(self.up_budget()));
        line("engine to caller", &self.down.latency, Some(DOWN_BUDGET));
        line("INVITE to 200", &self.set_up, None);
        line("lateness of the load", &self.load.late, None);
        let over = mark(cpu > CPU_BUDGET_MS);
        let _ = writeln!(text, "\nCPU per call-second   {cpu:>7.3} ms {CPU_BUDGET_MS:>30.1} ms {over}");
        for (name, ran) in self.threads.iter().filter(|(_, ran)| **ran >= 0.0005) {
            let _ = writeln!(text, "  {name:<20}{ran:>7.3} ms");
        }
        let _ = writeln!(
            text,
            "edge's core           {:>6.1} %  (waited for it {:.2} % of the time)",
            self.edge_core_pct, self.edge_waited_pct
        );
        let _ = writeln!(
            text,
            "load's core           {:>6.1} %  (waited for it {:.2} % of the time)",
            self.load.core_pct, self.load.waited_pct
        );
        let _ = writeln!(text, "memory per call       {:>6.0} KiB", self.memory_kib_per_call);
        for (name, way) in [("up", &self.up), ("down", &self.down)] {
            let _ = writeln!(
                text,
                "frames {name:<15}{:>7} lost of {}, {} out of order",
                way.lost, way.sent, way.disordered
            );
        }
        for (what, times) in &self.troubles {
            let _ = writeln!(text, "TROUBLE: {what} ({times} times)");
        }
        text.push_str(&left(&self.left_behind));
        text.push_str(&self.doubts());
        text
    }
}

/// More and more calls.
#[derive(Debug, Serialize)]
pub(super) struct Ramp {
    dialect: &'static str,
    edge_core: usize,
    /// The most calls for which all budgets held; 0 where none did.
    holds: usize,
    /// What did not hold any more at the next step.
    limit: Option<String>,
    steps: Vec<Measured>,
    pub(super) left_behind: Vec<String>,
}

impl Ramp {
    pub(super) fn new(dialect: Tongue, cores: &Cores) -> Self {
        let (dialect, edge_core) = (dialect.as_str(), cores.edge);
        Self { dialect, edge_core, holds: 0, limit: None, steps: Vec::new(), left_behind: Vec::new() }
    }

    /// Whether it goes on.
    pub(super) fn add(&mut self, measured: Measured) -> bool {
        let over = measured.over();
        if over.is_empty() {
            self.holds = measured.calls;
        } else {
            let noise = if measured.is_loads_fault() {
                " (the load was at its end, the edge may hold more)"
            } else {
                ""
            };
            self.limit = Some(format!("at {} {}{noise}", measured.calls, over.join(", ")));
        }
        self.steps.push(measured);
        self.limit.is_none()
    }

    pub(super) fn head(&self) -> String {
        format!(
            "More and more calls, {} on a websocket each; the edge alone on core {}\n\n\
             {:>7}{:>16}{:>9}{:>12}{:>12}{:>8}{:>13}\n",
            self.dialect,
            self.edge_core,
            "calls",
            "CPU a call-s",
            "core",
            "up p99",
            "down p99",
            "lost",
            "load late"
        )
    }

    pub(super) fn line(measured: &Measured) -> String {
        let (up, down) = (measured.up.latency.permille(990), measured.down.latency.permille(990));
        format!(
            "{:>7}{:>13.3} ms{:>7.1} %{:>12}{:>12}{:>8}{:>13}\n",
            measured.calls,
            measured.cpu_ms_per_call_second,
            measured.edge_core_pct,
            ms(up),
            ms(down),
            measured.up.lost + measured.down.lost,
            ms(measured.load.late.permille(990))
        )
    }
}

impl Report for Ramp {
    fn prose(&self) -> String {
        let limit = self.limit.as_deref().unwrap_or("nothing set a limit");
        let doubts = self.steps.last().map(Measured::doubts).unwrap_or_default();
        format!("\nAbout {} calls on one core: {limit}.\n{}{doubts}", self.holds, left(&self.left_behind))
    }
}

/// So many calls a second.
#[derive(Debug, Serialize)]
pub(super) struct SetUp {
    calls_per_second: u32,
    placed: u64,
    answered: u64,
    set_up: Latency,
    cpu_ms_per_call: f64,
    edge_core_pct: f64,
    edge_waited_pct: f64,
    /// By thread, in milliseconds a call.
    threads: BTreeMap<String, f64>,
    load_core_pct: f64,
    troubles: BTreeMap<String, u64>,
}

impl SetUp {
    pub(super) fn new(rate: u32, length: Duration, window: Window, edge: &Usage, own: &Usage) -> Self {
        let per_call = |spent: Duration| spent.as_secs_f64() * 1e3 / window.placed.max(1) as f64;
        let pct = |spent: Duration| spent.as_secs_f64() / length.as_secs_f64() * 100.0;
        Self {
            calls_per_second: rate,
            placed: window.placed,
            answered: window.set_up.counted(),
            cpu_ms_per_call: per_call(edge.cpu),
            threads: edge.threads.iter().map(|(name, ran)| (name.clone(), per_call(*ran))).collect(),
            set_up: window.set_up,
            edge_core_pct: pct(edge.cpu),
            edge_waited_pct: pct(edge.waited),
            load_core_pct: pct(own.cpu),
            troubles: window.troubles,
        }
    }

    fn holds(&self) -> bool {
        self.answered == self.placed && self.troubles.is_empty() && !is_over(&self.set_up, SET_UP_BUDGET)
    }
}

/// More and more calls a second.
#[derive(Debug, Serialize)]
pub(super) struct SetUps {
    dialect: &'static str,
    edge_core: usize,
    /// The highest rate for which the budget held; 0 where none did.
    holds: u32,
    steps: Vec<SetUp>,
    pub(super) left_behind: Vec<String>,
}

impl SetUps {
    pub(super) fn new(dialect: Tongue, cores: &Cores) -> Self {
        let (dialect, edge_core) = (dialect.as_str(), cores.edge);
        Self { dialect, edge_core, holds: 0, steps: Vec::new(), left_behind: Vec::new() }
    }

    /// Whether it goes on.
    pub(super) fn add(&mut self, measured: SetUp) -> bool {
        let holds = measured.holds();
        if holds {
            self.holds = measured.calls_per_second;
        }
        self.steps.push(measured);
        holds
    }

    pub(super) fn head(&self) -> String {
        format!(
            "More and more calls a second, each with its {} engine dialled; the edge alone on core {}\n\n\
             {:>9}{:>10}{:>10}{:>12}{:>12}{:>12}{:>14}{:>9}{:>9}\n",
            self.dialect,
            self.edge_core,
            "calls/s",
            "placed",
            "answered",
            "p50",
            "p99",
            "max",
            "CPU a call",
            "core",
            "waited"
        )
    }

    pub(super) fn line(measured: &SetUp) -> String {
        let latency = &measured.set_up;
        let mut line = format!(
            "{:>9}{:>10}{:>10}{:>12}{:>12}{:>12}{:>11.2} ms{:>7.1} %{:>7.2} %\n",
            measured.calls_per_second,
            measured.placed,
            measured.answered,
            ms(latency.permille(500)),
            ms(latency.permille(990)),
            ms(latency.max()),
            measured.cpu_ms_per_call,
            measured.edge_core_pct,
            measured.edge_waited_pct
        );
        for (what, times) in &measured.troubles {
            let _ = writeln!(line, "{:>9} {what} ({times} times)", "");
        }
        line
    }
}

impl Report for SetUps {
    fn prose(&self) -> String {
        let mut text = String::from("\nwhere a call's CPU goes:");
        for (name, ran) in
            self.steps.iter().rfind(|step| step.holds()).map(|step| &step.threads).into_iter().flatten()
        {
            let _ = write!(text, " {name} {ran:.2} ms");
        }
        let budget = ms(Some(SET_UP_BUDGET));
        let _ = writeln!(
            text,
            "\nAbout {} calls a second on one core, 99 of 100 answered within {budget}.",
            self.holds
        );
        text.push_str(&left(&self.left_behind));
        text
    }
}

fn is_over(latency: &Latency, budget: Duration) -> bool {
    latency.permille(990).is_some_and(|p99| p99 > budget)
}

fn ms(length: Option<Duration>) -> String {
    length.map_or("none".into(), |length| format!("{:.2} ms", length.as_secs_f64() * 1e3))
}

fn left(behind: &[String]) -> String {
    if behind.is_empty() {
        "Nothing of the calls was left in the edge afterwards.\n".into()
    } else {
        format!("LEFT BEHIND in the edge: {}\n", behind.join(", "))
    }
}
