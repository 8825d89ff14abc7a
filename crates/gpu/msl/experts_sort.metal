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
};

struct Params {
    uint assignments;
    uint per_token;
    uint tile_rows;
    uint gate_up_groups;
    uint down_groups;
};
typedef uint type_1[1];
typedef metal::uint4 type_3[1];
struct type_4 {
    uint inner[256];
};

struct main_Input {
};
[[max_total_threads_per_threadgroup(256)]] kernel void main_(
  uint expert [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(5)]]
, device type_1 const& experts [[buffer(0)]]
, device type_1& slots [[buffer(1)]]
, device type_1& tokens [[buffer(2)]]
, device type_3& tiles [[buffer(3)]]
, device type_1& dispatches [[buffer(4)]]
, threadgroup type_4& first_slots
, threadgroup type_4& first_tiles
, constant _mslBufferSizes& _buffer_sizes [[buffer(6)]]
) {
    uint count = 0u;
    uint i = 0u;
    uint reach = 1u;
    metal::uint2 before = {};
    uint product = 0u;
    uint slot = {};
    uint i_1 = 0u;
    uint tile = 0u;
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            uint _e20 = i;
            i = _e20 + 1u;
        }
        loop_init = false;
        uint _e5 = i;
        uint _e8 = p.assignments;
        if (_e5 < _e8) {
        } else {
            break;
        }
        {
            uint _e10 = count;
            uint _e14 = i;
            uint _e16 = experts[_e14];
            count = _e10 + ((_e16 == expert) ? 1u : 0u);
        }
    }
    uint _e23 = count;
    uint _e26 = p.tile_rows;
    uint _e32 = p.tile_rows;
    uint num_tiles = ((_e23 + _e26) - 1u) / _e32;
    uint _e36 = count;
    first_slots.inner[expert] = _e36;
    first_tiles.inner[expert] = num_tiles;
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    bool loop_init_1 = true;
    while(true) {
        if (!loop_init_1) {
            uint _e73 = reach;
            reach = _e73 * 2u;
        }
        loop_init_1 = false;
        uint _e41 = reach;
        if (_e41 < 256u) {
        } else {
            break;
        }
        {
            before = metal::uint2(0u, 0u);
            uint _e48 = reach;
            if (expert >= _e48) {
                uint _e51 = reach;
                uint _e54 = first_slots.inner[expert - _e51];
                uint _e56 = reach;
                uint _e59 = first_tiles.inner[expert - _e56];
                before = metal::uint2(_e54, _e59);
            }
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
            uint _e63 = first_slots.inner[expert];
            uint _e65 = before.x;
            first_slots.inner[expert] = _e63 + _e65;
            uint _e69 = first_tiles.inner[expert];
            uint _e71 = before.y;
            first_tiles.inner[expert] = _e69 + _e71;
            metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
        }
    }
    if (expert == 0u) {
        bool loop_init_2 = true;
        while(true) {
            if (!loop_init_2) {
                uint _e116 = product;
                product = _e116 + 1u;
            }
            loop_init_2 = false;
            uint _e80 = product;
            if (_e80 < 2u) {
            } else {
                break;
            }
            {
                uint _e85 = product;
                uint _e90 = p.gate_up_groups;
                uint _e93 = p.down_groups;
                uint _e94 = product;
                dispatches[3u * _e85] = (_e94 == 1u) ? _e93 : _e90;
                uint _e100 = product;
                uint _e107 = first_tiles.inner[255];
                dispatches[(3u * _e100) + 1u] = _e107;
                uint _e110 = product;
                dispatches[(3u * _e110) + 2u] = 1u;
            }
        }
    }
    uint _e119 = count;
    if (_e119 == 0u) {
        return;
    }
    uint _e124 = first_slots.inner[expert];
    uint _e125 = count;
    uint first = _e124 - _e125;
    slot = first;
    bool loop_init_3 = true;
    while(true) {
        if (!loop_init_3) {
            uint _e155 = i_1;
            i_1 = _e155 + 1u;
        }
        loop_init_3 = false;
        uint _e130 = i_1;
        uint _e133 = p.assignments;
        if (_e130 < _e133) {
        } else {
            break;
        }
        {
            uint _e136 = i_1;
            uint _e138 = experts[_e136];
            if (_e138 == expert) {
                uint _e141 = i_1;
                uint _e143 = slot;
                slots[_e141] = _e143;
                uint _e145 = slot;
                uint _e147 = i_1;
                uint _e150 = p.per_token;
                tokens[_e145] = _e147 / _e150;
                uint _e152 = slot;
                slot = _e152 + 1u;
            }
        }
    }
    bool loop_init_4 = true;
    while(true) {
        if (!loop_init_4) {
            uint _e184 = tile;
            tile = _e184 + 1u;
        }
        loop_init_4 = false;
        uint _e160 = tile;
        if (_e160 < num_tiles) {
        } else {
            break;
        }
        {
            uint _e162 = tile;
            uint _e165 = p.tile_rows;
            uint start = _e162 * _e165;
            uint _e169 = first_tiles.inner[expert];
            uint _e171 = tile;
            uint at = (_e169 - num_tiles) + _e171;
            uint _e178 = p.tile_rows;
            uint _e179 = count;
            tiles[at] = metal::uint4(expert, first + start, metal::min(_e178, _e179 - start), 0u);
        }
    }
    return;
}
