// A span over keys and values in f32. Scores: two chains, of the even and of the odd numbers, ascending. o: one chain,
// positions ascending.
#pragma once
#include "attention_heads.h"

struct F32Cache {
    const uint4* keys;   // [rows, K, D] by their bits
    const float* values; // [rows, K, D]
};

DEVICE void load_queries(SpanRoom& room, const AttentionParams& p, F32Cache, const float* q, uint32_t heads) {
    for (uint32_t i = threadIdx.x; i < LANES * p.head_dim; i += blockDim.x)
        room.queries[i] = i < heads * p.head_dim ? to_bits(load(q + i)) : 0;
}

DEVICE void find_scores(SpanRoom& room, const AttentionParams& p, F32Cache cache, uint32_t first, uint32_t end) {
    uint32_t fours = p.head_dim / 4;
    const uint4* queries = reinterpret_cast<const uint4*>(room.queries);
    for (uint32_t t = first + threadIdx.x; t < end; t += blockDim.x) {
        const uint4* key = cache.keys + (uint64_t)room.places[t] * fours;
        float even[LANES] = {}, odd[LANES] = {};
#pragma unroll 2
        for (uint32_t i = 0; i < fours; i++) {
            uint4 four = load(key + i);
#pragma unroll
            for (uint32_t h = 0; h < LANES; h++) {
                uint4 query = queries[h * fours + i];
                even[h] = fused(from_bits(query.x), from_bits(four.x), even[h]);
                even[h] = fused(from_bits(query.z), from_bits(four.z), even[h]);
                odd[h] = fused(from_bits(query.y), from_bits(four.y), odd[h]);
                odd[h] = fused(from_bits(query.w), from_bits(four.w), odd[h]);
            }
        }
#pragma unroll
        for (uint32_t h = 0; h < LANES; h++) room.weights[t * LANES + h] = to_bits((even[h] + odd[h]) * p.scale);
    }
}

DEVICE void add_values(SpanRoom& room, const AttentionParams& p, F32Cache cache, uint32_t first, uint32_t end) {
    // A column of two heads a thread.
    for (uint32_t i = threadIdx.x; i < 4 * p.head_dim; i += blockDim.x) {
        const float* column = cache.values + i % p.head_dim;
        uint32_t h = i / p.head_dim;
        float sums[2] = {};
        UNROLL
        for (uint32_t t = first; t < end; t++) {
            float value = load(column + (uint64_t)room.places[t] * p.head_dim);
            sums[0] = fused(from_bits(room.weights[t * LANES + h]), value, sums[0]);
            sums[1] = fused(from_bits(room.weights[t * LANES + h + 4]), value, sums[1]);
        }
        room.values[i] = sums[0];
        room.values[i + 4 * p.head_dim] = sums[1];
    }
}
