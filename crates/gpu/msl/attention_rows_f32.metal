#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size1;
    uint size6;
    uint size7;
    uint size8;
    uint size9;
    uint size13;
    uint size14;
};

struct Params {
    uint head_dim;
    uint num_kv_heads;
    uint group;
    uint lane_groups;
    uint window;
    uint ring_rows;
    uint spans_max;
    float scale;
};
typedef uint type_3[1];
struct type_5 {
    uint inner[4096];
};
struct type_6 {
    float inner[256];
};
struct type_7 {
    float inner[32];
};
struct type_8 {
    float inner[1024];
};
struct Heads {
    uint kv;
    uint first;
    uint count;
};
typedef float type_9[1];
typedef metal::float4 type_11[1];
typedef metal::uint4 type_12[1];
struct type_13 {
    metal::float4 inner[256];
};
struct type_14 {
    float inner[8];
};
struct type_17 {
    metal::float2 inner[8];
};
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint IDLE = 4294967295u;
constant uint SPAN = 512u;
constant uint LANES = 8u;
constant float LOWEST = -340282350000000000000000000000000000000.0;

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

uint cache_row(
    metal::uint4 row,
    uint position,
    constant Params& p,
    device type_3 const& table,
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

Heads heads_of(
    uint index,
    constant Params& p
) {
    uint _e3 = p.lane_groups;
    uint kv = index / _e3;
    uint _e7 = p.lane_groups;
    uint lane_group = index % _e7;
    uint _e11 = p.group;
    uint _e19 = p.group;
    return Heads {kv, (kv * _e11) + (lane_group * LANES), metal::min(LANES, _e19 - (lane_group * LANES))};
}

uint first_seen(
    uint position_1,
    constant Params& p
) {
    uint _e6 = p.window;
    uint _e13 = p.window;
    return (_e13 > 0u) ? ((position_1 + 1u) - metal::min(_e6, position_1 + 1u)) : 0u;
}

void soften(
    uint first,
    uint end,
    uint li_1,
    threadgroup type_5& weights,
    threadgroup type_6& tops,
    threadgroup type_7& sums
) {
    float top = LOWEST;
    uint t = {};
    uint half_ = 16u;
    uint t_1 = {};
    float l = 0.0;
    uint t_2 = {};
    uint h_3 = li_1 % LANES;
    uint j = li_1 / LANES;
    t = first + j;
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            uint _e25 = t;
            t = _e25 + 32u;
        }
        loop_init = false;
        uint _e11 = t;
        if (_e11 < end) {
        } else {
            break;
        }
        {
            uint _e14 = t;
            uint _e19 = weights.inner[(_e14 * LANES) + h_3];
            float score = as_type<float>(_e19);
            float _e21 = top;
            float _e22 = top;
            top = (score > _e22) ? score : _e21;
        }
    }
    float _e30 = top;
    tops.inner[li_1] = _e30;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    bool loop_init_1 = true;
    while(true) {
        if (!loop_init_1) {
            uint _e55 = half_;
            half_ = _e55 / 2u;
        }
        loop_init_1 = false;
        uint _e33 = half_;
        if (_e33 > 0u) {
        } else {
            break;
        }
        {
            uint _e36 = half_;
            if (j < _e36) {
                uint _e39 = half_;
                float other = tops.inner[li_1 + (_e39 * LANES)];
                float _e49 = tops.inner[li_1];
                float _e52 = tops.inner[li_1];
                tops.inner[li_1] = (other > _e52) ? other : _e49;
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    float m = tops.inner[h_3];
    t_1 = first + j;
    bool loop_init_2 = true;
    while(true) {
        if (!loop_init_2) {
            uint _e82 = t_1;
            t_1 = _e82 + 32u;
        }
        loop_init_2 = false;
        uint _e63 = t_1;
        if (_e63 < end) {
        } else {
            break;
        }
        {
            uint _e66 = t_1;
            uint _e72 = t_1;
            uint _e77 = weights.inner[(_e72 * LANES) + h_3];
            float _e80 = exp(as_type<float>(_e77) - m);
            weights.inner[(_e66 * LANES) + h_3] = as_type<uint>(_e80);
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (li_1 < 32u) {
        uint c_1 = li_1 / LANES;
        t_2 = first + (((c_1 + 4u) - (first % 4u)) % 4u);
        bool loop_init_3 = true;
        while(true) {
            if (!loop_init_3) {
                uint _e112 = t_2;
                t_2 = _e112 + 4u;
            }
            loop_init_3 = false;
            uint _e100 = t_2;
            if (_e100 < end) {
            } else {
                break;
            }
            {
                float _e102 = l;
                uint _e104 = t_2;
                uint _e109 = weights.inner[(_e104 * LANES) + h_3];
                l = _e102 + as_type<float>(_e109);
            }
        }
        float _e117 = l;
        sums.inner[li_1] = _e117;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return;
}

float span_sum(
    uint h,
    threadgroup type_7& sums
) {
    float _e3 = sums.inner[h];
    float _e8 = sums.inner[16u + h];
    float _e14 = sums.inner[LANES + h];
    float _e19 = sums.inner[24u + h];
    return (_e3 + _e8) + (_e14 + _e19);
}

void load_queries(
    uint token,
    Heads heads,
    uint li_2,
    constant Params& p,
    device type_9 const& q_1,
    threadgroup type_13& queries,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint i = {};
    metal::float4 four = {};
    uint c = {};
    uint _e5 = p.head_dim;
    uint fours = _e5 / 4u;
    uint _e10 = p.num_kv_heads;
    uint _e14 = p.group;
    uint _e20 = p.head_dim;
    uint base = (((token * _e10) * _e14) + heads.first) * _e20;
    i = li_2;
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e60 = i;
            i = _e60 + 256u;
        }
        loop_init_4 = false;
        uint _e23 = i;
        if (_e23 < (LANES * fours)) {
        } else {
            break;
        }
        {
            four = metal::float4(0.0, 0.0, 0.0, 0.0);
            uint _e33 = i;
            if (_e33 < (heads.count * fours)) {
                c = 0u;
                bool loop_init_5 = true;
                while(true) {
                    if (!loop_init_5) {
                        uint _e53 = c;
                        c = _e53 + 1u;
                    }
                    loop_init_5 = false;
                    uint _e39 = c;
                    if (_e39 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e42 = c;
                        uint _e46 = i;
                        uint _e49 = c;
                        float _e52 = q_1[(base + (4u * _e46)) + _e49];
                        four[_e42] = _e52;
                    }
                }
            }
            uint _e57 = i;
            metal::float4 _e59 = four;
            queries.inner[_e57] = _e59;
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return;
}

void reduce_span(
    metal::uint4 row_1,
    Heads heads_1,
    uint start,
    uint first_1,
    uint end_1,
    uint li_3,
    constant Params& p,
    device type_3 const& table,
    threadgroup type_5& weights,
    threadgroup type_6& tops,
    threadgroup type_7& sums,
    threadgroup type_8& span_values,
    device type_11 const& keys,
    device type_9 const& values,
    threadgroup type_13& queries,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint t_3 = {};
    type_14 even = {};
    type_14 odd = {};
    uint i_1 = {};
    uint h_1 = {};
    uint h_2 = {};
    uint i_2 = {};
    float low = {};
    float high = {};
    uint t_4 = {};
    uint _e8 = p.head_dim;
    uint fours_1 = _e8 / 4u;
    t_3 = first_1 + li_3;
    bool loop_init_6 = true;
    while(true) {
        if (!loop_init_6) {
            uint _e105 = t_3;
            t_3 = _e105 + 256u;
        }
        loop_init_6 = false;
        uint _e13 = t_3;
        if (_e13 < end_1) {
        } else {
            break;
        }
        {
            uint _e15 = t_3;
            uint _e17 = cache_row(row_1, start + _e15, p, table, _buffer_sizes);
            uint _e20 = p.num_kv_heads;
            uint base_1 = ((_e17 * _e20) + heads_1.kv) * fours_1;
            even = type_14 {};
            odd = type_14 {};
            i_1 = 0u;
            bool loop_init_7 = true;
            while(true) {
                if (!loop_init_7) {
                    uint _e75 = i_1;
                    i_1 = _e75 + 1u;
                }
                loop_init_7 = false;
                uint _e31 = i_1;
                if (_e31 < fours_1) {
                } else {
                    break;
                }
                {
                    uint _e34 = i_1;
                    metal::float4 key = keys[base_1 + _e34];
                    h_1 = 0u;
                    bool loop_init_8 = true;
                    while(true) {
                        if (!loop_init_8) {
                            uint _e72 = h_1;
                            h_1 = _e72 + 1u;
                        }
                        loop_init_8 = false;
                        uint _e40 = h_1;
                        if (_e40 < LANES) {
                        } else {
                            break;
                        }
                        {
                            uint _e44 = h_1;
                            uint _e46 = i_1;
                            metal::float4 four_1 = queries.inner[(_e44 * fours_1) + _e46];
                            uint _e50 = h_1;
                            uint _e56 = h_1;
                            float _e58 = even.inner[_e56];
                            even.inner[_e50] = metal::fma(four_1.z, key.z, metal::fma(four_1.x, key.x, _e58));
                            uint _e61 = h_1;
                            uint _e67 = h_1;
                            float _e69 = odd.inner[_e67];
                            odd.inner[_e61] = metal::fma(four_1.w, key.w, metal::fma(four_1.y, key.y, _e69));
                        }
                    }
                }
            }
            h_2 = 0u;
            bool loop_init_9 = true;
            while(true) {
                if (!loop_init_9) {
                    uint _e102 = h_2;
                    h_2 = _e102 + 1u;
                }
                loop_init_9 = false;
                uint _e80 = h_2;
                if (_e80 < LANES) {
                } else {
                    break;
                }
                {
                    uint _e84 = t_3;
                    uint _e87 = h_2;
                    uint _e90 = h_2;
                    float _e92 = even.inner[_e90];
                    uint _e93 = h_2;
                    float _e95 = odd.inner[_e93];
                    float _e99 = p.scale;
                    weights.inner[(_e84 * LANES) + _e87] = as_type<uint>((_e92 + _e95) * _e99);
                }
            }
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    soften(first_1, end_1, li_3, weights, tops, sums);
    i_2 = li_3;
    bool loop_init_10 = true;
    while(true) {
        if (!loop_init_10) {
            uint _e189 = i_2;
            i_2 = _e189 + 256u;
        }
        loop_init_10 = false;
        uint _e109 = i_2;
        uint _e113 = p.head_dim;
        if (_e109 < (4u * _e113)) {
        } else {
            break;
        }
        {
            uint _e116 = i_2;
            uint _e119 = p.head_dim;
            uint d = _e116 % _e119;
            uint _e121 = i_2;
            uint _e124 = p.head_dim;
            uint h_4 = _e121 / _e124;
            low = 0.0;
            high = 0.0;
            t_4 = first_1;
            bool loop_init_11 = true;
            while(true) {
                if (!loop_init_11) {
                    uint _e172 = t_4;
                    t_4 = _e172 + 1u;
                }
                loop_init_11 = false;
                uint _e131 = t_4;
                if (_e131 < end_1) {
                } else {
                    break;
                }
                {
                    uint _e134 = t_4;
                    uint _e136 = cache_row(row_1, start + _e134, p, table, _buffer_sizes);
                    uint _e139 = p.num_kv_heads;
                    uint _e145 = p.head_dim;
                    float value = values[(((_e136 * _e139) + heads_1.kv) * _e145) + d];
                    uint _e151 = t_4;
                    uint _e156 = weights.inner[(_e151 * LANES) + h_4];
                    float _e158 = low;
                    low = metal::fma(as_type<float>(_e156), value, _e158);
                    uint _e161 = t_4;
                    uint _e168 = weights.inner[((_e161 * LANES) + h_4) + 4u];
                    float _e170 = high;
                    high = metal::fma(as_type<float>(_e168), value, _e170);
                }
            }
            uint _e176 = i_2;
            float _e178 = low;
            span_values.inner[_e176] = _e178;
            uint _e180 = i_2;
            uint _e184 = p.head_dim;
            float _e188 = high;
            span_values.inner[_e180 + (4u * _e184)] = _e188;
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return;
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
    int i_3 = 0;
    bool local_10 = {};
    int i_4 = 0;
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
    bool loop_init_12 = true;
    while(true) {
        if (!loop_init_12) {
            int _e86 = i_3;
            i_3 = as_type<int>(as_type<uint>(_e86) + as_type<uint>(1));
        }
        loop_init_12 = false;
        int _e71 = i_3;
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
    bool loop_init_13 = true;
    while(true) {
        if (!loop_init_13) {
            int _e105 = i_4;
            i_4 = as_type<int>(as_type<uint>(_e105) + as_type<uint>(1));
        }
        loop_init_13 = false;
        int _e91 = i_4;
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

void attend_row(
    metal::uint3 wg_1,
    uint li_4,
    constant Params& p,
    device type_3 const& table,
    threadgroup type_5& weights,
    threadgroup type_6& tops,
    threadgroup type_7& sums,
    threadgroup type_8& span_values,
    device type_9 const& q_1,
    device type_11 const& keys,
    device type_9 const& values,
    device type_12 const& rows,
    threadgroup type_13& queries,
    threadgroup type_8& joined,
    threadgroup type_17& state,
    device type_9& out,
    device type_9 const& sinks,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint i_5 = {};
    uint i_6 = {};
    uint start_1 = {};
    uint i_7 = {};
    uint i_8 = {};
    Heads _e3 = heads_of(wg_1.x, p);
    metal::uint4 row_2 = rows[wg_1.y];
    uint _e11 = p.num_kv_heads;
    uint _e15 = p.group;
    uint _e21 = p.head_dim;
    uint base_2 = (((wg_1.y * _e11) * _e15) + _e3.first) * _e21;
    if (row_2.x == IDLE) {
        i_5 = li_4;
        bool loop_init_14 = true;
        while(true) {
            if (!loop_init_14) {
                uint _e39 = i_5;
                i_5 = _e39 + 256u;
            }
            loop_init_14 = false;
            uint _e27 = i_5;
            uint _e31 = p.head_dim;
            if (_e27 < (_e3.count * _e31)) {
            } else {
                break;
            }
            {
                uint _e35 = i_5;
                out[base_2 + _e35] = 0.0;
            }
        }
        return;
    }
    uint _e43 = first_seen(row_2.x, p);
    load_queries(wg_1.y, _e3, li_4, p, q_1, queries, _buffer_sizes);
    i_6 = li_4;
    bool loop_init_15 = true;
    while(true) {
        if (!loop_init_15) {
            uint _e57 = i_6;
            i_6 = _e57 + 256u;
        }
        loop_init_15 = false;
        uint _e46 = i_6;
        uint _e50 = p.head_dim;
        if (_e46 < (LANES * _e50)) {
        } else {
            break;
        }
        {
            uint _e54 = i_6;
            joined.inner[_e54] = 0.0;
        }
    }
    if (li_4 < _e3.count) {
        float _e68 = sinks[_e3.first + li_4];
        state.inner[li_4] = metal::float2(_e68, 1.0);
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    start_1 = (_e43 / SPAN) * SPAN;
    bool loop_init_16 = true;
    while(true) {
        if (!loop_init_16) {
            uint _e186 = start_1;
            start_1 = _e186 + SPAN;
        }
        loop_init_16 = false;
        uint _e76 = start_1;
        if (_e76 <= row_2.x) {
        } else {
            break;
        }
        {
            uint _e79 = start_1;
            uint _e80 = start_1;
            uint _e82 = start_1;
            uint _e87 = start_1;
            reduce_span(row_2, _e3, _e79, metal::max(_e43, _e80) - _e82, metal::min((row_2.x + 1u) - _e87, SPAN), li_4, p, table, weights, tops, sums, span_values, keys, values, queries, _buffer_sizes);
            i_7 = li_4;
            bool loop_init_17 = true;
            while(true) {
                if (!loop_init_17) {
                    uint _e144 = i_7;
                    i_7 = _e144 + 256u;
                }
                loop_init_17 = false;
                uint _e92 = i_7;
                uint _e96 = p.head_dim;
                if (_e92 < (_e3.count * _e96)) {
                } else {
                    break;
                }
                {
                    uint _e99 = i_7;
                    uint _e102 = p.head_dim;
                    uint h_5 = _e99 / _e102;
                    float _e107 = state.inner[h_5].x;
                    float _e110 = tops.inner[h_5];
                    float _e113 = tops.inner[h_5];
                    float _e117 = state.inner[h_5].x;
                    float top_1 = (_e113 > _e117) ? _e110 : _e107;
                    uint _e121 = i_7;
                    uint _e124 = i_7;
                    float _e126 = span_values.inner[_e124];
                    float _e129 = tops.inner[h_5];
                    float _e131 = exp(_e129 - top_1);
                    uint _e133 = i_7;
                    float _e135 = joined.inner[_e133];
                    float _e139 = state.inner[h_5].x;
                    float _e141 = exp(_e139 - top_1);
                    joined.inner[_e121] = metal::fma(_e126, _e131, _e135 * _e141);
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            if (li_4 < _e3.count) {
                float _e152 = state.inner[li_4].x;
                float _e155 = tops.inner[li_4];
                float _e158 = tops.inner[li_4];
                float _e162 = state.inner[li_4].x;
                float top_2 = (_e158 > _e162) ? _e155 : _e152;
                float _e165 = span_sum(li_4, sums);
                float _e168 = tops.inner[li_4];
                float _e170 = exp(_e168 - top_2);
                float _e174 = state.inner[li_4].y;
                float _e178 = state.inner[li_4].x;
                float _e180 = exp(_e178 - top_2);
                float sum = metal::fma(_e165, _e170, _e174 * _e180);
                state.inner[li_4] = metal::float2(top_2, sum);
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    i_8 = li_4;
    bool loop_init_18 = true;
    while(true) {
        if (!loop_init_18) {
            uint _e215 = i_8;
            i_8 = _e215 + 256u;
        }
        loop_init_18 = false;
        uint _e190 = i_8;
        uint _e194 = p.head_dim;
        if (_e190 < (_e3.count * _e194)) {
        } else {
            break;
        }
        {
            uint _e198 = i_8;
            uint _e202 = i_8;
            float _e204 = joined.inner[_e202];
            uint _e206 = i_8;
            uint _e209 = p.head_dim;
            float _e213 = state.inner[_e206 / _e209].y;
            float _e214 = divide(_e204, _e213);
            out[base_2 + _e198] = _e214;
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(7)]]
, device type_3 const& table [[buffer(4)]]
, threadgroup type_5& weights
, threadgroup type_6& tops
, threadgroup type_7& sums
, threadgroup type_8& span_values
, device type_9 const& q_1 [[buffer(0)]]
, device type_11 const& keys [[buffer(1)]]
, device type_9 const& values [[buffer(2)]]
, device type_12 const& rows [[buffer(3)]]
, threadgroup type_13& queries
, threadgroup type_8& joined
, threadgroup type_17& state
, device type_9& out [[buffer(6)]]
, device type_9 const& sinks [[buffer(5)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(8)]]
) {
    attend_row(wg, li, p, table, weights, tops, sums, span_values, q_1, keys, values, rows, queries, joined, state, out, sinks, _buffer_sizes);
    return;
}
