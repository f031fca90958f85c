//! Their INVITE has no final response yet: RFC 3261 §13.3.1.

use std::time::{Duration, Instant};

use super::*;
use crate::dialog::Success;

/// How often a provisional response is repeated, so that no proxy gives up (RFC 3261 §13.3.1.1).
const REPEAT: Duration = Duration::from_secs(60);

/// An INVITE of theirs that the owner has not answered.
#[derive(Debug)]
pub(crate) struct Ringing {
    pub(super) dialog: Dialog,
    server: ServerId,
    request: Arc<Message>,
    latest: Option<(Instant, Reply)>,
    expires: Option<Instant>,
}

impl Ringing {
    pub(crate) fn new(now: Instant, dialog: Dialog, server: ServerId, request: Arc<Message>) -> Self {
        let seconds = request.expires().ok().flatten();
        let expires = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
        Self { dialog, server, request, latest: None, expires }
    }

    pub(super) fn request(&self) -> &Message {
        &self.request
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.latest.as_ref().map(|(at, _)| *at), self.expires)
    }
}

impl Usage {
    pub(super) fn ringing_timeout(&mut self, now: Instant, core: &mut Core) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        if ringing.expires.is_some_and(|at| at <= now) {
            core.finish(now, ringing.server, StatusCode::REQUEST_TERMINATED);
            core.tell(Event::Expired { dialog: self.id });
            return self.vanish(now, core);
        }
        if let Some((at, reply)) = &mut ringing.latest
            && *at <= now
        {
            *at = now + REPEAT;
            core.finish(now, ringing.server, reply.clone());
        }
    }

    /// Sends a provisional response to the INVITE.
    pub(crate) fn ring(
        &mut self,
        now: Instant,
        core: &mut Core,
        line: StatusLine,
        headers: Headers,
        body: Option<Body>,
    ) {
        let Stage::Ringing(ringing) = &mut self.stage else { return };
        let reply = Reply::new(line).contact(self.contact.clone()).headers(headers).body(body);
        core.finish(now, ringing.server, reply.clone());
        ringing.latest = Some((now + REPEAT, reply));
    }

    pub(super) fn accept_invite(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Ringing(ringing) = &self.stage else { return };
        let offers = ringing.request.body().is_empty() && reply.has_body();
        let seq = ringing.request.cseq().map_or(0, |cseq| cseq.number);
        let body = reply.body_ref().cloned();
        let mut reply = reply.contact(self.contact.clone()).policy(self.policy);
        for (name, value) in self.timer.answer(now, &ringing.request) {
            reply = reply.header(name, value);
        }
        let Ok((path, wire)) = core.answer(now, ringing.server, reply) else { return };
        self.description = body;
        let success = Success::new(now, core.config.timers, wire);
        self.stage =
            Stage::Confirmed(Confirmed::of_callee(ringing.dialog.clone(), seq, success, path, offers));
    }

    pub(super) fn refuse_invite(&mut self, now: Instant, core: &mut Core, reply: Reply) {
        let Stage::Ringing(ringing) = &self.stage else { return };
        core.finish(now, ringing.server, reply);
        self.vanish(now, core);
    }

    /// CANCEL of the INVITE that began the dialog.
    pub(super) fn cancel_ringing(&mut self, now: Instant, core: &mut Core, request: &Message) {
        core.tell(Event::Cancelled { dialog: self.id, request: request.clone() });
        self.refuse_invite(now, core, Reply::new(StatusCode::REQUEST_TERMINATED));
    }

    pub(super) fn bye_while_ringing(&mut self, now: Instant, core: &mut Core, request: &Message) {
        core.tell(Event::HungUp { dialog: self.id, request: request.clone() });
        self.refuse_invite(now, core, Reply::new(StatusCode::REQUEST_TERMINATED));
    }
}
