//! Products with matrices in every form.

use half::{bf16, f16};

use crate::numbers::experts::Experts;
use crate::numbers::{Fill, Rng, assert_bits};
use crate::program::{Handle, Job, Program, on_host};
use crate::reference::Fma;
use crate::reference::products::{Int8Row, times_f32};
use crate::reference::quantized::{
    Int8Block, quantize, quantize_about_middles, quantize_parts, stored_plain,
};
use crate::reference::routing::combine;
use crate::rows::stored_about_middles;

/// In the place of an expert: the row is made elsewhere.
const ELSEWHERE: u32 = u32::MAX;

/// Products of rows of int8, or of f32.
fn check_experts_of(program: &Program, is_int8: bool, fill: Fill, [tokens, share, n, k]: [usize; 4]) {
    let mut rng = Rng((tokens * share * n * k) as u64);
    let rows = tokens * share;
    // Expert 3 is nobody's, and every fifth row is made elsewhere.
    let mut expert = |row: usize| if row % 5 == 4 { ELSEWHERE } else { [4, 0, 2, 1][rng.below(4)] };
    let experts: Vec<u32> = (0..rows).map(&mut expert).collect();
    let weights = Experts::new(&mut rng, &experts, n, k);
    let x = fill.floats(&mut rng, tokens * k);
    let (before, adds) = (rng.floats(rows * n), rng.below(2) == 0);
    let quantized: Vec<_> = x.chunks(k).map(|x| quantize_about_middles(Fma::Fused, x)).collect();
    let (values, beside) = stored_about_middles(&quantized.concat());
    let mut job = Job::default();
    let out = if adds { job.holding(&before) } else { job.poisoned(rows * n) };
    let mut buffers = vec![out, job.holding(&weights.codes), job.holding(&weights.scales)];
    match is_int8 {
        true => buffers.extend([job.holding(&values), job.holding(&beside)]),
        false => buffers.push(job.holding(&x)),
    }
    buffers.extend([job.holding(&experts), job.holding(&weights.bias)]);
    let constants = [n, k / 32, share, usize::from(adds)].map(|size| size as u32);
    let kernel = if is_int8 { "gemv_mxfp4_int8" } else { "gemv_mxfp4_f32" };
    job.dispatch(kernel, &buffers, &constants, [n.div_ceil(8) as u32, rows as u32, 1]);
    let mut expected: Vec<f32> = experts
        .iter()
        .enumerate()
        .flat_map(|(row, expert)| match *expert {
            // What is there stays: what is added to below, or the poison.
            ELSEWHERE => vec![if adds { 0.0 } else { f32::from_bits(u32::MAX) }; n],
            expert if is_int8 => weights.product(Fma::Fused, expert, &quantized[row / share]),
            expert => (expert as usize * n..(expert as usize + 1) * n)
                .map(|at| {
                    let (weights, bias) = (weights.row(at).values(), weights.bias[at]);
                    times_f32(Fma::Fused, &x[row / share * k..][..k], &weights, bias)
                })
                .collect(),
        })
        .collect();
    if adds {
        expected.iter_mut().zip(&before).for_each(|(out, before)| *out += before);
    }
    job.run(program, |run| {
        let what = (kernel, fill, [tokens, share, n, k], adds, run.way);
        assert_bits(&run.read(out, rows * n), &expected, &what);
    });
}

/// `gemv_mxfp4_int8`.
pub fn check_experts(program: &Program) {
    for shape in [
        [1, 1, 1, 32],
        [1, 4, 33, 64],
        [2, 4, 8, 256],
        [3, 1, 9, 288],
        [4, 2, 7, 96],
        [9, 4, 16, 320],
        [1, 4, 24, 2880],
    ] {
        check_experts_of(program, true, Fill::Random, shape);
    }
    for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::Tiny, Fill::Large, Fill::NonFinite] {
        check_experts_of(program, true, fill, [2, 2, 9, 320]);
    }
}

/// `gemv_mxfp4_f32`.
pub fn check_experts_f32(program: &Program) {
    for shape in [[1, 4, 33, 64], [3, 1, 9, 288], [9, 4, 16, 320]] {
        check_experts_of(program, false, Fill::Random, shape);
    }
    check_experts_of(program, false, Fill::NonFinite, [2, 2, 9, 320]);
}

fn check_down_of(program: &Program, [tokens, active, width, f]: [usize; 4]) {
    let mut rng = Rng((tokens * active * width * f) as u64);
    let rows = tokens * active;
    let experts: Vec<u32> = (0..rows).map(|_| [4, 0, 2, 1][rng.below(4)]).collect();
    let matrices = Experts::new(&mut rng, &experts, width, f);
    let (x, weights, hidden) = (rng.floats(rows * f), rng.floats(rows), rng.floats(tokens * width));
    let quantized: Vec<_> = x.chunks(f).map(|x| quantize_about_middles(Fma::Fused, x)).collect();
    let (values, beside) = stored_about_middles(&quantized.concat());
    let mut job = Job::default();
    let out = job.holding(&hidden);
    let buffers = [
        out,
        job.holding(&matrices.codes),
        job.holding(&matrices.scales),
        job.holding(&values),
        job.holding(&beside),
        job.holding(&experts),
        job.holding(&weights),
        job.holding(&matrices.bias),
    ];
    let constants = [width, f / 32, active].map(|size| size as u32);
    job.dispatch("experts_down", &buffers, &constants, [width.div_ceil(4) as u32, tokens as u32, 1]);
    let products: Vec<Vec<f32>> =
        experts.iter().zip(&quantized).map(|(expert, x)| matrices.product(Fma::Fused, *expert, x)).collect();
    let mut expected = hidden.clone();
    for (token, hidden) in expected.chunks_mut(width).enumerate() {
        let of_token = token * active..(token + 1) * active;
        let rows: Vec<&[f32]> = products[of_token.clone()].iter().map(Vec::as_slice).collect();
        combine(hidden, &rows, &weights[of_token]);
    }
    job.run(program, |run| {
        let what = ("experts_down", [tokens, active, width, f], run.way);
        assert_bits(&run.read(out, tokens * width), &expected, &what);
    });
}

/// `experts_down`.
pub fn check_down(program: &Program) {
    for shape in
        [[1, 4, 33, 64], [3, 1, 5, 32], [2, 2, 8, 288], [5, 4, 16, 320], [1, 8, 9, 96], [2, 5, 3, 2880]]
    {
        check_down_of(program, shape);
    }
}

fn check_tiles_of(program: &Program, has_sources: bool, fill: Fill, [n, k]: [usize; 2]) {
    // Expert, first slot, slots: of one, of some, and of all that a tile has room for.
    let tiles = [[4_u32, 0, 3, 0], [0, 3, 32, 0], [2, 35, 1, 0], [1, 36, 17, 0]];
    let (slots, inputs) = (53, if has_sources { 20 } else { 53 });
    let mut rng = Rng((n * k) as u64);
    let weights = Experts::new(&mut rng, &[4, 0, 2, 1], n, k);
    let sources: Vec<u32> =
        (0..slots).map(|slot| if has_sources { rng.below(inputs) as u32 } else { slot as u32 }).collect();
    let x = fill.floats(&mut rng, inputs * k);
    let quantized: Vec<_> = x.chunks(k).map(|x| quantize_about_middles(Fma::Fused, x)).collect();
    let (values, beside) = stored_about_middles(&quantized.concat());
    let mut job = Job::default();
    let out = job.poisoned(slots * n);
    let buffers = [
        out,
        job.holding(&weights.codes),
        job.holding(&weights.scales),
        job.holding(&values),
        job.holding(&beside),
        job.holding(&sources),
        job.holding(&tiles),
        job.holding(&weights.bias),
        job.holding(&[n.div_ceil(64) as u32, tiles.len() as u32, 1]),
    ];
    let constants = [n, k / 32, usize::from(has_sources)].map(|size| size as u32);
    // Two blocks more than there are tiles.
    let grid = [n.div_ceil(64) as u32, tiles.len() as u32 + 2, 1];
    job.dispatch("tile_mxfp4_int8", &buffers, &constants, grid);
    let expert_of = |slot: usize| tiles.iter().rfind(|tile| tile[1] as usize <= slot).unwrap()[0];
    let expected: Vec<f32> = (0..slots)
        .flat_map(|slot| weights.product(Fma::Fused, expert_of(slot), &quantized[sources[slot] as usize]))
        .collect();
    job.run(program, |run| {
        let what = ("tile_mxfp4_int8", has_sources, fill, [n, k], run.way);
        assert_bits(&run.read(out, slots * n), &expected, &what);
    });
}

/// `tile_mxfp4_int8`.
pub fn check_tiles(program: &Program) {
    for (has_sources, shape) in [(true, [64, 32]), (false, [130, 288]), (true, [17, 544])] {
        check_tiles_of(program, has_sources, Fill::Random, shape);
    }
    check_tiles_of(program, true, Fill::NonFinite, [9, 320]);
}

/// What a product's activations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inputs {
    Int8,
    Int8Parts,
}

/// A product and its expected numbers, with or without bias and addition, into a job.
struct Dense {
    job: Job,
    out: Handle,
    bias: Handle,
    has_bias: bool,
    adds: bool,
    before: Vec<f32>,
    bias_numbers: Vec<f32>,
}

impl Dense {
    fn new(rng: &mut Rng, t: usize, n: usize) -> Dense {
        let (before, bias_numbers) = (rng.floats(t * n), rng.floats(n));
        let (has_bias, adds) = (rng.below(4) > 0, rng.below(2) == 0);
        let mut job = Job::default();
        let out = if adds { job.holding(&before) } else { job.poisoned(t * n) };
        let bias = job.holding(&bias_numbers);
        Dense { job, out, bias, has_bias, adds, before, bias_numbers }
    }

    fn bias_of(&self, row: usize) -> Option<f32> {
        self.has_bias.then(|| self.bias_numbers[row])
    }

    /// Runs `kernel` in the variant for its rows, and compares.
    fn check(
        mut self,
        program: &Program,
        kernel: &str,
        [t, n, k, parts]: [usize; 4],
        inputs: &[Handle],
        product: impl Fn(usize, usize) -> f32,
    ) {
        let mut buffers = vec![self.out, self.bias];
        buffers.extend(inputs);
        let flags = [self.has_bias, self.adds].map(usize::from);
        let is_tile = kernel == "tile_int8_int8";
        let constants =
            [n, if is_tile { k / 32 } else { k }, t, parts, flags[0], flags[1]].map(|size| size as u32);
        if is_tile {
            let grid = [(t * parts).div_ceil(32) as u32, n.div_ceil(64) as u32, 1];
            self.job.dispatch(kernel, &buffers, &constants, grid);
        } else {
            let most = 8 / parts;
            let variant = (t.min(most) * parts).next_power_of_two();
            let grid = [n.div_ceil(8) as u32, t.div_ceil(most) as u32, 1];
            self.job.dispatch(&format!("{kernel}_{variant}"), &buffers, &constants, grid);
        }
        let outputs = (0..t).flat_map(|token| (0..n).map(move |row| (token, row)));
        let mut expected: Vec<f32> = outputs.map(|(token, row)| product(token, row)).collect();
        if self.adds {
            expected.iter_mut().zip(&self.before).for_each(|(out, before)| *out += before);
        }
        let what = (kernel, [t, n, k, parts], self.has_bias, self.adds);
        self.job.run(program, |run| assert_bits(&run.read(self.out, t * n), &expected, &(what, run.way)));
    }
}

/// Numbers of Q8_0, some of whose scales are subnormal halves.
fn int8_weights(rng: &mut Rng, n: usize, k: usize) -> (Vec<i8>, Vec<f16>) {
    let values = (0..n * k).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
    let scale = |rng: &mut Rng| f16::from_f32((rng.unit() + 1.1) * [1e-2, 1e-3, 1e-6][rng.below(3)]);
    (values, (0..n * k / 32).map(|_| scale(rng)).collect())
}

fn check_int8_of(program: &Program, kernel: &str, inputs: Inputs, fill: Fill, [t, n, k]: [usize; 3]) {
    let mut rng = Rng((t * n * k) as u64);
    let (values, scales) = int8_weights(&mut rng, n, k);
    let x = fill.floats(&mut rng, t * k);
    let mut dense = Dense::new(&mut rng, t, n);
    let rows: Vec<[Vec<Int8Block>; 2]> =
        x.chunks(k)
            .map(|x| {
                if inputs == Inputs::Int8 { [quantize(x), Vec::new()] } else { quantize_parts(Fma::Fused, x) }
            })
            .collect();
    let blocks = [0, 1].map(|part| rows.iter().flat_map(|parts| parts[part].clone()).collect::<Vec<_>>());
    let (x_values, x_scales) = stored_plain(&blocks.concat());
    let handles = [
        dense.job.holding(&values),
        dense.job.holding(&scales.iter().map(|scale| scale.to_bits()).collect::<Vec<_>>()),
        dense.job.holding(&x_values),
        dense.job.holding(&x_scales),
    ];
    let scales: Vec<f32> = scales.iter().map(|scale| scale.to_f32()).collect();
    let biases: Vec<Option<f32>> = (0..n).map(|row| dense.bias_of(row)).collect();
    let parts = if inputs == Inputs::Int8 { 1 } else { 2 };
    dense.check(program, kernel, [t, n, k, parts], &handles, |token, row| {
        let w = Int8Row { values: &values[row * k..][..k], scales: &scales[row * k / 32..][..k / 32] };
        match inputs {
            Inputs::Int8 => w.times_int8(Fma::Fused, &rows[token][0], biases[row].unwrap_or(0.0)),
            Inputs::Int8Parts => w.times_parts(Fma::Fused, &rows[token], biases[row]),
        }
    });
}

const DENSE_SHAPES: [[usize; 3]; 8] = [
    [1, 1, 32],
    [2, 17, 96],
    [3, 32, 288],
    [4, 9, 256],
    [5, 16, 320],
    [9, 12, 64],
    [8, 33, 128],
    [1, 20, 2880],
];

/// `gemv_int8_int8`.
pub fn check_int8(program: &Program) {
    for inputs in [Inputs::Int8, Inputs::Int8Parts] {
        for shape in DENSE_SHAPES {
            check_int8_of(program, "gemv_int8_int8", inputs, Fill::Random, shape);
        }
        for fill in [Fill::NegativeZeros, Fill::Tiny, Fill::NonFinite] {
            check_int8_of(program, "gemv_int8_int8", inputs, fill, [3, 9, 320]);
        }
    }
}

/// `tile_int8_int8`.
pub fn check_int8_tiles(program: &Program) {
    for inputs in [Inputs::Int8, Inputs::Int8Parts] {
        for shape in [[5, 9, 96], [16, 64, 32], [17, 130, 320], [33, 5, 288]] {
            check_int8_of(program, "tile_int8_int8", inputs, Fill::Random, shape);
        }
        check_int8_of(program, "tile_int8_int8", inputs, Fill::NonFinite, [9, 9, 320]);
    }
}

/// `gemv_f32_f32`, `gemv_bf16_f32` and `gemv_int8_f32`.
pub fn check_floats(program: &Program) {
    let odd = [[1, 5, 7], [3, 9, 13], [4, 37, 100], [7, 8, 1]];
    for [t, n, k] in DENSE_SHAPES.into_iter().chain(odd) {
        for form in ["gemv_f32_f32", "gemv_bf16_f32", "gemv_int8_f32"] {
            if form == "gemv_int8_f32" && !k.is_multiple_of(32) {
                continue;
            }
            let mut rng = Rng((t * n * k) as u64);
            let x = rng.floats(t * k);
            let mut dense = Dense::new(&mut rng, t, n);
            let mut handles = vec![dense.job.holding(&x)];
            let weights: Vec<f32> = match form {
                "gemv_f32_f32" => {
                    let values = rng.floats(n * k);
                    handles.push(dense.job.holding(&values));
                    values
                }
                "gemv_bf16_f32" => {
                    let values: Vec<bf16> = rng.floats(n * k).into_iter().map(bf16::from_f32).collect();
                    handles.push(dense.job.holding(&values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()));
                    values.iter().map(|value| value.to_f32()).collect()
                }
                _ => {
                    let (values, scales) = int8_weights(&mut rng, n, k);
                    handles.push(dense.job.holding(&values));
                    handles.push(dense.job.holding(&scales.iter().map(|s| s.to_bits()).collect::<Vec<_>>()));
                    values.iter().enumerate().map(|(i, v)| f32::from(*v) * scales[i / 32].to_f32()).collect()
                }
            };
            let biases: Vec<f32> = (0..n).map(|row| dense.bias_of(row).unwrap_or(0.0)).collect();
            dense.check(program, form, [t, n, k, 1], &handles, |token, row| {
                times_f32(Fma::Fused, &x[token * k..][..k], &weights[row * k..][..k], biases[row])
            });
        }
    }
}

#[test]
fn products_with_experts_are_the_cpus() {
    on_host(check_experts);
    on_host(check_experts_f32);
    on_host(check_down);
    on_host(check_tiles);
}

#[test]
fn products_with_int8_are_the_cpus() {
    on_host(check_int8);
    on_host(check_int8_tiles);
}

#[test]
fn products_with_floats_are_the_cpus() {
    on_host(check_floats);
}
