//! A telephone that makes one call: says something, listens, hangs up.
//!
//! ```text
//!   INVITE -- 200 --> [talking] speech, then silence until it has listened long enough -- BYE --> done
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{
    AudioFormat, BEAT, Codec, Direction, LocalMedia, Negotiator, SegmentId, Session, SessionConfig, g711,
};
use sip::endpoint::Event;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// How long anything but the talk itself may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Louder than comfort noise, softer than speech (of 32,768).
const AUDIBLE: i16 = 500;

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Spoken {
    /// From INVITE to 200.
    pub setup: Duration,
    /// From 200 to the first audible sound.
    pub first_audio: Option<Duration>,
    /// Everything that was heard, 16 bit linear at 8,000 Hz.
    pub heard: Vec<i16>,
    /// RTP packets sent and received.
    pub packets: (u64, u64),
}

/// Why there was no call.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// A socket.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A final response of 300 or more.
    #[error("the call was refused: {status} {reason}")]
    Refused {
        /// Status.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// No final response.
    #[error("the call failed: {0}")]
    Failed(sip::Failure),
    /// The answer cannot be used.
    #[error("the session description cannot be used: {0}")]
    Media(#[from] media::SdpError),
    /// The other side hung up too early.
    #[error("the other side hung up in the middle of the call")]
    HungUp,
    /// The number cannot be written as a URI.
    #[error("not a number: {0}")]
    Number(#[from] sip::Malformed),
    /// It took too long.
    #[error("the call did not come to its end in time")]
    Late,
}

/// A telephone on its own sockets.
pub struct Phone {
    signalling: UdpSocket,
    voice: UdpSocket,
    endpoint: sip::Endpoint,
    local: SocketAddr,
}

impl Phone {
    /// A telephone on loopback.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn new(seed: u64) -> Result<Self, PhoneError> {
        let signalling = UdpSocket::bind("127.0.0.1:0").await?;
        let voice = UdpSocket::bind("127.0.0.1:0").await?;
        let local = signalling.local_addr()?;
        let config = sip::Config::new("callingedge-phone", vec![sip::Local::new(sip::Transport::Udp, local)]);
        Ok(Self { signalling, voice, endpoint: sip::Endpoint::new(config, seed), local })
    }

    /// Calls `number` at `edge`, says `speech` (PCMU), listens for `listen` longer, and hangs up.
    ///
    /// # Errors
    /// When the call does not come about, or ends before we end it.
    pub async fn call(
        mut self,
        edge: SocketAddr,
        number: &str,
        speech: &[u8],
        listen: Duration,
    ) -> Result<Spoken, PhoneError> {
        let talk = Duration::from_millis(speech.len() as u64 / 8) + listen;
        let call = self.whole_call(edge, number, speech, talk);
        tokio::time::timeout(talk + 2 * PATIENCE, call).await.unwrap_or(Err(PhoneError::Late))
    }

    async fn whole_call(
        &mut self,
        edge: SocketAddr,
        number: &str,
        speech: &[u8],
        talk: Duration,
    ) -> Result<Spoken, PhoneError> {
        let rtp = self.voice.local_addr()?;
        let mut negotiator = Negotiator::new(
            LocalMedia {
                address: rtp.ip(),
                port: rtp.port(),
                codecs: vec![Codec::Pcmu],
                telephone_event: true,
                ptime_ms: 20,
            },
            1,
        );
        let began = Instant::now();
        let dialog = self.invite(edge, number, negotiator.offer(Direction::SendRecv))?;
        let answer = self.wait_for_answer(dialog).await?;
        let setup = began.elapsed();
        self.endpoint.acknowledge(Instant::now(), dialog, None);
        self.send_signalling().await?;
        let negotiated = negotiator.handle_answer(&answer)?;
        let mut session = Session::new(Instant::now(), &negotiated, SessionConfig::from_seed(1));
        let mut spoken = self.talk(&mut session, speech, talk).await?;
        spoken.setup = setup;
        self.endpoint.hang_up(Instant::now(), dialog, sip::Headers::new());
        self.wait_until_gone().await?;
        Ok(spoken)
    }

    fn invite(&mut self, edge: SocketAddr, number: &str, offer: Bytes) -> Result<sip::DialogId, PhoneError> {
        let to = sip::Uri::parse(format!("sip:{number}@{edge}"))?;
        let from = sip::NameAddr::new(sip::Uri::parse(format!("sip:+15550123@{}", self.local))?);
        let target = sip::Target { transport: sip::Transport::Udp, address: edge };
        let invite = sip::Invite {
            body: Some(sip::Body::sdp(offer)),
            ..sip::Invite::new(target, to.clone(), from, sip::NameAddr::new(to))
        };
        Ok(self.endpoint.invite(Instant::now(), invite))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a telephone that only calls out waits for three events of many"
    )]
    async fn wait_for_answer(&mut self, dialog: sip::DialogId) -> Result<Bytes, PhoneError> {
        loop {
            match self.next_event().await? {
                Event::Answered { dialog: answered, response } if answered == dialog => {
                    return Ok(response.body());
                }
                Event::Refused { response, .. } => {
                    let status = response.status().map_or(0, sip::StatusCode::code);
                    let reason = response.reason_phrase().unwrap_or_default().into_owned();
                    return Err(PhoneError::Refused { status, reason });
                }
                Event::Failed { failure, .. } => return Err(PhoneError::Failed(failure)),
                _ => {}
            }
        }
    }

    async fn wait_until_gone(&mut self) -> Result<(), PhoneError> {
        loop {
            if let Event::Gone { .. } = self.next_event().await? {
                return Ok(());
            }
        }
    }

    /// Both directions of the voice, beat by beat.
    async fn talk(
        &mut self,
        session: &mut Session,
        speech: &[u8],
        talk: Duration,
    ) -> Result<Spoken, PhoneError> {
        let began = Instant::now();
        let too_long = session.playout().push(SegmentId(1), AudioFormat::Pcmu, speech);
        debug_assert!(too_long.is_ok(), "speech of minutes fits the queue");
        session.playout().finish(SegmentId(1));
        let mut spoken =
            Spoken { setup: Duration::ZERO, first_audio: None, heard: Vec::new(), packets: (0, 0) };
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut packet = vec![0; DATAGRAM_MAX];
        let mut outgoing = [0; media::PACKET_MAX];
        while began.elapsed() < talk {
            tokio::select! {
                received = self.voice.recv_from(&mut packet) => {
                    let (length, from) = received?;
                    let now = Instant::now();
                    if session.handle_rtp(now, from, &packet[..length]).is_ok() {
                        spoken.packets.1 += 1;
                    }
                    while let Some(frame) = session.next_frame(now) {
                        spoken.heard.extend(frame.payload.iter().map(|code| g711::ulaw_to_linear(*code)));
                        let tail = &spoken.heard[spoken.heard.len() - frame.payload.len()..];
                        if spoken.first_audio.is_none() && tail.iter().any(|sample| sample.unsigned_abs() > AUDIBLE as u16) {
                            spoken.first_audio = Some(began.elapsed());
                        }
                    }
                }
                _ = beat.tick() => {
                    if let Some((length, to)) = session.next_packet(Instant::now(), &mut outgoing) {
                        self.voice.send_to(&outgoing[..length], to).await?;
                        spoken.packets.0 += 1;
                    }
                }
                event = next_event(&self.signalling, &mut self.endpoint, self.local) => {
                    if let Event::HungUp { .. } = event? {
                        return Err(PhoneError::HungUp);
                    }
                }
            }
        }
        Ok(spoken)
    }

    async fn next_event(&mut self) -> Result<Event, PhoneError> {
        next_event(&self.signalling, &mut self.endpoint, self.local).await
    }

    async fn send_signalling(&mut self) -> Result<(), PhoneError> {
        send(&self.signalling, &mut self.endpoint).await
    }
}

/// Carries signalling until there is an event. Nothing is lost when it is dropped half way.
async fn next_event(
    socket: &UdpSocket,
    endpoint: &mut sip::Endpoint,
    local: SocketAddr,
) -> Result<Event, PhoneError> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        send(socket, endpoint).await?;
        if let Some(event) = endpoint.poll_event() {
            return Ok(event);
        }
        let wake = endpoint.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, peer) = received?;
                let flow = sip::Flow { transport: sip::Transport::Udp, local, peer, connection: None };
                endpoint.handle_message(Instant::now(), flow, Bytes::copy_from_slice(&buffer[..length]));
            }
            () = sleep_until(wake.into()) => endpoint.handle_timeout(Instant::now()),
        }
    }
}

async fn send(socket: &UdpSocket, endpoint: &mut sip::Endpoint) -> Result<(), PhoneError> {
    while let Some(transmit) = endpoint.poll_transmit() {
        socket.send_to(&transmit.payload, transmit.to).await?;
    }
    Ok(())
}
