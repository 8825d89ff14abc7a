// Joins the spans of a row of logits: the best tokens of all in order, and the sums of the softmax, spans ascending, each
// joined to (M, L) from (the lowest finite number, 0) on. Dispatch (rows).
//include exp
//include token_keys
struct Params {
    vocab: u32,
    count: u32,       // tokens wanted, 64 at most
    num_spans: u32,
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> logits: array<f32>;               // [rows, V]
@group(0) @binding(1) var<storage, read> found: array<vec2<u32>>;          // [rows, spans, count]: rank, token
@group(0) @binding(2) var<storage, read> softmax: array<vec4<f32>>;        // [rows, spans]: m, l; of the allowed m, l
@group(0) @binding(3) var<storage, read_write> tokens: array<vec2<u32>>;   // [rows, count]: token, bits of its logit
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;     // [rows]: M, L; of the allowed M, L

const LOWEST: f32 = -3.40282347e38;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    if li == 0u {
        var tops = vec2<f32>(LOWEST, LOWEST);
        var all = vec2<f32>(0.0, 0.0);
        for (var span = 0u; span < p.num_spans; span += 1u) {
            let of_span = softmax[wg.x * p.num_spans + span];
            let m = of_span.xz;
            let larger = select(tops, m, m > tops);
            all.x = fma(of_span.y, exp_(m.x - larger.x), all.x * exp_(tops.x - larger.x));
            all.y = fma(of_span.w, exp_(m.y - larger.y), all.y * exp_(tops.y - larger.y));
            tops = larger;
        }
        sums[wg.x] = vec4<f32>(tops.x, all.x, tops.y, all.y);
    }
    // The best so far stay in front; behind them come as many new keys as there is room for.
    let total = p.num_spans * p.count;
    let room = 2048u - p.count;
    for (var i = li; i < p.count; i += 256u) { keys[i] = NEVER; }
    for (var next = 0u; next < total; next += room) {
        for (var i = li; i < room; i += 256u) {
            var key = NEVER;
            if next + i < total { key = found[wg.x * total + next + i]; }
            keys[p.count + i] = key;
        }
        workgroupBarrier();
        sort_keys(li);
    }
    if li < p.count {
        let key = keys[li];
        var token = vec2<u32>(0xffffffffu, 0xff800000u);
        if key.x > 0u { token = vec2<u32>(key.y, bitcast<u32>(logits[wg.x * p.vocab + key.y])); }
        tokens[wg.x * p.count + li] = token;
    }
}
