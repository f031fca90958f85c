//! An engine whose socket is lost takes the conversation up again on another one (CONTRACT §3).
//! ```text
//!   [Speaking] -- socket lost --> [Pausing] --> [Dialling] -- connected --> [Asking] -- accept --> [Speaking]
//!                                     ^             | not reached              | lost again
//!                                     +-------------+--------------------------+
//!      rejected, or not back in `resume_timeout`: as every engine that is lost
//! ```
//! The worker keeps what the engine should hear, and plays on what it has said. It tells of such an engine as
//! [`VoiceFact::EngineAway`](super::VoiceFact::EngineAway); whether it is called back is decided here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngCore;

use super::engine::{EngineCommand, EngineEvent, EngineFailure};
use super::event::EndReason;
use super::one::{Call, Hands, Link, State};
use super::output::Output;
use super::record::Layer;
use super::settings::Engine;
use super::voice::VoiceOrder;

/// After the first attempt that failed, and before the first one for an engine that does not stay. It doubles from one attempt
/// to the next, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An engine that stays for so long has come back for good.
const STEADY: Duration = Duration::from_secs(5);

/// How often in a row an engine may come back and not stay.
const MOST_RETURNS: u32 = 10;

/// What an engine may take the conversation up again with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeOffer {
    /// Names the conversation on another socket.
    pub token: ResumeToken,
    /// How long the edge tries after the socket was lost.
    pub within: Duration,
}

/// Names a conversation; nobody can guess it. Not shown where things are shown for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// As the engine sees it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for ResumeToken {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ResumeToken(…)")
    }
}

/// An engine that is away.
#[derive(Debug)]
pub(super) struct Resumption {
    lost: Instant,
    until: Instant,
    failure: EngineFailure,
    /// Attempts that failed.
    failed: u32,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pausing { again: Instant },
    Dialling,
    Asking { give_up: Instant },
}

/// How the engine of a call has come back so far.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// What it was offered.
    offer: Option<ResumeOffer>,
    latest: Option<Instant>,
    /// Those in a row after which it did not stay.
    unsteady: u32,
}

impl Resumption {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Pausing { again } => Some(again),
            Step::Asking { give_up } => Some(give_up),
            // The shell watches the time.
            Step::Dialling => None,
        }
    }
}

impl Call {
    /// A new conversation is offered to an engine, with a token of its own.
    pub(super) fn offer_resumption(&mut self, hands: &mut Hands<'_>) {
        let within = self.engine.resume_timeout;
        let can = self.engine.dialect.can_resume() && !within.is_zero();
        let offer = can.then(|| {
            let mut random = [0; 32];
            hands.secrets.fill_bytes(&mut random);
            let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            ResumeOffer { token: token.into(), within }
        });
        self.returns = Returns { offer, ..Returns::default() };
    }

    pub(super) fn resume_offer(&self) -> Option<ResumeOffer> {
        self.returns.offer.clone()
    }

    /// The engine's socket is lost, and it could go on over another one.
    pub(super) fn engine_away(&mut self, hands: &mut Hands<'_>, failure: EngineFailure) {
        if self.is_ending() || matches!(self.link, Link::Gone | Link::Idle | Link::Dialling) {
            return;
        }
        if let Link::Resuming(resumption) = &self.link {
            return match resumption.step {
                Step::Asking { .. } => self.attempt_failed(hands, &failure),
                // There is no socket that it could be about.
                Step::Pausing { .. } | Step::Dialling => {}
            };
        }
        let is_worth_it = match (&self.state, &self.link) {
            (State::Talking { .. }, Link::Speaking) => self.may_return(hands.now),
            (
                State::Ringing { .. }
                | State::Confirming
                | State::Opening { .. }
                | State::Calling { .. }
                | State::Talking { .. }
                | State::Announcing { .. }
                | State::Draining { .. }
                | State::Ending { .. },
                _,
            ) => false,
        };
        let Some(offer) = self.returns.offer.as_ref().filter(|_| is_worth_it) else {
            return self.engine_stays_away(hands, failure);
        };
        self.milestone(hands, Layer::Engine, "engine lost", Some(failure.to_string()));
        let until = hands.now + offer.within;
        let pause = if self.returns.unsteady == 0 { Duration::ZERO } else { PAUSE };
        let step = Step::Pausing { again: hands.now + pause };
        self.link = Link::Resuming(Resumption { lost: hands.now, until, failure, failed: 0, step });
        self.pursue_engine(hands);
    }

    /// Time passed.
    pub(super) fn pursue_engine(&mut self, hands: &mut Hands<'_>) {
        let Link::Resuming(resumption) = &mut self.link else { return };
        match resumption.step {
            Step::Pausing { again } if again <= hands.now => {
                resumption.step = Step::Dialling;
                let left = resumption.until.saturating_duration_since(hands.now);
                let connect_timeout = self.engine.connect_timeout.min(left);
                let engine = Arc::new(Engine { connect_timeout, ..Engine::clone(&self.engine) });
                hands.outputs.push(Output::DialEngine { call: self.id, engine });
            }
            Step::Asking { give_up } if give_up <= hands.now => {
                self.resumption_failed(hands, &EngineFailure::Timeout);
            }
            Step::Pausing { .. } | Step::Asking { .. } | Step::Dialling => {}
        }
    }

    /// The caller waits for an engine that is not there: another socket alone did not help.
    pub(super) fn awaits_return(&self) -> bool {
        matches!(&self.link, Link::Resuming(resumption) if resumption.failed > 0)
    }

    /// Whether a dial for an engine that is away is under way.
    pub(super) fn is_calling_back(&self) -> bool {
        matches!(self.link, Link::Resuming(Resumption { step: Step::Dialling, .. }))
    }

    /// There is a socket again. Whether that was what the call waited for.
    pub(super) fn engine_reconnected(&mut self, hands: &mut Hands<'_>) -> bool {
        let Link::Resuming(resumption) = &mut self.link else { return false };
        match resumption.step {
            Step::Pausing { .. } | Step::Dialling => {}
            // The worker has let go of the socket before, and of all that it kept.
            Step::Asking { .. } => return false,
        }
        let give_up = resumption.until.min(hands.now + self.engine.accept_timeout);
        resumption.step = Step::Asking { give_up };
        let away = hands.now - resumption.lost;
        if let EngineEvent::Start(start) = self.start(hands) {
            hands.outputs.voice(self.id, VoiceOrder::ResumeEngine { start, away });
        }
        true
    }

    /// The engine said something while it is asked to go on.
    pub(super) fn asked_engine_said(&mut self, hands: &mut Hands<'_>, command: &EngineCommand) {
        let Link::Resuming(Resumption { lost, step: Step::Asking { .. }, .. }) = self.link else { return };
        match command {
            EngineCommand::Accept => {
                self.link = Link::Speaking;
                self.returns.latest = Some(hands.now);
                hands.standby.works(&self.engine.name);
                hands.standby.resumed += 1;
                let after = (hands.now - lost).as_millis();
                self.milestone(hands, Layer::Engine, "engine resumed", Some(format!("after {after} ms")));
                self.let_wait(hands);
            }
            EngineCommand::Reject { status, reason } => {
                let refusal = EngineFailure::Protocol(format!("it does not resume: {status} {reason}"));
                self.resumption_failed(hands, &refusal);
            }
            // Its dialect lets it say nothing else before.
            EngineCommand::Ring
            | EngineCommand::EarlyMedia
            | EngineCommand::Redirect { .. }
            | EngineCommand::Transfer { .. }
            | EngineCommand::Mode { .. }
            | EngineCommand::HangUp { .. }
            | EngineCommand::SwitchEngine { .. }
            | EngineCommand::Context(_) => {}
        }
    }

    /// No socket, or not for long: there is another attempt if there is time for it.
    pub(super) fn attempt_failed(&mut self, hands: &mut Hands<'_>, failure: &EngineFailure) {
        let Link::Resuming(resumption) = &mut self.link else { return };
        resumption.failed += 1;
        let again = hands.now + pause_after(resumption.failed);
        if again >= resumption.until {
            return self.resumption_failed(hands, failure);
        }
        resumption.step = Step::Pausing { again };
        self.let_wait(hands);
    }

    /// What became of it at last stands in the timeline; the call takes the way of all that lose their engine.
    pub(super) fn resumption_failed(&mut self, hands: &mut Hands<'_>, why: &EngineFailure) {
        let Link::Resuming(resumption) = &self.link else { return };
        let failure = resumption.failure.clone();
        hands.standby.not_resumed += 1;
        self.milestone(hands, Layer::Engine, "engine not resumed", Some(why.to_string()));
        self.engine_stays_away(hands, failure);
    }

    /// Nobody calls it back, so nothing is kept for it.
    fn engine_stays_away(&mut self, hands: &mut Hands<'_>, failure: EngineFailure) {
        hands.outputs.voice(self.id, VoiceOrder::DismissEngine(EndReason::EngineLost));
        self.engine_gone(hands, failure);
    }

    /// Whether an engine that was lost just now may come back: one that never stays may not.
    fn may_return(&mut self, now: Instant) -> bool {
        let stayed = self.returns.latest.is_none_or(|latest| now - latest >= STEADY);
        self.returns.unsteady = if stayed { 0 } else { self.returns.unsteady + 1 };
        self.returns.unsteady <= MOST_RETURNS
    }
}

fn pause_after(failed: u32) -> Duration {
    LONGEST_PAUSE.min(PAUSE * 2_u32.pow(failed.clamp(1, 16) - 1))
}
