// A span over keys and values in f32. Scores: two chains, of the even and of the odd numbers, ascending. o: one chain,
// positions ascending.
//include attention_heads
@group(0) @binding(0) var<storage, read> q: array<f32>;             // [T, H, D]
@group(0) @binding(1) var<storage, read> keys: array<vec4<f32>>;    // [rows, K, D]
@group(0) @binding(2) var<storage, read> values: array<f32>;        // [rows, K, D]
@group(0) @binding(3) var<storage, read> rows: array<vec4<u32>>;    // [T]: position, first of its blocks, ring
@group(0) @binding(4) var<storage, read> table: array<u32>;         // blocks of all sequences

var<workgroup> queries: array<vec4<f32>, 256>; // [LANES, D / 4]

fn load_queries(token: u32, heads: Heads, li: u32) {
    let fours = p.head_dim / 4u;
    let base = (token * p.num_kv_heads * p.group + heads.first) * p.head_dim;
    for (var i = li; i < LANES * fours; i += 256u) {
        var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
        if i < heads.count * fours {
            for (var c = 0u; c < 4u; c += 1u) { four[c] = q[base + 4u * i + c]; }
        }
        queries[i] = four;
    }
    workgroupBarrier();
}

// m, l and o of the span from `start` on, of which the token sees first..end.
fn reduce_span(row: vec4<u32>, heads: Heads, start: u32, first: u32, end: u32, li: u32) {
    let fours = p.head_dim / 4u;
    for (var t = first + li; t < end; t += 256u) {
        let base = (cache_row(row, start + t) * p.num_kv_heads + heads.kv) * fours;
        var even = array<f32, 8>();
        var odd = array<f32, 8>();
        for (var i = 0u; i < fours; i += 1u) {
            let key = keys[base + i];
            for (var h = 0u; h < LANES; h += 1u) {
                let four = queries[h * fours + i];
                even[h] = fma(four.z, key.z, fma(four.x, key.x, even[h]));
                odd[h] = fma(four.w, key.w, fma(four.y, key.y, odd[h]));
            }
        }
        for (var h = 0u; h < LANES; h += 1u) {
            weights[t * LANES + h] = bitcast<u32>((even[h] + odd[h]) * p.scale);
        }
    }
    workgroupBarrier();
    soften(first, end, li);
    // A column of two heads an invocation.
    for (var i = li; i < 4u * p.head_dim; i += 256u) {
        let d = i % p.head_dim;
        let h = i / p.head_dim;
        var low = 0.0;
        var high = 0.0;
        for (var t = first; t < end; t += 1u) {
            let value = values[(cache_row(row, start + t) * p.num_kv_heads + heads.kv) * p.head_dim + d];
            low = fma(bitcast<f32>(weights[t * LANES + h]), value, low);
            high = fma(bitcast<f32>(weights[t * LANES + h + 4u]), value, high);
        }
        span_values[i] = low;
        span_values[i + 4u * p.head_dim] = high;
    }
    workgroupBarrier();
}
