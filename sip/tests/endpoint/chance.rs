//! Thousands of calls in which everybody does anything at any time, over networks that lose, double and delay.
//!
//! Whatever happens, in the end: every dialog is gone, exactly once and as its last event; every request that arrived got
//! one kind of final answer; no ACK got any; neither side holds anything and no timer is left. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sip::endpoint::Event;
use sip::simulate::{Fate, Faults, Happening, Network, Node};
use sip::{
    Body, DialogId, Framing, Headers, Invite, Ledger, Message, Method, Policy, ReliableProvisionals,
    RequestId, SessionTimerMode, SessionTimers, StatusCode, Transport,
};

use crate::bench::beginning;
use crate::owners::{ALICE, BOB, name, uri, word};

#[test]
fn over_a_good_network_every_call_ends_on_both_sides() {
    let seen = play_all(0..700, Setting::Good);

    for event in
        ["Invited", "Cancelled", "Expired", "AckMissing", "Refused", "Failed", "Reinvited", "ReinviteRefused"]
    {
        assert!(seen.get(event).is_some_and(|count| *count >= 3), "{event} is too rare: {seen:?}");
    }
}

#[test]
fn over_a_bad_network_every_call_ends_on_both_sides() {
    let seen = play_all(1_000..1_900, Setting::Bad);

    for event in [
        "AckMissing",
        "Failed",
        "ReinviteAnswered",
        "ReferAccepted",
        "InfoAnswered",
        "InfoFailed",
        "EarlyOffer",
        "UpdateAnswered",
        "UpdateRefused",
        "Refreshed",
        "ReferProgress",
    ] {
        assert!(seen.get(event).is_some_and(|count| *count >= 3), "{event} is too rare: {seen:?}");
    }
}

#[test]
fn over_streams_that_break_every_call_ends_on_both_sides() {
    let seen = play_all(2_000..2_600, Setting::Streams);

    for event in ["Failed", "HungUp", "ReinviteRefused", "ReferRefused", "InfoFailed"] {
        assert!(seen.get(event).is_some_and(|count| *count >= 3), "{event} is too rare: {seen:?}");
    }
}

/// What kind of network a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// Datagrams and streams that only take their time.
    Good,
    /// Datagrams lost, doubled and overtaken.
    Bad,
    /// TCP, and connections that are cut.
    Streams,
}

/// Plays all seeds and counts what was told.
fn play_all(seeds: Range<u64>, setting: Setting) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    for seed in seeds {
        let mut run = Run::new(seed, setting);
        let outcome = catch_unwind(AssertUnwindSafe(|| run.play()));
        assert!(outcome.is_ok(), "seed {seed}\n{}", run.network.ladder());
        for word in run.words {
            *seen.entry(word).or_insert(0) += 1;
        }
    }
    seen
}

/// One network with a few calls.
struct Run {
    network: Network,
    chance: StdRng,
    dialogs: BTreeMap<(Node, DialogId), Known>,
    requests: BTreeMap<u64, (Node, Later)>,
    setting: Setting,
    words: Vec<String>,
}

/// What a node was told of a dialog.
#[derive(Debug, Default)]
struct Known {
    words: Vec<String>,
}

/// What an owner does when its time has come.
#[derive(Debug, Clone, Copy)]
enum Later {
    Call,
    Ring(DialogId),
    Accept(DialogId),
    Refuse(DialogId),
    HangUp(DialogId),
    Acknowledge(DialogId),
    Reinvite(DialogId),
    Update(DialogId),
    Refer(DialogId),
    Serve(DialogId, RequestId),
    Info(DialogId),
    Respond(RequestId),
    Cut,
}

impl Run {
    fn new(seed: u64, setting: Setting) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let delay = Duration::from_millis(chance.random_range(1..200));
        let faults = match setting {
            Setting::Good | Setting::Streams => Faults { delay, ..Faults::NONE },
            Setting::Bad => Faults {
                loss: chance.random_range(0..250),
                doubling: chance.random_range(0..200),
                delay,
                jitter: Duration::from_millis(chance.random_range(0..3) * chance.random_range(0..800)),
            },
        };
        let mut network = Network::new(beginning(), seed, faults);
        network.add(|_| {});
        network.add(|_| {});
        let (dialogs, requests) = (BTreeMap::new(), BTreeMap::new());
        Self { network, chance, dialogs, requests, setting, words: Vec::new() }
    }

    fn play(&mut self) {
        for _ in 0..self.chance.random_range(1..4) {
            let caller = if self.chance.random() { ALICE } else { BOB };
            self.later(caller, 5_000, Later::Call);
        }
        if self.setting == Setting::Streams {
            self.later(ALICE, 10_000, Later::Cut);
            self.later(ALICE, 30_000, Later::Cut);
        }
        while let Some(happening) = self.network.advance() {
            match happening {
                Happening::Event(node, event) => self.told(node, event),
                Happening::Wake(_, token) => {
                    let (node, later) = self.requests.remove(&token).unwrap();
                    self.act(node, later);
                }
            }
        }
        self.check();
    }

    fn later(&mut self, node: Node, within_ms: u64, later: Later) {
        let token = self.chance.random();
        let span = Duration::from_millis(self.chance.random_range(0..=within_ms));
        self.requests.insert(token, (node, later));
        self.network.wake(span, node, token);
    }

    fn told(&mut self, node: Node, event: Event) {
        let word = word(&event);
        self.words.push(word.clone());
        match event {
            Event::Invited { dialog, .. } => {
                self.note(node, dialog, word);
                let (now, policy) = (self.network.now(), self.policy());
                if self.network.endpoint(node).set_policy(now, dialog, policy).is_err() {
                    return;
                }
                for _ in 0..self.chance.random_range(0..3) {
                    self.later(node, 4_000, Later::Ring(dialog));
                }
                match self.chance.random_range(0..8) {
                    0 => self.later(node, 8_000, Later::Refuse(dialog)),
                    1 => self.later(node, 8_000, Later::HangUp(dialog)),
                    2 => self.act(node, Later::Accept(dialog)),
                    _ => self.later(node, 6_000, Later::Accept(dialog)),
                }
                self.plans(node, dialog);
            }
            Event::Answered { dialog, .. } | Event::ReinviteAnswered { dialog, .. } => {
                self.note(node, dialog, word);
                match self.chance.random_range(0..20) {
                    // Never, unless it hangs up.
                    0 | 1 => {}
                    2..=4 => self.later(node, 6_000, Later::Acknowledge(dialog)),
                    _ => self.act(node, Later::Acknowledge(dialog)),
                }
            }
            Event::Reinvited { dialog, .. } | Event::Updated { dialog, .. } => {
                self.note(node, dialog, word);
                match self.chance.random_range(0..6) {
                    0 => self.later(node, 3_000, Later::Refuse(dialog)),
                    1 => self.later(node, 3_000, Later::Accept(dialog)),
                    _ => self.act(node, Later::Accept(dialog)),
                }
            }
            Event::EarlyOffer { dialog, id, .. } => {
                self.note(node, dialog, word);
                match self.chance.random_range(0..6) {
                    0 => {}
                    1 => self.later(node, 2_000, Later::Respond(id)),
                    _ => self.act(node, Later::Respond(id)),
                }
            }
            Event::Progress { dialog, response } => {
                self.note(node, dialog, word);
                let (now, answer) = (self.network.now(), Some(Body::sdp("v=0")));
                if self.chance.random_ratio(5, 6) {
                    self.network.endpoint(node).prack(now, dialog, &response, answer);
                }
            }
            Event::Referred { dialog, id, .. } if self.chance.random() => {
                self.note(node, dialog, word);
                self.later(node, 2_000, Later::Serve(dialog, id));
                self.later(node, 20_000, Later::Serve(dialog, id));
            }
            Event::Referred { dialog, id, .. }
            | Event::Info { dialog, id, .. }
            | Event::Notified { dialog, id, .. } => {
                self.note(node, dialog, word);
                if self.chance.random_range(0..10) > 0 {
                    self.later(node, 1_000, Later::Respond(id));
                }
            }
            Event::Cancelled { dialog, .. }
            | Event::Expired { dialog }
            | Event::Acknowledged { dialog, .. }
            | Event::AckMissing { dialog }
            | Event::Refused { dialog, .. }
            | Event::Failed { dialog, .. }
            | Event::ReinviteCancelled { dialog }
            | Event::ReinviteRefused { dialog, .. }
            | Event::HungUp { dialog, .. }
            | Event::ReferAccepted { dialog, .. }
            | Event::ReferRefused { dialog, .. }
            | Event::ReferProgress { dialog, .. }
            | Event::InfoAnswered { dialog, .. }
            | Event::InfoFailed { dialog, .. }
            | Event::Refreshed { dialog, .. }
            | Event::SessionExpired { dialog }
            | Event::UpdateAnswered { dialog, .. }
            | Event::UpdateRefused { dialog, .. }
            | Event::Pracked { dialog, .. }
            | Event::PrackMissing { dialog }
            | Event::Gone { dialog } => self.note(node, dialog, word),
            Event::Request { .. } | Event::RequestAnswered { .. } | Event::RequestFailed { .. } => {
                panic!("nobody sends requests outside of dialogs here")
            }
        }
    }

    /// What an owner may do with a call at any time; in the end it hangs up.
    fn plans(&mut self, node: Node, dialog: DialogId) {
        for _ in 0..self.chance.random_range(0..4) {
            let later = match self.chance.random_range(0..6) {
                0 | 1 => Later::Reinvite(dialog),
                2 => Later::Refer(dialog),
                3 | 4 => Later::Update(dialog),
                _ => Later::Info(dialog),
            };
            self.later(node, 20_000, later);
        }
        let long = match self.chance.random_range(0..8) {
            0 => 600_000,
            1 => 120_000,
            _ => 30_000,
        };
        self.later(node, long, Later::HangUp(dialog));
    }

    fn note(&mut self, node: Node, dialog: DialogId, word: String) {
        self.dialogs.entry((node, dialog)).or_default().words.push(word);
    }

    fn act(&mut self, node: Node, later: Later) {
        let now = self.network.now();
        let body = Some(Body::sdp("v=0"));
        match later {
            Later::Call => self.call(node),
            Later::Cut => self.network.cut_streams(),
            Later::Ring(id) => {
                let early = body.filter(|_| self.chance.random());
                let status = if early.is_some() { StatusCode::SESSION_PROGRESS } else { StatusCode::RINGING };
                self.network.endpoint(node).ring(now, id, status, Headers::new(), early);
            }
            Later::Accept(id) => self.network.endpoint(node).accept(now, id, Headers::new(), body),
            Later::Refuse(id) => {
                self.network.endpoint(node).refuse(now, id, StatusCode::BUSY_HERE, Headers::new());
            }
            Later::HangUp(id) => self.network.endpoint(node).hang_up(now, id, Headers::new()),
            Later::Acknowledge(id) => self.network.endpoint(node).acknowledge(now, id, None),
            Later::Reinvite(id) => self.network.endpoint(node).reinvite(now, id, Headers::new(), body),
            Later::Update(id) => {
                self.network.endpoint(node).update(now, id, Headers::new(), Body::sdp("v=0"));
            }
            Later::Serve(dialog, id) => {
                let status = if self.chance.random() { StatusCode::RINGING } else { StatusCode::OK };
                let endpoint = self.network.endpoint(node);
                endpoint.accept_refer(now, id);
                endpoint.refer_progress(now, dialog, id, status);
            }
            Later::Refer(id) => {
                let to = name("sip:carol@10.0.0.3");
                self.network.endpoint(node).refer(now, id, &to, Headers::new());
            }
            Later::Info(id) => self.network.endpoint(node).info(now, id, Headers::new(), None),
            Later::Respond(id) => {
                let status = if self.chance.random() { StatusCode::OK } else { StatusCode::DECLINE };
                self.network.endpoint(node).respond(now, id, status, Headers::new(), None);
            }
        }
    }

    /// Any policy. Session timers are as short as may be, so that they run in calls of minutes.
    fn policy(&mut self) -> Policy {
        let mode = match self.chance.random_range(0..4) {
            0 => SessionTimerMode::Off,
            1 => SessionTimerMode::Accept,
            _ => SessionTimerMode::Ask,
        };
        let expires = Duration::from_secs(self.chance.random_range(90..200));
        let min = Duration::from_secs(self.chance.random_range(90..130));
        let reliable_provisionals = match self.chance.random_range(0..6) {
            0 => ReliableProvisionals::Off,
            1 | 2 => ReliableProvisionals::Required,
            _ => ReliableProvisionals::Supported,
        };
        let session_timers = SessionTimers { mode, expires, min };
        Policy { session_timers, reliable_provisionals, ..Policy::default() }
    }

    fn call(&mut self, node: Node) {
        let transport = match self.setting {
            Setting::Good if self.chance.random_ratio(1, 4) => Transport::Tcp,
            Setting::Good | Setting::Bad => Transport::Udp,
            Setting::Streams => Transport::Tcp,
        };
        let target = self.network.target(1 - node, transport);
        let to = format!("sip:x@{}", target.address);
        let mut invite = Invite::new(target, uri(&to), name("sip:y@10.0.0.9"), name(&to));
        invite.body = self.chance.random::<bool>().then(|| Body::sdp("v=0"));
        if self.chance.random_ratio(1, 6) {
            invite.expires = Some(Duration::from_secs(self.chance.random_range(1..4)));
        }
        if self.chance.random_ratio(1, 6) {
            invite.timer_b = Some(Duration::from_millis(self.chance.random_range(100..3_000)));
        }
        invite.policy = self.policy();
        let now = self.network.now();
        let dialog = self.network.endpoint(node).invite(now, invite);
        self.note(node, dialog, "Called".to_owned());
        self.plans(node, dialog);
    }

    fn check(&mut self) {
        for (key, known) in &self.dialogs {
            let words = &known.words;
            let times = |wanted: &str| words.iter().filter(|word| *word == wanted).count();
            assert_eq!(times("Gone"), 1, "{key:?} {words:?}");
            assert_eq!(words.last().unwrap(), "Gone", "{key:?} {words:?}");
            for once in ["Answered", "HungUp", "Cancelled", "Refused", "AckMissing", "Expired", "Failed"] {
                assert!(times(once) <= 1, "{key:?} was told {once} twice: {words:?}");
            }
        }
        for node in [ALICE, BOB] {
            let endpoint = self.network.endpoint(node);
            assert_eq!(endpoint.ledger(), Ledger::default(), "of {node}");
            assert_eq!(endpoint.poll_timeout(), None, "of {node}");
            assert_eq!(endpoint.dropped().malformed, 0, "of {node}");
        }
        self.check_answers();
    }

    /// Every request that arrived got final answers of one kind, and no ACK got any.
    fn check_answers(&self) {
        let mut asked = BTreeMap::new();
        let mut answered: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        for trace in self.network.traces() {
            let message = Message::parse(trace.payload.clone(), Framing::Stream).unwrap();
            message.check().unwrap();
            let cseq = message.cseq().unwrap();
            let branch = message.via().unwrap().branch().unwrap().to_owned();
            let key = (branch, cseq.method.as_str().to_owned());
            match message.status() {
                None if trace.fate != Fate::Lost => {
                    asked.insert(key, trace.start_line());
                }
                None => {}
                Some(status) if status.is_final() => {
                    answered.entry(key).or_default().insert(status.code());
                }
                Some(_) => {}
            }
        }
        for (key, line) in &asked {
            let answers = answered.get(key).map_or(0, BTreeSet::len);
            let expected = usize::from(key.1 != Method::Ack.as_str());
            // What was on the way when its stream was cut never arrived.
            assert!(
                answers == expected || (self.setting == Setting::Streams && answers == 0),
                "{line}: {:?}",
                answered.get(key)
            );
        }
    }
}
