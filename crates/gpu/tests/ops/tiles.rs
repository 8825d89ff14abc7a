//! Products of many rows by tiles: the bits of the products of few.

use gptoss_gpu::ops::{ExpertTiles, MiddleRows, SortExperts, TILE_ROWS};

use crate::int8_rows::stored_about_middles;
use crate::numbers::experts::{Experts, NUM_EXPERTS};
use crate::numbers::{Fill, Rng, assert_bits};
use crate::products::{Form, Inputs, check_dense_of};
use crate::reference::quantized::quantize_about_middles;
use crate::reference::routing::sort;
use crate::support::{Bench, on_every_device};

/// Who chooses which experts; expert 3 is never chosen.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Random,
    /// Every row of every token is expert 4's.
    One,
}

/// `tokens` tokens with `active` experts each, sorted on the card. Inputs are tokens, or slots as they are.
fn check_experts_of(
    bench: &Bench,
    (choice, has_sources): (Choice, bool),
    fill: Fill,
    [tokens, active, n, k]: [usize; 4],
) {
    let mut rng = Rng((tokens * active * n * k) as u64);
    let rows = tokens * active;
    let experts: Vec<u32> = (0..rows)
        .map(|_| match choice {
            Choice::Random => [4, 0, 2, 1][rng.below(4)],
            Choice::One => 4,
        })
        .collect();
    let weights = Experts::new(&mut rng, &experts, n, k);
    let num_inputs = if has_sources { tokens } else { rows };
    let x = fill.floats(&mut rng, num_inputs * k);
    let quantized: Vec<_> = x.chunks(k).map(|x| quantize_about_middles(bench.fma, x)).collect();
    let (values, beside) = stored_about_middles(bench, &quantized.concat());
    let x = MiddleRows { values: bench.holding(&values), beside: bench.holding(&beside) };
    let [codes, code_scales] = [&weights.codes, &weights.scales].map(|bytes| bench.holding(bytes));
    let (experts_slice, bias) = (bench.holding(&experts), bench.holding(&weights.bias));
    let [rows_u32, tokens_u32, active_u32, n_u32, k_u32] =
        [rows, tokens, active, n, k].map(|size| size as u32);
    let tiles_bytes = SortExperts::tiles_bytes(rows_u32, NUM_EXPERTS as u32, TILE_ROWS);
    let [slots, sources] = [(); 2].map(|()| bench.poisoned(rows));
    let (tiles, dispatches) = (bench.poisoned(tiles_bytes as usize / 4), bench.poisoned(6));
    // A row more than there is.
    let out = bench.poisoned((rows + 1) * n);
    bench.run(|kernels, recording| {
        let order = SortExperts {
            slots: &slots,
            tokens: &sources,
            tiles: &tiles,
            dispatches: &dispatches,
            experts: &experts_slice,
            t: tokens_u32,
            active: active_u32,
            num_experts: NUM_EXPERTS as u32,
            tile_rows: TILE_ROWS,
            groups: [7, ExpertTiles::groups(n_u32)],
        };
        order.record(kernels, recording)?;
        let product = ExpertTiles {
            out: &out,
            x: &x,
            num_inputs: num_inputs as u32,
            sources: has_sources.then_some(&sources),
            codes: &codes,
            code_scales: &code_scales,
            bias: &bias,
            tiles: &tiles,
            dispatch: &dispatches.part(12..24),
            num_experts: NUM_EXPERTS as u32,
            rows: rows_u32,
            n: n_u32,
            k: k_u32,
        };
        product.record(kernels, recording)
    });
    let sorted = sort(&experts, active, NUM_EXPERTS, TILE_ROWS as usize);
    let mut expected = Vec::new();
    for [expert, first, count] in sorted.tiles {
        for slot in first..first + count {
            let input = if has_sources { sorted.token_of_slot[slot as usize] } else { slot };
            expected.extend(weights.product(bench.fma, expert, &quantized[input as usize]));
        }
    }
    let what = ("expert_tiles", choice, has_sources, fill, [tokens, active, n, k]);
    assert_bits(&bench.read::<f32>(&out, rows * n), &expected, &what);
    let found: Vec<u32> = bench.read(&out, (rows + 1) * n);
    assert!(found[rows * n..].iter().all(|bits| *bits == u32::MAX), "{what:?}: a row too many");
}

/// Batches of 1 to 9, 64 and 65; full and broken tiles of rows and of outputs; lanes without a block, with
/// one, and with more than are staged together.
pub fn check_mxfp4(bench: &Bench) {
    for t in 1..=9 {
        check_experts_of(bench, (Choice::Random, true), Fill::Random, [t, 4, 9, 96]);
    }
    for (choice, has_sources, shape) in [
        (Choice::Random, false, [1, 1, 1, 32]),
        (Choice::Random, true, [64, 4, 17, 64]),
        (Choice::Random, false, [65, 4, 5, 288]),
        (Choice::One, true, [65, 1, 65, 32]),
        (Choice::One, false, [64, 1, 9, 256]),
        (Choice::Random, true, [5, 4, 130, 320]),
        (Choice::Random, true, [3, 2, 66, 1056]),
        (Choice::One, false, [35, 1, 3, 2080]),
        (Choice::Random, true, [9, 4, 6, 2880]),
    ] {
        check_experts_of(bench, (choice, has_sources), Fill::Random, shape);
    }
    for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
        check_experts_of(bench, (Choice::Random, true), fill, [20, 2, 9, 320]);
    }
}

/// Likewise of int8 with int8, where few rows go another way.
pub fn check_int8(bench: &Bench) {
    for inputs in [Inputs::Int8, Inputs::Int8Parts] {
        for shape in [
            [5, 9, 96],
            [9, 65, 64],
            [16, 64, 32],
            [17, 130, 320],
            [32, 3, 1056],
            [33, 5, 256],
            [64, 7, 288],
            [65, 66, 96],
            [10, 6, 2880],
        ] {
            check_dense_of(bench, Form::Int8, inputs, Fill::Random, shape);
        }
        for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
            check_dense_of(bench, Form::Int8, inputs, fill, [37, 9, 320]);
        }
    }
}

#[test]
fn tiles_of_experts_are_the_cpus() {
    on_every_device(check_mxfp4);
}

#[test]
fn tiles_of_int8_are_the_cpus() {
    on_every_device(check_int8);
}
