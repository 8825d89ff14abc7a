//! Any text encodes to text tokens that decode to it, in the published and in the demo's vocabulary; any
//! bytes are a `tokenizer.json` or an error.
#![no_main]

use std::sync::OnceLock;

use gptoss_harmony::{MultiDigit, Token, Vocab};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static SMALL: OnceLock<Vocab> = OnceLock::new();
    let small = SMALL.get_or_init(|| Vocab::truncated(2048, MultiDigit::Drop));
    let published = Vocab::o200k_harmony();
    let text = String::from_utf8_lossy(bytes);
    for vocab in [small, &*published] {
        let ids = vocab.encode_ids(&text);
        assert_eq!(vocab.decode(&ids).expect("encoded ids have text"), text.as_bytes());
        assert!(
            ids.iter().all(|&id| matches!(vocab.token(id), Some(Token::Text(_)))),
            "text became structure"
        );
    }
    if let Ok(read) = Vocab::from_tokenizer_json(bytes) {
        assert_eq!(read.decode(&read.encode_ids(&text)).expect("encoded ids have text"), text.as_bytes());
    }
});
