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
        uint x_first = (wg.y / _e34) * _e38;
        b = lane;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e144 = b;
                b = _e144 + 8u;
            }
            loop_init = false;
            uint _e41 = b;
            uint _e44 = p.num_blocks;
            if (_e41 < _e44) {
            } else {
                break;
            }
            {
                uint _e47 = b;
                metal::uint4 four = codes_1[first + _e47];
                uint _e52 = b;
                metal::uint4 even = x[(x_first + _e52) * 2u];
                uint _e59 = b;
                metal::uint4 odd = x[((x_first + _e59) * 2u) + 1u];
                uint _e68 = b;
                metal::uint2 beside = x_beside[x_first + _e68];
                dot = 0;
                all = 0u;
                i = 0u;
                bool loop_init_1 = true;
                while(true) {
                    if (!loop_init_1) {
                        uint _e101 = i;
                        i = _e101 + 1u;
                    }
                    loop_init_1 = false;
                    uint _e78 = i;
                    if (_e78 < 4u) {
                    } else {
                        break;
                    }
                    {
                        uint _e81 = i;
                        uint _e83 = plus_12_(four[_e81]);
                        uint _e84 = i;
                        uint _e88 = plus_12_(four[_e84] >> 4u);
                        int _e89 = dot;
                        uint _e90 = i;
                        uint _e91 = even[_e90];
                        packed_char4 reinterpreted_packed_char4_e83 = as_type<packed_char4>(_e83);
                        packed_char4 reinterpreted_packed_char4_e91 = as_type<packed_char4>(_e91);
                        uint _e93 = i;
                        uint _e94 = odd[_e93];
                        packed_char4 reinterpreted_packed_char4_e88 = as_type<packed_char4>(_e88);
                        packed_char4 reinterpreted_packed_char4_e94 = as_type<packed_char4>(_e94);
                        dot = as_type<int>(as_type<uint>(_e89) + as_type<uint>(as_type<int>(as_type<uint>(( + reinterpreted_packed_char4_e83[0] * reinterpreted_packed_char4_e91[0] + reinterpreted_packed_char4_e83[1] * reinterpreted_packed_char4_e91[1] + reinterpreted_packed_char4_e83[2] * reinterpreted_packed_char4_e91[2] + reinterpreted_packed_char4_e83[3] * reinterpreted_packed_char4_e91[3])) + as_type<uint>(( + reinterpreted_packed_char4_e88[0] * reinterpreted_packed_char4_e94[0] + reinterpreted_packed_char4_e88[1] * reinterpreted_packed_char4_e94[1] + reinterpreted_packed_char4_e88[2] * reinterpreted_packed_char4_e94[2] + reinterpreted_packed_char4_e88[3] * reinterpreted_packed_char4_e94[3])))));
                        uint _e98 = all;
                        all = _e98 + (_e83 + _e88);
                    }
                }
                int middle = as_type<int>(beside.y << 24u) >> 24u;
                uint _e110 = all;
                packed_uchar4 reinterpreted_packed_uchar4_e110 = as_type<packed_uchar4>(_e110);
                packed_uchar4 reinterpreted_packed_uchar4_e111 = as_type<packed_uchar4>(16843009u);
                int weights = as_type<int>(( + reinterpreted_packed_uchar4_e110[0] * reinterpreted_packed_uchar4_e111[0] + reinterpreted_packed_uchar4_e110[1] * reinterpreted_packed_uchar4_e111[1] + reinterpreted_packed_uchar4_e110[2] * reinterpreted_packed_uchar4_e111[2] + reinterpreted_packed_uchar4_e110[3] * reinterpreted_packed_uchar4_e111[3]));
                int _e114 = dot;
                dot = as_type<int>(as_type<uint>(_e114) + as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(middle) * as_type<uint>(weights))) - as_type<uint>(as_type<int>(beside.y) >> 8u))));
                uint _e122 = b;
                uint at = first + _e122;
                uint _e128 = code_scales[at / 4u];
                uint byte_1 = (_e128 >> ((at % 4u) * 8u)) & 255u;
                int _e136 = dot;
                float _e140 = power_of_two(byte_1);
                float _e142 = sum;
                sum = metal::fma(static_cast<float>(_e136), as_type<float>(beside.x) * _e140, _e142);
            }
        }
    }
    float _e149 = sum;
    lanes.inner[li] = _e149;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    if (lane == 0u) {
        uint _e156 = p.n;
        local = row < _e156;
    } else {
        local = false;
    }
    bool _e159 = local;
    if (_e159) {
        float _e162 = lanes.inner[li];
        float _e167 = lanes.inner[li + 1u];
        float _e172 = lanes.inner[li + 2u];
        float _e177 = lanes.inner[li + 3u];
        float _e182 = lanes.inner[li + 4u];
        float _e187 = lanes.inner[li + 5u];
        float _e192 = lanes.inner[li + 6u];
        float _e197 = lanes.inner[li + 7u];
        float _e198 = tree(_e162, _e167, _e172, _e177, _e182, _e187, _e192, _e197);
        uint _e202 = p.n;
        float _e206 = bias[(expert * _e202) + row];
        float product = metal::fma(_e198, 0.5, _e206);
        uint _e212 = p.n;
        uint place = (wg.y * _e212) + row;
        uint _e217 = p.adds;
        if (_e217 == 1u) {
            float _e224 = out[place];
            out[place] = _e224 + product;
            return;
        } else {
            out[place] = product;
            return;
        }
    } else {
        return;
    }
}
