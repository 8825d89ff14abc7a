// Where the parts of an f32 lie.
const SIGN_BIT: u32 = 0x80000000u;
const MANTISSA: u32 = 0x7fffffu;
const HIDDEN: u32 = 0x800000u;
const INFINITE: u32 = 0x7f800000u;
const NOT_A_NUMBER: u32 = 0x7fc00000u;

// The significand of a number, in 1 to 2, times 2 to the power of `shift`.
fn significand(a: f32, shift: u32) -> f32 {
    return bitcast<f32>((bitcast<u32>(a) & MANTISSA) | ((127u + shift) << 23u));
}
