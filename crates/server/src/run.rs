//! How does the server listen, and how does it stop?
//!
//! [`run`] takes a listener that is already bound and a future that says when to stop. Stopping is three steps: `/ready` says so and new
//! requests are refused; those that run may end, for as long as the operator allows; then the engine is told to end the rest, so that
//! every one of them still gets its last event. Connections are served by hyper directly, because only there can the time for the headers
//! of a request be bounded.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::app::{App, router};
use crate::error::Error;
use crate::limits::HEADER_PATIENCE;

/// How long the last events may take to leave after the engine was told to end everything.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the address.
///
/// Errors: `Exposed`, when other machines reach it and no key is asked for; `Bind`.
pub async fn listen(address: SocketAddr, asks_for_keys: bool) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() && !asks_for_keys {
        return Err(Error::Exposed { address });
    }
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

/// Serves until `stop` is ready, and then until everything that runs has ended.
pub async fn run(listener: TcpListener, app: App, stop: impl Future<Output = ()>) {
    let app = Arc::new(app);
    let service = router(Arc::clone(&app));
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                (app.log)(&format!("cannot accept a connection: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small events are to leave at once.
        let _ = stream.set_nodelay(true);
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
        let service = TowerToHyperService::new(service.clone());
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that breaks off is not worth a line of log.
            let _ = connection.await;
        });
    }
    drop(listener);
    app.is_draining.store(true, Ordering::Relaxed);
    (app.log)(&format!("stopping: {} turns are running", app.metrics.running.load(Ordering::Relaxed)));
    let mut ended = std::pin::pin!(connections.shutdown());
    if tokio::time::timeout(app.limits.drain, &mut ended).await.is_err() {
        (app.log)("stopping: what still runs is ended now");
        app.engine.abort();
        let _ = tokio::time::timeout(LAST_WORDS, ended).await;
    }
    drain_background(&app).await;
    app.engine.drain();
}

/// Responses in the background have no connection that would be waited for.
async fn drain_background(app: &App) {
    let is_over = || app.live.num_background() == 0;
    let wait = async {
        while !is_over() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    if tokio::time::timeout(app.limits.drain, wait).await.is_err() {
        app.engine.abort();
        tokio::time::sleep(LAST_WORDS).await;
    }
}
