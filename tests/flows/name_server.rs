//! A name server for `_sip._udp.flowN.test` and the like: SRV records of the run's second phone and, where that is not there, its third.
#![expect(clippy::disallowed_types, reason = "it is asked over a socket")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

const SRV: u16 = 33;
const A: u16 = 1;

/// Answers for as long as the process runs. `phones` are those of each run.
pub(crate) fn start(phones: Vec<Vec<SocketAddr>>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let serve = move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length], &phones) {
                let _gone = socket.send_to(&answer, from);
            }
        }
    };
    std::thread::Builder::new().name("name-server".to_owned()).spawn(serve).unwrap();
    address
}

/// RFC 1035 §4.1, RFC 2782. What it does not know exists and has no records.
fn answer(query: &[u8], phones: &[Vec<SocketAddr>]) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while *query.get(at)? > 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..=at + length)?).to_ascii_lowercase());
        at += length + 1;
    }
    let question = query.get(12..at + 5)?;
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let run: Option<usize> = labels.iter().find_map(|label| label.strip_prefix("flow")?.parse().ok());
    let run = run.and_then(|run| phones.get(run));
    let records: Vec<Vec<u8>> = match (kind, run) {
        (SRV, Some(phones)) => [("bob", phones[1], 1_u16), ("carol", phones[2], 2)]
            .map(|(name, phone, priority)| {
                let mut data = [priority, 1, phone.port()].map(u16::to_be_bytes).concat();
                for label in [name].into_iter().chain(labels.iter().skip(2).map(String::as_str)) {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend_from_slice(label.as_bytes());
                }
                data.push(0);
                data
            })
            .to_vec(),
        (A, Some(phones)) => match phones[0] {
            SocketAddr::V4(address) => vec![address.ip().octets().to_vec()],
            SocketAddr::V6(_) => Vec::new(),
        },
        (_, _) => Vec::new(),
    };
    let mut answer = query[..2].to_vec();
    // A response, authoritative; one question.
    answer.extend_from_slice(&[0x85, 0x80, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    for data in records {
        // The name of the question; an hour.
        answer.extend_from_slice(&[0xC0, 12]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 14, 16]);
        answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend_from_slice(&data);
    }
    Some(answer)
}
