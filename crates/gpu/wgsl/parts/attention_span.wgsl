// One span of one token and up to eight query heads of a kv head: its (m, l, o). Spans are counted from the first that
// the token sees, and those it does not see are left as they are. The kernel says how its cache is stored, and what
// `partials` is.
fn attend_span(wg: vec3<u32>, li: u32) {
    let heads = heads_of(wg.y);
    let row = rows[wg.z];
    let seen = first_seen(row.x);
    let start = (seen / SPAN + wg.x) * SPAN;
    // The whole workgroup leaves together.
    if row.x == IDLE || start > row.x { return; }
    let first = max(seen, start) - start;
    let end = min(row.x + 1u - start, SPAN);
    load_queries(wg.z, heads, li);
    reduce_span(row, heads, start, first, end, li);
    let width = 2u + p.head_dim;
    let out = ((wg.z * p.num_kv_heads * p.lane_groups + wg.y) * p.spans_max + wg.x) * LANES * width;
    if li < heads.count {
        partials[out + li * width] = tops[li];
        partials[out + li * width + 1u] = span_sum(li);
    }
    for (var i = li; i < heads.count * p.head_dim; i += 256u) {
        partials[out + i / p.head_dim * width + 2u + i % p.head_dim] = span_values[i];
    }
}
