//! What a call orders from the voice worker that carries its audio, and what it hears back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::{AudioFormat, Wav};

use super::command::{RecordMode, Voice};
use super::engine::{DtmfMethod, EngineCommand, EngineEvent, EngineFailure, EngineStart};
use super::event::EndReason;
use super::hook::{HookFact, HookOrder};
use super::ids::{FIRST_LEG, LegId};
use super::settings::{Engine, RecordingSettings};
use super::view::{AnsweredBy, SentQuality};

/// The longest recorded audio: a minute at 8,000 samples a second.
const LONGEST: usize = 60 * 8000;

/// An order to a worker. Orders of one call are carried out in the order given.
#[derive(Debug, Clone)]
pub enum VoiceOrder {
    /// Open the sockets of a leg; answered by [`VoiceFact::Opened`] or [`VoiceFact::NotOpened`].
    Open {
        /// The leg.
        leg: LegId,
        /// Local address of its sockets; may be a wildcard.
        address: IpAddr,
        /// How long no RTP may come before [`VoiceFact::Inactive`].
        inactivity: Duration,
    },
    /// What was agreed with the far end, first or anew.
    Negotiated {
        /// The leg.
        leg: LegId,
        /// What was agreed.
        media: media::Negotiated,
    },
    /// Tell the engine.
    Tell(EngineEvent),
    /// The socket that is up now is for the engine that is away: ask it to go on. Its consent is told as
    /// [`EngineCommand::Accept`].
    ResumeEngine {
        /// What it would be told now if it were the beginning.
        start: Box<EngineStart>,
        /// How long there was no socket.
        away: Duration,
    },
    /// Play to the leg instead of the engine's audio; answered by [`VoiceFact::Announced`].
    Announce {
        /// The leg.
        leg: LegId,
        /// What.
        audio: Arc<Announcement>,
    },
    /// Send a telephone-event.
    SendDtmf {
        /// The leg.
        leg: LegId,
        /// In this order.
        digits: Vec<media::Digit>,
        /// Each digit's length.
        duration: Duration,
    },
    /// Who hears whom from now on. What the engine had ready for a leg that it no longer speaks to is thrown away.
    Route(Route),
    /// What a leg hears, again and again, while nobody speaks to it; nothing: comfort noise.
    Wait {
        /// The leg.
        leg: LegId,
        /// What.
        audio: Option<Arc<Announcement>>,
    },
    /// Close the sockets of a leg; its summary comes with [`VoiceFact::Closed`].
    CloseLeg(LegId),
    /// Listen who answered the leg; told as [`VoiceFact::AnsweredBy`] and [`VoiceFact::Beep`].
    DetectAnswerer {
        /// The leg.
        leg: LegId,
    },
    /// Tell of silences between engine and caller that last so long, the shortest first; told as [`VoiceFact::Silent`].
    WatchSilence {
        /// Of the caller, after the engine has spoken.
        caller: Vec<Duration>,
        /// Of the engine, after the caller has spoken, and from the beginning on.
        engine: Vec<Duration>,
    },
    /// Record what the leg says and hears.
    Record {
        /// The leg.
        leg: LegId,
        /// How.
        mode: RecordMode,
        /// Where to.
        to: Arc<RecordingSettings>,
    },
    /// Record silence from now on, or sound again.
    PauseRecording(bool),
    /// Neither the engine nor the recording is told of keys from now on, or both again. Of a leg whose keys come as tones they
    /// hear nothing meanwhile.
    MaskKeys(bool),
    /// A key of the leg's far end that came as INFO; told as [`VoiceFact::Dtmf`] unless the audio has told it already.
    Pressed {
        /// The leg.
        leg: LegId,
        /// Which.
        digit: media::Digit,
        /// How long.
        duration: Duration,
    },
    /// Let what is queued from the engine play to its end, then answer [`VoiceFact::Drained`].
    Drain,
    /// What becomes of the session that a platform has opened.
    Hook(HookOrder),
    /// Close the engine's socket after telling it why.
    DismissEngine(EndReason),
    /// Close everything; answered by [`VoiceFact::Closed`], the call's last fact.
    Close(EndReason),
}

/// Who hears whom in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The leg that hears the engine.
    pub engine_to: Option<LegId>,
    /// Whom the engine hears: the first is its track 0, the second its track 1.
    pub engine_hears: Vec<LegId>,
    /// Pairs of a listener and a speaker.
    pub hears: Vec<(LegId, LegId)>,
    /// Legs that nobody hears for now, whatever stands above.
    pub muted: Vec<LegId>,
}

impl Default for Route {
    /// The engine and the first leg hear each other.
    fn default() -> Self {
        Self {
            engine_to: Some(FIRST_LEG),
            engine_hears: vec![FIRST_LEG],
            hears: Vec::new(),
            muted: Vec::new(),
        }
    }
}

/// Recorded audio, ready to play: PCMU, 8 kHz, mono.
#[derive(Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where it came from, for the timeline.
    pub name: String,
    /// One byte a sample.
    pub pcmu: Vec<u8>,
}

impl Announcement {
    /// The audio of a WAV file.
    ///
    /// # Errors
    /// Why it cannot be played, and what to write, as the rest of a sentence.
    pub fn of_wav(name: &str, file: &[u8]) -> Result<Self, String> {
        let refused =
            |error| format!("cannot be played: {error}; write a WAV file, 8000 Hz, mono, PCM or G.711");
        let wav = Wav::parse(file).map_err(refused)?;
        let format = wav.telephone().map_err(refused)?;
        let samples = wav.data.len() / format.bytes_per_sample();
        if samples == 0 || samples > LONGEST {
            return Err("cannot be played: it is empty or longer than a minute".to_owned());
        }
        let mut pcmu = vec![0; samples];
        let written = format.convert(AudioFormat::Pcmu, wav.data, &mut pcmu);
        pcmu.truncate(written);
        Ok(Self { name: name.to_owned(), pcmu })
    }

    /// How long it takes to play.
    pub fn length(&self) -> Duration {
        Duration::from_millis(self.pcmu.len() as u64 / 8)
    }
}

/// A fact from a worker.
#[derive(Debug, Clone)]
pub enum VoiceFact {
    /// The leg's sockets are open.
    Opened {
        /// The leg.
        leg: LegId,
        /// RTP port; RTCP is the next one.
        port: u16,
    },
    /// No socket could be had.
    NotOpened {
        /// The leg.
        leg: LegId,
        /// Why.
        error: String,
    },
    /// The engine's socket is up, ours to speak on.
    EngineConnected,
    /// There is no socket yet on the worker that the call's engine could share: one is to be dialled.
    EngineToDial {
        /// Whom.
        engine: Arc<Engine>,
        /// How many such sockets the worker had been handed when it said so.
        handed: u64,
    },
    /// The engine could not be had.
    EngineNotReached(EngineFailure),
    /// The engine is no longer there.
    EngineGone(EngineFailure),
    /// The engine's socket is lost. It can go on over another one: what it should hear is kept until it does, or is dismissed.
    EngineAway(EngineFailure),
    /// The engine ordered something.
    Engine(EngineCommand),
    /// A digit from the far end. The engine was told already.
    Dtmf {
        /// The leg.
        leg: LegId,
        /// Which.
        digit: media::Digit,
        /// How long.
        duration: Duration,
        /// How it came.
        method: DtmfMethod,
    },
    /// Who answered, first or better than before.
    AnsweredBy {
        /// The leg.
        leg: LegId,
        /// Who.
        who: AnsweredBy,
        /// How certain, 0 to 1.
        confidence: f32,
    },
    /// The beep of a machine is over.
    Beep {
        /// The leg.
        leg: LegId,
    },
    /// The first RTP packet of the far end came.
    FirstPacket {
        /// The leg.
        leg: LegId,
        /// From where.
        from: SocketAddr,
    },
    /// The leg's DTLS handshake came to keys.
    Secured {
        /// The leg.
        leg: LegId,
        /// What protects its audio.
        suite: media::SrtpSuite,
    },
    /// It did not.
    NotSecured {
        /// The leg.
        leg: LegId,
        /// Why.
        why: media::Unsecured,
    },
    /// The engine's first audio went out.
    FirstAudio {
        /// The leg.
        leg: LegId,
    },
    /// What is known of a leg so far; every few seconds.
    Measured(LegSummary),
    /// The far end spoke while the engine did, and the engine is no longer heard.
    BargedIn {
        /// The leg.
        leg: LegId,
        /// From the beginning of the speech to the last of the engine.
        after: Duration,
    },
    /// The engine is heard for the first time after the far end has spoken.
    Responded {
        /// The leg.
        leg: LegId,
        /// From the end of the speech to the first packet of the engine.
        after: Duration,
    },
    /// Nobody speaks, for so long.
    Silent {
        /// Whose turn it is.
        who: Voice,
        /// One of the lengths that were waited for.
        lasted: Duration,
    },
    /// No RTP from the far end for the configured time, though some should come.
    Inactive {
        /// The leg.
        leg: LegId,
    },
    /// The announcement has been played.
    Announced {
        /// The leg.
        leg: LegId,
    },
    /// What a platform says that has opened a session.
    Hook(HookFact),
    /// Nothing of the engine's audio is left to play.
    Drained,
    /// Everything is closed.
    Closed(VoiceSummary),
}

/// What a worker knows of a call at its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VoiceSummary {
    /// By leg.
    pub legs: Vec<LegSummary>,
    /// Frames given to the engine.
    pub frames_to_engine: u64,
    /// Frames not given to it because it did not read.
    pub frames_to_engine_dropped: u64,
    /// 99th percentile of what the edge added to a frame on its way up, milliseconds.
    pub edge_p99_ms: Option<f32>,
}

/// What a worker knows of a leg, at its end or so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LegSummary {
    /// The leg, counted from 0.
    pub leg: u8,
    /// RTP packets received in order or put in order.
    pub frames_up: u64,
    /// RTP packets sent.
    pub frames_down: u64,
    /// Inter-arrival jitter, milliseconds.
    pub jitter_ms: Option<f32>,
    /// Lost, percent.
    pub loss_pct: Option<f32>,
    /// Round trip by RTCP, milliseconds.
    pub rtt_ms: Option<f32>,
    /// Mean opinion score of what was received, 1 to 4.5.
    pub mos: Option<f32>,
    /// How what was sent came, where the far end tells.
    pub sent: Option<SentQuality>,
}
