//! What may come on a socket that calls share: as a batch, and as text. What is read is what writes the same again.
#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use callingedge::bridge::{Batch, HEADER_LENGTH, address, records, write_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(read) = records(data) {
        let now = Instant::now();
        let (mut batch, mut whole) = (Batch::new(now), true);
        let mut length = HEADER_LENGTH;
        for record in read {
            match record {
                Ok((call, frame)) => {
                    batch.add(call, frame);
                    length += 6 + frame.len();
                }
                Err(_) => whole = false,
            }
        }
        assert_eq!(whole, length == data.len());
        if let Some(again) = batch.take(now) {
            assert_eq!(again[HEADER_LENGTH..], data[HEADER_LENGTH..length]);
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(read) = address(text)
    {
        let mut written = BytesMut::new();
        write_text(read.call, br#"{"type":"mark"}"#, &mut written);
        let written = std::str::from_utf8(&written).expect("we write UTF-8");
        assert_eq!(address(written).map(|read| read.call), Ok(read.call));
    }
});
