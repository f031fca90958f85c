//! What is too much gets an answer that says so, and what is just not too much is taken.

use std::fmt::Write as _;

use crate::running::Running;

/// RFC 3261 has no limits. Ours: a message of 64 KiB, 256 header lines, 70 hops, lines of 8 KiB, eight levels of multipart.
#[test]
fn what_is_at_a_limit_is_taken_and_what_is_beyond_it_is_refused() {
    // To one daemon, the same message over another transport would be a repetition.
    let (datagrams, streams) = (Running::start(), Running::start());
    let nested = |depth| invite("multipart/mixed;boundary=b00", &multipart(depth));
    for (what, wire, status) in [
        ("256 headers", options(&"X: y\r\n".repeat(256 - 7), ""), 200),
        ("257 headers", options(&"X: y\r\n".repeat(257 - 7), ""), 513),
        ("70 hops", options(&"Via: SIP/2.0/UDP a\r\n".repeat(69), ""), 200),
        ("71 hops", options(&"Via: SIP/2.0/UDP a\r\n".repeat(70), ""), 513),
        ("a line of 8 KiB", options(&format!("X: {}\r\n", "y".repeat(8192 - 3)), ""), 200),
        ("a line of one byte more", options(&format!("X: {}\r\n", "y".repeat(8192 - 2)), ""), 513),
        ("a Request-URI of 9 KiB", options("", "").replace("edge", &"e".repeat(9000)), 414),
        ("eight levels", nested(8), 503),
        ("nine levels", nested(9), 413),
    ] {
        let (udp, tcp) = (datagrams.over_udp(wire.as_bytes(), 1), streams.over_tcp(wire.as_bytes(), 1));
        assert_eq!((udp.statuses(), tcp.statuses()), (vec![status], vec![status]), "{what}");
        // Content-Length may be among the headers that are not looked at.
        assert_eq!(tcp.closed, what == "257 headers", "{what}");
    }
    datagrams.stop();
    streams.stop();
}

/// On a datagram the network is the limit (65,507 bytes over IPv4); on a stream it is ours.
#[test]
fn a_stream_may_bring_64_kib_at_once_and_is_closed_for_more() {
    let daemon = Running::start();
    let head = options("", "").len() + "65000".len() - 1;
    let largest = options("", &"x".repeat(65_535 - head));
    assert_eq!(largest.len(), 65_535);

    let taken = daemon.over_tcp(largest.as_bytes(), 1);
    let announced = options("", "").replace("Content-Length: 0", "Content-Length: 65535");
    let longer = daemon.over_tcp(announced.as_bytes(), 1);
    let endless = options(&"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(2000), "");
    let endless = daemon.over_tcp(endless.trim_end().as_bytes(), 1);

    assert_eq!((taken.statuses(), taken.closed), (vec![200], false));
    assert_eq!((longer.statuses(), longer.closed), (vec![513], true));
    assert_eq!((endless.statuses(), endless.closed), (vec![513], true));
    assert!(daemon.is_alive());
    daemon.stop();
}

fn options(headers: &str, body: &str) -> String {
    request("OPTIONS", headers, body)
}

fn invite(content_type: &str, body: &str) -> String {
    request("INVITE", &format!("Contact: <sip:far@127.0.0.1>\r\nContent-Type: {content_type}\r\n"), body)
}

/// Seven headers and those that are given.
fn request(method: &str, headers: &str, body: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1000;
    format!(
        "{method} sip:edge@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-limit-{number}\r\n{headers}\
         Max-Forwards: 70\r\nFrom: <sip:far@127.0.0.1>;tag={number}\r\nTo: <sip:edge@127.0.0.1>\r\n\
         Call-ID: limit-{number}\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A session description under so many levels of multipart.
fn multipart(depth: usize) -> String {
    let mut body =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
            .to_owned();
    for level in (0..depth).rev() {
        let mut outer = format!("--b{level:02}\r\nContent-Type: ");
        let _ = match level + 1 == depth {
            true => write!(outer, "application/sdp"),
            false => write!(outer, "multipart/mixed;boundary=b{:02}", level + 1),
        };
        body = format!("{outer}\r\n\r\n{body}\r\n--b{level:02}--");
    }
    body
}
