//! Whether the time of a comparison says how much of a key was right.

use std::hint::black_box;
use std::time::Instant;

use gptoss_govern::{Digest, Rules};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Keys of the rules.
const KEYS: usize = 100;
const COMPARISONS: usize = 10_000;
/// The bound of dudect: a difference in time is there beyond it.
const T_MAX: f64 = 4.5;

/// A key's text.
fn secret(index: usize) -> String {
    format!("sk-gptoss-AAAAAAAAAAAA-{:a>48}", index)
}

/// Mean and variance of the faster nine tenths: interruptions say nothing.
fn moments(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    times.truncate(times.len() * 9 / 10);
    let num = times.len() as f64;
    let mean = times.iter().sum::<f64>() / num;
    (mean, times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (num - 1.0), num)
}

/// Welch's t between secrets that share all but the last character with a key, and others.
fn t(seed: u64) -> f64 {
    let mut random = StdRng::seed_from_u64(seed);
    let keys: Vec<String> = (0..KEYS).map(secret).collect();
    let mut text = String::new();
    for (index, key) in keys.iter().enumerate() {
        let hash = Digest::of(key).to_hex();
        text += &format!("[[keys]]\nname = \"k\"\nid = \"{index}\"\nhash = \"sha256:{hash}\"\n");
    }
    let rules = Rules::parse(&text).unwrap();
    // All of a key but its last character.
    let near = &keys[KEYS / 2];
    let near = near[..near.len() - 1].to_owned() + "!";
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..COMPARISONS {
        let class = usize::from(random.random_bool(0.5));
        let far: String = (0..near.len()).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
        let secret = if class == 0 { &near } else { &far };
        let start = Instant::now();
        black_box(rules.identify(black_box(secret), 0).is_ok());
        times[class].push(start.elapsed().as_nanos() as f64);
    }
    let [near, far] = times.map(moments);
    (near.0 - far.0) / (near.1 / near.2 + far.1 / far.2).sqrt()
}

/// By hand, since a busy machine decides it: five runs, of which the middle one counts.
#[test]
#[ignore = "by hand: it measures time"]
fn ten_thousand_comparisons_do_not_tell_a_matching_prefix() {
    let mut found: Vec<f64> = (0..5).map(t).collect();
    found.sort_by(f64::total_cmp);
    eprintln!("t of five runs: {found:.2?}");
    assert!(found[2].abs() < T_MAX, "{found:?}");
}
