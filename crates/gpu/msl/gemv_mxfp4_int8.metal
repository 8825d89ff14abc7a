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
};

struct Params {
    uint n;
    uint num_blocks;
    uint share;
    uint adds;
};
typedef float type_2[1];
typedef metal::uint4 type_4[1];
typedef uint type_5[1];
typedef metal::uint2 type_7[1];
struct type_8 {
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
, constant Params& p [[buffer(7)]]
, device type_2& out [[buffer(0)]]
, device type_4 const& codes_1 [[buffer(1)]]
, device type_5 const& code_scales [[buffer(2)]]
, device type_4 const& x [[buffer(3)]]
, device type_7 const& x_beside [[buffer(4)]]
, device type_5 const& experts [[buffer(5)]]
, device type_2 const& bias [[buffer(6)]]
, threadgroup type_8& lanes
, constant _mslBufferSizes& _buffer_sizes [[buffer(8)]]
) {
    float sum = 0.0;
    uint b = {};
    int dot = {};
    uint all = {};
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
        uint x_first = (wg.y / _e32) * _e36;
        b = lane;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e142 = b;
                b = _e142 + 8u;
            }
            loop_init = false;
            uint _e39 = b;
            uint _e42 = p.num_blocks;
            if (_e39 < _e42) {
            } else {
                break;
            }
            {
                uint _e45 = b;
                metal::uint4 four = codes_1[first + _e45];
                uint _e50 = b;
                metal::uint4 even = x[(x_first + _e50) * 2u];
                uint _e57 = b;
                metal::uint4 odd = x[((x_first + _e57) * 2u) + 1u];
                uint _e66 = b;
                metal::uint2 beside = x_beside[x_first + _e66];
                dot = 0;
                all = 0u;
                i = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e99 = i;
                        i = _e99 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e76 = i;
                    if (_e76 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e79 = i;
                        uint _e81 = plus_12_(four[_e79]);
                        uint _e82 = i;
                        uint _e86 = plus_12_(four[_e82] >> 4u);
                        int _e87 = dot;
                        uint _e88 = i;
                        uint _e89 = even[_e88];
                        packed_char4 reinterpreted_packed_char4_e81 = as_type<packed_char4>(_e81);
                        packed_char4 reinterpreted_packed_char4_e89 = as_type<packed_char4>(_e89);
                        uint _e91 = i;
                        uint _e92 = odd[_e91];
                        packed_char4 reinterpreted_packed_char4_e86 = as_type<packed_char4>(_e86);
                        packed_char4 reinterpreted_packed_char4_e92 = as_type<packed_char4>(_e92);
                        dot = as_type<int>(as_type<uint>(_e87) + as_type<uint>(as_type<int>(as_type<uint>(( + reinterpreted_packed_char4_e81[0] * reinterpreted_packed_char4_e89[0] + reinterpreted_packed_char4_e81[1] * reinterpreted_packed_char4_e89[1] + reinterpreted_packed_char4_e81[2] * reinterpreted_packed_char4_e89[2] + reinterpreted_packed_char4_e81[3] * reinterpreted_packed_char4_e89[3])) + as_type<uint>(( + reinterpreted_packed_char4_e86[0] * reinterpreted_packed_char4_e92[0] + reinterpreted_packed_char4_e86[1] * reinterpreted_packed_char4_e92[1] + reinterpreted_packed_char4_e86[2] * reinterpreted_packed_char4_e92[2] + reinterpreted_packed_char4_e86[3] * reinterpreted_packed_char4_e92[3])))));
                        uint _e96 = all;
                        all = _e96 + (_e81 + _e86);
                    }
                }
                int middle = as_type<int>(beside.y << 24u) >> 24u;
                uint _e108 = all;
                packed_uchar4 reinterpreted_packed_uchar4_e108 = as_type<packed_uchar4>(_e108);
                packed_uchar4 reinterpreted_packed_uchar4_e109 = as_type<packed_uchar4>(16843009u);
                int weights = as_type<int>(( + reinterpreted_packed_uchar4_e108[0] * reinterpreted_packed_uchar4_e109[0] + reinterpreted_packed_uchar4_e108[1] * reinterpreted_packed_uchar4_e109[1] + reinterpreted_packed_uchar4_e108[2] * reinterpreted_packed_uchar4_e109[2] + reinterpreted_packed_uchar4_e108[3] * reinterpreted_packed_uchar4_e109[3]));
                int _e112 = dot;
                dot = as_type<int>(as_type<uint>(_e112) + as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(middle) * as_type<uint>(weights))) - as_type<uint>(as_type<int>(beside.y) >> 8u))));
                uint _e120 = b;
                uint at = first + _e120;
                uint _e126 = code_scales[at / 4u];
                uint byte_1 = (_e126 >> ((at % 4u) * 8u)) & 255u;
                int _e134 = dot;
                float _e138 = power_of_two(byte_1);
                float _e140 = sum;
                sum = metal::fma(static_cast<float>(_e134), as_type<float>(beside.x) * _e138, _e140);
            }
        }
    }
    float _e147 = sum;
    lanes.inner[li] = _e147;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (lane == 0u) {
        uint _e154 = p.n;
        local = row < _e154;
    } else {
        local = false;
    }
    bool _e157 = local;
    if (_e157) {
        float _e160 = lanes.inner[li];
        float _e165 = lanes.inner[li + 1u];
        float _e170 = lanes.inner[li + 2u];
        float _e175 = lanes.inner[li + 3u];
        float _e180 = lanes.inner[li + 4u];
        float _e185 = lanes.inner[li + 5u];
        float _e190 = lanes.inner[li + 6u];
        float _e195 = lanes.inner[li + 7u];
        float _e196 = tree(_e160, _e165, _e170, _e175, _e180, _e185, _e190, _e195);
        uint _e200 = p.n;
        float _e204 = bias[(expert * _e200) + row];
        float product = metal::fma(_e196, 0.5, _e204);
        uint _e210 = p.n;
        uint place = (wg.y * _e210) + row;
        uint _e215 = p.adds;
        if (_e215 == 1u) {
            float _e222 = out[place];
            out[place] = _e222 + product;
            return;
        } else {
            out[place] = product;
            return;
        }
    } else {
        return;
    }
}
