#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size2;
    uint size3;
    uint size4;
    uint size5;
    uint size6;
};

struct type_4 {
    metal::uint2 inner[2048];
};
struct Params {
    uint vocab;
    uint count;
    uint num_spans;
};
typedef float type_5[1];
typedef metal::uint2 type_6[1];
typedef metal::float4 type_8[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant metal::uint2 NEVER = metal::uint2(0u, 4294967295u);
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

uint rank(
    float logit
) {
    uint bits = {};
    bool local_1 = {};
    bits = as_type<uint>(logit);
    uint _e3 = bits;
    if (_e3 == 2147483648u) {
        bits = 0u;
    }
    uint _e7 = bits;
    if (!((_e7 == 4286578688u))) {
        uint _e13 = bits;
        local_1 = (_e13 & 2147483647u) > 2139095040u;
    } else {
        local_1 = true;
    }
    bool _e19 = local_1;
    if (_e19) {
        return 0u;
    }
    uint _e21 = bits;
    uint _e24 = bits;
    uint _e26 = bits;
    return ((_e26 & 2147483648u) != 0u) ? ~(_e24) : (_e21 | 2147483648u);
}

bool is_before(
    metal::uint2 a_1,
    metal::uint2 b
) {
    bool local_2 = {};
    bool local_3 = {};
    if (!((a_1.x > b.x))) {
        if (a_1.x == b.x) {
            local_3 = a_1.y < b.y;
        } else {
            local_3 = false;
        }
        bool _e17 = local_3;
        local_2 = _e17;
    } else {
        local_2 = true;
    }
    bool _e19 = local_2;
    return _e19;
}

void sort_keys(
    uint li_1,
    threadgroup type_4& keys
) {
    uint run = 2u;
    uint gap = {};
    uint i_2 = {};
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            uint _e52 = run;
            run = _e52 * 2u;
        }
        loop_init = false;
        uint _e3 = run;
        if (_e3 <= 2048u) {
        } else {
            break;
        }
        {
            uint _e6 = run;
            gap = _e6 / 2u;
            bool loop_init_1 = true;
            while(true) {
                if (!loop_init_1) {
                    uint _e49 = gap;
                    gap = _e49 / 2u;
                }
                loop_init_1 = false;
                uint _e10 = gap;
                if (_e10 > 0u) {
                } else {
                    break;
                }
                {
                    i_2 = li_1;
                    bool loop_init_2 = true;
                    while(true) {
                        if (!loop_init_2) {
                            uint _e46 = i_2;
                            i_2 = _e46 + 256u;
                        }
                        loop_init_2 = false;
                        uint _e14 = i_2;
                        if (_e14 < 1024u) {
                        } else {
                            break;
                        }
                        {
                            uint _e17 = i_2;
                            uint _e18 = gap;
                            uint _e22 = gap;
                            uint _e24 = i_2;
                            uint _e25 = gap;
                            uint a_2 = (((_e17 / _e18) * 2u) * _e22) + (_e24 % _e25);
                            uint _e28 = gap;
                            uint b_1 = a_2 + _e28;
                            uint _e30 = run;
                            bool is_falling = (a_2 & _e30) == 0u;
                            metal::uint2 first = keys.inner[a_2];
                            metal::uint2 second = keys.inner[b_1];
                            bool _e40 = is_before(second, first);
                            if (_e40 == is_falling) {
                                keys.inner[a_2] = second;
                                keys.inner[b_1] = first;
                            }
                        }
                    }
                    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
                }
            }
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_4& keys
, constant Params& p [[buffer(5)]]
, device type_5 const& logits [[buffer(0)]]
, device type_6 const& found [[buffer(1)]]
, device type_8 const& softmax [[buffer(2)]]
, device type_6& tokens [[buffer(3)]]
, device type_8& sums [[buffer(4)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(6)]]
) {
    metal::float2 tops = metal::float2(-340282350000000000000000000000000000000.0, -340282350000000000000000000000000000000.0);
    metal::float2 all = metal::float2(0.0, 0.0);
    uint span = 0u;
    uint i = {};
    uint next = 0u;
    uint i_1 = {};
    metal::uint2 key = {};
    metal::uint2 token = metal::uint2(4294967295u, 4286578688u);
    if (li == 0u) {
        bool loop_init_3 = true;
        while(true) {
            if (!loop_init_3) {
                uint _e64 = span;
                span = _e64 + 1u;
            }
            loop_init_3 = false;
            uint _e14 = span;
            uint _e17 = p.num_spans;
            if (_e14 < _e17) {
            } else {
                break;
            }
            {
                uint _e23 = p.num_spans;
                uint _e25 = span;
                metal::float4 of_span = softmax[(wg.x * _e23) + _e25];
                metal::float2 m = of_span.xz;
                metal::float2 _e30 = tops;
                metal::float2 _e31 = tops;
                metal::float2 larger = metal::select(_e30, m, m > _e31);
                float _e39 = exp(m.x - larger.x);
                float _e41 = all.x;
                float _e43 = tops.x;
                float _e46 = exp(_e43 - larger.x);
                all.x = metal::fma(of_span.y, _e39, _e41 * _e46);
                float _e54 = exp(m.y - larger.y);
                float _e56 = all.y;
                float _e58 = tops.y;
                float _e61 = exp(_e58 - larger.y);
                all.y = metal::fma(of_span.w, _e54, _e56 * _e61);
                tops = larger;
            }
        }
        float _e71 = tops.x;
        float _e73 = all.x;
        float _e75 = tops.y;
        float _e77 = all.y;
        sums[wg.x] = metal::float4(_e71, _e73, _e75, _e77);
    }
    uint _e81 = p.num_spans;
    uint _e84 = p.count;
    uint total = _e81 * _e84;
    uint _e89 = p.count;
    uint room = 2048u - _e89;
    i = li;
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e101 = i;
            i = _e101 + 256u;
        }
        loop_init_4 = false;
        uint _e92 = i;
        uint _e95 = p.count;
        if (_e92 < _e95) {
        } else {
            break;
        }
        {
            uint _e98 = i;
            keys.inner[_e98] = NEVER;
        }
    }
    bool loop_init_5 = true;
    while(true) {
        if (!loop_init_5) {
            uint _e137 = next;
            next = _e137 + room;
        }
        loop_init_5 = false;
        uint _e106 = next;
        if (_e106 < total) {
        } else {
            break;
        }
        {
            i_1 = li;
            bool loop_init_6 = true;
            while(true) {
                if (!loop_init_6) {
                    uint _e134 = i_1;
                    i_1 = _e134 + 256u;
                }
                loop_init_6 = false;
                uint _e109 = i_1;
                if (_e109 < room) {
                } else {
                    break;
                }
                {
                    key = NEVER;
                    uint _e113 = next;
                    uint _e114 = i_1;
                    if ((_e113 + _e114) < total) {
                        uint _e120 = next;
                        uint _e122 = i_1;
                        metal::uint2 _e125 = found[((wg.x * total) + _e120) + _e122];
                        key = _e125;
                    }
                    uint _e129 = p.count;
                    uint _e130 = i_1;
                    metal::uint2 _e133 = key;
                    keys.inner[_e129 + _e130] = _e133;
                }
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            sort_keys(li, keys);
        }
    }
    uint _e141 = p.count;
    if (li < _e141) {
        metal::uint2 key_1 = keys.inner[li];
        if (key_1.x > 0u) {
            uint _e158 = p.vocab;
            float _e163 = logits[(wg.x * _e158) + key_1.y];
            token = metal::uint2(key_1.y, as_type<uint>(_e163));
        }
        uint _e170 = p.count;
        metal::uint2 _e174 = token;
        tokens[(wg.x * _e170) + li] = _e174;
        return;
    } else {
        return;
    }
}
