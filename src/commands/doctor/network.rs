//! Looks for what is to be reached by TCP: our own daemon, engines, receivers of webhooks. Opens connections, shakes hands, and
//! closes them; sends nothing that would be a call or an event.
#![expect(clippy::disallowed_methods, reason = "a shell: it has a clock")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::facts::{DaemonSeen, EngineSeen, Reached, ReceiverSeen};
use crate::bridge::{Dialler, SocketLimits};
use crate::config::Config;
use crate::webhook::{NetworkPolicy, ReceiverUrl};

/// For our own daemon to answer.
const NEAR: Duration = Duration::from_secs(2);
/// For a receiver to be found and to take a connection.
const FAR: Duration = Duration::from_secs(5);
/// More than a head and two letters is no answer of ours.
const ANSWER_MAX: u64 = 8 * 1024;

/// Whether the daemon of this configuration answers on its API.
pub(super) async fn daemon(config: &Config) -> DaemonSeen {
    let mut at = config.http.listen;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { IpAddr::V6(Ipv6Addr::LOCALHOST) });
    }
    let certificate = config.shown.iter().find(|shown| shown.section == "http");
    let asked = async {
        let tcp = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        match certificate {
            None => healthz(tcp).await.map(|()| DaemonSeen::Answers),
            Some(shown) => {
                let stream = secure(tcp, at).await?;
                let seen = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
                healthz(stream).await?;
                Ok(if seen.as_ref() == Some(&shown.certificate) {
                    DaemonSeen::Answers
                } else {
                    DaemonSeen::AnswersWithOtherCertificate
                })
            }
        }
    };
    match timeout(NEAR, asked).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(why)) => DaemonSeen::Absent(why),
        Err(_) => DaemonSeen::Absent("no answer in time".to_owned()),
    }
}

async fn healthz(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(said)?;
    let mut answer = Vec::new();
    // A peer that ends TLS without saying so has answered all the same.
    let _cut_off = stream.take(ANSWER_MAX).read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    match answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n") {
        true => Ok(()),
        false => Err("what answers there is not an edge".to_owned()),
    }
}

async fn secure(tcp: TcpStream, at: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Whoever(ring.clone()));
    let config = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::from(at.ip()), tcp).await.map_err(|error| error.to_string())
}

/// Takes whatever certificate is shown, to look at it afterwards: we connect by address to ourselves, and send no secret.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Dials every engine as a call would, and closes the socket before anything is said.
pub(super) async fn engines(config: &Config) -> Vec<EngineSeen> {
    let mut dialling = JoinSet::new();
    let dialler = Dialler::new(SocketLimits::default(), rustls::RootCertStore::empty());
    for engine in config.settings.engines.values() {
        let (dialler, engine) = (dialler.clone(), engine.clone());
        dialling.spawn(async move {
            let began = Instant::now();
            let dialled = dialler.dial(&engine).await.map(|mut socket| {
                // Best effort: the engine learns it from the closed connection, too.
                let _closed = socket.websocket.close(None).and_then(|()| socket.websocket.flush());
                began.elapsed()
            });
            EngineSeen { name: engine.name.as_str().to_owned(), url: without_secrets(&engine.url), dialled }
        });
    }
    let mut seen = dialling.join_all().await;
    seen.sort_by(|one, other| one.name.cmp(&other.name));
    seen
}

/// A URL without user, query and fragment, where tokens like to stand.
fn without_secrets(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "a URL that cannot be read".to_owned() };
    // These cannot fail on a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Connects to every place that events go to, as far as the address guard lets us.
pub(super) async fn receivers(config: &Config) -> Vec<ReceiverSeen> {
    let tenants = config.settings.tenants.iter();
    let tenants =
        tenants.map(|(tenant, settings)| (format!("[tenants.{tenant}]"), settings.webhook_url.clone()));
    let providers = config.settings.providers.iter();
    let providers =
        providers.map(|(key, settings)| (format!("[providers.{key}]"), settings.webhook_url.clone()));
    let mut reaching = JoinSet::new();
    for (section, url) in tenants.chain(providers) {
        let Some(url) = url.and_then(|url| ReceiverUrl::from_str(&url).ok()) else { continue };
        let policy = config.webhooks.network.clone();
        reaching.spawn(async move {
            let uri = url.uri();
            let host = uri.host().unwrap_or_default().to_owned();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let place = format!("{}://{host}:{port}", uri.scheme_str().unwrap_or_default());
            let reached = timeout(FAR, reach(&policy, &url, &host, port)).await;
            let reached = reached.unwrap_or_else(|_| Reached::No("no answer in time".to_owned()));
            ReceiverSeen { section, place, reached }
        });
    }
    let mut seen = reaching.join_all().await;
    seen.sort_by(|one, other| one.section.cmp(&other.section));
    seen
}

async fn reach(policy: &NetworkPolicy, url: &ReceiverUrl, host: &str, port: u16) -> Reached {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let resolved: Vec<SocketAddr> = match lookup_host((bare, port)).await {
        Ok(resolved) => resolved.collect(),
        Err(error) => return Reached::NotFound(error.to_string()),
    };
    let chosen = match policy.choose(&resolved, url.scheme()) {
        Ok(chosen) => chosen,
        Err(refusal) => return Reached::Refused(refusal),
    };
    let began = Instant::now();
    let mut last = "it has no address".to_owned();
    for address in chosen {
        match TcpStream::connect(address).await {
            Ok(_) => return Reached::Yes(began.elapsed()),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Reached::No(last)
}
