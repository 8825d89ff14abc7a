// The best tokens of rows of logits, the largest first and of equals the lower id, and the sums of the softmax. A key is
// (rank, token); ranks are ordered as the logits are and both zeros are one, and 0 is the rank of what never comes: negative
// infinity, NaN, and what a mask forbids.
#include "parts/exp.h"

const uint32_t SPAN = 2048;   // logits of a block, and keys that are sorted together
const uint32_t CHAINS = 256;  // of a span's sums
const uint32_t NOBODY = 0xffffffffu;

// What a block shares. `of_all` and `of_allowed` are folded by halves.
struct Room {
    uint2 keys[SPAN];
    float of_all[CHAINS], of_allowed[CHAINS];
};

DEVICE uint32_t rank_of(float logit) {
    uint32_t bits = to_bits(logit);
    if (bits == 0x80000000u) bits = 0;
    if (bits == (INFINITE | 0x80000000u) || magnitude(logit) > INFINITE) return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

DEVICE bool is_before(uint2 a, uint2 b) { return a.x > b.x || (a.x == b.x && a.y < b.y); }

// Sorts all keys, the first first; a barrier has been.
DEVICE void sort_keys(Room& room) {
    for (uint32_t run = 2; run <= SPAN; run *= 2) {
        for (uint32_t gap = run / 2; gap > 0; gap /= 2) {
            for (uint32_t i = threadIdx.x; i < SPAN / 2; i += blockDim.x) {
                uint32_t a = i / gap * 2 * gap + i % gap, b = a + gap;
                uint2 first = room.keys[a], second = room.keys[b];
                bool is_falling = (a & run) == 0;
                if (is_before(second, first) == is_falling) {
                    room.keys[a] = second;
                    room.keys[b] = first;
                }
            }
            block_barrier();
        }
    }
}

DEVICE float larger_of(float a, float b) { return b > a ? b : a; }

// Folds both chains by halves into their first; a barrier has been, and one follows.
template <class Join> DEVICE void fold(Room& room, Join join) {
    for (uint32_t half = CHAINS / 2; half > 0; half /= 2) {
        for (uint32_t i = threadIdx.x; i < half; i += blockDim.x) {
            room.of_all[i] = join(room.of_all[i], room.of_all[i + half]);
            room.of_allowed[i] = join(room.of_allowed[i], room.of_allowed[i + half]);
        }
        block_barrier();
    }
}

// Grid (spans, rows).
KERNEL(256, best_spans, (
    const float* logits,  // [rows, V]
    const uint32_t* mask, // [rows, mask_words]
    uint2* found,         // [rows, spans, count]: rank, token
    uint4* softmax,       // [rows, spans]: bits of m, l; of the allowed m, l
    uint32_t vocab, uint32_t count, uint32_t num_spans,
    uint32_t mask_words)) // 0: all are allowed
{
    SHARED Room room;
    uint32_t start = blockIdx.x * SPAN, end = smaller(vocab, start + SPAN);
    const float* row = logits + (uint64_t)blockIdx.y * vocab;
    const uint32_t* words = mask + (uint64_t)blockIdx.y * mask_words;
    auto is_allowed = [&](uint32_t token) {
        if (mask_words == 0) return true;
        return token / 32 < mask_words && (load(words + token / 32) >> token % 32 & 1u) == 1;
    };
    for (uint32_t chain = threadIdx.x; chain < CHAINS; chain += blockDim.x) {
        float of_all = LOWEST, of_allowed = LOWEST;
        for (uint32_t place = chain; place < SPAN; place += CHAINS) {
            uint32_t token = start + place;
            uint2 key = {0, NOBODY};
            if (token < end) {
                float logit = load(row + token);
                bool allowed = is_allowed(token);
                of_all = larger_of(of_all, logit);
                if (allowed) of_allowed = larger_of(of_allowed, logit);
                if (allowed && rank_of(logit) > 0) key = {rank_of(logit), token};
            }
            room.keys[place] = key;
        }
        room.of_all[chain] = of_all;
        room.of_allowed[chain] = of_allowed;
    }
    block_barrier();
    fold(room, [](float a, float b) { return larger_of(a, b); });
    float top = room.of_all[0], allowed_top = room.of_allowed[0];
    block_barrier();
    for (uint32_t chain = threadIdx.x; chain < CHAINS; chain += blockDim.x) {
        float of_all = 0.0f, of_allowed = 0.0f;
        for (uint32_t token = start + chain; token < end; token += CHAINS) {
            float logit = load(row + token);
            of_all += exp_of(logit - top);
            if (is_allowed(token)) of_allowed += exp_of(logit - allowed_top);
        }
        room.of_all[chain] = of_all;
        room.of_allowed[chain] = of_allowed;
    }
    block_barrier();
    fold(room, [](float a, float b) { return a + b; });
    sort_keys(room);
    uint64_t span = (uint64_t)blockIdx.y * num_spans + blockIdx.x;
    if (threadIdx.x == 0)
        softmax[span] = {to_bits(top), to_bits(room.of_all[0]), to_bits(allowed_top), to_bits(room.of_allowed[0])};
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) found[span * count + i] = room.keys[i];
}

// Spans are joined ascending, each to (M, L) from (the lowest finite number, 0) on.
DEVICE void join_sums(const uint4* softmax, uint32_t num_spans, uint4* sums) {
    float top = LOWEST, allowed_top = LOWEST, of_all = 0.0f, of_allowed = 0.0f;
    for (uint32_t span = 0; span < num_spans; span++) {
        uint4 bits = load(softmax + span);
        float m = from_bits(bits.x), allowed_m = from_bits(bits.z);
        float most = larger_of(top, m), allowed_most = larger_of(allowed_top, allowed_m);
        of_all = fused(from_bits(bits.y), exp_of(m - most), of_all * exp_of(top - most));
        of_allowed =
            fused(from_bits(bits.w), exp_of(allowed_m - allowed_most), of_allowed * exp_of(allowed_top - allowed_most));
        top = most;
        allowed_top = allowed_most;
    }
    *sums = {to_bits(top), to_bits(of_all), to_bits(allowed_top), to_bits(of_allowed)};
}

// Grid (rows).
KERNEL(256, best_join, (
    const float* logits, const uint2* found, const uint4* softmax,
    uint2* tokens, // [rows, count]: token, bits of its logit
    uint4* sums,   // [rows]: bits of M, L; of the allowed M, L
    uint32_t vocab, uint32_t count, uint32_t num_spans))
{
    SHARED Room room;
    uint64_t row = blockIdx.x;
    if (threadIdx.x == 0) join_sums(softmax + row * num_spans, num_spans, sums + row);
    // The best so far stay in front; behind them come as many new keys as there is room for.
    uint32_t total = num_spans * count, space = SPAN - count;
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) room.keys[i] = {0, NOBODY};
    for (uint32_t next = 0; next < total; next += space) {
        for (uint32_t i = threadIdx.x; i < space; i += blockDim.x) {
            uint2 key = {0, NOBODY};
            if (next + i < total) key = load(found + row * total + next + i);
            room.keys[count + i] = key;
        }
        block_barrier();
        sort_keys(room);
    }
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
        uint2 key = room.keys[i], token = {NOBODY, INFINITE | 0x80000000u};
        if (key.x > 0) token = {key.y, to_bits(load(logits + row * vocab + key.y))};
        tokens[row * count + i] = token;
    }
}
