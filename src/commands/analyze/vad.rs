//! `analyze vad`: when somebody speaks.

use media::hearing::SpeechDetector;
use serde::Serialize;

use super::Fault;
use super::audio::{Audio, to_ms};

/// The speech in a file.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Serialize)]
struct Segment {
    start_ms: u64,
    end_ms: u64,
}

pub(super) fn judge(file: &str, audio: &Audio) -> Result<Line, Fault> {
    let samples = audio.telephone();
    let mut detector = SpeechDetector::default();
    let mut heard: Vec<_> = samples.chunks(160).filter_map(|frame| detector.push(frame)).collect();
    heard.extend(detector.finish());
    let length = samples.len() as u64;
    let segments = heard
        .into_iter()
        .map(|speech| Segment { start_ms: to_ms(speech.start), end_ms: to_ms(speech.end.min(length)) });
    Ok(Line { file: file.to_owned(), segments: segments.collect() })
}
