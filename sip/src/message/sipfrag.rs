//! `message/sipfrag` (RFC 3420): the piece of a response that a NOTIFY reports on the way of a REFER (RFC 3515 §2.4.5).

use crate::message::StatusCode;
use crate::message::index::{Index, Start};

/// The status that a sipfrag body reports, `None` when it is no status line. Line ends and headers behind it do not
/// matter: many send the line alone, some end it with LF.
pub fn sipfrag_status(body: &[u8]) -> Option<StatusCode> {
    let body = body.trim_ascii_start();
    let line = body.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
    match Index::read(line.get(..line.len().min(1024))?).ok()?.start {
        Start::Response { status, .. } => Some(status),
        Start::Request { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_reports_a_status() {
        assert_eq!(sipfrag_status(b"SIP/2.0 100 Trying\r\n"), Some(StatusCode::TRYING));
        assert_eq!(sipfrag_status(b"\r\nSIP/2.0 603 Declined\nWarning: x"), Some(StatusCode::DECLINE));
        assert_eq!(sipfrag_status(b"SIP/2.0 200"), Some(StatusCode::OK));
        for bad in [&b""[..], b"INVITE sip:a SIP/2.0", b"200 OK", b"SIP/2.0 2000 OK", b"\xff"] {
            assert_eq!(sipfrag_status(bad), None, "{bad:?}");
        }
    }
}
