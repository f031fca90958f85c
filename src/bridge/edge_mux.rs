//! `edge.mux.v1`: many calls of one engine node on one websocket (CONTRACT §3). Each call speaks `edge.v1` there; this is
//! the envelope around it. What engines may rely on is written in `docs/engine/edge-mux.md`.
//!
//! ```text
//!   text      {"call":7,"type":…}                     what edge.v1 has, and whose it is
//!   binary    | header, kind 2 | call 7 | 176 | header, audio | call 9 | 176 | header, audio | …
//! ```
//!
//! Call numbers are the edge's: it counts them on each socket. Where a socket of the call's own would be closed, the message
//! `close` stands for it, in both directions.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod batch;
mod envelope;

pub use batch::{BATCH_FULL, Batch, BatchError, RECORD_HEAD, records};
pub use envelope::{Address, LineComplaint, Word, address, write_close, write_complaint, write_text};

/// A call's number on one socket, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u32);
