// The walk of a warp's tile of products: 16 outputs and 16 columns, by two `mma` of eight columns each.
#pragma once
#include "../card.h"

const uint32_t OUTPUTS = 64;     // of a block
const uint32_t SLOTS = 32;       // columns of a block
const uint32_t TILE_OUTPUTS = 16;
const uint32_t COLUMNS = 8;      // of an `mma`
const uint32_t COLUMN_TILES = 2; // of a warp
const uint32_t SUMS = 4 * COLUMN_TILES;
const uint32_t WARPS = OUTPUTS / TILE_OUTPUTS * (SLOTS / (COLUMNS * COLUMN_TILES));

// What a thread has of a warp's tile: of outputs it holds rows g and g + 8, of columns it loads column g and adds up columns
// 2t and 2t + 1 of either tile, where g is its number over 4 and t the rest. Of a block's 32 numbers it holds 8t to 8t + 7.
struct Fragment {
    uint64_t weights[2];                   // blocks before those of its outputs
    uint64_t inputs[COLUMN_TILES];         // blocks before those of the columns that it loads
    uint64_t columns[COLUMN_TILES][2];     // and of those that it adds up
};

// The folded sums of all lanes. `add(sums, b)` adds block b to the sums of its lane; a lane's blocks come one after the other,
// and lanes in the order 0 4 2 6 1 5 3 7, so that three sums on a stack are enough to fold them as the tree does.
template <class Add> DEVICE void fold_lanes(float (&sums)[SUMS], uint32_t num_blocks, Add add) {
    float stack[3][SUMS] = {};
#pragma unroll 1
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t lane = (i & 1) * 4 + (i & 2) + i / 4;
#pragma unroll
        for (uint32_t s = 0; s < SUMS; s++) sums[s] = 0.0f;
        for (uint32_t b = lane; b < num_blocks; b += LANES) add(sums, b);
#pragma unroll
        for (uint32_t s = 0; s < SUMS; s++) {
            // Two of a level are one of the next.
            if (i % 2 == 0) {
                stack[0][s] = sums[s];
            } else if (i % 4 == 1) {
                stack[1][s] = stack[0][s] + sums[s];
            } else if (i == 3) {
                stack[2][s] = stack[1][s] + (stack[0][s] + sums[s]);
            } else {
                sums[s] = stack[2][s] + (stack[1][s] + (stack[0][s] + sums[s]));
            }
        }
    }
}
