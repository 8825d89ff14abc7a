// Single numbers: a / b and the root of a, correctly rounded, e to the power of a, and a * b + c, fused. The fourth is for
// kernels that begin quotient and root with an estimate. Grid (fours).
#include "parts/exp.h"

KERNEL(64, probe_floats, (
    uint4* out,           // [N]: bits of quotient, root, power, sum
    const uint4* numbers, // [N]: bits of a, b, c, d
    uint32_t count))
{
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        uint4 four = load(numbers + i);
        float a = from_bits(four.x), b = from_bits(four.y), c = from_bits(four.z);
        out[i] = {to_bits(divide(a, b)), to_bits(root(a)), to_bits(exp_of(a)), to_bits(fused(a, b, c))};
    }
}
