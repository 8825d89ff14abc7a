#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size3;
    uint size4;
    uint size5;
};

struct type_4 {
    float inner[2048];
};
struct type_5 {
    float inner[8];
};
struct Params {
    uint c;
    float eps;
};
typedef float type_6[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint THREADS = 256u;
constant uint CHUNK = 2048u;

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
    uint x_2 = as_type<uint>(a_1);
    uint y_1 = as_type<uint>(b);
    uint sign_1 = (x_2 ^ y_1) & SIGN_BIT;
    uint xe = (x_2 >> 23u) & 255u;
    uint ye = (y_1 >> 23u) & 255u;
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
        float _e39 = divide_special(x_2, y_1, sign_1);
        return _e39;
    }
    uint xm = (x_2 & MANTISSA) | HIDDEN;
    uint ym = (y_1 & MANTISSA) | HIDDEN;
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
    uint x_3 = as_type<uint>(a_3);
    if (x_3 < HIDDEN) {
        return 0.0;
    }
    if (x_3 >= INFINITE) {
        return a_3;
    }
    int exponent_1 = as_type<int>(as_type<uint>(as_type<int>(x_3 >> 23u)) - as_type<uint>(127));
    uint odd = as_type<uint>(exponent_1 & 1);
    uint m = (x_3 & MANTISSA) | HIDDEN;
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

float row_scale(
    uint first,
    uint li_1,
    threadgroup type_4& chunk,
    threadgroup type_5& lanes,
    constant Params& p,
    device type_6 const& x_1,
    constant _mslBufferSizes& _buffer_sizes
) {
    float lane = 0.0;
    uint start = 0u;
    uint k_1 = {};
    uint k_2 = {};
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e52 = start;
            start = _e52 + CHUNK;
        }
        loop_init_4 = false;
        uint _e6 = start;
        uint _e9 = p.c;
        if (_e6 < _e9) {
        } else {
            break;
        }
        {
            uint _e14 = p.c;
            uint _e15 = start;
            uint end = metal::min(CHUNK, _e14 - _e15);
            k_1 = li_1;
            bool loop_init_5 = true;
            while(true) {
                if (!loop_init_5) {
                    uint _e31 = k_1;
                    k_1 = _e31 + THREADS;
                }
                loop_init_5 = false;
                uint _e19 = k_1;
                if (_e19 < end) {
                } else {
                    break;
                }
                {
                    uint _e22 = k_1;
                    uint _e25 = start;
                    uint _e27 = k_1;
                    float _e30 = x_1[(first + _e25) + _e27];
                    chunk.inner[_e22] = _e30;
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            if (li_1 < 8u) {
                k_2 = li_1;
                bool loop_init_6 = true;
                while(true) {
                    if (!loop_init_6) {
                        uint _e49 = k_2;
                        k_2 = _e49 + 8u;
                    }
                    loop_init_6 = false;
                    uint _e37 = k_2;
                    if (_e37 < end) {
                    } else {
                        break;
                    }
                    {
                        uint _e40 = k_2;
                        float _e42 = chunk.inner[_e40];
                        uint _e44 = k_2;
                        float _e46 = chunk.inner[_e44];
                        float _e47 = lane;
                        lane = metal::fma(_e42, _e46, _e47);
                    }
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    if (li_1 < 8u) {
        float _e59 = lane;
        lanes.inner[li_1] = _e59;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    float _e62 = lanes.inner[0];
    float _e65 = lanes.inner[1];
    float _e68 = lanes.inner[2];
    float _e71 = lanes.inner[3];
    float _e74 = lanes.inner[4];
    float _e77 = lanes.inner[5];
    float _e80 = lanes.inner[6];
    float _e83 = lanes.inner[7];
    float _e84 = tree(_e62, _e65, _e68, _e71, _e74, _e77, _e80, _e83);
    uint _e88 = p.c;
    float _e90 = divide(_e84, static_cast<float>(_e88));
    float _e93 = p.eps;
    float _e95 = root(_e90 + _e93);
    float _e96 = divide(1.0, _e95);
    return _e96;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_4& chunk
, threadgroup type_5& lanes
, constant Params& p [[buffer(3)]]
, device type_6 const& x_1 [[buffer(0)]]
, device type_6 const& weight [[buffer(1)]]
, device type_6& out [[buffer(2)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(4)]]
) {
    uint k = {};
    uint _e5 = p.c;
    uint first_1 = wg.x * _e5;
    float _e7 = row_scale(first_1, li, chunk, lanes, p, x_1, _buffer_sizes);
    k = li;
    bool loop_init_7 = true;
    while(true) {
        if (!loop_init_7) {
            uint _e29 = k;
            k = _e29 + THREADS;
        }
        loop_init_7 = false;
        uint _e9 = k;
        uint _e12 = p.c;
        if (_e9 < _e12) {
        } else {
            break;
        }
        {
            uint _e15 = k;
            uint _e19 = k;
            float _e22 = x_1[first_1 + _e19];
            uint _e25 = k;
            float _e27 = weight[_e25];
            out[first_1 + _e15] = (_e22 * _e7) * _e27;
        }
    }
    return;
}
