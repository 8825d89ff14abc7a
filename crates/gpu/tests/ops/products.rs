//! Products with matrices in every form.

use gptoss_gpu::ops::{
    DenseMatrix, DenseRows, EXPERT_ELSEWHERE, ExpertLinear, ExpertRows, Int8Rows, Linear, MiddleRows,
};
use half::{bf16, f16};

use crate::int8_rows::stored_about_middles;
use crate::numbers::experts::{Experts, NUM_EXPERTS};
use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::products::{Int8Row, times_f32};
use crate::reference::quantized::{quantize, quantize_about_middles, quantize_parts, stored_plain};
use crate::support::{Bench, on_every_device};

/// A dense matrix of random numbers.
enum Dense {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Int8(Vec<i8>, Vec<f16>),
}

/// How a dense matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    F32,
    Bf16,
    Int8,
}

/// What it is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    F32,
    Int8,
    Int8Parts,
}

impl Dense {
    fn new(form: Form, rng: &mut Rng, n: usize, k: usize) -> Dense {
        match form {
            Form::F32 => Dense::F32(rng.floats(n * k)),
            Form::Bf16 => Dense::Bf16(rng.floats(n * k).into_iter().map(bf16::from_f32).collect()),
            Form::Int8 => {
                let values = (0..n * k).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
                // Some of them subnormal, as half numbers go.
                let scale =
                    |rng: &mut Rng| f16::from_f32((rng.unit() + 1.1) * [1e-2, 1e-3, 1e-6][rng.below(3)]);
                Dense::Int8(values, (0..n * k / 32).map(|_| scale(rng)).collect())
            }
        }
    }

    /// Row `row` as f32.
    fn row(&self, row: usize, k: usize) -> Vec<f32> {
        match self {
            Dense::F32(values) => values[row * k..][..k].to_vec(),
            Dense::Bf16(values) => values[row * k..][..k].iter().map(|value| value.to_f32()).collect(),
            Dense::Int8(values, scales) => {
                let value = |i: usize| f32::from(values[i]) * scales[i / 32].to_f32();
                (row * k..(row + 1) * k).map(value).collect()
            }
        }
    }
}

/// T rows of K numbers with a matrix of N rows.
pub fn check_dense_of(bench: &Bench, form: Form, inputs: Inputs, fill: Fill, [t, n, k]: [usize; 3]) {
    let mut rng = Rng((t * n * k) as u64);
    let weight = Dense::new(form, &mut rng, n, k);
    let (x, bias, before) = (fill.floats(&mut rng, t * k), rng.floats(n), rng.floats(t * n));
    let (has_bias, adds) = (rng.below(4) > 0, rng.below(2) == 0);
    let out = if adds { bench.holding(&before) } else { bench.poisoned(t * n) };
    let bias_slice = bench.holding(&bias);
    let stored: Vec<_> = match &weight {
        Dense::F32(values) => vec![bench.holding(values)],
        Dense::Bf16(values) => vec![bench.holding(values)],
        Dense::Int8(values, scales) => vec![bench.holding(values), bench.holding(scales)],
    };
    let weight_slices = match (form, &stored[..]) {
        (Form::F32, [values]) => DenseMatrix::F32(values),
        (Form::Bf16, [values]) => DenseMatrix::Bf16(values),
        (_, [values, scales]) => DenseMatrix::Int8 { values, scales },
        _ => unreachable!("forms and slices are paired above"),
    };
    let rows: Vec<_> = x.chunks(k).collect();
    let blocks = match inputs {
        Inputs::F32 => Vec::new(),
        Inputs::Int8 => rows.iter().flat_map(|x| quantize(x)).collect(),
        Inputs::Int8Parts => {
            let parts: Vec<_> = rows.iter().map(|x| quantize_parts(bench.fma, x)).collect();
            [0, 1].map(|part| parts.iter().flat_map(|parts| parts[part].clone()).collect::<Vec<_>>()).concat()
        }
    };
    let (values, scales) = stored_plain(&blocks);
    let int8 = (!blocks.is_empty())
        .then(|| Int8Rows { values: bench.holding(&values), scales: bench.holding(&scales) });
    let floats = bench.holding(&x);
    let x_slices = match (inputs, &int8) {
        (Inputs::Int8, Some(rows)) => DenseRows::Int8(rows),
        (Inputs::Int8Parts, Some(rows)) => DenseRows::Int8Parts(rows),
        _ => DenseRows::F32(&floats),
    };
    bench.run(|kernels, recording| {
        let (weight, bias) = (weight_slices, has_bias.then_some(&bias_slice));
        let op = Linear { out: &out, x: x_slices, weight, bias, adds, t: t as u32, n: n as u32, k: k as u32 };
        op.record(kernels, recording)
    });
    let product = |x: &[f32], row: usize| {
        let bias = has_bias.then_some(bias[row]);
        match (&weight, inputs) {
            (Dense::Int8(values, scales), Inputs::Int8 | Inputs::Int8Parts) => {
                let scales: Vec<f32> = scales[row * k / 32..][..k / 32].iter().map(|s| s.to_f32()).collect();
                let w = Int8Row { values: &values[row * k..][..k], scales: &scales };
                match inputs {
                    Inputs::Int8 => w.times_int8(bench.fma, &quantize(x), bias.unwrap_or(0.0)),
                    _ => w.times_parts(bench.fma, &quantize_parts(bench.fma, x), bias),
                }
            }
            _ => times_f32(bench.fma, x, &weight.row(row, k), bias.unwrap_or(0.0)),
        }
    };
    let mut expected: Vec<f32> =
        rows.iter().flat_map(|x| (0..n).map(|row| product(x, row)).collect::<Vec<f32>>()).collect();
    if adds {
        expected.iter_mut().zip(&before).for_each(|(out, before)| *out += before);
    }
    let what = ("linear", form, inputs, fill, [t, n, k], has_bias, adds);
    assert_bits(&bench.read::<f32>(&out, t * n), &expected, &what);
}

/// Batches 1 to 9 and of several chunks; outputs that leave a workgroup part full; few and many blocks, and
/// lanes without one.
const SHAPES: [[usize; 3]; 13] = [
    [1, 1, 32],
    [1, 33, 64],
    [2, 8, 256],
    [3, 9, 288],
    [4, 7, 96],
    [5, 16, 320],
    [6, 3, 544],
    [7, 8, 32],
    [8, 24, 160],
    [9, 17, 288],
    [16, 9, 64],
    [29, 5, 96],
    [1, 40, 2880],
];

fn check_dense(bench: &Bench, form: Form, inputs: &[Inputs]) {
    for &inputs in inputs {
        for shape in SHAPES {
            check_dense_of(bench, form, inputs, Fill::Random, shape);
        }
        for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
            check_dense_of(bench, form, inputs, fill, [3, 9, 320]);
        }
    }
}

pub fn check_f32(bench: &Bench) {
    check_dense(bench, Form::F32, &[Inputs::F32]);
    for k in [1, 7, 8, 63] {
        check_dense_of(bench, Form::F32, Inputs::F32, Fill::Random, [2, 5, k]);
    }
}

pub fn check_bf16(bench: &Bench) {
    check_dense(bench, Form::Bf16, &[Inputs::F32]);
    for k in [1, 7, 8, 63] {
        check_dense_of(bench, Form::Bf16, Inputs::F32, Fill::Random, [2, 5, k]);
    }
}

pub fn check_int8_f32(bench: &Bench) {
    check_dense(bench, Form::Int8, &[Inputs::F32]);
}

pub fn check_int8_int8(bench: &Bench) {
    check_dense(bench, Form::Int8, &[Inputs::Int8, Inputs::Int8Parts]);
}

#[test]
fn chunks_of_rows_do_not_wait_for_each_other() {
    on_every_device(|bench| {
        let (t, n, k) = (512, 8, 32);
        let (x, values, out) =
            (bench.holding(&vec![1.0_f32; t * k]), bench.poisoned(n * k), bench.poisoned(t * n));
        bench.run(|kernels, recording| {
            let (x, weight) = (DenseRows::F32(&x), DenseMatrix::F32(&values));
            let (bias, adds) = (None, false);
            Linear { out: &out, x, weight, bias, adds, t: t as u32, n: n as u32, k: k as u32 }
                .record(kernels, recording)?;
            assert_eq!(recording.num_barriers(), 0);
            Ok(())
        });
    });
}

#[test]
fn products_with_f32_are_the_cpus() {
    on_every_device(check_f32);
}

#[test]
fn products_with_bf16_are_the_cpus() {
    on_every_device(check_bf16);
}

#[test]
fn products_with_int8_are_the_cpus() {
    on_every_device(check_int8_f32);
    on_every_device(check_int8_int8);
}

/// `tokens` tokens with `share` of five experts each; the other experts are NaN wherever they can be.
fn check_experts_of(bench: &Bench, is_int8: bool, fill: Fill, [tokens, share, n, k]: [usize; 4]) {
    let mut rng = Rng((tokens * share * n * k) as u64);
    let rows = tokens * share;
    // Expert 3 is nobody's, and every fifth row is made elsewhere.
    let mut expert = |row: usize| if row % 5 == 4 { EXPERT_ELSEWHERE } else { [4, 0, 2, 1][rng.below(4)] };
    let experts: Vec<u32> = (0..rows).map(&mut expert).collect();
    let weights = Experts::new(&mut rng, &experts, n, k);
    let x = fill.floats(&mut rng, tokens * k);
    let (before, adds) = (rng.floats(rows * n), rng.below(2) == 0);
    let out = if adds { bench.holding(&before) } else { bench.poisoned(rows * n) };
    let [codes_slice, scales_slice] = [&weights.codes, &weights.scales].map(|bytes| bench.holding(bytes));
    let (experts_slice, bias_slice, floats) =
        (bench.holding(&experts), bench.holding(&weights.bias), bench.holding(&x));
    let quantized: Vec<_> = x.chunks(k).map(|x| quantize_about_middles(bench.fma, x)).collect();
    let (values, beside) = stored_about_middles(bench, &quantized.concat());
    let int8 = MiddleRows { values: bench.holding(&values), beside: bench.holding(&beside) };
    bench.run(|kernels, recording| {
        let op = ExpertLinear {
            out: &out,
            x: if is_int8 { ExpertRows::Int8(&int8) } else { ExpertRows::F32(&floats) },
            codes: &codes_slice,
            code_scales: &scales_slice,
            experts: &experts_slice,
            bias: &bias_slice,
            adds,
            num_experts: NUM_EXPERTS as u32,
            rows: rows as u32,
            share: share as u32,
            n: n as u32,
            k: k as u32,
        };
        op.record(kernels, recording)
    });
    let mut expected = Vec::new();
    for (r, expert) in experts.iter().enumerate() {
        if *expert == EXPERT_ELSEWHERE {
            // What is there stays: what is added to below, or the poison.
            expected.extend(vec![if adds { 0.0 } else { f32::from_bits(u32::MAX) }; n]);
            continue;
        }
        if is_int8 {
            expected.extend(weights.product(bench.fma, *expert, &quantized[r / share]));
            continue;
        }
        for row in (0..n).map(|row| *expert as usize * n + row) {
            let (w, bias) = (weights.row(row).values(), weights.bias[row]);
            expected.push(times_f32(bench.fma, &x[r / share * k..][..k], &w, bias));
        }
    }
    if adds {
        expected.iter_mut().zip(&before).for_each(|(out, before)| *out += before);
    }
    let what = ("expert_linear", is_int8, fill, [tokens, share, n, k], adds);
    assert_bits(&bench.read::<f32>(&out, rows * n), &expected, &what);
}

fn check_experts(bench: &Bench, is_int8: bool) {
    for shape in [
        [1, 1, 1, 32],
        [1, 4, 33, 64],
        [2, 4, 8, 256],
        [3, 1, 9, 288],
        [4, 2, 7, 96],
        [9, 4, 16, 320],
        [5, 1, 8, 32],
        [1, 4, 24, 2880],
    ] {
        check_experts_of(bench, is_int8, Fill::Random, shape);
    }
    for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
        check_experts_of(bench, is_int8, fill, [2, 2, 9, 320]);
    }
}

pub fn check_mxfp4_f32(bench: &Bench) {
    check_experts(bench, false);
}

pub fn check_mxfp4_int8(bench: &Bench) {
    check_experts(bench, true);
}

#[test]
fn products_with_experts_are_the_cpus() {
    on_every_device(check_mxfp4_f32);
    on_every_device(check_mxfp4_int8);
}
