//! Who finds personal data: the seam between this room, which knows requests, and whoever knows a filter.

use std::sync::Arc;

use gptoss_api::wire::redact::RedactResult;
use tokio::sync::Semaphore;

use crate::limits::REDACTIONS_MAX;

/// What is done with a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactOptions {
    /// Labels that are redacted; None is all.
    pub labels: Option<Vec<String>>,
    /// What stands in a span's place; None is the filter's own form.
    pub replace: Option<String>,
}

/// Why a text was not redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedactProblem {
    /// The filter has no such label; the words say which there are.
    Labels(String),
    /// The form means nothing; the words say why.
    Replace(String),
    /// It was told to stop.
    Stopped,
    /// The filter failed; no word of the text is told.
    Failed(String),
}

/// A filter of personal data.
pub trait Redactor: Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;

    /// Redacts a text; `goes_on` is asked now and then.
    ///
    /// Errors: the options, before anything is computed; it was stopped, or failed.
    fn redact(
        &self,
        text: &str,
        options: &RedactOptions,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<RedactResult, RedactProblem>;
}

/// The filter, and who waits for it.
#[derive(Clone)]
pub(crate) struct RedactDesk {
    pub(crate) redactor: Arc<dyn Redactor>,
    /// Places of those who wait and of the one that runs.
    pub(crate) admitted: Arc<Semaphore>,
    /// The place of the one that runs.
    pub(crate) turn: Arc<Semaphore>,
}

impl RedactDesk {
    pub(crate) fn new(redactor: Arc<dyn Redactor>) -> RedactDesk {
        let places = |number| Arc::new(Semaphore::new(number));
        RedactDesk { redactor, admitted: places(REDACTIONS_MAX), turn: places(1) }
    }
}
