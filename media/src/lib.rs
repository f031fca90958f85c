//! The voice of a call, sans-IO: SDP (RFC 8866, RFC 3264), RTP and RTCP (RFC 3550, RFC 3551),
//! SRTP (RFC 3711, RFC 7714), telephone events (RFC 4733), G.711, and the play-out queue towards the caller.
//!
//! ```text
//!   datagram -> Session::handle_rtp -> reorder window -> Session::next_frame -> engine
//!   engine -> Session::playout().push -> segment queue -> Session::next_packet (every 20 ms) -> datagram
//! ```
//!
//! Beside them [`hearing`]: what is in the audio of a leg.
//!
//! Nothing here has a socket, a clock, a thread or a lock: time comes in as `now`, chance as a seed.
//! In steady state nothing allocates for a frame. A body of SIP is bytes to `sip`; here it becomes a
//! [`Negotiated`].

#![forbid(unsafe_code)]

mod codec;
mod comfort;
mod conceal;
mod correlate;
mod digit;
mod dtls;
mod format;
pub mod g711;
pub mod g722;
pub mod hearing;
mod jitter;
mod loudness;
mod mixer;
mod noise;
mod playout;
pub mod quality;
mod resample;
mod sdp;
mod session;
mod srtp;
mod transcode;
mod wav;

pub use codec::Codec;
pub use comfort::{COMFORT_NOISE_MAX, ComfortNoise, NoiseMeter, NoiseSource};
pub use conceal::Concealer;
pub use correlate::{Correlation, correlate};
pub use digit::{Digit, NotADigit};
pub use dtls::{
    DtlsIdentity, DtlsRole, DtlsTerms, Fingerprint, HANDSHAKE_MAX, HANDSHAKE_PATIENCE, NoIdentity, Unsecured,
};
pub use format::{AudioFormat, SampleRate, UnknownRate};
pub use jitter::{JitterBuffer, JitterCounts};
pub use loudness::Loudness;
pub use mixer::Mixer;
pub use playout::{Cleared, MarkResult, Played, Playout, PlayoutFact, PushError, SegmentId, TooManyMarks};
pub use resample::Resampler;
pub use sdp::{
    AddressFault, Alternate, Direction, LocalMedia, Negotiated, Negotiator, SdpError, SrtpKeying, SrtpKeys,
    SrtpPolicy, Transport,
};
pub use session::{
    Discard, DiscardCounts, DtmfDigit, DtmfRefused, PACKET_MAX, REPORT_MAX, Session, SessionConfig,
    SessionFact, Statistics, UpFrame,
};
pub use srtp::{
    SRTCP_OVERHEAD, SRTP_OVERHEAD, SrtpError, SrtpKey, SrtpReceiver, SrtpSender, SrtpSuite, WrongKeyLength,
};
pub use transcode::Transcoder;
pub use wav::{Wav, WavEncoding, WavError};

use std::time::Duration;

/// One beat of the play-out, the packet time of everything we send.
pub const BEAT: Duration = Duration::from_millis(20);

/// Samples in one beat at 8,000 Hz, and units of 1/8,000 s at any rate.
pub const SAMPLES_PER_BEAT: usize = 160;

/// The most bytes that one beat of a leg takes, whatever its codec: linear, 16,000 Hz.
pub const BEAT_MAX: usize = 640;
