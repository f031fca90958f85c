//! Why a message is not one we can act on, and what its sender is told.

use crate::header::HeaderName;
use crate::message::StatusCode;

/// Why bytes are not a SIP message we can act on. Offsets count from the first byte of the start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The bytes do not begin like any SIP message. There is nobody to answer.
    #[error("not SIP: no start line at byte {at}")]
    NotSip {
        /// Where reading stopped.
        at: usize,
    },
    /// More than [`crate::MAX_MESSAGE`] bytes.
    #[error("the message is longer than {} bytes", crate::MAX_MESSAGE)]
    TooLarge,
    /// More than [`crate::MAX_HEADERS`] header lines.
    #[error("more than {} header lines", crate::MAX_HEADERS)]
    TooManyHeaders,
    /// More than [`crate::MAX_VIAS`] hops.
    #[error("more than {} Via hops", crate::MAX_VIAS)]
    TooManyVias,
    /// A header with its folds is longer than [`crate::MAX_LINE`] bytes.
    #[error("the header line at byte {at} is longer than {} bytes", crate::MAX_LINE)]
    LineTooLong {
        /// Where the line begins.
        at: usize,
    },
    /// The start line alone is longer than [`crate::MAX_LINE`] bytes.
    #[error("the Request-URI is longer than {} bytes", crate::MAX_LINE)]
    UriTooLong,
    /// The start line has too much or too little white space, or something that is no SIP version at its end.
    #[error("the start line is malformed at byte {at}")]
    StartLine {
        /// Where reading stopped.
        at: usize,
    },
    /// The version is not 2.0.
    #[error("the SIP version is not 2.0")]
    Version,
    /// A line that has no `name:` in front.
    #[error("the line at byte {at} is not a header")]
    HeaderLine {
        /// Where the line begins.
        at: usize,
    },
    /// A CR or LF on its own. Others may see a line end there, so the message means different things to different hops.
    #[error("a lone CR or LF at byte {at}")]
    LoneLineBreak {
        /// Where it stands.
        at: usize,
    },
    /// No empty line ends the headers.
    #[error("the headers do not end")]
    Unfinished,
    /// A header that every message, or this one, must have.
    #[error("{0} is missing")]
    Missing(HeaderName),
    /// A header that may stand only once stands twice and says two things.
    #[error("{name} is repeated at byte {at}")]
    Repeated {
        /// The header.
        name: HeaderName,
        /// Where the second one begins.
        at: usize,
    },
    /// A value that breaks its grammar or range.
    #[error("{name} is malformed at byte {at}")]
    Header {
        /// The header.
        name: HeaderName,
        /// Where reading stopped.
        at: usize,
    },
    /// Two Content-Length headers that do not agree: nobody can tell where the body ends.
    #[error("Content-Length at byte {at} contradicts the first")]
    ContentLengthConflict {
        /// Where the other one begins.
        at: usize,
    },
    /// The body has fewer bytes than Content-Length promises (RFC 3261 §18.3).
    #[error("the body is shorter than Content-Length")]
    BodyTooShort,
    /// The Request-URI breaks its grammar or carries headers.
    #[error("the Request-URI is malformed at byte {at}")]
    RequestUri {
        /// Where reading stopped.
        at: usize,
    },
    /// The Request-URI is neither `sip:` nor `sips:` nor `tel:`.
    #[error("the scheme of the Request-URI is not known")]
    Scheme,
    /// The method of CSeq is not the request's (RFC 3261 §8.1.1.5).
    #[error("CSeq names another method than the start line")]
    MethodMismatch,
}

impl ParseError {
    /// What we tell the sender, when it was a request and there is enough of it to answer at all.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge | Self::TooManyHeaders | Self::TooManyVias | Self::LineTooLong { .. } => {
                StatusCode::MESSAGE_TOO_LARGE
            }
            Self::UriTooLong => StatusCode::REQUEST_URI_TOO_LONG,
            Self::Version => StatusCode::VERSION_NOT_SUPPORTED,
            Self::Scheme => StatusCode::UNSUPPORTED_URI_SCHEME,
            Self::NotSip { .. }
            | Self::StartLine { .. }
            | Self::HeaderLine { .. }
            | Self::LoneLineBreak { .. }
            | Self::Unfinished
            | Self::Missing(_)
            | Self::Repeated { .. }
            | Self::Header { .. }
            | Self::ContentLengthConflict { .. }
            | Self::BodyTooShort
            | Self::RequestUri { .. }
            | Self::MethodMismatch => StatusCode::BAD_REQUEST,
        }
    }
}
