//! Any config and any weights are an adapter or an error: what is accepted fits the model and is finite.
//!
//! An input is the config, a zero byte, and the weights.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use gptoss_checkpoint::{Bytes, Checkpoint, Preset, parse_adapter};
use libfuzzer_sys::fuzz_target;

/// The model whose shapes are asked for; its tensors come into being when one is compared.
fn base() -> &'static Checkpoint {
    static BASE: OnceLock<Checkpoint> = OnceLock::new();
    BASE.get_or_init(|| Checkpoint::synthetic(Preset::Tiny, 0, Some(1)).expect("a preset"))
}

fuzz_target!(|input: &[u8]| {
    let split = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (settings, weights) = (&input[..split], input.get(split + 1..).unwrap_or_default());
    let mut words = vec![0_u64; weights.len().div_ceil(8)];
    for (word, bytes) in words.iter_mut().zip(weights.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
    let bytes = Bytes::owned(words, weights.len());
    if let Ok(read) = parse_adapter(settings, bytes, base(), Path::new("fuzzed")) {
        read.adapter.check(base().config(), Path::new("fuzzed")).expect("it was checked");
    }
});
