//! The telephones of a load: any number of calls from one SIP socket, each with an RTP socket of its own.
//!
//! ```text
//!   [Calling] -- 200 --> [Talking] -- hold is over, or told to --> BYE --> gone
//!       |                    +-- BYE of the edge: a trouble ------------> gone
//!       +-- refused, failed: a trouble ---------------------------------> gone
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Codec, Direction, LocalMedia, Negotiator};
use sip::DialogId;
use sip::endpoint::Event;

use super::arrival::{receive, stamp_arrivals, wall};
use super::pace::Pace;
use super::stamp::FRAME;
use super::window::{Counting, Receiver, Sender, Way, Window};
use super::{Poller, Talk, Token};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Bytes before a frame in a packet.
const RTP_HEADER: usize = 12;
/// PCMU in RTP (RFC 3551 §6).
const PAYLOAD_TYPE: u8 = 0;
/// Sockets tried for one whose neighbour is free as well.
const ATTEMPTS: usize = 64;

/// All telephones.
pub(super) struct Callers {
    endpoint: sip::Endpoint,
    signalling: UdpSocket,
    local: SocketAddr,
    edge: SocketAddr,
    talk: Talk,
    calls: Vec<Option<Call>>,
    vacant: Vec<usize>,
    by_dialog: HashMap<DialogId, usize>,
    talking: usize,
    /// Who hangs up when, in order.
    holds: VecDeque<(Instant, DialogId)>,
    hold: Option<Duration>,
    pace: Pace,
    /// What calls without audio give as their address; nobody reads it.
    sink: UdpSocket,
    buffer: Box<[u8; DATAGRAM_MAX]>,
}

struct Call {
    asked: u64,
    negotiator: Negotiator,
    voice: Option<Voice>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Talking,
    Leaving,
}

struct Voice {
    rtp: UdpSocket,
    /// Reports come here; nobody reads them.
    _rtcp: UdpSocket,
    packet: [u8; RTP_HEADER + FRAME],
    beat: u32,
    sender: Sender,
    receiver: Receiver,
}

impl Callers {
    pub(super) fn new(edge: SocketAddr, talk: Talk, seed: u64, poller: &Poller) -> io::Result<Self> {
        let signalling = UdpSocket::bind((LOOPBACK, 0))?;
        signalling.set_nonblocking(true)?;
        stamp_arrivals(&signalling)?;
        poller.watch(&signalling, Token::Signalling)?;
        let local = signalling.local_addr()?;
        let config = sip::Config::new("callingedge-load", vec![sip::Local::new(sip::Transport::Udp, local)]);
        Ok(Self {
            endpoint: sip::Endpoint::new(config, seed),
            signalling,
            local,
            edge,
            talk,
            calls: Vec::new(),
            vacant: Vec::new(),
            by_dialog: HashMap::new(),
            talking: 0,
            holds: VecDeque::new(),
            hold: None,
            pace: Pace::new(),
            sink: UdpSocket::bind((LOOPBACK, 0))?,
            buffer: Box::new([0; DATAGRAM_MAX]),
        })
    }

    /// Calls that are answered hang up after so long; never by themselves when not given.
    pub(super) fn hold_for(&mut self, hold: Option<Duration>) {
        self.hold = hold;
    }

    /// Calls in conversation.
    pub(super) fn talking(&self) -> usize {
        self.talking
    }

    /// Calls that are not over.
    pub(super) fn calls(&self) -> usize {
        self.by_dialog.len()
    }

    /// Sends one INVITE.
    pub(super) fn place(&mut self, now: Instant, poller: &Poller, counting: &mut Counting) -> io::Result<()> {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        let voice = match self.talk {
            Talk::Both => Some(Voice::open(index, poller)?),
            Talk::Nobody => None,
        };
        let rtp = voice.as_ref().map_or(&self.sink, |voice| &voice.rtp);
        let media = LocalMedia {
            address: LOOPBACK,
            port: rtp.local_addr()?.port(),
            codecs: vec![Codec::Pcmu],
            telephone_event: true,
            ptime_ms: 20,
        };
        let mut negotiator = Negotiator::new(media, index as u64);
        let asked = wall();
        let Some(invite) = self.invite(negotiator.offer(Direction::SendRecv)) else {
            return Err(io::Error::other("the edge's address makes no URI"));
        };
        let dialog = self.endpoint.invite(now, invite);
        self.calls[index] = Some(Call { asked, negotiator, voice, state: State::Calling });
        self.by_dialog.insert(dialog, index);
        counting.window.placed += 1;
        self.transmit();
        Ok(())
    }

    /// All calls that talk hang up.
    pub(super) fn hang_up_all(&mut self, now: Instant) {
        let talking: Vec<DialogId> = self.by_dialog.keys().copied().collect();
        for dialog in talking {
            self.hang_up(now, dialog);
        }
    }

    /// Sends the packets of one slot.
    pub(super) fn speak(&mut self, slot: usize, counting: &mut Counting) {
        for place in 0..self.pace.flows(slot) {
            let Some(flow) = self.pace.flow(slot, place) else { continue };
            if let Some(Call { voice: Some(voice), state: State::Talking, .. }) = &mut self.calls[flow] {
                voice.speak(counting);
            }
        }
    }

    /// How many packets a slot has.
    pub(super) fn flows(&self, slot: usize) -> usize {
        self.pace.flows(slot)
    }

    /// Takes all that came to a call's RTP socket.
    pub(super) fn hear(&mut self, index: usize, counting: &mut Counting) {
        let Some(Some(Call { voice: Some(voice), .. })) = self.calls.get_mut(index) else { return };
        let mut packet = [0; RTP_HEADER + FRAME];
        // Level-triggered: what is left is told again.
        let Ok((length, arrived)) = receive(&voice.rtp, &mut packet) else { return };
        if length == packet.len() && packet[1] & 0x7F == PAYLOAD_TYPE {
            voice.receiver.take(&packet[RTP_HEADER..], arrived, counting, down);
        }
    }

    /// Takes all signalling that came.
    pub(super) fn signalled(&mut self, counting: &mut Counting) {
        while let Ok((length, arrived)) = receive(&self.signalling, &mut self.buffer[..]) {
            let (local, peer) = (self.local, self.edge);
            let flow = sip::Flow { transport: sip::Transport::Udp, local, peer, connection: None };
            let message = Bytes::copy_from_slice(&self.buffer[..length]);
            self.endpoint.handle_message(Instant::now(), flow, message);
            self.follow(arrived, counting);
        }
    }

    /// What time brings.
    pub(super) fn look(&mut self, now: Instant, counting: &mut Counting) {
        while self.holds.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, dialog)) = self.holds.pop_front() else { break };
            self.hang_up(now, dialog);
        }
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
            self.follow(wall(), counting);
        }
    }

    fn hang_up(&mut self, now: Instant, dialog: DialogId) {
        let Some(call) = self.by_dialog.get(&dialog).and_then(|index| self.calls[*index].as_mut()) else {
            return;
        };
        self.talking -= usize::from(call.state == State::Talking);
        call.state = State::Leaving;
        self.endpoint.hang_up(now, dialog, sip::Headers::new());
        self.transmit();
    }

    fn invite(&self, offer: Bytes) -> Option<sip::Invite> {
        let to = sip::Uri::parse(format!("sip:+18005551234@{}", self.edge)).ok()?;
        let from = sip::NameAddr::new(sip::Uri::parse(format!("sip:+15550123@{}", self.local)).ok()?);
        let target = sip::Target { transport: sip::Transport::Udp, address: self.edge };
        Some(sip::Invite {
            body: Some(sip::Body::sdp(offer)),
            ..sip::Invite::new(target, to.clone(), from, sip::NameAddr::new(to))
        })
    }

    /// Carries out what the endpoint wants, and follows what it tells.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "telephones that only call out meet few events of many"
    )]
    fn follow(&mut self, arrived: u64, counting: &mut Counting) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Answered { dialog, response } => self.answered(arrived, dialog, &response, counting),
                Event::Refused { response, .. } => {
                    let status = response.status().map_or(0, sip::StatusCode::code);
                    let reason = response.reason_phrase().unwrap_or_default().into_owned();
                    counting.trouble(format!("a call was refused: {status} {reason}"));
                }
                Event::Failed { failure, .. } => counting.trouble(format!("a call failed: {failure}")),
                Event::HungUp { dialog, request } => {
                    let reason =
                        request.header(sip::HeaderName::Reason).map(|reason| reason.text().into_owned());
                    counting.trouble(format!("the edge hung up: {}", reason.unwrap_or_default()));
                    self.leave(dialog);
                }
                Event::Gone { dialog } => self.forget(dialog),
                _ => {}
            }
        }
        self.transmit();
    }

    fn answered(&mut self, arrived: u64, dialog: DialogId, response: &sip::Message, counting: &mut Counting) {
        let now = Instant::now();
        self.endpoint.acknowledge(now, dialog, None);
        let Some(index) = self.by_dialog.get(&dialog).copied() else { return };
        let Some(call) = self.calls[index].as_mut().filter(|call| call.state == State::Calling) else {
            return;
        };
        counting.window.set_up.count(Duration::from_nanos(arrived.saturating_sub(call.asked)));
        call.state = State::Talking;
        self.talking += 1;
        if let Some(hold) = self.hold {
            self.holds.push_back((now + hold, dialog));
        }
        let Some(voice) = &call.voice else { return };
        match call.negotiator.handle_answer(&response.body()) {
            Ok(agreed) if voice.rtp.connect(agreed.rtp).is_ok() => self.pace.add(index),
            Ok(agreed) => counting.trouble(format!("no way to the edge's RTP address {}", agreed.rtp)),
            Err(error) => counting.trouble(format!("the edge's answer cannot be used: {error}")),
        }
    }

    fn leave(&mut self, dialog: DialogId) {
        let Some(call) = self.by_dialog.get(&dialog).and_then(|index| self.calls[*index].as_mut()) else {
            return;
        };
        self.talking -= usize::from(call.state == State::Talking);
        call.state = State::Leaving;
    }

    fn forget(&mut self, dialog: DialogId) {
        self.leave(dialog);
        let Some(index) = self.by_dialog.remove(&dialog) else { return };
        if self.calls[index].take().is_some_and(|call| call.voice.is_some()) {
            self.pace.remove(index);
        }
        self.vacant.push(index);
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            // What is not sent is sent again: SIP over UDP.
            let _lost = self.signalling.send_to(&transmit.payload, transmit.to);
        }
    }
}

impl Voice {
    fn open(index: usize, poller: &Poller) -> io::Result<Self> {
        let (rtp, rtcp) = pair()?;
        rtp.set_nonblocking(true)?;
        stamp_arrivals(&rtp)?;
        poller.watch(&rtp, Token::Rtp(index))?;
        let mut packet = [media::g711::ULAW_SILENCE; RTP_HEADER + FRAME];
        packet[..RTP_HEADER].fill(0);
        packet[0] = 0x80;
        packet[8..RTP_HEADER].copy_from_slice(&(index as u32 + 1).to_be_bytes());
        Ok(Self {
            rtp,
            _rtcp: rtcp,
            packet,
            beat: 0,
            sender: Sender::new(index),
            receiver: Receiver::default(),
        })
    }

    fn speak(&mut self, counting: &mut Counting) {
        // Only the first packet of a stream carries the marker (RFC 3551 §4.1).
        self.packet[1] = PAYLOAD_TYPE | if self.beat == 0 { 0x80 } else { 0 };
        self.packet[2..4].copy_from_slice(&(self.beat as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.beat.wrapping_mul(FRAME as u32).to_be_bytes());
        self.beat = self.beat.wrapping_add(1);
        self.sender.stamp(wall(), counting, up).write(&mut self.packet[RTP_HEADER..]);
        // What the kernel does not take is a lost frame, and counted as one.
        let _lost = self.rtp.send(&self.packet);
    }
}

/// RTP on a port of the system's choice, RTCP on the next one.
fn pair() -> io::Result<(UdpSocket, UdpSocket)> {
    let mut failure = io::Error::other("no pair of UDP ports is free");
    for _ in 0..ATTEMPTS {
        let rtp = UdpSocket::bind((LOOPBACK, 0))?;
        let Some(next) = rtp.local_addr()?.port().checked_add(1) else { continue };
        match UdpSocket::bind((LOOPBACK, next)) {
            Ok(rtcp) => return Ok((rtp, rtcp)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn up(window: &mut Window) -> &mut Way {
    &mut window.up
}

fn down(window: &mut Window) -> &mut Way {
    &mut window.down
}
