//! What is measured of a call while it goes on: told to its owner and its engine every few seconds, and at its end.

use std::time::{Duration, Instant};

use media::{Statistics, quality};

use super::{FACTS_KEPT, Leg, Turn, Voice};
use crate::bridge::Measured;
use crate::call::{LegId, LegSummary, SentQuality, VoiceFact};

/// How often.
const INTERVAL: Duration = Duration::from_secs(5);

/// A packet's time, milliseconds.
const PACKET_MS: f32 = 20.0;

impl Voice {
    /// Tells what was measured, when it is time for it.
    pub(super) fn measure(&mut self, now: Instant, turn: &mut Turn<'_>) {
        let due = *self.measured.get_or_insert(now + INTERVAL);
        if now < due {
            return;
        }
        self.measured = Some(now + INTERVAL);
        let Self { legs, route, engine, away, .. } = self;
        for leg in legs.iter().filter(|leg| leg.media.is_some()) {
            let summary = leg.summary(now);
            let LegSummary { mos, jitter_ms, loss_pct, rtt_ms, .. } = summary;
            let track = route.engine_hears.iter().position(|heard| *heard == leg.id);
            let track = track.and_then(|track| u8::try_from(track).ok()).map(LegId).filter(|_| mos.is_some());
            if let (Some(engine), false, Some(leg)) = (&mut *engine, *away, track) {
                engine.measured(&Measured::Quality { leg, mos, jitter_ms, loss_pct, rtt_ms }, turn.out);
            }
            if turn.facts.len() < FACTS_KEPT {
                turn.facts.push_back(VoiceFact::Measured(summary));
            }
        }
    }

    pub(super) fn tell_measured(&mut self, measured: &Measured, turn: &mut Turn<'_>) {
        if let Some(engine) = self.engine.as_mut().filter(|_| !self.away) {
            engine.measured(measured, turn.out);
        }
    }
}

impl Leg {
    pub(super) fn summary(&self, now: Instant) -> LegSummary {
        let LegId(leg) = self.id;
        let Some(media) = &self.media else { return LegSummary { leg, ..LegSummary::default() } };
        let statistics = media.session.statistics(now);
        let heard = statistics.received > 0;
        LegSummary {
            leg,
            frames_up: statistics.frames_up,
            frames_down: statistics.sent,
            jitter_ms: heard.then_some(statistics.jitter_ms),
            loss_pct: heard.then_some(statistics.loss_pct),
            rtt_ms: statistics.rtt_ms,
            mos: heard.then(|| score(&statistics, media.session.conceals())),
            sent: sent(&statistics),
        }
    }
}

/// How what came from the far end sounds.
fn score(statistics: &Statistics, conceals: bool) -> f32 {
    let codec = if conceals { quality::Codec::G711_CONCEALED } else { quality::Codec::G711 };
    let delay_ms = delay(statistics, statistics.jitter_ms);
    quality::mos(quality::rating(codec, statistics.unheard_pct(), statistics.burst_ratio, delay_ms))
}

/// How what we sent sounds there. Telephones conceal; in what runs they lose packets they do not tell.
fn sent(statistics: &Statistics) -> Option<SentQuality> {
    let (loss_pct, jitter_ms) = (statistics.remote_lost_pct?, statistics.remote_jitter_ms?);
    let delay_ms = delay(statistics, jitter_ms);
    let rating = quality::rating(quality::Codec::G711_CONCEALED, loss_pct, 1.0, delay_ms);
    Some(SentQuality { mos: quality::mos(rating), jitter_ms, loss_pct })
}

/// Half the way there and back, a packet, and what a listener waits because of the jitter.
fn delay(statistics: &Statistics, jitter_ms: f32) -> f32 {
    statistics.rtt_ms.unwrap_or(0.0) / 2.0 + PACKET_MS + 2.0 * jitter_ms
}
