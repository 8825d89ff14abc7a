//! The `gptoss` binary.
fn main() {}
