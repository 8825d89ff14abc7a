//! Norms, quantization, SwiGLU, the router's choice and what experts add to a token.

use crate::numbers::{FILLS, Fill, Rng, assert_bits};
use crate::program::{Handle, Job, Program, Run, on_host};
use crate::reference::Fma;
use crate::reference::floats::{rmsnorm, swiglu};
use crate::reference::numbers::exp;
use crate::reference::quantized::{
    Int8Block, quantize, quantize_about_middles, quantize_parts, stored_plain,
};
use crate::reference::routing::{combine, top_k_softmax};

const EPS: f32 = 1e-5;
const SHAPES: [(usize, usize); 5] = [(1, 32), (3, 288), (9, 96), (2, 2880), (1, 4160)];

/// The bytes of blocks for MXFP4, in their order, and what stands beside them.
pub fn stored_about_middles(blocks: &[Int8Block]) -> (Vec<i8>, Vec<[u32; 2]>) {
    (blocks.iter().flat_map(|block| block.values).collect(), blocks.iter().map(Int8Block::beside).collect())
}

fn assert_plain(
    run: &Run<'_>,
    [values, scales]: [Handle; 2],
    blocks: &[Int8Block],
    what: &dyn std::fmt::Debug,
) {
    let (expected, of_blocks) = stored_plain(blocks);
    assert_bits(&run.read(scales, of_blocks.len()), &of_blocks, what);
    assert!(run.read::<i8>(values, expected.len()) == expected, "{what:?}: values");
}

fn assert_about_middles(
    run: &Run<'_>,
    [values, beside]: [Handle; 2],
    blocks: &[Int8Block],
    what: &dyn std::fmt::Debug,
) {
    let (expected, of_blocks) = stored_about_middles(blocks);
    let found: Vec<[u32; 2]> = run.read(beside, of_blocks.len());
    let scales =
        |beside: &[[u32; 2]]| beside.iter().map(|words| f32::from_bits(words[0])).collect::<Vec<_>>();
    assert_bits(&scales(&found), &scales(&of_blocks), what);
    assert!(found.iter().zip(&of_blocks).all(|(found, expected)| found[1] == expected[1]), "{what:?}: sums");
    assert!(run.read::<i8>(values, expected.len()) == expected, "{what:?}: values");
}

fn in_parts(rows: &[&[f32]], parts: usize) -> Vec<Int8Block> {
    if parts == 1 {
        return rows.iter().flat_map(|x| quantize(x)).collect();
    }
    let parts: Vec<_> = rows.iter().map(|x| quantize_parts(Fma::Fused, x)).collect();
    [0, 1].map(|part| parts.iter().flat_map(|parts| parts[part].clone()).collect::<Vec<_>>()).concat()
}

fn shapes_and_fills() -> impl Iterator<Item = (usize, usize, Fill)> {
    let random = SHAPES.into_iter().map(|(t, k)| (t, k, Fill::Random));
    random.chain(FILLS.into_iter().map(|fill| (3, 320, fill)))
}

/// `rmsnorm`, `rmsnorm_int8` and `rmsnorm_middles`.
pub fn check_norms(program: &Program) {
    for (t, c, fill) in shapes_and_fills() {
        let mut rng = Rng((t * c) as u64);
        let (x, weight) = (fill.floats(&mut rng, t * c), rng.floats(c));
        let normed: Vec<f32> = x.chunks(c).flat_map(|x| rmsnorm(Fma::Fused, x, &weight, EPS)).collect();
        let rows: Vec<&[f32]> = normed.chunks(c).collect();
        let mut job = Job::default();
        let [input, weights] = [&x, &weight].map(|numbers| job.holding(numbers));
        let [c_word, eps, blocks] = [c as u32, EPS.to_bits(), (t * c / 32) as u32];
        let (grid, out) = ([t as u32, 1, 1], job.poisoned(t * c));
        job.dispatch("rmsnorm", &[input, weights, out], &[c_word, eps], grid);
        let plain = [1, 2].map(|parts: usize| {
            let rooms = [job.poisoned(parts * t * c / 4), job.poisoned(parts * t * c / 32)];
            let constants = [c_word, eps, blocks, parts as u32];
            job.dispatch("rmsnorm_int8", &[rooms[0], rooms[1], input, weights], &constants, grid);
            rooms
        });
        let (middles, floats) = ([job.poisoned(t * c / 4), job.poisoned(t * c / 16)], job.poisoned(t * c));
        job.dispatch(
            "rmsnorm_middles",
            &[middles[0], middles[1], input, weights, floats],
            &[c_word, eps],
            grid,
        );
        let about: Vec<_> = rows.iter().flat_map(|x| quantize_about_middles(Fma::Fused, x)).collect();
        job.run(program, |run| {
            let what = ("rmsnorm", t, c, fill, run.way);
            assert_bits(&run.read(out, t * c), &normed, &what);
            assert_bits(&run.read(floats, t * c), &normed, &what);
            assert_plain(run, plain[0], &in_parts(&rows, 1), &what);
            assert_plain(run, plain[1], &in_parts(&rows, 2), &what);
            assert_about_middles(run, middles, &about, &what);
        });
    }
}

/// `quantize_int8`.
pub fn check_quantize(program: &Program) {
    for (t, k, fill) in shapes_and_fills() {
        let x = fill.floats(&mut Rng(k as u64), t * k);
        let rows: Vec<&[f32]> = x.chunks(k).collect();
        for parts in [1, 2] {
            let mut job = Job::default();
            let input = job.holding(&x);
            let rooms = [job.poisoned(parts * t * k / 4), job.poisoned(parts * t * k / 32)];
            let blocks = k / 32;
            let constants = [blocks, t * blocks, parts].map(|size| size as u32);
            let grid = [blocks.div_ceil(8) as u32, t as u32, 1];
            job.dispatch("quantize_int8", &[rooms[0], rooms[1], input], &constants, grid);
            let expected = in_parts(&rows, parts);
            job.run(program, |run| assert_plain(run, rooms, &expected, &("quantize", t, k, fill, run.way)));
        }
    }
}

/// `quantize_middles`.
pub fn check_about_middles(program: &Program) {
    for (t, k, fill) in shapes_and_fills() {
        let x = fill.floats(&mut Rng(k as u64), t * k);
        let mut job = Job::default();
        let input = job.holding(&x);
        let rooms = [job.poisoned(t * k / 4), job.poisoned(t * k / 16)];
        let (blocks, grid) = ((k / 32) as u32, [(k / 32).div_ceil(8) as u32, t as u32, 1]);
        job.dispatch("quantize_middles", &[rooms[0], rooms[1], input], &[blocks], grid);
        let expected = quantize_about_middles(Fma::Fused, &x);
        let what = ("quantize about middles", t, k, fill);
        job.run(program, |run| assert_about_middles(run, rooms, &expected, &(what, run.way)));
    }
}

/// `probe_floats`.
pub fn check_probe(program: &Program) {
    let mut rng = Rng(11);
    let numbers: Vec<[f32; 4]> =
        (0..200).map(|_| [rng.unit().abs(), rng.unit(), rng.unit(), 0.0].map(|x| x * 50.0)).collect();
    let expected =
        numbers.iter().flat_map(|[a, b, c, _]| [a / b, a.sqrt(), exp(Fma::Fused, *a), a.mul_add(*b, *c)]);
    let expected: Vec<f32> = expected.collect();
    let mut job = Job::default();
    let (input, out) = (job.holding(&numbers), job.poisoned(4 * numbers.len()));
    job.dispatch("probe_floats", &[out, input], &[numbers.len() as u32], [4, 1, 1]);
    job.run(program, |run| assert_bits(&run.read(out, expected.len()), &expected, &("probe", run.way)));
}

/// `swiglu`.
pub fn check_swiglu_f32(program: &Program) {
    for (t, f, fill) in shapes_and_fills() {
        let gate_up = fill.floats(&mut Rng(f as u64), 2 * t * f);
        let mut job = Job::default();
        let (input, out) = (job.holding(&gate_up), job.poisoned(t * f));
        let constants = [f as u32, 7.0_f32.to_bits(), 1.702_f32.to_bits()];
        job.dispatch("swiglu", &[input, out], &constants, [f.div_ceil(64) as u32, t as u32, 1]);
        let expected = swiglu(Fma::Fused, &gate_up, 7.0, 1.702);
        let what = ("swiglu", t, f, fill);
        job.run(program, |run| assert_bits(&run.read(out, t * f), &expected, &(what, run.way)));
    }
}

/// `swiglu_middles`.
pub fn check_swiglu(program: &Program) {
    let of_both_signs = shapes_and_fills().map(|case| (case, false));
    for ((t, f, fill), is_positive) in of_both_signs.chain([((2, 64, Fill::Random), true)]) {
        let (limit, alpha) = (7.0_f32, 1.702_f32);
        let mut gate_up = fill.floats(&mut Rng(f as u64), 2 * t * f);
        if is_positive {
            gate_up.iter_mut().for_each(|x| *x = x.abs());
        }
        let mut job = Job::default();
        let input = job.holding(&gate_up);
        let rooms = [job.poisoned(t * f / 4), job.poisoned(t * f / 16)];
        let constants = [(f / 32) as u32, limit.to_bits(), alpha.to_bits()];
        let grid = [(f / 32).div_ceil(8) as u32, t as u32, 1];
        job.dispatch("swiglu_middles", &[rooms[0], rooms[1], input], &constants, grid);
        let rows = gate_up.chunks(2 * f).map(|row| swiglu(Fma::Fused, row, limit, alpha));
        let expected: Vec<_> = rows.flat_map(|x| quantize_about_middles(Fma::Fused, &x)).collect();
        job.run(program, |run| assert_about_middles(run, rooms, &expected, &("swiglu", t, f, fill, run.way)));
    }
}

/// Awkward logits for T rows.
fn logits(t: usize, num_experts: usize, fill: Fill) -> Vec<f32> {
    let mut logits = fill.floats(&mut Rng((t * num_experts) as u64), t * num_experts);
    // Every third row has ties, zeros of both signs among them.
    for row in logits.chunks_mut(num_experts).step_by(3) {
        row.iter_mut().for_each(|logit| *logit = (*logit * 2.0).round());
    }
    logits
}

fn check_choice(program: &Program, t: usize, num_experts: usize, active: usize, logits: &[f32]) {
    let mut job = Job::default();
    let input = job.holding(logits);
    let [experts, weights] = [(); 2].map(|()| job.poisoned(t * active));
    let constants = [num_experts as u32, active as u32];
    job.dispatch("router_top_k", &[input, experts, weights], &constants, [t as u32, 1, 1]);
    let rows = logits.chunks(num_experts);
    let expected: Vec<_> = rows.map(|logits| top_k_softmax(Fma::Fused, logits, active)).collect();
    let chosen: Vec<u32> = expected.iter().flat_map(|(experts, _)| experts.clone()).collect();
    let shares: Vec<f32> = expected.iter().flat_map(|(_, weights)| weights.clone()).collect();
    job.run(program, |run| {
        let what = ("router", t, num_experts, active, run.way);
        assert_eq!(run.read::<u32>(experts, t * active), chosen, "{what:?}");
        assert_bits(&run.read(weights, t * active), &shares, &what);
    });
}

/// `router_top_k`.
pub fn check_router(program: &Program) {
    for (t, num_experts, active) in
        [(1, 32, 4), (9, 32, 4), (5, 128, 4), (3, 4, 1), (7, 8, 4), (2, 256, 8), (3, 5, 5), (2, 1, 1)]
    {
        for fill in [Fill::Random, Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
            check_choice(program, t, num_experts, active, &logits(t, num_experts, fill));
        }
    }
    check_choice(program, 2, 3, 2, &[f32::NAN; 6]);
}

/// `experts_collect`.
pub fn check_collect(program: &Program) {
    for (t, active, width, is_sorted) in
        [(1, 4, 96, false), (5, 4, 96, true), (3, 1, 64, true), (2, 2, 65, false), (3, 8, 2880, true)]
    {
        let mut rng = Rng((t * width + active) as u64);
        let (hidden, weights) = (rng.floats(t * width), rng.floats(t * active));
        let outputs = Fill::NonFinite.floats(&mut rng, t * active * width);
        let slots: Vec<u32> = rng.shuffled(t * active);
        let row = |assignment: usize| if is_sorted { slots[assignment] as usize } else { assignment };
        let mut expected = hidden.clone();
        for (token, hidden) in expected.chunks_mut(width).enumerate() {
            let of_token = token * active..(token + 1) * active;
            let rows: Vec<&[f32]> = of_token.clone().map(|a| &outputs[row(a) * width..][..width]).collect();
            combine(hidden, &rows, &weights[of_token]);
        }
        let mut job = Job::default();
        let buffers =
            [job.holding(&outputs), job.holding(&weights), job.holding(&slots), job.holding(&hidden)];
        let constants = [width as u32, active as u32, u32::from(is_sorted)];
        job.dispatch("experts_collect", &buffers, &constants, [width.div_ceil(64) as u32, t as u32, 1]);
        job.run(program, |run| {
            assert_bits(&run.read(buffers[3], t * width), &expected, &("collect", t, active, width, run.way));
        });
    }
}

#[test]
fn norms_are_the_cpus() {
    on_host(check_norms);
}

#[test]
fn quantized_rows_are_the_cpus() {
    on_host(check_quantize);
    on_host(check_about_middles);
    on_host(check_swiglu);
    on_host(check_swiglu_f32);
    on_host(check_probe);
}

#[test]
fn choices_and_the_way_back_are_the_cpus() {
    on_host(check_router);
    on_host(check_collect);
}
