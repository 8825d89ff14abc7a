#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size3;
    uint size6;
    uint size7;
    uint size8;
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
    uint num_blocks;
    uint parts;
};
typedef float type_6[1];
struct type_7 {
    float inner[256];
};
struct type_8 {
    uint inner[64];
};
typedef uint type_10[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint THREADS = 256u;
constant uint CHUNK = 2048u;
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
    uint start_1 = 0u;
    uint k = {};
    uint k_1 = {};
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e52 = start_1;
            start_1 = _e52 + CHUNK;
        }
        loop_init_4 = false;
        uint _e6 = start_1;
        uint _e9 = p.c;
        if (_e6 < _e9) {
        } else {
            break;
        }
        {
            uint _e14 = p.c;
            uint _e15 = start_1;
            uint end = metal::min(CHUNK, _e14 - _e15);
            k = li_1;
            bool loop_init_5 = true;
            while(true) {
                if (!loop_init_5) {
                    uint _e31 = k;
                    k = _e31 + THREADS;
                }
                loop_init_5 = false;
                uint _e19 = k;
                if (_e19 < end) {
                } else {
                    break;
                }
                {
                    uint _e22 = k;
                    uint _e25 = start_1;
                    uint _e27 = k;
                    float _e30 = x_1[(first + _e25) + _e27];
                    chunk.inner[_e22] = _e30;
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            if (li_1 < 8u) {
                k_1 = li_1;
                bool loop_init_6 = true;
                while(true) {
                    if (!loop_init_6) {
                        uint _e49 = k_1;
                        k_1 = _e49 + 8u;
                    }
                    loop_init_6 = false;
                    uint _e37 = k_1;
                    if (_e37 < end) {
                    } else {
                        break;
                    }
                    {
                        uint _e40 = k_1;
                        float _e42 = chunk.inner[_e40];
                        uint _e44 = k_1;
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

uint largest_of(
    uint block,
    threadgroup type_7& numbers
) {
    uint largest = 0u;
    uint i_4 = 0u;
    bool loop_init_7 = true;
    while(true) {
        if (!loop_init_7) {
            uint _e20 = i_4;
            i_4 = _e20 + 1u;
        }
        loop_init_7 = false;
        uint _e5 = i_4;
        if (_e5 < BLOCK) {
        } else {
            break;
        }
        {
            uint _e8 = largest;
            uint _e12 = i_4;
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
    uint first_1,
    uint count,
    uint all,
    uint parts,
    uint li_2,
    threadgroup type_7& numbers,
    device type_10& out,
    device type_6& scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local_13 = {};
    uint part = 0u;
    float inverse = {};
    float size = {};
    metal::int4 values = {};
    uint block_1 = li_2 / 8u;
    uint word = li_2 % 8u;
    if (li_2 < 64u) {
        local_13 = block_1 < count;
    } else {
        local_13 = false;
    }
    bool is_mine = local_13;
    bool loop_init_8 = true;
    while(true) {
        if (!loop_init_8) {
            uint _e109 = part;
            part = _e109 + 1u;
        }
        loop_init_8 = false;
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
                uint at = li_2 * 4u;
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
                uint place = ((_e69 * all) + first_1) + block_1;
                metal::int4 _e78 = values;
                uint _e79 = four_bytes(_e78);
                out[(place * 8u) + word] = _e79;
                if (word == 0u) {
                    float _e84 = size;
                    scales[place] = _e84;
                }
                metal::int4 _e85 = values;
                float _e87 = size;
                metal::float4 rest_2 = metal::fma(static_cast<metal::float4>(_e85), metal::float4(-(_e87)), mine);
                numbers.inner[at] = rest_2.x;
                numbers.inner[at + 1u] = rest_2.y;
                numbers.inner[at + 2u] = rest_2.z;
                numbers.inner[at + 3u] = rest_2.w;
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
, threadgroup type_4& chunk
, threadgroup type_5& lanes
, constant Params& p [[buffer(4)]]
, device type_6 const& x_1 [[buffer(2)]]
, threadgroup type_7& numbers
, device type_10& out [[buffer(0)]]
, device type_6& scales [[buffer(1)]]
, device type_6 const& weight [[buffer(3)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(5)]]
) {
    uint start = 0u;
    uint _e5 = p.c;
    uint first_2 = wg.x * _e5;
    float _e7 = row_scale(first_2, li, chunk, lanes, p, x_1, _buffer_sizes);
    bool loop_init_9 = true;
    while(true) {
        if (!loop_init_9) {
            uint _e51 = start;
            start = _e51 + THREADS;
        }
        loop_init_9 = false;
        uint _e10 = start;
        uint _e13 = p.c;
        if (_e10 < _e13) {
        } else {
            break;
        }
        {
            uint _e15 = start;
            uint k_2 = _e15 + li;
            uint _e19 = p.c;
            if (k_2 < _e19) {
                float _e26 = x_1[first_2 + k_2];
                float _e30 = weight[k_2];
                numbers.inner[li] = (_e26 * _e7) * _e30;
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            uint _e35 = p.c;
            uint _e36 = start;
            uint count_1 = metal::min(THREADS, _e35 - _e36) / BLOCK;
            uint _e41 = start;
            uint _e47 = p.num_blocks;
            uint _e50 = p.parts;
            quantize_blocks((first_2 + _e41) / BLOCK, count_1, _e47, _e50, li, numbers, out, scales, _buffer_sizes);
        }
    }
    return;
}
