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
    uint size5;
    uint size6;
    uint size7;
    uint size8;
    uint size9;
    uint size10;
};

struct Params {
    uint head_dim;
    uint num_heads;
    uint num_kv_heads;
    uint ring_rows;
};
typedef uint type_5[1];
typedef float type_7[1];
typedef metal::float2 type_8[1];
typedef metal::uint4 type_9[1];
struct type_10 {
    float inner[128];
};
struct type_11 {
    uint inner[32];
};
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

float divide_special(
    uint x,
    uint y,
    uint sign
) {
    uint bits = {};
    bool local_3 = {};
    bool local_4 = {};
    bool local_5 = {};
    bool local_6 = {};
    bool local_7 = {};
    bool local_8 = {};
    uint a_3 = x & 2147483647u;
    uint b_2 = y & 2147483647u;
    bool a_zero = a_3 < HIDDEN;
    bool b_zero = b_2 < HIDDEN;
    bits = sign;
    if (!((a_3 > INFINITE))) {
        local_3 = b_2 > INFINITE;
    } else {
        local_3 = true;
    }
    bool _e20 = local_3;
    if (!(_e20)) {
        if (a_zero) {
            local_5 = b_zero;
        } else {
            local_5 = false;
        }
        bool _e27 = local_5;
        local_4 = _e27;
    } else {
        local_4 = true;
    }
    bool _e29 = local_4;
    if (!(_e29)) {
        if (a_3 == INFINITE) {
            local_7 = b_2 == INFINITE;
        } else {
            local_7 = false;
        }
        bool _e40 = local_7;
        local_6 = _e40;
    } else {
        local_6 = true;
    }
    bool _e42 = local_6;
    if (_e42) {
        bits = NOT_A_NUMBER;
    } else {
        if (!((a_3 == INFINITE))) {
            local_8 = b_zero;
        } else {
            local_8 = true;
        }
        bool _e50 = local_8;
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
    bool local_9 = {};
    bool local_10 = {};
    bool local_11 = {};
    uint q = {};
    int rest = {};
    int i_2 = 0;
    bool local_12 = {};
    int i_3 = 0;
    bool local_13 = {};
    uint x_2 = as_type<uint>(a_1);
    uint y_1 = as_type<uint>(b);
    uint sign_1 = (x_2 ^ y_1) & SIGN_BIT;
    uint xe = (x_2 >> 23u) & 255u;
    uint ye = (y_1 >> 23u) & 255u;
    if (!((xe == 0u))) {
        local_9 = ye == 0u;
    } else {
        local_9 = true;
    }
    bool _e24 = local_9;
    if (!(_e24)) {
        local_10 = xe == 255u;
    } else {
        local_10 = true;
    }
    bool _e31 = local_10;
    if (!(_e31)) {
        local_11 = ye == 255u;
    } else {
        local_11 = true;
    }
    bool _e38 = local_11;
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
            int _e86 = i_2;
            i_2 = as_type<int>(as_type<uint>(_e86) + as_type<uint>(1));
        }
        loop_init = false;
        int _e71 = i_2;
        if (_e71 < 10) {
            int _e76 = rest;
            local_12 = _e76 < 0;
        } else {
            local_12 = false;
        }
        bool _e80 = local_12;
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
            int _e105 = i_3;
            i_3 = as_type<int>(as_type<uint>(_e105) + as_type<uint>(1));
        }
        loop_init_1 = false;
        int _e91 = i_3;
        if (_e91 < 10) {
            int _e96 = rest;
            local_13 = _e96 >= step;
        } else {
            local_13 = false;
        }
        bool _e99 = local_13;
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

metal::float2 int_steps(
    uint bits_1,
    float most_1
) {
    if (bits_1 >= 2139095040u) {
        return metal::float2(0.0, as_type<float>(bits_1 | 2143289344u));
    }
    if (bits_1 < 226492416u) {
        return metal::float2(0.0, 0.0);
    }
    float largest_1 = as_type<float>(bits_1);
    float _e15 = divide(most_1, largest_1);
    float _e16 = divide(largest_1, most_1);
    return metal::float2(_e15, _e16);
}

int naga_f2i32(float value) {
    return static_cast<int>(metal::clamp(value, -2147483600.0, 2147483500.0));
}

int nearest_int(
    float x_1
) {
    uint bits_2 = as_type<uint>(x_1) & 2147483647u;
    return (bits_2 > 2139095040u) ? 0 : naga_f2i32(metal::rint(x_1));
}

uint cache_row(
    metal::uint4 row,
    uint position,
    constant Params& p,
    device type_5 const& table,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e4 = p.ring_rows;
    if (_e4 > 0u) {
        uint _e10 = p.ring_rows;
        uint _e14 = p.ring_rows;
        return (row.z * _e10) + (position % _e14);
    }
    uint _e23 = table[row.y + (position / 32u)];
    return (_e23 * 32u) + (position % 32u);
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(32)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(10)]]
, device type_5 const& table [[buffer(5)]]
, device type_7& q_1 [[buffer(0)]]
, device type_7 const& k [[buffer(1)]]
, device type_7 const& v [[buffer(2)]]
, device type_8 const& angles [[buffer(3)]]
, device type_9 const& rows [[buffer(4)]]
, device type_5& keys [[buffer(6)]]
, device type_5& values [[buffer(7)]]
, device type_7& key_scales [[buffer(8)]]
, device type_7& value_scales [[buffer(9)]]
, threadgroup type_10& numbers
, threadgroup type_11& largest
, constant _mslBufferSizes& _buffer_sizes [[buffer(11)]]
) {
    bool local = {};
    uint most = 0u;
    uint i = {};
    bool local_1 = {};
    metal::float2 pair = {};
    bool local_2 = {};
    uint i_1 = {};
    uint other = 0u;
    uint word = 0u;
    uint c = 0u;
    uint token = wg.y;
    uint _e6 = rows[token].x;
    if (_e6 == IDLE) {
        return;
    }
    uint _e11 = p.head_dim;
    uint half_ = _e11 / 2u;
    uint _e17 = p.num_heads;
    if (wg.x >= _e17) {
        uint _e24 = p.num_heads;
        uint _e27 = p.num_kv_heads;
        local = wg.x < (_e24 + _e27);
    } else {
        local = false;
    }
    bool is_key = local;
    uint _e35 = p.num_heads;
    uint _e39 = p.num_kv_heads;
    uint kv_head = (wg.x - _e35) % _e39;
    uint _e43 = p.head_dim;
    bool is_mine = li < (_e43 / 4u);
    i = 2u * li;
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e177 = i;
            i = _e177 + 1u;
        }
        loop_init_2 = false;
        uint _e52 = i;
        if (_e52 < ((2u * li) + 2u)) {
            local_1 = is_mine;
        } else {
            local_1 = false;
        }
        bool _e61 = local_1;
        if (_e61) {
        } else {
            break;
        }
        {
            pair = metal::float2(0.0, 0.0);
            uint _e68 = p.num_kv_heads;
            uint _e73 = p.head_dim;
            uint _e75 = i;
            uint at = (((token * _e68) + kv_head) * _e73) + _e75;
            uint _e80 = p.num_heads;
            if (wg.x < _e80) {
                uint _e84 = p.num_heads;
                uint _e90 = p.head_dim;
                uint _e92 = i;
                uint query = (((token * _e84) + wg.x) * _e90) + _e92;
                float _e96 = q_1[query];
                float _e100 = q_1[query + half_];
                pair = metal::float2(_e96, _e100);
            } else {
                if (is_key) {
                    float _e104 = k[at];
                    float _e108 = k[at + half_];
                    pair = metal::float2(_e104, _e108);
                } else {
                    float _e112 = v[at];
                    float _e116 = v[at + half_];
                    pair = metal::float2(_e112, _e116);
                }
            }
            uint _e121 = p.num_heads;
            if (!((wg.x < _e121))) {
                local_2 = is_key;
            } else {
                local_2 = true;
            }
            bool _e127 = local_2;
            if (_e127) {
                uint _e130 = i;
                metal::float2 angle = angles[(token * half_) + _e130];
                float _e135 = pair.x;
                float _e139 = pair.y;
                float _e144 = pair.y;
                float _e148 = pair.x;
                pair = metal::float2((_e135 * angle.x) - (_e139 * angle.y), (_e144 * angle.x) + (_e148 * angle.y));
            }
            uint _e154 = i;
            float _e157 = pair.x;
            numbers.inner[_e154] = _e157;
            uint _e159 = i;
            float _e163 = pair.y;
            numbers.inner[_e159 + half_] = _e163;
            uint _e164 = most;
            float _e166 = pair.x;
            float _e171 = pair.y;
            most = metal::max(_e164, metal::max(as_type<uint>(_e166) & 2147483647u, as_type<uint>(_e171) & 2147483647u));
        }
    }
    uint _e182 = most;
    largest.inner[li] = _e182;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    uint _e186 = p.num_heads;
    if (wg.x < _e186) {
        i_1 = li;
        bool loop_init_3 = true;
        while(true) {
            if (!loop_init_3) {
                uint _e212 = i_1;
                i_1 = _e212 + 32u;
            }
            loop_init_3 = false;
            uint _e189 = i_1;
            uint _e192 = p.head_dim;
            if (_e189 < _e192) {
            } else {
                break;
            }
            {
                uint _e197 = p.num_heads;
                uint _e203 = p.head_dim;
                uint _e205 = i_1;
                uint _e209 = i_1;
                float _e211 = numbers.inner[_e209];
                q_1[(((token * _e197) + wg.x) * _e203) + _e205] = _e211;
            }
        }
        return;
    }
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e226 = other;
            other = _e226 + 1u;
        }
        loop_init_4 = false;
        uint _e217 = other;
        if (_e217 < 32u) {
        } else {
            break;
        }
        {
            uint _e220 = most;
            uint _e222 = other;
            uint _e224 = largest.inner[_e222];
            most = metal::max(_e220, _e224);
        }
    }
    uint _e229 = most;
    metal::float2 _e231 = int_steps(_e229, 127.0);
    metal::uint4 _e234 = rows[token];
    uint _e238 = rows[token].x;
    uint _e239 = cache_row(_e234, _e238, p, table, _buffer_sizes);
    uint _e242 = p.num_kv_heads;
    uint head = (_e239 * _e242) + kv_head;
    if (li == 0u) {
        if (is_key) {
            key_scales[head] = _e231.y;
        } else {
            value_scales[head] = _e231.y;
        }
    }
    if (is_mine) {
        bool loop_init_5 = true;
        while(true) {
            if (!loop_init_5) {
                uint _e279 = c;
                c = _e279 + 1u;
            }
            loop_init_5 = false;
            uint _e257 = c;
            if (_e257 < 4u) {
            } else {
                break;
            }
            {
                uint _e260 = word;
                uint _e264 = c;
                float _e267 = numbers.inner[(4u * li) + _e264];
                int _e270 = nearest_int(_e267 * _e231.x);
                uint _e275 = c;
                word = _e260 | ((as_type<uint>(_e270) & 255u) << (8u * _e275));
            }
        }
        uint _e284 = p.head_dim;
        uint to = (head * (_e284 / 4u)) + li;
        if (is_key) {
            uint _e291 = word;
            keys[to] = _e291;
            return;
        } else {
            uint _e294 = word;
            values[to] = _e294;
            return;
        }
    } else {
        return;
    }
}
