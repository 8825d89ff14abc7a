// Products of int8 rows that have middles with experts in MXFP4, by tiles of one expert's slots: the bits of
// `gemv_mxfp4_int8`. A product of tiles (`mma`) has the sums of a block of 32, which are integers, for 16 outputs and eight
// slots. Grid (64 outputs each, tiles), a warp 16 outputs and 16 slots.
#include "parts/mxfp4.h"
#include "parts/tile_lanes.h"

// Adds a block to the sums of its lane.
DEVICE void add_block(
    float (&sums)[SUMS], const Fragment& f, uint32_t b, const uint32_t* codes, const uint8_t* code_scales, const uint2* x,
    const uint2* beside)
{
    uint32_t t = threadIdx.x % 4, weights[4], all[2];
    float scales[2];
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        uint64_t at = f.weights[r] + b;
        uint32_t eight = load(codes + 4 * at + t);
        weights[r] = plus_12(eight);
        weights[r + 2] = plus_12(eight >> 16);
        all[r] = byte_sum(weights[r] + weights[r + 2]);
        scales[r] = power_of_two(load(code_scales + at));
    }
    // Both sums of 32 weights fit one word: they are 768 at most.
    uint32_t both = all[0] | all[1] << 16;
    both += across(both, 1);
    both += across(both, 2);
#pragma unroll
    for (uint32_t c = 0; c < COLUMN_TILES; c++) {
        uint2 numbers = load(x + 4 * (f.inputs[c] + b) + t);
        int dots[4] = {};
        multiply_tile(dots, weights, {numbers.x, numbers.y});
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint2 of_block = load(beside + f.columns[c][i % 2] + b);
            int middle = (int)(of_block.y << 24) >> 24, sum = (int)(i < 2 ? both & 0xffffu : both >> 16);
            int dot = dots[i] + middle * sum - ((int)of_block.y >> 8);
            sums[4 * c + i] = fused((float)dot, from_bits(of_block.x) * scales[i / 2], sums[4 * c + i]);
        }
    }
}

KERNEL(256, tile_mxfp4_int8, (
    float* out,                 // [R, N]
    const uint32_t* codes,      // [E, N, K / 32, 4]
    const uint8_t* code_scales, // [E, N, K / 32]
    const uint2* x,             // [inputs, K / 32, 4] int8
    const uint2* beside,        // [inputs, K / 32]
    const uint32_t* sources,    // [R]: the input of a slot; 0: slots are inputs
    const uint4* tiles,         // expert, first slot, slots
    const float* bias,          // [E, N]
    const uint32_t* grid,       // [3]: how many blocks there are; those beyond have no tile
    uint32_t n, uint32_t num_blocks, uint32_t has_sources))
{
    if (blockIdx.y >= load(grid + 1)) return;
    uint4 tile = load(tiles + blockIdx.y);
    uint32_t g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    for (uint32_t warp = threadIdx.x / WARP; warp < WARPS; warp += blockDim.x / WARP) {
        uint32_t output = blockIdx.x * OUTPUTS + warp % (OUTPUTS / TILE_OUTPUTS) * TILE_OUTPUTS + g;
        uint32_t slot = warp / (OUTPUTS / TILE_OUTPUTS) * COLUMNS * COLUMN_TILES;
        // All of a warp has nothing to do, or what is beyond the end is the last again.
        if (slot >= tile.z || output - g >= n) continue;
        Fragment f;
#pragma unroll
        for (uint32_t r = 0; r < 2; r++) f.weights[r] = ((uint64_t)tile.x * n + smaller(output + 8 * r, n - 1)) * num_blocks;
#pragma unroll
        for (uint32_t c = 0; c < COLUMN_TILES; c++) {
            uint32_t wanted[3] = {g, 2 * t, 2 * t + 1};
            uint64_t found[3];
            for (uint32_t i = 0; i < 3; i++) {
                uint32_t source = tile.y + smaller(slot + COLUMNS * c + wanted[i], tile.z - 1);
                found[i] = (uint64_t)(has_sources ? load(sources + source) : source) * num_blocks;
            }
            f.inputs[c] = found[0];
            f.columns[c][0] = found[1];
            f.columns[c][1] = found[2];
        }
        float sums[SUMS];
        fold_lanes(sums, num_blocks, [&](float (&sums)[SUMS], uint32_t b) {
            add_block(sums, f, b, codes, code_scales, x, beside);
        });
#pragma unroll
        for (uint32_t s = 0; s < SUMS; s++) {
            uint32_t row = output + s % 4 / 2 * 8, column = slot + s / 4 * COLUMNS + 2 * t + s % 2;
            if (row < n && column < tile.z)
                out[(uint64_t)(tile.y + column) * n + row] = fused(sums[s], 0.5f, load(bias + (uint64_t)tile.x * n + row));
        }
    }
}
