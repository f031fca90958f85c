use std::time::Duration;

use super::*;
use crate::commands::doctor::certificate::Certificate;

const NOW: i64 = NOT_BEFORE + 100 * DAY;

/// A machine on which nothing is wrong: one trunk, one engine, one receiver, a thousand calls.
fn healthy() -> Facts {
    Facts {
        machine: Machine {
            max_calls: 1000,
            http_connections: 1024,
            ports: 20_000..=29_999,
            ports_taken: Vec::new(),
            ephemeral: Some(32_768..=60_999),
            files: Some(262_144),
            memory: Some(4096 * MEBIBYTE),
            receive_buffer: Some(RECEIVE_USUAL),
        },
        clock: Clock { now: NOW, synchronised: Some(true) },
        daemon: DaemonSeen::Absent("connection refused".to_owned()),
        sockets: vec![Socket { what: "udp 0.0.0.0:5060".to_owned(), bound: Bound::Free }],
        advertised: vec![advertised("[media] advertise", "198.51.100.7", true)],
        far_ends: vec![("trunk".to_owned(), "8.8.8.8/32".parse().unwrap())],
        folders: vec![Folder {
            key: "[store] path",
            path: "/var/lib/callingedge".to_owned(),
            refused: None,
            free: Some(100 * FOLDER_SMALL),
        }],
        certificates: vec![certificate(NOW - DAY, NOW + 60 * DAY)],
        trunks: vec![trunk(answered(200))],
        engines: vec![engine(Ok(Duration::from_millis(3)))],
        receivers: vec![receiver(Reached::Yes(Duration::from_millis(20)))],
    }
}

#[test]
fn a_healthy_machine_has_one_good_finding_for_each_thing_that_was_looked_at() {
    let findings = judge(&healthy());

    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert_eq!(bad, Vec::<&Finding>::new());
    assert_eq!(findings.len(), 12);
}

#[test]
fn an_address_in_use_is_good_when_our_own_daemon_has_it_and_a_problem_else() {
    let mut facts = healthy();
    facts.sockets[0].bound = Bound::InUse;
    let stranger = only(&facts, Check::Listen);
    facts.daemon = DaemonSeen::Answers;
    let ours = only(&facts, Check::Listen);
    facts.sockets[0].bound = Bound::Free;
    let elsewhere = only(&facts, Check::Listen);

    assert_eq!((stranger.level, ours.level, elsewhere.level), (Level::Problem, Level::Ok, Level::Warning));
    assert!(stranger.text.contains("another program listens there"), "{stranger}");
    assert!(elsewhere.text.contains("restart it"), "{elsewhere}");
}

#[test]
fn every_way_not_to_bind_an_address_is_a_problem_that_says_what_to_do() {
    for (bound, word) in [
        (Bound::Forbidden, "CAP_NET_BIND_SERVICE"),
        (Bound::NotOurs, "`ip address`"),
        (Bound::Failed("out of luck".to_owned()), "out of luck"),
    ] {
        let mut facts = healthy();
        facts.sockets[0].bound = bound;

        let finding = only(&facts, Check::Listen);

        assert_eq!(finding.level, Level::Problem);
        assert!(finding.text.contains(word), "{finding}");
    }
}

#[test]
fn an_advertised_address_is_judged_by_who_has_to_reach_it() {
    for (address, is_local, far, level, word) in [
        ("10.0.0.5", true, "8.8.8.8/32", Level::Problem, "no caller would be heard"),
        ("100.64.1.1", true, "8.8.8.0/24", Level::Problem, "carrier NAT"),
        ("10.0.0.5", true, "10.0.0.9/32", Level::Ok, "10.0.0.5"),
        ("127.0.0.1", true, "10.0.0.9/32", Level::Problem, "this machine itself"),
        ("127.0.0.1", true, "127.0.0.1/32", Level::Ok, "for this machine alone"),
        ("0.0.0.0", true, "127.0.0.1/32", Level::Problem, "no address that anybody can send to"),
        ("224.0.0.1", false, "127.0.0.1/32", Level::Problem, "no address that anybody can send to"),
        ("203.0.113.7", false, "8.8.8.8/32", Level::Problem, "only examples have"),
        ("9.9.9.9", true, "8.8.8.8/32", Level::Ok, "9.9.9.9"),
        ("9.9.9.9", false, "8.8.8.8/32", Level::Warning, "forwards the SIP and RTP ports"),
    ] {
        let mut facts = healthy();
        facts.advertised = vec![advertised("[media] advertise", address, is_local)];
        facts.far_ends = vec![("trunk".to_owned(), far.parse().unwrap())];

        let finding = only(&facts, Check::Address);

        assert_eq!(finding.level, level, "{address} {far}: {finding}");
        assert!(finding.text.contains(word), "{finding}");
    }
}

#[test]
fn ports_are_counted_in_legs_and_must_be_the_edges_alone() {
    let mut facts = healthy();
    let mut judged = |ports, taken: &[u16]| {
        facts.machine.ports = ports;
        facts.machine.ports_taken = taken.to_vec();
        let findings = judge(&facts).into_iter().filter(|finding| finding.check == Check::Ports);
        findings.map(|finding| (finding.level, finding.text)).collect::<Vec<_>>()
    };

    assert_eq!(judged(20_000..=21_997, &[])[0].0, Level::Problem);
    assert_eq!(judged(20_000..=21_999, &[])[0].0, Level::Warning);
    assert_eq!(judged(20_000..=23_999, &[])[0].0, Level::Ok);
    let taken = judged(20_000..=29_999, &[20_004]);
    assert_eq!(taken[1].0, Level::Warning);
    assert!(taken[1].1.contains("20004"), "{taken:?}");
    let overlapping = judged(30_000..=39_999, &[]);
    assert!(overlapping[1].1.contains("ip_local_reserved_ports=30000-39999"), "{overlapping:?}");
}

#[test]
fn the_ports_of_calls_that_run_are_no_strangers() {
    let mut facts = healthy();
    facts.machine.ports_taken = vec![20_004];
    facts.daemon = DaemonSeen::Answers;

    assert_eq!(only(&facts, Check::Ports).level, Level::Ok);
}

#[test]
fn files_memory_and_buffers_are_held_against_the_calls_that_are_allowed() {
    let mut facts = healthy();
    let mut level = |files, memory, buffer| {
        facts.machine.files = files;
        facts.machine.memory = memory;
        facts.machine.receive_buffer = buffer;
        [Check::Files, Check::Memory, Check::Buffers].map(|check| only(&facts, check).level)
    };
    let plenty = (Some(4096 * MEBIBYTE), Some(RECEIVE_USUAL));

    assert_eq!(level(Some(1024), plenty.0, plenty.1), [Level::Problem, Level::Ok, Level::Ok]);
    assert_eq!(level(Some(5000), plenty.0, plenty.1), [Level::Warning, Level::Ok, Level::Ok]);
    assert_eq!(level(None, plenty.0, plenty.1), [Level::Ok, Level::Ok, Level::Ok]);
    assert_eq!(level(None, Some(200 * MEBIBYTE), plenty.1), [Level::Ok, Level::Warning, Level::Ok]);
    assert_eq!(level(None, plenty.0, Some(65_536)), [Level::Ok, Level::Ok, Level::Warning]);
}

#[test]
fn what_the_system_does_not_tell_is_not_held_against_it() {
    let mut facts = healthy();
    facts.machine.ephemeral = None;
    facts.machine.memory = None;
    facts.machine.receive_buffer = None;
    facts.clock.synchronised = None;
    facts.folders[0].free = None;

    assert!(judge(&facts).iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn a_folder_needs_to_be_writable_and_to_have_room() {
    let mut facts = healthy();
    let mut level = |free, refused: Option<&str>| {
        facts.folders[0].free = Some(free);
        facts.folders[0].refused = refused.map(str::to_owned);
        only(&facts, Check::Folder).level
    };

    assert_eq!(level(FOLDER_SMALL, Some("Permission denied")), Level::Problem);
    assert_eq!(level(FOLDER_FULL - 1, None), Level::Problem);
    assert_eq!(level(FOLDER_SMALL - 1, None), Level::Warning);
    assert_eq!(level(FOLDER_SMALL, None), Level::Ok);
}

#[test]
fn a_certificate_is_a_problem_in_its_last_week_and_a_warning_in_the_two_before() {
    let mut facts = healthy();
    let mut level = |from, until| {
        facts.certificates = vec![certificate(from, until)];
        only(&facts, Check::Certificate).level
    };

    assert_eq!(level(NOW - DAY, NOW), Level::Problem);
    assert_eq!(level(NOW - DAY, NOW + 7 * DAY - 1), Level::Problem);
    assert_eq!(level(NOW - DAY, NOW + 7 * DAY), Level::Warning);
    assert_eq!(level(NOW - DAY, NOW + 21 * DAY - 1), Level::Warning);
    assert_eq!(level(NOW - DAY, NOW + 21 * DAY), Level::Ok);
    assert_eq!(level(NOW + DAY, NOW + 90 * DAY), Level::Problem);
}

#[test]
fn a_certificate_without_names_or_one_that_cannot_be_read_is_told() {
    let mut facts = healthy();
    facts.certificates[0].read.as_mut().unwrap().names.clear();
    let nameless = judge(&facts);
    facts.certificates[0].read = None;
    let unreadable = only(&facts, Check::Certificate);

    assert!(nameless.iter().any(|finding| finding.text.contains("subjectAltName")));
    assert_eq!(unreadable.level, Level::Warning);
}

#[test]
fn a_renewed_certificate_that_the_running_edge_does_not_show_is_told() {
    let mut facts = healthy();
    facts.daemon = DaemonSeen::AnswersWithOtherCertificate;
    facts.sockets[0].bound = Bound::InUse;

    let findings = judge(&facts);

    assert_eq!(only(&facts, Check::Listen).level, Level::Ok);
    let told: Vec<&Finding> = findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    assert_eq!((told.len(), told[0].check), (1, Check::Certificate));
    assert!(told[0].text.contains("needs a restart"), "{}", told[0]);
}

#[test]
fn a_clock_that_is_years_behind_is_a_problem_and_one_left_alone_a_warning() {
    let mut facts = healthy();
    facts.certificates.clear();
    facts.clock = Clock { now: NOW, synchronised: Some(false) };
    let alone = only(&facts, Check::Clock).level;
    facts.clock = Clock { now: 0, synchronised: Some(true) };
    let behind = only(&facts, Check::Clock).level;

    assert_eq!((alone, behind), (Level::Warning, Level::Problem));
}

#[test]
fn a_trunk_is_there_with_any_final_answer_but_some_of_them_say_more() {
    for (asked, has_credentials, level, word) in [
        (answered(200), false, Level::Ok, "200"),
        (answered(405), false, Level::Ok, "405"),
        (answered(401), false, Level::Warning, "write `username`"),
        (answered(407), true, Level::Problem, "does not take our password"),
        (answered(403), false, Level::Warning, "may not know our address"),
        (answered(503), false, Level::Warning, "may take no calls"),
        (Asked::Silent(Duration::from_secs(2)), false, Level::Problem, "within 2 s"),
        (Asked::NotSent("no route".to_owned()), false, Level::Problem, "no route"),
        (Asked::NotFound("no address".to_owned()), false, Level::Problem, "leads nowhere"),
    ] {
        let mut facts = healthy();
        facts.trunks = vec![TrunkSeen { has_credentials, ..trunk(asked) }];

        let finding = only(&facts, Check::Trunk);

        assert_eq!(finding.level, level, "{finding}");
        assert!(finding.text.contains(word), "{finding}");
    }
}

#[test]
fn an_engine_that_takes_no_websocket_is_a_problem_with_a_cure_of_its_own() {
    let http = |status| EngineFailure::Http { status, retry_after: None };
    for (failure, word) in [
        (EngineFailure::Dns, "name servers"),
        (EngineFailure::Connect("refused".to_owned()), "is it running"),
        (EngineFailure::Tls("expired".to_owned()), "certificate"),
        (http(401), "`token`"),
        (http(404), "the path"),
        (http(500), "own log"),
        (EngineFailure::Upgrade("no such sub-protocol".to_owned()), "`dialect`"),
        (EngineFailure::Timeout, "connect_timeout_ms"),
    ] {
        let mut facts = healthy();
        facts.engines = vec![engine(Err(failure))];

        let finding = only(&facts, Check::Engine);

        assert_eq!(finding.level, Level::Problem);
        assert!(finding.text.contains(word), "{finding}");
    }
}

#[test]
fn a_receiver_that_the_guard_refuses_is_told_from_one_that_is_down() {
    let inside = Refusal::Range("10.0.0.1".parse().unwrap(), Range::Private);
    for (reached, word) in [
        (Reached::Refused(inside), "allow_networks"),
        (Reached::Refused(Refusal::PlainHttp("9.9.9.9".parse().unwrap())), "https"),
        (Reached::NotFound("no such host".to_owned()), "does not resolve"),
        (Reached::No("connection refused".to_owned()), "is it running"),
    ] {
        let mut facts = healthy();
        facts.receivers = vec![receiver(reached)];

        let finding = only(&facts, Check::Webhook);

        assert_eq!(finding.level, Level::Problem);
        assert!(finding.text.contains(word), "{finding}");
    }
}

/// The one finding about this.
fn only(facts: &Facts, check: Check) -> Finding {
    let mut found = judge(facts).into_iter().filter(|finding| finding.check == check);
    let finding = found.next().unwrap();
    assert_eq!(found.next(), None);
    finding
}

fn advertised(key: &'static str, address: &str, is_local: bool) -> Advertised {
    Advertised { key, address: address.parse().unwrap(), is_local, is_written: true }
}

fn certificate(from: i64, until: i64) -> Shown {
    let read = Certificate { from, until, names: vec!["edge.example.com".to_owned()] };
    Shown { section: "[http]".to_owned(), read: Some(read) }
}

fn answered(status: u16) -> Asked {
    Asked::Answered { status, reason: "So".to_owned(), took: Duration::from_millis(30) }
}

fn trunk(asked: Asked) -> TrunkSeen {
    TrunkSeen {
        provider: "trunk".to_owned(),
        target: "8.8.8.8:5060 over udp".to_owned(),
        has_credentials: false,
        asked,
    }
}

fn engine(dialled: Result<Duration, EngineFailure>) -> EngineSeen {
    EngineSeen { name: "bot".to_owned(), url: "wss://bot.example.com/".to_owned(), dialled }
}

fn receiver(reached: Reached) -> ReceiverSeen {
    ReceiverSeen {
        section: "[tenants.acme]".to_owned(),
        place: "https://example.com:443".to_owned(),
        reached,
    }
}
