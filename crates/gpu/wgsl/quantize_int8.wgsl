// Rows as int8 in blocks of 32, in one part or two, for products with int8. `quantize_q8` and `quantize_q8_parts` of the
// CPU in the order of Q8_0. A workgroup eight blocks.
//include plain_blocks
struct Params { num_blocks: u32, parts: u32 }
var<immediate> p: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>; // [T, K]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * 8u;
    let count = min(8u, p.num_blocks - first);
    if li < count * BLOCK {
        numbers[li] = x[first * BLOCK + li];
    }
    workgroupBarrier();
    quantize_blocks(first, count, p.num_blocks, p.parts, li);
}
