//! The call is up: RFC 3261 §13.2.2.4, §13.3.1.4, §15, with the REFERs and INFOs that go on meanwhile.
//!
//! A 2xx of ours is repeated until its ACK comes. A 2xx of theirs waits for the owner, who may have to write an answer
//! into the ACK. Until the ACK of the first 2xx has come, the callee may not send BYE (RFC 3261 §15), so a wish to hang up
//! waits for it. It waits, too, until they have heard what became of their REFER: some end its subscription with the
//! call, and never tell their user (PJSIP does).

use std::collections::BTreeMap;
use std::time::Duration;

use super::offers::Exchange;
use super::*;
use crate::dialog::{Notification, Success, SuccessOutput, referral};
use crate::endpoint::servers::ReplyPath;

/// How long a BYE waits for them to hear what became of their REFER.
const LAST_NOTICE: Duration = Duration::from_secs(2);

/// A dialog after the first 2xx.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(super) dialog: Dialog,
    /// Their 2xx that the owner has not acknowledged.
    pub(super) ack_due: Option<AckDue>,
    /// Our 2xx that they have not acknowledged, by CSeq.
    pub(super) successes: BTreeMap<u32, Unacknowledged>,
    pub(super) exchange: Exchange,
    pub(super) next_offer: Option<Offer>,
    /// The owner wants to hang up, but the first ACK has not come, or they have not heard what became of their REFER.
    pub(super) hang_up: Option<Headers>,
    /// How long the latter is waited for.
    pub(super) last_notice: Option<Instant>,
    /// RSeq and CSeq of a reliable provisional response that our 2xx has overtaken.
    pub(super) late_prack: Option<(u32, u32)>,
}

#[derive(Debug)]
pub(super) struct AckDue {
    pub(super) client: ClientId,
    pub(super) sent: Arc<Sent>,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) success: Success,
    pub(super) path: ReplyPath,
    /// The 2xx offers, so the ACK has to bring the answer.
    pub(super) offers: bool,
    /// It answers the INVITE that began the dialog.
    pub(super) is_first: bool,
}

impl Confirmed {
    pub(super) fn of_caller(dialog: Dialog, client: ClientId, sent: Arc<Sent>) -> Self {
        Self {
            dialog,
            ack_due: Some(AckDue { client, sent }),
            successes: BTreeMap::new(),
            exchange: Exchange::Idle,
            next_offer: None,
            hang_up: None,
            last_notice: None,
            late_prack: None,
        }
    }

    pub(super) fn of_callee(
        dialog: Dialog,
        seq: u32,
        success: Success,
        path: ReplyPath,
        offers: bool,
    ) -> Self {
        Self {
            dialog,
            ack_due: None,
            successes: BTreeMap::from([(seq, Unacknowledged { success, path, offers, is_first: true })]),
            exchange: Exchange::Idle,
            next_offer: None,
            hang_up: None,
            last_notice: None,
            late_prack: None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let success = self.successes.values().map(|waiting| waiting.success.poll_timeout()).min();
        let offer = self.next_offer.as_ref().and_then(|offer| offer.not_before);
        earlier(self.last_notice, earlier(success, earlier(offer, self.exchange.poll_timeout())))
    }

    pub(super) fn lose_connection(&mut self, connection: ConnectionId) {
        self.dialog.lose_connection(connection);
        for waiting in self.successes.values_mut() {
            if waiting.path.connection == Some(connection) {
                waiting.path.lose_connection();
            }
        }
    }

    fn waits_for_first_ack(&self) -> bool {
        self.successes.values().any(|waiting| waiting.is_first)
    }
}

impl Usage {
    pub(super) fn confirmed_timeout(&mut self, now: Instant, core: &mut Core) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        let mut ack_missing = false;
        for waiting in confirmed.successes.values_mut() {
            match waiting.success.handle_timeout(now) {
                Some(SuccessOutput::Send(wire)) => core.respond_on(waiting.path, wire),
                Some(SuccessOutput::AckMissing) => ack_missing = true,
                None => {}
            }
        }
        if ack_missing {
            let headers = match confirmed.hang_up.take() {
                Some(headers) => headers,
                None => {
                    core.tell(Event::AckMissing { dialog: self.id });
                    Headers::new()
                }
            };
            return self.send_bye(now, core, headers);
        }
        if confirmed.last_notice.is_some_and(|at| at <= now) {
            return self.send_bye_that_waited(now, core);
        }
        if self.watch_timer(now, core) {
            self.take_back_offer(now, core);
            self.start_offer(now, core);
        }
    }

    /// Sends the ACK that the latest 2xx waits for.
    pub(crate) fn acknowledge(&mut self, now: Instant, core: &mut Core, body: Option<Body>) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        if let Some(AckDue { client, sent }) = confirmed.ack_due.take() {
            if sent.draft.body.is_none() && body.is_some() {
                self.description.clone_from(&body);
            }
            core.acknowledge(client, &sent, &confirmed.dialog, body);
            self.start_offer(now, core);
        }
    }

    /// An ACK that names this dialog. Answers whether it acknowledged anything.
    pub(crate) fn handle_ack(&mut self, now: Instant, core: &mut Core, request: &Message) -> bool {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return false };
        let Some(waiting) = request.cseq().ok().and_then(|cseq| confirmed.successes.remove(&cseq.number))
        else {
            return false;
        };
        match confirmed.hang_up.take_if(|_| waiting.is_first) {
            Some(headers) => self.send_bye(now, core, headers),
            None => {
                core.tell(Event::Acknowledged { dialog: self.id, request: request.clone() });
                self.start_offer(now, core);
            }
        }
        true
    }

    pub(super) fn hang_up_confirmed(&mut self, now: Instant, core: &mut Core, headers: Headers) {
        let Stage::Confirmed(confirmed) = &self.stage else { return };
        let waits_for_notice = !confirmed.waits_for_first_ack() && self.has_last_notice();
        if confirmed.waits_for_first_ack() || waits_for_notice {
            self.close_exchange(now, core);
            self.close_open(now, core);
            if let Stage::Confirmed(confirmed) = &mut self.stage {
                confirmed.hang_up.get_or_insert(headers);
                if waits_for_notice {
                    confirmed.last_notice.get_or_insert(now + LAST_NOTICE);
                }
            }
        } else {
            self.send_bye(now, core, headers);
        }
    }

    /// A NOTIFY has been settled: BYE, if it was the last one that was waited for.
    pub(super) fn notice_was_waited_for(&mut self, now: Instant, core: &mut Core) {
        if let Stage::Confirmed(Confirmed { last_notice: Some(_), .. }) = &self.stage
            && !self.has_last_notice()
        {
            self.send_bye_that_waited(now, core);
        }
    }

    fn send_bye_that_waited(&mut self, now: Instant, core: &mut Core) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        confirmed.last_notice = None;
        if let Some(headers) = confirmed.hang_up.take() {
            self.send_bye(now, core, headers);
        }
    }

    /// BYE for a running call.
    pub(super) fn bye_while_confirmed(&mut self, now: Instant, core: &mut Core, request: &Message) {
        let Stage::Confirmed(confirmed) = &mut self.stage else { return };
        if confirmed.hang_up.is_none() {
            core.tell(Event::HungUp { dialog: self.id, request: request.clone() });
        }
        self.leave(now, core, None);
    }

    /// The other side has no such dialog: tells the owner and ends it here too.
    pub(super) fn end_vanished(&mut self, now: Instant, core: &mut Core, failure: Failure) {
        if let Stage::Confirmed(confirmed) = &self.stage {
            if confirmed.hang_up.is_none() {
                core.tell(Event::Failed { dialog: self.id, failure });
            }
            self.send_bye(now, core, Headers::new());
        }
    }

    // ---- REFER and INFO

    /// Asks the other side to call somebody (RFC 3515).
    pub(crate) fn refer(&mut self, now: Instant, core: &mut Core, refer_to: &NameAddr, headers: Headers) {
        let mut all: Headers = vec![
            (HeaderName::ReferTo.as_str().into(), refer_to.to_string()),
            (HeaderName::ReferredBy.as_str().into(), format!("<{}>", self.contact.uri())),
        ];
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HeaderName::ReferredBy.as_str())) {
            all.pop();
        }
        all.extend(headers);
        match self.request_within(now, core, Method::Refer, Purpose::Refer(self.id), all, None) {
            Some(seq) => self.referrals.ask(seq),
            None => core.tell(Event::ReferRefused { dialog: self.id, refusal: Refusal::Overtaken }),
        }
    }

    /// Sends application data (RFC 6086).
    pub(crate) fn info(&mut self, now: Instant, core: &mut Core, headers: Headers, body: Option<Body>) {
        if self.request_within(now, core, Method::Info, Purpose::Info(self.id), headers, body).is_none() {
            core.tell(Event::InfoFailed { dialog: self.id, failure: Failure::Vanished });
        }
    }

    /// Sends the state of a subscription (RFC 6665 §4.2.2), best effort.
    pub(crate) fn notify(&mut self, now: Instant, core: &mut Core, headers: Headers, body: Option<Body>) {
        self.request_within(now, core, Method::Notify, Purpose::Notify(self.id), headers, body);
    }

    fn request_within(
        &mut self,
        now: Instant,
        core: &mut Core,
        method: Method<'static>,
        purpose: Purpose,
        headers: Headers,
        body: Option<Body>,
    ) -> Option<u32> {
        let Stage::Confirmed(Confirmed { dialog, hang_up: None, .. }) = &mut self.stage else { return None };
        let contact = matches!(method, Method::Refer | Method::Notify).then(|| self.contact.clone());
        let draft = Draft { contact, headers, body, ..Draft::within(dialog, method) };
        let (_, seq) = send_within(now, core, &mut self.authenticator, dialog, draft, purpose)?;
        Some(seq)
    }

    pub(super) fn refer_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        let seq = answer.sent.seq;
        if let Some(dialog) = self.stage.dialog_mut()
            && let Some((_, again)) = answer_challenge(now, core, &mut self.authenticator, dialog, &answer)
        {
            return self.referrals.renumber(seq, again);
        }
        let is_unknown = is_dialog_unknown(answer.status);
        let response = answer.response;
        if answer.status.is_success() {
            if self.referrals.accept(seq, &response) == referral::Answer::News {
                core.tell(Event::ReferAccepted { dialog: self.id, response });
            }
        } else if self.referrals.refuse(seq) == referral::Answer::News {
            core.tell(Event::ReferRefused { dialog: self.id, refusal: Refusal::Response(response) });
        }
        if is_unknown {
            self.end_vanished(now, core, Failure::Vanished);
        }
        self.leave_if_done(now, core);
    }

    pub(super) fn refer_failed(&mut self, now: Instant, core: &mut Core, sent: &Sent, failure: Failure) {
        if self.referrals.fail(sent.seq) == referral::Answer::News {
            core.tell(Event::ReferRefused { dialog: self.id, refusal: Refusal::Failed(failure) });
        }
        self.leave_if_done(now, core);
    }

    /// A NOTIFY of event `refer`.
    pub(super) fn refer_notified(&mut self, now: Instant, core: &mut Core, request: &Message) -> Reply {
        let Some(notification) = self.referrals.notify(request) else {
            return Reply::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        };
        let Notification { status, reason, terminated } = notification;
        let request = request.clone();
        core.tell(Event::ReferProgress { dialog: self.id, status, reason, terminated, request });
        self.leave_if_done(now, core);
        Reply::new(StatusCode::OK)
    }

    pub(super) fn info_answered(&mut self, now: Instant, core: &mut Core, answer: Answer) {
        if let Some(dialog) = self.stage.dialog_mut()
            && answer_challenge(now, core, &mut self.authenticator, dialog, &answer).is_some()
        {
            return;
        }
        let is_unknown = is_dialog_unknown(answer.status);
        core.tell(Event::InfoAnswered { dialog: self.id, response: answer.response });
        if is_unknown {
            self.end_vanished(now, core, Failure::Vanished);
        }
    }
}

/// The response says that there is no such dialog (RFC 3261 §12.2.1.2).
fn is_dialog_unknown(status: StatusCode) -> bool {
    status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST
}
