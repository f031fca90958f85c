//! Handing the caller over by REFER (RFC 3515), told to its final state.
//! ```text
//!  REFER sent: [Requested] -- 2xx --> [Accepted] -- NOTIFY 18x --> [Accepted, ringing]
//!                  |                      |
//!                  | 3xx..6xx, no answer  | NOTIFY 3xx..6xx, no final NOTIFY in time
//!                  v                      v
//!                failed: told, and the call goes on            NOTIFY 2xx, or BYE: transferred, the call ends
//! ```

use std::time::Instant;

use super::command::{CommandError, OnFailure, TransferCall, TransferStyle, TransferTarget};
use super::engine::{EngineEvent, TransferState, TransferStep};
use super::event::{EndReason, EventKind};
use super::inbound::reason_header;
use super::number::{self, NotDialable};
use super::one::{Call, Farewell, Hands, State};
use super::record::Layer;
use super::telling;
use super::view::Status;

/// A transfer under way.
pub(super) struct Transfer {
    pub(super) give_up: Instant,
    state: Progress,
    /// The engine's own name for its request.
    re: Option<String>,
    on_failure: OnFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Requested,
    Accepted,
}

impl Transfer {
    pub(super) fn is_accepted(&self) -> bool {
        self.state == Progress::Accepted
    }
}

impl Call {
    /// Asked for by the API.
    pub(super) fn transfer_ordered(
        &mut self,
        hands: &mut Hands<'_>,
        ordered: TransferCall,
    ) -> Result<(), CommandError> {
        self.may_transfer()?;
        let to = target(&ordered.to)?;
        match ordered.style {
            TransferStyle::Blind | TransferStyle::Auto => {}
            TransferStyle::Attended | TransferStyle::Bridge => {
                let problem = "this provider is transferred by REFER: write `blind` or `auto`";
                return Err(CommandError::TransferUnsupported { field: "style", problem });
            }
        }
        if ordered.announce.is_some() {
            let problem = "nothing can be whispered before a blind transfer";
            return Err(CommandError::TransferUnsupported { field: "announce", problem });
        }
        if !ordered.then.is_empty() || ordered.on_failure == OnFailure::Next {
            let problem = "further targets need bridged legs: leave `then` empty";
            return Err(CommandError::TransferUnsupported { field: "then", problem });
        }
        if ordered.assist_after {
            let problem = "the call leaves the edge with a blind transfer";
            return Err(CommandError::TransferUnsupported { field: "assist_after", problem });
        }
        let refer_to = self.destination(hands, to).map_err(|error| error.at("to"))?;
        if let Some(context) = ordered.context {
            self.story.change(hands.outputs, |view| view.context.merge(context));
        }
        self.refer(hands, &refer_to, ordered.reason, None, ordered.on_failure);
        Ok(())
    }

    /// Asked for by the engine; it hears of each step.
    pub(super) fn engine_transfers(
        &mut self,
        hands: &mut Hands<'_>,
        id: Option<String>,
        to: &str,
        reason: Option<String>,
    ) {
        if let Err(error) = self.may_transfer() {
            return self.refuse_engine(hands, id, error.code(), &error.to_string());
        }
        match self.destination(hands, to) {
            Ok(refer_to) => self.refer(hands, &refer_to, reason, id, OnFailure::ReturnToAi),
            Err(error) => self.refuse_engine(hands, id, error.code(), &error.to_string()),
        }
    }

    /// The far end asks us to call somebody (REFER). That takes a second leg, which this edge does not have: the answer
    /// says so, and the call goes on.
    pub(super) fn asked_to_transfer(
        &mut self,
        hands: &mut Hands<'_>,
        id: sip::RequestId,
        request: &sip::Message,
    ) {
        const WHY: &str = "this edge does not place calls for others";
        let scheme = request.refer_to().ok().flatten().map(|to| to.uri().scheme());
        let status = match scheme {
            Some(sip::Scheme::Sip | sip::Scheme::Sips | sip::Scheme::Tel) => sip::StatusCode::DECLINE,
            Some(sip::Scheme::Other) | None => sip::StatusCode::UNSUPPORTED_URI_SCHEME,
        };
        let headers: sip::Headers = vec![
            ("Reason".into(), reason_header(status, WHY)),
            ("Warning".into(), format!("399 {} \"{WHY}\"", hands.settings.sip_host)),
        ];
        hands.endpoint.respond(hands.now, id, status, headers, None);
        self.milestone(hands, Layer::Signalling, "transfer asked by the far end", Some("refused".to_owned()));
    }

    /// Where the caller is to be sent, if the trunk may dial it.
    pub(super) fn destination(&self, hands: &mut Hands<'_>, to: &str) -> Result<sip::Uri, NotDialable> {
        let destination = number::destination(to, &self.provider.trunk);
        if let Err(error) = &destination
            && error.is_forbidden()
        {
            *hands.forbidden += 1;
            self.milestone(hands, Layer::Control, "destination forbidden", Some(error.to_string()));
        }
        destination
    }

    fn may_transfer(&self) -> Result<(), CommandError> {
        match self.state {
            State::Talking { .. } if self.transfer.is_none() => Ok(()),
            State::Talking { .. } => Err(CommandError::TransferUnderWay),
            State::Draining { .. } | State::Announcing { .. } | State::Ending { .. } => {
                Err(CommandError::CallAlreadyEnded)
            }
            State::Ringing { .. } | State::Confirming | State::Opening { .. } | State::Calling { .. } => {
                Err(CommandError::CallNotAnswered)
            }
        }
    }

    fn refer(
        &mut self,
        hands: &mut Hands<'_>,
        refer_to: &sip::Uri,
        reason: Option<String>,
        re: Option<String>,
        on_failure: OnFailure,
    ) {
        let Some(dialog) = self.leg.dialog else { return };
        let headers = self.story.view().context.to_sip(self.id);
        hands.endpoint.refer(hands.now, dialog, &sip::NameAddr::new(refer_to.clone()), headers);
        let give_up = hands.now + self.provider.trunk.transfer_timeout;
        self.transfer = Some(Transfer { give_up, state: Progress::Requested, re, on_failure });
        self.story.change(hands.outputs, |view| view.status = Status::Transferring);
        self.milestone(hands, Layer::Control, "transfer requested", reason);
        self.step(hands, TransferState::Requested, None);
    }

    /// The far end took the REFER up.
    pub(super) fn refer_accepted(&mut self, hands: &mut Hands<'_>) {
        let Some(transfer) = self.transfer.as_mut() else { return };
        transfer.state = Progress::Accepted;
        self.milestone(hands, Layer::Signalling, "transfer accepted", None);
        self.step(hands, TransferState::Accepted, None);
    }

    /// The far end will not, or did not answer the REFER.
    pub(super) fn refer_refused(&mut self, hands: &mut Hands<'_>, refusal: &sip::Refusal) {
        let (code, told, raw) = match refusal {
            sip::Refusal::Response(response) => {
                ("transfer.refused", status_line(response), telling::raw(response))
            }
            sip::Refusal::Failed(failure) => {
                let raw = telling::raw_code("transfer.timeout", &failure.to_string());
                ("transfer.timeout", None, raw)
            }
            // REFER is sent without asking what they have; it is only told of UPDATE.
            sip::Refusal::Overtaken | sip::Refusal::Unsupported => {
                let raw = telling::raw_code("transfer.overtaken", "the dialog had other business first");
                ("transfer.overtaken", None, raw)
            }
        };
        self.transfer_failed(hands, code, told, raw);
    }

    /// NOTIFY with the state of the new call.
    pub(super) fn refer_progressed(
        &mut self,
        hands: &mut Hands<'_>,
        status: Option<sip::StatusCode>,
        reason: &str,
        terminated: bool,
        notify: &sip::Message,
    ) {
        // RFC 3515 §2.4.5 asks for a status line; without one only the end of the subscription is news.
        let status = status.map_or(100, sip::StatusCode::code);
        let told = Some((status, reason.to_owned()));
        self.milestone(hands, Layer::Signalling, "transfer progress", Some(format!("{status} {reason}")));
        match status {
            200..300 => self.transferred(hands, telling::raw(notify), Farewell::hang_up("Transferred")),
            300.. => self.transfer_failed(hands, "transfer.failed", told, telling::raw(notify)),
            // RFC 6665 §4.4.1: no more will come, and the last word was "trying".
            0..200 if terminated => {
                self.transfer_failed(hands, "transfer.no_outcome", told, telling::raw(notify));
            }
            101..200 => self.step(hands, TransferState::Ringing, told),
            0..=100 => {}
        }
    }

    /// From REFER to now no final NOTIFY came.
    pub(super) fn transfer_timed_out(&mut self, hands: &mut Hands<'_>) {
        let raw = telling::raw_code("transfer.timeout", "no final NOTIFY came in time");
        self.transfer_failed(hands, "transfer.timeout", None, raw);
    }

    /// The new party has the caller. A success that comes after we gave up waiting is one, too.
    pub(super) fn transferred(
        &mut self,
        hands: &mut Hands<'_>,
        raw: Box<serde_json::value::RawValue>,
        farewell: Farewell,
    ) {
        let State::Talking { .. } = self.state else { return };
        self.step(hands, TransferState::Transferred, None);
        self.transfer = None;
        self.story.tell(hands.now, hands.outputs, EventKind::Transferred, raw);
        self.end(hands, EndReason::Transferred, telling::nothing(), farewell);
    }

    fn transfer_failed(
        &mut self,
        hands: &mut Hands<'_>,
        code: &str,
        sip: Option<(u16, String)>,
        raw: Box<serde_json::value::RawValue>,
    ) {
        if self.transfer.is_none() {
            return;
        }
        self.milestone(hands, Layer::Signalling, "transfer failed", Some(code.to_owned()));
        self.step(hands, TransferState::Failed, sip);
        let Some(transfer) = self.transfer.take() else { return };
        let status = if self.leg.held { Status::Held } else { Status::Answered };
        self.story.change(hands.outputs, |view| view.status = status);
        self.story.tell(hands.now, hands.outputs, EventKind::Error, raw);
        match transfer.on_failure {
            OnFailure::ReturnToAi | OnFailure::Next => {}
            OnFailure::HangUp => {
                let farewell = Farewell::hang_up("Transfer failed");
                self.end(hands, EndReason::TransferFailed, telling::nothing(), farewell);
            }
        }
    }

    fn step(&self, hands: &mut Hands<'_>, state: TransferState, sip: Option<(u16, String)>) {
        let re = self.transfer.as_ref().and_then(|transfer| transfer.re.clone());
        self.tell_engine(hands, EngineEvent::Transfer(TransferStep { re, state, sip }));
    }
}

fn status_line(response: &sip::Message) -> Option<(u16, String)> {
    match response.start_line() {
        sip::StartLine::Response { status, reason } => Some((status.code(), reason.into_owned())),
        sip::StartLine::Request { .. } => None,
    }
}

/// The one field that a SIP trunk can dial.
fn target(to: &TransferTarget) -> Result<&str, CommandError> {
    let TransferTarget { number, sip_uri, queue_id, agent_id, entry_point_id, flow_id } = to;
    let platform = [
        ("to.queue_id", queue_id),
        ("to.agent_id", agent_id),
        ("to.entry_point_id", entry_point_id),
        ("to.flow_id", flow_id),
    ];
    if let Some((field, _)) = platform.into_iter().find(|(_, value)| value.is_some()) {
        let problem = "a SIP trunk has no queues, agents or flows: write `number` or `sip_uri`";
        return Err(CommandError::TransferUnsupported { field, problem });
    }
    match (number, sip_uri) {
        (Some(number), None) => Ok(number),
        (None, Some(uri)) => Ok(uri),
        (Some(_), Some(_)) | (None, None) => {
            let problem = "write exactly one of `number` and `sip_uri`".to_owned();
            Err(CommandError::Invalid { field: "to", problem })
        }
    }
}
