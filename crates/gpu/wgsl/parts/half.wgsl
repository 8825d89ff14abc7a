// An IEEE half, in the low 16 bits, as f32: exactly, subnormal ones too, which devices may drop.
//include bits
fn half(bits: u32) -> f32 {
    let sign = (bits & 0x8000u) << 16u;
    let magnitude = bits & 0x7fffu;
    var value = (magnitude << 13u) + 0x38000000u;
    if magnitude >= 0x7c00u {
        value = INFINITE | (magnitude << 13u);
    } else if magnitude < 0x400u {
        // Units of 2^-24.
        value = bitcast<u32>(f32(magnitude) * bitcast<f32>(0x33800000u));
    }
    return bitcast<f32>(sign | value);
}
