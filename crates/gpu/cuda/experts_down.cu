// The last products of a token's experts, added to its row in the order of their ranks: the bits of `gemv_mxfp4_int8` and
// then `experts_collect`, hidden += ((0 + w0 r0) + w1 r1) + ..., every product rounded, without the rows between them.
// All of a token's experts are on the card: none is `ELSEWHERE`.
// Grid (outputs, T), a warp an output, eight threads an expert, four experts at a time.
#include "parts/mxfp4.h"

const uint32_t EXPERTS_AT_A_TIME = WARP / LANES;

KERNEL(128, experts_down, (
    float* hidden,              // [T, C]
    const uint4* codes,         // [E, C, F / 32]
    const uint8_t* code_scales, // [E, C, F / 32]
    const uint4* x,             // [T, A, F / 32, 2] int8
    const uint2* beside,        // [T, A, F / 32]
    const uint32_t* experts,    // [T, A]
    const float* weights,       // [T, A]
    const float* bias,          // [E, C]
    uint32_t width, uint32_t num_blocks, uint32_t active))
{
    uint32_t outputs = blockDim.x / WARP, token = blockIdx.y, first_assignment = token * active;
    for (uint32_t output = blockIdx.x * outputs + threadIdx.x / WARP; output < width; output += gridDim.x * outputs) {
        float update = 0.0f;
        for (uint32_t first = 0; first < active; first += EXPERTS_AT_A_TIME) {
            // Those of a rank that there is not compute the last one again.
            uint32_t rank = smaller(first + threadIdx.x % WARP / LANES, active - 1);
            uint64_t assignment = first_assignment + rank;
            uint64_t row = (uint64_t)load(experts + assignment) * width + output;
            float product = mxfp4_product(
                codes + row * num_blocks, code_scales + row * num_blocks,
                x + 2 * assignment * num_blocks, beside + assignment * num_blocks, num_blocks);
            float weighted = load(weights + assignment) * fused(product, 0.5f, load(bias + row));
            float others[EXPERTS_AT_A_TIME] = {weighted, across(weighted, 8), across(weighted, 16), across(weighted, 24)};
            for (uint32_t next = 0; next < EXPERTS_AT_A_TIME; next++)
                if (first + next < active) update += others[next];
        }
        // Ranks are in order for the first eight threads alone.
        if (threadIdx.x % WARP == 0) hidden[(uint64_t)token * width + output] += update;
    }
}
