//! gRPC's health check: whether requests are served.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use tonic::Status;

use crate::running::Phase;
use crate::wire::health::{HealthCheckResponse, ServingStatus};
use crate::worker::Worker;

/// What can be asked for; nothing is the whole.
const SERVICES: [&str; 3] = ["", "vllm.Control", "vllm.Inference"];

/// Errors: a service that is not here.
pub(crate) fn check(worker: &Worker, service: &str) -> Result<HealthCheckResponse, Status> {
    match SERVICES.contains(&service) {
        true => Ok(status(worker)),
        false => Err(Status::not_found(format!("there is no service {service:?} here"))),
    }
}

/// The status now, and whenever the worker begins to stop.
pub(crate) fn watch(
    worker: &Arc<Worker>,
    service: &str,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + use<> {
    let is_known = SERVICES.contains(&service);
    let begun = (Arc::clone(worker), worker.running.phases(), None);
    stream::unfold(begun, move |(worker, mut phases, told)| async move {
        match told {
            // Nothing follows, and the connection may close.
            Some(Phase::Ended) => return None,
            Some(_) => phases.changed().await.ok()?,
            None => {}
        }
        let phase = *phases.borrow_and_update();
        let now = match is_known {
            true => status(&worker),
            false => HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() },
        };
        Some((Ok(now), (worker, phases, Some(phase))))
    })
}

fn status(worker: &Worker) -> HealthCheckResponse {
    let status = if worker.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
