//! The filter against its definition in float64, and against itself with texts cut at other places.
//!
//! `testdata/privacy-filter` is `reference/privacy_filter.py`'s; `GPTOSS_PRIVACY_FILTER` names another folder
//! of its making, such as one of the published shape (2.8 GB).

#![expect(
    clippy::disallowed_methods,
    reason = "a model of the real size is a folder that the environment names"
)]

use std::fs;
use std::path::{Path, PathBuf};

use gptoss_checkpoint::{Outline, SafetensorsFile, Tensor, write_safetensors};
use gptoss_harmony::{MultiDigit, Vocab};
use gptoss_redact::{Error, Filter, FilterOptions, Span, WINDOW_TOKENS};
use proptest::prelude::*;
use serde_json::{Value, json};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/privacy-filter");
/// The bound on a float32 forward pass.
const TOLERANCE: f32 = 1e-4;

fn open(folder: &Path) -> Result<Filter, Error> {
    Filter::open(folder, FilterOptions { threads: 2, window_tokens: WINDOW_TOKENS })
}

fn logits(filter: &Filter, tokens: &[u32]) -> Vec<f32> {
    filter.logits(tokens, &mut |_| true).unwrap()
}

/// The reference's tokens, logits and classes.
fn reference(folder: &Path) -> (Vec<u32>, Vec<f32>, Vec<usize>) {
    let file = SafetensorsFile::open(&folder.join("reference.safetensors")).unwrap();
    let whole = |name: &str| file.tensor(name).unwrap().i64().unwrap().to_vec();
    let ids = whole("input_ids").into_iter().map(|id| id as u32).collect();
    let classes = whole("classes").into_iter().map(|class| class as usize).collect();
    (ids, file.tensor("logits").unwrap().to_f32().unwrap(), classes)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_and_classes_are_the_references() {
    let folder = std::env::var_os("GPTOSS_PRIVACY_FILTER").map_or_else(|| TINY.into(), PathBuf::from);
    let (tokens, expected, classes) = reference(&folder);
    let filter = open(&folder).unwrap();
    let difference = largest_difference(&logits(&filter, &tokens), &expected);
    println!("largest difference of {} logits: {difference:e}", expected.len());
    assert!(difference < TOLERANCE, "{difference}");
    assert_eq!(filter.classes(&tokens).unwrap(), classes);
    // Random weights label much, so that the comparison says something.
    assert!(classes.iter().filter(|&&class| class > 0).count() > classes.len() / 4);
}

/// A copy of the tiny model with other tensors and another config.
fn changed(
    change: impl Fn(Vec<Tensor>) -> Vec<(Outline, Vec<u8>)>,
    config: impl Fn(&mut Value),
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Path::new(TINY);
    let mut json: Value = serde_json::from_slice(&fs::read(tiny.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let file = SafetensorsFile::open(&tiny.join("model.safetensors")).unwrap();
    let tensors = file.header().entries.iter().map(|entry| file.tensor(&entry.name).unwrap()).collect();
    let tensors = change(tensors);
    let slices: Vec<_> = tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &slices, &mut |_, _| ()).unwrap();
    let tokenizer = Vocab::truncated(0, MultiDigit::Keep).to_tokenizer_json();
    fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    folder
}

fn written(tensor: Tensor) -> (Outline, Vec<u8>) {
    let Tensor { name, dtype, shape, bytes } = tensor;
    (Outline { name, dtype, shape }, bytes.to_vec())
}

fn unchanged(tensors: Vec<Tensor>) -> Vec<(Outline, Vec<u8>)> {
    tensors.into_iter().map(written).collect()
}

/// The bytes of one tensor made anew.
fn with(name: &str, fill: impl Fn(&mut [u8])) -> impl Fn(Vec<Tensor>) -> Vec<(Outline, Vec<u8>)> {
    move |tensors| {
        let mut tensors = unchanged(tensors);
        let (_, bytes) = tensors.iter_mut().find(|(outline, _)| outline.name == name).unwrap();
        fill(bytes);
        tensors
    }
}

/// The tensors as `original/` has them: projections joined, sinks as powers of two, no bias of the head.
fn as_original(tensors: Vec<Tensor>) -> Vec<(Outline, Vec<u8>)> {
    let mut all: Vec<(Outline, Vec<u8>)> = Vec::new();
    for (mut outline, mut bytes) in unchanged(tensors) {
        if outline.name == "score.bias" {
            continue;
        }
        if outline.name.ends_with("sinks") {
            for sink in bytes.as_chunks_mut::<4>().0 {
                *sink = (f32::from_le_bytes(*sink) / std::f32::consts::LN_2).to_le_bytes();
            }
        }
        outline.name = original_name(&outline.name);
        match all.last_mut().filter(|(last, _)| last.name == outline.name) {
            Some((last, joined)) => {
                last.shape[0] += outline.shape[0];
                joined.extend(bytes);
            }
            None => all.push((outline, bytes)),
        }
    }
    all
}

fn original_name(name: &str) -> String {
    let pairs = [
        ("model.embed_tokens", "embedding"),
        ("model.layers.", "block."),
        ("input_layernorm.weight", "attn.norm.scale"),
        ("post_attention_layernorm.weight", "mlp.norm.scale"),
        ("self_attn.o_proj", "attn.out"),
        ("self_attn.q_proj", "attn.qkv"),
        ("self_attn.k_proj", "attn.qkv"),
        ("self_attn.v_proj", "attn.qkv"),
        ("self_attn", "attn"),
        ("mlp.router", "mlp.gate"),
        ("experts.gate_up_proj_bias", "swiglu.bias"),
        ("experts.gate_up_proj", "swiglu.weight"),
        ("experts.down_proj_bias", "out.bias"),
        ("experts.down_proj", "out.weight"),
        ("model.norm.weight", "norm.scale"),
        ("score", "unembedding"),
    ];
    pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// Weights and biases take turns in the Hugging Face layout; joined, all weights come first.
fn in_turn(mut tensors: Vec<Tensor>) -> Vec<Tensor> {
    let turn = |name: &str| {
        let is_joined = ["q_proj", "k_proj", "v_proj"].iter().any(|part| name.contains(part));
        if is_joined { 1 + usize::from(name.ends_with("bias")) } else { 0 }
    };
    let layer = |name: &str| -> usize {
        name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or(99)
    };
    tensors.sort_by_key(|tensor| (layer(&tensor.name), turn(&tensor.name)));
    tensors
}

#[test]
fn both_published_layouts_are_the_same_model() {
    let hugging_face = changed(with("score.bias", |bytes| bytes.fill(0)), |_| ());
    let original = changed(
        |tensors| as_original(in_turn(tensors)),
        |config| {
            let of = |name: &str| config[name].clone();
            let rope = of("rope_parameters");
            *config = json!({
                "model_type": "privacy_filter", "encoding": "o200k_base", "num_labels": 33,
                "num_hidden_layers": of("num_hidden_layers"), "num_experts": of("num_local_experts"),
                "experts_per_token": of("num_experts_per_tok"), "vocab_size": of("vocab_size"),
                "hidden_size": of("hidden_size"), "intermediate_size": of("intermediate_size"),
                "head_dim": of("head_dim"), "num_attention_heads": of("num_attention_heads"),
                "num_key_value_heads": of("num_key_value_heads"), "sliding_window": 11,
                "bidirectional_context": true, "bidirectional_left_context": 5,
                "bidirectional_right_context": 5, "initial_context_length": 64, "rope_theta": 150000.0,
                "rope_scaling_factor": rope["factor"], "rope_ntk_alpha": rope["beta_slow"],
                "rope_ntk_beta": rope["beta_fast"], "param_dtype": "bfloat16",
            });
        },
    );
    let (tokens, ..) = reference(Path::new(TINY));
    let [a, b] = [hugging_face, original].map(|folder| logits(&open(folder.path()).unwrap(), &tokens));
    // The sinks went through a division and back.
    assert!(largest_difference(&a, &b) < 1e-5);
}

/// Words and characters of several bytes, of which tokens here are single ones.
fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof!["[a-zA-Z0-9@.]{1,6}", "[ \n]{1,2}", "[é–漢😀]{1,2}"];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_a_text_is_cut_changes_nothing(text in texts(), window_tokens in 1_usize..80) {
        let folder = changed(unchanged, |_| ());
        let at = |threads, window_tokens| {
            let filter = Filter::open(folder.path(), FilterOptions { threads, window_tokens }).unwrap();
            let logits = logits(&filter, &filter.tokens(&text));
            (logits, filter.spans(&text, &mut |_| true).unwrap())
        };
        let (whole, cut) = (at(1, WINDOW_TOKENS), at(2, window_tokens));
        prop_assert!(whole.0.iter().map(|x| x.to_bits()).eq(cut.0.iter().map(|x| x.to_bits())));
        prop_assert_eq!(&whole.1, &cut.1);
        let mut end = 0;
        for Span { bytes, score, .. } in whole.1 {
            prop_assert!(end <= bytes.start && !text[bytes.clone()].trim().is_empty());
            prop_assert!((0.0..=1.0).contains(&score));
            end = bytes.end;
        }
    }
}

#[test]
fn every_cut_of_one_text() {
    let folder = changed(unchanged, |_| ());
    let text = "Alice Smith, alice@example.com, +44 20 7946 0018, née Müller: 4111 1111";
    let spans = |window_tokens| {
        let filter = Filter::open(folder.path(), FilterOptions { threads: 1, window_tokens }).unwrap();
        filter.spans(text, &mut |_| true).unwrap()
    };
    let whole = spans(WINDOW_TOKENS);
    assert!(whole.len() > 5, "{whole:?}");
    (1..=text.len() + 40)
        .for_each(|window_tokens| assert_eq!(spans(window_tokens), whole, "{window_tokens}"));
}

#[test]
fn who_asks_can_stop_it() {
    let folder = changed(unchanged, |_| ());
    let filter = Filter::open(folder.path(), FilterOptions { threads: 1, window_tokens: 40 }).unwrap();
    let mut asked = Vec::new();
    let error = filter.spans(&"a b ".repeat(30), &mut |done| {
        asked.push(done);
        done < 40
    });
    assert_eq!(asked, [0, 20, 40]);
    assert_eq!(error.unwrap_err().to_string(), "stopped after 40 of 120 tokens");
    assert_eq!(filter.spans("", &mut |_| false).unwrap(), []);
}

#[test]
fn damaged_models_are_refused_with_the_reason() {
    let check = |folder: tempfile::TempDir, expected: &str| {
        let opened = open(folder.path());
        let error = match opened {
            Ok(filter) => filter.spans("a text", &mut |_| true).map(|spans| spans.len()).unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(expected), "{error} has no {expected:?}");
    };
    let set =
        |field: &'static str, value: Value| changed(unchanged, move |config| config[field] = value.clone());
    check(set("model_type", json!("gpt_oss")), "this is for \"openai_privacy_filter\"");
    check(
        set("num_hidden_layers", json!(2)),
        "model.layers.2.input_layernorm.weight is not part of the model",
    );
    check(set("num_hidden_layers", json!(4)), "model.layers.3.");
    check(set("hidden_size", json!(64)), "the config asks for [280, 64]");
    check(set("head_dim", json!(7)), "must be even");
    check(set("num_key_value_heads", json!(4)), "a divisor of the 6 query heads");
    check(set("num_experts_per_tok", json!(9)), "must be from 1 to 8");
    check(set("id2label", json!({"0": "O", "2": "B-x"})), "id2label[1] is missing");
    check(set("id2label", json!({"0": "O", "1": "B-x"})), "of each kind of span");
    check(set("attention_bias", json!(false)), "attention_bias is false");
    check(set("rms_norm_eps", json!("small")), "damaged JSON");
    check(set("sliding_window", json!(1 << 20)), "bidirectional_left_context");
    let nan = |bytes: &mut [u8]| bytes.as_chunks_mut::<2>().0.fill(0x7fc0_u16.to_le_bytes());
    check(changed(with("model.layers.1.mlp.router.bias", nan), |_| ()), "not finite");
    let few = |tensors: Vec<Tensor>| unchanged(tensors).into_iter().skip(1).collect();
    check(changed(few, |_| ()), "model.embed_tokens.weight is missing");
    let floats = |tensors: Vec<Tensor>| {
        let mut tensors = unchanged(tensors);
        let name = "model.layers.0.mlp.experts.down_proj";
        let (outline, bytes) = tensors.iter_mut().find(|(outline, _)| outline.name == name).unwrap();
        outline.dtype = gptoss_checkpoint::Dtype::F32;
        bytes.resize(bytes.len() * 2, 0);
        tensors
    };
    check(changed(floats, |_| ()), "must be BF16");
    let other = changed(unchanged, |_| ());
    fs::remove_file(other.path().join("tokenizer.json")).unwrap();
    check(other, "the model knows 280");
}
