//! What a caller hears while somebody is called for them.

use std::f64::consts::TAU;
use std::sync::{Arc, OnceLock};

use super::voice::Announcement;

/// Samples of PCMU in a second.
const RATE: usize = 8000;
/// Ringback of North America (ITU-T E.180): two tones.
const TONES: [f64; 2] = [440.0, 480.0];
/// Its pause is shortened to less than a second, so that nobody takes it for the end.
const ON: usize = RATE;
const OFF: usize = RATE * 9 / 10;
/// Each tone's amplitude: the two together at about -19 dBm0.
const AMPLITUDE: f64 = 1_800.0;
/// Both edges of the tone are soft for so long.
const RAMP: usize = RATE / 100;

/// Ringback, to be repeated.
pub(super) fn ringback() -> Arc<Announcement> {
    static RINGBACK: OnceLock<Arc<Announcement>> = OnceLock::new();
    RINGBACK.get_or_init(|| Arc::new(Announcement { name: "ringback".into(), pcmu: tone() })).clone()
}

fn tone() -> Vec<u8> {
    let sample = |place: usize| {
        if place >= ON {
            return 0;
        }
        let edge = place.min(ON - place).min(RAMP) as f64 / RAMP as f64;
        let at = place as f64 / RATE as f64;
        let sum: f64 = TONES.iter().map(|hertz| (TAU * hertz * at).sin()).sum();
        (sum * AMPLITUDE * edge) as i16
    };
    (0..ON + OFF).map(|place| media::g711::linear_to_ulaw(sample(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringback_is_heard_at_least_every_second() {
        let samples: Vec<i16> = tone().iter().map(|code| media::g711::ulaw_to_linear(*code)).collect();
        let loud: Vec<bool> =
            samples.chunks(800).map(|tenth| tenth.iter().any(|sample| sample.abs() > 500)).collect();

        assert_eq!(loud, [[true; 10].as_slice(), &[false; 9]].concat());
        assert!(samples.iter().all(|sample| sample.abs() < 2 * 1_800 + 200));
    }
}
