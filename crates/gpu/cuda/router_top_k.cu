// The largest logits of a token in descending order, ties to the lowest index and NaN as the lowest, and the softmax over
// them: `top_k_softmax` of the CPU. Grid (T), a warp a token.
#include "parts/exp.h"

const uint32_t EXPERTS_MAX = 256;
const uint32_t ACTIVE_MAX = 8;

// Ranks are ordered as the logits are; both zeros are one, and NaN is negative infinity. None is 0.
DEVICE uint32_t rank_of(float logit) {
    uint32_t bits = to_bits(logit);
    if (magnitude(logit) > INFINITE) bits = 0xff800000u;
    if (bits == 0x80000000u) bits = 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

KERNEL(32, router_top_k, (
    const float* logits, // [T, E]
    uint32_t* experts,   // [T, A]
    float* weights,      // [T, A]
    uint32_t num_experts, uint32_t active))
{
    uint32_t thread = threadIdx.x, token = blockIdx.x;
    const float* row = logits + (uint64_t)token * num_experts;
    uint32_t ranks[EXPERTS_MAX / WARP], best[ACTIVE_MAX];
#pragma unroll
    for (uint32_t i = 0; i < EXPERTS_MAX / WARP; i++)
        ranks[i] = i * WARP + thread < num_experts ? rank_of(load(row + i * WARP + thread)) : 0;
#pragma unroll
    for (uint32_t place = 0; place < ACTIVE_MAX; place++) {
        uint32_t most = 0;
#pragma unroll
        for (uint32_t i = 0; i < EXPERTS_MAX / WARP; i++) most = larger(most, ranks[i]);
        most = warp_max(most);
        // The lowest expert of that rank, counted down from the most there can be.
        uint32_t down = 0;
#pragma unroll
        for (uint32_t i = 0; i < EXPERTS_MAX / WARP; i++)
            if (ranks[i] == most) down = larger(down, EXPERTS_MAX - (i * WARP + thread));
        best[place] = EXPERTS_MAX - warp_max(down);
#pragma unroll
        for (uint32_t i = 0; i < EXPERTS_MAX / WARP; i++)
            if (i * WARP + thread == best[place]) ranks[i] = 0;
    }
    if (thread > 0) return;
    float largest = load(row + best[0]), shares[ACTIVE_MAX], sum = 0.0f;
#pragma unroll
    for (uint32_t place = 0; place < ACTIVE_MAX; place++) {
        if (place >= active) break;
        shares[place] = exp_of(load(row + best[place]) - largest);
        sum += shares[place];
    }
#pragma unroll
    for (uint32_t place = 0; place < ACTIVE_MAX; place++) {
        if (place >= active) break;
        experts[(uint64_t)token * active + place] = best[place];
        weights[(uint64_t)token * active + place] = divide(shares[place], sum);
    }
}
