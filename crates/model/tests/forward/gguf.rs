//! A GGUF file gives the logits of the checkpoint it was made from.
//!
//! The files were made by a converter that is not this program's (see `testdata/README.md`). With bf16
//! matrices nothing is rounded on the way, so the bits are equal, in either precision. Q8_0 rounds the dense
//! matrices: a value moves by up to half a step of its block's largest magnitude over 127, that is by a
//! relative 1/254 of that largest one, and on average (1/127)/sqrt(12) of it. That exact precision rounds
//! nothing else shows against the forward pass of `reference`, in float64 on the values that the file holds.
//! Fast precision rounds the activations of these products in the same way, and to the same relative size.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::Pool;
use gptoss_model::{Batch, DenseMode, LoadOptions, LogitRows, Model, Precision};

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

/// This model's weights are eight times larger than usual, which makes its logits far more sensitive than a
/// trained model's; the bound is three times what was measured, to notice a matrix read in the wrong place.
#[test]
fn q8_0_matrices_give_logits_within_their_quantization() {
    let expected = logits("tiny-yarn", Precision::Exact, 2);
    let found = logits("tiny-yarn-q8_0.gguf", Precision::Exact, 2);
    let kl = mean_kl(&expected, &found, 320);
    println!("tiny-yarn, Q8_0 dense matrices, exact precision: mean KL {kl:e} nats");
    assert!(kl > 0.0 && kl < Q8_0_MEAN_KL_MAX, "mean KL {kl:e}");
    assert!(logits("tiny-yarn-q8_0.gguf", Precision::Exact, 1) == found, "threads change nothing");
}

/// Small errors of independent origin add their squares, and a divergence grows with the square. So three
/// divergences add up: that of the rounded weights; as much again for the activations, which are rounded to
/// the same steps; and that of int8 activations before the experts, which the bf16 file has alone. The bound
/// is twice the sum, for the chance in single routings.
#[test]
fn q8_0_matrices_with_int8_activations_add_what_rounding_activations_adds() {
    let exact = logits("tiny-yarn", Precision::Exact, 2);
    let weights = mean_kl(&exact, &logits("tiny-yarn-q8_0.gguf", Precision::Exact, 2), 320);
    let experts = mean_kl(&exact, &logits("tiny-yarn", Precision::Fast, 2), 320);
    let found = logits("tiny-yarn-q8_0.gguf", Precision::Fast, 2);
    let kl = mean_kl(&exact, &found, 320);
    println!(
        "tiny-yarn, Q8_0, fast: mean KL {kl:e} nats; weights alone {weights:e}, experts alone {experts:e}"
    );
    assert!(kl < 2.0 * (2.0 * weights + experts), "mean KL {kl:e}, of {weights:e} and {experts:e}");
    assert!(logits("tiny-yarn-q8_0.gguf", Precision::Fast, 1) == found, "threads change nothing");
}

/// The converter rounds scales to the nearest f16 and halves away from zero; we round scales up and halves to
/// even. Apart from that, quantizing at load gives what the file holds.
#[test]
fn quantizing_at_load_is_as_good_as_the_converter() {
    let exact = logits("tiny-yarn", Precision::Exact, 2);
    let file = mean_kl(&exact, &logits("tiny-yarn-q8_0.gguf", Precision::Fast, 2), 320);
    let checkpoint = Checkpoint::open(&testdata("tiny-yarn")).expect("opens");
    let options = LoadOptions { precision: Precision::Fast, dense: DenseMode::Q8, expert_slots: None };
    let model = Model::load_with(&checkpoint, &options, Pool::new(2), &mut |_, _| {}).expect("loads");
    let tokens = golden("tiny-yarn").tokens;
    let batch = Batch { tokens: &tokens, logits: LogitRows::All };
    let rows = model.forward(&batch, &mut model.new_cache(tokens.len())).expect("runs").rows;
    let ours = mean_kl(&exact, &rows, 320);
    println!("tiny-yarn, dense matrices quantized at load: mean KL {ours:e} nats, by the converter {file:e}");
    assert!(ours < 1.5 * file && file < 1.5 * ours, "{ours:e} against {file:e}");
}
