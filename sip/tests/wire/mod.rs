//! Where the tests find their messages: our own in `fixtures/`, and a larger set beside the project, which may be absent.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// One message from a file.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) wire: Bytes,
}

/// The messages below `fixtures/<folder>` of the project.
pub(crate) fn own(folder: &str) -> Vec<Sample> {
    samples(&workspace().join("fixtures").join(folder))
}

/// The messages below `<folder>` of `$FIXTURES` or of `shared/fixtures` beside the project. Says so when there are none.
pub(crate) fn shared(folder: &str) -> Vec<Sample> {
    let path = shared_folder().join(folder);
    if !path.is_dir() {
        println!("{folder} did not run: {} is absent", path.display());
        return Vec::new();
    }
    samples(&path)
}

/// The rows of a tab-separated table, without its head.
pub(crate) fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect()
}

pub(crate) fn find<'a>(samples: &'a [Sample], name: &str) -> &'a Sample {
    samples.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("{name} is absent"))
}

pub(crate) fn text(sample: &Sample) -> &str {
    std::str::from_utf8(&sample.wire).expect("a table is UTF-8")
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn shared_folder() -> PathBuf {
    std::env::var_os("FIXTURES").map_or_else(|| workspace().join("../shared/fixtures"), PathBuf::from)
}

fn samples(folder: &Path) -> Vec<Sample> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            found.extend(samples(&path));
        } else {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            found.push(Sample { name, wire: std::fs::read(&path).expect("a readable file").into() });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}
