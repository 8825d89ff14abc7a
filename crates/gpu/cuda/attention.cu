// Softmax attention of rows, each over what it sees of its own sequence, with a sink in the denominator: `attention` of the
// CPU over a cache of f32, bf16 or int8. A block takes one row and up to eight query heads of a kv head together, over one span
// of 512 positions (`spans`, which `join` joins) or over one after the other (`rows`). Spans are joined in ascending order
// to (M, L, O), which starts as (sink, 1, 0); the output is O / L, and zeros for a row that is idle.
#include "parts/attention_bf16.h"
#include "parts/attention_f32.h"
#include "parts/attention_int8.h"

// The rows of a step.
struct Rows {
    const float* q;        // [T, H, D]
    const uint4* rows;     // [T]: position, first of its blocks, ring
    const uint32_t* table; // blocks of all sequences
};

// m, l and o of the span from `start` on, of which the row sees first..end, into the room.
template <class Cache>
DEVICE void reduce_span(SpanRoom& room, const AttentionParams& p, Cache cache, Sequence s, uint32_t start) {
    uint32_t seen = first_seen(p.window, s.row.x);
    uint32_t first = larger(seen, start) - start, end = smaller(s.row.x + 1 - start, SPAN);
    find_places(room, p, s, start, first, end);
    find_scores(room, p, cache, first, end);
    block_barrier();
    soften(room, first, end);
    add_values(room, p, cache, first, end);
    block_barrier();
}

// Spans are counted from the first that the row sees, and those it does not see are left as they are. Grid
// (spans, K * lane groups, T).
template <class Cache>
DEVICE void attend_span(SpanRoom& room, const AttentionParams& p, Cache cache, Rows r, float* partials) {
    Heads heads = heads_of(p, blockIdx.y);
    uint4 row = load(r.rows + blockIdx.z);
    uint32_t start = (first_seen(p.window, row.x) / SPAN + blockIdx.x) * SPAN;
    if (row.x == IDLE || start > row.x) return;
    if (threadIdx.x < LANES) room.tops[threadIdx.x] = 0;
    uint64_t first_head = (uint64_t)blockIdx.z * p.num_kv_heads * p.group + heads.first;
    load_queries(room, p, cache, r.q + first_head * p.head_dim, heads.count);
    reduce_span(room, p, cache, {row, r.table, heads.kv}, start);
    uint32_t width = 2 + p.head_dim;
    uint64_t lanes = (uint64_t)blockIdx.z * p.num_kv_heads * p.lane_groups + blockIdx.y;
    float* out = partials + (lanes * p.spans_max + blockIdx.x) * LANES * width;
    if (threadIdx.x < heads.count) {
        out[threadIdx.x * width] = room.m[threadIdx.x];
        out[threadIdx.x * width + 1] = span_sum(room, threadIdx.x);
    }
    for (uint32_t i = threadIdx.x; i < heads.count * p.head_dim; i += blockDim.x)
        out[i / p.head_dim * width + 2 + i % p.head_dim] = room.values[i];
}

// What is joined so far of a block's heads.
struct Joined {
    float top[LANES], sum[LANES];
    float o[LANES * HEAD_DIM_MAX]; // [LANES, D]
};

// Grid (K * lane groups, T).
template <class Cache>
DEVICE void attend_row(
    SpanRoom& room, Joined& joined, const AttentionParams& p, Cache cache, Rows r, const float* sinks, float* out)
{
    Heads heads = heads_of(p, blockIdx.x);
    uint4 row = load(r.rows + blockIdx.y);
    uint64_t base = ((uint64_t)blockIdx.y * p.num_kv_heads * p.group + heads.first) * p.head_dim;
    uint32_t numbers = heads.count * p.head_dim;
    if (row.x == IDLE) {
        for (uint32_t i = threadIdx.x; i < numbers; i += blockDim.x) out[base + i] = 0.0f;
        return;
    }
    if (threadIdx.x < LANES) room.tops[threadIdx.x] = 0;
    if (threadIdx.x < heads.count) {
        joined.top[threadIdx.x] = load(sinks + heads.first + threadIdx.x);
        joined.sum[threadIdx.x] = 1.0f;
    }
    for (uint32_t i = threadIdx.x; i < numbers; i += blockDim.x) joined.o[i] = 0.0f;
    load_queries(room, p, cache, r.q + base, heads.count);
    for (uint32_t start = first_seen(p.window, row.x) / SPAN * SPAN; start <= row.x; start += SPAN) {
        reduce_span(room, p, cache, {row, r.table, heads.kv}, start);
        for (uint32_t i = threadIdx.x; i < numbers; i += blockDim.x) {
            uint32_t h = i / p.head_dim;
            float m = room.m[h], top = joined.top[h], most = m > top ? m : top;
            joined.o[i] = fused(room.values[i], exp_of(m - most), joined.o[i] * exp_of(top - most));
        }
        block_barrier();
        if (threadIdx.x < heads.count) {
            float m = room.m[threadIdx.x], top = joined.top[threadIdx.x], most = m > top ? m : top;
            float scaled = joined.sum[threadIdx.x] * exp_of(top - most);
            joined.sum[threadIdx.x] = fused(span_sum(room, threadIdx.x), exp_of(m - most), scaled);
            joined.top[threadIdx.x] = most;
        }
        block_barrier();
    }
    for (uint32_t i = threadIdx.x; i < numbers; i += blockDim.x)
        out[base + i] = divide(joined.o[i], joined.sum[i / p.head_dim]);
}

KERNEL(256, attention_spans_f32, (
    const float* q, const uint4* keys, const float* values, const uint4* rows, const uint32_t* table,
    float* partials, // [T, K * lane groups, spans_max, LANES, 2 + D]
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    attend_span(
        room, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale}, F32Cache{keys, values},
        {q, rows, table}, partials);
}

KERNEL(256, attention_spans_bf16, (
    const float* q, const uint2* keys, const uint16_t* values, const uint4* rows, const uint32_t* table,
    float* partials, // [T, K * lane groups, spans_max, LANES, 2 + D]
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    attend_span(
        room, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale}, Bf16Cache{keys, values},
        {q, rows, table}, partials);
}

KERNEL(256, attention_spans_int8, (
    const float* q, const uint32_t* keys, const int8_t* values, const uint4* rows, const uint32_t* table,
    const float* key_scales, const float* value_scales, float* partials,
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    attend_span(
        room, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale},
        Int8Cache{keys, values, key_scales, value_scales}, {q, rows, table}, partials);
}

KERNEL(256, attention_rows_f32, (
    const float* q, const uint4* keys, const float* values, const uint4* rows, const uint32_t* table,
    const float* sinks, // [H]
    float* out,         // [T, H, D]
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    SHARED Joined joined;
    attend_row(
        room, joined, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale},
        F32Cache{keys, values}, {q, rows, table}, sinks, out);
}

KERNEL(256, attention_rows_bf16, (
    const float* q, const uint2* keys, const uint16_t* values, const uint4* rows, const uint32_t* table,
    const float* sinks, // [H]
    float* out,         // [T, H, D]
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    SHARED Joined joined;
    attend_row(
        room, joined, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale},
        Bf16Cache{keys, values}, {q, rows, table}, sinks, out);
}

KERNEL(256, attention_rows_int8, (
    const float* q, const uint32_t* keys, const int8_t* values, const uint4* rows, const uint32_t* table,
    const float* key_scales, const float* value_scales, const float* sinks, float* out,
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t ring_rows,
    uint32_t spans_max, float scale))
{
    SHARED SpanRoom room;
    SHARED Joined joined;
    attend_row(
        room, joined, {head_dim, num_kv_heads, group, lane_groups, window, ring_rows, spans_max, scale},
        Int8Cache{keys, values, key_scales, value_scales}, {q, rows, table}, sinks, out);
}

// Grid (H, T).
KERNEL(64, attention_join, (
    const float* partials, const uint4* rows, const float* sinks, float* out,
    uint32_t head_dim, uint32_t num_kv_heads, uint32_t group, uint32_t lane_groups, uint32_t window, uint32_t spans_max))
{
    uint32_t head = blockIdx.x, lane = head % group, position = load(rows + blockIdx.y).x;
    uint32_t num_spans = position / SPAN - first_seen(window, position) / SPAN + 1;
    uint64_t lanes = ((uint64_t)blockIdx.y * num_kv_heads + head / group) * lane_groups + lane / LANES;
    uint64_t base = ((uint64_t)blockIdx.y * num_kv_heads * group + head) * head_dim;
    for (uint32_t d = threadIdx.x; d < head_dim; d += blockDim.x) {
        if (position == IDLE) {
            out[base + d] = 0.0f;
            continue;
        }
        float top = load(sinks + head), sum = 1.0f, o = 0.0f;
        for (uint32_t span = 0; span < num_spans; span++) {
            const float* partial = partials + ((lanes * spans_max + span) * LANES + lane % LANES) * (2 + head_dim);
            float m = load(partial), most = m > top ? m : top;
            float a = exp_of(top - most), b = exp_of(m - most);
            sum = fused(load(partial + 1), b, sum * a);
            o = fused(load(partial + 2 + d), b, o * a);
            top = most;
        }
        out[base + d] = divide(o, sum);
    }
}
