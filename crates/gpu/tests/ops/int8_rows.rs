//! Quantization of rows, and the fused SwiGLU.

use gptoss_gpu::ops::{
    Int8Rows, MiddleRows, NormInputs, Quantize, QuantizeMiddles, RmsNormInt8, RmsNormMiddles, SwiGluMiddles,
};
use gptoss_gpu::{Place, Recording};

use crate::floats::gate_up;
use crate::numbers::{FILLS, Fill, Rng, assert_bits};
use crate::reference::floats::{rmsnorm, swiglu};
use crate::reference::quantized::{
    Int8Block, quantize, quantize_about_middles, quantize_parts, stored_plain,
};
use crate::support::{Bench, on_every_device};

const SHAPES: [(usize, usize); 6] = [(1, 32), (1, 64), (3, 288), (9, 96), (64, 32), (2, 2880)];

/// The bytes of blocks for MXFP4 as the device has them, and what stands beside them.
pub fn stored_about_middles(bench: &Bench, blocks: &[Int8Block]) -> (Vec<i8>, Vec<[u32; 2]>) {
    let values: Vec<i8> = blocks.iter().flat_map(|block| block.values).collect();
    let way = bench.device.description().way();
    (MiddleRows::stored(way, &values), blocks.iter().map(Int8Block::beside).collect())
}

fn room_plain(bench: &Bench, t: usize, k: usize) -> Int8Rows {
    Int8Rows { values: bench.poisoned(t * k / 4), scales: bench.poisoned(t * k / 32) }
}

fn room_about_middles(bench: &Bench, t: usize, k: usize) -> MiddleRows {
    MiddleRows { values: bench.poisoned(t * k / 4), beside: bench.poisoned(t * k / 16) }
}

/// Scales are equal when both are NaN.
fn one_nan(bits: u32) -> u32 {
    if f32::from_bits(bits).is_nan() { f32::NAN.to_bits() } else { bits }
}

#[track_caller]
fn assert_plain(bench: &Bench, found: &Int8Rows, blocks: &[Int8Block], what: &dyn std::fmt::Debug) {
    let (values, scales) = stored_plain(blocks);
    let found_scales: Vec<u32> = bench.read(&found.scales, scales.len());
    let scales = scales.iter().map(|scale| one_nan(scale.to_bits()));
    assert!(found_scales.iter().map(|bits| one_nan(*bits)).eq(scales), "{what:?}: scales");
    assert!(bench.read::<i8>(&found.values, values.len()) == values, "{what:?}: values");
}

#[track_caller]
fn assert_about_middles(bench: &Bench, found: &MiddleRows, blocks: &[Int8Block], what: &dyn std::fmt::Debug) {
    let (values, beside) = stored_about_middles(bench, blocks);
    let found_beside: Vec<[u32; 2]> = bench.read(&found.beside, beside.len());
    for (b, (found, expected)) in found_beside.iter().zip(&beside).enumerate() {
        assert_eq!(one_nan(found[0]), one_nan(expected[0]), "{what:?}: scale of block {b}");
        assert_eq!(found[1], expected[1], "{what:?}: sum and middle of block {b}");
    }
    assert!(bench.read::<i8>(&found.values, values.len()) == values, "{what:?}: values");
}

fn shapes_and_fills() -> impl Iterator<Item = (usize, usize, Fill)> {
    let random = SHAPES.into_iter().map(|(t, k)| (t, k, Fill::Random));
    random.chain(FILLS.into_iter().map(|fill| (3, 320, fill)))
}

pub fn check_plain(bench: &Bench) {
    for (t, k, fill) in shapes_and_fills() {
        let x = fill.floats(&mut Rng(k as u64), t * k);
        let input = bench.holding(&x);
        for in_parts in [false, true] {
            let out = room_plain(bench, t * (1 + usize::from(in_parts)), k);
            bench.run(|kernels, recording| {
                Quantize { out: &out, x: &input, t: t as u32, k: k as u32, in_parts }
                    .record(kernels, recording)
            });
            let blocks = if in_parts { quantize_parts(bench.fma, &x).concat() } else { quantize(&x) };
            assert_plain(bench, &out, &blocks, &("quantize", t, k, fill, in_parts));
        }
    }
}

#[test]
fn rows_for_int8_are_the_cpus() {
    on_every_device(check_plain);
}

pub fn check_about_middles(bench: &Bench) {
    for (t, k, fill) in shapes_and_fills() {
        let mut x = fill.floats(&mut Rng(k as u64), t * k);
        // Rows of one sign are scaled from zero on.
        x[..k].iter_mut().for_each(|x| *x = x.abs() * if t % 2 == 0 { -1.0 } else { 1.0 });
        let (input, out) = (bench.holding(&x), room_about_middles(bench, t, k));
        bench.run(|kernels, recording| {
            QuantizeMiddles { out: &out, x: &input, t: t as u32, k: k as u32 }.record(kernels, recording)
        });
        let blocks = quantize_about_middles(bench.fma, &x);
        assert_about_middles(bench, &out, &blocks, &("quantize about middles", t, k, fill));
    }
}

#[test]
fn rows_for_mxfp4_are_the_cpus() {
    on_every_device(check_about_middles);
}

pub fn check_swiglu_about_middles(bench: &Bench) {
    for (t, f) in SHAPES {
        let gate_up = gate_up(&mut Rng(f as u64), t * f, -30_000.0);
        let (input, out) = (bench.holding(&gate_up), room_about_middles(bench, t, f));
        bench.run(|kernels, recording| {
            let (out, gate_up) = (&out, &input);
            let op = SwiGluMiddles { out, gate_up, t: t as u32, f: f as u32, limit: 7.0, alpha: 1.702 };
            op.record(kernels, recording)
        });
        let blocks = quantize_about_middles(bench.fma, &swiglu(bench.fma, &gate_up, 7.0, 1.702));
        assert_about_middles(bench, &out, &blocks, &("swiglu about middles", t, f));
    }
}

/// More workgroups in all than one dimension may have, in buffers of 2^27 bytes at most. They are recorded
/// and not run: drivers in software take half a minute for each.
#[test]
fn many_rows_fit_a_dispatch() {
    on_every_device(|bench| {
        let (t, k) = (58_254, 288);
        let room = |bytes: u64| bench.device.buffer("many rows", bytes, Place::Card).unwrap().all();
        let input = room(2 * u64::from(t * k) * 4);
        let [values, scales] = Int8Rows::bytes(2 * t, k).map(room);
        let plain = Int8Rows { values, scales };
        let [values, beside] = MiddleRows::bytes(t, k).map(room);
        let middles = MiddleRows { values, beside };
        let mut recording = Recording::new(&bench.device);
        let (x, kernels, recorded) = (&input, &bench.kernels, &mut recording);
        Quantize { out: &plain, x, t, k, in_parts: true }.record(kernels, recorded).unwrap();
        QuantizeMiddles { out: &middles, x, t, k }.record(kernels, recorded).unwrap();
        let op = SwiGluMiddles { out: &middles, gate_up: x, t, f: k, limit: 7.0, alpha: 1.702 };
        op.record(kernels, recorded).unwrap();
        recording.finish("many rows").unwrap();
    });
}

#[test]
fn activations_for_mxfp4_are_the_cpus() {
    on_every_device(check_swiglu_about_middles);
}

/// The norm in one part, in two, and about middles, against the reference of each op in turn.
fn check_norms_of(bench: &Bench, fill: Fill, t: usize, c: usize) {
    let mut rng = Rng(c as u64);
    let (x, weight) = (fill.floats(&mut rng, t * c), rng.floats(c));
    let (x_slice, weight_slice) = (bench.holding(&x), bench.holding(&weight));
    let inputs = NormInputs { x: &x_slice, weight: &weight_slice, t: t as u32, c: c as u32, eps: 1e-5 };
    let [one, two] = [1, 2].map(|parts| room_plain(bench, parts * t, c));
    let (middles, normed_slice) = (room_about_middles(bench, t, c), bench.poisoned(t * c));
    bench.run(|kernels, recording| {
        RmsNormInt8 { out: &one, inputs, in_parts: false }.record(kernels, recording)?;
        RmsNormInt8 { out: &two, inputs, in_parts: true }.record(kernels, recording)?;
        RmsNormMiddles { out: &middles, normed: &normed_slice, inputs }.record(kernels, recording)
    });
    let normed: Vec<f32> = x.chunks(c).flat_map(|x| rmsnorm(bench.fma, x, &weight, 1e-5)).collect();
    let what = ("norm", fill, t, c);
    assert_plain(bench, &one, &quantize(&normed), &what);
    assert_plain(bench, &two, &quantize_parts(bench.fma, &normed).concat(), &what);
    assert_about_middles(bench, &middles, &quantize_about_middles(bench.fma, &normed), &what);
    assert_bits(&bench.read::<f32>(&normed_slice, t * c), &normed, &what);
}

pub fn check_norms(bench: &Bench) {
    for (t, c) in SHAPES {
        check_norms_of(bench, Fill::Random, t, c);
    }
    for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::NonFinite] {
        check_norms_of(bench, fill, 2, 320);
    }
}

#[test]
fn norms_as_int8_are_the_cpus() {
    on_every_device(check_norms);
}
