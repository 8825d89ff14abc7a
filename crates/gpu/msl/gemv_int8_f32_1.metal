#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
    uint size4;
    uint size5;
    uint size6;
};

struct Params {
    uint n;
    uint k;
    uint first;
    uint count;
    uint rest;
    uint has_bias;
    uint adds;
};
typedef float type_2[1];
struct type_3 {
    float inner[64];
};
typedef uint type_5[1];
struct type_6 {
    float inner[1];
};
constant uint TOKENS = 1u;
constant uint INFINITE = 2139095040u;
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint NOT_A_NUMBER = 2143289344u;

float tree(
    float l0_,
    float l1_,
    float l2_,
    float l3_,
    float l4_,
    float l5_,
    float l6_,
    float l7_
) {
    return ((l0_ + l4_) + (l2_ + l6_)) + ((l1_ + l5_) + (l3_ + l7_));
}

uint num_slots(
    constant Params& p
) {
    uint _e2 = p.count;
    uint _e6 = p.count;
    uint _e10 = p.rest;
    return (_e10 > 0u) ? (2u * _e6) : _e2;
}

uint row_of(
    uint slot,
    constant Params& p
) {
    uint _e3 = p.first;
    uint _e6 = p.rest;
    uint _e10 = p.count;
    uint _e14 = p.count;
    return _e3 + ((slot >= _e14) ? ((_e6 + slot) - _e10) : slot);
}

float folded(
    uint slot_1,
    uint row,
    threadgroup type_3& lanes
) {
    uint l = (slot_1 * 64u) + (row * 8u);
    float _e9 = lanes.inner[l];
    float _e14 = lanes.inner[l + 1u];
    float _e19 = lanes.inner[l + 2u];
    float _e24 = lanes.inner[l + 3u];
    float _e29 = lanes.inner[l + 4u];
    float _e34 = lanes.inner[l + 5u];
    float _e39 = lanes.inner[l + 6u];
    float _e44 = lanes.inner[l + 7u];
    float _e45 = tree(_e9, _e14, _e19, _e24, _e29, _e34, _e39, _e44);
    return _e45;
}

void finish(
    uint first_row,
    uint li_1,
    constant Params& p,
    device type_2& out,
    device type_2 const& bias,
    threadgroup type_3& lanes,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local = {};
    float added = 0.0;
    float product = {};
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint row_2 = li_1 / 8u;
    uint slot_4 = li_1 % 8u;
    uint _e8 = p.count;
    if (!((slot_4 >= _e8))) {
        uint _e16 = p.n;
        local = (first_row + row_2) >= _e16;
    } else {
        local = true;
    }
    bool _e19 = local;
    if (_e19) {
        return;
    }
    uint _e24 = p.has_bias;
    if (_e24 == 1u) {
        float _e30 = bias[first_row + row_2];
        added = _e30;
    }
    float _e31 = folded(slot_4, row_2, lanes);
    product = _e31;
    uint _e35 = p.rest;
    if (_e35 > 0u) {
        float _e38 = product;
        uint _e43 = p.count;
        float _e45 = folded(slot_4 + _e43, row_2, lanes);
        product = (_e38 + 0.0) + (_e45 + 0.0);
        uint _e51 = p.has_bias;
        if (_e51 == 1u) {
            float _e54 = product;
            float _e55 = added;
            product = _e54 + _e55;
        }
    } else {
        float _e57 = product;
        float _e58 = added;
        product = _e57 + _e58;
    }
    uint _e62 = p.first;
    uint _e66 = p.n;
    uint place = (((_e62 + slot_4) * _e66) + first_row) + row_2;
    uint _e72 = p.adds;
    if (_e72 == 1u) {
        float _e77 = out[place];
        float _e78 = product;
        product = _e77 + _e78;
    }
    float _e82 = product;
    out[place] = _e82;
    return;
}

float half_(
    uint bits
) {
    uint value = {};
    uint sign = (bits & 32768u) << 16u;
    uint magnitude = bits & 32767u;
    value = (magnitude << 13u) + 939524096u;
    if (magnitude >= 31744u) {
        value = INFINITE | (magnitude << 13u);
    } else {
        if (magnitude < 1024u) {
            value = as_type<uint>(static_cast<float>(magnitude) * as_type<float>(864026624u));
        }
    }
    uint _e25 = value;
    return as_type<float>(sign | _e25);
}

float weight(
    uint row_1,
    uint k,
    constant Params& p,
    device type_5 const& values,
    device type_5 const& scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e4 = p.k;
    uint at = (row_1 * _e4) + k;
    uint _e11 = values[at / 4u];
    int value_1 = as_type<int>(_e11 << (24u - ((at % 4u) * 8u))) >> 24u;
    uint block = at / 32u;
    uint _e29 = scales[block / 2u];
    float _e37 = half_((_e29 >> ((block % 2u) * 16u)) & 65535u);
    return static_cast<float>(value_1) * _e37;
}

void gemv(
    uint first_row_1,
    uint li_2,
    constant Params& p,
    device type_2& out,
    device type_2 const& bias,
    threadgroup type_3& lanes,
    device type_2 const& x,
    device type_5 const& values,
    device type_5 const& scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    type_6 sums = type_6 {};
    uint k_1 = {};
    uint slot_2 = {};
    uint slot_3 = 0u;
    uint row_3 = first_row_1 + (li_2 / 8u);
    uint _e9 = p.n;
    if (row_3 < _e9) {
        k_1 = li_2 % 8u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e54 = k_1;
                k_1 = _e54 + 8u;
            }
            loop_init = false;
            uint _e14 = k_1;
            uint _e17 = p.k;
            if (_e14 < _e17) {
            } else {
                break;
            }
            {
                uint _e19 = k_1;
                float _e20 = weight(row_3, _e19, p, values, scales, _buffer_sizes);
                slot_2 = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e51 = slot_2;
                        slot_2 = _e51 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e23 = slot_2;
                    if (_e23 < TOKENS) {
                    } else {
                        break;
                    }
                    {
                        uint _e26 = slot_2;
                        uint _e29 = p.count;
                        if (_e26 < _e29) {
                            uint _e31 = slot_2;
                            uint _e36 = p.first;
                            uint _e37 = slot_2;
                            uint _e41 = p.k;
                            uint _e43 = k_1;
                            float _e46 = x[((_e36 + _e37) * _e41) + _e43];
                            uint _e47 = slot_2;
                            float _e49 = sums.inner[_e47];
                            sums.inner[_e31] = metal::fma(_e46, _e20, _e49);
                        }
                    }
                }
            }
        }
    }
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e71 = slot_3;
            slot_3 = _e71 + 1u;
        }
        loop_init_2 = false;
        uint _e59 = slot_3;
        if (_e59 < TOKENS) {
        } else {
            break;
        }
        {
            uint _e63 = slot_3;
            uint _e68 = slot_3;
            float _e70 = sums.inner[_e68];
            lanes.inner[(_e63 * 64u) + li_2] = _e70;
        }
    }
    finish(first_row_1, li_2, p, out, bias, lanes, _buffer_sizes);
    return;
}

float significand(
    float a,
    uint shift
) {
    return as_type<float>((as_type<uint>(a) & MANTISSA) | ((127u + shift) << 23u));
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(5)]]
, device type_2& out [[buffer(0)]]
, device type_2 const& bias [[buffer(1)]]
, threadgroup type_3& lanes
, device type_2 const& x [[buffer(2)]]
, device type_5 const& values [[buffer(3)]]
, device type_5 const& scales [[buffer(4)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(6)]]
) {
    gemv(wg.x * 8u, li, p, out, bias, lanes, x, values, scales, _buffer_sizes);
    return;
}
