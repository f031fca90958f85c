//! How a conversation was heard, estimated: the E-model (ITU-T G.107) with its default values, from loss and delay.

/// What loss does to a codec (ITU-T G.113 Appendix I).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Codec {
    /// Equipment impairment without loss, 0 to 95.
    pub ie: f32,
    /// Robustness against loss: the larger, the less a lost packet is heard.
    pub bpl: f32,
}

impl Codec {
    /// G.711 whose lost packets are played as silence.
    pub const G711: Self = Self { ie: 0.0, bpl: 4.3 };
    /// G.711 whose lost packets are concealed (G.711 Appendix I).
    pub const G711_CONCEALED: Self = Self { ie: 0.0, bpl: 25.1 };
}

/// The rating without any impairment of the network, all else as G.107 Table 3 has it.
const BEST: f32 = 93.2;

/// The transmission rating R, 0 to about 93, of one direction.
///
/// `loss_pct`: lost packets, percent. `burst_ratio`: 1 where packets are lost at random, larger where they are lost in
/// runs (G.107 §3.5). `delay_ms`: mouth to ear, milliseconds. What is no number counts as 0.
pub fn rating(codec: Codec, loss_pct: f32, burst_ratio: f32, delay_ms: f32) -> f32 {
    let loss = number(loss_pct).clamp(0.0, 100.0);
    let burst = number(burst_ratio).max(1.0);
    let impairment = codec.ie + (95.0 - codec.ie) * loss / (loss / burst + codec.bpl);
    (BEST - delay_impairment(number(delay_ms)) - impairment).max(0.0)
}

/// Idd of G.107 §3.4: nothing up to 100 ms.
fn delay_impairment(delay_ms: f32) -> f32 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    let root = |x: f32| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// The mean opinion score of a rating, 1 to 4.5 (G.107 Annex B).
pub fn mos(rating: f32) -> f32 {
    let r = number(rating).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

fn number(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(one: f32, other: f32) -> bool {
        (one - other).abs() < 0.02
    }

    #[test]
    fn ratings_have_the_scores_of_annex_b() {
        for (rating, score) in
            [(93.2, 4.41), (90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)]
        {
            assert!(close(mos(rating), score), "{rating}: {}", mos(rating));
        }
        assert!(close(mos(0.0), 1.0) && close(mos(120.0), 4.5));
    }

    #[test]
    fn delay_is_free_up_to_a_tenth_of_a_second_and_costs_what_the_recommendation_says_beyond() {
        assert!(close(rating(Codec::G711, 0.0, 1.0, 100.0), BEST));
        // Idd alone, worked out by hand from its formula.
        for (delay, idd) in [(200.0, 3.04), (400.0, 24.07), (800.0, 40.83)] {
            let found = BEST - rating(Codec::G711, 0.0, 1.0, delay);
            assert!((found - idd).abs() < 0.1, "{delay} ms: {found}");
        }
    }

    #[test]
    fn loss_costs_more_where_nothing_conceals_it_and_where_it_comes_in_runs() {
        let score = |codec, loss, burst| mos(rating(codec, loss, burst, 50.0));
        assert!(close(BEST - rating(Codec::G711_CONCEALED, 5.0, 1.0, 0.0), 15.78));
        assert!(close(BEST - rating(Codec::G711, 5.0, 1.0, 0.0), 51.08));
        assert!(score(Codec::G711_CONCEALED, 3.0, 1.0) > score(Codec::G711, 3.0, 1.0) + 0.5);
        assert!(score(Codec::G711_CONCEALED, 10.0, 1.0) > score(Codec::G711_CONCEALED, 10.0, 2.0));
    }

    proptest! {
        #[test]
        fn more_loss_or_delay_is_never_better_and_every_score_is_one(
            loss in 0.0f32..100.0, more in 0.0f32..50.0, delay in 0.0f32..3000.0, later in 0.0f32..3000.0,
        ) {
            let score = |loss, delay| mos(rating(Codec::G711, loss, 1.0, delay));
            prop_assert!(score(loss + more, delay) <= score(loss, delay) + 1e-4);
            prop_assert!(score(loss, delay + later) <= score(loss, delay) + 1e-4);
            prop_assert!((1.0..=4.5).contains(&score(loss, delay)));
            prop_assert!((1.0..=4.5).contains(&mos(rating(Codec::G711, f32::NAN, f32::INFINITY, f32::NAN))));
        }
    }
}
