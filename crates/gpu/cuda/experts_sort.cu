// Sorts assignments (token times A plus place) by expert, those of one expert as they came, and cuts each expert's slots into
// tiles; writes how many blocks the products over the tiles have. Grid (1).
#include "card.h"

const uint32_t EXPERTS_MAX = 256;

// What stands before each expert, and all at the end.
struct Before {
    uint32_t slots[EXPERTS_MAX + 1], tiles[EXPERTS_MAX + 1];
};

KERNEL(256, experts_sort, (
    const uint32_t* experts, // [T, A]
    uint32_t* slots,         // [T, A]: the slot of each assignment
    uint32_t* tokens,        // [T * A]: the token of each slot
    uint4* tiles,            // expert, first slot, slots, 0
    uint32_t* dispatches,    // [2, 3]: blocks x, y, z
    uint32_t assignments,    // T * A
    uint32_t active,         // A
    uint32_t tile_rows,      // most slots of a tile
    uint32_t gate_up_groups, uint32_t down_groups)) // x of the two
{
    SHARED Before before;
    if (threadIdx.x == 0) before.slots[0] = before.tiles[0] = 0;
    for (uint32_t expert = threadIdx.x; expert < EXPERTS_MAX; expert += blockDim.x) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < assignments; i++) count += load(experts + i) == expert;
        before.slots[expert + 1] = count;
        before.tiles[expert + 1] = (count + tile_rows - 1) / tile_rows;
    }
    block_barrier();
    if (threadIdx.x == 0) {
        for (uint32_t expert = 0; expert < EXPERTS_MAX; expert++) {
            before.slots[expert + 1] += before.slots[expert];
            before.tiles[expert + 1] += before.tiles[expert];
        }
        for (uint32_t product = 0; product < 2; product++) {
            dispatches[3 * product] = product == 0 ? gate_up_groups : down_groups;
            dispatches[3 * product + 1] = before.tiles[EXPERTS_MAX];
            dispatches[3 * product + 2] = 1;
        }
    }
    block_barrier();
    for (uint32_t expert = threadIdx.x; expert < EXPERTS_MAX; expert += blockDim.x) {
        uint32_t slot = before.slots[expert], end = before.slots[expert + 1];
        for (uint32_t tile = before.tiles[expert], start = slot; tile < before.tiles[expert + 1]; tile++, start += tile_rows)
            tiles[tile] = {expert, start, smaller(tile_rows, end - start), 0};
        for (uint32_t i = 0; i < assignments && slot < end; i++) {
            if (load(experts + i) != expert) continue;
            slots[i] = slot;
            tokens[slot++] = i / active;
        }
    }
}
