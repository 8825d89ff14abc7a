//! The listener, the connections, and their end.
//!
//! [`run`] takes a listener that is already bound and a future that says when to stop. Stopping has one
//! deadline, the operator's: new requests are refused at once, while the listener still answers for a grace
//! time, so that whoever watches `/ready` sees it; what runs may end; at the deadline the engine ends the
//! rest, so that every request still gets its last event. Connections are served by hyper directly, because
//! only there can the time for the headers of a request be bounded.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::batch_runner;
use crate::client_name::ClientName;
use crate::error::Error;
use crate::gate::Gate;
use crate::limits::SILENCE;
use crate::linger::Unread;
use crate::place::{Guest, Placed, Places};
use crate::routes::{names_below_v1, router};
use crate::state::App;
use crate::timed_stream::{Patience, TimedStream};
use crate::tls::Handshakes;
use crate::tuner;
use crate::tuning::Tuning;

/// How long the last events may take to leave after the engine was told to end everything, and how long a
/// write may wait for its reader while the server stops.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What stands for a drain time beyond the clock's end.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Connections that the system keeps till they are taken, as tokio has it.
const BACKLOG: i32 = 1024;
/// Silence on a connection after which the system asks whether the other end is still there.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// Between two such questions.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// An address that is ours, at which nobody is heard yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

/// Takes the address, so that what comes before the first request needs no new socket.
///
/// Errors: `Exposed`, when other machines reach it and no key is asked for; `Bind`.
pub fn bind(address: SocketAddr, asks_for_keys: bool) -> Result<Bound, Error> {
    if !address.ip().is_loopback() && !asks_for_keys {
        return Err(Error::Exposed { address });
    }
    let take = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of a server before this one may still be ending; on other systems it means more.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        Ok(Bound { socket, address })
    };
    take().map_err(|source| Error::Bind { address, source })
}

impl Bound {
    /// Hears who connects, from now on. To be called on the runtime.
    ///
    /// Errors: `Bind`, when another program has come to be heard there meanwhile.
    pub fn listen(self) -> Result<TcpListener, Error> {
        let Bound { socket, address } = self;
        let listen = || {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        };
        listen().map_err(|source| Error::Bind { address, source })
    }
}

/// Both at once.
///
/// Errors: as [`bind`] and [`Bound::listen`].
pub fn listen(address: SocketAddr, asks_for_keys: bool) -> Result<TcpListener, Error> {
    bind(address, asks_for_keys)?.listen()
}

/// Serves until `stop` is ready, and then until everything that runs has ended. What `stop` gives is the
/// grace: how long the listener goes on answering that the server stops.
pub async fn run(listener: TcpListener, app: App, stop: impl Future<Output = Duration>) {
    let app = Arc::new(app);
    batch_runner::resume(&app).await;
    tuner::start(&app).await;
    let gate = Gate::new(listener.local_addr().ok(), &app.allowed_hosts, &app.cors_origins);
    let places = Places::new(app.limits.connections_max, SILENCE);
    let ending = watch::Sender::new(false);
    let service = router(Arc::clone(&app), gate);
    let followed =
        app.tls.clone().map(|tls| tokio::spawn(tls.follow(app.limits.certificate_look, app.log.clone())));
    let deadline = {
        let mut accepting = std::pin::pin!(accept(&listener, &app, &service, (&places, &ending)));
        let grace = tokio::select! {
            never = &mut accepting => match never {},
            grace = stop => grace,
        };
        let running = app.metrics.running.load(Ordering::Relaxed);
        app.log.notice(&format!("stopping: {running} turns are running"));
        let now = Instant::now();
        let deadline = now.checked_add(app.limits.drain).unwrap_or(now + FOREVER);
        app.stop();
        let _ = timeout(grace.min(app.limits.drain), &mut accepting).await;
        deadline
    };
    drop(listener);
    if let Some(followed) = followed {
        followed.abort();
    }
    // Those of HTTP end after the answer they are at; others see for themselves that the server stops.
    ending.send_replace(true);
    let mut ended = std::pin::pin!(async { tokio::join!(places.all_free(), background_ends(&app)) });
    if timeout_at(deadline, &mut ended).await.is_err() {
        app.log.notice("stopping: what still runs is ended now");
        app.batches.abandon();
        app.models.abort();
        let _ = timeout(LAST_WORDS, ended).await;
    }
    if let Some(governance) = app.keys.governance() {
        governance.stop().await;
    }
    // Engines write what they keep, which may take a while.
    let owner = Arc::clone(&app);
    let _ = tokio::task::spawn_blocking(move || owner.models.end()).await;
}

/// Takes connections for ever, as many as there is room for; one more waits here, the others in the system's
/// queue.
async fn accept(
    listener: &TcpListener,
    app: &Arc<App>,
    service: &Router,
    (places, ending): (&Places, &watch::Sender<bool>),
) -> Infallible {
    let handshakes = app.tls.as_ref().map(|tls| {
        let patience = app.limits.handshake_patience;
        Arc::new(Handshakes::new(Arc::clone(tls), patience, app.log.clone()))
    });
    let mut is_failing = false;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // It may fail many times a second, and always for the same reason.
                if !std::mem::replace(&mut is_failing, true) {
                    app.log.notice(&format!("cannot accept connections: {error}"));
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        is_failing = false;
        let guest = places.enter().await;
        prepare(&stream);
        let visit =
            Visit { app: Arc::clone(app), service: service.clone(), guest, ending: ending.subscribe() };
        tokio::spawn(visit.over(stream, handshakes.clone()));
    }
}

/// A connection, and what it needs to be served.
struct Visit {
    app: Arc<App>,
    service: Router,
    guest: Guest,
    ending: watch::Receiver<bool>,
}

impl Visit {
    /// Serves it, over TLS or in the clear.
    async fn over(mut self, stream: TcpStream, handshakes: Option<Arc<Handshakes>>) {
        let app = &self.app;
        let patience = Patience { usual: app.limits.write_patience, stopping: LAST_WORDS };
        let unread = Unread::default();
        let stream = TimedStream::new(stream, patience, app.watch_stop(), unread.clone());
        let mut evicted = Box::pin(self.guest.evicted());
        let Some(handshakes) = handshakes else {
            return self.serve(stream, (unread, None), evicted).await;
        };
        // In the waiting room: a handshake takes nobody's place.
        let taken = tokio::select! {
            taken = handshakes.take(stream, &unread) => taken,
            _ = self.ending.wait_for(|&is_ending| is_ending) => None,
            () = &mut evicted => None,
        };
        if let Some((stream, client)) = taken {
            self.serve(stream, (unread, client), evicted).await;
        }
    }

    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        client: (Unread, Option<ClientName>),
        evicted: impl Future<Output = ()>,
    ) {
        let Visit { app, service, guest, mut ending } = self;
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(app.limits.head_patience);
        let service = Placed::new(service, guest, app.watch_stop(), client, names_below_v1());
        let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        // A client that breaks off is not worth a line of log.
        let ends = tokio::select! {
            _ = connection.as_mut() => false,
            _ = ending.wait_for(|&is_ending| is_ending) => true,
            () = evicted => false,
        };
        if ends {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Small events are to leave at once, and ends that are gone without a word are to be noticed. A system that
/// refuses either serves as well.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE).with_interval(KEEP_ALIVE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

/// Responses in the background, lines of batches and trainings have no connection that would be waited for.
async fn background_ends(app: &App) {
    let is_training = || app.tuning.as_ref().is_some_and(Tuning::is_training);
    while app.live.num_background() > 0 || app.batches.num_running() > 0 || is_training() {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
