//! Sines and cosines for tables that are made at compile time.

use std::f64::consts::{PI, TAU};

/// The sine of `x` radians, to the precision of `f32` and better, for any `x` of reasonable size.
pub(super) const fn sin(x: f64) -> f64 {
    let mut x = x % TAU;
    if x > PI {
        x -= TAU;
    } else if x < -PI {
        x += TAU;
    }
    // Nearer to 0 the series converges faster: sin(x) = sin(pi - x).
    if x > PI / 2.0 {
        x = PI - x;
    } else if x < -PI / 2.0 {
        x = -PI - x;
    }
    let square = x * x;
    let mut term = x;
    let mut sum = x;
    let mut order = 1.0;
    while order < 20.0 {
        term *= -square / ((order + 1.0) * (order + 2.0));
        sum += term;
        order += 2.0;
    }
    sum
}

/// The cosine of `x` radians.
pub(super) const fn cos(x: f64) -> f64 {
    sin(x + PI / 2.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn they_are_those_of_the_library() {
        for step in -1_000..1_000 {
            let x = f64::from(step) * 0.0317;

            assert!((super::sin(x) - x.sin()).abs() < 1e-12, "sin {x}");
            assert!((super::cos(x) - x.cos()).abs() < 1e-12, "cos {x}");
        }
    }
}
