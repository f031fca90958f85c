//! Which extensions one dialog may use: the option tags of `Supported`, `Require` and `Unsupported` (RFC 3261 §8.2.2.3,
//! §19.2).

use std::time::Duration;

use super::reply::Reply;
use crate::{HeaderName, Message, Method, StatusCode};

/// Option tags that this endpoint has a meaning for. What else is required is refused with 420.
const EXTENSIONS: [&str; 5] = ["100rel", "timer", "replaces", "norefersub", "siprec"];

/// What the owner wants of one dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether a session ends that shows no sign of life.
    pub session_timers: SessionTimers,
    /// Whether provisional responses are acknowledged.
    pub reliable_provisionals: ReliableProvisionals,
    /// Whether calls that bring the audio of others are taken.
    pub recordings: Recordings,
}

/// Recording sessions (RFC 7866): calls of a recorder's client, which sends us what others say and hears nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recordings {
    /// None: refused where they are required.
    #[default]
    Refused,
    /// Theirs are taken, and our Contact says that we are their server.
    Taken,
}

/// Reliable provisional responses (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReliableProvisionals {
    /// None: not offered, and refused where they are required.
    Off,
    /// Theirs are acknowledged; ours are reliable where their INVITE requires it.
    #[default]
    Supported,
    /// Required of them; ours are reliable. Who does not know them is refused with 421.
    Required,
}

/// Session timers (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimers {
    /// Whether there are any.
    pub mode: SessionTimerMode,
    /// How long a session shall last without refresh, where we ask for it, and at most where they do.
    pub expires: Duration,
    /// What is too short for us (Min-SE). The RFC allows nothing below [`SessionTimers::FLOOR`].
    pub min: Duration,
}

/// Who may begin with session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionTimerMode {
    /// Nobody: not offered, ignored where it can be, refused where it is required.
    Off,
    /// They may; we can, and say so.
    Accept,
    /// We ask for it in every call.
    Ask,
}

impl SessionTimers {
    /// The shortest interval that RFC 4028 §5 allows.
    pub const FLOOR: Duration = Duration::from_secs(90);

    /// What is too short, in seconds.
    pub(crate) fn min_seconds(self) -> u32 {
        seconds(self.min.max(Self::FLOOR))
    }

    /// What is asked for, in seconds.
    pub(crate) fn expires_seconds(self) -> u32 {
        seconds(self.expires).max(self.min_seconds())
    }
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self { mode: SessionTimerMode::Accept, expires: Duration::from_secs(1800), min: Self::FLOOR }
    }
}

impl Policy {
    /// Every tag that the dialog may use, for `Supported`.
    pub(crate) fn supported(self) -> String {
        EXTENSIONS.into_iter().filter(|tag| self.allows(tag)).collect::<Vec<_>>().join(", ")
    }

    /// What may be asked of us before the owner has said who asks.
    pub(crate) fn of_strangers() -> Self {
        Self { recordings: Recordings::Taken, ..Self::default() }
    }

    /// Whether this INVITE of theirs begins a recording session (RFC 7866 §6.1.1), and we take those.
    pub fn records(self, invite: &Message) -> bool {
        let is_client =
            || invite.contacts().flatten().any(|contact| contact.params().get("+sip.src").is_some());
        self.recordings == Recordings::Taken
            && (invite.has_token(HeaderName::Require, "siprec") || is_client())
    }

    /// Whether provisional responses to this INVITE of theirs are reliable.
    pub(crate) fn rings_reliably(self, invite: &Message) -> bool {
        match self.reliable_provisionals {
            ReliableProvisionals::Off => false,
            ReliableProvisionals::Supported => invite.has_token(HeaderName::Require, "100rel"),
            ReliableProvisionals::Required => supports(invite, "100rel"),
        }
    }

    fn allows(self, tag: &str) -> bool {
        match tag {
            "100rel" => self.reliable_provisionals != ReliableProvisionals::Off,
            "timer" => self.session_timers.mode != SessionTimerMode::Off,
            "siprec" => self.recordings == Recordings::Taken,
            _ => true,
        }
    }

    fn knows(self, tag: &str) -> bool {
        EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag) && self.allows(known))
    }

    /// Why a request cannot be taken under this policy: what it requires is not allowed (420), or the session that it
    /// wants is too short (422).
    pub(crate) fn objection(self, request: &Message) -> Option<Reply> {
        if request.headers(HeaderName::Require).any(|value| !value.as_bytes().is_empty()) {
            let required: Vec<&str> = request.tokens(HeaderName::Require).collect();
            if required.is_empty() {
                return Some(Reply::new(StatusCode::BAD_REQUEST).warning("Require is malformed"));
            }
            let unknown: Vec<&str> = required.into_iter().filter(|tag| !self.knows(tag)).collect();
            if !unknown.is_empty() {
                let reply = Reply::new(StatusCode::BAD_EXTENSION);
                return Some(reply.header(HeaderName::Unsupported, unknown.join(", ")));
            }
        }
        if self.reliable_provisionals == ReliableProvisionals::Required
            && is_first_invite(request)
            && !supports(request, "100rel")
        {
            let reply = Reply::new(StatusCode::EXTENSION_REQUIRED);
            return Some(reply.header(HeaderName::Require, "100rel"));
        }
        let min = self.session_timers.min_seconds();
        let is_too_short = request.session_expires().ok().flatten().is_some_and(|asked| asked.seconds < min);
        // Only who knows the extension can ask again with more (RFC 4028 §9).
        let can_ask_again = is_session_request(request) && supports(request, "timer") && self.allows("timer");
        (is_too_short && can_ask_again).then(|| {
            Reply::new(StatusCode::SESSION_INTERVAL_TOO_SMALL).header(HeaderName::MinSe, min.to_string())
        })
    }
}

/// Whether the sender of a message has that extension.
pub(crate) fn supports(message: &Message, tag: &str) -> bool {
    message.has_token(HeaderName::Supported, tag) || message.has_token(HeaderName::Require, tag)
}

fn is_first_invite(request: &Message) -> bool {
    request.method() == Some(Method::Invite) && request.to().is_ok_and(|to| to.tag().is_none())
}

fn is_session_request(request: &Message) -> bool {
    matches!(request.method(), Some(Method::Invite | Method::Update))
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
