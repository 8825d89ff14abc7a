// The clamped SwiGLU of rows whose even numbers are the gate and odd ones the up part: `swiglu` of the CPU. Grid (outputs, T),
// a thread an output.
#include "parts/swiglu.h"

KERNEL(64, swiglu, (
    const float2* gate_up, // [T, F]
    float* out,            // [T, F]
    uint32_t f, float limit, float alpha))
{
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < f; i += gridDim.x * blockDim.x) {
        uint64_t place = (uint64_t)blockIdx.y * f + i;
        float2 pair = load(gate_up + place);
        out[place] = swiglu_of(pair.x, pair.y, limit, alpha);
    }
}
