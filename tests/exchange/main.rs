//! The exchange, call by call: what is answered, told and ordered when this or that happens. Virtual time, a perfect line;
//! for bad lines and bad luck see `tests/simulation.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at the first surprise and looks for one thing"
)]

mod applications;
mod bridging;
mod challenges;
mod extensions;
mod hooks;
mod identity;
mod inbound;
mod line;
mod orders;
mod outbound;
mod policy;
mod registering;
mod resumption;
mod rules;
mod running;
mod shedding;
mod siprec;
mod standby;
mod stopping;
mod switching;
mod targets;
mod transfers;
mod voicemail;
mod workflows;
