// Adds each token's experts to its row in the order of their ranks: hidden += ((0 + w0 r0) + w1 r1) + ..., every product
// rounded. Grid (columns, T), a thread a column.
#include "card.h"

KERNEL(64, experts_collect, (
    const float* outputs,  // [T * A, C]: what the experts made
    const float* weights,  // [T, A]
    const uint32_t* slots, // [T, A]
    float* hidden,         // [T, C]
    uint32_t width, uint32_t active,
    uint32_t is_sorted))    // 0: row of an assignment is its number; 1: it is in `slots`
{
    uint32_t token = blockIdx.y;
    for (uint32_t column = blockIdx.x * blockDim.x + threadIdx.x; column < width; column += gridDim.x * blockDim.x) {
        float update = 0.0f;
        for (uint32_t rank = 0; rank < active; rank++) {
            uint32_t assignment = token * active + rank;
            uint64_t row = is_sorted ? load(slots + assignment) : assignment;
            update += load(weights + assignment) * load(outputs + row * width + column);
        }
        hidden[(uint64_t)token * width + column] += update;
    }
}
