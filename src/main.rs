//! Commands and wiring.
fn main() {}
