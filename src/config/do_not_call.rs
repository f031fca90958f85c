//! `do_not_call` of a provider: the numbers of a file.

use super::section::Section;
use super::surroundings::{SecretsAre, Surroundings};
use crate::call::DoNotCall;

/// Some ten million numbers.
const LARGEST: u64 = 256 * 1024 * 1024;

/// The list, read again with the configuration. A check of the configuration alone leaves the file alone, as it does secrets.
pub(super) fn list(section: &mut Section<'_>, surroundings: &Surroundings) -> DoNotCall {
    let list = section.parsed("do_not_call", |path| {
        if surroundings.secrets == SecretsAre::LeftAlone {
            return Ok(DoNotCall::default());
        }
        let file = surroundings.path(path);
        let unreadable =
            |error: std::io::Error| format!("cannot be read: {error}; write the path of a text file");
        let length = std::fs::metadata(&file).map_err(unreadable)?.len();
        if length > LARGEST {
            return Err(format!("has {length} bytes; a list may have {LARGEST}"));
        }
        let text = std::fs::read_to_string(&file).map_err(unreadable)?;
        DoNotCall::read(&text)
            .map_err(|line| format!("has no number in line {line}; write one a line, as +16505824074"))
    });
    list.unwrap_or_default()
}
