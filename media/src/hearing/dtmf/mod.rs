//! Keys as tones in the audio: ITU-T Q.23 (which tones), Q.24 (which of them to take), heard and made.
//!
//! | | 1209 | 1336 | 1477 | 1633 |
//! |---|---|---|---|---|
//! | **697** | 1 | 2 | 3 | A |
//! | **770** | 4 | 5 | 6 | B |
//! | **852** | 7 | 8 | 9 | C |
//! | **941** | * | 0 | # | D |

mod detector;
mod filter;
mod tone;

pub use detector::{DtmfDetector, HeardDigit};
pub use tone::DtmfTone;

/// The tones in Hz: four of rows, then four of columns.
const TONES: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// The keys, row by row.
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
