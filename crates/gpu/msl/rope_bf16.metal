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
    uint size8;
};

struct Params {
    uint head_dim;
    uint num_heads;
    uint num_kv_heads;
    uint ring_rows;
};
typedef uint type_2[1];
typedef float type_4[1];
typedef metal::float2 type_6[1];
typedef metal::uint4 type_7[1];
struct type_9 {
    metal::float2 inner[2];
};
constant uint SMALLEST_QUERY = 729808896u;
constant uint SMALLEST_KV = 562036736u;
constant uint IDLE = 4294967295u;

uint nearest_bf16_(
    float x,
    uint smallest
) {
    uint bits = as_type<uint>(x);
    uint magnitude = bits & 2147483647u;
    uint nearest = (bits + 32767u) + ((bits >> 16u) & 1u);
    uint kept = ((magnitude > 2139095040u) ? (bits | 4194304u) : nearest) & 4294901760u;
    return (magnitude < smallest) ? 0u : kept;
}

uint cache_row(
    metal::uint4 row,
    uint position,
    constant Params& p,
    device type_2 const& table,
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

metal::float2 rotated(
    metal::float2 pair,
    metal::float2 angle
) {
    return metal::float2((pair.x * angle.x) - (pair.y * angle.y), (pair.y * angle.x) + (pair.x * angle.y));
}

uint two_bf16_(
    float low,
    float high
) {
    uint _e3 = nearest_bf16_(high, SMALLEST_KV);
    uint _e5 = nearest_bf16_(low, SMALLEST_KV);
    return _e3 | (_e5 >> 16u);
}

void put_key(
    uint at,
    float low_1,
    float high_1,
    device type_2& keys,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e7 = two_bf16_(low_1, high_1);
    keys[at / 2u] = _e7;
    return;
}

void put_value(
    uint at_1,
    float low_2,
    float high_2,
    device type_2& values,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint _e7 = two_bf16_(low_2, high_2);
    values[at_1 / 2u] = _e7;
    return;
}

void rope(
    metal::uint3 wg_1,
    uint li_1,
    constant Params& p,
    device type_2 const& table,
    device type_4& q,
    device type_4 const& k,
    device type_4 const& v,
    device type_6 const& angles,
    device type_7 const& rows,
    device type_2& keys,
    device type_2& values,
    constant _mslBufferSizes& _buffer_sizes
) {
    uint head = {};
    uint c = 0u;
    uint token = wg_1.y;
    uint _e6 = rows[token].x;
    if (_e6 == IDLE) {
        return;
    }
    uint _e11 = p.head_dim;
    uint half_ = _e11 / 2u;
    uint unit = (wg_1.x * 64u) + li_1;
    uint _e20 = p.head_dim;
    head = unit / (_e20 / 4u);
    uint _e27 = p.head_dim;
    uint i = (unit % (_e27 / 4u)) * 2u;
    uint _e33 = head;
    uint _e36 = p.num_heads;
    uint _e40 = p.num_kv_heads;
    if (_e33 >= (_e36 + (2u * _e40))) {
        return;
    }
    metal::float2 _e48 = angles[(token * half_) + i];
    metal::float2 _e55 = angles[((token * half_) + i) + 1u];
    type_9 angle_1 = type_9 {{_e48, _e55}};
    uint _e57 = head;
    uint _e60 = p.num_heads;
    if (_e57 < _e60) {
        uint _e64 = p.num_heads;
        uint _e66 = head;
        uint _e70 = p.head_dim;
        uint at_2 = (((token * _e64) + _e66) * _e70) + i;
        bool loop_init = true;
        while(true) {
            if (!loop_init) {
                uint _e104 = c;
                c = _e104 + 1u;
            }
            loop_init = false;
            uint _e75 = c;
            if (_e75 < 2u) {
            } else {
                break;
            }
            {
                uint _e79 = c;
                float _e82 = q[at_2 + _e79];
                uint _e84 = c;
                float _e88 = q[(at_2 + _e84) + half_];
                uint _e90 = c;
                metal::float2 _e92 = rotated(metal::float2(_e82, _e88), angle_1.inner[_e90]);
                uint _e94 = c;
                q[at_2 + _e94] = _e92.x;
                uint _e99 = c;
                q[(at_2 + _e99) + half_] = _e92.y;
            }
        }
        return;
    }
    uint _e107 = head;
    uint _e110 = p.num_heads;
    head = _e107 - _e110;
    uint _e112 = head;
    uint _e115 = p.num_kv_heads;
    bool is_key = _e112 < _e115;
    uint _e117 = head;
    uint _e120 = p.num_kv_heads;
    head = _e117 % _e120;
    uint _e124 = p.num_kv_heads;
    uint _e126 = head;
    uint _e130 = p.head_dim;
    uint at_3 = (((token * _e124) + _e126) * _e130) + i;
    metal::uint4 _e135 = rows[token];
    uint _e139 = rows[token].x;
    uint _e140 = cache_row(_e135, _e139, p, table, _buffer_sizes);
    uint _e143 = p.num_kv_heads;
    uint _e145 = head;
    uint _e149 = p.head_dim;
    uint to = (((_e140 * _e143) + _e145) * _e149) + i;
    if (is_key) {
        float _e154 = k[at_3];
        float _e158 = k[at_3 + half_];
        metal::float2 _e161 = rotated(metal::float2(_e154, _e158), angle_1.inner[0]);
        float _e166 = k[at_3 + 1u];
        float _e172 = k[(at_3 + 1u) + half_];
        metal::float2 _e175 = rotated(metal::float2(_e166, _e172), angle_1.inner[1]);
        put_key(to, _e161.x, _e175.x, keys, _buffer_sizes);
        put_key(to + half_, _e161.y, _e175.y, keys, _buffer_sizes);
        return;
    } else {
        float _e183 = v[at_3];
        float _e188 = v[at_3 + 1u];
        put_value(to, _e183, _e188, values, _buffer_sizes);
        float _e193 = v[at_3 + half_];
        float _e199 = v[(at_3 + 1u) + half_];
        put_value(to + half_, _e193, _e199, values, _buffer_sizes);
        return;
    }
}

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(8)]]
, device type_2 const& table [[buffer(5)]]
, device type_4& q [[buffer(0)]]
, device type_4 const& k [[buffer(1)]]
, device type_4 const& v [[buffer(2)]]
, device type_6 const& angles [[buffer(3)]]
, device type_7 const& rows [[buffer(4)]]
, device type_2& keys [[buffer(6)]]
, device type_2& values [[buffer(7)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(9)]]
) {
    rope(wg, li, p, table, q, k, v, angles, rows, keys, values, _buffer_sizes);
    return;
}
