//! Who vouches for whom where flows travel over TLS: one authority, a certificate of the daemon's and one that all phones show.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const EDGE_NAME: &str = "edge.flow.test";
pub(crate) const PHONE_NAME: &str = "phone.flow.test";

/// See the module. The daemon reads its part from files.
pub(crate) struct Certificates {
    directory: PathBuf,
    edge_key: String,
    /// What phones show, and what they believe.
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Certificates {
    /// Those of this process.
    pub(crate) fn get() -> &'static Self {
        static MADE: OnceLock<Certificates> = OnceLock::new();
        MADE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let issue = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
        };
        let (edge, edge_key) = issue(EDGE_NAME);
        let (phone, phone_key) = issue(PHONE_NAME);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("flows");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, pem) in [("edge.pem", &edge), ("authority.pem", &authority.pem())] {
            std::fs::write(directory.join(name), pem).unwrap();
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(phone.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(phone_key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        Self { directory, edge_key, server: Arc::new(server), client: Arc::new(client) }
    }

    /// The daemon's key, which its configuration takes from `EDGE_KEY`.
    pub(crate) fn edge_key(&self) -> String {
        self.edge_key.clone()
    }

    /// What `[sip]` says of its certificate.
    pub(crate) fn of_the_daemon(&self) -> String {
        let file = self.directory.join("edge.pem");
        format!("sip.tls_certificate = \"{}\"\nsip.tls_key = {{ env = \"EDGE_KEY\" }}\n", file.display())
    }

    /// What a trunk says of the phones'.
    pub(crate) fn of_a_trunk(&self) -> String {
        let file = self.directory.join("authority.pem");
        format!("tls_server_name = \"{PHONE_NAME}\"\ntls_trusted_certificates = \"{}\"\n", file.display())
    }
}
