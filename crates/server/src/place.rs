//! The places of connections, of which so many may send requests at a time.
//!
//! Whoever connects comes into a waiting room and has a place from the first request on: connections that
//! send none, or never the end of its head, keep nobody from a place. The room holds as many as there are
//! places. When it is full, whoever has been silent longest in it goes, after a while, and the next one comes
//! in; who has sent a request stays and waits.
//!
//! A connection that becomes a WebSocket is not one of HTTP any more, and holds its place all the same: each
//! request carries it. When the room is empty and all places are free, no connection is open.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::client_name::ClientName;
use crate::linger::{Unread, WatchedBody};
use crate::paths;

/// All places, and the waiting room.
#[derive(Debug)]
pub(crate) struct Places {
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// Of each.
    count: u32,
    /// How long a connection may be silent when another one wants to come in.
    silence: Duration,
    silent: Arc<Mutex<Silent>>,
    /// Told when somebody in the room sends its first request.
    spoke: Arc<Notify>,
}

/// A place, for as long as somebody holds it.
#[derive(Debug, Clone)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is held, not read")] Option<Arc<OwnedSemaphorePermit>>,
);

/// Connections in the room that have sent no request, by their order.
#[derive(Debug, Default)]
struct Silent {
    next: u64,
    /// Since when, and what tells them to go.
    since: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// A connection: in the room until its first request, and then on its place.
#[derive(Debug)]
pub(crate) struct Guest {
    number: u64,
    silent: Arc<Mutex<Silent>>,
    spoke: Arc<Notify>,
    evicted: Arc<Notify>,
    places: Arc<Semaphore>,
    in_room: Mutex<Option<OwnedSemaphorePermit>>,
    place: OnceCell<Place>,
}

impl Places {
    /// So many.
    pub(crate) fn new(count: usize, silence: Duration) -> Places {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let free = || Arc::new(Semaphore::new(count as usize));
        let (silent, spoke) = (Arc::default(), Arc::default());
        Places { places: free(), room: free(), count, silence, silent, spoke }
    }

    /// Waits until there is room for one more, and lets it in. The semaphore is never closed, so there is
    /// room in the end.
    pub(crate) async fn enter(&self) -> Guest {
        let mut free = std::pin::pin!(Arc::clone(&self.room).acquire_owned());
        let in_room = tokio::select! {
            biased;
            in_room = &mut free => in_room,
            never = self.evict() => match never {},
        };
        let (mut silent, evicted) = (lock(&self.silent), Arc::new(Notify::new()));
        let number = silent.next;
        silent.next += 1;
        silent.since.insert(number, (Instant::now(), Arc::clone(&evicted)));
        Guest {
            number,
            silent: Arc::clone(&self.silent),
            spoke: Arc::clone(&self.spoke),
            evicted,
            places: Arc::clone(&self.places),
            in_room: Mutex::new(in_room.ok()),
            place: OnceCell::new(),
        }
    }

    /// Tells whoever has been silent longest to go, as soon as that is long enough; nobody, if nobody is. Who
    /// speaks before it has gone stays, and the next one is told.
    async fn evict(&self) -> Infallible {
        loop {
            let oldest =
                lock(&self.silent).since.first_key_value().map(|(_, (since, _))| *since + self.silence);
            match oldest {
                None => std::future::pending().await,
                Some(due) if Instant::now() < due => sleep_until(due).await,
                Some(_) => {
                    if let Some((_, (_, evicted))) = lock(&self.silent).since.first_key_value() {
                        evicted.notify_one();
                    }
                    self.spoke.notified().await;
                }
            }
        }
    }

    /// Waits until nobody is there.
    pub(crate) async fn all_free(&self) {
        // Who leaves the room has a place by then.
        let _room = self.room.acquire_many(self.count).await;
        let _ = self.places.acquire_many(self.count).await;
    }
}

impl Guest {
    /// Ready when it goes because somebody else is to come in. From then on it may send no request; one that
    /// it has sent before keeps it.
    pub(crate) fn evicted(&self) -> impl Future<Output = ()> + use<> {
        let (number, silent, evicted) = (self.number, Arc::clone(&self.silent), Arc::clone(&self.evicted));
        async move {
            loop {
                evicted.notified().await;
                if lock(&silent).since.remove(&number).is_some() {
                    return;
                }
            }
        }
    }

    /// It has sent a request, and is not in the way of others any more.
    fn speak(&self) {
        // Who has a place has spoken before.
        if !self.place.initialized() && lock(&self.silent).since.remove(&self.number).is_some() {
            self.spoke.notify_one();
        }
    }

    /// Its place, waited for at the first request; a server that stops has an answer for everybody.
    async fn place(&self, mut is_stopping: watch::Receiver<bool>) -> Place {
        let wait = async {
            let place = tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => place.ok(),
                _ = is_stopping.wait_for(|&is_stopping| is_stopping) => None,
            };
            if place.is_some() {
                drop(lock(&self.in_room).take());
            }
            Place(place.map(Arc::new))
        };
        self.place.get_or_init(|| wait).await.clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.silent).since.remove(&self.number);
    }
}

/// Plain data, whole after whatever panic.
fn lock<T>(data: &Mutex<T>) -> MutexGuard<'_, T> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The routes for the requests of one connection, each with its place and a path of the table's.
pub(crate) struct Placed {
    routes: Routes,
    guest: Arc<Guest>,
    is_stopping: watch::Receiver<bool>,
    unread: Unread,
    /// Whose certificate the connection has.
    client: Option<ClientName>,
    names: &'static [&'static str],
}

impl Placed {
    /// For a connection, which sees in `unread` what its requests leave, of a client with a certificate or
    /// without; `names` are the first parts of the
    /// paths below `/v1`.
    pub(crate) fn new(
        routes: Router,
        guest: Guest,
        is_stopping: watch::Receiver<bool>,
        (unread, client): (Unread, Option<ClientName>),
        names: &'static [&'static str],
    ) -> Placed {
        Placed {
            routes: TowerToHyperService::new(routes),
            guest: Arc::new(guest),
            is_stopping,
            unread,
            client,
            names,
        }
    }
}

/// The routes as hyper knows them.
type Routes = TowerToHyperService<Router>;

impl Service<Request<Incoming>> for Placed {
    type Response = <Routes as Service<Request<WatchedBody>>>::Response;
    type Error = <Routes as Service<Request<WatchedBody>>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.guest.speak();
        let mut request = request.map(|body| self.unread.watch(body));
        paths::settle(request.uri_mut(), self.names);
        let (routes, guest) = (self.routes.clone(), Arc::clone(&self.guest));
        let is_stopping = self.is_stopping.clone();
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        Box::pin(async move {
            let place = guest.place(is_stopping).await;
            request.extensions_mut().insert(place);
            routes.call(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_is_silent_longest_makes_room() {
        let places = Places::new(2, Duration::ZERO);
        let stop = watch::Sender::new(false);
        let enter = || places.enter().now_or_never();
        let place = |guest: &Guest| guest.place(stop.subscribe()).now_or_never();
        let is_evicted = |guest: &Guest| guest.evicted().now_or_never().is_some();
        let (spoken, silent) = (enter().expect("room"), enter().expect("room"));
        spoken.speak();
        assert!(enter().is_none() && is_evicted(&silent) && !is_evicted(&spoken));
        drop(silent);
        let third = enter().expect("the room of the silent one");
        // With a place it is not in the room.
        assert!(place(&spoken).is_some());
        let fourth = enter().expect("room");
        third.speak();
        fourth.speak();
        assert!(enter().is_none() && !is_evicted(&third) && !is_evicted(&fourth), "they have asked");
        assert!(place(&third).is_some() && place(&fourth).is_none(), "two places");
        drop(spoken);
        assert!(places.all_free().now_or_never().is_none());
        assert!(place(&fourth).is_some());
        drop((third, fourth));
        assert!(lock(&places.silent).since.is_empty());
        assert!(places.all_free().now_or_never().is_some());
    }

    /// A request that came when its connection had been told to go was begun and cut off.
    #[test]
    fn who_speaks_before_it_has_gone_stays() {
        let places = Places::new(2, Duration::ZERO);
        let enter = || places.enter().now_or_never();
        let is_evicted = |guest: &Guest| guest.evicted().now_or_never().is_some();
        let (first, second) = (enter().expect("room"), enter().expect("room"));
        let mut third = std::pin::pin!(places.enter());
        assert!(third.as_mut().now_or_never().is_none(), "the first one is told");
        first.speak();
        assert!(!is_evicted(&first) && !is_evicted(&second));
        assert!(third.as_mut().now_or_never().is_none(), "the second one is told");
        assert!(!is_evicted(&first) && is_evicted(&second));
        drop(second);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn a_server_that_stops_answers_who_waits() {
        let places = Places::new(1, Duration::ZERO);
        let stop = watch::Sender::new(false);
        let place = |guest: &Guest| guest.place(stop.subscribe()).now_or_never();
        let first = places.enter().now_or_never().expect("room");
        assert!(place(&first).is_some());
        let second = places.enter().now_or_never().expect("room");
        assert!(place(&second).is_none());
        stop.send_replace(true);
        assert!(place(&second).is_some());
        drop(first);
        assert!(places.all_free().now_or_never().is_none(), "it is still there");
        drop(second);
        assert!(places.all_free().now_or_never().is_some());
    }
}
