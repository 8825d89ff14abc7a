//! The journal under rules, load and mutation, by its public face alone.

mod budgets;
mod chain;
mod content;
mod load;
mod rates;
mod readers;
mod timing;

use gptoss_govern::{Digest, Key, Rules};

/// A moment: 2026-11-30 00:00 UTC, a Monday. Units: milliseconds since 1970.
const NOW: i64 = 1_795_996_800_000;

/// Rules with these keys (each its own secret) and what stands before them.
fn rules(before: &str, keys: &[(&str, &str)]) -> Rules {
    let mut text = before.to_owned();
    for (name, more) in keys {
        let hash = Digest::of(name).to_hex();
        let id = name.replace('-', "");
        text += &format!("\n[[keys]]\nname = \"{name}\"\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n{more}\n");
    }
    Rules::parse(&text).unwrap()
}

/// The key of a name.
fn key<'a>(rules: &'a Rules, name: &str) -> &'a Key {
    rules.identify(name, 0).unwrap()
}
