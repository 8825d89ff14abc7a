#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size2;
};

struct Params {
    uint count;
};
typedef metal::float4 type_5[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;

float significand(
    float a,
    uint shift
) {
    return as_type<float>((as_type<uint>(a) & MANTISSA) | ((127u + shift) << 23u));
}

float divide_special(
    uint x,
    uint y,
    uint sign
) {
    uint bits = {};
    bool local = {};
    bool local_1 = {};
    bool local_2 = {};
    bool local_3 = {};
    bool local_4 = {};
    bool local_5 = {};
    uint a_5 = x & 2147483647u;
    uint b_2 = y & 2147483647u;
    bool a_zero = a_5 < HIDDEN;
    bool b_zero = b_2 < HIDDEN;
    bits = sign;
    if (!((a_5 > INFINITE))) {
        local = b_2 > INFINITE;
    } else {
        local = true;
    }
    bool _e20 = local;
    if (!(_e20)) {
        if (a_zero) {
            local_2 = b_zero;
        } else {
            local_2 = false;
        }
        bool _e27 = local_2;
        local_1 = _e27;
    } else {
        local_1 = true;
    }
    bool _e29 = local_1;
    if (!(_e29)) {
        if (a_5 == INFINITE) {
            local_4 = b_2 == INFINITE;
        } else {
            local_4 = false;
        }
        bool _e40 = local_4;
        local_3 = _e40;
    } else {
        local_3 = true;
    }
    bool _e42 = local_3;
    if (_e42) {
        bits = NOT_A_NUMBER;
    } else {
        if (!((a_5 == INFINITE))) {
            local_5 = b_zero;
        } else {
            local_5 = true;
        }
        bool _e50 = local_5;
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
    bool local_6 = {};
    bool local_7 = {};
    bool local_8 = {};
    uint q = {};
    int rest = {};
    int i = 0;
    bool local_9 = {};
    int i_1 = 0;
    bool local_10 = {};
    uint x_4 = as_type<uint>(a_1);
    uint y_2 = as_type<uint>(b);
    uint sign_1 = (x_4 ^ y_2) & SIGN_BIT;
    uint xe = (x_4 >> 23u) & 255u;
    uint ye = (y_2 >> 23u) & 255u;
    if (!((xe == 0u))) {
        local_6 = ye == 0u;
    } else {
        local_6 = true;
    }
    bool _e24 = local_6;
    if (!(_e24)) {
        local_7 = xe == 255u;
    } else {
        local_7 = true;
    }
    bool _e31 = local_7;
    if (!(_e31)) {
        local_8 = ye == 255u;
    } else {
        local_8 = true;
    }
    bool _e38 = local_8;
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
            local_9 = _e76 < 0;
        } else {
            local_9 = false;
        }
        bool _e80 = local_9;
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
            local_10 = _e96 >= step;
        } else {
            local_10 = false;
        }
        bool _e99 = local_10;
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

float root_near(
    float a_3,
    float estimate_1
) {
    uint q_1 = {};
    int rest_1 = {};
    int i_2 = 0;
    bool local_11 = {};
    int i_3 = 0;
    bool local_12 = {};
    uint x_5 = as_type<uint>(a_3);
    if (x_5 < HIDDEN) {
        return 0.0;
    }
    if (x_5 >= INFINITE) {
        return a_3;
    }
    int exponent_1 = as_type<int>(as_type<uint>(as_type<int>(x_5 >> 23u)) - as_type<uint>(127));
    uint odd = as_type<uint>(exponent_1 & 1);
    uint m = (x_5 & MANTISSA) | HIDDEN;
    q_1 = naga_f2u32(estimate_1 * 8388608.0);
    uint _e27 = q_1;
    uint _e28 = q_1;
    rest_1 = as_type<int>((m << (23u + odd)) - (_e27 * _e28));
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            int _e56 = i_2;
            i_2 = as_type<int>(as_type<uint>(_e56) + as_type<uint>(1));
        }
        loop_init_2 = false;
        int _e35 = i_2;
        if (_e35 < 17) {
            int _e40 = rest_1;
            local_11 = _e40 < 0;
        } else {
            local_11 = false;
        }
        bool _e44 = local_11;
        if (_e44) {
        } else {
            break;
        }
        {
            uint _e45 = q_1;
            q_1 = _e45 - 1u;
            int _e48 = rest_1;
            uint _e50 = q_1;
            rest_1 = as_type<int>(as_type<uint>(_e48) + as_type<uint>(as_type<int>((2u * _e50) + 1u)));
        }
    }
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            int _e85 = i_3;
            i_3 = as_type<int>(as_type<uint>(_e85) + as_type<uint>(1));
        }
        loop_init_3 = false;
        int _e61 = i_3;
        if (_e61 < 17) {
            int _e66 = rest_1;
            uint _e68 = q_1;
            local_12 = _e66 > as_type<int>(2u * _e68);
        } else {
            local_12 = false;
        }
        bool _e73 = local_12;
        if (_e73) {
        } else {
            break;
        }
        {
            int _e74 = rest_1;
            uint _e76 = q_1;
            rest_1 = as_type<int>(as_type<uint>(_e74) - as_type<uint>(as_type<int>((2u * _e76) + 1u)));
            uint _e82 = q_1;
            q_1 = _e82 + 1u;
        }
    }
    uint _e88 = q_1;
    int _e91 = rest_1;
    uint _e92 = q_1;
    q_1 = _e88 + ((_e91 > as_type<int>(_e92)) ? 1u : 0u);
    uint _e104 = q_1;
    return as_type<float>((as_type<uint>(as_type<int>(as_type<uint>(exponent_1 >> 1u) + as_type<uint>(126))) << 23u) + _e104);
}

float root(
    float a_4
) {
    uint odd_1 = 1u - ((as_type<uint>(a_4) >> 23u) & 1u);
    float _e8 = significand(a_4, odd_1);
    float _e10 = root_near(a_4, metal::sqrt(_e8));
    return _e10;
}

bool is_above(
    float x_1,
    float limit
) {
    bool local_13 = {};
    uint bits_1 = as_type<uint>(x_1);
    if (bits_1 > as_type<uint>(limit)) {
        local_13 = bits_1 <= INFINITE;
    } else {
        local_13 = false;
    }
    bool _e10 = local_13;
    return _e10;
}

bool is_below_minus(
    float x_2,
    float limit_1
) {
    bool _e6 = is_above(as_type<float>(as_type<uint>(x_2) ^ SIGN_BIT), limit_1);
    return _e6;
}

float exp(
    float x_3
) {
    float cut = {};
    float r = {};
    float y_1 = {};
    bool _e2 = is_above(x_3, 88.37);
    cut = _e2 ? 88.37 : x_3;
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
    y_1 = metal::fma(_e24, 0.0001984127, 0.0013888889);
    float _e29 = y_1;
    float _e30 = r;
    y_1 = metal::fma(_e29, _e30, 0.008333334);
    float _e33 = y_1;
    float _e34 = r;
    y_1 = metal::fma(_e33, _e34, 0.041666668);
    float _e37 = y_1;
    float _e38 = r;
    y_1 = metal::fma(_e37, _e38, 0.16666667);
    float _e41 = y_1;
    float _e42 = r;
    y_1 = metal::fma(_e41, _e42, 0.5);
    float _e45 = y_1;
    float _e46 = r;
    y_1 = metal::fma(_e45, _e46, 1.0);
    float _e49 = y_1;
    float _e50 = r;
    y_1 = metal::fma(_e49, _e50, 1.0);
    uint power = ((as_type<uint>(shifted) - as_type<uint>(12582912.0)) + 127u) << 23u;
    float _e60 = y_1;
    bool _e64 = is_below_minus(x_3, 87.33654);
    return _e64 ? 0.0 : (_e60 * as_type<float>(power));
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 id [[thread_position_in_grid]]
, constant Params& p [[buffer(2)]]
, device type_5& out [[buffer(0)]]
, device type_5 const& numbers [[buffer(1)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(3)]]
) {
    uint _e4 = p.count;
    if (id.x < _e4) {
        metal::float4 n_1 = numbers[id.x];
        uint odd_2 = 1u - ((as_type<uint>(n_1.x) >> 23u) & 1u);
        float _e20 = significand(n_1.x, 0u);
        float _e23 = significand(n_1.y, 0u);
        uint ratio = as_type<uint>(_e20 / _e23);
        float _e27 = significand(n_1.x, odd_2);
        uint radical = as_type<uint>(metal::sqrt(_e27));
        float _e36 = divide_near(n_1.x, n_1.y, as_type<float>(ratio + as_type<uint>(n_1.w)));
        float _e44 = root_near(n_1.x, as_type<float>(radical + (2u * as_type<uint>(n_1.w))));
        float _e49 = exp(n_1.x);
        out[id.x] = metal::float4(_e36, _e44, _e49, metal::fma(n_1.x, n_1.y, n_1.z));
        return;
    } else {
        return;
    }
}
