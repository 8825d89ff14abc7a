//! Any bytes are a safetensors header or an error, and an accepted header never points outside its file.
#![no_main]

use std::path::Path;

use gptoss_checkpoint::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(header) = Header::parse(file, Path::new("fuzzed")) {
        for entry in header.entries {
            let elements: usize = entry.shape.iter().product();
            assert_eq!(file[entry.range].len(), elements * entry.dtype.num_bytes());
        }
    }
});
