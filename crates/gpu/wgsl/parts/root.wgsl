// The square root of a number that is not below zero, correctly rounded on every device: as in `divide`, the device's
// root is an estimate, whose remainder is taken in integers. No root of a number of 24 bits lies half way between two.
//include bits

fn root(a: f32) -> f32 {
    let odd = 1u - ((bitcast<u32>(a) >> 23u) & 1u);
    return root_near(a, sqrt(significand(a, odd)));
}

// The root of a where `estimate` is near that of its significand, by sixteen units of its last place.
fn root_near(a: f32, estimate: f32) -> f32 {
    let x = bitcast<u32>(a);
    if x < HIDDEN {
        return 0.0;
    }
    if x >= INFINITE {
        return a;
    }
    let exponent = bitcast<i32>(x >> 23u) - 127;
    let odd = bitcast<u32>(exponent & 1);
    let m = (x & MANTISSA) | HIDDEN;
    var q = u32(estimate * 8388608.0);
    var rest = bitcast<i32>((m << (23u + odd)) - q * q);
    for (var i = 0; i < 17 && rest < 0; i += 1) {
        q -= 1u;
        rest += bitcast<i32>(2u * q + 1u);
    }
    for (var i = 0; i < 17 && rest > bitcast<i32>(2u * q); i += 1) {
        rest -= bitcast<i32>(2u * q + 1u);
        q += 1u;
    }
    q += select(0u, 1u, rest > bitcast<i32>(q));
    return bitcast<f32>((bitcast<u32>((exponent >> 1u) + 126) << 23u) + q);
}
