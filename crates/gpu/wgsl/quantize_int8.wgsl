// Rows as int8 in blocks of 32, in one part or two, for products with int8. `quantize_q8` and `quantize_q8_parts` of the
// CPU in the order of Q8_0. Dispatch (eight blocks each, T).
//include plain_blocks
struct Params { num_blocks: u32, all: u32, parts: u32 } // blocks of a row and of all rows
var<immediate> p: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>; // [T, K]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let count = min(8u, p.num_blocks - wg.x * 8u);
    let first = wg.y * p.num_blocks + wg.x * 8u;
    if li < count * BLOCK {
        numbers[li] = x[first * BLOCK + li];
    }
    workgroupBarrier();
    quantize_blocks(first, count, p.all, p.parts, li);
}
