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
constant uint ELSEWHERE = 4294967295u;

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
    if (expert == ELSEWHERE) {
        return;
    }
    uint _e20 = p.n;
    if (row < _e20) {
        uint _e24 = p.n;
        uint _e29 = p.num_blocks;
        uint first = ((expert * _e24) + row) * _e29;
        uint _e34 = p.share;
        uint _e38 = p.num_blocks;
        uint x_first = ((wg.y / _e34) * _e38) * 32u;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e98 = b;
                b = _e98 + 1u;
            }
            loop_init = false;
            uint _e44 = b;
            uint _e47 = p.num_blocks;
            if (_e44 < _e47) {
            } else {
                break;
            }
            {
                uint _e49 = b;
                uint at = first + _e49;
                uint _e55 = code_scales[at / 4u];
                float _e63 = power_of_two((_e55 >> ((at % 4u) * 8u)) & 255u);
                i = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e95 = i;
                        i = _e95 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e66 = i;
                    if (_e66 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e72 = i;
                        uint _e75 = codes_1[(at * 4u) + _e72];
                        float _e79 = e2m1_(_e75 >> (lane * 4u));
                        float weight = _e79 * _e63;
                        uint _e82 = b;
                        uint _e86 = i;
                        float _e92 = x[((x_first + (_e82 * 32u)) + (_e86 * 8u)) + lane];
                        float _e93 = sum;
                        sum = metal::fma(_e92, weight, _e93);
                    }
                }
            }
        }
    }
    float _e103 = sum;
    lanes.inner[li] = _e103;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (lane == 0u) {
        uint _e110 = p.n;
        local = row < _e110;
    } else {
        local = false;
    }
    bool _e113 = local;
    if (_e113) {
        float _e116 = lanes.inner[li];
        float _e121 = lanes.inner[li + 1u];
        float _e126 = lanes.inner[li + 2u];
        float _e131 = lanes.inner[li + 3u];
        float _e136 = lanes.inner[li + 4u];
        float _e141 = lanes.inner[li + 5u];
        float _e146 = lanes.inner[li + 6u];
        float _e151 = lanes.inner[li + 7u];
        float _e152 = tree(_e116, _e121, _e126, _e131, _e136, _e141, _e146, _e151);
        uint _e156 = p.n;
        float _e160 = bias[(expert * _e156) + row];
        float product = _e152 + _e160;
        uint _e165 = p.n;
        uint place = (wg.y * _e165) + row;
        uint _e170 = p.adds;
        if (_e170 == 1u) {
            float _e177 = out[place];
            out[place] = _e177 + product;
            return;
        } else {
            out[place] = product;
            return;
        }
    } else {
        return;
    }
}
