#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
    uint size3;
    uint size4;
};

struct Params {
    uint head_dim;
    uint num_kv_heads;
    uint group;
    uint lane_groups;
    uint window;
    uint spans_max;
};
typedef float type_4[1];
typedef metal::uint4 type_6[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint IDLE = 4294967295u;

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
    bool local = {};
    uint bits_1 = as_type<uint>(x);
    if (bits_1 > as_type<uint>(limit)) {
        local = bits_1 <= INFINITE;
    } else {
        local = false;
    }
    bool _e10 = local;
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
    bool local_1 = {};
    bool local_2 = {};
    bool local_3 = {};
    bool local_4 = {};
    bool local_5 = {};
    bool local_6 = {};
    uint a_3 = x_3 & 2147483647u;
    uint b_2 = y_1 & 2147483647u;
    bool a_zero = a_3 < HIDDEN;
    bool b_zero = b_2 < HIDDEN;
    bits = sign;
    if (!((a_3 > INFINITE))) {
        local_1 = b_2 > INFINITE;
    } else {
        local_1 = true;
    }
    bool _e20 = local_1;
    if (!(_e20)) {
        if (a_zero) {
            local_3 = b_zero;
        } else {
            local_3 = false;
        }
        bool _e27 = local_3;
        local_2 = _e27;
    } else {
        local_2 = true;
    }
    bool _e29 = local_2;
    if (!(_e29)) {
        if (a_3 == INFINITE) {
            local_5 = b_2 == INFINITE;
        } else {
            local_5 = false;
        }
        bool _e40 = local_5;
        local_4 = _e40;
    } else {
        local_4 = true;
    }
    bool _e42 = local_4;
    if (_e42) {
        bits = NOT_A_NUMBER;
    } else {
        if (!((a_3 == INFINITE))) {
            local_6 = b_zero;
        } else {
            local_6 = true;
        }
        bool _e50 = local_6;
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
    bool local_7 = {};
    bool local_8 = {};
    bool local_9 = {};
    uint q = {};
    int rest = {};
    int i = 0;
    bool local_10 = {};
    int i_1 = 0;
    bool local_11 = {};
    uint x_4 = as_type<uint>(a_1);
    uint y_2 = as_type<uint>(b);
    uint sign_1 = (x_4 ^ y_2) & SIGN_BIT;
    uint xe = (x_4 >> 23u) & 255u;
    uint ye = (y_2 >> 23u) & 255u;
    if (!((xe == 0u))) {
        local_7 = ye == 0u;
    } else {
        local_7 = true;
    }
    bool _e24 = local_7;
    if (!(_e24)) {
        local_8 = xe == 255u;
    } else {
        local_8 = true;
    }
    bool _e31 = local_8;
    if (!(_e31)) {
        local_9 = ye == 255u;
    } else {
        local_9 = true;
    }
    bool _e38 = local_9;
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
            local_10 = _e76 < 0;
        } else {
            local_10 = false;
        }
        bool _e80 = local_10;
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
            local_11 = _e96 >= step;
        } else {
            local_11 = false;
        }
        bool _e99 = local_11;
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

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(4)]]
, device type_4 const& partials [[buffer(0)]]
, device type_6 const& rows [[buffer(1)]]
, device type_4 const& sinks [[buffer(2)]]
, device type_4& out [[buffer(3)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(5)]]
) {
    uint d = {};
    float top = {};
    float sum = {};
    float o = {};
    uint span = {};
    uint position = rows[wg.y].x;
    uint _e12 = p.window;
    uint _e19 = p.window;
    uint first = (_e19 > 0u) ? ((position + 1u) - metal::min(_e12, position + 1u)) : 0u;
    uint num_spans = ((position / 512u) - (first / 512u)) + 1u;
    uint _e33 = p.group;
    uint lane = wg.x % _e33;
    uint _e38 = p.num_kv_heads;
    uint _e43 = p.group;
    uint _e48 = p.lane_groups;
    uint lanes = (((wg.y * _e38) + (wg.x / _e43)) * _e48) + (lane / 8u);
    uint _e56 = p.num_kv_heads;
    uint _e60 = p.group;
    uint _e66 = p.head_dim;
    uint base = (((wg.y * _e56) * _e60) + wg.x) * _e66;
    d = li;
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e151 = d;
            d = _e151 + 64u;
        }
        loop_init_2 = false;
        uint _e69 = d;
        uint _e72 = p.head_dim;
        if (_e69 < _e72) {
        } else {
            break;
        }
        {
            if (position == IDLE) {
                uint _e77 = d;
                out[base + _e77] = 0.0;
                continue;
            }
            float _e84 = sinks[wg.x];
            top = _e84;
            sum = 1.0;
            o = 0.0;
            span = 0u;
            bool loop_init_3 = true;
            while(true) {
                if (!loop_init_3) {
                    uint _e141 = span;
                    span = _e141 + 1u;
                }
                loop_init_3 = false;
                uint _e92 = span;
                if (_e92 < num_spans) {
                } else {
                    break;
                }
                {
                    uint _e96 = p.spans_max;
                    uint _e98 = span;
                    uint _e108 = p.head_dim;
                    uint at = ((((lanes * _e96) + _e98) * 8u) + (lane % 8u)) * (2u + _e108);
                    float m = partials[at];
                    float _e114 = top;
                    float _e115 = top;
                    float larger = (m > _e115) ? m : _e114;
                    float _e118 = top;
                    float _e120 = exp(_e118 - larger);
                    float _e122 = exp(m - larger);
                    float _e127 = partials[at + 1u];
                    float _e128 = sum;
                    sum = metal::fma(_e127, _e122, _e128 * _e120);
                    uint _e134 = d;
                    float _e137 = partials[(at + 2u) + _e134];
                    float _e138 = o;
                    o = metal::fma(_e137, _e122, _e138 * _e120);
                    top = larger;
                }
            }
            uint _e145 = d;
            float _e148 = o;
            float _e149 = sum;
            float _e150 = divide(_e148, _e149);
            out[base + _e145] = _e150;
        }
    }
    return;
}
