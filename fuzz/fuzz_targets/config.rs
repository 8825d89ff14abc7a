//! Any bytes are a config or an error; an accepted config has sane shapes and survives being written and read
//! again.
#![no_main]

use std::path::Path;

use gptoss_checkpoint::{ExpertFormat, num_bytes, parse_config, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed");
    let Ok(parsed) = parse_config(bytes, path) else { return };
    for format in [ExpertFormat::Mxfp4, ExpertFormat::Bf16] {
        for part in parts(&parsed.config, format) {
            assert!(num_bytes(&parsed.config, part) < 1 << 56);
        }
    }
    let again =
        parse_config(parsed.config.to_json(parsed.form).as_bytes(), path).expect("what we write we read");
    assert_eq!(again.config.num_hidden_layers, parsed.config.num_hidden_layers);
    assert_eq!(again.config.rope, parsed.config.rope.clone());
});
