// Rotates queries in place and keys into the cache, where values go too. Pair i of a head is x[i] and x[i + D/2]; every
// product is rounded. A row that is idle is left alone. Dispatch ((H + 2 K) * D / 4 over 64, rounded up; T). The kernel
// says how its cache is stored: put_key and put_value are told the place of two neighboring numbers, which is even.
//include cache_row
struct Params {
    head_dim: u32,      // D, a multiple of 4
    num_heads: u32,     // H
    num_kv_heads: u32,  // K
    ring_rows: u32,     // rows of a ring; 0: blocks
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> q: array<f32>;       // [T, H, D]
@group(0) @binding(1) var<storage, read> k: array<f32>;             // [T, K, D]
@group(0) @binding(2) var<storage, read> v: array<f32>;             // [T, K, D]
@group(0) @binding(3) var<storage, read> angles: array<vec2<f32>>;  // [T, D / 2]: cosine and sine
@group(0) @binding(4) var<storage, read> rows: array<vec4<u32>>;    // [T]: position, first of its blocks, ring
@group(0) @binding(5) var<storage, read> table: array<u32>;         // blocks of all sequences

fn rotated(pair: vec2<f32>, angle: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * angle.x - pair.y * angle.y, pair.y * angle.x + pair.x * angle.y);
}

// Four numbers of a head an invocation: two neighboring pairs.
fn rope(wg: vec3<u32>, li: u32) {
    let token = wg.y;
    if rows[token].x == IDLE { return; }
    let half = p.head_dim / 2u;
    let unit = wg.x * 64u + li;
    var head = unit / (p.head_dim / 4u);
    let i = unit % (p.head_dim / 4u) * 2u;
    if head >= p.num_heads + 2u * p.num_kv_heads { return; }
    let angle = array<vec2<f32>, 2>(angles[token * half + i], angles[token * half + i + 1u]);
    if head < p.num_heads {
        let at = (token * p.num_heads + head) * p.head_dim + i;
        for (var c = 0u; c < 2u; c += 1u) {
            let pair = rotated(vec2<f32>(q[at + c], q[at + c + half]), angle[c]);
            q[at + c] = pair.x;
            q[at + c + half] = pair.y;
        }
        return;
    }
    head -= p.num_heads;
    let is_key = head < p.num_kv_heads;
    head %= p.num_kv_heads;
    let at = (token * p.num_kv_heads + head) * p.head_dim + i;
    let to = (cache_row(rows[token], rows[token].x) * p.num_kv_heads + head) * p.head_dim + i;
    if is_key {
        let first = rotated(vec2<f32>(k[at], k[at + half]), angle[0]);
        let second = rotated(vec2<f32>(k[at + 1u], k[at + 1u + half]), angle[1]);
        put_key(to, first.x, second.x);
        put_key(to + half, first.y, second.y);
    } else {
        put_value(to, v[at], v[at + 1u]);
        put_value(to + half, v[at + half], v[at + 1u + half]);
    }
}
