//! One UDP socket's incoming side.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use metrics::counter;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Heard;

/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_535;

/// Hands every datagram on, until nobody listens any more.
pub(super) async fn receive(socket: Arc<UdpSocket>, local: SocketAddr, heard: mpsc::Sender<Heard>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            // RFC 5626 §4.4.1: a keep-alive of CRLFs needs no answer on UDP.
            Ok((length, _)) if buffer[..length].iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) => {}
            Ok((length, peer)) => {
                let flow = sip::Flow { transport: sip::Transport::Udp, local, peer, connection: None };
                let wire = Bytes::copy_from_slice(&buffer[..length]);
                if heard.send(Heard::Message { flow, wire, at: Instant::now().into_std() }).await.is_err() {
                    return;
                }
            }
            // ICMP errors of earlier datagrams surface here; the transaction's timer will notice by itself.
            Err(_) => counter!("callingedge_sip_receive_errors_total").increment(1),
        }
    }
}
