//! Digest with SHA-256 (RFC 7616) as the scripted peer computes it.

use ring::digest::{SHA256, digest};

fn hash(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One field of a challenge or of credentials.
pub(crate) fn field(header: &str, name: &str) -> Option<String> {
    let (_, fields) = header.split_once(' ')?;
    let fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
    let mut named = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim_matches('"').to_owned())
}

fn response(
    realm: &str,
    nonce: &str,
    user: &str,
    password: &str,
    method: &str,
    uri: &str,
    count: &str,
    cnonce: &str,
) -> String {
    let (who, what) = (hash(&format!("{user}:{realm}:{password}")), hash(&format!("{method}:{uri}")));
    hash(&format!("{who}:{nonce}:{count}:{cnonce}:auth:{what}"))
}

/// Whether these credentials prove the password.
pub(crate) fn is_right(credentials: &str, method: &str, password: &str) -> bool {
    let [realm, nonce, user, uri, count, cnonce, told] =
        ["realm", "nonce", "username", "uri", "nc", "cnonce", "response"]
            .map(|name| field(credentials, name).unwrap_or_default());
    told == response(&realm, &nonce, &user, password, method, &uri, &count, &cnonce)
}

/// Credentials that answer a challenge.
pub(crate) fn answer(
    challenge: &str,
    user: &str,
    password: &str,
    method: &str,
    uri: &str,
    count: u32,
) -> String {
    let [realm, nonce] = ["realm", "nonce"].map(|name| field(challenge, name).unwrap_or_default());
    let count = format!("{count:08x}");
    let response = response(&realm, &nonce, user, password, method, uri, &count, "c0ffee");
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm=SHA-256, cnonce=\"c0ffee\", qop=auth, nc={count}"
    )
}
