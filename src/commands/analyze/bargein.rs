//! `analyze bargein`: whether the caller interrupts us, in what we say and what comes back at the same time.

use std::path::PathBuf;

use clap::Args;
use media::hearing::{BargeIn, BargeInDetector};
use serde::Serialize;

use super::audio::{Audio, to_ms};
use super::print_line;
use crate::commands::Outcome;

/// Both sides of a call on one clock.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// What we say: a WAV file.
    #[arg(value_name = "AGENT")]
    agent: PathBuf,
    /// What comes in meanwhile: the echo of it, noise, and the caller.
    #[arg(value_name = "CALLER")]
    caller: PathBuf,
}

/// What would have been done in a call.
#[derive(Debug, PartialEq, Serialize)]
struct Line {
    agent: String,
    caller: String,
    /// The first interruption that was no "mm-hmm": nothing where there is none.
    barge_in: Option<Interruption>,
    /// Pauses after which we went on.
    resumed: usize,
    actions: Vec<Action>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Interruption {
    /// Where the caller began.
    start_ms: u64,
    /// When we fell silent.
    at_ms: u64,
    /// When it was clear that the rest need not be said.
    cut_at_ms: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Action {
    action: &'static str,
    at_ms: u64,
}

pub(super) fn run(options: &Options) -> Outcome {
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        match Audio::read(path) {
            Ok(audio) => Ok((name, audio.telephone())),
            Err(fault) => Err(format!("{name}: {fault}")),
        }
    };
    let (agent, said) = read(&options.agent)?;
    let (caller, heard) = read(&options.caller)?;
    print_line(&judge(agent, caller, &said, &heard))
}

/// As long as something comes in; we are silent when all is said.
fn judge(agent: String, caller: String, said: &[i16], heard: &[i16]) -> Line {
    let mut detector = BargeInDetector::default();
    let (mut barge_in, mut paused_at, mut resumed, mut actions) = (None, 0, 0, Vec::new());
    for (index, heard) in heard.as_chunks().0.iter().enumerate() {
        let said = said.as_chunks().0.get(index).unwrap_or(&[0; 160]);
        match detector.push(said, heard) {
            Some(BargeIn::Pause { at, .. }) => {
                paused_at = at;
                actions.push(Action { action: "pause", at_ms: to_ms(at) });
            }
            Some(BargeIn::Cut { start, at }) => {
                barge_in.get_or_insert(Interruption {
                    start_ms: to_ms(start),
                    at_ms: to_ms(paused_at),
                    cut_at_ms: to_ms(at),
                });
                actions.push(Action { action: "cut", at_ms: to_ms(at) });
            }
            Some(BargeIn::Resume { at }) => {
                resumed += 1;
                actions.push(Action { action: "resume", at_ms: to_ms(at) });
            }
            Some(BargeIn::Quiet { .. }) | None => {}
        }
    }
    Line { agent, caller, barge_in, resumed, actions }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_who_goes_on_is_an_interruption_and_a_short_sound_is_a_pause() {
        let said = [0; 16_000];
        let caller = |frames: usize| {
            let mut heard = vec![0; 16_000];
            for (at, sample) in heard[4_000..4_000 + 160 * frames].iter_mut().enumerate() {
                *sample = if at % 16 < 8 { 3_000 } else { -3_000 };
            }
            judge("a".to_owned(), "c".to_owned(), &said, &heard)
        };

        let (long, short) = (caller(40), caller(9));

        let interruption = long.barge_in.as_ref().unwrap();
        assert_eq!(interruption.start_ms, 500);
        assert!((500..=700).contains(&interruption.at_ms), "{long:?}");
        assert!(interruption.cut_at_ms > interruption.at_ms, "{long:?}");
        assert_eq!((&short.barge_in, short.resumed), (&None, 1), "{short:?}");
        assert_eq!(short.actions.iter().map(|action| action.action).collect::<Vec<_>>(), ["pause", "resume"]);
    }
}
