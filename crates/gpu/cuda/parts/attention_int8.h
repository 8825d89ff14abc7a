// A span over keys and values in int8, a scale a head. Scores: the query as integers up to 32,767, the sum of integers times
// the key's scale, times (the query's step times the factor). o: each weight times its value's scale as an integer up to
// 32,767 of the largest, the sum of integers times the size of their step.
#pragma once
#include "attention_heads.h"
#include "int_steps.h"

const float WIDE_MAX = 32767.0f;

struct Int8Cache {
    const uint32_t* keys;      // [rows, K, D]
    const int8_t* values;      // [rows, K, D]
    const float* key_scales;   // [rows, K]
    const float* value_scales; // [rows, K]
};

// Two neighboring numbers a word, a warp a head.
DEVICE void load_queries(SpanRoom& room, const AttentionParams& p, Int8Cache, const float* q, uint32_t heads) {
    uint32_t pairs = p.head_dim / 2, thread = threadIdx.x % WARP;
    for (uint32_t h = threadIdx.x / WARP; h < LANES; h += blockDim.x / WARP) {
        uint32_t most = 0;
        for (uint32_t i = thread; i < p.head_dim && h < heads; i += WARP)
            most = larger(most, magnitude(load(q + h * p.head_dim + i)));
        Steps steps = int_steps(warp_max(most), WIDE_MAX);
        if (thread == 0) room.query_steps[h] = steps.size;
        for (uint32_t i = thread; i < pairs; i += WARP) {
            const float* two = q + h * p.head_dim + 2 * i;
            uint32_t low = h < heads ? nearest(load(two) * steps.inverse) : 0;
            uint32_t high = h < heads ? nearest(load(two + 1) * steps.inverse) : 0;
            room.queries[h * pairs + i] = (low & 0xffffu) | high << 16;
        }
    }
}

DEVICE void find_scores(SpanRoom& room, const AttentionParams& p, Int8Cache cache, uint32_t first, uint32_t end) {
    uint32_t fours = p.head_dim / 4;
    const uint2* queries = reinterpret_cast<const uint2*>(room.queries);
    for (uint32_t t = first + threadIdx.x; t < end; t += blockDim.x) {
        const uint32_t* key = cache.keys + (uint64_t)room.places[t] * fours;
        int dots[LANES] = {};
#pragma unroll 2
        for (uint32_t i = 0; i < fours; i++) {
            uint32_t four = load(key + i);
#pragma unroll
            for (uint32_t h = 0; h < LANES; h++) {
                uint2 query = queries[h * fours + i];
                dots[h] = dot2_high(query.y, four, dot2_low(query.x, four, dots[h]));
            }
        }
        float scale = load(cache.key_scales + room.places[t]);
#pragma unroll
        for (uint32_t h = 0; h < LANES; h++)
            room.weights[t * LANES + h] = to_bits((float)dots[h] * scale * (room.query_steps[h] * p.scale));
    }
}

DEVICE void add_values(SpanRoom& room, const AttentionParams& p, Int8Cache cache, uint32_t first, uint32_t end) {
    uint32_t h = threadIdx.x % LANES, strides = blockDim.x / LANES, most = 0;
    for (uint32_t t = first + threadIdx.x / LANES; t < end; t += strides) {
        float weight = from_bits(room.weights[t * LANES + h]) * load(cache.value_scales + room.places[t]);
        room.weights[t * LANES + h] = to_bits(weight);
        most = larger(most, magnitude(weight));
    }
    join_tops(room, most);
    float inverse = int_steps(room.tops[h], WIDE_MAX).inverse;
    for (uint32_t t = first + threadIdx.x / LANES; t < end; t += strides)
        room.weights[t * LANES + h] = (uint32_t)nearest(from_bits(room.weights[t * LANES + h]) * inverse);
    block_barrier();
    // A column of two heads a thread.
    for (uint32_t i = threadIdx.x; i < 4 * p.head_dim; i += blockDim.x) {
        const int8_t* column = cache.values + i % p.head_dim;
        uint32_t head = i / p.head_dim;
        int sums[2] = {};
        UNROLL
        for (uint32_t t = first; t < end; t++) {
            int value = load(column + (uint64_t)room.places[t] * p.head_dim);
            sums[0] += (int)room.weights[t * LANES + head] * value;
            sums[1] += (int)room.weights[t * LANES + head + 4] * value;
        }
        room.values[i] = (float)sums[0] * int_steps(room.tops[head], WIDE_MAX).size;
        room.values[i + 4 * p.head_dim] = (float)sums[1] * int_steps(room.tops[head + 4], WIDE_MAX).size;
    }
    block_barrier();
    if (threadIdx.x < LANES) room.tops[h] = 0;
}
