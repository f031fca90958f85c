//! The daemon: see `docs/architecture.md` for the map.
pub mod call;
pub mod bridge;
