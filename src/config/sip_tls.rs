//! Certificates of SIP: ours in `[sip]`, and what a trunk wants in its `[providers.…]`.

use std::net::SocketAddr;

use ipnet::IpNet;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::ShownCertificate;
use super::mistake::Problem;
use super::section::Section;
use super::surroundings::{Secret, SecretsAre, Surroundings};
use crate::call::ProviderKey;
use crate::net::{Identity, Tls, TlsError, TrunkTls};

/// What could be read of it, before it is put together.
#[derive(Debug, Default)]
pub(super) struct SipTls {
    /// Who we are.
    pub(super) server: Option<Identity>,
    /// What each provider wants.
    pub(super) trunks: Vec<(ProviderKey, TrunkTls)>,
}

impl SipTls {
    /// The certificates in it.
    pub(super) fn tell_shown(&self, shown: &mut Vec<ShownCertificate>) {
        let server = self.server.iter().map(|identity| ("sip".to_owned(), identity));
        let trunks = self.trunks.iter().filter_map(|(key, trunk)| {
            trunk.identity.as_ref().map(|identity| (format!("providers.{key}"), identity))
        });
        for (section, identity) in server.chain(trunks) {
            let first = identity.chain.first().cloned();
            shown.extend(first.map(|certificate| ShownCertificate { section, certificate }));
        }
    }

    /// Puts it together; what cannot be used is a mistake of the file.
    pub(super) fn build(self, top: &mut Section<'_>) -> Tls {
        let (keys, trunks): (Vec<ProviderKey>, Vec<TrunkTls>) = self.trunks.into_iter().unzip();
        Tls::new(self.server, trunks).unwrap_or_else(|(place, error)| {
            let of = place.map_or("[sip]".to_owned(), |place| format!("[providers.{}]", keys[place]));
            let what = match error {
                TlsError::Identity(error) => format!("`tls_certificate` and `tls_key` of {of}: {error}"),
                TlsError::Roots(error) => format!("`tls_trusted_certificates` of {of}: {error}"),
            };
            top.object_whole(Problem::Conflict(format!(
                "{what}; write a PEM file that holds what is needed"
            )));
            Tls::default()
        })
    }
}

/// `tls_certificate` and `tls_key` of a section: both or none.
pub(super) fn identity(section: &mut Section<'_>, surroundings: &Surroundings) -> Option<Identity> {
    let certificate = section.text("tls_certificate");
    let key = section.secret("tls_key", surroundings);
    match (certificate, key) {
        (Some(_), Some(_)) if surroundings.secrets == SecretsAre::LeftAlone => None,
        (Some(certificate), Some(key)) => match read_identity(&certificate, &key, surroundings) {
            Ok(identity) => Some(identity),
            Err((field, problem)) => {
                section.object(field, Problem::Conflict(problem));
                None
            }
        },
        (Some(_), None) => {
            section.missing("tls_key", "{ credential = \"tls_key\" }");
            None
        }
        (None, Some(_)) => {
            section.missing("tls_certificate", "\"tls/certificate.pem\"");
            None
        }
        (None, None) => None,
    }
}

/// What a trunk that lies in `networks` wants of TLS, its targets being known under these names.
pub(super) fn trunk(
    of: &str,
    section: &mut Section<'_>,
    surroundings: &Surroundings,
    networks: Vec<IpNet>,
    targets: &[(SocketAddr, String)],
) -> TrunkTls {
    let roots = section.parsed("tls_trusted_certificates", |path| {
        let unreadable =
            |error| format!("cannot be read as certificates: {error}; write the path of a PEM file");
        if surroundings.secrets == SecretsAre::LeftAlone {
            return Ok(Vec::new());
        }
        let roots = CertificateDer::pem_file_iter(surroundings.path(path)).map_err(unreadable)?;
        roots.collect::<Result<Vec<_>, _>>().map_err(unreadable)
    });
    let name = section.parsed("tls_server_name", certificate_name);
    let client_names = section.list("tls_client_names", certificate_name).unwrap_or_default();
    if !client_names.is_empty() && !section.is_there("tls_trusted_certificates") {
        let problem = "who vouches for these names? Write `tls_trusted_certificates = \"trunk-ca.pem\"` too";
        section.object("tls_client_names", Problem::Conflict(problem.to_owned()));
    }
    TrunkTls {
        of: of.to_owned(),
        networks,
        server_name: name,
        names: named(targets),
        roots: roots.unwrap_or_default(),
        identity: identity(section, surroundings),
        client_names,
    }
}

pub(super) fn named(targets: &[(SocketAddr, String)]) -> Vec<(SocketAddr, ServerName<'static>)> {
    targets.iter().filter_map(|(address, host)| Some((*address, certificate_name(host).ok()?))).collect()
}

fn certificate_name(text: &str) -> Result<ServerName<'static>, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        "is not a name of a certificate; write one like sip.example.com or an address".to_owned()
    })
}

/// Certificate chain and key, both PEM; an error names the key of the section that is at fault.
pub(super) fn read_identity(
    certificate: &str,
    key: &Secret,
    surroundings: &Surroundings,
) -> Result<Identity, (&'static str, String)> {
    let path = surroundings.path(certificate);
    let unreadable =
        |error| ("tls_certificate", format!("cannot read certificates from `{certificate}`: {error}"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let chain = chain.map_err(unreadable)?;
    if chain.is_empty() {
        return Err(("tls_certificate", format!("`{certificate}` holds no certificate; write a PEM file")));
    }
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|error| ("tls_key", format!("is not a private key in PEM: {error}")))?;
    Ok(Identity { chain, key })
}
