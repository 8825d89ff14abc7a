// All spans of one token and up to eight query heads of a kv head, joined in ascending order as they come, and the
// output; zeros for a row that is idle. The kernel says how its cache is stored, and what `sinks` and `out` are.
//include divide
var<workgroup> joined: array<f32, 1024>;   // [LANES, D]: O
var<workgroup> state: array<vec2<f32>, 8>; // M and L

fn attend_row(wg: vec3<u32>, li: u32) {
    let heads = heads_of(wg.x);
    let row = rows[wg.y];
    let base = (wg.y * p.num_kv_heads * p.group + heads.first) * p.head_dim;
    if row.x == IDLE {
        for (var i = li; i < heads.count * p.head_dim; i += 256u) { out[base + i] = 0.0; }
        return;
    }
    let seen = first_seen(row.x);
    load_queries(wg.y, heads, li);
    for (var i = li; i < LANES * p.head_dim; i += 256u) { joined[i] = 0.0; }
    if li < heads.count { state[li] = vec2<f32>(sinks[heads.first + li], 1.0); }
    workgroupBarrier();
    for (var start = seen / SPAN * SPAN; start <= row.x; start += SPAN) {
        reduce_span(row, heads, start, max(seen, start) - start, min(row.x + 1u - start, SPAN), li);
        for (var i = li; i < heads.count * p.head_dim; i += 256u) {
            let h = i / p.head_dim;
            let top = select(state[h].x, tops[h], tops[h] > state[h].x);
            joined[i] = fma(span_values[i], exp_(tops[h] - top), joined[i] * exp_(state[h].x - top));
        }
        workgroupBarrier();
        if li < heads.count {
            let top = select(state[li].x, tops[li], tops[li] > state[li].x);
            let sum = fma(span_sum(li), exp_(tops[li] - top), state[li].y * exp_(state[li].x - top));
            state[li] = vec2<f32>(top, sum);
        }
        workgroupBarrier();
    }
    for (var i = li; i < heads.count * p.head_dim; i += 256u) {
        out[base + i] = divide(joined[i], state[i / p.head_dim].y);
    }
}
