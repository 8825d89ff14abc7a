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
};

struct type_4 {
    metal::uint2 inner[2048];
};
struct Params {
    uint vocab;
    uint count;
    uint num_spans;
    uint mask_words;
};
typedef float type_5[1];
typedef uint type_6[1];
typedef metal::uint2 type_7[1];
typedef metal::float4 type_9[1];
struct type_11 {
    metal::float2 inner[256];
};
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
    bool local_2 = {};
    uint bits_1 = as_type<uint>(x);
    if (bits_1 > as_type<uint>(limit)) {
        local_2 = bits_1 <= INFINITE;
    } else {
        local_2 = false;
    }
    bool _e10 = local_2;
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
    bool local_3 = {};
    bits = as_type<uint>(logit);
    uint _e3 = bits;
    if (_e3 == 2147483648u) {
        bits = 0u;
    }
    uint _e7 = bits;
    if (!((_e7 == 4286578688u))) {
        uint _e13 = bits;
        local_3 = (_e13 & 2147483647u) > 2139095040u;
    } else {
        local_3 = true;
    }
    bool _e19 = local_3;
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
    bool local_4 = {};
    bool local_5 = {};
    if (!((a_1.x > b.x))) {
        if (a_1.x == b.x) {
            local_5 = a_1.y < b.y;
        } else {
            local_5 = false;
        }
        bool _e17 = local_5;
        local_4 = _e17;
    } else {
        local_4 = true;
    }
    bool _e19 = local_4;
    return _e19;
}

void sort_keys(
    uint li_1,
    threadgroup type_4& keys
) {
    uint run = 2u;
    uint gap = {};
    uint i = {};
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
                    i = li_1;
                    bool loop_init_2 = true;
                    while(true) {
                        if (!loop_init_2) {
                            uint _e46 = i;
                            i = _e46 + 256u;
                        }
                        loop_init_2 = false;
                        uint _e14 = i;
                        if (_e14 < 1024u) {
                        } else {
                            break;
                        }
                        {
                            uint _e17 = i;
                            uint _e18 = gap;
                            uint _e22 = gap;
                            uint _e24 = i;
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

bool is_allowed(
    uint row,
    uint token_1,
    constant Params& p,
    device type_6 const& mask,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e4 = p.mask_words;
    if (_e4 == 0u) {
        return true;
    }
    uint _e12 = p.mask_words;
    if ((token_1 / 32u) >= _e12) {
        return false;
    }
    uint _e18 = p.mask_words;
    uint _e24 = mask[(row * _e18) + (token_1 / 32u)];
    return ((_e24 >> (token_1 % 32u)) & 1u) == 1u;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_4& keys
, constant Params& p [[buffer(4)]]
, device type_5 const& logits [[buffer(0)]]
, device type_6 const& mask [[buffer(1)]]
, device type_7& found [[buffer(2)]]
, device type_9& softmax [[buffer(3)]]
, threadgroup type_11& folded
, constant _mslBufferSizes& _buffer_sizes [[buffer(5)]]
) {
    metal::float2 tops = metal::float2(-340282350000000000000000000000000000000.0, -340282350000000000000000000000000000000.0);
    uint place = {};
    metal::uint2 key = {};
    bool local = {};
    bool local_1 = {};
    uint half_ = 128u;
    metal::float2 sums = metal::float2(0.0, 0.0);
    uint token = {};
    uint half_1 = 128u;
    uint start = wg.x * 2048u;
    uint _e7 = p.vocab;
    uint end = metal::min(_e7, start + 2048u);
    place = li;
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e60 = place;
            place = _e60 + 256u;
        }
        loop_init_3 = false;
        uint _e16 = place;
        if (_e16 < 2048u) {
        } else {
            break;
        }
        {
            uint _e19 = place;
            uint token_2 = start + _e19;
            key = NEVER;
            if (token_2 < end) {
                uint _e28 = p.vocab;
                float logit_1 = logits[(wg.y * _e28) + token_2];
                bool _e34 = is_allowed(wg.y, token_2, p, mask, _buffer_sizes);
                float _e36 = tops.x;
                if (logit_1 > _e36) {
                    tops.x = logit_1;
                }
                if (_e34) {
                    float _e42 = tops.y;
                    local = logit_1 > _e42;
                } else {
                    local = false;
                }
                bool _e45 = local;
                if (_e45) {
                    tops.y = logit_1;
                }
                if (_e34) {
                    uint _e49 = rank(logit_1);
                    local_1 = _e49 > 0u;
                } else {
                    local_1 = false;
                }
                bool _e53 = local_1;
                if (_e53) {
                    uint _e54 = rank(logit_1);
                    key = metal::uint2(_e54, token_2);
                }
            }
            uint _e57 = place;
            metal::uint2 _e59 = key;
            keys.inner[_e57] = _e59;
        }
    }
    metal::float2 _e65 = tops;
    folded.inner[li] = _e65;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e88 = half_;
            half_ = _e88 / 2u;
        }
        loop_init_4 = false;
        uint _e68 = half_;
        if (_e68 > 0u) {
        } else {
            break;
        }
        {
            uint _e71 = half_;
            if (li < _e71) {
                uint _e74 = half_;
                metal::float2 other = folded.inner[li + _e74];
                metal::float2 _e82 = folded.inner[li];
                metal::float2 _e85 = folded.inner[li];
                folded.inner[li] = metal::select(_e82, other, other > _e85);
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    metal::float2 _e93 = folded.inner[0];
    tops = _e93;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    token = start + li;
    bool loop_init_5 = true;
    while(true) {
        if (!loop_init_5) {
            uint _e129 = token;
            token = _e129 + 256u;
        }
        loop_init_5 = false;
        uint _e100 = token;
        if (_e100 < end) {
        } else {
            break;
        }
        {
            uint _e106 = p.vocab;
            uint _e108 = token;
            float logit_2 = logits[(wg.y * _e106) + _e108];
            float _e113 = sums.x;
            float _e115 = tops.x;
            float _e117 = exp(logit_2 - _e115);
            sums.x = _e113 + _e117;
            uint _e120 = token;
            bool _e121 = is_allowed(wg.y, _e120, p, mask, _buffer_sizes);
            if (_e121) {
                float _e123 = sums.y;
                float _e125 = tops.y;
                float _e127 = exp(logit_2 - _e125);
                sums.y = _e123 + _e127;
            }
        }
    }
    metal::float2 _e134 = sums;
    folded.inner[li] = _e134;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    bool loop_init_6 = true;
    while(true) {
        if (!loop_init_6) {
            uint _e153 = half_1;
            half_1 = _e153 / 2u;
        }
        loop_init_6 = false;
        uint _e137 = half_1;
        if (_e137 > 0u) {
        } else {
            break;
        }
        {
            uint _e140 = half_1;
            if (li < _e140) {
                metal::float2 _e146 = folded.inner[li];
                uint _e148 = half_1;
                metal::float2 _e151 = folded.inner[li + _e148];
                folded.inner[li] = _e146 + _e151;
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    sort_keys(li, keys);
    uint _e159 = p.num_spans;
    uint span = (wg.y * _e159) + wg.x;
    if (li == 0u) {
        float _e168 = tops.x;
        float _e172 = folded.inner[0].x;
        float _e174 = tops.y;
        float _e178 = folded.inner[0].y;
        softmax[span] = metal::float4(_e168, _e172, _e174, _e178);
    }
    uint _e182 = p.count;
    if (li < _e182) {
        uint _e187 = p.count;
        metal::uint2 _e193 = keys.inner[li];
        found[(span * _e187) + li] = _e193;
        return;
    } else {
        return;
    }
}
