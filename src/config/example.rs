//! The file that `callingedge init` writes: works as it stands for a soft phone and a bot on the same machine.

/// Its usual name.
pub const EXAMPLE_FILE: &str = "callingedge.toml";

/// Its text.
pub const EXAMPLE: &str = include_str!("example.toml");
