//! A GGUF file gives the logits of the checkpoint it was made from.
//!
//! The files were made by a converter that is not this program's (see `testdata/README.md`). With bf16 matrices nothing
//! is rounded on the way, so the bits are equal, in either precision. Q8_0 rounds the dense matrices: a value moves by up
//! to half a step of its block's largest magnitude over 127, that is by a relative 1/254 of that largest one, and on
//! average (1/127)/sqrt(12) of it. That nothing else is rounded shows against the forward pass of `reference`, in float64 on
//! the values that the file holds.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{Batch, LogitRows, Model, Precision};

use crate::equality::mean_kl;
use crate::golden::{golden, testdata};
use crate::reference::compare;

/// Units: nats.
const Q8_0_MEAN_KL_MAX: f64 = 0.12;

fn logits(name: &str, precision: Precision, threads: usize) -> Vec<f32> {
    let checkpoint = Checkpoint::open(&testdata(name)).expect("opens");
    let (mut last, mut total) = (0, 0);
    let model =
        Model::load(&checkpoint, precision, Pool::new(threads), &mut |done, all| (last, total) = (done, all));
    let model = model.expect("loads");
    assert!(last == total && total > 0, "progress ended at {last} of {total}");
    let tokens = golden("tiny-yarn").tokens;
    let batch = Batch { tokens: &tokens, logits: LogitRows::All };
    model.forward(&batch, &mut model.new_cache(tokens.len())).expect("runs").rows
}

#[test]
fn bf16_matrices_give_the_bits_of_the_source() {
    for precision in [Precision::Exact, Precision::Fast] {
        let expected = logits("tiny-yarn", precision, 2);
        assert!(logits("tiny-yarn-bf16.gguf", precision, 2) == expected, "{precision:?}");
    }
}

/// The tolerance is that of the goldens of the same model.
#[test]
fn q8_0_matrices_are_multiplied_as_they_are() {
    let checkpoint = Checkpoint::open(&testdata("tiny-yarn-q8_0.gguf")).expect("opens");
    compare(&checkpoint, &golden("tiny-yarn").tokens[..200], 2e-3);
}

/// This model's weights are eight times larger than usual, which makes its logits far more sensitive than a trained
/// model's; the bound is three times what was measured, to notice a matrix read in the wrong place.
#[test]
fn q8_0_matrices_give_logits_within_their_quantisation() {
    let expected = logits("tiny-yarn", Precision::Exact, 2);
    let found = logits("tiny-yarn-q8_0.gguf", Precision::Exact, 2);
    let kl = mean_kl(&expected, &found, 320);
    println!("tiny-yarn, Q8_0 dense matrices, exact precision: mean KL {kl:e} nats");
    assert!(kl > 0.0 && kl < Q8_0_MEAN_KL_MAX, "mean KL {kl:e}");
    assert!(logits("tiny-yarn-q8_0.gguf", Precision::Exact, 1) == found, "threads change nothing");
}
