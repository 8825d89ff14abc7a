// What products of up to TOKENS rows with one matrix share: eight threads an output, one a lane; the matrix is read once
// for the rows of a block.
#pragma once
#include "../card.h"

struct GemvParams {
    uint32_t n, k; // values of a row
    uint32_t t;    // tokens of all
    uint32_t parts; // 1, or 2: T rows behind its token lies a token's rest
    uint32_t has_bias, adds;
};

// The tokens of a block: so many that their parts are TOKENS rows, and the last as many as are left.
struct Tokens {
    uint32_t first, count;
};

DEVICE Tokens tokens_of(const GemvParams& p, uint32_t slots_max) {
    uint32_t most = slots_max / p.parts, first = blockIdx.y * most;
    return {first, smaller(most, p.t - first)};
}

// Where a row is: those of the tokens, then their rests.
DEVICE uint64_t row_of(const GemvParams& p, Tokens tokens, uint32_t slot) {
    return tokens.first + (slot >= tokens.count ? p.t + slot - tokens.count : slot);
}

// Folds the lanes of every slot and adds the bias, in two parts to the sum of both. Thread s of an output's eight writes
// token s.
template <uint32_t TOKENS>
DEVICE void finish(
    const GemvParams& p, Tokens tokens, const float (&sums)[TOKENS], uint32_t output, float* out, const float* bias)
{
    uint32_t lane = threadIdx.x % LANES;
    float product = 0.0f, rest = 0.0f;
#pragma unroll
    for (uint32_t slot = 0; slot < TOKENS; slot++) {
        float folded = tree(sums[slot]);
        if (slot == lane) product = folded;
        if (slot == lane + tokens.count) rest = folded;
    }
    if (lane >= tokens.count || output >= p.n) return;
    float added = p.has_bias ? load(bias + output) : 0.0f;
    if (p.parts == 2) {
        product = (product + 0.0f) + (rest + 0.0f);
        if (p.has_bias) product += added;
    } else {
        product += added;
    }
    float* place = out + (uint64_t)(tokens.first + lane) * p.n + output;
    *place = p.adds ? *place + product : product;
}
