//! `analyze amd`: who answered, as a call would be told: the first verdict, what became of it, the beep.

use media::hearing::{AmdEvent, AnswerDetector, Answerer};
use serde::Serialize;

use super::Fault;
use super::audio::{Audio, to_ms};

/// Who answered in a file that begins with the answer. Nothing where nobody says anything.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    first: Option<First>,
    r#final: Option<Final>,
    speech_start_ms: Option<u64>,
    beep: Option<Beep>,
}

#[derive(Debug, Serialize)]
struct First {
    verdict: &'static str,
    confidence: f64,
    at_ms: u64,
}

#[derive(Debug, Serialize)]
struct Final {
    verdict: &'static str,
}

#[derive(Debug, Serialize)]
struct Beep {
    start_ms: u64,
    end_ms: u64,
    hz: f32,
}

pub(super) fn judge(file: &str, audio: &Audio) -> Result<Line, Fault> {
    let mut detector = AnswerDetector::default();
    let (mut first, mut beep) = (None, None);
    let mut take = |detector: &mut AnswerDetector| {
        while let Some(event) = detector.next_event() {
            match event {
                AmdEvent::Verdict { who, confidence, at } => {
                    let confidence = (f64::from(confidence) * 100.0).round() / 100.0;
                    first.get_or_insert(First { verdict: name(who), confidence, at_ms: to_ms(at) });
                }
                AmdEvent::Beep { start, end, hz } => {
                    beep.get_or_insert(Beep { start_ms: to_ms(start), end_ms: to_ms(end), hz: hz.round() });
                }
            }
        }
    };
    for frame in audio.telephone().chunks(160) {
        detector.push(frame);
        take(&mut detector);
    }
    detector.finish();
    take(&mut detector);
    Ok(Line {
        file: file.to_owned(),
        first,
        r#final: detector.verdict().map(|who| Final { verdict: name(who) }),
        speech_start_ms: detector.speech_start().map(to_ms),
        beep,
    })
}

fn name(who: Answerer) -> &'static str {
    match who {
        Answerer::Human => "human",
        Answerer::Machine => "machine",
    }
}
