//! Signs of life: the session timer of a confirmed dialog (RFC 4028 §7.4, §9, §10).
//! ```text
//!            half of the interval             idle?
//!   [Idle] -----------------------> [Due] -------------> [Sent]: UPDATE without body, if they have it
//!      ^                                    \                  |
//!      |                                     +-> re-INVITE with the description that holds
//!      +---- 2xx: from the beginning; 422: longer; 408, 481, nothing: the call ends; else tried again -----+
//! ```

use super::*;
use crate::dialog::Due;

/// Whether a refresh of ours is wanted or on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    Idle,
    /// As soon as no offer and no ACK is under way.
    Due,
    /// The CSeq of an UPDATE without body.
    Sent(u32),
}

/// What goes with an INVITE or UPDATE of ours because of the extensions that its dialog may use.
pub(crate) fn extensions(policy: Policy, timer: &SessionTimer) -> Lines {
    let mut lines = vec![(HeaderName::Supported, policy.supported())];
    lines.extend(timer.ask());
    lines
}

/// [`extensions`] of the INVITE that begins the dialog.
pub(crate) fn invite_extensions(policy: Policy, timer: &SessionTimer) -> Lines {
    let mut lines = extensions(policy, timer);
    if policy.reliable_provisionals == ReliableProvisionals::Required {
        lines.push((HeaderName::Require, "100rel".to_owned()));
    }
    lines
}

impl Usage {
    /// The owner says what an INVITE of theirs may use.
    pub(crate) fn set_policy(
        &mut self,
        now: Instant,
        core: &mut Core,
        policy: Policy,
    ) -> Result<(), StatusCode> {
        let Stage::Ringing(ringing) = &self.stage else { return Ok(()) };
        self.policy = policy;
        self.timer = SessionTimer::new(policy.session_timers);
        if policy.records(ringing.request()) {
            // RFC 7866 §6.2: it is a recorder that answers.
            self.contact = self.contact.clone().with_param("+sip.srs", None);
        }
        match policy.objection(ringing.request()) {
            Some(reply) => {
                let status = reply.status();
                self.refuse_invite(now, core, reply);
                Err(status)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn agreed_timer(&self) -> Option<(u32, Party)> {
        self.timer.agreed()
    }

    /// The timer means something only in a confirmed dialog that nobody wants to end.
    pub(super) fn timer_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Confirmed(Confirmed { hang_up: None, .. }) => self.timer.poll_timeout(),
            Stage::Confirmed(_) | Stage::Calling(_) | Stage::Ringing(_) | Stage::Leaving(_) | Stage::Gone => {
                None
            }
        }
    }

    /// Does what the timer asks for. Answers whether the dialog goes on.
    pub(super) fn watch_timer(&mut self, now: Instant, core: &mut Core) -> bool {
        if self.timer_timeout().is_none_or(|at| at > now) {
            return true;
        }
        match self.timer.take_due(now) {
            Some(Due::End) => {
                core.tell(Event::SessionExpired { dialog: self.id });
                let reason = crate::Reason::new("SIP", 408, "Session expired").to_string();
                self.send_bye(now, core, vec![(HeaderName::Reason.as_str().into(), reason)]);
                false
            }
            Some(Due::Refresh) => {
                self.refresh = Refresh::Due;
                true
            }
            None => true,
        }
    }

    /// Sends the refresh that is due, if nothing else is under way: that refreshes by itself.
    pub(super) fn start_refresh(&mut self, now: Instant, core: &mut Core) {
        let (Refresh::Due, Stage::Confirmed(confirmed)) = (self.refresh, &mut self.stage) else { return };
        if !confirmed.is_idle() {
            return;
        }
        self.refresh = Refresh::Idle;
        if !self.updates
            && let Some(body) = self.description.clone()
        {
            confirmed.next_offer = Some(Offer::refresh(body));
            return;
        }
        let (contact, extensions) = (Some(self.contact.clone()), extensions(self.policy, &self.timer));
        let dialog = &mut confirmed.dialog;
        let draft = Draft { contact, extensions, ..Draft::within(dialog, Method::Update) };
        let purpose = Purpose::Update(self.id);
        match send_within(now, core, &mut self.authenticator, dialog, draft, purpose) {
            Some((_, seq)) => self.refresh = Refresh::Sent(seq),
            None => self.timer.try_again(now),
        }
    }

    /// The final response to our UPDATE.
    pub(super) fn update_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        if self.early_update_answered(now, core, &answer) {
            return;
        }
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        if self.refresh != Refresh::Sent(answer.sent.seq) {
            return self.reinvite_answered(now, core, answer);
        }
        self.refresh = Refresh::Idle;
        let dialog = &mut confirmed.dialog;
        if let Some((_, seq)) = answer_challenge(now, core, &mut self.authenticator, dialog, &answer) {
            self.refresh = Refresh::Sent(seq);
            return;
        }
        if answer.status.is_success() {
            dialog.refresh_target(&answer.response);
            self.timer.learn(now, &answer.response);
            core.tell(Event::Refreshed { dialog: self.id, message: answer.response });
            return;
        }
        if matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            self.updates = false;
        }
        self.refresh_refused(now, core, &answer.response, answer.status);
    }

    pub(super) fn update_failed(&mut self, now: Instant, core: &mut Core, sent: &Sent, failure: Failure) {
        if self.refresh == Refresh::Sent(sent.seq) {
            self.refresh = Refresh::Idle;
            match failure {
                Failure::Timeout | Failure::Vanished => self.end_vanished(now, core, failure),
                Failure::Transport => self.timer.try_again(now),
            }
        } else {
            self.early_update_failed(now, core, sent, failure);
            self.reinvite_failed(now, core, sent, failure);
        }
    }

    /// Anything but a 2xx to our refresh, and no challenge that could be answered.
    pub(super) fn refresh_refused(
        &mut self,
        now: Instant,
        core: &mut Core,
        response: &Message,
        status: StatusCode,
    ) {
        match status {
            StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT => {
                return self.end_vanished(now, core, Failure::Vanished);
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL if self.timer.raise(response) => {
                self.refresh = Refresh::Due;
            }
            // UPDATE is not known after all: the re-INVITE goes out at once.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if self.description.is_some() => {
                self.refresh = Refresh::Due;
            }
            _ => self.timer.try_again(now),
        }
        self.start_offer(now, core);
    }
}
