//! Any bytes are a request of Chat Completions, of Completions or of Ollama's chat, or an error that says why
//! not; what is read keeps to the limits, and reading it again gives the same.
#![no_main]

use std::sync::OnceLock;

use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::{RequestLimits, STOPS_MAX};
use gptoss_api::ollama::parse::Generate;
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_api::wire::ollama::{OllamaChatRequest, OllamaGenerateRequest};
use gptoss_api::{RequestScope, body, chat, completions, ollama};
use gptoss_harmony::{MultiDigit, Vocab};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<ChatRequest>(bytes) {
        read(&request);
    }
    if let Ok(Ok(request)) = body::parse::<OllamaChatRequest>(bytes).map(ollama::parse::chat) {
        read(&request);
    }
    if let Ok(Ok(asked)) = body::parse::<OllamaGenerateRequest>(bytes).map(ollama::parse::generate) {
        match asked {
            Generate::Load => {}
            Generate::Text(request) => read_text(&request),
            Generate::Answer(request) => read(&request),
        }
    }
    if let Ok(request) = body::parse::<CompletionRequest>(bytes) {
        read_text(&request);
    }
});

fn read_text(request: &CompletionRequest) {
    static VOCAB: OnceLock<Vocab> = OnceLock::new();
    let vocab = VOCAB.get_or_init(|| Vocab::truncated(500, MultiDigit::Keep));
    if let Ok(generation) = completions::parse::parse(request, vocab, &RequestLimits::default()) {
        assert!(generation.prompts.iter().all(|prompt| !prompt.is_empty()));
    }
}

fn read(request: &ChatRequest) {
    let limits = RequestLimits::default();
    let scope = RequestScope {
        limits: &limits,
        tenant: "local",
        visibility: Visibility::Summary,
        reasoning_max: None,
        date: None,
        recall: &|_| None,
        is_background: false,
        new_id: |prefix| format!("{prefix}_1"),
    };
    let Ok(generation) = chat::parse::parse(request, &scope) else { return };
    assert!(generation.visibility <= Visibility::Summary && generation.stops.len() <= STOPS_MAX);
    assert!(generation.tools.list.len() <= limits.tools_max);
    let again = chat::parse::parse(request, &scope).expect("it was read before");
    assert_eq!(again.conversation, generation.conversation);
}
