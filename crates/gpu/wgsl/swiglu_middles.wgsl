// The clamped SwiGLU of rows, as int8 in blocks of 32 about their middles. `swiglu_q8` of the CPU in the order of MXFP4.
// Dispatch (eight blocks each, T).
//include middle_blocks
//include swiglu
struct Params { num_blocks: u32, limit: f32, alpha: f32 } // num_blocks: of a row
var<immediate> p: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<vec2<f32>>; // [T, F]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let count = min(8u, p.num_blocks - wg.x * 8u);
    let first = wg.y * p.num_blocks + wg.x * 8u;
    if li < count * BLOCK {
        let pair = gate_up[first * BLOCK + li];
        numbers[li] = swiglu(pair.x, pair.y, p.limit, p.alpha);
    }
    workgroupBarrier();
    quantize_blocks(first, count, li);
}
