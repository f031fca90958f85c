//! A perfect line between an exchange and a telephone, with everything else noted down.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use callingedge::call::{
    Announcement, Answer, CallId, CallRecord, Command, Destinations, Dialect, Engine, EngineCommand,
    EngineEvent, EventBody, EventKind, Exchange, FIRST_LEG, Fallback, FetchId, Handling, Health, Idempotency,
    Mode, NumberPattern, Output, PlaceCall, Provider, ProviderKind, Record, RecordNumber, RequestId,
    RingGroup, Route, Settings, Tenant, Trunk, TrunkTarget, UnknownSources, VoiceFact, VoiceOrder,
    VoiceSummary, WebRequest, Workflow,
};
use sip::endpoint::Event;
use sip::{Body, DialogId, StatusCode};

pub(crate) const EDGE: &str = "10.0.0.1:5060";
pub(crate) const FAR: &str = "10.0.0.9:5060";
pub(crate) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
                              m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

pub(crate) struct Line {
    pub(crate) now: Instant,
    pub(crate) exchange: Exchange,
    pub(crate) far: sip::Endpoint,
    /// What the telephone heard and nobody has looked at yet.
    pub(crate) heard: VecDeque<Event>,
    /// What is on the wire towards the edge and waits, when the line is cut.
    pub(crate) cut: bool,
    /// REGISTERs that nobody has answered yet; the telephone is no registrar.
    pub(crate) registers: Vec<sip::Message>,
    /// Addresses that nothing reaches.
    pub(crate) dead: Vec<SocketAddr>,
    pub(crate) events: Vec<EventBody>,
    pub(crate) orders: Vec<VoiceOrder>,
    pub(crate) dialled: Vec<(CallId, Arc<Engine>)>,
    pub(crate) fetched: Vec<(FetchId, WebRequest)>,
    pub(crate) shown: Option<Arc<CallRecord>>,
    pub(crate) replies: Vec<(RequestId, RecordNumber, Answer)>,
    pub(crate) health: Vec<Health>,
    pub(crate) newest: RecordNumber,
    pub(crate) drained: bool,
    next_request: u64,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let now = start();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self {
            now,
            exchange: Exchange::new(now, wall, 1, Arc::new(settings), config(EDGE)),
            far: sip::Endpoint::new(config(FAR), 2),
            heard: VecDeque::new(),
            cut: false,
            registers: Vec::new(),
            dead: Vec::new(),
            events: Vec::new(),
            orders: Vec::new(),
            dialled: Vec::new(),
            fetched: Vec::new(),
            shown: None,
            replies: Vec::new(),
            health: Vec::new(),
            newest: RecordNumber::default(),
            drained: false,
            next_request: 0,
        }
    }

    /// Carries everything to where it goes, until nothing is left.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(output) = self.exchange.poll_output() {
                self.note(output);
            } else if let Some(transmit) = self.far.poll_transmit() {
                if !self.cut {
                    self.exchange.handle_sip(self.now, flow(EDGE, FAR), transmit.payload);
                }
            } else if let Some(event) = self.far.poll_event() {
                self.heard.push_back(event);
            } else {
                return;
            }
        }
    }

    pub(crate) fn note(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => {
                if self.cut || self.dead.contains(&transmit.to) {
                } else if transmit.payload.starts_with(b"REGISTER ") {
                    let parsed = sip::Message::parse(transmit.payload, sip::Framing::Datagram);
                    self.registers.push(parsed.unwrap());
                } else {
                    self.far.handle_message(self.now, flow(FAR, EDGE), transmit.payload);
                }
            }
            Output::Voice { order, .. } => self.orders.push(order),
            Output::Fetch { id, request } => self.fetched.push((id, *request)),
            Output::DialEngine { call, engine } => self.dialled.push((call, engine)),
            Output::Keep { number, record } => {
                self.newest = number;
                if let Record::Event { event, .. } = record {
                    self.events.push(serde_json::from_slice(&event.body).unwrap());
                }
            }
            Output::Publish(record) => self.shown = Some(record),
            Output::Reply { to, after, answer } => self.replies.push((to, after, answer)),
            Output::Forget(_) => {}
            Output::Health { health, .. } => self.health.push(health),
            Output::Drained => self.drained = true,
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = [self.exchange.poll_timeout(), self.far.poll_timeout()].into_iter().flatten().min();
            match next.filter(|next| *next <= until) {
                Some(next) => {
                    self.now = self.now.max(next);
                    self.exchange.handle_timeout(self.now);
                    self.far.handle_timeout(self.now);
                    self.settle();
                }
                None => break,
            }
        }
        self.now = until;
    }

    pub(crate) fn kinds(&self) -> Vec<EventKind> {
        self.events.iter().map(|event| event.kind).collect()
    }

    pub(crate) fn last(&self) -> &EventBody {
        self.events.last().unwrap()
    }

    pub(crate) fn call(&self) -> CallId {
        self.shown.as_ref().unwrap().view.call_id
    }

    /// The telephone calls.
    pub(crate) fn ring_edge(&mut self, offer: Option<&str>) -> DialogId {
        self.ring_number("+15550000", offer, Vec::new())
    }

    pub(crate) fn ring_number(
        &mut self,
        number: &str,
        offer: Option<&str>,
        headers: sip::Headers,
    ) -> DialogId {
        let uri = sip::Uri::parse(format!("sip:{number}@10.0.0.1")).unwrap();
        let from = sip::NameAddr::new(sip::Uri::parse("sip:+15550123@10.0.0.9").unwrap());
        let target = sip::Target { transport: sip::Transport::Udp, address: EDGE.parse().unwrap() };
        let invite = sip::Invite {
            headers,
            body: offer.map(|offer| Body::sdp(offer.to_owned())),
            ..sip::Invite::new(target, uri.clone(), from, sip::NameAddr::new(uri))
        };
        let dialog = self.far.invite(self.now, invite);
        self.settle();
        dialog
    }

    pub(crate) fn fact(&mut self, fact: VoiceFact) {
        let call = self.call();
        self.exchange.handle_voice(self.now, call, fact);
        self.settle();
    }

    pub(crate) fn open_port(&mut self) {
        self.fact(VoiceFact::Opened { leg: FIRST_LEG, port: 20_000 });
    }

    pub(crate) fn engine_says(&mut self, command: EngineCommand) {
        self.fact(VoiceFact::Engine(command));
    }

    /// From INVITE to conversation with the engine that decides.
    pub(crate) fn talk(&mut self) -> DialogId {
        let dialog = self.ring_edge(Some(SDP));
        self.open_port();
        self.fact(VoiceFact::EngineConnected);
        self.engine_says(EngineCommand::Accept);
        self.far.acknowledge(self.now, dialog, None);
        self.settle();
        self.heard.clear();
        self.orders.clear();
        dialog
    }

    /// The worker lets go.
    pub(crate) fn close_voice(&mut self) {
        self.fact(VoiceFact::Closed(VoiceSummary::default()));
    }

    pub(crate) fn command(&mut self, command: Command) -> Answer {
        self.next_request += 1;
        self.exchange.handle_command(self.now, RequestId(self.next_request), command);
        self.settle();
        self.replies.last().unwrap().2.clone()
    }

    pub(crate) fn place(&mut self, body: &str, idempotency: Option<(&str, &str)>) -> Answer {
        let call: PlaceCall = serde_json::from_str(body).unwrap();
        let idempotency = idempotency
            .map(|(key, fingerprint)| Idempotency { key: key.into(), fingerprint: fingerprint.into() });
        let (tenant, provider) = ("acme".into(), "far".into());
        self.command(Command::Place { tenant, provider, call: Box::new(call), idempotency })
    }

    /// The status of the final response that the telephone heard.
    pub(crate) fn refusal(&mut self) -> (StatusCode, sip::Message) {
        let refused = self.heard.iter().find_map(|event| match event {
            Event::Refused { response, .. } => Some(response.clone()),
            _ => None,
        });
        let response = refused.expect("a refusal was heard");
        (response.status().unwrap(), response)
    }

    pub(crate) fn has_heard(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.heard.iter().any(wanted)
    }

    /// The telephone's dialog of a call that the edge placed.
    pub(crate) fn invited(&self) -> DialogId {
        let found = self.heard.iter().find_map(|event| match event {
            Event::Invited { dialog, .. } => Some(*dialog),
            _ => None,
        });
        found.expect("the telephone was called")
    }

    /// The description in the INVITE that came to the telephone last.
    pub(crate) fn offered(&self) -> Option<String> {
        let mut invites = self.heard.iter().rev().filter_map(|event| match event {
            Event::Invited { request, .. } => request.session_description().ok().flatten(),
            _ => None,
        });
        invites.next().map(|offer| String::from_utf8_lossy(&offer).into_owned())
    }

    pub(crate) fn told(&self) -> Vec<&EngineEvent> {
        let told = self.orders.iter().filter_map(|order| match order {
            VoiceOrder::Tell(event) => Some(event),
            _ => None,
        });
        told.collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

pub(crate) fn flow(local: &str, peer: &str) -> sip::Flow {
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse().unwrap(), peer.parse().unwrap());
    sip::Flow { transport: sip::Transport::Udp, local, peer, connection: None }
}

pub(crate) fn options_request() -> Bytes {
    Bytes::from_static(
        b"OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKx\r\n\
          Max-Forwards: 70\r\nFrom: <sip:scan@10.9.9.9>;tag=1\r\nTo: <sip:10.0.0.1>\r\nCall-ID: scan\r\n\
          CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
    )
}

fn config(address: &str) -> sip::Config {
    sip::Config::new("line", vec![sip::Local::new(sip::Transport::Udp, address.parse().unwrap())])
}

pub(crate) fn engine(name: &str, dialect: Dialect, on_lost: Fallback) -> Arc<Engine> {
    Arc::new(Engine {
        barge_in: callingedge::call::BargeInPolicy::Engine,
        name: name.into(),
        url: "ws://10.0.0.5/".into(),
        dialect,
        sample_rate: None,
        headers: Vec::new(),
        parameters: vec![("voice".into(), "calm".into())],
        connect_timeout: Duration::from_secs(2),
        accept_timeout: Duration::from_secs(3),
        fallback: None,
        idle_timeout: Duration::from_secs(60),
        max_calls: None,
        resume_timeout: Duration::from_secs(10),
        on_lost,
    })
}

pub(crate) fn settings() -> Settings {
    let announcement = Arc::new(Announcement { name: "sorry".into(), pcmu: vec![0xff; 16_000] });
    let engines = [
        engine("native", Dialect::EdgeV1, Fallback::Announce(announcement.clone())),
        engine("bot", Dialect::Twilio, Fallback::HangUp),
    ];
    let route = |number: &str, engine: &str| Route {
        number: NumberPattern::Exact(number.into()),
        engine: engine.into(),
        mode: Mode::AiFirst,
        handling: Arc::default(),
    };
    let humans = |mode: Mode, ring: RingGroup| {
        let handling = Handling {
            humans: vec!["+15550201".into(), "+15550202".into()],
            ring,
            human_rings: Some(Duration::from_secs(10)),
            human_key: Some(media::Digit::try_from('0').unwrap()),
            human_for_engine: true,
            dispositions: vec!["sold".into(), "call back".into()],
            ..Handling::default()
        };
        Arc::new(Workflow { engine: "native".into(), mode, handling: Arc::new(handling) })
    };
    let workflows = [
        ("desk".to_owned(), humans(Mode::AiFirst, RingGroup::Sequential)),
        ("group".to_owned(), humans(Mode::Routing, RingGroup::Parallel)),
        ("assisted".to_owned(), humans(Mode::Assist, RingGroup::Sequential)),
    ];
    let by_workflow = |number: &str, workflow: &Workflow| Route {
        number: NumberPattern::Exact(number.into()),
        engine: workflow.engine.clone(),
        mode: workflow.mode,
        handling: workflow.handling.clone(),
    };
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
                address: FAR.parse().unwrap(),
            })],
            register: None,
            domain: None,
            credentials: None,
            inbound_auth: callingedge::call::InboundAuth::Address,
            from: Some("+15550000".into()),
            codecs: vec![media::Codec::Pcmu],
            srtp: media::SrtpPolicy::Off,
            srtp_keys: media::SrtpKeying::Sdes,
            dtls: None,
            rtcp_mux: false,
            destinations: Destinations { home: vec!["+1".into()], ..Destinations::default() },
            max_calls: None,
            calls_per_second: None,
            ring_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(5),
            max_duration: Duration::from_secs(3600),
            media_timeout: Duration::from_secs(8),
            transfer_timeout: Duration::from_secs(6),
            policy: sip::Policy::default(),
            probe_interval: None,
            follow_redirects: true,
            pass_headers: vec!["P-Early".into()],
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
            numbers_in: callingedge::call::NumberRules::default(),
            numbers_out: callingedge::call::NumberRules::default(),
            has_tls_name: false,
            trust_identity: false,
            identity: callingedge::call::IdentityHeader::None,
            caller_ids: None,
        },
        routes: vec![
            route("+15550000", "native"),
            route("+15550001", "bot"),
            by_workflow("+15550010", &workflows[0].1),
            by_workflow("+15550020", &workflows[1].1),
            by_workflow("+15550030", &workflows[2].1),
        ],
        default_engine: Some("native".into()),
        default_mode: Mode::AiOnly,
        default_handling: Arc::default(),
    };
    Settings {
        sip_host: "10.0.0.1".into(),
        media_address: "10.0.0.1".parse().unwrap(),
        media_bind: "10.0.0.1".parse().unwrap(),
        max_calls: 10,
        max_unsaved: 1000,
        unknown_sources: UnknownSources::Drop,
        ban: None,
        drain_limit: Duration::from_secs(10),
        tenants: [("acme".into(), Tenant::default())].into(),
        providers: [("far".into(), Arc::new(provider))].into(),
        workflows: workflows.into(),
        recording: None,
        announcements: [("briefing".to_owned(), announcement.clone())].into(),
        engines: engines.into_iter().map(|engine| (engine.name.clone(), engine)).collect(),
    }
}
