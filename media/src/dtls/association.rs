//! One handshake with the peer of a leg, by `rtc-dtls`.
//!
//! ```text
//!   [Shaking] -- handshake complete, certificate and profile right --> [Secured]
//!       |  ^                                                               | close_notify
//!       |  +-- no answer to any repetition: from the beginning             v
//!       +-- wrong certificate, no profile, alert --> [Over] <--------------+
//!           (from another address than the signalled one: from the beginning)
//! ```
//!
//! The keys outlive the association: its end after [`State::Secured`] means nothing for the audio, whose end SIP tells.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Profile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::repeats::Repeats;
use super::{DtlsRole, DtlsTerms, HANDSHAKE_PATIENCE, Outcome, Unsecured};
use crate::session::same;
use crate::{Discard, SrtpKey, SrtpKeys, SrtpSuite};

/// What has no answer is said again so soon (RFC 6347 §4.2.4.1 proposes a second; a caller waits for this).
const REPEAT: Duration = Duration::from_millis(400);

/// How often it is told that there are no keys, when there should be.
const TOLD_EACH: Duration = Duration::from_secs(1);

/// Datagrams that are taken in one association: many times a handshake with losses. The rest is a flood.
const HEARD_MAX: u32 = 256;

/// RFC 5764 §4.2.
const LABEL: &str = "EXTRACTOR-dtls_srtp";

/// The endpoint wants addresses; which ones are real is the session's business.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// What an error of our own check is called on its way through the library.
const WRONG_CERTIFICATE: &str = "not the certificate of a=fingerprint";

/// What may be agreed on, the preferred one first.
const PROFILES: [(Profile, SrtpSuite); 4] = [
    (Profile::Srtp_Aead_Aes_256_Gcm, SrtpSuite::AeadAes256Gcm),
    (Profile::Srtp_Aead_Aes_128_Gcm, SrtpSuite::AeadAes128Gcm),
    (Profile::Srtp_Aes128_Cm_Hmac_Sha1_80, SrtpSuite::AesCm128HmacSha1_80),
    (Profile::Srtp_Aes128_Cm_Hmac_Sha1_32, SrtpSuite::AesCm128HmacSha1_32),
];

/// One handshake.
pub(crate) struct Association {
    terms: DtlsTerms,
    config: Arc<HandshakeConfig>,
    endpoint: Endpoint,
    state: State,
    /// Where its datagrams come from.
    peer: Option<SocketAddr>,
    /// That is not the address of its description.
    is_strange: bool,
    heard: u32,
    repeats: Repeats,
    outgoing: VecDeque<BytesMut>,
    outcomes: VecDeque<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Shaking {
        /// When it is told that there are no keys.
        told: Instant,
    },
    Secured,
    Over,
}

impl Association {
    /// A handshake that begins at `now`; nothing where the library takes none of our terms.
    pub(crate) fn new(now: Instant, terms: DtlsTerms) -> Option<Self> {
        let config = Arc::new(config(&terms).ok()?);
        let endpoint = begin(now, &config, terms.role).ok()?;
        let state = State::Shaking { told: now + HANDSHAKE_PATIENCE };
        let outcomes = VecDeque::with_capacity(2);
        let (repeats, outgoing) = (Repeats::default(), VecDeque::new());
        let mut association = Self {
            terms,
            config,
            endpoint,
            state,
            peer: None,
            is_strange: false,
            heard: 0,
            repeats,
            outgoing,
            outcomes,
        };
        association.collect();
        Some(association)
    }

    /// It was agreed on again, perhaps by the answer behind early media: its time begins anew.
    pub(crate) fn extend(&mut self, now: Instant) {
        if let State::Shaking { told } = &mut self.state {
            *told = now + HANDSHAKE_PATIENCE;
        }
    }

    /// Where the peer's datagrams come from, once there were any.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// A datagram that is DTLS by its first byte. Of a client behind a NAT the first source counts, until that of the description,
    /// `signalled`, is heard; a server is heard where our datagrams go, `destination`. A stranger who was faster than the peer can
    /// delay its handshake and not end it.
    ///
    /// # Errors
    /// Why it was not used.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        signalled: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        match self.peer {
            // A client hears its answer from where it has begun.
            _ if self.terms.role == DtlsRole::Client && !same(from, destination) => {
                return Err(Discard::Source);
            }
            Some(peer) if same(peer, from) => {}
            None => self.peer = Some(from),
            Some(_) if same(from, signalled) && matches!(self.state, State::Shaking { .. }) => {
                self.peer = Some(from);
                // What strangers have sent is not held against it.
                self.heard = 0;
                self.begin_anew(now);
            }
            Some(_) => return Err(Discard::Source),
        }
        if self.state == State::Over || self.heard >= HEARD_MAX {
            return Err(Discard::Dtls);
        }
        self.is_strange = self.terms.role == DtlsRole::Server && !same(from, signalled);
        self.heard += 1;
        if self.state != State::Secured && self.repeats.is_repeat(datagram) {
            return Ok(());
        }
        let outcome = self.endpoint.read(now, NOWHERE, None, BytesMut::from(datagram));
        if self.collect() {
            self.repeats.answered();
        }
        let taken = match outcome {
            Ok(events) => {
                for event in events {
                    self.take(now, &event);
                }
                Ok(())
            }
            Err(error) => self.stumble(now, &error),
        };
        self.collect();
        taken
    }

    /// When it is told that there are no keys.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Shaking { told } => Some(told),
            State::Secured | State::Over => None,
        }
    }

    /// Time passed; cheap to ask on every beat.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let State::Shaking { told } = self.state else { return };
        let due = self.endpoint.poll_timeout(&NOWHERE).is_some_and(|due| due <= now);
        if due && self.endpoint.handle_timeout(NOWHERE, now).is_err() {
            self.begin_anew(now);
        }
        self.collect();
        if told <= now {
            self.state = State::Shaking { told: now + TOLD_EACH };
            self.tell(Outcome::Unsecured(Unsecured::TimedOut));
        }
    }

    /// The next datagram for the peer, and how long it is.
    pub(crate) fn next_datagram(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let message = self.outgoing.pop_front()?;
        buffer.get_mut(..message.len())?.copy_from_slice(&message);
        Some(message.len())
    }

    /// What came of it.
    pub(crate) fn next_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "not ours: what the library adds means nothing to us")]
    fn take(&mut self, now: Instant, event: &EndpointEvent) {
        match event {
            EndpointEvent::HandshakeComplete => match self.keys() {
                Ok(keys) => {
                    self.state = State::Secured;
                    self.tell(Outcome::Secured(keys));
                }
                Err(why) => {
                    self.endpoint.stop(now, NOWHERE);
                    self.fail(now, why);
                }
            },
            EndpointEvent::PeerClosed => self.fail(now, Unsecured::Alert),
            // Nothing is said over it.
            _ => {}
        }
    }

    /// What of an error is the end; all else is noise that anybody can make.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's errors, for all of its protocols")]
    fn stumble(&mut self, now: Instant, error: &Error) -> Result<(), Discard> {
        let why = match error {
            Error::Other(text) if text == WRONG_CERTIFICATE => Unsecured::Fingerprint,
            Error::ErrServerNoMatchingSrtpProfile | Error::ErrClientNoMatchingSrtpProfile => {
                Unsecured::Profile
            }
            Error::ErrCipherSuiteNoIntersection => Unsecured::Handshake,
            Error::ErrAlertFatalOrClose => Unsecured::Alert,
            _ => return Err(Discard::Dtls),
        };
        // After the keys an alert that is no forgery only says that the peer lets go of the association.
        if self.state == State::Secured {
            self.endpoint.stop(now, NOWHERE);
        }
        self.fail(now, why);
        Ok(())
    }

    /// Without keys it is told why; with keys they stay. What comes from elsewhere may be anybody's and proves nothing.
    fn fail(&mut self, now: Instant, why: Unsecured) {
        if self.is_strange && self.state != State::Secured {
            self.peer = None;
            return self.begin_anew(now);
        }
        if std::mem::replace(&mut self.state, State::Over) != State::Secured {
            self.tell(Outcome::Unsecured(why));
        }
    }

    /// The same handshake from its first message.
    fn begin_anew(&mut self, now: Instant) {
        if let Ok(endpoint) = begin(now, &self.config, self.terms.role) {
            self.endpoint = endpoint;
            self.repeats = Repeats::default();
            // What the one before wanted to say was for somebody else.
            self.outgoing.clear();
            self.collect();
        }
    }

    /// Takes what the library wants to send; whether there was anything.
    fn collect(&mut self) -> bool {
        let before = self.outgoing.len();
        self.outgoing.extend(std::iter::from_fn(|| Some(self.endpoint.poll_transmit()?.message)));
        self.outgoing.len() > before
    }

    /// RFC 5764 §4.2: the client's key, the server's key, the client's salt, the server's salt.
    fn keys(&self) -> Result<SrtpKeys, Unsecured> {
        let state = self.endpoint.get_connection_state(NOWHERE).ok_or(Unsecured::Handshake)?;
        let certificate = state.peer_certificates.first().ok_or(Unsecured::Fingerprint)?;
        if !self.terms.is_of(certificate) {
            return Err(Unsecured::Fingerprint);
        }
        let agreed = state.srtp_protection_profile();
        let suite = PROFILES.into_iter().find_map(|(profile, suite)| (profile == agreed).then_some(suite));
        let suite = suite.ok_or(Unsecured::Profile)?;
        let (key, salt) = suite.key_lengths();
        let material = state.export_keying_material(LABEL, &[], 2 * (key + salt));
        let material = material.map_err(|_| Unsecured::Handshake)?;
        let (keys, salts) = material.as_ref().split_at_checked(2 * key).ok_or(Unsecured::Handshake)?;
        let whole = |side: usize| {
            let mut whole = [0; SrtpKey::LONGEST];
            whole[..key].copy_from_slice(keys.chunks_exact(key).nth(side)?);
            whole[key..key + salt].copy_from_slice(salts.chunks_exact(salt).nth(side)?);
            SrtpKey::new(suite, &whole[..key + salt]).ok()
        };
        let (client, server) = whole(0).zip(whole(1)).ok_or(Unsecured::Handshake)?;
        Ok(match self.terms.role {
            DtlsRole::Client => SrtpKeys { ours: client, theirs: server },
            DtlsRole::Server => SrtpKeys { ours: server, theirs: client },
        })
    }

    fn tell(&mut self, outcome: Outcome) {
        if self.outcomes.len() < 2 {
            self.outcomes.push_back(outcome);
        }
    }
}

impl std::fmt::Debug for Association {
    /// Without its keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Association")
            .field("role", &self.terms.role)
            .field("state", &self.state)
            .field("peer", &self.peer)
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

/// What the library should do. The chain of a certificate says nothing here, its fingerprint says all.
fn config(terms: &DtlsTerms) -> Result<HandshakeConfig, Error> {
    let fingerprints = terms.fingerprints.clone();
    ConfigBuilder::default()
        .with_crypto_provider(terms.identity.provider.clone())
        .with_certificates(vec![terms.identity.certificate.clone()])
        .with_cipher_suites(vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
        ])
        .with_srtp_protection_profiles(PROFILES.iter().map(|(profile, _)| *profile).collect())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true)
        .with_flight_interval(REPEAT)
        .with_server_name(String::from("callingedge"))
        .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _: &_| {
            let certificate = chain.first().map(Vec::as_slice).unwrap_or_default();
            match fingerprints.iter().any(|fingerprint| fingerprint.is_of(certificate)) {
                true => Ok(()),
                false => Err(Error::Other(String::from(WRONG_CERTIFICATE))),
            }
        })))
        .build(terms.role == DtlsRole::Client, None)
}

/// A client says its first word at once; a server waits for it.
fn begin(now: Instant, config: &Arc<HandshakeConfig>, role: DtlsRole) -> Result<Endpoint, Error> {
    let server = (role == DtlsRole::Server).then(|| config.clone());
    let mut endpoint = Endpoint::new(NOWHERE, TransportProtocol::UDP, server);
    if role == DtlsRole::Client {
        endpoint.connect(now, NOWHERE, config.clone(), None)?;
    }
    Ok(endpoint)
}
