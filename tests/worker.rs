//! Voice workers on real sockets: a far end speaks RTP, an engine speaks websocket.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a shell is tested on sockets")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

#[path = "support/voice_rig.rs"]
mod voice_rig;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callingedge::call::{
    Announcement, Dialect, EndReason, EngineCommand, EngineEvent, EngineFailure, FIRST_LEG, VoiceFact,
    VoiceOrder,
};
use callingedge::worker::{EngineWatch, WorkerConfig};
use media::Digit;
use serde_json::json;
use tungstenite::Message;
use voice_rig::{FakeEngine, LOOPBACK, PATIENCE, Rig, SILENCE, call, config, speech};

#[test]
fn audio_passes_both_ways_bit_by_bit_in_each_dialect() {
    for dialect in [Dialect::EdgeV1, Dialect::Twilio] {
        let mut rig = Rig::new(config());
        let (mut engine, mut far_end) = rig.answered(call(1), dialect);
        let up = speech(160 * 50);
        let down: Vec<u8> = speech(160 * 50).into_iter().rev().collect();

        for frame in up.chunks(160) {
            far_end.say(frame);
        }
        for chunk in down.chunks(777) {
            engine.say_audio(dialect, 1, chunk);
        }

        assert_eq!(engine.hear(up.len()), up, "{dialect:?}");
        assert_eq!(far_end.hear(&down[..160], down.len()), down, "{dialect:?}");
        let summary = rig.close(call(1));
        assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (50, 0));
        assert_eq!(summary.legs[0].frames_up, 50);
        assert!(summary.legs[0].frames_down >= 50, "{summary:?}");
        assert!(summary.edge_p99_ms.is_some());
    }
}

#[test]
fn the_beat_is_20_ms() {
    let mut rig = Rig::new(config());
    let (_engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);
    far_end.next();

    let began = Instant::now();
    for _ in 0..50 {
        far_end.next();
    }

    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_millis(1_500)).contains(&took), "{took:?}");
}

#[test]
fn a_clear_stops_at_once_and_tells_what_was_heard() {
    let mut rig = Rig::new(config());
    let (mut engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);
    engine.say_audio(Dialect::EdgeV1, 1, &speech(8_000));
    engine.say(&json!({ "type": "mark", "name": "end" }));
    far_end.hear(&speech(160), 160 * 5);

    engine.say(&json!({ "type": "clear", "id": "c1" }));

    let cleared = engine.until("cleared");
    assert_eq!((&cleared["re"], &cleared["segment"]), (&json!("c1"), &json!(1)));
    let (played, dropped) = (cleared["played_ms"].as_u64().unwrap(), cleared["dropped_ms"].as_u64().unwrap());
    assert_eq!(played + dropped, 1_000);
    assert!((100..1_000).contains(&played), "{played}");
    let mark = engine.until("mark");
    assert_eq!(
        (&mark["name"], &mark["result"], &mark["played_ms"]),
        (&json!("end"), &json!("cleared"), &json!(played))
    );
    engine.say_audio(Dialect::EdgeV1, 1, &[7; 160]);
    engine.say_audio(Dialect::EdgeV1, 2, &[9; 160]);
    loop {
        let heard = far_end.next();
        assert_ne!(heard, [7; 160], "late audio of a cleared segment");
        if heard == [9; 160] {
            break;
        }
    }
}

#[test]
fn a_mark_is_told_when_its_audio_was_sent() {
    for (dialect, mark) in [
        (Dialect::EdgeV1, json!({ "type": "mark", "name": "m" })),
        (Dialect::Twilio, json!({ "event": "mark", "streamSid": "?", "mark": { "name": "m" } })),
    ] {
        let mut rig = Rig::new(config());
        let (mut engine, far_end) = rig.answered(call(1), dialect);

        let began = Instant::now();
        engine.say_audio(dialect, 1, &speech(160 * 10 + 40));
        engine.say(&mark);
        let told = engine.until("mark");
        assert!(told["name"] == "m" || told["mark"]["name"] == "m", "{told}");
        assert!(began.elapsed() > Duration::from_millis(150), "{dialect:?}: {:?}", began.elapsed());
        far_end.hear(&speech(160), 160 * 10);
    }
}

#[test]
fn a_twilio_bot_gets_all_marks_back_at_a_clear() {
    let mut rig = Rig::new(config());
    let (mut engine, _far_end) = rig.answered(call(1), Dialect::Twilio);
    engine.say_audio(Dialect::Twilio, 0, &speech(8_000));
    for name in ["a", "b"] {
        engine.say(&json!({ "event": "mark", "mark": { "name": name } }));
    }

    engine.say(&json!({ "event": "clear" }));

    assert_eq!(engine.until("mark")["mark"]["name"], "a");
    assert_eq!(engine.until("mark")["mark"]["name"], "b");
}

#[test]
fn a_greeting_sent_before_the_answer_is_heard_after_it() {
    let mut rig = Rig::new(config());
    let port = rig.open(call(1));
    let mut engine = rig.attach(call(1), Dialect::EdgeV1);
    rig.order(call(1), VoiceOrder::Tell(EngineEvent::Start(Box::new(voice_rig::start(call(1))))));
    engine.until("start");
    engine.say(&json!({ "type": "accept" }));
    engine.say_audio(Dialect::EdgeV1, 1, &speech(480));
    engine.say(&json!({ "type": "mark", "name": "greeted" }));
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Accept)).then_some(()));
    engine.say(&json!({ "type": "ring" }));
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Ring)).then_some(()));

    let far_end = voice_rig::FarEnd::new((LOOPBACK, port).into());
    let media = media::Negotiated::plain(far_end.rtp.local_addr().unwrap(), media::Codec::Pcmu);
    rig.order(call(1), VoiceOrder::Negotiated { leg: FIRST_LEG, media });

    assert_eq!(far_end.next(), &speech(480)[..160], "the first packet");
    assert_eq!(engine.until("mark")["name"], "greeted");
    rig.until(call(1), |fact| matches!(fact, VoiceFact::FirstAudio { .. }).then_some(()));
}

#[test]
fn digits_are_told_to_the_engine_and_to_the_call_and_sent_for_the_engine() {
    let mut rig = Rig::new(config());
    let (mut engine, mut far_end) = rig.answered(call(1), Dialect::EdgeV1);

    far_end.press(11);
    let told = engine.until("dtmf");
    assert_eq!((&told["digit"], &told["track"]), (&json!("#"), &json!(0)));
    let digit = rig.until(call(1), |fact| match fact {
        VoiceFact::Dtmf { digit, .. } => Some(*digit),
        _ => None,
    });
    assert_eq!(digit, Digit::try_from('#').unwrap());

    engine.say(&json!({ "type": "dtmf", "digits": "5" }));
    loop {
        let payload = far_end.next();
        if payload.len() == 4 {
            assert_eq!(payload[0], 5);
            break;
        }
    }
}

#[test]
fn an_announcement_drowns_the_engine_and_is_told_when_played() {
    let mut rig = Rig::new(config());
    let (mut engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);
    engine.say_audio(Dialect::EdgeV1, 1, &speech(8_000));
    engine.say(&json!({ "type": "mark", "name": "m" }));
    far_end.hear(&speech(160), 320);

    let audio = Arc::new(Announcement { name: "sorry".into(), pcmu: vec![3; 1_600] });
    rig.order(call(1), VoiceOrder::Announce { leg: FIRST_LEG, audio });
    assert_eq!(engine.until("mark")["result"], "cleared");
    engine.say_audio(Dialect::EdgeV1, 2, &[9; 160]);
    engine.say(&json!({ "type": "clear" }));

    assert_eq!(engine.until("error")["code"], "playout.closed");
    assert_eq!(far_end.hear(&[3; 160], 1_600), [3; 1_600]);
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Announced { leg: FIRST_LEG }).then_some(()));
}

#[test]
fn a_drain_plays_what_waits_and_nothing_more() {
    let mut rig = Rig::new(config());
    let (mut engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);
    engine.say_audio(Dialect::EdgeV1, 1, &speech(1_600 + 40));
    engine.say(&json!({ "type": "hang_up", "drain": true }));
    rig.until(call(1), |fact| {
        matches!(fact, VoiceFact::Engine(EngineCommand::HangUp { drain: true, .. })).then_some(())
    });

    rig.order(call(1), VoiceOrder::Drain);

    assert_eq!(far_end.hear(&speech(160), 1_600), speech(1_600));
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Drained).then_some(()));
    engine.say_audio(Dialect::EdgeV1, 2, &[9; 160]);
    assert_eq!(engine.until("error")["code"], "playout.closed");
}

#[test]
fn a_closed_call_says_goodbye_on_both_sides() {
    let mut rig = Rig::new(config());
    let (mut engine, mut far_end) = rig.answered(call(1), Dialect::Twilio);
    far_end.say(&speech(160));
    engine.hear(160);

    rig.close(call(1));

    engine.until("stop");
    loop {
        if let Message::Close(frame) = engine.next() {
            assert_eq!(u16::from(frame.unwrap().code), 1000);
            break;
        }
    }
    let mut report = [0; 512];
    let length = far_end.rtcp.recv(&mut report).unwrap();
    assert_eq!(report[length - 8 + 1], 203, "the last packet is BYE: {:?}", &report[..length]);
}

#[test]
fn an_engine_that_closes_breaks_or_talks_nonsense_is_told_as_such_and_the_leg_lives_on() {
    type Misdeed = fn(FakeEngine);
    type Expected = fn(&EngineFailure) -> bool;
    let misdeeds: [(Misdeed, Expected); 4] = [
        (
            |mut engine| {
                engine.websocket.close(None).unwrap();
                while engine.websocket.read().is_ok() {}
            },
            |failure| *failure == EngineFailure::Closed { code: None },
        ),
        (drop, |failure| matches!(failure, EngineFailure::Broken(_))),
        (
            |mut engine| {
                for _ in 0..50 {
                    engine.websocket.send(Message::text("{")).unwrap();
                }
                let close = std::iter::from_fn(|| Some(engine.next())).find(Message::is_close);
                assert!(matches!(close, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1007));
            },
            |failure| matches!(failure, EngineFailure::Protocol(_)),
        ),
        (
            |mut engine| {
                let _ = engine.websocket.send(Message::text("x".repeat((1 << 20) + 1)));
                let close = std::iter::from_fn(|| engine.websocket.read().ok()).find(Message::is_close);
                assert!(matches!(close, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1009));
            },
            |failure| matches!(failure, EngineFailure::Protocol(_)),
        ),
    ];
    for (number, (misdeed, expected)) in misdeeds.into_iter().enumerate() {
        let mut rig = Rig::new(config());
        let (engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);
        let misdeed = std::thread::spawn(move || misdeed(engine));

        let failure = rig.until(call(1), |fact| match fact {
            VoiceFact::EngineGone(failure) => Some(failure.clone()),
            _ => None,
        });

        assert!(expected(&failure), "{number}: {failure:?}");
        assert_eq!(far_end.next().len(), 160, "{number}");
        misdeed.join().unwrap();
        let again = rig.attach(call(1), Dialect::EdgeV1);
        rig.until(call(1), |fact| matches!(fact, VoiceFact::EngineConnected).then_some(()));
        drop(again);
    }
}

#[test]
fn an_engine_whose_socket_breaks_hears_over_another_one_what_it_missed() {
    let mut rig = Rig::new(config());
    let (mut engine, mut far_end) = rig.answered(call(1), Dialect::EdgeV1);
    engine.say(&json!({ "type": "accept", "resume": true }));
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Accept)).then_some(()));
    engine.say_audio(Dialect::EdgeV1, 1, &speech(160 * 100));
    engine.until("playout");
    let said = speech(160 * 40);
    far_end.say(&said[..160]);
    assert_eq!(engine.hear(160), said[..160]);

    drop(engine);
    let failure = rig.until(call(1), |fact| match fact {
        VoiceFact::EngineAway(failure) => Some(failure.clone()),
        _ => None,
    });
    assert!(matches!(failure, EngineFailure::Broken(_)), "{failure:?}");
    for frame in said[160..].chunks(160) {
        far_end.say(frame);
    }
    let mut again = rig.attach(call(1), Dialect::EdgeV1);
    rig.until(call(1), |fact| matches!(fact, VoiceFact::EngineConnected).then_some(()));
    let start = Box::new(voice_rig::start(call(1)));
    rig.order(call(1), VoiceOrder::ResumeEngine { start, away: Duration::from_millis(20) });
    let asked = again.until("resume");
    assert_eq!((&asked["token"], &asked["playout"]["segment"]), (&json!("secret"), &json!(1)));
    again.say(&json!({ "type": "accept", "heard": { "audio": [{ "track": 0, "seq": 0 }] } }));
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Accept)).then_some(()));

    assert_eq!(again.hear(said.len() - 160), said[160..]);
    let summary = rig.close(call(1));
    assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (40, 0));
}

#[test]
fn an_engine_that_broke_the_protocol_has_no_second_socket() {
    let mut rig = Rig::new(config());
    let (mut engine, _far_end) = rig.answered(call(1), Dialect::EdgeV1);
    engine.say(&json!({ "type": "accept", "resume": true }));
    for _ in 0..50 {
        engine.websocket.send(Message::text("{")).unwrap();
    }

    rig.until(call(1), |fact| matches!(fact, VoiceFact::EngineGone(_)).then_some(()));
}

#[test]
fn an_engine_that_does_not_read_loses_frames_and_then_the_call() {
    let watch = EngineWatch { stall_timeout: Duration::from_millis(300), ..EngineWatch::default() };
    let mut rig = Rig::new(WorkerConfig { watch, ..config() });
    let (_engine, mut far_end) = rig.answered(call(1), Dialect::Twilio);

    let began = Instant::now();
    let failure = loop {
        far_end.say(&speech(160));
        std::thread::yield_now();
        match rig.facts.try_recv() {
            Ok((_, VoiceFact::EngineGone(failure))) => break failure,
            _ => assert!(began.elapsed() < PATIENCE, "an engine that does not read was not noticed"),
        }
    };

    assert_eq!(failure, EngineFailure::Stalled);
    assert_eq!(far_end.next().len(), 160, "the far end hears on");
    let summary = rig.close(call(1));
    assert!(summary.frames_to_engine_dropped > 0, "{summary:?}");
}

#[test]
fn an_engine_that_answers_no_ping_is_given_up() {
    let watch = EngineWatch {
        ping_interval: Duration::from_millis(200),
        pong_timeout: Duration::from_secs(1),
        ..EngineWatch::default()
    };
    let mut rig = Rig::new(WorkerConfig { watch, ..config() });
    let port = rig.open(call(1));
    let mut alive = rig.attach(call(1), Dialect::EdgeV1);
    rig.until(call(1), |fact| matches!(fact, VoiceFact::EngineConnected).then_some(()));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        assert!(alive.next().is_ping(), "port {port}: as long as it answers, it is asked again");
    }

    let failure = rig.until(call(1), |fact| match fact {
        VoiceFact::EngineGone(failure) => Some(failure.clone()),
        _ => None,
    });
    assert!(matches!(failure, EngineFailure::Broken(_)), "{failure:?}");
}

#[test]
fn ports_rest_after_a_call_and_a_port_of_somebody_else_is_passed_over() {
    let somebody = (30_000_u16..).step_by(8).find_map(|port| {
        let ours = (2..8).all(|next| UdpSocket::bind((LOOPBACK, port + next)).is_ok());
        ours.then(|| UdpSocket::bind((LOOPBACK, port + 1)).ok()).flatten()
    });
    let somebody = somebody.unwrap();
    let first = somebody.local_addr().unwrap().port() - 1;
    let quarantine = Duration::from_secs(2);
    let mut rig = Rig::new(WorkerConfig { ports: first..=first + 5, quarantine, seed: 0, ..config() });

    let began = Instant::now();
    assert_eq!(rig.open(call(1)), first + 2, "{first} has its RTCP port taken");
    assert_eq!(rig.open(call(2)), first + 4);
    rig.close(call(1));
    rig.order(call(3), VoiceOrder::Open { leg: FIRST_LEG, address: LOOPBACK, inactivity: SILENCE });
    let refused = rig.until(call(3), |fact| match fact {
        VoiceFact::NotOpened { error, .. } => Some(error.clone()),
        VoiceFact::Opened { port, .. } => panic!("{port} was reused after {:?}", began.elapsed()),
        _ => None,
    });
    assert_eq!(refused, "no RTP port is free");
    loop {
        rig.order(call(3), VoiceOrder::Open { leg: FIRST_LEG, address: LOOPBACK, inactivity: SILENCE });
        let opened = rig.until(call(3), |fact| match fact {
            VoiceFact::Opened { port, .. } => Some(Some(*port)),
            VoiceFact::NotOpened { .. } => Some(None),
            _ => None,
        });
        if let Some(port) = opened {
            assert_eq!(port, first + 2);
            assert!(began.elapsed() >= quarantine, "{:?}", began.elapsed());
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn an_engine_reached_too_late_is_let_go() {
    let mut rig = Rig::new(config());
    rig.open(call(1));
    rig.close(call(1));

    let mut late = rig.attach(call(1), Dialect::EdgeV1);

    assert!(late.websocket.read().is_err());
    assert!(rig.silent_for(Duration::from_millis(50)));
}

#[test]
fn no_fact_is_lost_when_nobody_listens_for_a_while() {
    let mut rig = Rig::with_facts(config(), 1);
    let (mut engine, _far_end) = rig.answered(call(1), Dialect::EdgeV1);
    let engine = std::thread::spawn(move || {
        for number in 0..500 {
            engine.say(&json!({ "type": "transfer", "id": number.to_string(), "to": { "number": "1" } }));
        }
        engine
    });

    let mut next = 0;
    while next < 500 {
        if let (_, VoiceFact::Engine(EngineCommand::Transfer { id, .. })) = rig.next() {
            assert_eq!(id, Some(next.to_string()));
            next += 1;
        }
    }
    drop(engine.join().unwrap());
}

#[test]
fn no_order_is_lost_when_a_queue_is_full() {
    let mut rig = Rig::new(WorkerConfig { orders: 1, ..config() });
    let (mut engine, _far_end) = rig.answered(call(1), Dialect::EdgeV1);
    for number in 0..300_u32 {
        let refused =
            EngineEvent::Refused { re: Some(number.to_string()), code: "x".into(), message: String::new() };
        rig.workers.order(call(1), VoiceOrder::Tell(refused)).unwrap();
    }

    let began = Instant::now();
    while !rig.workers.flush() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    for number in 0..300_u32 {
        assert_eq!(engine.until("error")["re"], number.to_string());
    }
}

#[test]
fn a_shutdown_closes_what_is_open() {
    let mut rig = Rig::new(config());
    let (mut engine, _far_end) = rig.answered(call(1), Dialect::EdgeV1);
    let Rig { workers, mut facts, .. } = rig;
    let reader = std::thread::spawn(move || engine.until("stop"));

    workers.shutdown();

    assert_eq!(reader.join().unwrap()["reason"], "edge_shutdown");
    let all: Vec<VoiceFact> = std::iter::from_fn(|| facts.try_recv().ok()).map(|(_, fact)| fact).collect();
    assert!(matches!(all.last(), Some(VoiceFact::Closed(_))), "{all:?}");
}

#[test]
fn an_engine_that_is_dismissed_hears_why_and_the_leg_lives_on() {
    let mut rig = Rig::new(config());
    let (mut engine, far_end) = rig.answered(call(1), Dialect::EdgeV1);

    rig.order(call(1), VoiceOrder::DismissEngine(EndReason::Transferred));

    assert_eq!(engine.until("stop")["reason"], "transferred");
    assert_eq!(far_end.next().len(), 160);
    assert!(rig.silent_for(Duration::from_millis(100)), "it was asked for, so nobody is told");
}
