//! Where do the o200k_base ranks come from?
//!
//! The crate tiktoken-rs ships the published vocabulary; this script asks it for the bytes of each rank and
//! writes two flat files that the library embeds: one length byte per rank, and all token bytes in rank
//! order. So the repository holds no copy of the vocabulary, nothing is downloaded, and loading is an index
//! over embedded bytes. A test compares the sha256 of the rebuilt published file.

#![expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write by the environment")]

use std::path::Path;

const NUM_RANKS: u32 = 199_998;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let bpe = tiktoken_rs::o200k_base().expect("tiktoken-rs ships o200k_base");
    let mut lengths = Vec::with_capacity(NUM_RANKS as usize);
    let mut bytes = Vec::new();
    for rank in 0..NUM_RANKS {
        let token = bpe.decode_bytes(&[rank]).expect("every rank below 199998 has bytes");
        lengths.push(u8::try_from(token.len()).expect("o200k tokens are at most 128 bytes long"));
        bytes.extend_from_slice(&token);
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&folder).join("o200k.lengths"), lengths).expect("OUT_DIR is writable");
    std::fs::write(Path::new(&folder).join("o200k.bytes"), bytes).expect("OUT_DIR is writable");
}
