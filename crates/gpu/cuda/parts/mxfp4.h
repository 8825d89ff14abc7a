// Rows of MXFP4 times rows of int8 that have middles.
#pragma once
#include "../card.h"

// In the place of an expert: the row is made elsewhere and stays as it is.
const uint32_t ELSEWHERE = 0xffffffffu;

// Twice the values of the four codes in the low half of `codes`, plus 12: 0 to 24, a byte each.
DEVICE uint32_t plus_12(uint32_t codes) {
    // 0 1 2 3 4 6 8 12 by the low three bits of a nibble.
    uint32_t values = choose(0x03020100u, 0x0c080604u, codes & 0x7777u);
    // 255 where its sign bit is set.
    uint32_t negative = choose(0u, 0xffffffffu, codes >> 1 & 0x4444u);
    return 0x0c0c0c0cu + (values & ~negative) - (values & negative);
}

// The power of two of a scale byte.
DEVICE float power_of_two(uint32_t byte) { return from_bits(larger(byte << 23, 1u << 22)); }

// What codes add to a block's sum of products, and to the sum of the weights plus 12, byte by byte.
DEVICE int eight_codes(uint32_t codes, uint32_t low, uint32_t high, int dot, uint32_t& all) {
    uint32_t first = plus_12(codes), second = plus_12(codes >> 16);
    all += first + second;
    return dot4(second, high, dot4(first, low, dot));
}

// The sum of a block's products, twice as large for the codes. `beside` is 12 times the sum of values and middles, and in
// its low byte the middle: what is added to the weights meets values and middles alike.
DEVICE int block_sum(uint4 codes, uint4 low, uint4 high, uint32_t beside) {
    uint32_t all = 0; // eight times 24 at most
    int dot = eight_codes(codes.x, low.x, low.y, 0, all);
    dot = eight_codes(codes.y, low.z, low.w, dot, all);
    dot = eight_codes(codes.z, high.x, high.y, dot, all);
    dot = eight_codes(codes.w, high.z, high.w, dot, all);
    int middle = (int)(beside << 24) >> 24;
    return dot + middle * byte_sum(all) - ((int)beside >> 8);
}

// The product of a row of weights and a row of activations, in all eight threads of an output: block b goes to lane
// b mod 8, a lane adds sum * (row's scale * weights' scale) fused and ascending, then the tree.
DEVICE float mxfp4_product(
    const uint4* codes, const uint8_t* scales, const uint4* x, const uint2* beside, uint32_t num_blocks)
{
    float sum = 0.0f;
    UNROLL
    for (uint32_t b = threadIdx.x % LANES; b < num_blocks; b += LANES) {
        uint2 of_block = load(beside + b);
        int dot = block_sum(load(codes + b), load(x + 2 * b), load(x + 2 * b + 1), of_block.y);
        sum = fused((float)dot, from_bits(of_block.x) * power_of_two(load(scales + b)), sum);
    }
    return tree(sum);
}
