//! Request methods (RFC 3261 §7.1 and the extensions we know).

use std::fmt;

/// The method of a request. Methods are case-sensitive: `invite` is an [`Method::Extension`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method<'a> {
    /// Begins or changes a session (RFC 3261 §13).
    Invite,
    /// Confirms the final response to an INVITE (RFC 3261 §13.2.2.4).
    Ack,
    /// Takes back a request that is still unanswered (RFC 3261 §9).
    Cancel,
    /// Ends a session (RFC 3261 §15).
    Bye,
    /// Asks what the other side can do (RFC 3261 §11).
    Options,
    /// Asks for a call to someone else (RFC 3515).
    Refer,
    /// Reports an event of a subscription (RFC 6665).
    Notify,
    /// Carries application data within a dialog (RFC 6086).
    Info,
    /// Acknowledges a reliable provisional response (RFC 3262).
    Prack,
    /// Changes a session before or after it is confirmed (RFC 3311).
    Update,
    /// Binds an address (RFC 3261 §10).
    Register,
    /// Asks for events (RFC 6665).
    Subscribe,
    /// An instant message (RFC 3428).
    Message,
    /// Publishes event state (RFC 3903).
    Publish,
    /// Any other token.
    Extension(&'a str),
}

impl<'a> Method<'a> {
    /// The method that this token names.
    pub fn from_token(token: &'a str) -> Self {
        match token {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "CANCEL" => Self::Cancel,
            "BYE" => Self::Bye,
            "OPTIONS" => Self::Options,
            "REFER" => Self::Refer,
            "NOTIFY" => Self::Notify,
            "INFO" => Self::Info,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "REGISTER" => Self::Register,
            "SUBSCRIBE" => Self::Subscribe,
            "MESSAGE" => Self::Message,
            "PUBLISH" => Self::Publish,
            other => Self::Extension(other),
        }
    }

    /// The method as it stands on the wire.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Cancel => "CANCEL",
            Self::Bye => "BYE",
            Self::Options => "OPTIONS",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Info => "INFO",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Register => "REGISTER",
            Self::Subscribe => "SUBSCRIBE",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Extension(token) => token,
        }
    }

    /// The method without its borrow, `None` for an extension.
    pub fn known(self) -> Option<Method<'static>> {
        match self {
            Self::Invite => Some(Method::Invite),
            Self::Ack => Some(Method::Ack),
            Self::Cancel => Some(Method::Cancel),
            Self::Bye => Some(Method::Bye),
            Self::Options => Some(Method::Options),
            Self::Refer => Some(Method::Refer),
            Self::Notify => Some(Method::Notify),
            Self::Info => Some(Method::Info),
            Self::Prack => Some(Method::Prack),
            Self::Update => Some(Method::Update),
            Self::Register => Some(Method::Register),
            Self::Subscribe => Some(Method::Subscribe),
            Self::Message => Some(Method::Message),
            Self::Publish => Some(Method::Publish),
            Self::Extension(_) => None,
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_small_letters_is_another_method() {
        assert_eq!(Method::from_token("INVITE"), Method::Invite);
        assert_eq!(Method::from_token("invite"), Method::Extension("invite"));
        assert_eq!(Method::from_token("RE%47IST%45R"), Method::Extension("RE%47IST%45R"));
    }

    #[test]
    fn every_known_method_is_read_from_what_it_writes() {
        for token in
            "INVITE ACK CANCEL BYE OPTIONS REFER NOTIFY INFO PRACK UPDATE REGISTER SUBSCRIBE MESSAGE PUBLISH"
                .split(' ')
        {
            let method = Method::from_token(token);
            assert_eq!((method.as_str(), method.known()), (token, Some(method)));
        }
    }
}
