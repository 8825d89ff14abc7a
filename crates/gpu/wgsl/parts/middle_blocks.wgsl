// Blocks about their middles, as products with MXFP4 take them: the scale is half the way from the least to the greatest
// of a block's numbers and zero, over 126.25; values are steps from the middle of that way, ties to even; the middle, in
// whole steps, is kept beside them. Values: 16 even elements, then 16 odd ones. Beside: the bits of the scale; the sum of
// values and middles times 12 in 24 bits above the middle in 8. What is not finite: zeros under a scale of NaN.
//include int8_blocks
@group(0) @binding(0) var<storage, read_write> out: array<u32>;         // [T, K / 32, 8]
@group(0) @binding(1) var<storage, read_write> beside: array<vec2<u32>>; // [T, K / 32]

struct Steps { inverse: f32, size: f32, middle: i32 }

fn steps_of(block: u32) -> Steps {
    let largest = largest_of(block);
    if largest >= INFINITE {
        return Steps(0.0, bitcast<f32>(largest | NOT_A_NUMBER), 0);
    }
    if largest < SMALLEST_BITS {
        return Steps(0.0, 0.0, 0);
    }
    var least = 0.0;
    var greatest = 0.0;
    for (var i = 0u; i < BLOCK; i += 1u) {
        least = min(least, numbers[block * BLOCK + i]);
        greatest = max(greatest, numbers[block * BLOCK + i]);
    }
    let way = 0.5 * greatest - 0.5 * least;
    let inverse = divide(126.25, way);
    let middle = (0.5 * greatest + 0.5 * least) * inverse;
    return Steps(inverse, divide(way, 126.25), i32(round(middle)));
}

// The blocks in `numbers`, of which there are `count`, to the places from `first` on.
fn quantize_blocks(first: u32, count: u32, li: u32) {
    let block = li / 8u;
    let word = li % 8u;
    let is_mine = li < 64u && block < count;
    var steps = Steps(0.0, 0.0, 0);
    if is_mine {
        steps = steps_of(block);
        let at = block * BLOCK + word % 4u * 8u + word / 4u;
        var values = vec4<i32>(0);
        if steps.inverse != 0.0 {
            let middle = -f32(steps.middle);
            values.x = i32(round(fma(numbers[at], steps.inverse, middle)));
            values.y = i32(round(fma(numbers[at + 2u], steps.inverse, middle)));
            values.z = i32(round(fma(numbers[at + 4u], steps.inverse, middle)));
            values.w = i32(round(fma(numbers[at + 6u], steps.inverse, middle)));
        }
        packed[li] = four_bytes(values);
        out[(first + block) * 8u + word] = packed[li];
    }
    workgroupBarrier();
    if is_mine && word == 0u {
        var sum = 32 * steps.middle;
        for (var i = 0u; i < 8u; i += 1u) {
            sum += dot4I8Packed(packed[li + i], 0x01010101u);
        }
        let corrected = (bitcast<u32>(12 * sum) << 8u) | (bitcast<u32>(steps.middle) & 255u);
        beside[first + block] = vec2<u32>(bitcast<u32>(steps.size), corrected);
    }
}
