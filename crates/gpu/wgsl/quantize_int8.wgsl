// Rows as int8 in blocks of 32 for products with int8: the scale is the largest magnitude over 127, values are the
// nearest multiples, ties to even. In two parts: then likewise what rounding took from each, x - value * scale fused, as
// as many rows behind them. `quantize_q8` and `quantize_q8_parts` of the CPU in the order of Q8_0. A workgroup eight
// blocks.
//include int8_blocks
struct Params { num_blocks: u32, parts: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;    // [parts, T, K / 32, 8]
@group(0) @binding(1) var<storage, read_write> scales: array<f32>; // [parts, T, K / 32]
@group(0) @binding(2) var<storage, read> x: array<f32>;            // [T, K]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * 8u;
    let count = min(8u, p.num_blocks - first);
    if li < count * BLOCK {
        numbers[li] = x[first * BLOCK + li];
    }
    workgroupBarrier();
    let block = li / 8u;
    let word = li % 8u;
    let is_mine = li < 64u && block < count;
    for (var part = 0u; part < p.parts; part += 1u) {
        var inverse = 0.0;
        var size = 0.0;
        if is_mine {
            let largest = largest_of(block);
            if largest >= INFINITE {
                size = bitcast<f32>(largest | NOT_A_NUMBER);
            } else if largest >= SMALLEST_BITS {
                inverse = divide(127.0, bitcast<f32>(largest));
                size = divide(bitcast<f32>(largest), 127.0);
            }
        }
        // All have seen the numbers before they become the rest.
        workgroupBarrier();
        if is_mine {
            let at = li * 4u;
            let mine = vec4<f32>(numbers[at], numbers[at + 1u], numbers[at + 2u], numbers[at + 3u]);
            var values = vec4<i32>(0);
            if inverse != 0.0 {
                values = vec4<i32>(round(mine * inverse));
            }
            let place = part * p.num_blocks + first + block;
            out[place * 8u + word] = four_bytes(values);
            if word == 0u {
                scales[place] = size;
            }
            let rest = fma(vec4<f32>(values), vec4<f32>(-size), mine);
            numbers[at] = rest.x;
            numbers[at + 1u] = rest.y;
            numbers[at + 2u] = rest.z;
            numbers[at + 3u] = rest.w;
        }
        workgroupBarrier();
    }
}
