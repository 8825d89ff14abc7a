//! The files of TLS, read into what rustls serves by.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore};

use super::TlsFiles;
use super::certificate::Certificate;
use crate::error::{Error, TlsProblem};

/// What is spoken over TLS, as clients ask for it.
const HTTP: &[u8] = b"http/1.1";

/// What the files say.
pub(super) struct Loaded {
    /// For connections.
    pub(super) config: Arc<ServerConfig>,
    /// The server's own, as far as it can be read.
    pub(super) certificate: Option<Certificate>,
    /// Authorities of clients.
    num_authorities: Option<usize>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No key of the config's.
        f.debug_struct("Loaded").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads all files; what was read of a part of them is not used.
    ///
    /// Errors: `Tls`.
    pub(super) fn read(files: &TlsFiles) -> Result<Loaded, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |problem| Error::Tls { path, problem }
        };
        let chain = certificates(&files.certificate).map_err(at(&files.certificate))?;
        let key = key(&files.key).map_err(at(&files.key))?;
        let certificate = chain.first().and_then(|first| Certificate::of(first));
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsProblem::Unusable(error.to_string()))
            .map_err(at(&files.certificate))?;
        let mut num_authorities = None;
        let builder = match &files.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = authorities(path).map_err(at(path))?;
                num_authorities = Some(roots.len());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| TlsProblem::Unusable(error.to_string()))
                    .map_err(at(path))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => at(&files.key)(TlsProblem::Mismatch),
            rustls::Error::InvalidCertificate(_) => {
                at(&files.certificate)(TlsProblem::Unusable(error.to_string()))
            }
            error => at(&files.key)(TlsProblem::Unusable(error.to_string())),
        })?;
        config.alpn_protocols = vec![HTTP.to_vec()];
        Ok(Loaded { config: Arc::new(config), certificate, num_authorities })
    }

    /// What they say, for the log.
    pub(super) fn told(&self) -> String {
        let certificate = self.certificate.as_ref().map_or("a certificate".to_owned(), |certificate| {
            let until = jiff::Timestamp::from_second(certificate.until);
            let until = until.map_or_else(|_| "?".to_owned(), |until| until.to_string());
            format!("a certificate of {}, until {until}", certificate.subject)
        });
        match self.num_authorities {
            None => certificate,
            Some(count) => {
                format!(
                    "{certificate}; clients of {count} {}",
                    if count == 1 { "authority" } else { "authorities" }
                )
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsProblem> {
    fs::read(path).map_err(TlsProblem::Unreadable)
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| TlsProblem::Unusable(error.to_string()))?;
    match found.is_empty() {
        false => Ok(found),
        true if holds(&text, b"PRIVATE KEY-----") => Err(TlsProblem::KeyAlone),
        true => Err(TlsProblem::NoCertificate),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    let text = read(path)?;
    // In the head of a section of either kind.
    if holds(&text, b"ENCRYPTED") {
        return Err(TlsProblem::EncryptedKey);
    }
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        Error::NoItemsFound => TlsProblem::NoKey,
        error => TlsProblem::Unusable(error.to_string()),
    })
}

/// At least one.
fn authorities(path: &Path) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsProblem::Unusable(error.to_string()))?;
    }
    Ok(roots)
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
