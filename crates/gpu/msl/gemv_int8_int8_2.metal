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
    uint first;
    uint count;
    uint rest;
    uint has_bias;
    uint adds;
};
typedef float type_2[1];
struct type_3 {
    float inner[128];
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

uint num_slots(
    constant Params& p
) {
    uint _e2 = p.count;
    uint _e6 = p.count;
    uint _e10 = p.rest;
    return (_e10 > 0u) ? (2u * _e6) : _e2;
}

uint row_of(
    uint slot_2,
    constant Params& p
) {
    uint _e3 = p.first;
    uint _e6 = p.rest;
    uint _e10 = p.count;
    uint _e14 = p.count;
    return _e3 + ((slot_2 >= _e14) ? ((_e6 + slot_2) - _e10) : slot_2);
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
    uint _e8 = p.count;
    if (!((slot_4 >= _e8))) {
        uint _e16 = p.n;
        local = (first_row + row_1) >= _e16;
    } else {
        local = true;
    }
    bool _e19 = local;
    if (_e19) {
        return;
    }
    uint _e24 = p.has_bias;
    if (_e24 == 1u) {
        float _e30 = bias[first_row + row_1];
        added = _e30;
    }
    float _e31 = folded(slot_4, row_1, lanes);
    product = _e31;
    uint _e35 = p.rest;
    if (_e35 > 0u) {
        float _e38 = product;
        uint _e43 = p.count;
        float _e45 = folded(slot_4 + _e43, row_1, lanes);
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
    uint place = (((_e62 + slot_4) * _e66) + first_row) + row_1;
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
    uint _e13 = num_slots(p);
    uint _e18 = p.n;
    if (row_2 < _e18) {
        b = li % 8u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e115 = b;
                b = _e115 + 8u;
            }
            loop_init = false;
            uint _e23 = b;
            if (_e23 < num_blocks) {
            } else {
                break;
            }
            {
                uint _e26 = b;
                uint at = (row_2 * num_blocks) + _e26;
                metal::uint4 low = values[at * 2u];
                metal::uint4 high = values[(at * 2u) + 1u];
                uint _e44 = scales[at / 2u];
                float _e52 = half_((_e44 >> ((at % 2u) * 16u)) & 65535u);
                slot = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e112 = slot;
                        slot = _e112 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e55 = slot;
                    if (_e55 < TOKENS) {
                    } else {
                        break;
                    }
                    {
                        uint _e58 = slot;
                        if (_e58 < _e13) {
                            uint _e60 = slot;
                            uint _e61 = row_of(_e60, p);
                            uint _e63 = b;
                            uint x_at = (_e61 * num_blocks) + _e63;
                            metal::uint4 x_low = x[x_at * 2u];
                            metal::uint4 x_high = x[(x_at * 2u) + 1u];
                            dot = 0;
                            i = 0u;
                            bool loop_init_2 = true;
                            while(true) {
                                if (!loop_init_2) {
                                    uint _e97 = i;
                                    i = _e97 + 1u;
                                }
                                loop_init_2 = false;
                                uint _e81 = i;
                                if (_e81 < 4u) {
                                } else {
                                    break;
                                }
                                {
                                    int _e84 = dot;
                                    uint _e85 = i;
                                    uint _e86 = low[_e85];
                                    uint _e87 = i;
                                    uint _e88 = x_low[_e87];
                                    packed_char4 reinterpreted_packed_char4_e86 = as_type<packed_char4>(_e86);
                                    packed_char4 reinterpreted_packed_char4_e88 = as_type<packed_char4>(_e88);
                                    uint _e90 = i;
                                    uint _e91 = high[_e90];
                                    uint _e92 = i;
                                    uint _e93 = x_high[_e92];
                                    packed_char4 reinterpreted_packed_char4_e91 = as_type<packed_char4>(_e91);
                                    packed_char4 reinterpreted_packed_char4_e93 = as_type<packed_char4>(_e93);
                                    dot = as_type<int>(as_type<uint>(_e84) + as_type<uint>(as_type<int>(as_type<uint>(( + reinterpreted_packed_char4_e86[0] * reinterpreted_packed_char4_e88[0] + reinterpreted_packed_char4_e86[1] * reinterpreted_packed_char4_e88[1] + reinterpreted_packed_char4_e86[2] * reinterpreted_packed_char4_e88[2] + reinterpreted_packed_char4_e86[3] * reinterpreted_packed_char4_e88[3])) + as_type<uint>(( + reinterpreted_packed_char4_e91[0] * reinterpreted_packed_char4_e93[0] + reinterpreted_packed_char4_e91[1] * reinterpreted_packed_char4_e93[1] + reinterpreted_packed_char4_e91[2] * reinterpreted_packed_char4_e93[2] + reinterpreted_packed_char4_e91[3] * reinterpreted_packed_char4_e93[3])))));
                                }
                            }
                            uint _e100 = slot;
                            int _e102 = dot;
                            float _e106 = x_scales[x_at];
                            uint _e108 = slot;
                            float _e110 = sums.inner[_e108];
                            sums.inner[_e100] = metal::fma(static_cast<float>(_e102), _e106 * _e52, _e110);
                        }
                    }
                }
            }
        }
    }
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e132 = slot_1;
            slot_1 = _e132 + 1u;
        }
        loop_init_3 = false;
        uint _e120 = slot_1;
        if (_e120 < TOKENS) {
        } else {
            break;
        }
        {
            uint _e124 = slot_1;
            uint _e129 = slot_1;
            float _e131 = sums.inner[_e129];
            lanes.inner[(_e124 * 64u) + li] = _e131;
        }
    }
    finish(wg.x * 8u, li, p, out, bias, lanes, _buffer_sizes);
    return;
}
