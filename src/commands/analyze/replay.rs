//! `analyze replay`: what is heard of a file over a network whose packets came when a trace says.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use media::{JitterBuffer, SampleRate, Wav};
use serde::Serialize;

use super::audio::Audio;
use super::coding::{Coder, Coding};
use super::packets::{self, Sent};
use super::{Fault, percent, print_line};
use crate::commands::Outcome;

/// What is sent, and when it came.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// CSV with columns `send_ms` and `arrival_ms`, a line a packet of 20 ms; a lost one has no arrival.
    #[arg(long, value_name = "T.csv")]
    trace: PathBuf,
    /// The codec of the packets.
    #[arg(long, ignore_case = true)]
    codec: Coding,
    /// What is said: a WAV file, from its beginning again where the trace is longer.
    #[arg(long, value_name = "ref.wav")]
    r#in: PathBuf,
    /// What is heard, from the first packet's arrival: PCM 16 bit at the codec's rate.
    #[arg(long, value_name = "out.wav")]
    out: PathBuf,
    /// How much is played at once, in milliseconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(5..=60))]
    beat_ms: u8,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    file: String,
    codec: Coding,
    packets: usize,
    lost_pct: f64,
    /// Packets that came after a guess had taken their place.
    late_pct: f64,
    /// Guessed samples of those that were sent.
    concealed_pct: f64,
    /// Played behind the fastest packet of the trace.
    mean_delay_ms: f64,
    p99_delay_ms: f64,
    /// By how much speech was made longer or shorter, both added up.
    stretched_ms: u64,
    /// Silence before the first packet and in the sender's pauses.
    paused_ms: u64,
}

pub(super) fn run(options: &Options) -> Outcome {
    let name = options.r#in.display().to_string();
    let text = std::fs::read_to_string(&options.trace).map_err(Fault::from);
    let trace = text.and_then(|text| Ok(packets::trace(&text)?));
    let trace = trace.map_err(|fault| format!("{}: {fault}", options.trace.display()))?;
    let audio = Audio::read(&options.r#in).map_err(|fault| format!("{name}: {fault}"))?;
    let rate = options.codec.rate(audio.sample_rate());
    let said = audio.mono(rate);

    let (heard, line) =
        Network { coding: options.codec, rate, trace: &trace }.play(&name, &said, options.beat_ms);
    std::fs::write(&options.out, Wav::file_of(rate.hertz(), 1, &heard))
        .map_err(|error| format!("{}: {error}", options.out.display()))?;
    print_line(&line)
}

struct Network<'a> {
    coding: Coding,
    rate: SampleRate,
    trace: &'a [Sent],
}

struct Arriving {
    at_ms: f64,
    number: u32,
    media_time: u32,
    payload: Vec<u8>,
}

impl Network<'_> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock is asked once, for a beginning; time is the trace's"
    )]
    fn play(&self, name: &str, said: &[i16], beat_ms: u8) -> (Vec<i16>, Line) {
        let start = Instant::now();
        let arriving = self.arriving(said);
        let (first, floor_ms) = (arriving.first(), self.floor_ms());
        let begin_ms = first.map_or(0.0, |packet| packet.at_ms);
        let first_time = first.map_or(0, |packet| packet.media_time);
        let end_ms = arriving.last().map_or(0.0, |packet| packet.at_ms) + 1_000.0;
        let most = arriving.iter().map(|packet| packet.payload.len()).max().unwrap_or_default();
        let mut buffer = JitterBuffer::new(start, self.rate, most);
        let mut coder = Coder::new(self.coding);
        let mut frame = vec![0; self.rate.hertz() as usize * usize::from(beat_ms) / 1_000];
        let (mut heard, mut delays) = (Vec::new(), Vec::new());
        let mut waiting = arriving.iter().peekable();
        for beat in 0_u32.. {
            let passed = Duration::from_millis(u64::from(beat_ms)) * beat;
            let now_ms = begin_ms + passed.as_secs_f64() * 1_000.0;
            if now_ms > end_ms || (waiting.peek().is_none() && buffer.is_empty()) {
                break;
            }
            while let Some(packet) = waiting.next_if(|packet| packet.at_ms <= now_ms) {
                let at = start + Duration::from_secs_f64((packet.at_ms - begin_ms) / 1_000.0);
                // What is refused is counted there.
                let _ = buffer.insert(at, packet.number, packet.media_time, &packet.payload);
            }
            let mut decoded = 0;
            buffer.next_frame(start + passed, &mut frame, |payload, samples| {
                decoded += 1;
                coder.decode(payload, samples)
            });
            let lag_ms = buffer.lag_micros() as f64 / 1_000.0 + begin_ms;
            let lag_ms = lag_ms - f64::from(first_time) * 1_000.0 / f64::from(self.rate.hertz()) - floor_ms;
            delays.extend(std::iter::repeat_n(lag_ms, decoded));
            heard.extend_from_slice(&frame);
        }
        delays.sort_by(f64::total_cmp);
        let counts = buffer.counts();
        let milliseconds = |samples: u64| samples * 1_000 / u64::from(self.rate.hertz());
        let packets = self.trace.len();
        let lost = packets - arriving.len();
        let line = Line {
            file: name.to_owned(),
            codec: self.coding,
            packets,
            lost_pct: percent(lost, packets),
            late_pct: percent(counts.late_packets as usize, packets),
            concealed_pct: percent(counts.concealed as usize, packets * self.packet()),
            mean_delay_ms: tenths(delays.iter().sum::<f64>() / delays.len().max(1) as f64),
            p99_delay_ms: tenths(
                delays.get(delays.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default(),
            ),
            stretched_ms: milliseconds(counts.lengthened + counts.shortened),
            paused_ms: milliseconds(counts.paused),
        };
        (heard, line)
    }

    /// Samples in 20 ms.
    fn packet(&self) -> usize {
        self.rate.hertz() as usize / 50
    }

    /// The packets in the order in which they come. A lost one is encoded as well, since the sender does not know.
    fn arriving(&self, said: &[i16]) -> Vec<Arriving> {
        let mut coder = Coder::new(self.coding);
        let mut arriving = Vec::new();
        for (number, sent) in (0_u32..).zip(self.trace) {
            let media_time = (sent.at_ms * f64::from(self.rate.hertz()) / 1_000.0).round() as i64;
            let begin = media_time.rem_euclid(said.len().max(1) as i64) as usize;
            let frame: Vec<i16> = said.iter().cycle().skip(begin).take(self.packet()).copied().collect();
            let payload = coder.encode(&frame);
            if let Some(at_ms) = sent.came_ms {
                arriving.push(Arriving { at_ms, number, media_time: media_time as u32, payload });
            }
        }
        arriving.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
        arriving
    }

    /// How long the fastest packet was under way.
    fn floor_ms(&self) -> f64 {
        let under_way = self.trace.iter().filter_map(|sent| Some(sent.came_ms? - sent.at_ms));
        under_way.min_by(f64::total_cmp).unwrap_or_default()
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_and_all_else_comes_with_little_delay() {
        let trace = trace(500, |number| (number % 50 != 30).then_some(3.0 * f64::from(number % 7 == 0)));

        let (heard, line) = play(&trace, Coding::Pcmu, 10);

        assert_eq!((line.packets, line.lost_pct, line.late_pct), (500, 2.0, 0.0));
        assert!((2.0..2.3).contains(&line.concealed_pct), "{line:?}");
        assert!((3.0..20.0).contains(&line.mean_delay_ms), "{line:?}");
        assert!(line.p99_delay_ms <= 25.0 && line.stretched_ms <= 20, "{line:?}");
        assert!((80_000..82_000).contains(&heard.len()), "{}", heard.len());
    }

    #[test]
    fn the_same_trace_gives_the_same_bytes_in_every_codec() {
        let trace = trace(300, |number| (number % 13 != 3).then_some(f64::from(number * 7_919 % 40)));
        for coding in [Coding::Pcmu, Coding::Pcma, Coding::L16, Coding::G722] {
            let (one, line) = play(&trace, coding, 20);

            assert_eq!((one, &line), (play(&trace, coding, 20).0, &line), "{coding:?}");
            assert!(line.concealed_pct < 15.0, "{line:?}");
        }
    }

    #[test]
    fn a_trace_in_which_nothing_comes_is_silence() {
        let trace = trace(10, |_| None);

        let (heard, line) = play(&trace, Coding::Pcmu, 10);

        assert_eq!((heard.len(), line.lost_pct, line.mean_delay_ms), (0, 100.0, 0.0));
    }

    fn trace(packets: u32, delay: impl Fn(u32) -> Option<f64>) -> Vec<Sent> {
        let sent = |number| {
            let at_ms = f64::from(number) * 20.0;
            Sent { at_ms, came_ms: delay(number).map(|delay| at_ms + 35.5 + delay) }
        };
        (0..packets).map(sent).collect()
    }

    fn play(trace: &[Sent], coding: Coding, beat_ms: u8) -> (Vec<i16>, Line) {
        let said: Vec<i16> = (0..24_000).map(|at| (8_000.0 * (f64::from(at) * 0.1).sin()) as i16).collect();
        let rate = coding.rate(SampleRate::Hz8000);
        Network { coding, rate, trace }.play("a.wav", &said, beat_ms)
    }
}
