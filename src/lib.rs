//! The daemon: see `docs/architecture.md` for the map.
pub mod bridge;
pub mod call;
pub mod crypto;
pub mod net;
pub mod store;
pub mod webhook;
