//! The far end speaks while the engine does: the engine is told, and falls silent where that is wanted.
//!
//! ```text
//!                 loud                       goes on                  quiet
//!   [the engine] ------> told, held ------------------> cut or held --------> told, the engine may go on
//!                            |         quiet                                          ^
//!                            +--------------------------------------------------------+
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Instant;

use media::Played;
use media::hearing::{BargeIn, BargeInDetector};

use super::super::attention::{Attention, ago};
use super::{Playing, Turn, Voice};
use crate::bridge::{Answer, Measured, Speech};
use crate::call::{BargeInPolicy, LegId, VoiceFact};

impl Voice {
    /// Listens to the leg that an engine both hears and speaks to alone, and to no other.
    pub(super) fn tune_attention(&mut self) {
        let both = self.route.engine_to.filter(|leg| self.route.engine_hears.contains(leg));
        let alone = both.filter(|leg| self.route.hears.iter().all(|(listener, _)| listener != leg));
        let leg = alone.filter(|_| self.engine.is_some());
        if self.attention.as_ref().map(|attention| attention.leg) != leg {
            if let Some(attention) = self.attention.take() {
                self.release(&attention);
            }
            self.attention = leg.map(Attention::new);
            if let Some(silence) = &mut self.silence {
                silence.begin_anew();
            }
        }
    }

    /// A beat of the leg is over; `played` is what the engine's play-out gave for it.
    pub(super) fn attend_beat(
        &mut self,
        now: Instant,
        leg: LegId,
        played: Option<Played>,
        turn: &mut Turn<'_>,
    ) {
        let playing = self.playing;
        let Some(attention) = self.attention.as_mut().filter(|attention| attention.leg == leg) else {
            return;
        };
        if played.is_none() {
            attention.said_nothing();
        }
        attention.is_speaking = played == Some(Played::Audio) && playing == Playing::Engine;
        let (engine_speaks, caller_speaks) = (attention.is_speaking, attention.caller_speaks);
        if let Some(silence) = &mut self.silence
            && let Some((who, lasted)) = silence.beat(now, engine_speaks, caller_speaks)
        {
            turn.facts.push_back(VoiceFact::Silent { who, lasted });
        }
        let mut measured = None;
        if !attention.is_speaking
            && let Some(since) = attention.interrupted.take()
        {
            let after = now.saturating_duration_since(since);
            turn.facts.push_back(VoiceFact::BargedIn { leg, after });
            measured = Some(Measured::BargedIn(after));
        }
        if attention.is_speaking
            && let Some(since) = attention.waiting_since.take()
        {
            let after = now.saturating_duration_since(since);
            turn.facts.push_back(VoiceFact::Responded { leg, after });
            measured = Some(Measured::Responded(after));
        }
        if attention.is_overdue(now) {
            attention.held_since = None;
            // What the engine has cleared, or was cut, is held no longer.
            let playout = self.media(leg).map(|media| media.session.playout());
            if let Some(playout) = playout.filter(|playout| playout.is_held()) {
                playout.release();
                turn.tally.holds_expired += 1;
            }
        }
        if let Some(measured) = measured {
            self.tell_measured(&measured, turn);
        }
        if let Some(told) = self.attention.as_mut().and_then(|attention| attention.beat(now)) {
            self.attend(now, told, turn);
        }
    }

    /// What is heard of the far end is acted on.
    pub(super) fn attend(&mut self, now: Instant, told: BargeIn, turn: &mut Turn<'_>) {
        let Some(mut attention) = self.attention.take() else { return };
        match told {
            BargeIn::Pause { start, at } => {
                attention.caller_speaks = true;
                self.speech_began(now, now - ago(start, at), &mut attention, turn)
            }
            BargeIn::Cut { .. } => self.speech_goes_on(now, &attention, turn),
            BargeIn::Resume { .. } | BargeIn::Quiet { .. } => {
                let at = now - BargeInDetector::QUIET;
                attention.caller_speaks = false;
                attention.interrupted = None;
                attention.held_since = None;
                // An engine that speaks already does not answer this.
                attention.waiting_since = Some(at).filter(|_| !attention.is_speaking);
                self.tell_speech(attention.leg, &Speech::Stopped { at }, turn);
                self.release(&attention);
            }
        }
        self.attention = Some(attention);
    }

    fn speech_began(&mut self, now: Instant, began: Instant, attention: &mut Attention, turn: &mut Turn<'_>) {
        let interrupts = attention.is_speaking;
        attention.waiting_since = None;
        self.tell_speech(attention.leg, &Speech::Started { at: began, interrupts }, turn);
        if !interrupts {
            return;
        }
        turn.tally.barge_ins += 1;
        attention.interrupted = Some(began);
        match self.barge_in {
            BargeInPolicy::Engine => {}
            BargeInPolicy::Pause | BargeInPolicy::Cut => {
                attention.held_since = Some(now);
                if let Some(media) = self.media(attention.leg) {
                    media.session.playout().hold();
                }
            }
        }
    }

    /// It is no cough.
    fn speech_goes_on(&mut self, now: Instant, attention: &Attention, turn: &mut Turn<'_>) {
        let is_held = attention.held_since.is_some() && self.playing == Playing::Engine;
        if self.barge_in != BargeInPolicy::Cut || !is_held {
            return;
        }
        let Some(media) = self.media(attention.leg) else { return };
        let cleared = media.session.playout().clear(None);
        self.cleared = true;
        if let Some(engine) = &mut self.engine {
            let (segment, played_ms, dropped_ms) = (cleared.segment, cleared.played_ms, cleared.dropped_ms);
            engine.answer(&Answer::Cleared { re: None, segment, played_ms, dropped_ms }, turn.out);
        }
        self.playout_facts(now, attention.leg, turn);
    }

    fn tell_speech(&mut self, leg: LegId, speech: &Speech, turn: &mut Turn<'_>) {
        let track = self.route.engine_hears.iter().position(|heard| *heard == leg);
        let track = track.and_then(|track| u8::try_from(track).ok()).map(LegId);
        if let (Some(engine), Some(track), false) = (&mut self.engine, track, self.route.muted.contains(&leg))
        {
            engine.speech(track, speech, turn.out);
        }
    }

    fn release(&mut self, attention: &Attention) {
        if let Some(media) = self.media(attention.leg) {
            media.session.playout().release();
        }
    }
}
