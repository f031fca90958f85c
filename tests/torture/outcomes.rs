//! What comes back on the wire for each message that has a table. A row says, over UDP and over TCP:
//!
//! | word | means |
//! |---|---|
//! | `400`, `405` … | that final response, and nothing else |
//! | `call` | taken for a call: it rings, and is refused with 503 since there is no engine |
//! | `silence` | no answer at all |
//! | `waits` | the stream is read on for the rest of the message; when it ends instead, it is closed without an answer |
//!
//! `a+b` is one after the other, and `, close` says that the stream is closed behind it: nobody knows where the next message
//! begins. After everything else the stream can be used as before.

use std::collections::BTreeSet;

use crate::running::{Fate, Running};
use crate::{beside, messages, root};

/// RFC 4475 and RFC 5118. The table of ours says the same as the one that comes with the messages, in statuses instead of
/// words; where it does not, it names the RFC that lets it differ.
#[test]
fn the_torture_messages_of_the_rfcs_get_the_answers_that_their_tables_want() {
    let table = std::fs::read_to_string(root().join("tests/torture/rfc.tsv")).unwrap();
    let daemons = Daemons::start();
    let mut wrong = Vec::new();
    for (set, size) in [("rfc4475", 49), ("rfc5118", 12)] {
        let samples = messages(set);
        if samples.is_empty() {
            continue;
        }
        let wanted = std::fs::read_to_string(beside(set).join("expected.tsv")).unwrap();
        let wanted: Vec<&str> = wanted.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(wanted.len(), size);
        for line in wanted {
            let (name, words) = (line.split('\t').next().unwrap(), line.rsplit('\t').next().unwrap());
            let row = row(&table, &format!("{set}/{name}"));
            assert!(
                says_the_same(&row, words) || row.why.contains("RFC"),
                "{name}: {words:?} is wanted, the table has {row:?} and does not say why"
            );
            wrong.extend(daemons.judge(&row, &samples[name]));
        }
        println!("{set}: {size} messages, each over UDP and over TCP");
    }
    daemons.stop();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_broke_others_gets_the_answer_that_the_table_says() {
    let samples = messages("cve-shaped");
    let table = std::fs::read_to_string(root().join("fixtures/cve-shaped/expected.tsv")).unwrap();
    let daemons = Daemons::start();
    let judged = samples
        .iter()
        .enumerate()
        .flat_map(|(number, (name, wire))| daemons.judge(&row(&table, name), &with_branch(wire, number)));
    let wrong: Vec<String> = judged.collect();
    daemons.stop();
    assert_eq!(samples.len(), 31);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table of the message layer holds on the wire too: what it refuses is told so, and what is no SIP is not answered.
#[test]
fn our_own_odd_messages_are_answered_as_the_message_layer_judges_them() {
    let table = std::fs::read_to_string(root().join("fixtures/sip/expected.tsv")).unwrap();
    let daemon = Running::start();
    let mut wrong = Vec::new();
    let samples = messages("sip").into_iter().filter(|(name, _)| name.ends_with(".sip"));
    for (number, (name, wire)) in samples.enumerate() {
        let outcome = row(&table, &name).udp;
        let is_request = !wire.starts_with(b"SIP/") && outcome != "not-sip";
        let statuses = daemon.over_udp(&with_branch(&wire, number), usize::from(is_request)).statuses();
        let is_so = match outcome.as_str() {
            "ok" if is_request => statuses.len() == 1 && statuses != [400],
            status if is_request => statuses == [status.parse::<u16>().unwrap()],
            _ => statuses.is_empty(),
        };
        wrong.extend((!is_so).then(|| format!("{name}: {outcome} is expected, {statuses:?} came")));
        assert!(daemon.is_alive(), "{name}");
    }
    daemon.stop();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same with another branch. Ours all have the same one, and so would be repetitions of the first.
fn with_branch(wire: &[u8], number: usize) -> Vec<u8> {
    const COOKIE: &[u8] = b"z9hG4bK";
    let Some(at) = wire.windows(COOKIE.len()).position(|part| part == COOKIE) else { return wire.to_vec() };
    let (before, behind) = wire.split_at(at + COOKIE.len());
    [before, format!("{number}-").as_bytes(), behind].concat()
}

#[derive(Debug)]
struct Row {
    name: String,
    udp: String,
    tcp: String,
    why: String,
}

fn row(table: &str, name: &str) -> Row {
    let line = table.lines().find(|line| line.split('\t').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in the table"));
    let mut cells = line.split('\t').map(str::to_owned);
    let mut cell = || cells.next().unwrap_or_default();
    Row { name: cell(), udp: cell(), tcp: cell(), why: cell() }
}

/// One for each transport: to one, the same message over the other would be a repetition (RFC 3261 §17.2.3).
struct Daemons {
    udp: Running,
    tcp: Running,
}

impl Daemons {
    fn start() -> Self {
        Self { udp: Running::start(), tcp: Running::start() }
    }

    fn stop(self) {
        self.udp.stop();
        self.tcp.stop();
    }

    /// Everything about the fate of a message that is not as its row says.
    fn judge(&self, row: &Row, wire: &[u8]) -> Vec<String> {
        let finals = |outcome: &str| match outcome.trim_end_matches(", close") {
            "silence" | "waits" => Vec::new(),
            list => list
                .split('+')
                .map(|one| if one == "call" { 503 } else { one.parse::<u16>().unwrap() })
                .collect(),
        };
        let hold = |over: &str, outcome: &str, fate: &Fate| {
            let is_so = fate.statuses() == finals(outcome)
                && fate.rang == outcome.contains("call")
                && fate.closed == outcome.ends_with(", close");
            (!is_so).then(|| format!("{} over {over}: {outcome} is expected, {fate:?} came", row.name))
        };
        let mut wrong = Vec::new();
        // What no datagram can hold is for streams.
        if row.udp != "-" {
            wrong.extend(hold("UDP", &row.udp, &self.udp.over_udp(wire, finals(&row.udp).len())));
        }
        if row.tcp == "waits" {
            let rest = self.tcp.over_tcp_cut_off(wire);
            wrong.extend((!rest.is_empty()).then(|| format!("{} over TCP: {rest:?}", row.name)));
        } else {
            wrong.extend(hold("TCP", &row.tcp, &self.tcp.over_tcp(wire, finals(&row.tcp).len())));
        }
        assert!(self.udp.is_alive() && self.tcp.is_alive(), "the probe is lost after {}", row.name);
        wrong
    }
}

/// Whether the statuses that the wanted outcome names are ours; one that names none wants the message taken.
fn says_the_same(row: &Row, words: &str) -> bool {
    const STATUSES: [&str; 14] =
        ["200", "400", "401", "404", "405", "406", "415", "416", "420", "481", "483", "488", "501", "505"];
    let numbers = |text: &str| -> BTreeSet<&str> {
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        STATUSES.into_iter().filter(|status| words.contains(status)).collect()
    };
    let mut wanted = numbers(words);
    if wanted.is_empty() && words.starts_with("reject") {
        wanted.insert("400");
    }
    [&row.udp, &row.tcp].into_iter().all(|outcome| {
        let ours = numbers(outcome);
        // Where none is named, the message has to be taken, whatever we do with such a request then.
        if wanted.is_empty() {
            ours.is_disjoint(&numbers("400 415 416 420 505"))
        } else {
            ours.is_subset(&wanted)
        }
    })
}
