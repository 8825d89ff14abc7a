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
typedef metal::uint2 type_11[1];
typedef metal::uint4 type_12[1];
struct type_14 {
    metal::float4 inner[256];
};
struct type_15 {
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
constant uint SMALLEST_QUERY = 729808896u;
constant uint SMALLEST_KV = 562036736u;

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

uint nearest_bf16_(
    float x_3,
    uint smallest
) {
    uint bits_1 = as_type<uint>(x_3);
    uint magnitude = bits_1 & 2147483647u;
    uint nearest = (bits_1 + 32767u) + ((bits_1 >> 16u) & 1u);
    uint kept = ((magnitude > 2139095040u) ? (bits_1 | 4194304u) : nearest) & 4294901760u;
    return (magnitude < smallest) ? 0u : kept;
}

void load_queries(
    uint token,
    Heads heads,
    uint li_2,
    constant Params& p,
    device type_9 const& q,
    threadgroup type_14& queries,
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
            uint _e63 = i;
            i = _e63 + 256u;
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
                        uint _e56 = c;
                        c = _e56 + 1u;
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
                        uint _e54 = nearest_bf16_(_e52, SMALLEST_QUERY);
                        four[_e42] = as_type<float>(_e54);
                    }
                }
            }
            uint _e60 = i;
            metal::float4 _e62 = four;
            queries.inner[_e60] = _e62;
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
    device type_3 const& values,
    threadgroup type_14& queries,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint t_3 = {};
    type_15 even = {};
    type_15 odd = {};
    uint i_1 = {};
    uint h_1 = {};
    uint h_2 = {};
    uint i_2 = {};
    uint i_3 = {};
    float low = {};
    float high = {};
    uint pair = {};
    uint back = {};
    bool local_1 = {};
    uint _e8 = p.head_dim;
    uint fours_1 = _e8 / 4u;
    t_3 = first_1 + li_3;
    bool loop_init_6 = true;
    while(true) {
        if (!loop_init_6) {
            uint _e115 = t_3;
            t_3 = _e115 + 256u;
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
            even = type_15 {};
            odd = type_15 {};
            i_1 = 0u;
            bool loop_init_7 = true;
            while(true) {
                if (!loop_init_7) {
                    uint _e85 = i_1;
                    i_1 = _e85 + 1u;
                }
                loop_init_7 = false;
                uint _e31 = i_1;
                if (_e31 < fours_1) {
                } else {
                    break;
                }
                {
                    uint _e34 = i_1;
                    metal::uint2 key = keys[base_1 + _e34];
                    metal::float2 low_1 = as_type<metal::float2>(key << metal::uint2(16u, 16u));
                    metal::float2 high_1 = as_type<metal::float2>(key & metal::uint2(4294901760u, 4294901760u));
                    h_1 = 0u;
                    bool loop_init_8 = true;
                    while(true) {
                        if (!loop_init_8) {
                            uint _e82 = h_1;
                            h_1 = _e82 + 1u;
                        }
                        loop_init_8 = false;
                        uint _e50 = h_1;
                        if (_e50 < LANES) {
                        } else {
                            break;
                        }
                        {
                            uint _e54 = h_1;
                            uint _e56 = i_1;
                            metal::float4 four_1 = queries.inner[(_e54 * fours_1) + _e56];
                            uint _e60 = h_1;
                            uint _e66 = h_1;
                            float _e68 = even.inner[_e66];
                            even.inner[_e60] = metal::fma(four_1.x, low_1.x, metal::fma(four_1.y, high_1.x, _e68));
                            uint _e71 = h_1;
                            uint _e77 = h_1;
                            float _e79 = odd.inner[_e77];
                            odd.inner[_e71] = metal::fma(four_1.z, low_1.y, metal::fma(four_1.w, high_1.y, _e79));
                        }
                    }
                }
            }
            h_2 = 0u;
            bool loop_init_9 = true;
            while(true) {
                if (!loop_init_9) {
                    uint _e112 = h_2;
                    h_2 = _e112 + 1u;
                }
                loop_init_9 = false;
                uint _e90 = h_2;
                if (_e90 < LANES) {
                } else {
                    break;
                }
                {
                    uint _e94 = t_3;
                    uint _e97 = h_2;
                    uint _e100 = h_2;
                    float _e102 = even.inner[_e100];
                    uint _e103 = h_2;
                    float _e105 = odd.inner[_e103];
                    float _e109 = p.scale;
                    weights.inner[(_e94 * LANES) + _e97] = as_type<uint>((_e102 + _e105) * _e109);
                }
            }
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    soften(first_1, end_1, li_3, weights, tops, sums);
    i_2 = (first_1 * LANES) + li_3;
    bool loop_init_10 = true;
    while(true) {
        if (!loop_init_10) {
            uint _e136 = i_2;
            i_2 = _e136 + 256u;
        }
        loop_init_10 = false;
        uint _e122 = i_2;
        if (_e122 < (end_1 * LANES)) {
        } else {
            break;
        }
        {
            uint _e127 = i_2;
            uint _e130 = i_2;
            uint _e132 = weights.inner[_e130];
            uint _e135 = nearest_bf16_(as_type<float>(_e132), SMALLEST_QUERY);
            weights.inner[_e127] = _e135;
        }
    }
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    i_3 = li_3;
    bool loop_init_11 = true;
    while(true) {
        if (!loop_init_11) {
            uint _e250 = i_3;
            i_3 = _e250 + 256u;
        }
        loop_init_11 = false;
        uint _e140 = i_3;
        uint _e144 = p.head_dim;
        if (_e140 < (4u * _e144)) {
        } else {
            break;
        }
        {
            uint _e147 = i_3;
            uint _e150 = p.head_dim;
            uint d = _e147 % _e150;
            uint _e152 = i_3;
            uint _e155 = p.head_dim;
            uint h_4 = _e152 / _e155;
            low = 0.0;
            high = 0.0;
            pair = first_1 & 4294967294u;
            bool loop_init_12 = true;
            while(true) {
                if (!loop_init_12) {
                    uint _e233 = pair;
                    pair = _e233 + 2u;
                }
                loop_init_12 = false;
                uint _e164 = pair;
                if (_e164 < end_1) {
                } else {
                    break;
                }
                {
                    back = 0u;
                    bool loop_init_13 = true;
                    while(true) {
                        if (!loop_init_13) {
                            uint _e230 = back;
                            back = _e230 + 1u;
                        }
                        loop_init_13 = false;
                        uint _e168 = back;
                        if (_e168 < 2u) {
                        } else {
                            break;
                        }
                        {
                            uint _e171 = pair;
                            uint _e174 = back;
                            uint t_4 = (_e171 + 1u) - _e174;
                            if (t_4 >= first_1) {
                                local_1 = t_4 < end_1;
                            } else {
                                local_1 = false;
                            }
                            bool _e181 = local_1;
                            if (_e181) {
                                uint _e183 = cache_row(row_1, start + t_4, p, table, _buffer_sizes);
                                uint _e186 = p.num_kv_heads;
                                uint _e192 = p.head_dim;
                                uint at = (((_e183 * _e186) + heads_1.kv) * _e192) + d;
                                uint two = values[at / 2u];
                                float value = as_type<float>(((d & 1u) == 1u) ? (two & 4294901760u) : (two << 16u));
                                uint _e215 = weights.inner[(t_4 * LANES) + h_4];
                                float _e217 = low;
                                low = metal::fma(as_type<float>(_e215), value, _e217);
                                uint _e226 = weights.inner[((t_4 * LANES) + h_4) + 4u];
                                float _e228 = high;
                                high = metal::fma(as_type<float>(_e226), value, _e228);
                            }
                        }
                    }
                }
            }
            uint _e237 = i_3;
            float _e239 = low;
            span_values.inner[_e237] = _e239;
            uint _e241 = i_3;
            uint _e245 = p.head_dim;
            float _e249 = high;
            span_values.inner[_e241 + (4u * _e245)] = _e249;
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
    device type_3 const& values,
    device type_12 const& rows,
    threadgroup type_14& queries,
    device type_9& partials,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local_2 = {};
    uint i_4 = {};
    Heads _e3 = heads_of(wg_1.y, p);
    metal::uint4 row_2 = rows[wg_1.z];
    uint _e9 = first_seen(row_2.x, p);
    uint start_1 = ((_e9 / SPAN) + wg_1.x) * SPAN;
    if (!((row_2.x == IDLE))) {
        local_2 = start_1 > row_2.x;
    } else {
        local_2 = true;
    }
    bool _e25 = local_2;
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
    i_4 = li_4;
    bool loop_init_14 = true;
    while(true) {
        if (!loop_init_14) {
            uint _e105 = i_4;
            i_4 = _e105 + 256u;
        }
        loop_init_14 = false;
        uint _e77 = i_4;
        uint _e81 = p.head_dim;
        if (_e77 < (_e3.count * _e81)) {
        } else {
            break;
        }
        {
            uint _e85 = i_4;
            uint _e88 = p.head_dim;
            uint _e94 = i_4;
            uint _e97 = p.head_dim;
            uint _e102 = i_4;
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
, device type_3 const& values [[buffer(2)]]
, device type_12 const& rows [[buffer(3)]]
, threadgroup type_14& queries
, device type_9& partials [[buffer(5)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(7)]]
) {
    attend_span(wg, li, p, table, weights, tops, sums, span_values, q, keys, values, rows, queries, partials, _buffer_sizes);
    return;
}
