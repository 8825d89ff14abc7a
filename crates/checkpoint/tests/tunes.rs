//! Folders as tuning libraries write them: experts one by one, parts in f32 and f16, one matrix for both
//! ends.
//!
//! Each is made of a written folder's tensors, renamed, cut and widened here, and must hold the same numbers;
//! then one thing in it is broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gptoss_checkpoint::{
    Checkpoint, Dtype, Error, ExpertFormat, LayerPart, Layout, Outline, Part, Preset, SafetensorsFile,
    SynthRequest, WriteLayout, write_safetensors, write_synthetic,
};
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const LAYERS: usize = 2;
// Of the preset.
const EXPERTS: usize = 8;
const HIDDEN: usize = 128;
const INNER: usize = 128;

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

    fn put(&mut self, name: &str, shape: &[usize], bytes: Vec<u8>) {
        self.tensors.insert(name.to_string(), (Dtype::Bf16, shape.to_vec(), bytes));
    }

    fn rename(&mut self, from: &str, to: &str) {
        let tensor = self.take(from);
        self.tensors.insert(to.to_string(), tensor);
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

    /// The experts one by one, each matrix `[out, in]`.
    fn unstacked(mut self, by_projection: bool) -> Model {
        for layer in 0..LAYERS {
            let experts = format!("model.layers.{layer}.mlp.experts");
            for (projection, rows, columns) in [("gate_up", 2 * INNER, HIDDEN), ("down", HIDDEN, INNER)] {
                let (_, _, weight) = self.take(&format!("{experts}.{projection}_proj"));
                let (_, _, bias) = self.take(&format!("{experts}.{projection}_proj_bias"));
                for expert in 0..EXPERTS {
                    let weight = &weight[expert * rows * columns * 2..][..rows * columns * 2];
                    let row = |row: usize| -> Vec<u8> {
                        let at = |column| 2 * (column * rows + row);
                        (0..columns).flat_map(|column| weight[at(column)..at(column) + 2].to_vec()).collect()
                    };
                    let bias = &bias[expert * rows * 2..][..rows * 2];
                    let (name, halves): (_, &[&str]) = match (projection, by_projection) {
                        (_, true) => (format!("{experts}.{projection}_projs.{expert}"), &[""]),
                        ("down", _) => (format!("{experts}.{expert}"), &[".down_proj"]),
                        _ => (format!("{experts}.{expert}"), &[".gate_proj", ".up_proj"]),
                    };
                    for (first, half) in halves.iter().enumerate() {
                        let of_half = || (first..rows).step_by(halves.len());
                        let num_rows = rows / halves.len();
                        let weight = of_half().flat_map(row).collect();
                        self.put(&format!("{name}{half}.weight"), &[num_rows, columns], weight);
                        let bias = of_half().flat_map(|row| bias[2 * row..][..2].to_vec()).collect();
                        self.put(&format!("{name}{half}.bias"), &[num_rows], bias);
                    }
                }
            }
            if by_projection {
                for end in ["weight", "bias"] {
                    let router = format!("model.layers.{layer}.mlp.router");
                    self.rename(&format!("{router}.{end}"), &format!("{router}.linear.{end}"));
                }
            }
        }
        self
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

#[test]
fn experts_one_by_one_are_those_of_the_stack() {
    let stacked = Model::stacked();
    let folder = stacked.save();
    let expected = Checkpoint::open(folder.path()).unwrap();
    for by_projection in [false, true] {
        let folder = stacked.clone().unstacked(by_projection).save();
        let found = Checkpoint::open(folder.path()).unwrap();
        assert_eq!((found.layout(), found.expert_format()), (Layout::HuggingFaceBf16, ExpertFormat::Bf16));
        assert_same(&found, &expected);
        assert_eq!(found.parts(), expected.parts());
        // One at a time, from disk.
        let reader = found.expert_reader().unwrap().expect("there are files");
        let [mut memory, mut scratch] =
            [reader.buffer_bytes(), reader.scratch_bytes()].map(|bytes| vec![0_u8; bytes as usize + 4096]);
        let [memory, scratch] = [&mut memory, &mut scratch].map(|room| {
            let start = room.as_ptr().align_offset(4096);
            &mut room[start..]
        });
        for (layer, expert) in [(0, 0), (1, 7), (0, 3), (1, 0)] {
            let places = reader.read(layer, expert, memory, scratch).unwrap();
            assert_eq!(places.num_bytes, reader.expert_bytes());
            for part in [LayerPart::GateUpBf16, LayerPart::DownBf16] {
                let tensor = expected.tensor(Part::Layer(layer, part)).unwrap();
                let share = tensor.bytes.len() / EXPERTS;
                assert!(places.part(memory, part) == &tensor.bytes[expert * share..][..share], "{part:?}");
                assert!(reader.name(layer, part).contains("experts"));
            }
        }
    }
}

#[test]
fn experts_that_are_not_all_there_are_named() {
    let by_expert = Model::stacked().unstacked(false);
    let by_projection = Model::stacked().unstacked(true);
    let broken = |model: &Model, change: &dyn Fn(&mut Model)| {
        let mut model = model.clone();
        change(&mut model);
        model
    };
    let gone = "model.layers.1.mlp.experts.3.up_proj.bias";
    let error =
        refusal(&broken(&by_expert, &|model| drop(model.take(gone))), &[gone, "missing", "one by one"]);
    assert!(matches!(error, Error::MissingTensor { .. }));
    let gone = "model.layers.0.mlp.experts.down_projs.7.weight";
    refusal(&broken(&by_projection, &|model| drop(model.take(gone))), &[gone, "missing"]);
    // A ninth expert.
    let (from, more) =
        ("model.layers.0.mlp.experts.down_projs.7.bias", "model.layers.0.mlp.experts.down_projs.8.bias");
    let extra = broken(&by_projection, &|model| {
        let tensor = model.tensors[from].clone();
        model.tensors.insert(more.to_string(), tensor);
    });
    assert!(matches!(refusal(&extra, &[more, "not part of"]), Error::UnexpectedTensor { .. }));
    let name = "model.layers.0.mlp.experts.2.gate_proj.weight";
    let error =
        refusal(&broken(&by_expert, &|model| model.convert(name, Dtype::F32)), &[name, "F32", "BF16"]);
    assert!(matches!(error, Error::WrongDtype { .. }));
    // The biases of a part are read in one way.
    let name = "model.layers.0.mlp.experts.2.up_proj.bias";
    let error =
        refusal(&broken(&by_expert, &|model| model.convert(name, Dtype::F32)), &[name, "F32", "BF16"]);
    assert!(matches!(error, Error::WrongDtype { .. }));
    let name = "model.layers.0.mlp.experts.0.down_proj.weight";
    let square = broken(&by_expert, &|model| model.tensors.get_mut(name).unwrap().1 = vec![HIDDEN * INNER]);
    assert!(matches!(refusal(&square, &[name, "[16384]", "[128, 128]"]), Error::WrongShape { .. }));
    let quantized = broken(&by_expert, &|model| {
        model.config["quantization_config"] = json!({"quant_method": "mxfp4"});
    });
    assert!(matches!(refusal(&quantized, &["bf16 experts"]), Error::ExpertFormatDisagrees { .. }));
    let bitsandbytes = broken(&by_projection, &|model| {
        model.config["quantization_config"] = json!({"quant_method": "bitsandbytes"});
    });
    assert!(matches!(refusal(&bitsandbytes, &["quant_method", "bitsandbytes"]), Error::BadConfig { .. }));
    // Stacked beside one by one.
    let both = broken(&by_expert, &|model| {
        model.put("model.layers.0.mlp.experts.gate_up_proj", &[1, 1], vec![0; 2]);
    });
    assert!(matches!(refusal(&both, &["gate_up_proj", "not part of"]), Error::UnexpectedTensor { .. }));
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
        // Biases of experts that are stored one by one, all of them.
        let mut model = stacked.clone().unstacked(false);
        let names: Vec<String> = model.tensors.keys().filter(|name| is_vector(name)).cloned().collect();
        names.iter().for_each(|name| model.convert(name, dtype));
        let folder = model.save();
        let found = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(found.tensor(Part::Layer(0, LayerPart::DownBias)).unwrap().dtype, Dtype::F32);
        if dtype == Dtype::F32 {
            assert_same(&found, &expected);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever becomes of names, types and shapes: an error, or a checkpoint whose every part can be had.
    #[test]
    fn damaged_headers_never_panic(by_projection: bool, at in 0usize..40_000, byte in any::<u8>(), more in any::<u8>()) {
        use std::sync::OnceLock;
        static GOOD: [OnceLock<(TempDir, Vec<u8>)>; 2] = [const { OnceLock::new() }; 2];
        let (folder, good) = GOOD[usize::from(by_projection)].get_or_init(|| {
            let folder = Model::stacked().unstacked(by_projection).save();
            let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
            (folder, bytes)
        });
        let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        let mut bytes = good.clone();
        bytes[at % header] = byte;
        bytes[(at * 7 + usize::from(more)) % header] ^= more;
        let target = folder.path().join("damaged");
        let _ = fs::create_dir(&target);
        fs::copy(folder.path().join("config.json"), target.join("config.json")).unwrap();
        fs::write(target.join("model.safetensors"), &bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&target) {
            for part in checkpoint.parts() {
                prop_assert!(checkpoint.tensor(part).is_ok());
            }
            prop_assert!(checkpoint.expert_reader().unwrap().is_some());
        }
    }
}
