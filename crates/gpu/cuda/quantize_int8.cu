// Rows as int8 in blocks of 32, in one part or two, for products with int8: `quantize_q8` and `quantize_q8_parts` of the CPU
// in the order of Q8_0. Grid (blocks, T), a warp a block.
#include "parts/int8_blocks.h"

KERNEL(256, quantize_int8, (
    int8_t* out,         // [parts, T, K]
    float* scales,       // [parts, T, K / 32]
    const float* x,      // [T, K]
    uint32_t num_blocks, // of a row
    uint32_t all,        // blocks of all rows
    uint32_t parts))
{
    uint32_t warps = blockDim.x / WARP;
    for (uint32_t block = blockIdx.x * warps + threadIdx.x / WARP; block < num_blocks; block += gridDim.x * warps) {
        uint64_t place = (uint64_t)blockIdx.y * num_blocks + block;
        quantize_parts(load(x + place * BLOCK + threadIdx.x % WARP), out, scales, place, all, parts);
    }
}
