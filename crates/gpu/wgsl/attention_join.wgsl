// Joins the spans of a query head in ascending order to (M, L, O), which starts as (sink, 1, 0), and divides;
// zeros for a row that is idle. Dispatch (H, T).
//include exp
//include divide
const IDLE: u32 = 0xffffffffu;
struct Params {
    head_dim: u32,
    num_kv_heads: u32,
    group: u32,
    lane_groups: u32,
    window: u32,
    spans_max: u32,
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> partials: array<f32>;   // [T, K * lane groups, spans_max, 8, 2 + D]
@group(0) @binding(1) var<storage, read> rows: array<vec4<u32>>; // [T]: position
@group(0) @binding(2) var<storage, read> sinks: array<f32>;      // [H]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [T, H, D]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let position = rows[wg.y].x;
    let first = select(0u, position + 1u - min(p.window, position + 1u), p.window > 0u);
    let num_spans = position / 512u - first / 512u + 1u;
    let lane = wg.x % p.group;
    let lanes = (wg.y * p.num_kv_heads + wg.x / p.group) * p.lane_groups + lane / 8u;
    let base = (wg.y * p.num_kv_heads * p.group + wg.x) * p.head_dim;
    for (var d = li; d < p.head_dim; d += 64u) {
        if position == IDLE {
            out[base + d] = 0.0;
            continue;
        }
        var top = sinks[wg.x];
        var sum = 1.0;
        var o = 0.0;
        for (var span = 0u; span < num_spans; span += 1u) {
            let at = ((lanes * p.spans_max + span) * 8u + lane % 8u) * (2u + p.head_dim);
            let m = partials[at];
            let larger = select(top, m, m > top);
            let a = exp_(top - larger);
            let b = exp_(m - larger);
            sum = fma(partials[at + 1u], b, sum * a);
            o = fma(partials[at + 2u + d], b, o * a);
            top = larger;
        }
        out[base + d] = divide(o, sum);
    }
}
