// Products of int8 rows that have middles with experts in MXFP4, by tiles of one expert's slots: the folded lanes, half
// of them plus the bias fused. The bits of `gemv_mxfp4_int8`. Dispatch (64 outputs each, tiles).
//include mxfp4
//include tile_rows
struct Params { n: u32, num_blocks: u32, has_sources: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;   // [R, N]
@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>; // [E, N, K / 32]
@group(0) @binding(2) var<storage, read> code_scales: array<u32>; // [E, N, K / 32] bytes
@group(0) @binding(3) var<storage, read> x: array<vec4<u32>>;     // [inputs, K / 32, 2]: even, odd elements
@group(0) @binding(4) var<storage, read> x_beside: array<vec2<u32>>; // [inputs, K / 32]
@group(0) @binding(5) var<storage, read> sources: array<u32>;     // [R]: the input of a slot; 0: slots are inputs
@group(0) @binding(6) var<storage, read> tiles: array<vec4<u32>>; // expert, first slot, slots
@group(0) @binding(7) var<storage, read> bias: array<f32>;        // [E, N]

var<private> first_output: u32;
var<private> expert: u32;
var<private> first_slot: u32;
var<private> num_slots: u32;

// Twice the weights plus 12, and the sum of those.
fn weight_block(output: u32, b: u32) -> Block {
    let row = first_output + output;
    if row >= p.n { return Block(); }
    let at = (expert * p.n + row) * p.num_blocks + b;
    let four = codes[at];
    let low = vec4<u32>(plus_12(four.x), plus_12(four.y), plus_12(four.z), plus_12(four.w));
    let odd = four >> vec4<u32>(4u);
    let high = vec4<u32>(plus_12(odd.x), plus_12(odd.y), plus_12(odd.z), plus_12(odd.w));
    // Bytewise: eight times at most 24.
    let all = low + high;
    let sum = dot4U8Packed(all.x + all.y + all.z + all.w, 0x01010101u);
    let byte = (code_scales[at / 4u] >> (at % 4u * 8u)) & 255u;
    return Block(low, high, vec2<u32>(bitcast<u32>(power_of_two(byte)), sum));
}

fn input_block(row: u32, b: u32) -> Block {
    if row >= num_slots { return Block(); }
    var source = first_slot + row;
    if p.has_sources == 1u { source = sources[source]; }
    let at = source * p.num_blocks + b;
    return Block(x[2u * at], x[2u * at + 1u], x_beside[at]);
}

// What is added to the weights meets values and middles alike.
fn corrected(dots: vec4<i32>, weight_sums: vec4<u32>, word: u32) -> vec4<i32> {
    let middle = bitcast<i32>(word << 24u) >> 24u;
    return dots + middle * bitcast<vec4<i32>>(weight_sums) - vec4<i32>(bitcast<i32>(word) >> 8u);
}

// Four outputs of a slot.
fn finish(l: vec4<f32>, slot: u32, column: u32) {
    if slot >= num_slots { return; }
    for (var i = 0u; i < 4u; i += 1u) {
        let output = first_output + column + 16u * i;
        if output < p.n { out[(first_slot + slot) * p.n + output] = fma(l[i], 0.5, bias[expert * p.n + output]); }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let tile = tiles[wg.y];
    first_output = wg.x * OUTPUTS;
    expert = tile.x;
    first_slot = tile.y;
    num_slots = tile.z;
    let row = li / 16u * 2u;
    let sums = products(p.num_blocks, row < num_slots, li);
    finish(sums.first, row, li % 16u);
    finish(sums.second, row + 1u, li % 16u);
}
