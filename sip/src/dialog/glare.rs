//! Two offers that met half-way: RFC 3261 §14.1.
//!
//! Both sides refuse the other's with 491 and try again after different times, so that they do not meet a second time.

use std::time::Duration;

use rand::Rng;

/// Who made the dialog's Call-ID: the one who sent the first INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallIdOwner {
    /// We did.
    Us,
    /// They did.
    Them,
}

/// How often one offer is sent again after 491 before its owner is told.
pub(crate) const MAX_GLARES: u8 = 5;

/// How long to wait after a 491: 2.1 to 4 seconds for the owner of the Call-ID, 0 to 2 for the other, in steps of 10 ms.
pub(crate) fn wait(owner: CallIdOwner, chance: &mut impl Rng) -> Duration {
    let steps = match owner {
        CallIdOwner::Us => chance.random_range(210..=400),
        CallIdOwner::Them => chance.random_range(0..=200),
    };
    Duration::from_millis(10 * steps)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_two_sides_never_wait_equally_long() {
        let mut chance = StdRng::seed_from_u64(1);

        for _ in 0..1000 {
            let ours = wait(CallIdOwner::Us, &mut chance).as_millis();
            let theirs = wait(CallIdOwner::Them, &mut chance).as_millis();
            assert!((2100..=4000).contains(&ours) && theirs <= 2000, "{ours} {theirs}");
            assert!(ours % 10 == 0 && theirs % 10 == 0);
        }
    }
}
