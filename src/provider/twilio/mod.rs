//! Twilio's side of things: the documents its applications answer with, the signature their requests carry, and the numbers of
//! its errors. Pure.
//! ```text
//!   sign(token, url, fields) --> X-Twilio-Signature
//!   text of an answer --Document::read--> verbs, and what of it was passed over
//! ```
//! What a verb does to a call is decided in `call`.

mod document;
mod signature;
mod verb;

pub use document::{Document, Malformed};
pub use signature::sign;
pub use verb::{
    Dial, Gather, Method, Play, Prompt, Refer, Rejection, Said, Stream, Target, Track, Verb, WebAddress,
};

/// The name of the header that proves a request to be ours.
pub const SIGNATURE_HEADER: &str = "X-Twilio-Signature";

/// The version of the API, in paths and in every request.
pub const API_VERSION: &str = "2010-04-01";

/// Numbers of Twilio's errors, as its documentation lists them.
pub mod errors {
    /// The answer of an application could not be had.
    pub const HTTP_RETRIEVAL: u32 = 11200;
    /// There was no answer in time.
    pub const HTTP_TIMEOUT: u32 = 11205;
    /// The answer is not a document.
    pub const DOCUMENT_PARSE: u32 = 12100;
    /// The socket of a stream could not be opened.
    pub const STREAM_CONNECT: u32 = 31920;
}
