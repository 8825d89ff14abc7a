//! Any bytes are a GGUF header or an error, an accepted header never points outside its file, and any bytes
//! are blocks of what becomes Q8_0.
#![no_main]

use std::path::Path;

use gptoss_checkpoint::{GgufHeader, GgufValue, Storage};
use gptoss_formats::{BLOCK_VALUES, Q8_0_BLOCK_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(header) = GgufHeader::parse(file, Path::new("fuzzed")) {
        for tensor in header.tensors {
            let values: usize = tensor.shape.iter().product();
            let blocks = values / tensor.element.block_values;
            let data = &file[tensor.range];
            assert_eq!(data.len(), blocks * tensor.element.block_bytes);
            if let (Some(Storage::Quantized(quant)), Some(block)) =
                (tensor.element.storage, data.get(..tensor.element.block_bytes))
            {
                let mut numbers = vec![0.0; quant.block_values()];
                quant.dequantize(&mut numbers, block);
                quant.to_q8_0(&mut vec![[0; Q8_0_BLOCK_BYTES]; numbers.len() / BLOCK_VALUES], block);
            }
        }
        for (_, value) in header.metadata {
            if let GgufValue::Text(range) | GgufValue::List(gptoss_checkpoint::GgufList { range, .. }) = value
            {
                assert!(range.end <= file.len() && range.start <= range.end);
            }
        }
    }
});
