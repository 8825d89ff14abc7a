//! Any file of a batch is lines that are requests or errors that name what is wrong: a line that is accepted
//! has a name of its own, hands on its body as it stands, and its result is one line that reads back.
#![no_main]

use gptoss_api::batches::lines::Validator;
use gptoss_api::batches::request::{Endpoint, batch};
use gptoss_api::batches::results::{answered, expired};
use gptoss_api::body;
use gptoss_api::wire::batches::BatchRequest;
use gptoss_api::wire::chat::ChatRequest;
use gptoss_api::wire::completions::CompletionRequest;
use gptoss_api::wire::responses::ResponsesRequest;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::parse::<BatchRequest>(bytes)
        && let Ok(batch) = batch(request, "batch_1".to_owned(), "demo".to_owned(), 1)
    {
        assert!(batch.expires_at > batch.created_at && Endpoint::of(&batch.endpoint).is_some());
    }
    let mut validator = Validator::default();
    let mut names = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        match validator.check(line, number, None, &|_| true) {
            Err(error) => assert!(error.line == Some(number) && !error.message.is_empty()),
            Ok(None) => {}
            Ok(Some(read)) => {
                assert!(!names.contains(&read.custom_id));
                // The path's own reading names what is wrong with a body.
                let is_request = match read.endpoint {
                    Endpoint::Chat => body::parse::<ChatRequest>(read.body.as_bytes()).is_ok(),
                    Endpoint::Responses => body::parse::<ResponsesRequest>(read.body.as_bytes()).is_ok(),
                    Endpoint::Completions => body::parse::<CompletionRequest>(read.body.as_bytes()).is_ok(),
                };
                let status = if is_request { 200 } else { 400 };
                let whole = answered("batch_req_1", &read.custom_id, (status, "req_1"), "{}");
                check_result(&whole.line, &read.custom_id);
                check_result(&expired("batch_req_1", &read.custom_id), &read.custom_id);
                names.push(read.custom_id);
            }
        }
    }
});

fn check_result(line: &str, custom_id: &str) {
    assert!(!line.contains(['\n', '\r']));
    let read: Value = serde_json::from_str(line).expect("what we write we read");
    assert_eq!(read["custom_id"], custom_id);
}
