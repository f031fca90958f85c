//! Our parser beside two others, message by message: the same fields, or a row in `decisions.tsv` that says which section of
//! which RFC decides.
//!
//! `MESSAGES=5000000` says how many are generated, `DECISIONS=wire` shows a message for what has no row, `FIELDS=1` what was read.

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use callingedge_differential::{OTHERS, Reading, ours};

/// Generated where nothing else is asked for.
const USUAL: u64 = 1_000_000;

/// Who, what of it, and where it shows: `rsipstack`, `refuses`, `folded header`.
type Disagreement = (String, String, String);

#[test]
fn whatever_parsers_disagree_about_is_decided_by_a_section() {
    let count = std::env::var("MESSAGES").map_or(USUAL, |count| count.parse().expect("a number"));
    let decided = decisions();
    let mut found: BTreeMap<Disagreement, String> = BTreeMap::new();
    let mut disagreements = 0_u64;
    for number in 0..count {
        let (peculiarities, wire) = generate::message(number);
        let wire = Bytes::from(wire);
        for (who, what) in compare(&wire) {
            disagreements += 1;
            // Of two peculiarities either may be the reason.
            let row = |name: &&str| (who.to_owned(), what.clone(), (*name).to_owned());
            let known = peculiarities.iter().map(row).find(|row| decided.contains(row));
            let place =
                if peculiarities.is_empty() { "nothing".to_owned() } else { peculiarities.join(" + ") };
            let row = known.unwrap_or((who.to_owned(), what, place));
            found.entry(row).or_insert_with(|| String::from_utf8_lossy(&wire).into_owned());
        }
    }
    println!("{count} messages, {disagreements} disagreements of {} kinds", found.len());
    judge(&found, &decided, |place| !place.contains('/'));
}

#[test]
fn fixtures_are_read_alike_or_a_section_decides() {
    let decided = decisions();
    let mut found: BTreeMap<Disagreement, String> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("FIXTURES").map_or_else(|| root.join("../shared/fixtures"), PathBuf::from);
    let mut sets = Vec::new();
    for folder in ["sip", "cve-shaped", "vendor-shaped"] {
        sets.push((folder, root.join("fixtures").join(folder)));
    }
    for folder in ["rfc4475", "rfc5118", "sip-real", "protos-c07"] {
        sets.push((folder, shared.join(folder)));
    }
    let mut absent = BTreeSet::new();
    for (folder, path) in sets {
        let mut files = Vec::new();
        gather(&path, &mut files);
        if files.is_empty() {
            println!("{folder} did not run: {} is absent", path.display());
            absent.insert(folder);
        }
        for file in &files {
            let wire = Bytes::from(std::fs::read(file).expect("a readable file"));
            let name = file.file_name().expect("a file").to_string_lossy();
            for (who, what) in compare(&wire) {
                let row = (who.to_owned(), what, format!("{folder}/{name}"));
                found.entry(row).or_insert_with(|| String::from_utf8_lossy(&wire).into_owned());
            }
        }
        println!("{folder}: {} messages", files.len());
    }
    judge(&found, &decided, |place| {
        place.split_once('/').is_some_and(|(folder, _)| !absent.contains(folder))
    });
}

/// How the others' readings differ from ours.
fn compare(wire: &Bytes) -> Vec<(&'static str, String)> {
    let ours = ours(wire);
    let mut all = Vec::new();
    for (who, read) in OTHERS {
        let theirs = read(wire);
        match (&ours, theirs) {
            (None, None) => {}
            (Some(_), None) => all.push((who, "refuses".to_owned())),
            (None, Some(_)) => all.push((who, "takes".to_owned())),
            (Some(ours), Some(theirs)) => {
                all.extend(differences(ours, &theirs).into_iter().map(|what| (who, what)));
            }
        }
    }
    all
}

fn differences(ours: &Reading, theirs: &Reading) -> Vec<String> {
    let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
    let show = std::env::var_os("FIELDS").is_some();
    let told = pairs.map(|((name, ours), (_, theirs))| {
        if show {
            println!("{name}: {ours:?} {theirs:?}");
        }
        format!("reads another {name}")
    });
    told.collect()
}

/// Everything found has a row, and every row of what ran has been found.
fn judge(
    found: &BTreeMap<Disagreement, String>,
    decided: &BTreeSet<Disagreement>,
    ran: impl Fn(&str) -> bool,
) {
    let open: Vec<_> = found.iter().filter(|(row, _)| !decided.contains(row)).collect();
    for ((who, what, place), wire) in &open {
        println!("{who}\t{what}\t{place}");
        if std::env::var("DECISIONS").is_ok_and(|wish| wish == "wire") {
            println!("{wire}\n----");
        }
    }
    let idle: Vec<_> = decided.iter().filter(|row| ran(&row.2) && !found.contains_key(*row)).collect();
    assert!(open.is_empty(), "{} disagreements have no row", open.len());
    assert!(idle.is_empty(), "rows that nothing disagrees about: {idle:#?}");
}

/// The rows of the table, without the section and the reason.
fn decisions() -> BTreeSet<Disagreement> {
    let rows = include_str!("../decisions.tsv").lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [who, what, place, section, reason] = cells[..] else {
            panic!("five cells, tab between: {line}")
        };
        assert!(section.starts_with("RFC ") && !reason.is_empty(), "no section decides: {line}");
        (who.to_owned(), what.to_owned(), place.to_owned())
    })
    .collect()
}

/// The messages below a folder: no tables, no descriptions.
fn gather(path: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            gather(&path, files);
        } else if !["md", "tsv", "py", "json", "txt", "xml", "pcap", "csv"].contains(&ending.as_str()) {
            files.push(path);
        }
    }
}
