// Eight blocks of 32 numbers become int8, an eighth of each by one of 64 invocations. The caller fills `numbers`,
// waits, and calls `largest_of` and the rest.
//include divide
var<workgroup> numbers: array<f32, 256>;
var<workgroup> packed: array<u32, 64>;

const BLOCK: u32 = 32u;
// 2^-100: blocks whose largest magnitude is smaller are zero.
const SMALLEST_BITS: u32 = 0x0d800000u;

// The bits of the largest magnitude of a block; those of an infinity or NaN are larger than every number's.
fn largest_of(block: u32) -> u32 {
    var largest = 0u;
    for (var i = 0u; i < BLOCK; i += 1u) {
        largest = max(largest, bitcast<u32>(numbers[block * BLOCK + i]) & 0x7fffffffu);
    }
    return largest;
}

fn four_bytes(v: vec4<i32>) -> u32 {
    let b = bitcast<vec4<u32>>(v) & vec4<u32>(255u);
    return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
}
