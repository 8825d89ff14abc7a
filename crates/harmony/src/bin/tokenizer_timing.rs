//! How long do loading and encoding take, on texts made to be slow?
//!
//! `cargo run --release -p gptoss-harmony --bin tokenizer_timing`: milliseconds for one MiB of each case and
//! for each way of loading. It is a binary of this crate and not an example, since an example would build the
//! dev-dependencies in release mode too. The bound is 250 ms for one MiB of any one character.

use std::time::Instant;

use gptoss_harmony::{MultiDigit, Vocab};

const BYTES: usize = 1 << 20;

/// Milliseconds that this thread has computed, where the system tells it: on a busy machine they say more
/// than the clock.
fn cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e6)
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (start, cpu_start) = (Instant::now(), cpu_ms());
    let result = work();
    let wall = start.elapsed().as_secs_f64() * 1e3;
    let cpu = cpu_ms().zip(cpu_start).map_or(wall, |(end, start)| end - start);
    println!("{cpu:>9.2} ms of computing, {wall:>9.2} ms by the clock: {name}");
    result
}

fn main() {
    let vocab = timed("load o200k_harmony", Vocab::o200k_harmony);
    timed("first encode (class table)", || vocab.encode_ids("Hello"));
    let small = timed("load the first 2048 ranks", || Vocab::truncated(2048, MultiDigit::Drop));
    let file = small.to_tokenizer_json();
    timed("load them from tokenizer.json", || Vocab::from_tokenizer_json(&file).map(drop))
        .expect("we wrote it");
    let file = vocab.to_tokenizer_json();
    let name = format!("load o200k from tokenizer.json of {:.1} MB", file.len() as f64 / 1e6);
    timed(&name, || Vocab::from_tokenizer_json(&file).map(drop)).expect("we wrote it");

    let cycles = [
        "a",
        "x",
        "Q",
        " ",
        "\n",
        "\t",
        "\r",
        "^",
        "=",
        "-",
        "/",
        "'",
        "7",
        "🙂",
        "你",
        "é",
        "É",
        "\u{301}",
        "\u{3000}",
        "ʰ",
        "\u{0}",
        "\u{10ffff}",
        "aA",
        "Aa",
        "aAʰ",
        "ʰA",
        "'s",
        "a's",
        " \n",
        "  a",
        "ab",
        "/\n",
        "!a",
        "\u{301}A",
        "etaoinshrdlu",
        "Hello, world! ",
    ];
    for cycle in cycles {
        let text = cycle.repeat(BYTES / cycle.len());
        let ids = timed(&format!("1 MiB of {cycle:?}"), || vocab.encode_ids(&text));
        assert_eq!(vocab.decode(&ids).expect("encoded ids decode"), text.as_bytes());
        timed(&format!("1 MiB of {cycle:?}, small vocabulary"), || small.encode_ids(&text));
    }
    let mut state = 1u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (b'a' + (state >> 16) as u8 % 26) as char
    };
    let random: String = (0..BYTES).map(|_| letter()).collect();
    timed("1 MiB of random letters, one piece", || vocab.encode_ids(&random));
    let run_then_letters = "ʰ".to_string() + &"A".repeat(BYTES);
    timed("1 MiB of capitals after one letter without case", || vocab.encode_ids(&run_then_letters));
}
