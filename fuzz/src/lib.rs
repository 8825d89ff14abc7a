//! What the targets of bodies have in common: the server's side of a request, and what must be true of what
//! is read.

use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::{RequestLimits, STOPS_MAX};
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_api::{RequestScope, chat, completions};
use gptoss_harmony::{MultiDigit, Vocab};
use std::sync::OnceLock;

/// The server's side of a request: nothing is remembered, and every new thing has the same number.
pub fn scope(limits: &RequestLimits, visibility: Visibility) -> RequestScope<'_> {
    RequestScope {
        limits,
        tenant: "local",
        visibility,
        reasoning_max: None,
        date: None,
        recall: &|_| None,
        is_background: false,
        new_id,
    }
}

/// An id of a new thing.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_1")
}

/// A chat that is read keeps to the limits, and reading it again gives the same.
pub fn check_chat(request: &ChatRequest) {
    let limits = RequestLimits::default();
    let scope = scope(&limits, Visibility::Summary);
    let Ok(generation) = chat::parse::parse(request, &scope) else { return };
    assert!(generation.visibility <= Visibility::Summary && generation.stops.len() <= STOPS_MAX);
    assert!(generation.tools.list.len() <= limits.tools_max);
    let again = chat::parse::parse(request, &scope).expect("it was read before");
    assert_eq!(again.conversation, generation.conversation);
}

/// A text that is to be continued has prompts, and none of them is empty.
pub fn check_completion(request: &CompletionRequest) {
    static VOCAB: OnceLock<Vocab> = OnceLock::new();
    let vocab = VOCAB.get_or_init(|| Vocab::truncated(500, MultiDigit::Keep));
    if let Ok(generation) = completions::parse::parse(request, vocab, &RequestLimits::default()) {
        assert!(generation.prompts.iter().all(|prompt| !prompt.is_empty()));
    }
}
