// Rotates queries in place and keys into the cache, where values go too, as int8 with a scale a head: the largest
// magnitude over 127, numbers to the nearest multiple. Pair i of a head is x[i] and x[i + D/2]; every product is
// rounded. A row that is idle is left alone. Dispatch (H + 2 K, T).
//include int8_steps
//include cache_row
struct Params {
    head_dim: u32,      // D, a multiple of 4, 128 at most
    num_heads: u32,     // H
    num_kv_heads: u32,  // K
    ring_rows: u32,     // rows of a ring; 0: blocks
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> q: array<f32>;            // [T, H, D]
@group(0) @binding(1) var<storage, read> k: array<f32>;                  // [T, K, D]
@group(0) @binding(2) var<storage, read> v: array<f32>;                  // [T, K, D]
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>;       // [T, D / 2]: cosine and sine
@group(0) @binding(4) var<storage, read> rows: array<vec4<u32>>;         // [T]: position, first of its blocks, ring
@group(0) @binding(5) var<storage, read> table: array<u32>;              // blocks of all sequences
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;         // [rows, K, D]
@group(0) @binding(7) var<storage, read_write> values: array<u32>;       // [rows, K, D]
@group(0) @binding(8) var<storage, read_write> key_scales: array<f32>;   // [rows, K]
@group(0) @binding(9) var<storage, read_write> value_scales: array<f32>; // [rows, K]

var<workgroup> numbers: array<f32, 128>; // [D]
var<workgroup> largest: array<u32, 32>;

// A head a workgroup, two neighboring pairs an invocation.
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let token = wg.y;
    if rows[token].x == IDLE { return; }
    let half = p.head_dim / 2u;
    let is_key = wg.x >= p.num_heads && wg.x < p.num_heads + p.num_kv_heads;
    let kv_head = (wg.x - p.num_heads) % p.num_kv_heads;
    let is_mine = li < p.head_dim / 4u;
    var most = 0u;
    for (var i = 2u * li; i < 2u * li + 2u && is_mine; i += 1u) {
        var pair = vec2<f32>(0.0, 0.0);
        let at = (token * p.num_kv_heads + kv_head) * p.head_dim + i;
        if wg.x < p.num_heads {
            let query = (token * p.num_heads + wg.x) * p.head_dim + i;
            pair = vec2<f32>(q[query], q[query + half]);
        } else if is_key {
            pair = vec2<f32>(k[at], k[at + half]);
        } else {
            pair = vec2<f32>(v[at], v[at + half]);
        }
        if wg.x < p.num_heads || is_key {
            let angle = angles[token * half + i];
            pair = vec2<f32>(pair.x * angle.x - pair.y * angle.y, pair.y * angle.x + pair.x * angle.y);
        }
        numbers[i] = pair.x;
        numbers[i + half] = pair.y;
        most = max(most, max(bitcast<u32>(pair.x) & 0x7fffffffu, bitcast<u32>(pair.y) & 0x7fffffffu));
    }
    largest[li] = most;
    workgroupBarrier();
    if wg.x < p.num_heads {
        for (var i = li; i < p.head_dim; i += 32u) {
            q[(token * p.num_heads + wg.x) * p.head_dim + i] = numbers[i];
        }
        return;
    }
    for (var other = 0u; other < 32u; other += 1u) { most = max(most, largest[other]); }
    let steps = int_steps(most, 127.0);
    let head = cache_row(rows[token], rows[token].x) * p.num_kv_heads + kv_head;
    if li == 0u {
        if is_key { key_scales[head] = steps.y; } else { value_scales[head] = steps.y; }
    }
    if is_mine {
        var word = 0u;
        for (var c = 0u; c < 4u; c += 1u) {
            word |= (bitcast<u32>(nearest_int(numbers[4u * li + c] * steps.x)) & 0xffu) << (8u * c);
        }
        let to = head * (p.head_dim / 4u) + li;
        if is_key { keys[to] = word; } else { values[to] = word; }
    }
}
