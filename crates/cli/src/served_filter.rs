//! A filter of personal data as the commands use it: opened, asked, and what it found in JSON's words.

use std::path::Path;

use anyhow::Result;
use gptoss_redact::{Error, Filter, FilterOptions, Form, Span, WINDOW_TOKENS, redact};
use gptoss_server::{RedactOptions, RedactProblem, RedactResult, RedactedSpan, Redactor};

use crate::machine;

/// A filter, by the name of its folder.
pub struct ServedFilter {
    name: String,
    filter: Filter,
}

impl ServedFilter {
    /// Opens a folder; all threads there are, without a number of them.
    ///
    /// Errors: the files.
    pub fn open(folder: &Path, threads: Option<u16>) -> Result<ServedFilter> {
        let options = FilterOptions { threads: machine::threads(threads), window_tokens: WINDOW_TOKENS };
        let filter = Filter::open(folder, options)?;
        let name = folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_owned()));
        let name =
            name.map_or_else(|| "privacy-filter".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(ServedFilter { name, filter })
    }

    /// Tokens of a text.
    pub fn num_tokens(&self, text: &str) -> usize {
        self.filter.tokens(text).len()
    }

    /// Redacts a text; `goes_on` is told how many tokens are done.
    ///
    /// Errors: as [`Redactor::redact`].
    pub fn redacted(
        &self,
        text: &str,
        options: &RedactOptions,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<RedactResult, RedactProblem> {
        let form = options.replace.as_deref().map_or_else(|| Ok(Form::default()), Form::parse);
        let form = form.map_err(|error| RedactProblem::Replace(error.to_string()))?;
        self.check_labels(options.labels.as_deref().unwrap_or_default())?;
        let spans = self.filter.spans(text, goes_on).map_err(|error| match error {
            Error::Stopped { .. } => RedactProblem::Stopped,
            error => RedactProblem::Failed(error.to_string()),
        })?;
        let is_asked_for = |span: &Span| match &options.labels {
            None => true,
            Some(labels) => labels.iter().any(|label| *label == *span.label),
        };
        let redaction = redact(text, spans.into_iter().filter(is_asked_for).collect(), &form);
        let (mut characters, mut bytes) = (0, 0);
        let mut characters_to = |end: usize| {
            characters += text[bytes..end].chars().count();
            bytes = end;
            characters
        };
        let spans = redaction.replaced.into_iter().map(|replaced| {
            let Span { label, bytes, score } = replaced.span;
            RedactedSpan {
                label: label.to_string(),
                start: characters_to(bytes.start),
                end: characters_to(bytes.end),
                start_byte: bytes.start,
                end_byte: bytes.end,
                text: text[bytes].to_owned(),
                placeholder: replaced.placeholder,
                score,
            }
        });
        Ok(RedactResult { spans: spans.collect(), redacted_text: redaction.text })
    }

    fn check_labels(&self, labels: &[String]) -> Result<(), RedactProblem> {
        let known = self.filter.labels();
        let Some(other) = labels.iter().find(|label| known.iter().all(|known| **known != **label)) else {
            return Ok(());
        };
        let names: Vec<&str> = known.iter().map(|known| &**known).collect();
        Err(RedactProblem::Labels(format!("{other:?} is none of the filter's labels: {}", names.join(", "))))
    }
}

impl Redactor for ServedFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn redact(
        &self,
        text: &str,
        options: &RedactOptions,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<RedactResult, RedactProblem> {
        self.redacted(text, options, &mut |_| goes_on())
    }
}
