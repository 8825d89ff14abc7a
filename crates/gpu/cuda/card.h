// The words that kernels are written in. nvcc knows most of them; the shim of the tests means the same by all.
//
// A kernel has the name, the buffers and the constants of the WGSL kernel whose place it takes, in that order, and gives
// the bits of `gptoss_kernels`: multiply-add is fused where `fused` says so and nowhere else (`--fmad=false`). It takes
// any number of threads that is a multiple of 32, at most what `KERNEL` names, and the grid of the WGSL; those that take
// outputs, columns, blocks or heads in strides of the grid's x, any x. What comes out depends on neither. Three differ
// from their twins (decision 0024): int8 about middles stay as they come, one whose blocks a buffer counts takes that buffer
// behind the others, and `experts_down` stands for two.
#pragma once
#include <stdint.h>

#ifdef __CUDACC__
// Threads of a multiprocessor that there is room for at least: 128 registers each.
#define THREADS_MIN 512
// At most how many threads, its name, what it takes.
#define KERNEL(threads, name, parameters) \
    extern "C" __global__ void __launch_bounds__(threads, THREADS_MIN / threads) name parameters
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define SHARED __shared__
#define UNROLL _Pragma("unroll 4")

template <class T> DEVICE T load(const T* p) { return __ldg(p); }
DEVICE float from_bits(uint32_t bits) { return __uint_as_float(bits); }
DEVICE uint32_t to_bits(float x) { return __float_as_uint(x); }
// a * b + c, rounded once.
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
DEVICE float root(float x) { return __fsqrt_rn(x); }
// The nearest integer, ties to even, of a magnitude below 2^22; 0 for NaN.
DEVICE int nearest(float x) { return __float2int_rn(x); }
// c plus the products of four int8.
DEVICE int dot4(uint32_t a, uint32_t b, int c) { return __dp4a((int)a, (int)b, c); }
// The sum of four bytes.
DEVICE int byte_sum(uint32_t a) { return (int)__dp4a(a, 0x01010101u, 0u); }
// c plus the products of two int16 with the two low or the two high int8 of b.
DEVICE int dot2_low(uint32_t a, uint32_t b, int c) { return __dp2a_lo((int)a, (int)b, c); }
DEVICE int dot2_high(uint32_t a, uint32_t b, int c) { return __dp2a_hi((int)a, (int)b, c); }
// Four of the eight bytes of b and a, chosen by nibbles; bit 3 of one spreads the byte's sign.
DEVICE uint32_t choose(uint32_t a, uint32_t b, uint32_t nibbles) {
    uint32_t bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(a), "r"(b), "r"(nibbles));
    return bytes;
}
// An IEEE half as f32.
DEVICE float half(uint16_t bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
// What the thread of the warp has whose number differs in the bits of `mask`.
DEVICE uint32_t across(uint32_t x, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE float across(float x, uint32_t mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE uint32_t warp_max(uint32_t x) { return __reduce_max_sync(0xffffffffu, x); }
DEVICE int warp_sum(int x) { return __reduce_add_sync(0xffffffffu, x); }
DEVICE void atomic_max(uint32_t* place, uint32_t x) { atomicMax(place, x); }
DEVICE void block_barrier() { __syncthreads(); }
// c plus 16 rows of 32 int8 times 8 columns of 32: the fragments of `mma.m16n8k32`.
DEVICE void multiply_tile(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
#include "shim.h"
#endif

const uint32_t BLOCK = 32;     // values that share a scale
const uint32_t LANES = 8;      // of every long sum
const uint32_t WARP = 32;
const uint32_t INFINITE = 0x7f800000u;
const uint32_t NOT_A_NUMBER = 0x7fc00000u;
const float LOWEST = -3.40282347e38f; // finite

DEVICE uint32_t magnitude(float x) { return to_bits(x) & 0x7fffffffu; }
DEVICE uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }
DEVICE uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

// Eight lanes, held by eight neighboring threads, folded as the CPU folds them: halves, then pairs, then neighbors.
DEVICE float tree(float lane) {
    lane += across(lane, 4);
    lane += across(lane, 2);
    return lane + across(lane, 1);
}
