//! Requests that begin something: an INVITE of ours, or a request outside of any dialog.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authenticator::Authenticator;
use super::clients::Purpose;
use super::draft::{Body, Draft, Headers};
use super::policy::Policy;
use super::sending::{Answer, Attempt, MAX_FORWARDS, Way};
use super::usage::{Calling, Names, Usage, invite_extensions};
use super::{DialogId, Endpoint, Event, Failure, RequestId};
use crate::auth::Credentials;
use crate::dialog::{Lines, SessionTimer};
use crate::flow::Target;
use crate::{HeaderName, Method, NameAddr, Uri};

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Invite {
    /// The first hop.
    pub target: Target,
    /// Who is called.
    pub request_uri: Uri,
    /// Routes to go before `request_uri`, the first of them being at `target`.
    pub routes: Vec<NameAddr>,
    /// Who calls. A tag in it is replaced.
    pub from: NameAddr,
    /// Who is called, for people to read. A tag in it is kept out.
    pub to: NameAddr,
    /// The user part of Contact; that of `from` if `None`.
    pub contact_user: Option<String>,
    /// For 401 and 407, also to later requests of the dialog.
    pub credentials: Option<Credentials>,
    /// Further headers.
    pub headers: Headers,
    /// The offer, if we make it.
    pub body: Option<Body>,
    /// How long to wait for any response at all, where 64·T1 is too long. Afterwards [`Event::Failed`] is told at
    /// once, and whoever answers all the same is sent CANCEL, or ACK and BYE.
    pub timer_b: Option<Duration>,
    /// Written as `Expires`: how long the other side shall ring. The owner's own clock for it is the owner's.
    pub expires: Option<Duration>,
    /// Hops that the INVITE may take.
    pub max_forwards: u8,
    /// Which extensions the dialog may use.
    pub policy: Policy,
}

impl Invite {
    /// A call with neither body nor anything else that can be left out.
    pub fn new(target: Target, request_uri: Uri, from: NameAddr, to: NameAddr) -> Self {
        Self {
            target,
            request_uri,
            routes: Vec::new(),
            from,
            to,
            contact_user: None,
            credentials: None,
            headers: Headers::new(),
            body: None,
            timer_b: None,
            expires: None,
            max_forwards: MAX_FORWARDS,
            policy: Policy::default(),
        }
    }
}

/// A request outside of any dialog.
#[derive(Debug, Clone)]
pub struct OutOfDialog {
    /// The first hop.
    pub target: Target,
    /// OPTIONS, for now.
    pub method: Method<'static>,
    /// Who is asked.
    pub request_uri: Uri,
    /// Who asks. A tag in it is replaced.
    pub from: NameAddr,
    /// Who is asked, for people to read.
    pub to: NameAddr,
    /// For 401 and 407.
    pub credentials: Option<Credentials>,
    /// Further headers.
    pub headers: Headers,
    /// The body.
    pub body: Option<Body>,
    /// How long to wait for the final response; 64·T1 if `None`.
    pub timeout: Option<Duration>,
}

impl Endpoint {
    /// Makes a call. [`Event::Progress`] may follow, then [`Event::Answered`], [`Event::Refused`] or [`Event::Failed`].
    pub fn invite(&mut self, now: Instant, invite: Invite) -> DialogId {
        let core = &mut self.core;
        let id = DialogId(core.next_id());
        let tag: Arc<str> = core.token().into();
        let call_id: Arc<str> = format!("{}{}", core.token(), core.token()).into();
        let Invite { target, request_uri, routes, from, to, headers, body, timer_b, max_forwards, .. } =
            invite;
        let user = invite.contact_user.or_else(|| from.uri().user_text().map(Cow::into_owned));
        let way = Way { target, connection: None, near: None };
        let Some(contact) = core.contact_towards(way, user.as_deref()) else {
            core.tell(Event::Failed { dialog: id, failure: Failure::Transport });
            core.tell(Event::Gone { dialog: id });
            return id;
        };
        let (policy, timer) = (invite.policy, SessionTimer::new(invite.policy.session_timers));
        let credentials = invite.credentials.map(Arc::new);
        let mut headers = headers;
        if let Some(expires) = invite.expires {
            headers.push((HeaderName::Expires.as_str().into(), expires.as_secs().to_string()));
        }
        let draft = Draft {
            method: Method::Invite,
            uri: request_uri.without_headers(),
            routes,
            from: from.with_tag(&tag),
            to: NameAddr::new(to.uri().clone()).with_display(to.display().unwrap_or_default()),
            call_id: call_id.clone(),
            contact: Some(contact.clone()),
            max_forwards,
            extensions: invite_extensions(policy, &timer),
            headers,
            body,
            credentials: credentials.clone(),
        };
        let mut authenticator = Authenticator::new(credentials);
        let give_up = Some(core.invite_patience(timer_b));
        let attempt = Attempt { give_up, ..Attempt::first(FIRST_SEQ, way, Purpose::Invite(id)) };
        let client = core
            .send(now, Arc::new(draft), attempt, Some(&mut authenticator))
            .expect("there was a listener for the Contact");
        let calling = Calling::new(now, client, timer_b);
        let names = Names { id, call_id, local_tag: tag, contact };
        self.insert(Usage::caller(names, policy, authenticator, calling));
        id
    }

    /// Sends a request outside of any dialog. [`Event::RequestAnswered`] or [`Event::RequestFailed`] follows.
    pub fn request(&mut self, now: Instant, request: OutOfDialog) -> RequestId {
        let core = &mut self.core;
        let id = RequestId(core.next_id());
        let OutOfDialog { target, method, request_uri, from, to, credentials, headers, body, timeout } =
            request;
        let way = Way { target, connection: None, near: None };
        let tag = core.token();
        let draft = Draft {
            method,
            uri: request_uri.without_headers(),
            routes: Vec::new(),
            contact: core.contact_towards(way, from.uri().user_text().as_deref()),
            from: from.with_tag(&tag),
            to,
            call_id: format!("{}{}", core.token(), core.token()).into(),
            max_forwards: MAX_FORWARDS,
            extensions: Lines::new(),
            headers,
            body,
            credentials: credentials.map(Arc::new),
        };
        let attempt = Attempt { give_up: timeout, ..Attempt::first(FIRST_SEQ, way, Purpose::Request(id)) };
        if core.send(now, Arc::new(draft), attempt, None).is_none() {
            core.tell(Event::RequestFailed { id, failure: Failure::Transport });
        }
        id
    }

    pub(super) fn request_answered(&mut self, now: Instant, id: RequestId, answer: Answer) {
        if answer.status.is_provisional() || self.core.answer_challenge(now, &answer) {
            return;
        }
        self.core.tell(Event::RequestAnswered { id, response: answer.response });
    }
}

/// Where our CSeq begins (RFC 3261 §8.1.1.5 leaves it open).
const FIRST_SEQ: u32 = 1;
