//! TLS for SIP: who we are, whom we believe, and what a trunk wants beyond that (RFC 5922 without its `sip:` names).
//!
//! A [`Tls`] is replaced as a whole; streams that are open keep what they were opened with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// A certificate chain and its key.
#[derive(Debug)]
pub struct Identity {
    /// Ours first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the first.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// What one trunk wants of TLS.
#[derive(Debug, Clone, Default)]
pub struct TrunkTls {
    /// Whose trunk.
    pub of: String,
    /// Where its streams come from and go to.
    pub networks: Vec<IpNet>,
    /// The name its certificate must have; when not given, the one its target is known under, or its address.
    pub server_name: Option<ServerName<'static>>,
    /// The names that its targets are known under.
    pub names: Vec<(SocketAddr, ServerName<'static>)>,
    /// Who vouches for it; the public authorities when empty.
    pub roots: Vec<CertificateDer<'static>>,
    /// Shown to it when it asks who we are.
    pub identity: Option<Identity>,
    /// Names one of which the certificate must have that it shows when it opens a stream; empty when it need not show one.
    pub client_names: Vec<ServerName<'static>>,
}

/// Why TLS cannot be set up so.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificate and key.
    #[error("certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    /// Authorities.
    #[error("the trusted certificates cannot be used: {0}")]
    Roots(String),
}

/// Everything that TLS streams are opened with.
#[derive(Clone, Default)]
pub struct Tls {
    server: Option<Arc<ServerConfig>>,
    trunks: Vec<Arc<Trunk>>,
    usual: Option<Arc<ClientConfig>>,
}

#[derive(Clone)]
struct Trunk {
    of: String,
    networks: Vec<IpNet>,
    server_name: Option<ServerName<'static>>,
    names: Vec<(SocketAddr, ServerName<'static>)>,
    client: Arc<ClientConfig>,
    clients: Option<(Arc<dyn ClientCertVerifier>, Vec<ServerName<'static>>)>,
}

impl Tls {
    /// `server` is who we are to those who open streams to us.
    ///
    /// # Errors
    /// What cannot be used, and whose it is: the trunk's place in `trunks`, or none for `server`.
    pub fn new(server: Option<Identity>, trunks: Vec<TrunkTls>) -> Result<Self, (Option<usize>, TlsError)> {
        let mut authorities = Vec::new();
        let mut known = Vec::new();
        for (place, trunk) in trunks.into_iter().enumerate() {
            if !trunk.client_names.is_empty() {
                authorities.extend(trunk.roots.iter().cloned());
            }
            known.push(Arc::new(Trunk::new(trunk).map_err(|error| (Some(place), error))?));
        }
        let server = server
            .map(|identity| server_config(identity, authorities).map(Arc::new))
            .transpose()
            .map_err(|error| (None, error))?;
        let usual = client_config(&[], None).map_err(|error| (None, error))?;
        Ok(Self { server, trunks: known, usual: Some(usual) })
    }

    /// The same, where the targets of these trunks are known under these names.
    #[must_use]
    pub fn located(&self, names: &BTreeMap<String, Vec<(SocketAddr, ServerName<'static>)>>) -> Self {
        let trunks = self.trunks.iter().map(|trunk| match names.get(&trunk.of) {
            Some(names) => {
                let mut trunk = Trunk::clone(trunk);
                trunk.networks.extend(names.iter().map(|(at, _)| IpNet::from(at.ip().to_canonical())));
                trunk.names.clone_from(names);
                Arc::new(trunk)
            }
            None => trunk.clone(),
        });
        Self { trunks: trunks.collect(), ..self.clone() }
    }

    /// Who we are, if anyone.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }

    /// How to open a stream to `peer`, and the name that its certificate must have.
    pub(super) fn towards(&self, peer: SocketAddr) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let trunk = self.trunk(peer.ip());
        let config = trunk.map(|trunk| trunk.client.clone()).or_else(|| self.usual.clone())?;
        let name = trunk
            .and_then(|trunk| trunk.server_name.clone())
            .or_else(|| trunk?.names.iter().find(|(at, _)| *at == peer).map(|(_, name)| name.clone()))
            .unwrap_or_else(|| ServerName::from(peer.ip()));
        Some((config, name))
    }

    /// Whether whoever opened a stream from `peer` has shown what the trunks there want to see.
    pub(super) fn accepts(&self, peer: IpAddr, shown: Option<&[CertificateDer<'static>]>) -> bool {
        let peer = peer.to_canonical();
        let mut there = self.trunks.iter().filter(|trunk| trunk.contains(peer)).peekable();
        there.peek().is_none() || there.any(|trunk| trunk.accepts(shown))
    }

    fn trunk(&self, peer: IpAddr) -> Option<&Arc<Trunk>> {
        self.trunks.iter().find(|trunk| trunk.contains(peer.to_canonical()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("trunks", &self.trunks.len()).finish_non_exhaustive()
    }
}

impl Trunk {
    fn new(trunk: TrunkTls) -> Result<Self, TlsError> {
        let TrunkTls { of, networks, server_name, names, roots, identity, client_names } = trunk;
        let client = client_config(&roots, identity)?;
        let clients = if client_names.is_empty() {
            None
        } else {
            let verifier = WebPkiClientVerifier::builder_with_provider(store(&roots)?, provider()).build();
            let verifier = verifier.map_err(|error| TlsError::Roots(error.to_string()))?;
            Some((verifier, client_names))
        };
        Ok(Self { of, networks, server_name, names, client, clients })
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    fn accepts(&self, shown: Option<&[CertificateDer<'static>]>) -> bool {
        let Some((verifier, names)) = &self.clients else { return true };
        let Some((first, rest)) = shown.and_then(<[_]>::split_first) else { return false };
        let vouched = verifier.verify_client_cert(first, rest, UnixTime::now()).is_ok();
        let Ok(parsed) = ParsedCertificate::try_from(first) else { return false };
        vouched && names.iter().any(|name| verify_server_name(&parsed, name).is_ok())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn store(roots: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    if roots.is_empty() {
        store.roots.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
    }
    for root in roots {
        store.add(root.clone()).map_err(|error| TlsError::Roots(error.to_string()))?;
    }
    Ok(Arc::new(store))
}

fn client_config(
    roots: &[CertificateDer<'static>],
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?
        .with_root_certificates(store(roots)?);
    let config = match identity {
        Some(Identity { chain, key }) => {
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Whoever has a certificate is asked for it where any trunk wants one; who must have shown which is judged after the
/// handshake, when the source says which trunk it is.
fn server_config(
    identity: Identity,
    mut authorities: Vec<CertificateDer<'static>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?;
    authorities.dedup();
    let builder = if authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(store(&authorities)?, provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Roots(error.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    builder.with_single_cert(identity.chain, identity.key).map_err(TlsError::Identity)
}
