//! Work that takes long, off the threads that serve requests.

use std::sync::Arc;

use gptoss_api::ApiError;

use crate::state::App;

/// Does what waits for the store or for the tokenizer where waiting is allowed.
///
/// Errors: the work's own; the store's, about which only the operator can do something, are told to the log.
pub(crate) async fn run_blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let app = Arc::clone(app);
    let failed = |error: tokio::task::JoinError| ApiError::Internal { problem: error.to_string() };
    let work = move || {
        let result = work(&app);
        if let Err(error @ (ApiError::DiskFull | ApiError::Damaged { .. } | ApiError::State { .. })) = &result
        {
            app.log.notice(&format!("{}: {error}", app.store.place()));
        }
        result
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// Does work that may be much, as all log-probabilities of a response are, without keeping other requests
/// from this thread.
pub(crate) fn apart<T>(is_much: bool, work: impl FnOnce() -> T) -> T {
    if is_much { tokio::task::block_in_place(work) } else { work() }
}
