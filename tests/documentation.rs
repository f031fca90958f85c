//! Documentation that can be wrong by itself: links that lead nowhere, operations that are not there, commands that do not
//! exist.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_link_to_a_file_of_ours_leads_to_one() {
    let mut links = 0;
    for file in markdown() {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let path = target.split('#').next().unwrap();
            let there = file.parent().unwrap().join(path).exists();
            assert!(there, "{} links to {target}, which is not there", file.display());
            links += 1;
        }
    }
    assert!(links > 10, "only {links} links were found");
}

#[test]
fn the_api_page_lists_every_operation_of_the_openapi_document_and_no_other() {
    let text = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let (_, table) = text.split_once("## Operations").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(method, _)| matches!(*method, "GET" | "POST" | "DELETE"))
        .flat_map(|(method, rest)| {
            let paths = rest.split(" | ").next().unwrap().split('`').filter(|path| path.starts_with('/'));
            paths.map(|path| format!("{method} {path}")).collect::<Vec<_>>()
        })
        .collect();

    let document: serde_json::Value = serde_json::from_str(callingedge::api::document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    // Named in the text above the table.
    assert!(described.remove("GET /api/openapi.json"));

    assert_eq!(listed, described);
}

/// Whoever copies a line of ours gets no `unrecognized subcommand`.
#[test]
fn every_command_in_the_documentation_exists() {
    let known = [
        "analyze",
        "run",
        "demo",
        "init",
        "check",
        "doctor",
        "token",
        "call",
        "explain",
        "openapi",
        "bench",
        "engine-test",
        "mock-engine",
    ];
    for file in markdown() {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("callingedge "));
        let inline = text.split("`callingedge ").skip(1);
        for rest in lines.chain(inline) {
            let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(known.contains(&word.as_str()), "{}: callingedge {word}", file.display());
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn markdown() -> Vec<PathBuf> {
    let mut files = vec![root().join("README.md")];
    collect(&root().join("docs"), &mut files);
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}
