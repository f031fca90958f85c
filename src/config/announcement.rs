//! What a caller or a human hears that nobody says at that moment: read once, as the play-out wants it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::mistake::Problem;
use super::section::Section;
use super::surroundings::Surroundings;
use crate::call::Announcement;

/// The announcement that comes with the edge.
pub(super) fn built_in() -> Arc<Announcement> {
    static BUILT_IN: LazyLock<Arc<Announcement>> = LazyLock::new(|| {
        let file = include_bytes!("../../fixtures/audio/announcement.wav");
        Arc::new(Announcement::of_wav("built-in", file).expect("the file was checked in and is tested"))
    });
    Arc::clone(&BUILT_IN)
}

/// `[announcements]`: files by the names that calls use.
pub(super) fn all(top: &mut Section<'_>, surroundings: &Surroundings) -> BTreeMap<String, Arc<Announcement>> {
    let mut all = BTreeMap::new();
    for (name, value) in top.entries("announcements") {
        let Some(path) = value.get_ref().as_str() else {
            let problem = "is not a path; write the name of a WAV file".to_owned();
            top.note("announcements", value, Problem::Value { found: name.to_owned(), problem });
            continue;
        };
        match load(path, surroundings) {
            Ok(audio) => drop(all.insert(name.to_owned(), audio)),
            Err(problem) => {
                top.note("announcements", value, Problem::Value { found: path.to_owned(), problem })
            }
        }
    }
    all
}

/// The announcement in a file.
pub(super) fn load(path: &str, surroundings: &Surroundings) -> Result<Arc<Announcement>, String> {
    let file = std::fs::read(surroundings.path(path)).map_err(|error| format!("cannot be read: {error}"))?;
    Announcement::of_wav(path, &file).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_announcement_can_be_played() {
        assert!(built_in().pcmu.len() > 8000);
    }
}
