//! Anything in any order: SIP from known and unknown sources, facts of workers and engines that fit no state, orders of the
//! API. Nothing panics; every call tells its events without gaps and exactly one last one; when all have let go nothing is left.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use callingedge::call::{
    CallId, Command, Destinations, Dialect, Engine, EngineCommand, EngineFailure, EventBody, Exchange, FIRST_LEG, Fallback, Mode,
    Output, Provider, ProviderKind, Record, RequestId, Settings, Tenant, TransferManner, Trunk, TrunkTarget, UnknownSources,
    VoiceFact, VoiceOrder, VoiceSummary,
};
use libfuzzer_sys::fuzz_target;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fuzz_target!(|data: &[u8]| {
    let mut run = Run::new();
    let mut rest = data;
    while let [input, detail, tail @ ..] = rest {
        rest = tail;
        match input % 8 {
            0 => run.request(*detail),
            1 => run.answer(*detail),
            2 => run.fact(*detail),
            3 => run.engine(*detail),
            4 => run.order(*detail),
            5 => run.pass(Duration::from_millis(u64::from(*detail) * 150)),
            6 => run.replay(*detail),
            _ => {
                let length = usize::from(*detail).min(rest.len());
                run.receive(Bytes::copy_from_slice(&rest[..length]));
                rest = &rest[length..];
            }
        }
        run.carry_out();
    }
    run.end();
});

struct Run {
    exchange: Exchange,
    now: Instant,
    calls: Vec<CallId>,
    open: BTreeMap<CallId, bool>,
    events: BTreeMap<CallId, Vec<EventBody>>,
    received: Vec<Bytes>,
    sent: Vec<Bytes>,
    orders: u64,
    replies: u64,
}

impl Run {
    fn new() -> Self {
        let now = Instant::now();
        let local: SocketAddr = "10.0.0.1:5060".parse().unwrap();
        let config = sip::Config::new("edge", vec![sip::Local::new(sip::Transport::Udp, local)]);
        Self {
            exchange: Exchange::new(now, SystemTime::UNIX_EPOCH, 1, Arc::new(settings()), config),
            now,
            calls: Vec::new(),
            open: BTreeMap::new(),
            events: BTreeMap::new(),
            received: Vec::new(),
            sent: Vec::new(),
            orders: 0,
            replies: 0,
        }
    }

    fn receive(&mut self, wire: Bytes) {
        let source = if self.received.len() % 16 == 15 { "10.9.9.9:5060" } else { "10.0.0.9:5060" };
        self.received.push(wire.clone());
        let flow = sip::Flow {
            transport: sip::Transport::Udp,
            local: "10.0.0.1:5060".parse().unwrap(),
            peer: source.parse().unwrap(),
            connection: None,
        };
        self.exchange.handle_sip(self.now, flow, wire);
    }

    /// A request, in a dialog that the edge has answered where there is one.
    fn request(&mut self, detail: u8) {
        const METHODS: [&str; 8] = ["INVITE", "INVITE", "ACK", "BYE", "CANCEL", "NOTIFY", "REFER", "UPDATE"];
        let method = METHODS[usize::from(detail % 8)];
        let call = detail / 8 % 4;
        let to_tag = self.tag_of(call).map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let to_tag = if detail & 0x80 == 0 && method == "INVITE" { String::new() } else { to_tag };
        let seq = if method == "ACK" || method == "CANCEL" { 1 } else { 1 + u32::from(detail >> 5) };
        let body = match (method, detail & 0x40) {
            ("INVITE" | "UPDATE" | "ACK", 0) => SDP.to_owned(),
            ("NOTIFY", _) => format!("SIP/2.0 {} X\r\n", 100 + u32::from(detail >> 5) * 60),
            _ => String::new(),
        };
        let wire = format!(
            "{method} sip:+15550000@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{call}{seq}{}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@10.0.0.9>;tag=f{call}\r\nTo: <sip:+15550000@10.0.0.1>{to_tag}\r\n\
             Call-ID: c{call}\r\nCSeq: {seq} {method}\r\nContact: <sip:a@10.0.0.9>\r\nEvent: refer\r\n\
             Subscription-State: active\r\nRefer-To: <sip:b@10.0.0.9>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            if method == "ACK" { "ack" } else { "" },
            body.len()
        );
        self.receive(Bytes::from(wire));
    }

    fn tag_of(&self, call: u8) -> Option<String> {
        let wanted = format!("Call-ID: c{call}\r\n");
        let response = self.sent.iter().rev().find(|wire| {
            let text = String::from_utf8_lossy(wire);
            text.starts_with("SIP/2.0") && text.contains(&wanted) && text.contains(";tag=")
        })?;
        let message = sip::Message::parse(response.clone(), sip::Framing::Datagram).ok()?;
        message.to().ok()?.tag().map(str::to_owned)
    }

    /// A response to one of the edge's requests.
    fn answer(&mut self, detail: u8) {
        const STATUSES: [u16; 8] = [100, 180, 183, 200, 200, 486, 503, 401];
        let requests: Vec<&Bytes> = self.sent.iter().filter(|wire| !wire.starts_with(b"SIP/2.0")).collect();
        let Some(wire) = requests.get(usize::from(detail / 8) % requests.len().max(1)) else { return };
        let Ok(request) = sip::Message::parse((*wire).clone(), sip::Framing::Datagram) else { return };
        let status = sip::StatusCode::new(STATUSES[usize::from(detail % 8)]).unwrap();
        let peer = "10.0.0.1:5060".parse().unwrap();
        let mut writer = sip::MessageWriter::response_to(&request, status, peer, Some("far"));
        writer.header(sip::HeaderName::Contact, "<sip:b@10.0.0.9>");
        if status.is_success() && request.method() == Some(sip::Method::Invite) {
            writer.body("application/sdp", SDP);
        }
        let wire = writer.finish();
        self.receive(wire);
    }

    fn call(&self, detail: u8) -> Option<CallId> {
        self.calls.get(usize::from(detail >> 4) % self.calls.len().max(1)).copied()
    }

    fn fact(&mut self, detail: u8) {
        let Some(call) = self.call(detail) else { return };
        let leg = FIRST_LEG;
        let fact = match detail % 10 {
            0 | 1 => VoiceFact::Opened { leg, port: 20_000 },
            2 => VoiceFact::NotOpened { leg, error: "none".into() },
            3 | 4 => VoiceFact::EngineConnected,
            5 => VoiceFact::EngineGone(EngineFailure::Closed { code: Some(1000 + u16::from(detail)) }),
            6 => VoiceFact::Inactive { leg },
            7 => VoiceFact::Announced { leg },
            8 => VoiceFact::Drained,
            _ => VoiceFact::FirstAudio { leg },
        };
        self.exchange.handle_voice(self.now, call, fact);
    }

    fn engine(&mut self, detail: u8) {
        let Some(call) = self.call(detail) else { return };
        let to = || if detail & 8 == 0 { "+15550199".to_owned() } else { "sip:".to_owned() };
        let command = match detail % 8 {
            0 | 1 => EngineCommand::Accept,
            2 => EngineCommand::Reject { status: u16::from(detail) * 4, reason: "\"\r\n".into() },
            3 => EngineCommand::Redirect { to: to() },
            4 => EngineCommand::EarlyMedia,
            5 => EngineCommand::Transfer { id: None, to: to(), reason: None, manner: TransferManner::default() },
            6 => EngineCommand::HangUp { id: None, reason: None, drain: detail & 8 == 0 },
            _ => EngineCommand::Ring,
        };
        self.exchange.handle_voice(self.now, call, VoiceFact::Engine(command));
    }

    fn order(&mut self, detail: u8) {
        let (tenant, provider) = ("acme".into(), "far".into());
        let call = self.call(detail).map(|call| call.to_string()).unwrap_or_default();
        let command = match detail % 4 {
            0 | 1 => {
                let to = if detail & 8 == 0 { "+15550123" } else { "?" };
                let call = serde_json::from_value(serde_json::json!({ "to": to })).unwrap();
                Command::Place { tenant, provider, call: Box::new(call), idempotency: None }
            }
            2 => {
                let body = serde_json::json!({ "call_id": call, "to": { "number": "+15550199" } });
                let Ok(transfer) = serde_json::from_value(body) else { return };
                Command::Transfer { tenant, provider, transfer: Box::new(transfer) }
            }
            _ => {
                let body = serde_json::json!({ "call_id": call, "disposition": "x" });
                let Ok(wrap_up) = serde_json::from_value(body) else { return };
                Command::WrapUp { tenant, provider, wrap_up }
            }
        };
        self.orders += 1;
        self.exchange.handle_command(self.now, RequestId(self.orders), command);
    }

    fn replay(&mut self, detail: u8) {
        if let Some(wire) = self.received.get(usize::from(detail) % self.received.len().max(1)).cloned() {
            self.receive(wire);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.exchange.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.exchange.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = until;
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.exchange.poll_output() {
            match output {
                Output::Transmit(transmit) => self.sent.push(transmit.payload),
                Output::Voice { call, order: VoiceOrder::Open { .. } } => {
                    assert_eq!(self.open.insert(call, true), None, "opened twice");
                    self.calls.push(call);
                }
                Output::Voice { call, order: VoiceOrder::Close(_) } => {
                    assert_eq!(self.open.insert(call, false), Some(true), "closed twice");
                }
                Output::Voice { call, .. } => assert_eq!(self.open.get(&call), Some(&true), "an order after the end"),
                Output::Keep { record: Record::Event { event, .. }, number } => {
                    let body: EventBody = serde_json::from_slice(&event.body).unwrap();
                    self.events.entry(body.call_id).or_default().push(body);
                    self.exchange.handle_durable(number);
                }
                Output::Keep { number, .. } => self.exchange.handle_durable(number),
                Output::Reply { .. } => self.replies += 1,
                Output::DialEngine { .. }
                | Output::Fetch { .. }
                | Output::Publish(_)
                | Output::Forget(_)
                | Output::Health { .. }
                | Output::Drained => {}
            }
        }
    }

    /// All is stopped, workers let go, and time passes.
    fn end(mut self) {
        self.exchange.stop(self.now);
        self.carry_out();
        for call in self.calls.clone() {
            self.exchange.handle_voice(self.now, call, VoiceFact::Closed(VoiceSummary::default()));
        }
        self.carry_out();
        self.pass(Duration::from_secs(300));
        let tally = self.exchange.tally();
        assert_eq!((tally.calls, tally.dialogs, tally.sip.dialogs), (0, 0, 0));
        assert_eq!((tally.sip.client_transactions, tally.sip.server_transactions), (0, 0));
        assert_eq!(self.orders, self.replies);
        for events in self.events.values() {
            for (position, event) in events.iter().enumerate() {
                assert_eq!(event.edge.seq as usize, position + 1);
                assert_eq!(event.is_last(), position + 1 == events.len());
            }
        }
        assert!(self.open.values().all(|open| !open), "a worker still holds a call");
    }
}

fn settings() -> Settings {
    let engine = Arc::new(Engine {
        name: "native".into(),
        url: "ws://10.0.0.5/".into(),
        dialect: Dialect::EdgeV1,
        sample_rate: None,
        headers: Vec::new(),
        parameters: Vec::new(),
        connect_timeout: Duration::from_secs(2),
        accept_timeout: Duration::from_secs(3),
        barge_in: callingedge::call::BargeInPolicy::Engine,
        resume_timeout: Duration::from_secs(5),
        fallback: None,
        idle_timeout: Duration::from_secs(60),
        max_calls: None,
        on_lost: Fallback::HangUp,
    });
    let provider = Provider {
        key: "far".into(),
        kind: ProviderKind::SipTrunk,
        tenant: "acme".into(),
        webhook_url: None,
        trunk: Trunk {
            peers: vec!["10.0.0.9/32".parse().unwrap()],
            names: callingedge::call::TrunkNames::default(),
            targets: vec![TrunkTarget::only(sip::Target {
                transport: sip::Transport::Udp,
                address: "10.0.0.9:5060".parse().unwrap(),
            })],
            register: None,
            domain: None,
            credentials: Some(sip::auth::Credentials { username: "u".into(), password: "p".into() }),
            inbound_auth: callingedge::call::InboundAuth::Address,
            from: Some("+15550000".into()),
            codecs: vec![media::Codec::Pcmu],
            srtp: media::SrtpPolicy::Off,
            rtcp_mux: false,
            srtp_keys: media::SrtpKeying::Sdes,
            dtls: None,
            destinations: Destinations { home: vec!["+1".into()], ..Destinations::default() },
            max_calls: None,
            calls_per_second: None,
            ring_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(5),
            max_duration: Duration::from_secs(60),
            media_timeout: Duration::from_secs(8),
            transfer_timeout: Duration::from_secs(6),
            policy: sip::Policy::default(),
            probe_interval: None,
            follow_redirects: true,
            pass_headers: Vec::new(),
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            numbers_in: callingedge::call::NumberRules::default(),
            numbers_out: callingedge::call::NumberRules::default(),
            has_tls_name: false,
            trust_identity: false,
            identity: callingedge::call::IdentityHeader::None,
            caller_ids: None,
        },
        routes: Vec::new(),
        default_engine: Some("native".into()),
        default_mode: Mode::AiOnly,
        default_handling: Arc::default(),
    };
    Settings {
        sip_host: "10.0.0.1".into(),
        media_address: "10.0.0.1".parse().unwrap(),
        media_bind: "10.0.0.1".parse().unwrap(),
        max_calls: 50,
        max_unsaved: 10_000,
        unknown_sources: UnknownSources::Refuse,
        ban: None,
        drain_limit: Duration::from_secs(10),
        tenants: [("acme".into(), Tenant::default())].into(),
        providers: [("far".into(), Arc::new(provider))].into(),
        engines: [("native".into(), engine)].into(),
        workflows: Default::default(),
        recording: None,
        announcements: Default::default(),
    }
}
