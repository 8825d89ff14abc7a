//! Files as tuning writes them give the logits of the same numbers in the published form.
//!
//! Each is made of the golden checkpoint `tiny-yarn`. Where the numbers are the same, so are the bits, in
//! either precision: a product of f32 adds in the order of one of bf16. Q4_0 and its kin are Q8_0 with fewer
//! integers, so the file that says them in Q8_0 gives the bits; the k-quants, and the numbers themselves in
//! f32, are as far away as half a step of int8 makes them.

use std::path::Path;

use gptoss_checkpoint::{Checkpoint, ExpertFormat, Part};
use gptoss_formats::{GgmlQuant, Q8_0_BLOCK_BYTES};
use gptoss_kernels::Pool;
use gptoss_model::{
    Batch, DenseMode, LoadOptions, LogitRows, Model, ModelConfig, Precision, memory, parameters, plan_memory,
};
use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::equality::mean_kl;
use crate::golden::{TOLERANCE, golden, testdata};
use crate::reference::compare;
use crate::written::{Entry, Layout, SMALL, Shape, Tensors, one_by_one, save, with_bf16_experts, write};
use crate::written_gguf::{Form, Gguf, model, quantize};

const VOCAB: usize = 320;
const MODES: [(Precision, DenseMode); 3] = [
    (Precision::Exact, DenseMode::AsStored),
    (Precision::Fast, DenseMode::AsStored),
    (Precision::Fast, DenseMode::Q8),
];

/// The golden checkpoint's tensors and config.
fn tiny() -> (Tensors, Value) {
    let folder = testdata("tiny-yarn");
    let mut tensors = Tensors::new();
    for file in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if file.extension().is_some_and(|end| end == "safetensors") {
            let bytes = std::fs::read(file).expect("reads");
            for (name, view) in safetensors::SafeTensors::deserialize(&bytes).expect("tensors").tensors() {
                let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
                tensors.insert(name, Entry { dtype, shape, bytes });
            }
        }
    }
    let config = std::fs::read(folder.join("config.json")).expect("reads");
    (tensors, serde_json::from_slice(&config).expect("JSON"))
}

fn saved(folder: &Path, (tensors, config): (Tensors, Value)) -> Checkpoint {
    std::fs::create_dir_all(folder).expect("a folder");
    save(folder, &tensors, &config);
    Checkpoint::open(folder).expect("opens")
}

/// Numbers of bf16 in another type.
fn convert(entry: &mut Entry, dtype: Dtype) {
    let numbers = entry.bytes.as_chunks().0.iter().map(|number| bf16::from_le_bytes(*number).to_f32());
    entry.bytes = match dtype {
        Dtype::F16 => numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect(),
        Dtype::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
        _ => panic!("not asked for"),
    };
    entry.dtype = dtype;
}

/// Norms, router, sinks and biases in f32, or all that is bf16.
pub fn wide_parts(folder: &Path, is_all: bool) -> Checkpoint {
    let (mut tensors, config) = tiny();
    let is_small = |name: &str| ["norm", "router", "sinks", "bias"].iter().any(|part| name.contains(part));
    for (name, entry) in &mut tensors {
        if entry.dtype == Dtype::BF16 && (is_all || is_small(name)) {
            convert(entry, Dtype::F32);
        }
    }
    saved(folder, (tensors, config))
}

/// The embedding at both ends, as one tensor or as two.
pub fn tied(folder: &Path, is_one: bool) -> Checkpoint {
    let (mut tensors, mut config) = tiny();
    tensors.remove("lm_head.weight").expect("an unembedding");
    config["tie_word_embeddings"] = is_one.into();
    if !is_one {
        let Entry { dtype, shape, bytes } = &tensors["model.embed_tokens.weight"];
        let copy = Entry { dtype: *dtype, shape: shape.clone(), bytes: bytes.clone() };
        tensors.insert("lm_head.weight".into(), copy);
    }
    saved(folder, (tensors, config))
}

/// A GGUF file of the golden checkpoint, changed.
fn gguf(path: &Path, change: impl FnOnce(&mut Gguf)) -> Checkpoint {
    let source = Checkpoint::open(&testdata("tiny-yarn")).expect("opens");
    let mut file = model(&source, Form::LlamaCpp);
    change(&mut file);
    std::fs::write(path, file.bytes()).expect("writes");
    Checkpoint::open(path).expect("opens")
}

/// The matrices that are quantized, each with its quantization.
const QUANTIZED: [(&str, GgmlQuant); 6] = [
    ("token_embd.weight", GgmlQuant::Q5_0),
    ("output.weight", GgmlQuant::Iq4Nl),
    ("blk.0.attn_q.weight", GgmlQuant::Q4_0),
    ("blk.0.attn_k.weight", GgmlQuant::Q4_1),
    ("blk.1.attn_v.weight", GgmlQuant::Q5_1),
    ("blk.1.attn_output.weight", GgmlQuant::Q4_0),
];

/// Matrices in most of the quantizations that rows of this width can have.
pub fn quantized(path: &Path) -> Checkpoint {
    gguf(path, |file| QUANTIZED.iter().for_each(|(name, quant)| quantize(file.tensor(name), *quant, 9)))
}

fn logits_of(checkpoint: &Checkpoint, options: &LoadOptions) -> Vec<f32> {
    let (mut last, mut total) = (0, 0);
    let model =
        Model::load_with(checkpoint, options, Pool::new(2), &mut |done, all| (last, total) = (done, all));
    let model = model.expect("loads");
    assert!(last == total && total > 0, "progress ended at {last} of {total}");
    let tokens = &golden("tiny-yarn").tokens[..200];
    let batch = Batch { tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(tokens.len())).expect("runs").rows
}

fn logits(checkpoint: &Checkpoint, (precision, dense): (Precision, DenseMode)) -> Vec<f32> {
    logits_of(checkpoint, &LoadOptions { precision, dense, expert_slots: None })
}

/// Bits of the expected model in every mode, whole and with experts on disk.
fn check(found: &Checkpoint, expected: &Checkpoint) {
    for mode in MODES {
        let expected = logits(expected, mode);
        assert!(logits(found, mode) == expected, "{mode:?}");
        let (precision, dense) = mode;
        let options = LoadOptions { precision, dense, expert_slots: Some(3) };
        assert!(logits_of(found, &options) == expected, "{mode:?}, experts on disk");
    }
    let announced: u64 = found.part_bytes().iter().map(|(_, bytes)| bytes).sum();
    let held: usize = found.parts().iter().map(|part| found.tensor(*part).expect("a part").bytes.len()).sum();
    assert_eq!(announced, held as u64);
}

#[test]
fn experts_one_by_one_give_the_bits_of_the_stack_and_the_official_logits() {
    let folder = tempfile::tempdir().expect("a folder");
    let shape = Shape { experts: 4, ..SMALL };
    let bf16 = || {
        let (tensors, mut config) = tiny();
        config.as_object_mut().expect("an object").remove("quantization_config");
        (with_bf16_experts(tensors, &shape), config)
    };
    let stacked = saved(&folder.path().join("stacked"), bf16());
    let golden = golden("tiny-yarn");
    for (name, by_projection) in [("expert", false), ("projection", true)] {
        let (tensors, config) = bf16();
        let found = saved(&folder.path().join(name), (one_by_one(tensors, by_projection), config));
        assert_eq!(found.expert_format(), ExpertFormat::Bf16);
        check(&found, &stacked);
        let exact = logits(&found, MODES[0]);
        let largest = exact.iter().zip(&golden.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest <= TOLERANCE, "{name}: {largest}");
    }
}

#[test]
fn parts_in_f32_give_the_bits_and_f16_what_its_numbers_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Checkpoint::open(&testdata("tiny-yarn")).expect("opens");
    check(&wide_parts(&folder.path().join("small"), false), &source);
    check(&wide_parts(&folder.path().join("all"), true), &source);
    // f16 has no room for the smallest of bf16, so the bits to match are those of its own numbers in f32.
    let [half, widened] = [("f16", false), ("widened", true)].map(|(name, is_widened)| {
        let (mut tensors, config) = tiny();
        for entry in tensors.values_mut().filter(|entry| entry.dtype == Dtype::BF16) {
            convert(entry, Dtype::F16);
            if is_widened {
                let numbers = entry.bytes.as_chunks().0.iter();
                let numbers = numbers.map(|number| f16::from_le_bytes(*number).to_f32());
                (entry.dtype, entry.bytes) = (Dtype::F32, numbers.flat_map(f32::to_le_bytes).collect());
            }
        }
        saved(&folder.path().join(name), (tensors, config))
    });
    check(&half, &widened);
    compare(&half, &golden("tiny-yarn").tokens[..100], 2e-3);
}

#[test]
fn one_matrix_for_both_ends_gives_the_bits_of_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, two] = [true, false].map(|is_one| tied(&folder.path().join(is_one.to_string()), is_one));
    check(&one, &two);
    let file = gguf(&folder.path().join("tied.gguf"), |file| {
        file.tensors.retain(|tensor| tensor.name != "output.weight");
    });
    check(&file, &two);
    // The matrix is counted once, and held once where two would be.
    let config = ModelConfig::from_checkpoint(one.config()).expect("a config");
    let count: u64 = parameters(&config).iter().map(|part| part.total).sum();
    let both: u64 = parameters(&ModelConfig::from_checkpoint(two.config()).expect("a config"))
        .iter()
        .map(|part| part.total)
        .sum();
    assert_eq!(both - count, (VOCAB * 64) as u64);
    for (precision, dense) in MODES {
        let weights = |checkpoint: &Checkpoint| {
            let terms = memory(&config, &checkpoint.part_bytes(), 100, precision, dense);
            terms.iter().filter(|term| term.name.starts_with("weights")).map(|term| term.bytes).sum::<u64>()
        };
        let matrix = if dense == DenseMode::Q8 { VOCAB * 64 / 32 * Q8_0_BLOCK_BYTES } else { VOCAB * 64 * 2 };
        assert_eq!(weights(&two) - weights(&one), matrix as u64, "{dense:?}");
    }
}

/// An embedding that had to be made is in memory whatever the budget; one that is mapped is not.
#[test]
fn a_budget_counts_an_embedding_that_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = |checkpoint: &Checkpoint| {
        let plan = |budget| plan_memory(checkpoint, 100, Precision::Fast, DenseMode::AsStored, budget);
        let Err(gptoss_model::Error::BudgetTooSmall { smallest, .. }) = plan(1) else { panic!("fits") };
        let plan = plan(smallest).expect("fits");
        let embedding = plan.terms.iter().find(|term| term.name == "weights: embedding");
        embedding.map(|term| term.bytes)
    };
    let made = quantized(&folder.path().join("quantized.gguf"));
    assert_eq!(plan(&made), Some(made.tensor(Part::Embedding).expect("a part").bytes.len() as u64));
    assert_eq!(plan(&Checkpoint::open(&testdata("tiny-yarn")).expect("opens")), None);
    assert_eq!(plan(&tied(&folder.path().join("tied"), true)), None);
}

/// Numbers of blocks, and the same blocks in Q8_0 by the test's own hand.
fn unpacked(quant: GgmlQuant, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / quant.block_bytes() * quant.block_values()];
    let blocks = out.chunks_mut(quant.block_values()).zip(bytes.chunks(quant.block_bytes()));
    blocks.for_each(|(out, block)| quant.dequantize(out, block));
    out
}

/// Units: nats. Half a step of int8 in every dense matrix of this model is 0.04 (`gguf.rs`).
const INT8_MEAN_KL_MAX: f64 = 0.12;

#[test]
fn quantized_matrices_give_the_logits_of_their_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = quantized(&folder.path().join("quantized.gguf"));
    let exact = MODES[0];
    // The numbers in f32, which nothing rounds.
    let widened = gguf(&folder.path().join("widened.gguf"), |file| {
        for (name, quant) in QUANTIZED {
            let tensor = file.tensor(name);
            quantize(tensor, quant, 9);
            let numbers = unpacked(quant, &tensor.bytes);
            (tensor.kind, tensor.bytes) = (0, numbers.into_iter().flat_map(f32::to_le_bytes).collect());
        }
    });
    let kl = mean_kl(&logits(&widened, exact), &logits(&found, exact), VOCAB);
    println!("tiny-yarn, Q4_0 to IQ4_NL, exact: mean KL {kl:e} nats");
    assert!(kl < INT8_MEAN_KL_MAX, "{kl:e}");
    compare(&found, &golden("tiny-yarn").tokens[..100], 2e-3);
    // Those that Q8_0 can say, alone: the same as its blocks, and as the numbers but for the order of sums.
    let is_whole = |quant| matches!(quant, GgmlQuant::Q4_0 | GgmlQuant::Q5_0 | GgmlQuant::Iq4Nl);
    let whole = || QUANTIZED.into_iter().filter(|(_, quant)| is_whole(*quant));
    let small = gguf(&folder.path().join("small.gguf"), |file| {
        whole().for_each(|(name, quant)| quantize(file.tensor(name), quant, 9));
    });
    let as_q8_0 = gguf(&folder.path().join("q8_0.gguf"), |file| {
        for (name, quant) in whole() {
            let tensor = file.tensor(name);
            quantize(tensor, quant, 9);
            let numbers = unpacked(quant, &tensor.bytes);
            let scales = tensor.bytes.chunks(quant.block_bytes()).map(|block| [block[0], block[1]]);
            let blocks = numbers.chunks(32).zip(scales).flat_map(|(numbers, scale)| {
                let step = f16::from_le_bytes(scale).to_f32();
                let values = numbers.iter().map(move |number| (number / step).round() as i8 as u8);
                scale.into_iter().chain(values).collect::<Vec<u8>>()
            });
            (tensor.kind, tensor.bytes) = (8, blocks.collect());
        }
    });
    check(&small, &as_q8_0);
}

/// The width of the published models' output projection admits k-quants; here all of attention is so wide.
#[test]
fn k_quants_give_the_logits_of_their_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let shape = Shape { hidden: 256, heads: [8, 2], head_dim: 32, vocab: VOCAB, ..SMALL };
    write(folder.path(), &shape, Layout::HuggingFace);
    let source = Checkpoint::open(folder.path()).expect("opens");
    let tokens: Vec<u32> = (0..60).map(|i| (i * 5 + i * i) % VOCAB as u32).collect();
    for quant in GgmlQuant::ALL {
        let [found, widened] = [false, true].map(|is_widened| {
            let mut file = model(&source, Form::LlamaCpp);
            file.key(
                "gpt-oss.attention.sliding_window_pattern",
                crate::written_gguf::Value::I32s(vec![1, 0, 1]),
            );
            for layer in 0..3 {
                let tensor = file.tensor(&format!("blk.{layer}.attn_output.weight"));
                quantize(tensor, quant, 9);
                if is_widened {
                    let numbers = unpacked(quant, &tensor.bytes);
                    (tensor.kind, tensor.bytes) =
                        (0, numbers.into_iter().flat_map(f32::to_le_bytes).collect());
                }
            }
            let path = folder.path().join(format!("{quant:?}-{is_widened}.gguf"));
            std::fs::write(&path, file.bytes()).expect("writes");
            let checkpoint = Checkpoint::open(&path).expect("opens");
            compare(&checkpoint, &tokens, 1e-3);
            let options =
                LoadOptions { precision: Precision::Exact, dense: DenseMode::AsStored, expert_slots: None };
            let model = Model::load_with(&checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads");
            let batch = Batch { tokens: &tokens, logits: LogitRows::All };
            model.forward(&batch, &mut model.new_cache(tokens.len())).expect("runs").rows
        });
        let kl = mean_kl(&widened, &found, VOCAB);
        println!("{quant:?}: mean KL {kl:e} nats");
        assert!(kl < 1e-2, "{quant:?}: {kl:e}");
    }
}

/// A uniformly pruned mixture, and other numbers of active experts than four.
#[test]
fn any_number_of_experts_runs() {
    for (experts, active) in [(20, 4), (5, 3), (7, 7), (1, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let shape = Shape { experts, active, seed: 21, ..SMALL };
        write(folder.path(), &shape, Layout::HuggingFace);
        let checkpoint = Checkpoint::open(folder.path()).expect("opens");
        let config = checkpoint.config();
        assert_eq!((config.num_local_experts, config.experts_per_token), (experts, active));
        let tokens: Vec<u32> = (0..40).map(|i| (i * 5 + i * i) % 77).collect();
        compare(&checkpoint, &tokens, 1e-4);
    }
    let wrong = json!({"num_local_experts": 4, "num_experts_per_tok": 5});
    let folder = tempfile::tempdir().expect("a folder");
    let (tensors, mut config) = tiny();
    config.as_object_mut().expect("an object").extend(wrong.as_object().expect("an object").clone());
    save(folder.path(), &tensors, &config);
    let error = Checkpoint::open(folder.path()).expect_err("is refused").to_string();
    assert!(error.contains("num_experts_per_tok is 5") && error.contains("from 1 to 4"), "{error}");
}
