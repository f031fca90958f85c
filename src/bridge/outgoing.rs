//! Messages on their way to a websocket: one buffer, used again and again.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The two kinds of websocket message (RFC 6455 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// What interpreters wrote and the socket has not taken yet, in order. Allocates only while it grows, as long
/// as each message popped is dropped before the next one is written.
#[derive(Debug, Default)]
pub struct Outgoing {
    buffer: BytesMut,
    waiting: VecDeque<(Form, usize)>,
}

impl Outgoing {
    /// Nothing, with room for `bytes` of messages.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), waiting: VecDeque::with_capacity(16) }
    }

    /// Writes one message. Text must be UTF-8.
    pub fn write(&mut self, form: Form, message: impl FnOnce(&mut BytesMut)) {
        let before = self.buffer.len();
        message(&mut self.buffer);
        self.waiting.push_back((form, self.buffer.len() - before));
    }

    /// The oldest message.
    pub fn pop(&mut self) -> Option<(Form, Bytes)> {
        let (form, length) = self.waiting.pop_front()?;
        Some((form, self.buffer.split_to(length).freeze()))
    }

    /// Whether all messages were popped.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_were_written_and_in_order() {
        let mut outgoing = Outgoing::with_capacity(16);

        outgoing.write(Form::Text, |buffer| buffer.extend_from_slice(b"one"));
        outgoing.write(Form::Binary, |buffer| buffer.extend_from_slice(&[2; 40]));
        outgoing.write(Form::Text, |_| {});

        assert_eq!(outgoing.pop(), Some((Form::Text, Bytes::from_static(b"one"))));
        assert_eq!(outgoing.pop(), Some((Form::Binary, Bytes::from_static(&[2; 40]))));
        assert_eq!(outgoing.pop(), Some((Form::Text, Bytes::new())));
        assert_eq!(outgoing.pop(), None);
    }
}
