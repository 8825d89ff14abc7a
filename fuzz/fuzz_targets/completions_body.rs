//! Any bytes are a request of Completions or an error that says why not.
#![no_main]

use gptoss_api::body;
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_fuzz::check_completion;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<CompletionRequest>(bytes) {
        check_completion(&request);
    }
});
