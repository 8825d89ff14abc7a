//! Any bytes are a request of the paths that do not ask for an answer (conversations, compaction, tokens, a
//! file's form) or an error that says why not; items keep their number, get ids, and refer to nothing when
//! they are read.
#![no_main]

use std::collections::HashMap;

use gptoss_api::generation::metadata::metadata;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::{FILE_NAME_BYTES_MAX, RequestLimits};
use gptoss_api::responses::parse::{entries_left, entries_of, items, references, resolve};
use gptoss_api::wire::files::ExpiresAfter;
use gptoss_api::wire::ollama::OllamaName;
use gptoss_api::wire::redact::RedactRequest;
use gptoss_api::wire::responses::{CompactRequest, ConversationRequest, Input};
use gptoss_api::wire::tokens::{DetokenizeRequest, TokenizeRequest};
use gptoss_api::{body, files};
use gptoss_fuzz::scope;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<ConversationRequest>(bytes) {
        let _ = metadata(request.metadata.as_ref());
        if let Some(items) = request.items {
            read(&Input::Items(items));
        }
    }
    if let Ok(request) = body::parse::<CompactRequest>(bytes)
        && let Some(input) = request.input
    {
        read(&input);
    }
    let _ = body::parse::<TokenizeRequest>(bytes);
    let _ = body::parse::<DetokenizeRequest>(bytes);
    let _ = body::parse::<RedactRequest>(bytes);
    let _ = body::parse::<OllamaName>(bytes);
    if let Ok(said) = body::parse::<ExpiresAfter>(bytes)
        && let Ok(at) = files::expires_at(Some(&said), "expires_after", 1, None)
    {
        assert!(at.is_some_and(|at| at > 1));
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = files::purpose(Some(&text));
    if let Ok(name) = files::filename(Some(&text)) {
        assert!(!name.is_empty() && name.len() <= FILE_NAME_BYTES_MAX && !name.contains(['/', '\\']));
    }
});

fn read(input: &Input) {
    let limits = RequestLimits::default();
    let scope = scope(&limits, Visibility::Raw);
    let Ok(read) = items(Some(input), &scope) else { return };
    if let Input::Items(given) = input {
        assert_eq!(given.len(), read.len());
    }
    let item = json!({"type": "message", "role": "user", "content": "stored"});
    let stored: HashMap<_, _> = references(&read).map(|id| (id.to_owned(), item.clone())).collect();
    let Ok(resolved) = resolve(read, &stored, "items") else { return };
    assert_eq!(references(&resolved).count(), 0);
    let _ = entries_of(&resolved, Vec::new(), &scope);
    let _ = entries_left(&resolved, &scope);
}
