// The clamped SwiGLU: g * sigmoid(alpha * g) * (u + 1), in this order, with g = min(gate, limit) and u = clamp(up, -limit,
// limit), by comparisons that keep a NaN.
#pragma once
#include "exp.h"

DEVICE float swiglu_of(float gate, float up, float limit, float alpha) {
    float g = gate > limit ? limit : gate;
    float u = up > limit ? limit : up;
    u = u < -limit ? -limit : u;
    float sigmoid = divide(1.0f, 1.0f + exp_of(-(alpha * g)));
    return g * sigmoid * (u + 1.0f);
}
