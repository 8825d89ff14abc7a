// What tiles of products of int8 share: 64 outputs by 32 rows a workgroup, and each weight is read once for all rows.
// Block b of 32 goes to lane b mod 8, a lane adds sum * (row's scale * weights' scale) fused and ascending, and lanes
// are walked in the order 0 4 2 6 1 5 3 7, so that their tree folds as they come. Two rows of four outputs an
// invocation: outputs column, + 16, + 32 and + 48, rows 2 * pair and the next. The kernel says what a block of an output
// or of a row is, and what `corrected` makes of the sums.
const OUTPUTS: u32 = 64u;
const ROWS: u32 = 32u;
const STAGED: u32 = 4u;   // blocks of a lane that are staged together

var<workgroup> weights: array<vec4<u32>, 512>;      // [STAGED, 2, OUTPUTS] of 16 int8
var<workgroup> weight_sides: array<vec2<u32>, 256>; // [STAGED, OUTPUTS]: bits of the scale, what the kernel wants
var<workgroup> inputs: array<vec4<u32>, 256>;       // [STAGED, 2, ROWS] of 16 int8
var<workgroup> input_sides: array<vec2<u32>, 128>;  // [STAGED, ROWS]

// 32 int8, the bits of their scale and a word of the kernel's.
struct Block { low: vec4<u32>, high: vec4<u32>, side: vec2<u32> }

// Two rows of four outputs.
struct Sums { first: vec4<f32>, second: vec4<f32> }

fn added(a: Sums, b: Sums) -> Sums { return Sums(a.first + b.first, a.second + b.second); }

fn dot_16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// 16 int8 of four outputs, from `at` on, and a row.
fn four_dots(at: u32, row: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(
        dot_16(weights[at], row), dot_16(weights[at + 16u], row),
        dot_16(weights[at + 32u], row), dot_16(weights[at + 48u], row),
    );
}

// Brings the blocks first, first + 8, ..., of which there are `count`, where all invocations see them.
fn stage(first: u32, count: u32, li: u32) {
    let step = li / OUTPUTS;
    if step < count {
        let output = li % OUTPUTS;
        let block = weight_block(output, first + 8u * step);
        weights[2u * step * OUTPUTS + output] = block.low;
        weights[(2u * step + 1u) * OUTPUTS + output] = block.high;
        weight_sides[step * OUTPUTS + output] = block.side;
    }
    if li < STAGED * ROWS && li / ROWS < count {
        let row = li % ROWS;
        let block = input_block(row, first + 8u * (li / ROWS));
        inputs[2u * (li / ROWS) * ROWS + row] = block.low;
        inputs[(2u * (li / ROWS) + 1u) * ROWS + row] = block.high;
        input_sides[li] = block.side;
    }
}

// A staged block into the sums of its lane.
fn step_of(before: Sums, step: u32, column: u32, pair: u32) -> Sums {
    let low = 2u * step * OUTPUTS + column;
    let row = 2u * step * ROWS + 2u * pair;
    let first = four_dots(low, inputs[row]) + four_dots(low + OUTPUTS, inputs[row + ROWS]);
    let second = four_dots(low, inputs[row + 1u]) + four_dots(low + OUTPUTS, inputs[row + ROWS + 1u]);
    let at = step * OUTPUTS + column;
    let s0 = weight_sides[at];
    let s1 = weight_sides[at + 16u];
    let s2 = weight_sides[at + 32u];
    let s3 = weight_sides[at + 48u];
    let scales = bitcast<vec4<f32>>(vec4<u32>(s0.x, s1.x, s2.x, s3.x));
    let words = vec4<u32>(s0.y, s1.y, s2.y, s3.y);
    let side = input_sides[step * ROWS + 2u * pair];
    let next = input_sides[step * ROWS + 2u * pair + 1u];
    return Sums(
        fma(vec4<f32>(corrected(first, words, side.y)), bitcast<f32>(side.x) * scales, before.first),
        fma(vec4<f32>(corrected(second, words, next.y)), bitcast<f32>(next.x) * scales, before.second),
    );
}

// The folded lanes of the invocation's outputs, over `num_blocks` blocks; a pair that is nobody's stays zero.
fn products(num_blocks: u32, is_wanted: bool, li: u32) -> Sums {
    let zero = Sums(vec4<f32>(), vec4<f32>());
    // Of one lane, of two, of four: what waits for as many lanes again.
    var one = zero;
    var two = zero;
    var four = zero;
    var sums = zero;
    for (var visit = 0u; visit < 8u; visit += 1u) {
        let lane = reverseBits(visit) >> 29u;
        sums = zero;
        for (var first = lane; first < num_blocks; first += 8u * STAGED) {
            let count = min(STAGED, (num_blocks - first + 7u) / 8u);
            stage(first, count, li);
            workgroupBarrier();
            for (var step = 0u; step < count && is_wanted; step += 1u) {
                sums = step_of(sums, step, li % 16u, li / 16u);
            }
            // All have seen the blocks before others take their place.
            workgroupBarrier();
        }
        if (visit & 1u) == 0u {
            one = sums;
            continue;
        }
        sums = added(one, sums);
        if (visit & 2u) == 0u {
            two = sums;
            continue;
        }
        sums = added(two, sums);
        if (visit & 4u) == 0u {
            four = sums;
        }
    }
    return added(four, sums);
}
