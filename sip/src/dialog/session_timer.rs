//! How long a session lasts without a sign of life: RFC 4028.
//! ```text
//!   refreshed (2xx of INVITE, re-INVITE, UPDATE)
//!      |---------- half ---------|---- third, 32 s at most ----|
//!      0                         ^ we refresh, if it is on us  ^ BYE                  expires
//! ```
//! Who refreshes is agreed anew in each of those 2xx: its roles `uac` and `uas` are those of its own transaction.

use std::time::{Duration, Instant};

use crate::endpoint::{SessionTimerMode, SessionTimers, supports};
use crate::{HeaderName, Message, Refresher, SessionExpires};

/// How often in a row a 422 is answered with a longer interval.
const MAX_RAISES: u8 = 4;

/// Header lines of the extension for one message.
pub(crate) type Lines = Vec<(HeaderName, String)>;

/// One side of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// This endpoint.
    Us,
    /// The other side.
    Them,
}

/// The session timer of one dialog.
#[derive(Debug)]
pub(crate) struct SessionTimer {
    rules: SessionTimers,
    /// What we ask for; a 422 raises it.
    wanted: u32,
    /// The greatest Min-SE that anybody on the way has told (RFC 4028 §7.4).
    min: u32,
    raises: u8,
    running: Option<Running>,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    seconds: u32,
    refresher: Party,
    /// When we have to refresh; `None` while we do, or they have to.
    refresh: Option<Instant>,
    ends: Instant,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A request that refreshes. Told once; what becomes of it is told back.
    Refresh,
    /// The session has shown no sign of life.
    End,
}

impl SessionTimer {
    pub(crate) fn new(rules: SessionTimers) -> Self {
        let (wanted, min) = (rules.expires_seconds(), rules.min_seconds());
        Self { rules, wanted, min, raises: 0, running: None }
    }

    /// What goes with an INVITE or UPDATE of ours.
    pub(crate) fn ask(&self) -> Lines {
        let asked = match (self.rules.mode, &self.running) {
            (SessionTimerMode::Off, _) => return Lines::new(),
            (SessionTimerMode::Accept, None) => None,
            (SessionTimerMode::Ask, None) => Some(SessionExpires { seconds: self.wanted, refresher: None }),
            (SessionTimerMode::Accept | SessionTimerMode::Ask, Some(running)) => {
                let refresher = Some(match running.refresher {
                    Party::Us => Refresher::Uac,
                    Party::Them => Refresher::Uas,
                });
                Some(SessionExpires { seconds: running.seconds.max(self.min), refresher })
            }
        };
        let mut lines = Lines::new();
        lines.extend(asked.map(|asked| (HeaderName::SessionExpires, asked.to_string())));
        if self.min > floor() {
            lines.push((HeaderName::MinSe, self.min.to_string()));
        }
        lines
    }

    /// The 2xx to an INVITE or UPDATE of ours: what holds from now on.
    pub(crate) fn learn(&mut self, now: Instant, response: &Message) {
        self.raises = 0;
        let told = response.session_expires().ok().flatten();
        self.running = told.filter(|_| self.rules.mode != SessionTimerMode::Off).map(|told| {
            let refresher = match told.refresher {
                Some(Refresher::Uas) => Party::Them,
                // Nobody was named: then it is done by whom it cannot hurt.
                Some(Refresher::Uac) | None => Party::Us,
            };
            Running::begin(now, told.seconds, refresher)
        });
    }

    /// 422 to an INVITE or UPDATE of ours. Answers whether asking again is worth it: with more than before.
    pub(crate) fn raise(&mut self, response: &Message) -> bool {
        let Ok(Some(min)) = response.min_se() else { return false };
        let asked = match (self.rules.mode, self.running) {
            (SessionTimerMode::Off, _) => return false,
            (SessionTimerMode::Accept, None) => 0,
            (SessionTimerMode::Ask, None) => self.wanted,
            (SessionTimerMode::Accept | SessionTimerMode::Ask, Some(running)) => running.seconds,
        };
        if min <= asked.max(self.min) || self.raises >= MAX_RAISES {
            return false;
        }
        self.raises += 1;
        self.min = self.min.max(min);
        self.wanted = self.wanted.max(min);
        true
    }

    /// What goes with our 2xx to their INVITE or UPDATE, and holds from now on.
    pub(crate) fn answer(&mut self, now: Instant, request: &Message) -> Lines {
        let asked = request.session_expires().ok().flatten().filter(|asked| asked.seconds >= floor());
        let can = supports(request, "timer");
        let least = request.min_se().ok().flatten().unwrap_or_default().max(floor());
        let before = self.running.take();
        let (seconds, refresher) = match (self.rules.mode, asked) {
            (SessionTimerMode::Off, _) => return Lines::new(),
            (SessionTimerMode::Accept | SessionTimerMode::Ask, Some(asked)) => {
                // It may be shortened, but not below what anybody on the way has named (RFC 4028 §9).
                let seconds = asked.seconds.min(self.wanted.max(least));
                (seconds, asked.refresher)
            }
            (SessionTimerMode::Accept | SessionTimerMode::Ask, None) => {
                let seconds = before.map(|before| before.seconds);
                let seconds = seconds.or((self.rules.mode == SessionTimerMode::Ask).then_some(self.wanted));
                let Some(seconds) = seconds else { return Lines::new() };
                (seconds.max(least), None)
            }
        };
        let refresher = match (can, refresher) {
            (true, Some(Refresher::Uac)) => Party::Them,
            (true, None) => before.map_or(Party::Us, |before| before.refresher),
            // Who does not know the extension cannot refresh (RFC 4028 §9, table 2).
            (true, Some(Refresher::Uas)) | (false, _) => Party::Us,
        };
        self.running = Some(Running::begin(now, seconds, refresher));
        let role = match refresher {
            Party::Us => Refresher::Uas,
            Party::Them => Refresher::Uac,
        };
        let told = SessionExpires { seconds, refresher: Some(role) };
        let mut lines = vec![(HeaderName::SessionExpires, told.to_string())];
        if can {
            lines.push((HeaderName::Require, "timer".to_owned()));
        }
        lines
    }

    /// Our refresh came to nothing that ends the dialog: tried again in half of what is left.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if let Some(running) = &mut self.running
            && running.refresher == Party::Us
        {
            let wait = running.ends.saturating_duration_since(now) / 2;
            running.refresh = (wait >= Duration::from_secs(1)).then(|| now + wait);
        }
    }

    /// The interval in seconds, and who refreshes.
    pub(crate) fn agreed(&self) -> Option<(u32, Party)> {
        self.running.map(|running| (running.seconds, running.refresher))
    }

    /// When [`Self::take_due`] wants to be asked.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.running.map(|running| running.refresh.unwrap_or(running.ends).min(running.ends))
    }

    /// What is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        let running = self.running.as_mut()?;
        if running.ends <= now {
            self.running = None;
            return Some(Due::End);
        }
        running.refresh.take_if(|at| *at <= now).map(|_| Due::Refresh)
    }
}

impl Running {
    fn begin(now: Instant, seconds: u32, refresher: Party) -> Self {
        // Less than the RFC allows would only be chatter.
        let interval = Duration::from_secs(seconds.max(MIN_RUNNING).into());
        let refresh = match refresher {
            Party::Us => Some(now + interval / 2),
            Party::Them => None,
        };
        // RFC 4028 §10.
        let ends = now + interval - Duration::from_secs(32).min(interval / 3);
        Self { seconds, refresher, refresh, ends }
    }
}

/// The shortest interval that is believed when a 2xx says it, in seconds.
const MIN_RUNNING: u32 = 10;

fn floor() -> u32 {
    u32::try_from(SessionTimers::FLOOR.as_secs()).unwrap_or(u32::MAX)
}
