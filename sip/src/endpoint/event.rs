//! What the endpoint tells its owner.

use crate::flow::Flow;
use crate::{Message, StatusCode};

/// Our name for one INVITE and the dialog it makes, from [`Event::Invited`] or [`super::Endpoint::invite`] until
/// [`Event::Gone`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId(pub u64);

/// Our name for one other request: a received one that waits for [`super::Endpoint::respond`], or one of ours from
/// [`super::Endpoint::request`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Why there is no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("no response came in time")]
    Timeout,
    /// The transport could not carry the request, or lost its connection.
    #[error("the transport could not carry the request")]
    Transport,
    /// The other side does not know the dialog any more (481, or 408 to a re-INVITE; RFC 3261 §12.2.1.2).
    #[error("the other side does not know the dialog")]
    Vanished,
}

/// Why a request within a dialog came to nothing. The dialog goes on unless an event says otherwise.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The final response, after authentication was tried.
    Response(Message),
    /// There was none.
    Failed(Failure),
    /// They do not have the method (their Allow).
    Unsupported,
    /// It was never sent, or not sent again: the other side's offer, a newer one of ours, or the end of the dialog came
    /// first. Ask again if it is still wanted.
    Overtaken,
}

/// A fact. Those of one dialog come in the order in which they happened, and [`Event::Gone`] is the last.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new call. 100 is sent by the endpoint; answer with `ring`, `accept`, `refuse` or `hang_up`.
    Invited {
        /// The dialog to be.
        dialog: DialogId,
        /// The INVITE.
        request: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// The caller took the INVITE back; 200 and 487 are sent.
    Cancelled {
        /// Which dialog.
        dialog: DialogId,
        /// The CANCEL.
        request: Message,
    },
    /// The time that the INVITE itself allowed (`Expires`, RFC 3261 §13.3.1) is over; 487 is sent.
    Expired {
        /// Which dialog.
        dialog: DialogId,
    },
    /// The first ACK of our latest 2xx came; its body may be the answer to our offer.
    Acknowledged {
        /// Which dialog.
        dialog: DialogId,
        /// The ACK.
        request: Message,
    },
    /// The PRACK of our latest reliable provisional response came (RFC 3262). If that response made the offer, its body is
    /// the answer. The endpoint answers it, unless [`Event::EarlyOffer`] follows.
    Pracked {
        /// Which dialog.
        dialog: DialogId,
        /// The PRACK.
        request: Message,
    },
    /// No PRACK came for a reliable provisional response within 64·T1: 504 is sent.
    PrackMissing {
        /// Which dialog.
        dialog: DialogId,
    },
    /// A new offer before the call is answered, in an UPDATE or PRACK. Answer with `respond`, at once (RFC 3311 §5.2).
    EarlyOffer {
        /// Which dialog.
        dialog: DialogId,
        /// What to answer.
        id: RequestId,
        /// The UPDATE or PRACK.
        request: Message,
    },
    /// No ACK came for our 2xx within 64·T1: the endpoint has sent BYE (RFC 3261 §13.3.1.4).
    AckMissing {
        /// Which dialog.
        dialog: DialogId,
    },
    /// 100–199 to our INVITE, from whichever fork. 100 only says that the next hop has it. A reliable one (RFC 3262) comes
    /// once and in order; it is acknowledged already, unless it offers because our INVITE did not: then call `prack`.
    Progress {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// The first 2xx to our INVITE; call `acknowledge`. A 2xx from any other fork is acknowledged and ended unseen.
    Answered {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// The final 3xx–6xx to our INVITE.
    Refused {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// There will be no answer to our INVITE, or a running dialog has been found dead. Whatever can be done for
    /// the other side's sake (CANCEL, BYE) the endpoint does.
    Failed {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        failure: Failure,
    },
    /// A re-INVITE: an offer, or a request for one if it has no body. Answer with `accept` or `refuse`.
    Reinvited {
        /// Which dialog.
        dialog: DialogId,
        /// The INVITE.
        request: Message,
    },
    /// An UPDATE with an offer. Answer with `accept` or `refuse`, at once (RFC 3311 §5.2).
    Updated {
        /// Which dialog.
        dialog: DialogId,
        /// The UPDATE.
        request: Message,
    },
    /// A re-INVITE was taken back before we answered it; 200 and 487 are sent, and the dialog goes on.
    ReinviteCancelled {
        /// Which dialog.
        dialog: DialogId,
    },
    /// The 2xx to our re-INVITE; call `acknowledge`.
    ReinviteAnswered {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// Our re-INVITE came to nothing; what was agreed before still holds.
    ReinviteRefused {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        refusal: Refusal,
    },
    /// The 2xx to our UPDATE.
    UpdateAnswered {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// Our UPDATE came to nothing; what was agreed before still holds.
    UpdateRefused {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        refusal: Refusal,
    },
    /// The session timer was refreshed (RFC 4028): by our request, whose 2xx this is, or by their UPDATE without body. The
    /// body of a 2xx is the answer to our latest description, offered again; it is acknowledged.
    Refreshed {
        /// Which dialog.
        dialog: DialogId,
        /// The response or the UPDATE.
        message: Message,
    },
    /// Nobody refreshed the session in time (RFC 4028 §10): the endpoint has sent BYE.
    SessionExpired {
        /// Which dialog.
        dialog: DialogId,
    },
    /// BYE came; 200 is sent.
    HungUp {
        /// Which dialog.
        dialog: DialogId,
        /// The BYE.
        request: Message,
    },
    /// REFER came. Take it up with `accept_refer` and tell how it goes with `refer_progress`, or refuse it with `respond`.
    Referred {
        /// Which dialog.
        dialog: DialogId,
        /// What to answer.
        id: RequestId,
        /// The REFER.
        request: Message,
    },
    /// INFO came; answer with `respond`.
    Info {
        /// Which dialog.
        dialog: DialogId,
        /// What to answer.
        id: RequestId,
        /// The INFO.
        request: Message,
    },
    /// NOTIFY came that belongs to no REFER of ours; answer with `respond`.
    Notified {
        /// Which dialog.
        dialog: DialogId,
        /// What to answer.
        id: RequestId,
        /// The NOTIFY.
        request: Message,
    },
    /// Our REFER was accepted (2xx): the other side tries.
    ReferAccepted {
        /// Which dialog.
        dialog: DialogId,
        /// The response.
        response: Message,
    },
    /// Our REFER came to nothing.
    ReferRefused {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        refusal: Refusal,
    },
    /// NOTIFY of our REFER (RFC 3515 §2.4.5); 200 is sent. May come after the end of the call, while the dialog is
    /// not yet gone.
    ReferProgress {
        /// Which dialog.
        dialog: DialogId,
        /// The status line in the body (RFC 3420); `None` if there is none that can be read.
        status: Option<StatusCode>,
        /// Its reason phrase, or the reason of the subscription's end.
        reason: String,
        /// Nothing more will come for this REFER.
        terminated: bool,
        /// The NOTIFY.
        request: Message,
    },
    /// The final response to our INFO.
    InfoAnswered {
        /// Which dialog.
        dialog: DialogId,
        /// 2xx to 6xx.
        response: Message,
    },
    /// There is no final response to our INFO.
    InfoFailed {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        failure: Failure,
    },
    /// OPTIONS outside of a dialog; answer with `respond`, or not at all with `discard`.
    Request {
        /// What to answer.
        id: RequestId,
        /// The request.
        request: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// The final response to our request outside of a dialog, after authentication was tried.
    RequestAnswered {
        /// Which request.
        id: RequestId,
        /// 2xx to 6xx.
        response: Message,
    },
    /// There is no final response to our request outside of a dialog.
    RequestFailed {
        /// Which request.
        id: RequestId,
        /// Why.
        failure: Failure,
    },
    /// The last event of a dialog, exactly once: nothing more will be told of it, and commands to it do nothing.
    Gone {
        /// Which dialog.
        dialog: DialogId,
    },
}

impl Event {
    /// Which dialog it is of; requests outside of one have none.
    pub fn dialog(&self) -> Option<DialogId> {
        match self {
            Self::Invited { dialog, .. }
            | Self::Cancelled { dialog, .. }
            | Self::Expired { dialog, .. }
            | Self::Acknowledged { dialog, .. }
            | Self::Pracked { dialog, .. }
            | Self::PrackMissing { dialog, .. }
            | Self::EarlyOffer { dialog, .. }
            | Self::AckMissing { dialog, .. }
            | Self::Progress { dialog, .. }
            | Self::Answered { dialog, .. }
            | Self::Refused { dialog, .. }
            | Self::Failed { dialog, .. }
            | Self::Reinvited { dialog, .. }
            | Self::Updated { dialog, .. }
            | Self::ReinviteCancelled { dialog, .. }
            | Self::ReinviteAnswered { dialog, .. }
            | Self::ReinviteRefused { dialog, .. }
            | Self::UpdateAnswered { dialog, .. }
            | Self::UpdateRefused { dialog, .. }
            | Self::Refreshed { dialog, .. }
            | Self::SessionExpired { dialog, .. }
            | Self::HungUp { dialog, .. }
            | Self::Referred { dialog, .. }
            | Self::Info { dialog, .. }
            | Self::Notified { dialog, .. }
            | Self::ReferAccepted { dialog, .. }
            | Self::ReferRefused { dialog, .. }
            | Self::ReferProgress { dialog, .. }
            | Self::InfoAnswered { dialog, .. }
            | Self::InfoFailed { dialog, .. }
            | Self::Gone { dialog, .. } => Some(*dialog),
            Self::Request { .. } | Self::RequestAnswered { .. } | Self::RequestFailed { .. } => None,
        }
    }
}
