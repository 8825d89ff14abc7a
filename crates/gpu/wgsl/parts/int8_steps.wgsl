// Rows of a head as integers with one scale.
//include divide
// The factor that makes the magnitude `bits` the integer `most`, and the size of a step: zeros below 2^-100, a step of
// NaN for what is not finite.
fn int_steps(bits: u32, most: f32) -> vec2<f32> {
    if bits >= 0x7f800000u { return vec2<f32>(0.0, bitcast<f32>(bits | 0x7fc00000u)); }
    if bits < 0x0d800000u { return vec2<f32>(0.0, 0.0); }
    let largest = bitcast<f32>(bits);
    return vec2<f32>(divide(most, largest), divide(largest, most));
}

// The nearest integer, ties to even, of a magnitude below 2^22; 0 for NaN.
fn nearest_int(x: f32) -> i32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    return select(i32(round(x)), 0, bits > 0x7f800000u);
}
