//! Any stream in any pieces: the messages are the same as when it comes at once. The first byte is the size of a piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip::{Framed, Framing, FramingError, Message, Side, StreamFramer};

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let side = if size % 2 == 0 { Side::Accepted } else { Side::Dialled };
    let whole = cut(side, stream, stream.len().max(1));
    let pieces = cut(side, stream, usize::from(size / 2).max(1));
    let messages = |found: &[Result<Framed, FramingError>]| -> Vec<_> {
        found.iter().filter(|framed| matches!(framed, Ok(Framed::Message(_)))).cloned().collect()
    };
    assert_eq!(messages(&whole), messages(&pieces));
    for framed in whole {
        match framed {
            Ok(Framed::Message(wire)) => {
                let message =
                    Message::parse(wire.clone(), Framing::Stream).expect("a framed message has a start line");
                assert_eq!(message.wire(), &wire);
            }
            Ok(Framed::Ping | Framed::Pong) => {}
            Err(FramingError { head, .. }) => drop(Message::parse(head, Framing::Stream)),
        }
    }
});

fn cut(side: Side, stream: &[u8], size: usize) -> Vec<Result<Framed, FramingError>> {
    let mut framer = StreamFramer::new(side);
    let mut found = Vec::new();
    for piece in stream.chunks(size) {
        framer.push(piece);
        found.extend(std::iter::from_fn(|| framer.next()));
    }
    found
}
