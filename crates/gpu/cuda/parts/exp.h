// e to the power of x, the CPU's polynomial: 0 below -87.34, at most 2.4e38, NaN for NaN.
#pragma once
#include "../card.h"

DEVICE float exp_of(float x) {
    float cut = x > 88.37f ? 88.37f : x;
    cut = cut < -87.33654f ? -87.33654f : cut;
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const float shifter = 12582912.0f;
    float shifted = fused(cut, 1.44269504f, shifter);
    float n = shifted - shifter;
    float r = fused(n, -0.69314575f, cut);
    r = fused(n, -1.4286068e-6f, r);
    float y = fused(r, 1.0f / 5040.0f, 1.0f / 720.0f);
    y = fused(y, r, 1.0f / 120.0f);
    y = fused(y, r, 1.0f / 24.0f);
    y = fused(y, r, 1.0f / 6.0f);
    y = fused(y, r, 0.5f);
    y = fused(y, r, 1.0f);
    y = fused(y, r, 1.0f);
    uint32_t power = (to_bits(shifted) - to_bits(shifter) + 127u) << 23;
    return x < -87.33654f ? 0.0f : y * from_bits(power);
}
