//! The segment queue as an engine meets it.

use std::time::Duration;

use crate::support;
use media::{
    AudioFormat, Cleared, MarkResult, Played, Playout, PlayoutFact, PushError, SampleRate, SegmentId,
    TooManyMarks, g711,
};
use proptest::prelude::*;

const ONE: SegmentId = SegmentId(1);
const TWO: SegmentId = SegmentId(2);
const PCMU: AudioFormat = AudioFormat::Pcmu;
const L16: AudioFormat = AudioFormat::L16 { rate: SampleRate::Hz8000 };

#[test]
fn audio_in_chunks_of_any_size_comes_out_in_frames_of_20_ms() {
    let audio: Vec<u8> = (0..3_200).map(|index| (index % 251) as u8).collect();
    let mut playout = playout();
    for chunk in audio.chunks(77) {
        playout.push(ONE, PCMU, chunk).unwrap();
    }

    let heard = play(&mut playout, 20);

    assert_eq!(heard, audio);
    assert_eq!(playout.played_ms(ONE), 400);
    assert_eq!(playout.buffered_ms(), 0);
}

#[test]
fn an_empty_queue_plays_quiet_noise_and_never_the_same_frame() {
    let mut playout = playout();
    let mut first = [0; 160];
    let mut second = [0; 160];

    assert_eq!(playout.next_frame(&mut first), Played::Silence);
    assert_eq!(playout.next_frame(&mut second), Played::Silence);

    assert!(first.iter().all(|code| g711::ulaw_to_linear(*code).abs() < 64));
    assert_ne!(first, second);
}

#[test]
fn an_odd_byte_of_linear_audio_waits_for_its_other_half() {
    let samples: Vec<i16> = (0..320).map(|index| (index * 100) as i16).collect();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let expected: Vec<u8> = samples.iter().map(|sample| g711::linear_to_ulaw(*sample)).collect();
    let mut playout = playout();
    for chunk in bytes.chunks(33) {
        playout.push(ONE, L16, chunk).unwrap();
        // Another segment between must not take the waiting half.
        playout.push(TWO, L16, &[]).unwrap();
    }

    assert_eq!(play(&mut playout, 2), expected);
}

#[test]
fn two_segments_with_odd_chunks_do_not_mix_their_bytes() {
    let mut playout = playout();
    for _ in 0..2 {
        playout.push(ONE, L16, &[0x00]).unwrap();
        playout.push(TWO, L16, &[0xFF]).unwrap();
    }
    playout.finish(ONE);
    playout.finish(TWO);

    let frame = frame(&mut playout).1;

    assert_eq!(frame[..3], [g711::linear_to_ulaw(0), g711::linear_to_ulaw(-1), g711::ULAW_SILENCE]);
}

#[test]
fn an_open_end_is_waited_for_one_beat_and_then_padded() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 200]).unwrap();

    let beats: Vec<_> = (0..4).map(|_| frame(&mut playout)).collect();

    let kinds: Vec<_> = beats.iter().map(|(played, _)| *played).collect();
    assert_eq!(kinds, [Played::Audio, Played::Silence, Played::Audio, Played::Silence]);
    assert_eq!(beats[2].1[..40], [0x11; 40]);
    assert_eq!(beats[2].1[40..], [g711::ULAW_SILENCE; 120]);
}

#[test]
fn the_rest_of_a_frame_that_comes_within_the_beat_is_not_torn() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 200]).unwrap();
    frame(&mut playout);

    assert_eq!(frame(&mut playout).0, Played::Silence);
    playout.push(ONE, PCMU, &[0x11; 120]).unwrap();

    assert_eq!(frame(&mut playout), (Played::Audio, [0x11; 160]));
}

#[test]
fn a_finished_segment_is_padded_at_once_and_told() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 200]).unwrap();
    playout.finish(ONE);

    frame(&mut playout);
    let (played, last) = frame(&mut playout);

    assert_eq!(played, Played::Audio);
    assert_eq!(last[40..], [g711::ULAW_SILENCE; 120]);
    assert_eq!(
        facts(&mut playout),
        [position(ONE, 20, 5, 0), position(ONE, 25, 0, 0), PlayoutFact::Finished { segment: ONE }]
    );
}

#[test]
fn a_frame_is_filled_across_the_border_of_two_segments() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 100]).unwrap();
    playout.finish(ONE);
    playout.push(TWO, PCMU, &[0x22; 60]).unwrap();
    playout.finish(TWO);

    let (_, heard) = frame(&mut playout);

    assert_eq!((heard[..100].to_vec(), heard[100..].to_vec()), (vec![0x11; 100], vec![0x22; 60]));
    assert_eq!((playout.played_ms(ONE), playout.played_ms(TWO)), (12, 7));
}

#[test]
fn running_dry_is_one_underrun_however_long_it_lasts() {
    let mut playout = playout();
    for _ in 0..3 {
        playout.push(ONE, PCMU, &[0x11; 170]).unwrap();
        play(&mut playout, 10);
    }

    let last = facts(&mut playout).pop();

    assert_eq!(last, Some(position(ONE, 63, 0, 3)));
    assert_eq!(playout.underruns(), 3);
}

#[test]
fn silence_before_the_first_audio_and_after_a_finished_segment_is_no_underrun() {
    let mut playout = playout();
    play(&mut playout, 5);
    playout.push(ONE, PCMU, &[0x11; 320]).unwrap();
    playout.finish(ONE);
    play(&mut playout, 5);

    assert_eq!(playout.underruns(), 0);
}

#[test]
fn a_mark_is_told_when_the_audio_before_it_was_played_and_not_earlier() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 320]).unwrap();
    playout.mark(None, "half").unwrap();
    playout.push(ONE, PCMU, &[0x11; 320]).unwrap();
    playout.mark(Some(ONE), "end").unwrap();

    let told: Vec<_> = (0..4)
        .map(|_| {
            frame(&mut playout);
            marks(&mut playout)
        })
        .collect();

    let half = (String::from("half"), MarkResult::Played, 40);
    let end = (String::from("end"), MarkResult::Played, 80);
    assert_eq!(told, [vec![], vec![half], vec![], vec![end]]);
}

#[test]
fn a_mark_on_an_empty_queue_is_told_at_once() {
    let mut playout = playout();

    playout.mark(None, "now").unwrap();

    assert_eq!(marks(&mut playout), [(String::from("now"), MarkResult::Played, 0)]);
}

#[test]
fn clearing_all_stops_at_once_and_gives_the_marks_back() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 1_600]).unwrap();
    playout.mark(None, "end").unwrap();
    frame(&mut playout);

    let cleared = playout.clear(None);

    assert_eq!(cleared, Cleared { segment: Some(ONE), played_ms: 20, dropped_ms: 180 });
    assert_eq!(frame(&mut playout).0, Played::Silence);
    assert_eq!(marks(&mut playout), [(String::from("end"), MarkResult::Cleared, 20)]);
}

#[test]
fn late_audio_of_a_cleared_segment_is_thrown_away_and_another_is_heard() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 160]).unwrap();
    playout.clear(None);

    playout.push(ONE, PCMU, &[0x11; 160]).unwrap();
    playout.push(TWO, PCMU, &[0x22; 160]).unwrap();

    assert_eq!(frame(&mut playout), (Played::Audio, [0x22; 160]));
    assert_eq!(playout.cleared_ms(), 40);
}

#[test]
fn another_speaker_begins_with_numbers_of_their_own() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 160]).unwrap();
    playout.clear(None);
    playout.pause();
    playout.push(TWO, PCMU, &[0x22; 160]).unwrap();

    playout.new_speaker();
    playout.push(ONE, PCMU, &[0x33; 160]).unwrap();

    assert_eq!(frame(&mut playout), (Played::Audio, [0x22; 160]), "what waits is still heard");
    assert_eq!(frame(&mut playout), (Played::Audio, [0x33; 160]));
    assert_eq!(playout.played_ms(ONE), 20);
}

#[test]
fn clearing_one_segment_leaves_the_audio_and_marks_of_the_others() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 160]).unwrap();
    playout.mark(Some(ONE), "one").unwrap();
    playout.push(TWO, PCMU, &[0x22; 160]).unwrap();
    playout.mark(Some(TWO), "two").unwrap();
    playout.push(SegmentId(3), PCMU, &[0x33; 160]).unwrap();
    playout.mark(None, "three").unwrap();

    let cleared = playout.clear(Some(TWO));
    let heard = play(&mut playout, 3);

    assert_eq!(cleared, Cleared { segment: Some(TWO), played_ms: 0, dropped_ms: 20 });
    assert_eq!(heard, [[0x11; 160], [0x33; 160]].concat());
    assert_eq!(
        marks(&mut playout),
        [
            (String::from("two"), MarkResult::Cleared, 0),
            (String::from("one"), MarkResult::Played, 20),
            (String::from("three"), MarkResult::Played, 20)
        ]
    );
}

#[test]
fn a_pause_keeps_the_queue_and_its_marks_and_is_no_underrun() {
    let mut playout = playout();
    playout.push(ONE, PCMU, &[0x11; 320]).unwrap();
    playout.mark(None, "end").unwrap();
    frame(&mut playout);
    playout.pause();

    assert_eq!(play(&mut playout, 10), []);
    assert_eq!(marks(&mut playout), []);
    playout.resume();

    assert_eq!(play(&mut playout, 1), [0x11; 160]);
    assert_eq!(marks(&mut playout).len(), 1);
    assert_eq!(playout.underruns(), 0);
}

#[test]
fn a_chunk_beyond_the_limit_is_refused_whole_and_says_how_much_would_fit() {
    let mut playout = Playout::new(AudioFormat::Pcmu, Duration::from_millis(100), 1);
    playout.push(ONE, PCMU, &[0x11; 700]).unwrap();

    assert_eq!(playout.push(ONE, PCMU, &[0x11; 101]), Err(PushError::Full { free_ms: 12 }));
    assert_eq!(playout.push(ONE, PCMU, &[0x11; 100]), Ok(()));

    assert_eq!(playout.buffered_ms(), 100);
}

#[test]
fn a_65th_waiting_segment_is_refused_until_one_was_played() {
    let mut playout = playout();
    for number in 0..64 {
        playout.push(SegmentId(number), PCMU, &[0x11; 160]).unwrap();
    }

    assert_eq!(playout.push(SegmentId(64), PCMU, &[0x11; 160]), Err(PushError::TooManySegments));
    frame(&mut playout);

    assert_eq!(playout.push(SegmentId(64), PCMU, &[0x11; 160]), Ok(()));
}

#[test]
fn two_segments_in_endless_turns_are_refused_before_memory_grows() {
    let mut playout = playout();

    let taken =
        (0..10_000).take_while(|index| playout.push(SegmentId(index % 2), PCMU, &[1]).is_ok()).count();

    assert_eq!(taken, 1_024);
}

#[test]
fn the_1025th_mark_is_refused_also_when_the_others_are_told_but_not_taken() {
    let mut playout = playout();
    for _ in 0..1_024 {
        playout.mark(None, "m").unwrap();
    }

    assert_eq!(playout.mark(None, "m"), Err(TooManyMarks));
    playout.next_fact();

    assert_eq!(playout.mark(None, "m"), Ok(()));
}

#[test]
fn names_of_marks_are_bounded_together() {
    let mut playout = playout();

    assert_eq!(playout.mark(None, &"x".repeat(65_536)), Ok(()));
    assert_eq!(playout.mark(None, "x"), Err(TooManyMarks));
}

#[test]
fn facts_that_nobody_takes_do_not_grow_without_end() {
    let mut playout = playout();
    for number in 0..100_000 {
        playout.push(SegmentId(number), PCMU, &[0x11; 160]).unwrap();
        playout.finish(SegmentId(number));
        frame(&mut playout);
    }

    assert!(facts(&mut playout).len() < 5_000);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32, usize),
    Finish(u32),
    Mark(Option<u32>),
    Clear(Option<u32>),
    Beats(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u32..6;
    prop_oneof![
        6 => (id.clone(), 0_usize..700).prop_map(|(id, length)| Step::Push(id, length)),
        2 => id.clone().prop_map(Step::Finish),
        2 => prop::option::of(id.clone()).prop_map(Step::Mark),
        1 => prop::option::of(id).prop_map(Step::Clear),
        4 => (1_usize..8).prop_map(Step::Beats),
    ]
}

proptest! {
    #![proptest_config(support::config())]

    /// Whatever an engine does: what is heard is what was pushed and not cleared, in order; every mark is
    /// told exactly once; the counts of milliseconds agree.
    #[test]
    fn nothing_is_lost_doubled_or_forgotten(steps in prop::collection::vec(step(), 0..60)) {
        let mut playout = playout();
        let mut expected: Vec<(u32, u8)> = Vec::new();
        let mut closed = std::collections::BTreeSet::new();
        let mut known = std::collections::BTreeSet::new();
        let mut heard = Vec::new();
        let mut dropped = 0;
        let mut asked = 0;
        let mut told = 0;
        let mut value = 0_u8;
        for step in steps {
            match step {
                Step::Push(id, length) => {
                    // 0xFF pads, so it must not be audio.
                    let audio: Vec<u8> = (0..length).map(|_| { value = (value + 1) % 250; value }).collect();
                    playout.push(SegmentId(id), PCMU, &audio).unwrap();
                    if closed.contains(&id) {
                        dropped += length as u64;
                    } else if length > 0 {
                        known.insert(id);
                        expected.extend(audio.into_iter().map(|code| (id, code)));
                    }
                }
                Step::Finish(id) => playout.finish(SegmentId(id)),
                Step::Mark(id) => {
                    playout.mark(id.map(SegmentId), "mark").unwrap();
                    asked += 1;
                }
                Step::Clear(id) => {
                    let (gone, kept): (Vec<_>, Vec<_>) =
                        expected.into_iter().partition(|(of, _)| id.is_none_or(|id| id == *of));
                    expected = kept;
                    dropped += gone.len() as u64;
                    let cleared = playout.clear(id.map(SegmentId));
                    prop_assert_eq!(u64::from(cleared.dropped_ms), gone.len() as u64 / 8);
                    match id {
                        Some(id) => { closed.insert(id); }
                        // Segments that were finished and heard to their end may be opened again; here
                        // nobody does.
                        None => closed.extend(known.iter().copied()),
                    }
                }
                Step::Beats(count) => {
                    for _ in 0..count {
                        let (played, codes) = frame(&mut playout);
                        if played == Played::Audio {
                            let length = expected.len().min(160);
                            let part: Vec<u8> = expected.drain(..length).map(|(_, code)| code).collect();
                            prop_assert_eq!(&codes[..length], &part[..]);
                            prop_assert!(codes[length..].iter().all(|code| *code == 0xFF));
                            heard.extend(part);
                        }
                    }
                }
            }
            // A finished segment that clear(None) left alone stays open to us only.
            for id in known.clone() {
                if closed.contains(&id) { playout.clear(Some(SegmentId(id))); }
            }
            prop_assert_eq!(u64::from(playout.buffered_ms()), expected.len() as u64 / 8);
            told += marks(&mut playout).len();
        }
        playout.clear(None);
        told += marks(&mut playout).len();
        prop_assert_eq!(told, asked);
        prop_assert_eq!(playout.cleared_ms(), (dropped + expected.len() as u64) / 8);
    }
}

fn playout() -> Playout {
    Playout::new(AudioFormat::Pcmu, Duration::from_secs(600), 1)
}

fn frame(playout: &mut Playout) -> (Played, [u8; 160]) {
    let mut frame = [0; 160];
    let played = playout.next_frame(&mut frame);
    (played, frame)
}

/// The audio of so many beats, without the noise.
fn play(playout: &mut Playout, beats: usize) -> Vec<u8> {
    let frames = (0..beats).map(|_| frame(playout));
    frames.filter(|(played, _)| *played == Played::Audio).flat_map(|(_, frame)| frame).collect()
}

fn facts(playout: &mut Playout) -> Vec<PlayoutFact> {
    std::iter::from_fn(|| playout.next_fact()).collect()
}

fn marks(playout: &mut Playout) -> Vec<(String, MarkResult, u32)> {
    let marked = |fact| match fact {
        PlayoutFact::Marked { name, result, played_ms } => Some((name, result, played_ms)),
        PlayoutFact::Position { .. } | PlayoutFact::Finished { .. } => None,
    };
    facts(playout).into_iter().filter_map(marked).collect()
}

fn position(segment: SegmentId, played_ms: u32, buffered_ms: u32, underruns: u32) -> PlayoutFact {
    PlayoutFact::Position { segment, played_ms, buffered_ms, underruns }
}
