//! The moment at which a stream is opened.
//!
//! A request whose model has to be loaded first, or whose prompt takes long to prepare, has nothing to say
//! for a while, and clients and proxies give up a connection that is silent for long. So its stream is opened
//! when it begins, or after a time of silence, and then the keep-alives of a stream are sent. What goes wrong
//! before has a status of HTTP; afterwards it is the error in the middle of a stream that the API has.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use gptoss_api::ApiError;

/// The beginning of a stream.
pub(crate) enum Opening<T> {
    /// It is there.
    Begun(T),
    /// Its client has waited long enough for a word.
    Late(BoxFuture<'static, Result<T, ApiError>>),
}

impl<T: Send + 'static> Opening<T> {
    /// Waits for the beginning, but in silence no longer than `silence`.
    ///
    /// Errors: those of `beginning`.
    pub(crate) async fn of(
        beginning: impl Future<Output = Result<T, ApiError>> + Send + 'static,
        silence: Duration,
    ) -> Result<Opening<T>, ApiError> {
        let mut beginning = beginning.boxed();
        match tokio::time::timeout(silence, &mut beginning).await {
            Ok(begun) => begun.map(Opening::Begun),
            Err(_) => Ok(Opening::Late(beginning)),
        }
    }

    /// What begins, however long that takes.
    ///
    /// Errors: those of the beginning.
    pub(crate) async fn begun(self) -> Result<T, ApiError> {
        match self {
            Opening::Begun(begun) => Ok(begun),
            Opening::Late(beginning) => beginning.await,
        }
    }
}
