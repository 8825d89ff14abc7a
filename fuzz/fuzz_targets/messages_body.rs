//! Any bytes are a request of Anthropic's Messages, or an error that says why not; what is read keeps to the
//! limits, reading it again gives the same, and no thinking is taken for the server's own.
#![no_main]

use gptoss_api::body;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::{RequestLimits, STOPS_MAX};
use gptoss_api::messages::parse;
use gptoss_api::messages::signature::{KEY_BYTES, Signer};
use gptoss_api::wire::messages::MessagesRequest;
use gptoss_fuzz::scope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = body::parse::<MessagesRequest>(bytes) else { return };
    let limits = RequestLimits::default();
    let scope = scope(&limits, Visibility::Summary);
    // Nobody guesses a signature of 32 bytes.
    let signer = Signer::new(&[7; KEY_BYTES], "local");
    let Ok(asked) = parse::parse(&request, &scope, &signer) else { return };
    assert!(asked.generation.visibility <= Visibility::Summary && asked.generation.stops.len() <= STOPS_MAX);
    assert!(
        asked.generation.tools.list.len() <= limits.tools_max && asked.generation.max_new_tokens.is_some()
    );
    let messages = &asked.generation.conversation.messages;
    assert!(messages.iter().all(|message| message.channel.as_deref() != Some("analysis")));
    let counted = parse::count(&request, &scope, &signer).expect("it was read before");
    assert_eq!(counted.generation.conversation, asked.generation.conversation);
});
