//! The call is over, but not yet for everybody: RFC 3261 §15.1.1, and RFC 5057 §4 for the subscription of a REFER, which
//! outlives the BYE. A trunk may hang up first and only then say how the transfer ended.

use super::*;

/// A dialog after BYE.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(super) dialog: Dialog,
    /// The CSeq of our BYE while it has no final response.
    bye: Option<u32>,
    /// How long the last NOTIFY is waited for.
    until: Option<Instant>,
}

impl Leaving {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }
}

impl Usage {
    /// Hangs up a confirmed dialog. An unacknowledged 2xx of theirs gets its ACK first.
    pub(super) fn send_bye(&mut self, now: Instant, core: &mut Core, headers: Headers) {
        let Stage::Confirmed(Confirmed { dialog, ack_due, .. }) = &mut self.stage else { return };
        if let Some(AckDue { client, sent }) = ack_due.take() {
            core.acknowledge(client, &sent, dialog, None);
        }
        let draft = Draft { headers, ..Draft::within(dialog, Method::Bye) };
        let purpose = Purpose::Bye(self.id);
        let bye = send_within(now, core, &mut self.authenticator, dialog, draft, purpose).map(|(_, seq)| seq);
        self.leave(now, core, bye);
    }

    /// Ends a confirmed dialog: nothing is answered any more but by us.
    pub(super) fn leave(&mut self, now: Instant, core: &mut Core, bye: Option<u32>) {
        self.close_exchange(now, core);
        self.close_open(now, core);
        self.hurry_served(now, core);
        let Stage::Confirmed(Confirmed { dialog, ack_due, .. }) = &mut self.stage else { return };
        if let Some(AckDue { client, sent }) = ack_due.take() {
            core.acknowledge(client, &sent, dialog, None);
        }
        let until = (!self.referrals.is_empty()).then(|| now + core.config.timers.give_up());
        self.stage = Stage::Leaving(Leaving { dialog: dialog.clone(), bye, until });
        self.leave_if_done(now, core);
    }

    /// Everything that could still be told has been.
    pub(super) fn leave_if_done(&mut self, now: Instant, core: &mut Core) {
        if let Stage::Leaving(Leaving { bye: None, until, .. }) = &self.stage
            && (until.is_none() || self.referrals.is_empty())
            && self.served.is_empty()
        {
            self.vanish(now, core);
        }
    }

    pub(super) fn leaving_timeout(&mut self, now: Instant, core: &mut Core) {
        if let Stage::Leaving(Leaving { until, .. }) = &mut self.stage
            && until.is_some_and(|at| at <= now)
        {
            *until = None;
        }
        self.leave_if_done(now, core);
    }

    pub(super) fn bye_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let Stage::Leaving(Leaving { dialog, bye, .. }) = &mut self.stage else { return };
        if *bye != Some(answer.sent.seq) {
            return;
        }
        // Whatever they say: for them the call is over too, or unknown.
        *bye = answer_challenge(now, core, &mut self.authenticator, dialog, &answer).map(|(_, seq)| seq);
        self.leave_if_done(now, core);
    }

    pub(super) fn bye_failed(&mut self, now: Instant, core: &mut Core, sent: &Sent, failure: Failure) {
        let Stage::Leaving(Leaving { dialog, bye, .. }) = &mut self.stage else { return };
        if *bye != Some(sent.seq) {
            return;
        }
        // Lost with its connection: worth one attempt over another one, lest their call never ends.
        let is_worth_it = failure == Failure::Transport && sent.path.connection.is_some();
        let purpose = Purpose::Bye(self.id);
        *bye = is_worth_it
            .then(|| {
                let draft = (*sent.draft).clone();
                send_within(now, core, &mut self.authenticator, dialog, draft, purpose)
            })
            .flatten()
            .map(|(_, seq)| seq);
        self.leave_if_done(now, core);
    }
}
