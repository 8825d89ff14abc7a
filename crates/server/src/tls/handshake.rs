//! The beginning of a connection over TLS, within a time, and the end of one that begins otherwise.
//!
//! A client that speaks HTTP to the port is answered in HTTP, so that its user reads what is wrong; any other
//! gets TLS's own alert. Neither is a line of log each: whoever can connect could fill a disk with them. They
//! are counted, and of each minute the first is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use super::certificate::Certificate;
use crate::access_log::AccessLog;
use crate::client_name::ClientName;
use crate::linger::Unread;
use crate::timed_stream::TimedStream;

/// How often a handshake that fails is told.
const TELL: Duration = Duration::from_secs(60);

/// What a client hears that speaks HTTP where TLS is spoken.
const SPEAK_TLS: &str = "{\"error\":{\"message\":\"this port speaks TLS: use https:// in the address\",\
     \"type\":\"invalid_request_error\",\"param\":null,\"code\":\"https_required\"}}";

/// The beginnings of all connections.
pub(crate) struct Handshakes {
    tls: Arc<Tls>,
    /// How long one may take.
    patience: Duration,
    log: AccessLog,
    num_failed: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Handshakes {
    /// Of a server.
    pub(crate) fn new(tls: Arc<Tls>, patience: Duration, log: AccessLog) -> Handshakes {
        Handshakes { tls, patience, log, num_failed: AtomicU64::new(0), told: Mutex::new(None) }
    }

    /// Takes a connection through its handshake. None when it has ended instead.
    pub(crate) async fn take(
        &self,
        mut stream: TimedStream,
        unread: &Unread,
    ) -> Option<(TlsStream<TimedStream>, Option<ClientName>)> {
        let end = Instant::now() + self.patience;
        match timeout_at(end, stream.first_byte()).await {
            // Nobody is known to be there yet.
            Ok(Ok(None) | Err(_)) => return None,
            Err(_) => {
                self.failed("nothing came in time");
                return None;
            }
            Ok(Ok(Some(byte))) if byte.is_ascii_alphabetic() => {
                self.failed("a client spoke HTTP");
                let answer = format!(
                    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{SPEAK_TLS}",
                    SPEAK_TLS.len()
                );
                if stream.write_all(answer.as_bytes()).await.is_ok() {
                    leave(stream, unread).await;
                }
                return None;
            }
            Ok(Ok(Some(_))) => {}
        }
        let accepting = TlsAcceptor::from(self.tls.config()).accept(stream).into_fallible();
        match timeout_at(end, accepting).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate =
                    certificates.and_then(<[_]>::first).and_then(|first| Certificate::of(first));
                Some((stream, certificate.map(|found| ClientName(found.subject.into()))))
            }
            Ok(Err((error, stream))) => {
                self.failed(&error.to_string());
                // The alert is on its way, and a reset would overtake it.
                leave(stream, unread).await;
                None
            }
            Err(_) => {
                self.failed("it was not done in time");
                None
            }
        }
    }

    fn failed(&self, why: &str) {
        let count = self.num_failed.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            let why = why.escape_debug();
            self.log.notice(&format!("TLS: a handshake failed ({count} since the start): {why}"));
        }
    }
}

/// Ends a connection whose client may still be sending.
async fn leave(mut stream: TimedStream, unread: &Unread) {
    unread.leave();
    // Whoever has gone hears nothing.
    let _ = stream.shutdown().await;
}
