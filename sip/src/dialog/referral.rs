//! What has become of our REFERs: RFC 3515 with the subscriptions of RFC 6665.
//! ```text
//!             2xx                       NOTIFY terminated
//!   [Asked] --------> [Subscribed] ----------------------> forgotten
//!     |  NOTIFY           ^ | NOTIFY: progress
//!     |------------------>+ +-
//!     +--- 3xx..6xx, nothing, or 2xx with Refer-Sub: false -------> forgotten
//! ```
//! A NOTIFY may overtake the 2xx, and says the same: the other side tries. How long one waits for the last NOTIFY is the
//! owner's choice; a trunk that accepts and stays silent is not rare.

use std::collections::VecDeque;

use crate::{Message, StatusCode, SubscriptionStatus, sipfrag_status};

/// The REFERs of one dialog, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Referrals {
    running: Vec<Referral>,
    /// The numbers of those that are over, the latest last.
    over: VecDeque<u32>,
}

/// Numbers kept of those that are over.
const MAX_OVER: usize = 16;

#[derive(Debug)]
struct Referral {
    /// The CSeq of the REFER, which is also the `id` of its event (RFC 3515 §2.4.6).
    seq: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Subscribed,
}

/// What one NOTIFY says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) status: Option<StatusCode>,
    pub(crate) reason: String,
    pub(crate) terminated: bool,
}

/// Whether a final response to a REFER is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Tell the owner.
    News,
    /// The notifications have already told more than this response can.
    Old,
}

impl Referrals {
    /// A REFER was sent.
    pub(crate) fn ask(&mut self, seq: u32) {
        self.running.push(Referral { seq, state: State::Asked });
    }

    /// The REFER goes out again under another number, with credentials.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) {
        for referral in self.running.iter_mut().filter(|referral| referral.seq == from) {
            referral.seq = to;
        }
    }

    /// 2xx to the REFER.
    pub(crate) fn accept(&mut self, seq: u32, response: &Message) -> Answer {
        let Some(at) = self.position(seq) else { return Answer::Old };
        let no_subscription = response
            .header_named("Refer-Sub")
            .is_some_and(|value| value.text().trim_start().to_ascii_lowercase().starts_with("false"));
        if no_subscription {
            self.end(at);
        } else {
            self.running[at].state = State::Subscribed;
        }
        Answer::News
    }

    /// 3xx–6xx to the REFER.
    pub(crate) fn refuse(&mut self, seq: u32) -> Answer {
        let Some(at) = self.position(seq) else { return Answer::Old };
        self.end(at);
        Answer::News
    }

    /// No final response to the REFER. After a notification that is the network's fault and nothing is lost.
    pub(crate) fn fail(&mut self, seq: u32) -> Answer {
        match self.position(seq).map(|at| self.running[at].state) {
            Some(State::Asked) => self.refuse(seq),
            Some(State::Subscribed) | None => Answer::Old,
        }
    }

    /// A NOTIFY of event `refer`. `None` if it belongs to no REFER of this dialog that still runs.
    pub(crate) fn notify(&mut self, request: &Message) -> Option<Notification> {
        let event = request.event().ok()??;
        let at = match event.id() {
            Some(id) => {
                let seq = id.parse().ok();
                if seq.is_some_and(|seq| self.over.contains(&seq)) {
                    return None;
                }
                // A number that was never ours is a mistake that has only one meaning while there is one REFER.
                let only = (self.running.len() == 1).then_some(0);
                seq.and_then(|seq| self.position(seq)).or(only)?
            }
            None if self.running.is_empty() => return None,
            None => 0,
        };
        let state = request.subscription_state().ok().flatten();
        let status = sipfrag_status(&request.body());
        let terminated = match state.as_ref().map(|state| &state.status) {
            Some(SubscriptionStatus::Terminated) => true,
            Some(SubscriptionStatus::Active | SubscriptionStatus::Pending | SubscriptionStatus::Other(_)) => {
                false
            }
            // Peers from before RFC 6665 leave it out; then a final status is the end.
            None => status.is_some_and(StatusCode::is_final),
        };
        let reason = match (status, state.as_ref().and_then(|state| state.reason())) {
            (Some(_), _) => sipfrag_reason(&request.body()),
            (None, reason) => reason.unwrap_or_default().to_owned(),
        };
        if terminated {
            self.end(at);
        } else {
            self.running[at].state = State::Subscribed;
        }
        Some(Notification { status, reason, terminated })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    fn end(&mut self, at: usize) {
        if self.over.len() == MAX_OVER {
            self.over.pop_front();
        }
        self.over.push_back(self.running.remove(at).seq);
    }

    fn position(&self, seq: u32) -> Option<usize> {
        self.running.iter().position(|referral| referral.seq == seq)
    }
}

/// Whether this is a NOTIFY of event `refer`.
pub(crate) fn is_refer_notification(request: &Message) -> bool {
    request.event().ok().flatten().is_some_and(|event| event.is("refer"))
}

/// What follows the code in a status line.
fn sipfrag_reason(body: &[u8]) -> String {
    let line =
        body.trim_ascii_start().split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let reason = line.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
    String::from_utf8_lossy(reason).trim().to_owned()
}
