//! Comfort noise.
