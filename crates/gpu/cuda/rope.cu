// Rotates queries in place and keys into the cache, where values go too: `RopeAngles::apply` of the CPU, then nothing,
// `kv_bf16` (the nearest bf16, zero below 2^-60) or `quantize_kv` (int8 with a scale a head, the largest magnitude over 127).
// Pair i of a head is x[i] and x[i + D/2]; every product is rounded. A row that is idle is left alone. Grid (heads, T), a warp
// a head.
#include "parts/bf16.h"
#include "parts/cache_row.h"
#include "parts/int_steps.h"

const uint32_t PAIRS_MAX = 2; // of a thread: heads have 128 numbers at most

// What all forms read and rotate.
struct Rope {
    float* q;             // [T, H, D]
    const float* k;       // [T, K, D]
    const float* v;       // [T, K, D]
    const float2* angles; // [T, D / 2]: cosine and sine
    const uint4* rows;    // [T]: position, first of its blocks, ring
    const uint32_t* table;
    uint32_t head_dim, num_heads, num_kv_heads, ring_rows;
};

// Two neighboring pairs of a head, a thread's.
struct Pairs {
    float low[PAIRS_MAX], high[PAIRS_MAX];
};

// Whose the numbers are: the queries' heads come first, then those of keys, then those of values.
struct Head {
    bool is_query, is_key;
    uint32_t index;
};

DEVICE Head head_of(const Rope& p, uint32_t unit) {
    if (unit < p.num_heads) return {true, false, unit};
    unit -= p.num_heads;
    return {false, unit < p.num_kv_heads, unit % p.num_kv_heads};
}

// A thread's pairs, rotated unless they are values.
DEVICE Pairs rotated(const Rope& p, Head head, const float* x) {
    uint32_t i = threadIdx.x % WARP * PAIRS_MAX, half = p.head_dim / 2;
    Pairs pairs = {};
    for (uint32_t c = 0; c < PAIRS_MAX && i < half; c++) {
        float a = x[i + c], b = x[i + c + half];
        float2 angle = load(p.angles + (uint64_t)blockIdx.y * half + i + c);
        bool turns = head.is_query || head.is_key;
        pairs.low[c] = turns ? a * angle.x - b * angle.y : a;
        pairs.high[c] = turns ? b * angle.x + a * angle.y : b;
    }
    return pairs;
}

DEVICE const float* numbers_of(const Rope& p, Head head) {
    if (head.is_query) return p.q + ((uint64_t)blockIdx.y * p.num_heads + head.index) * p.head_dim;
    return (head.is_key ? p.k : p.v) + ((uint64_t)blockIdx.y * p.num_kv_heads + head.index) * p.head_dim;
}

DEVICE void write_query(const Rope& p, Head head, Pairs pairs) {
    uint32_t i = threadIdx.x % WARP * PAIRS_MAX, half = p.head_dim / 2;
    float* q = p.q + ((uint64_t)blockIdx.y * p.num_heads + head.index) * p.head_dim;
    for (uint32_t c = 0; c < PAIRS_MAX && i < half; c++) {
        q[i + c] = pairs.low[c];
        q[i + c + half] = pairs.high[c];
    }
}

DEVICE uint32_t two_bf16(const float (&x)[PAIRS_MAX]) {
    return nearest_bf16(x[1], SMALLEST_KV) | nearest_bf16(x[0], SMALLEST_KV) >> 16;
}

KERNEL(64, rope_f32, (
    float* q, const float* k, const float* v, const float2* angles, const uint4* rows, const uint32_t* table,
    float* keys,   // [rows, K, D]
    float* values, // [rows, K, D]
    uint32_t head_dim, uint32_t num_heads, uint32_t num_kv_heads, uint32_t ring_rows))
{
    Rope p = {q, k, v, angles, rows, table, head_dim, num_heads, num_kv_heads, ring_rows};
    uint4 row = load(rows + blockIdx.y);
    if (row.x == IDLE) return;
    uint32_t warps = blockDim.x / WARP, thread = threadIdx.x % WARP, heads = num_heads + 2 * num_kv_heads;
    for (uint32_t unit = blockIdx.x * warps + threadIdx.x / WARP; unit < heads; unit += gridDim.x * warps) {
        Head head = head_of(p, unit);
        Pairs pairs = rotated(p, head, numbers_of(p, head));
        if (head.is_query) {
            write_query(p, head, pairs);
        } else if (thread < head_dim / 4) {
            uint64_t to = (uint64_t)cache_row(row, table, ring_rows, row.x) * num_kv_heads + head.index;
            float* cache = (head.is_key ? keys : values) + to * head_dim + thread * PAIRS_MAX;
            for (uint32_t c = 0; c < PAIRS_MAX; c++) {
                cache[c] = pairs.low[c];
                cache[c + head_dim / 2] = pairs.high[c];
            }
        }
    }
}

KERNEL(64, rope_bf16, (
    float* q, const float* k, const float* v, const float2* angles, const uint4* rows, const uint32_t* table,
    uint32_t* keys,   // [rows, K, D] bf16
    uint32_t* values, // [rows, K, D] bf16
    uint32_t head_dim, uint32_t num_heads, uint32_t num_kv_heads, uint32_t ring_rows))
{
    Rope p = {q, k, v, angles, rows, table, head_dim, num_heads, num_kv_heads, ring_rows};
    uint4 row = load(rows + blockIdx.y);
    if (row.x == IDLE) return;
    uint32_t warps = blockDim.x / WARP, thread = threadIdx.x % WARP, heads = num_heads + 2 * num_kv_heads;
    for (uint32_t unit = blockIdx.x * warps + threadIdx.x / WARP; unit < heads; unit += gridDim.x * warps) {
        Head head = head_of(p, unit);
        Pairs pairs = rotated(p, head, numbers_of(p, head));
        if (head.is_query) {
            write_query(p, head, pairs);
        } else if (thread < head_dim / 4) {
            uint32_t to = (cache_row(row, table, ring_rows, row.x) * num_kv_heads + head.index) * (head_dim / 2) + thread;
            uint32_t* cache = head.is_key ? keys : values;
            cache[to] = two_bf16(pairs.low);
            cache[to + head_dim / 4] = two_bf16(pairs.high);
        }
    }
}

KERNEL(64, rope_int8, (
    float* q, const float* k, const float* v, const float2* angles, const uint4* rows, const uint32_t* table,
    int8_t* keys,        // [rows, K, D]
    int8_t* values,      // [rows, K, D]
    float* key_scales,   // [rows, K]
    float* value_scales, // [rows, K]
    uint32_t head_dim, uint32_t num_heads, uint32_t num_kv_heads, uint32_t ring_rows))
{
    Rope p = {q, k, v, angles, rows, table, head_dim, num_heads, num_kv_heads, ring_rows};
    uint4 row = load(rows + blockIdx.y);
    if (row.x == IDLE) return;
    uint32_t warps = blockDim.x / WARP, thread = threadIdx.x % WARP, heads = num_heads + 2 * num_kv_heads;
    for (uint32_t unit = blockIdx.x * warps + threadIdx.x / WARP; unit < heads; unit += gridDim.x * warps) {
        Head head = head_of(p, unit);
        Pairs pairs = rotated(p, head, numbers_of(p, head));
        if (head.is_query) {
            write_query(p, head, pairs);
            continue;
        }
        uint32_t most = 0;
        for (uint32_t c = 0; c < PAIRS_MAX; c++)
            most = larger(most, larger(magnitude(pairs.low[c]), magnitude(pairs.high[c])));
        Steps steps = int_steps(warp_max(most), 127.0f);
        uint32_t to = cache_row(row, table, ring_rows, row.x) * num_kv_heads + head.index;
        if (thread == 0) (head.is_key ? key_scales : value_scales)[to] = steps.size;
        int8_t* cache = (head.is_key ? keys : values) + (uint64_t)to * head_dim;
        for (uint32_t c = 0; c < PAIRS_MAX && thread < head_dim / 4; c++) {
            cache[thread * PAIRS_MAX + c] = (int8_t)nearest(pairs.low[c] * steps.inverse);
            cache[thread * PAIRS_MAX + c + head_dim / 2] = (int8_t)nearest(pairs.high[c] * steps.inverse);
        }
    }
}
