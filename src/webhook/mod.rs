//! Tells the customer's systems what happens: one signed POST an event, until it is acknowledged (CONTRACT §2).
//!
//! ```text
//!   store --- which receivers have something ---> [sender] --- POST ---> receiver
//!     ^                                            |    ^
//!     |   what became of it                        v    |  verdict
//!     +---------------------------------------- [outbox: a queue a receiver]
//! ```
//! `queue` and `outbox` decide who is tried when, and know no clock; `guard` decides which addresses may be reached;
//! `signature` signs; `verdict` reads the answer. `sender` and `connect` carry it out. `fetch` asks the
//! applications that run calls, over the same guarded way. What is pending is on disk:
//! nothing here is needed to survive.

mod connect;
mod connection;
mod fetch;
mod guard;
mod outbox;
mod queue;
mod receiver;
mod sender;
mod settings;
mod signature;
mod verdict;

pub use fetch::{Fetch, Fetcher};
pub use guard::{NetworkPolicy, Range, Refusal, Scheme};
pub use outbox::{Outbox, Output};
pub use queue::{FIRST_RETRY, GIVE_UP, LONGEST_RETRY, Limits, OVERTAKE};
pub use receiver::{NotAReceiver, ReceiverUrl};
pub use sender::run;
pub use settings::{Secret, Secrets, WebhookSettings};
pub use signature::{SignedHeaders, sign};
pub use verdict::{Failure, LONGEST_RETRY_AFTER, Verdict};
