// What attention kernels share: the heads of a workgroup, what a row sees, the softmax of a span.
//include exp
//include cache_row
struct Params {
    head_dim: u32,      // D, a multiple of 4, 128 at most
    num_kv_heads: u32,  // K
    group: u32,         // query heads of a kv head
    lane_groups: u32,   // eights that they fill, the last perhaps in part
    window: u32,        // positions that a row sees; 0: all
    ring_rows: u32,     // rows of a ring; 0: blocks
    spans_max: u32,     // spans for which there is room
    scale: f32,         // on scores
}
var<immediate> p: Params;

const SPAN: u32 = 512u;
const LANES: u32 = 8u;
const LOWEST: f32 = -3.40282347e38;

var<workgroup> weights: array<u32, 4096>;  // [SPAN, LANES]: bits of scores, then of weights
var<workgroup> tops: array<f32, 256>;      // [32, LANES]; after softmax the first LANES are m
var<workgroup> sums: array<f32, 32>;       // [4, LANES]: chains of l
var<workgroup> span_values: array<f32, 1024>; // [LANES, D]: o

// The kv head and the query heads of a workgroup.
struct Heads { kv: u32, first: u32, count: u32 }

fn heads_of(index: u32) -> Heads {
    let kv = index / p.lane_groups;
    let lane_group = index % p.lane_groups;
    return Heads(kv, kv * p.group + lane_group * LANES, min(LANES, p.group - lane_group * LANES));
}

fn first_seen(position: u32) -> u32 {
    return select(0u, position + 1u - min(p.window, position + 1u), p.window > 0u);
}

// Scores become weights, m and l; positions first..end of the span.
fn soften(first: u32, end: u32, li: u32) {
    let h = li % LANES;
    let j = li / LANES;
    var top = LOWEST;
    for (var t = first + j; t < end; t += 32u) {
        let score = bitcast<f32>(weights[t * LANES + h]);
        top = select(top, score, score > top);
    }
    tops[li] = top;
    workgroupBarrier();
    for (var half = 16u; half > 0u; half /= 2u) {
        if j < half {
            let other = tops[li + half * LANES];
            tops[li] = select(tops[li], other, other > tops[li]);
        }
        workgroupBarrier();
    }
    let m = tops[h];
    for (var t = first + j; t < end; t += 32u) {
        weights[t * LANES + h] = bitcast<u32>(exp_(bitcast<f32>(weights[t * LANES + h]) - m));
    }
    workgroupBarrier();
    // Chain c takes the positions that are c modulo 4, ascending.
    if li < 4u * LANES {
        let c = li / LANES;
        var l = 0.0;
        for (var t = first + (c + 4u - first % 4u) % 4u; t < end; t += 4u) {
            l += bitcast<f32>(weights[t * LANES + h]);
        }
        sums[li] = l;
    }
    workgroupBarrier();
}

// l of a query head of the workgroup.
fn span_sum(h: u32) -> f32 {
    return (sums[h] + sums[2u * LANES + h]) + (sums[LANES + h] + sums[3u * LANES + h]);
}
