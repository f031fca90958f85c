//! The URL of a receiver. Pure.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::str::FromStr;

use http::Uri;
use url::Url;

use super::guard::Scheme;

/// A URL that events can be posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverUrl {
    uri: Uri,
    scheme: Scheme,
}

/// Why a text is not the URL of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAReceiver {
    /// Does not parse, or has no host.
    #[error("not a URL")]
    Url,
    /// Some other scheme.
    #[error("the URL is neither https nor http")]
    Scheme,
    /// RFC 9110 §4.2.4 warns of them, and they would show up in every list.
    #[error("the URL carries a user name or password: put a secret path in its place")]
    UserInfo,
}

impl ReceiverUrl {
    /// Where to post.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// How.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl FromStr for ReceiverUrl {
    type Err = NotAReceiver;

    fn from_str(text: &str) -> Result<Self, NotAReceiver> {
        let mut url = Url::parse(text).map_err(|_| NotAReceiver::Url)?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(NotAReceiver::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAReceiver::UserInfo);
        }
        url.set_fragment(None);
        let uri = url.as_str().parse().map_err(|_| NotAReceiver::Url)?;
        Ok(Self { uri, scheme })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_an_http_url_without_credentials() {
        for (text, expected) in [
            ("https://hooks.example.com/in?x=1#part", Ok("https://hooks.example.com/in?x=1")),
            ("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080/")),
            ("https://[2001:db8::1]:8443/a b", Ok("https://[2001:db8::1]:8443/a%20b")),
            ("https://BÜCHER.example/", Ok("https://xn--bcher-kva.example/")),
            // Whatever notation an address hides in, the guard sees the address.
            ("http://0x7f.1/", Ok("http://127.0.0.1/")),
            ("https://2130706433/", Ok("https://127.0.0.1/")),
            ("ftp://example.com/", Err(NotAReceiver::Scheme)),
            ("file:///etc/passwd", Err(NotAReceiver::Scheme)),
            ("https://", Err(NotAReceiver::Url)),
            ("hooks.example.com/in", Err(NotAReceiver::Url)),
            ("https://user@example.com/", Err(NotAReceiver::UserInfo)),
            ("https://user:secret@example.com/", Err(NotAReceiver::UserInfo)),
            ("", Err(NotAReceiver::Url)),
        ] {
            let parsed = text.parse::<ReceiverUrl>().map(|url| url.uri().to_string());
            assert_eq!(parsed, expected.map(Into::into), "{text}");
        }
    }
}
