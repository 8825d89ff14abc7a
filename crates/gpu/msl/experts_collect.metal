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
};

struct Params {
    uint width;
    uint per_token;
    uint is_sorted;
};
typedef float type_2[1];
typedef uint type_3[1];

struct main_Input {
};
[[max_total_threads_per_threadgroup(64)]] kernel void main_(
  metal::uint3 wg [[threadgroup_position_in_grid]]
, uint li [[thread_index_in_threadgroup]]
, constant Params& p [[buffer(4)]]
, device type_2 const& outputs [[buffer(0)]]
, device type_2 const& chosen [[buffer(1)]]
, device type_3 const& slots [[buffer(2)]]
, device type_2& hidden [[buffer(3)]]
, constant _mslBufferSizes& _buffer_sizes [[buffer(5)]]
) {
    float update = 0.0;
    uint place = 0u;
    uint slot = {};
    uint column = (wg.x * 64u) + li;
    uint _e8 = p.width;
    if (column >= _e8) {
        return;
    }
    bool loop_init = true;
    while(true) {
        if (!loop_init) {
            uint _e50 = place;
            place = _e50 + 1u;
        }
        loop_init = false;
        uint _e14 = place;
        uint _e17 = p.per_token;
        if (_e14 < _e17) {
        } else {
            break;
        }
        {
            uint _e22 = p.per_token;
            uint _e24 = place;
            uint assignment = (wg.y * _e22) + _e24;
            slot = assignment;
            uint _e29 = p.is_sorted;
            if (_e29 == 1u) {
                uint _e34 = slots[assignment];
                slot = _e34;
            }
            float _e35 = update;
            float _e38 = chosen[assignment];
            uint _e40 = slot;
            uint _e43 = p.width;
            float _e47 = outputs[(_e40 * _e43) + column];
            update = _e35 + (_e38 * _e47);
        }
    }
    uint _e56 = p.width;
    uint at = (wg.y * _e56) + column;
    float _e63 = hidden[at];
    float _e64 = update;
    hidden[at] = _e63 + _e64;
    return;
}
