//! The cases: a line a case, by kernel.

use crate::prove::cache::{Attending, KvForm, Layer, Rotation};
use crate::prove::products::{Dense, Experts, WeightForm};
use crate::prove::routing::{Best, Choice, Collection, Order};
use crate::prove::rows::{Activation, Floats, Norm, Quantization, RowForm};
use crate::prove::tiles::Tiles;
use crate::prove::{Case, Op};

/// One that is run at the start too.
const fn start(kernel: &'static str, what: &'static str, op: Op) -> Case {
    Case { kernel, what, at_start: true, op }
}

/// One that takes longer, or that models use seldom.
const fn case(kernel: &'static str, what: &'static str, op: Op) -> Case {
    Case { kernel, what, at_start: false, op }
}

const fn norm(t: u32, c: u32, form: RowForm) -> Op {
    Op::Norm(Norm { t, c, form })
}

const fn quantization(t: u32, k: u32, form: RowForm) -> Op {
    Op::Quantization(Quantization { t, k, form })
}

const fn activation(t: u32, f: u32, form: RowForm) -> Op {
    Op::Activation(Activation { t, f, form })
}

/// With a bias.
const fn dense(weight: WeightForm, rows: RowForm, tnk: [u32; 3]) -> Op {
    Op::Dense(Dense { weight, rows, tnk, has_bias: true, adds: false })
}

/// With a bias, added to the output.
const fn added(weight: WeightForm, rows: RowForm, tnk: [u32; 3]) -> Op {
    Op::Dense(Dense { weight, rows, tnk, has_bias: true, adds: true })
}

/// Without a bias.
const fn bare(weight: WeightForm, rows: RowForm, tnk: [u32; 3]) -> Op {
    Op::Dense(Dense { weight, rows, tnk, has_bias: false, adds: false })
}

const fn experts(rows: RowForm, sizes: [u32; 4], adds: bool) -> Op {
    Op::Experts(Experts { rows, sizes, adds })
}

const fn tiles(counts: [u32; 4], num_inputs: Option<u32>, nk: [u32; 2]) -> Op {
    Op::Tiles(Tiles { counts, num_inputs, nk })
}

/// The published models' heads, in blocks.
const fn blocks(form: KvForm, parts: &'static [(u32, u32)]) -> Layer {
    Layer { heads: [64, 8, 64], form, ring_rows: None, parts }
}

/// A quarter of theirs, for caches that take less time to fill.
const fn quarter(form: KvForm, parts: &'static [(u32, u32)]) -> Layer {
    Layer { heads: [16, 2, 64], form, ring_rows: None, parts }
}

/// The query heads of one kv head of theirs.
const fn group(form: KvForm, parts: &'static [(u32, u32)]) -> Layer {
    Layer { heads: [8, 1, 64], form, ring_rows: None, parts }
}

/// The heads of a small model, in rings of its window and a few rows.
const fn rings(form: KvForm, parts: &'static [(u32, u32)]) -> Layer {
    Layer { heads: [4, 2, 32], form, ring_rows: Some(135), parts }
}

const fn rotation(layer: Layer) -> Op {
    Op::Rotation(Rotation { layer })
}

const fn in_turn(layer: Layer, window: Option<u32>) -> Op {
    Op::Attending(Attending { layer, window, is_apart: false })
}

const fn apart(layer: Layer, window: Option<u32>) -> Op {
    Op::Attending(Attending { layer, window, is_apart: true })
}

const fn best(rows: u32, vocab: u32, count: u32, mask_words: u32) -> Op {
    Op::Best(Best { rows, vocab, count, mask_words })
}

/// Single rows at the edges of blocks and spans.
const EDGES: &[(u32, u32)] = &[(0, 1), (31, 1), (32, 1), (510, 3), (1023, 2), (1500, 1)];
/// Two rows, one of which sees two spans.
const FEW: &[(u32, u32)] = &[(5, 1), (520, 1)];
/// Several rows of a sequence, one, and one that is nobody's.
const MIXED: &[(u32, u32)] = &[(30, 5), (0, 1), (0, 0), (511, 2)];
/// Likewise, in few blocks.
const SHORT: &[(u32, u32)] = &[(30, 5), (0, 1), (0, 0), (63, 2)];
/// Where a window of 128 and a ring of 135 turn over.
const TURNS: &[(u32, u32)] = &[(0, 1), (126, 4), (134, 3), (0, 0), (513, 1), (640, 1)];

const F32: WeightForm = WeightForm::F32;
const BF16: WeightForm = WeightForm::Bf16;
const INT8: WeightForm = WeightForm::Int8;
const FLOATS: RowForm = RowForm::F32;
const ONE_PART: RowForm = RowForm::Int8;
const TWO_PARTS: RowForm = RowForm::Int8Parts;
const MIDDLES: RowForm = RowForm::Middles;

/// All cases. Each kernel has one at least.
pub const TABLE: &[Case] = &[
    start("probe_floats", "4000", Op::Floats(Floats { count: 4000 })),
    start("rmsnorm", "2x2880", norm(2, 2880, FLOATS)),
    case("rmsnorm", "3x63", norm(3, 63, FLOATS)),
    case("rmsnorm", "1x5000", norm(1, 5000, FLOATS)),
    start("rmsnorm_int8", "2x2880-parts", norm(2, 2880, TWO_PARTS)),
    case("rmsnorm_int8", "9x288", norm(9, 288, ONE_PART)),
    start("rmsnorm_middles", "2x2880", norm(2, 2880, MIDDLES)),
    case("rmsnorm_middles", "9x320", norm(9, 320, MIDDLES)),
    start("quantize_int8", "2x4096", quantization(2, 4096, ONE_PART)),
    case("quantize_int8", "9x96-parts", quantization(9, 96, TWO_PARTS)),
    case("quantize_middles", "9x320", quantization(9, 320, MIDDLES)),
    case("swiglu", "3x2880", activation(3, 2880, FLOATS)),
    start("swiglu_middles", "4x2880", activation(4, 2880, MIDDLES)),
    start("gemv_f32_f32_1", "1x32x2880", dense(F32, FLOATS, [1, 32, 2880])),
    case("gemv_f32_f32_1", "1x5x63", bare(F32, FLOATS, [1, 5, 63])),
    case("gemv_f32_f32_2", "2x9x288-added", added(F32, FLOATS, [2, 9, 288])),
    case("gemv_f32_f32_4", "4x7x96", dense(F32, FLOATS, [4, 7, 96])),
    case("gemv_f32_f32_8", "9x17x288", dense(F32, FLOATS, [9, 17, 288])),
    start("gemv_bf16_f32_1", "1x33x2880", dense(BF16, FLOATS, [1, 33, 2880])),
    case("gemv_bf16_f32_1", "1x5x63", bare(BF16, FLOATS, [1, 5, 63])),
    case("gemv_bf16_f32_2", "2x9x288-added", added(BF16, FLOATS, [2, 9, 288])),
    case("gemv_bf16_f32_4", "3x7x96", dense(BF16, FLOATS, [3, 7, 96])),
    start("gemv_bf16_f32_8", "9x17x288", dense(BF16, FLOATS, [9, 17, 288])),
    case("gemv_int8_f32_1", "1x33x2880", dense(INT8, FLOATS, [1, 33, 2880])),
    case("gemv_int8_f32_2", "2x9x288-added", added(INT8, FLOATS, [2, 9, 288])),
    case("gemv_int8_f32_4", "4x7x96", bare(INT8, FLOATS, [4, 7, 96])),
    case("gemv_int8_f32_8", "9x17x288", dense(INT8, FLOATS, [9, 17, 288])),
    start("gemv_int8_int8_1", "1x33x2880-added", added(INT8, ONE_PART, [1, 33, 2880])),
    start("gemv_int8_int8_2", "1x33x2880-parts", dense(INT8, TWO_PARTS, [1, 33, 2880])),
    case("gemv_int8_int8_2", "2x9x288", dense(INT8, ONE_PART, [2, 9, 288])),
    case("gemv_int8_int8_4", "2x7x96-parts", bare(INT8, TWO_PARTS, [2, 7, 96])),
    case("gemv_int8_int8_4", "3x9x544", dense(INT8, ONE_PART, [3, 9, 544])),
    start("gemv_int8_int8_8", "4x17x288-parts", dense(INT8, TWO_PARTS, [4, 17, 288])),
    case("gemv_int8_int8_8", "7x9x320", added(INT8, ONE_PART, [7, 9, 320])),
    start("tile_int8_int8", "9x66x96", dense(INT8, ONE_PART, [9, 66, 96])),
    case("tile_int8_int8", "33x5x1056-added", added(INT8, ONE_PART, [33, 5, 1056])),
    start("tile_int8_int8", "17x70x320-parts", bare(INT8, TWO_PARTS, [17, 70, 320])),
    case("gemv_mxfp4_f32", "2x4x17x2880", experts(FLOATS, [2, 4, 17, 2880], false)),
    case("gemv_mxfp4_f32", "9x4x16x320-added", experts(FLOATS, [9, 4, 16, 320], true)),
    start("gemv_mxfp4_int8", "2x4x17x2880", experts(MIDDLES, [2, 4, 17, 2880], false)),
    case("gemv_mxfp4_int8", "9x4x16x320-added", experts(MIDDLES, [9, 4, 16, 320], true)),
    start("tile_mxfp4_int8", "41x17x320", tiles([5, 0, 3, 33], None, [17, 320])),
    start("tile_mxfp4_int8", "70of20x66x1056", tiles([33, 0, 36, 1], Some(20), [66, 1056])),
    start("rope_f32", "short", rotation(blocks(KvForm::F32, SHORT))),
    case("rope_f32", "rings", rotation(rings(KvForm::F32, TURNS))),
    start("rope_bf16", "short", rotation(blocks(KvForm::Bf16, SHORT))),
    case("rope_bf16", "rings", rotation(rings(KvForm::Bf16, TURNS))),
    start("rope_int8", "short", rotation(blocks(KvForm::Int8, SHORT))),
    case("rope_int8", "rings", rotation(rings(KvForm::Int8, TURNS))),
    case("attention_rows_f32", "few", in_turn(quarter(KvForm::F32, FEW), None)),
    start("attention_rows_f32", "rings", in_turn(rings(KvForm::F32, TURNS), Some(128))),
    case("attention_rows_f32", "edges", in_turn(group(KvForm::F32, EDGES), None)),
    start("attention_rows_bf16", "few", in_turn(quarter(KvForm::Bf16, FEW), None)),
    start("attention_rows_bf16", "rings", in_turn(rings(KvForm::Bf16, TURNS), Some(128))),
    case("attention_rows_bf16", "edges", in_turn(group(KvForm::Bf16, EDGES), None)),
    case("attention_rows_bf16", "mixed", in_turn(blocks(KvForm::Bf16, MIXED), Some(128))),
    case("attention_rows_int8", "few", in_turn(quarter(KvForm::Int8, FEW), None)),
    start("attention_rows_int8", "rings", in_turn(rings(KvForm::Int8, TURNS), Some(128))),
    case("attention_rows_int8", "edges", in_turn(group(KvForm::Int8, EDGES), None)),
    case("attention_spans_f32", "few", apart(quarter(KvForm::F32, FEW), None)),
    case("attention_spans_f32", "edges", apart(group(KvForm::F32, EDGES), None)),
    start("attention_spans_bf16", "few", apart(quarter(KvForm::Bf16, FEW), None)),
    case("attention_spans_bf16", "edges", apart(group(KvForm::Bf16, EDGES), None)),
    case("attention_spans_int8", "few", apart(quarter(KvForm::Int8, FEW), None)),
    case("attention_spans_int8", "edges", apart(group(KvForm::Int8, EDGES), None)),
    case("attention_join", "rings", apart(rings(KvForm::Bf16, TURNS), Some(128))),
    start("router_top_k", "9x32x4", Op::Choice(Choice { t: 9, num_experts: 32, active: 4 })),
    case("router_top_k", "5x128x4", Op::Choice(Choice { t: 5, num_experts: 128, active: 4 })),
    start("experts_sort", "64x4of32", Op::Order(Order { t: 64, active: 4, num_experts: 32, tile_rows: 8 })),
    case(
        "experts_sort",
        "300x4of128",
        Op::Order(Order { t: 300, active: 4, num_experts: 128, tile_rows: 16 }),
    ),
    start(
        "experts_collect",
        "2x4x2880",
        Op::Collection(Collection { t: 2, active: 4, width: 2880, is_sorted: false }),
    ),
    start(
        "experts_collect",
        "9x4x96-sorted",
        Op::Collection(Collection { t: 9, active: 4, width: 96, is_sorted: true }),
    ),
    start("best_spans", "2x5000", best(2, 5000, 64, 0)),
    case("best_join", "2x70000-mask", best(2, 70_000, 64, 600)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::KERNEL_NAMES;

    /// That a case runs the kernel which it names is seen where it runs, in `tests/prove`.
    #[test]
    fn every_kernel_has_a_case_and_no_two_have_one_name() {
        let without = |name: &&&str| TABLE.iter().all(|case| case.kernel != **name);
        let without: Vec<_> = KERNEL_NAMES.iter().filter(without).collect();
        assert!(without.is_empty(), "add a line to src/prove/table.rs for {without:?}");
        let mut names: Vec<String> = TABLE.iter().map(Case::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
