//! Calls that share one socket with their engine node (`edge.mux.v1`), on real sockets.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a shell is tested on sockets")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

#[path = "support/voice_rig.rs"]
mod voice_rig;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callingedge::bridge::{Batch, CallNumber, FrameHeader, records};
use callingedge::call::{
    CallId, Dialect, EndReason, Engine, EngineCommand, EngineEvent, EngineFailure, VoiceFact, VoiceOrder,
};
use callingedge::worker::EngineWatch;
use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Error, Message, WebSocket};
use voice_rig::{FarEnd, LOOPBACK, PATIENCE, Rig, call, config, engine_at, speech};

#[test]
fn three_calls_speak_on_one_socket_each_bit_by_bit() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 3);
    let said: Vec<Vec<u8>> =
        (0..3).map(|number| speech(160 * 50).iter().map(|byte| byte ^ number).collect()).collect();

    for beat in 0..50 {
        for (end, said) in ends.iter_mut().zip(&said) {
            end.say(&said[beat * 160..][..160]);
        }
    }
    for (number, said) in (1..).zip(&said) {
        node.say_audio(number, 1, said);
    }

    for (number, said) in (1..).zip(&said) {
        assert_eq!(node.hear(number, said.len()), *said, "to the engine, call {number}");
    }
    for (end, said) in ends.iter().zip(&said) {
        assert_eq!(end.hear(&said[..160], said.len()), *said, "to the caller");
    }
    for number in 1..=3 {
        let summary = rig.close(call(number));
        assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (50, 0));
        assert!(summary.edge_p99_ms.is_some_and(|ms| ms < 60.0), "{summary:?}");
    }
    assert_eq!(node.sockets_opened(), 1);
}

/// What comes within 20 ms goes out together, in the order it came.
#[test]
fn frames_of_one_beat_travel_in_one_message() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 3);

    for _ in 0..50 {
        ends.iter_mut().for_each(|end| end.say(&speech(160)));
        std::thread::sleep(Duration::from_millis(20));
    }

    (1..=3).for_each(|number| drop(node.hear(number, 160 * 50)));
    assert!((45..=56).contains(&node.batches), "{} batches for 150 frames", node.batches);
}

#[test]
fn one_call_ends_and_the_others_go_on() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 3);

    ends[1].say(&speech(160));
    assert_eq!(node.hear(2, 160), speech(160));
    rig.close(call(2));

    assert_eq!(node.until(2, "stop")["reason"], "remote_hung_up");
    assert_eq!(node.until(2, "close")["code"], 1000);
    // Under way when the call ended: thrown away, and no mistake.
    for _ in 0..60 {
        node.say_audio(2, 1, &[9; 160]);
    }
    for (place, number) in [(0, 1), (2, 3)] {
        ends[place].say(&speech(160));
        assert_eq!(node.hear(number, 160), speech(160));
        node.say_audio(number, 1, &speech(480));
        assert_eq!(ends[place].hear(&speech(160), 480), speech(480));
    }
    join(&mut rig, &node, 4);
    rig.order(call(4), VoiceOrder::Tell(EngineEvent::Start(Box::new(voice_rig::start(call(4))))));
    assert_eq!(node.until(4, "start")["call_id"], call(4).to_string(), "numbers are not used again");
    assert_eq!(node.sockets_opened(), 1);
}

#[test]
fn a_call_that_nobody_knows_is_told_and_harms_no_other() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 2);

    node.say(77, &json!({ "type": "mark", "name": "m" }));
    assert_eq!(node.until(77, "error")["code"], "call.unknown");
    node.say_audio(78, 1, &[9; 160]);
    assert_eq!(node.until(78, "error")["code"], "call.unknown");
    node.say_raw(r#"{"type":"mark","name":"m","id":"x"}"#);
    let told = node.until(0, "error");
    assert_eq!(
        (&told["code"], &told["re"], &told["call"]),
        (&json!("message.field"), &json!("x"), &json!(null))
    );
    node.say_raw("{");
    assert_eq!(node.until(0, "error")["code"], "message.not_json");
    for (message, code) in [(vec![1; 16], "frame.kind"), (vec![2; 3], "frame.short")] {
        node.socket().send(Message::binary(message)).unwrap();
        assert_eq!(node.until(0, "error")["code"], code);
    }
    let mut cut = Batch::new(Instant::now());
    cut.add(CallNumber(1), &audio_frame(1, &speech(160)));
    let cut = cut.take(Instant::now()).unwrap();
    node.socket().send(Message::binary(cut.slice(..cut.len() - 1))).unwrap();
    assert_eq!(node.until(0, "error")["code"], "frame.batch");
    rig.close(call(2));
    node.until(2, "close");
    node.say(2, &json!({ "type": "mark", "name": "late" }));
    assert_eq!(node.until(2, "error")["code"], "call.ended");

    ends[0].say(&speech(160));
    assert_eq!(node.hear(1, 160), speech(160));
    node.say(1, &json!({ "type": "nonsense", "id": "n" }));
    let told = node.until(1, "error");
    assert_eq!((&told["code"], &told["re"]), (&json!("message.unknown_type"), &json!("n")));
}

#[test]
fn fifty_mistakes_in_a_row_cost_a_call_its_engine_and_those_of_nobody_the_socket() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let _ends = answered(&mut rig, &mut node, 3);

    for _ in 0..50 {
        node.say(2, &json!({ "type": "nonsense" }));
    }
    let failure = gone(&mut rig, 2);
    assert!(matches!(failure, EngineFailure::Protocol(_)), "{failure:?}");
    assert_eq!(node.until(2, "close")["code"], 1008);
    for _ in 0..50 {
        node.say_raw("{");
    }

    for number in [1, 3] {
        let failure = gone(&mut rig, number);
        assert!(matches!(failure, EngineFailure::Protocol(_)), "{failure:?}");
    }
    assert_eq!(node.closed(), Some(1007));
}

#[test]
fn a_socket_that_dies_is_dialled_once_and_every_call_goes_on_over_the_new_one() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 3);
    for number in 1..=3 {
        node.say(u32::from(number), &json!({ "type": "accept", "resume": true }));
        accepted(&mut rig, number);
    }
    let said = speech(160 * 40);
    for (number, end) in (1..).zip(&mut ends) {
        end.say(&said[..160]);
        assert_eq!(node.hear(number, 160), said[..160]);
    }

    node.cut();
    for number in 1..=3 {
        let failure = rig.until(call(number), |fact| match fact {
            VoiceFact::EngineAway(failure) => Some(failure.clone()),
            _ => None,
        });
        assert!(matches!(failure, EngineFailure::Broken(_)), "{failure:?}");
    }
    for frame in said[160..].chunks(160) {
        ends.iter_mut().for_each(|end| end.say(frame));
    }
    join_all(&mut rig, &mut node, &[1, 2, 3]);
    for number in 1..=3 {
        let start = Box::new(voice_rig::start(call(number)));
        rig.order(call(number), VoiceOrder::ResumeEngine { start, away: Duration::from_millis(20) });
        let number = u32::from(number);
        assert_eq!(node.until(number, "resume")["token"], "secret");
        node.say(number, &json!({ "type": "accept", "heard": { "audio": [{ "track": 0, "seq": 0 }] } }));
    }

    for number in 1..=3 {
        assert_eq!(node.hear(number, said.len() - 160), said[160..], "call {number}");
    }
    assert_eq!(node.sockets_opened(), 2);
    let summary = rig.close(call(1));
    assert_eq!((summary.frames_to_engine, summary.frames_to_engine_dropped), (40, 0));
}

#[test]
fn a_call_that_cannot_resume_has_lost_its_engine_with_the_socket() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let ends = answered(&mut rig, &mut node, 2);

    node.cut();

    for (number, end) in (1..).zip(&ends) {
        let failure = gone(&mut rig, number);
        assert!(matches!(failure, EngineFailure::Broken(_)), "{failure:?}");
        assert_eq!(end.next().len(), 160, "the leg lives on");
    }
}

#[test]
fn an_engine_gives_up_one_call_by_close_and_may_have_it_back_on_the_same_socket() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 2);
    node.say(1, &json!({ "type": "accept", "resume": true }));
    accepted(&mut rig, 1);

    node.say(1, &json!({ "type": "close", "code": 1012 }));
    let failure = rig.until(call(1), |fact| match fact {
        VoiceFact::EngineAway(failure) => Some(failure.clone()),
        _ => None,
    });
    assert_eq!(failure, EngineFailure::Closed { code: Some(1012) });
    ends[0].say(&speech(160));
    join(&mut rig, &node, 1);
    let start = Box::new(voice_rig::start(call(1)));
    rig.order(call(1), VoiceOrder::ResumeEngine { start, away: Duration::from_millis(20) });

    assert_eq!(node.until(3, "resume")["start"]["call_id"], call(1).to_string());
    node.say(3, &json!({ "type": "accept" }));
    assert_eq!(node.hear(3, 160), speech(160));
    ends[1].say(&speech(160));
    assert_eq!(node.hear(2, 160), speech(160));
    assert_eq!(node.sockets_opened(), 1);
}

#[test]
fn a_node_that_does_not_read_loses_frames_of_each_call_and_then_all_calls() {
    let watch = EngineWatch { stall_timeout: Duration::from_millis(1_500), ..EngineWatch::default() };
    let mut rig = Rig::new(callingedge::worker::WorkerConfig { watch, ..config() });
    let mut node = Node::listen();
    let mut ends = answered(&mut rig, &mut node, 2);

    let began = Instant::now();
    let mut lost = Vec::new();
    while lost.len() < 2 && began.elapsed() < Duration::from_secs(20) {
        for _ in 0..100 {
            ends.iter_mut().for_each(|end| end.say(&speech(160)));
        }
        std::thread::sleep(Duration::from_millis(5));
        while let Ok((of, fact)) = rig.facts.try_recv() {
            if let VoiceFact::EngineGone(EngineFailure::Stalled) = fact {
                lost.push(of);
            }
        }
    }

    lost.sort();
    assert_eq!(lost, [call(1), call(2)]);
    for number in 1..=2 {
        let summary = rig.close(call(number));
        assert!(summary.frames_to_engine_dropped > 0, "{summary:?}");
        assert!(summary.frames_to_engine > 0, "{summary:?}");
    }
}

#[test]
fn a_socket_without_calls_is_closed_after_a_while_and_dialled_anew() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    node.engine =
        Arc::new(Engine { idle_timeout: Duration::from_millis(300), ..Engine::clone(&node.engine) });
    let _ends = answered(&mut rig, &mut node, 2);
    rig.close(call(1));
    node.until(1, "close");
    std::thread::sleep(Duration::from_millis(600));
    rig.close(call(2));
    let left = Instant::now();

    assert_eq!(node.closed(), Some(1000));

    assert!(left.elapsed() >= Duration::from_millis(250), "{:?}", left.elapsed());
    join_all(&mut rig, &mut node, &[3]);
    assert_eq!(node.sockets_opened(), 2);
}

#[test]
fn a_worker_that_stops_tells_every_call_and_closes_the_socket_in_order() {
    let mut rig = Rig::new(config());
    let mut node = Node::listen();
    let _ends = answered(&mut rig, &mut node, 2);
    let Rig { workers, .. } = rig;

    let stopping = std::thread::spawn(move || workers.shutdown());

    assert_eq!(node.until(1, "stop")["reason"], "edge_shutdown");
    assert_eq!(node.until(2, "stop")["reason"], "edge_shutdown");
    assert_eq!(node.closed(), Some(1000));
    stopping.join().unwrap();
}

#[test]
fn an_engine_that_orders_without_end_is_heard_as_far_as_the_call_can_follow() {
    let mut rig = Rig::with_facts(config(), 8);
    let mut node = Node::listen();
    let _ends = answered(&mut rig, &mut node, 2);

    for _ in 0..400 {
        node.say(1, &json!({ "type": "ring" }));
    }

    assert_eq!(node.until(1, "error")["code"], "call.busy");
    node.say(2, &json!({ "type": "mark", "name": "other" }));
    assert_eq!(node.until(2, "mark")["result"], "played");
    rig.order(call(1), VoiceOrder::DismissEngine(EndReason::EngineLost));
    node.until(1, "close");
}

/// The engine's end of shared sockets: one that listens, and the socket that was accepted last.
struct Node {
    listener: TcpListener,
    engine: Arc<Engine>,
    socket: Option<WebSocket<TcpStream>>,
    opened: usize,
    batches: usize,
    audio: BTreeMap<u32, Vec<u8>>,
    messages: Vec<Value>,
    close: Option<Option<u16>>,
}

impl Node {
    fn listen() -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 8 << 10).unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let engine = Arc::new(engine_at(url, Dialect::EdgeMuxV1));
        let (audio, messages) = (BTreeMap::new(), Vec::new());
        Self { listener, engine, socket: None, opened: 0, batches: 0, audio, messages, close: None }
    }

    /// Takes the socket that is dialled meanwhile.
    fn accept(&self) -> std::thread::JoinHandle<WebSocket<TcpStream>> {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            #[expect(clippy::result_large_err, reason = "the library's own type")]
            let choose = |request: &Request, mut response: Response| {
                let offered = request.headers().get("Sec-WebSocket-Protocol").unwrap();
                assert_eq!(offered, "edge.mux.v1");
                response.headers_mut().insert("Sec-WebSocket-Protocol", offered.clone());
                Ok(response)
            };
            tungstenite::accept_hdr(stream, choose).unwrap()
        })
    }

    fn sockets_opened(&self) -> usize {
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "one more was dialled");
        self.opened
    }

    fn socket(&mut self) -> &mut WebSocket<TcpStream> {
        self.socket.as_mut().unwrap()
    }

    /// The socket breaks without a word.
    fn cut(&mut self) {
        self.socket = None;
        self.audio.clear();
        self.messages.clear();
    }

    fn say(&mut self, call: u32, message: &Value) {
        let mut message = message.clone();
        message["call"] = json!(call);
        self.say_raw(&message.to_string());
    }

    fn say_raw(&mut self, text: &str) {
        self.socket().send(Message::text(text)).unwrap();
    }

    fn say_audio(&mut self, call: u32, segment: u32, audio: &[u8]) {
        let mut batch = Batch::new(Instant::now());
        for chunk in audio.chunks(777) {
            batch.add(CallNumber(call), &audio_frame(segment, chunk));
        }
        self.socket().send(Message::binary(batch.take(Instant::now()).unwrap())).unwrap();
    }

    /// Reads one message.
    fn read(&mut self) {
        match self.socket().read() {
            Ok(Message::Text(text)) => self.messages.push(serde_json::from_str(&text).unwrap()),
            Ok(Message::Binary(batch)) => {
                self.batches += 1;
                for record in records(&batch).unwrap() {
                    let (CallNumber(call), frame) = record.unwrap();
                    let (_, audio) = FrameHeader::parse(frame).unwrap();
                    self.audio.entry(call).or_default().extend_from_slice(audio);
                }
            }
            Ok(Message::Close(frame)) => self.close = Some(frame.map(|frame| frame.code.into())),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => assert!(self.close.is_some(), "closed without a word"),
            Err(error) => panic!("{error}"),
        }
    }

    fn hear(&mut self, call: u32, length: usize) -> Vec<u8> {
        while self.audio.get(&call).map_or(0, Vec::len) < length {
            self.read();
        }
        self.audio.get_mut(&call).unwrap().drain(..length).collect()
    }

    /// The first message of this kind for that call; 0: for none.
    fn until(&mut self, call: u32, kind: &str) -> Value {
        let is_it = |message: &Value| {
            message["type"] == kind && message["call"].as_u64().unwrap_or(0) == u64::from(call)
        };
        loop {
            if let Some(place) = self.messages.iter().position(is_it) {
                return self.messages.remove(place);
            }
            self.read();
        }
    }

    /// The code that the socket was closed with.
    fn closed(&mut self) -> Option<u16> {
        while self.close.is_none() {
            self.read();
        }
        self.close.take().unwrap()
    }
}

fn audio_frame(segment: u32, audio: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&segment.to_be_bytes());
    frame.extend_from_slice(audio);
    frame
}

/// Calls 1 to `count`, answered, with media and the engine node's socket.
fn answered(rig: &mut Rig, node: &mut Node, count: u8) -> Vec<FarEnd> {
    let ports: Vec<u16> = (1..=count).map(|number| rig.open(call(number))).collect();
    let calls: Vec<u8> = (1..=count).collect();
    join_all(rig, node, &calls);
    let ends = calls.iter().zip(ports).map(|(number, port)| rig.talk(call(*number), port)).collect();
    for number in calls {
        let start = node.until(number.into(), "start");
        assert_eq!(start["call_id"], call(number).to_string());
        node.until(number.into(), "answered");
    }
    ends
}

/// All want the engine at once: the first one dials, as the desk would see to.
fn join_all(rig: &mut Rig, node: &mut Node, calls: &[u8]) {
    let accepting = node.accept();
    let mut waiting: Vec<(CallId, Arc<Engine>)> = Vec::new();
    for number in calls {
        rig.workers.join(call(*number), node.engine.clone()).unwrap();
        let engine = rig.until(call(*number), |fact| match fact {
            VoiceFact::EngineToDial { engine, handed } => {
                assert_eq!(*handed, node.opened as u64, "what the worker knows of");
                Some(engine.clone())
            }
            _ => None,
        });
        waiting.push((call(*number), engine));
    }
    let socket = rig.open_socket(&node.engine);
    let worker = rig.workers.worker_of(call(calls[0])).unwrap();
    rig.workers.open_line(worker, node.engine.clone(), socket, waiting).unwrap();
    node.socket = Some(accepting.join().unwrap());
    node.opened += 1;
    assert_eq!(rig.workers.lines_handed(worker), node.opened as u64);
    for number in calls {
        connected(rig, *number);
    }
}

/// One more call on the socket that is there.
fn join(rig: &mut Rig, node: &Node, number: u8) {
    rig.workers.join(call(number), node.engine.clone()).unwrap();
    connected(rig, number);
}

fn connected(rig: &mut Rig, number: u8) {
    rig.until(call(number), |fact| matches!(fact, VoiceFact::EngineConnected).then_some(()));
}

fn accepted(rig: &mut Rig, number: u8) {
    rig.until(call(number), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Accept)).then_some(()));
}

fn gone(rig: &mut Rig, number: u8) -> EngineFailure {
    rig.until(call(number), |fact| match fact {
        VoiceFact::EngineGone(failure) => Some(failure.clone()),
        _ => None,
    })
}
