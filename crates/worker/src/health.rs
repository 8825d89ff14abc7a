//! gRPC's health check: whether requests are served.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use tokio::time::sleep;
use tonic::Status;

use crate::limits::HEALTH_LOOK;
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

/// The status now, and whenever it is another: the worker begins to stop, its card is lost or there again.
pub(crate) fn watch(
    worker: &Arc<Worker>,
    service: &str,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + use<> {
    let is_known = SERVICES.contains(&service);
    let begun = (Arc::clone(worker), worker.running.phases(), None);
    stream::unfold(begun, move |(worker, mut phases, told)| async move {
        loop {
            let phase = *phases.borrow_and_update();
            let now = match is_known {
                true => status(&worker),
                false => HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() },
            };
            if told.as_ref() != Some(&now) {
                return Some((Ok(now.clone()), (worker, phases, Some(now))));
            }
            // Nothing follows, and the connection may close.
            if phase == Phase::Ended {
                return None;
            }
            tokio::select! {
                changed = phases.changed() => changed.ok()?,
                () = sleep(HEALTH_LOOK) => {}
            }
        }
    })
}

fn status(worker: &Worker) -> HealthCheckResponse {
    let status = if worker.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
