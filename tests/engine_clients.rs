//! The edge as client of engine APIs: each against what its engine says, in virtual time.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail that way, in its helpers too, and looks for one thing"
)]

#[path = "support/engine_call.rs"]
mod engine_call;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callingedge::call::{
    Dialect, EndReason, EngineCommand, EngineEvent, EngineStart, TransferState, TransferStep, VoiceFact,
};
use engine_call::{Message, Run, speech, start, text_of};
use serde_json::{Value, json};

const CLIENTS: [Dialect; 6] = [
    Dialect::OpenAiRealtime,
    Dialect::OpenAiRealtimeBeta,
    Dialect::GeminiLive,
    Dialect::ElevenLabs,
    Dialect::Deepgram,
    Dialect::Ultravox,
];

/// Everything in JSON that was said since.
fn told(run: &mut Run) -> Vec<Value> {
    run.said().iter().filter_map(|message| serde_json::from_str(&text_of(message)).ok()).collect()
}

fn begin(dialect: Dialect, parameters: &[(&str, &str)]) -> (Run, Vec<Value>) {
    let mut run = Run::at(dialect, None);
    run.answer();
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let start = EngineStart { parameters: parameters.collect(), ..start() };
    run.tell(&EngineEvent::Start(Box::new(start)));
    let first = told(&mut run);
    (run, first)
}

fn say(run: &mut Run, message: &Value) {
    run.handle(&Message::json(message));
}

/// What an engine of this dialect does before it hears anything.
fn ready(run: &mut Run) {
    let message = match run.dialect {
        Dialect::GeminiLive => json!({ "setupComplete": {} }),
        Dialect::ElevenLabs => json!({ "type": "conversation_initiation_metadata",
            "conversation_initiation_metadata_event": { "conversation_id": "c",
                "agent_output_audio_format": "ulaw_8000", "user_input_audio_format": "ulaw_8000" } }),
        Dialect::Deepgram => json!({ "type": "SettingsApplied" }),
        _ => json!({ "type": "session.updated", "session": {} }),
    };
    say(run, &message);
}

/// The engine says this, as PCMU.
fn speak(run: &mut Run, item: u32, codes: &[u8]) {
    let linear: Vec<u8> =
        codes.iter().flat_map(|code| media::g711::ulaw_to_linear(*code).to_le_bytes()).collect();
    match run.dialect {
        Dialect::OpenAiRealtime => say(
            run,
            &json!({ "type": "response.output_audio.delta", "response_id": "r",
            "item_id": format!("item_{item}"), "output_index": 0, "content_index": 0, "delta": STANDARD.encode(codes) }),
        ),
        Dialect::OpenAiRealtimeBeta => say(
            run,
            &json!({ "type": "response.audio.delta", "response_id": "r",
            "item_id": format!("item_{item}"), "output_index": 0, "content_index": 0, "delta": STANDARD.encode(codes) }),
        ),
        Dialect::GeminiLive => say(
            run,
            &json!({ "serverContent": { "modelTurn": { "parts": [{ "inlineData": {
            "mimeType": "audio/pcm;rate=8000", "data": STANDARD.encode(linear) } }] } } }),
        ),
        Dialect::ElevenLabs => say(
            run,
            &json!({ "type": "audio", "audio_event": {
            "audio_base_64": STANDARD.encode(codes), "event_id": item } }),
        ),
        Dialect::Deepgram => run.handle(&Message::binary(codes)),
        _ => run.handle(&Message::binary(&linear)),
    }
}

/// The engine has noticed that the caller speaks.
fn interrupt(run: &mut Run, item: u32) {
    let message = match run.dialect {
        Dialect::GeminiLive => json!({ "serverContent": { "interrupted": true } }),
        Dialect::ElevenLabs => json!({ "type": "interruption", "interruption_event": { "event_id": item } }),
        Dialect::Deepgram => json!({ "type": "UserStartedSpeaking" }),
        Dialect::Ultravox => json!({ "type": "playback_clear_buffer" }),
        _ => json!({ "type": "input_audio_buffer.speech_started", "audio_start_ms": 1, "item_id": "user" }),
    };
    say(run, &message);
}

/// The engine calls a function.
fn call_function(run: &mut Run, name: &str, arguments: &Value) {
    let message = match run.dialect {
        Dialect::GeminiLive => {
            json!({ "toolCall": { "functionCalls": [{ "id": "f1", "name": name, "args": arguments }] } })
        }
        Dialect::ElevenLabs => json!({ "type": "client_tool_call", "client_tool_call": {
            "tool_name": name, "tool_call_id": "f1", "parameters": arguments } }),
        Dialect::Deepgram => json!({ "type": "FunctionCallRequest", "functions": [{
            "id": "f1", "name": name, "arguments": arguments.to_string(), "client_side": true }] }),
        Dialect::Ultravox => json!({ "type": "client_tool_invocation", "toolName": name,
            "invocationId": "f1", "parameters": arguments }),
        _ => json!({ "type": "response.function_call_arguments.done", "call_id": "f1", "name": name,
            "arguments": arguments.to_string() }),
    };
    say(run, &message);
}

/// What the engine was told of its function.
fn output(messages: &[Value]) -> Option<String> {
    messages.iter().find_map(|message| {
        let places = [
            message.pointer("/item/output"),
            message.pointer("/toolResponse/functionResponses/0/response/result"),
            message.pointer("/result"),
            message.pointer("/content"),
        ];
        places.into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
    })
}

#[test]
fn an_engine_is_heard_bit_by_bit_and_what_it_said_before_an_interruption_is_not() {
    for dialect in CLIENTS {
        let (mut run, _) = begin(dialect, &[]);
        ready(&mut run);
        let words = speech(1_600);
        speak(&mut run, 1, &words);
        let played: Vec<u8> = (0..5).flat_map(|_| run.beat()).collect();
        assert_eq!(played, words[..800], "{dialect:?}");

        interrupt(&mut run, 1);
        let silence = run.beat();
        assert_ne!(silence, words[800..960], "{dialect:?}");
        speak(&mut run, 2, &[0x40; 160]);

        assert_eq!(run.beat(), [0x40; 160], "{dialect:?}: what is said next");
    }
}

#[test]
fn what_is_said_before_the_engine_is_ready_waits_until_it_is() {
    for dialect in [Dialect::GeminiLive, Dialect::ElevenLabs, Dialect::Deepgram] {
        let (mut run, first) = begin(dialect, &[]);
        assert_eq!(first.len(), 1, "{dialect:?}");

        run.hear(0, &[0x20; 160]);
        assert!(run.said().is_empty(), "{dialect:?}");
        ready(&mut run);
        run.hear(1, &[0x20; 160]);

        assert_eq!(run.said().len(), 2, "{dialect:?}");
    }
}

#[test]
fn a_caller_who_interrupts_cuts_the_item_where_it_was_heard_to() {
    for dialect in [Dialect::OpenAiRealtime, Dialect::OpenAiRealtimeBeta] {
        let (mut run, _) = begin(dialect, &[]);
        speak(&mut run, 1, &speech(800));
        speak(&mut run, 1, &speech(8_000));
        for _ in 0..17 {
            run.beat();
        }
        told(&mut run);

        interrupt(&mut run, 1);

        let expected = json!({ "type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0,
            "audio_end_ms": 340 });
        assert_eq!(told(&mut run), [expected]);
        speak(&mut run, 1, &speech(800));
        interrupt(&mut run, 1);
        assert!(told(&mut run).is_empty(), "late audio of a cut item is not heard, so nothing is cut again");
    }
}

#[test]
fn a_session_is_set_up_with_what_the_engine_was_configured_with_and_what_the_call_knows() {
    let parameters = [
        ("instructions", "You speak with {{first_name}} ({{from_number}})."),
        ("voice", "marin"),
        ("greeting", "Hello {{first_name}}!"),
        ("model", "models/live"),
    ];
    let (_, openai) = begin(Dialect::OpenAiRealtime, &parameters);
    assert_eq!(openai[0]["type"], "session.update");
    let session = &openai[0]["session"];
    assert_eq!(session["type"], "realtime");
    assert_eq!(session["audio"]["input"]["format"], json!({ "type": "audio/pcmu" }));
    assert_eq!(session["audio"]["output"], json!({ "format": { "type": "audio/pcmu" }, "voice": "marin" }));
    assert_eq!(session["instructions"], "You speak with Sam (+16505824074).");
    let tools: Vec<&str> =
        session["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(tools, ["transfer_call", "hang_up", "send_dtmf"]);
    assert!(openai[1]["response"]["instructions"].as_str().unwrap().ends_with("Hello Sam!"));

    let (_, beta) = begin(Dialect::OpenAiRealtimeBeta, &parameters);
    assert_eq!(beta[0]["session"]["input_audio_format"], "g711_ulaw");
    assert_eq!(beta[0]["session"]["voice"], "marin");

    let (_, gemini) = begin(Dialect::GeminiLive, &parameters);
    assert_eq!(gemini[0]["setup"]["model"], "models/live");
    assert_eq!(
        gemini[0]["setup"]["systemInstruction"]["parts"][0]["text"],
        "You speak with Sam (+16505824074)."
    );

    let (_, eleven) = begin(Dialect::ElevenLabs, &parameters);
    assert_eq!(eleven[0]["dynamic_variables"]["first_name"], "Sam");

    let agent = r#"{"think": {"prompt": "Help {{first_name}}."}, "greeting": "Hi"}"#;
    let (_, deepgram) = begin(Dialect::Deepgram, &[("agent", agent)]);
    assert_eq!(deepgram[0]["audio"]["input"], json!({ "encoding": "mulaw", "sample_rate": 8000 }));
    assert_eq!(deepgram[0]["agent"]["think"]["prompt"], "Help Sam.");
    assert_eq!(deepgram[0]["agent"]["think"]["functions"].as_array().unwrap().len(), 3);
}

#[test]
fn an_engine_asks_for_a_transfer_and_hears_what_came_of_it() {
    for dialect in CLIENTS {
        let (mut run, _) = begin(dialect, &[]);
        ready(&mut run);
        run.said();
        call_function(&mut run, "transfer_call", &json!({ "to": "+16505550100", "reason": "a person" }));

        let ordered = run.facts.iter().any(|fact| {
            matches!(fact, VoiceFact::Engine(EngineCommand::Transfer { id: Some(id), to, .. })
                if id == "f1" && to == "+16505550100")
        });
        assert!(ordered, "{dialect:?}");
        assert_eq!(output(&told(&mut run)), None, "{dialect:?}: not before it is decided");
        let step = |state| {
            let (re, sip) = (Some("f1".to_owned()), Some((486, "Busy Here".to_owned())));
            EngineEvent::Transfer(TransferStep { re, state, sip })
        };
        run.tell(&step(TransferState::Ringing));
        run.tell(&step(TransferState::Failed));

        let told = output(&told(&mut run)).unwrap_or_default();
        assert!(told.starts_with("failed: 486 Busy Here"), "{dialect:?}: {told}");
    }
}

#[test]
fn an_engine_presses_keys_and_hangs_up_and_is_told_what_it_cannot_do() {
    for dialect in CLIENTS {
        let (mut run, _) = begin(dialect, &[]);
        ready(&mut run);
        run.said();

        call_function(&mut run, "send_dtmf", &json!({ "digits": "12" }));
        assert_eq!(output(&told(&mut run)).as_deref(), Some("sent"), "{dialect:?}");
        call_function(&mut run, "sing", &json!({}));
        assert!(output(&told(&mut run)).unwrap().contains("no function"), "{dialect:?}");
        call_function(&mut run, "hang_up", &json!({}));
        let hung_up = run
            .facts
            .iter()
            .any(|fact| matches!(fact, VoiceFact::Engine(EngineCommand::HangUp { drain: true, .. })));
        assert!(hung_up, "{dialect:?}");
    }
}

#[test]
fn a_key_of_the_caller_reaches_the_engine_as_words() {
    for dialect in CLIENTS {
        let (mut run, _) = begin(dialect, &[]);
        ready(&mut run);
        run.said();

        run.press(7);

        let said = run.said();
        assert!(said.iter().any(|message| text_of(message).contains("the key 7")), "{dialect:?}: {said:?}");
    }
}

#[test]
fn a_ping_is_answered_with_its_own_number() {
    let (mut run, _) = begin(Dialect::ElevenLabs, &[]);
    say(&mut run, &json!({ "type": "ping", "ping_event": { "event_id": 7, "ping_ms": 3 } }));
    assert_eq!(told(&mut run), [json!({ "type": "pong", "event_id": 7 })]);

    let (mut run, _) = begin(Dialect::Ultravox, &[]);
    say(&mut run, &json!({ "type": "ping", "timestamp": 12 }));
    assert_eq!(told(&mut run), [json!({ "type": "pong", "timestamp": 12 })]);
}

#[test]
fn nothing_is_sent_after_the_end_and_nonsense_is_a_mistake() {
    for dialect in CLIENTS {
        let (mut run, _) = begin(dialect, &[]);
        ready(&mut run);
        say(&mut run, &json!({ "type": "of.tomorrow", "x": [1, { "y": null }] }));
        assert_eq!(run.tally.engine_mistakes, 0, "{dialect:?}");
        run.handle(&Message::text("{\"type\""));
        assert_eq!(run.tally.engine_mistakes, 1, "{dialect:?}");

        run.tell(&EngineEvent::Stop(EndReason::RemoteHungUp));
        run.said();
        run.hear(3, &[0x20; 160]);
        assert!(run.said().is_empty(), "{dialect:?}");
        assert!(!dialect.hangs_up_by_closing(), "{dialect:?}: its loss is a loss");
    }
}
