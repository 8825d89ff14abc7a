// Products of f32 rows with a matrix of f32, of bf16, or of the numbers of Q8_0, exact in f32: element k goes to lane
// k mod 8, a lane adds fused and ascending, then the tree plus the bias. `linear` of the CPU. Grid (outputs, chunks of up
// to TOKENS rows).
#include "parts/gemv_rows.h"

struct Floats {
    const float* values; // [N, K]
    DEVICE_MEMBER float at(uint64_t i) const { return load(values + i); }
};

struct Halves {
    const uint16_t* values; // [N, K] bf16
    DEVICE_MEMBER float at(uint64_t i) const { return from_bits((uint32_t)load(values + i) << 16); }
};

struct Int8s {
    const int8_t* values;   // [N, K]
    const uint16_t* scales; // [N, K / 32] halves
    DEVICE_MEMBER float at(uint64_t i) const { return (float)load(values + i) * half(load(scales + i / BLOCK)); }
};

template <uint32_t TOKENS, class Weights>
DEVICE void gemv_floats(const GemvParams& p, float* out, const float* bias, const float* x, Weights weights) {
    uint32_t outputs = blockDim.x / LANES;
    Tokens tokens = tokens_of(p, TOKENS);
    for (uint32_t first = blockIdx.x * outputs; first < p.n; first += gridDim.x * outputs) {
        uint32_t output = first + threadIdx.x / LANES;
        // A warp stays together for its shuffles: beyond the end it computes the last output again.
        uint64_t row = (uint64_t)smaller(output, p.n - 1) * p.k;
        float sums[TOKENS] = {};
#pragma unroll (8 / TOKENS + 1)
        for (uint32_t k = threadIdx.x % LANES; k < p.k; k += LANES) {
            float weight = weights.at(row + k);
#pragma unroll
            for (uint32_t slot = 0; slot < TOKENS; slot++) {
                if (slot < tokens.count)
                    sums[slot] = fused(load(x + (uint64_t)(tokens.first + slot) * p.k + k), weight, sums[slot]);
            }
        }
        finish<TOKENS>(p, tokens, sums, output, out, bias);
    }
}

#define GEMV_FLOATS(TOKENS)                                                                                                  \
    KERNEL(64, gemv_f32_f32_##TOKENS, (                                                                                        \
        float* out, const float* bias, const float* x, const float* values, uint32_t n, uint32_t k, uint32_t t,              \
        uint32_t parts, uint32_t has_bias, uint32_t adds))                                                                    \
    {                                                                                                                        \
        gemv_floats<TOKENS>({n, k, t, parts, has_bias, adds}, out, bias, x, Floats{values});                                 \
    }                                                                                                                        \
    KERNEL(64, gemv_bf16_f32_##TOKENS, (                                                                                       \
        float* out, const float* bias, const float* x, const uint16_t* values, uint32_t n, uint32_t k, uint32_t t,           \
        uint32_t parts, uint32_t has_bias, uint32_t adds))                                                                    \
    {                                                                                                                        \
        gemv_floats<TOKENS>({n, k, t, parts, has_bias, adds}, out, bias, x, Halves{values});                                 \
    }                                                                                                                        \
    KERNEL(64, gemv_int8_f32_##TOKENS, (                                                                                       \
        float* out, const float* bias, const float* x, const int8_t* values, const uint16_t* scales, uint32_t n, uint32_t k, \
        uint32_t t, uint32_t parts, uint32_t has_bias, uint32_t adds))                                                        \
    {                                                                                                                        \
        gemv_floats<TOKENS>({n, k, t, parts, has_bias, adds}, out, bias, x, Int8s{values, scales});                          \
    }

GEMV_FLOATS(1)
GEMV_FLOATS(2)
GEMV_FLOATS(4)
GEMV_FLOATS(8)
