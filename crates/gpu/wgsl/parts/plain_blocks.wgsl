// Blocks as products with int8 take them: the scale is the largest magnitude over 127, values are the nearest multiples,
// ties to even. In two parts: then likewise what rounding took from each, x - value * scale fused. What is not finite:
// zeros under a scale of NaN.
//include int8_blocks
@group(0) @binding(0) var<storage, read_write> out: array<u32>;    // [parts, T, K / 32, 8]
@group(0) @binding(1) var<storage, read_write> scales: array<f32>; // [parts, T, K / 32]

// The blocks in `numbers`, of which there are `count`, to the places from `first` on, and their rests `all` blocks
// behind them. The numbers are then the rests of the last part.
fn quantize_blocks(first: u32, count: u32, all: u32, parts: u32, li: u32) {
    let block = li / 8u;
    let word = li % 8u;
    let is_mine = li < 64u && block < count;
    for (var part = 0u; part < parts; part += 1u) {
        var inverse = 0.0;
        var size = 0.0;
        if is_mine {
            let largest = largest_of(block);
            if largest >= INFINITE {
                size = bitcast<f32>(largest | NOT_A_NUMBER);
            } else if largest >= SMALLEST_BITS {
                inverse = divide(127.0, bitcast<f32>(largest));
                size = divide(bitcast<f32>(largest), 127.0);
            }
        }
        // All have seen the numbers before they become the rest.
        workgroupBarrier();
        if is_mine {
            let at = li * 4u;
            let mine = vec4<f32>(numbers[at], numbers[at + 1u], numbers[at + 2u], numbers[at + 3u]);
            var values = vec4<i32>(0);
            if inverse != 0.0 {
                values = vec4<i32>(round(mine * inverse));
            }
            let place = part * all + first + block;
            out[place * 8u + word] = four_bytes(values);
            if word == 0u {
                scales[place] = size;
            }
            let rest = fma(vec4<f32>(values), vec4<f32>(-size), mine);
            numbers[at] = rest.x;
            numbers[at + 1u] = rest.y;
            numbers[at + 2u] = rest.z;
            numbers[at + 3u] = rest.w;
        }
        workgroupBarrier();
    }
}
