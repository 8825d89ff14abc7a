//! Adapters of PEFT beside the weights that they were trained with: the losses that PEFT has with them.

use std::path::{Path, PathBuf};

use gptoss_checkpoint::{
    Adapter, Checkpoint, Dtype, FactorLayout, Outline, SafetensorsFile, read_adapter, write_safetensors,
};
use gptoss_kernels::Pool;
use gptoss_train::{Text, Weights};
use half::bf16;

/// Losses on the first step's rows: transformers 5.23 and PEFT 0.21.2 on torch 2.15, float32, with the
/// weights rounded to bf16 first.
const BASE: f64 = 5.245266437530518;
const TUNED: f64 = 5.279914379119873;
const SCRAMBLED: f64 = 5.308832168579102;
const TUNED_LONGER: f64 = 5.104937553405762;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/train").join(name)
}

/// The golden's weights, rounded to bf16.
fn base(folder: &Path) -> Checkpoint {
    std::fs::copy(fixture("config.json"), folder.join("config.json")).expect("a config");
    let file = SafetensorsFile::open(&fixture("weights.safetensors")).expect("weights");
    let rounded = |name: &str| -> Vec<u8> {
        let values = file.tensor(name).expect("a tensor").to_f32().expect("f32");
        values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
    };
    let tensors: Vec<(Outline, Vec<u8>)> = (file.header().entries.iter())
        .map(|entry| {
            let outline =
                Outline { name: entry.name.clone(), dtype: Dtype::Bf16, shape: entry.shape.clone() };
            (outline, rounded(&entry.name))
        })
        .collect();
    let tensors: Vec<_> = tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    write_safetensors(&folder.join("model.safetensors"), &tensors, &mut |_, _| {}).expect("written");
    Checkpoint::open(folder).expect("a checkpoint")
}

/// The first step's two documents, each token with the weight of predicting it.
fn documents() -> Vec<(Vec<u32>, Vec<f32>)> {
    let file = SafetensorsFile::open(&fixture("data.safetensors")).expect("data");
    let (ids, weight) = (file.tensor("ids").expect("ids"), file.tensor("weight").expect("weight"));
    let length = ids.shape[2];
    let tokens: Vec<u32> = ids.i64().expect("tokens")[..2 * length].iter().map(|id| *id as u32).collect();
    let weights = &weight.f32().expect("weights")[..2 * length];
    tokens.chunks(length).zip(weights.chunks(length)).map(|(t, w)| (t.to_vec(), w.to_vec())).collect()
}

#[test]
fn losses_are_pefts_and_a_scrambled_layout_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = base(folder.path());
    let weights = Weights::open(&checkpoint, None).expect("weights");
    let documents = documents();
    let texts: Vec<Text<'_>> = documents.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
    let pool = Pool::new(2);
    let check = |adapter: Option<&Adapter>, expected: f64| {
        let loss = weights.tuned(adapter).loss(&pool, &texts, 64).sum;
        assert!((loss - expected).abs() < 5e-6, "{loss}, not {expected}");
    };
    let read = |name, layout| read_adapter(&fixture(name), &checkpoint, layout).expect("an adapter").adapter;
    let adapter = read("adapter-before", None);
    check(None, BASE);
    check(Some(&adapter), TUNED);
    check(Some(&read("adapter-before", Some(FactorLayout::GroupedByExpert))), SCRAMBLED);
    check(Some(&read("adapter-after", None)), TUNED_LONGER);
    // The same for a model and itself, and more than nothing for one that was tuned.
    let [plain, tuned] = [None, Some(&adapter)].map(|adapter| weights.tuned(adapter));
    let same = plain.divergence(&pool, &plain, &texts, 64);
    assert_eq!((same.kl, same.agreement), (0.0, 1.0));
    let far = plain.divergence(&pool, &tuned, &texts, 64);
    assert!(far.kl > 0.01 && far.agreement < 0.9 && far.rows == same.rows, "{far:?}");
}
