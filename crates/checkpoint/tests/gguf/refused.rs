//! Everything a stranger's GGUF file can say wrong: each is an error that says what, where and what to do.

use std::fs;
use std::path::Path;

use gptoss_checkpoint::{Checkpoint, Error, GgufHeader};
use proptest::prelude::*;

use crate::written::{BF16, Entry, F32, Form, Gguf, IQ2_S, MXFP4, Value, fixture, model};

fn good() -> Gguf {
    model(&Checkpoint::open(&fixture("tiny-yarn")).unwrap(), Form::LlamaCpp)
}

fn open(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Checkpoint::open(&path)
}

/// The error of opening, after checking that its message names the file and all of `words`.
#[track_caller]
fn refusal(bytes: &[u8], words: &[&str]) -> Error {
    let error = open(bytes).unwrap_err();
    let message = error.to_string();
    for word in words.iter().chain(&["model.gguf"]) {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
    error
}

fn broken(change: impl FnOnce(&mut Gguf)) -> Vec<u8> {
    let mut file = good();
    change(&mut file);
    file.bytes()
}

/// The good file's first bytes: magic, version, number of tensors, number of keys.
fn start(num_tensors: u64, num_keys: u64, rest: &[u8]) -> Vec<u8> {
    [b"GGUF\x03\0\0\0".as_slice(), &num_tensors.to_le_bytes(), &num_keys.to_le_bytes(), rest].concat()
}

#[test]
fn what_is_no_gguf_of_a_known_version() {
    refusal(b"", &["truncated", "4 are needed"]);
    refusal(b"PK\x03\x04 and so on", &["starts with", "PK"]);
    refusal(&broken(|file| file.version = 1), &["version 1", "convert"]);
    refusal(&broken(|file| file.version = 3u32.swap_bytes()), &["big-endian"]);
    refusal(&broken(|file| file.version = 9999), &["version 9999"]);
}

#[test]
fn counts_beyond_their_bounds() {
    refusal(&start(u64::MAX, 0, b""), &["18446744073709551615 tensors", "65536"]);
    refusal(&start(0, 65_537, b""), &["65537 metadata keys"]);
    refusal(&start(0, 65_536, b""), &["truncated"]);
    refusal(&start(65_536, 0, b""), &["truncated"]);
    let key = [&1u64.to_le_bytes()[..], b"k"].concat();
    let text = [key.as_slice(), &8u32.to_le_bytes(), &(1u64 << 40).to_le_bytes()].concat();
    refusal(&start(0, 1, &text), &["1099511627776 bytes in the value of k"]);
    let list = |kind: u32, len: u64| {
        [key.as_slice(), &9u32.to_le_bytes(), &kind.to_le_bytes(), &len.to_le_bytes()].concat()
    };
    refusal(&start(0, 1, &list(8, u64::MAX)), &["elements in a list of k"]);
    refusal(&start(0, 1, &list(10, 1 << 26)), &["truncated"]);
    refusal(&start(0, 1, &list(99, 1)), &["unknown type 99"]);
    let nested =
        [list(9, 1), [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(8)].concat();
    refusal(&start(0, 1, &nested), &["nest deeper than 4"]);
    let long_key = (1u64 << 17).to_le_bytes();
    refusal(&start(0, 1, &long_key), &["131072 bytes in a metadata key"]);
}

#[test]
fn alignments_that_are_none() {
    for alignment in [0, 3, 8192] {
        let bytes = broken(|file| file.key("general.alignment", Value::U32(alignment)));
        refusal(&bytes, &["general.alignment", &alignment.to_string(), "power of two"]);
    }
    refusal(&broken(|file| file.key("general.alignment", Value::Text("32".into()))), &["general.alignment"]);
    // Announced, but not kept to.
    refusal(&broken(|file| file.key("general.alignment", Value::U32(4096))), &["no multiple of 4096"]);
}

#[test]
fn names_that_come_twice_or_are_no_text() {
    refusal(
        &broken(|file| file.key("general.architecture", Value::U32(1))),
        &["general.architecture", "twice"],
    );
    let twice = broken(|file| {
        let first = file.tensors[0].clone();
        file.tensors.push(first);
    });
    refusal(&twice, &["token_embd.weight is listed twice"]);
    let torn = [&2u64.to_le_bytes()[..], b"\xff\xfe"].concat();
    refusal(&start(0, 1, &torn), &["not UTF-8"]);
}

#[test]
fn tensors_that_lie_nowhere() {
    let bytes = good().bytes();
    let cut = refusal(&bytes[..bytes.len() - 1], &["truncated", &bytes.len().to_string()]);
    assert!(matches!(cut, Error::Truncated { .. }));
    let extra = |shape: &[usize], kind| {
        broken(|file| {
            let (name, shape) = ("extra".to_string(), shape.to_vec());
            file.tensors.push(Entry { name, kind, shape, bytes: vec![] });
        })
    };
    refusal(&extra(&[1 << 40, 1 << 40], F32), &["overflows", "extra"]);
    refusal(&extra(&[1 << 20, 1 << 20], F32), &["truncated"]);
    refusal(&extra(&[2, 0], F32), &["axis of size 0"]);
    refusal(&extra(&[2; 5], F32), &["5 axes"]);
    refusal(&extra(&[33], MXFP4), &["rows of 33 values", "blocks of 32"]);
    refusal(&extra(&[32], 77), &["extra", "unknown element type 77"]);
}

#[test]
fn quantisations_that_are_not_read() {
    let bytes = broken(|file| {
        let tensor = file.tensor("blk.1.attn_q.weight");
        tensor.kind = IQ2_S;
        let values: usize = tensor.shape.iter().product();
        tensor.shape = vec![values / 256, 256];
        tensor.bytes = vec![0; values / 256 * 82];
    });
    let error = refusal(&bytes, &["blk.1.attn_q.weight", "IQ2_S", "BF16", "Q4_0", "MXFP4", "safetensors"]);
    assert!(matches!(error, Error::UnsupportedTensorType { .. }));
    let vector = broken(|file| {
        let tensor = file.tensor("output_norm.weight");
        (tensor.kind, tensor.bytes) = (8, vec![0; 64 / 32 * 34]);
    });
    refusal(&vector, &["output_norm.weight", "Q8_0", "F32, F16 or BF16"]);
    let experts = broken(|file| {
        let tensor = file.tensor("blk.0.ffn_up_exps.weight");
        tensor.bytes.resize(tensor.shape.iter().product::<usize>() * 2, 0);
        tensor.kind = BF16;
    });
    refusal(&experts, &["blk.0.ffn_up_exps.weight", "another type"]);
}

#[test]
fn tensors_that_the_metadata_does_not_describe() {
    let transposed = broken(|file| file.tensor("blk.0.attn_output.weight").shape.reverse());
    let error = refusal(&transposed, &["blk.0.attn_output.weight", "[128, 64]", "[64, 128]"]);
    assert!(matches!(error, Error::WrongShape { .. }));
    for name in ["blk.1.ffn_up_exps.weight", "blk.0.attn_sinks.weight", "blk.0.ffn_up_exps.bias"] {
        let missing = broken(|file| file.tensors.retain(|tensor| tensor.name != name));
        let error = refusal(&missing, &[name, "missing"]);
        assert!(matches!(error, Error::MissingTensor { .. }), "{error}");
    }
    let more = broken(|file| {
        let mut tensor = file.tensor("blk.0.attn_norm.weight").clone();
        tensor.name = "blk.2.attn_norm.weight".into();
        file.tensors.push(tensor);
    });
    refusal(&more, &["blk.2.attn_norm.weight", "no part of"]);
}

#[test]
fn metadata_that_describes_no_gpt_oss() {
    let with = |key: &str, value: Value| {
        broken(|file| {
            file.keys.retain(|(known, _)| known != key);
            file.key(key, value);
        })
    };
    let without = |key: &str| broken(|file| file.keys.retain(|(known, _)| known != key));
    refusal(&with("general.architecture", Value::Text("llama".into())), &["\"llama\"", "gpt-oss"]);
    refusal(&without("general.architecture"), &["missing"]);
    refusal(&without("gpt-oss.block_count"), &["block_count", "missing"]);
    refusal(&with("gpt-oss.block_count", Value::U32(u32::MAX)), &["4294967295"]);
    refusal(&with("gpt-oss.block_count", Value::F32(1.5)), &["block_count", "1.5"]);
    refusal(&with("gpt-oss.block_count", Value::Text("two".into())), &["block_count"]);
    refusal(&with("gpt-oss.expert_count", Value::U32(0)), &["expert_count"]);
    refusal(
        &with("gpt-oss.rope.scaling.type", Value::Text("linear".into())),
        &["rope.scaling.type", "linear"],
    );
    for key in ["rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"] {
        let full = format!("gpt-oss.{key}");
        refusal(&with(&full, Value::F32(1.25)), &[key, "1.25", "1: nothing else"]);
        open(&with(&full, Value::F32(1.0))).unwrap();
    }
    refusal(&with("gpt-oss.attention.value_length", Value::U32(16)), &["value_length", "16", "32"]);
    refusal(&with("gpt-oss.rope.freq_base", Value::F32(f32::NAN)), &["rope.freq_base", "NaN"]);
    refusal(
        &with("gpt-oss.attention.sliding_window_pattern", Value::I32s(vec![1])),
        &["sliding_window_pattern"],
    );
    refusal(&with("tokenizer.ggml.eos_token_id", Value::Text("x".into())), &["eos_token_id"]);
    refusal(&with("tokenizer.ggml.eos_token_id", Value::U32(4000)), &["4000", "320"]);
}

/// A part that does not bear its name cannot lead to the others.
#[test]
fn a_part_without_its_name_is_called_so() {
    let words = ["one of the 3 parts", "llama-gguf-split --merge", "NAME-00001-of-00003.gguf"];
    let first = broken(|file| file.key("split.count", Value::U32(3)));
    let second = broken(|file| {
        file.keys.clear();
        file.key("split.no", Value::U32(1));
        file.key("split.count", Value::U32(3));
    });
    for part in [first, second] {
        assert!(matches!(refusal(&part, &words), Error::SplitGguf { count: 3, .. }));
    }
    open(&broken(|file| file.key("split.count", Value::U32(1)))).unwrap();
    refusal(&broken(|file| file.key("split.count", Value::U32(5000))), &["5000 parts", "1024"]);
}

#[test]
fn a_torn_vocabulary_is_found_when_it_is_asked_for() {
    let mut file = good();
    file.key("tokenizer.ggml.tokens", Value::Texts(vec!["a".into(), "b".into()]));
    file.key("tokenizer.ggml.token_type", Value::I32s(vec![1]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, file.bytes()).unwrap();
    let error = Checkpoint::open(&path).unwrap().gguf_tokenizer().unwrap_err().to_string();
    assert!(error.contains("1 entries for 2 tokens"), "{error}");
}

#[test]
fn no_cut_goes_unnoticed() {
    let bytes = good().bytes();
    for cut in (0..bytes.len()).step_by(97).chain(0..64) {
        let error = GgufHeader::parse(&bytes[..cut], Path::new("model.gguf")).unwrap_err();
        let Error::Truncated { expected, found, .. } = error else { panic!("{error}") };
        assert_eq!(found, cut as u64);
        assert!(expected > found && expected <= bytes.len() as u64, "{expected} at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_give_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let path = Path::new("model.gguf");
        let _ = GgufHeader::parse(&bytes, path);
        let _ = GgufHeader::parse(&start(2, 3, &bytes), path);
    }

    /// Every tensor of a header that is accepted lies in the file.
    #[test]
    fn a_damaged_header_is_refused_or_harmless(at in 0usize..6000, byte in any::<u8>(), more in any::<u8>()) {
        let mut bytes = fs::read(fixture("tiny-yarn-q8_0.gguf")).unwrap();
        bytes[at] = byte;
        bytes[(at * 7 + usize::from(more)) % 6000] ^= more;
        if let Ok(header) = GgufHeader::parse(&bytes, Path::new("model.gguf")) {
            for tensor in header.tensors {
                prop_assert!(tensor.range.start <= tensor.range.end && tensor.range.end <= bytes.len());
            }
        }
        // Never a panic, whatever the rest of the reader makes of it.
        if let Ok(checkpoint) = open(&bytes) {
            let _ = checkpoint.gguf_tokenizer();
            for part in checkpoint.parts() {
                let _ = checkpoint.tensor(part);
            }
        }
    }
}
