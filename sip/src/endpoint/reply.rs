//! Responses of ours: RFC 3261 §8.2.6.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::draft::{ALLOW, Body, Headers, write_abilities, write_headers};
use super::policy::Policy;
use crate::transaction::Wire;
use crate::{HeaderName, HeaderValue, Message, MessageWriter, Method, NameAddr, StatusCode, Warning};

/// Who warns: a pseudonym is allowed (RFC 3261 §20.43) and tells nothing about the network.
const WARN_AGENT: &str = "edge";

/// The first line of a response: a code, and a phrase where the usual one says too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine {
    /// The code.
    pub status: StatusCode,
    /// The phrase; `None` for the usual one.
    pub reason: Option<String>,
}

impl StatusLine {
    /// A code with a phrase of its own. Control characters in it are left out.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: Some(reason.into()) }
    }
}

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.status)?;
        let reason = self.reason.as_deref().unwrap_or(self.status.reason_phrase());
        reason.chars().filter(|c| !c.is_control()).try_for_each(|c| write!(f, "{c}"))
    }
}

impl From<StatusCode> for StatusLine {
    fn from(status: StatusCode) -> Self {
        Self { status, reason: None }
    }
}

/// A response without what it takes from its request.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    line: StatusLine,
    contact: Option<NameAddr>,
    warning: Option<String>,
    policy: Policy,
    headers: Headers,
    body: Option<Body>,
}

impl From<StatusCode> for Reply {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

impl Reply {
    pub(crate) fn new(line: impl Into<StatusLine>) -> Self {
        Self {
            line: line.into(),
            contact: None,
            warning: None,
            policy: Policy::default(),
            headers: Headers::new(),
            body: None,
        }
    }

    pub(crate) fn contact(mut self, contact: NameAddr) -> Self {
        self.contact = Some(contact);
        self
    }

    /// Says in words what is wrong (RFC 3261 §20.43, code 399).
    pub(crate) fn warning(mut self, text: impl Into<String>) -> Self {
        self.warning = Some(text.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.as_str().into(), value.into()));
        self
    }

    /// What the dialog may use, where that is not the usual.
    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub(crate) fn headers(mut self, headers: Headers) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(crate) fn body(mut self, body: Option<Body>) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn body_ref(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    pub(crate) fn has_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.content.is_empty())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.line.status
    }

    /// The whole response. `tag` is for the To of a request that has none; 100 never gets one.
    pub(crate) fn write(
        self,
        request: &Message,
        source: SocketAddr,
        tag: Option<&str>,
        server: &str,
    ) -> Wire {
        let Self { line: StatusLine { status, reason }, contact, warning, policy, headers, body } = self;
        let method = request.method().unwrap_or(Method::Options);
        let is_trying = status == StatusCode::TRYING;
        let mut writer =
            MessageWriter::response_to(request, status, source, if is_trying { None } else { tag });
        if is_trying {
            writer.copy_header(request, HeaderName::Timestamp);
        } else if status.code() < 300 && method == Method::Invite {
            writer.copy_header(request, HeaderName::RecordRoute);
        }
        if let Some(contact) = contact {
            writer.header(HeaderName::Contact, contact);
        }
        if status.is_success() || is_reliable(&headers) {
            write_abilities(&mut writer, method);
            if matches!(method, Method::Invite | Method::Update | Method::Options) {
                writer.header(HeaderName::Supported, policy.supported());
            }
        } else if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            writer.header(HeaderName::Allow, ALLOW);
        }
        if let Some(text) = warning {
            writer.header(HeaderName::Warning, Warning { code: 399, agent: WARN_AGENT.into(), text });
        }
        if !server.is_empty() && !is_trying {
            writer.header(HeaderName::Server, server);
        }
        let is_redirection = (300..400).contains(&status.code());
        for (_, value) in
            headers.iter().filter(|(name, _)| is_redirection && name.eq_ignore_ascii_case("Contact"))
        {
            writer.header(HeaderName::Contact, value);
        }
        write_headers(&mut writer, &headers);
        if let Some(body) = body {
            writer.body(&body.content_type, body.content);
        }
        let wire = writer.finish();
        match reason {
            Some(reason) => with_reason(&wire, status, &reason),
            None => wire,
        }
    }
}

/// A reliable provisional response makes a dialog in which offers may follow at once: it says what we can do.
fn is_reliable(headers: &Headers) -> bool {
    headers.iter().any(|(name, _)| name == HeaderName::RSeq.as_str())
}

/// The same response with another phrase.
fn with_reason(wire: &Bytes, status: StatusCode, reason: &str) -> Bytes {
    let end_of_line = wire.iter().position(|&byte| byte == b'\r').unwrap_or(wire.len());
    let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    let mut changed = BytesMut::with_capacity(wire.len() + reason.len());
    changed.put_slice(format!("SIP/2.0 {status} {reason}").as_bytes());
    changed.put_slice(&wire[end_of_line..]);
    changed.freeze()
}

/// The tag of a response that nobody remembers: the same for every repetition of the request (RFC 3261 §8.2.7).
pub(crate) fn stateless_tag(request: &Message, secret: u64) -> String {
    let mut hasher = DefaultHasher::new();
    secret.hash(&mut hasher);
    for name in [HeaderName::Via, HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
        request.header(name).map(HeaderValue::as_bytes).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
