//! Any order of inputs to the four transactions: they never say anything after `Gone`, never answer twice, never want to
//! be called for a time that has passed, and end.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sip::transaction::{
    Carriage, Client, ClientOutput, InviteClient, InviteClientOutput, InviteServer, InviteServerOutput,
    ResponseKind, Server, ServerOutput, Timers,
};

fuzz_target!(|data: &[u8]| {
    let Some((&first, inputs)) = data.split_first() else { return };
    let carriage = if first & 1 == 0 { Carriage::Datagram } else { Carriage::Stream };
    let (mut now, timers) = (Instant::now(), Timers::default());
    let mut invite_client = InviteClient::new(now, carriage, timers, wire(), timers.give_up());
    let mut client = Client::new(now, carriage, timers, wire(), timers.give_up());
    let mut invite_server = InviteServer::new(now, carriage, timers, wire());
    let mut server = Server::new(now, carriage, timers);
    let mut finals = [0; 2];
    let mut gone = [false; 4];
    let end = [64; 40];
    for &input in inputs.iter().chain(&end) {
        match input % 16 {
            0 => drop_reception(invite_client.handle_response(now, ResponseKind::Provisional, wire)),
            1 => drop_reception(invite_client.handle_response(now, ResponseKind::Success, wire)),
            2 => drop_reception(invite_client.handle_response(now, ResponseKind::Refusal, wire)),
            3 => invite_client.handle_cancelled(now),
            4 => drop_reception(client.handle_response(now, ResponseKind::Provisional)),
            5 => drop_reception(client.handle_response(now, ResponseKind::Success)),
            6 => drop_reception(client.handle_response(now, ResponseKind::Refusal)),
            7 => _ = invite_server.ring(wire()),
            8 => finals[0] += usize::from(invite_server.accept(now, wire()).is_ok()),
            9 => finals[0] += usize::from(invite_server.refuse(now, wire()).is_ok()),
            10 => invite_server.handle_repetition(),
            11 => _ = invite_server.handle_ack(now),
            12 => _ = server.proceed(wire()),
            13 => finals[1] += usize::from(server.answer(now, wire()).is_ok()),
            14 => server.handle_repetition(),
            _ => {}
        }
        while let Some(output) = invite_client.poll_output() {
            assert!(!gone[0]);
            gone[0] = output == InviteClientOutput::Gone;
        }
        while let Some(output) = client.poll_output() {
            assert!(!gone[1]);
            gone[1] = output == ClientOutput::Gone;
        }
        while let Some(output) = invite_server.poll_output() {
            assert!(!gone[2]);
            gone[2] = output == InviteServerOutput::Gone;
        }
        while let Some(output) = server.poll_output() {
            assert!(!gone[3]);
            gone[3] = output == ServerOutput::Gone;
        }
        now += Duration::from_millis(u64::from(input) * 16);
        invite_client.handle_timeout(now);
        client.handle_timeout(now);
        invite_server.handle_timeout(now);
        server.handle_timeout(now);
        let deadlines = [
            invite_client.poll_timeout(),
            client.poll_timeout(),
            invite_server.poll_timeout(),
            server.poll_timeout(),
        ];
        for (deadline, gone) in deadlines.into_iter().zip(gone) {
            assert!(deadline.is_none_or(|at| at > now && !gone));
        }
    }
    assert!(finals[0] <= 1 && finals[1] <= 1);
    // After forty seconds only those may be left that wait for somebody without a clock of their own.
    assert!(gone[1] && gone[3]);
    assert!(gone[0] || invite_client.is_proceeding());
    assert!(gone[2] || invite_server.is_pending());
});

fn wire() -> Bytes {
    Bytes::from_static(b"message")
}

fn drop_reception(_: sip::transaction::Reception) {}
