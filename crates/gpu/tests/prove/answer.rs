//! The answer of each case by the reference: what a device has to give.

use gptoss_gpu::ops::EXPERT_ELSEWHERE;
use gptoss_gpu::prove::{
    Activation, Attending, Best, Case, Choice, Collection, Dense, EPS, ExpertWeights, Experts, MiddleNumbers,
    Norm, Op, Order, Output, Rotation, RowForm, Rows, SORT_GROUPS, SWIGLU_ALPHA, SWIGLU_LIMIT, Stored, Tiles,
    Weights, digest,
};
use half::f16;

use crate::reference::Fma;
use crate::reference::attention::{Cache, Heads, attend};
use crate::reference::floats::{rmsnorm, rotate, swiglu};
use crate::reference::numbers::{exp, widened};
use crate::reference::products::{Int8Row, Mxfp4Row, times_f32};
use crate::reference::quantized::{
    Int8Block, quantize, quantize_about_middles, quantize_parts, stored_plain,
};
use crate::reference::routing::{combine, sort, top_k_softmax};
use crate::reference::sampling::{best, softmax_sum};

/// The line of a case in `answers.txt`.
pub fn line(case: &Case) -> String {
    let [fused, split] = [Fma::Fused, Fma::Split].map(|fma| digest(&answer(case, fma)));
    format!("{case} {fused:016x} {split:016x}\n")
}

/// The outputs of a case.
pub fn answer(case: &Case, fma: Fma) -> Vec<Output> {
    let random = &mut case.random();
    match case.op {
        Op::Floats(op) => of_floats(fma, &op.inputs(random)),
        Op::Norm(op) => of_norm(fma, op, op.inputs(random)),
        Op::Quantization(op) => quantized(fma, op.form, &op.inputs(random)),
        Op::Activation(op) => of_activation(fma, op, &op.inputs(random)),
        Op::Dense(op) => of_dense(fma, op, case),
        Op::Experts(op) => of_experts(fma, op, case),
        Op::Tiles(op) => of_tiles(fma, op, case),
        Op::Rotation(op) => of_rotation(op, case),
        Op::Attending(op) => of_attending(fma, op, case),
        Op::Choice(op) => of_choice(fma, op, &op.inputs(random)),
        Op::Order(op) => of_order(op, &op.inputs(random)),
        Op::Collection(op) => of_collection(op, case),
        Op::Best(op) => of_best(fma, op, &op.inputs(random)),
    }
}

fn of_floats(fma: Fma, fours: &[[f32; 4]]) -> Vec<Output> {
    let of = |[a, b, c, _]: &[f32; 4]| [a / b, a.sqrt(), exp(fma, *a), fma.of(*a, *b, *c)];
    vec![Output::Floats(fours.iter().flat_map(of).collect())]
}

/// Bytes, four a word.
fn bytes(values: impl Iterator<Item = i8>) -> Output {
    let values: Vec<u8> = values.map(|value| value as u8).collect();
    let (words, rest) = values.as_chunks::<4>();
    assert!(rest.is_empty(), "whole words");
    Output::Words(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

fn int8(blocks: &[Int8Block]) -> Vec<Output> {
    let (values, scales) = stored_plain(blocks);
    vec![bytes(values.into_iter()), Output::Floats(scales)]
}

fn middles(blocks: &[Int8Block]) -> Vec<Output> {
    let halves = |block: &Int8Block| {
        let values = block.values;
        let half = move |odd: usize| (0..16).map(move |i| values[2 * i + odd]);
        half(0).chain(half(1))
    };
    let beside = blocks.iter().flat_map(Int8Block::beside).collect();
    vec![bytes(blocks.iter().flat_map(halves)), Output::Words(beside)]
}

fn quantized(fma: Fma, form: RowForm, x: &[f32]) -> Vec<Output> {
    match form {
        RowForm::F32 => vec![Output::Floats(x.to_vec())],
        RowForm::Int8 => int8(&quantize(x)),
        RowForm::Int8Parts => int8(&quantize_parts(fma, x).concat()),
        RowForm::Middles => middles(&quantize_about_middles(fma, x)),
    }
}

fn of_norm(fma: Fma, op: Norm, (x, weight): (Vec<f32>, Vec<f32>)) -> Vec<Output> {
    let rows = x.chunks(op.c as usize);
    let normed: Vec<f32> = rows.flat_map(|x| rmsnorm(fma, x, &weight, EPS)).collect();
    let mut outputs = quantized(fma, op.form, &normed);
    outputs.extend((op.form == RowForm::Middles).then_some(Output::Floats(normed)));
    outputs
}

fn of_activation(fma: Fma, op: Activation, gate_up: &[f32]) -> Vec<Output> {
    quantized(fma, op.form, &swiglu(fma, gate_up, SWIGLU_LIMIT, SWIGLU_ALPHA))
}

fn blocks_of(values: &[i8], scales: &[f32], middles: Option<&[i8]>) -> Vec<Int8Block> {
    let (blocks, _) = values.as_chunks::<32>();
    let block = |(b, values): (usize, &[i8; 32])| Int8Block {
        values: *values,
        middle: middles.map_or(0, |middles| middles[b]),
        scale: scales[b],
    };
    blocks.iter().enumerate().map(block).collect()
}

fn of_dense(fma: Fma, op: Dense, case: &Case) -> Vec<Output> {
    let [t, n, k] = op.tnk.map(|size| size as usize);
    let numbers = op.inputs(&mut case.random());
    let scales: Vec<f32> = match &numbers.weights {
        Weights::Int8(_, scales) => scales.iter().map(|bits| f16::from_bits(*bits).to_f32()).collect(),
        _ => Vec::new(),
    };
    let row = |row: usize| match &numbers.weights {
        Weights::F32(values) => values[row * k..][..k].to_vec(),
        Weights::Bf16(values) => values[row * k..][..k].iter().map(|bits| widened(*bits)).collect(),
        Weights::Int8(values, _) => {
            Int8Row { values: &values[row * k..][..k], scales: &scales[row * k / 32..][..k / 32] }.values()
        }
    };
    let mut out = Vec::with_capacity(t * n);
    for token in 0..t {
        for output in 0..n {
            let bias = op.has_bias.then_some(numbers.bias[output]);
            out.push(match (&numbers.rows, &numbers.weights) {
                (Rows::F32(x), _) => times_f32(fma, &x[token * k..][..k], &row(output), bias.unwrap_or(0.0)),
                (Rows::Int8(x, x_scales), Weights::Int8(values, _)) => {
                    let w = Int8Row {
                        values: &values[output * k..][..k],
                        scales: &scales[output * k / 32..][..k / 32],
                    };
                    let part =
                        |row: usize| blocks_of(&x[row * k..][..k], &x_scales[row * k / 32..][..k / 32], None);
                    match op.rows {
                        RowForm::Int8Parts => w.times_parts(fma, &[part(token), part(t + token)], bias),
                        _ => w.times_int8(fma, &part(token), bias.unwrap_or(0.0)),
                    }
                }
                _ => unreachable!("int8 rows meet int8 weights"),
            });
        }
    }
    if op.adds {
        out.iter_mut().zip(&numbers.before).for_each(|(out, before)| *out += before);
    }
    vec![Output::Floats(out)]
}

/// A row of an expert's matrix.
fn expert_row(weights: &ExpertWeights, row: usize, k: usize) -> Mxfp4Row<'_> {
    Mxfp4Row {
        codes: &weights.codes[row * k / 2..][..k / 2],
        scales: &weights.code_scales[row * k / 32..][..k / 32],
    }
}

fn blocks_about_middles(numbers: &MiddleNumbers) -> Vec<Int8Block> {
    blocks_of(&numbers.values, &numbers.scales, Some(&numbers.middles))
}

fn of_experts(fma: Fma, op: Experts, case: &Case) -> Vec<Output> {
    let [_, share, n, k] = op.sizes.map(|size| size as usize);
    let numbers = op.inputs(&mut case.random());
    let blocks = blocks_about_middles(&numbers.int8);
    let mut out = numbers.before;
    for (r, (expert, out)) in numbers.experts.iter().zip(out.chunks_mut(n)).enumerate() {
        if *expert == EXPERT_ELSEWHERE {
            continue;
        }
        let token = r / share;
        for (row, out) in (*expert as usize * n..).zip(out) {
            let (w, bias) = (expert_row(&numbers.weights, row, k), numbers.weights.bias[row]);
            let product = match op.rows {
                RowForm::F32 => times_f32(fma, &numbers.x[token * k..][..k], &w.values(), bias),
                _ => w.times_int8(fma, &blocks[token * k / 32..][..k / 32], bias),
            };
            *out = if op.adds { product + *out } else { product };
        }
    }
    vec![Output::Floats(out)]
}

fn of_tiles(fma: Fma, op: Tiles, case: &Case) -> Vec<Output> {
    let [n, k] = op.nk.map(|size| size as usize);
    let numbers = op.inputs(&mut case.random());
    let blocks = blocks_about_middles(&numbers.x);
    let mut out = Vec::new();
    for (expert, source) in numbers.experts.iter().zip(&numbers.sources) {
        let x = &blocks[*source as usize * k / 32..][..k / 32];
        let product =
            |row: usize| expert_row(&numbers.weights, row, k).times_int8(fma, x, numbers.weights.bias[row]);
        out.extend((*expert as usize * n..).take(n).map(product));
    }
    out.extend(vec![f32::NAN; n]);
    vec![Output::Floats(out)]
}

fn cache(stored: Stored) -> Cache {
    match stored {
        Stored::F32(numbers) => Cache::F32(numbers),
        Stored::Bf16(bits) => Cache::Bf16(bits),
        Stored::Int8(values, scales) => Cache::Int8 { values, scales },
    }
}

fn stored(cache: Cache) -> Vec<Output> {
    match cache {
        Cache::Bf16(bits) => {
            let (pairs, _) = bits.as_chunks::<2>();
            let word = |[low, high]: &[u16; 2]| u32::from(*low) | u32::from(*high) << 16;
            vec![Output::Words(pairs.iter().map(word).collect())]
        }
        Cache::Int8 { values, scales } => vec![bytes(values.into_iter()), Output::Floats(scales)],
        Cache::F32(numbers) => vec![Output::Floats(numbers)],
    }
}

fn of_rotation(op: Rotation, case: &Case) -> Vec<Output> {
    let [heads, kv_heads, d] = op.layer.heads.map(|size| size as usize);
    let numbers = op.inputs(&mut case.random());
    let (mut q, mut k) = (numbers.q, numbers.k);
    let placement = &numbers.placement;
    let mut caches = [(); 2].map(|()| cache(op.layer.nothing(placement.num_rows)));
    for (row, sequence) in placement.sequences.iter().enumerate() {
        let Some(sequence) = sequence else { continue };
        let (pairs, _) = numbers.angles[row * d..][..d].as_chunks::<2>();
        let angles: Vec<(f32, f32)> = pairs.iter().map(|[cosine, sine]| (*cosine, *sine)).collect();
        rotate(&mut q[row * heads * d..][..heads * d], &angles);
        let place = row * kv_heads * d..(row + 1) * kv_heads * d;
        rotate(&mut k[place.clone()], &angles);
        let position = placement.places[row].position as usize;
        let to = placement.cache_rows[*sequence][position] as usize;
        caches[0].write(to, &k[place.clone()], d);
        caches[1].write(to, &numbers.v[place], d);
    }
    let [keys, values] = caches.map(stored);
    [vec![Output::Floats(q)], keys, values].concat()
}

fn of_attending(fma: Fma, op: Attending, case: &Case) -> Vec<Output> {
    let [heads, kv_heads, d] = op.layer.heads.map(|size| size as usize);
    let numbers = op.inputs(&mut case.random());
    let shared = Heads {
        num_query_heads: heads,
        num_kv_heads: kv_heads,
        head_dim: d,
        window: op.window.map(|window| window as usize),
        sinks: &numbers.sinks,
    };
    let (keys, values) = (cache(numbers.keys), cache(numbers.values));
    let of_row = |(row, sequence): (usize, &Option<usize>)| match sequence {
        None => vec![0.0; heads * d],
        Some(sequence) => {
            let rows: Vec<usize> =
                numbers.placement.cache_rows[*sequence].iter().map(|row| *row as usize).collect();
            let position = numbers.placement.places[row].position as usize;
            attend(
                fma,
                &shared,
                &numbers.q[row * heads * d..][..heads * d],
                (&keys, &values),
                &rows,
                position,
            )
        }
    };
    vec![Output::Floats(numbers.placement.sequences.iter().enumerate().flat_map(of_row).collect())]
}

fn of_choice(fma: Fma, op: Choice, logits: &[f32]) -> Vec<Output> {
    let rows = logits.chunks(op.num_experts as usize);
    let (experts, weights): (Vec<_>, Vec<_>) =
        rows.map(|logits| top_k_softmax(fma, logits, op.active as usize)).unzip();
    vec![Output::Words(experts.concat()), Output::Floats(weights.concat())]
}

fn of_order(op: Order, experts: &[u32]) -> Vec<Output> {
    let sorted = sort(experts, op.active as usize, op.num_experts as usize, op.tile_rows as usize);
    let num_tiles = sorted.tiles.len() as u32;
    let mut tiles: Vec<u32> =
        sorted.tiles.iter().flat_map(|[expert, first, count]| [*expert, *first, *count, 0]).collect();
    tiles.extend([u32::MAX; 4]);
    assert_eq!(tiles.len() as u32, 4 * op.num_tiles(experts));
    let dispatches = SORT_GROUPS.iter().flat_map(|groups| [*groups, num_tiles, 1]).collect();
    [sorted.slot_of_assignment, sorted.token_of_slot, tiles, dispatches].map(Output::Words).to_vec()
}

fn of_collection(op: Collection, case: &Case) -> Vec<Output> {
    let (active, width) = (op.active as usize, op.width as usize);
    let numbers = op.inputs(&mut case.random());
    let mut hidden = numbers.hidden;
    for (token, hidden) in hidden.chunks_mut(width).enumerate() {
        let of_token = token * active..(token + 1) * active;
        let slots = numbers.slots[of_token.clone()].iter();
        let rows: Vec<&[f32]> =
            slots.map(|slot| &numbers.outputs[*slot as usize * width..][..width]).collect();
        combine(hidden, &rows, &numbers.weights[of_token]);
    }
    vec![Output::Floats(hidden)]
}

fn of_best(fma: Fma, op: Best, (logits, mask): &(Vec<f32>, Vec<u32>)) -> Vec<Output> {
    let (count, words) = (op.count as usize, op.mask_words as usize);
    let (mut tokens, mut sums) = (Vec::new(), Vec::new());
    for (row, logits) in logits.chunks(op.vocab as usize).enumerate() {
        let mask = (words > 0).then(|| &mask[row * words..][..words]);
        let found = best(logits, mask, count);
        let rest = count - found.len();
        tokens.extend(found.into_iter().flat_map(|token| [token, logits[token as usize].to_bits()]));
        tokens.extend([u32::MAX, f32::NEG_INFINITY.to_bits()].repeat(rest));
        let ((m, l), (allowed_m, allowed_l)) =
            (softmax_sum(fma, logits, None), softmax_sum(fma, logits, mask));
        sums.extend([m, l, allowed_m, allowed_l]);
    }
    vec![Output::Words(tokens), Output::Floats(sums)]
}
