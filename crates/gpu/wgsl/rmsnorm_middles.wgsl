// RMSNorm of rows, as f32 for the router and as int8 about middles for the experts: the bits of `rmsnorm` and then
// `quantize_middles`. A workgroup a row.
//include row_scale
//include middle_blocks
struct Params { c: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;            // [T, C]
@group(0) @binding(3) var<storage, read> weight: array<f32>;       // [C]
@group(0) @binding(4) var<storage, read_write> normed: array<f32>; // [T, C]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * p.c;
    let scale = row_scale(first, li);
    for (var start = 0u; start < p.c; start += THREADS) {
        let k = start + li;
        if k < p.c {
            numbers[li] = x[first + k] * scale * weight[k];
            normed[first + k] = numbers[li];
        }
        workgroupBarrier();
        quantize_blocks((first + start) / BLOCK, min(THREADS, p.c - start) / BLOCK, li);
    }
}
