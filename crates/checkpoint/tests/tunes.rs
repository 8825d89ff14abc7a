//! Folders as tuning libraries write them: parts in f32 and f16, one matrix for both ends.
//!
//! Each is made of a written folder's tensors, widened or taken away here, and must hold the same numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gptoss_checkpoint::{
    Checkpoint, Dtype, Error, ExpertFormat, Outline, Part, Preset, SafetensorsFile, SynthRequest,
    WriteLayout, write_safetensors, write_synthetic,
};
use half::{bf16, f16};
use serde_json::Value;
use tempfile::TempDir;

const LAYERS: usize = 2;

/// A folder in memory.
#[derive(Clone)]
struct Model {
    config: Value,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Model {
    /// A written folder with bf16 experts, stacked.
    fn stacked() -> Model {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model");
        let (preset, layers, layout) = (Preset::Tiny, Some(LAYERS), WriteLayout::Bf16);
        let request = SynthRequest { preset, seed: 3, layers, layout, folder: target.clone() };
        write_synthetic(&request, &mut |_, _| {}).unwrap();
        let config = serde_json::from_slice(&fs::read(target.join("config.json")).unwrap()).unwrap();
        let file = SafetensorsFile::open(&target.join("model.safetensors")).unwrap();
        let entries = file.header().entries.iter().map(|entry| {
            let bytes = file.tensor(&entry.name).unwrap().bytes.to_vec();
            (entry.name.clone(), (entry.dtype, entry.shape.clone(), bytes))
        });
        Model { config, tensors: entries.collect() }
    }

    fn save(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.save_in(folder.path());
        folder
    }

    fn save_in(&self, folder: &Path) {
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        let outline = |(name, (dtype, shape, bytes)): (&String, &'_ (Dtype, Vec<usize>, Vec<u8>))| {
            (Outline { name: name.clone(), dtype: *dtype, shape: shape.clone() }, bytes.clone())
        };
        let tensors: Vec<(Outline, Vec<u8>)> = self.tensors.iter().map(outline).collect();
        let tensors: Vec<(Outline, &[u8])> =
            tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
        write_safetensors(&folder.join("model.safetensors"), &tensors, &mut |_, _| {}).unwrap();
    }

    fn take(&mut self, name: &str) -> (Dtype, Vec<usize>, Vec<u8>) {
        self.tensors.remove(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The same numbers in another type.
    fn convert(&mut self, name: &str, dtype: Dtype) {
        let (_, _, bytes) = &self.tensors[name];
        let numbers = bytes.as_chunks().0.iter().map(|number| bf16::from_le_bytes(*number).to_f32());
        let bytes: Vec<u8> = match dtype {
            Dtype::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            Dtype::F16 => numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect(),
            _ => panic!("not asked for"),
        };
        let tensor = self.tensors.get_mut(name).unwrap();
        (tensor.0, tensor.2) = (dtype, bytes);
    }
}

/// Equal numbers and shapes, and as many bytes as announced.
fn assert_same(found: &Checkpoint, expected: &Checkpoint) {
    let announced: BTreeMap<String, u64> =
        found.part_bytes().into_iter().map(|(part, bytes)| (format!("{part:?}"), bytes)).collect();
    for part in expected.parts() {
        let (made, tensor) = (found.is_made(part), found.tensor(part).unwrap());
        let expected = expected.tensor(part).unwrap();
        assert_eq!(tensor.shape, expected.shape, "{part:?}");
        assert_eq!(tensor.to_f32().unwrap(), expected.to_f32().unwrap(), "{part:?}");
        assert_eq!(made, tensor.bytes.is_owned(), "{part:?}");
        if let Some(bytes) = announced.get(&format!("{part:?}")) {
            assert_eq!(*bytes, tensor.bytes.len() as u64, "{part:?}");
        }
    }
}

/// The error of opening, after checking that its message names all of `words`.
#[track_caller]
fn refusal(model: &Model, words: &[&str]) -> Error {
    let error = Checkpoint::open(model.save().path()).unwrap_err();
    let message = error.to_string();
    words.iter().for_each(|word| assert!(message.contains(word), "no {word:?} in: {message}"));
    error
}

/// Mixed-precision tuning leaves norms, router, sinks and biases in f32; some exports are f16 or f32 whole.
#[test]
fn parts_in_f32_and_f16_hold_the_same_numbers() {
    let stacked = Model::stacked();
    let folder = stacked.save();
    let expected = Checkpoint::open(folder.path()).unwrap();
    let is_matrix_of_experts = |name: &str| name.ends_with("gate_up_proj") || name.ends_with("down_proj");
    let is_vector = |name: &str| name.contains("norm") || name.ends_with("bias") || name.ends_with("sinks");
    for dtype in [Dtype::F32, Dtype::F16] {
        for is_all in [false, true] {
            let mut model = stacked.clone();
            let names: Vec<String> = model.tensors.keys().cloned().collect();
            for name in names.iter().filter(|name| !is_matrix_of_experts(name)) {
                if is_all || is_vector(name) || name.contains("router") {
                    model.convert(name, dtype);
                }
            }
            let folder = model.save();
            let found = Checkpoint::open(folder.path()).unwrap();
            let embedding = found.tensor(Part::Embedding).unwrap().dtype;
            assert_eq!(embedding, if is_all { dtype } else { Dtype::Bf16 });
            assert_eq!(found.tensor(Part::FinalNorm).unwrap().dtype, dtype);
            if dtype == Dtype::F32 {
                assert_same(&found, &expected);
            }
            let announced: u64 = found.part_bytes().iter().map(|(_, bytes)| bytes).sum();
            let held = found.parts().into_iter().map(|part| found.tensor(part).unwrap().bytes.len() as u64);
            assert_eq!((announced, found.tensor_bytes()), (held.sum(), announced));
        }
    }
    let refused = |name: &str, dtype: Dtype, words: &[&str]| {
        let mut model = stacked.clone();
        model.convert(name, Dtype::F32);
        model.tensors.get_mut(name).unwrap().0 = dtype;
        assert!(matches!(refusal(&model, words), Error::WrongDtype { .. }));
    };
    refused("model.norm.weight", Dtype::I32, &["model.norm.weight", "I32"]);
    refused("model.layers.0.mlp.experts.down_proj", Dtype::F32, &["down_proj", "F32", "BF16"]);
}

#[test]
fn one_matrix_for_both_ends_is_one_part() {
    let mut model = Model::stacked();
    let words = ["lm_head.weight", "missing"];
    let (dtype, shape, bytes) = model.take("lm_head.weight");
    assert!(matches!(refusal(&model, &words), Error::MissingTensor { .. }));
    model.config["tie_word_embeddings"] = true.into();
    let folder = model.save();
    let tied = Checkpoint::open(folder.path()).unwrap();
    assert!(
        tied.config().tie_word_embeddings
            && tied
                .config()
                .to_json(gptoss_checkpoint::ConfigForm::HuggingFace(ExpertFormat::Bf16))
                .contains("\"tie_word_embeddings\": true")
    );
    let ends = [Part::Embedding, Part::Unembedding].map(|part| tied.tensor(part).unwrap());
    assert_eq!((ends[0].bytes.as_ptr(), &ends[0].name), (ends[1].bytes.as_ptr(), &ends[1].name));
    let held: u64 = tied.parts().iter().map(|part| tied.tensor(*part).unwrap().bytes.len() as u64).sum();
    assert_eq!(tied.tensor_bytes(), held);
    assert_eq!(held, model.tensors.values().map(|(_, _, bytes)| bytes.len() as u64).sum::<u64>());
    // With a matrix of its own the word of the config does not count, as in the model library.
    model.tensors.insert("lm_head.weight".into(), (dtype, shape, bytes.clone()));
    let folder = model.save();
    let untied = Checkpoint::open(folder.path()).unwrap();
    assert!(!untied.config().tie_word_embeddings);
    assert_eq!(*untied.tensor(Part::Unembedding).unwrap().bytes, bytes);
    model.config["tie_word_embeddings"] = "yes".into();
    assert!(matches!(refusal(&model, &["tie_word_embeddings", "yes"]), Error::BadConfig { .. }));
}
