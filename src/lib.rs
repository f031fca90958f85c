//! The daemon: see `docs/architecture.md` for the map.
pub mod api;
pub mod bridge;
pub mod call;
pub mod commands;
pub mod config;
pub mod crypto;
pub mod daemon;
pub mod directory;
pub mod held;
pub mod lab;
pub mod net;
pub mod provider;
pub mod spelling;
pub mod store;
pub mod webhook;
pub mod worker;
