//! A world in one value: an exchange, its workers, engines and disk, telephones at the far end, and the network between.

mod network;
mod telephone;
mod world;

pub(crate) use world::{Report, World};
