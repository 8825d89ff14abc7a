// Products of f32 rows with a matrix of bf16, in lanes by k mod 8. `linear` of the CPU. Dispatch
// (eight outputs each, chunks of up to TOKENS rows).
//variants TOKENS 1 2 4 8
//include gemv_floats
@group(0) @binding(3) var<storage, read> values: array<u32>; // [N, K] bf16

fn weight(row: u32, k: u32) -> f32 {
    let at = row * p.k + k;
    return bitcast<f32>((values[at / 2u] >> (at % 2u * 16u)) << 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    gemv(wg.x * 8u, wg.y, li);
}
