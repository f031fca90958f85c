//! Arrows point down only. This fails on one that points up, on crates that should be strangers, and on pure code that
//! has lost the lints that keep it pure.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the daemon may name of the others. Who is not listed as a key may name everyone: the wiring.
const ARROWS: &[(&str, &[&str])] = &[
    // Used by everyone, use nobody.
    ("spelling", &[]),
    ("crypto", &[]),
    // Decide; pure.
    ("provider", &["crypto", "spelling"]),
    ("call", &["crypto", "provider", "spelling"]),
    // Shells. They meet in `call`; the API and the sender of webhooks read what the store keeps, and a worker speaks the
    // dialects of `bridge`, which are pure.
    ("net", &["call"]),
    ("bridge", &["call", "crypto", "spelling"]),
    ("worker", &["bridge", "call"]),
    ("store", &["call", "crypto"]),
    ("webhook", &["call", "crypto", "spelling", "store"]),
    ("api", &["call", "crypto", "provider", "spelling", "store"]),
    // Instruments of the demo and the bench.
    ("lab", &["bridge", "call", "crypto"]),
    // What the operator writes becomes the settings of all of them.
    ("config", &["api", "call", "crypto", "net", "provider", "spelling", "webhook"]),
];

/// Wiring: may name everyone, and nobody below names it.
const WIRING: &[&str] = &["commands", "config", "daemon", "directory", "held", "lib", "main"];

/// Files that hold pure code (`mod.rs`: the whole directory). Each denies what is impure; so does every other file that
/// says so by denying it.
const PURE: &[&str] = &[
    "src/bridge/audiohook.rs",
    "src/bridge/audiohook/message.rs",
    "src/bridge/edge_mux.rs",
    "src/bridge/edge_mux/batch.rs",
    "src/bridge/edge_mux/envelope.rs",
    "src/bridge/edge_v1.rs",
    "src/bridge/edge_v1/control.rs",
    "src/bridge/edge_v1/frame.rs",
    "src/bridge/edge_v1/replay.rs",
    "src/bridge/interpreter.rs",
    "src/bridge/asterisk.rs",
    "src/bridge/border.rs",
    "src/bridge/exotel.rs",
    "src/bridge/jambonz.rs",
    "src/bridge/json_stream.rs",
    "src/bridge/language.rs",
    "src/bridge/lines.rs",
    "src/bridge/pipecat.rs",
    "src/bridge/plivo.rs",
    "src/bridge/telnyx.rs",
    "src/bridge/vonage.rs",
    "src/bridge/deepgram.rs",
    "src/bridge/elevenlabs.rs",
    "src/bridge/gemini.rs",
    "src/bridge/openai.rs",
    "src/bridge/tools.rs",
    "src/bridge/ultravox.rs",
    "src/bridge/outgoing.rs",
    "src/bridge/said.rs",
    "src/bridge/twilio.rs",
    "src/api/twilio/order.rs",
    "src/api/twilio/resource.rs",
    "src/call/mod.rs",
    "src/commands/doctor/certificate.rs",
    "src/commands/doctor/facts.rs",
    "src/commands/doctor/finding.rs",
    "src/commands/doctor/judge.rs",
    "src/provider/mod.rs",
    "src/spelling.rs",
    "src/webhook/guard.rs",
    "src/webhook/outbox.rs",
    "src/webhook/queue.rs",
    "src/webhook/receiver.rs",
    "src/webhook/signature.rs",
    "src/webhook/verdict.rs",
    "src/worker/attention.rs",
    "src/worker/beats.rs",
    "src/worker/ear.rs",
    "src/worker/line.rs",
    "src/worker/ports.rs",
    "src/worker/relay.rs",
    "src/worker/silence.rs",
    "src/worker/tape.rs",
    "src/worker/unheard.rs",
    "src/worker/voice.rs",
    "src/worker/voice/attending.rs",
    "src/worker/voice/obeying.rs",
];

/// What keeps pure code pure.
const LINTS: [&str; 2] = ["clippy::disallowed_methods", "clippy::disallowed_types"];

/// What only shells may name.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::thread",
    "std::fs",
    "rusqlite",
    "hyper",
    "axum",
    "Instant::now",
    "SystemTime::now",
    "unsafe ",
];

#[test]
fn no_part_of_the_daemon_names_one_above_it() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let files = rust_files(&root().join("src"));
    let modules: BTreeSet<String> = files.iter().map(|file| module_of(file)).collect();
    let mut upward = Vec::new();

    for file in &files {
        let module = module_of(file);
        for named in named_modules(file, &modules) {
            let allowed = arrows.get(module.as_str()).map_or(WIRING.contains(&module.as_str()), |allowed| {
                named == module || allowed.contains(&named.as_str())
            });
            if !allowed {
                upward.push(format!("{} names crate::{named}", file.display()));
            }
        }
    }

    assert!(files.len() > 50, "only {} files were found", files.len());
    assert_eq!(upward, Vec::<String>::new());
}

#[test]
fn every_part_of_the_daemon_has_its_place() {
    let known: BTreeSet<&str> =
        ARROWS.iter().map(|(module, _)| *module).chain(WIRING.iter().copied()).collect();

    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        assert!(
            known.contains(module.as_str()),
            "{module} stands in no layer; say in tests/layers.rs where it belongs"
        );
    }
}

#[test]
fn sip_and_media_are_strangers_to_each_other_and_to_the_world() {
    for (package, stranger) in [("sip", "media"), ("media", "sip")] {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();

        for dependency in dependencies {
            let shells = ["tokio", "mio", "hyper", "axum", "rustix", "libc", "socket2", "crossbeam-queue"];
            let name = dependency.trim_start_matches("callingedge-");
            assert!(name != stranger && !shells.contains(&name), "{package} depends on {dependency}");
        }
        let head = fs::read_to_string(root().join(package).join("src/lib.rs")).unwrap();
        assert!(head.contains("#![forbid(unsafe_code)]"), "{package} allows unsafe code");
        let lints = fs::read_to_string(root().join(package).join("clippy.toml")).unwrap();
        for method in ["std::time::Instant::now", "std::time::SystemTime::now"] {
            assert!(lints.contains(method), "{package}/clippy.toml does not forbid {method}");
        }
    }
}

#[test]
fn pure_code_denies_what_is_impure_and_names_none_of_it() {
    let mut pure = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let denies = text
            .lines()
            .any(|line| line.starts_with("#![deny(") && LINTS.iter().all(|lint| line.contains(lint)));
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        assert!(denies || !PURE.contains(&path.as_str()), "{path} does not deny {LINTS:?}");
        match file.file_name().and_then(|name| name.to_str()) {
            Some("mod.rs") if denies => pure.extend(rust_files(file.parent().unwrap())),
            _ if denies => pure.push(file),
            _ => {}
        }
    }
    for package in ["sip/src", "media/src"] {
        pure.extend(rust_files(&root().join(package)));
    }
    assert!(pure.len() > 60, "only {} pure files were found", pure.len());
    for file in pure {
        for (number, line) in code(&file) {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{}:{number}: {line}", file.display());
        }
    }
}

/// The test itself must be able to fail.
#[test]
fn names_are_found_however_they_are_written() {
    let directory = tempfile();
    let file = directory.join("src/call/one.rs");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = "//! See [`crate::api`].\nuse crate::net::Net;\nuse crate::{store::Store, webhook};\n\
                use super::super::worker;\nfn f() { crate::bridge::dial() } // crate::config\n\
                #[cfg(test)]\nmod tests {\n    use crate::commands;\n}\n";
    fs::write(&file, text).unwrap();
    let all = ["api", "bridge", "call", "commands", "config", "net", "store", "webhook", "worker"];
    let modules = all.into_iter().map(str::to_owned).collect();

    let named = named_modules(&file, &modules);
    fs::remove_dir_all(&directory).unwrap();

    let expected = ["bridge", "net", "store", "webhook", "worker"].map(str::to_owned);
    assert_eq!(named, BTreeSet::from(expected));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tempfile() -> PathBuf {
    std::env::temp_dir().join(format!("callingedge-layers-{}", std::process::id()))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What its parent declares for tests only: it may name whom it likes.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let directory = path.parent().unwrap();
    let parents = [directory.join("mod.rs"), directory.join("lib.rs"), directory.with_extension("rs")];
    parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|parent| {
        let lines: Vec<&str> = parent.lines().map(|line| line.trim_start_matches("pub(crate) ")).collect();
        lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && pair[1] == format!("mod {stem};"))
    })
}

/// The part of the daemon that a file belongs to: what follows `src/`.
fn module_of(file: &Path) -> String {
    let mut parts = file.iter().map(|part| part.to_str().unwrap()).skip_while(|part| *part != "src");
    parts.nth(1).unwrap().trim_end_matches(".rs").to_owned()
}

/// Lines of code with their numbers: no comments, and nothing from the tests at the end of the file on.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default().to_owned())).collect()
}

/// The parts of the daemon that a file names, by `crate::…` or by climbing up to the root.
fn named_modules(file: &Path, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let text: String = code(file).into_iter().map(|(_, line)| line + "\n").collect();
    let inside = file.iter().skip_while(|part| *part != "src").count() - 2;
    let depth = if file.file_stem().is_some_and(|stem| stem == "mod") { inside } else { inside + 1 };
    let climb = "super::".repeat(depth);
    let mut named = BTreeSet::new();
    for start in ["crate::", climb.as_str()] {
        for (at, _) in text.match_indices(start) {
            let rest = &text[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(group) => named.extend(heads(group)),
                None => named.extend(first_word(rest)),
            }
        }
    }
    named.retain(|name| modules.contains(name));
    named
}

/// The first words of a group of imports: `{a::B, c::{D, E}, f}` has `a`, `c` and `f`.
fn heads(group: &str) -> Vec<String> {
    let mut heads: Vec<String> = first_word(group).into_iter().collect();
    let mut depth = 0;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.extend(first_word(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> Option<String> {
    let word: String =
        text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}
