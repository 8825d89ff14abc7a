// Products of f32 rows with experts in MXFP4: element k goes to lane k mod 8, a lane adds fused and ascending, then the tree
// plus the bias, or that added to what is there: `linear` of the CPU with `Mxfp4` and f32 rows. Row r of the output is expert
// `experts[r]` times input r / share. Grid (outputs, R), eight threads an output.
#include "parts/mxfp4.h"

// The code in bits 0 to 3, without a subnormal number on the way.
DEVICE float number_of(uint32_t code) {
    uint32_t size = code & 7u;
    float value = size < 2 ? (float)size * 0.5f : from_bits((size << 22) + 0x3f000000u);
    return from_bits(to_bits(value) | (code & 8u) << 28);
}

KERNEL(64, gemv_mxfp4_f32, (
    float* out,                 // [R, N]
    const uint32_t* codes,      // [E, N, K / 32, 4]
    const uint8_t* code_scales, // [E, N, K / 32]
    const float* x,             // [R / share, K]
    const uint32_t* experts,    // [R]
    const float* bias,          // [E, N]
    uint32_t n, uint32_t num_blocks, uint32_t share, uint32_t adds))
{
    uint32_t outputs = blockDim.x / LANES, lane = threadIdx.x % LANES, row = blockIdx.y, expert = load(experts + row);
    if (expert == ELSEWHERE) return;
    const float* input = x + (uint64_t)(row / share) * num_blocks * BLOCK;
    for (uint32_t first = blockIdx.x * outputs; first < n; first += gridDim.x * outputs) {
        uint32_t output = first + threadIdx.x / LANES;
        // A warp stays together for its shuffles: beyond the end it computes the last output again.
        uint64_t weights = (uint64_t)expert * n + smaller(output, n - 1);
        float sum = 0.0f;
        for (uint32_t b = 0; b < num_blocks; b++) {
            uint64_t at = weights * num_blocks + b;
            float scale = power_of_two(load(code_scales + at));
            // Eight codes a word, one a lane.
#pragma unroll
            for (uint32_t i = 0; i < BLOCK / LANES; i++) {
                float weight = number_of(load(codes + 4 * at + i) >> 4 * lane) * scale;
                sum = fused(load(input + b * BLOCK + i * LANES + lane), weight, sum);
            }
        }
        float product = tree(sum);
        if (lane == 0 && output < n) {
            float* place = out + (uint64_t)row * n + output;
            float value = product + load(bias + weights);
            *place = adds ? *place + value : value;
        }
    }
}
