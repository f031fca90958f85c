//! The daemon: see `docs/architecture.md` for the map.
pub mod bridge;
pub mod call;
