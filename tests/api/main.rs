//! The API from outside: every status and code, tenants that never see each other, streams that lose nothing, and
//! connections that misbehave. The store is real (in memory), the calls are scripted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod connections;
mod credentials;
mod edge;
mod intake;
mod refusals;
mod streams;
