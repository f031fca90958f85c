//! `callingedge mock-engine`: an engine for tests, in any dialect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use media::{AudioFormat, SampleRate, Wav};

use super::{Outcome, print};
use crate::call::Dialect;
use crate::lab::{MockEngine, Step, Talk};

/// What it speaks and what it says.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// As the configuration of an engine has it.
    #[arg(long, default_value = "edge.v1", value_parser = dialect)]
    dialect: Dialect,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8765")]
    listen: String,
    /// Say what is heard (the default).
    #[arg(long, conflicts_with_all = ["tone", "script"])]
    echo: bool,
    /// Say 440 Hz without end.
    #[arg(long, conflicts_with = "script")]
    tone: bool,
    /// Follow a script: a line of JSON a step, {"do": "say", "file": "hello.wav"}, and tone, wait, wait_key, mark, clear,
    /// send, cut, hang_up.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

/// A dialect by its name in the configuration.
pub(super) fn dialect(text: &str) -> Result<Dialect, String> {
    Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        format!("write one of {}", known.join(", "))
    })
}

/// Serves until it is killed.
pub(super) fn run(options: &Options) -> Outcome {
    let talk = match &options.script {
        Some(path) => Talk::Script(Arc::new(script(path)?)),
        None if options.tone => Talk::Tone,
        None => Talk::Echo,
    };
    let engine = MockEngine::start(options.listen.as_str(), options.dialect, talk)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    print(&format!("{} engine at ws://{}/\n", options.dialect.as_str(), engine.address()))?;
    engine.serve();
    Ok(())
}

fn script(path: &Path) -> Result<Vec<Step>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let wrong = |error: String| format!("{} at line {}: {error}", path.display(), number + 1);
            let mut step: Step = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            if let Step::Say { file, samples } = &mut step {
                let beside = path.parent().unwrap_or(Path::new("")).join(file.as_str());
                *samples = wav(&beside).map_err(wrong)?;
            }
            Ok(step)
        })
        .collect()
}

fn wav(path: &Path) -> Result<Vec<i16>, String> {
    let wrong = |error: String| format!("{}: {error}", path.display());
    let file = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let wav = Wav::parse(&file).map_err(|error| wrong(error.to_string()))?;
    let format = wav.telephone().map_err(|error| wrong(error.to_string()))?;
    let linear = AudioFormat::L16 { rate: SampleRate::Hz8000 };
    let mut bytes = vec![0; wav.data.len() / format.bytes_per_sample() * 2];
    format.convert(linear, wav.data, &mut bytes);
    Ok(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}
