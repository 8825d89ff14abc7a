//! A model in several GGUF files: any part opens all of it, and what does not belong together is refused.

use std::fs;
use std::path::{Path, PathBuf};

use gptoss_checkpoint::{Checkpoint, LayerPart, Part};

use crate::written::{Form, Gguf, Value, fixture, model};

fn source() -> Checkpoint {
    Checkpoint::open(&fixture("tiny-yarn")).unwrap()
}

/// The fixture's model, its tensors dealt out to three files as llama.cpp numbers them.
fn parts() -> Vec<Gguf> {
    parts_of(Form::LlamaCpp)
}

fn parts_of(form: Form) -> Vec<Gguf> {
    let whole = model(&source(), form);
    let share = whole.tensors.len().div_ceil(3);
    let mut parts: Vec<Gguf> = whole
        .tensors
        .chunks(share)
        .enumerate()
        .map(|(index, tensors)| {
            let keys = if index == 0 { whole.keys.clone() } else { Vec::new() };
            let mut part = Gguf { keys, tensors: tensors.to_vec(), ..Gguf::new() };
            part.key("split.no", Value::U32(index as u32));
            part.key("split.count", Value::U32(3));
            part
        })
        .collect();
    parts[0].key("split.tensors.count", Value::U32(whole.tensors.len() as u32));
    parts
}

fn path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("tiny-{:05}-of-00003.gguf", index + 1))
}

fn written(parts: &[Gguf]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (index, part) in parts.iter().enumerate() {
        fs::write(path(folder.path(), index), part.bytes()).unwrap();
    }
    folder
}

#[test]
fn any_part_opens_the_whole_model() {
    let (source, parts) = (source(), parts());
    assert_eq!(parts.len(), 3);
    let folder = written(&parts);
    for index in 0..3 {
        let found = Checkpoint::open(&path(folder.path(), index)).unwrap();
        assert_eq!(found.files().len(), 3);
        assert_eq!(found.config().hidden_size, source.config().hidden_size);
        for part in source.parts() {
            let (found, expected) = (found.tensor(part).unwrap(), source.tensor(part).unwrap());
            assert_eq!(found.shape, expected.shape, "{part:?}");
            match part {
                Part::Layer(_, LayerPart::GateUpBlocks | LayerPart::DownBlocks) => {
                    assert_eq!(*found.bytes, *expected.bytes, "{part:?}");
                }
                _ => assert_eq!(found.to_f32().ok(), expected.to_f32().ok(), "{part:?}"),
            }
        }
    }
}

/// Byte by byte, in the types that the file has: whatever is computed from one is computed from the other.
#[test]
fn a_split_model_is_the_one_in_one_file() {
    for form in [Form::LlamaCpp, Form::Ollama] {
        let one = tempfile::tempdir().unwrap();
        let one_path = one.path().join("tiny.gguf");
        fs::write(&one_path, model(&source(), form).bytes()).unwrap();
        let whole = Checkpoint::open(&one_path).unwrap();
        let folder = written(&parts_of(form));
        let split = Checkpoint::open(&path(folder.path(), 1)).unwrap();
        assert_eq!((whole.files().len(), split.files().len()), (1, 3));
        assert_eq!(split.config(), whole.config());
        assert_eq!((split.layout(), split.part_bytes()), (whole.layout(), whole.part_bytes()));
        for part in whole.parts() {
            let (found, expected) = (split.tensor(part).unwrap(), whole.tensor(part).unwrap());
            assert_eq!((found.dtype, &found.shape), (expected.dtype, &expected.shape), "{part:?}");
            assert!(*found.bytes == *expected.bytes, "{part:?}");
            assert_eq!(split.gguf_experts(part).is_some(), whole.gguf_experts(part).is_some(), "{part:?}");
        }
    }
}

/// Gate and up of one layer may lie in different files.
#[test]
fn single_experts_are_read_from_their_files() {
    let (source, mut parts) = (source(), parts());
    let from = parts
        .iter()
        .position(|part| part.tensors.iter().any(|tensor| tensor.name == "blk.0.ffn_up_exps.weight"));
    let from = from.unwrap();
    let at = parts[from].tensors.iter().position(|tensor| tensor.name == "blk.0.ffn_up_exps.weight").unwrap();
    let moved = parts[from].tensors.remove(at);
    parts[(from + 1) % 3].tensors.push(moved);
    let folder = written(&parts);
    let found = Checkpoint::open(&path(folder.path(), 0)).unwrap();
    let reader = found.expert_reader().unwrap().unwrap();
    let pages = |bytes: u64| memmap2::MmapMut::map_anon(bytes as usize).unwrap();
    let (mut memory, mut scratch) = (pages(reader.buffer_bytes()), pages(reader.scratch_bytes()));
    for part in [LayerPart::GateUpBlocks, LayerPart::GateUpScales, LayerPart::DownBlocks] {
        let expected = source.tensor(Part::Layer(0, part)).unwrap();
        let share = expected.bytes.len() / source.config().num_local_experts;
        for expert in 0..source.config().num_local_experts {
            let places = reader.read(0, expert, &mut memory, &mut scratch).unwrap();
            assert_eq!(places.part(&memory, part), &expected.bytes[expert * share..][..share], "{part:?}");
        }
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let check = |change: &dyn Fn(&mut Vec<Gguf>), words: &[&str]| {
        let mut parts = parts();
        change(&mut parts);
        let folder = written(&parts);
        let message = Checkpoint::open(&path(folder.path(), 0)).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "no {word:?} in: {message}");
        }
    };
    check(&|parts| drop(parts.pop()), &["tiny-00003-of-00003.gguf", "download the missing ones"]);
    check(&|parts| parts.swap(1, 2), &["tiny-00002-of-00003.gguf", "part 1 of 3", "2 of 3"]);
    check(&|parts| drop(parts[1].tensors.pop()), &["are announced"]);
    check(
        &|parts| {
            let twice = parts[0].tensors[0].clone();
            parts[1].tensors[0] = twice;
        },
        &["token_embd.weight", "tiny-00001-of-00003.gguf", "tiny-00002-of-00003.gguf"],
    );
}
