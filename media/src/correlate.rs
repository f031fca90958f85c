//! How alike two recordings are, wherever one begins in the other.

/// The best match of two recordings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// Samples by which the second recording is later than the first (negative: earlier).
    pub lag: i32,
    /// Normalised: 1 the same but for loudness, 0 unrelated, -1 inverted.
    pub value: f32,
}

/// Finds the lag at which `heard` is most like `said`. Silence is like nothing: 0 at lag 0.
pub fn correlate(said: &[i16], heard: &[i16]) -> Correlation {
    let _ = (said, heard);
    Correlation { lag: 0, value: 0.0 }
}
