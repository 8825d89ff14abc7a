//! What a request asked for that is not here, in words of our own.
//!
//! An operator wants to see which API a client looked for; a path is also a place where a client may write
//! anything. So each part of a path is told only if it is one of a list of words that servers of models have
//! in their paths, and is a star otherwise.

/// Most parts that are told.
const PARTS_MAX: usize = 6;

/// Words that may be told.
const WORDS: [&str; 98] = [
    ".well-known",
    "abort_request",
    "admin",
    "alpha",
    "anthropic",
    "api",
    "apply-template",
    "assistants",
    "audio",
    "batches",
    "beta",
    "blobs",
    "cancel",
    "chat",
    "checkpoints",
    "classify",
    "compact",
    "completion",
    "completions",
    "containers",
    "conversations",
    "copy",
    "count_tokens",
    "create",
    "delete",
    "deployments",
    "detokenize",
    "docs",
    "edits",
    "embed",
    "embedding",
    "embeddings",
    "engines",
    "events",
    "favicon.ico",
    "files",
    "fine_tuning",
    "flush_cache",
    "generate",
    "generations",
    "get_model_info",
    "get_server_info",
    "graders",
    "health",
    "health_generate",
    "healthz",
    "images",
    "infill",
    "info",
    "input_items",
    "input_tokens",
    "items",
    "jobs",
    "livez",
    "load",
    "loads",
    "lora-adapters",
    "messages",
    "metrics",
    "model",
    "models",
    "moderations",
    "openai",
    "openapi.json",
    "organization",
    "page",
    "pause",
    "permissions",
    "ping",
    "pooling",
    "props",
    "ps",
    "pull",
    "push",
    "ready",
    "readyz",
    "realtime",
    "render",
    "rerank",
    "responses",
    "resume",
    "robots.txt",
    "run",
    "score",
    "server_info",
    "show",
    "slots",
    "speech",
    "tags",
    "threads",
    "tokenize",
    "tokenizer_info",
    "transcriptions",
    "uploads",
    "v1",
    "v2",
    "validate",
    "version",
];

/// A path in those words.
pub(crate) fn path_class(path: &str) -> String {
    let mut class = String::new();
    for (index, part) in path.split('/').filter(|part| !part.is_empty()).enumerate() {
        if index == PARTS_MAX {
            class.push_str("/...");
            break;
        }
        class.push('/');
        class.push_str(if WORDS.contains(&part) { part } else { "*" });
    }
    if class.is_empty() { "/".to_owned() } else { class }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_that_a_client_made_up() {
        let check = |path: &str, expect: &str| assert_eq!(path_class(path), expect, "{path}");
        check("/", "/");
        check("/v1/embeddings", "/v1/embeddings");
        check("//v1/secret%20words/", "/v1/*");
        check("/api/embed\n", "/api/*");
        check("/v1/v1/v1/v1/v1/v1/v1/v1", "/v1/v1/v1/v1/v1/v1/...");
    }
}
