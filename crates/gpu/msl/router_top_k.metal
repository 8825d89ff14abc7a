#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
    uint size3;
};

struct Params {
    uint num_experts;
    uint per_token;
};
typedef float type_4[1];
typedef uint type_5[1];
struct type_7 {
    metal::uint2 inner[64];
};
struct type_8 {
    uint inner[8];
};
struct type_10 {
    float inner[8];
};
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint NEVER = 4294967295u;

float significand(
    float a,
    uint shift
) {
    return as_type<float>((as_type<uint>(a) & MANTISSA) | ((127u + shift) << 23u));
}

bool is_above(
    float x,
    float limit
) {
    bool local_3 = {};
    uint bits_2 = as_type<uint>(x);
    if (bits_2 > as_type<uint>(limit)) {
        local_3 = bits_2 <= INFINITE;
    } else {
        local_3 = false;
    }
    bool _e10 = local_3;
    return _e10;
}

bool is_below_minus(
    float x_1,
    float limit_1
) {
    bool _e6 = is_above(as_type<float>(as_type<uint>(x_1) ^ SIGN_BIT), limit_1);
    return _e6;
}

float exp(
    float x_2
) {
    float cut = {};
    float r = {};
    float y = {};
    bool _e2 = is_above(x_2, 88.37);
    cut = _e2 ? 88.37 : x_2;
    float _e6 = cut;
    float _e7 = cut;
    bool _e9 = is_below_minus(_e7, 87.33654);
    cut = _e9 ? -87.33654 : _e6;
    float _e13 = cut;
    float shifted = metal::fma(_e13, 1.442695, 12582912.0);
    float n = shifted - 12582912.0;
    float _e17 = cut;
    r = metal::fma(n, -0.69314575, _e17);
    float _e21 = r;
    r = metal::fma(n, -0.0000014286068, _e21);
    float _e24 = r;
    y = metal::fma(_e24, 0.0001984127, 0.0013888889);
    float _e29 = y;
    float _e30 = r;
    y = metal::fma(_e29, _e30, 0.008333334);
    float _e33 = y;
    float _e34 = r;
    y = metal::fma(_e33, _e34, 0.041666668);
    float _e37 = y;
    float _e38 = r;
    y = metal::fma(_e37, _e38, 0.16666667);
    float _e41 = y;
    float _e42 = r;
    y = metal::fma(_e41, _e42, 0.5);
    float _e45 = y;
    float _e46 = r;
    y = metal::fma(_e45, _e46, 1.0);
    float _e49 = y;
    float _e50 = r;
    y = metal::fma(_e49, _e50, 1.0);
    uint power = ((as_type<uint>(shifted) - as_type<uint>(12582912.0)) + 127u) << 23u;
    float _e60 = y;
    bool _e64 = is_below_minus(x_2, 87.33654);
    return _e64 ? 0.0 : (_e60 * as_type<float>(power));
}

float divide_special(
    uint x_3,
    uint y_1,
    uint sign
) {
    uint bits = {};
    bool local_4 = {};
    bool local_5 = {};
    bool local_6 = {};
    bool local_7 = {};
    bool local_8 = {};
    bool local_9 = {};
    uint a_4 = x_3 & 2147483647u;
    uint b_3 = y_1 & 2147483647u;
    bool a_zero = a_4 < HIDDEN;
    bool b_zero = b_3 < HIDDEN;
    bits = sign;
    if (!((a_4 > INFINITE))) {
        local_4 = b_3 > INFINITE;
    } else {
        local_4 = true;
    }
    bool _e20 = local_4;
    if (!(_e20)) {
        if (a_zero) {
            local_6 = b_zero;
        } else {
            local_6 = false;
        }
        bool _e27 = local_6;
        local_5 = _e27;
    } else {
        local_5 = true;
    }
    bool _e29 = local_5;
    if (!(_e29)) {
        if (a_4 == INFINITE) {
            local_8 = b_3 == INFINITE;
        } else {
            local_8 = false;
        }
        bool _e40 = local_8;
        local_7 = _e40;
    } else {
        local_7 = true;
    }
    bool _e42 = local_7;
    if (_e42) {
        bits = NOT_A_NUMBER;
    } else {
        if (!((a_4 == INFINITE))) {
            local_9 = b_zero;
        } else {
            local_9 = true;
        }
        bool _e50 = local_9;
        if (_e50) {
            bits = sign | INFINITE;
        }
    }
    uint _e53 = bits;
    return as_type<float>(_e53);
}

uint naga_f2u32(float value) {
    return static_cast<uint>(metal::clamp(value, 0.0, 4294967000.0));
}

float divide_near(
    float a_1,
    float b,
    float estimate
) {
    bool local_10 = {};
    bool local_11 = {};
    bool local_12 = {};
    uint q = {};
    int rest = {};
    int i = 0;
    bool local_13 = {};
    int i_1 = 0;
    bool local_14 = {};
    uint x_4 = as_type<uint>(a_1);
    uint y_2 = as_type<uint>(b);
    uint sign_1 = (x_4 ^ y_2) & SIGN_BIT;
    uint xe = (x_4 >> 23u) & 255u;
    uint ye = (y_2 >> 23u) & 255u;
    if (!((xe == 0u))) {
        local_10 = ye == 0u;
    } else {
        local_10 = true;
    }
    bool _e24 = local_10;
    if (!(_e24)) {
        local_11 = xe == 255u;
    } else {
        local_11 = true;
    }
    bool _e31 = local_11;
    if (!(_e31)) {
        local_12 = ye == 255u;
    } else {
        local_12 = true;
    }
    bool _e38 = local_12;
    if (_e38) {
        float _e39 = divide_special(x_4, y_2, sign_1);
        return _e39;
    }
    uint xm = (x_4 & MANTISSA) | HIDDEN;
    uint ym = (y_2 & MANTISSA) | HIDDEN;
    uint below = (xm < ym) ? 1u : 0u;
    q = naga_f2u32(estimate * as_type<float>((150u + below) << 23u));
    uint _e63 = q;
    rest = as_type<int>((xm << (23u + below)) - (_e63 * ym));
    int step = as_type<int>(ym);
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            int _e86 = i;
            i = as_type<int>(as_type<uint>(_e86) + as_type<uint>(1));
        }
        loop_init = false;
        int _e71 = i;
        if (_e71 < 10) {
            int _e76 = rest;
            local_13 = _e76 < 0;
        } else {
            local_13 = false;
        }
        bool _e80 = local_13;
        if (_e80) {
        } else {
            break;
        }
        {
            uint _e81 = q;
            q = _e81 - 1u;
            int _e84 = rest;
            rest = as_type<int>(as_type<uint>(_e84) + as_type<uint>(step));
        }
    }
    bool loop_init_1 = true;
    while(true) {
        if (!loop_init_1) {
            int _e105 = i_1;
            i_1 = as_type<int>(as_type<uint>(_e105) + as_type<uint>(1));
        }
        loop_init_1 = false;
        int _e91 = i_1;
        if (_e91 < 10) {
            int _e96 = rest;
            local_14 = _e96 >= step;
        } else {
            local_14 = false;
        }
        bool _e99 = local_14;
        if (_e99) {
        } else {
            break;
        }
        {
            uint _e100 = q;
            q = _e100 + 1u;
            int _e103 = rest;
            rest = as_type<int>(as_type<uint>(_e103) - as_type<uint>(step));
        }
    }
    uint _e108 = q;
    int _e111 = rest;
    q = _e108 + ((as_type<int>(as_type<uint>(2) * as_type<uint>(_e111)) > step) ? 1u : 0u);
    int exponent = as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(xe)) - as_type<uint>(as_type<int>(ye)))) + as_type<uint>(127))) - as_type<uint>(as_type<int>(below)));
    if (exponent <= 0) {
        return as_type<float>(sign_1);
    }
    if (exponent >= 255) {
        return as_type<float>(sign_1 | INFINITE);
    }
    uint _e137 = q;
    return as_type<float>(sign_1 | ((as_type<uint>(as_type<int>(as_type<uint>(exponent) - as_type<uint>(1))) << 23u) + _e137));
}

float divide(
    float a_2,
    float b_1
) {
    float _e3 = significand(a_2, 0u);
    float _e5 = significand(b_1, 0u);
    float _e7 = divide_near(a_2, b_1, _e3 / _e5);
    return _e7;
}

uint rank(
    float logit
) {
    uint bits_1 = {};
    bits_1 = as_type<uint>(logit);
    uint _e3 = bits_1;
    if ((_e3 & 2147483647u) > 2139095040u) {
        bits_1 = 4286578688u;
    }
    uint _e9 = bits_1;
    if (_e9 == 2147483648u) {
        bits_1 = 0u;
    }
    uint _e13 = bits_1;
    uint _e16 = bits_1;
    uint _e18 = bits_1;
    return ((_e18 & 2147483648u) != 0u) ? ~(_e16) : (_e13 | 2147483648u);
}

bool is_before(
    metal::uint2 a_3,
    metal::uint2 b_2
) {
    bool local_15 = {};
    bool local_16 = {};
    if (!((a_3.x > b_2.x))) {
        if (a_3.x == b_2.x) {
            local_16 = a_3.y < b_2.y;
        } else {
            local_16 = false;
        }
        bool _e17 = local_16;
        local_15 = _e17;
    } else {
        local_15 = true;
    }
    bool _e19 = local_15;
    return _e19;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(3)]]
, device type_4 const& logits [[buffer(0)]]
, device type_5& experts [[buffer(1)]]
, device type_4& chosen [[buffer(2)]]
, threadgroup type_7& keys
, threadgroup type_8& best
, constant _mslBufferSizes& _buffer_sizes [[buffer(4)]]
) {
    uint place = 0u;
    metal::uint2 mine = {};
    uint expert = {};
    bool is_free = {};
    uint earlier = {};
    bool local = {};
    bool local_1 = {};
    uint half_ = {};
    bool local_2 = {};
    type_10 weights = type_10 {};
    float sum = 0.0;
    uint place_1 = 0u;
    uint place_2 = 0u;
    uint _e5 = p.num_experts;
    uint base = wg.x * _e5;
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e105 = place;
            place = _e105 + 1u;
        }
        loop_init_2 = false;
        uint _e9 = place;
        uint _e12 = p.per_token;
        if (_e9 < _e12) {
        } else {
            break;
        }
        {
            mine = metal::uint2(0u, 4294967295u);
            expert = li;
            bool loop_init_3 = true;
            while(true) {
                if (!loop_init_3) {
                    uint _e60 = expert;
                    expert = _e60 + 64u;
                }
                loop_init_3 = false;
                uint _e19 = expert;
                uint _e22 = p.num_experts;
                if (_e19 < _e22) {
                } else {
                    break;
                }
                {
                    is_free = true;
                    earlier = 0u;
                    bool loop_init_4 = true;
                    while(true) {
                        if (!loop_init_4) {
                            uint _e42 = earlier;
                            earlier = _e42 + 1u;
                        }
                        loop_init_4 = false;
                        uint _e28 = earlier;
                        uint _e29 = place;
                        if (_e28 < _e29) {
                        } else {
                            break;
                        }
                        {
                            bool _e31 = is_free;
                            if (_e31) {
                                uint _e35 = earlier;
                                uint _e37 = best.inner[_e35];
                                uint _e38 = expert;
                                local = _e37 != _e38;
                            } else {
                                local = false;
                            }
                            bool _e41 = local;
                            is_free = _e41;
                        }
                    }
                    uint _e46 = expert;
                    float _e49 = logits[base + _e46];
                    uint _e50 = rank(_e49);
                    uint _e51 = expert;
                    metal::uint2 key = metal::uint2(_e50, _e51);
                    bool _e53 = is_free;
                    if (_e53) {
                        metal::uint2 _e56 = mine;
                        bool _e57 = is_before(key, _e56);
                        local_1 = _e57;
                    } else {
                        local_1 = false;
                    }
                    bool _e59 = local_1;
                    if (_e59) {
                        mine = key;
                    }
                }
            }
            metal::uint2 _e65 = mine;
            keys.inner[li] = _e65;
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            half_ = 32u;
            bool loop_init_5 = true;
            while(true) {
                if (!loop_init_5) {
                    uint _e93 = half_;
                    half_ = _e93 / 2u;
                }
                loop_init_5 = false;
                uint _e68 = half_;
                if (_e68 > 0u) {
                } else {
                    break;
                }
                {
                    uint _e71 = half_;
                    if (li < _e71) {
                        uint _e76 = half_;
                        metal::uint2 _e79 = keys.inner[li + _e76];
                        metal::uint2 _e82 = keys.inner[li];
                        bool _e83 = is_before(_e79, _e82);
                        local_2 = _e83;
                    } else {
                        local_2 = false;
                    }
                    bool _e85 = local_2;
                    if (_e85) {
                        uint _e89 = half_;
                        metal::uint2 _e92 = keys.inner[li + _e89];
                        keys.inner[li] = _e92;
                    }
                    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
                }
            }
            if (li == 0u) {
                uint _e99 = place;
                uint _e104 = keys.inner[0].y;
                best.inner[_e99] = _e104;
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    if (li > 0u) {
        return;
    }
    uint _e113 = best.inner[0];
    float largest = logits[base + _e113];
    bool loop_init_6 = true;
    while(true) {
        if (!loop_init_6) {
            uint _e145 = place_1;
            place_1 = _e145 + 1u;
        }
        loop_init_6 = false;
        uint _e123 = place_1;
        uint _e126 = p.per_token;
        if (_e123 < _e126) {
        } else {
            break;
        }
        {
            uint _e128 = place_1;
            uint _e132 = place_1;
            uint _e134 = best.inner[_e132];
            float _e137 = logits[base + _e134];
            float _e139 = exp(_e137 - largest);
            weights.inner[_e128] = _e139;
            float _e140 = sum;
            uint _e141 = place_1;
            float _e143 = weights.inner[_e141];
            sum = _e140 + _e143;
        }
    }
    bool loop_init_7 = true;
    while(true) {
        if (!loop_init_7) {
            uint _e182 = place_2;
            place_2 = _e182 + 1u;
        }
        loop_init_7 = false;
        uint _e150 = place_2;
        uint _e153 = p.per_token;
        if (_e150 < _e153) {
        } else {
            break;
        }
        {
            uint _e159 = p.per_token;
            uint _e161 = place_2;
            uint _e165 = place_2;
            uint _e167 = best.inner[_e165];
            experts[(wg.x * _e159) + _e161] = _e167;
            uint _e172 = p.per_token;
            uint _e174 = place_2;
            uint _e177 = place_2;
            float _e179 = weights.inner[_e177];
            float _e180 = sum;
            float _e181 = divide(_e179, _e180);
            chosen[(wg.x * _e172) + _e174] = _e181;
        }
    }
    return;
}
