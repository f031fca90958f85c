//! `analyze conceal`: what is heard of a file when some of its packets are lost.

use std::path::PathBuf;

use clap::Args;
use media::{Concealer, Wav};
use serde::Serialize;

use super::audio::Audio;
use super::coding::{Coder, Coding};
use super::{Fault, packets, print_line};
use crate::commands::Outcome;

/// What is sent, and what is lost of it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The codec of the packets, 20 ms each.
    #[arg(long, ignore_case = true)]
    codec: Coding,
    /// CSV: a column `lost` of 0 and 1, or a trace whose lost packets have no `arrival_ms`. Packets beyond its end come.
    #[arg(long, value_name = "PATTERN.csv")]
    loss: PathBuf,
    /// What is said: a WAV file.
    #[arg(long, value_name = "ref.wav")]
    r#in: PathBuf,
    /// What is heard: PCM 16 bit at the codec's rate, as long as what is said.
    #[arg(long, value_name = "out.wav")]
    out: PathBuf,
    /// The packet behind a gap is there before the gap has to be played, as in a jitter buffer.
    #[arg(long)]
    following: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    file: String,
    codec: Coding,
    packets: usize,
    concealed: usize,
    concealed_pct: f64,
    longest_gap_ms: usize,
}

pub(super) fn run(options: &Options) -> Outcome {
    let name = options.r#in.display().to_string();
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(Fault::from);
    let lost = read(&options.loss).and_then(|text| Ok(packets::losses(&text)?));
    let lost = lost.map_err(|fault| format!("{}: {fault}", options.loss.display()))?;
    let audio = Audio::read(&options.r#in).map_err(|fault| format!("{name}: {fault}"))?;
    let rate = options.codec.rate(audio.sample_rate());
    let said = audio.mono(rate);

    let (heard, line) = heard(&name, options, &said, &lost, rate.hertz() as usize / 50, Concealer::new(rate));
    std::fs::write(&options.out, Wav::file_of(rate.hertz(), 1, &heard))
        .map_err(|error| format!("{}: {error}", options.out.display()))?;
    print_line(&line)
}

fn heard(
    name: &str,
    options: &Options,
    said: &[i16],
    lost: &[bool],
    length: usize,
    mut concealer: Concealer,
) -> (Vec<i16>, Line) {
    let mut coder = Coder::new(options.codec);
    let is_lost = |index: usize| lost.get(index).copied().unwrap_or_default();
    let payloads: Vec<Vec<u8>> = said.chunks(length).map(|frame| coder.encode(frame)).collect();
    let mut heard = Vec::with_capacity(said.len());
    // A frame that was decoded before its turn, for the sake of the gap before it.
    let mut early: Option<Vec<i16>> = None;
    let (mut concealed, mut gap, mut longest) = (0, 0, 0);
    for (index, payload) in payloads.iter().enumerate() {
        let mut frame = vec![0; length];
        if is_lost(index) {
            concealed += 1;
            gap += 1;
            longest = longest.max(gap);
            match payloads.get(index + 1).filter(|_| options.following && !is_lost(index + 1)) {
                Some(next) => {
                    let mut following = vec![0; length];
                    let decoded = coder.decode(next, &mut following);
                    following.truncate(decoded);
                    concealer.bridge(&following, &mut frame);
                    early = Some(following);
                }
                None => concealer.conceal(&mut frame),
            }
        } else {
            gap = 0;
            frame = match early.take() {
                Some(frame) => frame,
                None => {
                    let decoded = coder.decode(payload, &mut frame);
                    frame.truncate(decoded);
                    frame
                }
            };
            concealer.keep(&mut frame);
        }
        heard.extend(frame);
    }
    heard.resize(said.len(), 0);
    let packets = payloads.len();
    let line = Line {
        file: name.to_owned(),
        codec: options.codec,
        packets,
        concealed,
        concealed_pct: super::percent(concealed, packets),
        longest_gap_ms: 20 * longest,
    };
    (heard, line)
}

#[cfg(test)]
mod tests {
    use media::SampleRate;

    use super::*;

    #[test]
    fn the_line_counts_what_was_lost_and_all_else_is_heard_as_said() {
        let said: Vec<i16> = (0..1_650).map(|at| (8_000.0 * (f64::from(at) * 0.2).sin()) as i16).collect();
        let lost = [false, false, false, true, true, false, false, true];
        for following in [false, true] {
            let options = options(Coding::L16, following);

            let (heard, line) =
                heard("a.wav", &options, &said, &lost, 160, Concealer::new(SampleRate::Hz8000));

            assert_eq!((line.packets, line.concealed, line.longest_gap_ms), (11, 3, 40));
            assert!((line.concealed_pct - 27.27).abs() < 0.01, "{line:?}");
            assert_eq!(heard.len(), said.len());
            assert_eq!(heard[..480], said[..480]);
            assert_eq!(heard[960..1_120], said[960..1_120]);
            let error = said.iter().zip(&heard).map(|(said, heard)| said.abs_diff(*heard)).max();
            assert!(error.unwrap() < 4_000, "{error:?}");
        }
    }

    #[test]
    fn g722_is_heard_at_16_khz_whatever_is_lost() {
        let said: Vec<i16> = (0..3_200).map(|at| (8_000.0 * (f64::from(at) * 0.2).sin()) as i16).collect();
        let options = options(Coding::G722, true);

        let (heard, line) =
            heard("a.wav", &options, &said, &[false, true, false], 320, Concealer::new(SampleRate::Hz16000));

        assert_eq!((heard.len(), line.packets, line.concealed), (3_200, 10, 1));
    }

    fn options(codec: Coding, following: bool) -> Options {
        let nowhere = PathBuf::new;
        Options { codec, loss: nowhere(), r#in: nowhere(), out: nowhere(), following }
    }
}
