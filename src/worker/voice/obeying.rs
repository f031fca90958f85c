//! What an engine says is done: audio and orders about it go to the play-out of the leg that hears the engine.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use media::{AudioFormat, Digit, DtmfRefused, MarkResult, PushError, SegmentId};

use super::super::early::Early;
use super::{Playing, Turn, Voice};
use crate::bridge::{Answer, Complaint, Said};
use crate::call::{FIRST_LEG, VoiceFact};

impl Voice {
    pub(super) fn obey(&mut self, now: Instant, said: Said<'_>, turn: &mut Turn<'_>) {
        match said {
            Said::Audio { segment, format, payload, last } => {
                self.push(now, segment, format, payload, turn);
                if last {
                    self.finish(now, segment, turn);
                }
            }
            Said::Finish { segment } => self.finish(now, segment, turn),
            Said::Mark { id, name } => self.mark(now, id.as_deref(), &name, turn),
            Said::Clear { id, segment } => self.clear(now, id.as_deref(), segment, turn),
            Said::Pause => self.pause(),
            Said::Resume => self.resume(),
            Said::Dtmf { id, digits, duration } => self.dial(id.as_deref(), &digits, duration, turn),
            Said::Command(command) => turn.facts.push_back(VoiceFact::Engine(command)),
            Said::Nothing => {}
        }
    }

    fn push(
        &mut self,
        now: Instant,
        segment: SegmentId,
        format: AudioFormat,
        audio: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let Some(leg) = self.engine_leg().filter(|_| !self.is_silenced()) else {
            turn.tally.playout_full += 1;
            let message = "this call no longer plays what the engine says";
            return self.complain("playout.closed", None, message, turn);
        };
        let pushed = match self.media(leg) {
            Some(media) => media.session.playout().push(segment, format, audio),
            None => self.early.push(segment, format, audio),
        };
        let code = match pushed {
            Ok(()) => return self.playout_facts(now, leg, turn),
            Err(PushError::Full { .. }) => "playout.full",
            Err(PushError::TooManySegments) => "playout.segments",
        };
        turn.tally.playout_full += 1;
        if let Err(error) = pushed {
            self.complain(code, None, &error.to_string(), turn);
        }
    }

    fn finish(&mut self, now: Instant, segment: SegmentId, turn: &mut Turn<'_>) {
        let Some(leg) = self.engine_leg() else { return };
        match self.media(leg) {
            Some(media) => media.session.playout().finish(segment),
            None => self.early.finish(segment),
        }
        self.playout_facts(now, leg, turn);
    }

    fn mark(&mut self, now: Instant, id: Option<&str>, name: &str, turn: &mut Turn<'_>) {
        let Some(leg) = self.engine_leg() else {
            // Nobody hears it any more, so all before it is gone.
            if let Some(engine) = &mut self.engine {
                engine.answer(&Answer::Marked { name, result: MarkResult::Cleared, played_ms: 0 }, turn.out);
            }
            return;
        };
        let marked = match self.media(leg) {
            Some(media) => media.session.playout().mark(None, name),
            None => self.early.mark(name),
        };
        if let Err(error) = marked {
            self.complain("mark.too_many", id, &error.to_string(), turn);
        }
        self.playout_facts(now, leg, turn);
    }

    fn clear(&mut self, now: Instant, re: Option<&str>, segment: Option<SegmentId>, turn: &mut Turn<'_>) {
        let heard_at = self.engine_leg();
        let announcing = matches!(self.playing, Playing::Announcement { leg, .. } if Some(leg) == heard_at);
        self.cleared = true;
        let cleared = match heard_at.and_then(|leg| self.media(leg)) {
            Some(media) if !announcing => Some(media.session.playout().clear(segment)),
            Some(_) => None,
            None => {
                self.early = Early::default();
                None
            }
        };
        let (segment, played_ms, dropped_ms) = cleared
            .map_or((segment, 0, 0), |cleared| (cleared.segment, cleared.played_ms, cleared.dropped_ms));
        if let Some(engine) = &mut self.engine {
            engine.answer(&Answer::Cleared { re, segment, played_ms, dropped_ms }, turn.out);
        }
        if let Some(leg) = heard_at {
            self.playout_facts(now, leg, turn);
        }
    }

    fn pause(&mut self) {
        let Some(leg) = self.engine_leg().filter(|_| !self.is_silenced()) else { return };
        match self.media(leg) {
            Some(media) => media.session.playout().pause(),
            None => self.early.pause(),
        }
    }

    fn resume(&mut self) {
        let Some(leg) = self.engine_leg() else { return };
        match self.media(leg) {
            Some(media) => media.session.playout().resume(),
            None => self.early.resume(),
        }
    }

    fn dial(&mut self, id: Option<&str>, digits: &[Digit], duration: Duration, turn: &mut Turn<'_>) {
        let sent = match self.media(self.engine_leg().unwrap_or(FIRST_LEG)) {
            Some(media) => digits.iter().try_for_each(|digit| media.session.send_dtmf(*digit, duration)),
            None => return self.complain("dtmf.too_early", id, "the call is not answered yet", turn),
        };
        let code = match sent {
            Ok(()) => return,
            Err(DtmfRefused::Full) => "dtmf.full",
            Err(DtmfRefused::NotNegotiated) => "dtmf.unsupported",
        };
        if let Err(error) = sent {
            self.complain(code, id, &error.to_string(), turn);
        }
    }

    fn complain(&mut self, code: &str, re: Option<&str>, message: &str, turn: &mut Turn<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.complain(&Complaint { code, re, message, fatal: false }, turn.out);
        }
    }
}
