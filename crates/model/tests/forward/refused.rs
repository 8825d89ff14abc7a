//! What bad input is answered with.

use std::path::Path;

use gptoss_checkpoint::{Checkpoint, Preset};
use gptoss_kernels::Pool;
use gptoss_model::{Batch, Error, KvCache, LogitRows, Model, Precision};

use crate::written::{Layout, SMALL, Shape, write};

fn small(precision: Precision) -> Model {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &SMALL, Layout::HuggingFace);
    load(folder.path(), precision).expect("loads")
}

fn load(folder: &Path, precision: Precision) -> Result<Model, Error> {
    let checkpoint = Checkpoint::open(folder).expect("opens");
    Model::load(&checkpoint, precision, Pool::new(2), &mut |_, _| {})
}

fn refusal(model: &Model, cache: &mut KvCache, tokens: &[u32]) -> String {
    let len = cache.len();
    let batch = Batch { tokens, logits: LogitRows::Last };
    let error = model.forward(&batch, cache).expect_err("is refused");
    assert_eq!(cache.len(), len, "nothing was computed");
    error.to_string()
}

#[test]
fn token_ids_beyond_the_vocabulary() {
    let model = small(Precision::Exact);
    let message = refusal(&model, &mut model.new_cache(10), &[3, 76, 77]);
    assert_eq!(message, "token 2 has the id 77, but the vocabulary has 77 ids (0 to 76)");
}

#[test]
fn more_tokens_than_the_context() {
    let model = small(Precision::Fast);
    let mut cache = model.new_cache(10);
    model.forward(&Batch { tokens: &[1; 8], logits: LogitRows::None }, &mut cache).expect("runs");
    let message = refusal(&model, &mut cache, &[1; 3]);
    assert!(message.starts_with("11 tokens do not fit the context of 10;"), "{message}");
    model.forward(&Batch { tokens: &[1; 2], logits: LogitRows::None }, &mut cache).expect("ten fit");
}

#[test]
fn a_cache_of_another_precision() {
    let mut cache = small(Precision::Exact).new_cache(10);
    assert!(refusal(&small(Precision::Fast), &mut cache, &[1]).contains("made for another model"));
}

/// Byte 255 in the scales of layer 1, expert 2, row 5, block 1, found with the place in the message.
#[test]
fn a_nan_scale() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &SMALL, Layout::HuggingFace);
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).expect("reads");
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    let name = "model.layers.1.mlp.experts.gate_up_proj_scales";
    let start = 8 + header + tensors.info(name).expect("the scales").data_offsets.0;
    let place = (2 * 2 * SMALL.inner + 5) * SMALL.hidden / 32 + 1;
    bytes[start + place] = 255;
    std::fs::write(&file, bytes).expect("writes");
    let error = load(folder.path(), Precision::Fast).err().expect("is refused");
    let expected = format!("tensor {name}: expert 2, row 5, block 1 has the scale NaN (byte 255)");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

/// A NaN that hides in bf16 is found in the logits.
#[test]
fn logits_that_are_not_finite() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &Shape { seed: 21, ..SMALL }, Layout::HuggingFace);
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).expect("reads");
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    let start = 8 + header + tensors.info("model.embed_tokens.weight").expect("embedding").data_offsets.0;
    let row = start + 9 * SMALL.hidden * 2;
    bytes[row..row + 2].copy_from_slice(&half::bf16::NAN.to_le_bytes());
    std::fs::write(&file, bytes).expect("writes");
    for precision in [Precision::Exact, Precision::Fast] {
        let model = load(folder.path(), precision).expect("loads");
        let batch = Batch { tokens: &[1, 2, 9], logits: LogitRows::All };
        let error = model.forward(&batch, &mut model.new_cache(10)).expect_err("is refused");
        assert!(matches!(error, Error::NonFiniteLogits { position: 2, token: 0, .. }), "{error}");
    }
}

#[test]
fn progress_ends_at_the_total() {
    let checkpoint = Checkpoint::synthetic(Preset::Tiny, 3, None).expect("makes");
    let mut seen = (0, 0);
    let mut grows = |done, total| {
        assert!(done > seen.0 && done <= total);
        seen = (done, total);
    };
    Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut grows).expect("loads");
    assert_eq!(seen, (checkpoint.tensor_bytes(), checkpoint.tensor_bytes()));
}
