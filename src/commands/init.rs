//! `callingedge init`: a configuration to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Outcome, print};
use crate::config::{EXAMPLE, EXAMPLE_FILE};

/// Where to.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The directory; made when there is none.
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the example and says what to do with it.
pub(super) fn run(options: &Options) -> Outcome {
    let path = write(&options.directory)?;
    let file = path.display();
    print(&format!(
        "Wrote {file}. It takes calls from this machine and gives them to a bot at ws://127.0.0.1:8765/ws.\n\n  \
         callingedge check {file}\n  \
         callingedge token create --config {file} --tenant acme --scope admin\n  \
         callingedge run --config {file}\n"
    ))
}

/// Never over a file that is there.
fn write(directory: &Path) -> Result<PathBuf, String> {
    let path = directory.join(EXAMPLE_FILE);
    let failed = |error: std::io::Error| {
        if error.kind() == ErrorKind::AlreadyExists {
            format!("{} is there already and stays as it is", path.display())
        } else {
            format!("cannot write {}: {error}", path.display())
        }
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(EXAMPLE.as_bytes()).map_err(failed)?;
    Ok(path)
}
