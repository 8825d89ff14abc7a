// Products of f32 rows with a matrix of f32, in lanes by k mod 8. `linear` of the CPU. Dispatch
// (eight outputs each, chunks of up to TOKENS rows).
//variants TOKENS 1 2 4 8
//include gemv_floats
@group(0) @binding(3) var<storage, read> values: array<f32>; // [N, K]

fn weight(row: u32, k: u32) -> f32 {
    return values[row * p.k + k];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    gemv(wg.x * 8u, wg.y, li);
}
