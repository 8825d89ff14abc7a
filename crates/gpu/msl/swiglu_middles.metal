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
typedef metal::uint2 type_9[1];
struct Steps {
    float inverse;
    float size;
    int middle;
};
struct Params {
    uint num_blocks;
    float limit;
    float alpha;
};
typedef metal::float2 type_11[1];
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

int naga_f2i32(float value) {
    return static_cast<int>(metal::clamp(value, -2147483600.0, 2147483500.0));
}

Steps steps_of(
    uint block_1,
    threadgroup type_4& numbers
) {
    float least = 0.0;
    float greatest = 0.0;
    uint i_3 = 0u;
    uint _e1 = largest_of(block_1, numbers);
    if (_e1 >= INFINITE) {
        return Steps {0.0, as_type<float>(_e1 | NOT_A_NUMBER), 0};
    }
    if (_e1 < SMALLEST_BITS) {
        return Steps {0.0, 0.0, 0};
    }
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e43 = i_3;
            i_3 = _e43 + 1u;
        }
        loop_init_3 = false;
        uint _e22 = i_3;
        if (_e22 < BLOCK) {
        } else {
            break;
        }
        {
            float _e25 = least;
            uint _e29 = i_3;
            float _e32 = numbers.inner[(block_1 * BLOCK) + _e29];
            least = metal::min(_e25, _e32);
            float _e34 = greatest;
            uint _e38 = i_3;
            float _e41 = numbers.inner[(block_1 * BLOCK) + _e38];
            greatest = metal::max(_e34, _e41);
        }
    }
    float _e46 = greatest;
    float _e49 = least;
    float way = (0.5 * _e46) - (0.5 * _e49);
    float _e54 = divide(126.25, way);
    float _e55 = greatest;
    float _e58 = least;
    float middle = ((0.5 * _e55) + (0.5 * _e58)) * _e54;
    float _e64 = divide(way, 126.25);
    return Steps {_e54, _e64, naga_f2i32(metal::rint(middle))};
}

void quantize_blocks(
    uint first,
    uint count,
    uint li_1,
    threadgroup type_4& numbers,
    threadgroup type_5& packed,
    device type_7& out,
    device type_9& beside,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local_11 = {};
    Steps steps = Steps {0.0, 0.0, 0};
    metal::int4 values = metal::int4(0);
    bool local_12 = {};
    int sum = {};
    uint i_4 = 0u;
    uint block_2 = li_1 / 8u;
    uint word = li_1 % 8u;
    if (li_1 < 64u) {
        local_11 = block_2 < count;
    } else {
        local_11 = false;
    }
    bool is_mine = local_11;
    if (is_mine) {
        Steps _e19 = steps_of(block_2, numbers);
        steps = _e19;
        uint at = ((block_2 * BLOCK) + ((word % 4u) * 8u)) + (word / 4u);
        float _e34 = steps.inverse;
        if (_e34 != 0.0) {
            int _e38 = steps.middle;
            float middle_1 = -(static_cast<float>(_e38));
            float _e44 = numbers.inner[at];
            float _e46 = steps.inverse;
            values.x = naga_f2i32(metal::rint(metal::fma(_e44, _e46, middle_1)));
            float _e55 = numbers.inner[at + 2u];
            float _e57 = steps.inverse;
            values.y = naga_f2i32(metal::rint(metal::fma(_e55, _e57, middle_1)));
            float _e66 = numbers.inner[at + 4u];
            float _e68 = steps.inverse;
            values.z = naga_f2i32(metal::rint(metal::fma(_e66, _e68, middle_1)));
            float _e77 = numbers.inner[at + 6u];
            float _e79 = steps.inverse;
            values.w = naga_f2i32(metal::rint(metal::fma(_e77, _e79, middle_1)));
        }
        metal::int4 _e85 = values;
        uint _e86 = four_bytes(_e85);
        packed.inner[li_1] = _e86;
        uint _e95 = packed.inner[li_1];
        out[((first + block_2) * 8u) + word] = _e95;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (is_mine) {
        local_12 = word == 0u;
    } else {
        local_12 = false;
    }
    bool _e101 = local_12;
    if (_e101) {
        int _e103 = steps.middle;
        sum = as_type<int>(as_type<uint>(32) * as_type<uint>(_e103));
        bool loop_init_4 = true;
        while(true) {
            if (!loop_init_4) {
                uint _e121 = i_4;
                i_4 = _e121 + 1u;
            }
            loop_init_4 = false;
            uint _e109 = i_4;
            if (_e109 < 8u) {
            } else {
                break;
            }
            {
                int _e112 = sum;
                uint _e114 = i_4;
                uint _e117 = packed.inner[li_1 + _e114];
                packed_char4 reinterpreted_packed_char4_e117 = as_type<packed_char4>(_e117);
                packed_char4 reinterpreted_packed_char4_e118 = as_type<packed_char4>(16843009u);
                sum = as_type<int>(as_type<uint>(_e112) + as_type<uint>(( + reinterpreted_packed_char4_e117[0] * reinterpreted_packed_char4_e118[0] + reinterpreted_packed_char4_e117[1] * reinterpreted_packed_char4_e118[1] + reinterpreted_packed_char4_e117[2] * reinterpreted_packed_char4_e118[2] + reinterpreted_packed_char4_e117[3] * reinterpreted_packed_char4_e118[3])));
            }
        }
        int _e124 = sum;
        int _e131 = steps.middle;
        uint corrected = (as_type<uint>(as_type<int>(as_type<uint>(12) * as_type<uint>(_e124))) << 8u) | (as_type<uint>(_e131) & 255u);
        float _e140 = steps.size;
        beside[first + block_2] = metal::uint2(as_type<uint>(_e140), corrected);
        return;
    } else {
        return;
    }
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

float swiglu(
    float gate,
    float up,
    float limit_2,
    float alpha
) {
    float u = {};
    bool _e4 = is_above(gate, limit_2);
    float g = _e4 ? limit_2 : gate;
    bool _e6 = is_above(up, limit_2);
    u = _e6 ? limit_2 : up;
    float _e9 = u;
    float _e11 = u;
    bool _e12 = is_below_minus(_e11, limit_2);
    u = _e12 ? -(limit_2) : _e9;
    float _e17 = exp(-((alpha * g)));
    float _e20 = divide(1.0, 1.0 + _e17);
    float _e22 = u;
    return (g * _e20) * (_e22 + 1.0);
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_4& numbers
, threadgroup type_5& packed
, device type_7& out [[buffer(0)]]
, device type_9& beside [[buffer(1)]]
, constant Params& p [[buffer(3)]]
, device type_11 const& gate_up [[buffer(2)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(4)]]
) {
    uint _e5 = p.num_blocks;
    uint count_1 = metal::min(8u, _e5 - (wg.x * 8u));
    uint _e14 = p.num_blocks;
    uint first_1 = (wg.y * _e14) + (wg.x * 8u);
    if (li < (count_1 * BLOCK)) {
        metal::float2 pair = gate_up[(first_1 * BLOCK) + li];
        float _e35 = p.limit;
        float _e38 = p.alpha;
        float _e39 = swiglu(pair.x, pair.y, _e35, _e38);
        numbers.inner[li] = _e39;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    quantize_blocks(first_1, count_1, li, numbers, packed, out, beside, _buffer_sizes);
    return;
}
