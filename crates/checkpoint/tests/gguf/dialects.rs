//! Every part of a GGUF file is the part of the checkpoint it was made from, to the bit.

use std::fs;

use gptoss_checkpoint::{
    Checkpoint, Dialect, Dtype, ExpertFormat, GgufTokenizer, LayerKind, LayerPart, Layout, Part, Preset,
    SynthRequest, WriteLayout, write_synthetic,
};
use tempfile::TempDir;

use crate::written::{BF16, F16, Form, Gguf, Value, fixture, model};

/// A file in a folder that goes when the value does.
pub fn written(file: &Gguf) -> (TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, file.bytes()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (folder, checkpoint)
}

/// Numbers equal, bytes equal where the dtype is a matter of layout, all shapes as the config says.
fn assert_same(found: &Checkpoint, expected: &Checkpoint) {
    let mut num_bytes = 0;
    for part in expected.parts() {
        let (found, expected) = (found.tensor(part).unwrap(), expected.tensor(part).unwrap());
        num_bytes += found.bytes.len() as u64;
        assert_eq!(found.shape, expected.shape, "{part:?}");
        match expected.dtype {
            Dtype::U8 => assert_eq!(*found.bytes, *expected.bytes, "{part:?}"),
            _ => assert_eq!(found.to_f32().unwrap(), expected.to_f32().unwrap(), "{part:?}"),
        }
    }
    assert_eq!(found.tensor_bytes(), num_bytes);
    let (found, expected) = (found.config(), expected.config());
    let ids = (expected.eos_token_ids.clone(), expected.bos_token_id, expected.pad_token_id);
    let mut found = found.clone();
    (found.eos_token_ids, found.bos_token_id, found.pad_token_id) = ids;
    assert_eq!(found, *expected);
}

#[test]
fn the_converter_s_file_is_its_source() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let file = Checkpoint::open(&fixture("tiny-yarn-bf16.gguf")).unwrap();
    assert_same(&file, &source);
    assert_eq!((file.layout(), file.expert_format()), (Layout::Gguf(Dialect::LlamaCpp), ExpertFormat::Mxfp4));
    assert_eq!(file.files()[0].path, fixture("tiny-yarn-bf16.gguf"));
    assert!(file.gguf_tokenizer().unwrap().is_none() && file.tokenizer_json().unwrap().is_none());
    for part in
        [Part::Embedding, Part::Layer(1, LayerPart::OutWeight), Part::Layer(0, LayerPart::RouterWeight)]
    {
        assert!(!file.tensor(part).unwrap().bytes.is_owned(), "{part:?} was copied");
    }
}

#[test]
fn every_layout_holds_the_same_model() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    for form in [Form::LlamaCpp, Form::Joined, Form::Ollama, Form::OllamaFused] {
        let (_folder, file) = written(&model(&source, form));
        assert_same(&file, &source);
        let ollama = matches!(form, Form::Ollama | Form::OllamaFused);
        let dialect = if ollama { Dialect::Ollama } else { Dialect::LlamaCpp };
        assert_eq!(file.layout(), Layout::Gguf(dialect), "{form:?}");
    }
}

#[test]
fn version_2_and_any_alignment_are_read() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    for (version, alignment) in [(2, 32), (3, 1), (3, 4096)] {
        let mut file = Gguf { version, alignment, ..model(&source, Form::LlamaCpp) };
        file.key("general.alignment", Value::U32(alignment as u32));
        assert_same(&written(&file).1, &source);
    }
}

#[test]
fn experts_in_bf16_come_transposed_as_fine_tunes_store_them() {
    let folder = tempfile::tempdir().unwrap();
    let [mxfp4, bf16] = [("mxfp4", WriteLayout::Hf), ("bf16", WriteLayout::Bf16)].map(|(name, layout)| {
        let target = folder.path().join(name);
        let request =
            SynthRequest { preset: Preset::Tiny, seed: 5, layers: Some(1), layout, folder: target.clone() };
        write_synthetic(&request, &mut |_, _| {}).unwrap();
        Checkpoint::open(&target).unwrap()
    });
    let (_folder, file) = written(&model(&mxfp4, Form::Bf16Experts));
    assert_eq!(file.expert_format(), ExpertFormat::Bf16);
    assert_same(&file, &bf16);
}

#[test]
fn half_precision_matrices_and_vectors_are_read() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let mut file = model(&source, Form::LlamaCpp);
    let rounded = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks(2).map(|pair| half::bf16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
    };
    let tensor = file.tensor("output.weight");
    assert_eq!(tensor.kind, BF16);
    let numbers: Vec<half::f16> = rounded(&tensor.bytes).into_iter().map(half::f16::from_f32).collect();
    tensor.kind = F16;
    tensor.bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let (_folder, file) = written(&file);
    let found = file.tensor(Part::Unembedding).unwrap();
    assert_eq!(found.dtype, Dtype::F16);
    assert_eq!(found.to_f32().unwrap(), numbers.iter().map(|number| number.to_f32()).collect::<Vec<f32>>());
}

#[test]
fn q8_0_matrices_stay_as_they_are_and_are_near_their_source() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let file = Checkpoint::open(&fixture("tiny-yarn-q8_0.gguf")).unwrap();
    let quantised = [Part::Embedding, Part::Unembedding].into_iter().chain((0..2).flat_map(|layer| {
        [LayerPart::QWeight, LayerPart::KWeight, LayerPart::VWeight, LayerPart::OutWeight]
            .map(|part| Part::Layer(layer, part))
    }));
    for part in quantised {
        let (found, expected) = (file.tensor(part).unwrap(), source.tensor(part).unwrap());
        assert_eq!(found.dtype, Dtype::Q8_0, "{part:?}");
        assert_eq!(found.shape, [expected.shape[0], expected.shape[1] / 32]);
        assert!(!found.bytes.is_owned(), "{part:?} was copied");
        let expected = expected.to_f32().unwrap();
        for (block, expected) in found.bytes.chunks(34).zip(expected.chunks(32)) {
            let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
            // Half a step of the unrounded scale; rounding the scale to 11 bits moves up to 127 steps by
            // 2^-11 each.
            let bound = scale * (0.5 + 127.0 / 2048.0) * 1.001 + f32::MIN_POSITIVE;
            for (&value, &expected) in block[2..].iter().zip(expected) {
                let error = (f32::from(value as i8) * scale - expected).abs();
                assert!(error <= bound, "{part:?}: {expected} became {} (step {scale})", value as i8);
            }
        }
    }
}

#[test]
fn the_vocabulary_is_handed_out_as_it_is() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let mut file = model(&source, Form::Ollama);
    let tokens: Vec<String> = (0..320).map(|id| format!("t{id}")).collect();
    file.key("tokenizer.ggml.model", Value::Text("gpt2".into()));
    file.key("tokenizer.ggml.pre", Value::Text("default".into()));
    file.key("tokenizer.ggml.tokens", Value::Texts(tokens.clone()));
    file.key("tokenizer.ggml.merges", Value::Texts(vec!["t 1".into(), "t 2".into()]));
    file.key(
        "tokenizer.ggml.token_type",
        Value::I32s((0..320).map(|id| 1 + i32::from(id > 310) * 2).collect()),
    );
    file.key("tokenizer.ggml.eos_token_id", Value::U32(7));
    file.key("tokenizer.ggml.eos_token_ids", Value::I32s(vec![7, 9]));
    let (_folder, file) = written(&file);
    assert_eq!(file.config().eos_token_ids, [7, 9]);
    let GgufTokenizer { model, pre, tokens: found, merges, token_types } =
        file.gguf_tokenizer().unwrap().unwrap();
    assert_eq!((model, pre, found), ("gpt2", Some("default"), tokens.iter().map(String::as_str).collect()));
    assert_eq!((merges, token_types.len(), token_types[319]), (vec!["t 1", "t 2"], 320, 3));
}

#[test]
fn the_pattern_of_windows_is_read_in_both_forms() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    let (sliding, full) = (LayerKind::Sliding, LayerKind::Full);
    let cases = [
        (Value::U32(2), [sliding, full]),
        (Value::U32(1), [full, full]),
        (Value::U32(0), [sliding, sliding]),
        (Value::I32s(vec![0, 1]), [full, sliding]),
    ];
    for (value, expected) in cases {
        let mut file = model(&source, Form::LlamaCpp);
        file.key("gpt-oss.attention.sliding_window_pattern", value);
        assert_eq!(written(&file).1.config().layer_types, expected);
    }
}

/// The stacks of an expert, taken in turn, have the rows of the published order; scales tell them apart.
#[test]
fn experts_in_place_are_those_of_the_published_order() {
    let source = Checkpoint::open(&fixture("tiny-yarn")).unwrap();
    assert!(source.gguf_experts(Part::Layer(0, LayerPart::DownBlocks)).is_none());
    for form in [Form::LlamaCpp, Form::Joined, Form::Ollama, Form::OllamaFused] {
        let (_folder, file) = written(&model(&source, form));
        assert!(file.gguf_experts(Part::Layer(0, LayerPart::GateUpScales)).is_none());
        assert!(file.gguf_experts(Part::Layer(99, LayerPart::GateUpBlocks)).is_none());
        for (blocks, scales) in [
            (LayerPart::GateUpBlocks, LayerPart::GateUpScales),
            (LayerPart::DownBlocks, LayerPart::DownScales),
        ] {
            let experts = file.gguf_experts(Part::Layer(1, blocks)).expect("MXFP4 in a GGUF file");
            let expected = source.tensor(Part::Layer(1, scales)).unwrap();
            let [num_experts, num_rows, per_row] = expected.shape[..] else { panic!("three axes") };
            let mut found = Vec::new();
            for (expert, row) in
                (0..num_experts).flat_map(|expert| (0..num_rows).map(move |row| (expert, row)))
            {
                let [even, odd] = experts.stacks(expert).map(|stack| stack.as_chunks::<17>().0);
                let (stack, place) = match odd.is_empty() {
                    true => (even, row),
                    false => ([even, odd][row % 2], row / 2),
                };
                found.extend(stack[place * per_row..][..per_row].iter().map(|block| block[0]));
            }
            assert!(found[..] == expected.bytes[..], "{form:?} {scales:?}");
            assert_eq!(experts.num_bytes(), 17 * expected.bytes.len() as u64);
        }
    }
}
