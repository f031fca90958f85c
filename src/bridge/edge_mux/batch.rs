//! Batches: the frames of many calls in one binary message.
//!
//! ```text
//!    0       1       2       3       4       8           12              16
//!   +-------+-------+-------+-------+-------+-----------+---------------+--------+--------+---
//!   | 2     | 0     | 0     | 0     | seq   | records   | ms since the  | record | record | …
//!   |       |       |       |       |       |           | socket opened |        |        |
//!   +-------+-------+-------+-------+-------+-----------+---------------+--------+--------+---
//!
//!   record:  | call, 4 bytes | length, 2 bytes | header of 16 bytes, audio: so many bytes |
//! ```
//!
//! Of an engine's batch nothing is read but the kind and the records.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use super::CallNumber;
use crate::bridge::HEADER_LENGTH;

/// What stands before a record's header.
pub const RECORD_HEAD: usize = 6;

/// A batch of so many bytes takes no more records.
pub const BATCH_FULL: usize = 48 << 10;

/// The kind of a batch, in its header's first byte.
const KIND: u8 = 2;

/// Why a binary message is not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header has.
    #[error("{0} bytes are no batch: the header alone has 16")]
    Short(usize),
    /// Not 2.
    #[error("frames of kind {0} have no place on this socket: put them into a batch, kind 2")]
    Kind(u8),
    /// A record goes on beyond the end of the message.
    #[error("the record at byte {at} is longer than the rest of the batch")]
    Cut {
        /// Where it begins.
        at: usize,
    },
}

impl BatchError {
    /// The stable code that engines see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Short(_) => "frame.short",
            Self::Kind(_) => "frame.kind",
            Self::Cut { .. } => "frame.batch",
        }
    }
}

/// Frames that wait for the next beat.
#[derive(Debug)]
pub struct Batch {
    buffer: BytesMut,
    records: u32,
    sequence: u32,
    opened: Instant,
}

impl Batch {
    /// Of a socket that was `opened` then; nothing waits.
    pub fn new(opened: Instant) -> Self {
        Self { buffer: BytesMut::new(), records: 0, sequence: 0, opened }
    }

    /// Adds a frame. A frame of more than 65,535 bytes is no packet's audio, and is left out.
    pub fn add(&mut self, call: CallNumber, frame: &[u8]) {
        let Ok(length) = u16::try_from(frame.len()) else { return };
        if self.records == 0 {
            self.buffer.put_bytes(0, HEADER_LENGTH);
        }
        self.buffer.put_u32(call.0);
        self.buffer.put_u16(length);
        self.buffer.put_slice(frame);
        self.records += 1;
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// What waits should go out before more is added.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= BATCH_FULL
    }

    /// The number of the batch that is being filled.
    pub fn number(&self) -> u32 {
        self.sequence
    }

    /// The message, where anything waits; the next batch begins.
    pub fn take(&mut self, now: Instant) -> Option<Bytes> {
        if self.records == 0 {
            return None;
        }
        let mut message = self.buffer.split();
        let since = now.saturating_duration_since(self.opened);
        message[0] = KIND;
        message[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        message[8..12].copy_from_slice(&self.records.to_be_bytes());
        message[12..16].copy_from_slice(&milliseconds(since).to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.records = 0;
        Some(message.freeze())
    }
}

/// Wraps after 49 days.
fn milliseconds(length: Duration) -> u32 {
    length.as_millis() as u32
}

/// The records of a batch, in order: whose, and the frame. The first one that is wrong ends it.
///
/// # Errors
/// When the message is no batch.
pub fn records(
    message: &[u8],
) -> Result<impl Iterator<Item = Result<(CallNumber, &[u8]), BatchError>>, BatchError> {
    if message.len() < HEADER_LENGTH {
        return Err(BatchError::Short(message.len()));
    }
    if message[0] != KIND {
        return Err(BatchError::Kind(message[0]));
    }
    let mut rest = &message[HEADER_LENGTH..];
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((call, frame, after)) = split(rest) else {
            let at = message.len() - rest.len();
            rest = &[];
            return Some(Err(BatchError::Cut { at }));
        };
        rest = after;
        Some(Ok((call, frame)))
    }))
}

/// The first record, and what comes after it.
fn split(bytes: &[u8]) -> Option<(CallNumber, &[u8], &[u8])> {
    let ([c0, c1, c2, c3, l0, l1], rest) = bytes.split_first_chunk::<RECORD_HEAD>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let (frame, after) = rest.split_at_checked(length)?;
    Some((CallNumber(u32::from_be_bytes([*c0, *c1, *c2, *c3])), frame, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_out_as_they_were_put_in(
            frames in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        ) {
            let now = now();
            let mut batch = Batch::new(now);
            for (call, frame) in &frames {
                batch.add(CallNumber(*call), frame);
            }

            let message = batch.take(now + Duration::from_millis(77)).unwrap();
            let read: Result<Vec<_>, _> = records(&message).unwrap().collect();
            let read: Vec<(u32, Vec<u8>)> =
                read.unwrap().into_iter().map(|(call, frame)| (call.0, frame.to_vec())).collect();

            prop_assert_eq!(&message[..4], [2, 0, 0, 0]);
            prop_assert_eq!(&message[8..12], u32::try_from(frames.len()).unwrap().to_be_bytes());
            prop_assert_eq!(&message[12..16], 77_u32.to_be_bytes());
            prop_assert_eq!(read, frames);
            prop_assert!(batch.is_empty());
        }

        #[test]
        fn whatever_comes_is_records_up_to_the_first_that_is_cut(mut message: Vec<u8>) {
            if let Some(kind) = message.first_mut() {
                *kind = 2;
            }
            let Ok(read) = records(&message) else {
                prop_assert!(message.len() < HEADER_LENGTH);
                return Ok(());
            };
            let read: Vec<_> = read.collect();

            let whole: usize =
                read.iter().flatten().map(|(_, frame)| RECORD_HEAD + frame.len()).sum::<usize>() + HEADER_LENGTH;
            match read.iter().position(Result::is_err) {
                Some(place) => {
                    prop_assert_eq!(place, read.len() - 1);
                    prop_assert_eq!(read[place], Err(BatchError::Cut { at: whole }));
                }
                None => prop_assert_eq!(whole, message.len()),
            }
        }
    }

    #[test]
    fn batches_are_counted_and_an_empty_one_is_none() {
        let now = now();
        let mut batch = Batch::new(now);
        assert_eq!(batch.take(now), None);

        batch.add(CallNumber(1), &[1]);
        assert_eq!(batch.number(), 0);
        let first = batch.take(now).unwrap();
        batch.add(CallNumber(1), &[1]);
        let second = batch.take(now).unwrap();

        assert_eq!((first[7], second[7]), (0, 1));
        assert_eq!(first.len(), HEADER_LENGTH + RECORD_HEAD + 1);
    }

    #[test]
    fn what_is_no_batch_is_named_in_the_refusal() {
        let refused = |message: &[u8]| records(message).map(|_| ()).unwrap_err();

        assert_eq!(refused(&[2; 15]), BatchError::Short(15));
        assert_eq!(refused(&[1; 16]), BatchError::Kind(1));
    }

    #[test]
    fn a_frame_that_no_record_can_hold_is_left_out() {
        let mut batch = Batch::new(now());

        batch.add(CallNumber(1), &[0; 65_536]);

        assert!(batch.is_empty());
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
