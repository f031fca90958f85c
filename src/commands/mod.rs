//! The command line. Every command is a function in a file of its own; what goes wrong is one sentence on stderr and exit
//! code 1, a wrong use of the command line is exit code 2.

mod analyze;
mod bench;
mod call;
mod check;
mod client;
mod demo;
mod directory;
mod doctor;
mod engine_test;
mod explain;
mod init;
mod mock_engine;
mod run;
mod token;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::EXAMPLE_FILE;

/// What a command comes to: nothing more to say, or the sentence that says why not.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Media edge between voice platforms (SIP, RTP) and AI engines (websockets).
#[derive(Debug, Parser)]
#[command(name = "callingedge", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the edge until SIGTERM; SIGHUP reads the configuration again.
    Run(ConfigFile),
    /// Shows everything at work on this machine: a call, an engine, webhooks. Needs no configuration.
    Demo(demo::Options),
    /// Writes a commented configuration to begin with.
    Init(init::Options),
    /// Says what is wrong with a configuration, or what would run.
    Check(check::Options),
    /// Looks at everything that makes calls fail in the first hour: this machine, its trunks, engines and receivers.
    Doctor(doctor::Options),
    /// Makes, lists and revokes the tokens of the API. Works while the edge runs.
    Token(token::Options),
    /// Places a call over a running edge and tells what becomes of it.
    Call(call::Options),
    /// Tells what happened in a call, milestone by milestone.
    Explain(explain::Options),
    /// Calls an engine as the edge would and says whether it does what its dialect asks for.
    EngineTest(engine_test::Options),
    /// An engine for tests, in any dialect: says what it hears, a tone, or what a script says.
    MockEngine(mock_engine::Options),
    /// Prints the OpenAPI document of the API.
    Openapi,
    /// Judges recordings as the voice path would, a line of JSON a file.
    Analyze(analyze::Options),
    /// Measures this machine: calls through an edge of its own, under load.
    Bench(bench::Options),
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", short = 'c', env = "CALLINGEDGE_CONFIG", default_value = EXAMPLE_FILE, value_name = "FILE")]
    pub path: PathBuf,
}

/// A running edge.
#[derive(Debug, Clone, Args)]
pub struct Running {
    /// Where the API of the edge is.
    #[arg(long, env = "CALLINGEDGE_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of the API, as `callingedge token create` prints it.
    #[arg(long, env = "CALLINGEDGE_TOKEN", hide_env_values = true)]
    pub token: String,
    /// A certificate to trust beside the public ones (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Run(config) => run::run(&config.path),
        Command::Demo(options) => demo::run(&options),
        Command::Init(options) => init::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Call(options) => call::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::EngineTest(options) => engine_test::run(&options),
        Command::MockEngine(options) => mock_engine::run(&options),
        Command::Openapi => print(crate::api::document()),
        Command::Analyze(options) => analyze::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = writeln!(io::stderr(), "callingedge: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Lets this process open as many files as it may: a call takes three sockets, and the usual limit is meant for programs that
/// use select(2).
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files cannot be raised");
    }
}

/// A runtime for the commands that talk to a running edge.
fn small_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
