//! The voice of one call: sessions of its legs, the interpreter of its engine, and what passes between them.
//! Pure: the worker's loop brings packets, messages and time, and carries out what comes back.
//!
//! ```text
//!   RTP  -> handle_rtp -----> Session -> Interpreter::hear -> Turn::out -> websocket
//!   RTP <-- beat <----------- Session <- Playout <- Interpreter::understand <- handle_message <- websocket
//!                                        |
//!                                        +-> marks, positions -> Interpreter::answer -> Turn::out
//! ```
//!
//! Who hears whom is a [`VoiceRoute`]: at first the engine and the leg the call began with hear each other. While an
//! announcement plays to the leg that the engine speaks to, what the engine says is refused.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod attending;
mod measuring;
mod obeying;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use media::hearing::{AmdEvent, AnswerDetector, Answerer};
use media::{
    AudioFormat, BEAT_MAX, Digit, DtmfRefused, Negotiated, Played, PlayoutFact, SampleRate, SegmentId,
    Session, SessionConfig, SessionFact, UpFrame,
};

use super::attention::Attention;
use super::ear::{Ear, Keys};
use super::early::Early;
use super::histogram::Histogram;
use super::relay::{Relay, Relayed, Spoken, Waiting, blend};
use super::silence::Silence;
use super::tally::Tally;
use super::tape::{Tape, TapeLayout};
use super::unheard::Unheard;
use crate::bridge::{
    Answer, Complaint, Fault, HIGHEST_SEGMENT, Heard, Incoming, Interpreter, Outgoing, Resumption, Standing,
};
use crate::call::{
    Announcement, AnsweredBy, BargeInPolicy, DtmfMethod, EngineEvent, EngineStart, FIRST_LEG, LegId,
    LegSummary, RecordMode, VoiceFact, VoiceRoute, VoiceSummary,
};

/// How often an engine is told where the play-out stands while something waits.
const POSITION_INTERVAL: Duration = Duration::from_secs(1);

/// Digits that may wait for a call's owner; those of a leg beyond are dropped, and counted.
const FACTS_KEPT: usize = 256;

/// The most bytes of a frame that goes from leg to leg: 60 ms.
const FRAME_MAX: usize = 3 * BEAT_MAX;

/// Within this time a key that comes in another way is the same one.
const SAME_KEY: Duration = Duration::from_millis(800);

/// A key that is passed on is pressed at least so long.
const SHORTEST_DIGIT: Duration = Duration::from_millis(100);

/// What all calls of a worker have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoiceConfig {
    /// How long a gap in a leg's RTP waits for what is missing, at most.
    pub reorder_wait: Duration,
    /// Whether what is missing then is guessed.
    pub conceal: bool,
    /// How much audio of an engine may wait.
    pub playout_limit: Duration,
}

impl Default for VoiceConfig {
    fn default() -> Self {
        let (reorder_wait, playout_limit) = (Duration::from_millis(60), Duration::from_secs(600));
        Self { reorder_wait, conceal: true, playout_limit }
    }
}

/// Where the results of one turn go. All of it is used again for the next.
pub struct Turn<'a> {
    /// Messages for the call's engine.
    pub out: &'a mut Outgoing,
    /// Facts for the call's owner.
    pub facts: &'a mut VecDeque<VoiceFact>,
    /// Counters.
    pub tally: &'a mut Tally,
    /// Room for decoded audio.
    pub scratch: &'a mut Vec<u8>,
}

/// One call.
#[derive(Debug)]
pub struct Voice {
    config: VoiceConfig,
    legs: Vec<Leg>,
    route: VoiceRoute,
    /// What legs that are closed came to.
    gone: Vec<LegSummary>,
    /// Room for a frame on its way from leg to leg.
    relayed: Vec<u8>,
    tape: Option<(LegId, Tape)>,
    /// A second of the recording that nobody has taken yet.
    chunk: Option<Vec<i16>>,
    /// Neither engine nor tape is told of keys.
    masked: bool,
    engine: Option<Interpreter>,
    barge_in: BargeInPolicy,
    attention: Option<Box<Attention>>,
    /// What silences are told of.
    silence: Option<Box<Silence>>,
    /// The engine has no socket, and may get another one.
    away: bool,
    early: Early,
    /// What the engine was not told yet because it was not told of the answer.
    unheard: Unheard,
    playing: Playing,
    announcements: u32,
    latency: Histogram,
    /// When it is told next what was measured.
    measured: Option<Instant>,
    frames_to_engine: u64,
    frames_to_engine_dropped: u64,
    /// Somebody asks after each beat whether anything was said in it.
    asked: bool,
    /// Something was said in the last beat.
    spoke: bool,
    /// What was to be said is not, since that was last asked.
    cleared: bool,
}

#[derive(Debug)]
struct Leg {
    id: LegId,
    inactivity: Duration,
    media: Option<LegMedia>,
    relays: Vec<Relay>,
    waiting: Option<Waiting>,
    /// Who listens for who answered, while that may still change.
    answerer: Option<Box<Ear<AnswerDetector>>>,
    /// Listens for keys as tones, where the far end has no telephone events.
    keys: Option<Box<Ear<Keys>>>,
    /// The key that was told last, how it came and when.
    last_key: Option<(Digit, DtmfMethod, Instant)>,
}

#[derive(Debug)]
struct LegMedia {
    session: Session,
    began: Instant,
    /// A frame was kept from the engine: the next one is marked.
    gap: bool,
    /// The engine's segment being played, how often it ran dry, and when that was told.
    position: Option<(SegmentId, u32, Instant)>,
    first_audio: FirstAudio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstAudio {
    Awaited,
    Told,
}

/// What the leg hears.
/// ```text
///   Engine -- announce --> Announcement -- played --> Engine
///     |
///     +-- drain --> Rest -- played --> Nothing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Playing {
    /// What the engine says.
    Engine,
    /// An announcement as this segment.
    Announcement { leg: LegId, segment: SegmentId },
    /// What the engine has said so far.
    Rest,
    /// The rest was played.
    Nothing,
}

impl Voice {
    /// A call without legs and engine.
    pub fn new(config: VoiceConfig) -> Self {
        Self {
            config,
            legs: Vec::with_capacity(1),
            route: VoiceRoute::default(),
            gone: Vec::new(),
            relayed: Vec::new(),
            tape: None,
            chunk: None,
            masked: false,
            engine: None,
            barge_in: BargeInPolicy::default(),
            attention: None,
            silence: None,
            away: false,
            early: Early::default(),
            unheard: Unheard::default(),
            playing: Playing::Engine,
            announcements: 0,
            latency: Histogram::default(),
            measured: None,
            frames_to_engine: 0,
            frames_to_engine_dropped: 0,
            asked: false,
            spoke: false,
            cleared: false,
        }
    }

    /// A leg whose media is not agreed yet.
    /// When no RTP comes for `inactivity`, it is told.
    pub fn open(&mut self, leg: LegId, inactivity: Duration) {
        if !self.legs.iter().any(|known| known.id == leg) {
            self.legs.push(Leg {
                id: leg,
                inactivity,
                media: None,
                relays: Vec::new(),
                waiting: None,
                answerer: None,
                keys: None,
                last_key: None,
            });
            self.tune();
        }
    }

    /// The leg is no more; what it came to is kept for the summary.
    pub fn close(&mut self, now: Instant, leg: LegId) {
        let Some(place) = self.legs.iter().position(|known| known.id == leg) else { return };
        let closed = self.legs.remove(place);
        self.gone.push(closed.summary(now));
        self.tune();
    }

    /// Who hears whom from now on. What the engine had ready for a leg that it no longer speaks to is thrown away.
    pub fn route(&mut self, now: Instant, route: VoiceRoute, turn: &mut Turn<'_>) {
        let before = std::mem::replace(&mut self.route, route);
        if !self.route.hears.is_empty() {
            self.relayed.reserve(FRAME_MAX);
        }
        self.tune();
        if before.engine_to == self.route.engine_to {
            return;
        }
        if let Some(media) = before.engine_to.and_then(|leg| self.media(leg)) {
            media.position = None;
            media.session.playout().resume();
            media.session.playout().clear(None);
        }
        if let Some(leg) = before.engine_to {
            self.playout_facts(now, leg, turn);
        }
    }

    /// What `leg` hears, again and again, while nobody speaks to it.
    pub fn wait(&mut self, leg: LegId, audio: Option<Arc<Announcement>>) {
        if let Some(leg) = self.legs.iter_mut().find(|known| known.id == leg) {
            leg.waiting = audio.filter(|audio| !audio.pcmu.is_empty()).map(Waiting::new);
        }
    }

    /// Every leg gets a relay for each of those it hears, and keeps those it had.
    fn tune(&mut self) {
        let Self { legs, route, .. } = self;
        let ids: Vec<LegId> = legs.iter().map(|leg| leg.id).collect();
        for leg in legs {
            let speaks = |speaker: LegId| route.hears.contains(&(leg.id, speaker)) && ids.contains(&speaker);
            leg.relays.retain(|relay| speaks(relay.speaker));
            for speaker in ids.iter().copied().filter(|speaker| speaks(*speaker)) {
                if !leg.relays.iter().any(|relay| relay.speaker == speaker) {
                    leg.relays.push(Relay::new(speaker));
                }
            }
        }
        self.tune_attention();
    }

    /// Both sides agreed, first or anew. `seed` is for the session's chance, `wall` for its RTCP.
    pub fn negotiated(
        &mut self,
        now: Instant,
        wall: SystemTime,
        seed: u64,
        leg: LegId,
        agreed: &Negotiated,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.legs.iter_mut().find(|known| known.id == leg) else { return };
        match agreed.telephone_event {
            Some(_) => known.keys = None,
            None => {
                known.keys.get_or_insert_with(|| Ear::new(Keys::default()));
            }
        }
        match &mut known.media {
            Some(media) => {
                media.session.renegotiate(now, agreed);
            }
            None => {
                let config = SessionConfig {
                    reorder_wait: self.config.reorder_wait,
                    conceal: self.config.conceal,
                    inactivity: known.inactivity,
                    playout_limit: self.config.playout_limit,
                    wall,
                    ..SessionConfig::from_seed(seed)
                };
                let mut media = LegMedia::new(now, Session::new(now, agreed, config));
                if leg == FIRST_LEG {
                    self.early.pour_into(media.session.playout());
                }
                known.media = Some(media);
                self.playout_facts(now, leg, turn);
            }
        }
    }

    /// The engine's socket is up.
    pub fn attach(&mut self, interpreter: Interpreter, barge_in: BargeInPolicy) {
        self.engine = Some(interpreter);
        self.unheard.clear();
        self.barge_in = barge_in;
        self.away = false;
        self.attention = None;
        // What the one before said last was waited for; now somebody else speaks.
        if matches!(self.playing, Playing::Rest | Playing::Nothing) {
            self.playing = Playing::Engine;
        }
        self.tune_attention();
        for media in self.legs.iter_mut().filter_map(|leg| leg.media.as_mut()) {
            media.session.playout().new_speaker();
            media.position = None;
        }
    }

    /// The engine is no longer there. What it said so far is still played.
    pub fn detach(&mut self) {
        self.engine = None;
        self.away = false;
        self.tune_attention();
    }

    /// The engine's socket is lost. Whether it can go on over another one: what it should be told is kept until then.
    pub fn lose(&mut self) -> bool {
        self.away = self.engine.as_mut().is_some_and(Interpreter::lose);
        self.away
    }

    /// Whether the next socket is for an engine that has lost its own.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// The engine that was away has a socket: it is asked to go on.
    pub fn resume_engine(&mut self, start: &EngineStart, away: Duration, turn: &mut Turn<'_>) {
        let playout = self.standing();
        if let Some(engine) = self.engine.as_mut().filter(|_| self.away) {
            self.away = false;
            engine.resume(&Resumption { start, away, playout }, turn.out);
        }
    }

    /// Where the play-out of the engine's audio stands.
    fn standing(&mut self) -> Option<Standing> {
        let media = self.engine_leg().and_then(|leg| self.media(leg))?;
        let (segment, underruns, _) = media.position?;
        let playout = media.session.playout();
        let (played_ms, buffered_ms) = (playout.played_ms(segment), playout.buffered_ms());
        Some(Standing { segment, played_ms, buffered_ms, underruns })
    }

    /// Whether there is an engine.
    pub fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Tells the engine.
    pub fn tell(&mut self, now: Instant, event: &EngineEvent, turn: &mut Turn<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.tell(now, event, turn.out);
        }
    }

    /// A datagram from a leg's RTP socket. `congested`: the engine does not read, its frames are left out, or come later.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        leg: LegId,
        from: SocketAddr,
        packet: &[u8],
        congested: bool,
        turn: &mut Turn<'_>,
    ) {
        let Some(media) = self.media(leg) else { return };
        if let Err(discard) = media.session.handle_rtp(now, from, packet) {
            turn.tally.count_discarded(discard);
        }
        self.pump(now, leg, congested, turn);
    }

    /// A datagram from a leg's RTCP socket.
    pub fn handle_rtcp(
        &mut self,
        now: Instant,
        leg: LegId,
        from: SocketAddr,
        packet: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let Some(media) = self.media(leg) else { return };
        if let Err(discard) = media.session.handle_rtcp(now, from, packet) {
            turn.tally.count_discarded(discard);
        }
        self.pump(now, leg, false, turn);
    }

    /// One beat of a leg: the packet to send in `buffer`, its length and where to.
    pub fn beat(
        &mut self,
        now: Instant,
        leg: LegId,
        congested: bool,
        buffer: &mut [u8],
        turn: &mut Turn<'_>,
    ) -> Option<(usize, SocketAddr)> {
        if let Some(engine) = self.engine.as_mut().filter(|_| !congested) {
            let replayed = engine.catch_up(turn.out);
            turn.tally.frames_replayed += replayed.frames;
            turn.tally.replay_lost += replayed.lost;
        }
        let media = self.media(leg)?;
        if media.session.poll_timeout().is_some_and(|due| due <= now) {
            media.session.handle_timeout(now);
            self.pump(now, leg, congested, turn);
        }
        let others_press_tones = self.legs.iter().any(|other| other.id != leg && other.keys.is_some());
        let Leg { media, relays, waiting, .. } = self.legs.iter_mut().find(|known| known.id == leg)?;
        let session = &mut media.as_mut()?.session;
        let mut tape = self.tape.as_mut().filter(|(taped, _)| *taped == leg).map(|(_, tape)| tape);
        let mut attention = self.attention.as_mut().filter(|attention| attention.leg == leg);
        let mut by_engine = None;
        let unheard = self.masked && others_press_tones;
        let mut spoke = false;
        let packet =
            if !self.asked && relays.is_empty() && waiting.is_none() && tape.is_none() && attention.is_none()
            {
                session.next_packet(now, buffer)
            } else {
                let mut chunk = None;
                let mut beaten = false;
                let mut relayed = Relayed::default();
                let packet = session.next_packet_with(now, buffer, |format, frame, played| {
                    by_engine = Some(played);
                    let played = blend(now, relays, waiting.as_mut(), format, frame, played, &mut relayed);
                    spoke = played == Played::Audio;
                    if let Some(attention) = &mut attention {
                        attention.said(format, frame);
                    }
                    if let Some(tape) = &mut tape {
                        beaten = true;
                        let heard =
                            Some((format, &frame[..])).filter(|_| played == Played::Audio && !unheard);
                        chunk = tape.beat(heard);
                    }
                    played
                });
                // A beat without a packet, or with a key in it, passes on tape as well.
                if let Some(tape) = tape.filter(|_| !beaten) {
                    chunk = tape.beat(None);
                }
                turn.tally.count_relayed(relayed);
                self.chunk = chunk.or(self.chunk.take());
                packet
            };
        self.spoke = spoke;
        turn.tally.packets_to_leg += u64::from(packet.is_some());
        self.playout_facts(now, leg, turn);
        self.attend_beat(now, leg, by_engine, turn);
        packet
    }

    /// From now on [`Self::spoke`] knows.
    pub fn watch_beats(&mut self) {
        self.asked = true;
    }

    /// Whether anything was said in the last beat, or it was comfort noise.
    pub fn spoke(&self) -> bool {
        self.spoke
    }

    /// Whether something that was to be said was thrown away since this was asked.
    pub fn take_cleared(&mut self) -> bool {
        std::mem::take(&mut self.cleared)
    }

    /// A leg's RTCP report, when one is due.
    pub fn report(&mut self, now: Instant, leg: LegId, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.media(leg)?.session.next_report(now, buffer)
    }

    /// Whether a leg's RTCP goes out from its RTP socket.
    pub fn shares_port(&self, leg: LegId) -> bool {
        let media = self.legs.iter().find(|known| known.id == leg).and_then(|leg| leg.media.as_ref());
        media.is_some_and(|media| media.session.shares_port())
    }

    /// A datagram of a leg's DTLS handshake, and where to, from its RTP socket. Ask until there is none.
    pub fn next_handshake(
        &mut self,
        now: Instant,
        leg: LegId,
        buffer: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        self.media(leg)?.session.next_handshake(now, buffer)
    }

    /// A leg's last RTCP packet.
    pub fn farewell(&mut self, now: Instant, leg: LegId, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.media(leg)?.session.farewell(now, buffer)
    }

    /// A message from the engine.
    ///
    /// # Errors
    /// When it was one mistake too many: the socket should close with [`Fault::close`].
    pub fn handle_message(
        &mut self,
        now: Instant,
        message: Incoming<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Fault> {
        let Turn { out, facts, tally, scratch } = turn;
        let Some(engine) = &mut self.engine else { return Ok(()) };
        match engine.understand(message, scratch, out) {
            Ok(said) => {
                // What was said may lie in the scratch room, so the rest of the turn has none.
                let mut turn = Turn { out, facts, tally, scratch: &mut Vec::new() };
                self.obey(now, said, &mut turn);
                Ok(())
            }
            Err(fault) => {
                tally.engine_mistakes += 1;
                let message = fault.mistake.to_string();
                let complaint = Complaint {
                    code: fault.mistake.code(),
                    re: fault.re.as_deref(),
                    message: &message,
                    fatal: fault.close.is_some(),
                };
                engine.complain(&complaint, out);
                if fault.close.is_some() { Err(fault) } else { Ok(()) }
            }
        }
    }

    /// Plays `audio` to `leg` instead of what the engine says; [`VoiceFact::Announced`] follows, at once where
    /// nothing can be played.
    pub fn announce(&mut self, now: Instant, leg: LegId, audio: &Announcement, turn: &mut Turn<'_>) {
        let segment = SegmentId(u32::MAX - self.announcements);
        self.announcements += 1;
        if let Playing::Announcement { leg, .. } = self.playing {
            turn.facts.push_back(VoiceFact::Announced { leg });
        }
        self.playing = Playing::Announcement { leg, segment };
        let Some(media) = self.media(leg) else { return self.announced(leg, turn) };
        let playout = media.session.playout();
        playout.resume();
        playout.clear(None);
        let pushed = playout.push(segment, AudioFormat::Pcmu, &audio.pcmu);
        playout.finish(segment);
        self.playout_facts(now, leg, turn);
        let is_playing = self.playing == Playing::Announcement { leg, segment };
        if is_playing && (pushed.is_err() || audio.pcmu.is_empty()) {
            self.announced(leg, turn);
        }
    }

    /// Sends keys to the far end of `leg`.
    ///
    /// # Errors
    /// When the leg takes none, or too many wait; those before were taken.
    pub fn send_dtmf(&mut self, leg: LegId, digits: &[Digit], duration: Duration) -> Result<(), DtmfRefused> {
        let media = self.media(leg).ok_or(DtmfRefused::NotNegotiated)?;
        digits.iter().try_for_each(|digit| media.session.send_dtmf(*digit, duration))
    }

    /// Records what `leg` says and hears from now on; answers how the recording is laid out.
    pub fn record(&mut self, leg: LegId, mode: RecordMode) -> Option<TapeLayout> {
        if mode == RecordMode::Off {
            return None;
        }
        let rate = self.media(leg).map_or(SampleRate::Hz8000, |media| media.session.format().rate());
        let (_, tape) = self.tape.insert((leg, Tape::new(mode, rate)));
        Some(tape.layout())
    }

    /// The recording goes on in silence, or with sound again.
    pub fn pause_recording(&mut self, paused: bool) {
        if let Some((_, tape)) = &mut self.tape {
            tape.pause(paused);
        }
    }

    /// Neither engine nor recording is told of keys from now on, or both again. Of a leg whose keys come as tones they hear
    /// nothing meanwhile, since a tone is known to be a key only when part of it was heard.
    pub fn mask_keys(&mut self, masked: bool) {
        self.masked = masked;
    }

    /// A second of the recording, when one is full: linear samples, the leg's own in the left channel.
    pub fn next_chunk(&mut self) -> Option<Vec<i16>> {
        self.chunk.take()
    }

    /// Ends the recording; what is left of it.
    pub fn end_recording(&mut self) -> Option<Vec<i16>> {
        let (_, tape) = self.tape.take()?;
        let mut rest = self.chunk.take().unwrap_or_default();
        rest.extend(tape.rest());
        Some(rest)
    }

    /// Who answered `leg`: told as soon as it is heard, and again when it is heard better.
    pub fn detect_answerer(&mut self, leg: LegId) {
        if let Some(leg) = self.legs.iter_mut().find(|known| known.id == leg) {
            leg.answerer = Some(Ear::new(AnswerDetector::default()));
        }
    }

    /// Silences of the conversation between engine and caller that last so long are told.
    pub fn watch_silence(&mut self, caller: Vec<Duration>, engine: Vec<Duration>) {
        self.silence = Some(Silence::new(caller, engine));
    }

    fn tell_answerer(&mut self, leg: LegId, turn: &mut Turn<'_>) {
        let Some(known) = self.legs.iter_mut().find(|known| known.id == leg) else { return };
        while let Some(event) = known.answerer.as_mut().and_then(|answerer| answerer.next_event()) {
            turn.facts.push_back(match event {
                AmdEvent::Verdict { who: Answerer::Human, confidence, .. } => {
                    VoiceFact::AnsweredBy { leg, who: AnsweredBy::Human, confidence }
                }
                AmdEvent::Verdict { who: Answerer::Machine, confidence, .. } => {
                    VoiceFact::AnsweredBy { leg, who: AnsweredBy::Machine, confidence }
                }
                // Behind the beep nobody is left to be told from anybody.
                AmdEvent::Beep { .. } => {
                    known.answerer = None;
                    VoiceFact::Beep { leg }
                }
            });
        }
    }

    fn tell_keys(&mut self, now: Instant, place: usize, turn: &mut Turn<'_>) {
        let Some(known) = self.legs.get_mut(place) else { return };
        let leg = known.id;
        if let Some(key) = known.keys.as_mut().and_then(|keys| keys.next_key()) {
            let duration = Duration::from_micros(key.length * 125);
            self.pressed(now, leg, key.digit, duration, DtmfMethod::Inband, turn);
        }
    }

    /// A key of a leg's far end. Some telephones send each in two ways: what came in one is not told again because it comes in
    /// the other soon after.
    pub fn pressed(
        &mut self,
        now: Instant,
        leg: LegId,
        digit: Digit,
        duration: Duration,
        method: DtmfMethod,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.legs.iter_mut().find(|known| known.id == leg) else { return };
        let twin = known.last_key.filter(|(key, how, at)| {
            *key == digit && *how != method && now.saturating_duration_since(*at) < SAME_KEY
        });
        if twin.is_some() {
            // Each press has one twin.
            known.last_key = None;
            turn.tally.keys_twice += 1;
            return;
        }
        known.last_key = Some((digit, method, now));
        let muted = self.route.muted.contains(&leg);
        let track = self.route.engine_hears.iter().position(|heard| *heard == leg);
        let track =
            track.and_then(|track| u8::try_from(track).ok()).map(LegId).filter(|_| !muted && !self.masked);
        if let (Some(engine), Some(track)) = (&mut self.engine, track) {
            engine.digit(track, digit, duration, method, turn.out);
        }
        if !muted && self.route.hears.iter().any(|(_, speaker)| *speaker == leg) {
            self.relay_digit(leg, digit, duration);
        }
        if turn.facts.len() < FACTS_KEPT {
            turn.facts.push_back(VoiceFact::Dtmf { leg, digit, duration, method });
        } else {
            turn.tally.facts_dropped += 1;
        }
    }

    /// Plays what the engine said so far and nothing more; [`VoiceFact::Drained`] follows.
    pub fn drain(&mut self, turn: &mut Turn<'_>) {
        self.playing = Playing::Rest;
        if let Some(media) = self.engine_leg().and_then(|leg| self.media(leg)) {
            media.session.playout().resume();
            media.session.playout().release();
        }
        self.notice_drained(turn);
    }

    /// Called a few times a second: tells where the play-out stands, and what was measured.
    pub fn sweep(&mut self, now: Instant, turn: &mut Turn<'_>) {
        self.measure(now, turn);
        self.tell_position(now, turn);
    }

    fn tell_position(&mut self, now: Instant, turn: &mut Turn<'_>) {
        let Some(engine) = &mut self.engine else { return };
        let heard_at = self.route.engine_to;
        let leg = self.legs.iter_mut().find(|leg| Some(leg.id) == heard_at);
        let Some(media) = leg.and_then(|leg| leg.media.as_mut()) else { return };
        let Some((segment, underruns, told)) = media.position else { return };
        let playout = media.session.playout();
        let buffered_ms = playout.buffered_ms();
        if buffered_ms == 0 || now.saturating_duration_since(told) < POSITION_INTERVAL {
            return;
        }
        let played_ms = playout.played_ms(segment);
        media.position = Some((segment, underruns, now));
        engine.answer(&Answer::Position { segment, played_ms, buffered_ms, underruns }, turn.out);
    }

    /// A frame reached the engine's socket so long after its packet came.
    pub fn count_latency(&mut self, latency: Duration) {
        self.latency.count(latency);
    }

    /// What there is to know of the call.
    pub fn summary(&self, now: Instant) -> VoiceSummary {
        VoiceSummary {
            legs: self.legs.iter().map(|leg| leg.summary(now)).chain(self.gone.iter().cloned()).collect(),
            frames_to_engine: self.frames_to_engine,
            frames_to_engine_dropped: self.frames_to_engine_dropped,
            edge_p99_ms: self.latency.p99_ms(),
        }
    }

    fn media(&mut self, leg: LegId) -> Option<&mut LegMedia> {
        self.legs.iter_mut().find(|known| known.id == leg)?.media.as_mut()
    }

    /// Takes everything out of a session that came up to now.
    fn pump(&mut self, now: Instant, leg: LegId, congested: bool, turn: &mut Turn<'_>) {
        let track = self.route.engine_hears.iter().position(|heard| *heard == leg);
        let track = track.and_then(|track| u8::try_from(track).ok()).map(LegId);
        let muted = self.route.muted.contains(&leg);
        let is_heard = !muted && self.route.hears.iter().any(|(_, speaker)| *speaker == leg);
        let Some(place) = self.legs.iter().position(|known| known.id == leg) else { return };
        let masked = self.masked && self.legs[place].keys.is_some();
        loop {
            let Leg { media, answerer, keys, .. } = &mut self.legs[place];
            let Some(media) = media else { return };
            let format = media.session.format();
            let Some(frame) = media.session.next_frame(now) else { break };
            turn.tally.frames_concealed += u64::from(frame.concealed);
            let spoken = Spoken::new(format, &frame);
            let kept = Spoken { payload: &[], ..spoken };
            if is_heard {
                self.relayed.clear();
                self.relayed.extend_from_slice(frame.payload);
            }
            if let Some((_, tape)) = self.tape.as_mut().filter(|(taped, _)| *taped == leg && !masked) {
                tape.said(format, frame.payload);
            }
            if let Some(answerer) = answerer {
                answerer.listen(format, frame.payload);
            }
            if let Some(keys) = keys {
                keys.listen(format, frame.payload);
            }
            let attention = self.attention.as_mut().filter(|attention| attention.leg == leg && !masked);
            let told = attention.and_then(|attention| attention.heard(now, format, frame.payload));
            if let (Some(engine), Some(track)) = (self.engine.as_mut(), track) {
                let heard = heard(track, format, media.began, media.gap, &frame);
                if muted || masked {
                    media.gap = true;
                } else if congested && !engine.hold(&heard) {
                    media.gap = true;
                    self.frames_to_engine_dropped += 1;
                    turn.tally.frames_to_engine_dropped += 1;
                } else {
                    let Self { unheard, .. } = self;
                    let told = match congested {
                        true => 1,
                        false => unheard.told(&heard, |heard| engine.hear(heard, turn.out)),
                    };
                    media.gap &= told == 0;
                    self.frames_to_engine += told;
                    turn.tally.frames_to_engine += told;
                }
            }
            if is_heard {
                self.relay(now, leg, kept, turn);
            }
            if let Some(told) = told {
                self.attend(now, told, turn);
            }
        }
        self.tell_answerer(leg, turn);
        self.tell_keys(now, place, turn);
        while let Some(pressed) = self.media(leg).and_then(|media| media.session.next_dtmf()) {
            let duration = Duration::from_millis(pressed.duration_ms.into());
            self.pressed(now, leg, pressed.digit, duration, DtmfMethod::Rfc4733, turn);
        }
        let Some(media) = self.media(leg) else { return };
        while let Some(fact) = media.session.next_fact() {
            match fact {
                SessionFact::FirstPacket { from } => {
                    turn.facts.push_back(VoiceFact::FirstPacket { leg, from });
                }
                SessionFact::Inactive => turn.facts.push_back(VoiceFact::Inactive { leg }),
                SessionFact::Secured { suite } => {
                    turn.tally.handshakes += 1;
                    turn.facts.push_back(VoiceFact::Secured { leg, suite });
                }
                SessionFact::NotSecured(why) => {
                    turn.tally.handshakes_failed += 1;
                    turn.facts.push_back(VoiceFact::NotSecured { leg, why });
                }
                // The session follows by itself; the end of a call is said in SIP, not in RTCP.
                SessionFact::SourceChanged { .. } | SessionFact::StreamChanged { .. } | SessionFact::Bye => {}
            }
        }
    }

    /// The frame in `relayed` goes to everyone who hears `speaker`; `kept` is what else is known of it.
    fn relay(&mut self, now: Instant, speaker: LegId, kept: Spoken<'_>, turn: &mut Turn<'_>) {
        let Self { legs, relayed, .. } = self;
        let spoken = Spoken { payload: relayed, ..kept };
        for relay in legs.iter_mut().filter(|leg| leg.media.is_some()).flat_map(|leg| &mut leg.relays) {
            if relay.speaker == speaker {
                turn.tally.relay_late += relay.push(now, &spoken);
            }
        }
    }

    /// A key goes to everyone who hears `speaker`, where it can be sent.
    fn relay_digit(&mut self, speaker: LegId, digit: Digit, duration: Duration) {
        for leg in &mut self.legs {
            let hears = leg.relays.iter().any(|relay| relay.speaker == speaker);
            if let Some(media) = leg.media.as_mut().filter(|_| hears) {
                let _refused = media.session.send_dtmf(digit, duration.max(SHORTEST_DIGIT));
            }
        }
    }

    /// The leg that hears the engine, unless it hears an announcement or nothing more of it.
    fn engine_leg(&self) -> Option<LegId> {
        self.route.engine_to
    }

    fn is_silenced(&self) -> bool {
        match self.playing {
            Playing::Engine => self.route.engine_to.is_none(),
            Playing::Announcement { leg, .. } => self.route.engine_to.is_none_or(|heard| heard == leg),
            Playing::Rest | Playing::Nothing => true,
        }
    }

    /// Passes on what happened in a leg's play-out.
    fn playout_facts(&mut self, now: Instant, leg: LegId, turn: &mut Turn<'_>) {
        while let Some(fact) = self.media(leg).and_then(|media| media.session.playout().next_fact()) {
            match fact {
                PlayoutFact::Marked { name, result, played_ms } => {
                    if let Some(engine) = &mut self.engine {
                        engine.answer(&Answer::Marked { name: &name, result, played_ms }, turn.out);
                    }
                }
                PlayoutFact::Position { segment, .. } if segment.0 > HIGHEST_SEGMENT => {}
                PlayoutFact::Position { segment, played_ms, buffered_ms, underruns } => {
                    if let Some(media) = self.media(leg) {
                        media.position = Some((segment, underruns, now));
                    }
                    if played_ms > 0 {
                        self.note_audio(leg, turn);
                    }
                    if let Some(engine) = &mut self.engine {
                        engine.answer(
                            &Answer::Position { segment, played_ms, buffered_ms, underruns },
                            turn.out,
                        );
                    }
                }
                PlayoutFact::Finished { segment } => {
                    if self.playing == (Playing::Announcement { leg, segment }) {
                        self.announced(leg, turn);
                    }
                }
            }
        }
        self.notice_drained(turn);
    }

    fn note_audio(&mut self, leg: LegId, turn: &mut Turn<'_>) {
        let Some(media) = self.media(leg) else { return };
        if media.first_audio == FirstAudio::Awaited {
            media.first_audio = FirstAudio::Told;
            turn.facts.push_back(VoiceFact::FirstAudio { leg });
        }
    }

    fn announced(&mut self, leg: LegId, turn: &mut Turn<'_>) {
        self.playing = Playing::Engine;
        turn.facts.push_back(VoiceFact::Announced { leg });
    }

    fn notice_drained(&mut self, turn: &mut Turn<'_>) {
        if self.playing != Playing::Rest {
            return;
        }
        let heard_at = self.engine_leg().and_then(|leg| self.media(leg));
        if heard_at.is_none_or(|media| media.session.playout().buffered_ms() == 0) {
            self.playing = Playing::Nothing;
            turn.facts.push_back(VoiceFact::Drained);
        }
    }
}

impl LegMedia {
    fn new(now: Instant, session: Session) -> Self {
        Self { session, began: now, gap: false, position: None, first_audio: FirstAudio::Awaited }
    }
}

fn heard<'a>(leg: LegId, format: AudioFormat, began: Instant, gap: bool, frame: &UpFrame<'a>) -> Heard<'a> {
    Heard {
        leg,
        format,
        payload: frame.payload,
        media_time: frame.media_time,
        captured: began + frame.capture,
        discontinuity: frame.discontinuity || gap,
        concealed: frame.concealed,
    }
}
