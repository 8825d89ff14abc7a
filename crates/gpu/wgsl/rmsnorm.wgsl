// RMSNorm of rows: out = x * scale * weight, in this order, with scale = 1 / root(mean of squares + eps).
// The sum of squares: element k goes to lane k mod 8, a lane adds fused and ascending, then the tree. `rmsnorm` of
// the CPU. A workgroup a row.
//include divide
//include root
//include tree
struct Params { c: u32, eps: f32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> x: array<f32>;         // [T, C]
@group(0) @binding(1) var<storage, read> weight: array<f32>;    // [C]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [T, C]

const THREADS: u32 = 256u;
// Values that the lanes find in shared memory at a time, so that a lane's chain waits for no other memory.
const CHUNK: u32 = 2048u;
var<workgroup> chunk: array<f32, CHUNK>;
var<workgroup> lanes: array<f32, 8>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let first = wg.x * p.c;
    var lane = 0.0;
    for (var start = 0u; start < p.c; start += CHUNK) {
        let end = min(CHUNK, p.c - start);
        for (var k = li; k < end; k += THREADS) {
            chunk[k] = x[first + start + k];
        }
        workgroupBarrier();
        if li < 8u {
            for (var k = li; k < end; k += 8u) {
                lane = fma(chunk[k], chunk[k], lane);
            }
        }
        workgroupBarrier();
    }
    if li < 8u {
        lanes[li] = lane;
    }
    workgroupBarrier();
    let sum = tree(lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7]);
    let scale = divide(1.0, root(divide(sum, f32(p.c)) + p.eps));
    for (var k = li; k < p.c; k += THREADS) {
        out[first + k] = x[first + k] * scale * weight[k];
    }
}
