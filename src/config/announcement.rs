//! What a caller or a human hears that nobody says at that moment: read once, as the play-out wants it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use media::{AudioFormat, Wav};

use super::mistake::Problem;
use super::section::Section;
use super::surroundings::Surroundings;
use crate::call::Announcement;

/// A minute at 8,000 samples a second.
const LONGEST: usize = 60 * 8000;

/// The announcement that comes with the edge.
pub(super) fn built_in() -> Arc<Announcement> {
    static BUILT_IN: LazyLock<Arc<Announcement>> = LazyLock::new(|| {
        let file = include_bytes!("../../fixtures/audio/announcement.wav");
        Arc::new(read("built-in", file).expect("the file was checked in and is tested"))
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
    read(path, &file).map(Arc::new)
}

fn read(name: &str, file: &[u8]) -> Result<Announcement, String> {
    let refused = |error| format!("cannot be played: {error}; write a WAV file, 8000 Hz, mono, PCM or G.711");
    let wav = Wav::parse(file).map_err(refused)?;
    let format = wav.telephone().map_err(refused)?;
    let samples = wav.data.len() / format.bytes_per_sample();
    if samples == 0 || samples > LONGEST {
        return Err("cannot be played: it is empty or longer than a minute".to_owned());
    }
    let mut pcmu = vec![0; samples];
    let written = format.convert(AudioFormat::Pcmu, wav.data, &mut pcmu);
    pcmu.truncate(written);
    Ok(Announcement { name: name.to_owned(), pcmu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_announcement_can_be_played() {
        assert!(built_in().pcmu.len() > 8000);
    }
}
