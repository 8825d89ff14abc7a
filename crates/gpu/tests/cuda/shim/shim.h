// The words of card.h for a host compiler: the threads of a block are fibers, one warp after the other.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline
#define DEVICE_MEMBER inline
// Where the runner finds it, to spoil it before each block.
#define SHARED static __attribute__((section("shared_memory")))
#define UNROLL
#define KERNEL(threads, name, parameters)          \
    extern "C" void name parameters;               \
    static Entry entry_##name(#name, threads, name); \
    extern "C" void name parameters

struct Dimensions {
    uint32_t x, y, z;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
extern Dimensions threadIdx, blockIdx, blockDim, gridDim;

// What the threads of a warp give, when all of them have.
const uint32_t* exchange(uint32_t mine);
void block_barrier();

template <class T> static inline T load(const T* p) { return *p; }
static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static inline float fused(float a, float b, float c) { return fmaf(a, b, c); }
static inline float divide(float a, float b) { return a / b; }
static inline float root(float x) { return sqrtf(x); }
static inline int nearest(float x) { return x != x ? 0 : (int)rintf(x); }
static inline int byte_of(uint32_t word, int i) { return (int8_t)(word >> 8 * i); }
static inline int dot4(uint32_t a, uint32_t b, int c) {
    for (int i = 0; i < 4; i++) c += byte_of(a, i) * byte_of(b, i);
    return c;
}
static inline int byte_sum(uint32_t a) {
    int sum = 0;
    for (int i = 0; i < 4; i++) sum += (uint8_t)byte_of(a, i);
    return sum;
}
static inline int dot2_low(uint32_t a, uint32_t b, int c) {
    return c + (int16_t)a * byte_of(b, 0) + (int16_t)(a >> 16) * byte_of(b, 1);
}
static inline int dot2_high(uint32_t a, uint32_t b, int c) { return dot2_low(a, b >> 16, c); }
static inline uint32_t choose(uint32_t a, uint32_t b, uint32_t nibbles) {
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t nibble = nibbles >> 4 * i, byte = both >> 8 * (nibble & 7) & 255;
        if (nibble & 8) byte = byte & 128 ? 255 : 0;
        bytes |= byte << 8 * i;
    }
    return bytes;
}
static inline float half(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
    if (magnitude < 0x400u) return from_bits(sign | to_bits((float)magnitude * 0x1p-24f));
    return from_bits(sign | ((magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u)));
}
static inline uint32_t across(uint32_t x, uint32_t mask) { return exchange(x)[threadIdx.x % 32 ^ mask]; }
static inline float across(float x, uint32_t mask) { return from_bits(across(to_bits(x), mask)); }
static inline uint32_t warp_max(uint32_t x) {
    const uint32_t* all = exchange(x);
    for (int i = 0; i < 32; i++) x = all[i] > x ? all[i] : x;
    return x;
}
static inline int warp_sum(int x) {
    const uint32_t* all = exchange((uint32_t)x);
    int sum = 0;
    for (int i = 0; i < 32; i++) sum += (int)all[i];
    return sum;
}
static inline void atomic_max(uint32_t* place, uint32_t x) { *place = x > *place ? x : *place; }
// The fragments as PTX lays them out: a thread has rows g and g + 8 of A, column g of B and columns 2t and 2t + 1 of C,
// where g is its number over 4 and t the rest.
static inline void multiply_tile(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    uint32_t as[4][32], bs[2][32], g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) memcpy(as[i], exchange(a[i]), sizeof as[i]);
    for (int i = 0; i < 2; i++) memcpy(bs[i], exchange(b[i]), sizeof bs[i]);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 8; k++) {
            uint32_t of_a = as[(k / 4) * 2 + i / 2][g * 4 + k % 4], of_b = bs[k / 4][(2 * t + i % 2) * 4 + k % 4];
            c[i] = dot4(of_a, of_b, c[i]);
        }
}

// Parameters by their addresses, one after the other.
struct Values {
    void* const* next;
    template <class T> T take() { return *(T*)*next++; }
};

// Braces evaluate from left to right.
template <class... T> struct Call {
    Call(void (*kernel)(T...), T... parameters) { kernel(parameters...); }
};

// A kernel that can be run by its name.
struct Entry {
    const char* name;
    uint32_t threads, num_parameters;
    // Of each parameter.
    const uint32_t* bytes;
    void (*kernel)();
    void (*call)(void (*kernel)(), Values);
    Entry* next;
    static Entry* first;

    template <class... T>
    Entry(const char* name, uint32_t threads, void (*kernel)(T...))
        : name(name), threads(threads), num_parameters(sizeof...(T)), kernel((void (*)())kernel), next(first) {
        static const uint32_t sizes[] = {sizeof(T)...};
        bytes = sizes;
        call = [](void (*kernel)(), Values values) { Call<T...>{(void (*)(T...))kernel, values.take<T>()...}; };
        first = this;
    }
};
