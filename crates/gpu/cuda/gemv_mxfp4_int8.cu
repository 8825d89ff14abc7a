// Products of int8 rows that have middles with experts in MXFP4: `linear` of the CPU with `Mxfp4`, in the order of
// `mxfp4_product`, then half of it plus the bias fused, or that added to what is there. Row r of the output is expert
// `experts[r]` times input r / share. Grid (outputs, R), eight threads an output: a step of theirs reads 128 bytes in a row.
#include "parts/mxfp4.h"

KERNEL(64, gemv_mxfp4_int8, (
    float* out,                 // [R, N]
    const uint4* codes,         // [E, N, K / 32]
    const uint8_t* code_scales, // [E, N, K / 32]
    const uint4* x,             // [R / share, K / 32, 2] int8
    const uint2* beside,        // [R / share, K / 32]
    const uint32_t* experts,    // [R]
    const float* bias,          // [E, N]
    uint32_t n, uint32_t num_blocks, uint32_t share, uint32_t adds))
{
    uint32_t outputs = blockDim.x / LANES, row = blockIdx.y, expert = load(experts + row);
    if (expert == ELSEWHERE) return;
    uint64_t input = (uint64_t)(row / share) * num_blocks;
    for (uint32_t first = blockIdx.x * outputs; first < n; first += gridDim.x * outputs) {
        uint32_t output = first + threadIdx.x / LANES;
        // A warp stays together for its shuffles: beyond the end it computes the last output again.
        uint64_t weights = (uint64_t)expert * n + smaller(output, n - 1);
        float product = mxfp4_product(
            codes + weights * num_blocks, code_scales + weights * num_blocks, x + 2 * input, beside + input, num_blocks);
        if (threadIdx.x % LANES == 0 && output < n) {
            float* place = out + (uint64_t)row * n + output;
            float value = fused(product, 0.5f, load(bias + weights));
            *place = adds ? *place + value : value;
        }
    }
}
