//! Whether the kernels that are chosen on this machine give the numbers that they give everywhere.
//!
//! A small model with weights from a seed reads the same tokens in each numeric mode, all at once and one by
//! one, which takes tiles and the products of single rows. Sums have one order whatever computes them, so the
//! hash of all logits is one number for every machine; how far the exact mode is from the official
//! implementation is held by the tests of the room `model`.

use anyhow::Result;
use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_kernels::{Pool, Tier};
use gptoss_model::{Batch, DenseMode, LoadOptions, LogitRows, Model, Precision};
use sha2::{Digest as _, Sha256};

use crate::finding::Finding;
use crate::machine;
use crate::pull::checksum::hex;

const ABOUT: &str = "kernels";
/// Tokens that are read: more than the window, and no multiple of a tile.
const TOKENS: u32 = 203;

/// A numeric mode with the SHA-256 of its logits.
struct Golden {
    name: &'static str,
    precision: Precision,
    dense: DenseMode,
    sha256: &'static str,
}

const GOLDENS: &[Golden] = &[
    Golden {
        name: "fast",
        precision: Precision::Fast,
        dense: DenseMode::Q8,
        sha256: "7f10c42657503f47a42e7b826b7ed019bfd58845c62642479632fb8afc6acb90",
    },
    Golden {
        name: "fast, bf16",
        precision: Precision::Fast,
        dense: DenseMode::AsStored,
        sha256: "817627ccf7eaee7a1c89b00b44af2ead974f507871c8a9b67ed63dfea6bbfc33",
    },
    Golden {
        name: "exact",
        precision: Precision::Exact,
        dense: DenseMode::AsStored,
        sha256: "dde5276737aee2c868efd742f8853e4ce6989108790229e07516092f539f1fb6",
    },
];

/// What there is to say of them.
///
/// Errors: the small model cannot be made or computed.
pub fn finding(threads: Option<u16>) -> Result<Finding> {
    let mut wrong = Vec::new();
    for golden in GOLDENS {
        let found = logits(golden, threads)?;
        if found.iter().any(|hash| hash != golden.sha256) {
            wrong.push(golden.name);
        }
    }
    let tier = Tier::detect();
    Ok(match wrong.is_empty() {
        true => {
            Finding::ok(ABOUT, format!("{tier:?}: the logits of {} numeric modes, to the bit", GOLDENS.len()))
        }
        false => Finding::fail(
            ABOUT,
            format!("{tier:?}: other logits than everywhere else in mode {}", wrong.join(", ")),
            "this build or this processor computes wrong: run `cargo test -p gptoss-kernels`, and report it",
        ),
    })
}

/// The hashes of all logits, read at once and read one by one.
fn logits(golden: &Golden, threads: Option<u16>) -> Result<[String; 2]> {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 0, None)?;
    let options = LoadOptions { precision: golden.precision, dense: golden.dense, expert_slots: None };
    let pool = Pool::new(machine::threads(threads));
    let model = Model::load_with(&checkpoint, &options, pool, &mut |_, _| {})?;
    let size = model.config().vocab_size as u32;
    let tokens: Vec<u32> = (0..TOKENS).map(|index| index * 97 % size).collect();
    let read = |chunk: usize| -> Result<String> {
        let (mut cache, mut hash) = (model.new_cache(tokens.len()), Sha256::new());
        for tokens in tokens.chunks(chunk) {
            let batch = Batch { tokens, logits: LogitRows::All };
            model.forward_rows(&batch, &mut cache, &mut |_, row| {
                row.iter().for_each(|logit| hash.update(logit.to_bits().to_le_bytes()));
            })?;
        }
        Ok(hex(&hash.finalize()))
    };
    Ok([read(tokens.len())?, read(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_those_of_every_machine() {
        let expected: Vec<[&str; 2]> = GOLDENS.iter().map(|golden| [golden.sha256; 2]).collect();
        let found = GOLDENS.iter().map(|golden| logits(golden, Some(2)).unwrap());
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
