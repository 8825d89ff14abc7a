// Blocks of 32 numbers as int8, by a warp each, a number a thread. What is not finite: zeros under a scale of NaN.
#pragma once
#include "../card.h"

const uint32_t SMALLEST = 0x0d800000u; // 2^-100: blocks whose largest magnitude is smaller are zero

// For products with int8: the scale is the largest magnitude over 127, values are the nearest multiples, ties to even.
// What rounding took from the number: x - value * scale, fused.
DEVICE float quantize_plain(float x, int8_t* values, float* scale) {
    uint32_t largest = warp_max(magnitude(x));
    float inverse = 0.0f, size = 0.0f;
    if (largest >= INFINITE) {
        size = from_bits(largest | NOT_A_NUMBER);
    } else if (largest >= SMALLEST) {
        inverse = divide(127.0f, from_bits(largest));
        size = divide(from_bits(largest), 127.0f);
    }
    int value = nearest(x * inverse);
    values[threadIdx.x % WARP] = (int8_t)value;
    if (threadIdx.x % WARP == 0) *scale = size;
    return fused((float)value, -size, x);
}

// A block in one part, or with its rest as the second, `all` blocks behind.
DEVICE void quantize_parts(float x, int8_t* values, float* scales, uint64_t block, uint64_t all, uint32_t parts) {
    float rest = quantize_plain(x, values + block * BLOCK, scales + block);
    if (parts == 2) quantize_plain(rest, values + (all + block) * BLOCK, scales + all + block);
}

// For products with MXFP4: the scale is half the way from the least to the greatest of the numbers and zero, over 126.25;
// values are steps from the middle of that way, ties to even. Beside: the bits of the scale; 12 times the sum of values and
// middles in 24 bits above the middle in 8.
DEVICE void quantize_about_middle(float x, int8_t* values, uint2* beside) {
    uint32_t largest = warp_max(magnitude(x));
    float least = x < 0.0f ? x : 0.0f, greatest = x > 0.0f ? x : 0.0f;
    for (uint32_t mask = WARP / 2; mask > 0; mask /= 2) {
        float low = across(least, mask), high = across(greatest, mask);
        least = low < least ? low : least;
        greatest = high > greatest ? high : greatest;
    }
    float inverse = 0.0f, size = 0.0f;
    int middle = 0, value = 0;
    if (largest >= INFINITE) {
        size = from_bits(largest | NOT_A_NUMBER);
    } else if (largest >= SMALLEST) {
        float way = 0.5f * greatest - 0.5f * least;
        inverse = divide(126.25f, way);
        size = divide(way, 126.25f);
        middle = nearest((0.5f * greatest + 0.5f * least) * inverse);
        value = nearest(fused(x, inverse, -(float)middle));
    }
    values[threadIdx.x % WARP] = (int8_t)value;
    int sum = warp_sum(value + middle);
    if (threadIdx.x % WARP == 0) *beside = {to_bits(size), (uint32_t)(12 * sum) << 8 | ((uint32_t)middle & 255u)};
}
