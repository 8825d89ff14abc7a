//! Any bytes are a GGUF header or an error, and an accepted header never points outside its file.
#![no_main]

use std::path::Path;

use gptoss_checkpoint::{GgufHeader, GgufValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(header) = GgufHeader::parse(file, Path::new("fuzzed")) {
        for tensor in header.tensors {
            let values: usize = tensor.shape.iter().product();
            let blocks = values / tensor.element.block_values;
            assert_eq!(file[tensor.range].len(), blocks * tensor.element.block_bytes);
        }
        for (_, value) in header.metadata {
            if let GgufValue::Text(range) | GgufValue::List(gptoss_checkpoint::GgufList { range, .. }) = value
            {
                assert!(range.end <= file.len() && range.start <= range.end);
            }
        }
    }
});
