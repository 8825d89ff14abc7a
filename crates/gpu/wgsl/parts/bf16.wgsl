// The nearest bf16 in the high half, ties to even; zero below `smallest` (bits), NaN quiet.
fn nearest_bf16(x: f32, smallest: u32) -> u32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    let nearest = bits + 0x7fffu + ((bits >> 16u) & 1u);
    let kept = select(nearest, bits | 0x400000u, magnitude > 0x7f800000u) & 0xffff0000u;
    return select(kept, 0u, magnitude < smallest);
}
const SMALLEST_QUERY: u32 = 0x2b800000u; // 2^-40
const SMALLEST_KV: u32 = 0x21800000u;    // 2^-60
