//! Engines: the dialects they speak (pure) and the shell that dials them.
//!
//! ```text
//!   EngineEvent, audio, digits, answers -> Interpreter -> Outgoing -> websocket
//!   websocket message -> Interpreter::understand -> Said
//! ```
//!
//! An [`Interpreter`] holds what a dialect must remember (counters, the stream's name) and nothing else: what a
//! `clear` does to the play-out, and what a command does to the call, is decided by the worker and by `call`.

mod asterisk;
mod audiohook;
mod border;
mod deepgram;
mod dial;
mod edge_mux;
mod edge_v1;
mod elevenlabs;
mod exotel;
mod gemini;
mod greet;
mod interpreter;
mod jambonz;
mod json_stream;
mod language;
mod lines;
mod openai;
mod outgoing;
mod pipecat;
mod plivo;
mod said;
mod stream;
mod telnyx;
mod tools;
mod twilio;
mod ultravox;
mod vonage;

pub use audiohook::{
    AudioHook, HOOK_FRAME, HookChannels, HookFault, HookOpen, HookParting, HookSaid, RawText,
};
pub use dial::{Dialler, EngineSocket, SocketLimits};
pub use edge_mux::{
    Address, BATCH_FULL, Batch, BatchError, CallNumber, LineComplaint, RECORD_HEAD, Word, address, records,
    write_close, write_complaint, write_text,
};
pub use edge_v1::{
    EdgeV1, FrameCodec, FrameError, FrameFlags, FrameHeader, FrameKind, HEADER_LENGTH, HIGHEST_SEGMENT,
    Replayed, Track,
};
pub use greet::{HookConnection, HookSocket, greet, turn_away};
pub use interpreter::{Credit, Interpreter};
pub use lines::Lines;
pub use outgoing::{Form, Outgoing};
pub use said::{
    Answer, Complaint, Fault, Heard, Incoming, MISTAKES_IN_A_ROW, Measured, Mistake, Resumption, Said,
    Speech, Standing,
};
pub use stream::{EngineStream, Waits};
pub use twilio::Twilio;
