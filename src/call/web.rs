//! Requests to an application, ready to be sent, and what came back.

use bytes::Bytes;
use url::Url;
use url::form_urlencoded::Serializer;

use super::ids::CallId;
use crate::provider::twilio::{self, Method, WebAddress};

/// Which request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FetchId {
    /// Instructions for a call.
    Document {
        /// The call.
        call: CallId,
        /// Counts them.
        number: u32,
    },
    /// A sound for a call.
    Sound {
        /// The call.
        call: CallId,
        /// Counts them.
        number: u32,
    },
    /// Something that is told; nobody cares for the answer.
    Told {
        /// The call.
        call: CallId,
        /// Counts them.
        number: u64,
    },
}

/// A request, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// Where to.
    pub url: String,
    /// GET has its fields in the URL.
    pub method: Method,
    /// The fields of a POST, form-encoded.
    pub body: Option<String>,
    /// `X-Twilio-Signature`.
    pub signature: String,
    /// So much of an answer is read; more is [`WebFailure::TooLong`].
    pub longest: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebFailure {
    /// The address may not be reached, or is none.
    #[error("{0}")]
    Forbidden(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// Too late.
    #[error("no answer came in time")]
    TimedOut,
    /// More than we read.
    #[error("the answer is too long")]
    TooLong,
}

/// The longest document, and the longest answer to what is told.
pub(super) const DOCUMENT: usize = 64 * 1024;

impl WebRequest {
    /// A request of `fields` to `at`, signed by `token`. The URL is one.
    pub(super) fn new(token: &str, at: &WebAddress, fields: &[(String, String)], longest: usize) -> Self {
        let encoded = || Serializer::new(String::new()).extend_pairs(fields).finish();
        match at.method {
            Method::Post => {
                let signature = twilio::sign(token, &at.url, fields);
                Self { url: at.url.clone(), method: at.method, body: Some(encoded()), signature, longest }
            }
            Method::Get => {
                let url = match Url::parse(&at.url) {
                    // A `?` with nothing behind it is another URL to whoever verifies the signature.
                    Ok(url) if fields.is_empty() => url.into(),
                    Ok(mut url) => {
                        url.query_pairs_mut().extend_pairs(fields);
                        url.into()
                    }
                    Err(_) => at.url.clone(),
                };
                let signature = twilio::sign(token, &url, &[]);
                Self { url, method: at.method, body: None, signature, longest }
            }
        }
    }
}

impl WebFailure {
    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut => true,
            Self::Forbidden(_) | Self::TooLong => false,
        }
    }
}
