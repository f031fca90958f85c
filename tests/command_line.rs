//! The commands as people run them: what they print, what they leave behind, how they fail.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use callingedge::store::{Scope, Tokens};

#[test]
fn init_check_and_token_lead_to_an_edge_that_could_run() {
    let place = Place::new("tour");

    let init = place.run(&["init", "."]);
    let check = place.run(&["check"]);
    let create =
        place.run(&["token", "create", "--tenant", "acme", "--scope", "calls:read", "--name", "tour"]);
    let token = create.out.clone();
    let list = place.run(&["token", "list"]);
    let revoke = place.run(&["token", "revoke", token.trim()]);
    let again = place.run(&["token", "revoke", token.trim()]);

    assert!(init.out.contains("Wrote ./callingedge.toml."), "{init:?}");
    assert!(check.out.starts_with("callingedge.toml is good. It would run:\n"), "{check:?}");
    assert!(token.starts_with("ce_") && token.lines().count() == 1, "{create:?}");
    assert!(
        list.out.contains("acme") && list.out.contains("calls:read") && list.out.contains("tour"),
        "{list:?}"
    );
    assert!(!list.out.contains(token.trim()), "a list shows no secrets");
    assert_eq!((revoke.code, again.code), (0, 1), "{again:?}");
    let rows = Tokens::open(&place.directory.join("callingedge.db")).unwrap().list().unwrap();
    assert_eq!(rows[0].scopes, [Scope::CallsRead]);
    assert!(rows[0].revoked_at.is_some());
}

#[test]
fn init_never_writes_over_a_file() {
    let place = Place::new("overwrite");
    fs::write(place.directory.join("callingedge.toml"), "mine").unwrap();

    let init = place.run(&["init"]);

    assert_eq!(init.code, 1);
    assert_eq!(init.err, "callingedge: ./callingedge.toml is there already and stays as it is\n");
    assert_eq!(fs::read_to_string(place.directory.join("callingedge.toml")).unwrap(), "mine");
}

#[test]
fn check_tells_all_mistakes_and_fails() {
    let place = Place::new("mistakes");
    fs::write(place.directory.join("bad.toml"), "[sip]\nliste = []\n[log]\nlevel = 7\n").unwrap();

    let check = place.run(&["check", "bad.toml"]);
    let run = place.run(&["run", "--config", "bad.toml"]);
    let missing = place.run(&["check", "nowhere.toml"]);

    assert_eq!((check.code, run.code, missing.code), (1, 1, 1));
    assert!(
        check.err.contains("unknown key `liste` in [sip] at line 2: did you mean `listen`?"),
        "{check:?}"
    );
    assert!(
        check.err.contains("`level` in [log] at line 4: write a string, not a whole number"),
        "{check:?}"
    );
    assert_eq!(check.err, run.err);
    assert!(missing.err.starts_with("callingedge: cannot read nowhere.toml: "), "{missing:?}");
}

#[test]
fn secrets_are_needed_to_run_and_not_to_make_a_token() {
    let place = Place::new("secrets");
    place.run(&["init"]);
    let file = place.directory.join("callingedge.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[tenants.acme]", "[tenants.acme]\nwebhook_secret = { env = \"CALLINGEDGE_TEST_UNSET\" }");
    fs::write(&file, text).unwrap();

    let check = place.run(&["check"]);
    let offline = place.run(&["check", "--offline"]);
    let token = place.run(&["token", "create", "--tenant", "acme", "--scope", "admin"]);

    assert_eq!((check.code, offline.code, token.code), (1, 0, 0), "{check:?} {offline:?} {token:?}");
    assert!(check.err.contains("`CALLINGEDGE_TEST_UNSET` is not set"), "{check:?}");
}

#[test]
fn wrong_use_is_told_from_what_goes_wrong() {
    let place = Place::new("usage");
    place.run(&["init"]);

    let unknown = place.run(&["nothing"]);
    let scope = place.run(&["token", "create", "--tenant", "acme", "--scope", "calls:reed"]);
    let tenant = place.run(&["token", "create", "--tenant", "acne", "--scope", "admin"]);
    let nobody = place.run(&["call", "+1650", "--token", "x", "--url", "http://127.0.0.1:1"]);
    let url = place.run(&["explain", "call_1", "--token", "x", "--url", "localhost"]);

    assert_eq!((unknown.code, scope.code), (2, 2));
    assert!(scope.err.contains("a scope is one of calls:read, calls:write, events:read, admin"), "{scope:?}");
    assert_eq!(tenant.err, "callingedge: there is no tenant `acne`; did you mean `acme`?\n");
    assert!(nobody.err.contains("cannot reach http://127.0.0.1:1"), "{nobody:?}");
    assert_eq!(
        url.err,
        "callingedge: `localhost` is not the URL of an edge; write one like http://127.0.0.1:8080\n"
    );
    assert_eq!((tenant.code, nobody.code, url.code), (1, 1, 1));
}

#[test]
fn the_openapi_document_is_printed_as_json() {
    let document: serde_json::Value =
        serde_json::from_str(&Place::new("openapi").run(&["openapi"]).out).unwrap();

    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_doctor_finds_what_keeps_calls_from_coming_about_and_says_so_in_its_exit_code() {
    let place = Place::new("doctor");
    place.run(&["init"]);
    let file = place.directory.join("callingedge.toml");
    let text = fs::read_to_string(&file).unwrap();
    // Ports that the kernel chooses are free whatever else this machine does.
    fs::write(&file, text.replace("127.0.0.1:5060", "127.0.0.1:0").replace("127.0.0.1:8080", "127.0.0.1:0"))
        .unwrap();

    let well = place.run(&["doctor", "--offline"]);
    let lonely = place.run(&["doctor", "--json"]);
    let lines: Vec<serde_json::Value> =
        lonely.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    assert_eq!(well.code, 0, "{well:?}");
    assert!(
        well.out.starts_with("ok       configuration callingedge.toml: can be used as it is\n"),
        "{well:?}"
    );
    assert!(well.out.contains("ok       listen        udp 127.0.0.1:0: can be listened on\n"), "{well:?}");
    assert!(!well.out.contains(" engine "), "{well:?}");
    assert_eq!(lonely.code, 1, "nobody is at the engine's place: {lonely:?}");
    let engine = lines.iter().find(|line| line["check"] == "engine").unwrap();
    assert_eq!(engine["level"], "problem");
    assert_eq!(engine["about"], "receptionist at ws://127.0.0.1:8765/ws");
    assert!(engine["text"].as_str().unwrap().contains("is it running"), "{engine}");
    assert!(
        !fs::read_dir(&place.directory)
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_str().unwrap().starts_with(".callingedge") })
    );
}

#[test]
fn the_doctor_tells_every_mistake_of_the_file_and_examines_the_rest_without_secrets() {
    let place = Place::new("doctor-mistakes");
    place.run(&["init"]);
    let file = place.directory.join("callingedge.toml");
    let good = fs::read_to_string(&file).unwrap();
    let secret = "[tenants.acme]\nwebhook_secret = { env = \"CALLINGEDGE_TEST_UNSET\" }";
    fs::write(&file, good.replace("[tenants.acme]", secret)).unwrap();
    fs::write(place.directory.join("bad.toml"), "[sip]\nliste = []\n[log]\nlevel = 7\n").unwrap();

    let without = place.run(&["doctor"]);
    let bad = place.run(&["doctor", "--config", "bad.toml"]);
    let missing = place.run(&["doctor", "--config", "nowhere.toml"]);

    assert_eq!((without.code, bad.code, missing.code), (1, 1, 1));
    assert!(without.out.contains("`CALLINGEDGE_TEST_UNSET` is not set"), "{without:?}");
    assert!(
        without.out.contains("warning  configuration callingedge.toml: the service's secrets"),
        "{without:?}"
    );
    assert!(without.out.contains(" folder "), "{without:?}");
    assert!(bad.out.contains("problem  configuration bad.toml: unknown key `liste`"), "{bad:?}");
    assert!(bad.out.contains("problem  configuration bad.toml: `level` in [log]"), "{bad:?}");
    assert!(missing.out.contains("cannot read nowhere.toml"), "{missing:?}");
}

/// A directory of its own, gone afterwards.
struct Place {
    directory: PathBuf,
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("callingedge-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callingedge"));
        for variable in ["CALLINGEDGE_CONFIG", "CALLINGEDGE_URL", "CALLINGEDGE_TOKEN"] {
            command.env_remove(variable);
        }
        let Output { status, stdout, stderr } =
            command.args(arguments).current_dir(&self.directory).output().unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
