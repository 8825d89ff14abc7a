// RMSNorm of rows: x * scale * weight, in this order, scale = 1 / root(mean of squares + eps); the sum of squares: element k
// goes to lane k mod 8, a lane adds fused and ascending, then the tree. `rmsnorm` of the CPU, as f32 or at once as int8:
// the bits of the norm and then of `quantize_int8`, or about middles as products with MXFP4 take them. A block a row.
#include "parts/int8_blocks.h"

// Values that the lanes find in shared memory at a time, so that a lane's chain waits for no other memory.
const uint32_t CHUNK = 4096;

struct NormRoom {
    float chunk[CHUNK];
    float scale;
};

// By all threads of a block.
DEVICE float row_scale(NormRoom& room, const float* x, uint32_t c, float eps) {
    float lane = 0.0f;
    for (uint32_t start = 0; start < c; start += CHUNK) {
        uint32_t end = smaller(CHUNK, c - start);
        for (uint32_t k = threadIdx.x; k < end; k += blockDim.x) room.chunk[k] = load(x + start + k);
        block_barrier();
        if (threadIdx.x < WARP) {
#pragma unroll 8
            for (uint32_t k = threadIdx.x % LANES; k < end; k += LANES) lane = fused(room.chunk[k], room.chunk[k], lane);
        }
        block_barrier();
    }
    if (threadIdx.x < WARP) {
        float sum = tree(lane);
        if (threadIdx.x == 0) room.scale = divide(1.0f, root(divide(sum, (float)c) + eps));
    }
    block_barrier();
    return room.scale;
}

KERNEL(256, rmsnorm, (
    const float* x,      // [T, C]
    const float* weight, // [C]
    float* out,          // [T, C]
    uint32_t c, float eps))
{
    SHARED NormRoom room;
    uint64_t first = (uint64_t)blockIdx.x * c;
    float scale = row_scale(room, x + first, c, eps);
    for (uint32_t k = threadIdx.x; k < c; k += blockDim.x) out[first + k] = load(x + first + k) * scale * load(weight + k);
}

KERNEL(256, rmsnorm_int8, (
    int8_t* out,         // [parts, T, C]
    float* scales,       // [parts, T, C / 32]
    const float* x,      // [T, C]
    const float* weight, // [C]
    uint32_t c, float eps,
    uint32_t num_blocks, // of all rows
    uint32_t parts))
{
    SHARED NormRoom room;
    uint64_t first = (uint64_t)blockIdx.x * c;
    float scale = row_scale(room, x + first, c, eps);
    for (uint32_t k = threadIdx.x; k < c; k += blockDim.x) {
        float number = load(x + first + k) * scale * load(weight + k);
        quantize_parts(number, out, scales, (first + k) / BLOCK, num_blocks, parts);
    }
}

KERNEL(256, rmsnorm_middles, (
    int8_t* out,         // [T, C]
    uint2* beside,       // [T, C / 32]
    const float* x,      // [T, C]
    const float* weight, // [C]
    float* normed,       // [T, C]
    uint32_t c, float eps))
{
    SHARED NormRoom room;
    uint64_t first = (uint64_t)blockIdx.x * c;
    float scale = row_scale(room, x + first, c, eps);
    for (uint32_t k = threadIdx.x; k < c; k += blockDim.x) {
        float number = load(x + first + k) * scale * load(weight + k);
        normed[first + k] = number;
        uint64_t block = (first + k) / BLOCK;
        quantize_about_middle(number, out + block * BLOCK, beside + block);
    }
}
