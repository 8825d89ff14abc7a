// Products of int8 rows, in one part or two, with a matrix of int8: block b goes to lane b mod 8, a lane adds
// sum * (row's scale * weights' scale) fused and ascending, then the tree plus the bias; in two parts both trees are
// added, and then the bias. `linear` of the CPU with the numbers of Q8_0. Dispatch (eight outputs
// each, chunks of up to TOKENS rows).
//variants TOKENS 1 2 4 8
//include gemv_rows
//include half
@group(0) @binding(2) var<storage, read> values: array<vec4<u32>>; // [N, K / 32, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [N, K / 32] halves
@group(0) @binding(4) var<storage, read> x: array<vec4<u32>>;      // [parts, T, K / 32, 2]
@group(0) @binding(5) var<storage, read> x_scales: array<f32>;     // [parts, T, K / 32]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let row = wg.x * 8u + li / 8u;
    let num_blocks = p.k / 32u;
    let tokens = tokens_of(wg.y);
    let slots = tokens.count * p.parts;
    var sums = array<f32, TOKENS>();
    if row < p.n {
        for (var b = li % 8u; b < num_blocks; b += 8u) {
            let at = row * num_blocks + b;
            let low = values[at * 2u];
            let high = values[at * 2u + 1u];
            let scale = half((scales[at / 2u] >> (at % 2u * 16u)) & 0xffffu);
            for (var slot = 0u; slot < TOKENS; slot += 1u) {
                if slot < slots {
                    let x_at = row_of(tokens, slot) * num_blocks + b;
                    let x_low = x[x_at * 2u];
                    let x_high = x[x_at * 2u + 1u];
                    var dot = 0;
                    for (var i = 0u; i < 4u; i += 1u) {
                        dot += dot4I8Packed(low[i], x_low[i]) + dot4I8Packed(high[i], x_high[i]);
                    }
                    sums[slot] = fma(f32(dot), x_scales[x_at] * scale, sums[slot]);
                }
            }
        }
    }
    for (var slot = 0u; slot < TOKENS; slot += 1u) {
        lanes[slot * 64u + li] = sums[slot];
    }
    finish(wg.x * 8u, tokens, li);
}
