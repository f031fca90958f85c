//! The voice of one call in virtual time, without sockets.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use callingedge::bridge::{
    Credit, Form, FrameFlags, FrameHeader, Incoming, Interpreter, MISTAKES_IN_A_ROW, Outgoing,
};
use callingedge::call::{
    Announcement, AnsweredBy, BargeInPolicy, CallId, Context, Dialect, Direction, DtmfMethod, EngineEvent,
    EngineStart, FIRST_LEG, LegId, LegSummary, Mode, ProviderKey, RecordMode, Timestamp, VoiceFact,
    VoiceRoute,
};
use callingedge::worker::{Tally, Turn, Voice, VoiceConfig};
use media::{BEAT, Codec, Negotiated, PACKET_MAX};
use serde_json::{Value, json};

#[test]
fn frames_that_are_kept_from_a_congested_engine_are_counted_and_the_next_one_says_so() {
    let mut call = Call::answered();
    call.hear(0, false);
    call.hear(1, true);
    call.hear(2, true);
    call.hear(3, false);
    call.hear(4, false);

    let flags: Vec<bool> = call
        .frames()
        .iter()
        .map(|frame| FrameHeader::parse(frame).unwrap().0.flags.contains(FrameFlags::DISCONTINUITY))
        .collect();

    assert_eq!(flags[1..], [true, false], "of three frames that went out");
    assert_eq!((call.tally.frames_to_engine, call.tally.frames_to_engine_dropped), (3, 2));
    let summary = call.voice.summary(call.now);
    assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (3, 2));
}

#[test]
fn the_engine_is_told_once_a_second_where_its_audio_stands() {
    let mut call = Call::answered();
    call.say_audio(1, &[7; 8 * 3_000]);

    let mut told = Vec::new();
    for _ in 0..200 {
        call.beat();
        call.sweep();
        told.extend(call.texts().into_iter().filter(|message| message["type"] == "playout"));
    }

    let played: Vec<u64> = told.iter().map(|message| message["played_ms"].as_u64().unwrap()).collect();
    assert_eq!(played, [20, 1_000, 2_000, 3_000], "begin, two seconds, dry");
    let facts: Vec<_> =
        call.facts.iter().filter(|fact| matches!(fact, VoiceFact::FirstAudio { .. })).collect();
    assert_eq!(facts.len(), 1);
}

/// A caller who coughs stops the engine for a moment, and hears the rest of it.
#[test]
fn an_interruption_that_ends_is_a_pause_and_the_engine_goes_on_where_it_stopped() {
    let mut call = Call::with_policy(BargeInPolicy::Pause);
    call.say_audio(1, &[0x90; 8 * 4_000]);

    let heard = call.converse(100, |beat| (20..32).contains(&beat));

    let silent: Vec<usize> = (0..100).filter(|beat| heard[*beat] != 0x90).collect();
    let (first, last) = (silent[0], silent[silent.len() - 1]);
    assert!((24..=25).contains(&first), "100 ms after it began: {silent:?}");
    assert!((40..=42).contains(&last), "until 200 ms after it ended: {silent:?}");
    let told = call.speech();
    let kinds: Vec<&Value> = told.iter().map(|message| &message["type"]).collect();
    assert_eq!(kinds, ["speech_started", "speech_stopped"]);
    assert_eq!(told[0]["interrupts"], true);
    assert!((380..=420).contains(&told[0]["at_ms"].as_u64().unwrap()), "{told:?}");
    assert!((620..=660).contains(&told[1]["at_ms"].as_u64().unwrap()), "{told:?}");
    let rest = call.converse(250, |_| false);
    assert_eq!(heard.iter().chain(&rest).filter(|code| **code == 0x90).count(), 200, "nothing is lost");
    assert!(
        matches!(call.barged_in()[..], [after] if (100..=140).contains(&after)),
        "{:?}",
        call.barged_in()
    );
}

#[test]
fn a_caller_who_goes_on_throws_away_what_is_left_where_that_is_wanted() {
    let mut call = Call::with_policy(BargeInPolicy::Cut);
    call.say_audio(1, &[0x90; 8 * 4_000]);

    let heard = call.converse(100, |beat| beat >= 20);
    call.say_audio(1, &[0x90; 8 * 1_000]);
    call.say_audio(2, &[0xA0; 8 * 1_000]);
    let after = call.converse(20, |_| false);

    assert!(heard[30..].iter().all(|code| *code != 0x90));
    let texts = call.texts();
    let cleared: Vec<&Value> = texts.iter().filter(|message| message["type"] == "cleared").collect();
    assert_eq!((cleared.len(), &cleared[0]["segment"], &cleared[0]["re"]), (1, &json!(1), &Value::Null));
    let (played, dropped) = (&cleared[0]["played_ms"], &cleared[0]["dropped_ms"]);
    assert_eq!(played.as_u64().unwrap() + dropped.as_u64().unwrap(), 4_000);
    assert!(
        !after.contains(&0x90) && after.contains(&0xA0),
        "late audio of the segment is not heard: {after:?}"
    );
}

/// The bot has understood by itself: what it says next is heard at once, however long the caller speaks.
#[test]
fn an_engine_that_clears_is_heard_again_at_once() {
    let mut call = Call::with_policy(BargeInPolicy::Pause);
    call.say_audio(1, &[0x90; 8 * 4_000]);
    call.converse(40, |beat| beat >= 20);

    call.say(&json!({ "type": "clear" }));
    call.say_audio(2, &[0xA0; 8 * 1_000]);

    assert_eq!(call.converse(1, |_| true), [0xA0]);
    call.converse(300, |_| true);
    assert_eq!(call.tally.holds_expired, 0, "it was not waited for in vain");
}

#[test]
fn an_engine_that_does_nothing_is_heard_again_after_4_seconds() {
    let mut call = Call::with_policy(BargeInPolicy::Pause);
    call.say_audio(1, &[0x90; 8 * 20_000]);

    let heard = call.converse(300, |beat| beat >= 20);

    let silent = heard[20..].iter().filter(|code| **code != 0x90).count();
    assert!((195..=208).contains(&silent), "{silent} beats");
    assert_eq!((call.tally.barge_ins, call.tally.holds_expired), (1, 1));
}

/// Whoever hangs up after the last word is not kept waiting by a caller who speaks into it.
#[test]
fn what_an_engine_says_before_it_hangs_up_is_played_whoever_speaks() {
    let mut call = Call::with_policy(BargeInPolicy::Pause);
    call.say_audio(1, &[0x90; 8 * 2_000]);
    let before = call.converse(40, |beat| beat >= 20);
    assert_ne!(before[39], 0x90, "held");

    call.drain();
    let after = call.converse(100, |_| true);

    assert_eq!(after[0], 0x90);
    assert_eq!(before.iter().chain(&after).filter(|code| **code == 0x90).count(), 100);
    assert!(call.facts.iter().any(|fact| matches!(fact, VoiceFact::Drained)));
}

#[test]
fn without_a_policy_the_engine_is_told_and_plays_on_until_it_clears() {
    let mut call = Call::with_policy(BargeInPolicy::Engine);
    call.say_audio(1, &[0x90; 8 * 4_000]);

    let heard = call.converse(40, |beat| beat >= 20);
    assert!(heard.iter().all(|code| *code == 0x90));
    assert_eq!(call.speech().len(), 1);
    assert!(call.barged_in().is_empty());
    call.say(&json!({ "type": "clear" }));
    call.converse(1, |_| true);

    assert!(
        matches!(call.barged_in()[..], [after] if (380..=420).contains(&after)),
        "{:?}",
        call.barged_in()
    );
}

/// Somebody who sends nothing while silent (RFC 3551 §4.1) has ended the sentence all the same.
#[test]
fn a_caller_whose_packets_stop_is_quiet() {
    let mut call = Call::with_policy(BargeInPolicy::Pause);
    call.say_audio(1, &[0x90; 8 * 4_000]);
    call.converse(30, |beat| beat >= 20);

    let heard: Vec<u8> = (0..20).map(|_| call.beat().unwrap()[12]).collect();

    assert_eq!(heard[19], 0x90, "{heard:?}");
    assert_eq!(call.speech().last().unwrap()["type"], "speech_stopped");
}

/// From the end of the caller's words to the engine's first packet, each turn.
/// Who is called says hello at once; the ACK that tells the engine of the answer is still under way.
#[test]
fn what_a_caller_says_between_the_answer_and_its_ack_is_told_to_the_engine_a_second_of_it_at_most() {
    for (early, expected) in [(3_u16, 4), (80, 51)] {
        let mut call = Call::accepted_by_twilio();
        call.answer();
        for number in 0..early {
            call.hear(number, false);
            call.now += BEAT;
        }
        assert!(call.texts().is_empty(), "nothing before it is told of the answer");

        let start = EngineEvent::Start(Box::new(start()));
        call.turn(|voice, now, turn| voice.tell(now, &start, turn));
        call.hear(early, false);

        let told = call.texts().into_iter().filter(|message| message["event"] == "media").count();
        assert_eq!(told, expected);
    }
}

/// The engine speaks for a second, nobody for three, the caller for one, nobody again.
#[test]
fn whose_turn_it_is_and_how_long_they_are_silent_is_told_where_somebody_waits_for_it() {
    let mut call = Call::with_policy(BargeInPolicy::Engine);
    call.voice.watch_silence(vec![Duration::from_secs(2)], vec![Duration::from_secs(1)]);
    call.say_audio(1, &[0x90; 8 * 1_000]);

    call.converse(350, |beat| (200..250).contains(&beat));

    let told: Vec<_> = call.facts.iter().filter_map(silent).collect();
    assert_eq!(told, [(callingedge::call::Voice::Caller, 2), (callingedge::call::Voice::Engine, 1)]);
}

#[test]
fn how_long_an_engine_takes_to_answer_is_told() {
    let mut call = Call::with_policy(BargeInPolicy::Engine);
    call.converse(60, |beat| (20..40).contains(&beat));
    call.say_audio(1, &[0x90; 8 * 1_000]);
    call.converse(10, |_| false);

    let told: Vec<u128> = call.facts.iter().filter_map(responded).collect();

    assert!(matches!(told[..], [after] if (380..=420).contains(&after)), "{told:?}");
    let texts = call.texts();
    let latency: Vec<&Value> = texts.iter().filter(|message| message["type"] == "latency").collect();
    assert_eq!((latency.len(), &latency[0]["barge_in_ms"]), (1, &Value::Null));
    assert_eq!(latency[0]["response_ms"].as_u64().map(u128::from), Some(told[0]));
}

/// Owner and engine know while the call goes on how it sounds.
#[test]
fn how_a_call_sounds_is_told_every_five_seconds() {
    let mut call = Call::answered();
    // Every tenth packet is lost.
    for number in 0..600_u16 {
        if number % 10 != 9 {
            call.hear_on(FIRST_LEG, number, 0x55);
        }
        call.beat();
        if number % 5 == 0 {
            call.sweep();
        }
    }

    let told: Vec<Value> = call.texts().into_iter().filter(|message| message["type"] == "quality").collect();
    let facts = call.facts.iter().filter_map(measured);
    let owner: Vec<f32> = facts.filter_map(|leg| leg.loss_pct).collect();
    assert_eq!((told.len(), owner.len()), (2, 2));
    for (message, loss_pct) in told.iter().zip(owner) {
        assert!((9.0..=10.5).contains(&loss_pct), "{loss_pct}");
        assert!((message["loss_pct"].as_f64().unwrap() - f64::from(loss_pct)).abs() < 0.01, "{message}");
        // G.107 with a loss of 10 %, concealed.
        assert!((3.0..=3.6).contains(&message["mos"].as_f64().unwrap()), "{message}");
        assert_eq!((&message["track"], &message["rtt_ms"]), (&json!(0), &Value::Null));
    }
}

/// A telephone without telephone-event presses keys as tones; one that has it is not listened to.
#[test]
fn keys_come_as_tones_where_there_is_no_better_way() {
    for (telephone_event, expected) in [(None, 1), (Some(101), 0)] {
        let mut call = Call::ringing();
        let agreed = Negotiated { telephone_event, ..Negotiated::plain(far_end(), Codec::Pcmu) };
        call.turn(|voice, now, turn| {
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, turn);
        });

        // 770 and 1,336 Hz: a 5, for 100 ms.
        for number in 0..15_u16 {
            let sample = |at: u32| {
                let angle = |hertz: f64| (f64::from(at) * std::f64::consts::TAU * hertz / 8_000.0).sin();
                media::g711::linear_to_ulaw(((angle(770.0) + angle(1_336.0)) * 5_000.0) as i16)
            };
            let first = 160 * u32::from(number);
            let payload: Vec<u8> = match number {
                5..10 => (first..first + 160).map(sample).collect(),
                _ => vec![0xFF; 160],
            };
            call.receive(FIRST_LEG, 0, number, first, &payload);
        }

        let told: Vec<Value> = call.texts().into_iter().filter(|message| message["type"] == "dtmf").collect();
        assert_eq!(told.len(), expected, "{told:?}");
        for message in told {
            assert_eq!((&message["digit"], &message["method"]), (&json!("5"), &json!("inband")));
            assert!((90..=110).contains(&message["duration_ms"].as_u64().unwrap()), "{message}");
        }
    }
}

/// Whoever whispers to somebody who talks with another is not interrupted by that.
#[test]
fn two_people_who_talk_interrupt_nobody() {
    let mut call = Call::with_policy(BargeInPolicy::Cut);
    call.add_human();
    let hears = vec![(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)];
    let engine_hears = vec![FIRST_LEG, HUMAN];
    call.route(VoiceRoute { engine_to: Some(HUMAN), engine_hears, hears, ..VoiceRoute::default() });
    call.texts();

    for number in 0..50 {
        call.hear_on(HUMAN, number, if number < 20 { 0xFF } else { 0x90 });
        call.now += BEAT;
    }

    assert!(call.speech().is_empty());
}

#[test]
fn audio_beyond_the_limit_is_refused_as_a_whole_and_what_was_there_is_played() {
    let config = VoiceConfig { playout_limit: Duration::from_secs(1), ..VoiceConfig::default() };
    let mut call = Call::answered_with(config);
    call.say_audio(1, &[7; 8 * 900]);
    call.say_audio(2, &[9; 8 * 101]);
    call.say_audio(3, &[5; 8 * 100]);

    let errors: Vec<Value> = call.texts().into_iter().filter(|message| message["type"] == "error").collect();

    assert_eq!(errors.len(), 1);
    assert_eq!((&errors[0]["code"], &errors[0]["fatal"]), (&json!("playout.full"), &json!(false)));
    let heard: Vec<u8> = (0..50).map(|_| call.beat().unwrap()[12]).collect();
    assert_eq!((&heard[..45], &heard[45..]), (&[7; 45][..], &[5; 5][..]));
}

#[test]
fn what_an_engine_says_too_early_is_kept_up_to_a_bound() {
    let mut call = Call::ringing();
    for segment in 1..=2 {
        call.say_audio(segment, &vec![7; 200 << 10]);
    }
    assert_eq!(call.texts().last().unwrap()["code"], "playout.full", "the second does not fit");
    call.say(&json!({ "type": "clear" }));
    call.say_audio(3, &[9; 160]);
    call.say(&json!({ "type": "dtmf", "id": "d", "digits": "1" }));
    assert_eq!(call.texts().last().unwrap()["code"], "dtmf.too_early");

    call.answer();

    assert_eq!(call.beat().unwrap()[12..], [9; 160], "what was cleared is not heard");
}

#[test]
fn an_announcement_comes_back_at_once_where_nothing_can_be_played() {
    let mut call = Call::ringing();
    call.announce(&[3; 160]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Announced { leg: FIRST_LEG })));

    let mut call = Call::answered();
    call.announce(&[]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Announced { leg: FIRST_LEG })));
}

#[test]
fn a_second_announcement_takes_the_place_of_the_first() {
    let mut call = Call::answered();
    call.announce(&[3; 1_600]);
    call.beat();
    call.announce(&[4; 160]);

    assert_eq!(call.beat().unwrap()[12..], [4; 160]);
    let announced = call.facts.iter().filter(|fact| matches!(fact, VoiceFact::Announced { .. })).count();
    assert_eq!(announced, 2, "each is answered");
}

#[test]
fn a_drain_with_nothing_to_play_is_over_at_once_and_a_paused_one_goes_on() {
    let mut call = Call::answered();
    call.drain();
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Drained)));

    let mut call = Call::answered();
    call.say_audio(1, &[7; 160]);
    call.say(&json!({ "type": "pause" }));
    call.drain();
    assert_eq!(call.beat().unwrap()[12..], [7; 160]);
    assert!(matches!(call.facts.pop_back(), Some(VoiceFact::Drained)));
}

#[test]
fn the_last_of_too_many_mistakes_is_told_as_fatal() {
    let mut call = Call::answered();
    let outcomes: Vec<bool> =
        (0..MISTAKES_IN_A_ROW).map(|_| call.handle(Incoming::Text("{\"type\":\"sing\"}"))).collect();

    let errors = call.texts();
    assert_eq!(outcomes.iter().position(|fine| !fine), Some(MISTAKES_IN_A_ROW as usize - 1));
    assert!(errors.iter().all(|error| error["code"] == "message.unknown_type"));
    let fatal = errors.iter().filter(|error| error["fatal"] == true).count();
    assert_eq!((fatal, &errors.last().unwrap()["fatal"]), (1, &json!(true)));
}

#[test]
fn a_call_without_an_engine_plays_on_and_throws_nothing() {
    let mut call = Call::answered();
    call.say_audio(1, &[7; 320]);
    call.voice.detach();

    call.hear(0, false);
    assert_eq!(call.beat().unwrap()[12..], [7; 160]);
    assert!(call.handle(Incoming::Text("{")), "nobody is there to be wrong");
    assert!(call.out.is_empty());
}

#[test]
fn two_joined_legs_hear_each_other_bit_by_bit_and_the_engine_hears_both_on_its_two_tracks() {
    let mut call = Call::answered();
    call.add_human();
    let both = vec![(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)];
    call.route(VoiceRoute {
        engine_to: Some(HUMAN),
        engine_hears: vec![FIRST_LEG, HUMAN],
        hears: both,
        muted: Vec::new(),
    });

    let (mut to_caller, mut to_human) = (Vec::new(), Vec::new());
    for number in 0..50_u16 {
        call.hear_on(FIRST_LEG, number, 0x20);
        call.hear_on(HUMAN, number, 0x40);
        to_caller.push(call.beat_on(FIRST_LEG)[12]);
        to_human.push(call.beat_on(HUMAN)[12]);
        call.now += BEAT;
    }

    assert_eq!(
        (&to_caller[1..], &to_human[1..]),
        (&[0x40; 49][..], &[0x20; 49][..]),
        "from the second beat on"
    );
    let mut tracks = [0, 0];
    for frame in call.frames() {
        let (header, audio) = FrameHeader::parse(&frame).unwrap();
        let track = usize::from(header.track.to_byte());
        assert!(audio.iter().all(|code| *code == [0x20, 0x40][track]), "no leak between tracks");
        tracks[track] += 1;
    }
    assert_eq!(tracks, [50, 50]);
}

/// The clocks of two telephones drift apart; what is said at once arrives at once, and that is what the tracks go by.
#[test]
fn half_an_hour_of_two_clocks_150_ppm_apart_leaves_the_tracks_beside_each_other() {
    const PACKETS: u64 = 90_000;
    let mut call = Call::answered();
    call.add_human();
    call.route(VoiceRoute {
        engine_to: Some(HUMAN),
        engine_hears: vec![FIRST_LEG, HUMAN],
        hears: Vec::new(),
        muted: Vec::new(),
    });
    let begin = call.now;
    // The caller's 20 ms are 20; the human's, who says nothing, are 20.003.
    let people = [(FIRST_LEG, 0x20, 20_000), (HUMAN, 0xFF, 20_003)];
    let (mut said, mut heard, mut off) = ([0_u64; 2], [0_u64; 2], 0);
    while said[1] < PACKETS {
        let next = usize::from(said[1] * people[1].2 < said[0] * people[0].2);
        let (leg, code, micros) = people[next];
        let arrival = said[next] * micros;
        call.now = begin + Duration::from_micros(arrival);
        call.receive(leg, 0, said[next] as u16, said[next] as u32 * 160, &[code; 160]);
        said[next] += 1;
        for frame in call.frames() {
            let (header, audio) = FrameHeader::parse(&frame).unwrap();
            let track = usize::from(header.track.to_byte());
            assert!(audio.iter().all(|heard| *heard == people[track].1), "a silent track stays silent");
            heard[track] += 1;
            off = off.max((arrival / 1_000).abs_diff(header.capture_or_segment.into()));
        }
    }

    assert_eq!(heard, said, "nothing is kept back");
    assert_eq!(said, [PACKETS + 13, PACKETS], "that is how far the clocks are apart");
    assert!(off <= 1, "told {off} ms off when it arrived, so two tracks are at most twice that apart");
}

#[test]
fn what_the_engine_whispers_is_heard_by_the_human_alone_and_with_the_caller() {
    let mut call = Call::answered();
    call.add_human();
    let both = vec![(FIRST_LEG, HUMAN), (HUMAN, FIRST_LEG)];
    call.route(VoiceRoute {
        engine_to: Some(HUMAN),
        engine_hears: vec![FIRST_LEG, HUMAN],
        hears: both,
        muted: Vec::new(),
    });
    for number in 0..2 {
        call.hear_on(FIRST_LEG, number, 0xA0);
        call.hear_on(HUMAN, number, 0xFF);
    }
    call.say_audio(1, &[0xA0; 160]);

    let (caller, human) = (call.beat_on(FIRST_LEG), call.beat_on(HUMAN));

    let sample = |code: u8| i32::from(media::g711::ulaw_to_linear(code));
    assert_eq!(caller[12], 0xFF, "the caller hears the silent human only");
    let (one, both) = (sample(0xA0), sample(human[12]));
    assert!((both - 2 * one).abs() <= both.abs() / 16, "{both} is twice {one}");
}

#[test]
fn a_key_of_one_leg_is_pressed_on_the_other() {
    let mut call = Call::answered();
    call.add_human();
    let hears = vec![(HUMAN, FIRST_LEG)];
    call.route(VoiceRoute { engine_to: None, engine_hears: Vec::new(), hears, muted: Vec::new() });

    for (number, end) in [(1, false), (2, true), (3, true)] {
        call.press(FIRST_LEG, number, 5, end);
    }
    let sent: Vec<Vec<u8>> = (0..8).map(|_| call.beat_on(HUMAN)).collect();

    let events = sent.iter().filter(|packet| packet[1] & 0x7F == 101).count();
    assert!(events >= 5, "{events} packets of the event");
    assert!(sent.iter().any(|packet| packet[12] == 5));
}

#[test]
fn masked_keys_are_for_the_other_leg_alone() {
    let mut call = Call::answered();
    call.add_human();
    let (hears, engine_hears) = (vec![(HUMAN, FIRST_LEG)], vec![FIRST_LEG]);
    call.route(VoiceRoute { engine_to: None, engine_hears, hears, muted: Vec::new() });
    let is_key = |message: &Value| message["type"] == "dtmf";

    call.voice.mask_keys(true);
    call.press(FIRST_LEG, 1, 5, true);
    let sent: Vec<Vec<u8>> = (0..8).map(|_| call.beat_on(HUMAN)).collect();
    assert_eq!(call.texts().iter().filter(|message| is_key(message)).count(), 0);
    assert!(sent.iter().filter(|packet| packet[1] & 0x7F == 101).count() >= 5);

    call.voice.mask_keys(false);
    call.now += Duration::from_secs(1);
    call.receive(FIRST_LEG, 101, 2, 8_000, &[6, 0x8A, 3, 0x20]);
    assert_eq!(call.texts().iter().filter(|message| is_key(message)).count(), 1);
}

/// Tones are part of the voice: as long as keys are masked, all of it is.
#[test]
fn where_keys_are_tones_engine_and_recording_hear_nothing_while_they_are_masked() {
    let mut call = Call::ringing();
    let agreed = Negotiated { telephone_event: None, ..Negotiated::plain(far_end(), Codec::Pcmu) };
    call.turn(|voice, now, turn| voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, turn));
    call.voice.record(FIRST_LEG, RecordMode::Stereo);
    let speak = |call: &mut Call, from: u16| {
        for number in from..from + 10 {
            call.hear_on(FIRST_LEG, number, 0x21);
            call.beat();
        }
        call.frames().len()
    };

    call.voice.mask_keys(true);
    let masked = speak(&mut call, 0);
    call.voice.mask_keys(false);
    let told = speak(&mut call, 10);

    assert_eq!((masked, told), (0, 10));
    let tape = call.voice.end_recording().unwrap();
    let said: Vec<bool> =
        tape.chunks(320).map(|beat| beat.iter().step_by(2).any(|sample| *sample != 0)).collect();
    assert_eq!(said[..10], [false; 10]);
    assert_eq!(said[12..20], [true; 8]);
}

#[test]
fn a_key_that_comes_in_two_ways_is_told_once_and_two_of_one_way_are_two() {
    let mut call = Call::answered();
    call.add_human();
    let five = media::Digit::try_from('5').unwrap();
    let info = |call: &mut Call| {
        let length = Duration::from_millis(160);
        call.turn(|voice, now, turn| voice.pressed(now, FIRST_LEG, five, length, DtmfMethod::Info, turn));
    };
    call.press(FIRST_LEG, 1, 5, true);
    info(&mut call);
    info(&mut call);
    call.now += Duration::from_secs(1);
    call.press(FIRST_LEG, 9, 5, true);

    let told: Vec<Value> = call.texts().into_iter().filter(|message| message["type"] == "dtmf").collect();
    let ways: Vec<&str> = told.iter().map(|message| message["method"].as_str().unwrap()).collect();
    assert_eq!(
        ways,
        ["rfc4733", "info"],
        "the third is another press; the fourth is one that began long before"
    );
    assert_eq!(call.tally.keys_twice, 1);
}

#[test]
fn who_speaks_on_and_on_is_a_machine_and_who_waits_is_a_person() {
    // Speech of the fixtures, again and again.
    let file =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio/announcement.wav")).unwrap();
    let wav = media::Wav::parse(&file).unwrap();
    let format = wav.telephone().unwrap();
    let mut speech = vec![0; wav.data.len() / format.bytes_per_sample()];
    format.convert(media::AudioFormat::Pcmu, wav.data, &mut speech);
    for (spoken, expected) in [(6 * 8_000, AnsweredBy::Machine), (8_000, AnsweredBy::Human)] {
        let mut call = Call::answered();
        call.voice.detect_answerer(FIRST_LEG);
        let said = speech.iter().cycle().take(spoken).copied();
        let heard: Vec<u8> = said.chain(std::iter::repeat_n(0xFF, 4 * 8_000)).collect();
        for (number, frame) in (0..).zip(heard.chunks_exact(160)) {
            call.receive(FIRST_LEG, 0, number, u32::from(number) * 160, frame);
            call.now += BEAT;
        }

        let first = call
            .facts
            .iter()
            .find_map(|fact| if let VoiceFact::AnsweredBy { who, .. } = fact { Some(*who) } else { None });
        assert_eq!(first, Some(expected), "{} s of speech", spoken / 8_000);
    }
}

#[test]
fn audio_for_a_leg_that_the_engine_no_longer_speaks_to_is_thrown_away_and_its_marks_say_so() {
    let mut call = Call::answered();
    call.add_human();
    call.say_audio(1, &[7; 1_600]);
    call.say(&json!({ "type": "mark", "name": "greeting" }));

    call.route(VoiceRoute {
        engine_to: None,
        engine_hears: Vec::new(),
        hears: Vec::new(),
        muted: Vec::new(),
    });

    let mark = call.texts().into_iter().find(|message| message["type"] == "mark").unwrap();
    assert_eq!(mark["result"], "cleared");
    assert_ne!(call.beat_on(FIRST_LEG)[12..], [7; 160]);
    call.say_audio(2, &[7; 160]);
    assert_eq!(call.texts()[0]["code"], "playout.closed");
    call.hear_on(FIRST_LEG, 1, 0x20);
    assert!(call.frames().is_empty(), "and it hears nothing");
}

#[test]
fn who_waits_hears_the_tone_only_while_the_engine_is_silent() {
    let mut call = Call::answered();
    let audio = Announcement { name: "tone".into(), pcmu: vec![3; 100] };
    call.voice.wait(FIRST_LEG, Some(audio.into()));
    assert_eq!(call.beat_on(FIRST_LEG)[12..], [3; 160]);

    call.say_audio(1, &[7; 160]);
    assert_eq!(call.beat_on(FIRST_LEG)[12..], [7; 160]);
    call.voice.wait(FIRST_LEG, None);
    assert_ne!(call.beat_on(FIRST_LEG)[12..], [3; 160]);
}

#[test]
fn a_closed_leg_is_in_the_summary_and_nowhere_else() {
    let mut call = Call::answered();
    call.add_human();
    call.route(VoiceRoute { hears: vec![(FIRST_LEG, HUMAN)], ..VoiceRoute::default() });
    call.hear_on(HUMAN, 1, 0x40);

    call.voice.close(call.now, HUMAN);

    let summary = call.voice.summary(call.now);
    let frames: Vec<(u8, u64)> = summary.legs.iter().map(|leg| (leg.leg, leg.frames_up)).collect();
    assert_eq!(frames, [(0, 0), (1, 1)]);
    assert!(call.beat().is_some());
}

/// The leg of a person who was called.
const HUMAN: LegId = LegId(1);

struct Call {
    voice: Voice,
    now: Instant,
    out: Outgoing,
    facts: VecDeque<VoiceFact>,
    tally: Tally,
    scratch: Vec<u8>,
    /// Packets of [`Self::converse`].
    heard: u16,
}

impl Call {
    /// With an engine that was told of the call, and no media yet.
    fn ringing() -> Self {
        Self::ringing_with(VoiceConfig::default())
    }

    fn ringing_with(config: VoiceConfig) -> Self {
        Self::ringing_as(config, BargeInPolicy::Engine)
    }

    fn ringing_as(config: VoiceConfig, policy: BargeInPolicy) -> Self {
        let mut call = Self {
            voice: Voice::new(config),
            now: now(),
            out: Outgoing::default(),
            facts: VecDeque::new(),
            tally: Tally::default(),
            scratch: Vec::new(),
            heard: 0,
        };
        call.voice.open(FIRST_LEG, Duration::from_secs(30));
        let credit = Credit { window: Duration::from_secs(30), limit: config.playout_limit };
        call.voice.attach(Interpreter::new(Dialect::EdgeV1, id(), credit), policy);
        let start = EngineEvent::Start(Box::new(start()));
        call.turn(|voice, now, turn| voice.tell(now, &start, turn));
        call.out.clear();
        call
    }

    /// An engine that is told of the call when it is answered.
    fn accepted_by_twilio() -> Self {
        let mut call = Self::ringing();
        let credit = Credit { window: Duration::from_secs(30), limit: VoiceConfig::default().playout_limit };
        let interpreter = Interpreter::new(Dialect::Twilio, id(), credit);
        call.voice.attach(interpreter, BargeInPolicy::Engine);
        call.out.clear();
        call
    }

    fn with_policy(policy: BargeInPolicy) -> Self {
        let mut call = Self::ringing_as(VoiceConfig::default(), policy);
        call.answer();
        call
    }

    /// So many beats in which the far end is loud or silent; the first code of each packet that it hears.
    fn converse(&mut self, beats: usize, is_loud: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut heard = Vec::new();
        for beat in 0..beats {
            let number = self.heard;
            self.heard += 1;
            let tone = [[0x90; 8], [0x10; 8]].concat().repeat(10);
            let payload = if is_loud(beat) { tone } else { vec![0xFF; 160] };
            self.receive(FIRST_LEG, 0, number, u32::from(number) * 160, &payload);
            heard.push(self.beat().unwrap()[12]);
        }
        heard
    }

    fn speech(&mut self) -> Vec<Value> {
        let mut texts = self.texts();
        texts.retain(|message| message["type"].as_str().unwrap().starts_with("speech"));
        texts
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
    fn barged_in(&self) -> Vec<u128> {
        let after = self.facts.iter().filter_map(|fact| match fact {
            VoiceFact::BargedIn { after, .. } => Some(after.as_millis()),
            _ => None,
        });
        after.collect()
    }

    fn answered() -> Self {
        Self::answered_with(VoiceConfig::default())
    }

    fn answered_with(config: VoiceConfig) -> Self {
        let mut call = Self::ringing_with(config);
        call.answer();
        call
    }

    fn answer(&mut self) {
        let agreed = Negotiated::plain(far_end(), Codec::Pcmu);
        self.turn(|voice, now, turn| {
            voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, FIRST_LEG, &agreed, turn);
        });
    }

    fn turn<T>(&mut self, work: impl FnOnce(&mut Voice, Instant, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            out: &mut self.out,
            facts: &mut self.facts,
            tally: &mut self.tally,
            scratch: &mut self.scratch,
        };
        work(&mut self.voice, self.now, &mut turn)
    }

    /// The `number`th packet of the far end.
    fn hear(&mut self, number: u16, congested: bool) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
        packet.extend_from_slice(&[0xCA, 0xFE, 0xBA, 0xBE]);
        packet.resize(172, 0x55);
        self.turn(|voice, now, turn| voice.handle_rtp(now, FIRST_LEG, far_end(), &packet, congested, turn));
    }

    fn add_human(&mut self) {
        self.voice.open(HUMAN, Duration::from_secs(30));
        let agreed = Negotiated { telephone_event: Some(101), ..Negotiated::plain(far_end(), Codec::Pcmu) };
        for leg in [FIRST_LEG, HUMAN] {
            self.turn(|voice, now, turn| {
                voice.negotiated(now, SystemTime::UNIX_EPOCH, 1, leg, &agreed, turn);
            });
        }
    }

    fn route(&mut self, route: VoiceRoute) {
        self.turn(|voice, now, turn| voice.route(now, route, turn));
    }

    /// The `number`th packet of a leg's far end, all `code`.
    fn hear_on(&mut self, leg: LegId, number: u16, code: u8) {
        self.receive(leg, 0, number, u32::from(number) * 160, &[code; 160]);
    }

    /// An RFC 4733 event that began with the first packet.
    fn press(&mut self, leg: LegId, number: u16, event: u8, end: bool) {
        let payload = [event, if end { 0x8A } else { 10 }, 3, 0x20];
        self.receive(leg, 101, number, 0, &payload);
    }

    fn receive(&mut self, leg: LegId, payload_type: u8, number: u16, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0xCA, 0xFE, 0xBA, leg.0]);
        packet.extend_from_slice(payload);
        self.turn(|voice, now, turn| voice.handle_rtp(now, leg, far_end(), &packet, false, turn));
    }

    /// The packet that goes out to a leg; no time passes.
    fn beat_on(&mut self, leg: LegId) -> Vec<u8> {
        let mut packet = [0; PACKET_MAX];
        let sent = self.turn(|voice, now, turn| voice.beat(now, leg, false, &mut packet, turn));
        packet[..sent.unwrap().0].to_vec()
    }

    /// 20 ms pass; the packet that goes out with them.
    fn beat(&mut self) -> Option<Vec<u8>> {
        let mut packet = [0; PACKET_MAX];
        let sent = self.turn(|voice, now, turn| voice.beat(now, FIRST_LEG, false, &mut packet, turn));
        self.now += BEAT;
        sent.map(|(length, _)| packet[..length].to_vec())
    }

    fn sweep(&mut self) {
        self.turn(|voice, now, turn| voice.sweep(now, turn));
    }

    fn drain(&mut self) {
        self.turn(|voice, _, turn| voice.drain(turn));
    }

    fn announce(&mut self, pcmu: &[u8]) {
        let audio = Announcement { name: "test".into(), pcmu: pcmu.to_vec() };
        self.turn(|voice, now, turn| voice.announce(now, FIRST_LEG, &audio, turn));
    }

    /// Whether the conversation goes on.
    fn handle(&mut self, message: Incoming<'_>) -> bool {
        self.turn(|voice, now, turn| voice.handle_message(now, message, turn)).is_ok()
    }

    fn say(&mut self, message: &Value) {
        assert!(self.handle(Incoming::Text(&message.to_string())));
    }

    fn say_audio(&mut self, segment: u32, audio: &[u8]) {
        let mut frame = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&segment.to_be_bytes());
        frame.extend_from_slice(audio);
        assert!(self.handle(Incoming::Binary(&frame)));
    }

    fn texts(&mut self) -> Vec<Value> {
        let messages = std::iter::from_fn(|| self.out.pop());
        let texts = messages.filter(|(form, _)| *form == Form::Text);
        texts.map(|(_, message)| serde_json::from_slice(&message).unwrap()).collect()
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let messages = std::iter::from_fn(|| self.out.pop());
        messages.filter(|(form, _)| *form == Form::Binary).map(|(_, message)| message.to_vec()).collect()
    }
}

fn silent(fact: &VoiceFact) -> Option<(callingedge::call::Voice, u64)> {
    if let VoiceFact::Silent { who, lasted } = fact { Some((*who, lasted.as_secs())) } else { None }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
fn responded(fact: &VoiceFact) -> Option<u128> {
    match fact {
        VoiceFact::Responded { after, .. } => Some(after.as_millis()),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
fn measured(fact: &VoiceFact) -> Option<&LegSummary> {
    match fact {
        VoiceFact::Measured(leg) => Some(leg),
        _ => None,
    }
}

fn far_end() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

fn id() -> CallId {
    "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

fn start() -> EngineStart {
    EngineStart {
        identity: callingedge::call::Identity::default(),
        call: id(),
        provider: ProviderKey::from("sip-main"),
        direction: Direction::Inbound,
        from: "+16505824074".into(),
        to: "+18005551234".into(),
        mode: Mode::AiFirst,
        context: Context::default(),
        sip_call_id: "a84b4c76e66710".into(),
        sip_headers: Vec::new(),
        started_at: Timestamp::from_unix_ms(0),
        account: None,
        resume: None,
        parameters: Vec::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}
