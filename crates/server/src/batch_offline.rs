//! A batch without a server: the lines of a file, answered as a server would.
//!
//! Lines take the way of `batch_line`, as many at a time as the caller says, and come back in the order in
//! which they end.

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use gptoss_api::batches::lines::BatchLine;
use gptoss_api::batches::results::BatchResult;
use gptoss_api::usage::TokenUsage;

use crate::batch_line;
use crate::keys::Caller;
use crate::state::App;

/// Answers lines, `at_once` of them at a time, and hands each result to `keep`, until all are through or
/// `stop` is ready; what runs then is dropped.
///
/// Errors: those of `keep`; then no further line is answered.
pub async fn answer_lines(
    app: App,
    lines: Vec<BatchLine>,
    at_once: usize,
    stop: impl Future<Output = ()>,
    mut keep: impl FnMut(&BatchResult, TokenUsage) -> io::Result<()>,
) -> io::Result<()> {
    let app = Arc::new(app);
    let caller = Caller { is_background: true, ..Caller::local() };
    let results = lines.iter().map(|line| batch_line::answer(&app, &caller, line));
    let mut results = std::pin::pin!(stream::iter(results).buffer_unordered(at_once).take_until(stop));
    while let Some(result) = results.next().await {
        // There are no rules here, so no key ends.
        let Ok(Some((result, tokens))) = result else { break };
        keep(&result, tokens)?;
    }
    Ok(())
}
