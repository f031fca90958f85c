//! The outbox in virtual time: a disk that is a table, receivers that are a function, and days that take milliseconds.

#![expect(clippy::unwrap_used, reason = "where a test's helper cannot go on, the test has failed")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use callingedge::call::{CallId, EventId, Timestamp, WallClock};
use callingedge::store::{
    DeliveryId, DeliveryState, OutboxChange, ReceiverId, Settled, Step, Waiting, WaitingPage,
};
use callingedge::webhook::{Failure, GIVE_UP, LONGEST_RETRY, Limits, OVERTAKE, Outbox, Output, Verdict};
use http::StatusCode;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn the_events_of_a_call_arrive_in_order_and_those_of_different_calls_side_by_side() {
    let mut world =
        World::new(|attempt, chance| (Duration::from_millis(chance.random_range(1..200)), ok(attempt)));
    for seq in 1..=5 {
        for call in 0..50 {
            world.tell(1, call, seq);
        }
    }

    world.run_for(MINUTE);

    assert_eq!(world.in_state(DeliveryState::Delivered), 250);
    assert_eq!(world.log.len(), 250);
    for call in 0..50 {
        let order: Vec<u32> =
            world.log.iter().filter(|tried| tried.call == call).map(|tried| tried.seq).collect();
        assert_eq!(order, [1, 2, 3, 4, 5], "call {call}");
    }
    assert_eq!(world.most_in_flight, Limits::default().per_receiver);
}

#[test]
fn more_than_the_memory_holds_is_delivered_all_the_same_and_once() {
    let mut world = World::new(|attempt, _| (Duration::from_millis(5), ok(attempt)));
    for n in 0..5_000 {
        world.tell(1, n, 1);
    }

    world.run_for(MINUTE);

    assert_eq!(world.log.len(), 5_000);
    assert_eq!(world.in_state(DeliveryState::Delivered), 5_000);
}

/// 1 s, 2 s, 4 s … 15 min, a quarter more or less, and the last one at 24 hours.
#[test]
fn an_event_is_tried_with_growing_distance_for_24_hours_and_then_given_up() {
    let mut world = World::new(|_, _| (Duration::ZERO, status(500)));
    world.tell(1, 0, 1);

    world.run_for(GIVE_UP + HOUR);

    let times: Vec<Duration> = world.log.iter().map(|tried| tried.at).collect();
    let mut about = SECOND;
    for pair in times.windows(2).take(times.len() - 2) {
        let distance = pair[1] - pair[0];
        // Milliseconds are lost in what is noted on disk.
        let allowed = about.mul_f64(0.74)..about.mul_f64(1.26);
        assert!(allowed.contains(&distance), "{distance:?} is not about {about:?}");
        about = LONGEST_RETRY.min(about * 2);
    }
    let last = *times.last().unwrap();
    assert!(last < GIVE_UP + SECOND && last > GIVE_UP - SECOND, "{last:?}");
    assert_eq!(world.in_state(DeliveryState::GivenUp), 1);
    assert_eq!(world.row(0, 1).attempts as usize, times.len());
}

#[test]
fn a_failing_event_is_overtaken_after_a_minute_and_not_before() {
    let mut world = World::new(|attempt, _| match attempt {
        Attempt { call: 0, seq: 1, .. } => (Duration::ZERO, status(500)),
        _ => (Duration::ZERO, ok(attempt)),
    });
    for (call, seq) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)] {
        world.tell(1, call, seq);
    }

    world.run_for(2 * HOUR);

    let first = |call, seq| world.log.iter().find(|tried| (tried.call, tried.seq) == (call, seq)).unwrap().at;
    assert!(first(1, 2) < SECOND, "another call's events wait for nothing");
    assert!(first(0, 2) >= OVERTAKE && first(0, 2) < OVERTAKE + SECOND, "{:?}", first(0, 2));
    assert!(first(0, 3) >= first(0, 2));
    assert_eq!(world.row(0, 1).state, DeliveryState::Pending);
    assert_eq!(world.in_state(DeliveryState::Delivered), 4);
}

#[test]
fn an_event_that_was_overtaken_is_still_delivered_when_the_receiver_takes_it() {
    let mut world = World::new(|attempt, _| match attempt {
        Attempt { call: 0, seq: 1, .. } if attempt.at < HOUR => (Duration::ZERO, status(500)),
        _ => (Duration::ZERO, ok(attempt)),
    });
    world.tell(1, 0, 1);
    world.tell(1, 0, 2);

    world.run_for(HOUR + LONGEST_RETRY * 5 / 4);

    let order: Vec<u32> = world.log.iter().filter(|tried| tried.taken).map(|tried| tried.seq).collect();
    assert_eq!(order, [2, 1]);
}

#[test]
fn retry_after_holds_the_event_and_with_503_the_whole_receiver() {
    for (code, others) in [(500, Duration::ZERO), (503, 2 * MINUTE), (429, 2 * MINUTE)] {
        let mut world = World::new(move |attempt, _| match attempt {
            Attempt { call: 0, number: 0, .. } => {
                let failure = Failure::Status(StatusCode::from_u16(code).unwrap());
                (Duration::ZERO, Verdict::Failed { failure, retry_after: Some(2 * MINUTE) })
            }
            _ => (Duration::ZERO, ok(attempt)),
        });
        world.tell(1, 0, 1);
        world.run_for(SECOND);
        world.tell(1, 1, 1);

        world.run_for(HOUR);

        let at = |call| world.log.iter().find(|tried| tried.taken && tried.call == call).unwrap().at;
        assert!(at(0) >= 2 * MINUTE && at(0) < 2 * MINUTE + SECOND, "{code}: {:?}", at(0));
        assert!(at(1) >= others && at(1) < others + 2 * SECOND, "{code}: {:?}", at(1));
    }
}

/// A late 2xx of a post from before does not end the pause that the receiver has asked for.
#[test]
fn a_receiver_that_asks_for_a_pause_gets_it_even_while_it_answers_others() {
    let mut world = World::new(|attempt, _| match attempt {
        Attempt { call: 0, number: 0, .. } => {
            let failure = Failure::Status(StatusCode::TOO_MANY_REQUESTS);
            (SECOND, Verdict::Failed { failure, retry_after: Some(MINUTE) })
        }
        Attempt { call: 1, .. } => (2 * SECOND, ok(attempt)),
        _ => (Duration::ZERO, ok(attempt)),
    });
    world.tell(1, 0, 1);
    world.tell(1, 1, 1);
    world.run_for(3 * SECOND);
    world.tell(1, 2, 1);

    world.run_for(HOUR);

    let at = world.log.iter().find(|tried| tried.call == 2).unwrap().at;
    assert!(at >= 61 * SECOND, "{at:?}");
}

#[test]
fn a_receiver_that_is_down_is_asked_once_a_minute_and_has_everything_soon_after_it_is_back() {
    let back = 3 * HOUR;
    let mut world = World::new(move |attempt, _| match attempt.at < back {
        true => (Duration::ZERO, Failure::Connect("refused".into()).into()),
        false => (Duration::from_millis(20), ok(attempt)),
    });
    for n in 0..1_000 {
        world.tell(1, n, 1);
    }

    world.run_for(back);
    let asked = world.log.len();
    world.run_for(LONGEST_RETRY * 5 / 4 + 2 * MINUTE);

    assert!(asked < 16 + 8 + 3 * 80, "{asked} attempts in three hours");
    assert_eq!(world.in_state(DeliveryState::Delivered), 1_000);
    let most = world.log.iter().filter(|tried| tried.taken && tried.at < back + 90 * SECOND).count();
    assert!(most > 800, "{most} within the first minute and a half");
}

#[test]
fn what_a_dead_receiver_never_took_is_given_up_after_24_hours_and_listed() {
    let mut world = World::new(|_, _| (15 * SECOND, Failure::TimedOut.into()));
    for n in 0..500 {
        world.tell(1, n, 1);
    }

    world.run_for(GIVE_UP + 5 * MINUTE);

    assert_eq!(world.in_state(DeliveryState::GivenUp), 500);
    assert_eq!(world.outbox.receivers(), 0, "nothing is left in memory");
    assert_eq!(world.outbox.poll_timeout(), None);
}

/// After a long outage of the edge itself what is too old still gets its attempt.
#[test]
fn what_is_older_than_24_hours_at_the_start_is_tried_once() {
    let mut world = World::new(|attempt, _| match attempt.call {
        0 => (Duration::ZERO, ok(attempt)),
        _ => (Duration::ZERO, status(500)),
    });
    world.tell_of(1, 0, 1, world.wall(Duration::ZERO) - 30 * HOUR);
    world.tell_of(1, 1, 1, world.wall(Duration::ZERO) - 30 * HOUR);

    world.run_for(MINUTE);

    assert_eq!(world.row(0, 1).state, DeliveryState::Delivered);
    assert_eq!(world.row(1, 1).state, DeliveryState::GivenUp);
    assert_eq!(world.log.len(), 2);
}

#[test]
fn one_receivers_trouble_does_not_delay_another() {
    // A hundred receivers swallow everything until the time-out, all with more than enough to send.
    let mut world = World::new(|attempt, _| match attempt.receiver {
        0 => (Duration::from_millis(10), ok(attempt)),
        _ => (15 * SECOND, Failure::TimedOut.into()),
    });
    for receiver in 1..=100 {
        for n in 0..40 {
            world.tell(receiver, receiver * 1_000 + n, 1);
        }
    }
    world.run_for(SECOND);

    for second in 0..120 {
        world.tell(0, second, 1);
        world.run_for(SECOND);

        let tried = world.log.iter().find(|tried| tried.receiver == 0 && tried.call == second);
        let told = SECOND * (1 + u32::try_from(second).unwrap());
        assert!(tried.is_some_and(|tried| tried.at - told < Duration::from_millis(20)), "event {second}");
    }
}

#[test]
fn slow_but_willing_receivers_leave_room_for_others() {
    let mut world = World::new(|attempt, _| match attempt.receiver {
        0 => (Duration::from_millis(10), ok(attempt)),
        _ => (14 * SECOND, ok(attempt)),
    });
    for receiver in 1..=100 {
        for n in 0..100 {
            world.tell(receiver, receiver * 1_000 + n, 1);
        }
    }
    world.run_for(MINUTE);

    world.tell(0, 0, 1);
    world.run_for(SECOND);

    let tried = world.log.iter().find(|tried| tried.receiver == 0).unwrap();
    assert!(tried.at - MINUTE < Duration::from_millis(20), "{:?}", tried.at);
    assert!(world.most_in_flight > 100 && world.most_in_flight <= Limits::default().in_all);
}

#[test]
fn events_that_a_working_receiver_never_takes_hardly_delay_the_others() {
    let mut world = World::new(|attempt, _| match attempt.call < 50 {
        true => (Duration::ZERO, status(400)),
        false => (Duration::from_millis(10), ok(attempt)),
    });
    for call in 0..50 {
        world.tell(1, call, 1);
    }

    for n in 0..600 {
        world.tell(1, 100 + n, 1);
        world.run_for(SECOND);
    }

    world.run_for(MINUTE);
    for n in 0..600 {
        let tried = world.log.iter().find(|tried| tried.taken && tried.call == 100 + n).unwrap();
        let told = SECOND * u32::try_from(n).unwrap();
        // The receiver is paused when only these are left to fail; a pause is a minute at most.
        assert!(tried.at - told <= 75 * SECOND, "event {n} came after {:?}", tried.at - told);
    }
}

#[test]
fn a_replay_is_sent_at_once_and_an_answer_to_the_first_sending_does_not_count_for_it() {
    let mut world = World::new(|attempt, _| match attempt.number {
        0 => (10 * SECOND, ok(attempt)),
        _ => (Duration::ZERO, status(500)),
    });
    world.tell(1, 0, 1);
    world.run_for(SECOND);

    world.replay(0, 1);
    world.run_for(20 * SECOND);

    assert_eq!(world.row(0, 1).state, DeliveryState::Pending, "the replay is not acknowledged");
    assert!(world.log[1].at < 2 * SECOND);
}

#[test]
fn a_given_up_event_that_is_replayed_has_24_hours_again() {
    let mut world = World::new(|attempt, _| match attempt.at < 30 * HOUR {
        true => (Duration::ZERO, status(500)),
        false => (Duration::ZERO, ok(attempt)),
    });
    world.tell(1, 0, 1);
    world.run_for(25 * HOUR);
    assert_eq!(world.row(0, 1).state, DeliveryState::GivenUp);

    world.replay(0, 1);
    world.run_for(6 * HOUR);

    assert_eq!(world.row(0, 1).state, DeliveryState::Delivered);
}

/// More receivers than fit in memory, all dead: one that works is served all the same.
#[test]
fn more_dead_receivers_than_memory_holds_do_not_keep_a_new_one_from_its_events() {
    let mut world = World::new(|attempt, _| match attempt.receiver {
        0 => (Duration::ZERO, ok(attempt)),
        _ => (Duration::ZERO, Failure::Connect("refused".into()).into()),
    });
    for receiver in 1..=8_400 {
        for n in 0..5 {
            world.tell(receiver, receiver * 10 + n, 1);
        }
    }
    world.run_for(MINUTE);
    assert!(world.outbox.receivers() <= 8_192);

    world.tell(0, 0, 1);
    world.run_for(SECOND);

    assert_eq!(world.row(0, 1).state, DeliveryState::Delivered);
}

/// Random receivers and a slow disk: whatever happens, each event ends in one way, never twice at once, never again
/// once it was acknowledged, and never before an earlier one of its call that has been failing for less than a minute.
#[test]
fn the_rules_hold_for_any_weather() {
    for seed in 0..12 {
        let mut weather = SmallRng::seed_from_u64(seed);
        let bad: Vec<f64> = (0..6).map(|_| [0.0, 0.05, 0.5, 1.0][weather.random_range(0..4)]).collect();
        let mut world = World::new(move |attempt, chance| {
            let fails = chance.random_bool(bad[usize::try_from(attempt.receiver).unwrap()]);
            let takes = Duration::from_millis(chance.random_range(0..16_000));
            (takes, if fails { status([404, 500, 503][chance.random_range(0..3)]) } else { ok(attempt) })
        });
        world.chance = SmallRng::seed_from_u64(seed);
        world.disk = Duration::from_millis(weather.random_range(0..3_000));
        for n in 0..300 {
            let call = n % 60;
            world.tell(call % 6, call, u32::try_from(n / 60 + 1).unwrap());
            world.run_for(Duration::from_millis(weather.random_range(0..500)));
        }

        world.run_for(GIVE_UP + HOUR);

        assert_eq!(world.in_state(DeliveryState::Pending), 0, "seed {seed}");
        assert_eq!(world.outbox.receivers(), 0, "seed {seed}");
        world.check_order(seed);
    }
}

/// One POST that a receiver sees.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    at: Duration,
    receiver: i64,
    call: i64,
    seq: u32,
    /// How many came before, of this event.
    number: usize,
}

#[derive(Debug)]
struct Tried {
    at: Duration,
    over: Duration,
    receiver: i64,
    call: i64,
    seq: u32,
    taken: bool,
}

#[derive(Debug)]
struct Row {
    receiver: ReceiverId,
    event: EventId,
    call: i64,
    state: DeliveryState,
    replays: u32,
    attempts: u32,
    since: Timestamp,
    parked: Option<Timestamp>,
}

enum Happening {
    Scanned(Vec<ReceiverId>),
    Read(ReceiverId, Timestamp, u32),
    Page(ReceiverId, WaitingPage),
    Answered(ReceiverId, DeliveryId, Verdict),
    Settled(ReceiverId, Settled),
}

type Respond = Box<dyn FnMut(Attempt, &mut SmallRng) -> (Duration, Verdict)>;

struct World {
    outbox: Outbox,
    start: Instant,
    now: Instant,
    clock: WallClock,
    respond: Respond,
    chance: SmallRng,
    /// What reading and writing take.
    disk: Duration,
    rows: BTreeMap<i64, Row>,
    /// Which of them are whose.
    of: BTreeMap<ReceiverId, Vec<i64>>,
    tries: HashMap<EventId, usize>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    in_flight: BTreeSet<DeliveryId>,
    most_in_flight: usize,
    log: Vec<Tried>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn new(respond: impl FnMut(Attempt, &mut SmallRng) -> (Duration, Verdict) + 'static) -> Self {
        let start = Instant::now();
        let clock = WallClock::new(start, SystemTime::UNIX_EPOCH + Duration::from_secs(1_779_298_264));
        Self {
            outbox: Outbox::new(Limits::default(), clock, 7),
            start,
            now: start,
            clock,
            respond: Box::new(respond),
            chance: SmallRng::seed_from_u64(7),
            disk: Duration::from_millis(1),
            rows: BTreeMap::new(),
            of: BTreeMap::new(),
            tries: HashMap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            in_flight: BTreeSet::new(),
            most_in_flight: 0,
            log: Vec::new(),
        }
    }

    fn wall(&self, at: Duration) -> SystemTime {
        self.clock.at(self.start + at)
    }

    /// An event of a call is on disk now.
    fn tell(&mut self, receiver: i64, call: i64, seq: u32) {
        self.tell_of(receiver, call, seq, self.clock.at(self.now));
    }

    fn tell_of(&mut self, receiver: i64, call: i64, seq: u32, occurred: SystemTime) {
        let id = CallId::new(SystemTime::UNIX_EPOCH, &mut SmallRng::seed_from_u64(call.unsigned_abs()));
        let row = Row {
            receiver: ReceiverId(receiver),
            event: EventId { call: id, seq },
            call,
            state: DeliveryState::Pending,
            replays: 0,
            attempts: 0,
            since: occurred.into(),
            parked: None,
        };
        let number = i64::try_from(self.rows.len()).unwrap() + 1;
        self.of.entry(row.receiver).or_default().push(number);
        self.rows.insert(number, row);
        self.changed(ReceiverId(receiver));
    }

    fn replay(&mut self, call: i64, seq: u32) {
        let since = self.clock.timestamp(self.now);
        let row = self.rows.values_mut().find(|row| row.call == call && row.event.seq == seq).unwrap();
        (row.state, row.attempts, row.since, row.parked) = (DeliveryState::Pending, 0, since, None);
        row.replays += 1;
        let receiver = row.receiver;
        self.changed(receiver);
    }

    fn changed(&mut self, receiver: ReceiverId) {
        self.outbox.handle_changed(self.now, &OutboxChange::Receivers(BTreeSet::from([receiver])));
        self.carry_out();
    }

    fn row(&self, call: i64, seq: u32) -> &Row {
        self.rows.values().find(|row| row.call == call && row.event.seq == seq).unwrap()
    }

    fn in_state(&self, state: DeliveryState) -> usize {
        self.rows.values().filter(|row| row.state == state).count()
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.carry_out();
        loop {
            let happening = self.happenings.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = [happening, self.outbox.poll_timeout()].into_iter().flatten().min() else {
                break;
            };
            if next > end {
                break;
            }
            assert!(next >= self.now, "time runs backwards");
            self.now = next;
            if happening == Some(next) {
                let (_, happening) = self.happenings.pop_first().unwrap();
                self.happen(happening);
            } else {
                self.outbox.handle_timeout(next);
                let later = self.outbox.poll_timeout();
                assert!(later.is_none_or(|later| later > next), "a timeout that does not go away");
            }
            self.carry_out();
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Scanned(found) => self.outbox.handle_receivers(now, &found),
            Happening::Read(receiver, due, limit) => {
                let page = self.page(receiver, due, limit);
                self.later(self.disk, Happening::Page(receiver, page));
            }
            Happening::Page(receiver, page) => self.outbox.handle_page(now, receiver, page),
            Happening::Answered(receiver, delivery, verdict) => {
                assert!(self.in_flight.remove(&delivery));
                self.outbox.handle_verdict(now, receiver, delivery, &verdict);
            }
            Happening::Settled(receiver, settled) => {
                let row = self.rows.get_mut(&settled.delivery.number).unwrap();
                if row.state == DeliveryState::Pending && row.replays == settled.delivery.replays {
                    row.attempts = settled.attempts;
                    (row.state, row.parked) = match settled.step {
                        Step::Delivered => (DeliveryState::Delivered, None),
                        Step::GivenUp => (DeliveryState::GivenUp, None),
                        Step::Failed { .. } => (DeliveryState::Pending, None),
                        Step::Parked { until } => (DeliveryState::Pending, Some(until)),
                    };
                }
                self.outbox.handle_settled(now, receiver, settled.delivery, settled.step);
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Scan { after, limit } => {
                    let pending = |number: &i64| self.rows[number].state == DeliveryState::Pending;
                    let beyond =
                        self.of.iter().filter(|(receiver, _)| after.is_none_or(|after| **receiver > after));
                    let found = beyond
                        .filter(|(_, numbers)| numbers.iter().any(pending))
                        .map(|(receiver, _)| *receiver);
                    let found = found.take(usize::try_from(limit).unwrap()).collect();
                    self.later(self.disk, Happening::Scanned(found));
                }
                Output::Load { receiver, due, limit } => {
                    // The snapshot is from some time between now and the answer.
                    self.later(self.disk / 2, Happening::Read(receiver, due, limit));
                }
                Output::Post { receiver, delivery } => self.post(receiver, delivery),
                Output::Settle { receiver, settled } => {
                    self.later(self.disk, Happening::Settled(receiver, settled));
                }
            }
        }
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.next += 1;
        self.happenings.insert((self.now + wait, self.next), happening);
    }

    fn page(&self, receiver: ReceiverId, due: Timestamp, limit: u32) -> WaitingPage {
        let limit = usize::try_from(limit).unwrap();
        let rows = self.of[&receiver].iter().map(|number| (number, &self.rows[number]));
        let rows = rows.filter(|(_, row)| row.state == DeliveryState::Pending);
        let waiting = |(number, row): (&i64, &Row)| Waiting {
            delivery: DeliveryId { number: *number, replays: row.replays },
            event: row.event,
            attempts: row.attempts,
            since: row.since,
            parked: row.parked.is_some(),
        };
        let in_turn: Vec<Waiting> =
            rows.clone().filter(|(_, row)| row.parked.is_none()).take(limit).map(waiting).collect();
        let mut parked: Vec<(Timestamp, Waiting)> =
            rows.filter_map(|row| Some((row.1.parked?, waiting(row)))).collect();
        parked.sort_by_key(|(at, waiting)| (*at, waiting.delivery));
        let next_due = parked.iter().map(|(at, _)| *at).find(|at| *at > due);
        let due: Vec<Waiting> =
            parked.into_iter().filter(|(at, _)| *at <= due).take(limit).map(|(_, waiting)| waiting).collect();
        let more = in_turn.len() == limit || due.len() == limit;
        WaitingPage { in_turn, due, more, next_due }
    }

    fn post(&mut self, receiver: ReceiverId, delivery: DeliveryId) {
        let row = &self.rows[&delivery.number];
        assert!(self.in_flight.insert(delivery), "{delivery:?} is under way twice");
        if row.replays != delivery.replays {
            return self.later(Duration::ZERO, Happening::Answered(receiver, delivery, Verdict::Obsolete));
        }
        let number = *self.tries.entry(row.event).and_modify(|tries| *tries += 1).or_default();
        let at = self.now - self.start;
        let attempt = Attempt { at, receiver: receiver.0, call: row.call, seq: row.event.seq, number };
        let (takes, verdict) = (self.respond)(attempt, &mut self.chance);
        let taken = matches!(verdict, Verdict::Acknowledged(_));
        let Attempt { call, seq, .. } = attempt;
        self.log.push(Tried { at, over: at + takes, receiver: receiver.0, call, seq, taken });
        self.later(takes, Happening::Answered(receiver, delivery, verdict));
        self.most_in_flight = self.most_in_flight.max(self.in_flight.len());
    }

    /// Nothing is sent after its acknowledgement, nor before an earlier one that may not be overtaken yet.
    fn check_order(&self, seed: u64) {
        let mut tries: BTreeMap<(i64, u32), Vec<&Tried>> = BTreeMap::new();
        for tried in &self.log {
            tries.entry((tried.call, tried.seq)).or_default().push(tried);
        }
        for ((call, seq), of_event) in &tries {
            let taken = of_event.iter().filter(|tried| tried.taken).count();
            assert!(taken <= 1, "seed {seed}: call {call}, event {seq} was taken {taken} times");
            let began = of_event[0].at;
            for earlier in 1..*seq {
                let before = &tries[&(*call, earlier)];
                let done = before.iter().any(|tried| tried.taken && tried.over <= began);
                let overtaken = before[0].over + OVERTAKE <= began;
                assert!(done || overtaken, "seed {seed}: {:?} before {earlier} was done", of_event[0]);
            }
        }
    }
}

fn ok(_: Attempt) -> Verdict {
    Verdict::Acknowledged(StatusCode::OK)
}

fn status(code: u16) -> Verdict {
    Failure::Status(StatusCode::from_u16(code).unwrap()).into()
}
