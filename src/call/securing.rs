//! What comes of the DTLS handshake of a leg: a line in the timeline, or the end of a call that could only go on in clear.
//!
//! Before the answer a far end may not have begun: its time runs from then on. What cannot become better by waiting (another
//! certificate than the one that was signalled, no profile in common, an alert) ends the call at once.

use media::{HANDSHAKE_PATIENCE, Unsecured};

use super::event::EndReason;
use super::ids::LegId;
use super::leg::warning;
use super::one::{Call, Farewell, Hands, State};
use super::record::Layer;
use super::telling;

impl Call {
    /// A leg has keys.
    pub(super) fn secured(&mut self, hands: &mut Hands<'_>, leg: LegId, suite: media::SrtpSuite) {
        let detail = format!("leg {}: {}", leg.0, suite.name());
        self.milestone(hands, Layer::Media, "keys agreed on by DTLS", Some(detail));
    }

    /// A leg has none.
    pub(super) fn not_secured(&mut self, hands: &mut Hands<'_>, leg: LegId, why: Unsecured) {
        let raw = telling::raw_code("media.not_secured", &why.to_string());
        let detail = Some(format!("leg {}: {why}", leg.0));
        if leg != self.leg.id {
            self.milestone(hands, Layer::Media, "no keys by DTLS", detail);
            return self.party_left(hands, leg, raw);
        }
        let patience = hands.now.checked_sub(HANDSHAKE_PATIENCE);
        let waited = self.story.answered_at().is_some_and(|answered| Some(answered) <= patience);
        if why == Unsecured::TimedOut && !waited {
            return;
        }
        let farewell = match self.state {
            State::Ending { .. } => return,
            State::Ringing { .. } => Farewell::Refuse {
                status: sip::StatusCode::NOT_ACCEPTABLE_HERE,
                headers: vec![warning(hands, media::SdpError::NoHandshake)],
            },
            State::Confirming
            | State::Opening { .. }
            | State::Calling { .. }
            | State::Talking { .. }
            | State::Announcing { .. }
            | State::Draining { .. } => Farewell::hang_up("DTLS handshake failed"),
        };
        self.milestone(hands, Layer::Media, "no keys by DTLS", detail);
        self.end(hands, EndReason::MediaNotSecured, raw, farewell);
    }
}
