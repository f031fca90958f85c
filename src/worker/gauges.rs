//! A worker's numbers in the process's metrics, published once a second. `docs/metrics.md` lists the names.

use std::time::Duration;

use metrics::{Counter, Gauge, Label, counter, gauge};

use super::histogram::Histogram;
use super::tally::Tally;

/// What a worker holds now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holdings {
    pub(super) calls: usize,
    pub(super) engines: usize,
    pub(super) lines: usize,
    pub(super) rtp_sockets: usize,
    pub(super) ports_in_use: usize,
    pub(super) ports_resting: usize,
}

/// Reads one number.
type Read = fn(&Tally) -> u64;

/// One worker's handles to the recorder that was installed when it began.
pub(super) struct Gauges {
    counters: [(Counter, Read); 26],
    calls: Gauge,
    engines: Gauge,
    lines: Gauge,
    rtp_sockets: Gauge,
    ports_in_use: Gauge,
    ports_resting: Gauge,
    lag: Gauge,
    up_p99: Gauge,
}

impl Gauges {
    pub(super) fn new(worker: usize) -> Self {
        let labels = || vec![Label::new("worker", worker.to_string())];
        let counter = |name: &'static str| counter!(name, labels());
        let gauge = |name: &'static str| gauge!(name, labels());
        Self {
            counters: [
                (counter("callingedge_voice_frames_to_engine_total"), |tally| tally.frames_to_engine),
                (counter("callingedge_voice_frames_to_engine_dropped_total"), |tally| {
                    tally.frames_to_engine_dropped
                }),
                (counter("callingedge_voice_frames_replayed_total"), |tally| tally.frames_replayed),
                (counter("callingedge_voice_replay_lost_total"), |tally| tally.replay_lost),
                (counter("callingedge_voice_frames_concealed_total"), |tally| tally.frames_concealed),
                (counter("callingedge_voice_barge_ins_total"), |tally| tally.barge_ins),
                (counter("callingedge_voice_holds_expired_total"), |tally| tally.holds_expired),
                (counter("callingedge_voice_rtp_packets_sent_total"), |tally| tally.packets_to_leg),
                (counter("callingedge_voice_datagrams_discarded_total"), |tally| tally.datagrams_discarded),
                (counter("callingedge_voice_datagrams_forged_total"), |tally| tally.datagrams_forged),
                (counter("callingedge_voice_datagrams_unkeyed_total"), |tally| tally.datagrams_unkeyed),
                (counter("callingedge_voice_dtls_handshakes_total"), |tally| tally.handshakes),
                (counter("callingedge_voice_dtls_failures_total"), |tally| tally.handshakes_failed),
                (counter("callingedge_voice_send_errors_total"), |tally| tally.send_errors),
                (counter("callingedge_voice_engine_mistakes_total"), |tally| tally.engine_mistakes),
                (counter("callingedge_voice_playout_full_total"), |tally| tally.playout_full),
                (counter("callingedge_voice_keys_twice_total"), |tally| tally.keys_twice),
                (counter("callingedge_voice_relay_late_samples_total"), |tally| tally.relay_late),
                (counter("callingedge_voice_relay_concealed_samples_total"), |tally| tally.relay_concealed),
                (counter("callingedge_voice_relay_stretched_samples_total"), |tally| tally.relay_stretched),
                (counter("callingedge_voice_facts_dropped_total"), |tally| tally.facts_dropped),
                (counter("callingedge_voice_stray_orders_total"), |tally| tally.stray_orders),
                (counter("callingedge_voice_late_beats_total"), |tally| tally.late_beats),
                (counter("callingedge_voice_missed_beats_total"), |tally| tally.missed_beats),
                (counter("callingedge_voice_stray_records_total"), |tally| tally.stray_records),
                (counter("callingedge_voice_panics_total"), |tally| tally.panics),
            ],
            calls: gauge("callingedge_voice_calls"),
            engines: gauge("callingedge_voice_engine_sockets"),
            lines: gauge("callingedge_voice_shared_sockets"),
            rtp_sockets: gauge("callingedge_voice_rtp_sockets"),
            ports_in_use: gauge("callingedge_voice_ports_in_use"),
            ports_resting: gauge("callingedge_voice_ports_resting"),
            lag: gauge("callingedge_voice_loop_lag_seconds"),
            up_p99: gauge("callingedge_voice_up_p99_seconds"),
        }
    }

    /// `lag`: the latest beat, and `up`: how long frames were kept on their way up, since the last time.
    pub(super) fn publish(&self, tally: &Tally, holdings: &Holdings, lag: Duration, up: &Histogram) {
        for (counter, value) in &self.counters {
            counter.absolute(value(tally));
        }
        self.calls.set(holdings.calls as f64);
        self.engines.set(holdings.engines as f64);
        self.lines.set(holdings.lines as f64);
        self.rtp_sockets.set(holdings.rtp_sockets as f64);
        self.ports_in_use.set(holdings.ports_in_use as f64);
        self.ports_resting.set(holdings.ports_resting as f64);
        self.lag.set(lag.as_secs_f64());
        self.up_p99.set(up.p99_ms().map_or(0.0, |ms| f64::from(ms) / 1_000.0));
    }
}
