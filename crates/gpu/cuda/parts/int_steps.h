// Rows of a head as integers with one scale.
#pragma once
#include "../card.h"

struct Steps {
    float inverse, size;
};

// The factor that makes the magnitude `bits` the integer `most`, and the size of a step: zeros below 2^-100, a step of NaN
// for what is not finite.
DEVICE Steps int_steps(uint32_t bits, float most) {
    if (bits >= INFINITE) return {0.0f, from_bits(bits | NOT_A_NUMBER)};
    if (bits < 0x0d800000u) return {0.0f, 0.0f};
    return {divide(most, from_bits(bits)), divide(from_bits(bits), most)};
}
