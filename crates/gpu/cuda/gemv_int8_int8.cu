// Products of int8 rows, in one part or two, with a matrix of int8: block b goes to lane b mod 8, a lane adds
// sum * (row's scale * weights' scale) fused and ascending, then the tree plus the bias; in two parts both trees are added,
// and then the bias. `linear` of the CPU with the numbers of Q8_0. Grid (outputs, chunks of up to TOKENS rows).
#include "parts/gemv_rows.h"

template <uint32_t TOKENS>
DEVICE void gemv_int8_int8(
    const GemvParams& p, float* out, const float* bias, const uint4* values, const uint16_t* scales, const uint4* x,
    const float* x_scales)
{
    uint32_t num_blocks = p.k / BLOCK, outputs = blockDim.x / LANES;
    Tokens tokens = tokens_of(p, TOKENS);
    uint32_t slots = tokens.count * p.parts;
    for (uint32_t first = blockIdx.x * outputs; first < p.n; first += gridDim.x * outputs) {
        uint32_t output = first + threadIdx.x / LANES;
        // A warp stays together for its shuffles: beyond the end it computes the last output again.
        uint64_t weights = (uint64_t)smaller(output, p.n - 1) * num_blocks;
        float sums[TOKENS] = {};
#pragma unroll (4 / TOKENS + 1)
        for (uint32_t b = threadIdx.x % LANES; b < num_blocks; b += LANES) {
            uint4 low = load(values + 2 * (weights + b)), high = load(values + 2 * (weights + b) + 1);
            float scale = half(load(scales + weights + b));
#pragma unroll
            for (uint32_t slot = 0; slot < TOKENS; slot++) {
                if (slot >= slots) continue;
                uint64_t at = row_of(p, tokens, slot) * num_blocks + b;
                uint4 x_low = load(x + 2 * at), x_high = load(x + 2 * at + 1);
                int dot = dot4(low.x, x_low.x, dot4(low.y, x_low.y, dot4(low.z, x_low.z, dot4(low.w, x_low.w, 0))));
                dot = dot4(high.x, x_high.x, dot4(high.y, x_high.y, dot4(high.z, x_high.z, dot4(high.w, x_high.w, dot))));
                sums[slot] = fused((float)dot, load(x_scales + at) * scale, sums[slot]);
            }
        }
        finish<TOKENS>(p, tokens, sums, output, out, bias);
    }
}

#define GEMV_INT8_INT8(TOKENS)                                                                                               \
    KERNEL(64, gemv_int8_int8_##TOKENS, (                                                                                      \
        float* out,             /* [T, N] */                                                                                 \
        const float* bias,      /* [N] */                                                                                    \
        const uint4* values,    /* [N, K / 32, 2] int8 */                                                                    \
        const uint16_t* scales, /* [N, K / 32] halves */                                                                     \
        const uint4* x,         /* [parts, T, K / 32, 2] int8 */                                                             \
        const float* x_scales,  /* [parts, T, K / 32] */                                                                     \
        uint32_t n, uint32_t k, uint32_t t, uint32_t parts, uint32_t has_bias, uint32_t adds))                                \
    {                                                                                                                        \
        gemv_int8_int8<TOKENS>({n, k, t, parts, has_bias, adds}, out, bias, values, scales, x, x_scales);                    \
    }

GEMV_INT8_INT8(1)
GEMV_INT8_INT8(2)
GEMV_INT8_INT8(4)
GEMV_INT8_INT8(8)
