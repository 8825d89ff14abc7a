// What attention kernels share: the heads of a block, what a row sees, the softmax of a span.
#pragma once
#include "cache_row.h"
#include "exp.h"

const uint32_t SPAN = 512;
const uint32_t HEAD_DIM_MAX = 128;

struct AttentionParams {
    uint32_t head_dim;     // D, a multiple of 4, HEAD_DIM_MAX at most
    uint32_t num_kv_heads; // K
    uint32_t group;        // query heads of a kv head
    uint32_t lane_groups;  // eights that they fill, the last perhaps in part
    uint32_t window;       // positions that a row sees; 0: all
    uint32_t ring_rows;    // rows of a ring; 0: blocks
    uint32_t spans_max;    // spans for which there is room
    float scale;           // on scores
};

// What a block shares. `tops` are zero between spans.
struct alignas(16) SpanRoom {
    uint32_t queries[LANES * HEAD_DIM_MAX]; // [LANES, D]: bits of f32 or int16 in pairs
    float query_steps[LANES];
    uint32_t weights[SPAN * LANES];         // bits of scores, then of weights
    uint32_t places[SPAN];                  // of the positions: cache row times K plus kv head
    uint32_t tops[LANES];                   // ordered bits of the largest score, then of the largest weight
    float m[LANES];
    float chains[4 * LANES];                // of l
    float values[LANES * HEAD_DIM_MAX];     // [LANES, D]: o
};

// Whose keys and values a block sees.
struct Sequence {
    uint4 row;             // position, first of its blocks, ring
    const uint32_t* table; // blocks of all sequences
    uint32_t kv;           // the kv head
};

// The kv head and the query heads of a block.
struct Heads {
    uint32_t kv, first, count;
};

DEVICE Heads heads_of(const AttentionParams& p, uint32_t index) {
    uint32_t kv = index / p.lane_groups, first = index % p.lane_groups * LANES;
    return {kv, kv * p.group + first, smaller(LANES, p.group - first)};
}

DEVICE uint32_t first_seen(uint32_t window, uint32_t position) {
    return window > 0 ? position + 1 - smaller(window, position + 1) : 0;
}

// Positions first..end of a span: which rows of the cache they are in.
DEVICE void find_places(
    SpanRoom& room, const AttentionParams& p, Sequence s, uint32_t start, uint32_t first, uint32_t end)
{
    for (uint32_t t = first + threadIdx.x; t < end; t += blockDim.x)
        room.places[t] = cache_row(s.row, s.table, p.ring_rows, start + t) * p.num_kv_heads + s.kv;
    block_barrier();
}

// A number whose order is that of the scores. Where NaN comes does not matter: what it is weighted with is NaN, largest or
// not.
DEVICE uint32_t order_of(float score) {
    uint32_t bits = to_bits(score);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The largest of what the threads of a head have, threads with equal numbers modulo LANES, into `tops`, which is zero.
DEVICE void join_tops(SpanRoom& room, uint32_t most) {
    most = larger(most, across(most, 8));
    most = larger(most, across(most, 16));
    if (threadIdx.x % WARP < LANES) atomic_max(room.tops + threadIdx.x % LANES, most);
    block_barrier();
}

// Scores become weights, m and l; positions first..end of the span.
DEVICE void soften(SpanRoom& room, uint32_t first, uint32_t end) {
    uint32_t h = threadIdx.x % LANES, strides = blockDim.x / LANES;
    uint32_t most = order_of(LOWEST);
    for (uint32_t t = first + threadIdx.x / LANES; t < end; t += strides)
        most = larger(most, order_of(from_bits(room.weights[t * LANES + h])));
    join_tops(room, most);
    uint32_t top = room.tops[h];
    float m = from_bits(top & 0x80000000u ? top & 0x7fffffffu : ~top);
    for (uint32_t t = first + threadIdx.x / LANES; t < end; t += strides)
        room.weights[t * LANES + h] = to_bits(exp_of(from_bits(room.weights[t * LANES + h]) - m));
    if (threadIdx.x < LANES) room.m[h] = m;
    block_barrier();
    // Chain c takes every fourth position from the c-th in sight on, ascending. The CPU counts from the span's beginning:
    // the same chains by other numbers, and those that are two apart are added first either way.
    if (threadIdx.x < 4 * LANES) {
        uint32_t c = threadIdx.x / LANES;
        float l = 0.0f;
        for (uint32_t t = first + c; t < end; t += 4) l += from_bits(room.weights[t * LANES + h]);
        room.chains[threadIdx.x] = l;
    }
    if (threadIdx.x < LANES) room.tops[h] = 0;
    block_barrier();
}

// l of a query head of the block.
DEVICE float span_sum(const SpanRoom& room, uint32_t h) {
    return (room.chains[h] + room.chains[2 * LANES + h]) + (room.chains[LANES + h] + room.chains[3 * LANES + h]);
}
