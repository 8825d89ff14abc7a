//! Everything a stranger's files can say wrong: each is an error that says what, where and what to do.
//!
//! Each test takes a good folder, breaks one thing, and checks the variant and the words of the message. The
//! last tests cut and flip at many places: no panic, and no cut goes unnoticed.

use std::fs;
use std::path::{Path, PathBuf};

use gptoss_checkpoint::{
    Checkpoint, Error, Header, Preset, SynthRequest, WriteLayout, parse_config, write_synthetic,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// A writable copy of the small sharded fixture.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("tiny-yarn")).unwrap() {
        let entry = entry.unwrap();
        fs::write(folder.path().join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
    folder
}

fn synth(layout: WriteLayout) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().to_path_buf();
    let request = SynthRequest { preset: Preset::Tiny, seed: 1, layers: Some(1), layout, folder: target };
    write_synthetic(&request, &mut |_, _| {}).unwrap();
    folder
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Rewrites the header of a safetensors file and keeps its data.
fn edit_header(path: &Path, edit: impl FnOnce(&mut Value)) {
    let file = fs::read(path).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let mut header = serde_json::from_slice(&file[8..8 + length]).unwrap();
    edit(&mut header);
    let mut json = header.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let out = [&(json.len() as u64).to_le_bytes()[..], &json, &file[8 + length..]].concat();
    fs::write(path, out).unwrap();
}

/// The error of opening, after checking that its message names all of `words`.
fn open_error(folder: &Path, words: &[&str]) -> Error {
    let error = Checkpoint::open(folder).unwrap_err();
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    error
}

const SHARD: &str = "model-00001.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SCALES: &str = "model.layers.0.mlp.experts.down_proj_scales";

#[test]
fn a_folder_without_a_checkpoint() {
    let empty = tempfile::tempdir().unwrap();
    let error = open_error(empty.path(), &["config.json", "point at the folder"]);
    assert!(matches!(error, Error::MissingFile { .. }));
    fs::copy(fixture("tiny/config.json"), empty.path().join("config.json")).unwrap();
    let error = open_error(empty.path(), &["model.safetensors"]);
    assert!(matches!(error, Error::MissingFile { .. }));
}

#[test]
fn a_missing_shard() {
    let folder = copy();
    fs::remove_file(folder.path().join(SHARD)).unwrap();
    let error = open_error(folder.path(), &[SHARD, INDEX, "download it again"]);
    assert!(matches!(error, Error::MissingShard { .. }));
}

#[test]
fn a_truncated_shard() {
    let folder = copy();
    let path = folder.path().join(SHARD);
    let file = fs::read(&path).unwrap();
    for keep in [0, 7, 100, file.len() / 2, file.len() - 1] {
        fs::write(&path, &file[..keep]).unwrap();
        let error = open_error(folder.path(), &[SHARD, "truncated", &format!("{keep} bytes"), "download"]);
        assert!(matches!(error, Error::Truncated { found, .. } if found == keep as u64));
    }
}

#[test]
fn an_index_that_names_a_path_outside_the_folder() {
    for shard in
        ["../../etc/passwd", "/etc/passwd", "sub/model.safetensors", "..", "..\\x", "C:x", ".", "", "a\0b"]
    {
        let folder = copy();
        edit_json(&folder.path().join(INDEX), |index| {
            index["weight_map"]["model.norm.weight"] = shard.into()
        });
        let error =
            open_error(folder.path(), &["model.norm.weight", "not the name of a file in the same folder"]);
        assert!(matches!(error, Error::IndexEscapes { .. }), "{shard}");
    }
}

#[cfg(unix)]
#[test]
fn shards_that_are_links_into_a_cache_are_read() {
    let blobs = copy();
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(blobs.path()).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    Checkpoint::open(folder.path()).unwrap();
}

#[test]
fn an_index_that_disagrees_with_the_files() {
    let folder = copy();
    edit_json(&folder.path().join(INDEX), |index| {
        index["weight_map"][SCALES] = "model-00002.safetensors".into()
    });
    let error = open_error(folder.path(), &[SCALES, "model-00002.safetensors"]);
    assert!(matches!(error, Error::IndexDisagrees { .. }));
    fs::write(folder.path().join(INDEX), "{\"weight_map\": [").unwrap();
    assert!(matches!(open_error(folder.path(), &[INDEX, "line 1"]), Error::BadJson { .. }));
}

#[test]
fn files_without_an_index_are_found_by_name() {
    let folder = copy();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().files().len(), 4);
    fs::copy(folder.path().join(SHARD), folder.path().join("model-copy.safetensors")).unwrap();
    let error = open_error(folder.path(), &["model-copy.safetensors", SHARD, "both hold"]);
    assert!(matches!(error, Error::DuplicateTensor { .. }));
}

#[test]
fn a_wrong_dtype() {
    let folder = copy();
    edit_header(&folder.path().join(SHARD), |header| header[SCALES]["dtype"] = "I8".into());
    let error = open_error(folder.path(), &[SHARD, SCALES, "is I8, but must be U8"]);
    assert!(matches!(error, Error::WrongDtype { .. }));
}

#[test]
fn a_wrong_shape() {
    let folder = copy();
    edit_header(&folder.path().join(SHARD), |header| header[SCALES]["shape"] = json!([4, 96, 2]));
    let error = open_error(folder.path(), &[SHARD, SCALES, "[4, 96, 2]", "[4, 64, 3]"]);
    assert!(matches!(error, Error::WrongShape { .. }));
}

#[test]
fn a_missing_and_an_unexpected_tensor() {
    let folder = copy();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    let rename = |from: &str, to: &str| {
        edit_header(&folder.path().join(SHARD), |header| {
            let entry = header.as_object_mut().unwrap().remove(from).unwrap();
            header[to] = entry;
        });
    };
    rename(SCALES, "model.layers.0.mlp.experts.0.down_proj.weight");
    let error = open_error(folder.path(), &["both as MXFP4 blocks and as bf16"]);
    assert!(matches!(error, Error::ExpertFormatDisagrees { .. }));
    rename("model.layers.0.mlp.experts.0.down_proj.weight", "model.layers.0.down_proj_scales");
    let error = open_error(folder.path(), &[SCALES, "is missing", "incomplete"]);
    assert!(matches!(error, Error::MissingTensor { .. }));
    rename("model.layers.0.down_proj_scales", SCALES);
    Checkpoint::open(folder.path()).unwrap();
    edit_json(&folder.path().join("config.json"), |config| {
        config["num_hidden_layers"] = 1.into();
        config["layer_types"] = json!(["sliding_attention"]);
    });
    let error = open_error(folder.path(), &["model.layers.1.", "not part of the model"]);
    assert!(matches!(error, Error::UnexpectedTensor { .. }));
}

#[test]
fn experts_of_the_other_kind_than_the_config_says() {
    let folder = synth(WriteLayout::Hf);
    edit_json(&folder.path().join("config.json"), |config| {
        config.as_object_mut().unwrap().remove("quantization_config");
    });
    let error = open_error(folder.path(), &["no quantization_config", "MXFP4 blocks"]);
    assert!(matches!(error, Error::ExpertFormatDisagrees { .. }));
    let folder = synth(WriteLayout::Bf16);
    edit_json(&folder.path().join("config.json"), |config| {
        config["quantization_config"] = json!({"quant_method": "mxfp4"});
    });
    let error = open_error(folder.path(), &["quantization_config", "bf16 experts"]);
    assert!(matches!(error, Error::ExpertFormatDisagrees { .. }));
}

#[test]
fn an_original_folder_with_a_wrong_fused_projection() {
    let folder = synth(WriteLayout::Original);
    Checkpoint::open(folder.path()).unwrap();
    edit_json(&folder.path().join("config.json"), |config| config["num_key_value_heads"] = 1.into());
    let error = open_error(folder.path(), &["block.0.attn.qkv.weight", "[512, 128]", "[384, 128]"]);
    assert!(matches!(error, Error::WrongShape { .. }));
}

/// The error of a config with one change, its message checked.
fn config_error(edit: impl FnOnce(&mut Value), words: &[&str]) -> Error {
    let path = fixture("tiny/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    let error = parse_config(config.to_string().as_bytes(), &path).unwrap_err();
    let message = error.to_string();
    for word in words.iter().chain(&["config.json"]) {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    error
}

#[test]
fn an_unknown_model_type() {
    let error = config_error(|config| config["model_type"] = "llama".into(), &["llama", "gpt_oss"]);
    assert!(matches!(error, Error::UnknownModelType { .. }));
    config_error(|config| config["model_type"] = json!(["gpt_oss"]), &["model_type"]);
    let remove = |config: &mut Value| drop(config.as_object_mut().unwrap().remove("model_type"));
    assert!(matches!(config_error(remove, &["missing"]), Error::UnknownModelType { .. }));
}

#[test]
fn absurd_config_values_are_named() {
    let cases: [(&str, Value); 24] = [
        ("num_hidden_layers", json!(1_000_000)),
        ("num_hidden_layers", json!(-1)),
        ("num_hidden_layers", json!(null)),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(100)),
        ("hidden_size", json!(1u64 << 63)),
        ("intermediate_size", json!("many")),
        ("intermediate_size", json!(33)),
        ("head_dim", json!(63)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(0)),
        ("num_local_experts", json!(100_000)),
        ("num_experts_per_tok", json!(9)),
        ("num_experts_per_tok", json!(0)),
        ("vocab_size", json!(1_000_000_000)),
        ("sliding_window", json!(0)),
        ("layer_types", json!(["full_attention"])),
        ("layer_types", json!(["linear_attention"])),
        ("rms_norm_eps", json!(0)),
        ("rope_theta", json!(-3)),
        ("swiglu_limit", json!(-7)),
        ("eos_token_id", json!(512)),
        ("hidden_act", json!("gelu")),
        ("tie_word_embeddings", json!("yes")),
    ];
    for (field, value) in cases {
        let error = config_error(|config| config[field] = value.clone(), &[field]);
        assert!(matches!(error, Error::BadConfig { .. }), "{field} {value}: {error}");
    }
    config_error(
        |config| config["rope_scaling"]["rope_type"] = "linear".into(),
        &["rope_type", "rope_scaling"],
    );
    config_error(|config| config["rope_scaling"]["factor"] = json!(0.5), &["YaRN factor"]);
    config_error(
        |config| config["quantization_config"]["quant_method"] = "awq".into(),
        &["quant_method", "awq"],
    );
}

/// The stretch's factor is 32, so the published model multiplies by 0.1 ln(32) + 1. Other values were ignored
/// silently.
#[test]
fn only_the_published_attention_factor_is_read() {
    let path = fixture("tiny/config.json");
    let text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let plain = parse_config(text.to_string().as_bytes(), &path).unwrap();
    let with = |key: &str, changes: &Value| {
        let mut config = text.clone();
        let mut rope = config.as_object_mut().unwrap().remove("rope_scaling").unwrap();
        rope.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config[key] = rope;
        parse_config(config.to_string().as_bytes(), &path)
    };
    let published = 0.1 * 32f64.ln() + 1.0;
    let accepted = [
        json!({"attention_factor": null, "mscale": null, "mscale_all_dim": null}),
        json!({"attention_factor": published}),
        json!({"attention_factor": published as f32}),
        json!({"attention_factor": published, "mscale": 1.0, "mscale_all_dim": 1.0}),
        json!({"mscale": 2.0}),
        json!({"mscale": 1.0, "mscale_all_dim": 0.0}),
    ];
    let refused = [
        (json!({"attention_factor": 1.0}), "attention_factor"),
        (json!({"attention_factor": 1.34}), "attention_factor"),
        (json!({"attention_factor": "1.0"}), "attention_factor"),
        (json!({"mscale": 1.0, "mscale_all_dim": 1.0}), "mscale"),
        (json!({"mscale": true}), "mscale"),
        (json!({"mscale_all_dim": []}), "mscale_all_dim"),
    ];
    for key in ["rope_scaling", "rope_parameters"] {
        for changes in &accepted {
            assert_eq!(with(key, changes).unwrap(), plain, "{changes}");
        }
        for (changes, field) in &refused {
            let error = with(key, changes).unwrap_err();
            assert!(matches!(error, Error::BadConfig { field: found, .. } if found == *field), "{error}");
            assert!(error.to_string().contains(&format!("(inside {key})")), "{error}");
        }
    }
    let error = with("rope_scaling", &json!({"attention_factor": 1.0})).unwrap_err().to_string();
    assert!(error.contains("1.3465") && error.contains("0.1 ln(factor) + 1"), "{error}");
}

#[test]
fn damaged_json_says_where() {
    let path = fixture("tiny/config.json");
    let text = fs::read(&path).unwrap();
    for keep in [0, 1, 100, text.len() - 2] {
        let error = parse_config(&text[..keep], &path).unwrap_err();
        assert!(matches!(error, Error::BadJson { .. }) && error.to_string().contains("line"), "{error}");
    }
    assert!(parse_config(b"[1]", &path).unwrap_err().to_string().contains("not a JSON object"));
    assert!(parse_config(&[0xFF, 0xFE], &path).is_err());
    assert!(parse_config("[".repeat(100_000).as_bytes(), &path).is_err());
}

#[test]
fn both_spellings_of_the_stretch_mean_the_same() {
    let path = fixture("tiny/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let expected = parse_config(config.to_string().as_bytes(), &path).unwrap();
    let object = config.as_object_mut().unwrap();
    let mut rope = object.remove("rope_scaling").unwrap();
    rope["rope_theta"] = object.remove("rope_theta").unwrap();
    object.insert("rope_parameters".to_string(), rope);
    object.insert("swiglu_alpha".to_string(), json!(1.702));
    object.remove("num_experts_per_tok");
    assert_eq!(parse_config(config.to_string().as_bytes(), &path).unwrap(), expected);
    config["swiglu_alpha"] = json!(1.5);
    assert_eq!(parse_config(config.to_string().as_bytes(), &path).unwrap().config.swiglu_alpha, 1.5);
}

/// The published model library's YaRN reads an absent `truncate` as true; a config without any stretch means
/// the published one.
#[test]
fn a_stretch_that_does_not_say_truncate_is_truncated() {
    let path = fixture("tiny/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let truncate =
        |config: &Value| parse_config(config.to_string().as_bytes(), &path).unwrap().config.rope.truncate;
    assert!(!truncate(&config));
    config["rope_scaling"].as_object_mut().unwrap().remove("truncate");
    assert!(truncate(&config));
    config.as_object_mut().unwrap().remove("rope_scaling");
    assert!(!truncate(&config));
}

/// Three stretches were read otherwise than transformers reads them (5.24), and gave other logits without a
/// word: one without its original context, one in two spellings that disagree, one with a beta of zero.
#[test]
fn a_stretch_is_read_as_transformers_reads_it() {
    let path = fixture("tiny/config.json");
    let text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let parse = |change: &dyn Fn(&mut Value)| {
        let mut config = text.clone();
        change(&mut config);
        parse_config(config.to_string().as_bytes(), &path).map(|parsed| parsed.config)
    };
    let remove = |object: &mut Value, key: &str| drop(object.as_object_mut().unwrap().remove(key));
    let original = |change: &dyn Fn(&mut Value)| parse(change).unwrap().rope.original_max_position_embeddings;
    // Not `initial_context_length`, which is 4096 here, but all positions.
    let no_original =
        |config: &mut Value| remove(&mut config["rope_scaling"], "original_max_position_embeddings");
    let without = parse(&no_original).unwrap();
    assert_eq!((without.rope.original_max_position_embeddings, without.rope.factor), (131_072, 32.0));
    let outside = |config: &mut Value| config["original_max_position_embeddings"] = json!(2048);
    assert_eq!(original(&outside), 2048);
    // Without any stretch it is the published one.
    let none = |config: &mut Value| {
        remove(config, "rope_scaling");
        config["initial_context_length"] = json!(2048);
    };
    assert_eq!(original(&none), 4096);
    // Of two the older spelling, unless it is empty.
    let both = |config: &mut Value| {
        config["rope_parameters"] = config["rope_scaling"].clone();
        config["rope_parameters"]["factor"] = json!(8.0);
        config["rope_parameters"]["rope_theta"] = json!(10_000.0);
    };
    let read = parse(&both).unwrap();
    assert_eq!((read.rope.factor, read.rope_theta), (32.0, 150_000.0));
    let newer = parse(&|config| {
        both(config);
        config["rope_scaling"] = json!({});
    });
    let newer = newer.unwrap();
    assert_eq!((newer.rope.factor, newer.rope_theta), (8.0, 10_000.0));
    let zero = parse(&|config| {
        config["rope_scaling"]["beta_slow"] = json!(0);
        config["rope_scaling"]["beta_fast"] = json!(0.0);
    });
    let zero = zero.unwrap().rope;
    assert_eq!((zero.beta_slow, zero.beta_fast), (1.0, 32.0));
    // A null factor is the quotient of the contexts; a missing one is nowhere defined.
    let null = parse(&|config| config["rope_scaling"]["factor"] = Value::Null).unwrap();
    assert_eq!(null.rope.factor, 32.0);
    for key in ["factor", "rope_type"] {
        let error = parse(&|config| remove(&mut config["rope_scaling"], key)).unwrap_err();
        assert!(matches!(error, Error::BadConfig { field, .. } if field == key), "{error}");
    }
    let error = parse(&|config| {
        remove(config, "rope_scaling");
        config["rope_parameters"] = json!({});
    });
    assert!(error.unwrap_err().to_string().contains("rope_type"));
}

#[test]
fn stop_tokens_come_from_generation_config_when_there_is_one() {
    let folder = copy();
    let path = folder.path().join("generation_config.json");
    fs::write(&path, r#"{"eos_token_id": [5, 6], "bos_token_id": 1}"#).unwrap();
    let config = Checkpoint::open(folder.path()).unwrap().config().clone();
    assert_eq!((config.eos_token_ids, config.bos_token_id), (vec![5, 6], Some(1)));
    fs::write(&path, r#"{"eos_token_id": [200002]}"#).unwrap();
    open_error(folder.path(), &["generation_config.json", "200002", "below vocab_size 320"]);
    fs::write(&path, "{").unwrap();
    open_error(folder.path(), &["generation_config.json"]);
}

/// A file of one header and some zero bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn every_rule_of_the_header_has_its_message() {
    let path = Path::new("x.safetensors");
    let cases = [
        (r#"{"a":{"dtype":"U9","shape":[2],"data_offsets":[0,2]}}"#, 2, "unknown dtype"),
        (r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}}"#, 2, "takes 3 bytes"),
        (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#, 2, "offsets 2..0"),
        (r#"{"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,2]}}"#, 2, "overflows"),
        (
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[18446744073709551613,18446744073709551615]}}"#,
            2,
            "overflow",
        ),
        (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, 3, "hole"),
        (
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
            3,
            "tensor b overlaps",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2,
            "listed twice",
        ),
        (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 3, "1 bytes follow"),
        (r#"{"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}"#, 2, "tensor a"),
        (r#"{"a":{"dtype":"U8","shape":[2]}}"#, 2, "data_offsets"),
        (r#"{"a":3}"#, 2, "tensor a"),
        ("[]", 0, "object of tensors"),
        ("{", 0, "EOF"),
    ];
    for (header, data, words) in cases {
        let error = Header::parse(&file(header, data), path).unwrap_err();
        assert!(matches!(error, Error::BadHeader { .. }), "{header}: {error}");
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
    }
    let good = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[2,0,7],"data_offsets":[0,0]}}"#;
    assert_eq!(Header::parse(&file(good, 0), path).unwrap().entries[0].shape, [2, 0, 7]);
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    assert!(matches!(Header::parse(&huge, path).unwrap_err(), Error::BadHeader { .. }));
    let long = [&1000u64.to_le_bytes()[..], b"{}"].concat();
    assert!(matches!(Header::parse(&long, path).unwrap_err(), Error::Truncated { expected: 1008, .. }));
}

#[test]
fn unaligned_data_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.safetensors");
    let header = r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    let mut bytes = file(header, 0);
    assert_eq!(bytes.len() % 2, 1, "the test needs an odd offset");
    bytes.extend([0x80, 0x3F, 0x00, 0x40]);
    fs::write(&path, bytes).unwrap();
    let tensor = gptoss_checkpoint::SafetensorsFile::open(&path).unwrap().tensor("a").unwrap();
    assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0]);
}

/// Opening a pipe waited for ever, and a device without an end was read until memory ended.
#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file_is_refused() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    for name in ["config.json", "model.safetensors.index.json", SHARD] {
        let folder = copy();
        let path = folder.path().join(name);
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        open_error(folder.path(), &[name, "it is not a regular file"]);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        open_error(folder.path(), &[name, "it is not a regular file"]);
    }
}

#[test]
fn no_cut_of_a_shard_goes_unnoticed() {
    let path = fixture("tiny-yarn").join(SHARD);
    let file = fs::read(&path).unwrap();
    Header::parse(&file, &path).unwrap();
    for keep in (0..file.len()).step_by(97).chain(file.len() - 100..file.len()) {
        assert!(Header::parse(&file[..keep], &path).is_err(), "cut at {keep}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::parse(&bytes, Path::new("random"));
        let _ = parse_config(&bytes, Path::new("random"));
    }

    #[test]
    fn a_flipped_bit_in_a_header_never_panics_and_stays_inside_the_file(place in 0usize..2600, bit in 0u8..8) {
        let path = fixture("tiny-yarn").join(SHARD);
        let mut file = fs::read(&path).unwrap();
        file[place] ^= 1 << bit;
        if let Ok(header) = Header::parse(&file, &path) {
            for entry in header.entries {
                prop_assert!(file.get(entry.range).is_some());
            }
        }
    }

    #[test]
    fn our_rules_are_at_least_as_strict_as_the_reference(place in 8usize..2600, byte in any::<u8>()) {
        let path = fixture("tiny-yarn").join(SHARD);
        let mut file = fs::read(&path).unwrap();
        file[place] = byte;
        if Header::parse(&file, &path).is_ok() {
            prop_assert!(safetensors::SafeTensors::deserialize(&file).is_ok());
        }
    }
}
