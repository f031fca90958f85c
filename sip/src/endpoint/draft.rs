//! Requests of ours: what stays the same from try to try ([`Draft`]), and one try of it on its way ([`Sent`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::authenticator::Tries;
use super::clients::Path;
use crate::auth::Credentials;
use crate::dialog::Lines;
use crate::transaction::Wire;
use crate::{HeaderName, Message, MessageWriter, Method, NameAddr, Uri, Via};

/// Header lines of the owner's choice: name and value. Those that make a message what it is (Via, From, To, Call-ID, CSeq,
/// Contact, Route and their like) are the endpoint's own and left out when given here, but for Contact in a redirection.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// The body of a message: to this crate bytes and a media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The value of Content-Type.
    pub content_type: Cow<'static, str>,
    /// The bytes.
    pub content: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(content: impl Into<Bytes>) -> Self {
        Self { content_type: "application/sdp".into(), content: content.into() }
    }
}

/// Methods that are answered, for `Allow`.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK";
/// Event packages, for `Allow-Events`.
pub(crate) const ALLOW_EVENTS: &str = "refer";

/// A request without what makes it unique: the hop, the number and the answers to challenges.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) method: Method<'static>,
    pub(crate) uri: Uri,
    pub(crate) routes: Vec<NameAddr>,
    pub(crate) from: NameAddr,
    pub(crate) to: NameAddr,
    pub(crate) call_id: Arc<str>,
    pub(crate) contact: Option<NameAddr>,
    pub(crate) max_forwards: u8,
    /// What the extensions of the dialog want said: Supported, Require, Session-Expires …
    pub(crate) extensions: Lines,
    pub(crate) headers: Headers,
    pub(crate) body: Option<Body>,
    /// For requests that no dialog answers challenges for.
    pub(crate) credentials: Option<Arc<Credentials>>,
}

/// One request as it went out.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) draft: Arc<Draft>,
    pub(crate) path: Path,
    pub(crate) via: Via,
    pub(crate) branch: Arc<str>,
    pub(crate) seq: u32,
    pub(crate) authorization: Vec<(HeaderName, String)>,
    pub(crate) tries: Tries,
    /// Timer B or F, where it is not 64·T1.
    pub(crate) give_up: Option<Duration>,
}

impl Sent {
    /// The whole request.
    pub(crate) fn write(&self, user_agent: &str) -> Wire {
        let Draft { method, contact, headers, body, .. } = &*self.draft;
        let mut writer = self.begin(*method, &self.draft.to);
        if let Some(contact) = contact {
            writer.header(HeaderName::Contact, contact);
        }
        for (name, answer) in &self.authorization {
            writer.header(*name, answer);
        }
        write_abilities(&mut writer, *method);
        for (name, value) in &self.draft.extensions {
            writer.header(*name, value);
        }
        if !user_agent.is_empty() {
            writer.header(HeaderName::UserAgent, user_agent);
        }
        write_headers(&mut writer, headers);
        if let Some(body) = body {
            writer.body(&body.content_type, body.content.clone());
        }
        writer.finish()
    }

    /// The ACK of a refusal: the INVITE's own branch, and the To of the response (RFC 3261 §17.1.1.3).
    pub(crate) fn write_ack(&self, refusal: &Message) -> Wire {
        let to = refusal.to().unwrap_or_else(|_| self.draft.to.clone());
        self.begin(Method::Ack, &to).finish()
    }

    /// What takes this request back: RFC 3261 §9.1. It goes the same way with the same branch and number.
    pub(crate) fn cancel(&self, headers: Headers) -> Self {
        let draft = Draft {
            method: Method::Cancel,
            contact: None,
            extensions: Lines::new(),
            headers,
            body: None,
            credentials: None,
            ..(*self.draft).clone()
        };
        Self {
            draft: Arc::new(draft),
            authorization: Vec::new(),
            tries: Tries::default(),
            give_up: None,
            ..self.clone()
        }
    }

    fn begin(&self, method: Method<'_>, to: &NameAddr) -> MessageWriter {
        let Draft { uri, routes, from, call_id, max_forwards, .. } = &*self.draft;
        let mut writer = MessageWriter::request(method, uri);
        writer.header(HeaderName::Via, &self.via).header(HeaderName::MaxForwards, max_forwards);
        for route in routes {
            writer.header(HeaderName::Route, route);
        }
        writer
            .header(HeaderName::From, from)
            .header(HeaderName::To, to)
            .header(HeaderName::CallId, call_id)
            .header(HeaderName::CSeq, format_args!("{} {method}", self.seq));
        writer
    }
}

/// What we can do, in the messages that tell it (RFC 3261 §20.5; RFC 6665 §8.2.2). `Supported` depends on the dialog.
pub(crate) fn write_abilities(writer: &mut MessageWriter, method: Method<'_>) {
    if matches!(method, Method::Invite | Method::Update | Method::Options) {
        writer.header(HeaderName::Allow, ALLOW).header(HeaderName::AllowEvents, ALLOW_EVENTS);
    }
}

/// Writes the owner's headers; those that are not theirs to write are left out.
pub(crate) fn write_headers(writer: &mut MessageWriter, headers: &Headers) {
    for (name, value) in headers {
        // The only error is a name that may not be written, and leaving it out is what was promised.
        let _ = writer.extension_header(name, value);
    }
}
