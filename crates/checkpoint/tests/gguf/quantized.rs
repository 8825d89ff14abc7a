//! Dense matrices in llama.cpp's quantizations become Q8_0; and a file may have one matrix for both ends.
//!
//! The blocks are random bytes with sensible scales: whatever they are, they mean numbers.

use std::fs;

use gptoss_checkpoint::{
    Checkpoint, Dtype, Error, LayerPart, Part, Preset, SynthRequest, WriteLayout, write_synthetic,
};
use gptoss_formats::GgmlQuant;
use proptest::prelude::*;

use crate::dialects::written;
use crate::written::{Form, Gguf, fixture, kind_of, model, quantize};

const OUT: Part = Part::Layer(0, LayerPart::OutWeight);

/// A model whose attention is 256 wide, as k-quants need it.
fn wide() -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model");
    let (preset, layers, layout) = (Preset::Tiny, Some(1), WriteLayout::Hf);
    let request = SynthRequest { preset, seed: 3, layers, layout, folder: target.clone() };
    write_synthetic(&request, &mut |_, _| {}).unwrap();
    (folder, Checkpoint::open(&target).unwrap())
}

/// What the blocks of a tensor mean.
fn numbers(quant: GgmlQuant, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / quant.block_bytes() * quant.block_values()];
    let blocks = out.chunks_mut(quant.block_values()).zip(bytes.chunks(quant.block_bytes()));
    blocks.for_each(|(out, block)| quant.dequantize(out, block));
    out
}

#[test]
fn every_quantization_of_a_matrix_becomes_int8() {
    let (_folder, source) = wide();
    let good = model(&source, Form::LlamaCpp);
    for quant in GgmlQuant::ALL {
        let mut file = good.clone();
        quantize(file.tensor("blk.0.attn_output.weight"), quant, 7);
        let values = numbers(quant, &file.tensor("blk.0.attn_output.weight").bytes);
        let (_folder, file) = written(&file);
        let found = file.tensor(OUT).unwrap();
        assert_eq!((found.dtype, &found.shape[..]), (Dtype::Q8_0, &[128, 256 / 32][..]), "{quant:?}");
        assert!(file.is_made(OUT) && !file.is_made(Part::Embedding));
        let announced = file.part_bytes().into_iter().find(|(part, _)| *part == OUT);
        assert_eq!(announced, Some((OUT, found.bytes.len() as u64)));
        let back = found.to_f32().unwrap();
        let blocks = back.chunks(32).zip(values.chunks(32)).zip(found.bytes.as_chunks::<34>().0);
        for ((found, expected), block) in blocks {
            let step = gptoss_formats::q8_0_scale(block).to_f32().abs();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 0.50001 * step), "{quant:?}");
        }
    }
}

#[test]
fn a_joined_projection_is_cut_after_the_bytes_are_found() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let mut file = model(&source, Form::OllamaFused);
    quantize(file.tensor("blk.1.attn_qkv.weight"), GgmlQuant::Q5_0, 5);
    let values = numbers(GgmlQuant::Q5_0, &file.tensor("blk.1.attn_qkv.weight").bytes);
    let (_folder, file) = written(&file);
    let parts = [LayerPart::QWeight, LayerPart::KWeight, LayerPart::VWeight];
    let found = parts.map(|part| file.tensor(Part::Layer(1, part)).unwrap());
    assert_eq!(found.each_ref().map(|tensor| tensor.shape.clone()), [[128, 2], [32, 2], [32, 2]]);
    let all: Vec<f32> = found.iter().flat_map(|tensor| tensor.to_f32().unwrap()).collect();
    assert_eq!(all, values);
    let announced: u64 = file.part_bytes().iter().map(|(_, bytes)| bytes).sum();
    let held: usize = file.parts().iter().map(|part| file.tensor(*part).unwrap().bytes.len()).sum();
    assert_eq!(announced, held as u64);
}

#[test]
fn quantized_experts_and_vectors_are_refused_by_name() {
    let (_folder, source) = wide();
    let refused = |name: &str, words: &[&str]| {
        let mut file = model(&source, Form::LlamaCpp);
        quantize(file.tensor(name), GgmlQuant::Q4_0, 3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, file.bytes()).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(matches!(error, Error::UnsupportedTensorType { .. }), "{error}");
        let message = error.to_string();
        words.iter().chain([&name]).for_each(|word| assert!(message.contains(*word), "{word}: {message}"));
    };
    refused("blk.0.ffn_down_exps.weight", &["Q4_0", "MXFP4 or BF16 can be", "experts are MXFP4"]);
    refused("output_norm.weight", &["Q4_0", "F32, F16 or BF16"]);
}

#[test]
fn without_an_output_matrix_the_embedding_is_it() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    for quant in [None, Some(GgmlQuant::Iq4Nl)] {
        let mut file = model(&source, Form::LlamaCpp);
        file.tensors.retain(|tensor| tensor.name != "output.weight");
        if let Some(quant) = quant {
            quantize(file.tensor("token_embd.weight"), quant, 5);
        }
        let (_folder, file) = written(&file);
        assert!(file.config().tie_word_embeddings && !file.parts().contains(&Part::Embedding));
        let ends = [Part::Embedding, Part::Unembedding].map(|part| file.tensor(part).unwrap());
        assert_eq!((&*ends[0].bytes, ends[0].dtype), (&*ends[1].bytes, ends[1].dtype));
        let held: usize = file.parts().iter().map(|part| file.tensor(*part).unwrap().bytes.len()).sum();
        assert_eq!(file.tensor_bytes(), held as u64);
    }
}

fn all_quantized() -> Gguf {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let mut file = model(&source, Form::LlamaCpp);
    let quants = [GgmlQuant::Q4_0, GgmlQuant::Q4_1, GgmlQuant::Q5_0, GgmlQuant::Q5_1, GgmlQuant::Iq4Nl];
    let names: Vec<String> = file.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let is_dense =
        |name: &&String| name.contains("attn_") && name.ends_with("weight") || name.contains("embd");
    let is_vector = |name: &str| name.contains("norm") || name.contains("sinks");
    let dense = names.iter().filter(is_dense).filter(|name| !is_vector(name));
    dense.zip(quants.into_iter().cycle()).for_each(|(name, quant)| quantize(file.tensor(name), quant, 1));
    file
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Types, shapes, offsets, scales that are no numbers.
    #[test]
    fn damage_is_refused_or_harmless(at in 0usize..60_000, byte in any::<u8>(), kind in 0u32..48) {
        use std::sync::OnceLock;
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let good = GOOD.get_or_init(|| all_quantized().bytes());
        let mut bytes = good.clone();
        // The number of a type, and a byte anywhere.
        let (_, from) = kind_of("blk.1.attn_output.weight", good);
        bytes[from..from + 4].copy_from_slice(&kind.to_le_bytes());
        let place = at % bytes.len();
        bytes[place] = byte;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, &bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            for part in checkpoint.parts() {
                let tensor = checkpoint.tensor(part);
                prop_assert!(tensor.is_ok_and(|tensor| tensor.dtype == Dtype::U8 || tensor.to_f32().is_ok()));
            }
        }
    }
}
