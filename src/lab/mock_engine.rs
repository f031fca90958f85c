//! An engine for everyone's tests: it takes every call and says what it was told to say, in any dialect.

mod many;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::{AudioFormat, Resampler, SampleRate};
use serde::Deserialize;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{Error, Message, WebSocket};

use super::bot::{Bot, Heard};
use crate::bridge::CallNumber;
use crate::call::Dialect;

/// How often a waiting engine looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(10);
/// Conversations whose socket was lost, at most.
const MOST_PARKED: usize = 1_024;
/// One piece of a tone.
const PIECE: Duration = Duration::from_millis(100);

/// What it says.
#[derive(Debug, Clone)]
pub enum Talk {
    /// What it hears.
    Echo,
    /// 440 Hz without end.
    Tone,
    /// Step by step.
    Script(Arc<Vec<Step>>),
}

/// One step of a script, a line of JSON like `{"do": "say", "file": "hello.wav"}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Say a tone.
    Tone {
        /// How long.
        ms: u64,
        /// How high.
        #[serde(default = "concert_pitch")]
        hz: f64,
    },
    /// Say what is in a WAV file, 8,000 Hz, mono.
    Say {
        /// Which.
        file: String,
        /// Its samples, read when the script was.
        #[serde(skip)]
        samples: Vec<i16>,
    },
    /// Do nothing for a while.
    Wait {
        /// How long.
        ms: u64,
    },
    /// Wait for a key of the caller.
    WaitKey,
    /// Ask to be told when everything before was heard, and wait for it.
    Mark {
        /// Its name.
        name: String,
    },
    /// Take back what was not heard.
    Clear,
    /// Break the socket without a word; where the dialect can, the next step comes over another one.
    Cut,
    /// End the call.
    HangUp,
    /// Any message in the engine's dialect.
    Send {
        /// As text.
        text: String,
    },
}

fn concert_pitch() -> f64 {
    440.0
}

/// The engine, on threads of its own: one that listens and one a call.
pub struct MockEngine {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl MockEngine {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(listen: impl ToSocketAddrs, dialect: Dialect, talk: Talk) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let listen = move || accept(&listener, &stopped, dialect, &talk);
        let listening = std::thread::Builder::new().name("mock-engine".into()).spawn(listen)?;
        Ok(Self { address, stop, listening: Some(listening) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process ends.
    pub fn serve(mut self) {
        if let Some(listening) = self.listening.take() {
            let _panicked = listening.join();
        }
    }
}

impl Drop for MockEngine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            let _panicked = listening.join();
        }
    }
}

/// Conversations that wait for another socket, by their tokens.
type Parked = Mutex<HashMap<String, (Bot, Player)>>;

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>, dialect: Dialect, talk: &Talk) {
    let mut calls: Vec<JoinHandle<()>> = Vec::new();
    let parked = Arc::new(Parked::default());
    while !stop.load(Ordering::Relaxed) {
        calls.retain(|call| !call.is_finished());
        match listener.accept() {
            Ok((stream, peer)) => {
                let (stop, talk, parked) = (stop.clone(), talk.clone(), parked.clone());
                let call = move || {
                    tracing::info!(%peer, "call");
                    match converse(stream, &stop, Bot::new(dialect), &talk, &parked) {
                        Ok(()) => tracing::info!(%peer, "call over"),
                        Err(error) => tracing::info!(%peer, %error, "call over"),
                    }
                };
                calls.extend(std::thread::Builder::new().name("mock-call".into()).spawn(call));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                std::thread::sleep(LOOK);
            }
        }
    }
    for call in calls {
        let _panicked = call.join();
    }
}

/// One socket, until either side ends it. A conversation that can go on over another one is parked.
fn converse(
    stream: TcpStream,
    stop: &AtomicBool,
    mut bot: Bot,
    talk: &Talk,
    parked: &Parked,
) -> Result<(), Error> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let handshake = tungstenite::accept_hdr(stream, choose_protocol);
    let mut socket = handshake.map_err(|error| io::Error::other(error.to_string()))?;
    socket.get_ref().set_read_timeout(Some(LOOK))?;
    if bot.dialect().shares_socket() {
        return many::converse(&mut socket, stop, talk, parked);
    }
    if let Some(greeting) = bot.greeting() {
        socket.send(greeting)?;
    }
    let mut player = Player::new(talk);
    let ended = converse_on(&mut socket, stop, &mut bot, &mut player, parked);
    if let Ok(Ended::Lost) | Err(_) = &ended {
        park(parked, bot, player);
    }
    ended.map(|_| ())
}

/// A conversation that can go on over another socket waits for it.
fn park(parked: &Parked, bot: Bot, player: Player) {
    let mut parked = parked.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(token) = bot.token().filter(|_| parked.len() < MOST_PARKED).map(str::to_owned) {
        parked.insert(token, (bot, player));
    }
}

/// Takes in a message of the edge. Whether the call is over.
fn take(
    heard: Heard,
    mouth: &mut Mouth<'_>,
    bot: &mut Bot,
    player: &mut Player,
    parked: &Parked,
) -> Result<bool, Error> {
    match heard {
        Heard::Offered(answers) => {
            for answer in answers {
                mouth.send(answer)?;
            }
            player.begin();
        }
        Heard::Resuming { token, heard } => {
            let known = parked.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
            let Some(known) = known else {
                mouth.send(Bot::refuse_to_resume())?;
                return Ok(false);
            };
            (*bot, *player) = known;
            for answer in bot.resume(heard) {
                mouth.send(answer)?;
            }
        }
        Heard::Begun => player.begin(),
        Heard::Audio(audio) => {
            player.begin();
            if matches!(player.talk, Talk::Echo) {
                mouth.send(bot.echo(&audio))?;
            }
            if let Some(ack) = bot.acknowledgement() {
                mouth.send(ack)?;
            }
        }
        Heard::Marked(name) => player.marked(&name),
        Heard::Key(_) => player.key(),
        Heard::Ended => return Ok(true),
        Heard::Other => {}
    }
    Ok(false)
}

/// What a call says goes here.
struct Mouth<'a> {
    socket: &'a mut WebSocket<TcpStream>,
    /// Its number, on a socket that calls share.
    call: Option<CallNumber>,
}

impl Mouth<'_> {
    fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(match self.call {
            Some(call) => many::addressed(call, message),
            None => message,
        })
    }
}

/// How a socket came to its end.
enum Ended {
    InOrder,
    Lost,
}

fn converse_on(
    socket: &mut WebSocket<TcpStream>,
    stop: &AtomicBool,
    bot: &mut Bot,
    player: &mut Player,
    parked: &Parked,
) -> Result<Ended, Error> {
    while !stop.load(Ordering::Relaxed) {
        match socket.read() {
            Ok(message) => {
                let mut mouth = Mouth { socket, call: None };
                if take(bot.read(&message), &mut mouth, bot, player, parked)? {
                    return close(socket).map(|()| Ended::InOrder);
                }
            }
            Err(Error::Io(error)) if is_timeout(&error) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Ended::Lost),
            Err(error) => return Err(error),
        }
        match player.play(bot, &mut Mouth { socket, call: None })? {
            Played::On => {}
            Played::Cut => {
                socket.get_ref().shutdown(Shutdown::Both)?;
                return Ok(Ended::Lost);
            }
            Played::HungUp => {
                return match bot.hang_up() {
                    Some(words) => socket.send(words),
                    None => close(socket),
                }
                .map(|()| Ended::InOrder);
            }
        }
    }
    close(socket).map(|()| Ended::InOrder)
}

fn close(socket: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    match socket.close(None).and_then(|()| socket.flush()) {
        Err(Error::ConnectionClosed | Error::AlreadyClosed) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Takes the first sub-protocol that is offered.
#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get("Sec-WebSocket-Protocol").and_then(|offered| offered.to_str().ok());
    let first = offered.and_then(|offered| offered.split(',').next()).map(str::trim);
    if let Some(Ok(first)) = first.map(TryInto::try_into) {
        response.headers_mut().insert("Sec-WebSocket-Protocol", first);
    }
    Ok(response)
}

/// Where a call's talk stands.
struct Player {
    talk: Talk,
    next: usize,
    /// Of the tone, in cycles.
    phase: f64,
    /// When the next piece or step is due; nothing before the caller is there.
    due: Option<Instant>,
    waits_for: Option<Awaited>,
}

#[derive(PartialEq, Eq)]
enum Awaited {
    Mark(String),
    Key,
}

#[derive(PartialEq, Eq)]
enum Played {
    On,
    Cut,
    HungUp,
}

impl Player {
    fn new(talk: &Talk) -> Self {
        Self { talk: talk.clone(), next: 0, phase: 0.0, due: None, waits_for: None }
    }

    fn begin(&mut self) {
        self.due.get_or_insert_with(Instant::now);
    }

    fn marked(&mut self, name: &str) {
        if self.waits_for == Some(Awaited::Mark(name.to_owned())) {
            self.waits_for = None;
        }
    }

    fn key(&mut self) {
        if self.waits_for == Some(Awaited::Key) {
            self.waits_for = None;
        }
    }

    fn play(&mut self, bot: &mut Bot, mouth: &mut Mouth<'_>) -> Result<Played, Error> {
        while let Some(due) = self.due.filter(|due| *due <= Instant::now() && self.waits_for.is_none()) {
            match self.talk.clone() {
                Talk::Echo => return Ok(Played::On),
                Talk::Tone => {
                    self.tone(bot, mouth, PIECE, concert_pitch())?;
                    self.due = Some(due + PIECE);
                }
                Talk::Script(steps) => {
                    let Some(step) = steps.get(self.next) else { return Ok(Played::On) };
                    self.next += 1;
                    match step {
                        Step::HangUp => return Ok(Played::HungUp),
                        Step::Cut => return Ok(Played::Cut),
                        Step::Tone { .. }
                        | Step::Say { .. }
                        | Step::Wait { .. }
                        | Step::WaitKey
                        | Step::Mark { .. }
                        | Step::Clear
                        | Step::Send { .. } => {}
                    }
                    self.step(step, bot, mouth)?;
                }
            }
        }
        Ok(Played::On)
    }

    fn step(&mut self, step: &Step, bot: &mut Bot, mouth: &mut Mouth<'_>) -> Result<(), Error> {
        match step {
            Step::Tone { ms, hz } => self.tone(bot, mouth, Duration::from_millis(*ms), *hz),
            Step::Say { samples, .. } => {
                let spoken = at_rate(samples, bot.format());
                mouth.send(bot.say_samples(&spoken))
            }
            Step::Wait { ms } => {
                self.due = Some(Instant::now() + Duration::from_millis(*ms));
                Ok(())
            }
            Step::WaitKey => {
                self.waits_for = Some(Awaited::Key);
                Ok(())
            }
            Step::Mark { name } => match bot.mark(name) {
                Some(mark) => {
                    self.waits_for = Some(Awaited::Mark(name.clone()));
                    mouth.send(mark)
                }
                None => Ok(()),
            },
            Step::Clear => mouth.send(bot.clear()),
            Step::Send { text } => mouth.send(Message::text(text.clone())),
            Step::Cut | Step::HangUp => Ok(()),
        }
    }

    fn tone(
        &mut self,
        bot: &mut Bot,
        mouth: &mut Mouth<'_>,
        length: Duration,
        hertz: f64,
    ) -> Result<(), Error> {
        let rate = f64::from(bot.format().rate().hertz());
        let count = (length.as_secs_f64() * rate) as usize;
        let samples: Vec<i16> = (0..count)
            .map(|_| {
                self.phase = (self.phase + hertz / rate).fract();
                ((self.phase * std::f64::consts::TAU).sin() * 8_000.0) as i16
            })
            .collect();
        mouth.send(bot.say_samples(&samples))
    }
}

/// Samples of a file as many a second as a bot speaks.
fn at_rate(samples: &[i16], format: AudioFormat) -> Vec<i16> {
    if format.rate() == SampleRate::Hz8000 {
        return samples.to_vec();
    }
    let mut resampled = Vec::new();
    let mut resampler = Resampler::new(SampleRate::Hz8000, format.rate());
    // What is left of the last 20 ms comes out with silence behind it.
    let padded: Vec<i16> = samples.iter().copied().chain([0; 320]).collect();
    resampler.feed(&padded, |given| resampled.extend_from_slice(given));
    resampled
}
