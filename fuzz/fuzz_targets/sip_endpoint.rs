//! A peer that sends anything in any order, and an owner that commands anything: nothing panics, what is held stays
//! bounded, every dialog is gone exactly once and last, and after the end nothing is left.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::auth::Credentials;
use sip::endpoint::Event;
use sip::{
    Body, Config, ConnectionId, DialogId, Endpoint, Flow, Framing, HeaderName, Headers, Invite, Ledger,
    Local, Message, MessageWriter, NameAddr, Policy, Recordings, ReliableProvisionals,
    RequestId, SessionTimerMode, SessionTimers, StatusCode, Target, Transport, Uri,
};

fuzz_target!(|data: &[u8]| {
    let mut run = Run::new();
    let mut rest = data;
    while let Some((&input, tail)) = rest.split_first() {
        let (&detail, tail) = tail.split_first().unwrap_or((&0, tail));
        rest = tail;
        match input % 8 {
            0 => run.request(detail),
            1 => run.response(detail),
            2 => run.command(detail),
            3 => run.pass(Duration::from_millis(u64::from(detail) * 100)),
            4 => run.repeat(detail),
            5 => run.disturb(detail),
            6 => {
                let length = usize::from(detail).min(rest.len());
                run.receive(Bytes::copy_from_slice(&rest[..length]));
                rest = &rest[length..];
            }
            _ => run.mutate(detail),
        }
        run.drain();
    }
    run.end();
});

struct Run {
    endpoint: Endpoint,
    now: Instant,
    flow: Flow,
    /// Our tags and Call-IDs as the peer has seen them, and our requests that it could answer.
    seen: Vec<Message>,
    received: Vec<Bytes>,
    dialogs: BTreeMap<DialogId, bool>,
    requests: Vec<RequestId>,
}

impl Run {
    fn new() -> Self {
        let local = SocketAddr::from(([192, 0, 2, 1], 5060));
        let locals = vec![Local::new(Transport::Udp, local), Local::new(Transport::Tcp, local)];
        let peer = SocketAddr::from(([192, 0, 2, 9], 5060));
        Self {
            endpoint: Endpoint::new(Config::new("edge", locals), 1),
            now: Instant::now(),
            flow: Flow { transport: Transport::Udp, local, peer, connection: None },
            seen: Vec::new(),
            received: Vec::new(),
            dialogs: BTreeMap::new(),
            requests: Vec::new(),
        }
    }

    fn receive(&mut self, wire: Bytes) {
        self.received.push(wire.clone());
        self.endpoint.handle_message(self.now, self.flow, wire);
    }

    /// A request of the peer, within a dialog of ours where there is one.
    fn request(&mut self, detail: u8) {
        const METHODS: [&str; 9] =
            ["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "NOTIFY", "INFO", "REFER", "PRACK"];
        const EXTENSIONS: [&str; 4] = [
            "Supported: timer, 100rel\r\nSession-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n",
            "Require: 100rel\r\nAllow: UPDATE, PRACK\r\n",
            "Supported: timer\r\nSession-Expires: 100\r\nMin-SE: 95\r\nRefer-Sub: false\r\n",
            "",
        ];
        let method = METHODS[usize::from(detail % 9)];
        let known = self.seen.get(usize::from(detail / 8) % self.seen.len().max(1));
        let (from, to, call_id) = match known {
            Some(ours) if detail & 64 != 0 => {
                let (near, far) = if ours.method().is_some() {
                    (HeaderName::From, HeaderName::To)
                } else {
                    (HeaderName::To, HeaderName::From)
                };
                let far = text(ours, far);
                let far = if far.contains("tag=") { far } else { format!("{far};tag=theirs") };
                (far, text(ours, near), text(ours, HeaderName::CallId))
            }
            Some(_) | None => {
                ("<sip:a@b>;tag=theirs".into(), "<sip:e@f>".into(), format!("c{}", detail / 32))
            }
        };
        let seq = u32::from(detail / 16) + 1;
        let body = if detail & 128 == 0 { "" } else { "SIP/2.0 200 OK\r\n" };
        let extensions = EXTENSIONS[usize::from(detail / 4 % 4)];
        // The RAck of the latest reliable response of ours, where there is one.
        let rseq = self.seen.iter().rev().find_map(|ours| ours.rseq().ok().flatten()).unwrap_or(1);
        let invite = self.seen.iter().rev().find(|ours| ours.rseq().is_ok_and(|rseq| rseq.is_some()));
        let invite = invite.and_then(|ours| Some(ours.cseq().ok()?.number)).unwrap_or(1);
        let state = if detail & 32 == 0 { "active" } else { "terminated" };
        self.receive(
            format!(
                "{method} sip:e@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{seq}{}\r\n\
                 From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {seq} {method}\r\nMax-Forwards: 9\r\n\
                 Contact: <sip:a@192.0.2.9>\r\nEvent: refer\r\nSubscription-State: {state}\r\n\
                 Refer-To: <sip:x@y>\r\nRAck: {rseq} {invite} INVITE\r\n{extensions}\
                 Content-Length: {}\r\n\r\n{body}",
                if method == "CANCEL" || method == "ACK" { "INVITE" } else { method },
                body.len()
            )
            .into(),
        );
    }

    /// A response to one of our requests.
    fn response(&mut self, detail: u8) {
        const CODES: [u16; 12] = [100, 180, 183, 200, 202, 422, 401, 407, 481, 486, 491, 408];
        let requests: Vec<_> = self.seen.iter().filter(|message| message.method().is_some()).collect();
        let Some(request) = requests.get(usize::from(detail / 12) % requests.len().max(1)) else { return };
        let status = StatusCode::new(CODES[usize::from(detail % 12)]).expect("a code");
        let tag = ["one", "two"][usize::from(detail & 1)];
        let mut writer = MessageWriter::response_to(request, status, self.flow.local, Some(tag));
        writer.header(HeaderName::Contact, "<sip:far@192.0.2.9>").header(
            HeaderName::WwwAuthenticate,
            format_args!("Digest realm=\"r\", nonce=\"{detail}\", stale=true"),
        );
        writer.header(HeaderName::Allow, "UPDATE, PRACK");
        if detail & 2 != 0 {
            writer.header(HeaderName::SessionExpires, "90;refresher=uac").header(HeaderName::MinSe, detail);
        }
        if detail & 4 != 0 {
            writer.header(HeaderName::Require, "100rel").header(HeaderName::RSeq, detail / 64 + 1);
            writer.body("application/sdp", "v=0");
        }
        let wire = writer.finish();
        self.receive(wire);
    }

    fn repeat(&mut self, detail: u8) {
        if let Some(wire) = self.received.get(usize::from(detail) % self.received.len().max(1)) {
            self.endpoint.handle_message(self.now, self.flow, wire.clone());
        }
    }

    fn mutate(&mut self, detail: u8) {
        let Some(wire) = self.received.last() else { return };
        let mut bytes = wire.to_vec();
        if !bytes.is_empty() {
            let at = usize::from(detail) * 7 % bytes.len();
            bytes[at] = detail;
        }
        self.receive(bytes.into());
    }

    fn disturb(&mut self, detail: u8) {
        match detail % 4 {
            0 => self.endpoint.handle_send_failure(self.now, Transport::Udp, self.flow.peer),
            1 => self.endpoint.handle_connection_lost(self.now, ConnectionId(1)),
            2 => {
                self.flow =
                    Flow { transport: Transport::Tcp, connection: Some(ConnectionId(1)), ..self.flow };
            }
            _ => self.flow = Flow { transport: Transport::Udp, connection: None, ..self.flow },
        }
    }

    fn command(&mut self, detail: u8) {
        let now = self.now;
        let body = (detail & 64 == 0).then(|| Body::sdp("v=0"));
        if detail % 16 == 0 {
            let name = |text: &str| NameAddr::new(Uri::parse(text).expect("a URI"));
            let target = Target { transport: self.flow.transport, address: self.flow.peer };
            let far = name("sip:far@192.0.2.9");
            let invite = Invite::new(target, far.uri().clone(), name("sip:e@192.0.2.1"), far);
            let credentials = Some(Credentials { username: "u".into(), password: "p".into() });
            let timer_b = (detail & 32 != 0).then(|| Duration::from_secs(1));
            let policy = policy(detail);
            let dialog = self.endpoint.invite(now, Invite { body, credentials, timer_b, policy, ..invite });
            self.dialogs.insert(dialog, false);
            return;
        }
        let known = self.dialogs.keys().nth(usize::from(detail / 16) % self.dialogs.len().max(1));
        let dialog = known.copied().unwrap_or(DialogId(u64::from(detail)));
        let endpoint = &mut self.endpoint;
        match detail % 16 {
            1 => endpoint.ring(now, dialog, StatusCode::RINGING, Headers::new(), body),
            2 | 3 => endpoint.accept(now, dialog, Headers::new(), body),
            4 => endpoint.refuse(now, dialog, StatusCode::BUSY_HERE, Headers::new()),
            5 | 6 => endpoint.acknowledge(now, dialog, body),
            7 => endpoint.hang_up(now, dialog, Headers::new()),
            8 | 9 => endpoint.reinvite(now, dialog, Headers::new(), body),
            10 => {
                let to = NameAddr::new(Uri::parse("sip:x@y").expect("a URI"));
                endpoint.refer(now, dialog, &to, Headers::new());
            }
            11 => endpoint.info(now, dialog, Headers::new(), body),
            12 => {
                if let Some(id) = self.requests.pop() {
                    endpoint.respond(now, id, StatusCode::OK, Headers::new(), body);
                }
            }
            13 => {
                if let Some(id) = self.requests.last().copied() {
                    let status = if detail & 32 == 0 { StatusCode::RINGING } else { StatusCode::OK };
                    endpoint.accept_refer(now, id);
                    endpoint.refer_progress(now, dialog, id, status);
                }
            }
            14 => {
                if let Some(id) = self.requests.pop() {
                    endpoint.discard(id);
                }
            }
            15 if detail & 64 != 0 => endpoint.update(now, dialog, Headers::new(), Body::sdp("v=1")),
            _ => endpoint.respond(now, RequestId(u64::from(detail)), StatusCode::OK, Headers::new(), None),
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let message = Message::parse(transmit.payload, Framing::Stream).expect("what we send is SIP");
            if message.method().is_some() {
                message.check().expect("what we ask is well formed");
            }
            if self.seen.len() < 64 {
                self.seen.push(message);
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            match &event {
                Event::Invited { dialog, request, .. } => {
                    self.dialogs.insert(*dialog, false);
                    let _ = self.endpoint.replaced(request);
                    let detail = u8::try_from(request.body().len() % 251).unwrap_or_default();
                    let _ = self.endpoint.set_policy(self.now, *dialog, policy(detail));
                }
                Event::Progress { dialog, response } => {
                    self.endpoint.prack(self.now, *dialog, response, Some(Body::sdp("v=0")));
                }
                Event::Gone { dialog } => {
                    assert_eq!(self.dialogs.insert(*dialog, true), Some(false), "gone twice or never there");
                }
                Event::Referred { id, .. }
                | Event::Info { id, .. }
                | Event::Notified { id, .. }
                | Event::EarlyOffer { id, .. }
                | Event::Request { id, .. } => self.requests.push(*id),
                _ => {}
            }
        }
    }

    fn end(mut self) {
        for dialog in self.dialogs.keys().copied().collect::<Vec<_>>() {
            self.endpoint.hang_up(self.now, dialog, Headers::new());
        }
        // An INVITE whose other side only ever rang is given up 64·T1 after its CANCEL, a BYE 64·T1 after that.
        for _ in 0..4 {
            self.pass(Duration::from_secs(200));
        }
        assert!(self.dialogs.values().all(|gone| *gone), "{:?}", self.dialogs);
        assert_eq!(self.endpoint.ledger(), Ledger::default());
        assert_eq!(self.endpoint.poll_timeout(), None);
    }
}

fn text(message: &Message, name: HeaderName) -> String {
    message.header(name).map(|value| value.text().into_owned()).unwrap_or_default()
}

/// Any policy.
fn policy(detail: u8) -> Policy {
    let mode = [SessionTimerMode::Off, SessionTimerMode::Accept, SessionTimerMode::Ask][usize::from(detail % 3)];
    let reliable_provisionals =
        [ReliableProvisionals::Off, ReliableProvisionals::Supported, ReliableProvisionals::Required]
            [usize::from(detail / 3 % 3)];
    let expires = Duration::from_secs(90);
    let session_timers = SessionTimers { mode, expires, ..SessionTimers::default() };
    let recordings = if detail < 128 { Recordings::Refused } else { Recordings::Taken };
    Policy { session_timers, reliable_provisionals, recordings }
}
