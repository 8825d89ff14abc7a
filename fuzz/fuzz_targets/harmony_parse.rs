//! Any token ids parse: events alternate, deltas make up the messages.
#![no_main]

use std::sync::{Arc, OnceLock};

use gptoss_harmony::{MultiDigit, ParseEvent, StreamParser, Vocab};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<u16>)| {
    static VOCAB: OnceLock<Arc<Vocab>> = OnceLock::new();
    let vocab = VOCAB.get_or_init(|| Arc::new(Vocab::truncated(2048, MultiDigit::Drop)));
    let (is_completion, ids) = input;
    let mut parser = if is_completion {
        StreamParser::completion(vocab.clone())
    } else {
        StreamParser::conversation(vocab.clone())
    };
    // Beyond the vocabulary's 2029 ids lie unknown ones, and small values often: control tokens.
    let ids =
        ids.into_iter().map(|id| if id < 256 { 2020 + u32::from(id) % 12 } else { u32::from(id) % 2040 });
    let mut events: Vec<ParseEvent> = ids.flat_map(|id| parser.push(id)).collect();
    let (last, parsed) = parser.finish();
    events.extend(last);
    let mut open: Option<String> = None;
    let mut messages = Vec::new();
    for event in events {
        match event {
            ParseEvent::Started(_) => assert!(open.replace(String::new()).is_none()),
            ParseEvent::Text(delta) => open.as_mut().expect("text belongs to a message").push_str(&delta),
            ParseEvent::Ended(message) => {
                assert_eq!(open.take().expect("an end has a start"), message.text());
                messages.push(message);
            }
            ParseEvent::Warning(_) => {}
        }
    }
    assert!(open.is_none());
    assert_eq!(messages, parsed.messages);
});
