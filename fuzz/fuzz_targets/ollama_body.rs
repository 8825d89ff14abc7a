//! Any bytes are a request of Ollama's chat or generate, or an error that says why not; what is read is a
//! request of Chat Completions or of Completions, and keeps to their limits.
#![no_main]

use gptoss_api::body;
use gptoss_api::ollama::parse::{self, Generate};
use gptoss_api::wire::ollama::{OllamaChatRequest, OllamaGenerateRequest};
use gptoss_fuzz::{check_chat, check_completion};
use libfuzzer_sys::fuzz_target;

/// Tokens of context.
const CONTEXT: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<OllamaChatRequest>(bytes) {
        let unkept = parse::unkept(request.options.as_ref(), CONTEXT);
        assert!(unkept.iter().all(|warning| !warning.is_empty()));
        if let Ok(request) = parse::chat(request) {
            check_chat(&request);
        }
    }
    if let Ok(Ok(asked)) = body::parse::<OllamaGenerateRequest>(bytes).map(parse::generate) {
        match asked {
            Generate::Load => {}
            Generate::Text(request) => check_completion(&request),
            Generate::Answer(request) => check_chat(&request),
        }
    }
});
