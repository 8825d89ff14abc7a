// Numbers of MXFP4.

// Four codes in bytes (the low nibble of each) to twice their values plus 12: 0 to 24.
fn plus_12(codes: u32) -> u32 {
    let magnitude = codes & 0x07070707u;
    let high = (codes >> 2u) & 0x01010101u;
    // Magnitudes 4 to 7 mean 4, 6, 8 and 12: their low bits count twice, and both together once more.
    let low = magnitude & (high * 3u);
    let doubled = magnitude + low + ((low & (low << 1u)) & 0x02020202u);
    let negative = ((codes >> 3u) & 0x01010101u) * 255u;
    return 0x0c0c0c0cu + (doubled & ~negative) - (doubled & negative);
}

// The code in bits 0 to 3, without a subnormal number on the way.
fn e2m1(code: u32) -> f32 {
    let magnitude = code & 7u;
    let large = bitcast<f32>((magnitude << 22u) + 0x3f000000u);
    let value = select(large, f32(magnitude) * 0.5, magnitude < 2u);
    return bitcast<f32>(bitcast<u32>(value) | ((code & 8u) << 28u));
}

// The power of two of a scale byte.
fn power_of_two(byte: u32) -> f32 {
    return bitcast<f32>(max(byte << 23u, 1u << 22u));
}
