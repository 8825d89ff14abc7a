//! TLS: the certificate that is shown, whose clients are let in, and how both change while the server runs.
//!
//! [`Tls`] holds what the files said when they were read last and could be used. Files that change are read
//! again, all together; when they are wrong, what was read before stays, and the log says why. Connections
//! that are open keep what they began with; no session of before is resumed.

mod certificate;
mod files;
mod handshake;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;

use crate::access_log::AccessLog;
use crate::clock::now;
use crate::error::Error;
use certificate::Certificate;
use files::Loaded;
pub(crate) use handshake::Handshakes;

/// How long before its end a certificate is warned of. Units: seconds.
const EXPIRY_NOTICE: u64 = 7 * 24 * 3600;

/// The files, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients; None lets in clients without a certificate.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.certificate), Some(&self.key), self.client_authorities.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.all().map(Stamp::of).collect()
    }
}

/// By what a changed file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// Of the file that a path leads to, if there is one.
    fn of(path: &Path) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Stamp { modified: found.modified().ok(), bytes: found.len(), inode })
    }
}

/// What new connections are served by.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
    /// The files as they were when they were read last, whatever became of it.
    stamps: Mutex<Vec<Option<Stamp>>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// Errors: `Tls`, for the file that cannot be used, and why.
    pub fn open(files: TlsFiles) -> Result<Tls, Error> {
        let stamps = Mutex::new(files.stamps());
        Ok(Tls { current: RwLock::new(Loaded::read(&files)?), stamps, files })
    }

    /// What an operator should know of the certificate in use, if anything.
    pub fn warning(&self) -> Option<String> {
        self.certificate().and_then(|certificate| warning(&certificate, now()))
    }

    /// The subject of a certificate in DER, quoted as it stands in the log, if it can be read.
    pub fn subject_of(der: &[u8]) -> Option<String> {
        Certificate::of(der).map(|certificate| certificate.subject)
    }

    /// Whether clients need a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.files.client_authorities.is_some()
    }

    /// Reads the files again. Gives what became of it, for the log: what is wrong changes nothing.
    pub fn reload(&self) -> String {
        // Held until what was read is in use: who reads later is used later. Taken before they are read: what
        // changes meanwhile is seen as a change.
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        *stamps = self.files.stamps();
        match Loaded::read(&self.files) {
            Ok(loaded) => {
                let told = loaded.told();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                let warning = self.warning().map_or(String::new(), |warning| format!("; {warning}"));
                format!("TLS: the files were read again: {told}{warning}")
            }
            Err(error) => format!(
                "TLS: the files were read again and cannot be used, so what was read before stays: {error}"
            ),
        }
    }

    /// Looks at the files every `look` for ever, and reads them again when they have changed and change no
    /// more: a certificate and its key are written one after the other.
    pub(crate) async fn follow(self: Arc<Self>, look: Duration, log: AccessLog) {
        let mut looks = interval(look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changing, mut is_told) = (None, self.warning().is_some());
        loop {
            looks.tick().await;
            let tls = Arc::clone(&self);
            let Ok(found) = spawn_blocking(move || tls.files.stamps()).await else { continue };
            if found == *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) {
                changing = None;
            } else if changing.as_ref() != Some(&found) {
                changing = Some(found);
            } else {
                changing = None;
                let tls = Arc::clone(&self);
                if let Ok(told) = spawn_blocking(move || tls.reload()).await {
                    log.notice(&told);
                }
                is_told = self.warning().is_some();
            }
            if !is_told && let Some(warning) = self.warning() {
                is_told = true;
                log.notice(&format!("TLS: {warning}"));
            }
        }
    }

    /// What a new connection is served by.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    fn certificate(&self) -> Option<Certificate> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).certificate.clone()
    }
}

/// What is wrong with a certificate's time, or soon will be.
fn warning(certificate: &Certificate, now: u64) -> Option<String> {
    let Certificate { subject, from, until } = certificate;
    let time = |seconds: i64| {
        jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
    };
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now > *until {
        Some(format!("the certificate of {subject} has expired ({}): clients refuse it", time(*until)))
    } else if now < *from {
        Some(format!(
            "the certificate of {subject} holds from {} on: clients refuse it till then",
            time(*from)
        ))
    } else if until - now < EXPIRY_NOTICE as i64 {
        Some(format!("the certificate of {subject} expires soon ({})", time(*until)))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_certificate_are_warned_of() {
        let certificate = Certificate { subject: "\"CN=a\"".into(), from: 1_000_000, until: 9_000_000 };
        let check = |now: u64, expect: Option<&str>| match (warning(&certificate, now), expect) {
            (None, None) => {}
            (Some(found), Some(expect)) => assert!(found.contains(expect), "{now}: {found}"),
            (found, _) => panic!("{now}: {found:?}"),
        };
        check(999_999, Some("holds from 1970-01-12T13:46:40Z on"));
        check(1_000_000, None);
        check(8_000_000, None);
        check(9_000_000 - 3600, Some("expires soon (1970-04-15T04:00:00Z)"));
        check(9_000_001, Some("has expired"));
        check(u64::MAX, Some("has expired"));
    }
}
