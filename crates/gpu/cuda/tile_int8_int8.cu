// Products of int8 rows, in one part or two, with a matrix of int8, by tiles: the bits of `gemv_int8_int8`. In two parts the
// rest of a token is the row behind it, so that both are of one thread. Grid (32 rows each, 64 outputs each), a warp 16
// outputs and 16 rows.
#include "parts/tile_lanes.h"

struct Int8Tile {
    const uint2* values;    // [N, K / 32, 4] int8
    const uint16_t* scales; // [N, K / 32] halves
    const uint2* x;         // [parts, T, K / 32, 4] int8
    const float* x_scales;  // [parts, T, K / 32]
};

// Adds a block to the sums of its lane.
DEVICE void add_block(float (&sums)[SUMS], const Fragment& f, uint32_t b, const Int8Tile& of) {
    uint32_t t = threadIdx.x % 4, weights[4];
    float scales[2];
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        uint2 eight = load(of.values + 4 * (f.weights[r] + b) + t);
        weights[r] = eight.x;
        weights[r + 2] = eight.y;
        scales[r] = half(load(of.scales + f.weights[r] + b));
    }
#pragma unroll
    for (uint32_t c = 0; c < COLUMN_TILES; c++) {
        uint2 numbers = load(of.x + 4 * (f.inputs[c] + b) + t);
        int dots[4] = {};
        multiply_tile(dots, weights, {numbers.x, numbers.y});
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            float scale = load(of.x_scales + f.columns[c][i % 2] + b) * scales[i / 2];
            sums[4 * c + i] = fused((float)dots[i], scale, sums[4 * c + i]);
        }
    }
}

KERNEL(256, tile_int8_int8, (
    float* out,             // [T, N]
    const float* bias,      // [N]
    const uint2* values, const uint16_t* scales, const uint2* x, const float* x_scales, uint32_t n, uint32_t num_blocks,
    uint32_t t,             // tokens
    uint32_t parts, uint32_t has_bias, uint32_t adds))
{
    uint32_t g = threadIdx.x % WARP / 4, pair = threadIdx.x % 4 * 2, rows = t * parts;
    for (uint32_t warp = threadIdx.x / WARP; warp < WARPS; warp += blockDim.x / WARP) {
        uint32_t output = blockIdx.y * OUTPUTS + warp % (OUTPUTS / TILE_OUTPUTS) * TILE_OUTPUTS + g;
        uint32_t first = blockIdx.x * SLOTS + warp / (OUTPUTS / TILE_OUTPUTS) * COLUMNS * COLUMN_TILES;
        // All of a warp has nothing to do, or what is beyond the end is the last again.
        if (first >= rows || output - g >= n) continue;
        Fragment f;
#pragma unroll
        for (uint32_t r = 0; r < 2; r++) f.weights[r] = (uint64_t)smaller(output + 8 * r, n - 1) * num_blocks;
#pragma unroll
        for (uint32_t c = 0; c < COLUMN_TILES; c++) {
            uint32_t wanted[3] = {g, pair, pair + 1};
            uint64_t found[3];
#pragma unroll
            for (uint32_t i = 0; i < 3; i++) {
                uint32_t row = smaller(first + COLUMNS * c + wanted[i], rows - 1);
                found[i] = (uint64_t)(row / parts + row % parts * t) * num_blocks;
            }
            f.inputs[c] = found[0];
            f.columns[c][0] = found[1];
            f.columns[c][1] = found[2];
        }
        float sums[SUMS];
        Int8Tile tile = {values, scales, x, x_scales};
        fold_lanes(sums, num_blocks, [&](float (&sums)[SUMS], uint32_t b) { add_block(sums, f, b, tile); });
#pragma unroll
        for (uint32_t s = 0; s < SUMS; s++) {
            uint32_t row = first + s / 4 * COLUMNS + pair + s % 2, column = output + s % 4 / 2 * 8;
            // In two parts the first of a pair has both.
            if (row >= rows || column >= n || row % parts == 1) continue;
            float product = parts == 2 ? (sums[s] + 0.0f) + (sums[s | 1] + 0.0f) : sums[s];
            product += has_bias ? load(bias + column) : 0.0f;
            float* place = out + (uint64_t)(row / parts) * n + column;
            *place = adds ? *place + product : product;
        }
    }
}
