// RMSNorm of rows: out = x * scale * weight, in this order. `rmsnorm` of the CPU. A workgroup a row.
//include row_scale
struct Params { c: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> x: array<f32>;         // [T, C]
@group(0) @binding(1) var<storage, read> weight: array<f32>;    // [C]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [T, C]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * p.c;
    let scale = row_scale(first, li);
    for (var k = li; k < p.c; k += THREADS) {
        out[first + k] = x[first + k] * scale * weight[k];
    }
}
