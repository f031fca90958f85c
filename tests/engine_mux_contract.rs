//! What `docs/engine/edge-mux.md` promises is what the code does: schemas, golden batches, samples of the page.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]

#[path = "support/schema.rs"]
mod schema;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use callingedge::bridge::{
    Batch, BatchError, CallNumber, LineComplaint, Word, address, records, write_close, write_complaint,
    write_text,
};
use schema::violation;
use serde_json::{Value, json};

#[test]
fn every_schema_has_samples_that_fit_it() {
    for name in ["envelope", "to-engine.close", "to-engine.error", "to-edge.close"] {
        let schema = schema(name);
        for sample in schema["examples"].as_array().unwrap() {
            assert_eq!(violation(&schema, sample), None, "{name}: {sample}");
        }
    }
}

#[test]
fn what_the_envelope_writes_fits_its_schema() {
    let written = |write: &dyn Fn(&mut BytesMut)| -> Value {
        let mut text = BytesMut::new();
        write(&mut text);
        serde_json::from_slice(&text).unwrap()
    };
    let call = CallNumber(u32::MAX);

    let message = written(&|text| write_text(call, br#"{"type":"answered"}"#, text));
    assert_eq!(violation(&schema("envelope"), &message), None, "{message}");
    for code in [1000, 1008, 1011] {
        let close = written(&|text| write_close(call, code, text));
        assert_eq!(violation(&schema("to-engine.close"), &close), None, "{close}");
        assert_eq!(violation(&schema("envelope"), &close), None, "{close}");
    }
    for (call, re) in [(Some(call), None), (None, Some("m1"))] {
        let complaint = LineComplaint { call, code: "call.unknown", re, message: "\"no\"", fatal: true };
        let error = written(&|text| write_complaint(&complaint, text));
        assert_eq!(violation(&schema("to-engine.error"), &error), None, "{error}");
    }
}

#[test]
fn a_close_of_the_schema_is_read_as_one_and_what_it_refuses_is_refused() {
    let schema = schema("to-edge.close");
    for sample in schema["examples"].as_array().unwrap() {
        let read = address(&sample.to_string()).unwrap();
        let code = sample["code"].as_u64().map(|code| u16::try_from(code).unwrap());
        assert_eq!((read.call, read.word), (CallNumber(7), Word::Close(code)), "{sample}");
    }
    for call in [json!(null), json!(0), json!(-1), json!("7"), json!(4_294_967_296_u64)] {
        let spoiled = json!({ "call": call, "type": "close" });
        assert!(violation(&schema, &spoiled).is_some(), "{spoiled}");
        assert!(address(&spoiled.to_string()).is_err(), "{spoiled}");
    }
}

#[test]
fn the_golden_batches_are_what_the_code_reads_and_writes() {
    let mut checked = 0;
    for entry in std::fs::read_dir(docs("vectors/mux")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let described: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let bytes = std::fs::read(path.with_extension("bin")).unwrap();
        assert_eq!(hex(&bytes), described["bytes_hex"], "{path:?}");
        check(&path, &described, &bytes);
        checked += 1;
    }
    assert_eq!(checked, 8);
}

fn check(path: &Path, described: &Value, bytes: &[u8]) {
    let read = records(bytes).and_then(|read| read.collect::<Result<Vec<_>, BatchError>>());
    if let Some(code) = described["refused"].as_str() {
        assert_eq!(read.unwrap_err().code(), code, "{path:?}");
        return;
    }
    let told: Vec<Value> = read
        .clone()
        .unwrap()
        .into_iter()
        .map(|(CallNumber(call), frame)| json!({ "call": call, "frame_hex": hex(frame) }))
        .collect();
    assert_eq!(json!(told), described["batch"]["records"], "{path:?}");
    let Some(sequence) = described["batch"]["seq"].as_u64() else { return };
    let began = now();
    let mut batch = Batch::new(began);
    for _ in 0..sequence {
        batch.add(CallNumber(1), &[]);
        batch.take(began).unwrap();
    }
    read.unwrap().into_iter().for_each(|(call, frame)| batch.add(call, frame));
    let at = Duration::from_millis(described["batch"]["at_ms"].as_u64().unwrap());
    assert_eq!(batch.take(began + at).unwrap(), bytes, "{path:?}");
}

#[test]
fn every_sample_of_the_page_fits_its_schema() {
    let page = std::fs::read_to_string(docs("edge-mux.md")).unwrap();
    let blocks: Vec<&str> = page.split("```json").skip(1).collect();
    for block in &blocks {
        let sample: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
        assert_eq!(violation(&schema("envelope"), &sample), None, "{sample}");
        if sample["type"] == "close" {
            assert_eq!(violation(&schema("to-engine.close"), &sample), None, "{sample}");
        }
    }
    assert_eq!(blocks.len(), 2);
}

fn schema(name: &str) -> Value {
    let path = docs("schemas").join(format!("mux.{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn docs(part: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/engine").join(part)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
fn now() -> Instant {
    Instant::now()
}
