// A span over keys and values in bf16. Scores: the query rounded to bf16, two chains of pairs of numbers, of a pair the
// second product first. o: weights rounded to bf16, one chain by pairs of positions, of a pair the second first.
#pragma once
#include "attention_heads.h"
#include "bf16.h"

struct Bf16Cache {
    const uint2* keys;      // [rows, K, D]
    const uint16_t* values; // [rows, K, D]
};

DEVICE void load_queries(SpanRoom& room, const AttentionParams& p, Bf16Cache, const float* q, uint32_t heads) {
    for (uint32_t i = threadIdx.x; i < LANES * p.head_dim; i += blockDim.x)
        room.queries[i] = i < heads * p.head_dim ? nearest_bf16(load(q + i), SMALLEST_QUERY) : 0;
}

DEVICE void find_scores(SpanRoom& room, const AttentionParams& p, Bf16Cache cache, uint32_t first, uint32_t end) {
    uint32_t fours = p.head_dim / 4;
    const uint4* queries = reinterpret_cast<const uint4*>(room.queries);
    for (uint32_t t = first + threadIdx.x; t < end; t += blockDim.x) {
        const uint2* key = cache.keys + (uint64_t)room.places[t] * fours;
        float even[LANES] = {}, odd[LANES] = {};
#pragma unroll 2
        for (uint32_t i = 0; i < fours; i++) {
            uint2 four = load(key + i);
#pragma unroll
            for (uint32_t h = 0; h < LANES; h++) {
                uint4 query = queries[h * fours + i];
                even[h] = fused(from_bits(query.y), from_bits(four.x & 0xffff0000u), even[h]);
                even[h] = fused(from_bits(query.x), from_bits(four.x << 16), even[h]);
                odd[h] = fused(from_bits(query.w), from_bits(four.y & 0xffff0000u), odd[h]);
                odd[h] = fused(from_bits(query.z), from_bits(four.y << 16), odd[h]);
            }
        }
#pragma unroll
        for (uint32_t h = 0; h < LANES; h++) room.weights[t * LANES + h] = to_bits((even[h] + odd[h]) * p.scale);
    }
}

DEVICE void add_value(
    const SpanRoom& room, const uint16_t* column, uint32_t head_dim, uint32_t t, uint32_t h, float (&sums)[2])
{
    float value = from_bits((uint32_t)load(column + (uint64_t)room.places[t] * head_dim) << 16);
    sums[0] = fused(from_bits(room.weights[t * LANES + h]), value, sums[0]);
    sums[1] = fused(from_bits(room.weights[t * LANES + h + 4]), value, sums[1]);
}

DEVICE void add_values(SpanRoom& room, const AttentionParams& p, Bf16Cache cache, uint32_t first, uint32_t end) {
    for (uint32_t i = first * LANES + threadIdx.x; i < end * LANES; i += blockDim.x)
        room.weights[i] = nearest_bf16(from_bits(room.weights[i]), SMALLEST_QUERY);
    block_barrier();
    // A column of two heads a thread.
    for (uint32_t i = threadIdx.x; i < 4 * p.head_dim; i += blockDim.x) {
        const uint16_t* column = cache.values + i % p.head_dim;
        uint32_t h = i / p.head_dim, t = first;
        float sums[2] = {};
        if (t % 2 == 1) add_value(room, column, p.head_dim, t++, h, sums);
        UNROLL
        for (; t + 2 <= end; t += 2) {
            add_value(room, column, p.head_dim, t + 1, h, sums);
            add_value(room, column, p.head_dim, t, h, sums);
        }
        if (t < end) add_value(room, column, p.head_dim, t, h, sums);
        room.values[i] = sums[0];
        room.values[i + 4 * p.head_dim] = sums[1];
    }
}
