//! REFERs of theirs that the owner has taken up, and what they hear of it: RFC 3515 §2.4.4, RFC 4488, RFC 6665 §4.2.
//! ```text
//!   accept_refer() ---> 202, NOTIFY 100 ---> refer_progress(): NOTIFY 1xx … ---> NOTIFY 2xx..6xx, terminated
//!        |                                        |
//!        | Refer-Sub: false                       +--- too long: NOTIFY, terminated;reason=timeout
//!        v                                        +--- 481 to a NOTIFY: nobody listens any more
//!   202 without subscription
//! ```
//! One NOTIFY of a subscription is under way at a time; what happens meanwhile is told by the next one, the latest state
//! only. A subscription outlives the BYE (RFC 5057 §4), but not for long.

use std::time::Duration;

use super::*;

/// How long the outcome may take.
const SUBSCRIPTION: Duration = Duration::from_secs(180);
/// REFERs of one dialog that are served at a time.
const MAX_SERVED: usize = 4;

/// The subscription of one REFER.
#[derive(Debug)]
pub(super) struct Served {
    id: RequestId,
    /// CSeq of the REFER, the `id` of its event.
    seq: u32,
    /// The first REFER of a dialog needs no `id` (RFC 3515 §2.4.6), and some know none.
    is_first: bool,
    ends: Instant,
    latest: StatusLine,
    /// The latest state has not been told yet.
    is_due: bool,
    /// CSeq of the NOTIFY under way.
    under_way: Option<u32>,
    end: Option<&'static str>,
}

impl Usage {
    /// Takes a REFER up that an event gave out.
    pub(crate) fn accept_refer(&mut self, now: Instant, core: &mut Core, server: ServerId) {
        let entry = core.servers.get(server).filter(|entry| entry.automaton.is_pending());
        let Some(request) = entry.map(|entry| entry.request.clone()) else { return };
        if request.method() != Some(Method::Refer) || !self.open.contains(&server) {
            return;
        }
        let reply = Reply::new(StatusCode::ACCEPTED).contact(self.contact.clone());
        if wants_no_subscription(&request) {
            return core.finish(now, server, reply.header(HeaderName::ReferSub, "false"));
        }
        if self.served.len() >= MAX_SERVED {
            let reply = later(core).warning("too many REFERs at once");
            return core.finish(now, server, reply);
        }
        core.finish(now, server, reply);
        let is_first = !std::mem::replace(&mut self.has_served, true);
        self.served.push(Served {
            id: RequestId(server.0),
            seq: request.cseq().map_or(0, |cseq| cseq.number),
            is_first,
            ends: now + SUBSCRIPTION,
            latest: StatusCode::TRYING.into(),
            is_due: true,
            under_way: None,
            end: None,
        });
        self.send_notices(now, core);
    }

    /// What has become of a REFER that was taken up.
    pub(crate) fn refer_progress(&mut self, now: Instant, core: &mut Core, id: RequestId, line: StatusLine) {
        let is_it = |served: &&mut Served| served.id == id && served.end.is_none();
        let Some(served) = self.served.iter_mut().find(is_it) else { return };
        // The subscription is of no more use (RFC 3515 §2.4.7).
        served.end = line.status.is_final().then_some("noresource");
        served.latest = line;
        served.is_due = true;
        self.send_notices(now, core);
    }

    pub(super) fn served_timeout(&self) -> Option<Instant> {
        self.served.iter().filter(|served| served.end.is_none()).map(|served| served.ends).min()
    }

    /// Ends what has taken too long.
    pub(super) fn watch_served(&mut self, now: Instant, core: &mut Core) {
        for served in self.served.iter_mut().filter(|served| served.end.is_none() && served.ends <= now) {
            served.end = Some("timeout");
            served.is_due = true;
        }
        self.send_notices(now, core);
    }

    /// The call is over: the outcome may still be told, but is not waited for as long.
    pub(super) fn hurry_served(&mut self, now: Instant, core: &Core) {
        let until = now + core.config.timers.give_up();
        for served in &mut self.served {
            served.ends = served.ends.min(until);
        }
    }

    fn send_notices(&mut self, now: Instant, core: &mut Core) {
        let Some(dialog) = self.stage.dialog_mut() else { return };
        for served in self.served.iter_mut().filter(|served| served.is_due && served.under_way.is_none()) {
            served.is_due = false;
            let event = match served.is_first {
                true => "refer".to_owned(),
                false => format!("refer;id={}", served.seq),
            };
            let state = match served.end {
                Some(reason) => format!("terminated;reason={reason}"),
                None => format!("active;expires={}", served.ends.saturating_duration_since(now).as_secs()),
            };
            let headers = vec![
                (HeaderName::Event.as_str().into(), event),
                (HeaderName::SubscriptionState.as_str().into(), state),
            ];
            let body = Body {
                content_type: "message/sipfrag;version=2.0".into(),
                content: format!("SIP/2.0 {}\r\n", served.latest).into(),
            };
            let (contact, body) = (Some(self.contact.clone()), Some(body));
            let draft = Draft { contact, headers, body, ..Draft::within(dialog, Method::Notify) };
            let purpose = Purpose::Notify(self.id);
            let sent = send_within(now, core, &mut self.authenticator, dialog, draft, purpose);
            served.under_way = sent.map(|(_, seq)| seq);
        }
        self.served.retain(|served| served.end.is_none() || served.under_way.is_some() || served.is_due);
    }

    /// The final response to a NOTIFY of ours.
    pub(super) fn notify_answered(&mut self, now: Instant, core: &mut Core, answer: &Answer) {
        if answer.status.is_provisional() {
            return;
        }
        let again = self
            .stage
            .dialog_mut()
            .and_then(|dialog| answer_challenge(now, core, &mut self.authenticator, dialog, answer))
            .map(|(_, seq)| seq);
        let is_unknown = answer.status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        self.notice_settled(now, core, answer.sent.seq, again, is_unknown);
    }

    /// A NOTIFY of ours has no final response: nobody listens (RFC 6665 §4.2.2).
    pub(super) fn notify_failed(&mut self, now: Instant, core: &mut Core, sent: &Sent, failure: Failure) {
        let is_unknown = match failure {
            Failure::Timeout | Failure::Vanished => true,
            Failure::Transport => false,
        };
        self.notice_settled(now, core, sent.seq, None, is_unknown);
    }

    fn notice_settled(
        &mut self,
        now: Instant,
        core: &mut Core,
        seq: u32,
        again: Option<u32>,
        is_unknown: bool,
    ) {
        let Some(at) = self.served.iter().position(|served| served.under_way == Some(seq)) else { return };
        self.served[at].under_way = again;
        if is_unknown {
            self.served.remove(at);
        }
        self.send_notices(now, core);
        self.notice_was_waited_for(now, core);
        self.leave_if_done(now, core);
    }

    /// Whether they have yet to hear what became of a REFER.
    pub(super) fn has_last_notice(&self) -> bool {
        self.served.iter().any(|served| served.end.is_some())
    }
}

/// RFC 4488 §4.
fn wants_no_subscription(request: &Message) -> bool {
    let value = request.header(HeaderName::ReferSub);
    value.is_some_and(|value| value.text().trim_start().to_ascii_lowercase().starts_with("false"))
}
