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
};

struct Params {
    uint n;
    uint num_blocks;
    uint share;
    uint adds;
};
typedef float type_2[1];
typedef uint type_3[1];
struct type_4 {
    float inner[64];
};

uint plus_12_(
    uint codes
) {
    uint magnitude = codes & 117901063u;
    uint high = (codes >> 2u) & 16843009u;
    uint low = magnitude & (high * 3u);
    uint doubled = (magnitude + low) + ((low & (low << 1u)) & 33686018u);
    uint negative = ((codes >> 3u) & 16843009u) * 255u;
    return (202116108u + (doubled & ~(negative))) - (doubled & negative);
}

float e2m1_(
    uint code
) {
    uint magnitude_1 = code & 7u;
    float large = as_type<float>((magnitude_1 << 22u) + 1056964608u);
    float value = (magnitude_1 < 2u) ? (static_cast<float>(magnitude_1) * 0.5) : large;
    return as_type<float>(as_type<uint>(value) | ((code & 8u) << 28u));
}

float power_of_two(
    uint byte
) {
    return as_type<float>(metal::max(byte << 23u, 4194304u));
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

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(6)]]
, device type_2& out [[buffer(0)]]
, device type_3 const& codes_1 [[buffer(1)]]
, device type_3 const& code_scales [[buffer(2)]]
, device type_2 const& x [[buffer(3)]]
, device type_3 const& experts [[buffer(4)]]
, device type_2 const& bias [[buffer(5)]]
, threadgroup type_4& lanes
, constant _mslBufferSizes& _buffer_sizes [[buffer(7)]]
) {
    float sum = 0.0;
    uint b = 0u;
    uint i = {};
    bool local = {};
    uint row = (wg.x * 8u) + (li / 8u);
    uint lane = li % 8u;
    uint expert = experts[wg.y];
    uint _e18 = p.n;
    if (row < _e18) {
        uint _e22 = p.n;
        uint _e27 = p.num_blocks;
        uint first = ((expert * _e22) + row) * _e27;
        uint _e32 = p.share;
        uint _e36 = p.num_blocks;
        uint x_first = ((wg.y / _e32) * _e36) * 32u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e96 = b;
                b = _e96 + 1u;
            }
            loop_init = false;
            uint _e42 = b;
            uint _e45 = p.num_blocks;
            if (_e42 < _e45) {
            } else {
                break;
            }
            {
                uint _e47 = b;
                uint at = first + _e47;
                uint _e53 = code_scales[at / 4u];
                float _e61 = power_of_two((_e53 >> ((at % 4u) * 8u)) & 255u);
                i = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e93 = i;
                        i = _e93 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e64 = i;
                    if (_e64 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e70 = i;
                        uint _e73 = codes_1[(at * 4u) + _e70];
                        float _e77 = e2m1_(_e73 >> (lane * 4u));
                        float weight = _e77 * _e61;
                        uint _e80 = b;
                        uint _e84 = i;
                        float _e90 = x[((x_first + (_e80 * 32u)) + (_e84 * 8u)) + lane];
                        float _e91 = sum;
                        sum = metal::fma(_e90, weight, _e91);
                    }
                }
            }
        }
    }
    float _e101 = sum;
    lanes.inner[li] = _e101;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (lane == 0u) {
        uint _e108 = p.n;
        local = row < _e108;
    } else {
        local = false;
    }
    bool _e111 = local;
    if (_e111) {
        float _e114 = lanes.inner[li];
        float _e119 = lanes.inner[li + 1u];
        float _e124 = lanes.inner[li + 2u];
        float _e129 = lanes.inner[li + 3u];
        float _e134 = lanes.inner[li + 4u];
        float _e139 = lanes.inner[li + 5u];
        float _e144 = lanes.inner[li + 6u];
        float _e149 = lanes.inner[li + 7u];
        float _e150 = tree(_e114, _e119, _e124, _e129, _e134, _e139, _e144, _e149);
        uint _e154 = p.n;
        float _e158 = bias[(expert * _e154) + row];
        float product = _e150 + _e158;
        uint _e163 = p.n;
        uint place = (wg.y * _e163) + row;
        uint _e168 = p.adds;
        if (_e168 == 1u) {
            float _e175 = out[place];
            out[place] = _e175 + product;
            return;
        } else {
            out[place] = product;
            return;
        }
    } else {
        return;
    }
}
