//! `callingedge engine-test`: calls an engine as the edge would and says whether it can be lived with.
//!
//! ```text
//!   dial -> told of the call -> hears 2 s of speech and a key -> what it says is read -> told of the end -> closes
//!                                                 (where it can: its socket breaks -> dial -> it goes on) -^
//! ```
#![expect(clippy::disallowed_methods, reason = "a shell: it has the clock")]

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use clap::Args;
use media::{AudioFormat, Digit, SampleRate, SegmentId};
use rustls::RootCertStore;
use serde_json::json;
use tungstenite::{Error, Message};

use super::{Outcome, print, small_runtime};
use crate::bridge::{
    Address, Answer, Batch, CallNumber, Credit, Dialler, EngineSocket, Form, Heard, Incoming, Interpreter,
    Outgoing, Resumption, Said, SocketLimits, Word, address, records, write_close, write_text,
};
use crate::call::{
    BargeInPolicy, CallId, Context, Dialect, Direction, DtmfMethod, EndReason, Engine, EngineCommand,
    EngineEvent, EngineFailure, EngineStart, FIRST_LEG, Fallback, Mode, ResumeOffer, Timestamp,
};

/// One packet.
const BEAT: Duration = Duration::from_millis(20);
/// How long the caller speaks.
const SPEECH: Duration = Duration::from_secs(2);
/// How often the socket is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The call's number on a socket that calls share.
const CALL: CallNumber = CallNumber(1);

/// Which engine, and what is expected of it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// `ws://…` or `wss://…`
    url: String,
    /// As the configuration of an engine has it.
    #[arg(long, default_value = "edge.v1", value_parser = super::mock_engine::dialect)]
    dialect: Dialect,
    /// Samples a second, where the dialect leaves them open.
    #[arg(long, value_parser = rate)]
    sample_rate: Option<SampleRate>,
    /// A header of the upgrade, `Name: value`.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A parameter that the engine is told, `name=value`.
    #[arg(long = "parameter", value_name = "PARAMETER", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// How long it may take to say something after it was spoken to, seconds.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// The engine need not speak: it only listens.
    #[arg(long)]
    silent: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// A certificate to trust beside the public ones (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

fn rate(text: &str) -> Result<SampleRate, String> {
    let hertz: u32 = text.parse().map_err(|_| "write 8000, 16000, 24000 or 48000".to_owned())?;
    SampleRate::try_from(hertz).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What was looked at.
struct Check {
    name: &'static str,
    passed: bool,
    detail: String,
}

/// Fails when the engine did.
pub(super) fn run(options: &Options) -> Outcome {
    let checks = examine(options)?;
    let passed = checks.iter().all(|check| check.passed);
    print(&if options.json { as_json(options, &checks, passed) } else { as_table(&checks) })?;
    if passed { Ok(()) } else { Err("the engine failed; see above".into()) }
}

fn as_json(options: &Options, checks: &[Check], passed: bool) -> String {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| json!({ "name": check.name, "passed": check.passed, "detail": check.detail }))
        .collect();
    let told = json!({ "url": options.url, "dialect": options.dialect.as_str(), "passed": passed, "checks": checks });
    format!("{told}\n")
}

fn as_table(checks: &[Check]) -> String {
    let line = |check: &Check| {
        format!("{}  {:<10} {}\n", if check.passed { "ok    " } else { "FAILED" }, check.name, check.detail)
    };
    checks.iter().map(line).collect()
}

/// Calls the engine.
fn examine(options: &Options) -> Result<Vec<Check>, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca {
        for certificate in rustls_pki_types::pem::PemObject::pem_file_iter(path)? {
            roots.add(certificate?)?;
        }
    }
    let engine = Engine {
        fallback: None,
        idle_timeout: Duration::from_secs(60),
        max_calls: None,
        resume_timeout: Duration::from_secs(10),
        name: "tested".into(),
        url: options.url.clone(),
        dialect: options.dialect,
        sample_rate: options.sample_rate,
        headers: options.headers.clone(),
        parameters: options.parameters.clone(),
        connect_timeout: Duration::from_secs(options.patience),
        accept_timeout: Duration::from_secs(options.patience),
        barge_in: BargeInPolicy::Engine,
        on_lost: Fallback::HangUp,
    };
    let dialler = Dialler::new(SocketLimits::default(), roots);
    let runtime = small_runtime()?;
    let before = Instant::now();
    let dialled = runtime.block_on(dialler.dial(&engine));
    let took = before.elapsed().as_millis();
    let mut checks = Vec::new();
    match dialled {
        Ok(socket) => {
            checks.push(Check { name: "connect", passed: true, detail: format!("open after {took} ms") });
            // Its socket lives on the runtime's reactor only while it is dialled.
            let again = || runtime.block_on(dialler.dial(&engine));
            Conversation::new(options, socket).hold(&again, &mut checks);
        }
        Err(failure) => checks.push(Check { name: "connect", passed: false, detail: failure.to_string() }),
    }
    Ok(checks)
}

/// The one call.
struct Conversation<'a> {
    options: &'a Options,
    socket: EngineSocket,
    interpreter: Interpreter,
    out: Outgoing,
    scratch: Vec<u8>,
    accepted: bool,
    rejected: Option<String>,
    spoken_ms: u64,
    first_audio: Option<Instant>,
    mistakes: Vec<String>,
    marks: u32,
    closed: Option<String>,
    hung_up: bool,
    /// Names the conversation.
    token: String,
    /// What goes out next on a socket that calls share.
    batch: Batch,
}

impl<'a> Conversation<'a> {
    fn new(options: &'a Options, socket: EngineSocket) -> Self {
        let credit = Credit { window: Duration::from_secs(30), limit: Duration::from_secs(600) };
        let interpreter = Interpreter::with_rate(socket.dialect, socket.rate, call(), credit);
        Self {
            options,
            socket,
            interpreter,
            out: Outgoing::default(),
            scratch: Vec::new(),
            accepted: false,
            rejected: None,
            spoken_ms: 0,
            first_audio: None,
            mistakes: Vec::new(),
            marks: 0,
            closed: None,
            hung_up: false,
            token: rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect(),
            batch: Batch::new(Instant::now()),
        }
    }

    fn hold(mut self, again: &dyn Fn() -> Result<EngineSocket, EngineFailure>, checks: &mut Vec<Check>) {
        let patience = Duration::from_secs(self.options.patience);
        self.tell(&EngineEvent::Start(Box::new(self.start())));
        if self.options.dialect.decides_before_answer() {
            let before = Instant::now();
            self.run(patience, |this| this.accepted || this.rejected.is_some());
            let detail = match (&self.rejected, self.accepted) {
                (Some(why), _) => format!("it rejects the call: {why}"),
                (None, true) => format!("it takes the call after {} ms", before.elapsed().as_millis()),
                (None, false) => "it neither accepts nor rejects the call; send `accept`".to_owned(),
            };
            checks.push(Check { name: "accept", passed: self.accepted, detail });
            if !self.accepted {
                return;
            }
            self.tell(&EngineEvent::Answered);
        }
        let begun = Instant::now();
        let sent = self.speak(SPEECH);
        let detail = match &self.closed {
            Some(why) => format!("it is gone: {why}"),
            None => format!("{sent} frames of 20 ms and a key were taken"),
        };
        checks.push(Check { name: "listens", passed: self.closed.is_none(), detail });
        self.run(patience, |this| this.first_audio.is_some() || this.options.silent);
        self.run(Duration::from_millis(500), |_| false);
        if !self.options.silent {
            let detail = match self.first_audio {
                Some(at) => {
                    let after = at.saturating_duration_since(begun).as_millis();
                    format!(
                        "first audio {after} ms after the caller began; {} ms in all so far",
                        self.spoken_ms
                    )
                }
                None => format!("it has said nothing within {} s", self.options.patience),
            };
            checks.push(Check { name: "speaks", passed: self.first_audio.is_some(), detail });
        }
        if self.options.dialect.can_resume() && self.closed.is_none() {
            checks.push(self.lose_and_resume(again));
        }
        self.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        let closed = self.say_goodbye();
        let detail =
            if closed { "it lets go when the call ends" } else { "it does not close its socket within 5 s" };
        checks.push(Check { name: "ends", passed: closed, detail: detail.to_owned() });
        let detail = match self.mistakes.first() {
            None => format!("everything it said was understood; {} marks", self.marks),
            Some(first) => {
                format!("{} messages were not understood, the first: {first}", self.mistakes.len())
            }
        };
        checks.push(Check { name: "words", passed: self.mistakes.is_empty(), detail });
    }

    /// Its socket breaks, the caller speaks on, and it is called back.
    fn lose_and_resume(&mut self, again: &dyn Fn() -> Result<EngineSocket, EngineFailure>) -> Check {
        let check = |passed: bool, detail: String| Check { name: "resumes", passed, detail };
        if !self.interpreter.lose() {
            let detail = "it has not asked for it; see `resume` of `accept`";
            return check(true, detail.to_owned());
        }
        let lost = Instant::now();
        self.accepted = false;
        match again() {
            // The one before is dropped: it breaks without a word.
            Ok(socket) => self.socket = socket,
            Err(failure) => return check(false, format!("it is not there any more: {failure}")),
        }
        self.speak(Duration::from_millis(200));
        let start = self.start();
        let resumption = Resumption { start: &start, away: lost.elapsed(), playout: None };
        self.interpreter.resume(&resumption, &mut self.out);
        self.flush();
        let before = Instant::now();
        let patience = Duration::from_secs(self.options.patience);
        self.run(patience, |this| this.accepted || this.rejected.is_some());
        let after = before.elapsed().as_millis();
        let mut replayed = 0;
        if self.accepted {
            for _ in 0..25 {
                replayed += self.interpreter.catch_up(&mut self.out).frames;
                self.speak(BEAT);
            }
        }
        match (self.accepted, &self.rejected, &self.closed) {
            (true, _, None) => check(
                true,
                format!("it went on over another socket after {after} ms; {replayed} frames came late"),
            ),
            (_, Some(why), _) => check(false, format!("it does not go on: {why}")),
            (_, None, Some(why)) => check(false, format!("it is gone: {why}")),
            (false, None, None) => check(false, "it does not answer `resume`; send `accept`".to_owned()),
        }
    }

    fn tell(&mut self, event: &EngineEvent) {
        self.interpreter.tell(Instant::now(), event, &mut self.out);
        self.flush();
    }

    /// The caller speaks: a warbling tone, in time, with a key after a second. Answers how many frames went out.
    fn speak(&mut self, length: Duration) -> u32 {
        let begun = Instant::now();
        let mut sent = 0;
        for number in 0..(length.as_millis() / BEAT.as_millis()) as u32 {
            let samples = (0..160).map(|at| f64::from(number * 160 + at) / 8_000.0);
            let tone = samples.map(|at| ((at * 1_300.0).sin() * (at * 20.0).sin().abs() * 9_000.0) as i16);
            let payload: Vec<u8> = tone.map(media::g711::linear_to_ulaw).collect();
            let heard = Heard {
                leg: FIRST_LEG,
                format: AudioFormat::Pcmu,
                payload: &payload,
                media_time: number * 160,
                captured: Instant::now(),
                discontinuity: false,
                concealed: false,
            };
            sent += u32::from(self.interpreter.hear(&heard, &mut self.out));
            if number == 50
                && let Ok(digit) = Digit::try_from('5')
            {
                self.interpreter.digit(
                    FIRST_LEG,
                    digit,
                    Duration::from_millis(100),
                    DtmfMethod::Rfc4733,
                    &mut self.out,
                );
            }
            self.flush();
            let next = begun + BEAT * (number + 1);
            self.run(next.saturating_duration_since(Instant::now()), |_| false);
            if self.closed.is_some() {
                break;
            }
        }
        sent
    }

    /// Reads for so long, or until there is what was wanted.
    fn run(&mut self, length: Duration, wanted: impl Fn(&Self) -> bool) {
        let until = Instant::now() + length;
        while self.closed.is_none() && !wanted(self) {
            match self.socket.websocket.read() {
                Ok(message) => self.understand(&message),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return;
                    }
                    self.socket.websocket.get_mut().ready_to_read();
                    std::thread::sleep(LOOK);
                }
                Err(error) => self.closed = Some(error.to_string()),
            }
        }
    }

    fn understand(&mut self, message: &Message) {
        match message {
            Message::Text(text) if self.options.dialect.shares_socket() => {
                self.understand_shared(text.as_str())
            }
            Message::Binary(batch) if self.options.dialect.shares_socket() => match records(batch) {
                Ok(read) => {
                    for record in read {
                        match record {
                            Ok((CALL, frame)) => self.understand_own(Incoming::Binary(frame)),
                            Ok((other, _)) => self.mistakes.push(format!("audio of no call: {other:?}")),
                            Err(error) => self.mistakes.push(error.to_string()),
                        }
                    }
                }
                Err(error) => self.mistakes.push(error.to_string()),
            },
            Message::Text(text) => self.understand_own(Incoming::Text(text.as_str())),
            Message::Binary(bytes) => self.understand_own(Incoming::Binary(bytes)),
            Message::Close(frame) => {
                self.closed =
                    Some(frame.as_ref().map_or("closed".to_owned(), |frame| format!("closed with {frame}")));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    /// A message on a socket that calls share.
    fn understand_shared(&mut self, text: &str) {
        match address(text) {
            Ok(Address { call: CALL, word: Word::Message }) => self.understand_own(Incoming::Text(text)),
            Ok(Address { call: CALL, word: Word::Close(_) }) => {
                self.closed = Some("it has closed the call".to_owned());
            }
            Ok(Address { call, .. }) => self.mistakes.push(format!("a message of no call: {call:?}")),
            Err((mistake, _)) => self.mistakes.push(mistake.to_string()),
        }
    }

    fn understand_own(&mut self, incoming: Incoming<'_>) {
        let mut answer = None;
        match self.interpreter.understand(incoming, &mut self.scratch, &mut self.out) {
            Ok(Said::Audio { format, payload, .. }) => {
                self.first_audio.get_or_insert_with(Instant::now);
                let samples = payload.len() / format.bytes_per_sample();
                self.spoken_ms += samples as u64 * 1_000 / u64::from(format.rate().hertz());
            }
            Ok(Said::Mark { name, .. }) => answer = Some(name.into_owned()),
            Ok(Said::Command(EngineCommand::Accept)) => self.accepted = true,
            Ok(Said::Command(EngineCommand::Reject { status, reason })) => {
                self.rejected = Some(format!("{status} {reason}"));
            }
            Ok(Said::Command(EngineCommand::HangUp { .. })) => self.hung_up = true,
            Ok(
                Said::Clear { .. }
                | Said::Pause
                | Said::Resume
                | Said::Finish { .. }
                | Said::Dtmf { .. }
                | Said::Command(_)
                | Said::Nothing,
            ) => {}
            Err(fault) => self.mistakes.push(fault.to_string()),
        }
        if let Some(name) = answer {
            self.marks += 1;
            let result = media::MarkResult::Played;
            self.interpreter.answer(&Answer::Marked { name: &name, result, played_ms: 0 }, &mut self.out);
            let segment = SegmentId(0);
            let position = Answer::Position { segment, played_ms: 0, buffered_ms: 0, underruns: 0 };
            self.interpreter.answer(&position, &mut self.out);
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((form, message)) = self.out.pop() {
            let message = match form {
                Form::Text if self.options.dialect.shares_socket() => {
                    let mut text = BytesMut::new();
                    write_text(CALL, &message, &mut text);
                    Message::text(String::from_utf8_lossy(&text).into_owned())
                }
                Form::Binary if self.options.dialect.shares_socket() => {
                    self.batch.add(CALL, &message);
                    Message::Binary(self.batch.take(Instant::now()).unwrap_or_default())
                }
                Form::Text => Message::text(String::from_utf8_lossy(&message).into_owned()),
                Form::Binary => Message::binary(message),
            };
            match self.socket.websocket.send(message) {
                Ok(()) => {}
                // It takes nothing at the moment; what waits goes out with the next message.
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => self.closed = Some(error.to_string()),
            }
        }
    }

    /// Whether the engine closes its end.
    fn say_goodbye(&mut self) -> bool {
        if self.closed.is_some() {
            return true;
        }
        if self.options.dialect.shares_socket() {
            let mut text = BytesMut::new();
            write_close(CALL, 1000, &mut text);
            let _unsent =
                self.socket.websocket.send(Message::text(String::from_utf8_lossy(&text).into_owned()));
        }
        // What cannot be sent any more is told by the reading.
        let _unsent = self.socket.websocket.close(None);
        self.run(Duration::from_secs(5), |_| false);
        self.closed.is_some()
    }

    fn start(&self) -> EngineStart {
        EngineStart {
            identity: crate::call::Identity::default(),
            call: call(),
            provider: "engine-test".into(),
            direction: Direction::Inbound,
            from: "+15550100".into(),
            to: "+15550199".into(),
            mode: Mode::AiFirst,
            context: Context::default(),
            sip_call_id: "engine-test".into(),
            sip_headers: Vec::new(),
            started_at: Timestamp::from(SystemTime::now()),
            account: None,
            resume: Some(ResumeOffer { token: self.token.clone().into(), within: Duration::from_secs(10) }),
            parameters: self.options.parameters.clone(),
        }
    }
}

fn call() -> CallId {
    CallId::new(SystemTime::now(), &mut rand::rng())
}
