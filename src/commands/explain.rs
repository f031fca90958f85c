//! `callingedge explain`: what happened in a call, for people.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::{Outcome, Running, print, small_runtime};

/// Which call.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    edge: Running,
    /// The call.
    call_id: String,
    /// Print the timeline as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the timeline.
pub(super) fn run(options: &Options) -> Outcome {
    let timeline = small_runtime()?.block_on(async {
        let client = Client::new(&options.edge)?;
        client.get(&format!("/api/calls/{}/timeline", options.call_id)).await
    })?;
    if options.json { print(&format!("{timeline}\n")) } else { print(&told(&timeline)) }
}

fn told(timeline: &Value) -> String {
    let call = &timeline["call"];
    let word = |name: &str| call[name].as_str().unwrap_or("–").to_owned();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}: {} over {}, {} to {}",
        word("call_id"),
        word("direction"),
        word("provider"),
        word("from"),
        word("to")
    );
    let mut state = vec![word("status")];
    state.extend(call["end_reason"].as_str().map(str::to_owned));
    state.extend(call["duration_sec"].as_u64().map(|seconds| format!("{seconds} s")));
    state.extend(call["engine"].as_str().map(|engine| format!("engine {engine}, {}", word("mode"))));
    let _ = writeln!(text, "{}\n", state.join(", "));
    for milestone in timeline["milestones"].as_array().into_iter().flatten() {
        let seconds = milestone["since_start_ms"].as_f64().unwrap_or_default() / 1000.0;
        let word = |name: &str| milestone[name].as_str().unwrap_or_default();
        let line = format!("{seconds:>9.3} s  {:<11}{:<28}{}", word("layer"), word("what"), word("detail"));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let numbers = numbers(call);
    if !numbers.is_empty() {
        let _ = writeln!(text, "\n{}", numbers.join(" · "));
    }
    text
}

/// Only what was measured.
fn numbers(call: &Value) -> Vec<String> {
    let known = [
        ("latency", "setup_ms", "setup", "ms"),
        ("latency", "first_audio_ms", "first audio", "ms"),
        ("latency", "edge_p99_ms", "edge p99", "ms"),
        ("quality", "jitter_ms", "jitter", "ms"),
        ("quality", "loss_pct", "loss", "%"),
        ("quality", "rtt_ms", "round trip", "ms"),
    ];
    let measured = known.iter().filter_map(|(part, field, name, unit)| {
        let value = call[*part][*field].as_f64()?;
        Some(format!("{name} {} {unit}", (value * 100.0).round() / 100.0))
    });
    measured.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_is_told_line_by_line_with_what_was_measured() {
        let timeline = json!({
            "call": {"call_id": "call_1", "direction": "inbound", "provider": "sip-main", "from": "+1", "to": "+2",
                "status": "ended", "end_reason": "remote_hung_up", "duration_sec": 32, "engine": "receptionist",
                "mode": "ai_first", "latency": {"setup_ms": 120.456, "first_audio_ms": null},
                "quality": {"loss_pct": 0.0}},
            "milestones": [
                {"since_start_ms": 0, "layer": "signalling", "what": "invite received", "detail": "203.0.113.10:5060"},
                {"since_start_ms": 1234, "layer": "engine", "what": "engine connected", "detail": null},
            ],
        });

        assert_eq!(
            told(&timeline),
            "call_1: inbound over sip-main, +1 to +2\n\
             ended, remote_hung_up, 32 s, engine receptionist, ai_first\n\n    \
             0.000 s  signalling invite received             203.0.113.10:5060\n    \
             1.234 s  engine     engine connected\n\n\
             setup 120.46 ms · loss 0 %\n"
        );
    }
}
