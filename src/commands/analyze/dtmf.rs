//! `analyze dtmf`: the keys that are heard in the audio, as tones.

use media::hearing::DtmfDetector;
use serde::Serialize;

use super::Fault;
use super::audio::{Audio, to_ms};

/// The keys in a file.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    file: String,
    digits: Vec<Digit>,
}

#[derive(Debug, Serialize)]
struct Digit {
    digit: char,
    start_ms: u64,
    length_ms: u64,
}

pub(super) fn judge(file: &str, audio: &Audio) -> Result<Line, Fault> {
    let samples = audio.telephone();
    let mut detector = DtmfDetector::default();
    let mut heard: Vec<_> = samples.chunks(160).filter_map(|frame| detector.push(frame)).collect();
    heard.extend(detector.finish());
    let digits = heard.into_iter().map(|heard| Digit {
        digit: heard.digit.as_char(),
        start_ms: to_ms(heard.start),
        length_ms: to_ms(heard.length),
    });
    Ok(Line { file: file.to_owned(), digits: digits.collect() })
}

#[cfg(test)]
mod tests {
    use media::WavEncoding;
    use media::hearing::DtmfTone;

    use super::*;

    #[test]
    fn a_key_has_its_start_and_its_length() {
        let mut samples = vec![0; 8_000];
        let key = media::Digit::try_from('7').unwrap();
        DtmfTone::new(key, -8.0, 80).fill(&mut samples[2_000..]);
        let audio = Audio { encoding: WavEncoding::Pcm16, rate: 8_000, channels: vec![samples] };

        let line = serde_json::to_value(judge("a.wav", &audio).unwrap()).unwrap();

        let digit = &line["digits"][0];
        assert_eq!(line["file"], "a.wav");
        assert_eq!(line["digits"].as_array().unwrap().len(), 1);
        assert_eq!(digit["digit"], "7");
        assert!(digit["start_ms"].as_u64().unwrap().abs_diff(250) <= 2, "{line}");
        assert!(digit["length_ms"].as_u64().unwrap().abs_diff(80) <= 3, "{line}");
    }
}
