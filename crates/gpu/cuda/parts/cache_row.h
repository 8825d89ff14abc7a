// Where the keys and values of a step's rows lie.
#pragma once
#include "../card.h"

// The position of a row that is nobody's.
const uint32_t IDLE = 0xffffffffu;

// Where a position of a sequence lies in a layer's keys and values: in its ring if the layer has rings, else in one of its
// blocks of 32. `row`: position, first of its blocks, ring.
DEVICE uint32_t cache_row(uint4 row, const uint32_t* table, uint32_t ring_rows, uint32_t position) {
    if (ring_rows > 0) return row.z * ring_rows + position % ring_rows;
    return load(table + row.y + position / 32) * 32 + position % 32;
}
