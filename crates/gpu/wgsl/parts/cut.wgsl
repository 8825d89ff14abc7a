// Cuts that keep a NaN: by bits, because a compiler may take a comparison and a choice of floats for a minimum, which
// drops one.
//include bits

// Whether a number that is not NaN is above `limit`, which is above zero.
fn is_above(x: f32, limit: f32) -> bool {
    let bits = bitcast<u32>(x);
    return bits > bitcast<u32>(limit) && bits <= INFINITE;
}

// Whether it is below minus `limit`.
fn is_below_minus(x: f32, limit: f32) -> bool {
    return is_above(bitcast<f32>(bitcast<u32>(x) ^ SIGN_BIT), limit);
}
