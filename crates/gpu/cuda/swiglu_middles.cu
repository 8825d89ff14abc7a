// The clamped SwiGLU of rows whose even numbers are the gate and odd ones the up part, then int8 about middles. `swiglu_q8` of
// the CPU in the order of MXFP4. Grid (blocks, T), a warp a block.
#include "parts/int8_blocks.h"
#include "parts/swiglu.h"

KERNEL(256, swiglu_middles, (
    int8_t* out,           // [T, F]
    uint2* beside,         // [T, F / 32]
    const float2* gate_up, // [T, F]
    uint32_t num_blocks,   // of a row
    float limit, float alpha))
{
    uint32_t warps = blockDim.x / WARP;
    for (uint32_t block = blockIdx.x * warps + threadIdx.x / WARP; block < num_blocks; block += gridDim.x * warps) {
        uint64_t place = (uint64_t)blockIdx.y * num_blocks + block;
        float2 pair = load(gate_up + place * BLOCK + threadIdx.x % WARP);
        quantize_about_middle(swiglu_of(pair.x, pair.y, limit, alpha), out + place * BLOCK, beside + place);
    }
}
