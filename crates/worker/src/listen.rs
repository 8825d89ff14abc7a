//! Connections over HTTP/2, in the clear or over TLS, and their end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::arrival::{Arrivals, Log, Wire, WorkerTls};
use crate::calls;
use crate::error::Error;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, HEAD_BYTES_MAX, KEEP_ALIVE, LAST_WORDS, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::peer::Peer;
use crate::running::Phase;
use crate::worker::Worker;

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
        tls: Option<WorkerTls>,
        log: Log,
        stop: impl Future<Output = ()>,
    ) {
        let worker = Arc::new(self);
        let limits = worker.limits;
        let arrivals = Arc::new(Arrivals::new(tls, limits.arrival_time, log));
        let places = Arc::new(Semaphore::new(limits.connections));
        let ending = watch::Sender::new(false);
        let mut accepting = Box::pin(accept(&listener, &worker, &arrivals, (&places, &ending)));
        tokio::select! {
            never = &mut accepting => match never {},
            () = stop => {}
        }
        worker.running.advance(Phase::Draining);
        let end = Instant::now().checked_add(limits.drain);
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
        drop(accepting);
        ending.send_replace(true);
        // All places are free when the last answers have left.
        let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
    }
}

/// Takes connections for ever, as many as may begin at a time.
async fn accept(
    listener: &TcpListener,
    worker: &Arc<Worker>,
    arrivals: &Arc<Arrivals>,
    (places, ending): (&Arc<Semaphore>, &watch::Sender<bool>),
) -> Infallible {
    let beginning = Arc::new(Semaphore::new(worker.limits.arrivals));
    loop {
        let Ok(begins) = Arc::clone(&beginning).acquire_owned().await else { std::future::pending().await };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // It may fail many times a second, and always for the same reason.
                arrivals.failed(&format!("the system gives none: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A system that refuses it serves as well.
        let _ = stream.set_nodelay(true);
        let visit = Visit {
            worker: Arc::clone(worker),
            arrivals: Arc::clone(arrivals),
            places: Arc::clone(places),
            ending: ending.subscribe(),
        };
        tokio::spawn(visit.begin(stream, begins));
    }
}

/// A connection.
struct Visit {
    worker: Arc<Worker>,
    arrivals: Arc<Arrivals>,
    /// Of those that are served.
    places: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

impl Visit {
    /// Serves a connection when its peer has shown who it is and there is a place for it.
    async fn begin(mut self, stream: TcpStream, begins: OwnedSemaphorePermit) {
        let mut ending = self.ending.clone();
        let arrived = tokio::select! {
            arrived = self.arrive(stream) => arrived,
            _ = ending.wait_for(|&is_ending| is_ending) => None,
        };
        let Some((wire, peer, place)) = arrived else { return };
        drop(begins);
        self.serve(wire, &peer).await;
        drop(place);
    }

    async fn arrive(&self, stream: TcpStream) -> Option<(Box<dyn Wire>, Peer, OwnedSemaphorePermit)> {
        let (wire, peer) = self.arrivals.take(stream).await?;
        let place = timeout(self.worker.limits.arrival_time, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            self.arrivals.failed(&format!("all {} places are taken", self.worker.limits.connections));
            return None;
        };
        Some((wire, peer, place))
    }

    async fn serve(&mut self, wire: Box<dyn Wire>, peer: &Peer) {
        let worker = &self.worker;
        let service = service_fn(|call| {
            let answering = calls::answer(worker, peer, call);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let mut server = Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(wire), service));
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
