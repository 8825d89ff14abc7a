//! Connections over HTTP/2, in the clear or over TLS, and their end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::calls;
use crate::error::Error;
use crate::limits::{
    CONNECTIONS_MAX, HANDSHAKE_MAX, HEAD_BYTES_MAX, KEEP_ALIVE, LAST_WORDS, MESSAGE_BYTES_MAX, STREAMS_MAX,
};
use crate::running::Phase;
use crate::worker::Worker;

/// Gives what a new connection is served by; another when certificates have changed.
pub type TlsSource = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;
/// Takes what an operator should hear.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What gRPC is called in TLS.
const HTTP2: &[u8] = b"h2";
/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether an address may be listened at: one that other machines reach only where clients show
/// certificates.
///
/// Errors: `Exposed`.
pub fn check_address(address: SocketAddr, asks_for_certificates: bool) -> Result<(), Error> {
    match address.ip().is_loopback() || asks_for_certificates {
        true => Ok(()),
        false => Err(Error::Exposed { address }),
    }
}

impl Worker {
    /// Serves until `stop` is ready and what runs has ended, or its time is over. From `stop` on new requests
    /// are refused with UNAVAILABLE and health says NOT_SERVING.
    pub async fn run(
        self,
        listener: TcpListener,
        tls: Option<TlsSource>,
        log: Log,
        stop: impl Future<Output = ()>,
    ) {
        let worker = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let ending = watch::Sender::new(false);
        let mut accepting = Box::pin(accept(&listener, &worker, (tls, log), (&places, &ending)));
        tokio::select! {
            never = &mut accepting => match never {},
            () = stop => {}
        }
        worker.running.advance(Phase::Draining);
        let end = Instant::now().checked_add(worker.limits.drain);
        {
            // Who asks meanwhile is told to ask another.
            let ended = async {
                tokio::select! {
                    never = &mut accepting => match never {},
                    () = worker.running.all_ended() => {}
                }
            };
            match end {
                Some(end) => drop(timeout_at(end, ended).await),
                None => ended.await,
            }
        }
        worker.running.advance(Phase::Ended);
        // It holds a place.
        drop(accepting);
        ending.send_replace(true);
        // All places are free when the last answers have left.
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
    }
}

/// Takes connections for ever, as many as there is room for.
async fn accept(
    listener: &TcpListener,
    worker: &Arc<Worker>,
    (tls, log): (Option<TlsSource>, Log),
    (places, ending): (&Arc<Semaphore>, &watch::Sender<bool>),
) -> Infallible {
    let mut is_failing = false;
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { std::future::pending().await };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // It may fail many times a second, and always for the same reason.
                if !std::mem::replace(&mut is_failing, true) {
                    log(&format!("gRPC: cannot accept connections: {error}"));
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        is_failing = false;
        // A system that refuses it serves as well.
        let _ = stream.set_nodelay(true);
        let visit = Visit { worker: Arc::clone(worker), _place: place, ending: ending.subscribe() };
        tokio::spawn(visit.over(stream, tls.as_ref().map(|tls| tls()), Arc::clone(&log)));
    }
}

/// A connection that is served.
struct Visit {
    worker: Arc<Worker>,
    _place: OwnedSemaphorePermit,
    ending: watch::Receiver<bool>,
}

impl Visit {
    async fn over(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>, log: Log) {
        let Some(config) = tls else { return self.serve(stream).await };
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![HTTP2.to_vec()];
        match timeout(HANDSHAKE_MAX, TlsAcceptor::from(Arc::new(config)).accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => log(&format!("gRPC: a handshake failed: {}", error.to_string().escape_debug())),
            Err(_) => log("gRPC: a handshake was not done in time"),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let worker = &self.worker;
        let service = service_fn(|call| {
            let answering = calls::answer(worker, call);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let mut server = Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_stream_window_size(MESSAGE_BYTES_MAX as u32)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
        // A client that breaks off is not worth a line of log.
        let ends = tokio::select! {
            _ = connection.as_mut() => false,
            _ = self.ending.wait_for(|&is_ending| is_ending) => true,
        };
        if ends {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
