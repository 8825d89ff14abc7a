//! Any bytes are a request of Chat Completions or an error that says why not; what is read keeps to the
//! limits, and reading it again gives the same.
#![no_main]

use gptoss_api::body;
use gptoss_api::wire::chat::ChatRequest;
use gptoss_fuzz::check_chat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<ChatRequest>(bytes) {
        check_chat(&request);
    }
});
