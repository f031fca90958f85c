//! The program: see [`callingedge::commands`].

use std::process::ExitCode;

fn main() -> ExitCode {
    callingedge::commands::main()
}
