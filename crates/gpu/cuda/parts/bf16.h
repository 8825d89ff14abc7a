// The nearest bf16 in the high half, ties to even; zero below `smallest` (bits), NaN quiet.
#pragma once
#include "../card.h"

const uint32_t SMALLEST_QUERY = 0x2b800000u; // 2^-40
const uint32_t SMALLEST_KV = 0x21800000u;    // 2^-60

DEVICE uint32_t nearest_bf16(float x, uint32_t smallest) {
    uint32_t bits = to_bits(x);
    if (magnitude(x) < smallest) return 0;
    uint32_t nearest = bits + 0x7fffu + (bits >> 16 & 1u);
    return (magnitude(x) > INFINITE ? bits | 0x400000u : nearest) & 0xffff0000u;
}
