// Tokens in the order of their logits: a key is (rank, token), the larger rank first and of equals the lower token.
// Ranks are ordered as the logits are and both zeros are one; 0 is the rank of what never comes: negative infinity, NaN,
// and what a mask forbids.
fn rank(logit: f32) -> u32 {
    var bits = bitcast<u32>(logit);
    if bits == 0x80000000u { bits = 0u; }
    if bits == 0xff800000u || (bits & 0x7fffffffu) > 0x7f800000u { return 0u; }
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

const NEVER: vec2<u32> = vec2<u32>(0u, 0xffffffffu);

fn is_before(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y < b.y); }

var<workgroup> keys: array<vec2<u32>, 2048>;

// Sorts all keys, the first first.
fn sort_keys(li: u32) {
    for (var run = 2u; run <= 2048u; run *= 2u) {
        for (var gap = run / 2u; gap > 0u; gap /= 2u) {
            for (var i = li; i < 1024u; i += 256u) {
                let a = i / gap * 2u * gap + i % gap;
                let b = a + gap;
                let is_falling = (a & run) == 0u;
                let first = keys[a];
                let second = keys[b];
                if is_before(second, first) == is_falling {
                    keys[a] = second;
                    keys[b] = first;
                }
            }
            workgroupBarrier();
        }
    }
}
