//! Experts that come from disk give the bits of experts in memory, whatever fits; and what can be wrong is
//! said.

use std::path::Path;

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{Batch, DenseMode, Error, LoadOptions, LogitRows, Model, Precision, plan_memory};

use crate::golden::testdata;
use crate::written::{Layout, SMALL, Shape, write};

const FAST: (Precision, DenseMode) = (Precision::Fast, DenseMode::AsStored);
const FAST_Q8: (Precision, DenseMode) = (Precision::Fast, DenseMode::Q8);
const EXACT: (Precision, DenseMode) = (Precision::Exact, DenseMode::AsStored);

fn load(
    checkpoint: &Checkpoint,
    (precision, dense): (Precision, DenseMode),
    expert_slots: Option<usize>,
) -> Model {
    let options = LoadOptions { precision, dense, expert_slots };
    let (mut last, mut total) = (0, 0);
    let model =
        Model::load_with(checkpoint, &options, Pool::new(2), &mut |done, all| (last, total) = (done, all));
    let model = model.expect("loads").with_chunk_tokens(16);
    assert!(last == total && total > 0, "progress ended at {last} of {total}");
    model
}

/// All rows of logits: a prompt of two chunks, then token by token.
fn logits(model: &Model) -> Result<Vec<f32>, Error> {
    let tokens: Vec<u32> = (0..40).map(|i| (i * 5 + i * i) % 77).collect();
    let mut cache = model.new_cache(tokens.len());
    let mut rows = model.forward(&Batch { tokens: &tokens[..20], logits: LogitRows::All }, &mut cache)?.rows;
    for token in &tokens[20..] {
        let batch = Batch { tokens: std::slice::from_ref(token), logits: LogitRows::All };
        rows.extend(model.forward(&batch, &mut cache)?.rows);
    }
    Ok(rows)
}

fn check(checkpoint: &Checkpoint, mode: (Precision, DenseMode), slots: impl Iterator<Item = usize>) {
    let expected = logits(&load(checkpoint, mode, None)).expect("runs");
    for slots in slots {
        let model = load(checkpoint, mode, Some(slots));
        assert!(logits(&model).expect("runs") == expected, "{slots} slots, {mode:?}");
        let traffic = model.expert_traffic().expect("experts are on disk");
        assert_eq!(traffic.slots, slots);
        assert!(traffic.misses > 0 && traffic.bytes_read > 0, "{traffic:?}");
        if slots == traffic.experts {
            // Nothing is read twice, and what was never chosen is not read.
            assert!(traffic.misses <= traffic.experts as u64 && traffic.hits > traffic.misses, "{traffic:?}");
        }
    }
}

#[test]
fn any_number_of_experts_in_memory_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    for layout in
        [Layout::HuggingFace, Layout::Original, Layout::Bf16, Layout::ByExpert, Layout::ByProjection]
    {
        write(folder.path(), &Shape { seed: 5, ..SMALL }, layout);
        let checkpoint = Checkpoint::open(folder.path()).expect("opens");
        for mode in [FAST, FAST_Q8, EXACT] {
            check(&checkpoint, mode, 1..=9);
        }
    }
}

#[test]
fn dense_layers_stream_too_and_most_of_them_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &Shape { experts: 0, active: 0, seed: 9, ..SMALL }, Layout::HuggingFace);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    check(&checkpoint, FAST, 1..=3);
    let model = load(&checkpoint, FAST, Some(2));
    logits(&model).expect("runs");
    let traffic = model.expert_traffic().expect("experts are on disk");
    // 22 passes over three layers: of the last two layers of a round, one is always there.
    assert!(traffic.hit_rate() > 0.3, "{traffic:?}");
}

/// Two sequences at once over one or two slots: each waits for the other's pins, neither for ever.
#[test]
fn passes_at_once_share_the_slots() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &Shape { seed: 5, ..SMALL }, Layout::HuggingFace);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let expected = logits(&load(&checkpoint, (Precision::Fast, DenseMode::AsStored), None)).expect("runs");
    for slots in 1..=2 {
        let model = load(&checkpoint, (Precision::Fast, DenseMode::AsStored), Some(slots));
        std::thread::scope(|scope| {
            let runs = [0; 3].map(|_| scope.spawn(|| logits(&model).expect("runs")));
            for run in runs {
                assert!(run.join().expect("ends") == expected, "{slots} slots");
            }
        });
    }
}

#[test]
fn a_gguf_file_s_experts_are_laid_out_as_they_come() {
    for name in ["tiny-yarn-bf16.gguf", "tiny-yarn-q8_0.gguf"] {
        let checkpoint = Checkpoint::open(&testdata(name)).expect("opens");
        check(&checkpoint, FAST, [1, 3, 8].into_iter());
    }
}

#[test]
fn a_plan_keeps_to_its_budget_and_names_the_smallest() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &SMALL, Layout::HuggingFace);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let plan = |budget| plan_memory(&checkpoint, 100, Precision::Fast, DenseMode::AsStored, budget);
    let Err(Error::BudgetTooSmall { smallest, .. }) = plan(1) else { panic!("one byte is enough") };
    assert_eq!(plan(smallest).expect("fits").expert_slots, Some(1));
    assert!(matches!(plan(smallest - 1), Err(Error::BudgetTooSmall { .. })));
    let mut slots = 1;
    for budget in (smallest..).step_by(5_000) {
        let plan = plan(budget).expect("fits");
        assert!(plan.bytes() <= budget, "{plan:?}");
        let Some(more) = plan.expert_slots else { break };
        assert!(more >= slots && more <= 9);
        slots = more;
    }
    let synthetic = Checkpoint::synthetic(gptoss_checkpoint::Preset::Tiny, 0, None).expect("makes");
    assert!(matches!(
        plan_memory(&synthetic, 100, Precision::Fast, DenseMode::AsStored, 1),
        Err(Error::NotOnDisk { .. })
    ));
    let options =
        LoadOptions { precision: Precision::Fast, dense: DenseMode::AsStored, expert_slots: Some(3) };
    let refused = Model::load_with(&synthetic, &options, Pool::new(1), &mut |_, _| {});
    assert!(matches!(refused, Err(Error::NotOnDisk { .. })));
}

fn tensor_at(file: &Path, name: &str) -> usize {
    let bytes = std::fs::read(file).expect("reads");
    let (header, tensors) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    8 + header + tensors.info(name).expect("the tensor").data_offsets.0
}

/// The file loses its end after it was opened. Expert tensors are the last in it, so what is mapped stays;
/// the first expert that is not there any more is an error with the file's name, and so is the next call.
#[test]
fn a_file_that_shrinks_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &SMALL, Layout::HuggingFace);
    let model = load(&Checkpoint::open(folder.path()).expect("opens"), FAST, Some(2));
    let path = folder.path().join("model.safetensors");
    let experts = tensor_at(&path, "model.layers.0.mlp.experts.down_proj_blocks");
    assert!(tensor_at(&path, "model.norm.weight") < experts, "the test's idea of the file is right");
    std::fs::File::options().write(true).open(&path).expect("opens").set_len(experts as u64).expect("cuts");
    for _ in 0..2 {
        let error = logits(&model).expect_err("is refused");
        assert!(error.to_string().contains("model.safetensors: truncated"), "{error}");
    }
}

/// As for weights in memory, with the expert's place in the message; a model that never needs the expert
/// runs.
#[test]
fn a_nan_scale_is_found_when_its_expert_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &SMALL, Layout::HuggingFace);
    let file = folder.path().join("model.safetensors");
    let name = "model.layers.1.mlp.experts.down_proj_scales";
    let place = tensor_at(&file, name) + (2 * SMALL.hidden + 5) * SMALL.inner / 32 + 1;
    let mut bytes = std::fs::read(&file).expect("reads");
    bytes[place] = 255;
    std::fs::write(&file, bytes).expect("writes");
    let model = load(&Checkpoint::open(folder.path()).expect("opens"), FAST, Some(2));
    for _ in 0..2 {
        let error = logits(&model).expect_err("is refused");
        let expected = format!("tensor {name}: expert 2, row 5, block 1 has the scale NaN (byte 255)");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
