//! Any stream is events or an error to `gptoss load`, the same events wherever it is cut, and each is words
//! of an API or an error that says why not.
#![no_main]

// The command line's crate is a program and no library.
#[path = "../../crates/cli/src/load/sse.rs"]
mod sse;
#[path = "../../crates/cli/src/load/wire.rs"]
mod wire;

/// The part of the arguments that is read by the modules above.
mod args {
    #[derive(Debug, Clone, Copy)]
    pub enum EndpointArg {
        Chat,
        Completions,
        Responses,
    }
}

use args::EndpointArg;
use libfuzzer_sys::fuzz_target;
use sse::EventReader;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = EventReader::default().take(bytes).expect("inputs are shorter than the longest event");
    let mut reader = EventReader::default();
    let mut events = Vec::new();
    for part in bytes.chunks(usize::from(cut).max(1)) {
        events.extend(reader.take(part).expect("as above"));
    }
    assert_eq!(events, whole);
    for data in &events {
        for endpoint in [EndpointArg::Chat, EndpointArg::Completions, EndpointArg::Responses] {
            match wire::hear(endpoint, data) {
                Ok(heard) => {
                    let _ = heard.usage.map(|usage| usage.cached_tokens());
                }
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
});
