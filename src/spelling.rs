//! How things are spelt that people write: numbers, URIs, URLs, header names. One rule each, for the configuration
//! and for the API; and the name that was probably meant, for every message about an unknown one.
//!
//! Every rule answers what is wrong and what to write, as the rest of a sentence that begins with the value.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, unsafe_code)]

use url::Url;

/// Longest number or URI that is dialled.
const ADDRESS_MAX: usize = 256;

/// Longest URL.
const URL_MAX: usize = 2048;

/// The known name that `written` is most likely a slip of; nothing when none is close.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['-', '.', ' '], "_").to_lowercase();
    let written = plain(written);
    let distances = known.into_iter().map(|name| (strsim::damerau_levenshtein(&written, &plain(name)), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    let tolerated = (written.chars().count().max(name.chars().count()) / 3).max(1);
    (distance <= tolerated).then_some(name)
}

/// A name that stands in paths, logs and file names.
pub fn name(text: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed) && !text.starts_with('.');
    good.then_some(()).ok_or("cannot be a name; write 1 to 64 letters, digits, `-`, `_` or `.`")
}

/// E.164 with its `+`, or digits with `*` and `#` as a PBX dials them.
pub fn number(text: &str) -> Result<(), &'static str> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let e164 = text.starts_with('+') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let dialled =
        digits == text && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'));
    let length = if e164 { 4..=15 } else { 1..=32 };
    if (e164 || dialled) && length.contains(&digits.len()) {
        Ok(())
    } else {
        Err("is not a number; write E.164 like +16505824074, or only digits, * and #")
    }
}

/// `sip:` or `sips:` with a host and no headers, which would get into requests of ours.
pub fn sip_uri(text: &str) -> Result<(), &'static str> {
    const RULE: &str =
        "is not a SIP URI; write one like sip:alice@example.com or sip:+16505824074@203.0.113.10:5060";
    if text.len() > ADDRESS_MAX {
        return Err("is longer than 256 bytes; write a shorter SIP URI");
    }
    let uri = sip::Uri::parse(text).map_err(|_| RULE)?;
    if !matches!(uri.scheme(), sip::Scheme::Sip | sip::Scheme::Sips) || uri.host().is_none() {
        return Err(RULE);
    }
    if uri.headers().next().is_some() {
        return Err("has headers (`?…`), which are not taken; write the URI without them");
    }
    Ok(())
}

/// What a call may be placed to, or come from: a number or a SIP URI.
pub fn dialable(text: &str) -> Result<(), &'static str> {
    if text.contains(':') {
        return sip_uri(text);
    }
    number(text).map_err(|_| {
        "cannot be dialled; write E.164 like +16505824074, a SIP URI like sip:alice@example.com, or only digits, * \
         and #"
    })
}

/// Where webhooks go: `http` or `https`, a host, no user, no fragment.
pub fn webhook_url(text: &str) -> Result<(), &'static str> {
    web_address(
        text,
        ["http", "https"],
        "is not a URL for webhooks; write one like https://example.com/callingedge",
    )
}

/// Where an engine listens: `ws` or `wss`, a host, no user, no fragment.
pub fn engine_url(text: &str) -> Result<(), &'static str> {
    web_address(text, ["ws", "wss"], "is not a websocket URL; write one like wss://bot.example.com/ws")
}

/// The name of an HTTP or SIP header: a token.
pub fn header_name(text: &str) -> Result<(), &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    let good = (1..=64).contains(&text.len()) && text.bytes().all(token);
    good.then_some(()).ok_or("is not a header name; write letters, digits and `-`")
}

/// A header's value: what stays on one line.
pub fn header_value(text: &str) -> Result<(), &'static str> {
    if text.len() > 1024 {
        return Err("is longer than 1024 bytes; write a shorter header value");
    }
    if text.chars().any(char::is_control) {
        return Err("has control characters; write a header value on one line");
    }
    Ok(())
}

/// The value of a SIP `Identity` header (RFC 8224 §4): a signed token in base64 and its parameters.
pub fn identity(text: &str) -> Result<(), &'static str> {
    let token = text.split(';').next().unwrap_or_default().trim();
    let is_token = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=\"".contains(&byte));
    if text.len() > 4096 || token.is_empty() || !is_token || text.chars().any(char::is_control) {
        return Err(
            "is not the value of an Identity header; write the signed token, then `;info=<…>` and the rest",
        );
    }
    Ok(())
}

fn web_address(text: &str, schemes: [&str; 2], rule: &'static str) -> Result<(), &'static str> {
    if text.len() > URL_MAX {
        return Err("is longer than 2048 bytes; write a shorter URL");
    }
    let url = Url::parse(text).map_err(|_| rule)?;
    if !schemes.contains(&url.scheme()) || !url.has_host() {
        return Err(rule);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in it; leave them out of the URL");
    }
    if url.fragment().is_some() {
        return Err("has a fragment (`#…`), which is never sent; leave it out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_a_stranger_is_not() {
        let known = ["listen", "advertise", "user_agent"];

        assert_eq!(nearest("liste", known), Some("listen"));
        assert_eq!(nearest("User-Agent", known), Some("user_agent"));
        assert_eq!(nearest("advertize", known), Some("advertise"));
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn what_can_be_dialled_is_e164_a_sip_uri_or_keys_of_a_telephone() {
        for good in [
            "+16505824074",
            "*72#",
            "100",
            "sip:alice@example.com",
            "SIPS:[2001:db8::1]:5061",
            "sip:10.0.0.1;lr",
        ] {
            assert_eq!(dialable(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "+",
            "+1-650",
            "alice",
            "tel:+1650",
            "sip:",
            "sip:alice@",
            "sip:a@b?Replaces=x",
            "sip:a@b\r\nVia: x",
            "sip:a@b>",
            "+1234567890123456",
        ] {
            assert!(dialable(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_webhook_url_carries_no_user_and_no_fragment() {
        assert_eq!(webhook_url("https://example.com/hook?a=b"), Ok(()));
        assert_eq!(engine_url("ws://127.0.0.1:8765"), Ok(()));
        for bad in
            ["ftp://example.com", "https://", "example.com", "http://u:p@example.com", "https://e.com/#x"]
        {
            assert!(webhook_url(bad).is_err(), "{bad}");
        }
        assert!(engine_url("https://example.com").is_err());
    }

    #[test]
    fn a_header_stays_on_its_line() {
        assert_eq!(header_name("X-Anything"), Ok(()));
        assert_eq!(header_value("ünïcode is fine"), Ok(()));
        assert!(header_name("X Anything").is_err());
        assert!(header_name("").is_err());
        assert!(header_value("a\r\nVia: b").is_err());
    }
}
