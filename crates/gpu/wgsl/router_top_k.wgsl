// The largest logits of a token in descending order, ties to the lowest index and NaN as the lowest, and the softmax over
// them. Dispatch (T).
//include exp
//include divide
struct Params {
    num_experts: u32, // E, 256 at most
    per_token: u32,      // A, 8 at most
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> logits: array<f32>;          // [T, E]
@group(0) @binding(1) var<storage, read_write> experts: array<u32>;   // [T, A]
@group(0) @binding(2) var<storage, read_write> chosen: array<f32>;    // [T, A]: weights

const NEVER: u32 = 0xffffffffu;
var<workgroup> keys: array<vec2<u32>, 64>; // rank, expert
var<workgroup> best: array<u32, 8>;

// Ranks are ordered as the logits are; both zeros are one, and NaN is negative infinity. None is 0.
fn rank(logit: f32) -> u32 {
    var bits = bitcast<u32>(logit);
    if (bits & 0x7fffffffu) > 0x7f800000u { bits = 0xff800000u; }
    if bits == 0x80000000u { bits = 0u; }
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn is_before(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y < b.y); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let base = wg.x * p.num_experts;
    for (var place = 0u; place < p.per_token; place += 1u) {
        var mine = vec2<u32>(0u, NEVER);
        for (var expert = li; expert < p.num_experts; expert += 64u) {
            var is_free = true;
            for (var earlier = 0u; earlier < place; earlier += 1u) { is_free = is_free && best[earlier] != expert; }
            let key = vec2<u32>(rank(logits[base + expert]), expert);
            if is_free && is_before(key, mine) { mine = key; }
        }
        keys[li] = mine;
        workgroupBarrier();
        for (var half = 32u; half > 0u; half /= 2u) {
            if li < half && is_before(keys[li + half], keys[li]) { keys[li] = keys[li + half]; }
            workgroupBarrier();
        }
        if li == 0u { best[place] = keys[0].y; }
        workgroupBarrier();
    }
    if li > 0u { return; }
    let largest = logits[base + best[0]];
    var weights = array<f32, 8>();
    var sum = 0.0;
    for (var place = 0u; place < p.per_token; place += 1u) {
        weights[place] = exp_(logits[base + best[place]] - largest);
        sum += weights[place];
    }
    for (var place = 0u; place < p.per_token; place += 1u) {
        experts[wg.x * p.per_token + place] = best[place];
        chosen[wg.x * p.per_token + place] = divide(weights[place], sum);
    }
}
