//! Why does the server not start, or stop?
//!
//! [`Error`] is what the composition root shows an operator, each with what to do about it: another port, a
//! file of keys, another folder. Once the server listens nothing of this can happen any more.
//!
//! What goes wrong with one request is a row of the table in `api/errors.rs`, and is told to the client
//! instead.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that keeps the server from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another --port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Other machines can reach the address, and no key is asked for.
    #[error(
        "{address} can be reached from other machines, but no API key is asked for; \
         give --api-key-file FILE, or listen on 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// A policy is judged by nobody.
    #[error(
        "the policy {policy:?} is judged by the model {model:?}, which is not served; add --model {model}"
    )]
    Guard {
        /// The policy.
        policy: String,
        /// The model.
        model: String,
    },
    /// A line of the key file.
    #[error("the API key file, line {line}: {problem}")]
    KeyFile {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// What is to be the origin of pages.
    #[error("{text:?} is not an origin: give SCHEME://HOST[:PORT] without a path, or '*' for all")]
    Origin {
        /// As it was given.
        text: String,
    },
    /// The state folder.
    #[error("cannot keep state in {path}: {problem}, or choose another --state-dir")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// A file of TLS.
    #[error("cannot speak TLS with {path}: {problem}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: TlsProblem,
    },
    /// Two models have one name.
    #[error("two models are called {name:?}; give each a name of its own: --model NAME=SOURCE")]
    ModelName {
        /// The name.
        name: String,
    },
    /// A model that could never be loaded.
    #[error(
        "{name} takes {bytes} bytes, and all models together may take {budget}; give more --memory, or a smaller --context"
    )]
    ModelBytes {
        /// Its name.
        name: String,
        /// As planned.
        bytes: u64,
        /// Of all.
        budget: u64,
    },
    /// The system refused something.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a file of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(std::io::Error),
    /// It is no PEM with a certificate.
    #[error(
        "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----); one in DER becomes PEM by \
         `openssl x509 -inform der -in FILE`"
    )]
    NoCertificate,
    /// It is a key.
    #[error("it holds a private key and no certificate; are --tls-cert and --tls-key swapped?")]
    KeyAlone,
    /// It has no key.
    #[error(
        "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----); the key's file belongs there, not the \
         certificate's"
    )]
    NoKey,
    /// Its key has a password.
    #[error(
        "its private key is encrypted, and nobody is asked for a password here; \
         `openssl pkey -in FILE -out PLAIN` writes one without, which only this user should be able to read"
    )]
    EncryptedKey,
    /// The key is another certificate's.
    #[error("its private key is not that of the certificate; give the two that were made together")]
    Mismatch,
    /// rustls cannot use it.
    #[error("it cannot be used: {0}")]
    Unusable(String),
}

/// What the system said of a file or a folder, with what to do about it.
pub(crate) fn remedied(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "give this user the right to read and write there"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "move what is there away"
        }
        _ => "put it right",
    };
    format!("{error}: {remedy}")
}
