//! Any bytes are a compressed body or an error, and what comes out is never longer than bodies may be.
#![no_main]

// The server's crate brings a database and a runtime.
#[path = "../../crates/server/src/content_coding.rs"]
mod content_coding;

use axum::http::{HeaderMap, HeaderValue, header};
use content_coding::{CODINGS, ContentCoding};
use gptoss_api::ApiError;
use libfuzzer_sys::fuzz_target;

/// Longest body. Units: bytes.
const BODY_BYTES_MAX: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    for name in CODINGS.split(", ") {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        let coding = ContentCoding::of(&headers).expect("a coding that we name").expect("not identity");
        match coding.decoded(bytes, BODY_BYTES_MAX) {
            Ok(body) => assert!(body.len() <= BODY_BYTES_MAX),
            Err(ApiError::Coded { .. } | ApiError::BodyTooLarge { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let _ = ContentCoding::of(&HeaderMap::from_iter([(header::CONTENT_ENCODING, value)]));
    }
});
