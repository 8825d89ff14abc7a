// e to the power of x, the CPU's polynomial: 0 below -87.34, at most 2.4e38, NaN for NaN.
//include cut
fn exp_(x: f32) -> f32 {
    var cut = select(x, 88.37, is_above(x, 88.37));
    cut = select(cut, -87.33654, is_below_minus(cut, 87.33654));
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    let shifter = 12582912.0;
    let shifted = fma(cut, 1.44269504, shifter);
    let n = shifted - shifter;
    var r = fma(n, -0.69314575, cut);
    r = fma(n, -1.4286068e-6, r);
    var y = fma(r, 1.0 / 5040.0, 1.0 / 720.0);
    y = fma(y, r, 1.0 / 120.0);
    y = fma(y, r, 1.0 / 24.0);
    y = fma(y, r, 1.0 / 6.0);
    y = fma(y, r, 0.5);
    y = fma(y, r, 1.0);
    y = fma(y, r, 1.0);
    let power = (bitcast<u32>(shifted) - bitcast<u32>(shifter) + 127u) << 23u;
    return select(y * bitcast<f32>(power), 0.0, is_below_minus(x, 87.33654));
}
