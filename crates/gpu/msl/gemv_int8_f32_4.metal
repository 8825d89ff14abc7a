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
    uint t;
    uint parts;
    uint has_bias;
    uint adds;
};
typedef float type_2[1];
struct type_3 {
    float inner[256];
};
struct Tokens {
    uint first;
    uint count;
};
typedef uint type_5[1];
struct type_6 {
    float inner[4];
};
constant uint TOKENS = 4u;
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

Tokens tokens_of(
    uint chunk,
    constant Params& p
) {
    uint _e4 = p.parts;
    uint most = TOKENS / _e4;
    uint first = chunk * most;
    uint _e9 = p.t;
    return Tokens {first, metal::min(most, _e9 - first)};
}

uint row_of(
    Tokens tokens,
    uint slot,
    constant Params& p
) {
    uint _e5 = p.t;
    return tokens.first + ((slot >= tokens.count) ? ((_e5 + slot) - tokens.count) : slot);
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
    Tokens tokens_1,
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
    if (!((slot_4 >= tokens_1.count))) {
        uint _e15 = p.n;
        local = (first_row + row_2) >= _e15;
    } else {
        local = true;
    }
    bool _e18 = local;
    if (_e18) {
        return;
    }
    uint _e23 = p.has_bias;
    if (_e23 == 1u) {
        float _e29 = bias[first_row + row_2];
        added = _e29;
    }
    float _e30 = folded(slot_4, row_2, lanes);
    product = _e30;
    uint _e34 = p.parts;
    if (_e34 == 2u) {
        float _e37 = product;
        float _e42 = folded(slot_4 + tokens_1.count, row_2, lanes);
        product = (_e37 + 0.0) + (_e42 + 0.0);
        uint _e48 = p.has_bias;
        if (_e48 == 1u) {
            float _e51 = product;
            float _e52 = added;
            product = _e51 + _e52;
        }
    } else {
        float _e54 = product;
        float _e55 = added;
        product = _e54 + _e55;
    }
    uint _e61 = p.n;
    uint place = (((tokens_1.first + slot_4) * _e61) + first_row) + row_2;
    uint _e67 = p.adds;
    if (_e67 == 1u) {
        float _e72 = out[place];
        float _e73 = product;
        product = _e72 + _e73;
    }
    float _e77 = product;
    out[place] = _e77;
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
    uint chunk_1,
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
    Tokens _e3 = tokens_of(chunk_1, p);
    uint row_3 = first_row_1 + (li_2 / 8u);
    uint _e11 = p.n;
    if (row_3 < _e11) {
        k_1 = li_2 % 8u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e52 = k_1;
                k_1 = _e52 + 8u;
            }
            loop_init = false;
            uint _e16 = k_1;
            uint _e19 = p.k;
            if (_e16 < _e19) {
            } else {
                break;
            }
            {
                uint _e21 = k_1;
                float _e22 = weight(row_3, _e21, p, values, scales, _buffer_sizes);
                slot_2 = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e49 = slot_2;
                        slot_2 = _e49 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e25 = slot_2;
                    if (_e25 < TOKENS) {
                    } else {
                        break;
                    }
                    {
                        uint _e28 = slot_2;
                        if (_e28 < _e3.count) {
                            uint _e31 = slot_2;
                            uint _e35 = slot_2;
                            uint _e39 = p.k;
                            uint _e41 = k_1;
                            float _e44 = x[((_e3.first + _e35) * _e39) + _e41];
                            uint _e45 = slot_2;
                            float _e47 = sums.inner[_e45];
                            sums.inner[_e31] = metal::fma(_e44, _e22, _e47);
                        }
                    }
                }
            }
        }
    }
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e69 = slot_3;
            slot_3 = _e69 + 1u;
        }
        loop_init_2 = false;
        uint _e57 = slot_3;
        if (_e57 < TOKENS) {
        } else {
            break;
        }
        {
            uint _e61 = slot_3;
            uint _e66 = slot_3;
            float _e68 = sums.inner[_e66];
            lanes.inner[(_e61 * 64u) + li_2] = _e68;
        }
    }
    finish(first_row_1, _e3, li_2, p, out, bias, lanes, _buffer_sizes);
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
    gemv(wg.x * 8u, wg.y, li, p, out, bias, lanes, x, values, scales, _buffer_sizes);
    return;
}
