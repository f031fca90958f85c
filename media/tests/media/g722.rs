//! G.722 against the speech sequences of the ITU-T Software Tool Library.

use crate::support;
use media::g722::{Decoder, Encoder, Mode};

#[test]
fn the_encoder_writes_the_codes_of_the_itu() {
    let Some(source) = words("inpsp.bin") else { return };
    let expected: Vec<u8> = words("codspw.cod").unwrap().into_iter().map(|word| word as u8).collect();

    let mut codes = vec![0; expected.len()];
    let written = Encoder::new().encode(&source, &mut codes);

    assert_eq!(written, source.len() / 2);
    assert_eq!(differing(&codes, &expected), 0, "of {}", expected.len());
}

#[test]
fn the_decoder_gives_the_samples_of_the_itu_in_all_three_modes() {
    let Some(codes) = words("codspw.cod") else { return };
    let codes: Vec<u8> = codes.into_iter().map(|word| word as u8).collect();
    for (mode, file) in
        [(Mode::Kbit64, "outsp1.bin"), (Mode::Kbit56, "outsp2.bin"), (Mode::Kbit48, "outsp3.bin")]
    {
        let expected = words(file).unwrap();

        let mut samples = vec![0; expected.len()];
        let written = Decoder::new(mode).decode(&codes, &mut samples);

        assert_eq!(written, 2 * codes.len());
        assert_eq!(differing(&samples, &expected), 0, "{file}: of {}", expected.len());
    }
}

/// A check that stays where the ITU's files are absent: a tone below 4 kHz and one above come back.
#[test]
fn tones_of_both_bands_come_back() {
    for (hertz, least_db) in [(1_000.0, 30.0), (6_000.0, 12.0)] {
        let tone: Vec<i16> = (0..16_000)
            .map(|n| (8_000.0 * (f64::from(n) * hertz * std::f64::consts::TAU / 16_000.0).sin()) as i16)
            .collect();
        let mut codes = vec![0; tone.len() / 2];
        let mut back = vec![0; tone.len()];

        Encoder::new().encode(&tone, &mut codes);
        Decoder::new(Mode::Kbit64).decode(&codes, &mut back);

        // The two filters together delay by 22 samples.
        let pairs = || tone[4_000..].iter().zip(&back[4_022..]);
        let signal: f64 = pairs().map(|(sent, _)| f64::from(*sent).powi(2)).sum();
        let noise: f64 = pairs().map(|(sent, got)| (f64::from(*sent) - f64::from(*got)).powi(2)).sum();
        let ratio = 10.0 * (signal / noise).log10();
        assert!(ratio > least_db, "{hertz} Hz: {ratio} dB");
    }
}

fn words(file: &str) -> Option<Vec<i16>> {
    let bytes = std::fs::read(support::fixture(&format!("audio/itu/g722/{file}"))?).unwrap();
    Some(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

fn differing<T: PartialEq>(ours: &[T], theirs: &[T]) -> usize {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count()
}
