//! The speech that lives in `fixtures/audio`.

use media::{AudioFormat, Wav, correlate};

const GREETING: &[u8] = include_bytes!("../../../fixtures/audio/greeting.wav");
const ANNOUNCEMENT: &[u8] = include_bytes!("../../../fixtures/audio/announcement.wav");

#[test]
fn our_recordings_are_some_seconds_of_mu_law_speech() {
    for (file, seconds) in [(GREETING, 3.5..4.8), (ANNOUNCEMENT, 4.5..6.0)] {
        let wav = Wav::parse(file).unwrap();

        assert_eq!(wav.telephone(), Ok(AudioFormat::Pcmu));
        assert!(seconds.contains(&(wav.data.len() as f64 / 8_000.0)), "{} bytes", wav.data.len());
        let loudest = wav.to_linear().into_iter().map(i16::unsigned_abs).max();
        assert!(loudest.is_some_and(|loudest| (8_000..30_000).contains(&loudest)), "{loudest:?}");
    }
}

/// What the demo relies on: speech through a call is recognised wherever it begins, and only itself.
#[test]
fn a_recording_is_recognised_after_a_delay_and_another_is_not() {
    let said = Wav::parse(GREETING).unwrap().to_linear();
    let heard: Vec<i16> = std::iter::repeat_n(0, 1_234).chain(said.iter().copied()).collect();
    let other = Wav::parse(ANNOUNCEMENT).unwrap().to_linear();

    let itself = correlate(&said, &heard);

    assert_eq!(itself.lag, 1_234);
    assert!(itself.value > 0.999, "{itself:?}");
    assert!(correlate(&said, &other).value < 0.5);
}
