// A span over keys and values in int8, a scale a head. Scores: the query as integers up to 32,767, the sum of integers
// times the key's scale, times (the query's step times the factor). o: each weight times its value's scale as an
// integer up to 32,767 of the largest, the sum of integers times the size of their step.
//include attention_heads
//include int8_steps
@group(0) @binding(0) var<storage, read> q: array<f32>;             // [T, H, D]
@group(0) @binding(1) var<storage, read> keys: array<u32>;          // [rows, K, D]
@group(0) @binding(2) var<storage, read> values: array<u32>;        // [rows, K, D]
@group(0) @binding(3) var<storage, read> rows: array<vec4<u32>>;    // [T]: position, first of its blocks, ring
@group(0) @binding(4) var<storage, read> table: array<u32>;         // blocks of all sequences
@group(0) @binding(5) var<storage, read> key_scales: array<f32>;    // [rows, K]
@group(0) @binding(6) var<storage, read> value_scales: array<f32>;  // [rows, K]

const WIDE_MAX: f32 = 32767.0;
var<workgroup> queries: array<vec4<i32>, 256>;  // [LANES, D / 4]
var<workgroup> query_steps: array<vec2<f32>, 8>;
var<workgroup> largest: array<u32, 256>;        // [32, LANES]: bits of magnitudes

fn load_queries(token: u32, heads: Heads, li: u32) {
    let fours = p.head_dim / 4u;
    let base = (token * p.num_kv_heads * p.group + heads.first) * p.head_dim;
    if li < LANES {
        var most = 0u;
        if li < heads.count {
            for (var i = 0u; i < p.head_dim; i += 1u) {
                most = max(most, bitcast<u32>(q[base + li * p.head_dim + i]) & 0x7fffffffu);
            }
        }
        query_steps[li] = int_steps(most, WIDE_MAX);
    }
    workgroupBarrier();
    for (var i = li; i < LANES * fours; i += 256u) {
        var four = vec4<i32>(0, 0, 0, 0);
        if i < heads.count * fours {
            let inverse = query_steps[i / fours].x;
            for (var c = 0u; c < 4u; c += 1u) { four[c] = nearest_int(q[base + 4u * i + c] * inverse); }
        }
        queries[i] = four;
    }
    workgroupBarrier();
}

fn four_bytes(word: u32) -> vec4<i32> {
    return vec4<i32>(
        bitcast<i32>(word << 24u) >> 24u,
        bitcast<i32>(word << 16u) >> 24u,
        bitcast<i32>(word << 8u) >> 24u,
        bitcast<i32>(word) >> 24u,
    );
}

// m, l and o of the span from `start` on, of which the token sees first..end.
fn reduce_span(row: vec4<u32>, heads: Heads, start: u32, first: u32, end: u32, li: u32) {
    let fours = p.head_dim / 4u;
    for (var t = first + li; t < end; t += 256u) {
        let head = cache_row(row, start + t) * p.num_kv_heads + heads.kv;
        var dots = array<i32, 8>();
        for (var i = 0u; i < fours; i += 1u) {
            let key = four_bytes(keys[head * fours + i]);
            for (var h = 0u; h < LANES; h += 1u) {
                let four = queries[h * fours + i] * key;
                dots[h] += four.x + four.y + four.z + four.w;
            }
        }
        let scale = key_scales[head];
        for (var h = 0u; h < LANES; h += 1u) {
            weights[t * LANES + h] = bitcast<u32>(f32(dots[h]) * scale * (query_steps[h].y * p.scale));
        }
    }
    workgroupBarrier();
    soften(first, end, li);
    let h = li % LANES;
    let j = li / LANES;
    var most = 0u;
    for (var t = first + j; t < end; t += 32u) {
        let scale = value_scales[cache_row(row, start + t) * p.num_kv_heads + heads.kv];
        let weight = bitcast<u32>(bitcast<f32>(weights[t * LANES + h]) * scale);
        weights[t * LANES + h] = weight;
        most = max(most, weight & 0x7fffffffu);
    }
    largest[li] = most;
    workgroupBarrier();
    for (var half = 16u; half > 0u; half /= 2u) {
        if j < half { largest[li] = max(largest[li], largest[li + half * LANES]); }
        workgroupBarrier();
    }
    let inverse = int_steps(largest[h], WIDE_MAX).x;
    for (var t = first + j; t < end; t += 32u) {
        weights[t * LANES + h] = bitcast<u32>(nearest_int(bitcast<f32>(weights[t * LANES + h]) * inverse));
    }
    workgroupBarrier();
    // A column of two heads an invocation.
    for (var i = li; i < 4u * p.head_dim; i += 256u) {
        let d = i % p.head_dim;
        let first_head = i / p.head_dim;
        var low = 0;
        var high = 0;
        for (var t = first; t < end; t += 1u) {
            let at = (cache_row(row, start + t) * p.num_kv_heads + heads.kv) * p.head_dim + d;
            let value = bitcast<i32>(values[at / 4u] << (24u - at % 4u * 8u)) >> 24u;
            low += bitcast<i32>(weights[t * LANES + first_head]) * value;
            high += bitcast<i32>(weights[t * LANES + first_head + 4u]) * value;
        }
        span_values[i] = f32(low) * int_steps(largest[first_head], WIDE_MAX).y;
        span_values[i + 4u * p.head_dim] = f32(high) * int_steps(largest[first_head + 4u], WIDE_MAX).y;
    }
    workgroupBarrier();
}
