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
    uint size11;
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
    uint bits = as_type<uint>(x);
    if (bits > as_type<uint>(limit)) {
        local = bits <= INFINITE;
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
    device type_9 const& q,
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
                        float _e52 = q[(base + (4u * _e46)) + _e49];
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

void attend_span(
    metal::uint3 wg_1,
    uint li_4,
    constant Params& p,
    device type_3 const& table,
    threadgroup type_5& weights,
    threadgroup type_6& tops,
    threadgroup type_7& sums,
    threadgroup type_8& span_values,
    device type_9 const& q,
    device type_11 const& keys,
    device type_9 const& values,
    device type_12 const& rows,
    threadgroup type_13& queries,
    device type_9& partials,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local_1 = {};
    uint i_3 = {};
    Heads _e3 = heads_of(wg_1.y, p);
    metal::uint4 row_2 = rows[wg_1.z];
    uint _e9 = first_seen(row_2.x, p);
    uint start_1 = ((_e9 / SPAN) + wg_1.x) * SPAN;
    if (!((row_2.x == IDLE))) {
        local_1 = start_1 > row_2.x;
    } else {
        local_1 = true;
    }
    bool _e25 = local_1;
    if (_e25) {
        return;
    }
    uint first_2 = metal::max(_e9, start_1) - start_1;
    uint end_2 = metal::min((row_2.x + 1u) - start_1, SPAN);
    load_queries(wg_1.z, _e3, li_4, p, q, queries, _buffer_sizes);
    reduce_span(row_2, _e3, start_1, first_2, end_2, li_4, p, table, weights, tops, sums, span_values, keys, values, queries, _buffer_sizes);
    uint _e38 = p.head_dim;
    uint width = 2u + _e38;
    uint _e43 = p.num_kv_heads;
    uint _e47 = p.lane_groups;
    uint _e53 = p.spans_max;
    uint out = ((((((wg_1.z * _e43) * _e47) + wg_1.y) * _e53) + wg_1.x) * LANES) * width;
    if (li_4 < _e3.count) {
        float _e68 = tops.inner[li_4];
        partials[out + (li_4 * width)] = _e68;
        float _e75 = span_sum(li_4, sums);
        partials[(out + (li_4 * width)) + 1u] = _e75;
    }
    i_3 = li_4;
    bool loop_init_12 = true;
    while(true) {
        if (!loop_init_12) {
            uint _e105 = i_3;
            i_3 = _e105 + 256u;
        }
        loop_init_12 = false;
        uint _e77 = i_3;
        uint _e81 = p.head_dim;
        if (_e77 < (_e3.count * _e81)) {
        } else {
            break;
        }
        {
            uint _e85 = i_3;
            uint _e88 = p.head_dim;
            uint _e94 = i_3;
            uint _e97 = p.head_dim;
            uint _e102 = i_3;
            float _e104 = span_values.inner[_e102];
            partials[((out + ((_e85 / _e88) * width)) + 2u) + (_e94 % _e97)] = _e104;
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(6)]]
, device type_3 const& table [[buffer(4)]]
, threadgroup type_5& weights
, threadgroup type_6& tops
, threadgroup type_7& sums
, threadgroup type_8& span_values
, device type_9 const& q [[buffer(0)]]
, device type_11 const& keys [[buffer(1)]]
, device type_9 const& values [[buffer(2)]]
, device type_12 const& rows [[buffer(3)]]
, threadgroup type_13& queries
, device type_9& partials [[buffer(5)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(7)]]
) {
    attend_span(wg, li, p, table, weights, tops, sums, span_values, q, keys, values, rows, queries, partials, _buffer_sizes);
    return;
}
