// Products of f32 rows with a matrix of the numbers of Q8_0, in lanes by k mod 8. `linear` of the CPU. Dispatch
// (eight outputs each, chunks of up to TOKENS rows).
//variants TOKENS 1 2 4 8
//include gemv_floats
//include half
@group(0) @binding(3) var<storage, read> values: array<u32>; // [N, K] int8
@group(0) @binding(4) var<storage, read> scales: array<u32>; // [N, K / 32] halves

fn weight(row: u32, k: u32) -> f32 {
    let at = row * p.k + k;
    let value = bitcast<i32>(values[at / 4u] << (24u - at % 4u * 8u)) >> 24u;
    let block = at / 32u;
    return f32(value) * half((scales[block / 2u] >> (block % 2u * 16u)) & 0xffffu);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    gemv(wg.x * 8u, wg.y, li);
}
