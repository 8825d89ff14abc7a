//! The places of connections, of which so many may be open at a time.
//!
//! A connection that becomes a WebSocket is not one of HTTP any more, and holds its place all the same: each
//! request carries it. When all places are free, no connection is open.

use std::sync::Arc;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::paths;

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    count: u32,
}

/// A place, for as long as somebody holds it.
#[derive(Debug, Clone)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is held, not read")] Option<Arc<OwnedSemaphorePermit>>,
);

impl Places {
    /// So many.
    pub(crate) fn new(count: usize) -> Places {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Places { semaphore: Arc::new(Semaphore::new(count as usize)), count }
    }

    /// Waits for a free one. The semaphore is never closed, so there is one in the end.
    pub(crate) async fn free(&self) -> Place {
        Place(Arc::clone(&self.semaphore).acquire_owned().await.ok().map(Arc::new))
    }

    /// Waits until nobody holds any.
    pub(crate) async fn all_free(&self) {
        let _ = self.semaphore.acquire_many(self.count).await;
    }
}

/// The routes for the requests of one connection, each with its place and a path of the table's.
pub(crate) struct Placed {
    routes: Routes,
    place: Place,
    names: &'static [&'static str],
}

impl Placed {
    /// For the connection that has the place; `names` are the first parts of the paths below `/v1`.
    pub(crate) fn new(routes: Router, place: Place, names: &'static [&'static str]) -> Placed {
        Placed { routes: TowerToHyperService::new(routes), place, names }
    }
}

/// The routes as hyper knows them.
type Routes = TowerToHyperService<Router>;

impl Service<Request<Incoming>> for Placed {
    type Response = <Routes as Service<Request<Incoming>>>::Response;
    type Error = <Routes as Service<Request<Incoming>>>::Error;
    type Future = <Routes as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.place.clone());
        paths::settle(request.uri_mut(), self.names);
        self.routes.call(request)
    }
}
