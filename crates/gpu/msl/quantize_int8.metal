#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size2;
    uint size3;
    uint size5;
};

struct type_4 {
    float inner[256];
};
struct type_5 {
    uint inner[64];
};
typedef uint type_7[1];
typedef float type_8[1];
struct Params {
    uint num_blocks;
    uint all;
    uint parts;
};
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint BLOCK = 32u;
constant uint SMALLEST_BITS = 226492416u;

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
    uint a_3 = x & 2147483647u;
    uint b_2 = y & 2147483647u;
    bool a_zero = a_3 < HIDDEN;
    bool b_zero = b_2 < HIDDEN;
    bits = sign;
    if (!((a_3 > INFINITE))) {
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
        if (a_3 == INFINITE) {
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
        if (!((a_3 == INFINITE))) {
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

uint largest_of(
    uint block,
    threadgroup type_4& numbers
) {
    uint largest = 0u;
    uint i_2 = 0u;
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e20 = i_2;
            i_2 = _e20 + 1u;
        }
        loop_init_2 = false;
        uint _e5 = i_2;
        if (_e5 < BLOCK) {
        } else {
            break;
        }
        {
            uint _e8 = largest;
            uint _e12 = i_2;
            float _e15 = numbers.inner[(block * BLOCK) + _e12];
            largest = metal::max(_e8, as_type<uint>(_e15) & 2147483647u);
        }
    }
    uint _e23 = largest;
    return _e23;
}

uint four_bytes(
    metal::int4 v
) {
    metal::uint4 b_3 = as_type<metal::uint4>(v) & metal::uint4(255u);
    return ((b_3.x | (b_3.y << 8u)) | (b_3.z << 16u)) | (b_3.w << 24u);
}

metal::int4 naga_f2i32(metal::float4 value) {
    return static_cast<metal::int4>(metal::clamp(value, -2147483600.0, 2147483500.0));
}

void quantize_blocks(
    uint first,
    uint count,
    uint all,
    uint parts,
    uint li_1,
    threadgroup type_4& numbers,
    device type_7& out,
    device type_8& scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local_11 = {};
    uint part = 0u;
    float inverse = {};
    float size = {};
    metal::int4 values = {};
    uint block_1 = li_1 / 8u;
    uint word = li_1 % 8u;
    if (li_1 < 64u) {
        local_11 = block_1 < count;
    } else {
        local_11 = false;
    }
    bool is_mine = local_11;
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e109 = part;
            part = _e109 + 1u;
        }
        loop_init_3 = false;
        uint _e18 = part;
        if (_e18 < parts) {
        } else {
            break;
        }
        {
            inverse = 0.0;
            size = 0.0;
            if (is_mine) {
                uint _e24 = largest_of(block_1, numbers);
                if (_e24 >= INFINITE) {
                    size = as_type<float>(_e24 | NOT_A_NUMBER);
                } else {
                    if (_e24 >= SMALLEST_BITS) {
                        float _e34 = divide(127.0, as_type<float>(_e24));
                        inverse = _e34;
                        float _e37 = divide(as_type<float>(_e24), 127.0);
                        size = _e37;
                    }
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            if (is_mine) {
                uint at = li_1 * 4u;
                float _e42 = numbers.inner[at];
                float _e47 = numbers.inner[at + 1u];
                float _e52 = numbers.inner[at + 2u];
                float _e57 = numbers.inner[at + 3u];
                metal::float4 mine = metal::float4(_e42, _e47, _e52, _e57);
                values = metal::int4(0);
                float _e62 = inverse;
                if (_e62 != 0.0) {
                    float _e65 = inverse;
                    values = naga_f2i32(metal::rint(mine * _e65));
                }
                uint _e69 = part;
                uint place = ((_e69 * all) + first) + block_1;
                metal::int4 _e78 = values;
                uint _e79 = four_bytes(_e78);
                out[(place * 8u) + word] = _e79;
                if (word == 0u) {
                    float _e84 = size;
                    scales[place] = _e84;
                }
                metal::int4 _e85 = values;
                float _e87 = size;
                metal::float4 rest_1 = metal::fma(static_cast<metal::float4>(_e85), metal::float4(-(_e87)), mine);
                numbers.inner[at] = rest_1.x;
                numbers.inner[at + 1u] = rest_1.y;
                numbers.inner[at + 2u] = rest_1.z;
                numbers.inner[at + 3u] = rest_1.w;
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_4& numbers
, device type_7& out [[buffer(0)]]
, device type_8& scales [[buffer(1)]]
, constant Params& p [[buffer(3)]]
, device type_8 const& x_1 [[buffer(2)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(4)]]
) {
    uint _e5 = p.num_blocks;
    uint count_1 = metal::min(8u, _e5 - (wg.x * 8u));
    uint _e14 = p.num_blocks;
    uint first_1 = (wg.y * _e14) + (wg.x * 8u);
    if (li < (count_1 * BLOCK)) {
        float _e30 = x_1[(first_1 * BLOCK) + li];
        numbers.inner[li] = _e30;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint _e33 = p.all;
    uint _e36 = p.parts;
    quantize_blocks(first_1, count_1, _e33, _e36, li, numbers, out, scales, _buffer_sizes);
    return;
}
