//! The beginning of a connection, within a time and apart from the places of those that are served.
//!
//! Who has not shown the certificate that is asked for, or has not said that it speaks HTTP/2, holds none of
//! the places for connections. Whatever goes wrong is counted, and of each minute the first is told: whoever
//! can connect could fill a disk with lines.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::limits::FAILURES_TOLD;
use crate::peer::Peer;

/// Gives what a new connection is served by; another when certificates have changed.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;
/// Gives the subject of a certificate in DER, if it can be read.
pub type SubjectOf = Arc<dyn Fn(&[u8]) -> Option<String> + Send + Sync>;
/// Takes what an operator should hear.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How connections are encrypted, and by what their peers are known.
#[derive(Clone)]
pub struct WorkerTls {
    /// The certificate that is shown, and whose are asked for.
    pub config: TlsSource,
    /// Peers with one subject have one share of the machine.
    pub subject: SubjectOf,
}

/// What gRPC is called in TLS.
const HTTP2: &[u8] = b"h2";
/// What a client of HTTP/2 says first. Source: RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes in and out, over TLS or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// The beginnings of all connections.
pub(crate) struct Arrivals {
    tls: Option<WorkerTls>,
    /// How long one may take.
    patience: Duration,
    log: Log,
    num_failed: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Arrivals {
    pub(crate) fn new(tls: Option<WorkerTls>, patience: Duration, log: Log) -> Arrivals {
        Arrivals { tls, patience, log, num_failed: AtomicU64::new(0), told: Mutex::new(None) }
    }

    /// Takes a connection through its beginning. None when it has ended instead.
    pub(crate) async fn take(&self, stream: TcpStream) -> Option<(Box<dyn Wire>, Peer)> {
        match timeout(self.patience, self.begin(stream)).await {
            Ok(Ok(arrived)) => return Some(arrived),
            // Who connects and goes looks whether somebody is there.
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("it was not done in time"),
        }
        None
    }

    async fn begin(&self, stream: TcpStream) -> io::Result<(Box<dyn Wire>, Peer)> {
        let reached = stream.local_addr()?.ip();
        let Some(tls) = &self.tls else { return Ok((greeted(stream).await?, Peer::new(None, reached))) };
        let mut config = ServerConfig::clone(&(tls.config)());
        config.alpn_protocols = vec![HTTP2.to_vec()];
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let subject = certificate.and_then(|certificate| (tls.subject)(certificate));
        Ok((greeted(stream).await?, Peer::new(subject.as_deref(), reached)))
    }

    /// Counts a connection that did not begin, and tells of it unless another was told of just now.
    pub(crate) fn failed(&self, why: &str) {
        let count = self.num_failed.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= FAILURES_TOLD) {
            *told = Some(Instant::now());
            (self.log)(&format!(
                "gRPC: a connection did not begin ({count} since the start): {}",
                why.escape_debug()
            ));
        }
    }
}

/// The connection, as if it had not been looked at, when it begins as HTTP/2 does: a peer that says nothing
/// is waited for here and not where it would hold a place.
async fn greeted(mut stream: impl Wire + 'static) -> io::Result<Box<dyn Wire>> {
    let mut said = [0; PREFACE.len()];
    stream.read_exact(&mut said).await?;
    if said != *PREFACE {
        return Err(io::Error::new(ErrorKind::InvalidData, "the peer does not speak HTTP/2"));
    }
    let (reader, writer) = tokio::io::split(stream);
    Ok(Box::new(tokio::io::join(PREFACE.as_slice().chain(reader), writer)))
}
