//! `analyze tones`: what the telephone network says with tones.

use media::hearing::{ToneDetector, ToneKind};
use serde::Serialize;

use super::Fault;
use super::audio::{Audio, to_ms};

/// The tones of a file.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    /// The first one.
    tone: Option<&'static str>,
    tones: Vec<Tone>,
}

#[derive(Debug, Serialize)]
struct Tone {
    tone: &'static str,
    hz: f32,
    start_ms: u64,
    /// When it was recognised.
    at_ms: u64,
}

pub(super) fn judge(file: &str, audio: &Audio) -> Result<Line, Fault> {
    let mut detector = ToneDetector::default();
    let samples = audio.telephone();
    let heard = samples.chunks(160).filter_map(|frame| detector.push(frame));
    let tones: Vec<Tone> = heard
        .map(|heard| Tone {
            tone: name(heard.kind),
            hz: heard.hz.round(),
            start_ms: to_ms(heard.start),
            at_ms: to_ms(heard.at),
        })
        .collect();
    Ok(Line { file: file.to_owned(), tone: tones.first().map(|tone| tone.tone), tones })
}

fn name(kind: ToneKind) -> &'static str {
    match kind {
        ToneKind::Ringback => "ringback",
        ToneKind::Busy => "busy",
        ToneKind::Reorder => "reorder",
        ToneKind::Dial => "dial",
        ToneKind::CallWaiting => "callwaiting",
        ToneKind::Sit => "sit",
        ToneKind::Fax => "fax",
        ToneKind::FaxCng => "fax_cng",
    }
}
