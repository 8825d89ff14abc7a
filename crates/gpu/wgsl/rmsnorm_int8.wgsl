// RMSNorm of rows, as int8 in one part or two for products with int8: the bits of `rmsnorm` and then `quantize_int8`,
// without the floats between them. A workgroup a row.
//include row_scale
//include plain_blocks
struct Params { c: u32, eps: f32, num_blocks: u32, parts: u32 } // num_blocks: of all rows
var<immediate> p: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;      // [T, C]
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [C]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * p.c;
    let scale = row_scale(first, li);
    for (var start = 0u; start < p.c; start += THREADS) {
        let k = start + li;
        if k < p.c {
            numbers[li] = x[first + k] * scale * weight[k];
        }
        workgroupBarrier();
        let count = min(THREADS, p.c - start) / BLOCK;
        quantize_blocks((first + start) / BLOCK, count, p.num_blocks, p.parts, li);
    }
}
