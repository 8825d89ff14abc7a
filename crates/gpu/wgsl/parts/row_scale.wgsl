// What RMSNorm multiplies a row with: 1 / root(mean of squares + eps). The sum of squares: element k goes to lane
// k mod 8, a lane adds fused and ascending, then the tree.
//include divide
//include root
//include tree
const THREADS: u32 = 256u;
// Values that the lanes find in shared memory at a time, so that a lane's chain waits for no other memory.
const CHUNK: u32 = 2048u;
var<workgroup> chunk: array<f32, CHUNK>;
var<workgroup> lanes: array<f32, 8>;

// Of the row of p.c values from x[first] on, by all of a workgroup.
fn row_scale(first: u32, li: u32) -> f32 {
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
    return divide(1.0, root(divide(sum, f32(p.c)) + p.eps));
}
