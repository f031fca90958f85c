//! What of a request's body is ours to read, and how we refuse the rest: RFC 3261 §8.2.3, §20.1.

const SDP: &str = "application/sdp";
/// What a request about a session may carry.
pub(super) const ACCEPTED: &str = "application/sdp, multipart/mixed";

/// Why a request that is about a session cannot be acted on, or nothing.
pub(super) fn refusal(request: &sip::Message) -> Option<(sip::StatusCode, sip::Headers)> {
    if let Err(fault) = request.session_description() {
        let headers = match fault {
            sip::ContentFault::Encoding => vec![("Accept-Encoding".into(), "identity".to_owned())],
            sip::ContentFault::Type => vec![("Accept".into(), ACCEPTED.to_owned())],
            sip::ContentFault::Malformed | sip::ContentFault::TooDeep => Vec::new(),
        };
        return Some((fault.status(), headers));
    }
    (!takes_our_answer(request)).then(|| (sip::StatusCode::NOT_ACCEPTABLE, Vec::new()))
}

/// Whether the sender reads session descriptions. An Accept that cannot be read forbids nothing.
fn takes_our_answer(request: &sip::Message) -> bool {
    let accept = request.accept().map(|types| types.collect::<Result<Vec<_>, _>>());
    match accept {
        Some(Ok(types)) => types.iter().any(|accepted| accepted.covers(SDP)),
        Some(Err(_)) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &str, body: &str) -> Option<(u16, String)> {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{}\r\n{body}", headers.replace('\n', "\r\n"));
        let request = sip::Message::parse(text.into(), sip::Framing::Datagram).expect("SIP");
        refusal(&request).map(|(status, headers)| {
            let told: Vec<String> =
                headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
            (status.code(), told.join("; "))
        })
    }

    #[test]
    fn a_body_that_we_do_not_read_is_refused_with_what_we_do() {
        assert_eq!(refused("Content-Type: application/sdp\n", "v=0"), None);
        assert_eq!(
            refused("Content-Type: text/plain\n", "hello"),
            Some((415, "Accept: application/sdp, multipart/mixed".into()))
        );
        assert_eq!(
            refused("Content-Type: application/sdp\nContent-Encoding: gzip\n", "x"),
            Some((415, "Accept-Encoding: identity".into()))
        );
        assert_eq!(refused("Content-Type: multipart/mixed\n", "x"), Some((400, String::new())));
    }

    #[test]
    fn who_does_not_accept_session_descriptions_gets_none() {
        assert_eq!(refused("Accept: text/plain\n", ""), Some((406, String::new())));
        assert_eq!(refused("Accept:\n", ""), Some((406, String::new())));
        assert_eq!(refused("Accept: text/plain, application/*;q=0.1\n", ""), None);
        assert_eq!(refused("Accept: ,,\n", ""), None);
        assert_eq!(refused("", ""), None);
    }
}
