//! A message has come: which transaction, which dialog, or why not. RFC 3261 §8.2, §9.2, §12.2.2, §17.2.3.
//! ```text
//!   response ----> client transaction ----> usage, owner of the request, or nobody
//!   request
//!     | no Via that could be read -------------------------------> 4xx, 5xx to where it came from
//!     | ACK ------> INVITE transaction, else dialog -------------> usage, or dropped
//!     | seen before ---------------------------------------------> transaction repeats its response
//!     | CANCEL ---> INVITE transaction --------------------------> 200, usage; 481
//!     | malformed, too many, merged, unknown extension … --------> 4xx, 5xx, not remembered
//!     | To has a tag -> dialog ----------------------------------> usage; 481
//!     +-> INVITE: new usage. OPTIONS: owner. Others -------------> 4xx, 501
//! ```

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::policy::Policy;
use super::reply::Reply;
use super::servers::{MergeKey, ServerKey};
use super::usage::{Incoming, Names, Ringing, Usage};
use super::{DialogId, Endpoint, Event, RequestId};
use crate::dialog::Dialog;
use crate::flow::{Flow, Transport};
use crate::transaction::AckReception;
use crate::{Framing, HeaderName, Message, Method, ParseError, Scheme, StatusCode, Via};

impl Endpoint {
    /// Takes one datagram, or one message cut out of a stream.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, wire: Bytes) {
        if wire.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
            // A keep-alive (RFC 5626 §3.5.1 and what came before it).
            return;
        }
        let framing = match flow.transport {
            Transport::Udp => Framing::Datagram,
            Transport::Tcp | Transport::Tls => Framing::Stream,
        };
        match Message::parse(wire, framing) {
            Ok(message) if message.status().is_some() => self.receive_response(now, flow, message),
            Ok(message) => self.receive_request(now, flow, message),
            Err(_) => self.core.dropped.malformed += 1,
        }
    }

    /// Whether this request has come before, and its transaction still lives.
    pub fn has_seen(&self, request: &Message) -> bool {
        let Ok(via) = request.via() else { return false };
        let method = request.method().unwrap_or(Method::Extension(""));
        let key = ServerKey::of(request, &via, method);
        key.is_some_and(|key| self.core.servers.find(&key).is_some())
    }

    /// Whether this request is of a dialog or a transaction that lives.
    pub fn knows(&self, request: &Message) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let within = tag.is_some_and(|tag| matches!(self.place_within(request, &tag), Place::Dialog(_)));
        let cancelled = || {
            let invite = request.via().ok().and_then(|via| ServerKey::of(request, &via, Method::Invite));
            request.method() == Some(Method::Cancel)
                && invite.is_some_and(|key| self.core.servers.find(&key).is_some())
        };
        within || self.has_seen(request) || cancelled()
    }

    fn receive_response(&mut self, now: Instant, flow: Flow, response: Message) {
        if response.check().is_err() {
            self.core.dropped.malformed += 1;
            return;
        }
        if let Some(answer) = self.core.receive_response(now, flow, response) {
            self.connections.extend(flow.connection);
            self.tell_answer(now, answer);
        }
    }

    fn receive_request(&mut self, now: Instant, flow: Flow, request: Message) {
        let method = request.method().unwrap_or(Method::Extension(""));
        let Ok(via) = request.via() else {
            let fault = request.check().err().unwrap_or(ParseError::Missing(HeaderName::Via));
            return self.core.refuse_malformed(now, &request, flow, fault);
        };
        let key = ServerKey::of(&request, &via, method);
        if method == Method::Ack {
            return self.receive_ack(now, &request, key);
        }
        if let Some(id) = key.as_ref().and_then(|key| self.core.servers.find(key)) {
            if let Some(entry) = self.core.servers.get_mut(id) {
                entry.automaton.handle_repetition();
                self.core.attend_server(id);
            }
            return;
        }
        if let Err(fault) = request.check() {
            return self.core.refuse_malformed(now, &request, flow, fault);
        }
        let Some(key) = key else {
            return self.core.answer_statelessly(&request, flow, StatusCode::BAD_REQUEST);
        };
        if method == Method::Cancel {
            return self.receive_cancel(now, flow, request, &via, key);
        }
        match self.place(flow, &request) {
            Place::Refused(reply) => self.core.answer_statelessly(&request, flow, reply),
            Place::Dialog(id) => self.request_within(now, flow, id, request, &via, key),
            Place::Call => self.new_call(now, flow, request, &via, key),
            Place::Owner => {
                let request = Arc::new(request);
                let server = self.core.open(now, request.clone(), &via, key, None, flow);
                self.core.await_owner(now, server);
                let id = RequestId(server.0);
                self.core.tell(Event::Request { id, request: (*request).clone(), flow });
            }
        }
    }

    /// Finds out whose a request is, or why nobody wants it.
    fn place(&mut self, flow: Flow, request: &Message) -> Place {
        let within = request.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let (held, limits) = (self.core.servers.len(), self.core.config.limits);
        let room = limits.server_transactions * if within.is_some() { 2 } else { 1 };
        if held >= room {
            self.core.dropped.overload += 1;
            let seconds = limits.retry_after.as_secs().to_string();
            let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE);
            return Place::Refused(reply.header(HeaderName::RetryAfter, seconds));
        }
        let is_secure = flow.transport == Transport::Tls;
        if request.request_uri().is_ok_and(|uri| uri.scheme() == Scheme::Sips) && !is_secure {
            return Place::refused(StatusCode::UNSUPPORTED_URI_SCHEME, "sips is for TLS");
        }
        let place = match within {
            Some(tag) => self.place_within(request, &tag),
            None => self.place_outside(request),
        };
        let policy = match &place {
            Place::Dialog(id) => self.usages.get(id).map(|usage| usage.policy),
            // Whose recordings are taken the owner says when it knows who calls.
            Place::Call => Some(Policy::of_strangers()),
            Place::Owner => Some(Policy::default()),
            Place::Refused(_) => None,
        };
        policy.and_then(|policy| policy.objection(request)).map_or(place, Place::Refused)
    }

    fn place_within(&self, request: &Message, tag: &str) -> Place {
        let known = self.by_tag.get(tag).and_then(|id| self.usages.get(id));
        match known.filter(|usage| request.call_id() == Ok(&usage.call_id)) {
            Some(usage) => Place::Dialog(usage.id),
            None => Place::Refused(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST.into()),
        }
    }

    fn place_outside(&self, request: &Message) -> Place {
        if MergeKey::of(request).is_some_and(|key| self.core.servers.is_merged(&key)) {
            return Place::refused(StatusCode::LOOP_DETECTED, "the same request came another way");
        }
        match request.method().unwrap_or(Method::Extension("")) {
            // The last hop may take a request with none left, but we are about to call somebody else for it.
            Method::Invite if request.max_forwards() == Ok(Some(0)) => {
                Place::Refused(StatusCode::TOO_MANY_HOPS.into())
            }
            Method::Invite if has_bad_replaces(request) => {
                Place::refused(StatusCode::BAD_REQUEST, "Replaces is malformed, there twice, or with Join")
            }
            Method::Invite => Place::Call,
            Method::Options => Place::Owner,
            Method::Refer => Place::refused(StatusCode::FORBIDDEN, "REFER only within a dialog"),
            Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Notify
            | Method::Info
            | Method::Prack
            | Method::Update => Place::Refused(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST.into()),
            Method::Register | Method::Subscribe | Method::Message | Method::Publish => {
                Place::Refused(StatusCode::METHOD_NOT_ALLOWED.into())
            }
            Method::Extension(_) => Place::Refused(StatusCode::NOT_IMPLEMENTED.into()),
        }
    }

    fn request_within(
        &mut self,
        now: Instant,
        flow: Flow,
        id: DialogId,
        request: Message,
        via: &Via,
        key: ServerKey,
    ) {
        let request = Arc::new(request);
        self.connections.extend(flow.connection);
        let server = self.core.open(now, request.clone(), via, key, Some(id), flow);
        let incoming = Incoming { server, request, flow };
        self.with(id, |usage, core| usage.handle_request(now, core, incoming));
    }

    fn new_call(&mut self, now: Instant, flow: Flow, request: Message, via: &Via, key: ServerKey) {
        let tag: Arc<str> = self.core.token().into();
        let to = request.to().map(|to| to.with_tag(&tag));
        let dialog = to.ok().and_then(|to| Dialog::of_callee(&request, to, flow));
        let Some(dialog) = dialog else {
            let reply =
                Reply::new(StatusCode::BAD_REQUEST).warning("no Contact or Record-Route that can be reached");
            return self.core.answer_statelessly(&request, flow, reply);
        };
        let request = Arc::new(request);
        let id = DialogId(self.core.next_id());
        self.connections.extend(flow.connection);
        let server = self.core.open(now, request.clone(), via, key, Some(id), flow);
        self.core.set_tag(server, &tag);
        let uri = request.request_uri().ok();
        let user = uri.as_ref().and_then(|uri| uri.user_text());
        let contact = self.core.locals.contact(flow, user.as_deref());
        let call_id = dialog.call_id().clone();
        let ringing = Ringing::new(now, dialog, server, request.clone());
        self.core.tell(Event::Invited { dialog: id, request: (*request).clone(), flow });
        self.insert(Usage::callee(Names { id, call_id, local_tag: tag, contact }, ringing));
    }

    /// An ACK never gets an answer (RFC 3261 §17).
    fn receive_ack(&mut self, now: Instant, request: &Message, key: Option<ServerKey>) {
        if request.check().is_err() {
            self.core.dropped.malformed += 1;
            return;
        }
        if let Some(id) = key.and_then(|key| self.core.servers.find(&key))
            && self.core.receive_ack(now, id) == AckReception::Absorb
        {
            return;
        }
        let tag = request.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let mut is_known = false;
        if let Place::Dialog(id) = self.place_within(request, &tag) {
            self.with(id, |usage, core| is_known = usage.handle_ack(now, core, request));
        }
        if !is_known {
            self.core.dropped.stray_acks += 1;
        }
    }

    /// RFC 3261 §9.2: answered whatever becomes of the INVITE, and with the same tag.
    fn receive_cancel(&mut self, now: Instant, flow: Flow, request: Message, via: &Via, key: ServerKey) {
        let invite = ServerKey::of(&request, via, Method::Invite);
        let Some(invite) = invite.and_then(|key| self.core.servers.find(&key)) else {
            let unknown = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.core.answer_statelessly(&request, flow, unknown);
        };
        let request = Arc::new(request);
        let cancel = self.core.open(now, request.clone(), via, key, None, flow);
        let entry = self.core.servers.get(invite);
        if let Some(tag) = entry.and_then(|entry| entry.tag.clone()) {
            self.core.set_tag(cancel, &tag);
        }
        let pending = self.core.servers.get(invite).filter(|entry| entry.automaton.is_pending());
        let dialog = pending.and_then(|entry| entry.dialog);
        self.core.finish(now, cancel, StatusCode::OK);
        if let Some(dialog) = dialog {
            self.with(dialog, |usage, core| usage.handle_cancel(now, core, invite, &request));
        }
    }
}

/// RFC 3891 §3: one that can be read, and no Join beside it.
fn has_bad_replaces(request: &Message) -> bool {
    let count = request.headers(HeaderName::Replaces).count();
    count > 1 || request.replaces().is_err() || (count == 1 && request.header(HeaderName::Join).is_some())
}

/// Whose a request is.
enum Place {
    Dialog(DialogId),
    Call,
    Owner,
    Refused(Reply),
}

impl Place {
    fn refused(status: StatusCode, why: &str) -> Self {
        Self::Refused(Reply::new(status).warning(why))
    }
}
