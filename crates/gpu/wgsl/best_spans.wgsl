// Of a span of 2,048 logits under a mask: its best tokens in order, and the sums of the softmax over all logits and over
// those allowed: the largest m, and l in 256 chains by place, folded by halves. Dispatch (spans, rows).
//include exp
//include token_keys
struct Params {
    vocab: u32,       // V
    count: u32,       // tokens wanted, 64 at most
    num_spans: u32,   // V over 2,048, rounded up
    mask_words: u32,  // words of a row's mask; 0: all are allowed
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> logits: array<f32>;               // [rows, V]
@group(0) @binding(1) var<storage, read> mask: array<u32>;                 // [rows, mask_words]
@group(0) @binding(2) var<storage, read_write> found: array<vec2<u32>>;    // [rows, spans, count]: rank, token
@group(0) @binding(3) var<storage, read_write> softmax: array<vec4<f32>>;  // [rows, spans]: m, l; of the allowed m, l

const LOWEST: f32 = -3.40282347e38;
var<workgroup> folded: array<vec2<f32>, 256>;

fn is_allowed(row: u32, token: u32) -> bool {
    if p.mask_words == 0u { return true; }
    if token / 32u >= p.mask_words { return false; }
    return ((mask[row * p.mask_words + token / 32u] >> (token % 32u)) & 1u) == 1u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let start = wg.x * 2048u;
    let end = min(p.vocab, start + 2048u);
    var tops = vec2<f32>(LOWEST, LOWEST);
    for (var place = li; place < 2048u; place += 256u) {
        let token = start + place;
        var key = NEVER;
        if token < end {
            let logit = logits[wg.y * p.vocab + token];
            let allowed = is_allowed(wg.y, token);
            if logit > tops.x { tops.x = logit; }
            if allowed && logit > tops.y { tops.y = logit; }
            if allowed && rank(logit) > 0u { key = vec2<u32>(rank(logit), token); }
        }
        keys[place] = key;
    }
    folded[li] = tops;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if li < half {
            let other = folded[li + half];
            folded[li] = select(folded[li], other, other > folded[li]);
        }
        workgroupBarrier();
    }
    tops = folded[0];
    workgroupBarrier();
    var sums = vec2<f32>(0.0, 0.0);
    for (var token = start + li; token < end; token += 256u) {
        let logit = logits[wg.y * p.vocab + token];
        sums.x += exp_(logit - tops.x);
        if is_allowed(wg.y, token) { sums.y += exp_(logit - tops.y); }
    }
    folded[li] = sums;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if li < half { folded[li] = folded[li] + folded[li + half]; }
        workgroupBarrier();
    }
    sort_keys(li);
    let span = wg.y * p.num_spans + wg.x;
    if li == 0u { softmax[span] = vec4<f32>(tops.x, folded[0].x, tops.y, folded[0].y); }
    if li < p.count { found[span * p.count + li] = keys[li]; }
}
