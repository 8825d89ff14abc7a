#pragma METAL fp contract(off)
// language: metal2.4
#include <metal_stdlib>
#include <simd/simd.h>

using metal::uint;

struct _mslBufferSizes {
    uint size6;
    uint size7;
    uint size9;
    uint size10;
    uint size11;
    uint size12;
};

struct type_3 {
    metal::uint4 inner[512];
};
struct type_5 {
    metal::uint2 inner[256];
};
struct type_6 {
    metal::uint4 inner[256];
};
struct type_7 {
    metal::uint2 inner[128];
};
struct Block {
    metal::uint4 low;
    metal::uint4 high;
    metal::uint2 side;
    char _pad3[8];
};
struct Sums {
    metal::float4 first;
    metal::float4 second;
};
struct Params {
    uint n;
    uint num_blocks;
    uint t;
    uint parts;
    uint has_bias;
    uint adds;
};
typedef uint type_11[1];
typedef metal::uint4 type_12[1];
typedef float type_13[1];
constant uint SIGN_BIT = 2147483648u;
constant uint MANTISSA = 8388607u;
constant uint HIDDEN = 8388608u;
constant uint INFINITE = 2139095040u;
constant uint NOT_A_NUMBER = 2143289344u;
constant uint OUTPUTS = 64u;
constant uint ROWS = 32u;
constant uint STAGED = 4u;

float significand(
    float a,
    uint shift
) {
    return as_type<float>((as_type<uint>(a) & MANTISSA) | ((127u + shift) << 23u));
}

float half_(
    uint bits
) {
    uint value = {};
    uint sign = (bits & 32768u) << 16u;
    uint magnitude = bits & 32767u;
    value = (magnitude << 13u) + 939524096u;
    if (magnitude >= 31744u) {
        value = INFINITE | (magnitude << 13u);
    } else {
        if (magnitude < 1024u) {
            value = as_type<uint>(static_cast<float>(magnitude) * as_type<float>(864026624u));
        }
    }
    uint _e25 = value;
    return as_type<float>(sign | _e25);
}

Sums added(
    Sums a_1,
    Sums b
) {
    return Sums {a_1.first + b.first, a_1.second + b.second};
}

int dot_16_(
    metal::uint4 a_2,
    metal::uint4 b_1
) {
    uint _e2 = a_2.x;
    uint _e3 = b_1.x;
    packed_char4 reinterpreted_packed_char4_e2 = as_type<packed_char4>(_e2);
    packed_char4 reinterpreted_packed_char4_e3 = as_type<packed_char4>(_e3);
    uint _e5 = a_2.y;
    uint _e6 = b_1.y;
    packed_char4 reinterpreted_packed_char4_e5 = as_type<packed_char4>(_e5);
    packed_char4 reinterpreted_packed_char4_e6 = as_type<packed_char4>(_e6);
    uint _e9 = a_2.z;
    uint _e10 = b_1.z;
    packed_char4 reinterpreted_packed_char4_e9 = as_type<packed_char4>(_e9);
    packed_char4 reinterpreted_packed_char4_e10 = as_type<packed_char4>(_e10);
    uint _e13 = a_2.w;
    uint _e14 = b_1.w;
    packed_char4 reinterpreted_packed_char4_e13 = as_type<packed_char4>(_e13);
    packed_char4 reinterpreted_packed_char4_e14 = as_type<packed_char4>(_e14);
    return as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(as_type<int>(as_type<uint>(( + reinterpreted_packed_char4_e2[0] * reinterpreted_packed_char4_e3[0] + reinterpreted_packed_char4_e2[1] * reinterpreted_packed_char4_e3[1] + reinterpreted_packed_char4_e2[2] * reinterpreted_packed_char4_e3[2] + reinterpreted_packed_char4_e2[3] * reinterpreted_packed_char4_e3[3])) + as_type<uint>(( + reinterpreted_packed_char4_e5[0] * reinterpreted_packed_char4_e6[0] + reinterpreted_packed_char4_e5[1] * reinterpreted_packed_char4_e6[1] + reinterpreted_packed_char4_e5[2] * reinterpreted_packed_char4_e6[2] + reinterpreted_packed_char4_e5[3] * reinterpreted_packed_char4_e6[3])))) + as_type<uint>(( + reinterpreted_packed_char4_e9[0] * reinterpreted_packed_char4_e10[0] + reinterpreted_packed_char4_e9[1] * reinterpreted_packed_char4_e10[1] + reinterpreted_packed_char4_e9[2] * reinterpreted_packed_char4_e10[2] + reinterpreted_packed_char4_e9[3] * reinterpreted_packed_char4_e10[3])))) + as_type<uint>(( + reinterpreted_packed_char4_e13[0] * reinterpreted_packed_char4_e14[0] + reinterpreted_packed_char4_e13[1] * reinterpreted_packed_char4_e14[1] + reinterpreted_packed_char4_e13[2] * reinterpreted_packed_char4_e14[2] + reinterpreted_packed_char4_e13[3] * reinterpreted_packed_char4_e14[3])));
}

metal::int4 four_dots(
    uint at,
    metal::uint4 row,
    threadgroup type_3& weights
) {
    metal::uint4 _e4 = weights.inner[at];
    int _e5 = dot_16_(_e4, row);
    metal::uint4 _e10 = weights.inner[at + 16u];
    int _e11 = dot_16_(_e10, row);
    metal::uint4 _e16 = weights.inner[at + 32u];
    int _e17 = dot_16_(_e16, row);
    metal::uint4 _e22 = weights.inner[at + 48u];
    int _e23 = dot_16_(_e22, row);
    return metal::int4(_e5, _e11, _e17, _e23);
}

Block weight_block(
    uint output,
    uint b_2,
    thread uint& first_output,
    constant Params& p,
    device type_11 const& scales,
    device type_12 const& values,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e3 = first_output;
    uint row_2 = _e3 + output;
    uint _e7 = p.n;
    if (row_2 >= _e7) {
        return Block {};
    }
    uint _e12 = p.num_blocks;
    uint at_1 = (row_2 * _e12) + b_2;
    uint _e19 = scales[at_1 / 2u];
    float _e27 = half_((_e19 >> ((at_1 % 2u) * 16u)) & 65535u);
    metal::uint4 _e32 = values[2u * at_1];
    metal::uint4 _e39 = values[(2u * at_1) + 1u];
    return Block {_e32, _e39, metal::uint2(as_type<uint>(_e27), 0u)};
}

Block input_block(
    uint row_1,
    uint b_3,
    constant Params& p,
    thread uint& first_row,
    device type_12 const& x,
    device type_13 const& x_scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e3 = first_row;
    uint _e7 = p.parts;
    uint token_1 = (_e3 + row_1) / _e7;
    uint _e11 = p.t;
    if (token_1 >= _e11) {
        return Block {};
    }
    uint _e15 = first_row;
    uint _e19 = p.parts;
    uint _e23 = p.t;
    uint _e28 = p.num_blocks;
    uint at_2 = ((token_1 + (((_e15 + row_1) % _e19) * _e23)) * _e28) + b_3;
    metal::uint4 _e35 = x[2u * at_2];
    metal::uint4 _e42 = x[(2u * at_2) + 1u];
    float _e45 = x_scales[at_2];
    return Block {_e35, _e42, metal::uint2(as_type<uint>(_e45), 0u)};
}

void stage(
    uint first,
    uint count,
    uint li_1,
    threadgroup type_3& weights,
    threadgroup type_5& weight_sides,
    threadgroup type_6& inputs,
    threadgroup type_7& input_sides,
    thread uint& first_output,
    constant Params& p,
    device type_11 const& scales,
    device type_12 const& values,
    thread uint& first_row,
    device type_12 const& x,
    device type_13 const& x_scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    bool local = {};
    uint step_2 = li_1 / OUTPUTS;
    if (step_2 < count) {
        uint output_1 = li_1 % OUTPUTS;
        Block _e11 = weight_block(output_1, first + (8u * step_2), first_output, p, scales, values, _buffer_sizes);
        weights.inner[((2u * step_2) * OUTPUTS) + output_1] = _e11.low;
        weights.inner[(((2u * step_2) + 1u) * OUTPUTS) + output_1] = _e11.high;
        weight_sides.inner[(step_2 * OUTPUTS) + output_1] = _e11.side;
    }
    if (li_1 < 128u) {
        local = (li_1 / ROWS) < count;
    } else {
        local = false;
    }
    bool _e44 = local;
    if (_e44) {
        uint row_3 = li_1 % ROWS;
        Block _e52 = input_block(row_3, first + (8u * (li_1 / ROWS)), p, first_row, x, x_scales, _buffer_sizes);
        inputs.inner[((2u * (li_1 / ROWS)) * ROWS) + row_3] = _e52.low;
        inputs.inner[(((2u * (li_1 / ROWS)) + 1u) * ROWS) + row_3] = _e52.high;
        input_sides.inner[li_1] = _e52.side;
        return;
    } else {
        return;
    }
}

metal::int4 corrected(
    metal::int4 dots,
    metal::uint4 words,
    uint word
) {
    return dots;
}

Sums step_of(
    Sums before,
    uint step,
    uint column,
    uint pair,
    threadgroup type_3& weights,
    threadgroup type_5& weight_sides,
    threadgroup type_6& inputs,
    threadgroup type_7& input_sides
) {
    uint low = ((2u * step) * OUTPUTS) + column;
    uint row_4 = ((2u * step) * ROWS) + (2u * pair);
    metal::uint4 _e18 = inputs.inner[row_4];
    metal::int4 _e19 = four_dots(low, _e18, weights);
    metal::uint4 _e26 = inputs.inner[row_4 + ROWS];
    metal::int4 _e27 = four_dots(low + OUTPUTS, _e26, weights);
    metal::int4 first_2 = as_type<metal::int4>(as_type<metal::uint4>(_e19) + as_type<metal::uint4>(_e27));
    metal::uint4 _e33 = inputs.inner[row_4 + 1u];
    metal::int4 _e34 = four_dots(low, _e33, weights);
    metal::uint4 _e43 = inputs.inner[(row_4 + ROWS) + 1u];
    metal::int4 _e44 = four_dots(low + OUTPUTS, _e43, weights);
    metal::int4 second = as_type<metal::int4>(as_type<metal::uint4>(_e34) + as_type<metal::uint4>(_e44));
    uint at_3 = (step * OUTPUTS) + column;
    metal::uint2 s0_ = weight_sides.inner[at_3];
    metal::uint2 s1_ = weight_sides.inner[at_3 + 16u];
    metal::uint2 s2_ = weight_sides.inner[at_3 + 32u];
    metal::uint2 s3_ = weight_sides.inner[at_3 + 48u];
    metal::float4 scales_1 = as_type<metal::float4>(metal::uint4(s0_.x, s1_.x, s2_.x, s3_.x));
    metal::uint4 words_1 = metal::uint4(s0_.y, s1_.y, s2_.y, s3_.y);
    metal::uint2 side = input_sides.inner[(step * ROWS) + (2u * pair)];
    metal::uint2 next = input_sides.inner[((step * ROWS) + (2u * pair)) + 1u];
    metal::int4 _e97 = corrected(first_2, words_1, side.y);
    metal::int4 _e105 = corrected(second, words_1, next.y);
    return Sums {metal::fma(static_cast<metal::float4>(_e97), as_type<float>(side.x) * scales_1, before.first), metal::fma(static_cast<metal::float4>(_e105), as_type<float>(next.x) * scales_1, before.second)};
}

Sums products(
    uint num_blocks,
    bool is_wanted,
    uint li_2,
    threadgroup type_3& weights,
    threadgroup type_5& weight_sides,
    threadgroup type_6& inputs,
    threadgroup type_7& input_sides,
    thread uint& first_output,
    constant Params& p,
    device type_11 const& scales,
    device type_12 const& values,
    thread uint& first_row,
    device type_12 const& x,
    device type_13 const& x_scales,
    constant _mslBufferSizes& _buffer_sizes
) {
    Sums one = {};
    Sums two = {};
    Sums four = {};
    Sums sums = {};
    uint visit = 0u;
    uint first_1 = {};
    uint step_1 = {};
    bool local_1 = {};
    Sums zero = Sums {metal::float4 {}, metal::float4 {}};
    one = zero;
    two = zero;
    four = zero;
    sums = zero;
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            uint _e76 = visit;
            visit = _e76 + 1u;
        }
        loop_init = false;
        uint _e12 = visit;
        if (_e12 < 8u) {
        } else {
            break;
        }
        {
            uint _e15 = visit;
            uint lane = metal::reverse_bits(_e15) >> 29u;
            sums = zero;
            first_1 = lane;
            bool loop_init_1 = true;
            while(true) {
                if (!loop_init_1) {
                    uint _e49 = first_1;
                    first_1 = _e49 + 32u;
                }
                loop_init_1 = false;
                uint _e20 = first_1;
                if (_e20 < num_blocks) {
                } else {
                    break;
                }
                {
                    uint _e23 = first_1;
                    uint count_1 = metal::min(STAGED, ((num_blocks - _e23) + 7u) / 8u);
                    uint _e30 = first_1;
                    stage(_e30, count_1, li_2, weights, weight_sides, inputs, input_sides, first_output, p, scales, values, first_row, x, x_scales, _buffer_sizes);
                    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
                    step_1 = 0u;
                    bool loop_init_2 = true;
                    while(true) {
                        if (!loop_init_2) {
                            uint _e46 = step_1;
                            step_1 = _e46 + 1u;
                        }
                        loop_init_2 = false;
                        uint _e33 = step_1;
                        if (_e33 < count_1) {
                            local_1 = is_wanted;
                        } else {
                            local_1 = false;
                        }
                        bool _e38 = local_1;
                        if (_e38) {
                        } else {
                            break;
                        }
                        {
                            Sums _e39 = sums;
                            uint _e40 = step_1;
                            Sums _e45 = step_of(_e39, _e40, li_2 % 16u, li_2 / 16u, weights, weight_sides, inputs, input_sides);
                            sums = _e45;
                        }
                    }
                    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
                }
            }
            uint _e52 = visit;
            if ((_e52 & 1u) == 0u) {
                Sums _e57 = sums;
                one = _e57;
                continue;
            }
            Sums _e58 = one;
            Sums _e59 = sums;
            Sums _e60 = added(_e58, _e59);
            sums = _e60;
            uint _e61 = visit;
            if ((_e61 & 2u) == 0u) {
                Sums _e66 = sums;
                two = _e66;
                continue;
            }
            Sums _e67 = two;
            Sums _e68 = sums;
            Sums _e69 = added(_e67, _e68);
            sums = _e69;
            uint _e70 = visit;
            if ((_e70 & 4u) == 0u) {
                Sums _e75 = sums;
                four = _e75;
            }
        }
    }
    Sums _e79 = four;
    Sums _e80 = sums;
    Sums _e81 = added(_e79, _e80);
    return _e81;
}

void finish(
    metal::float4 l,
    uint token,
    uint column_1,
    thread uint& first_output,
    constant Params& p,
    device type_13& out,
    device type_13 const& bias,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint i = 0u;
    float offset = {};
    float product = {};
    uint _e5 = p.t;
    if (token >= _e5) {
        return;
    }
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e56 = i;
            i = _e56 + 1u;
        }
        loop_init_3 = false;
        uint _e9 = i;
        if (_e9 < 4u) {
        } else {
            break;
        }
        {
            uint _e13 = first_output;
            uint _e16 = i;
            uint output_2 = (_e13 + column_1) + (16u * _e16);
            uint _e21 = p.n;
            if (output_2 >= _e21) {
                return;
            }
            offset = 0.0;
            uint _e27 = p.has_bias;
            if (_e27 == 1u) {
                float _e32 = bias[output_2];
                offset = _e32;
            }
            uint _e33 = i;
            float _e35 = offset;
            product = l[_e33] + _e35;
            uint _e40 = p.n;
            uint place = (token * _e40) + output_2;
            uint _e45 = p.adds;
            if (_e45 == 1u) {
                float _e50 = out[place];
                float _e51 = product;
                product = _e50 + _e51;
            }
            float _e55 = product;
            out[place] = _e55;
        }
    }
    return;
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, threadgroup type_3& weights
, threadgroup type_5& weight_sides
, threadgroup type_6& inputs
, threadgroup type_7& input_sides
, constant Params& p [[buffer(6)]]
, device type_11 const& scales [[buffer(3)]]
, device type_12 const& values [[buffer(2)]]
, device type_12 const& x [[buffer(4)]]
, device type_13 const& x_scales [[buffer(5)]]
, device type_13& out [[buffer(0)]]
, device type_13 const& bias [[buffer(1)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(7)]]
) {
    uint first_output = {};
    uint first_row = {};
    first_row = wg.x * ROWS;
    first_output = wg.y * OUTPUTS;
    uint _e11 = first_row;
    uint row_5 = _e11 + ((li / 16u) * 2u);
    uint _e19 = p.num_blocks;
    uint _e22 = p.t;
    uint _e25 = p.parts;
    Sums _e28 = products(_e19, row_5 < (_e22 * _e25), li, weights, weight_sides, inputs, input_sides, first_output, p, scales, values, first_row, x, x_scales, _buffer_sizes);
    uint _e31 = p.parts;
    if (_e31 == 2u) {
        finish((_e28.first + metal::float4(0.0)) + (_e28.second + metal::float4(0.0)), row_5 / 2u, li % 16u, first_output, p, out, bias, _buffer_sizes);
        return;
    } else {
        finish(_e28.first, row_5, li % 16u, first_output, p, out, bias, _buffer_sizes);
        finish(_e28.second, row_5 + 1u, li % 16u, first_output, p, out, bias, _buffer_sizes);
        return;
    }
}
