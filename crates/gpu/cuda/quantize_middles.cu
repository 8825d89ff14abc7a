// Rows as int8 in blocks of 32 about their middles, for products with MXFP4: `quantize_q8` of the CPU in the order of MXFP4.
// Grid (blocks, T), a warp a block.
#include "parts/int8_blocks.h"

KERNEL(256, quantize_middles, (
    int8_t* out,         // [T, K]
    uint2* beside,       // [T, K / 32]
    const float* x,      // [T, K]
    uint32_t num_blocks)) // of a row
{
    uint32_t warps = blockDim.x / WARP;
    for (uint32_t block = blockIdx.x * warps + threadIdx.x / WARP; block < num_blocks; block += gridDim.x * warps) {
        uint64_t place = (uint64_t)blockIdx.y * num_blocks + block;
        quantize_about_middle(load(x + place * BLOCK + threadIdx.x % WARP), out + place * BLOCK, beside + place);
    }
}
