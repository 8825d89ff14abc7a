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
    uint size10;
    uint size11;
    uint size17;
    uint size18;
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
typedef float type_11[1];
typedef metal::uint4 type_12[1];
struct type_14 {
    metal::int4 inner[256];
};
struct type_15 {
    metal::float2 inner[8];
};
struct type_16 {
    uint inner[256];
};
struct type_17 {
    int inner[8];
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
constant float WIDE_MAX = 32767.0;

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
    uint bits_2 = as_type<uint>(x);
    if (bits_2 > as_type<uint>(limit)) {
        local = bits_2 <= INFINITE;
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
    uint x_5 = as_type<uint>(a_1);
    uint y_2 = as_type<uint>(b);
    uint sign_1 = (x_5 ^ y_2) & SIGN_BIT;
    uint xe = (x_5 >> 23u) & 255u;
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
        float _e39 = divide_special(x_5, y_2, sign_1);
        return _e39;
    }
    uint xm = (x_5 & MANTISSA) | HIDDEN;
    uint ym = (y_2 & MANTISSA) | HIDDEN;
    uint below = (xm < ym) ? 1u : 0u;
    q = naga_f2u32(estimate * as_type<float>((150u + below) << 23u));
    uint _e63 = q;
    rest = as_type<int>((xm << (23u + below)) - (_e63 * ym));
    int step = as_type<int>(ym);
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            int _e86 = i;
            i = as_type<int>(as_type<uint>(_e86) + as_type<uint>(1));
        }
        loop_init_4 = false;
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
    bool loop_init_5 = true;
    while(true) {
        if (!loop_init_5) {
            int _e105 = i_1;
            i_1 = as_type<int>(as_type<uint>(_e105) + as_type<uint>(1));
        }
        loop_init_5 = false;
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

metal::float2 int_steps(
    uint bits_1,
    float most
) {
    if (bits_1 >= 2139095040u) {
        return metal::float2(0.0, as_type<float>(bits_1 | 2143289344u));
    }
    if (bits_1 < 226492416u) {
        return metal::float2(0.0, 0.0);
    }
    float largest_1 = as_type<float>(bits_1);
    float _e15 = divide(most, largest_1);
    float _e16 = divide(largest_1, most);
    return metal::float2(_e15, _e16);
}

int naga_f2i32(float value) {
    return static_cast<int>(metal::clamp(value, -2147483600.0, 2147483500.0));
}

int nearest_int(
    float x_4
) {
    uint bits_3 = as_type<uint>(x_4) & 2147483647u;
    return (bits_3 > 2139095040u) ? 0 : naga_f2i32(metal::rint(x_4));
}

void load_queries(
    uint token,
    Heads heads,
    uint li_2,
    constant Params& p,
    device type_11 const& q_1,
    threadgroup type_14& queries,
    threadgroup type_15& query_steps,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint most_1 = 0u;
    uint i_2 = 0u;
    uint i_3 = {};
    metal::int4 four = {};
    uint c = {};
    uint _e5 = p.head_dim;
    uint fours = _e5 / 4u;
    uint _e10 = p.num_kv_heads;
    uint _e14 = p.group;
    uint _e20 = p.head_dim;
    uint base = (((token * _e10) * _e14) + heads.first) * _e20;
    if (li_2 < LANES) {
        if (li_2 < heads.count) {
            bool loop_init_6 = true;
            while(true) {
                if (!loop_init_6) {
                    uint _e50 = i_2;
                    i_2 = _e50 + 1u;
                }
                loop_init_6 = false;
                uint _e30 = i_2;
                uint _e33 = p.head_dim;
                if (_e30 < _e33) {
                } else {
                    break;
                }
                {
                    uint _e35 = most_1;
                    uint _e39 = p.head_dim;
                    uint _e42 = i_2;
                    float _e45 = q_1[(base + (li_2 * _e39)) + _e42];
                    most_1 = metal::max(_e35, as_type<uint>(_e45) & 2147483647u);
                }
            }
        }
        uint _e55 = most_1;
        metal::float2 _e57 = int_steps(_e55, WIDE_MAX);
        query_steps.inner[li_2] = _e57;
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    i_3 = li_2;
    bool loop_init_7 = true;
    while(true) {
        if (!loop_init_7) {
            uint _e104 = i_3;
            i_3 = _e104 + 256u;
        }
        loop_init_7 = false;
        uint _e59 = i_3;
        if (_e59 < (LANES * fours)) {
        } else {
            break;
        }
        {
            four = metal::int4(0, 0, 0, 0);
            uint _e69 = i_3;
            if (_e69 < (heads.count * fours)) {
                uint _e74 = i_3;
                float inverse = query_steps.inner[_e74 / fours].x;
                c = 0u;
                bool loop_init_8 = true;
                while(true) {
                    if (!loop_init_8) {
                        uint _e97 = c;
                        c = _e97 + 1u;
                    }
                    loop_init_8 = false;
                    uint _e81 = c;
                    if (_e81 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e84 = c;
                        uint _e88 = i_3;
                        uint _e91 = c;
                        float _e94 = q_1[(base + (4u * _e88)) + _e91];
                        int _e96 = nearest_int(_e94 * inverse);
                        four[_e84] = _e96;
                    }
                }
            }
            uint _e101 = i_3;
            metal::int4 _e103 = four;
            queries.inner[_e101] = _e103;
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return;
}

metal::int4 four_bytes(
    uint word
) {
    return metal::int4(as_type<int>(word << 24u) >> 24u, as_type<int>(word << 16u) >> 24u, as_type<int>(word << 8u) >> 24u, as_type<int>(word) >> 24u);
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
    device type_3 const& keys,
    device type_3 const& values,
    device type_11 const& key_scales,
    device type_11 const& value_scales,
    threadgroup type_14& queries,
    threadgroup type_15& query_steps,
    threadgroup type_16& largest,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint t_3 = {};
    type_17 dots = {};
    uint i_4 = {};
    uint h_1 = {};
    uint h_2 = {};
    uint most_2 = 0u;
    uint t_4 = {};
    uint half_1 = 16u;
    uint t_5 = {};
    uint i_5 = {};
    int low = {};
    int high = {};
    uint t_6 = {};
    uint _e8 = p.head_dim;
    uint fours_1 = _e8 / 4u;
    t_3 = first_1 + li_3;
    bool loop_init_9 = true;
    while(true) {
        if (!loop_init_9) {
            uint _e101 = t_3;
            t_3 = _e101 + 256u;
        }
        loop_init_9 = false;
        uint _e13 = t_3;
        if (_e13 < end_1) {
        } else {
            break;
        }
        {
            uint _e15 = t_3;
            uint _e17 = cache_row(row_1, start + _e15, p, table, _buffer_sizes);
            uint _e20 = p.num_kv_heads;
            uint head = (_e17 * _e20) + heads_1.kv;
            dots = type_17 {};
            i_4 = 0u;
            bool loop_init_10 = true;
            while(true) {
                if (!loop_init_10) {
                    uint _e64 = i_4;
                    i_4 = _e64 + 1u;
                }
                loop_init_10 = false;
                uint _e28 = i_4;
                if (_e28 < fours_1) {
                } else {
                    break;
                }
                {
                    uint _e32 = i_4;
                    uint _e35 = keys[(head * fours_1) + _e32];
                    metal::int4 _e36 = four_bytes(_e35);
                    h_1 = 0u;
                    bool loop_init_11 = true;
                    while(true) {
                        if (!loop_init_11) {
                            uint _e61 = h_1;
                            h_1 = _e61 + 1u;
                        }
                        loop_init_11 = false;
                        uint _e39 = h_1;
                        if (_e39 < LANES) {
                        } else {
                            break;
                        }
                        {
                            uint _e43 = h_1;
                            uint _e45 = i_4;
                            metal::int4 _e48 = queries.inner[(_e43 * fours_1) + _e45];
                            metal::int4 four_1 = as_type<metal::int4>(as_type<metal::uint4>(_e48) * as_type<metal::uint4>(_e36));
                            uint _e50 = h_1;
                            int _e52 = dots.inner[_e50];
                            dots.inner[_e50] = as_type<int>(as_type<uint>(_e52) + as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(four_1.x) + as_type<uint>(four_1.y))) + as_type<uint>(four_1.z))) + as_type<uint>(four_1.w))));
                        }
                    }
                }
            }
            float scale = key_scales[head];
            h_2 = 0u;
            bool loop_init_12 = true;
            while(true) {
                if (!loop_init_12) {
                    uint _e98 = h_2;
                    h_2 = _e98 + 1u;
                }
                loop_init_12 = false;
                uint _e72 = h_2;
                if (_e72 < LANES) {
                } else {
                    break;
                }
                {
                    uint _e76 = t_3;
                    uint _e79 = h_2;
                    uint _e82 = h_2;
                    int _e84 = dots.inner[_e82];
                    uint _e88 = h_2;
                    float _e91 = query_steps.inner[_e88].y;
                    float _e94 = p.scale;
                    weights.inner[(_e76 * LANES) + _e79] = as_type<uint>((static_cast<float>(_e84) * scale) * (_e91 * _e94));
                }
            }
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    soften(first_1, end_1, li_3, weights, tops, sums);
    uint h_4 = li_3 % LANES;
    uint j_1 = li_3 / LANES;
    t_4 = first_1 + j_1;
    bool loop_init_13 = true;
    while(true) {
        if (!loop_init_13) {
            uint _e146 = t_4;
            t_4 = _e146 + 32u;
        }
        loop_init_13 = false;
        uint _e112 = t_4;
        if (_e112 < end_1) {
        } else {
            break;
        }
        {
            uint _e115 = t_4;
            uint _e117 = cache_row(row_1, start + _e115, p, table, _buffer_sizes);
            uint _e120 = p.num_kv_heads;
            float scale_1 = value_scales[(_e117 * _e120) + heads_1.kv];
            uint _e127 = t_4;
            uint _e132 = weights.inner[(_e127 * LANES) + h_4];
            uint weight = as_type<uint>(as_type<float>(_e132) * scale_1);
            uint _e137 = t_4;
            weights.inner[(_e137 * LANES) + h_4] = weight;
            uint _e142 = most_2;
            most_2 = metal::max(_e142, weight & 2147483647u);
        }
    }
    uint _e151 = most_2;
    largest.inner[li_3] = _e151;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    bool loop_init_14 = true;
    while(true) {
        if (!loop_init_14) {
            uint _e172 = half_1;
            half_1 = _e172 / 2u;
        }
        loop_init_14 = false;
        uint _e154 = half_1;
        if (_e154 > 0u) {
        } else {
            break;
        }
        {
            uint _e157 = half_1;
            if (j_1 < _e157) {
                uint _e163 = largest.inner[li_3];
                uint _e165 = half_1;
                uint _e170 = largest.inner[li_3 + (_e165 * LANES)];
                largest.inner[li_3] = metal::max(_e163, _e170);
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    uint _e177 = largest.inner[h_4];
    metal::float2 _e179 = int_steps(_e177, WIDE_MAX);
    float inverse_1 = _e179.x;
    t_5 = first_1 + j_1;
    bool loop_init_15 = true;
    while(true) {
        if (!loop_init_15) {
            uint _e202 = t_5;
            t_5 = _e202 + 32u;
        }
        loop_init_15 = false;
        uint _e183 = t_5;
        if (_e183 < end_1) {
        } else {
            break;
        }
        {
            uint _e186 = t_5;
            uint _e192 = t_5;
            uint _e197 = weights.inner[(_e192 * LANES) + h_4];
            int _e200 = nearest_int(as_type<float>(_e197) * inverse_1);
            weights.inner[(_e186 * LANES) + h_4] = as_type<uint>(_e200);
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    i_5 = li_3;
    bool loop_init_16 = true;
    while(true) {
        if (!loop_init_16) {
            uint _e318 = i_5;
            i_5 = _e318 + 256u;
        }
        loop_init_16 = false;
        uint _e206 = i_5;
        uint _e210 = p.head_dim;
        if (_e206 < (4u * _e210)) {
        } else {
            break;
        }
        {
            uint _e213 = i_5;
            uint _e216 = p.head_dim;
            uint d = _e213 % _e216;
            uint _e218 = i_5;
            uint _e221 = p.head_dim;
            uint first_head = _e218 / _e221;
            low = 0;
            high = 0;
            t_6 = first_1;
            bool loop_init_17 = true;
            while(true) {
                if (!loop_init_17) {
                    uint _e283 = t_6;
                    t_6 = _e283 + 1u;
                }
                loop_init_17 = false;
                uint _e228 = t_6;
                if (_e228 < end_1) {
                } else {
                    break;
                }
                {
                    uint _e230 = t_6;
                    uint _e232 = cache_row(row_1, start + _e230, p, table, _buffer_sizes);
                    uint _e235 = p.num_kv_heads;
                    uint _e241 = p.head_dim;
                    uint at = (((_e232 * _e235) + heads_1.kv) * _e241) + d;
                    uint _e248 = values[at / 4u];
                    int value = as_type<int>(_e248 << (24u - ((at % 4u) * 8u))) >> 24u;
                    int _e259 = low;
                    uint _e261 = t_6;
                    uint _e266 = weights.inner[(_e261 * LANES) + first_head];
                    low = as_type<int>(as_type<uint>(_e259) + as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(_e266)) * as_type<uint>(value))));
                    int _e270 = high;
                    uint _e272 = t_6;
                    uint _e279 = weights.inner[((_e272 * LANES) + first_head) + 4u];
                    high = as_type<int>(as_type<uint>(_e270) + as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(_e279)) * as_type<uint>(value))));
                }
            }
            uint _e287 = i_5;
            int _e289 = low;
            uint _e293 = largest.inner[first_head];
            metal::float2 _e295 = int_steps(_e293, WIDE_MAX);
            span_values.inner[_e287] = static_cast<float>(_e289) * _e295.y;
            uint _e299 = i_5;
            uint _e303 = p.head_dim;
            int _e307 = high;
            uint _e313 = largest.inner[first_head + 4u];
            metal::float2 _e315 = int_steps(_e313, WIDE_MAX);
            span_values.inner[_e299 + (4u * _e303)] = static_cast<float>(_e307) * _e315.y;
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return;
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
    device type_11 const& q_1,
    device type_3 const& keys,
    device type_3 const& values,
    device type_12 const& rows,
    device type_11 const& key_scales,
    device type_11 const& value_scales,
    threadgroup type_14& queries,
    threadgroup type_15& query_steps,
    threadgroup type_16& largest,
    threadgroup type_8& joined,
    threadgroup type_15& state,
    device type_11& out,
    device type_11 const& sinks,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint i_6 = {};
    uint i_7 = {};
    uint start_1 = {};
    uint i_8 = {};
    uint i_9 = {};
    Heads _e3 = heads_of(wg_1.x, p);
    metal::uint4 row_2 = rows[wg_1.y];
    uint _e11 = p.num_kv_heads;
    uint _e15 = p.group;
    uint _e21 = p.head_dim;
    uint base_1 = (((wg_1.y * _e11) * _e15) + _e3.first) * _e21;
    if (row_2.x == IDLE) {
        i_6 = li_4;
        bool loop_init_18 = true;
        while(true) {
            if (!loop_init_18) {
                uint _e39 = i_6;
                i_6 = _e39 + 256u;
            }
            loop_init_18 = false;
            uint _e27 = i_6;
            uint _e31 = p.head_dim;
            if (_e27 < (_e3.count * _e31)) {
            } else {
                break;
            }
            {
                uint _e35 = i_6;
                out[base_1 + _e35] = 0.0;
            }
        }
        return;
    }
    uint _e43 = first_seen(row_2.x, p);
    load_queries(wg_1.y, _e3, li_4, p, q_1, queries, query_steps, _buffer_sizes);
    i_7 = li_4;
    bool loop_init_19 = true;
    while(true) {
        if (!loop_init_19) {
            uint _e57 = i_7;
            i_7 = _e57 + 256u;
        }
        loop_init_19 = false;
        uint _e46 = i_7;
        uint _e50 = p.head_dim;
        if (_e46 < (LANES * _e50)) {
        } else {
            break;
        }
        {
            uint _e54 = i_7;
            joined.inner[_e54] = 0.0;
        }
    }
    if (li_4 < _e3.count) {
        float _e68 = sinks[_e3.first + li_4];
        state.inner[li_4] = metal::float2(_e68, 1.0);
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    start_1 = (_e43 / SPAN) * SPAN;
    bool loop_init_20 = true;
    while(true) {
        if (!loop_init_20) {
            uint _e186 = start_1;
            start_1 = _e186 + SPAN;
        }
        loop_init_20 = false;
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
            reduce_span(row_2, _e3, _e79, metal::max(_e43, _e80) - _e82, metal::min((row_2.x + 1u) - _e87, SPAN), li_4, p, table, weights, tops, sums, span_values, keys, values, key_scales, value_scales, queries, query_steps, largest, _buffer_sizes);
            i_8 = li_4;
            bool loop_init_21 = true;
            while(true) {
                if (!loop_init_21) {
                    uint _e144 = i_8;
                    i_8 = _e144 + 256u;
                }
                loop_init_21 = false;
                uint _e92 = i_8;
                uint _e96 = p.head_dim;
                if (_e92 < (_e3.count * _e96)) {
                } else {
                    break;
                }
                {
                    uint _e99 = i_8;
                    uint _e102 = p.head_dim;
                    uint h_5 = _e99 / _e102;
                    float _e107 = state.inner[h_5].x;
                    float _e110 = tops.inner[h_5];
                    float _e113 = tops.inner[h_5];
                    float _e117 = state.inner[h_5].x;
                    float top_1 = (_e113 > _e117) ? _e110 : _e107;
                    uint _e121 = i_8;
                    uint _e124 = i_8;
                    float _e126 = span_values.inner[_e124];
                    float _e129 = tops.inner[h_5];
                    float _e131 = exp(_e129 - top_1);
                    uint _e133 = i_8;
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
    i_9 = li_4;
    bool loop_init_22 = true;
    while(true) {
        if (!loop_init_22) {
            uint _e215 = i_9;
            i_9 = _e215 + 256u;
        }
        loop_init_22 = false;
        uint _e190 = i_9;
        uint _e194 = p.head_dim;
        if (_e190 < (_e3.count * _e194)) {
        } else {
            break;
        }
        {
            uint _e198 = i_9;
            uint _e202 = i_9;
            float _e204 = joined.inner[_e202];
            uint _e206 = i_9;
            uint _e209 = p.head_dim;
            float _e213 = state.inner[_e206 / _e209].y;
            float _e214 = divide(_e204, _e213);
            out[base_1 + _e198] = _e214;
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(9)]]
, device type_3 const& table [[buffer(4)]]
, threadgroup type_5& weights
, threadgroup type_6& tops
, threadgroup type_7& sums
, threadgroup type_8& span_values
, device type_11 const& q_1 [[buffer(0)]]
, device type_3 const& keys [[buffer(1)]]
, device type_3 const& values [[buffer(2)]]
, device type_12 const& rows [[buffer(3)]]
, device type_11 const& key_scales [[buffer(5)]]
, device type_11 const& value_scales [[buffer(6)]]
, threadgroup type_14& queries
, threadgroup type_15& query_steps
, threadgroup type_16& largest
, threadgroup type_8& joined
, threadgroup type_15& state
, device type_11& out [[buffer(8)]]
, device type_11 const& sinks [[buffer(7)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(10)]]
) {
    attend_row(wg, li, p, table, weights, tops, sums, span_values, q_1, keys, values, rows, key_scales, value_scales, queries, query_steps, largest, joined, state, out, sinks, _buffer_sizes);
    return;
}
