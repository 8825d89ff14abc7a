//! The same weights in three file layouts give the same bits.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{Batch, LogitRows, Model, Precision};

use crate::written::{Layout, SMALL, Shape, write};

fn logits(shape: &Shape, layout: Layout, precision: Precision) -> Vec<f32> {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), shape, layout);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let model = Model::load(&checkpoint, precision, Pool::new(2), &mut |_, _| {}).expect("loads");
    let tokens: Vec<u32> = (0..50).map(|i| (i * 5 + i * i) % 77).collect();
    let batch = Batch { tokens: &tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(50)).expect("runs").rows
}

#[test]
fn layouts_agree_to_the_bit_in_exact_precision() {
    let shape = Shape { layers: "wfwf", seed: 8, ..SMALL };
    let expected = logits(&shape, Layout::HuggingFace, Precision::Exact);
    for layout in [Layout::Bf16, Layout::Original, Layout::ByExpert, Layout::ByProjection] {
        assert!(logits(&shape, layout, Precision::Exact) == expected);
    }
    let fast = logits(&shape, Layout::HuggingFace, Precision::Fast);
    assert!(logits(&shape, Layout::Original, Precision::Fast) == fast);
    assert!(fast != expected, "fast precision rounds");
    let bf16 = logits(&shape, Layout::Bf16, Precision::Fast);
    assert!(logits(&shape, Layout::ByExpert, Precision::Fast) == bf16);
}

#[test]
fn dense_layouts_agree_to_the_bit() {
    let shape = Shape { experts: 0, active: 0, seed: 9, ..SMALL };
    let expected = logits(&shape, Layout::HuggingFace, Precision::Exact);
    assert!(logits(&shape, Layout::Bf16, Precision::Exact) == expected);
}
