//! The stored answers of the proof, computed on the processor: `cargo run -p gptoss-gpu --example answers`
//! writes `src/prove/answers.txt` anew.

#[path = "../tests/prove/answer.rs"]
mod answer;
#[path = "../tests/reference/mod.rs"]
mod reference;

use gptoss_gpu::prove::TABLE;

fn main() -> std::io::Result<()> {
    let lines: String = TABLE.iter().map(answer::line).collect();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/prove/answers.txt"), lines)
}
