//! `analyze wav`: whether a file is what its owner believes, before anything else is made of it.

use media::WavEncoding;
use serde::Serialize;

use super::Fault;
use super::audio::Audio;

/// What a file is.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    encoding: &'static str,
    rate: u32,
    duration_ms: u64,
    channels: Vec<Level>,
}

/// How loud one channel is, against a full-scale square wave; nothing where it is silent throughout.
#[derive(Debug, Serialize)]
struct Level {
    level_dbov: Option<f64>,
    peak_dbov: Option<f64>,
}

pub(super) fn judge(file: &str, audio: &Audio) -> Result<Line, Fault> {
    let encoding = match audio.encoding {
        WavEncoding::Pcm16 => "pcm16",
        WavEncoding::Alaw => "alaw",
        WavEncoding::Ulaw => "ulaw",
    };
    let channels = audio.channels.iter().map(|samples| Level::of(samples)).collect();
    let (rate, duration_ms) = (audio.rate, audio.duration_ms());
    Ok(Line { file: file.to_owned(), encoding, rate, duration_ms, channels })
}

impl Level {
    fn of(samples: &[i16]) -> Self {
        let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let peak = samples.iter().map(|sample| f64::from(*sample).abs()).fold(0.0, f64::max);
        let mean = energy / samples.len().max(1) as f64;
        Self { level_dbov: decibel(mean.sqrt()), peak_dbov: decibel(peak) }
    }
}

fn decibel(amplitude: f64) -> Option<f64> {
    let decibel = 20.0 * (amplitude / 32_768.0).log10();
    (amplitude > 0.0).then(|| (decibel * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_at_full_scale_has_0_dbov_and_a_silent_one_no_level() {
        let audio = Audio {
            encoding: WavEncoding::Pcm16,
            rate: 16_000,
            channels: vec![vec![i16::MIN; 16], vec![0; 16]],
        };

        let line = serde_json::to_value(judge("a.wav", &audio).unwrap()).unwrap();

        assert_eq!(
            line,
            serde_json::json!({
                "file": "a.wav", "encoding": "pcm16", "rate": 16_000, "duration_ms": 1,
                "channels": [{"level_dbov": 0.0, "peak_dbov": 0.0}, {"level_dbov": null, "peak_dbov": null}],
            })
        );
    }
}
