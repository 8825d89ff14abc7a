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
    uint size7;
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
    float inner[128];
};
struct Tokens {
    uint first;
    uint count;
};
typedef metal::uint4 type_6[1];
typedef uint type_7[1];
struct type_9 {
    float inner[2];
};
constant uint TOKENS = 2u;
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
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
    uint slot_2,
    constant Params& p
) {
    uint _e5 = p.t;
    return tokens.first + ((slot_2 >= tokens.count) ? ((_e5 + slot_2) - tokens.count) : slot_2);
}

float folded(
    uint slot_3,
    uint row,
    threadgroup type_3& lanes
) {
    uint l = (slot_3 * 64u) + (row * 8u);
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
    uint row_1 = li_1 / 8u;
    uint slot_4 = li_1 % 8u;
    if (!((slot_4 >= tokens_1.count))) {
        uint _e15 = p.n;
        local = (first_row + row_1) >= _e15;
    } else {
        local = true;
    }
    bool _e18 = local;
    if (_e18) {
        return;
    }
    uint _e23 = p.has_bias;
    if (_e23 == 1u) {
        float _e29 = bias[first_row + row_1];
        added = _e29;
    }
    float _e30 = folded(slot_4, row_1, lanes);
    product = _e30;
    uint _e34 = p.parts;
    if (_e34 == 2u) {
        float _e37 = product;
        float _e42 = folded(slot_4 + tokens_1.count, row_1, lanes);
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
    uint place = (((tokens_1.first + slot_4) * _e61) + first_row) + row_1;
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

float significand(
    float a,
    uint shift
) {
    return as_type<float>((as_type<uint>(a) & MANTISSA) | ((127u + shift) << 23u));
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

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(6)]]
, device type_2& out [[buffer(0)]]
, device type_2 const& bias [[buffer(1)]]
, threadgroup type_3& lanes
, device type_6 const& values [[buffer(2)]]
, device type_7 const& scales [[buffer(3)]]
, device type_6 const& x [[buffer(4)]]
, device type_2 const& x_scales [[buffer(5)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(7)]]
) {
    type_9 sums = type_9 {};
    uint b = {};
    uint slot = {};
    int dot = {};
    uint i = {};
    uint slot_1 = 0u;
    uint row_2 = (wg.x * 8u) + (li / 8u);
    uint _e10 = p.k;
    uint num_blocks = _e10 / 32u;
    Tokens _e14 = tokens_of(wg.y, p);
    uint _e18 = p.parts;
    uint slots = _e14.count * _e18;
    uint _e24 = p.n;
    if (row_2 < _e24) {
        b = li % 8u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e121 = b;
                b = _e121 + 8u;
            }
            loop_init = false;
            uint _e29 = b;
            if (_e29 < num_blocks) {
            } else {
                break;
            }
            {
                uint _e32 = b;
                uint at = (row_2 * num_blocks) + _e32;
                metal::uint4 low = values[at * 2u];
                metal::uint4 high = values[(at * 2u) + 1u];
                uint _e50 = scales[at / 2u];
                float _e58 = half_((_e50 >> ((at % 2u) * 16u)) & 65535u);
                slot = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e118 = slot;
                        slot = _e118 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e61 = slot;
                    if (_e61 < TOKENS) {
                    } else {
                        break;
                    }
                    {
                        uint _e64 = slot;
                        if (_e64 < slots) {
                            uint _e66 = slot;
                            uint _e67 = row_of(_e14, _e66, p);
                            uint _e69 = b;
                            uint x_at = (_e67 * num_blocks) + _e69;
                            metal::uint4 x_low = x[x_at * 2u];
                            metal::uint4 x_high = x[(x_at * 2u) + 1u];
                            dot = 0;
                            i = 0u;
                            bool loop_init_2 = true;
                            while(true) {
                                if (!loop_init_2) {
                                    uint _e103 = i;
                                    i = _e103 + 1u;
                                }
                                loop_init_2 = false;
                                uint _e87 = i;
                                if (_e87 < 4u) {
                                } else {
                                    break;
                                }
                                {
                                    int _e90 = dot;
                                    uint _e91 = i;
                                    uint _e92 = low[_e91];
                                    uint _e93 = i;
                                    uint _e94 = x_low[_e93];
                                    packed_char4 reinterpreted_packed_char4_e92 = as_type<packed_char4>(_e92);
                                    packed_char4 reinterpreted_packed_char4_e94 = as_type<packed_char4>(_e94);
                                    uint _e96 = i;
                                    uint _e97 = high[_e96];
                                    uint _e98 = i;
                                    uint _e99 = x_high[_e98];
                                    packed_char4 reinterpreted_packed_char4_e97 = as_type<packed_char4>(_e97);
                                    packed_char4 reinterpreted_packed_char4_e99 = as_type<packed_char4>(_e99);
                                    dot = as_type<int>(as_type<uint>(_e90) + as_type<uint>(as_type<int>(as_type<uint>(( + reinterpreted_packed_char4_e92[0] * reinterpreted_packed_char4_e94[0] + reinterpreted_packed_char4_e92[1] * reinterpreted_packed_char4_e94[1] + reinterpreted_packed_char4_e92[2] * reinterpreted_packed_char4_e94[2] + reinterpreted_packed_char4_e92[3] * reinterpreted_packed_char4_e94[3])) + as_type<uint>(( + reinterpreted_packed_char4_e97[0] * reinterpreted_packed_char4_e99[0] + reinterpreted_packed_char4_e97[1] * reinterpreted_packed_char4_e99[1] + reinterpreted_packed_char4_e97[2] * reinterpreted_packed_char4_e99[2] + reinterpreted_packed_char4_e97[3] * reinterpreted_packed_char4_e99[3])))));
                                }
                            }
                            uint _e106 = slot;
                            int _e108 = dot;
                            float _e112 = x_scales[x_at];
                            uint _e114 = slot;
                            float _e116 = sums.inner[_e114];
                            sums.inner[_e106] = metal::fma(static_cast<float>(_e108), _e112 * _e58, _e116);
                        }
                    }
                }
            }
        }
    }
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e138 = slot_1;
            slot_1 = _e138 + 1u;
        }
        loop_init_3 = false;
        uint _e126 = slot_1;
        if (_e126 < TOKENS) {
        } else {
            break;
        }
        {
            uint _e130 = slot_1;
            uint _e135 = slot_1;
            float _e137 = sums.inner[_e135];
            lanes.inner[(_e130 * 64u) + li] = _e137;
        }
    }
    finish(wg.x * 8u, _e14, li, p, out, bias, lanes, _buffer_sizes);
    return;
}
