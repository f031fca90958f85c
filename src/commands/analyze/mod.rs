//! `callingedge analyze`: what the voice path hears in files, a line of JSON each, so that everyone can judge it on
//! recordings of their own. Every subcommand is a file of its own; all of them run the code that runs in a call.

mod amd;
mod audio;
mod bargein;
mod coding;
mod conceal;
mod dtmf;
mod packets;
mod replay;
mod rfc4733;
mod tones;
mod vad;
mod wav;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Outcome, print};
use audio::Audio;

/// What to look for.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Who answered, a person or a machine, in files that begin with the answer.
    Amd(Files),
    /// Whether the caller interrupts us, in both sides of a call.
    Bargein(bargein::Options),
    /// What is heard of a file when some of its packets are lost.
    Conceal(conceal::Options),
    /// Keys in the audio, as tones: which, when, how long.
    Dtmf(Files),
    /// What is heard of a file when its packets come as a trace says.
    Replay(replay::Options),
    /// Telephone events in lists of packets: which digits the receiver of a call makes of them.
    Rfc4733(rfc4733::Options),
    /// Tones of the network: ringing, busy, congestion, special information, fax.
    Tones(Files),
    /// When somebody speaks.
    Vad(Files),
    /// What the files are, and how loud.
    Wav(Files),
}

/// The recordings to judge.
#[derive(Debug, Args)]
struct Files {
    /// WAV files: PCM 16 bit, A-law or mu-law.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Why a file has no line on stdout.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Wav(#[from] media::WavError),
    #[error("{0}")]
    Table(#[from] packets::TableError),
    #[error("is not a list of scenarios: {0}")]
    Scenarios(#[from] serde_json::Error),
}

/// Some files have no line on stdout, and one on stderr instead.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} files could not be judged")]
struct SomeFailed {
    failed: usize,
    all: usize,
}

/// Does it.
pub(super) fn run(options: &Options) -> Outcome {
    match &options.what {
        What::Amd(files) => files.each(amd::judge),
        What::Bargein(options) => bargein::run(options),
        What::Conceal(options) => conceal::run(options),
        What::Dtmf(files) => files.each(dtmf::judge),
        What::Replay(options) => replay::run(options),
        What::Rfc4733(options) => rfc4733::run(options),
        What::Tones(files) => files.each(tones::judge),
        What::Vad(files) => files.each(vad::judge),
        What::Wav(files) => files.each(wav::judge),
    }
}

impl Files {
    /// A line for each file: on stdout what `judge` makes of its audio, or on stderr why it could not be read. One bad
    /// file does not keep the others from their turn, and fails the command at the end.
    fn each<T: Serialize>(&self, judge: impl Fn(&str, &Audio) -> Result<T, Fault>) -> Outcome {
        let mut failed = 0;
        for path in &self.files {
            let name = path.display().to_string();
            match Audio::read(path).and_then(|audio| judge(&name, &audio)) {
                Ok(verdict) => print_line(&verdict)?,
                Err(fault) => {
                    failed += 1;
                    // Nobody may be left to read it.
                    let _ = writeln!(io::stderr(), "callingedge: {name}: {fault}");
                }
            }
        }
        if failed == 0 { Ok(()) } else { Err(SomeFailed { failed, all: self.files.len() }.into()) }
    }
}

/// A share in hundredths, to two places.
fn percent(part: usize, all: usize) -> f64 {
    (part as f64 * 10_000.0 / all.max(1) as f64).round() / 100.0
}

/// One line of JSON on stdout.
fn print_line(line: &impl Serialize) -> Outcome {
    print(&(serde_json::to_string(line)? + "\n"))
}
