//! Many calls of an engine on one socket: `edge.mux.v1`.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::BytesMut;
use tungstenite::{Error, Message, WebSocket};

use super::{Mouth, Parked, Played, Player, Talk, close, is_timeout, park, take};
use crate::bridge::{Batch, CallNumber, HEADER_LENGTH, Word, address, records, write_text};
use crate::call::Dialect;
use crate::lab::Bot;

/// The most audio of one record.
const RECORD_MOST: usize = 32 << 10;

/// Who is on the socket.
type Calls = BTreeMap<CallNumber, (Bot, Player)>;

/// One socket, until either side ends it. Conversations that can go on over another one are parked.
pub(super) fn converse(
    socket: &mut WebSocket<TcpStream>,
    stop: &AtomicBool,
    talk: &Talk,
    parked: &Parked,
) -> Result<(), Error> {
    let mut calls = Calls::new();
    let ended = serve(socket, stop, talk, parked, &mut calls);
    for (bot, player) in calls.into_values() {
        park(parked, bot, player);
    }
    ended
}

fn serve(
    socket: &mut WebSocket<TcpStream>,
    stop: &AtomicBool,
    talk: &Talk,
    parked: &Parked,
    calls: &mut Calls,
) -> Result<(), Error> {
    while !stop.load(Ordering::Relaxed) {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let Ok(address) = address(&text) else { continue };
                if matches!(address.word, Word::Close(_)) {
                    calls.remove(&address.call);
                    continue;
                }
                calls
                    .entry(address.call)
                    .or_insert_with(|| (Bot::new(Dialect::EdgeMuxV1), Player::new(talk)));
                hear(socket, calls, address.call, &Message::Text(text), parked)?;
            }
            Ok(Message::Binary(batch)) => {
                let read = records(&batch).map_err(io::Error::other)?;
                for record in read {
                    let (call, frame) = record.map_err(io::Error::other)?;
                    hear(socket, calls, call, &Message::binary(frame.to_vec()), parked)?;
                }
            }
            Ok(Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(Error::Io(error)) if is_timeout(&error) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(()),
            Err(error) => return Err(error),
        }
        for (call, (bot, player)) in &mut *calls {
            let mut mouth = Mouth { socket, call: Some(*call) };
            match player.play(bot, &mut mouth)? {
                Played::On => {}
                Played::Cut => return Ok(socket.get_ref().shutdown(Shutdown::Both)?),
                Played::HungUp => bot.hang_up().map_or(Ok(()), |words| mouth.send(words))?,
            }
        }
    }
    close(socket)
}

fn hear(
    socket: &mut WebSocket<TcpStream>,
    calls: &mut Calls,
    call: CallNumber,
    message: &Message,
    parked: &Parked,
) -> Result<(), Error> {
    let Some((bot, player)) = calls.get_mut(&call) else { return Ok(()) };
    let heard = bot.read(message);
    if take(heard, &mut Mouth { socket, call: Some(call) }, bot, player, parked)? {
        calls.remove(&call);
    }
    Ok(())
}

/// A call's message as one of the socket.
pub(super) fn addressed(call: CallNumber, message: Message) -> Message {
    match message {
        Message::Text(text) => {
            let mut room = BytesMut::new();
            write_text(call, text.as_bytes(), &mut room);
            Message::text(String::from_utf8_lossy(&room).into_owned())
        }
        Message::Binary(frame) => {
            let now = Instant::now();
            let mut batch = Batch::new(now);
            let (header, audio) = frame.split_at(HEADER_LENGTH.min(frame.len()));
            if audio.is_empty() {
                batch.add(call, header);
            }
            for piece in audio.chunks(RECORD_MOST) {
                batch.add(call, &[header, piece].concat());
            }
            Message::Binary(batch.take(now).unwrap_or_default())
        }
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => message,
    }
}
